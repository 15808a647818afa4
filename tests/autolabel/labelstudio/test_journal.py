"""What the journal takes of what files and the server tell, again and again and in any order."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import FormatError
from autolabel.labelstudio.exports import Annotation, standing
from autolabel.labelstudio.journal import Journal

MADE, SERVER = "2026-11-22T20:00:59.123456Z", "2026-11-22T19:00:00.5Z"


def version(minute: int, annotation: str = "a", **changes: Any) -> Annotation:
    entry = Annotation("t1", annotation, "annotator-1", f"2026-11-22T20:{minute:02}:00Z", 1.0, False, ())
    return replace(entry, **changes)


def of_file(minute: int = 1, **changes: Any) -> Annotation:
    return version(minute, "87fc5c6e", **{"created": MADE, **changes})


def of_server(minute: int = 1, **changes: Any) -> Annotation:
    return version(minute, "17", **{"created": MADE, "origin": SERVER, "by": "ann@example.com", **changes})


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


def count(journal: Journal) -> int:
    return sum(map(len, standing(journal.entries).values()))


def test_nothing_is_written_twice(journal: Journal) -> None:
    first, second = version(1), version(2)
    assert journal.take([first, first, second]) == [first, second]
    assert journal.take([first, second]) == []
    assert Journal.read(journal.path).take([first, second]) == [], "nor by the next process"
    assert len(journal.path.read_text().splitlines()) == 2


def test_an_older_version_read_later_changes_nothing(journal: Journal) -> None:
    journal.take([version(5)])
    assert journal.take([version(1)]) == []


def test_a_version_of_the_same_time_with_another_content_is_not_lost(journal: Journal) -> None:
    journal.take([version(5)])
    other = version(5, result=({"id": "x"},))
    assert journal.take([other]) == [other]


def test_everything_survives_the_file(journal: Journal) -> None:
    entry = of_server(result=({"id": "x", "value": {"x": 0.1, "é": None}},), seconds=None, fault="why")
    journal.take([entry])
    assert Journal.read(journal.path).entries == (entry,)


def test_lines_of_before_servers_are_read(journal: Journal) -> None:
    old = {k: v for k, v in of_file().to_dict().items() if k not in ("created", "origin", "deleted", "fault")}
    journal.path.write_text(json.dumps(old) + "\n")
    (entry,) = Journal.read(journal.path).entries
    assert (entry.created, entry.origin, entry.deleted, entry.fault) == ("", "", False, "")


@pytest.mark.parametrize(
    "line", ['{"task": "t"}', '{"task": 1, "unknown": 2}', json.dumps({**version(1).to_dict(), "updated": "late"})]
)
def test_a_damaged_line_is_named(journal: Journal, line: str) -> None:
    journal.take([version(1)])
    with journal.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(FormatError, match="line 2"):
        Journal.read(journal.path)


@pytest.mark.parametrize("known", [of_file(), replace(of_file(), created="")], ids=["now", "old journal"])
def test_the_server_tells_the_same_annotation_as_a_file(journal: Journal, known: Annotation) -> None:
    journal.take([known])
    (told,) = journal.take([of_server()])
    assert (told.annotation, told.by, told.origin) == ("87fc5c6e", "ann@example.com", SERVER), "it tells more"
    assert journal.take([of_server(), of_file()]) == []
    assert count(journal) == 1
    (edited,) = journal.take([of_server(7)])
    assert edited.annotation == "87fc5c6e"
    assert count(journal) == 1


def test_a_file_tells_the_same_annotation_as_the_server(journal: Journal) -> None:
    journal.take([of_server()])
    assert journal.take([of_file()]) == []
    (edited,) = journal.take([of_file(7)])
    assert edited.annotation == "17"
    assert count(journal) == 1


def test_one_number_on_two_servers_is_two_annotations(journal: Journal) -> None:
    other = of_server(3, created="2026-11-23T08:00:00Z", origin="2026-11-23T07:00:00Z")
    journal.take([of_server(), other])
    assert count(journal) == 2
    assert journal.take([of_server(), other]) == []


def test_two_annotations_of_one_moment_in_files_are_two(journal: Journal) -> None:
    journal.take([of_file(), replace(of_file(), annotation="9182aa48")])
    assert count(journal) == 2


def test_what_vanished_from_its_task_is_deleted_and_stays_so(journal: Journal) -> None:
    journal.take([of_server(), replace(of_server(2, created="2026-11-22T20:01:59Z"), annotation="18")])
    (gone,) = journal.gone("t1", SERVER, [of_server()])
    assert (gone.annotation, gone.deleted) == ("18", True)
    assert [entry.annotation for entry in standing(journal.entries)["t1"]] == ["17"]
    assert journal.gone("t1", SERVER, [of_server()]) == [], "told once"
    assert journal.take([replace(of_file(2), created="2026-11-22T20:01:59Z", annotation="18")]) == [], "an old file"


def test_what_is_back_on_the_server_stands_again(journal: Journal) -> None:
    """As after the server was set back to a copy of before."""
    journal.take([of_server()])
    journal.gone("t1", SERVER, [])
    assert count(journal) == 0
    assert len(journal.take([of_server()])) == 1
    assert count(journal) == 1
    assert Journal.read(journal.path).take([of_server()]) == []


@pytest.mark.parametrize(
    ("known", "task", "origin"),
    [
        (of_file(), "t1", SERVER),  # came from a file: who knows which server it is on
        (of_server(), "t1", "2026-11-25T00:00:00Z"),  # the task was imported anew
        (of_server(), "t1", ""),  # the server does not tell when it was made
        (of_server(), "t2", SERVER),
    ],
)
def test_what_did_not_come_from_this_task_is_not_deleted(
    journal: Journal, known: Annotation, task: str, origin: str
) -> None:
    journal.take([known])
    assert journal.gone(task, origin, []) == []
    assert count(journal) == 1


def test_a_killed_append_is_made_again(journal: Journal) -> None:
    journal.take([version(1)])
    with journal.path.open("a") as torn:
        torn.write('{"task": "half')
    again = Journal.read(journal.path)
    assert again.take([version(1), version(2)]) == [version(2)]
    assert Journal.read(journal.path).entries == (version(1), version(2))


def test_looking_leaves_the_file_alone(journal: Journal) -> None:
    assert journal.look_at([version(1), version(1)]) == [version(1)]
    assert journal.entries == (version(1),)
    assert not journal.path.exists()


def test_what_cannot_be_read_takes_nothing_from_what_could(journal: Journal) -> None:
    journal.take([of_server(5)])
    bad = {"result": (), "fault": "why"}
    assert journal.take([of_server(5, **bad), of_server(4, **bad)]) == [], "the same version, and an earlier one"
    (later,) = journal.take([of_server(6, **bad)])
    assert standing(journal.entries)["t1"] == [of_server(5), later], "told, and voids nothing"
    assert journal.take([of_server(6, **bad)]) == []
    journal.take([of_server(6)])
    assert standing(journal.entries)["t1"] == [of_server(6)]


def test_what_cannot_be_read_and_is_gone_is_gone(journal: Journal) -> None:
    journal.take([of_server(5), of_server(6, fault="why")])
    assert len(journal.gone("t1", SERVER, [])) == 1
    assert count(journal) == 0
    assert journal.gone("t1", SERVER, []) == []


def test_the_server_s_versions_count_in_the_order_in_which_they_came(journal: Journal) -> None:
    journal.take([of_server(9), of_server(3)])
    assert standing(journal.entries)["t1"] == [of_server(3)], "its clock was set back"
    assert journal.take([of_server(3)]) == []
    assert Journal.read(journal.path).take([of_server(3)]) == []
    journal.take([of_server(9)])
    assert standing(journal.entries)["t1"] == [of_server(9)], "and so was its state"


def test_a_name_that_the_server_forgot_is_kept(journal: Journal) -> None:
    journal.take([of_server(1)])
    assert journal.take([of_server(1, by="annotator-unknown")]) == []
    reworked = {"by": "bob@example.com", "first": "annotator-unknown"}
    (second,) = journal.take([of_server(2, **reworked)])
    assert (second.by, second.first) == ("bob@example.com", "ann@example.com")
    (third,) = journal.take([of_server(3, by="annotator-unknown")])
    assert (third.by, third.first) == ("bob@example.com", "ann@example.com")
