"""Requests to Label Studio that the product has no use for: the checks look past its client, and answer in bulk."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from autolabel.labelstudio.access import Access

_PAGE = 250
_AT_ONCE = 10
"""Tasks that are answered in one moment: of so many at once, a pull reads more in one page than people ever answer."""
_INCLUDED = "id,data,predictions,annotations,result,model_version,was_cancelled,unique_id"


def asked(access: Access, method: str, path: str, query: dict[str, Any], body: object = None) -> Any:
    """The JSON that the server answers with."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Token {access.token}", "Content-Type": "application/json"}
    url = f"{access.url}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=900) as answer:
        return json.load(answer)


def listed(access: Access, project: int) -> Iterator[dict[str, Any]]:
    """All tasks of a project, with predictions and annotations."""
    told = 0
    for page in count(1):
        query = {"project": project, "page": page, "page_size": _PAGE, "fields": "all", "include": _INCLUDED}
        answer = asked(access, "GET", "/api/tasks", query)
        yield from answer["tasks"]
        told += len(answer["tasks"])
        # A page after the last one is no empty one but an error.
        if not answer["tasks"] or told >= answer["total"]:
            return


def answers_to(access: Access, task: int) -> list[dict[str, Any]]:
    """The annotations of a task; those that were skipped too, which the server's own list of a task's leaves out."""
    return asked(access, "GET", f"/api/tasks/{task}/", {})["annotations"]


def accept(access: Access, project: int, tasks: Sequence[int]) -> None:
    """Make the predictions of some tasks their annotations, as the Data Manager's own action does it."""
    for start in range(0, len(tasks), _AT_ONCE):
        body = {"selectedItems": {"all": False, "included": list(tasks[start : start + _AT_ONCE])}}
        query = {"id": "predictions_to_annotations", "project": project}
        asked(access, "POST", "/api/dm/actions", query, {**body, "model_version": "autolabel"})


def projects(access: Access, title: str) -> list[int]:
    """The projects of one title."""
    found = asked(access, "GET", "/api/projects", {"page_size": 1000})["results"]
    return [project["id"] for project in found if project["title"] == title]
