"""The people who review, in one picture: errors they find, what they keep, and how far they scatter."""

from collections.abc import Sequence
from pathlib import Path

from autolabel.report.picture_file import write_picture
from autolabel.report.plots import INK, MUTED, RANDOM, ROUTED, Axes, left_of_axis, styled_figure
from autolabel.reviewer_quality import Share
from autolabel.reviewer_report import Reviewer, ReviewerReport
from autolabel.sigmas import Sigma
from autolabel.skeleton import SIDE_COLORS, Skeleton

_DPI = 144
_ROW = 0.21
"""Inches a keypoint."""

_ROWS = 45
"""Keypoints that are drawn; the file has them all."""

_PERSON = 0.42
"""Inches a person."""

_LONGEST = 24
"""Characters of a name that are drawn."""


def draw_reviewers(report: ReviewerReport, skeleton: Skeleton, path: Path) -> None:
    """Write the picture as PNG.

    Args:
        report: What was measured.
        skeleton: Gives the keypoints' sides.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    people = [report.together, *reversed(report.people)]
    # Mirror partners share their sigma.
    halves = [sigma for k, sigma in enumerate(report.sigmas) if k <= skeleton.flip[k]]
    measured = [sigma for sigma in halves if sigma.value is not None][:_ROWS]
    height = max(3.0, 1.4 + max(_PERSON * len(people), _ROW * len(measured)))
    with styled_figure(11.5, height, 1, 3) as (figure, ((caught, kept, sigmas),)):
        _shares(caught, people, [person.caught for person in people])
        caught.set_title("Planted errors found")
        _shares(kept, people, [person.kept for person in people])
        kept.set_title("Tasks submitted as they came")
        kept.set_yticks(range(len(people)), [""] * len(people))
        for axes in (caught, kept):
            axes.tick_params(axis="y", length=0)
        _sigmas(sigmas, measured, skeleton)
        figure.legend(*sigmas.get_legend_handles_labels(), loc="outside lower right", ncols=3, fontsize=7.5)
        write_picture(path, lambda place: figure.savefig(place, format="png", dpi=_DPI))


def _shares(axes: Axes, people: Sequence[Reviewer], shares: Sequence[Share]) -> None:
    """A dot and its interval for everybody, all together at the bottom."""
    for row, (person, share) in enumerate(zip(people, shares, strict=True)):
        if share.value is None:
            axes.text(50, row, "not measured", ha="center", va="center", color=MUTED, fontsize=7.5)
            continue
        color = ROUTED if person.name else INK
        low, high = share.limits
        axes.hlines(row, 100 * low, 100 * high, color=color, alpha=0.6, linewidth=1.6)
        axes.scatter([100 * share.value], [row], s=30, color=color, zorder=3, linewidths=0.8, edgecolors="white")
        axes.text(
            1.02, row, f"{share.hits}/{share.of}", transform=axes.get_yaxis_transform(), va="center", fontsize=7.5
        )
    axes.set_yticks(range(len(people)), [_short(person.name or "all together") for person in people])
    axes.set(xlim=(0, 100), ylim=(-0.6, len(people) - 0.4), xlabel="%, with 95 % interval")
    axes.grid(visible=False, axis="y")


def _sigmas(axes: Axes, sigmas: Sequence[Sigma], skeleton: Skeleton) -> None:
    axes.set_title("Sigmas of double labels")
    if not sigmas:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "nobody placed a keypoint twice", transform=axes.transAxes, ha="center", color=MUTED)
        return
    for row, sigma in enumerate(reversed(sigmas)):
        assert sigma.low is not None
        color = ROUTED if sigma.enough else MUTED
        axes.hlines(row, sigma.low, sigma.high, color=color, alpha=0.6, linewidth=1.6)
        axes.scatter([sigma.value], [row], s=24, color=color, zorder=3, linewidths=0.8, edgecolors="white")
        axes.scatter([sigma.in_use], [row], s=26, color=RANDOM, marker="|", linewidths=1.8, zorder=2)
        side = skeleton.sides[skeleton.index(sigma.keypoint)]
        axes.scatter(
            [0], [row], s=9, color=SIDE_COLORS[side], transform=left_of_axis(axes, 5), clip_on=False, linewidths=0
        )
    axes.set_yticks(range(len(sigmas)), [_named(sigma, skeleton) for sigma in reversed(sigmas)])
    axes.tick_params(axis="y", length=0, pad=10, labelsize=7)
    axes.set(ylim=(-0.7, len(sigmas) - 0.3), xlabel="sigma   (n) double labels   ⇄ mirror pair")
    axes.set_xlim(left=0)
    for color, marker, label in ((ROUTED, "o", "measured"), (MUTED, "o", "too few"), (RANDOM, "|", "in use")):
        axes.scatter([], [], s=24, color=color, marker=marker, label=label)


def _named(sigma: Sigma, skeleton: Skeleton) -> str:
    k = skeleton.index(sigma.keypoint)
    return f"{sigma.keypoint} {'⇄ ' if skeleton.flip[k] != k else ''}({sigma.n})"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
