"""The audits of one promise in a row: which routing was drawn after which, and that each has one successor.

A promise may be given several audits if that was said before the first. The next one is another draw only if nobody can
choose among several: so the routing whose audit failed takes a note of the one that follows it, and no other counts.
A routing says in ``routing.json`` which one it follows (``after``, a digest) and where that lies (``after_folder``,
relative to its own folder), so that a project may be moved as a whole.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import InputError, WorkError
from autolabel.formats.records import Record, read_json
from autolabel.manifest import write_text

ROUTING = "routing.json"

NEXT = "audit-next.json"
"""Written beside a routing whose audit failed: the digest of the routing that was drawn after it."""

SPENT = "audit-spent.json"
"""What ``certify`` writes beside a routing: the audit's outcome is known."""

PUSHED = "pushed.json"
"""Written beside a routing before its first task is: people may have seen what was drawn."""

STANDS = (
    "The verdict stands. If more audits were planned (`--attempts`), draw the next one with `--after`; otherwise review"
    " the poses."
)
"""What to do after an audit that did not come out as hoped."""


@dataclass(frozen=True)
class Link:
    """One routing of a chain.

    Attributes:
        folder: Where it lies.
        digest: Of the routing.
        attempt: Which audit of the promise it drew, from 1.
        after: Digest of the routing whose audit failed before, or "".
    """

    folder: Path
    digest: str
    attempt: int
    after: str


def chain(folder: Path) -> tuple[Link, ...]:
    """A routing and all those whose audits failed before it, the last one first.

    Raises:
        InputError: An earlier routing is not where it was, is another one, or names another successor.
        FormatError: A ``routing.json`` is malformed.
    """
    links: list[Link] = []
    here = folder
    while True:
        file = here / ROUTING
        if not file.is_file():
            raise InputError(
                "holds no routing, but one that was drawn after it was here",
                subject=str(here),
                remedy="Put the earlier routing back where it was.",
            )
        record = Record(read_json(file), "", str(file))
        link = Link(here, record.text("digest"), int(record.number("attempt", 1)), record.text("after", ""))
        if links:
            _require_pair(link, links[-1])
        links.append(link)
        if not link.after:
            return tuple(links)
        here = Path(os.path.normpath(here / record.text("after_folder")))


def successor(folder: Path) -> str:
    """Digest of the routing that was drawn after the one in a folder, or "" where none was."""
    file = folder / NEXT
    return Record(read_json(file), "", str(file)).text("routing") if file.is_file() else ""


def claim(folder: Path, digest: str) -> None:
    """Note beside a routing whose audit failed that another one follows it; noting the same again changes nothing.

    Args:
        folder: Of the routing whose audit failed.
        digest: Of the one that was drawn after it.

    Raises:
        InputError: Another one follows it already.
        WorkError: The note cannot be written.
    """
    named = successor(folder)
    if named and named != digest:
        raise InputError(
            f"another audit was drawn after this one already (routing {named[:12]})",
            subject=str(folder),
            remedy="Have that one answered and judged: nobody may choose among several draws.",
        )
    if not named:
        leave(folder / NEXT, {"routing": digest})


def leave(file: Path, note: dict[str, str]) -> None:
    """Write a note beside a routing.

    Raises:
        WorkError: It cannot be written.
    """
    try:
        write_text(file, json.dumps(note) + "\n")
    except OSError as error:
        raise WorkError(
            f"cannot be written: {error.strerror}",
            subject=str(file),
            remedy="Make the routing's folder writable: it keeps note of what its audit was used for.",
        ) from error


def require_replaceable(out: Path) -> None:
    """Refuse to overwrite a routing whose audit people may have seen, or that follows a failed audit.

    Raises:
        InputError: Its audit was judged or pushed, or it is the one that was drawn after a failed one.
    """
    if (out / SPENT).is_file():
        raise InputError("the audit of this routing was judged", subject=str(out), remedy=STANDS)
    file = out / ROUTING
    record = Record(read_json(file), "", str(file)).data if file.is_file() else {}
    if (out / PUSHED).is_file() and record.get("audit", True):
        raise InputError(
            "the tasks of this audit were pushed: people may have answered some of them",
            subject=str(out),
            remedy="Have it answered, and run `autolabel certify`: another draw would leave a choice between two.",
        )
    if record.get("after") and record.get("audit", True):
        raise InputError(
            "this audit was drawn after one that failed, and is the only one that may be",
            subject=str(out),
            remedy="Have it answered and judged.",
        )


def _require_pair(earlier: Link, later: Link) -> None:
    if earlier.digest != later.after or earlier.attempt != later.attempt - 1:
        raise InputError(
            f"is not the routing after which that in {later.folder} was drawn",
            subject=str(earlier.folder),
            remedy="Put the earlier routing back where it was.",
        )
    if successor(earlier.folder) != later.digest:
        raise InputError(
            f"its failed audit is not followed by that of {later.folder}: {NEXT} names another one or is missing",
            subject=str(earlier.folder),
            remedy="Judge the audit that it names: nobody may choose among several draws.",
        )
