"""People and a network's word about them as arrays, and a reviewer made of truth and noise, at any scale.

:class:`pipelines.simulated_reviewer.SimulatedReviewer` answers task files one by one, as Label Studio has them. Here
the same person works on arrays, so that twenty thousand poses are reviewed in a second and ways to spend effort can be
compared over many draws. What an answer says of the network's pose (:attr:`Answers.found`) is what a product would
know; what it leaves (:attr:`Answers.left`) is read from the truth.

The reviewer moves what is asked about and lies below ``accept_ks`` to the truth, plus human noise of variance σ² A / 2
per axis (COCO's σ: E[d²] = σ² A between two people), corrects what is said to be in the image or not, exchanges left
and right of a whole pose where that takes fewer clicks, and submits an ``overlook`` share of the poses as they are.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.effort import COSTS, Costs, Effort, hand_effort, review_effort
from autolabel.errors import InputError
from autolabel.similarity import DEFAULT_RULE, BadRule, bad_poses, claims_present, keypoint_similarity, mean_similarity
from autolabel.skeleton import Skeleton
from pipelines.check import Checked

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

ORDINARY, PLANTED, BLIND = 0, 1, 2
"""Looks at a pose: each has noise of its own, the same for every arm of a seed."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What one set of labels says of another.

    Attributes:
        gross: (n, K) gross keypoints, none where nothing is known.
        bad: (n,) bad poses.
        ks: (n, K) similarity, NaN where there is no place to compare with.
        stated: (n, K) keypoints that one says to be inside the image and the other does not.
    """

    gross: Bools
    bad: Bools
    ks: Floats
    stated: Bools

    @classmethod
    def of(cls, ks: Floats, stated: Bools, rule: BadRule = DEFAULT_RULE) -> "Judgement":
        """The verdict from similarities and statements."""
        gross = stated | (np.nan_to_num(ks, nan=1.0) < rule.gross_ks)
        return cls(gross, bad_poses(mean_similarity(ks), gross, rule), ks, stated)

    def by(self, rule: BadRule) -> "Judgement":
        """The verdict by another rule."""
        return Judgement.of(self.ks, self.stated, rule)

    @property
    def oks(self) -> Floats:
        """(n,) NaN where nothing can be compared."""
        return mean_similarity(self.ks)


@dataclass(frozen=True, eq=False)
class Corpus:
    """What a network says of N people, one pose each, and the truth.

    Attributes:
        xy: (N, K, 2) pixels.
        present: (N, K) keypoints that are said to be inside the image.
        truth: (N, K, 2) pixels, NaN where the keypoint is absent or nothing is known of it.
        scored: (N, K) keypoints of which the truth says something.
        area: (N,) square pixels that similarity is measured by.
        image: (N,) number of the image.
        group: (N,) number of what must not be parted when poses are drawn: near-duplicates, one video.
        sigmas: (K,) of the skeleton.
        flip: (K,) each keypoint's mirror partner.
    """

    xy: Floats
    present: Bools
    truth: Floats
    scored: Bools
    area: Floats
    image: Indices
    group: Indices
    sigmas: Floats
    flip: Indices

    def __post_init__(self) -> None:
        n, k = self.xy.shape[:2]
        shapes = {
            "xy": (n, k, 2), "present": (n, k), "truth": (n, k, 2), "scored": (n, k), "area": (n,),
            "image": (n,), "group": (n,), "sigmas": (k,), "flip": (k,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise InputError(f"{name} has shape {getattr(self, name).shape}, expected {shape}", subject="corpus")
        if not self.scored.any():
            raise InputError("the truth says nothing about any keypoint", subject="corpus")

    def __len__(self) -> int:
        return len(self.xy)

    @classmethod
    def of(cls, checked: Checked, skeleton: Skeleton, image: ArrayLike) -> "Corpus":
        """Predictions beside the truth, as ``check`` gives them, each of a person.

        Args:
            checked: N poses.
            skeleton: Of the poses.
            image: (N,) number of the image of each.
        """
        return cls(
            xy=checked.poses.xy.astype(np.float64),
            present=claims_present(checked.poses),
            truth=checked.truth,
            scored=checked.scored,
            area=checked.area,
            image=np.asarray(image, np.intp),
            group=checked.group,
            sigmas=np.asarray(skeleton.sigmas, np.float64),
            flip=np.asarray(skeleton.flip, np.intp),
        )

    def unlabelled(self) -> "Corpus":
        """The same people before anything is said about them."""
        return replace(self, xy=np.full_like(self.xy, np.nan), present=np.zeros_like(self.present))

    def judge(self, rows: ArrayLike, xy: Floats, present: Bools, truth: Floats) -> Judgement:
        """Labels of some poses against others, by the definitions of :mod:`autolabel.similarity`.

        Args:
            rows: (n,) which poses they are of.
            xy: (n, K, 2) what is judged.
            present: (n, K) what it says to be inside the image.
            truth: (n, K, 2) what it is judged by, NaN where that says absent.
        """
        rows = np.asarray(rows, np.intp)
        scored, inside = self.scored[rows], np.isfinite(truth[..., 0])
        ks = keypoint_similarity(xy, np.where(scored[..., None], truth, np.nan), self.area[rows], self.sigmas)
        return Judgement.of(ks, scored & (inside != present))

    def by_truth(self) -> Judgement:
        """What the network says, against the truth: all N poses."""
        return self.judge(np.arange(len(self)), self.xy, self.present, self.truth)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a reviewer made of n poses.

    Attributes:
        rows: (n,) of the corpus.
        xy: (n, K, 2) places after it.
        present: (n, K) what is said to be inside the image after it.
        found: The network's poses as a product judges them: by these answers.
        left: The answers as they are: by the truth.
        effort: Of each task.
    """

    rows: Indices
    xy: Floats
    present: Bools
    found: Judgement
    left: Judgement
    effort: Effort

    @property
    def truth(self) -> Floats:
        """(n, K, 2) the answers as truth: NaN where a keypoint is said to be absent."""
        return np.where(self.present[..., None], self.xy, np.nan)


@dataclass(frozen=True)
class Reviewer:
    """A simulated person.

    Attributes:
        seed: Of the noise and of what is overlooked.
        noise: Factor on the human standard deviation; 0 places points exactly.
        accept_ks: A point of at least this KS is left where it is.
        overlook: Probability that a pose that needs fixing is submitted as it is.
        costs: Of each act.
    """

    seed: int
    noise: float = 1.0
    accept_ks: float = 0.75
    overlook: float = 0.02
    costs: Costs = COSTS

    def look(self, corpus: Corpus, rows: ArrayLike, *, look: int = ORDINARY, asked: Bools | None = None) -> Answers:
        """Review poses with their pre-labels.

        Args:
            corpus: Of the poses.
            rows: (n,) which.
            look: The same look gives the same answer to the same pose.
            asked: (n, K) keypoints that are asked about, the others are left as they are; None for all.
        """
        rows = np.asarray(rows, np.intp)
        human, misses = self._human(corpus, look)
        human, missed = human[rows], misses[rows] < self.overlook
        about = np.ones(human.shape[:2], bool) if asked is None else asked
        mine, present = corpus.xy[rows], corpus.present[rows]
        direct = self._needed(corpus, rows, mine, present)
        turned = self._needed(corpus, rows, mine[:, corpus.flip], present[:, corpus.flip])
        mirrored = (turned.sum(1) + 1 < direct.sum(1)) & ((turned & about).sum(1) + 1 < (direct & about).sum(1))
        mirrored &= ~missed
        fix = np.where(mirrored[:, None], turned, direct) & about & ~missed[:, None]
        xy = np.where(mirrored[:, None, None], mine[:, corpus.flip], mine)
        inside = np.isfinite(corpus.truth[rows, :, 0])
        answer = np.where((fix & inside)[..., None], human, xy)
        said = np.where(fix, inside, np.where(mirrored[:, None], present[:, corpus.flip], present))
        moved, marked = (fix & inside).sum(axis=1), (fix & ~inside).sum(axis=1)
        effort = review_effort(moved, marked=marked, mirrored=mirrored, costs=self.costs)
        return _answers(corpus, rows, answer, said, effort)

    def by_hand(self, corpus: Corpus, rows: ArrayLike, *, look: int = BLIND, boxed: bool = False) -> Answers:
        """Place every point of some poses without seeing a pre-label.

        Args:
            corpus: Of the poses.
            rows: (n,) which.
            look: As above.
            boxed: Whether the box is shown; otherwise it is drawn too.
        """
        rows = np.asarray(rows, np.intp)
        inside = np.isfinite(corpus.truth[rows, :, 0])
        human = self._human(corpus, look)[0][rows]
        placed = inside.sum(axis=1)
        effort = review_effort(placed, costs=self.costs) if boxed else hand_effort(placed, costs=self.costs)
        return _answers(corpus, rows, np.where(inside[..., None], human, np.nan), inside, effort)

    def _needed(self, corpus: Corpus, rows: Indices, xy: Floats, present: Bools) -> Bools:
        """(n, K) keypoints that a person would correct."""
        truth = corpus.truth[rows]
        inside = np.isfinite(truth[..., 0])
        ks = keypoint_similarity(xy, truth, corpus.area[rows], corpus.sigmas)
        return corpus.scored[rows] & np.where(inside, (np.nan_to_num(ks) < self.accept_ks) | ~present, present)

    def _human(self, corpus: Corpus, look: int) -> tuple[Floats, Floats]:
        """Where a person would place every point of the corpus (N, K, 2), and (N,) luck in overlooking."""
        random = np.random.default_rng([self.seed, look])
        deviation = self.noise * np.sqrt(corpus.area / 2)[:, None] * corpus.sigmas
        noise = deviation[..., None] * random.standard_normal(corpus.truth.shape)
        return corpus.truth + noise, random.random(len(corpus))


def _answers(corpus: Corpus, rows: Indices, xy: Floats, present: Bools, effort: Effort) -> Answers:
    answered = np.where(present[..., None], xy, np.nan)
    found = corpus.judge(rows, corpus.xy[rows], corpus.present[rows], answered)
    return Answers(rows, xy, present, found, corpus.judge(rows, xy, present, corpus.truth[rows]), effort)
