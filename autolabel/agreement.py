"""How far the answers of several people to one pose agree.

Two answers are as alike as two poses are: their OKS is the mean KS over the keypoints that at least one of them places
(``autolabel/similarity.py``), on the area of the pose as it was sent, which both saw. A keypoint that one places and
the other calls absent counts as 0; one about which either says nothing does not count. So it is the same whichever of
the two is taken for the truth. Where both saw one pre-label they also agree because both left it; answers to blind
tasks are counted apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.merge import apart
from autolabel.poses import Poses, Visibility
from autolabel.reviewer_quality import Bools, Looks
from autolabel.similarity import Floats, keypoint_similarity, mean_similarity, similarity_area
from autolabel.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of answers of two people about the same pose; answers that throw it out are not among them.

    Attributes:
        first: (P,) row of one answer among the looks.
        second: (P,) row of the other.
        oks: (P,) how alike they are; NaN where neither places anything.
        distance: (P, K) pixels between the two places of a keypoint; NaN where not both place it.
        area: (P,) square pixels, of the pose as it was sent.
        blind: (P,) neither saw a pre-label.
        disputed: Pairs beside these of which one threw the pose out and the other did not.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    oks: Floats
    distance: Floats
    area: Floats
    blind: Bools
    disputed: int

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Agreement:
    """How alike pairs of answers are.

    Attributes:
        pairs: How many pairs.
        oks: Mean OKS; None where there are none.
        low: The lowest tenth of the pairs is at most this alike; None where there are none.
    """

    pairs: int
    oks: float | None
    low: float | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"pairs": self.pairs, "oks": self.oks, "lowest_tenth": self.low}


def pairs_of(looks: Looks, skeleton: Skeleton) -> Pairs:
    """All pairs of answers of two people about the same pose of the same routing; planted poses among them."""
    rows = list(_two_people(looks))
    disputed = sum(bool(looks.rejected[i] != looks.rejected[j]) for i, j in rows)
    rows = [(i, j) for i, j in rows if not (looks.rejected[i] or looks.rejected[j])]
    first, second = (np.array([pair[side] for pair in rows], np.intp) for side in (0, 1))
    a, b = looks.left.take(first), looks.left.take(second)
    area = similarity_area(looks.shown.take(first))
    both = a.labelled & b.labelled
    return Pairs(
        first=first,
        second=second,
        oks=mean_similarity(answers_similarity(a, b, area, skeleton)),
        distance=np.where(both, apart(a.xy, b.xy), np.nan),
        area=area,
        blind=looks.blind[first] & looks.blind[second],
        disputed=disputed,
    )


def answers_similarity(a: Poses, b: Poses, area: Floats, skeleton: Skeleton) -> Floats:
    """(P, K) KS of two sets of answers, the same in both directions; NaN where it does not count.

    Args:
        a: P answers.
        b: P others to the same poses.
        area: (P,) square pixels.
        skeleton: Gives the sigmas.
    """
    ks = keypoint_similarity(a.xy, b.xy, area, skeleton.sigmas)
    one, other = a.labelled, b.labelled
    silent = (a.visibility == Visibility.UNLABELLED) | (b.visibility == Visibility.UNLABELLED)
    return np.where(silent | ~(one | other), np.nan, np.where(one & other, ks, 0.0))


def agreement(pairs: Pairs, chosen: Bools) -> Agreement:
    """How alike the chosen (P,) pairs are."""
    oks = pairs.oks[chosen & ~np.isnan(pairs.oks)]
    if not len(oks):
        return Agreement(0, None, None)
    return Agreement(len(oks), float(oks.mean()), float(np.quantile(oks, 0.1)))


def of_person(pairs: Pairs, looks: Looks, who: str) -> Bools:
    """(P,) pairs one of whose answers is a person's."""
    return (looks.who[pairs.first] == who) | (looks.who[pairs.second] == who)


def _two_people(looks: Looks) -> Iterator[tuple[int, int]]:
    """Rows of every two answers about the same pose by two people, each with or each without a pre-label."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for row, key in enumerate(zip(looks.about.tolist(), looks.blind.tolist(), strict=True)):
        groups.setdefault(key, []).append(row)
    for rows in groups.values():
        yield from ((i, j) for i, j in combinations(rows, 2) if looks.who[i] != looks.who[j])
