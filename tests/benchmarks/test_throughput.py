"""The benchmark of throughput: its images, and what its rows come to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.images import read_image
from benchmarks.throughput import Person, _paste, composed, page_table, picture, row_of, verdicts

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("people", [1, 3])
def test_every_file_is_another_and_holds_its_people(tmp_path: Path, people: int) -> None:
    manifest = composed(DATA, tmp_path, people, files=30)
    samples = list(manifest)
    assert len(samples) == 30 and manifest.counts["poses"] == 30 * people
    pictures = {read_image(manifest.image_path(sample)).tobytes() for sample in samples}
    assert len(pictures) == 30
    for sample in samples:
        assert sample.size == (640, 480)
        assert np.all(sample.poses.box[:, 2:] - sample.poses.box[:, :2] > 10)
        middles = (sample.poses.box[:, :2] + sample.poses.box[:, 2:]) / 2
        assert np.all((middles > 0) & (middles < np.array([640, 480])))


def test_a_box_is_about_its_person(tmp_path: Path) -> None:
    photo = np.zeros((100, 80, 3), np.uint8)
    photo[20:90, 30:60] = 255
    Image.fromarray(photo).save(tmp_path / "person.png")
    canvas = Image.new("RGB", (640, 480))
    person = Person(tmp_path / "person.png", (30, 20, 60, 90))
    box = _paste(canvas, person, 400, np.random.default_rng(0))
    rows, columns = np.nonzero(np.asarray(canvas)[..., 0] > 128)
    shown = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert shown == pytest.approx(box, abs=1.5)
    assert 260 <= (box[3] - box[1]) * 100 / 70 <= 420


def timed(way: str, kind: str, people: float) -> dict[str, Any]:
    return {
        "way": way, "kind": kind, "images_per_second": people / 3, "people_per_second": people, "peak_mib": 1000.0,
        "seconds": 15.0,
    }  # fmt: skip


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    ways = [
        timed("autolabel predict", "product", 27.0),
        timed("bare network, torch bf16", "bound", 20.0),
        timed("bare network, openvino bf16", "bound", 30.0),
        timed("matrix products alone, bf16", "bound", 40.0),
        timed("reading and decoding alone", "bound", 900.0),
        timed("Hugging Face fp32, 1 image at a time", "reference", 8.0),
        timed("Hugging Face fp32, 8 images at a time", "reference", 9.0),
        timed("Hugging Face bf16, 8 images at a time", "reference", 13.5),
        timed("ONNX Runtime fp32, 8 images at a time", "reference", 10.0),
    ]
    return [row_of(size, people, 32, way) for size in ("s", "b") for people in (3, 1) for way in ways]


def test_the_rows_are_compared_with_the_best_of_each_reference(rows: list[dict[str, Any]]) -> None:
    one, other = verdicts(rows)
    assert one == (
        "ViTPose-S: 27.0 people/s end to end, 3.0x Hugging Face fp32, 2.0x Hugging Face bf16, 2.7x ONNX Runtime fp32; "
        "90% of the fastest bare network, which reaches 75% of what products of matrices reach here."
    )
    assert other.startswith("ViTPose-B")


def test_the_page_has_every_row(rows: list[dict[str, Any]]) -> None:
    lines = page_table(rows).splitlines()
    assert sum(line.startswith("| ViTPose") for line in lines) == len(rows)
    assert "| ViTPose-S | 3 | autolabel predict | 9.0 | 27.0 | 3.00 | 1,000 |" in lines
    assert "| ViTPose-S | 3 | bare network, openvino bf16 |  | 30.0 | 3.33 | 1,000 |" in lines


def test_the_picture_is_one(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    picture(rows, tmp_path / "throughput.png")
    with Image.open(tmp_path / "throughput.png") as image:
        assert image.width > 1_000 and image.height > 300
