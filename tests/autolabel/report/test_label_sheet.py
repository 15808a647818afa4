"""Sheets to judge from: everybody once, numbered, with the label alone unless a prediction is asked for."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import InputError
from autolabel.report.label_sheet import Cell, write_label_sheets
from tests.autolabel.label_cases import LSP, people

IMAGE = np.full((230, 200, 3), 128, np.uint8)


def cells(count: int, *, predicted: bool = False) -> list[Cell]:
    poses = people(count)
    return [Cell(i + 1, IMAGE, poses.take([i]), poses.take([i]) if predicted else None) for i in range(count)]


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.parametrize(("count", "sheets"), [(1, 1), (6, 1), (7, 2), (12, 2)])
def test_everybody_stands_on_a_sheet(tmp_path: Path, count: int, sheets: int) -> None:
    paths = write_label_sheets(cells(count), LSP, tmp_path / "new", columns=3, rows=2, side=80)
    assert [path.name for path in paths] == [f"label-{i:02d}.png" for i in range(sheets)]
    assert len({size(path) for path in paths}) == 1


def test_sides_have_their_colours_and_nothing_else_is_told(tmp_path: Path) -> None:
    [path] = write_label_sheets(cells(1), LSP, tmp_path, columns=1, rows=1)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    blue, orange = ((np.abs(pixels - colour) < 40).all(axis=-1) for colour in ((31, 155, 255), (255, 122, 26)))
    assert blue.sum() > 100
    assert orange.sum() > 100
    assert np.nonzero(blue)[1].mean() > np.nonzero(orange)[1].mean(), "the left is on the right of who faces us"


def test_predictions_stand_beside_labels(tmp_path: Path) -> None:
    [alone] = write_label_sheets(cells(2), LSP, tmp_path / "a", columns=2, rows=1, side=80)
    [both] = write_label_sheets(cells(2, predicted=True), LSP, tmp_path / "b", columns=2, rows=1, side=80)
    assert size(both)[0] == size(alone)[0] + 2 * 80


@pytest.mark.parametrize(("count", "columns", "rows"), [(0, 5, 3), (2, 0, 3), (2, 5, 0)])
def test_nobody_or_nothing_is_refused(tmp_path: Path, count: int, columns: int, rows: int) -> None:
    with pytest.raises(InputError, match="people in sheets"):
        write_label_sheets(cells(count), LSP, tmp_path, columns=columns, rows=rows)
