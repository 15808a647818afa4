"""Opening and saving a ``.slp`` file: the one place that calls sleap-io; ``sleap.py`` tells the format.

A ``.slp`` file is HDF5, which can name other files, claim a size that it does not have, and crash the library that
reads it. All three are found by a process that reads the file first (:mod:`autolabel.formats.sleap_probe`), and
whatever sleap-io stumbles over after that becomes a :class:`FormatError` that tells what it said.
"""

# sleap-io ships no type marker: what comes out of it is Any.
# pyright: reportMissingTypeStubs=false

import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from autolabel.errors import ConfigError, FormatError

OURS = "autolabel"
"""Key of our own block in the provenance."""

_PATIENCE = 60.0
_BYTES_A_SECOND = 1e6
"""A file is given this many seconds, and one more for so many bytes, to be read once."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def load(path: str | Path) -> Any:
    """The ``sleap_io.Labels`` in a file; no video is opened.

    Raises:
        FormatError: It is damaged, or too new for sleap-io.
        ConfigError: sleap-io is missing.
    """
    library = sleap_io(str(path))
    _require_hdf5(path)
    _require_sound(Path(path))
    try:
        return library.load_slp(str(Path(path).resolve()), open_videos=False)
    except Exception as error:  # HDF5 and sleap-io raise whatever their parsers stumble over
        raise FormatError(f"cannot be read: {_told(error)}", subject=str(path)) from error


def save(labels: Any, path: Path, subject: str) -> None:
    """Write ``sleap_io.Labels`` without images.

    Raises:
        FormatError: sleap-io cannot write them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where a long provenance is kept does not concern the user
            sleap_io(subject).save_slp(labels, str(path), embed=False, verbose=False)
    except (TypeError, ValueError) as error:
        raise FormatError(f"cannot be written: {_told(error)}", subject=subject) from error


def sleap_io(subject: str) -> ModuleType:
    """The library.

    Raises:
        ConfigError: It is missing.
    """
    try:
        import sleap_io
    except ImportError as error:
        remedy = "pip install 'skeleton-autolabel[formats]'"
        raise ConfigError(f"needs sleap-io, which is missing: {error}", subject=subject, remedy=remedy) from error
    return sleap_io


def is_prediction(instance: Any) -> bool:
    """Whether an instance of sleap-io is a network's, not a user's."""
    return isinstance(instance, sleap_io("").PredictedInstance)


def _require_hdf5(path: str | Path) -> None:
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(_SIGNATURE))
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", subject=str(path)) from error
    if head != _SIGNATURE:
        raise FormatError("is not HDF5, as SLEAP's .slp files are", subject=str(path))


def _require_sound(path: Path) -> None:
    """Refuse what another process that reads the file first dies of, or does not like."""
    subject = str(path)
    patience = _PATIENCE + path.stat().st_size / _BYTES_A_SECOND
    command = [sys.executable, "-P", str(Path(__file__).with_name("sleap_probe.py")), str(path.resolve())]
    try:
        probe = subprocess.run(command, capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired as error:
        raise FormatError(f"is damaged: HDF5 did not come to its end in {patience:.0f} s", subject=subject) from error
    if probe.returncode < 0:
        name = signal.Signals(-probe.returncode).name
        raise FormatError(f"is damaged: HDF5 crashes when it reads it ({name})", subject=subject)
    if probe.stdout:
        found = json.loads(probe.stdout)
        raise FormatError(found["message"], record=found["record"], subject=subject)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
