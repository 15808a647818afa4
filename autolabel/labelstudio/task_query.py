"""How a server is asked for tasks, and how its records become ours: filters of its Data Manager, and lean fields."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autolabel.labelstudio.connection import Connection, json_of
from autolabel.labelstudio.server import RemoteTask

LEAN_TASK = "id,data,created_at,updated_at,total_annotations,cancelled_annotations"
"""The fields that :func:`remote_task` reads."""


_PAGE = 1000
Json = Mapping[str, Any]


class TaskLists:
    """The lists of tasks of a server.

    Args:
        link: To the server.
    """

    def __init__(self, link: Connection) -> None:
        self._link = link

    def by_number(
        self, project: int, wanted: Sequence[Json], include: str, *, size: int = _PAGE, after: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """All tasks that pass some filters, by number, however few the server gives at a time.

        Args:
            project: The server's number of the project.
            wanted: Filters, as :func:`filtered` makes them.
            include: The fields to give, by the server's names.
            size: Tasks to ask for at a time.
            after: Leave out tasks up to this number.
        """
        whole = False
        while not whole:
            # Pages counted from the first would leave a task out where an earlier one is deleted meanwhile.
            beyond = [filtered("id", "greater", "Number", after)] if after is not None else []
            page, whole = self.first(project, [*wanted, *beyond], "tasks:id", size, include)
            yield from page
            after = page[-1]["id"] if page else after

    def first(
        self, project: int, wanted: Sequence[Json], order: str, size: int, include: str
    ) -> tuple[list[dict[str, Any]], bool]:
        """The first tasks of a filtered list, with the named fields only; and whether these are all of it.

        A server may give fewer than it was asked for (its TASK_API_PAGE_SIZE_MAX): a short page need not be the last.
        """
        query: dict[str, Any] = {"ordering": [order]}
        if wanted:
            query["filters"] = {"conjunction": "and", "items": list(wanted)}
        where = {"project": project, "page_size": size, "include": include, "query": json.dumps(query)}
        where["fields"] = "all" if "annotations," in include else "task_only"
        answer = self._link.ask(
            f"tasks of project {project}", lambda _: json_of(self._link.send("GET", "api/tasks", params=where))
        )
        tasks = answer["tasks"]
        return tasks, not tasks or len(tasks) == answer.get("total")


def filtered(column: str, operator: str, kind: str, value: object) -> dict[str, object]:
    """A filter of the Data Manager.

    Args:
        column: Of a task, by the server's name.
        operator: Such as ``in_list``.
        kind: Of the value, such as ``List``.
        value: What the column is held against.
    """
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def remote_task(record: Mapping[str, Any]) -> RemoteTask:
    """A task of a list of the server's."""
    key = record["data"].get("task_key")
    return RemoteTask(
        id=record["id"],
        key=key if isinstance(key, str) else "",
        data=record["data"],
        updated_at=record["updated_at"],
        annotations=(record.get("total_annotations") or 0) + (record.get("cancelled_annotations") or 0),
        created_at=record.get("created_at") or "",
    )
