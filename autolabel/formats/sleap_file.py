"""Opening and saving a ``.slp`` file: the one place that calls sleap-io; ``sleap.py`` tells the format.

A ``.slp`` file is HDF5, which can name other files and claim a size that it does not have. Both are refused before
sleap-io reads it, and whatever sleap-io stumbles over becomes a :class:`FormatError` that tells what it said.
"""

# sleap-io ships no type marker and h5py no types: what comes out of them is unknown to pyright.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from autolabel.errors import ConfigError, FormatError

OURS = "autolabel"
"""Key of our own block in the provenance."""

_PLENTY = 256
"""A data set that claims more bytes than this many times those that it holds is made to fill the memory."""

_SMALL = 2**20
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def load(path: str | Path) -> Any:
    """The ``sleap_io.Labels`` in a file; no video is opened.

    Raises:
        FormatError: It is damaged, or too new for sleap-io.
        ConfigError: sleap-io is missing.
    """
    library = sleap_io(str(path))
    _require_hdf5(path)
    try:
        _require_sound(path)
        return library.load_slp(str(Path(path).resolve()), open_videos=False)
    except FormatError:
        raise
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


def _require_hdf5(path: str | Path) -> None:
    try:
        with Path(path).open("rb") as file:
            head = file.read(len(_SIGNATURE))
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", subject=str(path)) from error
    if head != _SIGNATURE:
        raise FormatError("is not HDF5, as SLEAP's .slp files are", subject=str(path))


def _require_sound(path: str | Path) -> None:
    """Refuse links to other files, and data sets that are mostly claimed."""
    import h5py

    def check(name: str, member: Any) -> None:
        if isinstance(member, h5py.Group):
            links = (member.get(key, getlink=True) for key in member)
            if any(isinstance(link, h5py.ExternalLink) for link in links):
                raise FormatError("leads to another file", record=name, subject=str(path))
        elif isinstance(member, h5py.Dataset):
            if member.external or member.is_virtual:
                raise FormatError("lies in another file", record=name, subject=str(path))
            stored = int(member.id.get_storage_size())
            if member.nbytes > _PLENTY * stored + _SMALL:
                message = f"claims {member.nbytes:,} bytes and holds {stored:,}"
                raise FormatError(message, record=name, subject=str(path))

    with h5py.File(path, "r") as file:
        check("/", file)
        file.visititems(check)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
