"""COCO's AP and AR from tables of who matched whom, for all images or for any weighting of them.

pycocotools decides image by image which pose matches which person (``evaluate_coco``); what is left is to sort poses by
score and add up. That is done here in the way of ``COCOeval.accumulate`` and ``summarize``, number for number, because
a bootstrap does it a thousand times: an image that a resample draws three times counts three times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""The OKS at which a pose counts as right (T)."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""The recalls at which precision is read off (R)."""

SIZES = ("all", "medium", "large")
"""COCO's ranges of area (A): all, 32² to 96² and above 96² square pixels. Keypoints have no small ones."""

NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


@dataclass(frozen=True, eq=False)
class MatchTables:
    """D poses of I images against the truth: what COCO's AP needs to know, 70 bytes a pose.

    Attributes:
        image: (D,) index of each pose's image, ascending; within an image the best score first.
        score: (D,) float64.
        right: (A, T, D) matched with a person that counts.
        wrong: (A, T, D) matched with nobody, and of a size that counts.
        people: (I, A) people that count, by image.
    """

    image: NDArray[np.int32]
    score: Floats
    right: Bools
    wrong: Bools
    people: NDArray[np.int32]

    @classmethod
    def concat(cls, parts: Sequence["MatchTables"]) -> "MatchTables":
        """The images of all parts, counted on."""
        first = np.cumsum([0, *(len(part.people) for part in parts)])
        return cls(
            image=np.concatenate([part.image + start for part, start in zip(parts, first[:-1], strict=True)]),
            score=np.concatenate([part.score for part in parts]),
            right=np.concatenate([part.right for part in parts], axis=2),
            wrong=np.concatenate([part.wrong for part in parts], axis=2),
            people=np.concatenate([part.people for part in parts]),
        )

    def take(self, order: NDArray[np.intp]) -> "MatchTables":
        """The same images in another order."""
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order))
        image = rank[self.image]
        rows = np.argsort(image, kind="stable")
        return MatchTables(
            image[rows], self.score[rows], self.right[:, :, rows], self.wrong[:, :, rows], self.people[order]
        )


def coco_numbers(tables: MatchTables, weights: Floats | None = None) -> Floats:
    """AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL; NaN where there is nobody of that size.

    Args:
        tables: Who matched whom.
        weights: (B, I) how often each image counts, B ways; without it each image counts once.

    Returns:
        (B, 10)
    """
    curves = _weighted(tables, weights, len(SIZES))
    return np.array([_summary(*both) for both in curves]).reshape(-1, len(NAMES))


def average_precision(tables: MatchTables, weights: Floats | None = None) -> Floats:
    """(B,) AP alone, in a third of the time."""
    return np.array([precision[0].mean() for precision, _ in _weighted(tables, weights, 1)])


def by_threshold(tables: MatchTables) -> tuple[Floats, Floats]:
    """(T) average precision and (T) recall at each OKS threshold, over people of all sizes."""
    [(precision, recall)] = _weighted(tables, None, 1)
    return precision[0].mean(axis=1), recall[0]


def _weighted(tables: MatchTables, weights: Floats | None, sizes: int) -> Iterator[tuple[Floats, Floats]]:
    """The curves of the first sizes, one way of weighting after the other."""
    counted = np.ones((1, len(tables.people))) if weights is None else weights
    best_first = np.argsort(-tables.score, kind="mergesort")
    image, right = tables.image[best_first], tables.right[:sizes, :, best_first]
    wrong = tables.wrong[:sizes, :, best_first]
    for row, people in zip(counted, counted @ tables.people[:, :sizes], strict=True):
        often = row[image]
        yield _curves(right * often, wrong * often, people)


def _curves(right: Floats, wrong: Floats, people: Floats) -> tuple[Floats, Floats]:
    """Precision (A, T, R) and recall (A, T); NaN for a size without people.

    Args:
        right: (A, T, D) how often each pose is right, best score first.
        wrong: (A, T, D) how often wrong.
        people: (A,) how many there are to be found.
    """
    sizes, thresholds, poses = right.shape
    precision = np.zeros((sizes, thresholds, len(RECALLS)))
    recall = np.zeros((sizes, thresholds))
    if poses:
        found = np.cumsum(right, axis=2)
        # The same smallest step as in pycocotools, so that the numbers are the same to the last bit.
        curve = found / (np.cumsum(wrong, axis=2) + found + np.spacing(1))
        curve = np.maximum.accumulate(curve[:, :, ::-1], axis=2)[:, :, ::-1]
        reached = found / np.maximum(people, 1)[:, None, None]
        recall = reached[:, :, -1]
        for a, t in np.ndindex(sizes, thresholds):
            at = np.searchsorted(reached[a, t], RECALLS, side="left")
            precision[a, t] = np.where(at < poses, curve[a, t, np.minimum(at, poses - 1)], 0.0)
    nobody = people == 0
    precision[nobody], recall = np.nan, np.where(nobody[:, None], np.nan, recall)
    return precision, recall


def _summary(precision: Floats, recall: Floats) -> list[float]:
    return [
        *(float(part.mean()) for part in (precision[0], precision[0, 0], precision[0, 5], precision[1], precision[2])),
        *(float(part.mean()) for part in (recall[0], recall[0, 0], recall[0, 5], recall[1], recall[2])),
    ]
