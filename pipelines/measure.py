"""The numbers of a round: what it cost and, where the truth is known, how good the poses and the doubt are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import CORRECTIONS, SETTLED, read_corrections
from autolabel.score import score_quality
from pipelines.check import Checked, check


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
        "score": score_quality(untouched.poses.p_bad, untouched.bad) if untouched is not None else None,
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


def _mean(values: NDArray[np.float64]) -> float | None:
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
