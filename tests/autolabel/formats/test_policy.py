from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autolabel.formats.policy import ImagePolicy, select, settled
from autolabel.poses import Poses, Sample


def sample(*states: Any, box: Any = (0, 0, 9, 9), **given: Any) -> Sample:
    n = len(states)
    poses = Poses.create(
        1,
        xy=np.ones((n, 1, 2)),
        score=np.ones((n, 1)),
        visibility=np.full((n, 1), 2),
        box=[box] * n,
        area=np.full(n, 40.0),
        attributes=[{} if state is None else {"state": state} for state in states],
        **given,
    )
    return Sample("0" * 32, "images", "a.jpg", (10, 10), poses)


@pytest.mark.parametrize(
    ("state", "is_settled"),
    [
        (None, True),
        ("", True),
        ("accepted", True),
        ("reviewed", True),
        ("rejected", True),  # by a person
        ("review", False),
        ("audit", False),
        ("expert", False),
        ("rejected by the model", False),  # any other word
        (["review"], False),  # no word at all: attributes hold what a table said
        (0, False),
    ],
)
def test_settled(state: Any, is_settled: bool) -> None:
    assert settled(sample(state).poses).tolist() == [is_settled]


def test_what_a_person_rejected_is_not_written_except_as_it_stands() -> None:
    some = sample("reviewed", "rejected")
    for policy in (ImagePolicy.COMPLETE, ImagePolicy.IGNORE_REGIONS):
        kept = select(some, policy)
        assert kept is not None and [a["state"] for a in kept.poses.attributes] == ["reviewed"]
    assert select(some, ImagePolicy.ALL) is some
    image = replace(sample("reviewed"), attributes={"state": "rejected"})
    assert select(image, ImagePolicy.COMPLETE) is select(image, ImagePolicy.IGNORE_REGIONS) is None
    assert select(image, ImagePolicy.ALL) is image


def test_a_crowd_region_is_settled() -> None:
    assert settled(sample("review", crowd=[True]).poses).tolist() == [True]


@pytest.mark.parametrize("policy", list(ImagePolicy))
def test_settled_images_pass_untouched(policy: ImagePolicy) -> None:
    done = sample(None, "accepted")
    assert select(done, policy) is done
    nobody = sample()
    assert select(nobody, policy) is nobody


def test_policies_on_an_unsettled_image() -> None:
    mixed = sample("accepted", "review")
    assert select(mixed, ImagePolicy.COMPLETE) is None
    assert select(mixed, ImagePolicy.ALL) is mixed
    kept = select(mixed, ImagePolicy.IGNORE_REGIONS)
    assert kept is not None
    assert kept.poses.crowd.tolist() == [False, True]
    assert kept.poses.visibility.tolist() == [[2], [0]]
    assert np.isnan(kept.poses.xy[1]).all() and np.isnan(kept.poses.area[1])
    assert kept.poses[0].xy.tolist() == mixed.poses[0].xy.tolist()


def test_an_unsettled_pose_without_a_box_cannot_be_a_region() -> None:
    assert select(sample("review", box=[np.nan] * 4), ImagePolicy.IGNORE_REGIONS) is None
