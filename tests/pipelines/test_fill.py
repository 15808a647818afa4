"""Filling in as a stage: who is asked, what becomes of the answers, and that nothing is done twice or for nothing."""

from pathlib import Path

import numpy as np
import pytest

from autolabel.errors import ExistsError
from autolabel.fill import stated
from autolabel.manifest import Existing, Manifest, ManifestWriter, write_manifest
from autolabel.poses import FILLED, Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.calibrate import calibrate
from pipelines.fill import Teacher, fill_open, keep_sure

SKELETON = Skeleton.load("coco17")
K, N = 17, 80
OPEN = [3, 4]


class Oracle:
    """A network that is right where its peaks are high and 40 pixels off where they are low; counts its questions."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.folder = folder
        self.xy = rng.uniform(10, 90, (N, K, 2)).astype(np.float32)
        self.peak = np.repeat(rng.uniform(0.1, 0.9, (N, 1)), K, axis=1).astype(np.float32)
        self.asked: list[list[str]] = []

    def predict(self, source: Path, out: Path) -> Manifest:
        samples = list(Manifest.open(source))
        self.asked.append([pose for sample in samples for pose in sample.poses.id.tolist()])
        assert not any(attributes for sample in samples for attributes in sample.poses.attributes)
        rows = [int(pose[1:]) for pose in self.asked[-1]]
        return self.write(out, rows)

    def write(self, out: Path, rows: list[int]) -> Manifest:
        peak = self.peak[rows]
        xy = self.xy[rows] + np.where(peak < 0.5, 40, 0)[..., None]
        shared = {"by": ["net"] * len(rows), "origin": np.full((len(rows), K), Origin.MODEL)}
        poses = people(rows, xy, np.full((len(rows), K), Visibility.VISIBLE)).replace(**shared)
        with ManifestWriter(out, SKELETON, {"r": out}, stage="predict", existing=Existing.OVERWRITE) as writer:
            writer.write_part(0, [sample(poses, i) for i in range(len(rows))], {"peak": peak})
        return Manifest.open(out)


def people(rows: list[int], xy: np.ndarray, visibility: np.ndarray) -> Poses:
    box = np.tile([0.0, 0.0, 100.0, 100.0], (len(rows), 1))
    return Poses.create(K, id=[f"p{row}" for row in rows], box=box, xy=xy, visibility=visibility)


def sample(poses: Poses, i: int) -> Sample:
    name = poses.id[i]
    return Sample(f"s{name}", "r", f"{name}.png", (100, 100), poses.take([i]))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    folder = tmp_path_factory.mktemp("oracle")
    made = Oracle(folder)
    everybody = list(range(N))
    made.write(folder / "predicted", everybody)
    truth = people(everybody, made.xy, np.full((N, K), Visibility.VISIBLE))
    write(folder / "truth", truth.replace(attributes=[{"state": "reviewed"}] * N))
    calibrate(folder / "predicted", truth=folder / "truth", out=folder / "calibrator.json")
    return made


def write(path: Path, poses: Poses) -> Manifest:
    samples = [sample(poses, i) for i in range(len(poses))]
    return write_manifest(path, samples, SKELETON, {"r": path}, stage="test", part_size=3)


def labelled(oracle: Oracle, path: Path, open_in: dict[int, list[int]]) -> Manifest:
    """Poses 0 to 9; of some, some keypoints are open."""
    visibility = np.full((10, K), Visibility.VISIBLE)
    xy = oracle.xy[:10].copy()
    for row, keypoints in open_in.items():
        visibility[row, keypoints], xy[row, keypoints] = Visibility.UNLABELLED, np.nan
    states = [{"state": "reviewed"}] * 10
    return write(path, people(list(range(10)), xy, visibility).replace(attributes=states))


def teacher(oracle: Oracle, below: float = 0.2) -> Teacher:
    return Teacher(oracle.predict, oracle.folder / "calibrator.json", below)


def all_poses(manifest: Manifest) -> Poses:
    return Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])


def test_open_keypoints_are_asked_of_the_network_and_filled_where_it_is_sure(oracle: Oracle, tmp_path: Path) -> None:
    source = labelled(oracle, tmp_path / "source", dict.fromkeys(range(6), OPEN))
    oracle.asked.clear()
    filled = fill_open(source, stated, teacher(oracle), out=tmp_path / "out")
    assert oracle.asked == [[f"p{row}" for row in range(6)]], "whose keypoints are all there is not asked about"
    sure = [row for row in range(6) if oracle.peak[row, 0] > 0.5]
    assert 0 < len(sure) < 6
    poses = all_poses(filled.manifest)
    assert filled.keypoints == 2 * len(sure)
    for row in range(10):
        known = FILLED in poses.attributes[row]
        assert known == (row in sure)
        assert poses.attributes[row]["state"] == "reviewed"
        if known:
            assert np.array_equal(poses.xy[row], oracle.xy[row])
            assert poses.origin[row, OPEN].tolist() == [Origin.MODEL] * 2
        elif row < 6:
            assert poses.visibility[row, OPEN].tolist() == [Visibility.UNLABELLED] * 2
    again = fill_open(source, stated, teacher(oracle), out=tmp_path / "out")
    assert (again.manifest.digest, again.keypoints) == (filled.manifest.digest, filled.keypoints)
    with pytest.raises(ExistsError, match="holds the result of another run"):
        fill_open(source, stated, teacher(oracle, 0.1), out=tmp_path / "out")


def test_a_killed_stage_asks_no_second_time(oracle: Oracle, tmp_path: Path) -> None:
    source = labelled(oracle, tmp_path / "source", {0: OPEN})
    whole = fill_open(source, stated, teacher(oracle), out=tmp_path / "out").manifest.digest
    (tmp_path / "out" / "manifest" / "manifest.json").unlink()
    kept = (tmp_path / "out" / "scored" / "manifest.json").stat().st_mtime_ns
    assert fill_open(source, stated, teacher(oracle), out=tmp_path / "out").manifest.digest == whole
    assert (tmp_path / "out" / "scored" / "manifest.json").stat().st_mtime_ns == kept


@pytest.mark.parametrize("open_in", [{}, {0: list(range(K))}])
def test_where_nothing_is_to_be_filled_the_source_is_trained_on(
    oracle: Oracle, tmp_path: Path, open_in: dict[int, list[int]]
) -> None:
    """Nothing is open, or it is a pose of which nobody said anything: that is not trained on at all."""
    source = labelled(oracle, tmp_path / "source", open_in)
    filled = fill_open(source, stated, teacher(oracle), out=tmp_path / "out")
    assert (filled.manifest.path, filled.keypoints) == (source.path, 0)
    assert not (tmp_path / "out").exists()


def test_without_a_teacher_what_nobody_looked_at_is_unlabelled(oracle: Oracle, tmp_path: Path) -> None:
    source = labelled(oracle, tmp_path / "source", {0: OPEN})
    assert fill_open(source, stated, None, out=tmp_path / "out").manifest.path == source.path
    looked_at = np.arange(K) < 10

    def said(poses: Poses) -> np.ndarray:
        return stated(poses) & looked_at

    filled = fill_open(source, said, None, out=tmp_path / "out")
    poses = all_poses(filled.manifest)
    assert filled.keypoints == 0
    assert (poses.visibility[:, 10:] == Visibility.UNLABELLED).all()
    assert (poses.visibility[1:, :10] == Visibility.VISIBLE).all()


def test_of_accepted_poses_the_sure_keypoints_are_kept(oracle: Oracle, tmp_path: Path) -> None:
    p_gross = np.full((10, K), 0.01)
    p_gross[:, :4], p_gross[9] = 0.3, np.nan
    poses = people(list(range(10)), oracle.xy[:10], np.full((10, K), Visibility.VISIBLE)).replace(p_gross=p_gross)
    kept = keep_sure(write(tmp_path / "scored", poses), below=0.02, out=tmp_path / "out")
    made = all_poses(kept.manifest)
    assert kept.keypoints == 9 * (K - 4)
    assert (made.visibility[:9, 4:] == Visibility.VISIBLE).all() and np.array_equal(made.xy[:9, 4:], poses.xy[:9, 4:])
    assert (made.visibility[:, :4] == Visibility.UNLABELLED).all() and not made.visibility[9].any()
