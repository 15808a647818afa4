"""What a routing draws as proof: plants, blind slices, keypoints, images, and the δ that audits share."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.digests import population_digest
from autolabel.errors import ConfigError, InputError
from autolabel.manifest import Manifest, ManifestWriter, Parent, write_manifest
from autolabel.planner import Past
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import SILENT
from autolabel.propose import Policy
from autolabel.run import file_digest
from autolabel.skeleton import Skeleton
from pipelines.certify_read import read_routing
from pipelines.check import check
from pipelines.push_queue import read_routing as read_queue
from pipelines.route import RouteResult, route
from pipelines.route_checked import read_checked
from pipelines.route_digests import keypoints_digest
from pipelines.route_pool import read_pool

K = 17
SKELETON = Skeleton.load("coco17")
N = 400
PROMISE: dict[str, Any] = {"max_bad": 0.1, "confidence": 0.9, "budget": 240}
BUDGETS = (100, 110, 120, 130, 140, 150, 160, 170, 190)
PARENTS = [Parent("manifest", "m"), Parent("calibrator", "c")]


def figures(n: int, name: str, seed: int, share_bad: float = 0.15) -> tuple[Poses, Poses]:
    """Predicted poses, alone in their images, and the truth; doubts rank the bad ones high."""
    rng = np.random.default_rng(seed)
    truth = np.float32(rng.uniform(20, 180, (n, K, 2)))
    bad = rng.random(n) < share_bad
    xy = truth + rng.normal(0, 0.5, truth.shape).astype(np.float32)
    xy[bad, : 3 + rng.integers(0, 4)] += 60
    p_bad = np.where(bad, rng.uniform(0.1, 0.9, n), rng.uniform(0, 0.12, n))
    given: dict[str, Any] = {
        "id": [f"{name}{i:04}" for i in range(n)],
        "visibility": np.full((n, K), Visibility.VISIBLE),
        "box": np.tile([20.0, 20.0, 180.0, 180.0], (n, 1)),
    }
    origin = np.full((n, K), Origin.MODEL)
    model = Poses.create(K, **given, xy=xy, p_bad=p_bad, p_gross=np.tile(p_bad[:, None] / 9, (1, K)), origin=origin)
    return model, Poses.create(K, **given, xy=truth)


def samples(poses: Poses, root: str, *, groups: dict[int, str] | None = None) -> Iterator[Sample]:
    """An image a pose; the images of a corpus root hold no poses of another one."""
    for i in range(len(poses)):
        group = (groups or {}).get(i, "")
        yield Sample(f"{root}{i}", root, f"{i}.png", (200, 200), poses.take([i]), group=group)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A scored manifest, every tenth pose of it reviewed, and checked poses with their truth."""
    model, _ = figures(N, "p", 0)
    states = [{"state": "reviewed"} if i % 10 == 0 else {} for i in range(N)]
    origin = model.origin.copy()
    origin[np.arange(N) % 10 == 0, :7] = Origin.HUMAN
    scored = model.replace(attributes=states, origin=origin)
    roots = {"r": tmp_path / "r"}
    write_manifest(
        tmp_path / "scored", samples(scored, "r"), SKELETON, roots, stage="score", parents=PARENTS, part_size=150
    )
    model, truth = figures(200, "c", 1)
    roots = {"c": tmp_path / "c"}
    write_manifest(tmp_path / "checked", samples(model, "c"), SKELETON, roots, stage="score", parents=PARENTS)
    write_manifest(tmp_path / "truth", samples(truth, "c"), SKELETON, roots, stage="import")
    return tmp_path


def run(folder: Path, name: str = "routing", manifest: str = "scored", **changes: Any) -> RouteResult:
    return route(folder / manifest, out=folder / name, **{**PROMISE, **changes})


def proven(folder: Path, name: str = "routing", **changes: Any) -> RouteResult:
    """With one of everything."""
    beside = {"plants": 12, "blind": 7, "keypoints": 15, "whole_images": 9}
    known = {"checked": folder / "checked", "truth": folder / "truth"}
    return run(folder, name, **{**beside, **known, "random_share": 0.3, **changes})


def lines(folder: Path, name: str) -> list[Any]:
    text = (folder / name).read_text().splitlines()
    return [json.loads(line) for line in text] if name.endswith("jsonl") else text


def test_everything_that_proves_something_is_drawn_and_charged(case: Path) -> None:
    record, folder = proven(case, budget=190).record, case / "routing"
    queue = lines(folder, "queue.jsonl")
    spent = record["spent"]
    assert len(queue) == spent.pop("total") == sum(spent.values()) <= 190
    kinds = {kind: [task for task in queue if task["kind"] == kind] for kind in spent}
    assert (spent["planted"], spent["blind"], spent["image"]) == (12, 14, 9)
    assert (record["blind"], record["decoys"], record["census"]["decoys"]) == (7, 7, 7)
    accepted, audit = lines(folder, "accepted.txt"), lines(folder, "audit.txt")
    assert {task["pose"] for task in kinds["audit"]} == set(audit) < set(accepted)
    twins, decoys = set(lines(folder, "blind.txt")), set(lines(folder, "decoys.txt"))
    assert {task["pose"] for task in kinds["blind"]} == twins | decoys
    assert (len(twins), len(decoys)) == (7, 7)
    assert twins < set(audit)
    assert decoys < {task["pose"] for task in kinds["review"]}
    assert [task["blind"] for task in queue] == [task["kind"] in ("blind", "gate") for task in queue]
    keypoints = lines(folder, "keypoints.jsonl")
    assert record["keypoints"]["population"] == 40 * 10
    assert record["keypoints"]["drawn"] == 15
    assert len({(line["pose"], line["keypoint"]) for line in keypoints}) == 15
    assert {task["pose"] for task in kinds["keypoint"]} == {line["pose"] for line in keypoints}
    assert {line["keypoint"] for line in keypoints} <= set(SKELETON.keypoints[7:]), "people moved the others"
    assert all(int(line["pose"][1:]) % 10 == 0 for line in keypoints)
    images = [line["sample"] for line in lines(folder, "images.jsonl")]
    assert sorted(task["image"] for task in kinds["image"]) == sorted(images)
    complete = {int(pose[1:]) for pose in accepted} | set(range(0, N, 10))
    assert (record["images"]["population"], record["images"]["drawn"]) == (len(complete), 9)
    assert {int(image[0][1:]) for image in images} <= complete
    assert sum(record["portions"]["drawn"].values()) == sum(
        spent.get(kind, 0) for kind in ("development", "calibration", "gate")
    )
    others = {task["pose"] for kind in ("review", "calibration", "gate", "development") for task in kinds.get(kind, ())}
    assert others.isdisjoint(accepted)
    assert record["development"]["poses"] == 200


@pytest.mark.parametrize(
    ("changes", "decoys"),
    [
        ({"budget": 190, "random_share": 0.0}, 7),
        ({"budget": 190, "random_share": 1.0}, 0),  # all of the rest is drawn to measure by
        ({"budget": 190, "random_share": 0.0, "blind": 15}, 14),  # 28 tasks are left: 14 reviews, 14 decoys
        ({"budget": 190, "random_share": 0.3, "blind": 15}, 11),
        ({"budget": 110}, 0),  # the audit takes all but one
        ({"budget": 100}, 0),  # nothing is accepted: nothing is blind
    ],
)
def test_decoys_are_drawn_as_far_as_there_are_reviews(case: Path, changes: dict[str, Any], decoys: int) -> None:
    record = proven(case, **changes).record
    spent, drawn = record["spent"], lines(case / "routing", "decoys.txt")
    assert (record["decoys"], len(drawn)) == (decoys, decoys)
    assert spent.get("blind", 0) == record["blind"] + decoys
    assert spent["total"] <= changes["budget"]
    assert set(drawn) <= set(lines(case / "routing", "review.txt"))
    assert ("have a decoy" in record["advice"]) == (decoys < record["blind"])


def test_decoys_change_no_other_draw(case: Path) -> None:
    one, other = proven(case, "one", budget=190).record, proven(case, "other", budget=183, blind=0).record
    for name in ("audit.txt", "images.jsonl", "keypoints.jsonl", "accepted.txt"):
        assert lines(case / "one", name) == lines(case / "other", name)
    assert (other["decoys"], lines(case / "other", "decoys.txt")) == (0, [])
    assert one["spent"]["total"] == other["spent"]["total"] + 14, "the decoys are charged too"


def test_what_was_drawn_can_be_read_by_push_and_certify(case: Path) -> None:
    record, folder = proven(case, budget=190).record, case / "routing"
    routing = read_routing(folder)
    assert len(routing.steps) == len(record["steps"]) >= 1
    everything = Manifest.open(case / "scored")
    poses = Poses.concat([everything.poses(i) for i in range(everything.num_parts)])
    row = {pose: i for i, pose in enumerate(poses.id)}
    for step in routing.steps:
        assert step.digest == population_digest(poses.take([row[pose] for pose in routing.accepted[: step.size]]))
    doubts = [poses.p_bad[row[pose]] for pose in routing.accepted]
    assert doubts == sorted(doubts), "strict first"
    assert record["population_digest"] == routing.steps[-1].digest
    assert all(file_digest(folder / name) == digest for name, digest in record["files"].items())
    assert len(record["files"]) == 11
    assert routing.delta.total == pytest.approx(0.1)
    assert routing.delta.reviewers == pytest.approx(0.02)
    assert routing.delta.draw == pytest.approx(record["planned"]["confidence"]) == pytest.approx(0.92)
    sent = read_queue(folder)
    assert len(sent.queue) == record["spent"]["total"]
    assert sent.plants is not None
    assert set(sent.planted) == {entry.pose for entry in sent.queue if entry.kind == "planted"}


def test_plants_are_known_errors_with_ids_of_their_own(case: Path) -> None:
    record, folder = proven(case, plants=10).record, case / "routing"
    told = {line["pose"]: line for line in lines(folder, "plants.jsonl")}
    plants = Manifest.open(folder / "plants")
    judged = check(Manifest.open(case / "checked"), Manifest.open(case / "truth"))
    bad = dict(zip(judged.poses.id.tolist(), judged.bad.tolist(), strict=True))
    oks = dict(zip(judged.poses.id.tolist(), judged.oks.tolist(), strict=True))
    assert record["plants"] == {"natural": 10, "synthetic": 0, "digest": plants.digest}
    assert set(plants.poses(0).id) == set(told)
    assert set(told).isdisjoint(bad)
    assert all(bad[line["of"]] and not line["synthetic"] for line in told.values())
    assert all(line["oks"] == pytest.approx(oks[line["of"]]) for line in told.values())
    doubt = dict(zip(judged.poses.id.tolist(), judged.poses.p_bad.tolist(), strict=True))
    least = sorted((pose for pose in bad if bad[pose]), key=lambda pose: doubt[pose])[:5]
    assert set(least) <= {line["of"] for line in told.values()}
    shown = plants.poses(0)
    assert np.isfinite(shown.p_bad).all()
    assert np.isfinite(shown.p_gross).all()
    assert plants.image_path(plants.part(0)[0]).parent.name == "c"


def test_where_errors_are_too_few_others_are_made_up_and_counted(case: Path) -> None:
    record = proven(case, plants=60, budget=350).record
    natural = record["plants"]["natural"]
    assert 0 < natural < 60
    assert record["plants"]["synthetic"] == 60 - natural
    assert f"{60 - natural} planted errors are made up" in record["advice"]
    assert any("made-up errors are as hard to see" in line for line in record["assumes"])
    assert sum(line["synthetic"] for line in lines(case / "routing", "plants.jsonl")) == 60 - natural


def test_what_may_not_be_parted_from_audited_and_planted_poses_is_held_back(tmp_path: Path) -> None:
    model, truth = figures(N, "p", 0)
    video = {i: f"video{i // 4}" for i in range(200)}
    write_manifest(
        tmp_path / "scored", samples(model, "r", groups=video), SKELETON, {"r": tmp_path}, stage="score",
        parents=PARENTS,
    )  # fmt: skip
    shared, true = model.take(np.arange(100)), truth.take(np.arange(100))
    write_manifest(
        tmp_path / "checked", samples(shared, "c", groups=video), SKELETON, {"c": tmp_path}, stage="score",
        parents=PARENTS,
    )  # fmt: skip
    write_manifest(tmp_path / "truth", samples(true, "c", groups=video), SKELETON, {"c": tmp_path}, stage="import")
    proven(tmp_path, plants=14, keypoints=0)
    held, folder = set(lines(tmp_path / "routing", "held.txt")), tmp_path / "routing"
    planted = {int(line["of"][1:]) for line in lines(folder, "plants.jsonl")}
    drawn = {int(pose[1:]) for pose in lines(folder, "audit.txt")}
    groups = {i // 4 for i in drawn | planted if i < 200}
    assert len(groups) > 10
    expected = {i for i in range(N) if (i // 4 in groups if i < 200 else i in drawn)}
    assert held == {f"p{i:04}" for i in expected}


def test_a_second_pose_on_one_person_is_unsettled_until_somebody_confirms(tmp_path: Path) -> None:
    model, _ = figures(N, "p", 0, share_bad=0.0)
    again = model.take(np.arange(30)).replace(
        id=[f"again{i}" for i in range(30)], p_bad=np.where(np.arange(30) < 29, 0.5, 0.0)
    )
    reviewed = model.replace(attributes=[{"state": "reviewed"} if i == 29 else {} for i in range(N)])

    def both() -> Iterator[Sample]:
        for i, sample in enumerate(samples(reviewed, "r")):
            yield sample.with_poses(Poses.concat([sample.poses, again.take([i])])) if i < 30 else sample

    write_manifest(tmp_path / "scored", both(), SKELETON, {"r": tmp_path}, stage="score", parents=PARENTS)
    record, folder = run(tmp_path, whole_images=40).record, tmp_path / "routing"
    rejected = set(lines(folder, "rejected.txt"))
    assert rejected == {f"again{i}" for i in range(30)}, "also the surer one, where a person let the other pass"
    assert record["counts"]["rejected"] == 30
    accepted = set(lines(folder, "accepted.txt"))
    assert accepted.isdisjoint(rejected | {f"p{i:04}" for i in range(30)}), "nor is their image complete"
    assert {line["sample"][0] for line in lines(folder, "images.jsonl")}.isdisjoint({f"r{i}" for i in range(30)})
    assert set(lines(folder, "review.txt")[:30]) == rejected
    assert all(task["priority"] == 1 for task in lines(folder, "queue.jsonl") if task["pose"] in rejected)
    assert "30 poses were rejected by the model alone" in " ".join(record["assumes"])
    every = run(tmp_path, "all", images="all").record
    assert {f"p{i:04}" for i in range(29)} <= set(lines(tmp_path / "all", "accepted.txt"))
    assert rejected.isdisjoint(lines(tmp_path / "all", "accepted.txt"))
    assert every["policy"] == "all"


def test_all_untouched_keypoints_and_all_complete_images_can_be_drawn(case: Path) -> None:
    record = run(case, keypoints=10_000, whole_images=10_000, budget=30_000).record
    drawn = {(line["pose"], line["keypoint"]) for line in lines(case / "routing", "keypoints.jsonl")}
    assert drawn == {(f"p{i:04}", name) for i in range(0, N, 10) for name in SKELETON.keypoints[7:]}
    assert record["images"]["drawn"] == record["images"]["population"] == len(lines(case / "routing", "images.jsonl"))
    assert record["spent"]["keypoint"] == 40


def test_images_are_noted_with_the_step_that_completes_them(case: Path) -> None:
    record, folder = run(case, whole_images=10_000, keypoints=5, budget=30_000).record, case / "routing"
    assert len(record["steps"]) > 1, "or this test says nothing"
    accepted = lines(folder, "accepted.txt")
    settled = {f"r{i}" for i in range(0, N, 10)}
    sets = [settled | {f"r{int(pose[1:])}" for pose in accepted[: step["size"]]} for step in record["steps"]]
    found = {line["sample"][0]: line["step"] for line in lines(folder, "images.jsonl")}
    assert {name for name, step in found.items() if step == -1} == settled
    for i, mine in enumerate(sets):
        assert {name for name, step in found.items() if step <= i} == mine
    noted = record["images"]["steps"]
    assert record["images"]["settled"]["population"] == len(settled)
    assert [step["population"] for step in noted] == [len(mine) for mine in sets]
    assert len({step["digest"] for step in [record["images"]["settled"], *noted]}) == len(sets) + 1
    read = read_routing(folder)
    assert [(at.population, len(at.drawn)) for at in read.images_at] == [(len(s), len(s)) for s in [settled, *sets]]
    assert read.images_at[-1].digest == noted[-1]["digest"]
    assert read.keypoints_digest == record["keypoints"]["digest"]


def test_an_image_needs_the_loosest_of_its_poses(tmp_path: Path) -> None:
    model, _ = figures(8, "p", 0)
    moved = model.replace(xy=model.xy + np.arange(8)[:, None, None] * np.float32(300))
    settled = moved.replace(attributes=[{"state": "reviewed"} if i in (0, 1, 2) else {} for i in range(8)])

    def pairs() -> Iterator[Sample]:
        for i in range(5):
            state = {"state": "rejected"} if i == 3 else {}
            mine = settled.take([2 * i, 2 * i + 1] if i < 4 else [])
            yield Sample(f"r{i}", "r", f"{i}.png", (9, 9), mine, attributes=state)

    write_manifest(tmp_path / "m", pairs(), SKELETON, {"r": tmp_path}, stage="score", part_size=2)
    pool = read_pool(Manifest.open(tmp_path / "m"), SILENT)
    assert pool.complete_at(np.array([3, 4, 5]), [1, 2, 3]).tolist() == [-1, 0, 2, 3, -1]
    assert pool.complete_at(np.array([4, 3]), [1, 2]).tolist() == [-1, 1, 2, 2, -1]
    assert pool.complete_at(np.empty(0, np.intp), []).tolist() == [-1, 0, 0, 0, -1]


def test_the_digest_of_untouched_keypoints_says_which_and_where_they_are(case: Path) -> None:
    def of(name: str, poses: Poses, part_size: int = 150) -> str:
        write_manifest(case / name, samples(poses, "r"), SKELETON, {"r": case}, stage="score", part_size=part_size)
        manifest = Manifest.open(case / name)
        return keypoints_digest(manifest, read_pool(manifest, SILENT))

    scored = Manifest.open(case / "scored")
    poses = Poses.concat([scored.poses(i) for i in range(scored.num_parts)])
    before = of("same", poses, 7)
    assert before == keypoints_digest(scored, read_pool(scored, SILENT))
    moved, touched, open_ = poses.xy.copy(), poses.origin.copy(), poses.xy.copy()
    moved[10, 9], touched[10, 9], open_[11, 9] = 7, Origin.HUMAN, 7
    assert of("moved", poses.replace(xy=moved)) != before
    assert of("touched", poses.replace(origin=touched)) != before
    assert of("open", poses.replace(xy=open_)) == before, "nobody reviewed that one"


def test_images_without_poses_are_complete_and_rejected_ones_are_not(tmp_path: Path) -> None:
    model, _ = figures(60, "p", 0, share_bad=0.0)

    def some() -> Iterator[Sample]:
        for i, sample in enumerate(samples(model, "r")):
            state = {"state": "rejected"} if i == 59 else {}
            yield Sample(
                sample.id, "r", sample.path, (9, 9), sample.poses if i > 4 else Poses.empty(K), attributes=state
            )

    write_manifest(tmp_path / "scored", some(), SKELETON, {"r": tmp_path}, stage="score", parents=PARENTS)
    record = run(tmp_path, whole_images=60, budget=200, max_bad=0.2).record
    assert record["counts"]["accepted"] == 54
    drawn = {line["sample"][0] for line in lines(tmp_path / "routing", "images.jsonl")}
    assert drawn == {f"r{i}" for i in range(59)}


def test_asking_for_more_proof_changes_no_other_draw(case: Path) -> None:
    run(case, "plain", budget=150)
    run(case, "more", budget=160, whole_images=5, keypoints=5)
    assert lines(case / "plain", "audit.txt") == lines(case / "more", "audit.txt")


def test_development_poses_change_what_is_accepted(case: Path) -> None:
    plain = run(case, "plain").record
    known = run(case, "known", checked=case / "checked", truth=case / "truth").record
    assert known["expected_bad"] != plain["expected_bad"]
    assert known["development"]["bad"] > 0
    assert "neither the network nor the calibrator has learnt" in " ".join(known["assumes"])


@pytest.mark.parametrize("order", ["clean", "learn", "doubt", "random"])
def test_orders_of_review(case: Path, order: str) -> None:
    model = Manifest.open(case / "scored")
    with ManifestWriter(case / "featured", SKELETON, model.roots, stage="score", parents=PARENTS) as writer:
        for i in range(model.num_parts):
            rows = np.random.default_rng(i).normal(size=(len(model.poses(i)), 6)).astype(np.float32)
            writer.write_part(i, model.part(i), {"embedding": rows})
    record = run(case, order, "featured", audit=False, order=order, budget=60).record
    review, uniform = lines(case / order, "review.txt"), 6 if order in ("clean", "learn") else 0
    assert (len(review), sum(record["portions"]["drawn"].values())) == (60 - uniform, uniform)
    assert len(set(review)) == len(review)
    p_bad = dict(zip([p for i in range(3) for p in model.poses(i).id], np.concatenate([model.poses(i).p_bad for i in range(3)]), strict=True))  # fmt: skip  # noqa: E501
    doubts = [float(p_bad[pose]) for pose in review]
    if order in ("clean", "doubt"):
        assert doubts == sorted(doubts, reverse=True)
    else:
        assert doubts != sorted(doubts, reverse=True)
        assert np.mean(doubts) < 0.3, "also what is not doubtful"
    if order in ("clean", "learn"):
        place = {task["pose"]: task["priority"] for task in lines(case / order, "queue.jsonl")}
        assert [place[pose] for pose in review] == sorted((place[pose] for pose in review), reverse=True)


def test_one_of_a_duplicate_group_is_reviewed(tmp_path: Path) -> None:
    model, _ = figures(40, "p", 0)

    def copies() -> Iterator[Sample]:
        for i, s in enumerate(samples(model, "r")):
            yield Sample(s.id, "r", s.path, (9, 9), s.poses, duplicate_of=f"{i - 20}.png" if i >= 20 else "")

    write_manifest(tmp_path / "scored", copies(), SKELETON, {"r": tmp_path}, stage="score")
    run(tmp_path, audit=False, budget=20)
    assert len({int(pose[1:]) % 20 for pose in lines(tmp_path / "routing", "review.txt")}) == 20


def test_a_small_corpus_is_told_to_count_everything(tmp_path: Path) -> None:
    model, _ = figures(116, "p", 3, share_bad=0.1)
    write_manifest(tmp_path / "scored", samples(model, "r"), SKELETON, {"r": tmp_path}, stage="score", parents=PARENTS)
    tight = run(tmp_path, "tight", max_bad=0.02, confidence=0.95, budget=116).record
    assert not tight["census"]["pays"]
    assert tight["counts"]["accepted"] == 0
    assert "opening every open pose takes 116 tasks" in tight["advice"]
    assert tight["promise"].startswith("Nothing is promised")
    assert tight["steps"] == []
    model, truth = figures(200, "c", 1)
    write_manifest(tmp_path / "checked", samples(model, "c"), SKELETON, {"c": tmp_path}, stage="score", parents=PARENTS)
    write_manifest(tmp_path / "truth", samples(truth, "c"), SKELETON, {"c": tmp_path}, stage="import")
    dear = proven(tmp_path, "dear", plants=60, blind=20, keypoints=0, whole_images=0, budget=300).record
    assert "Check them all" in dear["reason"] or "smaller than the audit" in dear["reason"]
    assert dear["counts"]["accepted"] == dear["blind"] == 0
    assert dear["spent"].get("planted", 0) == 0, "where nothing is accepted nothing has to be tested"
    assert dear["counts"]["review"] + sum(dear["portions"]["drawn"].values()) == 116


def spend(folder: Path, issued: bool) -> None:
    (folder / "audit-spent.json").write_text(json.dumps({"answers": "x", "issued": issued}))


def test_audits_share_the_confidence_in_equal_parts(case: Path) -> None:
    first = proven(case, "first", plants=14, attempts=2).record
    assert first["delta"] == {"total": 0.1, "this_audit": 0.05, "reviewers": 0.01}
    assert (first["attempt"], first["attempts"]) == (1, 2)
    with pytest.raises(InputError, match="no verdict yet"):
        proven(case, "second", plants=14, attempts=2, after=case / "first")
    spend(case / "first", issued=False)
    second = proven(case, "second", plants=14, attempts=2, after=case / "first").record
    assert (second["attempt"], second["after"]) == (2, first["digest"])
    assert read_routing(case / "second").delta.attempt == 2
    shown = [{line["of"] for line in lines(case / name, "plants.jsonl")} for name in ("first", "second")]
    assert shown[0].isdisjoint(shown[1]), "reviewers have seen them"
    spend(case / "second", issued=False)
    with pytest.raises(InputError, match=r"was audit 2 of 2: δ is spent"):
        proven(case, "third", plants=14, attempts=2, after=case / "second")
    assert not (case / "third").exists()


def test_no_plant_of_any_earlier_audit_is_planted_again(case: Path) -> None:
    beside = {"plants": 8, "blind": 0, "keypoints": 0, "whole_images": 0, "max_bad": 0.3, "attempts": 3}
    shown: list[str] = []
    for name, after in (("first", None), ("second", case / "first"), ("third", case / "second")):
        proven(case, name, after=after, **beside)
        shown += [line["of"] for line in lines(case / name, "plants.jsonl")]
        spend(case / name, issued=False)
    assert len(shown) == len(set(shown)) == 24


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attempts": 3}, "attempts was 2 and is 3"),
        ({"max_bad": 0.2}, "max_bad was 0.1 and is 0.2"),
        ({"confidence": 0.8}, "confidence was 0.9 and is 0.8"),
    ],
)
def test_another_promise_does_not_share(case: Path, changes: dict[str, Any], message: str) -> None:
    run(case, "first", attempts=2)
    spend(case / "first", issued=False)
    with pytest.raises(InputError, match=message):
        run(case, "second", **{"attempts": 2, "after": case / "first", **changes})


def test_a_passed_or_unknown_audit_is_not_repeated_and_a_judged_one_not_replaced(case: Path) -> None:
    run(case, "first", attempts=2)
    spend(case / "first", issued=True)
    with pytest.raises(InputError, match="was passed"):
        run(case, "second", attempts=2, after=case / "first")
    with pytest.raises(InputError, match="holds no routing"):
        run(case, "second", attempts=2, after=case / "nowhere")
    with pytest.raises(InputError, match="was judged"):
        run(case, "first", attempts=2, seed=9, overwrite=True)
    assert (case / "first" / "audit-spent.json").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plants": 5}, "plants need poses that people checked"),
        ({"checked": "checked"}, "truth is given alone|checked is given alone"),
        ({"truth": "truth"}, "truth is given alone"),
        ({"checked": "checked", "truth": "scored"}, "no predicted pose is among the checked ones"),
        ({"checked": "truth", "truth": "truth"}, "not scored by the calibrator"),
        ({"blind": -1}, "blind is -1"),
        ({"keypoints": 200, "whole_images": 101}, "301 tasks are asked for beside the audit"),
        ({"audit": False, "blind": 3}, "blind belongs to an audit"),
        ({"attempts": 0}, "attempts is 0"),
        ({"max_bad": 0.0}, "max_bad is 0"),
        ({"max_bad": 1.0}, "max_bad is 1"),
        ({"confidence": 1.0}, "confidence is 1"),
        ({"order": "learn"}, "holds no embeddings"),
    ],
)
def test_what_cannot_be_routed(case: Path, changes: dict[str, Any], message: str) -> None:
    known = {name: case / changes[name] for name in ("checked", "truth") if name in changes}
    with pytest.raises(InputError, match=message):
        run(case, **{**changes, **known})
    assert not (case / "routing" / "routing.json").exists(), "nothing passes for a routing"


def test_portions_that_are_unknown_are_refused(case: Path) -> None:
    with pytest.raises(ConfigError, match="'exam' is not one of"):
        run(case, portions="exam=1")


def test_a_manifest_without_scores_accepts_nothing(case: Path) -> None:
    model, _ = figures(50, "p", 0)
    nothing = model.replace(p_bad=np.full(50, np.nan))
    write_manifest(case / "unscored", samples(nothing, "r"), SKELETON, {"r": case}, stage="score", parents=PARENTS)
    record = run(case, manifest="unscored").record
    assert record["counts"]["accepted"] == 0
    assert "no p_bad" in record["reason"]


def test_an_audit_larger_than_the_pool_is_not_drawn(case: Path) -> None:
    model, _ = figures(20, "p", 0, share_bad=0.0)
    sure = model.replace(p_bad=np.zeros(20))
    write_manifest(case / "few", samples(sure, "r"), SKELETON, {"r": case}, stage="score", parents=PARENTS)
    record = run(case, manifest="few", max_bad=0.01, confidence=0.99).record
    assert record["counts"]["accepted"] == record["counts"]["audit"] == 0
    assert "no audit smaller than what could be accepted" in record["reason"]
    assert record["counts"]["review"] == 20


def test_blind_answers_alone_are_advised_against(case: Path) -> None:
    assert "Plant errors too" in run(case, blind=5).record["advice"]


def test_past_rounds_forecast_what_this_one_buys(case: Path) -> None:
    rng = np.random.default_rng(0)
    p_bad = rng.random(80)
    past = Past.of(p_bad, np.tile(p_bad[:, None] / 9, (1, K)), rng.random(80) < p_bad, rng.integers(0, 3, 80))
    (case / "history.jsonl").write_text(json.dumps(past.to_dict()) + "\n")
    record = run(case, history=case / "history.jsonl").record
    assert record["forecast"]["rounds"] == 1
    assert (
        record["forecast"]["bad"]["low"] <= record["forecast"]["bad"]["expected"] <= record["forecast"]["bad"]["high"]
    )
    assert record["forecast"]["words"]
    assert "forecast" not in run(case, "plain").record


def test_development_poses_that_lint_faults_say_nothing_of_the_accepted(tmp_path: Path) -> None:
    model, truth = figures(20, "c", 1)
    faults = [{"lint": [{"kind": "bone", "evidence": {}}]} if i in (3, 8) else {} for i in range(20)]
    pairs = [Sample(f"c{i}", "c", f"{i}.png", (200, 200), model.take([2 * i, 2 * i + 1])) for i in range(10)]
    pairs = [s.with_poses(s.poses.replace(attributes=faults[2 * i : 2 * i + 2])) for i, s in enumerate(pairs)]
    true = [s.with_poses(truth.take([2 * i, 2 * i + 1])) for i, s in enumerate(pairs)]
    roots = {"c": tmp_path / "c"}
    poses = write_manifest(tmp_path / "checked", pairs, SKELETON, roots, stage="score", parents=PARENTS)
    known = read_checked(poses, write_manifest(tmp_path / "truth", true, SKELETON, roots, stage="import"), SILENT)
    place = {pose: i for i, pose in enumerate(known.checked.poses.id.tolist())}
    for policy, unknown in ((Policy.ALL, {3, 8}), (Policy.COMPLETE, {2, 3, 8, 9})):
        doubt = known.development(policy).p_bad
        assert {i for i in range(20) if np.isnan(doubt[place[f"c{i:04}"]])} == unknown
