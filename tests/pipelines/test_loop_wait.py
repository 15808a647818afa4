"""Waiting for people and servers: news ends a rest, pauses for a lost server grow, and the loop goes on by itself."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import ConfigError, InputError, LostServerError, UnsureError
from autolabel.labelstudio.access import save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.progress import SILENT, Task
from pipelines import loop
from pipelines.loop_wait import Fresh, Patience, signs
from pipelines.simulated_reviewer import SimulatedReviewer
from tests.doubles import Recorder
from tests.labelstudio_double import LEGACY


class Clock:
    """Sleeps without time passing; something may happen after so many sleeps."""

    def __init__(self, after: int = 0, event: Callable[[], object] = lambda: None) -> None:
        self.slept: list[float] = []
        self._after, self._event = after, event

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == self._after:
            self._event()


def touch(path: Path) -> Callable[[], None]:
    def now() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    return now


@pytest.mark.parametrize(
    ("news", "sleeps"),
    [
        ("labelstudio/wake", 3),
        ("labelstudio/exports/new.json", 3),
        ("labelstudio/exports/readme.txt", 5),  # no export
        ("rounds/01/round.json", 5),
    ],
)
def test_news_ends_a_rest(tmp_path: Path, news: str, sleeps: int) -> None:
    clock = Clock(after=3, event=touch(tmp_path / news))
    Patience(4.5, clock).rest(tmp_path, signs(tmp_path))
    assert len(clock.slept) == sleeps
    assert sum(clock.slept) == (4.5 if sleeps == 5 else 3)


def test_what_came_during_the_last_look_is_news(tmp_path: Path) -> None:
    wake = tmp_path / "labelstudio" / "wake"
    touch(wake)()
    before = signs(tmp_path)
    os.utime(wake, ns=(1, 1))
    clock = Clock()
    Patience(60, clock).rest(tmp_path, before)
    assert clock.slept == []


def test_a_lost_server_is_waited_for_with_growing_pauses() -> None:
    errors = [LostServerError("is gone", subject="http://x"), UnsureError("nobody knows")] * 4
    clock, notes = Clock(), Recorder()

    def work() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert Patience(60, clock).reach(work, notes) == "done"
    assert clock.slept == [60, 120, 240, 480, 900, 900, 900, 900]
    assert notes.notes[1] == "http://x: is gone. Waiting 120 s for the server"
    assert all(a <= b for a, b in pairwise(clock.slept))


def test_what_waiting_does_not_help_is_an_error_at_once() -> None:
    def work() -> str:
        raise InputError("the token is wrong")

    with pytest.raises(InputError, match="token"):
        Patience(60, Clock()).reach(work, SILENT)


@pytest.mark.parametrize("poll", [0, -1, float("nan")])
def test_a_poll_that_never_rests_is_refused(poll: float) -> None:
    with pytest.raises(ConfigError, match="more than 0 seconds"):
        Patience(poll)


def test_each_thing_is_said_once() -> None:
    heard = Recorder()
    fresh = Fresh(heard)
    for text in ("a", "b", "a", "b"):
        fresh.note(text)
    with fresh.task("pull", 3) as task:
        task.advance(3)
    assert (heard.notes, heard.steps) == (["a", "b"], {})


class Audience(Recorder):
    """Hears what the loop says, and does something about it.

    Args:
        acts: What to do, by how a note begins.
    """

    def __init__(self, acts: dict[str, Callable[[], object]]) -> None:
        super().__init__()
        self._acts = acts

    def note(self, message: str) -> None:
        super().note(message)
        for start, act in self._acts.items():
            if start in message:
                act()


def test_the_loop_goes_on_by_itself_through_a_lost_server_and_all_reviews(drawn_case: Any, tiny_weights: Path) -> None:
    project = drawn_case.project("patient", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    write_settings(project, url="http://127.0.0.1:1", project=7)
    save_token(project, LEGACY)
    reviewer = SimulatedReviewer(drawn_case.truth, seed=0)
    audience = Audience(
        {
            "for the server": lambda: write_settings(project, url=""),
            "waiting for reviewers": lambda: reviewer.review(project),
        }
    )
    result = loop.run(project, wait=True, poll=0.2, progress=audience)
    assert (result.state, result.rounds) == ("done", 1)
    lost = [note for note in audience.notes if "for the server" in note]
    assert len(lost) == 1
    assert "nobody answers there" in lost[0] and lost[0].endswith("Waiting 0.2 s for the server")
    waited = [note for note in audience.notes if note.startswith("waiting for reviewers")]
    assert [note[:32] for note in waited] == ["waiting for reviewers: 4 of 4 ta", "waiting for reviewers: 3 of 7 ta"]


class Hasty(Recorder):
    """Answers everything in the moment after a pull has looked at the exports for the first time."""

    def __init__(self, answer: Callable[[], object]) -> None:
        super().__init__()
        self._answer = answer

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "it") -> Iterator[Task]:
        first = label not in self.steps
        with super().task(label, total, unit) as task:
            yield task
        if label == "read exports" and first:
            self._answer()


@pytest.mark.parametrize("wait", [True, False])
def test_answers_that_come_in_the_middle_of_a_pull_are_waited_for(
    drawn_case: Any, tiny_weights: Path, wait: bool
) -> None:
    project = drawn_case.project(f"hasty-{wait}", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    reviewer = SimulatedReviewer(drawn_case.truth, seed=0)
    result = loop.run(project, wait=wait, poll=0.2, audit=False, progress=Hasty(lambda: reviewer.review(project)))
    if not wait:
        assert (result.state, result.rounds) == ("waiting", 0)
        assert result.waits_for.startswith("answers that came while others were fetched")
        result = loop.run(project, audit=False)
    assert (result.state, result.rounds) == ("done", 1)
    closed = json.loads((project / "rounds" / "01" / "closed.json").read_text())
    assert closed["answered"] == 4


def test_an_interrupted_wait_goes_on_where_it_was(drawn_case: Any, tiny_weights: Path) -> None:
    project = drawn_case.project("interrupted", rounds={"count": 1}, network={"weights": str(tiny_weights)})

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run(project, wait=True, progress=Audience({"waiting for": interrupt}))
    drawn = (project / "rounds" / "01" / "routing" / "queue.jsonl").read_bytes()
    assert loop.status(project).waits_for.startswith("reviewers: 4 of 4 tasks have no answer")
    again = loop.run(project)
    assert again.state == "waiting"
    assert (project / "rounds" / "01" / "routing" / "queue.jsonl").read_bytes() == drawn


def test_a_server_that_is_down_is_a_lost_one() -> None:
    from autolabel.labelstudio.access import Access

    with pytest.raises(LostServerError, match="nobody answers there"):
        Client(Access("http://127.0.0.1:1", LEGACY)).who()
