"""Answers of a made-up reviewer, and whether tasks and answers all arrived, each once and as they were submitted.

A tenth of the tasks is answered as the browser does it, one request each: up to two points moved, or the task skipped.
The rest is accepted as it stands, a few at a time, by the server's own action, because thousands of single requests
would take longer than all that is measured. What should come back is worked out from what was submitted alone.
"""

import copy
import json
import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.labelstudio.folder import read_lines
from autolabel.labelstudio.tasks import MODEL_VERSION, keypoint_region, read_task_map
from autolabel.manifest import Manifest
from autolabel.merge import CORRECTIONS, Correction, read_corrections
from benchmarks.labelstudio_case import SKELETON, Case
from benchmarks.labelstudio_requests import accept, listed

SINGLY = 10
"""Every so many tasks are answered one by one."""
_NEAR = 1e-2
_SERVED = 20

Result = list[dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """What was submitted for a task.

    Attributes:
        moved: By keypoint, (x, y) in percent of the crop.
        skipped: Whether it was skipped.
    """

    moved: Mapping[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])
    skipped: bool = False


@dataclass(frozen=True)
class Findings:
    """What is not as it should be.

    Attributes:
        lost: Tasks, or answers, that are missing.
        doubled: Surplus copies.
        wrong: Those that are not what was sent or submitted.
    """

    lost: int
    doubled: int
    wrong: int

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.wrong)


def answer_all(case: Case, seed: int, *, keys: Collection[str] = ()) -> dict[str, Answer]:
    """Answer all tasks of a project, or some of them; gives what was submitted, by key."""
    there = listed(case.access, case.number)
    tasks = sorted((task for task in there if not keys or _key(task) in keys), key=_key)
    given: dict[str, Answer] = {}
    client = case.client
    for task in tasks[::SINGLY]:
        key, sent = _key(task), task["predictions"][0]
        given[key] = answer = made_up(key, seed)
        client.annotate(
            task["id"], submitted(sent["result"], key, answer), lead_time=4.5, was_cancelled=answer.skipped
        )  # fmt: skip
    rest = [task for task in tasks if _key(task) not in given]
    accept(case.access, case.number, [task["id"] for task in rest])
    return given | {_key(task): Answer() for task in rest}


def made_up(key: str, seed: int) -> Answer:
    """What a reviewer says to a task; the same every time."""
    rng = random.Random(f"{key}/{seed}")
    joints = rng.sample(range(SKELETON.num_keypoints), rng.choice((0, 1, 1, 2)))
    skipped = rng.random() < 0.1
    moved = {k: (rng.uniform(0, 100), rng.uniform(0, 100)) for k in joints}
    return Answer({} if skipped else moved, skipped)


def submitted(sent: Result, key: str, answer: Answer) -> Result:
    """The result that a browser would submit: a point and its visibility are two items of one region."""
    result, places = copy.deepcopy(sent), {keypoint_region(key, k): xy for k, xy in answer.moved.items()}
    for item in result:
        if item["id"] in places:
            item["value"]["x"], item["value"]["y"] = places[item["id"]]
    return result


def check_tasks(case: Case, keys: Collection[str]) -> Findings:
    """Whether a project's tasks are the expected ones, each once, whole, and with a picture that is served.

    Args:
        case: After a push that ended.
        keys: Of all tasks that should be there.
    """
    tasks = list(listed(case.access, case.number))
    there = Counter(map(_key, tasks))
    written = {_key(task): task for file in case.folder.task_files() for task in _read(file)}
    bad = sum(not _as_written(task, written.get(_key(task))) for task in tasks)
    client, rng = case.client, random.Random(0)
    for task in rng.sample(tasks, min(_SERVED, len(tasks))):
        crop = case.folder.crops / task["data"]["crop"]
        bad += client.served(task["data"]["image"]) != crop.read_bytes()
    return Findings(lost=len(set(keys) - set(there)), doubled=sum(there.values()) - len(there), wrong=bad)


def check_answers(case: Case, pulled: Path, given: Mapping[str, Answer]) -> Findings:
    """Whether what was pulled is what was submitted: every answer once, moved points where they were put.

    Args:
        case: Whose journal counts the answers.
        pulled: The manifest that the pull wrote.
        given: What was submitted, by the task's key.
    """
    lines = Counter((line["task"], line["annotation"]) for line in read_lines(case.folder.journal))
    found = Counter(task for task, _ in lines)
    due = {key: answer for key, answer in given.items() if not answer.skipped}
    made = {one.task: one for one in read_corrections(pulled / CORRECTIONS, SKELETON.num_keypoints)}
    lost = len(set(given) - set(found)) + len(set(due) - set(made))
    surplus = sum(lines.values()) - len(lines) + len(lines) - len(found) + len(set(made) - set(due))
    records = read_task_map(case.folder.taskmap)
    sent = {
        pose.id: pose
        for digest in {record.routing for record in records.values()}
        for sample in Manifest.open(case.folder.sent(digest))
        for pose in (sample.poses[i] for i in range(len(sample.poses)))
    }
    wrong = 0
    for key in set(made) & set(due):
        expected = sent[made[key].pose].xy.copy()
        for k, percent in due[key].moved.items():
            expected[k] = records[key].frame.to_image(percent)
        wrong += not _same(made[key], expected, due[key].moved) or made[key].pose != records[key].pose
    return Findings(lost, surplus, wrong)


def _same(made: Correction, expected: Any, moved: Iterable[int]) -> bool:
    """Moved points within a hundredth of a pixel of where they were put, the others bit by bit where they were."""
    still = np.ones(len(expected), bool)
    still[list(moved)] = False
    near = np.abs(made.after.xy[~still] - expected[~still]) < _NEAR
    return bool(near.all()) and np.array_equal(made.after.xy[still], expected[still], equal_nan=True)


def _as_written(task: Mapping[str, Any], written: Mapping[str, Any] | None) -> bool:
    """Whether a task on the server is what the review folder's file says, its picture's address aside."""
    if written is None:
        return False
    predictions = [(one["model_version"], one["result"]) for one in task["predictions"]]
    data = {**task["data"], "image": written["data"]["image"]}
    return predictions == [(MODEL_VERSION, written["predictions"][0]["result"])] and data == written["data"]


def _key(task: Mapping[str, Any]) -> str:
    return task["data"]["task_key"]


def _read(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8"))
