"""Ways to spend people's time on a corpus, each charged for every task, and what the corpus is worth meanwhile.

A :class:`Session` is one way at work: it opens tasks in the order that it is told, charges them
(:mod:`autolabel.effort`), and keeps the corpus as people leave it. The simple ways are here: everything by hand, and
pre-labels reviewed in some order. :mod:`pipelines.effort_certified` is the way of this tool. None of them reads the
truth, except through the reviewer's answers and where an order says so; the curve is read from the truth afterwards.

Which network labels is decided outside. Its doubts are asked for before every batch (:class:`Doubting`), so that a
network or a calibrator that learnt in between may speak.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.effort import Effort, QualityCurve, Total
from autolabel.errors import InputError
from pipelines.effort_review import ORDINARY, PLANTED, Answers, Corpus, Reviewer

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Doubts:
    """What is doubted about N poses.

    Attributes:
        p_bad: (N,) probabilities; NaN where there is none.
        p_gross: (N, K) the same of keypoints.
    """

    p_bad: Floats
    p_gross: Floats


class Doubting(Protocol):
    """Learns from answers how much to doubt every pose of the corpus."""

    def __call__(self, answers: Sequence[Answers]) -> Doubts | None:
        """The doubts of all N poses, or None where the answers are too few to learn from.

        Args:
            answers: Of whole poses that were drawn at random, to learn from.
        """
        ...


@dataclass(frozen=True, eq=False)
class _Work:
    """Tasks that were answered, one after the other, and by how much each changed the corpus."""

    kinds: NDArray[np.str_]
    effort: Effort
    gross: Floats
    bad: Floats


@dataclass(eq=False)
class Session:
    """One way to spend effort.

    Attributes:
        corpus: What the network says, and the truth.
        reviewer: Who answers.
        settled: (N,) poses that a person has answered: their labels are that person's.
        gross: (N,) gross keypoints that each pose has now, by the truth.
        bad: (N,) whether it is bad now, by the truth.
    """

    corpus: Corpus
    reviewer: Reviewer
    settled: Bools = field(init=False)
    gross: Floats = field(init=False)
    bad: Bools = field(init=False)
    _start: tuple[float, float] = field(init=False)
    _work: list[_Work] = field(init=False, default_factory=list[_Work])

    def __post_init__(self) -> None:
        start = self.corpus.by_truth()
        self.settled = np.zeros(len(self.corpus), bool)
        self.gross, self.bad = start.gross.sum(axis=1).astype(np.float64), start.bad.copy()
        self._start = float(self.gross.sum()), float(self.bad.sum())

    def open(self, kind: str | Sequence[str], rows: ArrayLike, *, asked: Bools | None = None) -> Answers:
        """Review poses one after the other; their labels are the reviewer's from then on.

        Args:
            kind: Of the tasks, or of each of them, for the bill.
            rows: (n,) in order.
            asked: As in :meth:`Reviewer.look`.

        Raises:
            InputError: A pose is settled already, or named twice.
        """
        return self._settle(kind, self.reviewer.look(self.corpus, self._fresh(rows), asked=asked))

    def by_hand(self, kind: str, rows: ArrayLike) -> Answers:
        """Label people from nothing, one after the other.

        Raises:
            InputError: As :meth:`open`.
        """
        return self._settle(kind, self.reviewer.by_hand(self.corpus, self._fresh(rows), look=ORDINARY))

    def again(self, kind: str, rows: ArrayLike, *, look: int = PLANTED) -> Answers:
        """Show poses of the network once more, in tasks whose answers change nothing."""
        return self._charge(kind, self.reviewer.look(self.corpus, rows, look=look))

    def blind(self, kind: str, rows: ArrayLike) -> Answers:
        """Show boxes without a pre-label, in tasks whose answers change nothing."""
        return self._charge(kind, self.reviewer.by_hand(self.corpus, rows, boxed=True))

    @property
    def open_rows(self) -> Indices:
        """Poses that nobody has answered."""
        return np.flatnonzero(~self.settled)

    @property
    def spent(self) -> Mapping[str, Total]:
        """The effort so far, by kind of task, in the order in which they came first."""
        kinds = [kind for work in self._work for kind in work.kinds.tolist()]
        effort, of = self._effort, np.array(kinds, np.str_)
        return {kind: effort.take(of == kind).total for kind in dict.fromkeys(kinds)}

    @property
    def total(self) -> Total:
        """The effort so far."""
        return self._effort.total

    @property
    def curve(self) -> QualityCurve:
        """What the corpus was worth after each task, by the truth."""
        effort = self._effort
        gross = self._start[0] + _running(*(work.gross for work in self._work))
        bad = self._start[1] + _running(*(work.bad for work in self._work))
        return QualityCurve(
            _running(effort.clicks),
            _running(effort.seconds),
            _running(effort.opened),
            gross / self.corpus.scored.sum(),
            bad / len(self.corpus),
        )

    @property
    def _effort(self) -> Effort:
        return Effort.joined([work.effort for work in self._work])

    def _fresh(self, rows: ArrayLike) -> Indices:
        wanted = np.asarray(rows, np.intp)
        if len(np.unique(wanted)) < len(wanted) or self.settled[wanted].any():
            raise InputError("a pose is opened that was answered already, or it is named twice", subject="session")
        return wanted

    def _settle(self, kind: str | Sequence[str], answers: Answers) -> Answers:
        rows, left = answers.rows, answers.left
        gross, bad = left.gross.sum(axis=1).astype(np.float64), left.bad
        changed = gross - self.gross[rows], bad.astype(np.float64) - self.bad[rows]
        self.settled[rows], self.gross[rows], self.bad[rows] = True, gross, bad
        return self._charge(kind, answers, *changed)

    def _charge(
        self, kind: str | Sequence[str], answers: Answers, gross: Floats | None = None, bad: Floats | None = None
    ) -> Answers:
        nothing = np.zeros(len(answers.rows))
        kinds = np.broadcast_to(np.asarray(kind, np.str_), nothing.shape)
        self._work.append(
            _Work(kinds, answers.effort, nothing if gross is None else gross, nothing if bad is None else bad)
        )
        return answers


def by_hand(corpus: Corpus, reviewer: Reviewer, rng: np.random.Generator) -> Session:
    """Label everybody from nothing, in random order; who is not labelled yet is a bad pose."""
    session = Session(corpus.unlabelled(), reviewer)
    session.by_hand("hand", rng.permutation(len(corpus)))
    return session


def in_order(corpus: Corpus, reviewer: Reviewer, order: ArrayLike) -> Session:
    """Review all pre-labels in some order."""
    session = Session(corpus, reviewer)
    session.open("review", order)
    return session


def _running(*steps: Floats) -> Floats:
    """The sums before, between and after all steps."""
    return np.cumsum(np.concatenate([np.zeros(1), *steps]))
