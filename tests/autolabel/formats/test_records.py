from pathlib import Path

import pytest

from autolabel.errors import FormatError
from autolabel.formats.records import Record, read_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b" 2}', "is not JSON: Expecting ':' delimiter at line 2, column 6"),
        ("", "at line 1, column 1"),
        ("[" * 100_000, "nested too deeply"),
        ('{"images": [{"width": NaN}]}', "images[0].width: NaN and Infinity are not JSON numbers"),
        ('{"a": {"b": [1, -Infinity]}}', "a.b[1]: NaN and Infinity"),
        ("[{}, Infinity]", "[1]: NaN and Infinity"),
        ("NaN", "NaN and Infinity"),
        ('{"images": [{"file_name": "\\ud800.jpg"}]}', "images[0].file_name: holds half a surrogate pair"),
        ('{"a": {"\\uDFFF": 1}}', "holds half a surrogate pair"),
    ],
)
def test_bad_json_says_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError) as caught:
        read_json(path)
    assert message in str(caught.value)


def test_whole_surrogate_pairs_are_characters(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": "\\ud83d\\ude00"}')
    assert read_json(tmp_path / "a.json") == {"a": "\U0001f600"}


def test_other_encodings_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(FormatError, match="is not UTF-8 at byte 7"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        read_json(tmp_path / "b.json")


def test_the_place_of_a_nested_record() -> None:
    record = Record({"inner": {"x": "a"}}, "images[3]", "f.json")
    with pytest.raises(FormatError) as caught:
        record.record("inner").number("x")
    assert str(caught.value) == "f.json: images[3].inner.x: is a text, expected a number"
    assert record.record("missing").data == {}


def test_integers_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"id": ' + "9" * 5000 + "}")
    with pytest.raises(FormatError, match="cannot be read: Exceeds the limit"):
        read_json(tmp_path / "x.json")


def test_a_record_of_the_whole_file_has_a_plain_place() -> None:
    with pytest.raises(FormatError, match=r"x.json: skeleton.name: is missing"):
        Record({"skeleton": {}}, "", "x.json").record("skeleton").text("name")
