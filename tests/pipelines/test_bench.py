"""``bench``: what is timed, in processes of their own, and what the numbers come to."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from autolabel.errors import ConfigError, InputError, WorkError
from autolabel.manifest import Manifest, part_file, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from autolabel.tables import poses_from_table
from model.checkpoint import load_model, save_huggingface, save_model
from model.config import ViTPoseConfig
from model.cost import cost
from model.export import write_onnx
from model.predict import Predictor
from model.references import huggingface, onnx_runtime
from model.vitpose import build_vitpose
from pipelines import bench as module
from pipelines.bench import BenchResult, Timed, bench, in_process
from pipelines.bench_ways import Count, Decoding, HuggingFace, Matrices, Network, OnnxRuntime, Product, count
from tests.doubles import Recorder

COCO = Skeleton.load("coco17")
IMAGES, PEOPLE = 12, 3


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In no time a network of the released layout."""
    torch.manual_seed(0)
    config = ViTPoseConfig(input_size=(64, 48), width=32, depth=1, heads=2)
    return save_model(build_vitpose(config, COCO), tmp_path_factory.mktemp("bench") / "weights")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Three people an image, three parts."""
    folder = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    for i in range(IMAGES):
        pixels = Image.fromarray(rng.integers(0, 255, (10, 12, 3), np.uint8)).resize((96, 80))
        pixels.save(folder / f"{i}.jpg")
        low = rng.uniform(0, 30, (PEOPLE, 2))
        poses = Poses.create(17, id=[f"{i}-{j}" for j in range(PEOPLE)], box=np.hstack([low, low + np.array([30, 45])]))
        samples.append(Sample(f"s{i}", "people", f"{i}.jpg", (96, 80), poses))
    return write_manifest(folder / "m", samples, COCO, {"people": folder}, stage="test", part_size=4)


def test_the_product_is_timed_from_files_to_a_manifest(weights: Path, people: Manifest, tmp_path: Path) -> None:
    way = Product(weights, people.path, tmp_path / "m", 0.0, "cpu", "fp32", "torch", 1)
    work = way.work()
    assert [next(work) for _ in range(3)] == [(12, 36), (3, 9), (3, 9)], "warming up, then a few batches at least"
    for i, most in enumerate((36, 9, 9)):
        poses = poses_from_table(pq.read_table(part_file(tmp_path / "m", "poses", i)), 17)
        assert np.isfinite(poses.xy).all() and 0 < len(poses) <= most


def test_the_product_s_part_is_as_large_as_the_time(
    weights: Path, people: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.bench_ways._WARMING", 2)
    work = Product(weights, people.path, tmp_path / "m", 1e6, "cpu", "fp32", "torch", 8).work()
    assert [next(work) for _ in range(3)] == [(2, 6), (12, 36), (12, 36)], "all that there are"


def test_a_way_works_for_the_seconds_that_it_is_given_after_warming_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        name = "slow"

        def work(self):
            while True:
                clock.now += 2.0
                yield 1, 3

    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr("pipelines.bench_ways.time", clock)
    done = count(Slow(), 5.0)
    assert (done.images, done.people, done.seconds) == (3, 9, 6.0)
    assert done.peak_mib > 50


@pytest.mark.parametrize("batch", [1, 5])
def test_references_say_what_the_product_says(weights: Path, people: Manifest, tmp_path: Path, batch: int) -> None:
    """The same network in three programs; its random heatmaps have their peaks all over."""
    model = load_model(weights)
    folder = save_huggingface(model, tmp_path / "hf")
    write_onnx(model, tmp_path / "network.onnx")
    samples = people.part(0)
    images = [(np.array(Image.open(people.image_path(s)).convert("RGB")), s.poses.box) for s in samples]
    pairs = [(torch.tensor(pixels).permute(2, 0, 1), boxes) for pixels, boxes in images]
    own = np.concatenate([said.xy for said in Predictor(model, precision="fp32").predict(pairs)])
    for reference in (huggingface(folder, "fp32"), onnx_runtime(folder, tmp_path / "network.onnx")):
        found = np.concatenate(reference.predict(images))
        assert found.shape == (len(samples) * PEOPLE, 17, 3)
        assert np.median(np.linalg.norm(found[..., :2] - own, axis=-1)) < 0.5
    way = HuggingFace(folder, people.path, "cpu", "fp32", batch)
    work = way.work()
    assert next(work) == (batch, batch * PEOPLE)
    other = OnnxRuntime(weights, people.path, tmp_path / "network.onnx", batch).work()
    assert next(other) == (batch, batch * PEOPLE)
    assert f"{batch} image" in way.name


def test_the_bounds(weights: Path, people: Manifest) -> None:
    assert next(Network(weights, "cpu", "fp32", "torch", 8).work()) == (8, 8)
    assert next(Decoding(people.path).work()) == (1, PEOPLE)
    macs = cost(load_model(weights).config, 17).macs
    images, told = next(Matrices("cpu", "fp32", macs, side=256).work())
    products = -(-100 * macs // 256**3)
    assert images == told == round(products * 256**3 / macs)
    assert 100 <= told <= 100 + 256**3 / macs + 1


def test_bench_writes_what_it_timed(
    weights: Path, people: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "in_process", count)  # a process of its own takes seconds to begin
    progress, out = Recorder(), tmp_path / "bench"
    how: dict[str, Any] = {"weights": weights, "precision": "fp32", "references": False, "seconds": 0.0}
    result = bench(people.path, out=out, progress=progress, **how)
    assert [row.kind for row in result.rows] == ["product", *["bound"] * 5]
    assert {row.way for row in result.rows} >= {"autolabel predict", "bare network, torch fp32"}
    assert all(row.people_per_second > 0 and row.seconds > 0 for row in result.rows)
    assert result.rows[0].people_per_second == pytest.approx(PEOPLE * result.rows[0].images_per_second)
    told = json.loads((out / "bench.json").read_text())
    assert [row["way"] for row in told["rows"]] == [row.way for row in result.rows]
    assert (out / "bench.txt").read_text() == result.table()
    assert not (out / "work").exists()
    assert progress.totals["bench"] == len(result.rows)
    again = bench(people.path, out=out, **how)
    assert again == result, "nothing was timed again"


def test_a_reference_that_cannot_be_had_is_told_and_left_out(
    people: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that Hugging Face's layout cannot hold; and a reference whose process fails."""
    config = ViTPoseConfig(input_size=(64, 48), width=32, depth=1, heads=2, decoder="simple", presence=True)
    weights = save_model(build_vitpose(config, COCO), tmp_path / "weights")

    def instead(way: Any, seconds: float) -> Count:
        if isinstance(way, OnnxRuntime):
            raise WorkError("its process died with -9", subject=way.name)
        return Count(1, 3, 1.0, 1.0)

    monkeypatch.setattr(module, "in_process", instead)
    result = bench(people.path, weights=weights, out=tmp_path / "bench")
    assert "Hugging Face" in result.left_out and "presence" in result.left_out["Hugging Face"]
    assert result.left_out["ONNX Runtime fp32, 1 image at a time"] == "its process died with -9"
    assert "left out: Hugging Face" in result.table()


def test_what_happens_in_the_process_is_told_here(people: Manifest, tmp_path: Path) -> None:
    """Of the way whose process needs the least to begin."""
    done = in_process(Decoding(people.path), 0.0)
    assert (done.images, done.people) == (1, PEOPLE) and done.seconds > 0
    with pytest.raises(InputError, match="missing"):
        in_process(Decoding(tmp_path / "missing"), 0.0)


def test_of_a_manifest_only_people_in_boxes_are_taken(
    people: Manifest, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody in one image, a pose without a box in another, and a file that is broken."""
    samples = list(people)
    samples[0] = samples[0].with_poses(Poses.empty(17))
    unboxed = samples[1].poses.box.copy()
    unboxed[0] = np.nan
    samples[1] = samples[1].with_poses(samples[1].poses.replace(box=unboxed))
    (tmp_path / "broken.jpg").write_bytes(b"broken")
    samples[2] = replace(samples[2], root="more", path="broken.jpg")
    roots = {**people.roots, "more": tmp_path}
    mixed = write_manifest(tmp_path / "m", samples, COCO, roots, stage="test")
    counted = dict[str, tuple[int, int]]()

    def instead(way: Any, seconds: float) -> Count:
        del seconds
        if isinstance(way, Product | HuggingFace):
            work = way.work()
            done = [next(work)] if isinstance(way, Product) else [next(work) for _ in range(11 // way.batch)]
            counted[way.name] = (sum(images for images, _ in done), sum(people for _, people in done))
        return Count(1, 3, 1.0, 1.0)

    monkeypatch.setattr(module, "in_process", instead)
    monkeypatch.setattr(module, "BATCHES", (1,))
    bench(mixed.path, weights=weights, out=tmp_path / "bench", precision="fp32", backend="torch")
    assert counted["autolabel predict"] == (11, 11 * PEOPLE - 1)
    assert counted["Hugging Face fp32, 1 image at a time"] == (10, 10 * PEOPLE - 1)


def test_wrong_input_is_refused(people: Manifest, weights: Path, tmp_path: Path) -> None:
    samples = [sample.with_poses(Poses.create(17, id=[sample.id])) for sample in people]  # without a box
    empty = write_manifest(tmp_path / "empty", samples, COCO, people.roots, stage="test")
    with pytest.raises(InputError, match="no boxes"):
        bench(empty.path, weights=weights, out=tmp_path / "bench")
    with pytest.raises(ConfigError):
        bench(people.path, weights=weights, out=tmp_path / "other", device="tpu")


def test_the_table_compares() -> None:
    def row(way: str, kind: str, people: float) -> Timed:
        return Timed(way, kind, people / 3, people, 1234.5, 20.0)

    rows = (
        row("autolabel predict", "product", 60),
        row("bare network, torch bf16", "bound", 50),
        row("bare network, openvino bf16", "bound", 75),
        row("matrix products alone, bf16", "bound", 150),
        row("reading and decoding alone", "bound", 900),
        row("Hugging Face fp32, 1 image at a time", "reference", 8),
        row("Hugging Face fp32, 8 images at a time", "reference", 10),
        row("Hugging Face bf16, 8 images at a time", "reference", 30),
    )
    table = BenchResult(Path("bench"), rows, {}).table()
    first = next(line for line in table.splitlines() if line.startswith("autolabel predict"))
    assert first.split()[2:] == ["20.0", "60.0", "6.00", "1,234"]
    assert "End to end 80% of the fastest bare network." in table
    assert "The bare network 50% of matrix products." in table
    assert "times: people/s by those of Hugging Face fp32, 8 images at a time." in table
