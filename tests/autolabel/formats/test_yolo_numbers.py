from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autolabel.formats.yolo_lines import edges
from autolabel.formats.yolo_numbers import box_fields, fractions, plain

sizes = st.integers(1, 20_000)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), sizes), min_size=1, max_size=8))
def test_a_pixel_comes_back_bit_by_bit(drawn: list[tuple[float, int]]) -> None:
    size = np.array([size for _, size in drawn])
    pixels = (np.array([part for part, _ in drawn]) * size).astype(np.float32)
    texts = fractions(pixels, size)
    back = (np.array([float(text) for text in texts]) * size).astype(np.float32)
    assert back.tobytes() == pixels.tobytes()
    assert not any("e" in text or text.endswith(".") for text in texts)


@pytest.mark.parametrize(
    ("pixel", "size", "text"),
    [
        (0, 640, "0"),
        (-0.0, 640, "0"),
        (640, 640, "1"),
        (320, 640, "0.5"),
        (412.8, 640, "0.645"),
        (1, 3, "0.33333333"),  # eight digits give 1 again in single precision, seven do not
        (1e-20, 640, "0.000000000000000000000015625"),
    ],
)
def test_it_is_as_short_as_can_be(pixel: float, size: int, text: str) -> None:
    (got,) = fractions(np.array([pixel], np.float32), np.array([size]))
    assert got == text or (pixel == 1e-20 and np.float32(float(got) * size) == np.float32(pixel))


@pytest.mark.parametrize(
    ("number", "text"),
    [("0.50", "0.5"), ("10", "10"), ("1e-05", "0.00001"), ("-0.0", "0"), ("0.0", "0"), ("100.", "100")],
)
def test_decimals_are_plain(number: str, text: str) -> None:
    assert plain(number) == text


@st.composite
def boxes(draw: st.DrawFn) -> tuple[list[float], tuple[int, int]]:
    size = draw(sizes), draw(sizes)
    x = sorted(draw(st.floats(0, 1)) * size[0] for _ in range(2))
    y = sorted(draw(st.floats(0, 1)) * size[1] for _ in range(2))
    return [x[0], y[0], x[1], y[1]], size


@given(boxes())
def test_a_boxs_edges_come_back_bit_by_bit(drawn: tuple[list[float], tuple[int, int]]) -> None:
    box, size = drawn
    assume(all(edge == 0 or edge > 1e-12 for edge in box))
    (x, y, width, height), exact = box_fields(box, size)
    left, right = edges(Decimal(x), Decimal(width), size[0])
    top, bottom = edges(Decimal(y), Decimal(height), size[1])
    assert exact and [left, top, right, bottom] == box
    assert all(0 <= float(number) <= 1 for number in (x, y, width, height))


@pytest.mark.parametrize(
    ("box", "exact", "cut"),
    [
        pytest.param([-5, 10, 20, 20], True, [-5, 10, 20, 20], id="over the edge, with its middle and size inside"),
        pytest.param([-50, 10, 20, 20], False, [0, 10, 20, 20], id="its middle is outside"),
        pytest.param([-10, 10, 120, 20], False, [0, 10, 100, 20], id="wider than the image"),
        pytest.param([-50, 10, -20, 20], False, [0, 10, 0, 20], id="wholly outside"),
        pytest.param([-1e300, -1e300, 1e300, 1e300], False, [0, 0, 100, 50], id="beyond all bounds"),
        pytest.param([0, 0, 100 / 3, 50], True, [0, 0, 100 / 3, 50], id="from 0 to a third"),
        pytest.param([5e-324, 0, 1, 1], False, [0, 0, 1, 1], id="a hair beside 0"),
    ],
)
def test_a_box_is_cut_only_where_a_number_leaves_the_image(box: list[float], exact: bool, cut: list[float]) -> None:
    (x, y, width, height), got = box_fields(box, (100, 50))
    assert got == exact
    left, right = edges(Decimal(x), Decimal(width), 100)
    top, bottom = edges(Decimal(y), Decimal(height), 50)
    assert [left, top, right, bottom] == pytest.approx(cut, abs=1e-9)
    assert all(0 <= float(number) <= 1 for number in (x, y, width, height))
