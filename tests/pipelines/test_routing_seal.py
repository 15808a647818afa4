"""The seal of a routing: what it lets pass, and what breaks it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import InputError
from pipelines.routing_seal import require_unedited, sealed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "accepted.txt").write_text("a\nb\n")
    (tmp_path / "queue.jsonl").write_text("{}\n")
    return tmp_path


def test_a_seal_is_the_same_whenever_it_is_made_and_survives_json(folder: Path) -> None:
    record = sealed({"max_bad": 0.02, "counts": {"open": 3}, "expected_bad": None}, folder)
    assert set(record["files"]) == {"accepted.txt", "queue.jsonl"}
    assert sealed(record, folder) == record, "a seal is no part of itself"
    require_unedited(json.loads(json.dumps(record)), folder)
    (folder / "audit-spent.json").write_text("{}")  # no list of routing's
    require_unedited(record, folder)


def test_another_list_is_another_routing(folder: Path) -> None:
    before = sealed({"max_bad": 0.02}, folder)["seal"]
    (folder / "queue.jsonl").write_text("{} \n")
    assert sealed({"max_bad": 0.02}, folder)["seal"] != before


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (lambda record, folder: record.update(max_bad=0.2), "routing.json"),
        (lambda record, folder: record.update(note="added"), "routing.json"),
        (lambda record, folder: record.pop("max_bad"), "routing.json"),
        (lambda record, folder: record.update(seal="0"), "routing.json"),
        (lambda record, folder: record["files"].pop("queue.jsonl"), "routing.json"),
        (lambda record, folder: (folder / "accepted.txt").write_text("a\n"), "accepted.txt"),
        (lambda record, folder: (folder / "accepted.txt").unlink(), "accepted.txt"),
        (lambda record, folder: (folder / "blind.txt").write_text("a\n"), "blind.txt"),
    ],
)
def test_an_edit_breaks_it(folder: Path, edit: Callable[[dict[str, Any], Path], object], name: str) -> None:
    record = sealed({"max_bad": 0.02}, folder)
    edit(record, folder)
    with pytest.raises(InputError, match=f"{name}: is not what routing wrote"):
        require_unedited(record, folder)


def test_without_a_seal_only_the_named_files_are_compared(folder: Path) -> None:
    require_unedited({"max_bad": 0.02}, folder)
    record = sealed({"max_bad": 0.02}, folder)
    del record["seal"], record["files"]["queue.jsonl"]
    (folder / "queue.jsonl").write_text("")
    require_unedited(record | {"max_bad": 0.3}, folder)
    (folder / "accepted.txt").write_text("")
    with pytest.raises(InputError, match=r"accepted\.txt: is not what routing wrote"):
        require_unedited(record, folder)
    with pytest.raises(InputError, match=r"routing\.json: is not what routing wrote"):
        require_unedited({"files": ["accepted.txt"]}, folder)
