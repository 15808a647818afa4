"""Who or what placed each keypoint of a pose, when, and how far it was moved.

What a pose states is compared with its history in the ledger (:mod:`autolabel.ledger`), bit by bit: a keypoint's place
and visibility stand since the answer that last made them what they are. Where no answer did, the network that the pose
was sent with placed it; where the pose states something that the history does not know, only what the pose says of
itself (``origin``, ``by``, ``state``) is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autolabel.ledger import Entry
from autolabel.merge import SEEN, KeypointChange, PoseChange, Stated, read_time
from autolabel.poses import Origin, Pose, Visibility
from autolabel.skeleton import Skeleton


@dataclass(frozen=True)
class Step:
    """What one answer did to one keypoint.

    Attributes:
        by: Who.
        when: ISO 8601 time.
        change: What was done.
        distance: How far it was moved in pixels; None where it had or has no place.
        before: (x, y) in pixels when the person saw it; None where it had no place.
        after: (x, y) since.
        said: What is said about it since: ``unlabelled``, ``hidden``, ``visible`` or ``absent``.
        seconds: How long the whole task took, or None when unknown.
        kind: What the task was for.
        task: Key of the task.
        laid: Whether the answer may be laid over the pose.
    """

    by: str
    when: str
    change: str
    distance: float | None
    before: tuple[float, float] | None
    after: tuple[float, float] | None
    said: str
    seconds: float | None
    kind: str
    task: str
    laid: bool


@dataclass(frozen=True)
class Placed:
    """One keypoint as it stands, and how it came there.

    Attributes:
        keypoint: Its name.
        place: (x, y) in pixels; None where it has none.
        said: What is said about it: ``unlabelled``, ``hidden``, ``visible`` or ``absent``.
        origin: What kind of hand placed it: ``none``, ``model``, ``human`` or ``imported``.
        by: Who or what that was; "" where nobody wrote it down.
        since: ISO 8601 time since when it stands like this; "" where nobody wrote it down.
        distance: How far it stands from where it was first sent, in pixels; None where that is unknown.
        confirmed: Who saw it later and left it as it is, in the order of their answers.
        steps: All that was done to it, the oldest first.
    """

    keypoint: str
    place: tuple[float, float] | None
    said: str
    origin: str
    by: str
    since: str
    distance: float | None
    confirmed: tuple[str, ...]
    steps: tuple[Step, ...]


def blame_pose(pose: Pose, history: Sequence[Entry], skeleton: Skeleton) -> tuple[Placed, ...]:
    """Who or what placed each of the K keypoints of a pose.

    Args:
        pose: As it stands now.
        history: Every answer about it, in any order; none where there is no ledger.
        skeleton: Gives the names.
    """
    entries = sorted(history, key=lambda entry: read_time(entry.correction.when))
    return tuple(_placed(k, name, pose, entries) for k, name in enumerate(skeleton.keypoints))


def _placed(k: int, name: str, pose: Pose, entries: Sequence[Entry]) -> Placed:
    now = Stated.of(pose)
    laid = [entry for entry in entries if entry.laid]
    made = _maker(k, now, laid)
    origin, by, since = Origin(int(pose.origin[k])), _signed(k, pose), ""
    if made is not None:
        origin, by, since = Origin.HUMAN, made.correction.by, made.correction.when
    elif laid and _same(k, now, laid[0].correction.before):
        origin, by, since = Origin(int(laid[0].origin[k])), laid[0].model, laid[0].sent
    start = laid.index(made) + 1 if made is not None else 0
    return Placed(
        keypoint=name,
        place=_place(now, k),
        said=_said(now, k),
        origin=origin.name.lower(),
        by=by,
        since=since,
        distance=_number(laid[0].correction.before.distance(now)[k]) if laid else None,
        confirmed=tuple(dict.fromkeys(entry.correction.by for entry in laid[start:] if _confirms(k, now, entry))),
        steps=tuple(_step(k, entry) for entry in entries),
    )


def _maker(k: int, now: Stated, laid: Sequence[Entry]) -> Entry | None:
    """The last answer that changed keypoint k into what it is now; None where none did.

    A person's own is named before what was made of several people's: that took the point from one of them.
    """
    own = [entry for entry in laid if entry.annotation]
    made = [entry for entry in laid if not entry.annotation]
    for entry in (*reversed(own), *reversed(made)):
        correction = entry.correction
        if correction.keypoints[k] is not KeypointChange.KEPT and _same(k, now, correction.after):
            return entry
    return None


def _confirms(k: int, now: Stated, entry: Entry) -> bool:
    correction = entry.correction
    kept = correction.keypoints[k] is KeypointChange.KEPT and correction.change is not PoseChange.REJECTED
    return bool(entry.annotation) and kept and _same(k, now, correction.after)


def _same(k: int, a: Stated, b: Stated) -> bool:
    return not bool(a.differs(b)[k])


def _signed(k: int, pose: Pose) -> str:
    """Who the pose itself says placed keypoint k: its signature is that of whoever stated the pose last."""
    by_person = pose.attributes.get("state") in SEEN
    mine = by_person == (pose.origin[k] == Origin.HUMAN)
    return pose.by if mine and pose.origin[k] != Origin.NONE else ""


def _step(k: int, entry: Entry) -> Step:
    c = entry.correction
    return Step(
        by=c.by,
        when=c.when,
        change=PoseChange.REJECTED.value if c.change is PoseChange.REJECTED else c.keypoints[k].value,
        distance=_number(c.distance[k]),
        before=_place(c.before, k),
        after=_place(c.after, k),
        said=_said(c.after, k),
        seconds=c.seconds,
        kind=entry.kind,
        task=c.task,
        laid=entry.laid,
    )


def _place(stated: Stated, k: int) -> tuple[float, float] | None:
    x, y = stated.xy[k].tolist()
    return None if np.isnan(x) else (x, y)


def _said(stated: Stated, k: int) -> str:
    return Visibility(int(stated.visibility[k])).name.lower()


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
