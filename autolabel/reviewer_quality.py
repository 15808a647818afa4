"""How well people review: errors found, what a pre-label persuades them of, how much they leave, how long they take.

It is measured on their own answers. *Planted* tasks show a pose that is known to be bad. *Blind* tasks show nothing, so
that what a person places there was suggested by nobody; the same pose is answered with its pre-label too, and where the
blind answer shows the pre-label to be bad, the other should have. How far answers agree is ``autolabel/agreement.py``.

All shares come with two-sided 95 % intervals of Clopper and Pearson (``autolabel/bounds.py``), which hold where the
tasks of a person are like tosses of one coin. ``certify`` measures the same in one number for all
(``autolabel/reviewers.py``) and counts a planted task that nobody answered as not found; here only answers count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr  # pyright: ignore[reportMissingTypeStubs]  # it has none

from autolabel.audit import shown_bad
from autolabel.bounds import lower_bound
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, read_time
from autolabel.poses import Pose, Poses
from autolabel.similarity import DEFAULT_RULE, BadRule
from autolabel.skeleton import Skeleton

CONFIDENCE = 0.95
"""Of the two-sided intervals: half of the rest on either side."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Share:
    """How often something came true.

    Attributes:
        hits: How often it did.
        of: How often it could have.
    """

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None where there was nothing."""
        return self.hits / self.of if self.of else None

    @property
    def limits(self) -> tuple[float, float]:
        """Two-sided Clopper-Pearson interval at :data:`CONFIDENCE`; (0, 1) where there was nothing."""
        side = 1 - (1 - CONFIDENCE) / 2
        return lower_bound(self.hits, self.of, side), 1 - lower_bound(self.of - self.hits, self.of, side)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"hits": self.hits, "of": self.of, "share": self.value, "limits": list(self.limits)}


@dataclass(frozen=True)
class Anchoring:
    """The same poses answered blind and with the pre-label.

    Attributes:
        poses: Poses that were answered both ways.
        blind_bad: Those that a blind answer shows to be bad.
        shown_bad: Those that the answers with the pre-label show to be bad.
        both: Those that both do.
        keypoints: Keypoints that blind answers show to be gross in the pre-label, and of these the ones that stayed
            untouched in an answer that was given with it. Those of one pose depend on each other: no interval is meant.
    """

    poses: int
    blind_bad: int
    shown_bad: int
    both: int
    keypoints: Share

    @property
    def overlooked(self) -> Share:
        """Bad pre-labels, as blind answers tell, that were let pass by those who saw them."""
        return Share(self.blind_bad - self.both, self.blind_bad)

    @property
    def difference(self) -> float | None:
        """Share of bad poses found blind, less the share found with the pre-label; None where there were none."""
        return (self.blind_bad - self.shown_bad) / self.poses if self.poses else None

    @property
    def chance(self) -> float:
        """McNemar's exact two-sided p: how likely at least such a difference is where a pre-label changes nothing."""
        only_blind, only_shown = self.blind_bad - self.both, self.shown_bad - self.both
        few, discordant = min(only_blind, only_shown), only_blind + only_shown
        return min(1.0, 2 * float(bdtr(few, discordant, 0.5))) if discordant else 1.0

    def words(self) -> str:
        """One sentence for people; it is about poses that were answered both ways."""
        return (
            f"Of {self.poses} poses that were answered blind and with their pre-label, {self.blind_bad} are bad by the "
            f"blind answers and {self.shown_bad} by the others, {self.both} by both "
            f"(McNemar's exact p {self.chance:.2g})."
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "poses": self.poses,
            "blind_bad": self.blind_bad,
            "shown_bad": self.shown_bad,
            "both": self.both,
            "overlooked": self.overlooked.to_dict(),
            "difference": self.difference,
            "chance": self.chance,
            "keypoints_left": {"hits": self.keypoints.hits, "of": self.keypoints.of, "share": self.keypoints.value},
        }


@dataclass(frozen=True)
class Look:
    """One usable answer of one person to one task.

    Attributes:
        correction: What the person found and left.
        pose: As it was sent.
        routing: What sent it: answers about one pose of one routing are about the same pre-label.
        planted: Whether the pose was known to be bad.
        blind: Whether the task showed no keypoints.
    """

    correction: Correction
    pose: Pose
    routing: str
    planted: bool = False
    blind: bool = False


@dataclass(frozen=True, eq=False)
class Judged:
    """What N answers show about the poses that they were given to, as these were sent.

    Attributes:
        bad: (N,) poses that are bad.
        gross: (N, K) keypoints that are gross.
    """

    bad: Bools
    gross: Bools


@dataclass(frozen=True, eq=False)
class Looks:
    """N answers, the last of each person to each task.

    Attributes:
        who: (N,) who answered.
        about: (N,) the same number for the same pose of the same routing.
        planted: (N,) answers to planted tasks.
        blind: (N,) answers to tasks that showed no keypoints.
        shown: The N poses as they were sent.
        left: The same poses as the people left them.
        rejected: (N,) answers that throw the pose out.
        kept: (N,) answers that change nothing at all.
        placed: (N, K) keypoints that the person placed: moved or added.
        seconds: (N,) how long it took, NaN where unknown.
    """

    who: NDArray[np.str_]
    about: NDArray[np.intp]
    planted: Bools
    blind: Bools
    shown: Poses
    left: Poses
    rejected: Bools
    kept: Bools
    placed: Bools
    seconds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.who)

    @property
    def ordinary(self) -> Bools:
        """(N,) answers that were given with a pre-label, to poses that nobody knew to be bad."""
        return ~self.planted & ~self.blind

    @property
    def untouched(self) -> Bools:
        """(N, K) keypoints that the person left in their place and said nothing else about."""
        same = self.shown.visibility == self.left.visibility
        return np.asarray(~self.placed & same & ~self.rejected[:, None])

    def judged(self, skeleton: Skeleton, rule: BadRule = DEFAULT_RULE) -> Judged:
        """What the answers show, by the skeleton's sigmas."""
        return Judged(*shown_bad(self.shown, self.left, self.rejected, skeleton, rule))


def looks_of(answers: Iterable[Look], num_keypoints: int) -> Looks:
    """Put answers together; of several of one person to one task the last counts."""
    last: dict[tuple[str, str], Look] = {}
    for look in sorted(answers, key=lambda look: read_time(look.correction.when)):
        last[look.correction.by, look.correction.task] = look
    looks = list(last.values())
    numbers: dict[tuple[str, str], int] = {}
    about = [numbers.setdefault((look.routing, look.pose.id), len(numbers)) for look in looks]
    corrections = [look.correction for look in looks]
    shown = _poses([look.pose for look in looks], num_keypoints)
    changes = [[change in _PLACED for change in c.keypoints] for c in corrections]
    return Looks(
        who=np.array([c.by for c in corrections], np.str_),
        about=np.array(about, np.intp),
        planted=np.array([look.planted for look in looks], bool),
        blind=np.array([look.blind for look in looks], bool),
        shown=shown,
        left=_left(shown, corrections),
        rejected=np.array([c.state is State.REJECTED for c in corrections], bool),
        kept=np.array([_kept(c) for c in corrections], bool),
        placed=np.array(changes, bool).reshape(len(looks), num_keypoints),
        seconds=np.array([np.nan if c.seconds is None else c.seconds for c in corrections], np.float64),
    )


def catch_rate(looks: Looks, judged: Judged, chosen: Bools | None = None) -> Share:
    """Planted errors that were found: an answer finds one where it shows the pose to be bad.

    Args:
        looks: All answers.
        judged: What they show.
        chosen: (N,) the answers that count, by default all.
    """
    mine = looks.planted if chosen is None else looks.planted & chosen
    return Share(int(judged.bad[mine].sum()), int(mine.sum()))


def kept_rate(looks: Looks, chosen: Bools | None = None) -> Share:
    """Ordinary tasks that were submitted as they came; many of them beside few found errors are a rubber stamp."""
    mine = looks.ordinary if chosen is None else looks.ordinary & chosen
    return Share(int(looks.kept[mine].sum()), int(mine.sum()))


def anchoring(looks: Looks, judged: Judged, chosen: Bools | None = None) -> Anchoring:
    """Compare answers that were given with a pre-label with blind ones about the same poses.

    A pose counts as bad by its blind answers if one of them says so, and as found with the pre-label only if every
    counted answer says so, as in a certificate.

    Args:
        looks: All answers.
        judged: What they show.
        chosen: (N,) the ordinary answers that count, by default all; blind answers count whoever gave them.
    """
    ordinary = np.flatnonzero(looks.ordinary if chosen is None else looks.ordinary & chosen)
    blind = np.flatnonzero(looks.blind)
    poses = int(looks.about.max(initial=-1)) + 1
    passed, found = np.zeros(poses, bool), np.zeros(poses, bool)
    passed[looks.about[ordinary[~judged.bad[ordinary]]]] = True
    found[looks.about[blind[judged.bad[blind]]]] = True
    both_ways = np.intersect1d(looks.about[blind], looks.about[ordinary])
    by_blind, by_shown = found[both_ways], ~passed[both_ways]
    gross_blind = np.zeros((poses, judged.gross.shape[1]), bool)
    np.logical_or.at(gross_blind, looks.about[blind], judged.gross[blind])
    wrong = gross_blind[looks.about[ordinary]]
    return Anchoring(
        poses=len(both_ways),
        blind_bad=int(by_blind.sum()),
        shown_bad=int(by_shown.sum()),
        both=int((by_blind & by_shown).sum()),
        keypoints=Share(int((wrong & looks.untouched[ordinary]).sum()), int(wrong.sum())),
    )


def median_seconds(looks: Looks, chosen: Bools) -> float | None:
    """Median time of the chosen (N,) answers, which one left open over lunch does not move; None where unknown."""
    known = looks.seconds[chosen & ~np.isnan(looks.seconds)]
    return float(np.median(known)) if len(known) else None


_PLACED = (KeypointChange.MOVED, KeypointChange.ADDED)


def _kept(c: Correction) -> bool:
    untouched = all(change is KeypointChange.KEPT for change in c.keypoints)
    return untouched and c.change is PoseChange.KEPT and c.state is State.REVIEWED and not c.verdict


def _poses(poses: Sequence[Pose], num_keypoints: int) -> Poses:
    names = ("id", "xy", "score", "presence", "visibility", "box", "area", "origin", "by")
    return Poses.create(num_keypoints, **{name: [getattr(pose, name) for pose in poses] for name in names})


def _left(shown: Poses, corrections: Sequence[Correction]) -> Poses:
    """What the answers made of the N poses that they were given to."""
    if not corrections:
        return shown
    moved = np.array([c.change is PoseChange.BOX_MOVED for c in corrections])
    after: list[Stated] = [c.after for c in corrections]
    return shown.replace(
        xy=np.stack([stated.xy for stated in after]),
        visibility=np.stack([stated.visibility for stated in after]),
        box=np.where(moved[:, None], np.stack([stated.box for stated in after]), shown.box),
        area=np.where(moved, np.nan, shown.area),
    )
