"""The step of the loop that people take: a routing's tasks go out, and their answers come back.

Without patience the step ends with :class:`pipelines.loop_state.Waiting` while somebody has to do something, and the
next run goes on with it. With patience (``loop run --wait``) it fetches answers every so often until all are there, and
a server that does not answer is waited for.
"""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from autolabel.errors import WorkError
from autolabel.formats.records import read_json
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest, write_text
from autolabel.merge import State, read_corrections
from pipelines.loop_state import CLOSED, Loop, Waiting, undecided, waits_for_reviewers
from pipelines.loop_wait import Fresh, signs
from pipelines.pull import PullResult, pull
from pipelines.push import push
from pipelines.route import ROUTING

T = TypeVar("T")

_MEANWHILE = "answers that came while others were fetched: they are here by now, and the next look takes them in"

_ANSWERS = 10
"""Answers of one person from which on it is told that all of them reject."""


def reviewed(loop: Loop, here: Path, *, lacks: Callable[[PullResult], str] | None = None) -> Manifest:
    """Send a routing's tasks and bring the answers back; of audited poses, until each is decided.

    Args:
        loop: The loop.
        here: The step's folder, with its ``routing``; ``pulled`` is written there.
        lacks: What people still have to do though every task has an answer, in words; "" when nothing. By default that
            every audited pose is decided.

    Raises:
        Waiting: Some answers are missing, and the loop has no patience.
        WorkError: An audited pose cannot be shown to anybody.
    """
    answers, closed = here / "pulled", here / CLOSED
    if closed.is_file():
        return Manifest.open(answers)
    sent = _with_server(loop, here, partial(push, here / "routing", project=loop.folder, progress=loop.progress))
    if not sent.tasks:  # no image of them can be read any more
        raise WorkError("none of the images to review can be read", subject=str(here / "routing"))
    if loop.reviewer is not None:
        with loop.timed(here, "review"):
            loop.reviewer.review(loop.folder)
    pulled = _answered(loop, here, lacks or partial(_undecided, loop, here))
    _tell_rejecters(loop, here, pulled)
    write_text(closed, json.dumps({"answered": pulled.answered, "digest": pulled.manifest.digest}) + "\n")
    return pulled.manifest


def _answered(loop: Loop, here: Path, lacks: Callable[[PullResult], str]) -> PullResult:
    """Everything that people answered, once nothing is missing."""
    progress, later = loop.progress, Fresh(loop.progress)
    while True:
        before = signs(loop.folder)
        fetch = partial(pull, project=loop.folder, out=here / "pulled", overwrite=True, progress=progress)
        pulled = _with_server(loop, here, fetch)
        missing = (waits_for_reviewers(loop.folder) or _MEANWHILE) if pulled.open else lacks(pulled)
        if not missing:
            return pulled
        if loop.patience is None:
            raise Waiting(missing)
        later.note(f"waiting for {missing}")
        loop.patience.rest(loop.folder, before)
        progress = later


def _with_server(loop: Loop, here: Path, work: Callable[[], T]) -> T:
    """Do some work that may need a server; with patience, until the server answers. Only the work is timed."""

    def timed() -> T:
        with loop.timed(here, "review"):
            return work()

    return loop.patience.reach(timed, loop.progress) if loop.patience else timed()


def _undecided(loop: Loop, here: Path, pulled: PullResult) -> str:
    """What people still have to do before an audit can be judged, in words; "" when nothing."""
    unanswered, unshown = undecided(loop.folder, here / "routing", pulled.manifest)
    if unshown:
        raise WorkError(f"{unshown[0]} of the audit has no task: its image cannot be read", subject=str(here))
    if not unanswered:
        return ""
    return (
        f"reviewers: {len(unanswered)} tasks of the audit, such as that of {unanswered[0]}, were left to an expert "
        "or answered in a way that cannot be used (see notices.jsonl). Change these answers in Label Studio and "
        "export again"
    )


def _tell_rejecters(loop: Loop, here: Path, pulled: PullResult) -> None:
    """Say who rejected everything in this step: that is possible, and more often a misunderstanding."""
    digest = read_json(here / "routing" / ROUTING)["digest"]
    records = read_task_map(ReviewFolder.of(loop.folder).taskmap).values()
    asked = {record.task for record in records if record.routing == digest}
    given, rejected = Counter[str](), Counter[str]()
    for answer in read_corrections(pulled.corrections, pulled.manifest.skeleton.num_keypoints):
        if answer.task in asked:
            given[answer.by] += 1
            rejected[answer.by] += answer.state is State.REJECTED
    for person, answers in sorted(given.items()):
        if answers >= _ANSWERS and rejected[person] == answers:
            loop.progress.note(
                f"WARNING: {person} rejected all {answers} poses. Nothing can be learnt from them, and each counts as "
                "bad. If that was a misunderstanding, have the answers changed before the next round"
            )
