"""Several people's answers to one task, made one: per keypoint the answer that the others support most.

Of every person the last answer counts. Two people support each other at a keypoint by the KS of their points
(``autolabel.similarity``); fully where both say that it is absent, and not at all where one places it and the other
does not. At each keypoint the answer with the largest sum of support is taken as it stands, point, visibility and
change together, so that no point is made up and what nobody moved stays bit by bit; of equal ones the later is taken.
With three people the one who errs is outvoted; with two there is no majority, and a keypoint where nobody's support
reaches ``agree`` is *disputed*.

The pose is reviewed, rejected or sent to an expert as more than half of the people say. Without such a majority, or
with a disputed keypoint, it is sent to an expert: not settled, whatever point was taken. A verdict or a moved box
counts where more than half of those whose points are taken said it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autolabel.merge import Correction, PoseChange, State, Stated, Verdict, read_time
from autolabel.poses import Visibility
from autolabel.similarity import DEFAULT_RULE, Floats, keypoint_similarity

_PLACED = (Visibility.HIDDEN, Visibility.VISIBLE)


@dataclass(frozen=True, eq=False)
class Consensus:
    """What several people say together.

    Attributes:
        correction: As one answer, by all of them, at the time of the last.
        people: Who, in the order of their last answers.
        agreement: Mean OKS over the pairs of people who did not reject the pose; a keypoint that only one of two
            placed counts 0. NaN where there is no such pair, or no keypoint.
        disputed: Keypoints at which nobody supports anybody.
    """

    correction: Correction
    people: tuple[str, ...]
    agreement: float
    disputed: tuple[int, ...]


def consensus(
    answers: Iterable[Correction], area: float, sigmas: Sequence[float], *, agree: float = DEFAULT_RULE.gross_ks
) -> Consensus:
    """Make the answers to one task one.

    Args:
        answers: At least one, all about the same pose as it was sent.
        area: Of the pose, in square image pixels (``similarity_area``).
        sigmas: (K,) of its skeleton.
        agree: The least KS of two people who agree.
    """
    last = {answer.by: answer for answer in sorted(answers, key=lambda c: read_time(c.when))}
    people = sorted(last.values(), key=lambda c: read_time(c.when))
    state = _majority([answer.state for answer in people])
    # Who rejects a pose has placed nothing.
    placing = [answer for answer in people if (answer.state is State.REJECTED) == (state is State.REJECTED)] or people
    support = _support(placing, area, np.asarray(sigmas, np.float64))
    alone = support.max(axis=1, initial=0.0).max(axis=0) < agree
    disputed = np.flatnonzero(alone) if len(placing) > 1 and state is not State.REJECTED else np.zeros(0, np.intp)
    settled = len(people) == 1 or (state is not None and not len(disputed))
    taken = _taken(placing, support)
    correction = replace(
        taken,
        state=(state or State.EXPERT) if settled else State.EXPERT,
        by=", ".join(sorted(last)),
        when=people[-1].when,
        seconds=None if any(c.seconds is None for c in people) else sum(c.seconds or 0.0 for c in people),
        clicks=sum(c.clicks for c in people),
    )
    return Consensus(correction, tuple(c.by for c in people), _agreement(placing, support), tuple(disputed.tolist()))


def _majority(states: Sequence[State]) -> State | None:
    return next((state for state in State if 2 * states.count(state) > len(states)), None)


def _support(answers: Sequence[Correction], area: float, sigmas: Floats) -> Floats:
    """(P, P, K) how much P people support each other; 0 with themselves."""
    xy = np.stack([c.after.xy for c in answers]).astype(np.float64)
    visibility = np.stack([c.after.visibility for c in answers])
    placed = _placed(answers)
    ks = np.nan_to_num(keypoint_similarity(xy[:, None], xy[None], np.float64(area), sigmas))
    same = (visibility[:, None] == visibility[None]) & ~placed[:, None] & ~placed[None]
    support = np.where(placed[:, None] & placed[None], ks, same.astype(np.float64))
    support[np.arange(len(answers)), np.arange(len(answers))] = 0.0
    return support


def _placed(answers: Sequence[Correction]) -> NDArray[np.bool_]:
    """(P, K) keypoints that a person states a place of."""
    return np.stack([np.isin(c.after.visibility, _PLACED) & ~np.isnan(c.after.xy[:, 0]) for c in answers])


def _agreement(answers: Sequence[Correction], support: Floats) -> float:
    placed = _placed(answers)
    pairs = [(i, j) for i in range(len(answers)) for j in range(i) if (placed[i] | placed[j]).any()]
    values = [support[i, j, placed[i] | placed[j]].mean() for i, j in pairs]
    return float(np.mean(values)) if values else float("nan")


def _taken(answers: Sequence[Correction], support: Floats) -> Correction:
    """The answers' keypoints with most support, as one answer; of equal ones the last."""
    from_the_last = support.sum(axis=1)[::-1].argmax(axis=0)
    rows = [(k, len(answers) - 1 - int(back)) for k, back in enumerate(from_the_last)]
    moved = [c for c in answers if c.change is PoseChange.BOX_MOVED]
    boxed = moved[-1] if 2 * len(moved) > len(answers) else None
    last = answers[-1]
    change = PoseChange.BOX_MOVED if boxed else PoseChange.KEPT
    return replace(
        last,
        change=PoseChange.REJECTED if last.change is PoseChange.REJECTED else change,
        keypoints=tuple(answers[i].keypoints[k] for k, i in rows),
        after=Stated(
            np.stack([answers[i].after.xy[k] for k, i in rows]),
            np.array([answers[i].after.visibility[k] for k, i in rows], np.uint8),
            boxed.after.box if boxed else last.before.box,
        ),
        verdict=tuple(v for v in Verdict if 2 * sum(v in c.verdict for c in answers) > len(answers)),
    )
