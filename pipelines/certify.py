"""``autolabel certify``: what the audit of a routing's accepted poses proves.

Routing froze the accepted poses and drew the audit; people answered it; here both are compared, once. An
audit whose outcome is known is spent: with other answers it would no longer be a draw that nobody steers. So
the first verdict's answers are noted beside the routing, and only the same ones give a certificate again.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autolabel.audit import count_audit
from autolabel.certify import Certificate, certificate, population_digest
from autolabel.errors import ExistsError, FormatError, InputError, ManifestError
from autolabel.formats.records import Record, read_json
from autolabel.manifest import Manifest, write_text
from autolabel.merge import SETTLED, State
from autolabel.poses import Poses
from autolabel.progress import SILENT, Progress
from autolabel.similarity import BadRule

ROUTING = "routing.json"
ACCEPTED = "accepted.txt"
AUDIT = "audit.txt"
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
    routing = _read_routing(Path(directory))
    answers, rejected = _answers(Manifest.open(audit), routing)
    _require_first(routing, _answers_digest(answers, rejected))
    with progress.task("certify", total=1, unit="audits") as task:
        made = _judge(routing, answers, rejected)
        task.advance()
    _write(made, Path(out), routing, overwrite)
    return made


@dataclass(frozen=True)
class _Routing:
    folder: Path
    digest: str
    manifest: Manifest
    population_digest: str
    max_bad: float
    confidence: float
    accepted: tuple[str, ...]
    audit: tuple[str, ...]


def _read_routing(folder: Path) -> _Routing:
    file = folder / ROUTING
    if not file.is_file():
        raise InputError(
            "there is no such file", subject=str(file), remedy="Give the folder that `autolabel route` wrote."
        )
    record = Record(read_json(file), "", str(file))
    manifest = Manifest.open(folder / record.text("manifest"))
    routing = _Routing(
        folder=folder,
        digest=record.text("digest"),
        manifest=manifest,
        population_digest=record.text("population_digest"),
        max_bad=record.number("max_bad"),
        confidence=record.number("confidence"),
        accepted=_ids(folder / ACCEPTED),
        audit=_ids(folder / AUDIT),
    )
    if record.text("manifest_digest") != manifest.digest:
        raise InputError(
            f"was made from another version of {manifest.path}",
            subject=str(folder),
            remedy="Route the manifest as it is now, and have the new audit answered.",
        )
    if strangers := sorted(set(routing.audit) - set(routing.accepted)):
        raise InputError(
            f"{len(strangers)} audited poses are not accepted ones, such as {strangers[0]}",
            subject=str(folder / AUDIT),
            remedy="Route again: an audit is drawn from the accepted poses.",
        )
    return routing


def _answers(manifest: Manifest, routing: _Routing) -> tuple[Poses, NDArray[np.bool_]]:
    """The answers in the order of the audit, and which of them reject the pose."""
    routing.manifest.skeleton.require_same(manifest.skeleton, str(manifest.path))
    parts = [poses.take(_settled(poses)) for poses in _chosen(manifest, routing.audit)]
    if missing := sorted(set(routing.audit).difference(*(poses.id for poses in parts))):
        raise InputError(
            f"{len(missing)} of {len(routing.audit)} audited poses have no answer, such as {missing[0]}",
            subject=str(manifest.path),
            remedy="Finish these tasks in Label Studio, then run `autolabel pull` and this command again.",
        )
    answers = _in_order(parts, routing.audit, manifest)
    return answers, np.array([a["state"] == State.REJECTED for a in answers.attributes], bool)


def _settled(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses that a person decided about; one sent on to an expert is not decided."""
    return np.array([a.get("state") in SETTLED for a in poses.attributes], bool)


def _judge(routing: _Routing, answers: Poses, rejected: NDArray[np.bool_]) -> Certificate:
    rule = BadRule()
    before = population_digest(_chosen(routing.manifest, routing.accepted))
    if before != routing.population_digest:
        raise InputError(
            "the accepted poses are not those that routing froze",
            subject=str(routing.folder / ACCEPTED),
            remedy="Route again: the audit was drawn from other poses.",
        )
    audited = _in_order(_chosen(routing.manifest, routing.audit), routing.audit, routing.manifest)
    return certificate(
        count_audit(audited, answers, rejected, routing.manifest.skeleton, rule),
        max_bad=routing.max_bad,
        confidence=routing.confidence,
        population=len(routing.accepted),
        digest_before=before,
        digest_after=population_digest(_corrected(routing, answers.take(~rejected))),
        audit=routing.audit,
        rule=rule,
        routing=routing.digest,
        answers=_answers_digest(answers, rejected),
    )


def _answers_digest(answers: Poses, rejected: NDArray[np.bool_]) -> str:
    text = json.dumps([population_digest(answers), sorted(answers.id[rejected].tolist())])
    return hashlib.sha256(text.encode()).hexdigest()


def _require_first(routing: _Routing, answers: str) -> None:
    file = routing.folder / SPENT
    if file.is_file() and read_json(file)["answers"] != answers:
        raise InputError(
            "this audit was judged before, with other answers",
            subject=str(routing.folder),
            remedy="An audit proves something once: route again, and have the fresh audit answered.",
        )


def _chosen(manifest: Manifest, ids: Collection[str]) -> Iterator[Poses]:
    """The poses with these ids, part by part."""
    wanted = set(ids)
    for i in range(manifest.num_parts):
        poses = manifest.poses(i)
        yield poses.take(np.array([pose in wanted for pose in poses.id], bool))


def _corrected(routing: _Routing, answers: Poses) -> Iterator[Poses]:
    """The accepted poses after the audit's corrections; rejected ones are gone."""
    yield from _chosen(routing.manifest, set(routing.accepted) - set(routing.audit))
    yield answers


def _in_order(parts: Iterable[Poses], ids: Sequence[str], manifest: Manifest) -> Poses:
    poses = Poses.concat([Poses.empty(manifest.skeleton.num_keypoints), *parts])
    row = {pose: i for i, pose in enumerate(poses.id)}
    if len(row) < len(poses):
        raise ManifestError("two poses have the same id", subject=str(manifest.path))
    return poses.take([row[pose] for pose in ids])


def _write(made: Certificate, out: Path, routing: _Routing, overwrite: bool) -> None:
    text = json.dumps(made.to_dict(), indent=2, ensure_ascii=False) + "\n"
    if out.exists() and not overwrite and out.read_text(encoding="utf-8") != text:
        raise ExistsError(
            "another certificate stands there", subject=str(out), remedy="Give another --out, or --overwrite."
        )
    write_text(routing.folder / SPENT, json.dumps({"answers": made.answers, "issued": made.issued}) + "\n")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)


def _ids(file: Path) -> tuple[str, ...]:
    """The pose ids of a list, one a line."""
    try:
        ids = tuple(file.read_text(encoding="utf-8").split())
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", subject=str(file)) from error
    if len(set(ids)) < len(ids):
        raise FormatError("names a pose twice", subject=str(file))
    return ids
