"""A Label Studio over HTTP as far as ``push`` and ``pull`` ask for it, which has trouble when a test says so.

It keeps what it is given, knows no keys, and makes a new task of whatever it is sent, as the real one does. What a test
puts into ``trouble`` is asked first about every request.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.labelstudio_double import Asked, Double, Said, serving

ME = {"id": 1, "email": "reviewer@example.com"}
Record = dict[str, Any]


def no_trouble(asked: Asked) -> Said | None:
    """Every request is answered."""


class FakeLabelStudio:
    """What one project holds.

    Attributes:
        settings: Of the project; empty before it is made.
        tasks: In the order in which they came, as the server lists them.
        files: Names of what was uploaded.
        trouble: Gives another answer to a request, or None where it is to be answered.
    """

    def __init__(self) -> None:
        self.settings: Record = {}
        self.tasks: list[Record] = []
        self.files: list[str] = []
        self.views: list[Record] = []
        self.trouble: Callable[[Asked], Said | None] = no_trouble
        self._clock = 0

    @property
    def keys(self) -> list[str]:
        return [task["data"]["task_key"] for task in self.tasks]

    def __call__(self, asked: Asked) -> Said:
        return self.trouble(asked) or self.answer(asked)

    def answer(self, asked: Asked) -> Said:
        """As a server without trouble."""
        path, get = asked.path.strip("/"), asked.method == "GET"
        match path.split("/"):
            case ["api", "projects"]:
                return self._listed() if get else self._made(asked)
            case ["api", "projects", _]:
                self.settings |= {} if get else asked.json
                return Said(200, {**self.settings, "task_number": len(self.tasks)})
            case ["api", "projects", _, "file-uploads"]:
                return Said(200, [{"id": i, "file": self._place(i)} for i in range(len(self.files))])
            case ["api", "projects", _, "import"]:
                return self._uploaded(asked) if "commit_to_project" in asked.query else self._imported(asked)
            case ["api", "dm", "views"]:
                self.views += [] if get else [{"id": len(self.views), **asked.json}]
                return Said(200, self.views if get else self.views[-1])
            case ["api", "tasks"]:
                return self._found(asked)
            case ["api", "predictions"]:
                return Said(200, [p for task in self.tasks for p in task["predictions"]])
            case ["api", "users"]:
                return Said(200, [ME])
            case _:
                raise AssertionError(f"nobody thought of {asked.method} {asked.path}")

    def annotate(self, task: Record, result: list[Record]) -> None:
        """Somebody answers."""
        now = self._now()
        number = sum(len(known["annotations"]) for known in self.tasks) + 1
        task["annotations"] += [
            {
                "id": number, "result": result, "completed_by": ME["id"], "was_cancelled": False, "lead_time": 1.5,
                "created_at": now, "updated_at": now, "parent_prediction": None,
            }
        ]  # fmt: skip
        task |= {"updated_at": now, "total_annotations": len(task["annotations"])}

    def _listed(self) -> Said:
        made = [{**self.settings, "task_number": len(self.tasks)}] if self.settings else []
        return Said(200, {"count": len(made), "next": None, "previous": None, "results": made})

    def _made(self, asked: Asked) -> Said:
        assert not self.settings, "one project a test"
        self.settings = {"id": 7, "maximum_annotations": 1, "model_version": "", **asked.json}
        return Said(201, self.settings)

    def _place(self, number: int) -> str:
        return f"upload/7/{number:08x}-{self.files[number]}"

    def _uploaded(self, asked: Asked) -> Said:
        names = re.findall(rb'filename="([^"]+)"', asked.body)
        self.files += [name.decode() for name in names]
        return Said(201, {"file_upload_ids": list(range(len(self.files) - len(names), len(self.files)))})

    def _imported(self, asked: Asked) -> Said:
        numbers: list[int] = []
        for task in asked.json:
            now = self._now()
            numbers.append(len(self.tasks) + 1)
            predictions = [{"id": numbers[-1], **prediction} for prediction in task.get("predictions", [])]
            self.tasks.append(
                {
                    "id": numbers[-1], "data": task["data"], "predictions": predictions, "annotations": [],
                    "created_at": now, "updated_at": now, "total_annotations": 0, "cancelled_annotations": 0,
                }
            )  # fmt: skip
        return Said(201, {"task_ids": numbers})

    def _found(self, asked: Asked) -> Said:
        query = json.loads(asked.query.get("query", "{}"))
        (order,) = query["ordering"]
        tasks = sorted(self.tasks, key=lambda task: (task[order.removeprefix("tasks:")], task["id"]))
        for wanted in query.get("filters", {"items": []})["items"]:
            tasks = [task for task in tasks if _passes(task, wanted)]
        return Said(200, {"tasks": tasks[: int(asked.query["page_size"])], "total": len(tasks)})

    def _now(self) -> str:
        self._clock += 1
        return f"2026-01-01T{self._clock // 3600:02d}:{self._clock // 60 % 60:02d}:{self._clock % 60:02d}.000000Z"


def _passes(task: Record, wanted: Record) -> bool:
    column, value = wanted["filter"].removeprefix("filter:tasks:"), wanted["value"]
    there: Any
    match column:
        case "data.task_key":
            there = task["data"]["task_key"]
        case "draft_exists":
            there = False
        case "predictions_model_versions":
            there = {prediction["model_version"] for prediction in task["predictions"]}
        case _:
            there = task[column]
    match wanted["operator"]:
        case "greater":
            return there > value
        case "greater_or_equal":
            return there >= value
        case "equal":
            return there == value
        case "in_list":
            return there in value
        case "not_contains":
            return not there & set(value)
        case other:
            raise AssertionError(f"nobody thought of {other}")


@contextmanager
def fake_labelstudio() -> Iterator[tuple[FakeLabelStudio, Double]]:
    """A running one."""
    fake = FakeLabelStudio()
    with serving(fake) as double:
        yield fake, double
