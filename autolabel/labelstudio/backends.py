"""Telling a Label Studio project of ``autolabel serve``: the backend that it asks, and the webhook that it calls.

Ours are told apart from other people's by the backend's title and by what the webhook carries as its password. Doing it
again, from another address too, changes them and makes no second ones. A server may refuse addresses of its own machine
or network; what it says about that is passed on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autolabel.labelstudio.access import Access
from autolabel.labelstudio.connection import Connection, encoded, json_of
from autolabel.progress import SILENT

TITLE = "autolabel"
CONNECTED = "CO"
"""The server's word for a backend that answers."""

EVENTS = ("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")


@dataclass(frozen=True)
class RemoteBackend:
    """A backend as the server has it.

    Attributes:
        id: The server's number.
        title: What people call it.
        url: Its address.
        answers: Whether it answered the server just now.
        interactive: Whether it is asked while somebody draws.
        error: What the server says of it; "" where nothing is wrong.
    """

    id: int
    title: str
    url: str
    answers: bool
    interactive: bool
    error: str


class Backends:
    """The backends and webhooks of a server's projects.

    Args:
        access: Address and token of the server.
        note: Told before each wait for a server that does not answer.
    """

    def __init__(self, access: Access, note: Callable[[str], None] = SILENT.note) -> None:
        self._link = Connection(access, timeout=60.0, tries=3, sleep=time.sleep, note=note)

    def of(self, project: int) -> list[RemoteBackend]:
        """The backends of a project; the server asks each of them whether it answers."""
        found = self._asked(f"backends of project {project}", "GET", "api/ml/", params={"project": project})
        return [
            RemoteBackend(
                id=int(backend["id"]),
                title=str(backend.get("title") or ""),
                url=str(backend["url"]),
                answers=backend.get("state") == CONNECTED,
                interactive=bool(backend.get("is_interactive")),
                error=str(backend.get("error_message") or ""),
            )
            for backend in found
        ]

    def connect(self, project: int, url: str, user: str, password: str) -> int:
        """Have a project ask a backend while people draw; it must answer already.

        Args:
            project: The server's number of the project.
            url: The backend's address as the server reaches it.
            user: For HTTP Basic.
            password: Likewise.

        Returns:
            The server's number of the backend.

        Raises:
            InputError: The server refuses the address, or nobody answers there.
            WorkError: The server failed.
        """
        fields = {
            "project": project,
            "url": url,
            "title": TITLE,
            "is_interactive": True,
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": user,
            "basic_auth_pass": password,
        }
        about = f"backend {url} of project {project}"
        standing = next((backend.id for backend in self.of(project) if backend.title == TITLE), None)
        if standing is not None:
            self._asked(about, "PATCH", f"api/ml/{standing}", body=encoded(fields))
            return standing
        return int(self._asked(about, "POST", "api/ml/", body=encoded(fields))["id"])

    def notify(self, project: int, url: str, authorization: str) -> int:
        """Have a project call an address whenever somebody answered.

        Args:
            project: The server's number of the project.
            url: Where.
            authorization: What stands in the header of that name.

        Returns:
            The server's number of the webhook.

        Raises:
            InputError: The server refuses the address.
            WorkError: The server failed.
        """
        # A change that does not name the events would take them all away.
        fields: dict[str, Any] = {
            "project": project,
            "url": url,
            "headers": {"Authorization": authorization},
            "send_payload": False,
            "send_for_all_actions": False,
            "is_active": True,
            "actions": list(EVENTS),
        }
        about = f"webhook {url} of project {project}"
        found = self._asked(f"webhooks of project {project}", "GET", "api/webhooks/", params={"project": project})
        ours = (int(hook["id"]) for hook in found if hook.get("headers") == fields["headers"])
        standing = next(ours, None)
        if standing is not None:
            self._asked(about, "PATCH", f"api/webhooks/{standing}/", body=encoded(fields))
            return standing
        return int(self._asked(about, "POST", "api/webhooks/", body=encoded(fields))["id"])

    def _asked(self, about: str, method: str, path: str, **request: Any) -> Any:
        return self._link.ask(about, lambda _: json_of(self._link.send(method, path, **request)))
