"""A Label Studio server that keeps everything in memory, and fails where a test wants it to.

It knows as little as the real one: it takes every task it is given, twice too, and knows no keys. ``hook`` is called
with the name of each call and whether it is about to be done; what it raises ends the call there, done or undone.
"""

import copy
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from autolabel.errors import InputError
from autolabel.labelstudio.server import Person, RemotePrediction, RemoteProject, RemoteTask, TokenKind

T = TypeVar("T")
Hook = Callable[[str, bool], None]
EMPTY = "<View></View>"
BATCH = 100


def nothing(name: str, before: bool) -> None:
    """Let every call be done."""


class MemoryServer:
    """See :class:`autolabel.labelstudio.server.Server`.

    Attributes:
        calls: Names of the calls so far.
        settings: Of each project, by the server's names.
        tasks: By number: project, data, predictions and annotations, as plain values.
        files: Of each project, names of the uploaded files, one an upload.
        folders: Projects and the folders that they may show.
        drafts: Numbers of the tasks that somebody has begun to answer.
        root: The folder below which files may be shown; None for no such folder.
        hook: Called before and after each call.
    """

    url = "http://memory"
    token_kind: TokenKind = "legacy"

    def __init__(self, hook: Hook = nothing) -> None:
        self.hook = hook
        self.calls: list[str] = []
        self.settings: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.files: dict[int, list[str]] = {}
        self.tabs: dict[tuple[int, str], dict[str, Any]] = {}
        self.folders: list[tuple[int, Path]] = []
        self.drafts: set[int] = set()
        self.root: Path | None = None
        self._numbers = itertools.count(1)

    def who(self) -> Person:
        return Person(1, "reviewer@example.com")

    def users(self) -> list[Person]:
        return [self.who()]

    def version(self) -> str:
        return "1.23.2"

    def project(self, number: int) -> RemoteProject:
        def look() -> RemoteProject:
            if number not in self.settings:
                raise InputError("there is no such project", subject=f"{self.url}/projects/{number}")
            held = self.settings[number]
            return RemoteProject(
                id=number,
                title=held["title"],
                form=held["label_config"],
                model_version=held["model_version"],
                sampling=held["sampling"],
                tasks=sum(task["project"] == number for task in self.tasks.values()),
                annotators=held["maximum_annotations"],
                shows_predictions=held["show_collab_predictions"],
            )

        return self._call("project", look)

    def create_project(self, title: str, form: str = "") -> int:
        def make() -> int:
            number = next(self._numbers)
            self.settings[number] = {
                "title": title,
                "label_config": form or EMPTY,
                "model_version": "",
                "sampling": "Uniform sampling",
                "maximum_annotations": 1,
                "show_collab_predictions": True,
            }
            return number

        return self._call("create_project", make)

    def empty_projects(self, title: str) -> list[int]:
        used = {task["project"] for task in self.tasks.values()}
        return self._call(
            "empty_projects",
            lambda: [
                n
                for n, s in self.settings.items()
                if s["title"] == title and s["label_config"] == EMPTY and n not in used
            ],
        )

    def update_project(self, number: int, **fields: Any) -> None:
        self._call("update_project", lambda: self.settings[number].update(fields))

    def delete_project(self, number: int) -> None:
        self._call("delete_project", lambda: self.settings.pop(number, None))

    def task_list(self, project: int, *, after: int = 0) -> Iterator[RemoteTask]:
        def look() -> list[RemoteTask]:
            return [self._remote(i) for i, task in self.tasks.items() if task["project"] == project and i > after]

        yield from self._call("task_list", look)

    def find(self, project: int, keys: Sequence[str]) -> dict[str, RemoteTask]:
        def look() -> dict[str, RemoteTask]:
            mine = [self._remote(i) for i, task in self.tasks.items() if task["project"] == project]
            mine.sort(key=lambda task: (not task.annotations, task.id), reverse=True)
            return {task.key: task for task in mine if task.key in keys}

        return self._call("find", look)

    def untouched(self, project: int, tasks: Sequence[int]) -> dict[int, RemoteTask]:
        def look() -> dict[int, RemoteTask]:
            mine = {i: task for i, task in self.tasks.items() if i in tasks and task["project"] == project}
            return {i: self._remote(i) for i, task in mine.items() if not task["annotations"] and i not in self.drafts}

        return self._call("untouched", look)

    def unlabelled(self, project: int, version: str) -> set[int]:
        return self._call(
            "unlabelled",
            lambda: {
                i
                for i, task in self.tasks.items()
                if task["project"] == project
                and version not in {held["model_version"] for held in task["predictions"].values()}
            },
        )

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        def add() -> list[int]:
            numbers: list[int] = []
            for task in copy.deepcopy(list(tasks)):
                numbers.append(next(self._numbers))
                predictions = {next(self._numbers): prediction for prediction in task.get("predictions", [])}
                self.tasks[numbers[-1]] = {
                    "project": project, "data": task["data"], "predictions": predictions, "annotations": [],
                }  # fmt: skip
            return numbers

        return self._call("import_tasks", add)

    def update_task(self, task: int, data: Mapping[str, Any]) -> None:
        self._call("update_task", lambda: self.tasks[task].update(data=dict(data)))

    def delete_tasks(self, project: int, tasks: Sequence[int]) -> None:
        self._call("delete_tasks", lambda: [self.tasks.pop(task, None) for task in tasks])

    def predictions(self, task: int) -> list[RemotePrediction]:
        return self._call(
            "predictions",
            lambda: [
                RemotePrediction(i, held["model_version"], held["result"])
                for i, held in self.tasks[task]["predictions"].items()
            ],
        )

    def add_prediction(self, task: int, result: Sequence[Mapping[str, Any]], version: str) -> int:
        def add() -> int:
            number = next(self._numbers)
            self.tasks[task]["predictions"][number] = {"model_version": version, "result": copy.deepcopy(list(result))}
            return number

        return self._call("add_prediction", add)

    def delete_prediction(self, prediction: int) -> None:
        self._call(
            "delete_prediction", lambda: [task["predictions"].pop(prediction, None) for task in self.tasks.values()]
        )

    def upload(
        self, project: int, files: Sequence[Path], *, told: Callable[[int], object] | None = None
    ) -> dict[str, str]:
        def keep(batch: Sequence[Path]) -> dict[str, str]:
            names = [file.name for file in batch if file.read_bytes()]
            self.files.setdefault(project, []).extend(names)
            return {name: f"/data/upload/{project}/12345678-{name}" for name in names}

        places: dict[str, str] = {}
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            places |= self._call("upload", lambda batch=batch: keep(batch))
            if told is not None:
                told(len(batch))
        return places

    def uploads(self, project: int) -> dict[str, str]:
        return self._call(
            "uploads", lambda: {name: f"/data/upload/{project}/12345678-{name}" for name in self.files.get(project, [])}
        )

    def served(self, place: str) -> bytes:
        """A local file, where a folder that is shared holds it; the path is normalized as the server does it."""
        _, _, path = place.partition("?d=")
        file = Path(os.path.normpath((self.root or Path("/nowhere")) / unquote(path)))
        if all(folder not in file.parents for _, folder in self.folders) or not file.is_file():
            raise InputError("is not there", subject=place)
        return file.read_bytes()

    def changed_since(self, project: int, cursor: str, *, page: int = 100) -> Iterator[dict[str, Any]]:
        raise NotImplementedError

    def answers_of(self, project: int, tasks: Sequence[int]) -> Iterator[dict[str, Any]]:
        raise NotImplementedError

    def annotate(self, task: int, result: Sequence[Mapping[str, Any]], **fields: Any) -> int:
        number = next(self._numbers)
        self.tasks[task]["annotations"].append({"id": number, "result": list(result), **fields})
        return number

    def update_annotation(self, annotation: int, **fields: Any) -> None:
        raise NotImplementedError

    def delete_annotation(self, annotation: int) -> None:
        raise NotImplementedError

    def views(self, project: int) -> dict[str, int]:
        return self._call(
            "views", lambda: {title: i for i, (number, title) in enumerate(self.tabs) if number == project}
        )

    def save_view(self, project: int, title: str, data: Mapping[str, Any]) -> int:
        self._call("save_view", lambda: self.tabs.update({(project, title): dict(data)}))
        return 1

    def local_storage(self, project: int, folder: Path) -> None:
        self._call("local_storage", lambda: self.folders.append((project, folder)))

    def shared_folders(self, project: int) -> list[Path]:
        return [folder for number, folder in self.folders if number == project]

    def share(self, project: int, folder: Path) -> int | None:
        """Refused where there is no such folder, or where it does not lie below the document root."""
        if self.root is None or self.root not in folder.parents or not folder.is_dir():
            return None
        self.folders.append((project, folder))
        return len(self.folders)

    def unshare(self, connection: int) -> None:
        del self.folders[connection - 1]

    def _remote(self, number: int) -> RemoteTask:
        task = self.tasks[number]
        return RemoteTask(
            number, task["data"].get("task_key", ""), copy.deepcopy(task["data"]), "", len(task["annotations"])
        )

    def _call(self, name: str, work: Callable[[], T]) -> T:
        self.calls.append(name)
        self.hook(name, True)
        result = work()
        self.hook(name, False)
        return result
