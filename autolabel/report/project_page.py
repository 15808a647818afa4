"""The page about a project: what was promised, what it cost, and what every round bought.

Everything is told from what is known. Where the truth of all poses is known, as in the demo, errors are measured
against it; of a real project the held-out test, people's answers and the audit tell what can be told, and the last
chapter says what cannot, and why.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from autolabel.certify import Certificate
from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import CORRECTIONS, Correction, latest, read_corrections
from autolabel.report.answer_gallery import answer_shelves
from autolabel.report.cost_board import NARROW, cost_table, cost_tiles, total, yield_plot
from autolabel.report.deeds_table import deeds_table
from autolabel.report.evidence import NOTHING, Evidence
from autolabel.report.gallery import Shelf, shelves
from autolabel.report.gaps import gaps
from autolabel.report.gate_gallery import gate_shelf
from autolabel.report.gate_table import gate_table
from autolabel.report.page import Block, Chapter, Page, Tile, Verdict
from autolabel.report.plots import Part, Plot, doubt, effort_curve, error_by_round
from autolabel.report.round_tables import percent, pixels, quality_tables, routes, test, untouched, work_table
from autolabel.report.rounds import (
    AUDITS,
    ROUNDS,
    AuditCost,
    Quality,
    Round,
    read_audit,
    read_certificate,
    read_rounds,
)
from autolabel.report.yardstick_plots import effort_by_yardstick, forgetting, learning
from autolabel.report.yardstick_tables import corrected, errors, keypoints

DATASET = "dataset"
"""A project's final manifest, whose poses are shown."""

SCORED = "scored"
"""In a round's folder, the poses as they stood after it: shown while there is no dataset, and by a round's own page."""

_WORDS = (
    ("gross keypoint", "one whose similarity to the truth is below 0.5, or that is called present where "
     "it is absent, or the reverse"),
    ("bad pose", "one with OKS below 0.75, or with two or more gross keypoints, or in a box that holds no "
     "instance, or a second one on the same instance"),
    ("p_bad", "the probability that a pose is bad, calibrated as soon as enough poses were checked"),
    ("mean error", "mean distance of labelled keypoints from the truth, in pixels of the image"),
    ("untouched", "poses that no person opened, measured against the truth where it is known"),
    ("random routing", "the same budget spent on poses drawn at random, everything else being equal"),
)  # fmt: skip


_ROUND_ALONE = Verdict(
    "open", "This page is about one round. What is promised of the dataset stands in the project's report.",
    "The audit that can prove a promise comes after the last round.",
)  # fmt: skip


def project_page(project: Path, upto: int | None = None, evidence: Evidence = NOTHING) -> Page:
    """What a project's rounds say.

    Args:
        project: The project's folder.
        upto: The last round that is looked at; all of them by default. Audit and certificate are left out then.
        evidence: What was measured beside the rounds' own numbers, up to the same round.

    Raises:
        InputError: No round is finished.
        FormatError: A file of the loop is malformed.
    """
    rounds = tuple(r for r in read_rounds(project) if upto is None or r.number <= upto)
    last = rounds[-1]
    certificate, audit = (read_certificate(project), read_audit(project)) if upto is None else (None, None)
    chapters = (
        Chapter("Quality", "How good the poses are that people have not opened, and where all of them stand.",
                _quality(rounds, evidence)),
        Chapter("Doubt", "Whether doubt puts the bad poses last, and means what it says.",
                _doubt(rounds, certificate, evidence)),
        Chapter("Learning", "What the networks learnt from the corrections, and what they forgot over it.",
                _learning(project, rounds, evidence)),
        Chapter("Effort", "What people's work and the machine's time were spent on, and what they found.",
                _effort(rounds, audit, evidence)),
        Chapter("Poses", "What to look at before trusting any number above.",
                (*_gallery(project, last, whole=upto is None), *_answers(evidence))),
        Chapter("Not told", "What a reader may miss here, and what would change that.",
                gaps(rounds, certificate, evidence)),
    )  # fmt: skip
    promise = verdict(certificate) if upto is None else _ROUND_ALONE
    return Page(
        title=f"{project.resolve().name}: " + (f"round {last.number}" if upto is not None else "labelling report"),
        subtitle=f"{len(rounds)} {'round' if len(rounds) == 1 else 'rounds'} · "
        f"{sum(last.counts.values()):,} poses · model {last.model[:12]}",
        verdict=promise,
        tiles=_tiles(rounds, certificate, audit, evidence),
        chapters=tuple(chapter for chapter in chapters if chapter.blocks),
        facts=(*_certificate_facts(certificate), *_WORDS),
    )


def verdict(certificate: Certificate | None) -> Verdict:
    """The promise in one sentence, whether it holds, and what that rests on."""
    if certificate is None:
        return Verdict(
            "open",
            "Nothing is promised yet: no audit of this project has been judged.",
            "`autolabel certify` judges the audit of a routing once people have answered it.",
        )
    reason = certificate.reason[:1].upper() + certificate.reason[1:] + "."
    if certificate.issued:
        return Verdict("kept", f"The promise is proven: {_lower(certificate.claim)}", reason)
    return Verdict("refused", f"The promise is not proven: {_lower(certificate.claim)}", reason)


def _tiles(
    rounds: Sequence[Round], certificate: Certificate | None, audit: AuditCost | None, evidence: Evidence
) -> tuple[Tile, ...]:
    last = rounds[-1]
    tiles = [_opened(last, audit, evidence)]
    if certificate:
        accepted = certificate.population if certificate.issued else 0
        note = f"of {sum(last.counts.values()):,} poses, by an audit of {certificate.counts.audited:,}"
        tiles.insert(0, Tile("Accepted", f"{accepted:,}", note))
    for label, part in (("Bad, untouched poses", untouched), ("Bad, held-out test", test)):
        if now := part(last.routed):
            tiles.append(Tile(label, percent(now.bad), _compared(rounds, part)))
    if now := last.routed.untouched:
        tiles.append(Tile("Error, untouched poses", pixels(now.epe), _compared(rounds, untouched, _epe, pixels)))
    return (*tiles, *cost_tiles(evidence.answered, _accepted(evidence), evidence.speed))


def _opened(last: Round, audit: AuditCost | None, evidence: Evidence) -> Tile:
    """What people did in all: the audit is charged in full."""
    cost = total(evidence.answered.work) if evidence.answered else audit or last
    told = f"{cost.clicks:,} clicks, {cost.clicks / cost.opened:.1f} a pose" if cost.opened else "no clicks"
    if audit:
        told += f"; {audit.audited:,} poses of the audit included"
    return Tile("Opened by people", f"{cost.opened:,}", told)


def _compared(
    rounds: Sequence[Round],
    part: Part,
    value: Callable[[Quality], float] = lambda q: q.bad,
    show: Callable[[float], str] = lambda v: percent(v),
) -> str:
    """What the first round and random routing had, and on how many poses it was measured."""
    first, now = part(rounds[0].routed), part(rounds[-1].routed)
    random = part(rounds[-1].random) if rounds[-1].random else None
    told = [f"{show(value(first))} in round {rounds[0].number}"] if first and len(rounds) > 1 else []
    told += [f"{show(value(random))} with random routing"] if random else []
    told += [f"n{NARROW}={NARROW}{now.poses:,}"] if now else []
    return ", ".join(told)


def _quality(rounds: Sequence[Round], evidence: Evidence) -> tuple[Block, ...]:
    measured = any(part(r.routed) for r in rounds for part in (untouched, test))
    plots = [error_by_round(rounds)] if measured else []
    return (*plots, *quality_tables(rounds), routes(rounds, evidence.states))


def _doubt(rounds: Sequence[Round], certificate: Certificate | None, evidence: Evidence) -> tuple[Plot, ...]:
    max_bad = certificate.max_bad if certificate else None
    plots: list[Plot] = []
    scored = next((r for r in reversed(rounds) if r.score), None)
    if scored and scored.score:
        poses = sum(n for _, _, n in scored.score.reliability)
        title = f"How far the doubt can be trusted (round {scored.number})"
        plots.append(
            doubt(scored.score, max_bad, title=title, caption=f"Over {poses:,} untouched poses with known truth.")
        )
    for on, score in evidence.doubt:
        poses = sum(n for _, _, n in score.reliability)
        plots.append(doubt(score, max_bad, title=f"Doubt of {on}", caption=f"Over {poses:,} poses."))
    return tuple(plots)


def _learning(project: Path, rounds: Sequence[Round], evidence: Evidence) -> tuple[Block, ...]:
    blocks: list[Block] = []
    several = [yardstick for yardstick in evidence.yardsticks if len(yardstick.readings) > 1]
    if several:
        blocks.append(learning(several))
    if evidence.base is not None and len(evidence.base.readings) > 1:
        blocks.append(forgetting(evidence.base))
    blocks += [table for table in (deeds_table(rounds), gate_table(rounds)) if table is not None]
    blocks += _gate_gallery(project, rounds)
    answered = evidence.answered
    fixed, answers = (answered.fixed, answered.ordinary) if answered else (dict[str, int](), 0)
    if evidence.yardsticks:
        blocks += [*errors(evidence.yardsticks[0]), keypoints(evidence.yardsticks[0], fixed, answers)]
    elif answers:
        blocks.append(corrected(fixed, answers))
    return tuple(blocks)


def _effort(rounds: Sequence[Round], audit: AuditCost | None, evidence: Evidence) -> tuple[Block, ...]:
    blocks: list[Block] = []
    answered, opened = evidence.answered, {r.number: r.opened for r in rounds}
    if any(part(r.routed) for r in rounds for part in (untouched, test)) and rounds[-1].opened > rounds[0].opened:
        blocks.append(effort_curve(rounds))
    elif several := [yardstick for yardstick in evidence.yardsticks if len(yardstick.readings) > 1]:
        blocks.append(effort_by_yardstick(several, opened))
    if answered is not None:
        if any(work.ordinary for work in answered.work):
            blocks.append(yield_plot(answered))
        blocks.append(cost_table(answered))
    return (*blocks, work_table(rounds, audit, people=answered is None))


def _accepted(evidence: Evidence) -> tuple[int, int] | None:
    """Accepted poses that nobody opened, and all; None where nothing was accepted."""
    accepted = evidence.states.get("accepted", 0)
    return (accepted, sum(evidence.states.values())) if accepted else None


def _answers(evidence: Evidence) -> tuple[Shelf, ...]:
    if evidence.answered is None or evidence.skeleton is None:
        return ()
    return answer_shelves(evidence.answered, evidence.skeleton)


def _gate_gallery(project: Path, rounds: Sequence[Round]) -> list[Shelf]:
    """What the newest network changed, whether it was let pass or not."""
    judged = [r.number for r in rounds if r.gate]
    shelf = gate_shelf(project / ROUNDS / f"{judged[-1]:02d}") if judged else None
    return [shelf] if shelf else []


def _gallery(project: Path, last: Round, *, whole: bool) -> tuple[Shelf, ...]:
    """The dataset's poses; those of the last round where there is none, or a round is told alone."""
    dataset, scored = project / DATASET, project / ROUNDS / f"{last.number:02d}" / SCORED
    shown = dataset if whole and (dataset / COMMIT).is_file() else scored
    if not (shown / COMMIT).is_file():
        return ()
    manifest = Manifest.open(shown)
    pulls = [f"{ROUNDS}/{n:02d}/*" for n in range(last.number + 1)] + [f"{AUDITS}/*"] * whole
    ledger: list[Correction] = []
    for file in sorted(file for folder in pulls for file in project.glob(f"{folder}/{CORRECTIONS}")):
        ledger += read_corrections(file, manifest.skeleton.num_keypoints)
    return shelves(manifest, latest(ledger)[0])


def _certificate_facts(certificate: Certificate | None) -> tuple[tuple[str, str], ...]:
    if certificate is None:
        return ()
    c = certificate
    return (
        ("certificate", f"{c.method}. {' '.join(c.assumptions)}"),
        ("population", f"{c.population_before:,} poses accepted, {c.population_after:,} after the audit; "
         f"digest {c.digest_after[:16]}"),
        ("audit", f"{c.counts.audited:,} poses, {c.counts.bad:,} bad ({c.counts.rejected:,} rejected); "
         f"{c.counts.gross:,} of {c.counts.keypoints:,} keypoints gross"),
    )  # fmt: skip


def _epe(quality: Quality) -> float:
    return quality.epe


def _lower(claim: str) -> str:
    return claim[:1].lower() + claim[1:]
