"""Predicted poses beside the truth, and the calibrator that is fitted on them."""

from pathlib import Path

import numpy as np
import pytest

from autolabel.errors import ExistsError, InputError
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.calibrate import calibrate
from pipelines.check import check
from pipelines.measure import quality
from pipelines.score import score

SKELETON = Skeleton("three", ("a", "b", "c"), (), (0, 1, 2), (0.05,) * 3, "test")
BOX = [0.0, 0.0, 80.0, 80.0]
XY = np.array([[20.0, 20.0], [40.0, 60.0], [60.0, 30.0]], np.float32)


def sample(i: int, poses: Poses) -> Sample:
    return Sample(f"s{i}", "r", f"{i}.png", (100, 100), poses)


def pose(name: str, shift: float = 0.0, **fields: object) -> Poses:
    values = {
        "id": [name],
        "xy": (XY + np.float32(shift))[None],
        "box": [BOX],
        "visibility": np.full((1, 3), Visibility.VISIBLE),
        "origin": np.full((1, 3), Origin.HUMAN),
    }
    return Poses.create(3, **{**values, **fields})


def predicted(tmp_path: Path, poses: list[Poses], features: dict[str, np.ndarray] | None = None) -> Manifest:
    from autolabel.manifest import ManifestWriter

    writer = ManifestWriter(tmp_path / "predicted", SKELETON, {"r": tmp_path}, stage="predict")
    samples = [
        sample(i, p.replace(origin=np.full((len(p), 3), Origin.MODEL), by=["net"] * len(p)))
        for i, p in enumerate(poses)
    ]
    writer.write_part(0, samples, features or {"peak": np.full((sum(map(len, poses)), 3), 0.5, np.float32)})
    return writer.commit()


def truth(tmp_path: Path, poses: list[Poses]) -> Manifest:
    return write_manifest(
        tmp_path / "truth", [sample(i, p) for i, p in enumerate(poses)], SKELETON, {"r": tmp_path}, stage="test"
    )


def test_poses_are_judged_by_their_id_and_the_others_left_aside(tmp_path: Path) -> None:
    both = Poses.concat([pose("a", 1.0), pose("b", 50.0)])
    checked = check(predicted(tmp_path, [both]), truth(tmp_path, [pose("a")]))
    assert checked.poses.id.tolist() == ["a"]
    assert not checked.bad.any()
    assert checked.error == pytest.approx(np.full((1, 3), np.sqrt(2)), abs=1e-4)


def test_without_shared_ids_they_are_matched_by_place_and_extra_ones_are_bad(tmp_path: Path) -> None:
    both = Poses.concat([pose("x", 1.0), pose("y", 18.0)])
    checked = check(predicted(tmp_path, [both, pose("z")]), truth(tmp_path, [pose("t")]))
    assert checked.poses.id.tolist() == ["x", "y"], "the second image has no truth"
    assert checked.bad.tolist() == [False, True]
    assert np.isnan(checked.oks[1])


def test_a_pose_that_a_person_rejected_is_bad_whatever_its_keypoints(tmp_path: Path) -> None:
    checked = check(predicted(tmp_path, [pose("a")]), truth(tmp_path, [pose("a", attributes=[{"state": "rejected"}])]))
    assert checked.bad.tolist() == [True]
    assert not checked.scored.any()


def test_an_absent_keypoint_that_was_said_present_is_gross(tmp_path: Path) -> None:
    absent = pose("a", visibility=[[Visibility.VISIBLE, Visibility.ABSENT, Visibility.UNLABELLED]])
    checked = check(predicted(tmp_path, [pose("a")]), truth(tmp_path, [absent]))
    assert checked.gross.tolist() == [[False, True, False]]
    assert checked.scored.tolist() == [[True, True, False]]
    measured = quality(checked)
    assert measured is not None
    assert measured["gross"] == 0.5
    assert quality(checked.take(np.array([False]))) is None


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    other = write_manifest(tmp_path / "truth", [sample(9, pose("q"))], SKELETON, {"r": tmp_path}, stage="test")
    with pytest.raises(InputError, match="no predicted pose"):
        check(predicted(tmp_path, [pose("a")]), other)


def test_a_calibrator_is_fitted_on_checked_poses_and_scores_new_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = rng.random(120) < 0.6
    poses = [pose(f"p{i}", 0.0 if ok else 30.0) for i, ok in enumerate(good)]
    peak = np.where(good, 0.8, 0.3)[:, None] + rng.normal(0, 0.05, (120, 3))
    manifest = predicted(tmp_path, poses, {"peak": peak.astype(np.float32)})
    known = truth(tmp_path, [pose(f"p{i}") for i in range(60)])
    result = calibrate(manifest.path, truth=known.path, out=tmp_path / "c.json")
    assert (result.calibrator.poses, result.calibrator.bad) == (60, int((~good[:60]).sum()))
    with pytest.raises(ExistsError):
        calibrate(manifest.path, truth=known.path, out=tmp_path / "c.json")
    scored = score(manifest.path, out=tmp_path / "scored", calibrator=tmp_path / "c.json")
    p_bad = scored.manifest.poses(0).p_bad
    assert scored.calibrated
    assert p_bad[60:][good[60:]].max() < p_bad[60:][~good[60:]].min()
    prior = score(manifest.path, out=tmp_path / "prior")
    assert not prior.calibrated
    assert prior.manifest.parents[0].digest == manifest.digest
