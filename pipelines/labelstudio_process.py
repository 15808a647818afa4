"""A Label Studio of one's own: its folder, its account, and the process that serves it on this machine alone.

    account.json   e-mail, password and token of its first user, readable by its owner alone
    server.port    where it listens, and did the last time
    server.pid     its process
    server.log     what it says; begins anew with every start
    files/crops    link to the crops that tasks may show without an upload
    ...            the server's own: database, uploads, secret key

How it is started, known again and stopped: ``pipelines/own_process.py``.
"""

import http.client
import json
import os
import secrets
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from autolabel.errors import InputError, WorkError
from autolabel.labelstudio.lock import turn
from autolabel.manifest import write_text
from autolabel.progress import SILENT, Progress
from pipelines.own_process import HOST, choose_port, command_line, end, frees, launch, read_number, read_port

EMAIL = "reviewer@example.com"
START_SECONDS = 600.0
"""The first start makes the database: a minute, several on a busy machine."""

STOP_SECONDS = 20.0
_MOVED = "Trying to start at"
"""Label Studio says so of a taken port, and takes another one without a word to us."""

_DATABASE = "label_studio.sqlite3"
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""All that the server inherits: it would take settings from the shell by such names as HOST, PORT and DEBUG."""

CLOSED_NETWORKS = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
    *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4"),
    *("240.0.0.0/4", "::/128", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64"),
    *("2001::/32", "2001:20::/28", "2001:db8::/32", "2002::/16", "fc00::/7", "fe80::/10", "ff00::/8"),
)
"""Where the server may not send requests to: all that IANA reserves but this machine, on which ``autolabel serve``
listens; addresses that stand for an IPv4 one are among them. By default it could not reach this machine either."""


@dataclass(frozen=True)
class Account:
    """The first user of a server, who may do everything there.

    Attributes:
        email: By which one signs in.
        password: Likewise.
        token: For programs; 40 hexadecimal digits.
    """

    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True)
class OwnServer:
    """Where the things of a server lie.

    Attributes:
        folder: Absolute; made by the first start.
    """

    folder: Path

    @classmethod
    def at(cls, folder: str | Path) -> "OwnServer":
        """The server of a folder, which need not exist yet."""
        return cls(Path(folder).resolve())

    @property
    def account(self) -> Path:
        """Who may do everything there."""
        return self.folder / "account.json"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "server.log"

    @property
    def files(self) -> Path:
        """The folder below which local files may be shown."""
        return self.folder / "files"

    @property
    def lock(self) -> Path:
        """Held by the command that starts or stops the server."""
        return self.folder / "server.lock"

    @property
    def pid_file(self) -> Path:
        """Holds the number of its process."""
        return self.folder / "server.pid"

    @property
    def port_file(self) -> Path:
        """Holds where it listens."""
        return self.folder / "server.port"

    def url(self) -> str:
        """Its address, now or the last time; empty before the first start."""
        port = self.port()
        return f"http://{HOST}:{port}" if port else ""

    def port(self) -> int:
        """Where it listens, now or the last time; 0 before the first start."""
        return read_port(self.port_file)

    def process(self) -> int:
        """The process that serves this folder; 0 where none does."""
        pid = read_number(self.pid_file)
        return pid if pid and command_line(pid).endswith(_mark(self.folder)) else 0

    def read_account(self) -> Account:
        """The account of the first start.

        Raises:
            InputError: There is none, or its file is damaged.
        """
        try:
            return Account(**json.loads(self.account.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            remedy = "Put the file back, or give another --data for a new server."
            raise InputError("holds no account", subject=str(self.account), remedy=remedy) from error

    def answers(self, account: Account) -> bool:
        """Whether this very server answers at its port: one that knows the account's token."""
        try:
            said = _get(self.port(), "/api/current-user/whoami", {"Authorization": f"Token {account.token}"})
            return bool(json.loads(said)["email"] == account.email)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            return False


def start(
    server: OwnServer, program: Path, *, port: int = 0, seconds: float = START_SECONDS, progress: Progress = SILENT
) -> Account:
    """Start a server, or wait for the one that is starting; does nothing where it runs.

    Args:
        server: Its folder; made where it is missing.
        program: Label Studio.
        port: Where it is to listen; 0 for where it did the last time, or else any free one.
        seconds: How long to wait until it answers.
        progress: Where to report.

    Returns:
        Who may do everything there.

    Raises:
        InputError: The port is taken, the server runs on another one, or the folder or the Label Studio in it is of
            others.
        WorkError: The server stops again or does not answer in time.
    """
    server.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with turn(server.lock, lambda: progress.note(f"{server.folder}: waiting for another command")):
        account = _account(server)
        _close(server)
        if server.process():
            if port not in (0, server.port()):
                raise InputError(f"runs on port {server.port()}, not {port}", subject=str(server.folder),
                                 remedy="Stop it with `autolabel review-server down` first.")  # fmt: skip
            if server.answers(account):
                return account
            progress.note("Label Studio is starting")
        else:
            write_text(server.port_file, f"{_choose_port(server, port, progress)}\n")
            _launch(server, program, account, progress)
        _wait(server, account, seconds)
        return account


def stop(server: OwnServer, *, seconds: float = STOP_SECONDS, progress: Progress = SILENT) -> bool:
    """Stop a server; its data stays.

    Args:
        server: Its folder.
        seconds: How long it may take to finish before it is killed.
        progress: Where to report.

    Returns:
        Whether one ran.
    """
    if not server.folder.is_dir():
        return False
    with turn(server.lock, lambda: progress.note(f"{server.folder}: waiting for another command")):
        return end(server.process, seconds)


def _account(server: OwnServer) -> Account:
    """The account, made before the first start: the server takes it then and never again."""
    if server.account.exists():
        return server.read_account()
    if (server.folder / _DATABASE).exists():
        raise InputError("holds a Label Studio that autolabel did not make", subject=str(server.folder),
                         remedy="Give another --data; to use that one, start it and name its url.")  # fmt: skip
    account = Account(EMAIL, secrets.token_urlsafe(16), secrets.token_hex(20))
    write_private(server.account, json.dumps(asdict(account)) + "\n")
    return account


def _close(server: OwnServer) -> None:
    """Let nobody else look into the folder, which may have been there before."""
    try:
        server.folder.chmod(0o700)
    except PermissionError as error:
        raise InputError("belongs to somebody else, who could read the server's secrets", subject=str(server.folder),
                         remedy="Give another --data.") from error  # fmt: skip


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, from its first byte on; a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _choose_port(server: OwnServer, port: int, progress: Progress) -> int:
    if port:
        if not frees(port):
            raise InputError(f"port {port} is taken by another program", subject=HOST,
                             remedy="Give another --port, or none: then a free one is taken.")  # fmt: skip
        return port
    return choose_port(server.port(), progress.note)


def _launch(server: OwnServer, program: Path, account: Account, progress: Progress) -> None:
    new = not (server.folder / _DATABASE).exists()
    progress.note(f"starting Label Studio on {server.url()}" + ("; the first start takes a minute or two" * new))
    options = ["start", "--no-browser", "--internal-host", HOST, "--port", str(server.port())]
    command = [str(program), *options, *_mark(server.folder).split(" ", 1)]
    environment = _environment(server, account)
    launch(
        command,
        name="Label Studio",
        folder=server.folder,
        log=server.log,
        pid_file=server.pid_file,
        environment=environment,
    )


def _environment(server: OwnServer, account: Account) -> dict[str, str]:
    """The server's environment: its own data, no sign-up, nothing asked of the network."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(server.folder),
        "LABEL_STUDIO_USERNAME": account.email,
        "LABEL_STUDIO_PASSWORD": account.password,
        "LABEL_STUDIO_USER_TOKEN": account.token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(server.files),
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "USER_ADDITIONAL_BANNED_SUBNETS": ",".join(CLOSED_NETWORKS),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }


def _wait(server: OwnServer, account: Account, seconds: float) -> None:
    last = time.monotonic() + seconds
    while not server.answers(account):
        log = server.log.read_text(encoding="utf-8", errors="replace") if server.log.exists() else ""
        if _MOVED in log:  # between our look and its own; it took the next one, where nobody looks for it
            if pid := server.process():
                os.kill(pid, signal.SIGTERM)
            raise WorkError(f"port {server.port()} was taken by another program in this moment",
                            subject=HOST, remedy="Give the same command again.")  # fmt: skip
        if not server.process():
            words = " / ".join(line.strip() for line in log.splitlines()[-3:] if line.strip())
            raise WorkError(f"Label Studio stopped while it started: {words[-600:] or 'it said nothing'}",
                            subject=str(server.log), remedy="Put right what it names and start it again.")  # fmt: skip
        if time.monotonic() > last:
            raise WorkError(f"Label Studio does not answer on {server.url()} after {seconds:.0f} s",
                            subject=str(server.log), remedy="Give the same command again to wait on, or stop it with "
                            "`autolabel review-server down`.")  # fmt: skip
        time.sleep(0.25)


def _get(port: int, path: str, headers: dict[str, str]) -> bytes:
    """A plain request to this machine, past any proxy that the environment names."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().read()
    finally:
        connection.close()


def _mark(folder: Path) -> str:
    """How the command line of a folder's server ends."""
    return f"--data-dir {folder}"
