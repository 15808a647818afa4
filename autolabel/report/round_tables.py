"""The rounds' own numbers as tables and bars: quality where the truth is known, work, and where the poses went."""

import math
from collections.abc import Mapping, Sequence

from autolabel.report.cost_board import NARROW, duration
from autolabel.report.page import Bars, Table
from autolabel.report.plots import Part
from autolabel.report.rounds import Arm, AuditCost, Quality, Round

ROUTES = (
    ("accepted", "#7cc79b"),
    ("audit", "#9cc9f0"),
    ("review", "#f3b26b"),
    ("rejected", "#d9a3c2"),
    ("untouched", "#cfd7de"),
)
"""Where routing sends poses, and the colour of its bar: light enough for dark figures on it."""

_OTHER_COLOR = "#b9b4d6"


def untouched(arm: Arm) -> Quality | None:
    """Of the poses that nobody opened."""
    return arm.untouched


def test(arm: Arm) -> Quality | None:
    """Of the held-out test."""
    return arm.test


def quality_tables(rounds: Sequence[Round]) -> tuple[Table, ...]:
    """One table for untouched poses and one for the held-out test, where anything was measured."""
    captions = (
        (
            "Untouched poses, round by round",
            untouched,
            "Poses that nobody opened so far: fewer each round, and those doubted least, so that their error falls "
            "even where no network got better (the held-out test tells that)",
        ),
        ("Held-out test, round by round", test, "Poses that never train"),
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
        percent(routed.bad),
        percent(random.bad) if random else "–",
        percent(routed.gross),
        "–" if math.isnan(routed.oks) else f"{routed.oks:.3f}",
        pixels(routed.epe),
        pixels(random.epe) if random else "–",
    ]


def work_table(rounds: Sequence[Round], audit: AuditCost | None, *, people: bool = True) -> Table:
    """A row for each round, and one for the audit: people's work, added up, and the machine's time by step.

    Args:
        rounds: In order.
        audit: What the audit cost, if it is told.
        people: Whether people's work is told here; it need not be where the cost board tells it.
    """
    turns = [(str(r.number), r.model[:12], f"{r.trained_on:,}", r.opened, r.clicks, r.seconds) for r in rounds]
    turns += [("audit", "–", "–", audit.opened, audit.clicks, audit.seconds)] if audit else []
    steps = list(dict.fromkeys(step for *_, seconds in turns for step in seconds))
    return Table(
        title="Work, round by round" if people else "The machine's work",
        caption="Poses opened and clicks are people's, added up over the rounds. Times are the machine's."
        if people
        else "Poses that the network was trained on, and time by step.",
        columns=("Round", "model", "trained on, poses", *(["opened, poses", "clicks"] * people), *steps, "all steps"),
        rows=tuple(
            (
                name, model, trained_on, *([f"{opened:,}", f"{clicks:,}"] * people),
                *(duration(seconds[step]) if step in seconds else "–" for step in steps),
                duration(sum(seconds.values())),
            )
            for name, model, trained_on, opened, clicks, seconds in turns
        ),
    )  # fmt: skip


def routes(rounds: Sequence[Round], dataset: Mapping[str, int]) -> Bars:
    """Where the poses stood after each round.

    Args:
        rounds: In order.
        dataset: By the same names, how many poses of the final dataset stand there; empty where there is none yet.
    """
    known = dict(ROUTES)
    turns = [(f"Round {r.number}", r.counts) for r in rounds] + ([("Dataset", dataset)] if dataset else [])
    names = [name for name in known if any(name in counts for _, counts in turns)]
    names += sorted({name for _, counts in turns for name in counts} - set(known))
    return Bars(
        title="Where the poses went",
        caption="All poses, as they stood after each round. Review: opened by people. Untouched: by nobody, and not "
        "accepted. Accepted: covered by the certificate, and opened by nobody.",
        kinds=tuple((name, known.get(name, _OTHER_COLOR)) for name in names),
        rows=tuple((name, tuple(counts.get(kind, 0) for kind in names)) for name, counts in turns),
    )


def percent(share: float) -> str:
    """A share in percent; a dash for NaN."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}{NARROW}%"


def pixels(distance: float) -> str:
    """A distance in pixels; a dash for NaN."""
    return "–" if math.isnan(distance) else f"{distance:.1f}{NARROW}px"
