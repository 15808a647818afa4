"""Boxed people in a merge: added when answered, waiting until then, once however often it is merged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.digests import population_digest
from autolabel.formats.policy import ImagePolicy, select
from autolabel.manifest import Manifest, ManifestWriter, write_manifest
from autolabel.merge import BOXED, Correction, KeypointChange, PoseChange, State, Stated, write_corrections
from autolabel.poses import Origin, Poses, Sample
from autolabel.progress import SILENT
from autolabel.skeleton import Skeleton
from pipelines.export import export
from pipelines.merge import MergeResult, merge
from pipelines.route_pool import read_pool
from pipelines.score import score

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
BOX = [40.0, 5.0, 120.0, 60.0]


def person(xy: Any, **given: Any) -> Poses:
    return Poses.create(
        K, **{"id": ["new"], "box": [BOX], "xy": np.array(xy)[None], "visibility": np.full((1, K), 2),
              "origin": np.full((1, K), Origin.MODEL), "by": ["net"], "attributes": [{BOXED: "task"}], **given}
    )  # fmt: skip


@pytest.fixture
def xy() -> Any:
    return np.linspace((45, 10), (115, 55), K).astype(np.float32)


@pytest.fixture
def pulled(review_case: Any, tmp_path: Path) -> Any:
    """Writes what ``pull`` does: answered poses with their corrections, and boxed people, in the second image."""

    def make(
        *answered: Poses,
        boxed: tuple[str, ...] = (),
        state: State = State.REVIEWED,
        retracted: tuple[str, ...] | None = None,
    ) -> Path:
        folder = tmp_path / f"pulled-{len(list(tmp_path.glob('pulled-*')))}"
        sample = review_case.samples(review_case.model)[1]
        roots = {"images": review_case.folder / "images"}
        corrections: list[Correction] = []
        for poses in answered:
            change = PoseChange.REJECTED if state is State.REJECTED else PoseChange.KEPT
            stated, kept = Stated.of(poses[0]), (KeypointChange.KEPT,) * K
            corrections.append(
                Correction(poses.id[0], sample.key, change, kept, stated, stated, state, (), "ann",
                           "2026-11-22T20:00:00Z", 2.0, 1, "task")
            )  # fmt: skip
        marked = [p.replace(attributes=[{**p.attributes[0], "state": state.value}], by=["ann"]) for p in answered]
        samples = [sample.with_poses(Poses.concat(marked))] if marked else []
        write_manifest(folder, samples, SKELETON, roots, stage="pull")
        write_corrections(folder / "corrections.jsonl", corrections)
        if retracted is not None:
            gone = "".join(json.dumps({"pose": pose, "task": "task"}) + "\n" for pose in retracted)
            (folder / "retracted.jsonl").write_text(gone)
        if boxed:
            waiting = Poses.create(
                K, id=boxed, box=[BOX] * len(boxed), by=["ann"] * len(boxed),
                attributes=[{"state": "boxed", BOXED: "task"}] * len(boxed),
            )  # fmt: skip
            write_manifest(folder / "boxes", [sample.with_poses(waiting)], SKELETON, roots, stage="pull")
        return folder

    return make


def states(result: MergeResult | Manifest, image: int = 1) -> dict[str, str | None]:
    manifest = result.manifest if isinstance(result, MergeResult) else result
    sample = list(manifest)[image]
    return {pose: a.get("state") for pose, a in zip(sample.poses.id, sample.poses.attributes, strict=True)}


def complete(result: MergeResult, image: int = 1) -> bool:
    return select(list(result.manifest)[image], ImagePolicy.COMPLETE) is not None


def lines(result: MergeResult, name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (result.manifest.path / name).read_text().splitlines()]


def test_an_answered_person_is_added_without_a_conflict(review_case: Any, pulled: Any, xy: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model)
    result = merge(base, pulled(person(xy)), out=tmp_path / "out")
    assert (result.corrected, result.added, result.waiting, result.conflicts) == (1, 1, 0, 0)
    assert states(result) == {"pose-2": None, "pose-3": None, "new": "reviewed"}
    assert lines(result, "boxed.jsonl") == [{"pose": "new", "image": "1.png", "by": "ann", "what": "added"}]
    assert complete(result)
    assert {name: result.summary()[name] for name in ("added", "waiting")} == {"added": 1, "waiting": 0}
    again = merge(base, pulled(person(xy)), out=tmp_path / "out")
    assert (again.added, again.manifest.digest) == (1, result.manifest.digest), "finished: the same numbers"


def test_a_boxed_person_waits_and_leaves_its_image_open(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model)
    result = merge(base, pulled(boxed=("a", "b")), out=tmp_path / "out")
    assert (result.corrected, result.added, result.waiting, result.conflicts) == (0, 0, 2, 0)
    assert states(result) == {"pose-2": None, "pose-3": None, "a": "boxed", "b": "boxed"}
    assert [complete(result, i) for i in range(3)] == [True, False, True]
    ignored = select(list(result.manifest)[1], ImagePolicy.IGNORE_REGIONS)
    assert ignored is not None
    assert ignored.poses.crowd.tolist() == [False, False, True, True]
    assert {parent.role for parent in result.manifest.parents} == {"base", "corrections", "boxes"}


def test_merging_on_and_on_doubles_nobody(review_case: Any, pulled: Any, xy: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model)
    waiting = merge(base, pulled(boxed=("new", "other")), out=tmp_path / "1")
    again = merge(waiting.manifest, pulled(boxed=("new", "other")), out=tmp_path / "2")
    assert (again.manifest.digest, again.waiting) == (waiting.manifest.digest, 2)
    half = merge(again.manifest, pulled(person(xy), boxed=("other",)), out=tmp_path / "3")
    assert (half.added, half.waiting, half.conflicts) == (1, 1, 0)
    assert states(half) == {"pose-2": None, "pose-3": None, "other": "boxed", "new": "reviewed"}
    (sample,) = [sample for sample in half.manifest if sample.path == "1.png"]
    assert np.array_equal(sample.poses.xy[3], xy)
    assert sample.poses.origin[3].tolist() == [Origin.MODEL] * K, "the box that waited knew of no model"
    assert not complete(half)
    last = merge(half.manifest, pulled(person(xy), boxed=("other",)), out=tmp_path / "4")
    assert (last.manifest.digest, last.added) == (half.manifest.digest, 0)


@pytest.mark.parametrize("retracted", [None, (), ("other",), ("other", "pose-2", "nobody")])
def test_who_is_boxed_no_more_waits_no_longer(
    review_case: Any, pulled: Any, tmp_path: Path, retracted: tuple[str, ...] | None
) -> None:
    base = review_case.write("base", review_case.model)
    first = merge(base, pulled(boxed=("new", "other")), out=tmp_path / "1").manifest
    second = merge(first, pulled(boxed=("new",), retracted=retracted), out=tmp_path / "2")
    assert (second.taken_out, second.waiting) == ((1, 1) if retracted else (0, 2))
    assert ("other" in states(second)) == (not retracted)
    assert {"pose-2", "pose-3", "new"} <= states(second).keys(), "only who waits can be taken out"
    assert not complete(second)
    last = merge(second.manifest, pulled(retracted=("new", "other")), out=tmp_path / "3")
    assert states(last) == {"pose-2": None, "pose-3": None}
    assert complete(last)
    assert {line["what"] for line in lines(last, "boxed.jsonl")} == {"taken out"}


def test_features_stay_with_their_poses_when_somebody_is_taken_out(
    review_case: Any, pulled: Any, tmp_path: Path
) -> None:
    peaks = np.arange(6 * K, dtype=np.float32).reshape(6, K)
    with ManifestWriter(tmp_path / "base", SKELETON, {"images": review_case.folder / "images"}, stage="test") as writer:
        writer.write_part(0, review_case.samples(review_case.model), {"peak": peaks})
    waiting = merge(tmp_path / "base", pulled(boxed=("new", "other")), out=tmp_path / "waiting")
    features = merge(waiting.manifest, pulled(retracted=("new", "other")), out=tmp_path / "out").manifest.features(0)
    assert features is not None
    assert np.array_equal(features["peak"], peaks)


def test_what_was_retracted_makes_another_merge(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = merge(review_case.write("base", review_case.model), pulled(boxed=("a",)), out=tmp_path / "waiting").manifest
    assert merge(base, pulled(retracted=()), out=tmp_path / "out").waiting == 1
    result = merge(base, pulled(retracted=("a",)), out=tmp_path / "out", overwrite=True)
    assert (result.waiting, result.taken_out) == (0, 1)


@pytest.mark.parametrize(("state", "whole"), [(State.REVIEWED, True), (State.REJECTED, True), (State.EXPERT, False)])
def test_what_the_answer_says_decides_whether_the_image_is_complete(
    review_case: Any, pulled: Any, xy: Any, tmp_path: Path, state: State, whole: bool
) -> None:
    base = merge(review_case.write("base", review_case.model), pulled(boxed=("new",)), out=tmp_path / "waiting")
    result = merge(base.manifest, pulled(person(xy), state=state), out=tmp_path / "out")
    assert states(result)["new"] == state
    assert complete(result) is whole


def test_features_stay_with_their_poses(review_case: Any, pulled: Any, xy: Any, tmp_path: Path) -> None:
    peaks = np.arange(6 * K, dtype=np.float32).reshape(6, K)
    roots = {"images": review_case.folder / "images"}
    with ManifestWriter(tmp_path / "base", SKELETON, roots, stage="test") as writer:
        writer.write_part(0, review_case.samples(review_case.model), {"peak": peaks})
    waiting = merge(tmp_path / "base", pulled(boxed=("new", "other")), out=tmp_path / "waiting")
    done = merge(waiting.manifest, pulled(person(xy), boxed=("other",)), out=tmp_path / "out")
    for result in (waiting, done):
        features = result.manifest.features(0)
        assert features is not None
        nothing = np.full((2, K), np.nan, np.float32)
        assert np.array_equal(features["peak"], np.concatenate([peaks[:4], nothing, peaks[4:]]), equal_nan=True)


def test_an_answer_that_coincides_with_a_pose_of_the_base_is_listed(
    review_case: Any, pulled: Any, tmp_path: Path
) -> None:
    base = review_case.write("base", review_case.model)
    result = merge(base, pulled(person(review_case.model.xy[3])), out=tmp_path / "out")
    (conflict,) = lines(result, "conflicts.jsonl")
    assert (conflict["pose"], conflict["detail"]) == ("new", "with pose-3")
    assert "nearly coincides" in conflict["what"]
    assert result.added == 1
    gone = review_case.model.replace(attributes=[{}] * 3 + [{"state": "rejected"}] + [{}] * 2)
    base = review_case.write("rejected", gone)
    assert merge(base, pulled(person(review_case.model.xy[3])), out=tmp_path / "wrong-box").conflicts == 0


def test_people_on_images_that_the_base_lacks_are_listed(
    review_case: Any, pulled: Any, xy: Any, tmp_path: Path
) -> None:
    samples: list[Sample] = review_case.samples(review_case.model)
    roots = {"images": review_case.folder / "images"}
    base = write_manifest(tmp_path / "base", samples[:1], SKELETON, roots, stage="test")
    result = merge(base, pulled(person(xy), boxed=("other",)), out=tmp_path / "out")
    assert (result.corrected, result.added, result.waiting) == (0, 0, 0)
    assert sorted((line["pose"], line["what"]) for line in lines(result, "conflicts.jsonl")) == [
        ("new", "its image is not in the base"),
        ("other", "was boxed; its image is not in the base"),
    ]


def test_other_boxes_make_another_merge(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model)
    merge(base, pulled(boxed=("a",)), out=tmp_path / "out")
    result = merge(base, pulled(boxed=("a", "b")), out=tmp_path / "out", overwrite=True)
    assert result.waiting == 2


def test_an_accepted_image_is_exported_again_when_its_boxed_person_is_answered(
    review_case: Any, pulled: Any, xy: Any, tmp_path: Path
) -> None:
    """A certificate's poses stay as they are; an image that is not complete is left out of what is exported."""
    accepted = review_case.model.replace(attributes=[{"state": "accepted"}] * 6)
    base = review_case.write("base", accepted)
    waiting = merge(base, pulled(boxed=("new",)), out=tmp_path / "waiting")
    answered = merge(base, pulled(person(xy)), out=tmp_path / "answered")
    written = [
        export("coco", manifest.path, out=tmp_path / f"{name}.json")
        for name, manifest in (("base", base), ("waiting", waiting.manifest), ("answered", answered.manifest))
    ]
    assert [(result.images, result.poses, result.left_out) for result in written] == [(3, 6, 0), (2, 4, 1), (3, 7, 0)]
    for result in (waiting, answered):
        poses = Poses.concat([sample.poses for sample in result.manifest])
        certified = poses.take(np.isin(poses.id, accepted.id))
        assert population_digest(certified) == population_digest(accepted)


def test_routing_keeps_the_image_open_and_asks_about_no_box_alone(
    review_case: Any, pulled: Any, tmp_path: Path
) -> None:
    merged = merge(review_case.write("base", review_case.model), pulled(boxed=("new",)), out=tmp_path / "merged")
    pool = read_pool(merged.manifest, SILENT)
    row = pool.ids.tolist().index("new")
    assert (bool(pool.open[row]), bool(pool.shown[row]), bool(pool.second[row])) == (True, False, False)
    everybody_else = np.flatnonzero(pool.ids != "new")
    assert pool.complete_at(everybody_else, [6]).tolist() == [0, 1, 0]


def test_scoring_knows_nothing_of_a_box_alone(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    peaks = np.random.default_rng(0).uniform(0.1, 0.9, (6, K)).astype(np.float32)
    roots = {"images": review_case.folder / "images"}
    with ManifestWriter(tmp_path / "base", SKELETON, roots, stage="test") as writer:
        writer.write_part(0, review_case.samples(review_case.model), {"peak": peaks})
    merged = merge(tmp_path / "base", pulled(boxed=("new",)), out=tmp_path / "merged")
    scored = score(merged.manifest.path, out=tmp_path / "scored").manifest
    poses = Poses.concat([sample.poses for sample in scored])
    row = poses.id.tolist().index("new")
    assert poses.attributes[row]["state"] == "boxed"
    assert np.isnan(poses.p_bad[row]), "nothing is ever accepted unseen"
    assert np.isfinite(np.delete(poses.p_bad, row)).all()
