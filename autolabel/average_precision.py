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


@dataclass(frozen=True, eq=False)
class _Ranking:
    """The poses of one size at one threshold, best score first: n right ones and m wrong ones.

    Attributes:
        right: (n,) index of each right one's image.
        wrong: (m,) of each wrong one's.
        before: (n,) how many wrong ones come before each right one.
    """

    right: NDArray[np.int32]
    wrong: NDArray[np.int32]
    before: NDArray[np.int32]

    @classmethod
    def of(cls, image: NDArray[np.int32], right: Bools, wrong: Bools) -> "_Ranking":
        """From (D,) images of all poses, best score first, and which are right and wrong."""
        at, other = np.flatnonzero(right), np.flatnonzero(wrong)
        return cls(image[at], image[other], np.searchsorted(other, at).astype(np.int32))

    def curve(self, often: Floats, people: float) -> tuple[Floats, float]:
        """(R,) precision and the recall, for (I,) how often each image counts and how many people that makes.

        Precision is looked at where a pose is right: elsewhere recall stays as it was, and precision falls.
        """
        if not len(self.right):
            return np.zeros(len(RECALLS)), 0.0
        found = np.cumsum(often[self.right])
        wrong = np.concatenate([[0.0], np.cumsum(often[self.wrong])])[self.before]
        # The same smallest step as in pycocotools, so that the numbers are the same to the last bit.
        precision = found / (wrong + found + np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        reached = found / people
        at = np.searchsorted(reached, RECALLS, side="left")
        return np.where(at < len(reached), precision[np.minimum(at, len(reached) - 1)], 0.0), float(reached[-1])


def _weighted(tables: MatchTables, weights: Floats | None, sizes: int) -> Iterator[tuple[Floats, Floats]]:
    """Of the first sizes precision (A, T, R) and recall (A, T), one way of weighting after the other.

    NaN for a size without people.
    """
    counted = np.ones((1, len(tables.people))) if weights is None else weights
    best_first = np.argsort(-tables.score, kind="mergesort")
    image, all_of = tables.image[best_first], list(np.ndindex(sizes, len(THRESHOLDS)))
    rankings = [_Ranking.of(image, tables.right[at][best_first], tables.wrong[at][best_first]) for at in all_of]
    for often, people in zip(counted, counted @ tables.people[:, :sizes], strict=True):
        precision = np.full((sizes, len(THRESHOLDS), len(RECALLS)), np.nan)
        recall = np.full((sizes, len(THRESHOLDS)), np.nan)
        for at, ranking in zip(all_of, rankings, strict=True):
            if people[at[0]]:
                precision[at], recall[at] = ranking.curve(often, float(people[at[0]]))
        yield precision, recall


def _summary(precision: Floats, recall: Floats) -> list[float]:
    return [
        *(float(part.mean()) for part in (precision[0], precision[0, 0], precision[0, 5], precision[1], precision[2])),
        *(float(part.mean()) for part in (recall[0], recall[0, 0], recall[0, 5], recall[1], recall[2])),
    ]
