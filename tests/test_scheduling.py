"""Which tests share the one server: those of another process would start a second one, which takes a minute."""

import re
from pathlib import Path

import pytest

from tests.conftest import SERVERLESS, needs_server

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("file", sorted((ROOT / "tests" / "live").glob("test_*.py")), ids=lambda file: file.name)
def test_a_live_file_shares_the_server_or_takes_none(file: Path) -> None:
    nodeid = f"{file.relative_to(ROOT).as_posix()}::test_it"
    takes_it = re.search(r"\bserver: Server\b|\bserver\b.*fixture", file.read_text(encoding="utf-8")) is not None
    assert needs_server(nodeid) or not takes_it


def test_the_exceptions_are_there() -> None:
    assert [stem for stem in SERVERLESS if not list(ROOT.glob(f"{stem}*.py"))] == []
    assert not needs_server("tests/pipelines/test_review_server.py::test_it")
