"""Networks that get better, or forget, on people whose truth is known by construction."""

import pytest

from autolabel.errors import InputError
from autolabel.report.yardstick import PCK, read_yardstick
from tests.autolabel.report.yardsticks import PEOPLE, placed, standing_samples, yardstick
from tests.standing import COCO


def test_each_network_is_measured_on_the_same_people_and_against_the_first() -> None:
    told = yardstick({0, 1, 2, 3}, {3, 4}, set())
    assert (told.people, [r.round for r in told.readings]) == (PEOPLE, [0, 1, 2])
    assert [r.evaluation.bad_rate for r in told.readings] == [0.5, 0.25, 0.0]
    assert [(r.gained, r.lost) for r in told.readings] == [(0, 0), (3, 1), (4, 0)]
    assert told.first.evaluation.pck[PCK] == pytest.approx(0.5)
    assert told.last.evaluation.mean_oks == pytest.approx(1.0)


def test_intervals_hold_the_number_and_are_the_same_every_time() -> None:
    first, again = yardstick({0, 1}).first, yardstick({0, 1}).first
    found = first.interval("pck", PCK)
    assert found is not None
    assert found["low"] < (first.evaluation.pck[PCK] or 0.0) < found["high"]
    assert again.interval("pck", PCK) == found
    assert first.interval("nothing", "such") is None


def test_a_person_without_a_pose_is_lost() -> None:
    truth = standing_samples()
    gone = [s.with_poses(s.poses.take([])) if i == 0 else s for i, s in enumerate(truth)]
    told = read_yardstick("test", "w", truth, [(0, truth), (2, gone)], COCO)
    assert (told.last.gained, told.last.lost, told.last.evaluation.counts.missed) == (0, 1, 1)


def test_poses_of_other_images_are_refused() -> None:
    with pytest.raises(InputError, match="no image of the predictions"):
        read_yardstick("test", "w", standing_samples()[:2], [(0, placed(set())[4:])], COCO)
