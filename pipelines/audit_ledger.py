"""The verdicts of all audits that were drawn from one manifest, in a file beside its folder.

A routing's folder can be copied, removed, or made again elsewhere, and with it the note that its audit was judged. The
manifest is what all of them share: beside it stands, a line a verdict, what was judged (``NAME.audits.jsonl`` in the
folder that holds the manifest ``NAME``; a manifest itself is never changed). An audit that is not in the row of those
planned is refused there. Where nothing can be written beside the manifest, the notes in the routing's folder are all
there is, and the caller is told.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from autolabel.errors import InputError
from autolabel.formats.records import Record
from autolabel.labelstudio.folder import append_lines, read_lines
from autolabel.manifest import Manifest
from pipelines.audit_chain import STANDS


@dataclass(frozen=True)
class Verdict:
    """One line of a ledger.

    Attributes:
        routing: Digest of the routing whose audit was judged.
        manifest: Digest of what was routed.
        answers: Digest of the answers.
        promise: What the audit was to prove, as ``certify`` words it.
        issued: Whether it did.
        attempt: Which audit of the promise it was, from 1.
        attempts: How many were planned.
        after: Digest of the routing whose audit failed before, or "".
    """

    routing: str
    manifest: str
    answers: str
    promise: str
    issued: bool
    attempt: int
    attempts: int
    after: str

    @classmethod
    def from_record(cls, record: Record) -> "Verdict":
        """Read a line.

        Raises:
            FormatError: A field is missing or holds something else.
        """
        return cls(
            routing=record.text("routing"),
            manifest=record.text("manifest"),
            answers=record.text("answers"),
            promise=record.text("promise"),
            issued=record.require("issued") is not False,
            attempt=int(record.number("attempt")),
            attempts=int(record.number("attempts")),
            after=record.text("after"),
        )


def ledger_of(manifest: Manifest) -> Path:
    """The ledger's file; it need not exist."""
    folder = manifest.path.resolve()
    return folder.with_name(f"{folder.name}.audits.jsonl")


def verdicts(manifest: Manifest) -> list[Verdict]:
    """All verdicts of audits of a manifest, as it is now, in their order.

    Raises:
        FormatError: The ledger is malformed.
    """
    file = ledger_of(manifest)
    lines = (Record(line, f"line {i}", str(file)) for i, line in enumerate(read_lines(file), start=1))
    return [found for found in map(Verdict.from_record, lines) if found.manifest == manifest.digest]


def note(manifest: Manifest, verdict: Verdict) -> bool:
    """Add a verdict unless it stands there.

    Returns:
        Whether it stands in the ledger now; False where nothing can be written beside the manifest.
    """
    if verdict in verdicts(manifest):
        return True
    try:
        append_lines(ledger_of(manifest), [asdict(verdict)])
    except OSError:
        return False
    return True


def require_undrawn(manifest: Manifest, planned: Collection[str]) -> None:
    """Refuse to draw an audit from a manifest of which another one was judged.

    Args:
        manifest: What is to be routed.
        planned: Digests of the routings whose failed audits the new one follows.

    Raises:
        InputError: The ledger holds a verdict of another routing.
    """
    if others := [found for found in verdicts(manifest) if found.routing not in planned]:
        raise _judged(manifest, others[-1])


def require_planned(manifest: Manifest, verdict: Verdict, planned: Collection[str]) -> None:
    """Refuse a verdict of an audit that was judged with other answers, or is one too many.

    Args:
        manifest: What was routed.
        verdict: As it would be noted; whether it is issued does not matter.
        planned: Digests of the routings whose failed audits this one follows.

    Raises:
        InputError: The ledger speaks against it.
    """
    found = verdicts(manifest)
    mine = [v for v in found if v.routing == verdict.routing]
    if any(v.answers != verdict.answers for v in mine):
        raise judged_before("other answers", str(ledger_of(manifest)))
    if any(v.promise != verdict.promise for v in mine):
        raise judged_before("another promise", str(ledger_of(manifest)))
    if mine:
        return
    if others := [v for v in found if v.routing not in planned or v.issued]:
        raise _judged(manifest, others[-1])


def judged_before(what: str, subject: str) -> InputError:
    """The error about an audit that was judged otherwise."""
    return InputError(f"this audit was judged before, with {what}", subject=subject, remedy=STANDS)


def _judged(manifest: Manifest, other: Verdict) -> InputError:
    outcome = "passed" if other.issued else "failed"
    return InputError(
        f"another audit of {manifest.path} was judged and {outcome} (routing {other.routing[:12]}, audit "
        f"{other.attempt} of {other.attempts})",
        subject=str(ledger_of(manifest)),
        remedy=STANDS,
    )
