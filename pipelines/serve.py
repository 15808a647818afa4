"""``autolabel serve``: a backend for Label Studio that gives every person whom an annotator boxes a pose at once.

For projects whose settings say ``smart = true``: their form has a smart box and no limbs. It listens on this machine
alone unless ``--host`` says otherwise, and asks for a password, which is kept in the project and which ``--register``
gives to the server. An answer that somebody submits wakes ``loop run --wait``; that is a hint and never needed, since
the loop looks by itself too.
"""

import secrets
import socket
import stat
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autolabel.errors import ConfigError, InputError, WorkError
from autolabel.labelstudio.access import Access, read_access
from autolabel.labelstudio.backends import Backends
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.manifest import make_folder
from autolabel.progress import SILENT, Progress
from autolabel.project import FILE, read_project
from pipelines.labelstudio_process import HOST, write_private
from pipelines.loop_state import Loop, round_folders
from pipelines.serve_answer import Backend
from pipelines.serve_login import USER, basic
from pipelines.serve_network import load_poser

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

PORT = 9090
"""Where Label Studio's own examples of backends listen."""

_STARTED, _LOOK = 30.0, 0.05
_EVERYWHERE = ("", "0.0.0.0", "::")


@dataclass(frozen=True)
class ServeResult:
    """Where it served.

    Attributes:
        url: Its address.
        weights: The network.
        registered: The server's number of the backend; 0 where it was not asked to register.
    """

    url: str
    weights: str
    registered: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {"url": self.url, "weights": self.weights, "registered": self.registered}


def _until_told(_: str) -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return


def serve(
    *,
    project: str | Path,
    weights: str | Path | None = None,
    host: str = HOST,
    port: int = PORT,
    register: bool = False,
    address: str | None = None,
    device: str = "auto",
    until: Callable[[str], None] = _until_told,
    progress: Progress = SILENT,
) -> ServeResult:
    """Serve a project until the process is told to stop (Ctrl-C, or a TERM signal).

    Args:
        project: The project folder; its settings say ``smart = true`` below ``[labelstudio]``.
        weights: The network; by default the loop's network in force, or that of the settings.
        host: Where to listen: this machine alone, or an address of it, such as ``0.0.0.0`` for all.
        port: Likewise; 0 takes any free one.
        register: Tell the project on the server of this backend.
        address: With ``register``, the address by which the server reaches it; by default where it listens.
        device: ``auto``, ``cpu`` or ``cuda``.
        until: Given the address, returns when it is time to stop.
        progress: Where to report.

    Raises:
        ConfigError: There is no project, its settings do not say ``smart``, or the device is not there.
        InputError: No such weights, the port is taken, the server refuses the backend, or nothing was pushed to it;
            or it is to register without an address that the server could reach.
        WorkError: The server failed.
    """
    _require_web()
    from pipelines.serve_app import serve_app

    folder = Path(project)
    settings = read_project(folder)
    if not settings.labelstudio.smart:
        raise ConfigError(
            "[labelstudio] smart is not set, so that annotators have no box that asks a backend",
            subject=str(folder / FILE),
            remedy="Write `smart = true` there and push again.",
        )
    if register and address is None and host in _EVERYWHERE:
        raise InputError(
            "is no address that a server could reach this machine by",
            subject=f"--host {host}",
            remedy=f"Give --address, such as http://NAME:{port} with this machine's name.",
        )
    access = read_access(folder) if settings.labelstudio.url else None
    if register and (access is None or not settings.labelstudio.project):
        raise InputError(
            "has no project on a server to register with",
            subject=str(folder / FILE),
            remedy="Set url below [labelstudio] and push, which makes the project.",
        )
    chosen = str(weights) if weights is not None else weights_in_force(folder)
    network = settings.network
    poser = load_poser(chosen, dataset=network.dataset or None, flip_test=network.flip_test, device=device)
    server = Client(access, tries=1) if access else None
    backend = Backend(
        ReviewFolder.of(folder), poser, server.url if server else "", server.served if server else _nobody
    )
    password = password_of(folder)
    with listening(serve_app(backend, password, progress), host, port) as url:
        number = 0
        if register and access:
            number = _registered(access, settings.labelstudio.project, address or url, password, progress)
        progress.note(f"serving {folder} on {url}; stop it with Ctrl-C")
        until(url)
    return ServeResult(url, chosen, number)


def weights_in_force(project: Path) -> str:
    """The network that a project labels with now: of its last round, else of its settings.

    Raises:
        ConfigError: It has none yet.
    """
    settings = read_project(project)
    last = max((int(here.name) for here in round_folders(project)), default=0)
    loop = Loop(project, settings, None, None, SILENT)
    _, weights = loop.network(last)
    if weights == str(loop.path("")):  # what no weights in the settings come to
        raise ConfigError(
            "gives no network.weights, and no round has trained a network yet",
            subject=str(project / FILE),
            remedy="Give --weights, or run `autolabel loop run` first.",
        )
    return weights


def password_of(project: Path) -> str:
    """The password of a project's backend: made once, in a file that its owner alone may read.

    Raises:
        InputError: Others may read the file.
    """
    path = password_file(project)
    if not path.exists():
        make_folder(path.parent)
        write_private(path, secrets.token_urlsafe(24) + "\n")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InputError("others can read this password", subject=str(path), remedy=f"Run `chmod 600 {path}`.")
    return path.read_text(encoding="utf-8").strip()


def password_file(project: Path) -> Path:
    """Where a project keeps the password of its backend."""
    return ReviewFolder.of(project).path / "serve-password"


@contextmanager
def listening(app: "Starlette", host: str, port: int) -> Generator[str]:
    """Answer requests in a thread for as long as a block lasts; gives the address.

    Args:
        app: What answers.
        host: Where to listen.
        port: Likewise; 0 for any free one.

    Raises:
        InputError: The port is taken, or the host is none of this machine's.
        WorkError: It does not start.
    """
    import uvicorn

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.create_server((host, port), family=family)
    except OSError as error:
        raise InputError(
            f"cannot listen there: {error.strerror or error}",
            subject=f"{host}:{port}",
            remedy="Give another --port, or 0 for any free one; --host must be an address of this machine.",
        ) from error
    with bound:
        # Without a log of requests: nothing of them is ours to keep.
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="serve", daemon=True)
        thread.start()
        try:
            _wait_for(server, thread)
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_STARTED)


def _require_web() -> None:
    """Refuse to go on where the libraries that answer requests are missing."""
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise ConfigError(
            f"requests cannot be answered: {error}",
            subject="serve",
            remedy="pip install 'skeleton-autolabel[serve]'",
        ) from error
    del starlette, uvicorn


def _wait_for(server: "uvicorn.Server", thread: threading.Thread) -> None:
    end = time.monotonic() + _STARTED
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise WorkError("the backend does not start")
        time.sleep(_LOOK)


def _registered(access: Access, number: int, url: str, password: str, progress: Progress) -> int:
    """Tell the server of the backend and of the webhook; the latter may be refused, for the loop looks by itself."""
    backends, reached = Backends(access, note=progress.note), url.rstrip("/")
    made = backends.connect(number, reached, USER, password)
    try:
        backends.notify(number, f"{reached}/webhook", basic(password))
    except InputError as error:
        progress.note(f"{error} `loop run --wait` will notice answers at its next look, not at once.")
    return made


def _nobody(place: str) -> bytes:
    raise InputError("no server is named to fetch it from", subject=place)
