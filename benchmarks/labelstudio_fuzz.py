"""Broken answers through the whole of ``pull``: nothing may crash it, and no keypoint may get another one's place.

Some are written by hand, half of the others hypothesis makes up, and the rest are our own after a few things were done
to them. The generators and what must hold of each answer are those of ``tests/fuzz``. Here every answer belongs to a
task of its own, comes over HTTP from a server in this process that keeps whatever it is given, as Label Studio does,
and is fetched, journalled, read and written by one ``pull``.
"""

import copy
import json
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from autolabel.labelstudio.access import save_token, write_settings
from autolabel.labelstudio.folder import ReviewFolder, append_lines, read_lines
from autolabel.labelstudio.tasks import REVIEW, TaskRecord, task_key
from autolabel.manifest import write_manifest
from autolabel.merge import CORRECTIONS, read_corrections
from autolabel.poses import Poses, Sample
from pipelines.pull import NOTICES, pull
from tests.fuzz.answer_results import KEY, POSE, RECORD, SENT, SIZE, SKELETON, broken_result, check
from tests.fuzz.made_up_results import made_up
from tests.labelstudio_double import LEGACY, Asked, Said, serving

DIGEST = "cd" * 32
HOSTILE: tuple[Any, ...] = (
    [], [None], [[]], [{}], [{"id": 1}], [{"type": "keypointlabels"}], {"a": 1}, "text", None, 5, [[[[]]]],
    [{**SENT[0], "value": {**SENT[0]["value"], "x": 10**400}}], [{**SENT[0], "id": "\ud800"}], [*SENT, *SENT],
    [{**SENT[0], "value": {**SENT[0]["value"], "x": "50"}}], [{**item, "id": "same"} for item in SENT],
    json.loads("[" * 60 + "]" * 60),
)  # fmt: skip
"""Written by hand; they come first."""
_START = datetime(2026, 1, 1, tzinfo=UTC)


def fuzz(folder: Path, results: int, seed: int) -> Iterator[dict[str, Any]]:
    """Pull many broken answers; one row.

    Args:
        folder: Made anew.
        results: How many answers.
        seed: The same one gives the same answers.
    """
    shutil.rmtree(folder, ignore_errors=True)
    rng = random.Random(f"{seed}")
    by_hand = copy.deepcopy(HOSTILE[:results])
    invented = made_up((results - len(by_hand)) // 2, seed)
    rest = results - len(by_hand) - len(invented)
    broken: list[Any] = [*by_hand, *invented, *(broken_result(rng) for _ in range(rest))]
    keys = _project(folder / "project", results)
    tasks = [_task(i, key, result) for i, (key, result) in enumerate(zip(keys, broken, strict=True))]
    with serving(lambda asked: _answer(asked, tasks)) as server:
        write_settings(folder / "project", url=server.url, project=1)
        begin = time.perf_counter()
        pulled = pull(project=folder / "project", out=folder / "pulled")
        seconds = time.perf_counter() - begin
    yield {
        "results": results,
        "by hand": len(by_hand),
        "by hypothesis": len(invented),
        "seconds": round(seconds, 1),
        **_outcome(pulled.manifest.path, ReviewFolder.of(folder / "project"), dict(zip(keys, broken, strict=True))),
        "notices": dict(pulled.kinds),
    }


def _outcome(pulled: Path, folder: ReviewFolder, broken: Mapping[str, Any]) -> dict[str, Any]:
    """How many were used and set aside, and how many were lost or attributed wrongly."""
    made = {one.task: one for one in read_corrections(pulled / CORRECTIONS, SKELETON.num_keypoints)}
    journal = {line["task"]: line for line in read_lines(folder.journal)}
    reasons = {line["task"] for line in read_lines(pulled / NOTICES)}
    wrong: list[str] = []
    for task, correction in made.items():
        try:
            check(correction, broken[task])
        except AssertionError as error:
            wrong.append(f"{error}: {json.dumps(broken[task])[:2000]}")
    unused = set(broken) - set(made)
    return {
        "used": len(made),
        "set aside": len(unused & reasons),
        "lost": len(set(broken) - set(journal)) + len(unused - reasons),
        "wrong": len(wrong),
        "first wrong": wrong[:1],
    }


def _project(project: Path, count: int) -> list[str]:
    """A project to which as many equal poses were pushed, each in an image of its own; gives the tasks' keys."""
    folder = ReviewFolder.of(project)
    folder.path.mkdir(parents=True)
    (project / "autolabel.toml").write_text('name = "fuzz"\n[corpus]\nimages = "images"\n[labelstudio]\n')
    (project / "images").mkdir()
    save_token(project, LEGACY)
    names = [f"{i:032x}" for i in range(count)]
    samples = (
        Sample(name, "images", f"{name}.jpg", SIZE, Poses.create(
            SKELETON.num_keypoints, id=[name], xy=[POSE.xy], box=[POSE.box], presence=[POSE.presence]
        ))
        for name in names
    )  # fmt: skip
    write_manifest(folder.sent(DIGEST), samples, SKELETON, {"images": project / "images"}, stage="push")
    records = [
        TaskRecord(task_key(DIGEST, name, REVIEW), name, (name, "images", f"{name}.jpg"), RECORD.frame, DIGEST, REVIEW,
                   False, "net")
        for name in names
    ]  # fmt: skip
    append_lines(folder.taskmap, (record.to_dict() for record in records))
    return [record.task for record in records]


def _task(number: int, key: str, result: Any) -> dict[str, Any]:
    """A task as the server tells it; regions named after the generator's task are named after this one."""
    when = (_START + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
    own = json.loads(json.dumps(result).replace(KEY[:12], key[:12]))
    annotation = {
        "id": number, "completed_by": 1, "was_cancelled": False, "lead_time": 1.0, "created_at": when,
        "updated_at": when, "result": own,
    }  # fmt: skip
    return {
        "id": number, "data": {"task_key": key}, "created_at": when, "updated_at": when, "annotations": [annotation]
    }  # fmt: skip


def _answer(asked: Asked, tasks: Sequence[Mapping[str, Any]]) -> Said:
    """The server: people, and tasks from a moment on."""
    if "users" in asked.path:
        return Said(body=[])
    query = json.loads(asked.query.get("query", "{}"))
    items = query.get("filters", {}).get("items", [])
    passing = [task for task in tasks if all(_passes(task, item) for item in items)]
    return Said(body={"tasks": passing[: int(asked.query.get("page_size", 100))], "total": len(passing)})


def _passes(task: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Whether a task passes one filter of a list; both fields of a task grow with it."""
    value, wanted = task[item["filter"].rpartition(":")[2]], item["value"]
    match item["operator"]:
        case "greater":
            return value > wanted
        case "greater_or_equal":
            return value >= wanted
        case "in_list":
            return value in wanted
        case _:
            return value == wanted
