"""The numbers of a round: what it cost and, where the truth is known, how good the poses and the doubt are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.labelstudio.images import IMAGES, ImageCheck, read_images
from autolabel.labelstudio.tasks import IMAGE
from autolabel.ledger import LEDGER, read_ledger
from autolabel.manifest import Manifest
from autolabel.merge import CORRECTIONS, SEEN, Correction, read_corrections
from autolabel.poses import Poses
from autolabel.score import score_quality
from pipelines.check import Checked, check
from pipelines.pull_answers import CHECKS


@dataclass(frozen=True)
class Effort:
    """What people have done.

    Attributes:
        poses_opened: Poses that they opened, whatever for, and whole images; each opening counts.
        clicks: What they clicked in them.
    """

    poses_opened: int = 0
    clicks: int = 0

    @classmethod
    def of(cls, pulled: Path | None) -> "Effort":
        """All that had been answered when a pull wrote this folder; nothing where there is none."""
        if pulled is None:
            return cls()
        answers = every_answer(pulled)
        return cls(len(answers), sum(answer.clicks for answer in (*answers, *posed_in_images(pulled))))

    def to_dict(self) -> dict[str, int]:
        """The JSON form, as ``autolabel.report.rounds`` reads it."""
        return {"poses_opened": self.poses_opened, "clicks": self.clicks}


def every_answer(pulled: Path) -> list[Correction | ImageCheck]:
    """What people did in every task that they opened, for whom nothing is charged twice.

    A pose that was opened again, for a look at one of its keypoints, has one correction that stands, and an answer for
    each opening in the ledger. A pulled folder of before there were ledgers tells of the standing ones alone.

    Args:
        pulled: The folder that a pull wrote.

    Returns:
        One entry for each answer, as it was changed last, in no particular order. People who were posed in a whole
        image are none, it was opened once for all of them; see :func:`posed_in_images`.
    """
    k = Manifest.open(pulled).skeleton.num_keypoints
    history = [entry for entry in read_ledger(pulled / LEDGER, k) if entry.annotation]
    last = {(entry.correction.task, entry.annotation): entry.correction for entry in history if entry.kind != IMAGE}
    told = {entry.correction.task for entry in history}
    checks = read_corrections(pulled / CHECKS, k) if (pulled / CHECKS).is_file() else []
    others = (answer for answer in (*read_corrections(pulled / CORRECTIONS, k), *checks) if answer.task not in told)
    return [*last.values(), *others, *read_images(pulled / IMAGES)]


def posed_in_images(pulled: Path) -> list[Correction]:
    """What people stated of everybody whom they boxed and posed in a whole image, an entry a person and answer.

    Args:
        pulled: The folder that a pull wrote.
    """
    history = read_ledger(pulled / LEDGER, Manifest.open(pulled).skeleton.num_keypoints)
    return [entry.correction for entry in history if entry.kind == IMAGE]


def round_record(
    number: int,
    *,
    model: str,
    scored: Manifest,
    effort: Effort,
    trained_on: int,
    truth: Manifest | None,
    test: Checked | None,
    seconds: Mapping[str, float],
    gate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of a round's ``round.json``; ``autolabel.report.rounds`` reads it.

    Args:
        number: Of the round.
        model: Digest of its network.
        scored: All poses as they stand after it.
        effort: Of people, up to now.
        trained_on: Poses that its network has learnt from.
        truth: The truth of all poses, if it is known.
        test: The network's poses on held-out images.
        seconds: Time by step.
        gate: What its gate decided about a new network, if it trained one.
    """
    opened = sum(int(seen(scored.poses(i)).sum()) for i in range(scored.num_parts))
    untouched = None
    if truth is not None:
        judged = check(scored, truth)
        untouched = judged.take(~seen(judged.poses))
    return {
        "round": number,
        "model": model,
        "trained_on": trained_on,
        "counts": {"review": opened, "untouched": scored.counts["poses"] - opened},
        "effort": effort.to_dict(),
        "routed": {
            "untouched": quality(untouched) if untouched is not None else None,
            "test": quality(test) if test is not None else None,
        },
        "random": None,
        "score": score_quality(untouched.poses.p_bad, untouched.bad) if untouched is not None else None,
        "seconds": {step: round(value, 2) for step, value in seconds.items()},
        "gate": None if gate is None else {name: gate[name] for name in ("decision", "reason", "gate", "base")},
    }


def seen(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses that a person opened."""
    return np.array([attributes.get("state") in SEEN for attributes in poses.attributes], bool)


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
