"""How good a calibrator is about poses that it had not seen, in one picture: risk against coverage, and reliability."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autolabel.report.picture_file import write_picture
from autolabel.report.plots import INK, MUTED, ROUTED, Axes, interval, styled_figure
from autolabel.score_quality import DoubtQuality, risk_curve

_DPI = 144
_PROMISE = 0.02
"""The share of bad poses that is marked, as most corpora ask for it."""


def draw_doubt(held_out: Sequence[tuple[float, bool]], quality: DoubtQuality, path: Path) -> None:
    """Write the picture as PNG.

    Args:
        held_out: What was said of each checked pose by models that had not seen it, and whether it was bad.
        quality: The same in numbers.
        path: The file.

    Raises:
        OSError: It cannot be written.
    """
    with styled_figure(9.0, 3.6, 1, 2) as (figure, ((risk, reliability),)):
        _risk(risk, held_out, quality)
        _reliability(reliability, quality)
        figure.suptitle(f"{quality.poses:,} checked poses, {quality.bad:.1%} bad, each judged unseen", fontsize=9)
        write_picture(path, lambda place: figure.savefig(place, format="png", dpi=_DPI))


def _risk(axes: Axes, held_out: Sequence[tuple[float, bool]], quality: DoubtQuality) -> None:
    doubt, bad = np.array(held_out, np.float64).T
    curve = risk_curve(doubt, bad.astype(bool))
    kept, share = curve.kept[0, 1:], curve.risk[0, 1:]
    axes.plot(100 * kept / kept[-1], 100 * share, color=ROUTED)
    axes.axhline(100 * _PROMISE, color=INK, linewidth=1, linestyle=(0, (1, 2)))
    covered = quality.coverage[_PROMISE]
    axes.annotate(f"{covered:.0%} of the poses with 2 % bad", (1, 2.3), fontsize=7.5, color=INK)
    axes.set(xlim=(0, 100), xlabel="poses kept, least doubtful first, %", ylabel="bad among them, %")
    axes.set_ylim(bottom=0)
    axes.set_title(f"Risk against coverage (AUROC of bad: {quality.auroc:.3f})")


def _reliability(axes: Axes, quality: DoubtQuality) -> None:
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    bins = quality.reliability
    for p, rate, count in zip(bins.said.tolist(), bins.true.tolist(), bins.count.tolist(), strict=True):
        low, high = interval(rate, count)
        axes.vlines(100 * p, 100 * low, 100 * high, color=ROUTED, alpha=0.6, linewidth=1.3)
        axes.scatter([100 * p], [100 * rate], s=28, color=ROUTED, linewidths=0.8, edgecolors="white")
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="said: mean p_bad of the bin, %", ylabel="found: bad poses, %")
    axes.set_title(f"Reliability (ECE {bins.error:.3f}, Brier skill {quality.brier_skill:.2f})")
