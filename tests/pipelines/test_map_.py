from pathlib import Path

import numpy as np
import pytest

from autolabel.errors import ExistsError, SkeletonError
from autolabel.manifest import Manifest, write_manifest
from autolabel.mapping import apply, keypoint_map
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.map_ import map_
from tests.doubles import Recorder

COCO = Skeleton.load("coco17")


@pytest.fixture
def source(tmp_path: Path) -> Manifest:
    rng = np.random.default_rng(0)

    def sample(i: int) -> Sample:
        poses = Poses.create(
            17, id=[f"p{i}"], xy=rng.uniform(0, 99, (1, 17, 2)), visibility=np.full((1, 17), 2), p_bad=[0.5]
        )
        return Sample(f"{i:032x}", "images", f"{i}.jpg", (100, 100), poses, group="g", attributes={"a": i})

    return write_manifest(tmp_path / "m", map(sample, range(5)), COCO, {"images": tmp_path}, stage="test", part_size=2)


def test_every_pose_is_mapped_and_the_rest_stays(source: Manifest, tmp_path: Path) -> None:
    progress = Recorder()
    mapped = map_(source.path, to="mpii16", out=tmp_path / "out", progress=progress)
    assert mapped.skeleton == Skeleton.load("mpii16") and mapped.stage == "map"
    assert mapped.counts == source.counts and mapped.num_parts == source.num_parts
    assert [parent.digest for parent in mapped.parents] == [source.digest]
    mapping = keypoint_map(COCO, mapped.skeleton)
    for before, after in zip(source, mapped, strict=True):
        assert after.key == before.key and after.attributes == before.attributes and after.group == "g"
        assert after.poses.equals(apply(mapping, before.poses))
    assert progress.done == 5
    assert progress.notes == ["Nothing maps to upper_neck, head_top: they stay unlabelled."]


def test_names_file(source: Manifest, tmp_path: Path) -> None:
    (tmp_path / "names.toml").write_text('upper_neck = ["left_shoulder", "right_shoulder"]\nhead_top = "nose"\n')
    mapped = map_(source.path, to="mpii16", names=tmp_path / "names.toml", out=tmp_path / "out")
    assert (next(iter(mapped)).poses.visibility == 2).all()


def test_a_mapping_to_itself_changes_nothing_but_doubt(source: Manifest, tmp_path: Path) -> None:
    mapped = map_(source.path, to="coco17", out=tmp_path / "out")
    for before, after in zip(source, mapped, strict=True):
        assert after.poses.equals(before.poses.replace(p_bad=[np.nan]))


def test_existing_results(source: Manifest, tmp_path: Path) -> None:
    first = map_(source.path, to="mpii16", out=tmp_path / "out")
    progress = Recorder()
    assert map_(source.path, to="mpii16", out=tmp_path / "out", progress=progress).digest == first.digest
    assert progress.done == 0
    with pytest.raises(ExistsError):
        map_(source.path, to="crowdpose14", out=tmp_path / "out")
    assert map_(source.path, to="crowdpose14", out=tmp_path / "out", overwrite=True).skeleton.num_keypoints == 14


def test_a_stopped_job_goes_on(source: Manifest, tmp_path: Path) -> None:
    whole = map_(source.path, to="mpii16", out=tmp_path / "whole")
    done = map_(source.path, to="mpii16", out=tmp_path / "out")
    (done.path / "manifest.json").unlink()
    (done.path / "samples-00001.parquet").unlink()
    kept = (done.path / "samples-00000.parquet").stat().st_mtime_ns
    progress = Recorder()
    assert map_(source.path, to="mpii16", out=tmp_path / "out", progress=progress).digest == whole.digest
    assert progress.done == 2
    assert (done.path / "samples-00000.parquet").stat().st_mtime_ns == kept


def test_unknown_skeletons_and_nothing_in_common(source: Manifest, tmp_path: Path) -> None:
    with pytest.raises(SkeletonError, match="neither a built-in skeleton nor a file"):
        map_(source.path, to="coco18", out=tmp_path / "out")
    (tmp_path / "mouse.json").write_text('{"name": "mouse", "keypoints": ["snout"]}')
    with pytest.raises(SkeletonError, match="no keypoint of 'coco17' maps to one of 'mouse'"):
        map_(source.path, to=tmp_path / "mouse.json", out=tmp_path / "out")
