from typing import Any

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.lengths import counted_in_pckh, head_lengths, head_segment, torso_lengths
from autolabel.poses import Poses
from autolabel.skeleton import Skeleton


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("mpii16", ("head_top", "upper_neck")),
        ("lsp14", ("head_top", "neck")),
        ("aic14", ("head_top", "neck")),
        ("crowdpose14", ("head_top", "neck")),
        ("coco17", None),
        ("wholebody133", None),
        ("ap10k17", None),  # a neck, no head top
    ],
)
def test_which_skeletons_have_a_head(name: str, ends: tuple[str, str] | None) -> None:
    skeleton = Skeleton.load(name)
    found = head_segment(skeleton)
    assert (tuple(skeleton.keypoints[i] for i in found) if found else None) == ends


def pose(skeleton: Skeleton, places: dict[str, tuple[float, float]], hidden: str = "", **given: Any) -> Poses:
    xy = np.full((1, skeleton.num_keypoints, 2), np.nan)
    visibility = np.zeros((1, skeleton.num_keypoints), int)
    for name, place in places.items():
        xy[0, skeleton.index(name)] = place
        visibility[0, skeleton.index(name)] = 1 if name == hidden else 2
    return Poses.create(skeleton.num_keypoints, xy=xy, visibility=visibility, **given)


LSP = Skeleton.load("lsp14")
HEAD = {"head_top": (10.0, 10.0), "neck": (13.0, 14.0)}


@pytest.mark.parametrize(
    ("attributes", "length", "boxed"),
    [
        pytest.param({}, 5.0, False, id="from head top to neck"),
        pytest.param({"head_box": [0, 0, 30, 40]}, 30.0, True, id="MPII's head box: 0.6 of its diagonal"),
        pytest.param({"coco": {"headbox": [5, 5, 35, 45]}}, 30.0, True, id="as a COCO file carries it"),
        pytest.param({"coco": {"bbox_head": [5, 5, 30, 40]}}, 30.0, True, id="PoseTrack's, with width and height"),
        pytest.param({"coco": {"bbox_head": [5, 5, 0, 0]}}, 5.0, False, id="an empty head box is none"),
        pytest.param({"coco": {"bbox_head": None}}, 5.0, False, id="null is none"),
        pytest.param({"coco": {"segmentation": []}}, 5.0, False, id="other attributes"),
        pytest.param({"coco": "a text of ours"}, 5.0, False, id="an attribute that is no mapping"),
    ],
)
def test_head_lengths(attributes: dict[str, Any], length: float, boxed: bool) -> None:
    found = head_lengths(pose(LSP, HEAD, attributes=[attributes]), LSP)
    assert found.pixels.tolist() == [length] and found.boxed.tolist() == [boxed]


@pytest.mark.parametrize("value", [[1, 2, 3], "wide", [0, 0, 1, float("nan")], 7])
def test_a_head_box_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"'head_box'.*expected four numbers"):
        head_lengths(pose(LSP, HEAD, attributes=[{"head_box": value}]), LSP)


def test_a_hidden_head_counts_and_an_unlabelled_one_does_not() -> None:
    assert head_lengths(pose(LSP, HEAD, hidden="neck"), LSP).pixels.tolist() == [5.0]
    assert np.isnan(head_lengths(pose(LSP, {"head_top": (0, 0)}), LSP).pixels).all()
    assert np.isnan(head_lengths(pose(LSP, {**HEAD, "neck": HEAD["head_top"]}), LSP).pixels).all()
    coco = Skeleton.load("coco17")
    assert np.isnan(head_lengths(pose(coco, {"nose": (0, 0)}), coco).pixels).all()


def test_torso_is_left_shoulder_to_right_hip() -> None:
    both = {
        "left_shoulder": (10.0, 0.0),
        "right_hip": (4.0, 8.0),
        "right_shoulder": (0.0, 0.0),
        "left_hip": (50.0, 50.0),
    }
    assert torso_lengths(pose(LSP, both), LSP).tolist() == [10.0]
    del both["right_hip"]
    assert np.isnan(torso_lengths(pose(LSP, both), LSP)).all()
    stick = Skeleton("stick", ("top", "end"), (), (0, 1), (0.05, 0.05), "test")
    assert np.isnan(torso_lengths(pose(stick, {"top": (0, 0)}), stick)).all()


def test_mpii_leaves_pelvis_and_thorax_out_of_its_mean() -> None:
    mpii = Skeleton.load("mpii16")
    left_out = [name for name, counts in zip(mpii.keypoints, counted_in_pckh(mpii), strict=True) if not counts]
    assert left_out == ["pelvis", "thorax"]
    assert counted_in_pckh(LSP).all() and counted_in_pckh(Skeleton.load("coco17")).all()


def test_nobody_has_no_length() -> None:
    assert head_lengths(Poses.empty(14), LSP).pixels.shape == torso_lengths(Poses.empty(14), LSP).shape == (0,)
