"""``autolabel review-server``: a Label Studio on this machine, for people who have none.

``up`` installs it once, starts it for this machine alone, and prepares it for a project: address, project number and
token stand where ``push`` and ``pull`` look for them. Its data lies below the project, or where ``--data`` says, which
several projects may share; it survives ``down``, a crash and a restart. Where it lies is noted in the project
(``labelstudio/own-server.json``), so that ``--data`` is given once. Every action may be repeated.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from autolabel.errors import InputError
from autolabel.labelstudio.access import VARIABLE, Access, save_token, token_file, write_settings
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.lock import alone_in
from autolabel.labelstudio.remote_project import make_project, set_up
from autolabel.labelstudio.server import Server
from autolabel.manifest import make_folder, write_text
from autolabel.progress import SILENT, Progress
from autolabel.project import FILE, read_project
from autolabel.skeleton import Skeleton
from pipelines.labelstudio_environment import environment_folder, install
from pipelines.labelstudio_process import Account, OwnServer, start, stop, write_private

ACTIONS = ("up", "down", "status")
RUNNING, STARTING, STOPPED = "running", "starting", "stopped"
_OWN = "own-server.json"


@dataclass(frozen=True)
class OwnNote:
    """What a project remembers of the server that ``up`` started for it.

    Attributes:
        data: The server's folder; absolute where it does not lie in the review folder.
        url: The address that ``up`` wrote into the settings; empty before it did. The server may have moved to another
            port since, for another project.
    """

    data: str
    url: str = ""

    @classmethod
    def read(cls, folder: ReviewFolder) -> "OwnNote | None":
        """The note of a project; None where it has none, or a damaged one."""
        try:
            said = json.loads((folder.path / _OWN).read_text(encoding="utf-8"))
            return cls(str(said["data"]), str(said["url"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, folder: ReviewFolder) -> None:
        """Note it, where that is news."""
        if self != OwnNote.read(folder):
            write_text(folder.path / _OWN, json.dumps(asdict(self), ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class ReviewServerResult:
    """How a server stands.

    Attributes:
        state: ``running``, ``starting`` (it does not answer yet) or ``stopped``.
        url: Its address, now or the last time; empty before the first start.
        project: Label Studio's number of the project; 0 where there is none yet.
        email: Who signs in; empty before the first start.
        password: The file with the password.
        token: The file with the token for programs.
        server: Where its data lies.
    """

    state: str
    url: str
    project: int
    email: str
    password: Path
    token: Path
    server: OwnServer

    def summary(self) -> dict[str, object]:
        """For ``--json``; holds no secret, only where they are."""
        return {
            "state": self.state,
            "url": f"{self.url}/projects/{self.project}/data" if self.project and self.url else self.url,
            "email": self.email,
            "password_file": self.password,
            "token_file": self.token,
            "project": self.project,
            "data": self.server.folder,
            "log": self.server.log,
        }


def review_server(
    action: str,
    *,
    project: str | Path = Path(),
    port: int = 0,
    data: str | Path | None = None,
    connect: Callable[[Access], Server] | None = None,
    environment: Path | None = None,
    progress: Progress = SILENT,
) -> ReviewServerResult:
    """Start, stop or look at a Label Studio of one's own.

    Args:
        action: ``up``, ``down`` or ``status``.
        project: The project folder.
        port: Where the server is to listen; 0 for where it did the last time, or else any free port.
        data: The server's folder; by default the one of the last ``up``, and before the first
            ``labelstudio/server`` of the project.
        connect: Makes the client of the server.
        environment: Where Label Studio is installed; by default one place for all projects of the user.
        progress: Where to report.

    Raises:
        ConfigError: There is no project, or its settings are impossible.
        InputError: The action is unknown, the port is taken, or the project uses another server.
        WorkError: Label Studio cannot be installed or does not start.
    """
    if action not in ACTIONS:
        raise InputError(f"is not an action, expected one of: {', '.join(ACTIONS)}", subject=repr(action))
    folder = Path(project)
    read_project(folder)
    review = ReviewFolder.of(folder)
    note = OwnNote.read(review)
    server = OwnServer.at(data or review.path / (note.data if note else "server"))
    if action == "up" or data is None:
        _require_own(folder, server)
    if action == "up":
        program = install(environment or environment_folder(), progress=progress)
        with alone_in(review, progress):
            # Before the start, which takes minutes and may be killed: `down` then finds what runs.
            same = note and OwnServer.at(review.path / note.data) == server
            _remember(review, server, note.url if note and same else "")
            account = start(server, program, port=port, progress=progress)
            _prepare(folder, server, account, connect or _client, progress)
            _remember(review, server, server.url())
    elif action == "down":
        stop(server, progress=progress)
    return _result(folder, server)


def _client(access: Access) -> Server:
    # Imported here: the client brings its library, which takes seconds.
    from autolabel.labelstudio.client import Client

    return Client(access)


def _remember(folder: ReviewFolder, server: OwnServer, url: str) -> None:
    default = (folder.path / "server").resolve()
    OwnNote("server" if server.folder == default else str(server.folder), url).write(folder)


def _is_own(project: Path, server: OwnServer) -> bool:
    """Whether a project's settings name this server, at its address or at that of when they were written."""
    url, note = read_project(project).labelstudio.url, OwnNote.read(ReviewFolder.of(project))
    if url and note and url == note.url:
        return OwnServer.at(ReviewFolder.of(project).path / note.data) == server
    return url == server.url()


def _require_own(project: Path, server: OwnServer) -> None:
    """A project that works with some other server is left alone."""
    url = read_project(project).labelstudio.url
    if url and not _is_own(project, server):
        raise InputError(
            f"[labelstudio] url is {url}, which is no server of {server.folder}",
            subject=str(project / FILE),
            remedy='Name its folder with --data; or for a new server set url to "" and project to 0.',
        )


def _prepare(
    project: Path, own: OwnServer, account: Account, connect: Callable[[Access], Server], progress: Progress
) -> None:
    """See that the project's settings, token and crops meet the server, and that the server has its project."""
    save_token(project, account.token)
    write_private(_password_file(project), f"{account.password}\n")
    if os.environ.get(VARIABLE, account.token) != account.token:
        progress.note(f"{VARIABLE} is set to another token, which goes before the file's: unset it to use this server")
    write_settings(project, url=own.url())
    server, settings, folder = (
        connect(Access(own.url(), account.token)),
        read_project(project),
        ReviewFolder.of(project),
    )
    number = settings.labelstudio.project or make_project(server, project)
    if settings.corpus.skeleton:
        skeleton = Skeleton.load(_skeleton(project, settings.corpus.skeleton))
        form = labelling_form(skeleton, smart=settings.labelstudio.smart)
        annotators = settings.labelstudio.annotators
        set_up(server, number, folder, form=form, annotators=annotators, progress=progress)
    else:
        progress.note("the form comes with the first push: the settings name no skeleton")
    if _link_crops(folder, own, progress):
        server.local_storage(number, own.files / "crops")


def _skeleton(project: Path, name: str) -> str | Path:
    """A built-in skeleton's name, or a file, relative to the project as all paths of the settings are."""
    return project / name if (project / name).is_file() else name


def _link_crops(folder: ReviewFolder, server: OwnServer, progress: Progress) -> bool:
    """Let the server show the project's crops as local files, and nothing else of it: not its token.

    Returns:
        Whether it does.
    """
    crops, link = folder.crops.resolve(), server.files / "crops"
    make_folder(crops)
    make_folder(server.files)
    if link.resolve() == crops:
        return True
    if link.exists():
        progress.note(f'{link} shows the crops of another project: delivery = "local-files" will not work for this one')
        return False
    link.unlink(missing_ok=True)
    # Relative: a project may be moved with its server.
    link.symlink_to(os.path.relpath(crops, server.files.resolve()), target_is_directory=True)
    return True


def _password_file(project: Path) -> Path:
    return ReviewFolder.of(project).path / "password"


def _result(project: Path, server: OwnServer) -> ReviewServerResult:
    account = server.read_account() if server.account.exists() else None
    state = STOPPED
    if account and server.process():
        state = RUNNING if server.answers(account) else STARTING
    return ReviewServerResult(
        state,
        url=server.url(),
        project=read_project(project).labelstudio.project if _is_own(project, server) else 0,
        email=account.email if account else "",
        password=_password_file(project),
        token=token_file(project),
        server=server,
    )
