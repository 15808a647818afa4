"""Which keypoints people are asked about, and which are taken as they are: one limit for every task of a routing.

A task marks its two most doubtful keypoints and all whose ``p_gross`` lies above the limit. The limit is the highest at
which the keypoints that are left, of all poses that people will open, are expected to hold no more gross ones than
was allowed. It is the same for audited, planted and ordinary poses, so that the marks tell nothing about a task. What
is left unasked is audited by keypoints drawn singly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autolabel.propose import Indices
from autolabel.select import asked
from pipelines.route_pool import Pool


@dataclass(frozen=True)
class Questions:
    """What is asked in all tasks together.

    Attributes:
        above: Keypoints with a higher ``p_gross`` are asked about, beside the two weakest of each pose.
        asked: Keypoints that are asked about.
        left: Those that are taken as they are.
        expected: Expected share of gross ones among those left; None where none is left, or nothing is known.
    """

    above: float
    asked: int
    left: int
    expected: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """The part ``questions`` of ``routing.json``."""
        return {"above": self.above, "asked": self.asked, "left": self.left, "expected_gross": self.expected}


def questions(pool: Pool, tasks: Mapping[str, Indices], max_gross: float, *, calibrated: bool) -> Questions:
    """What to ask about the poses of all tasks.

    Args:
        pool: Gives the keypoints' doubts.
        tasks: Rows of the poses by kind of task.
        max_gross: Expected share of gross ones that is allowed among the keypoints left.
        calibrated: Whether the doubts are probabilities; where they are not, only the two weakest are asked about.
    """
    rows = np.unique(np.concatenate([*tasks.values(), np.empty(0, np.intp)]))
    doubt = pool.p_gross[rows].astype(np.float64)
    known = ~np.isnan(doubt)
    weakest = asked(doubt, 1.0, may=known)
    chosen = asked(doubt, max_gross, may=known) if calibrated else weakest
    # Equal doubts are all asked about or all left.
    bar = doubt[chosen & ~weakest].min(initial=np.inf)
    left = known & ~chosen & (doubt < bar)
    above = float(doubt[left].max(initial=0.0)) if calibrated else 1.0
    expected = float(doubt[left].mean()) if left.any() and calibrated else None
    return Questions(above, int(known.sum() - left.sum()), int(left.sum()), expected)
