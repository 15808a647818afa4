"""What a simulated reviewer leaves behind: exports of the same shape as Label Studio's, in the project.

Times are made up from a task's number, so that later tasks are answered later and answers are repeatable.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from autolabel.formats.records import read_json
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import TaskRecord
from autolabel.manifest import write_text

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_ID = 1
"""The reviewer's number in the exports."""

_UNUSED: Mapping[str, Any] = {
    "ground_truth": False,
    **dict.fromkeys(("draft_created_at", "import_id", "last_action", "parent_annotation", "last_created_by")),
}
"""Fields of an annotation that say nothing here."""


def answered(folder: ReviewFolder) -> set[str]:
    """Tasks that some export in the project holds an annotation of."""
    return {
        str(task["data"].get("task_key", ""))
        for file in sorted(folder.exports.glob("*.json"))
        for task in read_json(file)
        if task["annotations"]
    }


def exported(
    task: Mapping[str, Any], result: list[dict[str, Any]], record: TaskRecord, number: int, seconds: float
) -> dict[str, Any]:
    """A task with its annotation, field for field as Label Studio 1.23 exports it.

    Args:
        task: As it was imported.
        result: What was submitted.
        record: Its line of the task map.
        number: Of the task in the project; made into ids and times.
        seconds: How long it took.
    """
    now = (_EPOCH + timedelta(minutes=number)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    shared = {"created_at": now, "updated_at": now, "project": 1}
    prediction = {"id": number, **task["predictions"][0], **shared, "score": None, "task": number}
    annotation = {
        **_UNUSED,
        **shared,
        "id": number,
        "unique_id": hashlib.sha256(f"{record.task} answer".encode()).hexdigest()[:32],
        "task": number,
        "result": result,
        "result_count": len(result),
        "was_cancelled": False,
        "lead_time": seconds,
        "completed_by": _ID,
        "updated_by": _ID,
        "prediction": prediction,
        "parent_prediction": number,
    }
    counts = {"total_annotations": 1, "cancelled_annotations": 0, "total_predictions": 1}
    given = {"data": task["data"], "meta": task["meta"], "predictions": [number], "drafts": []}
    ids = {"id": number, "inner_id": number, "updated_by": _ID}
    return {**ids, **shared, **counts, **given, "annotations": [annotation]}


def write_export(folder: ReviewFolder, stem: str, tasks: list[dict[str, Any]]) -> None:
    """Write an export beside those that are there."""
    names = (folder.exports / f"simulated-{stem}-{i}.json" for i in count())
    path = next(name for name in names if not name.exists())
    write_text(path, json.dumps(tasks, ensure_ascii=False) + "\n")
