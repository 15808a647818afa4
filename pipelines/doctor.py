"""``autolabel doctor``: whether the user's own Label Studio loses anything of what it is given.

First the server itself: versions, token, the project's form, queue and images. Then one scratch project, which is
deleted at the end: what the token may do is tried there, and golden poses go the whole way, pushed with the product's
own ``push``, answered through the API as a browser would, pulled with its own ``pull``, and compared bit by bit. A
check that fails stops no other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from autolabel.errors import AutolabelError, InputError
from autolabel.labelstudio.access import Access, read_access
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.connection import library_complaint
from autolabel.labelstudio.exposure import exposed
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.server import RemoteTask, Server
from autolabel.progress import SILENT, Progress
from autolabel.project import FILE, read_project
from autolabel.skeleton import Skeleton
from pipelines.console import aligned
from pipelines.doctor_backend import backend_check
from pipelines.doctor_check import Check, Outcome
from pipelines.doctor_delivery import delivery_check
from pipelines.doctor_golden import ONE_POINT, golden_check, golden_name
from pipelines.doctor_project import project_checks
from pipelines.doctor_scratch import Scratch
from pipelines.labelstudio_environment import LIBRARY, SERVER, pinned_version

_Way = tuple[str, Callable[[], Check | Sequence[Check]]]


@dataclass(frozen=True)
class DoctorResult:
    """What the doctor found.

    Attributes:
        url: The server.
        checks: In the order in which they were made.
    """

    url: str
    checks: tuple[Check, ...]

    @property
    def sound(self) -> bool:
        """Whether no check failed."""
        return all(check.outcome is not Outcome.FAILED for check in self.checks)

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        checks = {check.name: {"outcome": check.outcome, "detail": check.detail} for check in self.checks}
        return {"url": self.url, "sound": self.sound, "checks": checks}

    def table(self) -> str:
        """For people."""
        rows = [(check.name, check.outcome.value, check.detail) for check in self.checks]
        verdict = "nothing is lost on the way" if self.sound else "NOT SOUND: see what failed"
        return f"{aligned(rows)}\n\n{self.url}: {verdict}"


def doctor(*, project: str | Path, progress: Progress = SILENT) -> DoctorResult:
    """Look at a project's Label Studio, and send golden poses there and back.

    Args:
        project: The project folder; neither it nor its tasks on the server are changed.
        progress: Where to report.

    Raises:
        ConfigError: There is no project, or a setting is impossible.
        InputError: The project names no server, or the server does not take the token.
        WorkError: The server does not answer.
    """
    folder = Path(project)
    access = read_access(folder)
    if access is None:
        raise InputError(
            "[labelstudio] url names no server to look at",
            subject=str(folder / FILE),
            remedy="Set it, or start one with `autolabel review-server up`.",
        )
    server = Client(access, note=progress.note)
    scratch, checks = Scratch(server), _server(server)
    ways = [*_of_project(server, access, folder), *_in_scratch(scratch, access, folder)]
    with progress.task("doctor", len(ways) + 1, "check") as task:
        try:
            for name, look in ways:
                checks += _looked(name, look)
                task.advance()
        finally:
            checks += _looked("may delete a project", scratch.remove)
            task.advance()
    return DoctorResult(server.url, tuple(checks))


def _of_project(server: Server, access: Access, folder: Path) -> list[_Way]:
    """What is looked at without changing anything."""
    skeleton, settings = _skeleton(folder), read_project(folder).labelstudio
    smart = settings.smart
    return [
        ("project", lambda: project_checks(server, settings.project, skeleton, smart=smart)),
        *([("backend", lambda: backend_check(access, settings.project))] if smart else []),
        ("images", lambda: _images(server, folder)),
        ("secrets", lambda: _secrets(server, folder)),
        ("form by the library", lambda: _form(skeleton, smart)),
    ]


def _in_scratch(scratch: Scratch, access: Access, folder: Path) -> list[_Way]:
    """What is tried in the scratch project, which is empty again after the permissions."""
    golden = ((ONE_POINT, False), (_skeleton(folder), True), (Skeleton.load("wholebody133"), False))
    return [
        ("may make a project", scratch.make),
        ("may import tasks", scratch.fill),
        ("may answer", scratch.answer),
        ("may delete tasks", scratch.empty),
        ("may list users", scratch.list_users),
        ("delivery", lambda: delivery_check(scratch.server, folder, scratch.number)),
        *(
            (golden_name(s), lambda s=s, full=full: golden_check(scratch, access, folder, s, every_deed=full))
            for s, full in golden
        ),
    ]


def _looked(name: str, look: Callable[[], Check | Sequence[Check]]) -> list[Check]:
    try:
        found = look()
    except AutolabelError as error:
        found = Check(name, Outcome.FAILED, str(error))
    return [found] if isinstance(found, Check) else list(found)


def _server(server: Server) -> list[Check]:
    person = server.who()
    return [
        _version("version", server.version(), SERVER),
        _version(LIBRARY, version(LIBRARY), LIBRARY),
        Check("token", Outcome.OK, f"{server.token_kind}, of {person.email}"),
    ]


def _version(name: str, found: str, package: str) -> Check:
    tested = pinned_version(package)
    same = found == tested
    return Check(name, Outcome.OK if same else Outcome.NOTE, f"{found}{'' if same else f'; tested with {tested}'}")


def _images(server: Server, folder: Path) -> Check:
    """Whether the server really gives the browser our crops, byte for byte."""
    settings, review = read_project(folder).labelstudio, ReviewFolder.of(folder)
    tasks: list[RemoteTask] = []
    if settings.project:
        tasks = [task for task in server.task_list(settings.project) if task.key]
    if not tasks:
        return Check("images", Outcome.NOTE, "no task yet to look at: the golden poses show that uploads work")
    some = [tasks[i] for i in sorted({0, len(tasks) // 2, len(tasks) - 1})]
    for task in some:
        place, crop = str(task.data["image"]), review.crops / str(task.data.get("crop", ""))
        if not place.startswith(("/", "http://", "https://")):
            return Check("images", Outcome.NOTE, f"{place}: only a browser can open it, so look at one task")
        if server.served(place) != crop.read_bytes():
            return Check("images", Outcome.FAILED, f"{place} is not {crop}")
    return Check("images", Outcome.OK, f"{settings.delivery}: {len(some)} of {len(tasks)} fetched and the same")


def _secrets(server: Server, folder: Path) -> Check:
    """Whether local files of the server would show the token and the task map; tried whatever the delivery is."""
    settings = read_project(folder).labelstudio
    if not settings.project:
        return Check("secrets", Outcome.NOTE, "no project yet to try it with")
    found = exposed(server, settings.project, ReviewFolder.of(folder), settings.prefix)
    if found:
        return Check("secrets", Outcome.FAILED, f"annotators can read the token and the task map: {found}")
    return Check("secrets", Outcome.OK, "the server refuses to show token and task map as local files")


def _form(skeleton: Skeleton, smart: bool) -> Check:
    """What Label Studio's own library says of our form."""
    complaint = library_complaint(labelling_form(skeleton, smart=smart))
    return Check("form by the library", Outcome.FAILED if complaint else Outcome.OK, complaint or "valid")


def _skeleton(folder: Path) -> Skeleton:
    """What the settings ask for; else COCO's, for want of a better one."""
    name = read_project(folder).corpus.skeleton or "coco17"
    return Skeleton.load(folder / name if (folder / name).is_file() else name)
