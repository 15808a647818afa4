"""The real :class:`autolabel.labelstudio.server.Server`: Label Studio over HTTP.

Projects, people, uploads and deletions are calls of Label Studio's own library. Three things go past it, through
the same connection: lists of tasks, because the server can send fewer fields than the library asks for; tasks,
predictions, answers and tabs, so that what is sent and read is what stands there, to the last digit and unknown key;
and the upload of images, which the library lacks.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from autolabel.errors import InputError, UnsureError, WorkError
from autolabel.labelstudio.access import Access
from autolabel.labelstudio.connection import Connection, Refused, encoded, json_of
from autolabel.labelstudio.form_check import is_empty
from autolabel.labelstudio.server import Person, RemotePrediction, RemoteProject, RemoteTask, TokenKind
from autolabel.labelstudio.task_query import LEAN_TASK, TaskLists, filtered, remote_task
from autolabel.labelstudio.upload_batches import batches, media_type
from autolabel.progress import SILENT

# A list of keys is part of the address, which a web server in between cuts off at 8 kB.
_LIST_PAGE, _FIND_PAGE, _DELETE_PAGE = 1000, 100, 500
# The server does all of an import or an upload before it answers.
_LONG = 10
_EMPTY_FORM = "<View></View>"
_STAMP = len("12345678-")
# `include` prunes inside annotations too: what is not named here is missing there.
_LEAN_ANSWERS = (
    "id,data,updated_at,created_at,annotations,result,completed_by,updated_by,was_cancelled,lead_time,"
    "parent_prediction,ground_truth,unique_id"
)


class Client:
    """A Label Studio server; see :class:`autolabel.labelstudio.server.Server` for what each method promises.

    Args:
        access: Address and token of either kind.
        timeout: Seconds to wait for an answer; ten times as long for an import or upload.
        tries: How often a request that may be repeated is tried in all.
        sleep: How to wait between tries.
        note: Told before each wait, for whoever would take it for a standstill.

    Raises:
        InputError: The token is a personal access token that has expired.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout: float = 60.0,
        tries: int = 5,
        sleep: Callable[[float], None] = time.sleep,
        note: Callable[[str], None] = SILENT.note,
    ) -> None:
        self._link = Connection(access, timeout=timeout, tries=tries, sleep=sleep, note=note)
        self._lists = TaskLists(self._link)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self._link.url

    @property
    def token_kind(self) -> TokenKind:
        """Whether the token is a legacy one or a personal access token."""
        return self._link.token_kind

    def who(self) -> Person:
        """Whose token it is."""
        user = self._link.ask("user", lambda sdk: sdk.users.whoami())
        return Person(_number(user.id), user.email or "")

    def users(self) -> list[Person]:
        """Everybody whom the token's user may see."""
        users = self._link.ask("users", lambda sdk: sdk.users.list())
        return [Person(_number(user.id), user.email or "") for user in users]

    def version(self) -> str:
        """The server's version."""
        return self._link.ask("version", lambda sdk: sdk.versions.get()).release

    def project(self, number: int) -> RemoteProject:
        """A project."""
        found = self._link.ask(f"project {number}", lambda sdk: sdk.projects.get(id=number))
        return RemoteProject(
            id=number,
            title=found.title or "",
            form=found.label_config or "",
            model_version=found.model_version or "",
            sampling=str(found.sampling or ""),
            tasks=found.task_number or 0,
            annotators=found.maximum_annotations or 1,
            shows_predictions=found.show_collab_predictions is not False,
        )

    def create_project(self, title: str, form: str = "") -> int:
        """Make a project."""
        made = self._link.ask(
            f"new project {title!r}",
            lambda sdk: sdk.projects.create(title=title, label_config=form or _EMPTY_FORM),
            once=True,
        )
        return _number(made.id)

    def empty_projects(self, title: str) -> list[int]:
        """The projects of this title that have neither tasks nor a form."""
        # Ordered, because without it a later page may repeat a project of an earlier one.
        where = {"title": title, "page_size": 100, "ordering": "id", "include": "id,title,task_number,label_config"}
        path, found = "api/projects/", list[int]()
        for page in count(1):
            answer = self._link.ask(
                "projects", lambda _, page=page: json_of(self._link.send("GET", path, params={**where, "page": page}))
            )
            empty = (p for p in answer["results"] if not p["task_number"] and is_empty(p["label_config"] or ""))
            found += [int(project["id"]) for project in empty if project["title"] == title]
            if not answer["next"]:
                break
        return sorted(found)

    def update_project(self, number: int, **fields: Any) -> None:
        """Set fields by the server's names."""
        self._link.ask(f"project {number}", lambda sdk: sdk.projects.update(id=number, **fields))

    def delete_project(self, number: int) -> None:
        """Delete a project with all its tasks."""
        self._link.delete(f"project {number}", lambda sdk: sdk.projects.delete(id=number))

    def task_list(self, project: int, *, after: int = 0) -> Iterator[RemoteTask]:
        """All tasks, by number."""
        yield from map(remote_task, self._lists.by_number(project, [], LEAN_TASK, after=after or None))

    def find(self, project: int, keys: Sequence[str]) -> dict[str, RemoteTask]:
        """Those of our keys that are there."""
        found: dict[str, RemoteTask] = {}
        wanted = set(keys)
        # The server searches its tasks for each key anew: many are found sooner in a list of all.
        tasks = self.task_list(project) if len(wanted) > _LIST_PAGE else self._of_keys(project, keys)
        for task in tasks:
            standing = found.get(task.key)
            if task.key in wanted and (standing is None or (task.annotations and not standing.annotations)):
                found[task.key] = task
        return found

    def untouched(self, project: int, tasks: Sequence[int]) -> dict[int, RemoteTask]:
        """Those of some tasks that nobody has answered or begun to answer."""
        found: dict[int, RemoteTask] = {}
        undrafted = filtered("draft_exists", "equal", "Boolean", False)
        for start in range(0, len(tasks), _FIND_PAGE):
            these = filtered("id", "in_list", "List", list(tasks[start : start + _FIND_PAGE]))
            records = self._lists.by_number(project, [these, undrafted], f"{LEAN_TASK},annotations,")
            found |= {record["id"]: remote_task(record) for record in records if not record["annotations"]}
        return {number: task for number, task in found.items() if not task.annotations}

    def unlabelled(self, project: int, version: str) -> set[int]:
        """Numbers of the tasks that have no prediction of a version."""
        without = filtered("predictions_model_versions", "not_contains", "List", [version])
        return {record["id"] for record in self._lists.by_number(project, [without], "id")}

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks in one request."""
        body = encoded(tasks)
        about = f"import of {len(tasks)} tasks into project {project} ({len(body) / 1e6:.1f} MB)"
        answer = self._long(
            about, "POST", f"api/projects/{project}/import", params={"return_task_ids": "true"}, body=body
        )
        numbers = [number for number in answer.get("task_ids") or () if isinstance(number, int)]
        if len(numbers) != len(tasks):
            raise UnsureError(
                f"{about}: the server gave {len(numbers)} numbers, so nobody can tell which tasks it has",
                subject=self.url,
                remedy="Push again: what is there is not sent twice.",
            )
        return numbers

    def update_task(self, task: int, data: Mapping[str, Any]) -> None:
        """Replace a task's data."""
        body = encoded({"data": data})
        self._link.ask(f"task {task}", lambda _: self._link.send("PATCH", f"api/tasks/{task}/", body=body))

    def delete_tasks(self, project: int, tasks: Sequence[int]) -> None:
        """Delete tasks with what belongs to them."""
        for start in range(0, len(tasks), _DELETE_PAGE):
            body = encoded({"selectedItems": {"all": False, "included": list(tasks[start : start + _DELETE_PAGE])}})
            where = {"id": "delete_tasks", "project": project}
            self._link.ask(
                f"tasks of project {project}",
                lambda _, body=body, where=where: self._link.send("POST", "api/dm/actions", params=where, body=body),
            )

    def predictions(self, task: int) -> list[RemotePrediction]:
        """A task's predictions, oldest first."""
        where = {"task": task}
        found = self._link.ask(
            f"task {task}", lambda _: json_of(self._link.send("GET", "api/predictions/", params=where))
        )
        known = [RemotePrediction(p["id"], p.get("model_version") or "", p["result"]) for p in found]
        return sorted(known, key=lambda prediction: prediction.id)

    def add_prediction(self, task: int, result: Sequence[Mapping[str, Any]], version: str) -> int:
        """Add a prediction."""
        body = encoded({"task": task, "result": result, "model_version": version})
        return self._made(f"prediction of task {task}", "api/predictions/", body)

    def delete_prediction(self, prediction: int) -> None:
        """Delete a prediction."""
        self._link.delete(f"prediction {prediction}", lambda sdk: sdk.predictions.delete(id=prediction))

    def upload(
        self, project: int, files: Sequence[Path], *, told: Callable[[int], object] | None = None
    ) -> dict[str, str]:
        """Upload images, which makes no tasks."""
        if len({file.name for file in files}) < len(files):
            raise InputError("two files to upload have the same name", subject=str(files[0].parent))
        places: dict[str, str] = {}
        for batch in batches(files):
            places |= self._upload(project, batch)
            if told is not None:
                told(len(batch))
        return places

    def uploads(self, project: int) -> dict[str, str]:
        """What was uploaded."""
        return {
            # The server puts 8 digits and a dash before a file's name.
            place.rpartition("/")[2][_STAMP:]: place
            for _, place in sorted(self._places(project).items())
        }

    def served(self, place: str) -> bytes:
        """The bytes of an image as the server serves it."""
        if "://" in place and not place.startswith(("http://", "https://")):
            raise InputError("is served by the storage that holds it, not over HTTP", subject=place)
        return self._link.ask(place, lambda _: self._link.send("GET", place, follow=True).content)

    def changed_since(self, project: int, cursor: str, *, page: int = 250) -> Iterator[dict[str, Any]]:
        """Tasks that changed at ``cursor`` or later, in the order of ``updated_at``, with their annotations."""
        since = [_at("greater_or_equal", cursor)] if cursor else []
        given: set[int] = set()
        while True:
            # Each page starts at the time where the last one ended: a task that changes meanwhile moves to the end,
            # and pages by number would skip one for it.
            tasks, whole = self._lists.first(project, since, "tasks:updated_at", page, _LEAN_ANSWERS)
            yield from (task for task in tasks if task["id"] not in given or task["updated_at"] != cursor)
            if whole:
                return
            last = tasks[-1]["updated_at"]
            at_last: set[int] = {task["id"] for task in tasks if task["updated_at"] == last}
            if last != cursor or not given:
                given, cursor = at_last, last
                since = [_at("greater_or_equal", cursor)]
                continue
            # More tasks of one time than fit a page.
            at_once = [_at("equal", cursor)]
            same = self._lists.by_number(project, at_once, _LEAN_ANSWERS, size=page)
            yield from (task for task in same if task["id"] not in given | at_last)
            since, given = [_at("greater", cursor)], set[int]()

    def answers_of(self, project: int, tasks: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Some tasks with their annotations."""
        for start in range(0, len(tasks), _FIND_PAGE):
            wanted = [filtered("id", "in_list", "List", list(tasks[start : start + _FIND_PAGE]))]
            yield from self._lists.by_number(project, wanted, _LEAN_ANSWERS)

    def annotate(self, task: int, result: Sequence[Mapping[str, Any]], **fields: Any) -> int:
        """Answer a task as the token's user."""
        body = encoded({"result": result, **fields})
        return self._made(f"answer to task {task}", f"api/tasks/{task}/annotations/", body)

    def update_annotation(self, annotation: int, **fields: Any) -> None:
        """Change an answer."""
        body = encoded(fields)
        path = f"api/annotations/{annotation}/"
        self._link.ask(f"annotation {annotation}", lambda _: self._link.send("PATCH", path, body=body))

    def delete_annotation(self, annotation: int) -> None:
        """Delete an answer."""
        self._link.delete(f"annotation {annotation}", lambda sdk: sdk.annotations.delete(id=annotation))

    def views(self, project: int) -> dict[str, int]:
        """The tabs of a project: their numbers by title."""
        where = {"project": project}
        found = self._link.ask(
            f"tabs of project {project}", lambda _: json_of(self._link.send("GET", "api/dm/views/", params=where))
        )
        return {str(view["data"].get("title", "")): view["id"] for view in found if view.get("data")}

    def save_view(self, project: int, title: str, data: Mapping[str, Any]) -> int:
        """Make a tab, or change the one of this title."""
        standing = self.views(project).get(title)
        body = encoded({"project": project, "data": {**data, "title": title}})
        if standing is None:
            return self._made(f"tab {title!r} of project {project}", "api/dm/views/", body)
        path = f"api/dm/views/{standing}/"
        self._link.ask(f"tab {title!r} of project {project}", lambda _: self._link.send("PATCH", path, body=body))
        return standing

    def local_storage(self, project: int, folder: Path) -> None:
        """See that the project may show the files of a folder of the server's machine."""
        place = str(folder.absolute())
        about = f"local files of project {project} in {place}"
        if Path(place) in self.shared_folders(project):
            return
        # Two connections to one folder do no harm, so this may be repeated.
        self._link.ask(
            about,
            lambda sdk: sdk.import_storage.local.create(
                project=project, path=place, title=folder.name, use_blob_urls=True
            ),
        )

    def shared_folders(self, project: int) -> list[Path]:
        """The folders whose files the project may show."""
        standing = self._link.ask(
            f"local files of project {project}", lambda sdk: sdk.import_storage.local.list(project=project)
        )
        return [Path(storage.path) for storage in standing if storage.path]

    def share(self, project: int, folder: Path) -> int | None:
        """Let the project show the files of a folder."""
        body = encoded({"project": project, "path": str(folder), "title": folder.name, "use_blob_urls": True})

        def made(_: object) -> int | None:
            try:
                return int(json_of(self._link.send("POST", "api/storages/localfiles/", body=body))["id"])
            except Refused as refused:
                if refused.trouble.status in (400, 403):
                    return None
                raise

        return self._link.ask(f"local files of project {project} in {folder}", made)

    def unshare(self, connection: int) -> None:
        """Take back what was shared."""
        self._link.delete(f"local files {connection}", lambda sdk: sdk.import_storage.local.delete(id=connection))

    def _made(self, about: str, path: str, body: bytes) -> int:
        """The number of what a request made that may not be sent twice."""
        answer = self._link.ask(about, lambda _: json_of(self._link.send("POST", path, body=body)), once=True)
        return int(answer["id"])

    def _long(self, about: str, method: str, path: str, *, once: bool = True, **request: Any) -> Any:
        """A request after which the server works for long."""
        seconds = _LONG * self._link.timeout
        return self._link.ask(
            about,
            lambda _: json_of(self._link.send(method, path, timeout=seconds, **request)),
            once=once,
            timeout=seconds,
        )

    def _of_keys(self, project: int, keys: Sequence[str]) -> Iterator[RemoteTask]:
        """The tasks that have one of our keys."""
        for start in range(0, len(keys), _FIND_PAGE):
            wanted = [filtered("data.task_key", "in_list", "List", list(keys[start : start + _FIND_PAGE]))]
            yield from map(remote_task, self._lists.by_number(project, wanted, LEAN_TASK))

    def _upload(self, project: int, files: Sequence[tuple[Path, bytes]]) -> dict[str, str]:
        """Upload one batch; a repeated one leaves copies that nobody uses."""
        parts = [(str(i), (file.name, content, media_type(file))) for i, (file, content) in enumerate(files)]
        size = sum(len(content) for _, content in files) / 1e6
        about = f"upload of {len(files)} images to project {project} ({size:.1f} MB)"
        answer = self._long(
            about,
            "POST",
            f"api/projects/{project}/import",
            params={"commit_to_project": "false"},
            files=parts,
            once=False,
        )
        # Of these alone: the list of all grows with every batch.
        places = self._places(project, answer["file_upload_ids"])
        return {file.name: places[number] for (file, _), number in zip(files, answer["file_upload_ids"], strict=True)}

    def _places(self, project: int, uploads: Sequence[int] | None = None) -> dict[int, str]:
        """What shows each uploaded file, by the upload's number; of all, or of some."""
        which: dict[str, Any] = {"all_": True} if uploads is None else {"ids": json.dumps(list(uploads))}
        found = self._link.ask(f"uploads of project {project}", lambda sdk: sdk.files.list(id=project, **which))
        return {_number(upload.id): f"/data/{upload.file}" for upload in found}


def _number(given: int | None) -> int:
    """A number that the server always gives, though the library cannot promise it."""
    if given is None:
        raise WorkError("the server gave something without its number")
    return given


def _at(operator: str, time: str) -> dict[str, object]:
    """A filter by the time of a task's last change. The server takes none without a fraction, and may write one."""
    return filtered("updated_at", operator, "Datetime", time if "." in time else time.replace("Z", ".0Z"))
