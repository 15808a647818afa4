from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.formats.yolo_lines import Layout, parse_lines

LAYOUT = Layout(2, ("nose", "tail"), 3)
GOOD = "1 0.5 0.5 0.2 0.4 0.25 0.5 2 0.75 0.5 1"


def parse(text: str | bytes, layout: Layout = LAYOUT):
    return parse_lines(text.encode() if isinstance(text, str) else text, layout, "a.txt")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param("", 0, id="empty"),
        pytest.param(" \n\n\t\r\n", 0, id="nothing but space"),
        pytest.param(GOOD, 1, id="no line end"),
        pytest.param(GOOD + "\r\n" + GOOD.replace("1 ", "0 ", 1) + "\r\n", 2, id="Windows' line ends"),
        pytest.param(f"  {GOOD.replace(' ', chr(9))} \t\n", 1, id="tabs, and spaces around"),
        pytest.param("\n" + GOOD + "\n\n" + GOOD.replace("1 ", "0 ", 1), 2, id="lines without anything between"),
        pytest.param("\ufeff" + GOOD, 1, id="a byte order mark"),
        pytest.param("1.0 .5 5e-1 +0.2 0.4 0.25 0.5 2.000 0.75 0.5 1.", 1, id="numbers as other tools print them"),
    ],
)
def test_lines_are_read_however_they_are_laid_out(text: str, count: int) -> None:
    lines, errors = parse(text)
    assert not errors and len(lines) == count
    for i in range(count):
        assert lines.keypoints[i].tolist() == [[0.25, 0.5, 2], [0.75, 0.5, 1]]
        assert [float(number) for number in lines.box[i]] == [0.5, 0.5, 0.2, 0.4]
    assert lines.label.tolist() == [1, 0][:count]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # Length
        ("0 0.5 0.5 0.2 0.4", "line 2: has 5 fields, expected 11: a box without keypoints"),
        (GOOD + " 0.9", "line 2: has 12 fields, expected 11: a prediction with its box's score at the end is no label"),
        ("0 .5 .5 .2 .4 .1 .1 .2 .2", r"line 2: has 9 fields, expected 11: kpt_shape says [2, 3], but this is [2, 2]"),
        ("0 .5 .5 .2 .4 .1 .1 2", "line 2: has 8 fields, expected 11: this is 1 keypoints, kpt_shape says 2"),
        ("0 .5 .5", "line 2: has 3 fields, expected 11"),
        # Numbers
        (GOOD.replace("0.25", "nan"), "line 2.field 6 (nose x): is 'nan', expected a number"),
        (GOOD.replace("0.25", "-inf"), "line 2.field 6 (nose x): is '-inf', expected a number"),
        (GOOD.replace("0.25", "1e999"), "line 2.field 6 (nose x): is inf, far outside the image"),
        (GOOD.replace("0.25", "0,25"), "line 2.field 6 (nose x): is '0,25', expected a number"),
        (GOOD.replace("0.25", "1_0"), "line 2.field 6 (nose x): is '1_0', expected a number"),
        (GOOD.replace("0.25", "e"), "line 2.field 6 (nose x): is 'e', expected a number"),
        (GOOD.replace("0.25", "٣"), "line 2.field 6 (nose x): is '٣', expected a number"),
        (GOOD.replace("0.25", "0" * 65), "line 2.field 6 (nose x): is '000"),
        # Class
        (GOOD.replace("1 ", "2 ", 1), "line 2.field 1 (class): is 2, expected a class from 0 to 1"),
        (GOOD.replace("1 ", "-1 ", 1), "line 2.field 1 (class): is -1, expected a class from 0 to 1"),
        (GOOD.replace("1 ", "0.5 ", 1), "line 2.field 1 (class): is 0.5, expected a class from 0 to 1"),
        (GOOD.replace("1 ", "fox ", 1), "line 2.field 1 (class): is 'fox', expected a number"),
        # Box and places
        (GOOD.replace("0.2 ", "-0.2 ", 1), "line 2.field 4 (width): is -0.2; it cannot be negative"),
        (GOOD.replace("0.4 ", "-0.4 ", 1), "line 2.field 5 (height): is -0.4; it cannot be negative"),
        (GOOD.replace("0.75", "320.5"), "line 2.field 9 (tail x): is 320.5, far outside the image: places are parts"),
        (GOOD.replace("1 0.5 ", "1 -3 ", 1), "line 2.field 2 (x): is -3, far outside the image"),
        # Visibility
        (GOOD.replace(" 2 ", " 3 "), "line 2.field 8 (nose v): is 3, expected 0, 1 or 2"),
        (GOOD.replace(" 2 ", " -1 "), "line 2.field 8 (nose v): is -1, expected 0, 1 or 2"),
        (GOOD.replace(" 2 ", " 0.98 "), "is 0.98, expected 0, 1 or 2: a prediction's score is no label"),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_its_field(line: str, message: str) -> None:
    _, errors = parse(f"{GOOD}\n{line}\n{GOOD}")
    assert len(errors) == 1
    assert f"a.txt: {errors[0].message}".startswith("a.txt: line 2") and message in str(errors[0])


def test_all_wrong_lines_are_told() -> None:
    lines, errors = parse(f"{GOOD}\n0 1\n{GOOD.replace(' 2 ', ' 7 ')}\nx\n")
    assert [error.record for error in errors] == ["line 2", "line 4", "line 3"]
    assert len(lines) == 0


def test_bytes_that_are_no_text() -> None:
    _, errors = parse(b"0 \xff")
    assert str(errors[0]) == "a.txt: is not UTF-8 at byte 2"


def test_a_line_twice_is_one() -> None:
    lines, errors = parse(f"{GOOD}\n{GOOD.replace('0.5', '0.50')}\n{GOOD.replace('1 ', '0 ', 1)}\n{GOOD}\n")
    assert not errors
    assert lines.label.tolist() == [1, 0] and lines.repeated == 2


def test_two_numbers_a_keypoint() -> None:
    lines, errors = parse("0 .5 .5 .2 .4 0.1 0.2 0.3 0.4", Layout(1, ("nose", "tail"), 2))
    assert not errors
    assert lines.keypoints.tolist() == [[[0.1, 0.2], [0.3, 0.4]]]
    _, errors = parse("0 .5 .5 .2 .4 0.1 0.2 2 0.3 0.4 2", Layout(1, ("nose", "tail"), 2))
    assert "kpt_shape says [2, 2], but this is [2, 3]" in str(errors[0])


@given(st.binary(max_size=200) | st.text("0123456789.eE+- \n\t_naif", max_size=200).map(str.encode))
def test_any_bytes_are_understood_or_refused(data: bytes) -> None:
    lines, errors = parse_lines(data, LAYOUT, "a.txt")
    assert not (len(lines) and errors)
    assert np.isfinite(lines.keypoints).all()


@given(st.lists(st.lists(st.floats(-1, 2, width=32), min_size=4, max_size=4), min_size=1, max_size=4))
def test_numbers_are_read_as_they_stand(rows: Sequence[Sequence[float]]) -> None:
    text = "\n".join(f"{i % 2} .5 .5 .1 .1 {a!r} {b!r} 1 {c!r} {d!r} 2" for i, (a, b, c, d) in enumerate(rows))
    lines, errors = parse(text)
    assert not errors
    assert len(lines) + lines.repeated == len(rows)
    assert lines.keypoints[0, :, :2].ravel().tolist() == list(rows[0])
