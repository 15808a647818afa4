"""Images whose poses are in every state, for what counts a dataset and what writes its card."""

from dataclasses import replace
from typing import Any

import numpy as np

from autolabel.poses import Origin, Poses, Sample, Visibility

K = 4


def sample(i: int, *states: Any, **given: Any) -> Sample:
    """An image whose poses are in these states; of four keypoints a person placed one and nobody the last."""
    n = len(states)
    xy = np.ones((n, K, 2))
    xy[:, 3] = np.nan
    poses = Poses.create(
        K,
        id=[f"{i}-{j}" for j in range(n)],
        xy=xy,
        visibility=[[Visibility.VISIBLE, Visibility.VISIBLE, Visibility.HIDDEN, Visibility.ABSENT]] * n,
        origin=[[Origin.MODEL, Origin.MODEL, Origin.HUMAN, Origin.HUMAN]] * n,
        by=["somebody" if state == "reviewed" else "net" for state in states],
        attributes=[{} if state is None else {"state": state} for state in states],
    )
    return replace(Sample(f"{i:032x}", "corpus", f"{i}.jpg", (9, 9), poses), **given)


SAMPLES = [
    sample(0, "accepted", "reviewed", group="film"),
    sample(1, "accepted", "review"),  # left out: somebody is not settled
    sample(2, "reviewed", "rejected", duplicate_of="0.jpg"),
    sample(3),  # background
    sample(4, "reviewed", attributes={"state": "rejected"}),
    sample(5, "boxed", "expert"),
    sample(6, None, ["?"]),
]
