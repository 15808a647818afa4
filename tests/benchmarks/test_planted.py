import numpy as np
import pytest

from autolabel.lint import Kind
from benchmarks.lint import intervals, rates
from benchmarks.planted import Scene, companions, empty_boxes, plant
from tests.standing import COCO, people

N = 40
POSES = people(N, shake=1.0, apart=10).replace(visibility=np.full((N, 17), 2))
OWNER = np.repeat(np.arange(N // 2), 2)
SIZES = np.full((N, 2), 2000.0)
SCENE = Scene(POSES, companions(OWNER, seed=0), empty_boxes(POSES, OWNER, SIZES, seed=0), COCO)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_share_of_the_poses_gets_the_fault_and_the_rest_stays(kind: Kind) -> None:
    planted = plant(kind, SCENE, seed=3, share=0.1)
    assert len(planted.rows) == 4
    rest = np.setdiff1d(np.arange(N), planted.rows)
    assert planted.poses.take(rest).equals(POSES.take(rest))
    assert planted.changed[planted.rows].any(axis=1).all()
    assert not planted.changed[rest].any()
    assert np.array_equal(plant(kind, SCENE, seed=3, share=0.1).poses.xy, planted.poses.xy)
    assert not np.array_equal(plant(kind, SCENE, seed=4, share=0.1).rows, planted.rows)


def test_kinds_differ_in_what_they_change() -> None:
    changed = {kind: plant(kind, SCENE, seed=0, share=0.2) for kind in Kind}
    moved = {kind: (p.poses.xy != POSES.xy).any(axis=2)[p.rows].sum(axis=1) for kind, p in changed.items()}
    assert (moved[Kind.MIRRORED] == 16).all()
    assert set(moved[Kind.LIMB].tolist()) <= {2, 4, 6}
    assert (moved[Kind.BONE] == 1).all()
    assert (moved[Kind.COINCIDENT] == 1).all()
    assert (moved[Kind.OUTSIDE] == 1).all()
    assert set(moved[Kind.NEIGHBOUR].tolist()) <= {1, 2, 3}
    nobody = changed[Kind.NOBODY]
    assert np.array_equal(nobody.poses.box[nobody.rows], SCENE.empty[nobody.rows])


def test_what_has_no_neighbour_or_room_is_left_alone() -> None:
    alone = Scene(POSES, companions(np.arange(N), seed=0), np.full((N, 4), np.nan), COCO)
    assert not len(plant(Kind.NEIGHBOUR, alone, seed=0).rows)
    assert not len(plant(Kind.NOBODY, alone, seed=0).rows)
    filled = POSES.replace(box=np.tile([0.0, 0.0, 2000.0, 2000.0], (N, 1)))
    assert np.isnan(empty_boxes(filled, OWNER, SIZES, seed=0)).all()


def test_rates_and_intervals() -> None:
    counted = np.array([[9.0, 1.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    assert rates(counted.sum(axis=0)).tolist() == [0.9, 0.75]
    ends = intervals(np.repeat(counted, 50, axis=0))
    assert ends[0, 0] <= 0.9 <= ends[1, 0]
    assert ends[0, 1] < 0.75 < ends[1, 1]
    assert np.isnan(intervals(np.zeros((4, 3)))).all()
    assert np.isnan(intervals(np.array([[0.0, 2.0, 0.0]] * 4))[:, 1]).all()  # false findings, nothing planted
