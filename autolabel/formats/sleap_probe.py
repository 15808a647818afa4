"""A program that reads a ``.slp`` file before anybody else does: ``python sleap_probe.py FILE``.

The library under HDF5 can crash on damaged files, and then takes its process with it. So each file is read in a process
that has nothing to lose (:mod:`autolabel.formats.sleap_file` starts it): links to other files, and data sets that are
mostly claimed or larger than any memory, are refused, and then everything that sleap-io will read is read, which takes
a fraction of its time. It writes one JSON object, ``{"record": ..., "message": ...}``, when something is wrong, and
else nothing. It imports nothing of ours, so that it starts fast.
"""

# h5py ships no types: what comes out of it is unknown to pyright.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
import re
import sys
from typing import Any

PLENTY = 256
"""A data set that claims more bytes than this many times those that it holds is made to fill the memory."""

MOST = 2**31
"""Bytes that are read of a file. sleap-io makes twenty times as much of them: this is more than memories hold."""

_SMALL = 2**20
_PICTURES = re.compile(r"video[0-9]+/video")
"""Embedded frames, which nobody reads."""


def main(path: str) -> int:
    """Read a file; the exit code tells whether h5py raised an error, which whoever reads it next will meet."""
    import h5py

    datasets: list[Any] = []
    found: list[dict[str, str]] = []

    def check(name: str, member: Any) -> None:
        if message := _refused(member):
            found.append({"record": name, "message": message})
        elif isinstance(member, h5py.Dataset) and not _PICTURES.fullmatch(name):
            datasets.append(member)

    try:
        with h5py.File(path, "r") as file:
            check("/", file)
            file.visititems(check)
            claimed = sum(dataset.nbytes for dataset in datasets)
            if claimed > MOST:
                found.append(
                    {"record": "/", "message": f"claims {claimed:,} bytes, of which {MOST:,} are read at most"}
                )
            if found:
                sys.stdout.write(json.dumps(found[0]))
                return 0
            for dataset in datasets:
                _ = dataset[()], dict(dataset.attrs)
            _ = dict(file["metadata"].attrs)
    except Exception:  # noqa: BLE001 - HDF5 raises whatever its parsers stumble over, and will do so again
        return 1
    return 0


def _refused(member: Any) -> str | None:
    """Why a group or a data set is not to be read."""
    import h5py

    if isinstance(member, h5py.Group):
        links = (member.get(key, getlink=True) for key in member)
        return "leads to another file" if any(isinstance(link, h5py.ExternalLink) for link in links) else None
    if not isinstance(member, h5py.Dataset):
        return None
    if member.external or member.is_virtual:
        return "lies in another file"
    stored = int(member.id.get_storage_size())
    if member.nbytes > PLENTY * stored + _SMALL:
        return f"claims {member.nbytes:,} bytes and holds {stored:,}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
