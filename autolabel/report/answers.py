"""What people's answers say by themselves: what their work cost and found, and how far the doubt was right.

Nobody knows the truth of a real project, but people opened poses, and some of these were drawn at random. A pose's
doubt as it was sent, beside what its answer shows, tells whether the doubt can be trusted, because nobody had looked
before; the time, the clicks and what was changed tell what the work cost. An answer shows a pose to be bad where it
throws it out, or puts enough of it elsewhere (the rule of a bad pose).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from autolabel.merge import KeypointChange, Stated, Verdict, read_time
from autolabel.poses import Poses
from autolabel.report.rounds import Score
from autolabel.reviewer_quality import Bools, Judged, Look, Looks, Share, catch_rate, looks_of
from autolabel.score import score_quality
from autolabel.similarity import Floats
from autolabel.skeleton import Skeleton

DRAWN = frozenset({"random", "calibration", "development", "gate"})
"""Kinds of tasks that rounds draw at random among the poses that nobody has opened."""

LEAST = 30
"""Fewer poses do not tell how good a doubt is."""

_BINS, _BIN = 10, 15
"""At most so many bins of a reliability diagram, each of so many poses."""


@dataclass(frozen=True, eq=False)
class Answer:
    """One person's answer about a pose.

    Attributes:
        step: Which step asked: ``round 1`` and so on, or ``audit``.
        kind: What the task was for (``autolabel.labelstudio.tasks.KINDS``).
        look: The answer, and the pose as it was sent.
        p_bad: The pose's doubt as it was sent; NaN where it had none, or one that was no probability.
        image: Where the image is.
        source: The image's path, for people.
        truth: Of a planted pose, the person as they truly are, alone; None where that is not known.
    """

    step: str
    kind: str
    look: Look
    p_bad: float
    image: Path
    source: str
    truth: Poses | None = None


@dataclass(frozen=True)
class Work:
    """What people did in one step, and what came of it.

    Attributes:
        step: Its name.
        opened: Poses and whole images that were opened, each opening.
        clicks: In them.
        seconds: In those that tell their time.
        timed: How many these are.
        ordinary: Openings of a pose with its pre-label that nobody knew to be bad.
        kept: Those of them that were submitted as they came.
        bad: Poses that ordinary answers, and those to random draws, show to have been bad.
        fixed: Keypoints that ordinary answers changed.
        fixed_timed: Those of them in answers that tell their time.
        fixing_seconds: Time of the ordinary answers that tell it.
        drawn: Poses that were drawn at random; a part of them is shown without a pre-label.
        drawn_bad: Those of them that were bad.
    """

    step: str
    opened: int = 0
    clicks: int = 0
    seconds: float = 0.0
    timed: int = 0
    ordinary: int = 0
    kept: int = 0
    bad: int = 0
    fixed: int = 0
    fixed_timed: int = 0
    fixing_seconds: float = 0.0
    drawn: int = 0
    drawn_bad: int = 0

    def __add__(self, other: "Work") -> "Work":
        """Both together, under the first one's name."""
        names = [name for name in Work.__dataclass_fields__ if name != "step"]
        return Work(self.step, *(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True, eq=False)
class Answered:
    """What all answers say.

    Attributes:
        work: Step by step.
        doubt: Doubts as they were sent, of poses drawn at random, against what their answers show; None where there
            are fewer than 30 such poses, or all of them are good, or all bad.
        drawn: Poses drawn at random whose doubt was a probability.
        caught: Planted errors that were found.
        fixed: By keypoint's name, how often ordinary answers changed it.
        ordinary: Ordinary answers.
        swapped: Answers that exchanged joints of two sides, most joints first, and (K,) which.
        missed: Answers that passed a planted error, and (K,) which joints were gross, as far as that is known.
    """

    work: tuple[Work, ...]
    doubt: Score | None
    drawn: int
    caught: Share
    fixed: Mapping[str, int]
    ordinary: int
    swapped: tuple[tuple[Answer, Bools], ...]
    missed: tuple[Answer, ...]


def read_answers(
    given: Iterable[Answer], skeleton: Skeleton, steps: Sequence[str], images: Iterable[Work] = ()
) -> Answered:
    """Work out what answers say.

    Args:
        given: In any order; of several of one person to one task the last counts.
        skeleton: Of the poses.
        steps: Names of the steps, in their order; those that nobody answered for are left out.
        images: What opening each whole image cost.
    """
    answers = _last(given)
    looks = looks_of((answer.look for answer in answers), skeleton.num_keypoints)
    judged = looks.judged(skeleton)
    changed = np.array(
        [[c is not KeypointChange.KEPT for c in answer.look.correction.keypoints] for answer in answers], bool
    ).reshape(len(answers), skeleton.num_keypoints)
    changed &= looks.ordinary[:, None] & ~looks.rejected[:, None]
    drawn = np.array([answer.kind in DRAWN for answer in answers], bool)
    p_bad = np.array([answer.p_bad for answer in answers], np.float64)
    whole = list(images)
    work = [
        sum((part for part in whole if part.step == step), _work(step, answers, looks, judged, changed, drawn))
        for step in steps
    ]
    known = drawn & ~np.isnan(p_bad)
    return Answered(
        work=tuple(done for done in work if done.opened),
        doubt=score_of(p_bad[known], judged.bad[known]),
        drawn=int(known.sum()),
        caught=catch_rate(looks, judged),
        fixed=dict(zip(skeleton.keypoints, changed.sum(axis=0).tolist(), strict=True)),
        ordinary=int(looks.ordinary.sum()),
        swapped=_swapped(answers, skeleton),
        missed=tuple(a for a, bad in zip(answers, judged.bad.tolist(), strict=True) if a.look.planted and not bad),
    )


def _work(step: str, answers: Sequence[Answer], looks: Looks, judged: Judged, changed: Bools, drawn: Bools) -> Work:
    """One step's work."""
    mine = np.array([answer.step == step for answer in answers], bool)
    timed, ordinary = mine & ~np.isnan(looks.seconds), mine & looks.ordinary
    placed = np.isfinite(looks.shown.xy[..., 0]).any(axis=1)  # in a cold start there is no network to be wrong
    bad, fixes = (ordinary | (mine & drawn & placed)) & judged.bad, changed.sum(axis=1)
    return Work(
        step,
        opened=int(mine.sum()),
        clicks=sum(answer.look.correction.clicks for answer in answers if answer.step == step),
        seconds=float(looks.seconds[timed].sum()),
        timed=int(timed.sum()),
        ordinary=int(ordinary.sum()),
        kept=int((ordinary & looks.kept).sum()),
        bad=len(np.unique(looks.about[bad])),
        fixed=int(fixes[mine].sum()),
        fixed_timed=int(fixes[timed].sum()),
        fixing_seconds=float(looks.seconds[timed & ordinary].sum()),
        drawn=len(np.unique(looks.about[mine & drawn])),
        drawn_bad=len(np.unique(looks.about[bad & drawn])),
    )


def score_of(p_bad: ArrayLike, bad: ArrayLike) -> Score | None:
    """How good (N,) doubts are against (N,) truth, NaN left out; None of fewer than 30, or where all are alike."""
    doubt, truth = np.asarray(p_bad, np.float64), np.asarray(bad, bool)
    doubt, truth = doubt[known := np.isfinite(doubt)], truth[known]
    found = score_quality(doubt, truth) if len(truth) >= LEAST else None
    if found is None:
        return None
    return Score(
        found["auroc_bad"],
        tuple((coverage, risk) for coverage, risk in found["risk_coverage"]),
        _reliability(doubt, truth),
    )


def _reliability(p_bad: Floats, bad: Bools) -> tuple[tuple[float, float, int], ...]:
    """Bins of equal mass, few enough that each tells something."""
    order = np.argsort(p_bad, kind="stable")
    bins = min(max(len(order) // _BIN, 1), _BINS)
    return tuple(
        (float(p_bad[rows].mean()), float(bad[rows].mean()), len(rows)) for rows in np.array_split(order, bins)
    )


def exchanged(before: Stated, after: Stated, skeleton: Skeleton) -> Bools:
    """(K,) keypoints that now stand about where their mirror image stood, and the reverse.

    A pair counts where both keypoints have moved nearer to the other's old place than to their own, by more than half
    of the way between the two.
    """
    found = np.zeros(skeleton.num_keypoints, bool)
    old, new = before.xy.astype(np.float64), after.xy.astype(np.float64)
    for i, j in skeleton.flip_pairs:
        apart = np.linalg.norm(old[i] - old[j])
        crossed = np.linalg.norm(new[i] - old[j]) + np.linalg.norm(new[j] - old[i])
        if apart > 0 and crossed < apart:  # NaN, where one of the places is missing, compares as not exchanged
            found[[i, j]] = True
    return found


def _swapped(answers: Sequence[Answer], skeleton: Skeleton) -> tuple[tuple[Answer, Bools], ...]:
    found: list[tuple[Answer, Bools]] = []
    for answer in answers:
        c = answer.look.correction
        joints = exchanged(c.before, c.after, skeleton)
        if answer.look.planted or answer.look.blind:
            continue
        if joints.any() or Verdict.SWAPPED in c.verdict:
            found.append((answer, joints))
    seen = dict[str, tuple[Answer, Bools]]()
    for answer, joints in sorted(found, key=lambda each: -int(each[1].sum())):
        seen.setdefault(answer.look.pose.id, (answer, joints))
    return tuple(seen.values())


def _last(given: Iterable[Answer]) -> list[Answer]:
    """The last answer of each person to each task, in the order that :func:`looks_of` keeps."""
    last: dict[tuple[str, str], Answer] = {}
    for answer in sorted(given, key=lambda answer: read_time(answer.look.correction.when)):
        last[answer.look.correction.by, answer.look.correction.task] = answer
    return sorted(last.values(), key=lambda answer: read_time(answer.look.correction.when))
