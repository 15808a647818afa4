"""The numbers of a round: what it cost and, where the truth is known, how good the poses and the doubt are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import CORRECTIONS, SETTLED, read_corrections
from pipelines.check import Checked, check

BINS = 10
CURVE_POINTS = 50


def round_record(
    number: int,
    *,
    scored: Manifest,
    pulled: Path,
    trained_on: int,
    truth: Manifest | None,
    test: Checked | None,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The content of a round's ``round.json``; ``autolabel.report.rounds`` reads it.

    Args:
        number: Of the round.
        scored: All poses as they stand after it.
        pulled: What people had answered by then; need not exist.
        trained_on: Poses that its network has learnt from.
        truth: The truth of all poses, if it is known.
        test: The network's poses on held-out images.
        seconds: Time by step.
    """
    states = [a.get("state") in SETTLED for i in range(scored.num_parts) for a in scored.poses(i).attributes]
    untouched = None
    if truth is not None:
        judged = check(scored, truth)
        untouched = judged.take(np.array([a.get("state") not in SETTLED for a in judged.poses.attributes]))
    return {
        "round": number,
        "model": _network_of(scored),
        "trained_on": trained_on,
        "counts": {"review": sum(states), "untouched": len(states) - sum(states)},
        "effort": _effort(pulled),
        "routed": {
            "untouched": quality(untouched) if untouched is not None else None,
            "test": quality(test) if test is not None else None,
        },
        "random": None,
        "score": doubt_quality(untouched) if untouched is not None else None,
        "seconds": {step: round(value, 2) for step, value in seconds.items()},
    }


def quality(checked: Checked) -> dict[str, Any] | None:
    """Shares of bad poses and gross keypoints, mean error in pixels and mean OKS; None of no poses."""
    if not len(checked.poses):
        return None
    scored = int(checked.scored.sum())
    return {
        "n": len(checked.poses),
        "bad": float(checked.bad.mean()),
        "gross": float(checked.gross.sum() / scored) if scored else None,
        "epe": _mean(checked.error),
        "oks": _mean(checked.oks),
    }


def doubt_quality(checked: Checked) -> dict[str, Any] | None:
    """How well ``p_bad`` ranks and how well it is calibrated; None where all poses are good, or all bad.

    Returns:
        ``auroc_bad``; ``risk_coverage``, pairs of the share kept, least doubtful first, and its share of bad poses;
        ``reliability``, for bins of equal mass the mean ``p_bad``, the share of bad poses, and the size.
    """
    from sklearn.metrics import roc_auc_score

    known = np.isfinite(checked.poses.p_bad)
    p_bad, bad = checked.poses.p_bad[known].astype(np.float64), checked.bad[known]
    if bad.all() or not bad.any():
        return None
    order = np.argsort(p_bad, kind="stable")
    risk = np.cumsum(bad[order]) / np.arange(1, len(bad) + 1)
    at = np.unique(np.linspace(1, len(bad), min(CURVE_POINTS, len(bad))).round().astype(int)) - 1
    return {
        "auroc_bad": float(roc_auc_score(bad, p_bad)),
        "risk_coverage": [[float((i + 1) / len(bad)), float(risk[i])] for i in at],
        "reliability": [
            [float(p_bad[rows].mean()), float(bad[rows].mean()), len(rows)]
            for rows in np.array_split(order, min(BINS, len(order)))
        ],
    }


def _mean(values: Any) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _network_of(manifest: Manifest) -> str:
    """What the poses that no person settled are signed with."""
    for i in range(manifest.num_parts):
        poses = manifest.poses(i)
        open_ = np.array([a.get("state") not in SETTLED for a in poses.attributes], bool)
        if open_.any():
            return str(poses.by[open_][0])
    return ""


def _effort(pulled: Path) -> dict[str, int]:
    """What people have done so far."""
    if not (pulled / COMMIT).is_file():
        return {"poses_opened": 0, "clicks": 0}
    corrections = read_corrections(pulled / CORRECTIONS, Manifest.open(pulled).skeleton.num_keypoints)
    return {"poses_opened": len(corrections), "clicks": sum(c.clicks for c in corrections)}
