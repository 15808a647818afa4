"""What is read of a training's metrics, which number is drawn where, and that a picture comes of any of it."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from autolabel.errors import FormatError, InputError
from autolabel.report.plots import RANDOM, ROUTED
from autolabel.report.training_plots import CURVES, panels, plot_training, read_curves

OURS = ("loss", "pck", "learning_rate", "crops_per_second")


def metrics(folder: Path, *records: dict[str, Any], end: str = "\n") -> Path:
    path = folder / "metrics.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records) + end, encoding="utf-8")
    return path


def a_line(step: int, **more: float) -> dict[str, Any]:
    t = step / 1000
    return {"step": step, "loss": math.exp(-3 * t), "pck": t, "learning_rate": 1e-3, "crops_per_second": 90, **more}


def picture(folder: Path, path: Path) -> NDArray[np.int64]:
    [drawn] = plot_training(path, folder)
    assert drawn == folder / CURVES
    assert [file.name for file in folder.glob("*.png*")] == [CURVES], "nothing temporary is left"
    with Image.open(drawn) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(np.int64)


def has(pixels: NDArray[np.int64], color: str) -> bool:
    return bool((np.abs(pixels - ImageColor.getrgb(color)[:3]).max(axis=-1) < 12).any())


def test_numbers_are_read_by_name(tmp_path: Path) -> None:
    path = metrics(
        tmp_path,
        {"step": 20, "loss": 0.5, "note": "words", "best": True, "none": None},
        {"step": 10, "loss": 0.9},
        {"step": 30, "loss": math.nan, "validation_pck": 1},
        {"step": 20, "pck": 0.25},  # a second line of a step: its numbers are added
        {"step": 10, "loss": 0.8},  # and the later one counts
    )
    curves = read_curves(path)
    assert set(curves) == {"loss", "pck", "validation_pck"}
    np.testing.assert_array_equal(curves["loss"].steps, [10, 20, 30])
    np.testing.assert_array_equal(curves["loss"].values, [0.8, 0.5, np.nan])
    assert [curves[name].validates for name in ("loss", "pck", "validation_pck")] == [False, False, True]
    assert curves["pck"].steps.tolist() == [20]


@pytest.mark.parametrize(
    ("end", "steps"),
    [
        ("\n", [10]),
        ("", [10]),  # whole, but for its line break
        ('\n{"step": 20, "lo', [10]),  # what a kill leaves
        ('\n{"step": 20, "loss": 0.', [10]),
        ('\n{"step": 20, "loss": 0.5}', [10, 20]),
        ("\n\n\n", [10]),
        ("\n2", [10]),  # JSON, but of a longer line
    ],
)
def test_half_a_line_at_the_end_is_passed_over(tmp_path: Path, end: str, steps: list[int]) -> None:
    assert read_curves(metrics(tmp_path, {"step": 10, "loss": 1.0}, end=end))["loss"].steps.tolist() == steps


@pytest.mark.parametrize("line", ["{", "[1, 2]", '{"loss": 1.0}', '{"step": "ten", "loss": 1.0}', "[" * 100_000])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = metrics(tmp_path, {"step": 10, "loss": 1.0}, end=f"\n{line}\n" + json.dumps(a_line(30)) + "\n")
    with pytest.raises(FormatError, match="line 2: is no JSON object with a step"):
        plot_training(path, tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match=r"metrics\.jsonl: cannot be read: Is a directory"):
        plot_training(tmp_path / "metrics.jsonl", tmp_path)


@pytest.mark.parametrize("text", [None, "", "\n", '{"step": 1'])
def test_nothing_measured_is_no_picture(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "metrics.jsonl"
    if text is not None:
        path.write_text(text)
    assert plot_training(path, tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


# Names in the file; what is drawn, as title and curves; what is marked best.
@pytest.mark.parametrize(
    ("names", "drawn"),
    [
        (OURS, {"Loss": "loss", "PCK": "pck", "Learning rate": "learning_rate", "Throughput": "crops_per_second"}),
        (("loss", "learning_rate"), {"Loss": "loss", "Learning rate": "learning_rate"}),  # pre-training
        (
            ("loss", "pck", "validation_score", "validation_loss", "validation_pck"),
            {"Loss": "loss validation_loss", "PCK": "pck validation_pck"},  # with one dataset the score is its PCK
        ),
        (
            ("validation_score", "validation_pck_aic", "pck", "validation_pck_coco"),
            {"PCK": "pck validation_score validation_pck_aic validation_pck_coco"},
        ),
        (
            ("loss", "heatmap_loss", "presence_loss", "validation_presence_loss", "validation_presence_auroc"),
            {
                "Loss": "loss heatmap_loss",
                "Presence loss": "presence_loss validation_presence_loss",
                "Presence AUROC": "validation_presence_auroc",
            },
        ),
    ],
)
def test_every_number_has_its_panel(names: tuple[str, ...], drawn: dict[str, str]) -> None:
    shown, left = panels(names)
    assert {panel.title: " ".join(panel.names) for panel in shown} == drawn
    assert not left


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (("pck", "validation_pck"), "validation_pck"),
        (("validation_pck", "validation_score"), "validation_pck"),
        (("validation_pck_a", "validation_pck_b", "validation_score"), "validation_score"),
    ],
)
def test_the_best_of_one_curve_is_marked(names: tuple[str, ...], best: str) -> None:
    [panel], _ = panels(names)
    assert panel.best == best


def test_what_finds_no_place_is_told() -> None:
    shown, left = panels([*OURS, *(f"number_{i}" for i in range(20))])
    assert len(shown) == 4 + 8
    assert left == tuple(f"number_{i}" for i in range(8, 20))


def test_training_is_blue_and_validation_orange(tmp_path: Path) -> None:
    alone = picture(tmp_path, metrics(tmp_path, *(a_line(step) for step in range(10, 1000, 10))))
    assert has(alone, ROUTED)
    assert not has(alone, RANDOM)
    lines = [a_line(step, validation_pck=step / 2000) for step in range(10, 1000, 10)]
    both = picture(tmp_path, metrics(tmp_path, *lines))
    assert has(both, ROUTED)
    assert has(both, RANDOM)


@pytest.mark.parametrize(
    "lines",
    [
        [a_line(50)],
        [a_line(0)],  # before the first step
        [a_line(50), a_line(100, validation_pck=0.3, validation_loss=0.2)],
        [{"step": 50, "loss": math.nan, "pck": math.inf, "validation_pck": math.nan}],
        [{"step": step, "loss": 0.0, "pck": 0.0} for step in range(1, 60)],  # a logarithm has no zero
        [{"step": step, "loss": -1.0 * step} for step in range(1, 60)],
        [a_line(step, **{f"further_number_{i}": 1.0 for i in range(20)}) for step in (1, 2)],
        [{"step": step, "validation_pck": math.nan if step % 3 else 0.5} for step in range(100)],
    ],
)
def test_any_metrics_are_drawn(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    assert picture(tmp_path, metrics(tmp_path, *lines)).shape[1] > 600


def test_a_picture_is_drawn_anew(tmp_path: Path) -> None:
    first = picture(tmp_path, metrics(tmp_path, a_line(50)))
    again = picture(tmp_path, metrics(tmp_path, a_line(50)))
    later = picture(tmp_path, metrics(tmp_path, a_line(50), a_line(100)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, later)


def test_a_picture_that_cannot_be_put_in_its_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / CURVES).mkdir()
    with pytest.raises(OSError):
        plot_training(metrics(tmp_path, a_line(50)), tmp_path)
    assert not list(tmp_path.glob(".*"))
