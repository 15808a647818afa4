"""``autolabel certify``: what the audit of a routing's accepted poses proves.

Routing froze the accepted poses and drew the audit; people answered it; here both are compared, once. An
audit whose outcome is known is spent: with other answers it would no longer be a draw that nobody steers. So
the first verdict's answers are noted beside the routing, and only the same ones give a certificate again.
"""

import json
from dataclasses import asdict
from pathlib import Path

from autolabel.certify import Certificate
from autolabel.errors import ExistsError, InputError
from autolabel.formats.records import Record, read_json
from autolabel.manifest import write_text
from autolabel.progress import SILENT, Progress
from pipelines.certify_answers import read_answers
from pipelines.certify_judge import verdict
from pipelines.certify_population import read_population
from pipelines.certify_read import Routing, read_routing

SPENT = "audit-spent.json"
"""Written beside the routing by the first verdict: the digest of its answers."""


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
        InputError: An answer is missing, or the routing, its manifest and the answers do not belong together.
        ExistsError: Another certificate stands at ``out``.
    """
    folder = Path(directory)
    routing = read_routing(folder)
    answers = read_answers(audit, routing)
    _require_first(routing, answers.digest)
    made = verdict(routing, read_population(routing, progress), answers)
    _write(made, Path(out), routing, overwrite)
    return made


def _require_first(routing: Routing, answers: str) -> None:
    file = routing.folder / SPENT
    if not file.is_file():
        return
    spent = Record(read_json(file), "", str(file))
    if spent.text("answers") != answers:
        what = "other answers"
    elif spent.text("promise", _promise(routing)) != _promise(routing):
        what = "another promise"
    else:
        return
    raise InputError(
        f"this audit was judged before, with {what}",
        subject=str(routing.folder),
        remedy="An audit proves something once: route again, and have the fresh audit answered.",
    )


def _promise(routing: Routing) -> str:
    """What the audit was to prove; a routing whose promise was edited is another one."""
    return json.dumps([routing.digest, routing.max_bad, routing.confidence, asdict(routing.delta)])


def _write(made: Certificate, out: Path, routing: Routing, overwrite: bool) -> None:
    text = json.dumps(made.to_dict(), indent=2, ensure_ascii=False) + "\n"
    if out.is_dir():
        raise InputError("is a folder", subject=str(out), remedy="Give --out the name of a file to write.")
    if out.exists() and not overwrite and out.read_text(encoding="utf-8") != text:
        raise ExistsError(
            "another certificate stands there", subject=str(out), remedy="Give another --out, or --overwrite."
        )
    spent = {"answers": made.answers, "issued": made.issued, "step": made.step, "promise": _promise(routing)}
    write_text(routing.folder / SPENT, json.dumps(spent) + "\n")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
