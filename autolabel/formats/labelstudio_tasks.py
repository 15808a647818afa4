"""The tasks of a Label Studio export, and which answer of each one counts.

A project exported as "JSON" is one list of tasks with their annotations; a target storage holds one file an
annotation, with its task inside; a task list for import may hold predictions. All of them become tasks with
annotations and predictions here.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from autolabel.errors import FormatError
from autolabel.formats.labelstudio_writing import OURS, SKELETON
from autolabel.formats.records import Record, read_json
from autolabel.labelstudio.tasks import MODEL_VERSION
from autolabel.merge import read_time

_AS_JSON = "Export the project as JSON (not JSON-MIN, CSV or COCO)."
_MIN_KEYS = {"annotation_id", "annotator", "lead_time", "created_at", "updated_at"}


class AnnotationChoice(StrEnum):
    """Which of a task's annotations is taken; skipped ones and drafts never are."""

    LATEST = "latest"
    """One marked as ground truth, else the one updated last."""
    FIRST = "first"
    """The one created first."""
    GROUND_TRUTH = "ground-truth"
    """One marked as ground truth, else none."""
    PREDICTIONS = "predictions"
    """As ``LATEST``; where a task has no annotation, its newest prediction."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What is taken of a task.

    Attributes:
        task: The task.
        record: The annotation or prediction.
        predicted: Whether it is a prediction.
        by: Who stated it; "" where the file does not say.
        count: Finished annotations that the task has.
    """

    task: Record
    record: Record
    predicted: bool
    by: str
    count: int


def read_tasks(src: Path) -> list[Record]:
    """The tasks of an export, in the order of the file, or of the files' names.

    Raises:
        FormatError: It is not an export of tasks, or of tasks that only ``autolabel pull`` understands.
    """
    if not src.is_dir():
        tasks = list(_tasks(read_json(src), src))
    else:
        files = [file for file in sorted(src.glob("*.json")) if file.name != SKELETON]
        if not files:
            raise FormatError("holds no .json files", subject=str(src), remedy=_AS_JSON)
        tasks = list(_joined(task for file in files for task in _tasks(read_json(file), file)))
    for task in tasks:
        data = task.record("data").data
        if OURS in task.record("meta").data and "task_key" in data and "crop" in data:
            remedy = "Bring answers to `autolabel push` back with `autolabel pull`."
            task.fail("data.task_key", "is of a task of one cropped person", remedy)
    return tasks


def task_name(task: Record) -> str:
    """How people know a task: its number, or its place where it has none."""
    number = task.data.get("id")
    return f"task {number}" if isinstance(number, int | str) else task.place


def choose(
    tasks: Sequence[Record], choice: AnnotationChoice, annotator: str | None = None
) -> tuple[list[Answer], list[str]]:
    """The answer of each task that has one, and what is left out, a sentence each.

    Args:
        tasks: The tasks.
        choice: The rule.
        annotator: Number or e-mail address of the only annotator whose answers count.

    Raises:
        FormatError: A malformed annotation, or nobody of that name.
    """
    counts = Counter[str]()
    answers: list[Answer] = []
    known: dict[str, None] = {}
    for task in tasks:
        finished: list[Record] = []
        for record in _records(task, "annotations"):
            counts["skipped"] += (skipped := record.data.get("was_cancelled") is True)
            names = _names(record)
            known |= dict.fromkeys(names)
            if not skipped and (annotator is None or annotator in names):
                finished.append(record)
        counts["drafts"] += len(_values(task, "drafts"))
        taken = _taken(finished, choice)
        if taken is not None:
            counts["several"] += len(finished) > 1
            counts["not taken"] += len(finished) - 1
            answers.append(Answer(task, taken, False, _by(taken), len(finished)))
        elif choice is AnnotationChoice.PREDICTIONS and (prediction := _newest(task)) is not None:
            answers.append(Answer(task, prediction, True, _model(prediction), 0))
        else:
            counts["unanswered"] += 1
    if annotator is not None and annotator not in known:
        among = ", ".join(known) or "nobody"
        raise FormatError(f"{annotator!r} annotated nothing", subject="--annotator", remedy=f"There is: {among}.")
    return answers, _notes(counts, choice, annotator)


def _notes(counts: Counter[str], choice: AnnotationChoice, annotator: str | None) -> list[str]:
    whose = "" if annotator is None else f" by {annotator}"
    sentences = {
        "unanswered": f"{counts['unanswered']:,} tasks without a finished annotation{whose} left out.",
        "skipped": f"{counts['skipped']:,} skipped annotations left out.",
        "drafts": f"{counts['drafts']:,} drafts left out.",
        "several": f"{counts['several']:,} tasks have several annotations; taken: {choice.value}; "
        f"{counts['not taken']:,} others left out.",
    }
    return [sentence for name, sentence in sentences.items() if counts[name]]


def _tasks(content: Any, file: Path) -> Iterator[Record]:
    if isinstance(content, dict):
        single = cast("dict[str, Any]", content)
        if isinstance(single.get("task"), dict) and "result" in single:
            annotation = {name: value for name, value in single.items() if name != "task"}
            single = {**single["task"], "annotations": [annotation]}
        if "data" not in single:
            remedy = "Import it as coco." if {"images", "categories"} <= set(single) else _AS_JSON
            raise FormatError("is not a list of tasks", subject=str(file), remedy=remedy)
        yield Record(single, "task", _subject(single, file))
        return
    if not isinstance(content, list):
        raise FormatError("is not a list of tasks", subject=str(file), remedy=_AS_JSON)
    for i, value in enumerate(cast("list[Any]", content)):
        task = Record(value, f"tasks[{i}]", _subject(value, file))
        if "data" not in task.data and _MIN_KEYS & set(task.data):
            task.fail(None, "is of a JSON-MIN export, which does not say which keypoint is whose", _AS_JSON)
        task.record("data")
        task.require("data")
        yield task


def _subject(task: Any, file: Path) -> str:
    number = cast("dict[str, Any]", task).get("id") if isinstance(task, dict) else None
    return f"{file}, task {number}" if isinstance(number, int | str) else str(file)


def _joined(tasks: Iterator[Record]) -> Iterator[Record]:
    """One record a task: a target storage writes a file for each of its annotations."""
    by_id: dict[Any, Record] = {}
    for task in tasks:
        number = task.data.get("id")
        if not isinstance(number, int | str):
            yield task
        elif number in by_id:
            first = by_id[number]
            first.data["annotations"] = [*_values(first, "annotations"), *_values(task, "annotations")]
        else:
            by_id[number] = task
    yield from by_id.values()


def _values(task: Record, field: str) -> list[Any]:
    return [] if task.data.get(field) is None else task.items(field)


def _records(task: Record, field: str) -> Iterator[Record]:
    return iter(()) if task.data.get(field) is None else task.records(field)


def _taken(finished: Sequence[Record], choice: AnnotationChoice) -> Record | None:
    if not finished:
        return None
    true = [record for record in finished if record.data.get("ground_truth") is True]
    if choice is AnnotationChoice.FIRST:
        return min(finished, key=lambda record: _time(record, "created_at"))
    if choice is AnnotationChoice.GROUND_TRUTH:
        finished = true
    # Of equal times the later in the file.
    return max(reversed(true or finished), key=lambda record: _time(record, "updated_at"), default=None)


def _newest(task: Record) -> Record | None:
    """The newest prediction; annotations of an import are kept in order, so the last of equal ones."""
    predictions = list(_records(task, "predictions"))
    return max(reversed(predictions), key=lambda record: _time(record, "created_at"), default=None)


def _time(record: Record, field: str) -> datetime:
    if record.data.get(field) is None:
        return datetime.min.replace(tzinfo=UTC)
    text = record.text(field)
    try:
        return read_time(text)
    except ValueError:
        record.fail(field, f"is {text!r}, expected an ISO 8601 time")


def _names(record: Record) -> list[str]:
    """What an annotator may be called: the number, the e-mail address, the name."""
    who = record.data.get("completed_by")
    if isinstance(who, dict):
        person = record.record("completed_by")
        return [str(person.data[name]) for name in ("id", "email", "username") if person.data.get(name)]
    return [] if who is None else [str(record.identifier("completed_by"))]


def _model(prediction: Record) -> str:
    """The model's name; our own exports carry one name for all, and who stated a pose beside it."""
    version = str(prediction.data.get("model_version") or "")
    return "" if version == MODEL_VERSION else version


def _by(record: Record) -> str:
    """The e-mail address where the file tells it, else the number: exports hold only that."""
    who = record.data.get("completed_by")
    if isinstance(who, dict):
        person = record.record("completed_by")
        return person.text("email", "") or f"annotator-{person.identifier('id')}"
    return "" if who is None else f"annotator-{who}"
