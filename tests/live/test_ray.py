"""`predict --engine ray` on clusters of this machine: the same poses as here, whatever is killed in the middle."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.errors import CheckpointError, ConfigError, ExistsError, InputError
from autolabel.manifest import Manifest, part_file
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from model.checkpoint import save_model
from model.config import ViTPoseConfig
from model.vitpose import build_vitpose
from pipelines.detect import detect
from pipelines.parts import reports
from pipelines.predict import predict
from pipelines.predict_job import Question, worker
from pipelines.scan import scan
from pipelines.shards import Cluster, map_parts
from tests.detectors import released
from tests.doubles import Recorder

cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = [pytest.mark.live, pytest.mark.slow]

PARTS, A_PART = 24, 3
NEAR = 0.01
"""Pixels that another number of threads may move a keypoint."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slow enough that something can be killed meanwhile."""
    torch.manual_seed(0)
    config = ViTPoseConfig(input_size=(128, 96), patch_size=8, width=192, depth=6, heads=3, deconv_channels=64)
    return save_model(build_vitpose(config, Skeleton.load("coco17")), tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "photos").mkdir()
    for i in range(PARTS * A_PART):
        pixels = np.random.default_rng(i).integers(0, 255, (60, 80 + i % 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{i:03}.png")
    (folder / "photos" / "050.png").write_bytes((folder / "photos" / "050.png").read_bytes()[:100])
    made = scan(folder / "photos", out=folder / "m", part_size=A_PART).manifest
    (folder / "photos" / "070.png").unlink()  # after the scan: an image that a worker cannot read
    return made


@pytest.fixture(scope="module")
def local(corpus: Manifest, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return predict(corpus.path, weights=weights, precision="fp32", out=tmp_path_factory.mktemp("local") / "m").manifest


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Of the test's own, which may kill what it likes."""
    with machines() as made:
        yield made


@pytest.fixture(scope="module")
def steady() -> Iterator[Any]:
    """One for the tests that kill nothing."""
    with machines() as made:
        yield made


@contextmanager
def machines() -> Iterator[Any]:
    """A head that works on nothing, and two machines of one core each."""
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.workers = [made.add_node(num_cpus=1) for _ in range(2)]
    made.wait_for_nodes()
    try:
        yield made
    finally:
        made.shutdown()


def as_local(found: Manifest, local: Manifest) -> None:
    """Every sample exactly once and in the same order, the same ids, and the same places."""
    assert [sample.key for sample in found] == [sample.key for sample in local]
    for ours, theirs in zip(local, found, strict=True):
        assert ours.poses.id.tolist() == theirs.poses.id.tolist()
        assert theirs.poses.xy == pytest.approx(ours.poses.xy, abs=NEAR, nan_ok=True)
        assert theirs.poses.score == pytest.approx(ours.poses.score, abs=1e-4, nan_ok=True)


def actors() -> list[int]:
    """Processes that work on parts."""
    found = list[int]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            said = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if said.startswith(b"ray::") and b"_Actor" in said:
            found.append(int(folder.name))
    return found


class Meanwhile(threading.Thread):
    """Does one thing after the other as soon as so many parts are written."""

    def __init__(self, out: Path, steps: list[tuple[int, Callable[[], object]]]) -> None:
        super().__init__(daemon=True)
        self.out, self.steps, self.done, self.over = out, steps, 0, False

    def run(self) -> None:
        for parts, step in self.steps:
            while sum(part_file(self.out, "samples", i).is_file() for i in range(PARTS)) < parts:
                if self.over:
                    return
                time.sleep(0.02)
            step()
            self.done += 1


def test_a_worker_and_then_a_whole_machine_are_killed(
    cluster: Any, corpus: Manifest, weights: Path, local: Manifest, tmp_path: Path
) -> None:
    killed = list[int]()

    def kill_a_worker() -> None:
        killed.extend(actors()[:1])
        os.kill(killed[0], signal.SIGKILL)

    def kill_a_machine() -> None:
        cluster.remove_node(cluster.workers[0], allow_graceful=False)

    out, recorder = tmp_path / "m", Recorder()
    meanwhile = Meanwhile(out, [(2, kill_a_worker), (6, kill_a_machine)])
    meanwhile.start()
    result = predict(
        corpus.path, weights=weights, precision="fp32", out=out, engine="ray", ray_address=cluster.address,
        progress=recorder,
    )  # fmt: skip
    meanwhile.over = True
    meanwhile.join()
    assert meanwhile.done == 2 and killed, "something was killed before the job was done"
    as_local(result.manifest, local)
    assert (len(reports(out)), result.quarantined) == (PARTS, 1)
    assert recorder.done == PARTS * A_PART - 1, "of every image once"


def test_a_cluster_of_the_job_s_own_and_one_that_goes_on(
    corpus: Manifest, weights: Path, local: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "m"
    result = predict(corpus.path, weights=weights, precision="fp32", out=out, engine="ray")
    as_local(result.manifest, local)
    record = Predicted.read(out)
    assert record is not None and (record.device, record.precision) == ("cpu", "fp32")
    written = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    # The engine does not name the run: either finishes what the other began.
    (out / "manifest.json").unlink()
    part_file(out, "samples", 3).unlink()
    again = predict(corpus.path, weights=weights, precision="fp32", out=out)
    assert again.manifest.digest == result.manifest.digest
    changed = {file.name for file, time in written.items() if file.stat().st_mtime_ns != time}
    assert part_file(out, "samples", 4).name not in changed and part_file(out, "samples", 3).name in changed


def test_boxes_are_those_that_are_found_here(steady: Any, corpus: Manifest, tmp_path: Path) -> None:
    how: dict[str, Any] = {"detector": released(tmp_path / "detector"), "min_score": 0.0, "max_boxes": 3}
    here = detect(corpus.path, out=tmp_path / "here", **how)
    there = detect(corpus.path, out=tmp_path / "there", engine="ray", ray_address=steady.address, **how)
    assert here.manifest.counts["poses"] > len(here.manifest)
    assert [sample.key for sample in there.manifest] == [sample.key for sample in here.manifest]
    for ours, theirs in zip(here.manifest, there.manifest, strict=True):
        assert len(theirs.poses) == len(ours.poses)
        assert theirs.poses.box == pytest.approx(ours.poses.box, abs=NEAR)
    assert there.quarantined == here.quarantined == 1


def test_what_a_worker_says_is_said(steady: Any, corpus: Manifest, tmp_path: Path) -> None:
    """Weights that a worker does not find, as on a machine that does not see the folder."""
    make = partial(worker, Question(weights=tmp_path / "gone"), corpus.path)
    with pytest.raises(CheckpointError, match="no such file or folder"):
        list(map_parts(make, Cluster(steady.address))([0, 1], Recorder()))


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"engine": "ray", "ray_address": "127.0.0.1:1"}, InputError, "no Ray cluster can be reached"),
        ({"engine": "dask"}, ConfigError, "unknown engine 'dask'"),
        ({"ray_address": "auto"}, ConfigError, "has no address"),
        ({"engine": "ray", "device": "cuda:99"}, ConfigError, "no such CUDA device"),
    ],
)
def test_impossible_engines_are_refused(
    how: dict[str, Any], error: type[Exception], said: str, corpus: Manifest, weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        predict(corpus.path, weights=weights, out=tmp_path / "m", **how)


def test_another_result_is_not_replaced(corpus: Manifest, weights: Path, local: Manifest) -> None:
    with pytest.raises(ExistsError):
        predict(corpus.path, weights=weights, precision="fp32", flip_test=True, out=local.path, engine="ray")
