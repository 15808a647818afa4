"""Which keypoints people are asked about, and which are taken as they are.

Every task marks its own weakest keypoints, and all tasks of a routing mark equally many, whatever they are for: so the
marks tell nothing about a task. How many is decided by what is left: the fewest for which the keypoints that nobody is
asked about, of all poses that people will open, are expected to hold no more gross ones than was allowed. What is left
unasked is audited by keypoints drawn singly.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.labelstudio.tasks import DOUBTS
from autolabel.propose import Indices
from autolabel.select import asked
from pipelines.route_pool import Pool

MOST = 6
"""More marks than this ask about nothing any more: a person would look at the whole pose."""


@dataclass(frozen=True)
class Questions:
    """What is asked in all tasks together.

    Attributes:
        marks: Keypoints that each task asks about.
        asked: Keypoints that are asked about.
        left: Those that are taken as they are.
        expected_gross: Expected share of gross ones among those left; None where none is left, or nothing is known.
    """

    marks: int
    asked: int
    left: int
    expected_gross: float | None

    def to_dict(self) -> dict[str, float | int | None]:
        """The part ``questions`` of ``routing.json``."""
        return asdict(self)


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

    def left_at(marks: int) -> NDArray[np.float64]:
        return doubt[known & ~asked(doubt, 1.0, may=known, weakest=marks)]

    marks, left = DOUBTS, left_at(DOUBTS)
    while calibrated and marks < MOST and len(left) and left.mean() > max_gross:
        marks, left = marks + 1, left_at(marks + 1)
    expected = float(left.mean()) if len(left) and calibrated else None
    return Questions(marks, int(known.sum()) - len(left), len(left), expected)
