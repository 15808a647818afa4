"""Where things are drawn, measured in the drawn pixels, and in which colours."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageColor

from autolabel.poses import Poses, Visibility
from autolabel.report.overlay import MARK, PAPER, View, draw_poses, pose_view, whole_view
from autolabel.skeleton import SIDE_COLORS, Skeleton

SKELETON = Skeleton.from_dict(
    {
        "name": "stick",
        "keypoints": ["left_end", "right_end", "middle"],
        "edges": [[0, 2], [0, 1]],
        "flip_pairs": [[0, 1]],
    }
)
LEFT, RIGHT, CENTRE = (ImageColor.getrgb(SIDE_COLORS[side]) for side in ("left", "right", "centre"))
GREY = np.full((60, 80, 3), 90, np.uint8)


def stick(*joints: tuple[float, float, int], box: tuple[float, ...] = (10, 10, 70, 50)) -> Poses:
    """One pose; a joint is (x, y, visibility)."""
    xy = [[(x, y) for x, y, _ in joints]]
    return Poses.create(3, xy=xy, visibility=[[v for _, _, v in joints]], box=[box])


def near(picture: NDArray[np.uint8], color: tuple[int, ...], tolerance: int = 40) -> NDArray[np.bool_]:
    return (np.abs(picture.astype(int) - color[:3]) <= tolerance).all(axis=-1)


def centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    y, x = np.nonzero(mask)
    assert len(x), "nothing of this colour was drawn"
    return float(x.mean()), float(y.mean())


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.5])
def test_a_joint_lies_where_its_pixel_lies(scale: float) -> None:
    pose = stick((20, 30, 2), (60, 15, 2), (0, 0, Visibility.ABSENT))
    only_joints = Skeleton.from_dict({**SKELETON.to_dict(), "edges": []})
    picture = draw_poses(GREY, pose, only_joints, view=whole_view(GREY, scale), boxes=False)
    assert picture.shape == (round(60 * scale), round(80 * scale), 3)
    for color, (x, y) in ((LEFT, (20, 30)), (RIGHT, (60, 15))):
        expected = np.array([x + 0.5, y + 0.5]) * scale - 0.5  # pixel centres of both lie at integers
        assert centre(near(picture, color)) == pytest.approx(expected, abs=0.3)


def test_limbs_take_the_colour_of_their_side() -> None:
    pose = stick((20, 40, 2), (60, 40, 2), (20, 12, 2))
    picture = draw_poses(GREY, pose, SKELETON, boxes=False)
    assert near(picture, LEFT)[26, 20]  # left to middle
    assert near(picture, CENTRE)[40, 40]  # from side to side
    assert near(picture, CENTRE)[12, 20]  # the middle joint itself


@pytest.mark.parametrize(("visibility", "hollow"), [(Visibility.VISIBLE, False), (Visibility.HIDDEN, True)])
def test_hidden_joints_are_hollow(visibility: Visibility, hollow: bool) -> None:
    pose = stick((20, 30, 2), (60, 30, visibility), (0, 0, Visibility.ABSENT))
    picture = draw_poses(GREY, pose, SKELETON, view=whole_view(GREY, 4), boxes=False)
    assert near(picture, (90, 90, 90), 2)[122, 242] == hollow
    assert near(picture, RIGHT).any()


def test_what_is_not_claimed_is_not_drawn() -> None:
    absent = stick(*[(20, 30, Visibility.ABSENT)] * 3)
    assert (draw_poses(GREY, absent, SKELETON, boxes=False) == GREY).all()
    nowhere = Poses.create(3, box=[(10, 10, 70, 50)])
    assert (draw_poses(GREY, nowhere, SKELETON, boxes=False) == GREY).all()
    assert (draw_poses(GREY, Poses.empty(3), SKELETON) == GREY).all()
    doubted = stick(*[(20, 30, 0)] * 3).replace(presence=np.full((1, 3), 0.2), origin=np.ones((1, 3)))
    assert (draw_poses(GREY, doubted, SKELETON, boxes=False) == GREY).all()


def test_boxes_are_edges() -> None:
    pose = Poses.create(3, box=[(10, 20, 70, 50)])
    drawn = (draw_poses(GREY, pose, SKELETON, view=whole_view(GREY, 3)) != 90).any(axis=-1)
    y, x = np.nonzero(drawn)
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((30, 209, 60, 149), abs=1)
    assert not drawn[75:140, 45:190].any()


def test_rings_and_moves_are_drawn_on_demand() -> None:
    pose = stick((20, 30, 2), (60, 30, 2), (0, 0, Visibility.ABSENT))
    view = whole_view(GREY, 4)
    mark = ImageColor.getrgb(MARK)
    assert not near(draw_poses(GREY, pose, SKELETON, view=view), mark).any()
    marked = np.array([[True, False, True]])  # the absent one is not drawn and gets no ring
    ring = near(draw_poses(GREY, pose, SKELETON, view=view, marked=marked), mark)
    assert centre(ring) == pytest.approx((81.5, 121.5), abs=0.6)
    before = pose.xy.copy()
    before[0, 1] = 60, 10  # moved down by 20 image pixels
    moved = near(draw_poses(GREY, pose, SKELETON, view=view, before=before), mark)
    assert moved[60:100, 241:243].any(axis=1).all()
    assert not moved[:, :200].any()


@pytest.mark.parametrize(
    ("box", "joint", "inside"),
    [
        ((100.0, 100.0, 140.0, 180.0), (120, 140), True),
        ((0.0, 0.0, 40.0, 30.0), (20, 10), True),  # in a corner: moved inwards
        ((100.0, 100.0, 140.0, 180.0), (190, 140), True),  # a joint beside its box is shown too
        ((-20.0, 10.0, 290.0, 190.0), (120, 140), False),  # larger than the image: paper around it
    ],
)
def test_views_show_box_and_joints_and_stay_inside(
    box: tuple[float, ...], joint: tuple[int, int], inside: bool
) -> None:
    view = pose_view(stick((*joint, 2), (0, 0, 3), (0, 0, 3), box=box), (300, 200), 64)
    x0, y0, x1, y1 = view.window
    assert x1 - x0 == y1 - y0
    assert x0 <= box[0] and y0 <= box[1] and x1 >= box[2] and y1 >= box[3]
    assert x0 <= joint[0] < x1 and y0 <= joint[1] < y1
    assert (x0 >= 0 and y0 >= 0 and x1 <= 300 and y1 <= 200) == inside


def test_a_pose_without_box_is_shown_by_its_joints() -> None:
    pose = Poses.create(3, xy=[[(50, 40), (70, 60), (60, 50)]], visibility=[[2, 2, 2]])
    x0, y0, x1, y1 = pose_view(pose, (80, 80), 32).window
    assert x0 <= 50 and y0 <= 40 and x1 >= 71 and y1 >= 61


def test_outside_the_image_there_is_paper() -> None:
    picture = draw_poses(GREY, Poses.empty(3), SKELETON, view=View((-20, 0, 60, 80), (80, 80)))
    paper = ImageColor.getrgb(PAPER)
    assert near(picture, paper, 1)[:, :19].all()
    assert near(picture, (90, 90, 90), 1)[2:58, 22:].all()
    assert near(picture, paper, 1)[62:].all()
