"""The one scratch project of ``autolabel doctor``: what the token may do is tried there, and golden poses use it next.

Label Studio switches off all its signals while it deletes a project, in every thread of its process. An answer that
comes in that moment is stored and not counted, and two deletions that overlap leave the signals off until the server is
restarted. So one project serves all checks, its tasks are deleted between them, and it is deleted once, at the end.
"""

import secrets

from autolabel.errors import AutolabelError, WorkError
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.server import Server
from autolabel.skeleton import Skeleton
from pipelines.doctor_check import Check, Outcome

TITLE = "autolabel doctor (delete me)"
COUNTED = "answers are counted"


class Scratch:
    """A project that is there from :meth:`make` to :meth:`remove`.

    Args:
        server: Where it is made.

    Attributes:
        server: Likewise.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._number = 0

    @property
    def number(self) -> int:
        """The server's number of it.

        Raises:
            WorkError: It could not be made.
        """
        if not self._number:
            raise WorkError("not tried: there is no scratch project to try it in")
        return self._number

    def make(self) -> Check:
        """Whether the token's user may make a project."""
        self._number = self.server.create_project(TITLE)
        return Check("may make a project", Outcome.OK, f"{self._number}, {TITLE!r}")

    def fill(self) -> Check:
        """Whether tasks may be imported."""
        task = {"data": {"image": "/none.jpg", "header": "", "task_key": secrets.token_hex(8)}}
        self.server.import_tasks(self.number, [task])
        return Check("may import tasks", Outcome.OK, "yes")

    def answer(self) -> list[Check]:
        """Whether the token's user may answer, and the server counts it: without that no queue gets shorter."""
        (task,) = self.server.task_list(self.number)
        self.server.annotate(task.id, [], lead_time=0.5)
        (after,) = self.server.task_list(self.number)
        may = Check("may answer", Outcome.OK, "yes")
        if after.annotations:
            return [may, Check(COUNTED, Outcome.OK, "yes")]
        why = "an answer that was just given is stored and not counted, so answered tasks come again"
        return [may, Check(COUNTED, Outcome.FAILED, f"{why}: restart Label Studio")]

    def list_users(self) -> Check:
        """Whether users may be listed, by which answers are known by e-mail addresses."""
        return Check("may list users", Outcome.OK, f"{len(self.server.users())}")

    def empty(self) -> Check:
        """Whether tasks may be deleted."""
        self._clear()
        if left := sum(1 for _ in self.server.task_list(self.number)):
            return Check("may delete tasks", Outcome.FAILED, f"{left} are still there")
        return Check("may delete tasks", Outcome.OK, "yes")

    def take(self, skeleton: Skeleton) -> int:
        """Make it ready for tasks of a skeleton; gives its number."""
        self._clear()
        self.server.update_project(self.number, label_config=labelling_form(skeleton))
        return self.number

    def remove(self) -> Check:
        """Delete it: once, whether that goes well or not."""
        number, self._number = self.number, 0
        try:
            self.server.delete_project(number)
        except AutolabelError as error:
            return Check("may delete a project", Outcome.FAILED, f"project {number} is left there: {error}")
        return Check("may delete a project", Outcome.OK, f"{number} is gone")

    def _clear(self) -> None:
        if tasks := [task.id for task in self.server.task_list(self.number)]:
            self.server.delete_tasks(self.number, tasks)
