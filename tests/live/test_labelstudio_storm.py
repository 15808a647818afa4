"""A small slice of ``benchmarks/labelstudio.py``: kills in the middle, two pushers, and a project that grows."""

from pathlib import Path

import pytest

from benchmarks.labelstudio_busy import busy
from benchmarks.labelstudio_case import Bench
from benchmarks.labelstudio_child import work
from benchmarks.labelstudio_requests import answers_to, listed
from benchmarks.labelstudio_sizes import sizes
from benchmarks.labelstudio_storm import pushers, storm
from pipelines.drawn_corpus import draw_corpus
from pipelines.labelstudio_environment import install
from pipelines.labelstudio_process import OwnServer
from tests.live.labelstudio_client import Server
from tests.live.labelstudio_server import environment

pytestmark = [pytest.mark.live, pytest.mark.slow]

WHOLE = {"lost": 0, "doubled": 0, "wrong": 0}


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Bench:
    truth, _ = draw_corpus(tmp_path / "drawn", images=4, seed=0)
    own = OwnServer.at(server.data)
    return Bench(tmp_path, own, install(environment()), own.read_account(), truth)


def test_kills_in_the_middle(bench: Bench) -> None:
    rows = list(storm(bench, 40, 1, seed=0))
    assert {(row["what"], row["killed"]) for row in rows} == {
        ("push", "command"), ("push", "server"), ("pull", "command"), ("pull", "server"),
    }  # fmt: skip
    for row in rows:
        assert WHOLE.items() <= row.items(), row
        assert row["sound"]
        assert row["resumes"] == 1 or row["killed"] == "server"


def test_kills_while_somebody_answers(bench: Bench) -> None:
    (row,) = busy(bench, 30, 4, seed=0)
    assert WHOLE.items() <= row.items(), row
    assert (row["pulls killed"], row["server killed"]) == (3, 1)


@pytest.mark.parametrize("skipped", [False, True])
def test_a_reviewer_sees_what_the_server_took(bench: Bench, *, skipped: bool) -> None:
    """Else whoever does not know whether a skipped task was taken would answer it twice."""
    case = bench.case("seen")
    work("push", bench.queue(1).path, "--project", case.project)
    (task,) = listed(case.access, case.number)
    assert answers_to(case.access, task["id"]) == []
    case.client.annotate(task["id"], task["predictions"][0]["result"], was_cancelled=skipped)
    assert [answer["was_cancelled"] for answer in answers_to(case.access, task["id"])] == [skipped]


def test_two_pushers(bench: Bench) -> None:
    rows = list(pushers(bench, 30))
    assert len(rows) == 2
    for row in rows:
        assert WHOLE.items() <= row.items(), row
        assert (row["stopped"], row["sent by a third"]) == (0, 0)


def test_a_project_that_grows(bench: Bench) -> None:
    rows = list(sizes(bench, (10,), seed=0, quiet=0))
    assert [row["what"] for row in rows][-2:] == ["push more", "pull more"]
    assert all(WHOLE.items() <= row.items() for row in rows), rows
