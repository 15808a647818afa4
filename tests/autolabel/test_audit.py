"""What an audit finds, pose by pose: bad by any answer, put right by the one that stands."""

import numpy as np
import pytest

from autolabel.audit import AuditCounts, find, shown_bad
from autolabel.errors import InputError
from autolabel.poses import Origin, Poses, Visibility
from autolabel.similarity import BadRule
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("lsp14")
K = SKELETON.num_keypoints
RULE = BadRule()


def poses(n: int = 6) -> Poses:
    return Poses.create(
        K,
        id=[f"pose{i}" for i in range(n)],
        xy=np.random.default_rng(5).uniform(20, 180, (n, K, 2)),
        visibility=np.full((n, K), Visibility.VISIBLE),
        origin=np.full((n, K), Origin.MODEL),
        box=np.tile([0.0, 0.0, 200.0, 200.0], (n, 1)),
    )


def wild(shown: Poses, pose: int, keypoints: int) -> Poses:
    xy = shown.xy.copy()
    xy[pose, :keypoints] += 150
    return shown.replace(xy=xy)


def no(n: int = 6) -> np.ndarray:
    return np.zeros(n, bool)


def test_counts_of_every_kind() -> None:
    truth = poses()
    shown = wild(wild(wild(truth, 0, 2), 1, 1), 2, K)
    rejected = no()
    rejected[2] = True
    found = find(shown, truth, rejected, SKELETON, RULE)
    assert found.bad.tolist() == [True, False, True, False, False, False]
    counts = found.counts()
    # Of the rejected pose no keypoint counts.
    assert counts == AuditCounts(audited=6, bad=2, rejected=1, keypoints=5 * K, gross=3)
    assert counts.corrected == 2


def test_what_another_answer_finds_is_bad_and_not_corrected() -> None:
    truth = poses()
    found = find(wild(truth, 0, 2), truth, no(), SKELETON, RULE)
    more = found.found_too(np.array([True, True, False, False, False, True]))
    assert more.bad.tolist() == [True, True, False, False, False, True]
    assert more.corrected.tolist() == [True, False, False, False, False, False]
    assert (more.counts().bad, more.counts().uncorrected, more.counts().corrected) == (3, 2, 1)
    assert found.counts().bad == 1, "the first findings are left alone"


def test_a_part_of_the_audit_is_counted_alone() -> None:
    truth = poses()
    found = find(wild(truth, 0, 2), truth, no(), SKELETON, RULE)
    part = found.among(np.arange(6) > 0).counts()
    assert (part.audited, part.bad, part.gross, part.keypoints) == (5, 0, 0, 5 * K)
    assert found.among(no()).counts() == AuditCounts(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("visibility", "bad"),
    [
        (Visibility.ABSENT, True),  # claimed to be there, and it is not
        (Visibility.HIDDEN, False),
        (Visibility.UNLABELLED, False),  # nobody said anything about these two
    ],
)
def test_what_an_answer_states_about_two_keypoints(visibility: Visibility, bad: bool) -> None:
    truth = poses()
    stated = truth.visibility.copy()
    stated[3, [5, 6]] = visibility
    found = find(truth, truth.replace(visibility=stated), no(), SKELETON, RULE)
    assert found.bad.any() == bad
    assert found.scored[3].sum() == K - 2 * (visibility is Visibility.UNLABELLED)


def test_a_prediction_without_coordinates_is_bad() -> None:
    truth = poses()
    xy, visibility = truth.xy.copy(), truth.visibility.copy()
    xy[1], visibility[1] = np.nan, Visibility.UNLABELLED
    assert find(truth.replace(xy=xy, visibility=visibility), truth, no(), SKELETON, RULE).bad.tolist()[1]


def test_an_answer_that_says_nothing_is_none() -> None:
    truth = poses()
    visibility = truth.visibility.copy()
    visibility[4] = Visibility.UNLABELLED
    silent = truth.replace(visibility=visibility)
    with pytest.raises(InputError, match="pose pose4: an answer that labels no keypoint"):
        find(truth, silent, no(), SKELETON, RULE)
    rejected = no()
    rejected[4] = True
    assert find(truth, silent, rejected, SKELETON, RULE).bad.tolist() == rejected.tolist()
    # Where it only checks somebody, it finds nothing, which counts against whoever gave it.
    assert not shown_bad(wild(truth, 4, K), silent, no(), SKELETON, RULE)[0].any()


def test_no_audit_finds_nothing() -> None:
    none = poses().take(no())
    assert find(none, none, no(0), SKELETON, RULE).counts() == AuditCounts(0, 0, 0, 0, 0)
