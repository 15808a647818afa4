"""What people's work cost and found, step by step, and how fast the machine was."""

from collections.abc import Sequence

from autolabel.report.answers import Answered, Work
from autolabel.report.page import Table, Tile
from autolabel.report.plots import INK, RANDOM, ROUTED, Axes, Plot, interval, panels

NARROW = "\u202f"
"""A narrow space at which no line breaks, between a number and its unit."""


def cost_table(answered: Answered) -> Table:
    """A row for each step, and one for all of them."""
    spent = total(answered.work)
    return Table(
        title="Cost board",
        caption="Opened: poses and whole images, each opening. Left as it was: ordinary tasks submitted unchanged. "
        "Changed keypoints: moved, added, removed or said to be elsewhere, in tasks with a pre-label. People's time is "
        "what Label Studio tells of it, thinking included.",
        columns=(
            *("Step", "opened", "clicks", "left as it was", "bad poses found", "keypoints changed"),
            *("people's time", "seconds an opening", "seconds a changed keypoint"),
        ),
        rows=tuple(_row(work) for work in (*answered.work, *([spent] if len(answered.work) > 1 else []))),
    )


def cost_tiles(
    answered: Answered | None, untouched: tuple[int, int] | None, speed: tuple[int, float] | None
) -> tuple[Tile, ...]:
    """The numbers worth a large font.

    Args:
        answered: What people did; None where nothing was answered.
        untouched: Poses that the certificate covers and nobody opened, of all poses; None without a certificate.
        speed: Images that were predicted and the seconds that it took; None where that is not known.
    """
    tiles: list[Tile] = []
    if untouched is not None:
        count, of = untouched
        tiles.append(Tile("Accepted without a touch", _percent(count, of), f"{count:,} of {of:,} poses"))
    if answered is not None:
        spent = total(answered.work)
        if spent.fixed_timed:
            each = spent.fixing_seconds / spent.fixed_timed
            told = f"{spent.fixed_timed:,} keypoints changed in {duration(spent.fixing_seconds)} of people's time"
            tiles.append(Tile("Time of a fixed keypoint", f"{each:.1f}{NARROW}s", told))
        if spent.ordinary:
            told = f"{spent.kept:,} of {spent.ordinary:,} opened poses"
            tiles.append(Tile("Opened and left as it was", _percent(spent.kept, spent.ordinary), told))
        if answered.caught.of:
            low, high = answered.caught.limits
            hits, of = answered.caught.hits, answered.caught.of
            told = f"{hits:,} of {of:,}; 95 % interval {100 * low:.0f} to {100 * high:.0f} %"
            tiles.append(Tile("Planted errors found", _percent(hits, of), told))
    if speed is not None and speed[1] > 0:
        images, seconds = speed
        told = f"{images:,} images predicted in {duration(seconds)}"
        tiles.append(Tile("Images a second", f"{images / seconds:.3g}", told))
    return tuple(tiles)


def yield_plot(answered: Answered) -> Plot:
    """Bad poses that people found against the poses that they opened, beside what a random look would have found.

    Args:
        answered: With at least one step that opened ordinary tasks.
    """
    steps = [work for work in answered.work if work.ordinary]
    opened, found = _sums([w.ordinary for w in steps]), _sums([w.bad for w in steps])
    drawn = [work for work in steps if work.drawn]

    def cumulated(axes: Axes) -> None:
        axes.plot(opened, found, color=ROUTED, marker="o", label="as it was routed")
        expected = [0.0]
        for work in steps:
            rate = work.drawn_bad / work.drawn if work.drawn else 0.0
            expected.append(expected[-1] + rate * work.ordinary)
        if drawn:
            known = [i for i, work in enumerate(steps) if work.drawn]
            upto = 2 + max(known) if known == list(range(len(known))) else 0
            if upto:
                axes.plot(opened[:upto], expected[:upto], color=RANDOM, marker="s", linestyle=(0, (4, 2)),
                          label="at the rate of the random draws")  # fmt: skip
        axes.set_title("Bad poses found")
        axes.set_xlabel("poses opened by people, with a pre-label")
        axes.set_ylabel("bad poses, added up")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left")

    def rates(axes: Axes) -> None:
        places = list(range(len(steps)))
        axes.bar(places, [100 * w.bad / w.ordinary for w in steps], width=0.5, color=ROUTED, label="of all opened")
        for place, work in zip(places, steps, strict=True):
            if work.drawn:
                share = work.drawn_bad / work.drawn
                low, high = interval(share, work.drawn)
                axes.vlines(place, 100 * low, 100 * high, color=INK, linewidth=1.4)
                axes.plot([place], [100 * share], color=RANDOM, marker="s", linestyle="none", markeredgecolor="white",
                          label="of random draws" if work is drawn[0] else None)  # fmt: skip
        axes.set_xticks(places, [work.step for work in steps])
        axes.set_title("Bad poses among those opened")
        axes.set_ylabel("%")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right")

    return Plot(
        title="What opening poses found",
        caption="From people's answers alone. A random look tells what any pose is like that nobody has opened; doubt "
        "is worth its name where opening by doubt finds more. The audit opens accepted poses, and should find few. "
        "Bars: 95 % Clopper-Pearson intervals of the random draws.",
        alt=" ".join(
            f"{w.step.capitalize()}: {w.bad:,} bad among {w.ordinary:,} opened"
            + (f", {w.drawn_bad:,} among {w.drawn:,} drawn at random." if w.drawn else ".")
            for w in steps
        ),
        panels=panels([cumulated, rates]),
    )


def duration(seconds: float) -> str:
    """A time in words: ``3.25 s``, ``12 min 05 s``, ``1 h 02 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.3g} s"


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.0f}{NARROW}%"


def total(parts: Sequence[Work]) -> Work:
    """All steps together."""
    return sum(parts, Work("all"))


def _sums(values: Sequence[int]) -> list[int]:
    """0 and the running sums."""
    sums = [0]
    for value in values:
        sums.append(sums[-1] + value)
    return sums


def _row(work: Work) -> tuple[str, ...]:
    kept = _percent(work.kept, work.ordinary) if work.ordinary else "–"
    return (
        work.step,
        f"{work.opened:,}",
        f"{work.clicks:,}",
        kept,
        f"{work.bad:,}" if work.ordinary else "–",
        f"{work.fixed:,}",
        duration(work.seconds) if work.timed else "–",
        f"{work.seconds / work.timed:.1f}" if work.timed else "–",
        f"{work.fixing_seconds / work.fixed_timed:.1f}" if work.fixed_timed else "–",
    )
