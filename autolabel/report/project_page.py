"""The page about a project: what was promised, what it cost, and what every round bought."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from autolabel.certify import Certificate
from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import CORRECTIONS, Correction, latest, read_corrections
from autolabel.report.gallery import Shelf, shelves
from autolabel.report.gate_gallery import gate_shelf
from autolabel.report.gate_table import gate_table
from autolabel.report.page import Bars, Page, Table, Tile, Verdict
from autolabel.report.plots import Part, Plot, doubt, effort_curve, error_by_round
from autolabel.report.rounds import (
    AUDITS,
    ROUNDS,
    Arm,
    AuditCost,
    Quality,
    Round,
    read_audit,
    read_certificate,
    read_rounds,
)

DATASET = "dataset"
"""A project's final manifest, whose poses are shown."""

REVIEWS = (f"{ROUNDS}/*/*", f"{AUDITS}/*")
"""Folders of a project in which pulls leave what people changed."""

ROUTES = (
    ("accepted", "#7cc79b"),
    ("audit", "#9cc9f0"),
    ("review", "#f3b26b"),
    ("rejected", "#d9a3c2"),
    ("untouched", "#cfd7de"),
)
"""Where routing sends poses, and the colour of its bar: light enough for dark figures on it."""

_OTHER_COLOR = "#b9b4d6"
_NARROW = "\u202f"
"""A narrow space at which no line breaks, between a number and its unit."""

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


def project_page(project: Path, upto: int | None = None) -> Page:
    """What a project's rounds say.

    Args:
        project: The project's folder.
        upto: The last round that is looked at; all of them by default. Audit and certificate belong to the last.

    Raises:
        InputError: No round is finished.
        FormatError: A file of the loop is malformed.
    """
    every = read_rounds(project)
    rounds = tuple(r for r in every if upto is None or r.number <= upto)
    last = rounds[-1]
    certificate, audit = (read_certificate(project), read_audit(project)) if last is every[-1] else (None, None)
    return Page(
        title=f"{project.resolve().name}: " + (f"round {last.number}" if upto is not None else "labelling report"),
        subtitle=f"{len(rounds)} {'round' if len(rounds) == 1 else 'rounds'} · "
        f"{sum(last.counts.values()):,} poses · model {last.model[:12]}",
        verdict=verdict(certificate),
        tiles=_tiles(rounds, certificate, audit),
        tables=tuple(t for t in (*_quality_tables(rounds), gate_table(rounds), _work_table(rounds, audit)) if t),
        bars=(_routes(rounds),),
        plots=_plots(rounds, certificate),
        shelves=(*_gate_gallery(project, rounds), *_gallery(project)),
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


def _tiles(rounds: Sequence[Round], certificate: Certificate | None, audit: AuditCost | None) -> tuple[Tile, ...]:
    last = rounds[-1]
    tiles = [_effort(last, audit)]
    if certificate:
        accepted = certificate.population if certificate.issued else 0
        note = f"of {sum(last.counts.values()):,} poses, by an audit of {certificate.counts.audited:,}"
        tiles.insert(0, Tile("Accepted", f"{accepted:,}", note))
    for label, part in (("Bad, untouched poses", _untouched), ("Bad, held-out test", _test)):
        if now := part(last.routed):
            tiles.append(Tile(label, _percent(now.bad), _compared(rounds, part)))
    if now := last.routed.untouched:
        tiles.append(Tile("Error, untouched poses", _pixels(now.epe), _compared(rounds, _untouched, _epe, _pixels)))
    return tuple(tiles)


def _effort(last: Round, audit: AuditCost | None) -> Tile:
    """What people did in all: the audit is charged in full."""
    cost = audit or last
    told = f"{cost.clicks:,} clicks, {cost.clicks / cost.opened:.1f} a pose" if cost.opened else "no clicks"
    if audit:
        told += f"; {audit.audited:,} poses of the audit included"
    return Tile("Opened by people", f"{cost.opened:,}", told)


def _compared(
    rounds: Sequence[Round],
    part: Part,
    value: Callable[[Quality], float] = lambda q: q.bad,
    show: Callable[[float], str] = lambda v: _percent(v),
) -> str:
    """What the first round and random routing had, and on how many poses it was measured."""
    first, now = part(rounds[0].routed), part(rounds[-1].routed)
    random = part(rounds[-1].random) if rounds[-1].random else None
    told = [f"{show(value(first))} in round {rounds[0].number}"] if first and len(rounds) > 1 else []
    told += [f"{show(value(random))} with random routing"] if random else []
    told += [f"n = {now.poses:,}"] if now else []
    return ", ".join(told)


def _quality_tables(rounds: Sequence[Round]) -> tuple[Table, ...]:
    """One table for untouched poses and one for the held-out test, where anything was measured."""
    captions = (
        (
            "Untouched poses, round by round",
            _untouched,
            "Poses that nobody opened so far: fewer each round, and those doubted least, so that their error falls "
            "even where no network got better (the held-out test tells that)",
        ),
        ("Held-out test, round by round", _test, "Poses that never train"),
    )
    return tuple(
        _quality_table(rounds, title, part, caption)
        for title, part, caption in captions
        if any(part(r.routed) for r in rounds)
    )


def _quality_table(rounds: Sequence[Round], title: str, part: Part, caption: str) -> Table:
    versus = any(r.random for r in rounds)
    heads = ("poses", "bad", "bad, random", "gross keypoints", "mean OKS", "mean error", "mean error, random")
    kept = [i for i, head in enumerate(heads) if versus or "random" not in head]
    cells = [_quality_cells(part(r.routed), part(r.random) if r.random else None) for r in rounds]
    return Table(
        title=title,
        caption=f"{caption}, measured against the truth."
        + (" Random: the same budget spent on poses drawn at random." if versus else ""),
        columns=("Round", *(heads[i] for i in kept)),
        rows=tuple((str(r.number), *(row[i] for i in kept)) for r, row in zip(rounds, cells, strict=True)),
    )


def _quality_cells(routed: Quality | None, random: Quality | None) -> list[str]:
    if routed is None:
        return ["–"] * 7
    return [
        f"{routed.poses:,}",
        _percent(routed.bad),
        _percent(random.bad) if random else "–",
        _percent(routed.gross),
        "–" if math.isnan(routed.oks) else f"{routed.oks:.3f}",
        _pixels(routed.epe),
        _pixels(random.epe) if random else "–",
    ]


def _work_table(rounds: Sequence[Round], audit: AuditCost | None) -> Table:
    turns = [(str(r.number), r.model[:12], f"{r.trained_on:,}", r.opened, r.clicks, r.seconds) for r in rounds]
    turns += [("audit", "–", "–", audit.opened, audit.clicks, audit.seconds)] if audit else []
    steps = list(dict.fromkeys(step for *_, seconds in turns for step in seconds))
    return Table(
        title="Work, round by round",
        caption="Poses opened and clicks are people's, added up over the rounds. Times are the machine's.",
        columns=("Round", "model", "trained on, poses", "opened, poses", "clicks", *steps, "all steps"),
        rows=tuple(
            (
                name, model, trained_on, f"{opened:,}", f"{clicks:,}",
                *(_duration(seconds[step]) if step in seconds else "–" for step in steps),
                _duration(sum(seconds.values())),
            )
            for name, model, trained_on, opened, clicks, seconds in turns
        ),
    )  # fmt: skip


def _routes(rounds: Sequence[Round]) -> Bars:
    known = dict(ROUTES)
    names = [name for name in known if any(name in r.counts for r in rounds)]
    names += sorted({name for r in rounds for name in r.counts} - set(known))
    return Bars(
        title="Where the poses went",
        caption="All poses, as they stood after each round.",
        kinds=tuple((name, known.get(name, _OTHER_COLOR)) for name in names),
        rows=tuple((f"Round {r.number}", tuple(r.counts.get(name, 0) for name in names)) for r in rounds),
    )


def _plots(rounds: Sequence[Round], certificate: Certificate | None) -> tuple[Plot, ...]:
    max_bad = certificate.max_bad if certificate else None
    measured = any(part(r.routed) for r in rounds for part in (_untouched, _test))
    plots = [error_by_round(rounds)] if measured else []
    if measured and rounds[-1].opened > rounds[0].opened:
        plots.append(effort_curve(rounds))
    scored = next((r for r in reversed(rounds) if r.score), None)
    if scored and scored.score:
        plots.append(doubt(scored.score, scored.number, max_bad))
    return tuple(plots)


def _gate_gallery(project: Path, rounds: Sequence[Round]) -> tuple[Shelf, ...]:
    """What the newest network changed, whether it was let pass or not."""
    judged = [r.number for r in rounds if r.gate]
    shelf = gate_shelf(project / ROUNDS / f"{judged[-1]:02d}") if judged else None
    return (shelf,) if shelf else ()


def _gallery(project: Path) -> tuple[Shelf, ...]:
    if not (project / DATASET / COMMIT).is_file():
        return ()
    manifest = Manifest.open(project / DATASET)
    ledger: list[Correction] = []
    for file in sorted(file for folder in REVIEWS for file in project.glob(f"{folder}/{CORRECTIONS}")):
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


def _untouched(arm: Arm) -> Quality | None:
    return arm.untouched


def _test(arm: Arm) -> Quality | None:
    return arm.test


def _epe(quality: Quality) -> float:
    return quality.epe


def _lower(claim: str) -> str:
    return claim[:1].lower() + claim[1:]


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}{_NARROW}%"


def _pixels(distance: float) -> str:
    return "–" if math.isnan(distance) else f"{distance:.1f}{_NARROW}px"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.3g} s"
