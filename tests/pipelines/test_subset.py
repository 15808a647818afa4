"""Manifests made of another one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ExistsError
from autolabel.manifest import Manifest, ManifestWriter
from autolabel.poses import Poses
from autolabel.skeleton import Skeleton
from pipelines.subset import with_poses, with_states


@pytest.fixture
def source(review_case: Any) -> Manifest:
    return review_case.write("source", review_case.model)


def all_poses(manifest: Manifest) -> Poses:
    return Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])


def test_the_named_poses_and_their_images(review_case: Any, source: Manifest, tmp_path: Path) -> None:
    made = with_poses(source, ["pose-4", "pose-0", "elsewhere"], out=tmp_path / "some", stage="select")
    assert all_poses(made).equals(review_case.model.take([0, 4]))
    assert [sample.path for sample in made] == ["0.png", "2.png"]
    assert (made.stage, [parent.digest for parent in made.parents]) == ("select", [source.digest])
    assert made.image_path(next(iter(made))).is_file()


def test_no_pose_at_all(source: Manifest, tmp_path: Path) -> None:
    made = with_poses(source, [], out=tmp_path / "none", stage="select")
    assert made.counts == {"samples": 0, "poses": 0}
    assert made.skeleton.fingerprint == source.skeleton.fingerprint


def test_the_same_poses_again_are_done_and_others_are_refused(source: Manifest, tmp_path: Path) -> None:
    made = with_poses(source, ["pose-1", "pose-2"], out=tmp_path / "some", stage="select")
    before = (tmp_path / "some" / "poses-00000.parquet").stat().st_mtime_ns
    assert with_poses(source, {"pose-2", "pose-1"}, out=tmp_path / "some", stage="select").digest == made.digest
    assert (tmp_path / "some" / "poses-00000.parquet").stat().st_mtime_ns == before
    with pytest.raises(ExistsError):
        with_poses(source, ["pose-1"], out=tmp_path / "some", stage="select")


def test_a_killed_selection_starts_over(source: Manifest, tmp_path: Path) -> None:
    made = with_poses(source, ["pose-1"], out=tmp_path / "some", stage="select")
    (tmp_path / "some" / "manifest.json").unlink()
    assert with_poses(source, ["pose-1"], out=tmp_path / "some", stage="select").digest == made.digest


def first_and_last(poses: Poses) -> list[str]:
    return [{"pose-0": "accepted", "pose-5": "review"}.get(pose, "") for pose in poses.id.tolist()]


def test_states_are_stated_anew_and_nothing_else_changes(review_case: Any, tmp_path: Path) -> None:
    attributes = [{"track": i, "state": "reviewed"} for i in range(6)]
    poses = review_case.model.replace(attributes=attributes)
    peaks = np.arange(6, dtype=np.float32)
    roots = {"images": review_case.folder / "images"}
    with ManifestWriter(tmp_path / "source", Skeleton.load("coco17"), roots, stage="test") as writer:
        for i, sample in enumerate(review_case.samples(poses)):
            writer.write_part(i, [sample], {"peak": peaks[2 * i : 2 * i + 2]})
    source = Manifest.open(tmp_path / "source")
    made = with_states(source, first_and_last, out=tmp_path / "dataset", stage="dataset", config={"certificate": "c"})
    states = [a["state"] for a in all_poses(made).attributes]
    assert states == ["accepted", *["reviewed"] * 4, "review"]
    assert [a["track"] for a in all_poses(made).attributes] == list(range(6))
    assert all_poses(made).replace(attributes=attributes).equals(poses)
    assert [made.features(i)["peak"].tolist() for i in range(3)] == [[0, 1], [2, 3], [4, 5]]  # type: ignore[index]


def test_killed_states_go_on_and_other_reasons_are_refused(source: Manifest, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"out": tmp_path / "dataset", "stage": "dataset"}
    made = with_states(source, first_and_last, config={"certificate": "c"}, **arguments)
    kept = (tmp_path / "dataset" / "poses-00000.parquet").stat().st_mtime_ns
    for name in ("manifest.json", "samples-00001.parquet"):
        (tmp_path / "dataset" / name).unlink()
    assert with_states(source, first_and_last, config={"certificate": "c"}, **arguments).digest == made.digest
    assert (tmp_path / "dataset" / "poses-00000.parquet").stat().st_mtime_ns == kept
    with pytest.raises(ExistsError):
        with_states(source, first_and_last, config={"certificate": "d"}, **arguments)
