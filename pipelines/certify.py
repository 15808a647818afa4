"""``autolabel certify``: what the audit of a routing's accepted poses proves.

Routing froze the accepted poses and drew the audit; people answered it; here both are compared, once. An
audit whose outcome is known is spent: with other answers it would no longer be a draw that nobody steers. So
the first verdict's answers are noted beside the routing and beside the manifest that was routed, and only the
same ones give a certificate again. Another audit of these poses counts only if it was planned: if it was drawn
after the one that failed, as the only one.
"""

import json
from dataclasses import asdict
from pathlib import Path

from autolabel.certify import Certificate
from autolabel.errors import ExistsError, InputError
from autolabel.formats.records import Record, read_json
from autolabel.manifest import write_text
from autolabel.progress import SILENT, Progress
from pipelines.audit_chain import SPENT, chain
from pipelines.audit_ledger import Verdict, judged_before, note, require_planned
from pipelines.certify_answers import read_answers
from pipelines.certify_judge import verdict
from pipelines.certify_population import read_population
from pipelines.certify_read import Routing, read_routing

__all__ = ["SPENT", "Certificate", "certify"]


def certify(
    directory: str | Path,
    *,
    audit: str | Path,
    out: str | Path,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Certificate:
    """Compare the audited poses with what people made of them, and write the verdict.

    Args:
        directory: The routing's folder.
        audit: The manifest that ``pull`` wrote; it holds an answer for every audited pose.
        out: The certificate's file; it is written whether the certificate is issued or refused.
        overwrite: Replace another certificate that stands there.
        progress: Where to report to.

    Raises:
        InputError: An answer is missing; the routing, its manifest and the answers do not belong together; or the
            audit was judged with other answers, or another one of the same poses was that this one does not follow.
        ExistsError: Another certificate stands at ``out``.
    """
    folder = Path(directory)
    routing = read_routing(folder)
    answers = read_answers(audit, routing)
    earlier = {link.digest for link in chain(folder)[1:]}
    if not _judged_so(routing, answers.digest):
        require_planned(routing.manifest, _line(routing, answers.digest, issued=False), earlier)
    made = verdict(routing, read_population(routing, progress), answers)
    _write(made, Path(out), routing, overwrite, progress)
    return made


def _judged_so(routing: Routing, answers: str) -> bool:
    """Whether these answers were judged before; other ones are refused."""
    file = routing.folder / SPENT
    if not file.is_file():
        return False
    spent = Record(read_json(file), "", str(file))
    if spent.text("answers") != answers:
        raise judged_before("other answers", str(routing.folder))
    if spent.text("promise", _promise(routing)) != _promise(routing):
        raise judged_before("another promise", str(routing.folder))
    return True


def _line(routing: Routing, answers: str, *, issued: bool) -> Verdict:
    """What the ledger says about the verdict."""
    return Verdict(
        routing=routing.digest,
        manifest=routing.manifest.digest,
        answers=answers,
        promise=_promise(routing),
        issued=issued,
        attempt=routing.delta.attempt,
        attempts=routing.delta.attempts,
        after=routing.after,
    )


def _promise(routing: Routing) -> str:
    """What the audit was to prove; a routing whose promise was edited is another one."""
    return json.dumps([routing.digest, routing.max_bad, routing.confidence, asdict(routing.delta)])


def _write(made: Certificate, out: Path, routing: Routing, overwrite: bool, progress: Progress) -> None:
    text = json.dumps(made.to_dict(), indent=2, ensure_ascii=False) + "\n"
    if out.is_dir():
        raise InputError("is a folder", subject=str(out), remedy="Give --out the name of a file to write.")
    if out.exists() and not overwrite and out.read_text(encoding="utf-8") != text:
        raise ExistsError(
            "another certificate stands there", subject=str(out), remedy="Give another --out, or --overwrite."
        )
    spent = {"answers": made.answers, "issued": made.issued, "step": made.step, "promise": _promise(routing)}
    write_text(routing.folder / SPENT, json.dumps(spent) + "\n")
    # An audit of nothing has shown nothing: it stands in no other's way.
    drawn = routing.audit or routing.keypoints or routing.images
    if drawn and not note(routing.manifest, _line(routing, made.answers, issued=made.issued)):
        progress.note(
            f"the verdict is written, but could not be noted beside {routing.manifest.path}: keep the routing's folder,"
            " which alone tells that this audit is spent"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
