"""People whose truth is known by construction, and networks that place some of them elsewhere."""

from collections.abc import Collection

import numpy as np

from autolabel.poses import Sample
from autolabel.report.yardstick import Yardstick, read_yardstick
from tests.standing import COCO, people

PEOPLE = 8


def standing_samples() -> list[Sample]:
    """Eight images of one person each."""
    poses = people(PEOPLE)
    return [Sample(f"{i:064x}", "images", f"{i}.png", (200, 200), poses.take([i])) for i in range(PEOPLE)]


def placed(wrong: Collection[int], by: float = 60.0) -> list[Sample]:
    """The same people, some of whom stand elsewhere altogether."""
    return [
        s.with_poses(s.poses.replace(xy=s.poses.xy + np.float32(by))) if i in wrong else s
        for i, s in enumerate(standing_samples())
    ]


def mirrored(who: Collection[int]) -> list[Sample]:
    """The same people, some of whom have left and right exchanged."""
    return [
        s.with_poses(s.poses.replace(xy=s.poses.xy[:, list(COCO.flip)])) if i in who else s
        for i, s in enumerate(standing_samples())
    ]


def yardstick(*wrong: Collection[int], name: str = "held-out test") -> Yardstick:
    """Of networks that each place these people wrongly, after rounds 0, 1 and so on."""
    by_round = ((n, placed(who)) for n, who in enumerate(wrong))
    return read_yardstick(name, "people who never train", standing_samples(), by_round, COCO)
