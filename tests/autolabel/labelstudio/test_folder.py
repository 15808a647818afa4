"""Append-only files through sudden death."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autolabel.errors import FormatError
from autolabel.labelstudio.folder import ReviewFolder, append_lines, read_lines


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    append_lines(file, [{"a": 1}, {"b": "ä"}])
    append_lines(file, [{"c": [0.1]}])
    assert list(read_lines(file)) == [{"a": 1}, {"b": "ä"}, {"c": [0.1]}]


def test_nothing_to_append_makes_no_file(tmp_path: Path) -> None:
    append_lines(tmp_path / "journal.jsonl", [])
    assert list(tmp_path.iterdir()) == []
    assert list(read_lines(tmp_path / "journal.jsonl")) == []


@pytest.mark.parametrize("torn", ['{"b"', '{"b": 2}', "x" * 10_000])
def test_a_line_that_was_not_finished_does_not_count_and_is_removed(tmp_path: Path, torn: str) -> None:
    file = tmp_path / "journal.jsonl"
    append_lines(file, [{"a": 1}])
    with file.open("a") as half:
        half.write(torn)
    assert list(read_lines(file)) == [{"a": 1}]
    append_lines(file, [{"c": 3}])
    assert file.read_text() == '{"a": 1}\n{"c": 3}\n'


def test_a_first_line_that_was_not_finished(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_text('{"a"')
    append_lines(file, [{"c": 3}])
    assert file.read_text() == '{"c": 3}\n'


@pytest.mark.parametrize("line", ["{", "[1]", "\x80"])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_text(f'{{"a": 1}}\n{line}\n', encoding="latin-1")
    with pytest.raises(FormatError, match="line 2"):
        list(read_lines(file))


def test_task_files_are_listed_in_order(tmp_path: Path) -> None:
    folder = ReviewFolder.of(tmp_path)
    folder.tasks.mkdir(parents=True)
    files = [folder.task_file("ab" * 32, i) for i in (1, 0)]
    for file in [*files, folder.tasks / ".abababababab-00002.json.7.tmp"]:
        file.write_text("[]")
    assert [file.name for file in folder.task_files()] == ["abababababab-00000.json", "abababababab-00001.json"]


def test_lines_that_many_threads_append_at_once_are_all_there(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: append_lines(file, [{"n": n, "text": "x" * 2000}]), range(200)))
    assert sorted(line["n"] for line in read_lines(file)) == list(range(200))
