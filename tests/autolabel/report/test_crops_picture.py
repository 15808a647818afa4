"""Where crops, joints, arrows and heatmaps are drawn, measured in the picture's pixels, and in which colours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from autolabel.errors import InputError
from autolabel.poses import Visibility
from autolabel.report.crops_picture import SHOWN_HEIGHT, crops_picture
from autolabel.skeleton import SIDE_COLORS, Skeleton

STICK = Skeleton("stick", ("left", "right", "middle"), (), (1, 0, 2), (0.05,) * 3, "test")
TAIL = Skeleton("tail", ("tip",), (), (0,), (0.05,), "test")
LEFT, RIGHT, CENTRE = (ImageColor.getrgb(SIDE_COLORS[side])[:3] for side in ("left", "right", "centre"))
GREY = np.full((1, 80, 64, 3), 90, np.uint8)
SCALE = SHOWN_HEIGHT / 80
NOWHERE = (0.0, 0.0, int(Visibility.UNLABELLED))

Picture = NDArray[np.int64]
Joint = tuple[float, float, int]


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Picture]:
    """Draw one grey crop of ``STICK`` and read the picture."""

    def drawn(*joints: Joint, crops: NDArray[np.uint8] = GREY, **more: Any) -> Picture:
        given = [*joints, *[NOWHERE] * (3 - len(joints))]
        xy = np.array([[(x, y) for x, y, _ in given]] * len(crops))
        visibility = np.array([[v for _, _, v in given]] * len(crops))
        skeletons = more.pop("skeletons", [STICK])
        path = crops_picture(crops, xy, visibility, skeletons, tmp_path / "crops.png", **more)
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")).astype(np.int64)

    return drawn


def near(picture: Picture, color: tuple[int, ...], tolerance: int = 40) -> NDArray[np.bool_]:
    return (np.abs(picture - color) <= tolerance).all(axis=-1)


def extent(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that hold all of a mask."""
    y, x = np.nonzero(mask)
    assert len(x), "nothing of this colour was drawn"
    return slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1)


def crop_of(picture: Picture, grey: int = 90) -> Picture:
    return picture[extent(near(picture, (grey,) * 3, 0))]


def centre(mask: NDArray[np.bool_]) -> tuple[float, float]:
    y, x = np.nonzero(mask)
    assert len(x), "nothing of this colour was drawn"
    return float(x.mean()), float(y.mean())


def at(x: float, y: float) -> tuple[float, float]:
    """Where the centre of a crop's pixel lies in the enlarged crop."""
    return (x + 0.5) * SCALE - 0.5, (y + 0.5) * SCALE - 0.5


def test_crops_are_enlarged_and_joints_lie_where_their_pixels_lie(draw: Callable[..., Picture]) -> None:
    crop = crop_of(draw((20, 30, 2), (50.5, 12, 2), (32, 70, 2)))
    assert crop.shape[:2] == (SHOWN_HEIGHT, 64 * SCALE)
    for color, place in ((LEFT, (20, 30)), (RIGHT, (50.5, 12)), (CENTRE, (32, 70))):
        assert centre(near(crop, color)) == pytest.approx(at(*place), abs=0.6)


def test_large_crops_keep_their_size(draw: Callable[..., Picture]) -> None:
    assert crop_of(draw(crops=np.full((1, 384, 288, 3), 90, np.uint8))).shape[:2] == (384, 288)


@pytest.mark.parametrize(("state", "hollow"), [(Visibility.VISIBLE, False), (Visibility.HIDDEN, True)])
def test_hidden_joints_are_hollow(draw: Callable[..., Picture], state: int, hollow: bool) -> None:
    crop = crop_of(draw((20, 30, state)))
    x, y = (round(v) for v in at(20, 30))
    assert near(crop, (90,) * 3, 3)[y, x] == hollow
    assert near(crop, LEFT).any()


# A joint outside, and the corner or edge where its arrow has its tip (in enlarged pixels).
@pytest.mark.parametrize(
    ("joint", "tip"),
    [
        ((90, 40), (255, at(0, 40)[1])),
        ((-30, 40), (0, at(0, 40)[1])),
        ((32, -5), (at(32, 0)[0], 0)),
        ((32, 1e6), (at(32, 0)[0], 319)),
        ((200, 250), (255, 319)),
        ((64.2, 40), (255, at(0, 40)[1])),  # just outside
    ],
)
def test_an_arrow_points_to_a_joint_outside(
    draw: Callable[..., Picture], joint: tuple[float, float], tip: tuple[float, float]
) -> None:
    drawn = near(crop_of(draw((*joint, 2))), LEFT)
    assert 20 < drawn.sum() < 150
    rows, columns = extent(drawn)
    assert columns.start - 4 <= tip[0] <= columns.stop + 4
    assert rows.start - 4 <= tip[1] <= rows.stop + 4
    inwards = np.array(centre(drawn)) - tip
    assert inwards @ (np.array([32, 40]) - joint) > 0, "it lies on the inner side of its tip"
    hollow = near(crop_of(draw((*joint, Visibility.HIDDEN))), LEFT)
    assert hollow.any()
    x, y = (round(v) for v in centre(drawn))
    assert drawn[y, x]
    assert not hollow[y, x]


@pytest.mark.parametrize("state", [Visibility.ABSENT, Visibility.UNLABELLED])
@pytest.mark.parametrize("place", [(20.0, 30.0), (200.0, 30.0), (np.nan, np.nan)])
def test_what_is_not_labelled_is_not_drawn(
    draw: Callable[..., Picture], state: int, place: tuple[float, float]
) -> None:
    assert (crop_of(draw((*place, state))) == 90).all()


def test_absent_joints_are_listed_in_their_colour(draw: Callable[..., Picture]) -> None:
    def below(picture: Picture) -> Picture:
        return picture[extent(near(picture, (90,) * 3, 0))[0].stop :]

    dark = tuple(int(0.75 * v) for v in RIGHT)
    all_there = draw((9, 9, 2), (9, 40, 2), (40, 9, 2))
    absent = draw((9, 9, 2), (9, 40, Visibility.ABSENT), (40, 9, 2))
    unlabelled = draw((9, 9, 2), (9, 40, Visibility.UNLABELLED), (40, 9, 2))
    both = draw((9, 9, 2), (9, 40, Visibility.ABSENT), (40, 9, Visibility.UNLABELLED))
    assert (below(all_there) == 255).all(axis=-1).mean() > 0.9
    assert near(below(absent), dark, 12).any()
    assert not near(below(unlabelled), dark, 12).any()
    assert near(below(unlabelled), (0x17, 0x22, 0x2E), 20).any()
    heights = [len(picture) for picture in (all_there, absent, unlabelled, both)]
    assert heights[0] < heights[1] == heights[2] < heights[3]


def test_captions_stand_below(draw: Callable[..., Picture]) -> None:
    joints = ((9, 9, 2), (9, 40, 2), (40, 9, 2))
    assert len(draw(*joints, captions=["lspet, cut at the left"])) > len(draw(*joints, captions=[""]))


def test_many_names_are_counted_instead_of_listed(tmp_path: Path) -> None:
    whole = Skeleton.load("wholebody133")
    path = tmp_path / "crops.png"

    def height(states: NDArray[np.generic]) -> int:
        crops_picture(GREY, np.zeros((1, 133, 2)), states, [whole], path)
        with Image.open(path) as image:
            return image.height

    none = height(np.full((1, 133), Visibility.VISIBLE))
    everything = height(np.full((1, 133), Visibility.ABSENT))
    assert 0 < everything - none <= 60, "three lines"


def test_heatmaps_shine_in_the_colour_of_their_side(draw: Callable[..., Picture]) -> None:
    heatmaps = np.zeros((1, 3, 20, 16))
    heatmaps[0, 0, 5, 4] = heatmaps[0, 1, 10, 12] = 1.0
    drawn = draw((17.5, 21.5, 2), (49.5, 41.5, 2), heatmaps=heatmaps)
    rows, columns = extent(near(drawn, (90,) * 3, 0))
    glow = drawn[rows, columns.stop + 2 : columns.stop + 2 + 256]
    assert tuple(glow[0, 0]) == (round(0.45 * 90),) * 3, "the crop is below, dark"
    for color, (x, y) in ((LEFT, (4, 5)), (RIGHT, (12, 10))):
        shine = near(glow, color)
        assert centre(shine) == pytest.approx(((x + 0.5) * 16, (y + 0.5) * 16), abs=3)  # a cell has 16 pixels
        dot = tuple(glow[round((y + 0.5) * 16), round((x + 0.5) * 16)])
        assert dot == (255, 255, 255), "and its keypoint is in its middle"
    mixed = draw((17.5, 21.5, 2), (49.5, 41.5, 2), heatmaps=np.roll(heatmaps, 1, axis=1))
    assert not near(mixed[rows, columns.stop + 2 :], LEFT).any(), "channels that are shifted have other colours"


def test_the_highest_heatmap_of_a_place_is_seen(draw: Callable[..., Picture]) -> None:
    heatmaps = np.zeros((1, 3, 20, 16))
    heatmaps[0, 0] = 0.9
    heatmaps[0, 1] = np.where(np.arange(16) < 8, 0.5, 1.0)
    heatmaps[0, 2] = np.nan  # what a person looks for may be damaged
    drawn = draw(heatmaps=heatmaps)
    rows, columns = extent(near(drawn, (90,) * 3, 0))
    glow = drawn[rows, columns.stop + 2 : columns.stop + 258]
    assert near(glow[:, 5:100], LEFT).all()
    assert near(glow[:, 156:250], RIGHT).all()


def test_each_crop_has_its_own_skeleton(draw: Callable[..., Picture]) -> None:
    crops = np.stack([GREY[0], np.full_like(GREY[0], 60)])
    drawn = draw((20, 30, 2), (40, 30, 2), crops=crops, skeletons=[STICK, TAIL], dataset=[0, 1])
    assert near(crop_of(drawn, 90), LEFT).any()
    assert near(crop_of(drawn, 90), RIGHT).any()
    second = crop_of(drawn, 60)
    assert centre(near(second, CENTRE)) == pytest.approx(at(20, 30), abs=0.6)
    assert not near(second, RIGHT).any(), "keypoints beyond the skeleton's are padding"


def test_crops_stand_in_rows(draw: Callable[..., Picture]) -> None:
    crops = np.stack([np.full_like(GREY[0], 40 + 10 * i) for i in range(9)])
    drawn = draw(crops=crops)
    places = [extent(near(drawn, (40 + 10 * i,) * 3, 0)) for i in range(9)]
    rows = sorted({rows.start for rows, _ in places})
    assert len(rows) == 2
    assert [columns.start for rows_, columns in places if rows_.start == rows[0]] == [14 + 270 * i for i in range(6)]
    assert drawn.shape[1] <= 1700


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crops": GREY[:0], "xy": np.zeros((0, 3, 2)), "visibility": np.zeros((0, 3))}, "there is no crop"),
        ({"crops": GREY[..., :1]}, r"crops has the shape \(1, 80, 64, 1\), expected \(1, 80, 64, 3\)"),
        ({"xy": np.zeros((1, 2, 2))}, r"xy has the shape \(1, 2, 2\), expected \(1, 3, 2\)"),
        ({"visibility": np.zeros((2, 3))}, "visibility has the shape"),
        ({"heatmaps": np.zeros((1, 4, 20, 16))}, "heatmaps has the shape"),
        ({"dataset": [0, 0]}, "dataset has the shape"),
        ({"captions": []}, "captions has the shape"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    given = {"crops": GREY, "xy": np.zeros((1, 3, 2)), "visibility": np.zeros((1, 3)), "skeletons": [STICK]}
    with pytest.raises(InputError, match=message):
        crops_picture(**{**given, **changes}, path=tmp_path / "crops.png")
    assert not list(tmp_path.iterdir())


def test_a_picture_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "crops.png"
    for _ in range(2):
        assert crops_picture(GREY, np.zeros((1, 3, 2)), np.zeros((1, 3)), [STICK], path) == path
        assert list(path.parent.iterdir()) == [path]


def test_a_picture_that_cannot_be_put_in_its_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "crops.png").mkdir()
    with pytest.raises(OSError):
        crops_picture(GREY, np.zeros((1, 3, 2)), np.zeros((1, 3)), [STICK], tmp_path / "crops.png")
    assert not list(tmp_path.glob(".*"))
