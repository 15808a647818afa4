"""A run: one job's folder, which knows what made it and whether it is finished.

``run.json`` holds the stage, its configuration, the digests of its inputs, and how it was made (versions, commit,
command line). Stage, configuration and inputs give its key: the same key with the commit file there is nothing to
do, without it the job goes on, and another key is refused unless told to overwrite. A lock keeps two processes
from working on one folder.
"""

import fcntl
import hashlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from autolabel.errors import ExistsError, WorkError
from autolabel.manifest import COMMIT, Existing, make_folder, write_text
from autolabel.writing import naming

RECORD = "run.json"
DONE = "done.json"
"""Commit file of runs whose result is not a manifest."""

_LOG = "run.log"
_LOCK = ".lock"
_PACKAGES = ("skeleton-autolabel", "torch", "timm", "numpy", "pyarrow", "pillow")


class RunState(Enum):
    """What a folder held when the run was opened."""

    NEW = "new"
    RESUMED = "resumed"
    DONE = "done"


class Run:
    """An open run folder; use it as a context manager.

    Attributes:
        path: The folder.
        key: Hex digest of stage, configuration and inputs.
        state: What was there when it was opened.
    """

    def __init__(self, path: Path, key: str, state: RunState, lock: IO[str], commit: str) -> None:
        self.path = path
        self.key = key
        self.state = state
        self._lock = lock
        self._commit = commit

    @classmethod
    def open(
        cls,
        path: str | Path,
        stage: str,
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        existing: Existing = Existing.RESUME,
        commit: str = COMMIT,
    ) -> "Run":
        """Open or resume a run.

        Args:
            path: The folder; made if it is not there.
            stage: The command's name.
            config: JSON values that change the result.
            inputs: Digests of what it reads, by role.
            existing: What to do with a folder that holds another run.
            commit: The file that makes it finished: ``manifest.json`` or ``done.json``.

        Raises:
            ExistsError: The folder holds something else, and ``existing`` is not OVERWRITE.
            WorkError: Another process works on it.
        """
        path = Path(path)
        record = {"stage": stage, "config": dict(config), "inputs": dict(inputs)}
        key = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
        make_folder(path)
        lock = _lock(path)
        try:
            state = _state(path, key, existing, commit)
        except BaseException:
            if not (path / RECORD).exists():
                (path / _LOCK).unlink()  # a folder that is not ours stays as it was
            lock.close()
            raise
        if state is RunState.NEW:
            made = {"key": key, **record, "made": _provenance()}
            write_text(path / RECORD, json.dumps(made, indent=2, ensure_ascii=False) + "\n")
        run = cls(path, key, state, lock, commit)
        run.log(f"{stage}: {state.value}")
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.log(f"stopped: {type(error).__name__}: {error}")
        self.close()

    def log(self, message: str) -> None:
        """Append a line with the time to the run's log."""
        log = self.path / _LOG
        with naming(log), log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {message}\n")

    def finish(self, outputs: Mapping[str, Any]) -> None:
        """Commit a run whose result is not a manifest."""
        write_text(self.path / self._commit, json.dumps({"key": self.key, **outputs}, indent=2) + "\n")

    def close(self) -> None:
        """Let others work on the folder."""
        self._lock.close()


def read_done(path: str | Path) -> dict[str, Any] | None:
    """What a finished run said in :meth:`Run.finish`, or None when it is not finished."""
    file = Path(path) / DONE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _state(path: Path, key: str, existing: Existing, commit: str) -> RunState:
    for leftover in path.glob(".*.tmp"):  # of a process that was killed while it wrote
        leftover.unlink()
    standing = [entry for entry in path.iterdir() if entry.name not in (_LOCK, _LOG)]
    if not standing:
        return RunState.NEW
    record = path / RECORD
    ours = record.is_file()
    if ours and existing is Existing.OVERWRITE:
        _clear(standing)
        return RunState.NEW
    if ours and existing is Existing.RESUME and _key(record) == key:
        return RunState.DONE if (path / commit).is_file() else RunState.RESUMED
    raise ExistsError(
        "holds the result of another run" if ours else "holds files that autolabel did not make",
        subject=str(path),
        remedy="Give another --out, or --overwrite to replace it." if ours else "Give another --out.",
    )


def _key(record: Path) -> str | None:
    """The key in a run's record; None when the record is damaged."""
    try:
        return json.loads(record.read_text(encoding="utf-8"))["key"]
    except (ValueError, KeyError, TypeError):
        return None


def _clear(entries: list[Path]) -> None:
    """Remove a former result, its commit file first; its record last, so that the rest is known as ours."""
    order = {COMMIT: 0, DONE: 0, RECORD: 2}
    for entry in sorted(entries, key=lambda e: order.get(e.name, 1)):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _lock(path: Path) -> IO[str]:
    lock = (path / _LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise WorkError(
            "another process is working on it", subject=str(path), remedy="Wait for it, or stop it first."
        ) from error
    return lock


def _provenance() -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "argv": sys.argv,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    """The git commit of this source tree, or "" for an installed package."""
    tree = Path(__file__).parent.parent
    if not (tree / ".git").exists():
        return ""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=tree, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()
