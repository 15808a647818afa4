"""Routing a scored manifest: which lists are written, what is drawn from what, and what a reviewer can tell."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.certify import population_digest
from autolabel.errors import ExistsError, InputError
from autolabel.manifest import Existing, Manifest, Parent, write_manifest
from autolabel.portions import KINDS
from autolabel.poses import Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.push_queue import read_routing
from pipelines.route import RouteResult, route

K = 17
SKELETON = Skeleton.load("coco17")
IMAGES = 150


def write(
    folder: Path,
    p_bad: np.ndarray,
    *,
    calibrated: bool = True,
    attributes: dict[int, dict[str, Any]] | None = None,
    unpredicted: tuple[int, ...] = (),
    rejected_images: tuple[int, ...] = (),
    crowds: tuple[int, ...] = (),
    skeleton: Skeleton = SKELETON,
) -> Manifest:
    """A scored manifest of two poses an image."""
    n = len(p_bad)
    xy = np.zeros((n, skeleton.num_keypoints, 2)) + 40.0 * (np.arange(n) % 2)[:, None, None]  # two people, side by side
    xy[list(unpredicted)] = np.nan
    poses = Poses.create(
        skeleton.num_keypoints,
        id=[f"p{i:03}" for i in range(n)],
        xy=xy,
        visibility=np.where(np.isnan(xy[..., 0]), Visibility.UNLABELLED, Visibility.VISIBLE),
        box=np.tile([0.0, 0.0, 9.0, 9.0], (n, 1)),
        crowd=np.isin(np.arange(n), crowds),
        p_bad=p_bad,
        by=["net"] * n,
        attributes=[(attributes or {}).get(i, {}) for i in range(n)],
    )

    def samples() -> Iterator[Sample]:
        for i in range(n // 2):
            state = {"state": "rejected"} if i in rejected_images else {}
            yield Sample(f"s{i}", "r", f"{i}.png", (20, 20), poses.take([2 * i, 2 * i + 1]), attributes=state)

    parents = [Parent("manifest", "m"), *([Parent("calibrator", "c")] if calibrated else [])]
    return write_manifest(
        folder / "scored", samples(), skeleton, {"r": folder}, stage="score", parents=parents, part_size=40,
        existing=Existing.OVERWRITE,
    )  # fmt: skip


def doubts(seed: int = 0) -> np.ndarray:
    """Two poses an image: two images in three are sure, the others are not."""
    rng = np.random.default_rng(seed)
    image = np.where(np.arange(IMAGES) % 3 < 2, 0.025, 0.6)
    return np.clip(np.repeat(image, 2) + rng.uniform(0, 0.045, 2 * IMAGES), 0, 1)


PROMISE: dict[str, Any] = {"max_bad": 0.1, "confidence": 0.9, "budget": 120}


def run(folder: Path, name: str = "routing", **changes: Any) -> RouteResult:
    return route(folder / "scored", out=folder / name, **{**PROMISE, **changes})


def ids(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.txt").read_text().split()


def queue(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "queue.jsonl").read_text().splitlines()]


def kinds(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for task in queue(folder):
        found.setdefault(task["kind"], set()).add(task["pose"])
    return found


def test_what_is_accepted_audited_and_reviewed(tmp_path: Path) -> None:
    manifest = write(tmp_path, doubts())
    result = run(tmp_path)
    counts, folder = result.record["counts"], tmp_path / "routing"
    accepted, audit, review = (set(ids(folder, name)) for name in ("accepted", "audit", "review"))
    first = result.record["steps"][0]["size"]
    sure = {f"p{i:03}" for i in range(2 * IMAGES) if i // 2 % 3 < 2}
    assert set(ids(folder, "accepted")[:first]) <= sure
    assert len(sure - accepted) < 10
    assert audit < accepted
    assert review.isdisjoint(accepted)
    assert len(audit) + len(review) == 120 == len(queue(folder))
    assert kinds(folder) == {"audit": audit, "review": review}
    assert counts == {
        "poses": 300,
        "open": 300,
        "unpredicted": 0,
        "accepted": len(accepted),
        "review": 120 - len(audit),
        "audit": len(audit),
        "rejected": 0,
        "lint": 0,
        "development": 0,
        "calibration": 0,
        "gate": 0,
    }
    p_bad = dict(zip((f"p{i:03}" for i in range(300)), doubts().tolist(), strict=True))
    left = [p_bad[pose] for pose in p_bad.keys() - accepted - review]
    assert max(left) <= min(p_bad[pose] for pose in review), "the most doubtful are reviewed"
    everything = Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])
    claimed = everything.take(np.isin(everything.id, list(accepted)))
    assert result.record["population_digest"] == population_digest(claimed)
    assert result.record["expected_bad"] == pytest.approx(np.mean([p_bad[pose] for pose in accepted]))
    assert [entry.pose for entry in read_routing(folder).queue] == [task["pose"] for task in queue(folder)]


def test_every_accepted_pose_is_as_likely_to_be_audited_as_any_other(tmp_path: Path) -> None:
    write(tmp_path, doubts())
    draws = 25
    run(tmp_path)
    counts: dict[str, int] = dict.fromkeys(ids(tmp_path / "routing", "accepted"), 0)
    for seed in range(draws):
        run(tmp_path, seed=seed, overwrite=True)
        for pose in ids(tmp_path / "routing", "audit"):
            counts[pose] += 1
    share = sum(counts.values()) / draws / len(counts)
    found = np.array(list(counts.values()))
    spread = np.sqrt(draws * share * (1 - share))
    assert np.abs(found - draws * share).max() < 4.5 * spread
    assert found.std() == pytest.approx(spread, rel=0.3), "as spread as independent draws are, no more and no less"


def test_nothing_is_accepted_by_a_prior(tmp_path: Path) -> None:
    write(tmp_path, doubts(), calibrated=False)
    result = run(tmp_path)
    assert ids(tmp_path / "routing", "accepted") == ids(tmp_path / "routing", "audit") == []
    assert "no calibrated probability" in result.record["reason"]
    assert result.record["counts"]["review"] == 120
    assert result.record["expected_bad"] is None


def test_nothing_is_accepted_of_a_skeleton_whose_tasks_show_only_some_keypoints(tmp_path: Path) -> None:
    write(tmp_path, doubts(), skeleton=Skeleton.load("wholebody133"))
    result = run(tmp_path)
    assert ids(tmp_path / "routing", "accepted") == []
    assert "more than 26 keypoints" in result.record["reason"]
    assert result.record["spent"]["review"] > 0, "what is doubtful is reviewed all the same"


def test_the_same_seed_gives_the_same_lists(tmp_path: Path) -> None:
    write(tmp_path, doubts())
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path, name, seed=seed, random_share=0.3)
    a, b, c = ((tmp_path / name) for name in "abc")
    for name in ("accepted.txt", "review.txt", "audit.txt", "queue.jsonl", "routing.json"):
        assert (a / name).read_bytes() == (b / name).read_bytes()
    assert ids(a, "accepted") == ids(c, "accepted"), "what is accepted is not drawn"
    assert ids(a, "audit") != ids(c, "audit")


def test_the_order_of_the_queue_hides_what_a_task_is_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    write(tmp_path, np.where(np.arange(300) // 2 % 2, 0.01, rng.uniform(0.3, 0.9, 300)))
    places: dict[str, list[float]] = {kind: [] for kind in ("review", "audit", "development", "calibration", "gate")}
    for seed in range(12):
        run(tmp_path, seed=seed, overwrite=True, random_share=0.3, budget=120)
        tasks = queue(tmp_path / "routing")
        for i, task in enumerate(tasks):
            places[task["kind"]].append(i / len(tasks))
        priorities = [task["priority"] for task in tasks]
        assert priorities == sorted(priorities, reverse=True)
        ordinary = {task["priority"] for task in tasks if task["kind"] == "review"}
        assert {task["priority"] for task in tasks} == ordinary, "a drawn task's priority is an ordinary one's"
    for kind, found in places.items():
        assert len(found) > 60
        assert np.mean(found) == pytest.approx(0.5, abs=0.1), kind
        assert np.std(found) == pytest.approx(np.sqrt(1 / 12), abs=0.05), kind


def test_before_an_audit_the_draw_to_calibrate_on_is_from_all_open_poses(tmp_path: Path) -> None:
    write(tmp_path, doubts())
    drawn: set[str] = set()
    for seed in range(8):
        result = run(tmp_path, seed=seed, audit=False, random_share=0.25, overwrite=True)
        counts = result.record["counts"]
        assert counts | {"review": 90, "audit": 0} == counts
        assert sum(counts[kind] for kind in KINDS) == 30
        chances = [task["probability"] for task in queue(tmp_path / "routing") if task["kind"] in KINDS]
        assert chances == pytest.approx([30 / 300] * 30)
        found = kinds(tmp_path / "routing")
        uniform = set[str]().union(*(found.get(kind, set()) for kind in KINDS))
        assert uniform.isdisjoint(found["review"])
        drawn |= uniform
    assert drawn & set(ids(tmp_path / "routing", "accepted"))
    assert drawn - set(ids(tmp_path / "routing", "accepted"))


def test_settled_poses_rejected_images_and_crowds_are_out_of_it(tmp_path: Path) -> None:
    settled = {0: {"state": "reviewed"}, 1: {"state": "rejected"}, 2: {"state": "expert"}, 4: {"state": "review"}}
    p_bad = doubts()
    p_bad[2] = np.nan
    write(tmp_path, p_bad, attributes=settled, rejected_images=(3,), crowds=(5,))
    result = run(tmp_path, budget=300)
    assert result.record["counts"]["open"] == 300 - 2 - 2 - 1
    routed = {*ids(tmp_path / "routing", "accepted"), *ids(tmp_path / "routing", "review")}
    assert routed == {f"p{i:03}" for i in range(300)} - {f"p{i:03}" for i in (0, 1, 5, 6, 7)}
    assert queue(tmp_path / "routing")[0]["priority"] == 1, "an expert's first"
    assert "p003" not in ids(tmp_path / "routing", "accepted"), "the other pose of that image waits with it"


def test_nobody_is_asked_to_place_everything_anew(tmp_path: Path) -> None:
    p_bad = doubts()
    p_bad[[0, 10, 11]] = np.nan
    write(tmp_path, p_bad, unpredicted=(0, 10, 11))
    result = run(tmp_path, budget=300, random_share=0.2)
    assert (result.record["counts"]["open"], result.record["counts"]["unpredicted"]) == (300, 3)
    assert {"p000", "p010", "p011"}.isdisjoint(task["pose"] for task in queue(tmp_path / "routing"))
    assert {"p000", "p001", "p010", "p011"}.isdisjoint(ids(tmp_path / "routing", "accepted")), "nor are they accepted"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_fewer_candidates_than_the_budget(tmp_path: Path, share: float) -> None:
    write(tmp_path, doubts()[:8], calibrated=False)
    counts = run(tmp_path, budget=50, random_share=share, audit=False).record["counts"]
    uniform = sum(counts[kind] for kind in KINDS)
    assert counts["review"] + uniform == 8
    assert uniform == (0 if share == 0 else 4), "one of each image"


def test_a_manifest_without_poses_is_routed_too(tmp_path: Path) -> None:
    write(tmp_path, np.empty(0))
    result = run(tmp_path)
    assert result.record["counts"]["poses"] == 0
    assert result.record["reason"] == "no pose is open"
    assert queue(tmp_path / "routing") == []


def test_done_is_done_and_other_settings_need_overwrite(tmp_path: Path) -> None:
    write(tmp_path, doubts())
    first = run(tmp_path)
    before = (tmp_path / "routing" / "audit.txt").stat().st_mtime_ns
    assert run(tmp_path).record == first.record
    assert (tmp_path / "routing" / "audit.txt").stat().st_mtime_ns == before
    with pytest.raises(ExistsError):
        run(tmp_path, seed=5)
    assert run(tmp_path, seed=5, overwrite=True).record["seed"] == 5


def test_a_killed_routing_draws_the_same_again(tmp_path: Path) -> None:
    write(tmp_path, doubts())
    first = run(tmp_path)
    kept = ids(tmp_path / "routing", "audit")
    (tmp_path / "routing" / "routing.json").unlink()
    (tmp_path / "routing" / "audit.txt").write_text("half of a li")
    assert run(tmp_path).record == first.record
    assert ids(tmp_path / "routing", "audit") == kept


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_bad": 1.5}, "max_bad is 1.5"),
        ({"budget": -1}, "budget is -1"),
        ({"random_share": 1.5}, "random_share is 1.5"),
        ({"order": "fast"}, "order: 'fast' is not one of: doubt, random"),
        ({"images": "some"}, "policy: 'some' is not one of: complete, all"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write(tmp_path, doubts(), calibrated=False)
    with pytest.raises(InputError, match=message):
        run(tmp_path, **changes)
    assert not (tmp_path / "routing").exists()


@pytest.mark.parametrize(("images", "with_it"), [("complete", set[str]()), ("all", {"p001"})])
def test_no_pose_that_lint_faults_is_accepted(tmp_path: Path, images: str, with_it: set[str]) -> None:
    fault = {"lint": [{"kind": "bone", "keypoints": [3], "text": "too long", "evidence": {}}]}
    p_bad = doubts()
    p_bad[[0, 2]] = 0.0
    write(tmp_path, p_bad, attributes={0: fault, 2: {"lint": []}, 6: {**fault, "state": "reviewed"}})
    result = run(tmp_path, images=images, budget=300)
    accepted = set(ids(tmp_path / "routing", "accepted"))
    assert accepted & {"p000", "p001"} == with_it, "it was the surest of all"
    assert "p002" in accepted, "nothing is found there"
    assert "p000" in ids(tmp_path / "routing", "review")
    assert result.record["counts"]["lint"] == 1, "a person's word stands"
