"""What autolabel asks of a Label Studio server: the seam between the work and the network.

``push``, ``pull`` and ``doctor`` talk to a :class:`Server`. :class:`autolabel.labelstudio.client.Client` is the real
one; tests give a fake that keeps its tasks in memory. Ids are the server's own numbers, which mean nothing on another
server: what identifies a task for us is the ``task_key`` in its data.

Reads, and writes that may be done twice, are tried again where the server was busy or the connection broke. A write
that would double something (``import_tasks``, ``create_project``, ``add_prediction``, ``annotate``) is not: where
nobody can tell whether it was done it raises :class:`autolabel.errors.UnsureError`, and the caller looks. Every other
trouble is an ``InputError`` (wrong address, token or project) or a ``WorkError`` (the server's).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

TokenKind = Literal["legacy", "personal"]


@dataclass(frozen=True)
class Person:
    """A user of the server.

    Attributes:
        id: The server's number.
        email: By which annotators are known to us.
    """

    id: int
    email: str


@dataclass(frozen=True)
class RemoteProject:
    """A project as the server has it.

    Attributes:
        id: The server's number.
        title: What people call it; not unique.
        form: The labelling form (``label_config``).
        model_version: Annotators are shown the predictions of this version only; empty shows none.
        sampling: How the next task is chosen, such as ``Sequential sampling``.
        tasks: How many there are.
        annotators: How many people answer each task (``maximum_annotations``).
        shows_predictions: Whether annotators start from predictions at all (``show_collab_predictions``).
    """

    id: int
    title: str
    form: str
    model_version: str
    sampling: str
    tasks: int
    annotators: int
    shows_predictions: bool


@dataclass(frozen=True)
class RemoteTask:
    """A task as the server has it.

    Attributes:
        id: The server's number.
        key: Our key (``data.task_key``); empty for a task that is not ours.
        data: All its data.
        updated_at: When it, its predictions or annotations last changed, as the server writes it: ISO 8601, UTC.
        annotations: How many annotations it has, skipped ones included.
        created_at: When it was made, as the server writes it.
    """

    id: int
    key: str
    data: Mapping[str, Any]
    updated_at: str
    annotations: int
    created_at: str = ""


@dataclass(frozen=True)
class RemotePrediction:
    """A prediction of a task.

    Attributes:
        id: The server's number.
        version: Its ``model_version``.
        result: Its regions, as they were sent.
    """

    id: int
    version: str
    result: list[dict[str, Any]]


class Server(Protocol):
    """A Label Studio server, with the rights of one token."""

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        ...

    @property
    def token_kind(self) -> TokenKind:
        """Whether the token is a legacy one (40 hexadecimal digits) or a personal access token."""
        ...

    def who(self) -> Person:
        """Whose token it is."""
        ...

    def users(self) -> list[Person]:
        """Everybody whom the token's user may see."""
        ...

    def version(self) -> str:
        """The server's version, such as ``1.23.2``."""
        ...

    def project(self, number: int) -> RemoteProject:
        """A project. InputError: it is not there."""
        ...

    def create_project(self, title: str, form: str = "") -> int:
        """Make a project (title of 3 to 50 characters); without a form it has the server's empty one."""
        ...

    def empty_projects(self, title: str) -> list[int]:
        """The projects of this title that have neither tasks nor a form, oldest first."""
        ...

    def update_project(self, number: int, **fields: Any) -> None:
        """Set fields by the server's names, such as ``label_config`` or ``model_version``."""
        ...

    def delete_project(self, number: int) -> None:
        """Delete a project with all its tasks, for good; one that is gone already is fine."""
        ...

    def task_list(self, project: int, *, after: int = 0) -> Iterator[RemoteTask]:
        """All tasks with a number above ``after``, by number.

        Tasks that come or go meanwhile make no other appear twice or vanish.
        """
        ...

    def find(self, project: int, keys: Sequence[str]) -> dict[str, RemoteTask]:
        """Those of our keys that are there; of doubles, an answered one, else the oldest."""
        ...

    def untouched(self, project: int, tasks: Sequence[int]) -> dict[int, RemoteTask]:
        """Those of some tasks, by number, that have no annotation and that nobody has begun to answer, as of now.

        A number that means another task by now, because the first one was deleted, gives that other one.
        """
        ...

    def unlabelled(self, project: int, version: str) -> set[int]:
        """Numbers of the tasks that have no prediction of a version.

        It looks for the predictions themselves: the count that the server keeps with a task may be wrong.
        """
        ...

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> list[int]:
        """Add tasks in one request; gives their numbers in order.

        UnsureError: perhaps they, or some, were added.
        """
        ...

    def update_task(self, task: int, data: Mapping[str, Any]) -> None:
        """Replace a task's data."""
        ...

    def delete_tasks(self, project: int, tasks: Sequence[int]) -> None:
        """Delete tasks with what belongs to them, for good; those that are gone already are fine."""
        ...

    def predictions(self, task: int) -> list[RemotePrediction]:
        """A task's predictions, oldest first."""
        ...

    def add_prediction(self, task: int, result: Sequence[Mapping[str, Any]], version: str) -> int:
        """Add a prediction; gives its number."""
        ...

    def delete_prediction(self, prediction: int) -> None:
        """Delete a prediction; one that is gone already is fine."""
        ...

    def upload(
        self, project: int, files: Sequence[Path], *, told: Callable[[int], object] | None = None
    ) -> dict[str, str]:
        """Upload images, which makes no tasks; gives what to write into ``data.image``, by a file's name.

        What was uploaded before it was stopped is there (:meth:`uploads`) and need not be uploaded again. ``told`` is
        called now and then with how many files more are there.
        """
        ...

    def uploads(self, project: int) -> dict[str, str]:
        """What was uploaded, like :meth:`upload`; of two files of one name the later."""
        ...

    def served(self, place: str) -> bytes:
        """The bytes of an image as the server serves it: what ``data.image`` says, or a full address."""
        ...

    def changed_since(self, project: int, cursor: str, *, page: int = 250) -> Iterator[dict[str, Any]]:
        """Tasks that changed at ``cursor`` or later, in the order of ``updated_at``, with their annotations.

        Args:
            project: The project's number.
            cursor: An ``updated_at`` of the server; empty gives all tasks. A server with a big database may show a
                change a moment after its time, so start some seconds before the last one seen.
            page: Tasks a request.

        Returns:
            The server's records, lean: ``id``, ``data``, ``updated_at`` and ``annotations``, the skipped ones too, each
            with ``id``, ``result``, ``completed_by``, ``updated_by``, ``was_cancelled``, ``lead_time``,
            ``parent_prediction``, ``created_at`` and ``updated_at``. A task that changes meanwhile may come twice, and
            is never left out.
        """
        ...

    def answers_of(self, project: int, tasks: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Those of some tasks that are there, as :meth:`changed_since` gives them."""
        ...

    def annotate(self, task: int, result: Sequence[Mapping[str, Any]], **fields: Any) -> int:
        """Answer a task as the token's user; gives the annotation's number. Fields by the server's names."""
        ...

    def update_annotation(self, annotation: int, **fields: Any) -> None:
        """Change an answer. Fields by the server's names."""
        ...

    def delete_annotation(self, annotation: int) -> None:
        """Delete an answer; one that is gone already is fine."""
        ...

    def views(self, project: int) -> dict[str, int]:
        """The tabs of a project: their numbers by title."""
        ...

    def save_view(self, project: int, title: str, data: Mapping[str, Any]) -> int:
        """Make a tab, or change the one of this title; gives its number. ``data``: filters and ordering."""
        ...

    def local_storage(self, project: int, folder: Path) -> None:
        """See that the project may show the files of a folder of the server's machine."""
        ...

    def shared_folders(self, project: int) -> list[Path]:
        """The folders of the server's machine whose files the project may show."""
        ...

    def share(self, project: int, folder: Path) -> int | None:
        """Let the project show the files of a folder; gives the connection's number, None where the server refuses."""
        ...

    def unshare(self, connection: int) -> None:
        """Take back what :meth:`share` allowed."""
        ...
