"""Answers of made-up people about made-up poses, for tests of what is measured about reviewers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, Verdict
from autolabel.poses import Origin, Pose, Poses, Visibility
from autolabel.reviewer_quality import Look
from autolabel.skeleton import Skeleton

STICK = Skeleton.from_dict(
    {"name": "stick", "keypoints": ["top", "left_end", "right_end"], "sigmas": [0.05, 0.08, 0.08]}
)
K = STICK.num_keypoints
AREA = 2500.0
SENT = np.array([[50.0, 20.0], [30.0, 80.0], [70.0, 80.0]])


def sent_pose(name: str = "pose-0", xy: ArrayLike = SENT, visibility: ArrayLike = (2,) * K) -> Pose:
    """A pose as a model made it."""
    origin = np.full((1, K), Origin.MODEL)
    return Poses.create(
        K,
        id=[name],
        xy=[xy],
        visibility=[visibility],
        box=[[20.0, 10.0, 80.0, 90.0]],
        area=[AREA],
        origin=origin,
        by=["net"],
    )[0]


def look(
    by: str,
    to: dict[int, tuple[float, float]] | None = None,
    *,
    pose: Pose | None = None,
    said: dict[int, Visibility] | None = None,
    rejected: bool = False,
    planted: bool = False,
    blind: bool = False,
    seconds: float | None = 5.0,
    minute: int = 0,
    task: str = "",
    verdict: Sequence[Verdict] = (),
    routing: str = "r",
) -> Look:
    """An answer that places keypoints ``to`` somewhere else and says ``said`` about some; a blind one places all."""
    pose = pose or sent_pose()
    before = Stated.of(pose)
    xy, visibility = pose.xy.copy(), pose.visibility.copy()
    changes = [KeypointChange.MOVED if blind else KeypointChange.KEPT] * K
    for k, place in (to or {}).items():
        xy[k], changes[k] = place, KeypointChange.MOVED
    for k, value in (said or {}).items():
        visibility[k] = value
        changes[k] = KeypointChange.REMOVED if value == Visibility.ABSENT else KeypointChange.MARKED
    correction = Correction(
        pose=pose.id,
        sample=("s0", "images", "0.png"),
        change=PoseChange.REJECTED if rejected else PoseChange.KEPT,
        keypoints=tuple(changes),
        before=before,
        after=before if rejected else Stated(xy, visibility, pose.box),
        state=State.REJECTED if rejected else State.REVIEWED,
        verdict=tuple(verdict),
        by=by,
        when=f"2026-01-02T10:{minute:02}:00+00:00",
        seconds=seconds,
        clicks=1,
        task=task or f"{pose.id} {planted} {blind}",
    )
    return Look(correction, pose, routing, planted, blind)
