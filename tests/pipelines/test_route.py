"""``route``: lists, queue and routing.json."""

import json
from pathlib import Path

import numpy as np
import pytest

from autolabel.certify import population_digest
from autolabel.errors import ExistsError, InputError
from autolabel.manifest import Manifest, Parent, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.route import route
from pipelines.score import CALIBRATOR

SKELETON = Skeleton("three", ("a", "b", "c"), (), (0, 1, 2), (0.05,) * 3, "test")


@pytest.fixture
def scored(tmp_path: Path) -> Manifest:
    """300 images of two poses; a third of the images is doubtful, and ten poses are settled."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(300):
        p_bad = rng.uniform(0.3, 0.9, 2) if i % 3 == 0 else rng.uniform(0, 0.05, 2)
        poses = Poses.create(
            3,
            id=[f"{i:03d}-0", f"{i:03d}-1"],
            xy=rng.uniform(0, 50, (2, 3, 2)),
            visibility=np.full((2, 3), Visibility.VISIBLE),
            origin=np.full((2, 3), Origin.MODEL),
            box=[[0, 0, 50, 50]] * 2,
            p_bad=p_bad,
            attributes=[{"state": "reviewed"} if i < 10 else {}, {}],
        )
        samples.append(Sample(f"s{i}", "r", f"{i}.png", (60, 60), poses))
    parents = [Parent(CALIBRATOR, "0" * 64)]
    return write_manifest(
        tmp_path / "scored", samples, SKELETON, {"r": tmp_path}, stage="score", parents=parents, part_size=70
    )


def read(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.txt").read_text().split()


def test_everything_has_one_place_and_the_record_counts_it(scored: Manifest, tmp_path: Path) -> None:
    record = route(scored.path, out=tmp_path / "r", max_bad=0.1, budget=200, seed=3).record
    accepted, review, audit = (read(tmp_path / "r", name) for name in ("accepted", "review", "audit"))
    assert set(audit) < set(accepted)
    assert not set(accepted) & set(review)
    assert len(audit) + len(review) <= 200
    assert (
        record["counts"] | {"accepted": len(accepted), "review": len(review), "audit": len(audit)} == record["counts"]
    )
    assert record["counts"]["open"] == 590
    queue = [json.loads(line) for line in (tmp_path / "r" / "queue.jsonl").read_text().splitlines()]
    assert sorted(task["pose"] for task in queue) == sorted([*audit, *review])
    assert [task["priority"] for task in queue] == sorted((task["priority"] for task in queue), reverse=True)
    frozen = Manifest.open(scored.path)
    chosen = (p.take(np.isin(p.id.astype(str), accepted)) for p in map(frozen.poses, range(frozen.num_parts)))
    assert record["population_digest"] == population_digest(chosen)
    assert (tmp_path / "r" / record["manifest"]).resolve() == scored.path.resolve()


def test_audited_tasks_cannot_be_told_by_their_priority(scored: Manifest, tmp_path: Path) -> None:
    route(scored.path, out=tmp_path / "r", max_bad=0.1, budget=200)
    tasks = [json.loads(line) for line in (tmp_path / "r" / "queue.jsonl").read_text().splitlines()]
    ordinary = {task["priority"] for task in tasks if task["kind"] == "review"}
    drawn = {task["priority"] for task in tasks if task["kind"] == "audit"}
    assert drawn
    assert drawn <= ordinary


def test_without_an_audit_the_whole_budget_is_review_and_its_random_part_is_uniform(
    scored: Manifest, tmp_path: Path
) -> None:
    record = route(scored.path, out=tmp_path / "r", max_bad=0.1, budget=50, audit=False, random_share=0.2).record
    assert record["counts"]["audit"] == 0
    assert (record["counts"]["review"], record["counts"]["calibration"]) == (40, 10)


def test_a_prior_accepts_nothing(scored: Manifest, tmp_path: Path) -> None:
    plain = write_manifest(tmp_path / "plain", iter(scored), SKELETON, scored.roots, stage="score")
    record = route(plain.path, out=tmp_path / "r", max_bad=0.1, budget=50).record
    assert record["counts"]["accepted"] == 0
    assert "prior" in record["reason"]
    assert record["counts"]["review"] == 50


def test_a_budget_larger_than_the_corpus_reviews_what_there_is(scored: Manifest, tmp_path: Path) -> None:
    record = route(scored.path, out=tmp_path / "r", max_bad=0.1, budget=5000, audit=False).record
    assert record["counts"]["review"] == 590


def test_the_same_again_is_the_same_and_another_promise_is_refused(scored: Manifest, tmp_path: Path) -> None:
    first = route(scored.path, out=tmp_path / "a", max_bad=0.1, budget=100).record
    assert route(scored.path, out=tmp_path / "a", max_bad=0.1, budget=100).record == first
    other = route(scored.path, out=tmp_path / "b", max_bad=0.1, budget=100, seed=1).record
    assert read(tmp_path / "a", "audit") != read(tmp_path / "b", "audit")
    assert first["digest"] != other["digest"]
    with pytest.raises(ExistsError):
        route(scored.path, out=tmp_path / "a", max_bad=0.2, budget=100)
    with pytest.raises(InputError, match="make no promise"):
        route(scored.path, out=tmp_path / "c", max_bad=1.5, budget=100)
