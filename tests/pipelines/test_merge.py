"""Merging: human over model, in the base's order, with what did not fit listed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ExistsError, FormatError, SkeletonError
from autolabel.manifest import Manifest, ManifestWriter, write_manifest
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, write_corrections
from autolabel.poses import Origin, Poses
from autolabel.skeleton import Skeleton
from pipelines.merge import MergeResult, merge

K = 17


def corrected(poses: Poses, i: int, *, by: str = "ann", minute: int = 0, move: bool = True) -> Correction:
    before = Stated.of(poses[i])
    xy = before.xy.copy()
    if move:
        xy[0] += 3
    changes = (KeypointChange.MOVED if move else KeypointChange.KEPT, *(KeypointChange.KEPT,) * (K - 1))
    when = f"2026-11-22T20:{minute:02}:00Z"
    after = Stated(xy, before.visibility, before.box)
    return Correction(
        poses.id[i], ("s", "images", "0.png"), PoseChange.KEPT, changes, before, after, State.REVIEWED, (), by, when,
        2.0, 2, "task",
    )  # fmt: skip


@pytest.fixture
def pulled(review_case: Any) -> Any:
    """Writes a folder as ``pull`` does, with these corrections."""

    def make(*corrections: Correction, name: str = "pulled") -> Path:
        manifest = review_case.write(name, review_case.model)
        write_corrections(manifest.path / "corrections.jsonl", corrections)
        return manifest.path

    return make


def all_poses(manifest: Manifest) -> Poses:
    return Poses.concat([sample.poses for sample in manifest])


def conflicts(result: MergeResult) -> list[dict[str, str]]:
    return [json.loads(line) for line in (result.manifest.path / "conflicts.jsonl").read_text().splitlines()]


def test_corrections_lie_over_the_base_and_nothing_else_changes(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model)
    result = merge(base.path, pulled(corrected(review_case.model, 3)), out=tmp_path / "out")
    assert (result.corrected, result.conflicts) == (1, 0)
    poses = all_poses(result.manifest)
    assert poses.id.tolist() == review_case.model.id.tolist()
    assert np.array_equal(poses.xy[3, 0], review_case.model.xy[3, 0] + 3)
    assert poses.origin[3].tolist() == [Origin.HUMAN] + [Origin.MODEL] * 16
    others = [0, 1, 2, 4, 5]
    assert poses.take(others).equals(review_case.model.take(others))
    assert result.manifest.digest != base.digest
    assert [sample.key for sample in result.manifest] == [sample.key for sample in base]


def test_parents_are_recorded(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model)
    folder = pulled(corrected(review_case.model, 3))
    result = merge(base, Manifest.open(folder), out=tmp_path / "out")
    assert {p.role: p.digest for p in result.manifest.parents} == {
        "base": base.digest,
        "corrections": Manifest.open(folder).digest,
    }


def test_features_stay_with_their_poses(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    samples = review_case.samples(review_case.model)
    peaks = np.arange(6 * K, dtype=np.float32).reshape(6, K)
    roots = {"images": review_case.folder / "images"}
    with ManifestWriter(tmp_path / "base", Skeleton.load("coco17"), roots, stage="test") as writer:
        writer.write_part(0, samples[:1], {"peak": peaks[:2]})
        writer.write_part(1, samples[1:], {"peak": peaks[2:]})
    result = merge(tmp_path / "base", pulled(corrected(review_case.model, 3)), out=tmp_path / "out")
    assert result.manifest.num_parts == 2
    kept = [result.manifest.features(i) for i in range(2)]
    assert np.array_equal(np.concatenate([part["peak"] for part in kept if part]), peaks)


def reimported(poses: Poses) -> Poses:
    """The poses half a pixel further, as an import would leave them."""
    return poses.replace(xy=poses.xy + np.float32(0.5), origin=np.full((6, K), Origin.IMPORTED))


def test_a_pose_that_an_import_changed_is_listed(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = review_case.write("base", reimported(review_case.model))
    folder = pulled(corrected(review_case.model, 3))
    result = merge(base.path, folder, out=tmp_path / "out")
    (conflict,) = conflicts(result)
    assert conflict["pose"] == "pose-3"
    assert conflict["what"].startswith("changed by somebody else since")
    assert conflict["detail"].startswith("nose, left_eye")
    assert (result.corrected, result.conflicts) == (1, 1)
    assert np.array_equal(all_poses(result.manifest).xy[3, 1:], review_case.model.xy[3, 1:]), "as the person left it"


def test_a_new_prediction_and_a_second_merge_are_no_conflicts(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model.replace(xy=review_case.model.xy + np.float32(0.5)))
    folder = pulled(corrected(review_case.model, 3), corrected(review_case.model, 4, move=False))
    once = merge(base.path, folder, out=tmp_path / "once")
    twice = merge(once.manifest, folder, out=tmp_path / "twice")
    assert (once.conflicts, twice.conflicts) == (0, 0)
    assert twice.manifest.digest == once.manifest.digest


def test_a_corrected_pose_that_vanished_is_put_back_and_listed(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    samples = review_case.samples(review_case.model)
    samples[1] = samples[1].with_poses(samples[1].poses.take([1]))  # pose 2 is gone, pose 3 is not
    roots = {"images": review_case.folder / "images"}
    peaks = np.arange(5 * K, dtype=np.float32).reshape(5, K)
    with ManifestWriter(tmp_path / "base", Skeleton.load("coco17"), roots, stage="test") as writer:
        writer.write_part(0, samples, {"peak": peaks})
    mine = corrected(review_case.model, 2)
    review_case.model = review_case.model.take([2])
    result = merge(tmp_path / "base", answered(review_case, tmp_path / "pulled", mine), out=tmp_path / "out")
    poses = all_poses(result.manifest)
    assert poses.id.tolist() == ["pose-0", "pose-1", "pose-3", "pose-2", "pose-4", "pose-5"]
    assert np.array_equal(poses.xy[3], mine.after.xy)
    assert poses.attributes[3]["state"] == "reviewed"
    features = result.manifest.features(0)
    assert features is not None
    assert np.array_equal(features["peak"], np.insert(peaks, 3, np.nan, axis=0), equal_nan=True)
    assert [(c["pose"], c["what"]) for c in conflicts(result)] == [("pose-2", "no longer in the base; put back")]


def answered(review_case: Any, path: Path, correction: Correction) -> Path:
    """What `pull` writes: the one answered pose, and its correction."""
    sample = review_case.samples(review_case.truth)[1].with_poses(review_case.model)
    roots = {"images": review_case.folder / "images"}
    write_manifest(path, [sample], Skeleton.load("coco17"), roots, stage="pull")
    write_corrections(path / "corrections.jsonl", [correction])
    return path


def test_a_correction_of_an_unknown_pose_is_listed(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model)
    strange = review_case.model.replace(id=[f"other-{i}" for i in range(6)])
    result = merge(base.path, pulled(corrected(strange, 2), corrected(review_case.model, 1)), out=tmp_path / "out")
    assert [c["what"] for c in conflicts(result)] == ["its image is not in the base"]
    assert "0.png" in conflicts(result)[0]["detail"]
    assert result.summary()["corrected"] == 1
    assert result.summary()["conflicts"] == 1


def test_of_two_corrections_the_later_counts(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model)
    late = corrected(review_case.model, 3, by="late", minute=2, move=False)
    early = corrected(review_case.model, 3, by="early", minute=1)
    result = merge(base.path, pulled(late, early), out=tmp_path / "out")
    poses = all_poses(result.manifest)
    assert poses.by[3] == "late"
    assert np.array_equal(poses.xy[3], review_case.model.xy[3])
    assert [c["what"] for c in conflicts(result)] == ["corrected twice; the later one was taken"]


def test_merging_again_gives_the_same_and_more_corrections_another_result(
    review_case: Any, pulled: Any, tmp_path: Path
) -> None:
    base = review_case.write("base", review_case.model)
    folder = pulled(corrected(review_case.model, 3))
    first = merge(base.path, folder, out=tmp_path / "out")
    again = merge(base.path, folder, out=tmp_path / "out")
    assert (again.manifest.digest, again.corrected) == (first.manifest.digest, 1)
    more = pulled(corrected(review_case.model, 3), corrected(review_case.model, 4), name="more")
    with pytest.raises(ExistsError):
        merge(base.path, more, out=tmp_path / "out")
    assert merge(base.path, more, out=tmp_path / "out", overwrite=True).corrected == 2


def test_a_killed_merge_goes_on_and_lists_the_same_conflicts(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    base = review_case.write("base", reimported(review_case.model))
    folder = pulled(corrected(review_case.model, 0), corrected(review_case.model, 5))
    expected = merge(base.path, folder, out=tmp_path / "out")
    listed = conflicts(expected)
    finished = (tmp_path / "out" / "poses-00000.parquet").stat().st_mtime_ns
    for name in ("manifest.json", "conflicts.jsonl", "samples-00001.parquet"):
        (tmp_path / "out" / name).unlink()
    result = merge(base.path, folder, out=tmp_path / "out")
    assert result.manifest.digest == expected.manifest.digest
    assert conflicts(result) == listed
    assert len(listed) == 2
    assert (tmp_path / "out" / "poses-00000.parquet").stat().st_mtime_ns == finished, "not written again"


def test_another_skeleton_is_refused(review_case: Any, pulled: Any, tmp_path: Path) -> None:
    other = write_manifest(tmp_path / "base", [], Skeleton.load("lsp14"), {}, stage="test")
    with pytest.raises(SkeletonError):
        merge(other.path, pulled(), out=tmp_path / "out")


def test_a_manifest_without_corrections_is_refused(review_case: Any, tmp_path: Path) -> None:
    base = review_case.write("base", review_case.model)
    with pytest.raises(FormatError, match="autolabel pull"):
        merge(base.path, base.path, out=tmp_path / "out")
