"""Pulls while people answer: each is killed at a random moment, now and then the server is, and nobody waits.

A reviewer in a thread of its own submits one answer after another. Whoever submits while the server dies does not know
whether it was taken: like a person, the reviewer then looks at the task and answers again if there is nothing. At the
end one pull is left alone, and every answer must be there once, and as it was submitted.
"""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autolabel.errors import AutolabelError
from autolabel.labelstudio.folder import read_lines
from benchmarks.labelstudio_answers import Answer, check_answers, made_up, submitted
from benchmarks.labelstudio_case import Bench, Case, keys_of
from benchmarks.labelstudio_child import begin, end, work
from benchmarks.labelstudio_requests import answers_to, listed

EVERY = 4
"""Of so many kills one is the server's."""
PAUSE = 0.2
"""Seconds between two answers."""

_FIRST = 1.0
"""Seconds within which the first pull is killed; then it is as long as the last undisturbed one took."""

_PATIENCE = 300

Row = dict[str, Any]


class Reviewer(threading.Thread):
    """Answers all tasks of a project, each once, whatever happens to the server.

    Attributes:
        given: What was submitted so far, by the task's key.
        repeated: Answers that had to be submitted again.
        unsure: Answers whose end was not known.
        calm: Set when nothing is killed any more: the last answer waits for it.
    """

    def __init__(self, case: Case, seed: int) -> None:
        super().__init__(daemon=True)
        self.given: dict[str, Answer] = {}
        self.repeated = self.unsure = 0
        self.failure = ""
        self.calm = threading.Event()
        self._case, self._client = case, case.client
        tasks = list(listed(case.access, case.number))
        random.Random(seed).shuffle(tasks)
        self._tasks, self._seed = tasks, seed

    def run(self) -> None:
        """Work until everything is answered."""
        for task in self._tasks:
            key = task["data"]["task_key"]
            self.calm.wait(None if task is self._tasks[-1] else PAUSE)
            answer = made_up(key, self._seed)
            if not self._submit(task, key, answer):
                self.failure = f"task {key} could not be answered"
                return
            self.given[key] = answer

    def _submit(self, task: Row, key: str, answer: Answer) -> bool:
        result = submitted(task["predictions"][0]["result"], key, answer)
        for attempt in range(_PATIENCE):
            try:
                if attempt and self._is_there(task["id"]):
                    return True
                self._client.annotate(task["id"], result, lead_time=1.5, was_cancelled=answer.skipped)
            except (AutolabelError, OSError):
                self.unsure += not attempt
                time.sleep(0.5)
            else:
                self.repeated += bool(attempt)
                return True
        return False

    def _is_there(self, task: int) -> bool:
        return bool(answers_to(self._case.access, task))


def busy(bench: Bench, tasks: int, kills: int, seed: int) -> Iterator[Row]:
    """Kill pulls, and the server, while somebody answers; one row.

    Args:
        bench: The server.
        tasks: How many are answered.
        kills: How many, of both kinds together.
        seed: Of the answers and of the moments.
    """
    case, queue = bench.case("busy"), bench.queue(tasks)
    work("push", queue.path, "--project", case.project)
    reviewer, rng = Reviewer(case, seed), random.Random(f"{seed}/busy")
    out, pulls, counts = case.project / "pulled", 0, {"command": 0, "server": 0}
    longest = _FIRST
    reviewer.start()
    while reviewer.is_alive():
        pulls += 1
        process = begin("pull", "--project", case.project, "--out", out, "--overwrite")
        done = sum(counts.values())
        if done == kills:
            reviewer.calm.set()
        else:
            time.sleep(rng.uniform(0, longest))
        if done == kills or process.poll() is not None:
            longest = max(end(process).seconds, 0.1)
        elif done % EVERY == EVERY - 1:
            bench.kill()
            bench.restart()
            counts["server"] += 1
            end(process)
        else:
            process.kill()
            process.communicate()
            counts["command"] += 1
    if reviewer.failure:
        raise RuntimeError(reviewer.failure)
    yield _row(case, out, reviewer, set(keys_of(queue)), pulls, counts)


def _row(case: Case, out: Path, reviewer: Reviewer, keys: set[str], pulls: int, counts: dict[str, int]) -> Row:
    before = sum(1 for _ in read_lines(case.folder.journal))
    work("pull", "--project", case.project, "--out", out, "--overwrite")
    findings = check_answers(case, out, reviewer.given)
    unanswered = len(keys - set(reviewer.given))
    return {
        "tasks": len(keys),
        "pulls": pulls,
        "pulls killed": counts["command"],
        "server killed": counts["server"],
        "answers of unknown end": reviewer.unsure,
        "submitted again": reviewer.repeated,
        "had before the last pull": before,
        **vars(findings),
        "lost": findings.lost + unanswered,
    }
