"""Poses cannot exist wrong, cannot be changed, and are cut and joined without losing anything."""

from typing import Any

import numpy as np
import pytest

from autolabel.errors import PosesError
from autolabel.poses import Origin, Poses, Sample, Visibility, pose_id

NAN = float("nan")


def three() -> Poses:
    """Three poses of two keypoints, every field filled with something that tells them apart."""
    return Poses.create(
        2,
        id=["a", "b", "c"],
        xy=[[[0, 0], [1, 2]], [[NAN, NAN], [3, 4]], [[5, 6], [NAN, NAN]]],
        score=[[0.1, 0.2], [NAN, 0.4], [0.5, NAN]],
        presence=[[1, 0], [NAN, 0.5], [0.5, NAN]],
        visibility=[[2, 1], [3, 2], [2, 0]],
        box=[[0, 0, 1, 1], [NAN] * 4, [1.5, 2, 1.5, 9]],
        box_score=[0.9, NAN, 0.7],
        area=[1, NAN, 3],
        crowd=[False, True, False],
        p_gross=[[0, 1], [NAN, 0.5], [0.2, NAN]],
        p_bad=[0.1, NAN, 1],
        origin=[[1, 2], [0, 3], [1, 0]],
        by=["m", "", "anna"],
        group=["v1", "v1", "v2"],
        attributes=[{"track": 1}, {}, {"note": "é"}],
    )


def test_what_is_left_out_is_unknown() -> None:
    poses = Poses.create(2, box=[[0, 0, 1, 1]], xy=None)
    assert (len(poses), poses.num_keypoints) == (1, 2)
    for name in ("xy", "score", "presence", "box_score", "area", "p_gross", "p_bad"):
        assert np.isnan(getattr(poses, name)).all(), name
    assert (poses.visibility == Visibility.UNLABELLED).all()
    assert (poses.origin == Origin.NONE).all()
    assert (poses.id.tolist(), poses.by.tolist(), poses.crowd.tolist()) == ([""], [""], [False])
    assert poses.attributes == ({},)


@pytest.mark.parametrize("given", [{}, {"box": None}, {"box": []}, {"id": [], "xy": np.empty((0, 5, 2))}])
def test_no_poses(given: dict[str, Any]) -> None:
    poses = Poses.create(5, **given)
    assert (len(poses), poses.num_keypoints, poses.box.shape) == (0, 5, (0, 4))
    assert poses.equals(Poses.empty(5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"xy": np.zeros((1, 3, 2))}, r"xy has shape \(1, 3, 2\), expected \(1, 2, 2\)"),
        ({"box": [[0, 0, 1]]}, r"box has shape \(1, 3\), expected \(1, 4\)"),
        ({"box": [[0, 0, 1, 1]], "score": [[1, 1], [1, 1]]}, "score has shape"),
        ({"box": [[0, 0, 1, 1]], "attributes": [{}, {}]}, "attributes has 2 entries for 1 poses"),
        ({"boxes": [[0, 0, 1, 1]]}, "unknown field 'boxes'"),
        ({"xy": [[[0, 0], [0, np.inf]]]}, "infinite"),
        ({"box": [[0, 0, np.inf, 1]]}, "infinite"),
        ({"area": [-np.inf]}, "infinite"),
        ({"xy": [[[0, NAN], [0, 0]]]}, "one coordinate and no other"),
        ({"visibility": [[2, 0]]}, "visible or hidden but has no coordinate"),
        ({"visibility": [[1, 0]]}, "visible or hidden but has no coordinate"),
        ({"visibility": [[4, 0]]}, "visibility 4"),
        ({"visibility": [[-1, 0]]}, "visibility"),
        ({"visibility": [[300, 0]]}, "visibility"),
        ({"origin": [[9, 0]]}, "origin 9"),
        ({"box": [[0, 0, NAN, 1]]}, "some coordinates missing"),
        ({"box": [[2, 0, 1, 1]]}, "right or bottom edge"),
        ({"box": [[0, 2, 1, 1]]}, "right or bottom edge"),
        ({"presence": [[1.1, 0]]}, r"presence outside 0\.\.1"),
        ({"p_gross": [[-0.1, 0]]}, "p_gross outside"),
        ({"p_bad": [2]}, "p_bad outside"),
        ({"xy": [[[0, 0], [0]]]}, "xy cannot be made"),
        ({"xy": "nonsense"}, "xy"),
    ],
)
def test_impossible_poses_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PosesError, match=message):
        Poses.create(2, **given)


def test_zero_is_a_place_and_a_predicted_point_keeps_it() -> None:
    poses = Poses.create(1, xy=[[[0, 0]]], presence=[[0.01]], visibility=[[Visibility.ABSENT]])
    assert poses.xy.tolist() == [[[0, 0]]]
    assert poses.labelled.tolist() == [[False]]


def test_arrays_are_copied_and_read_only() -> None:
    xy = np.zeros((1, 2, 2), np.float32)
    poses = Poses.create(2, xy=xy)
    xy[:] = 7
    assert (poses.xy == 0).all()
    for array in (poses.xy, poses[0].xy, poses.take([0]).score, poses.id):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = array


def test_boxes_keep_a_sources_width() -> None:
    x, width = 412.8, 33.7
    box = Poses.create(1, box=[[x, 0, x + width, 1]]).box
    assert float(box[0, 2]) == x + width


def test_take_cuts_every_field_alike() -> None:
    poses = three()
    for which, expected in (([2, 0], "ca"), ([False, True, True], "bc"), ([], ""), (np.array([1]), "b")):
        taken = poses.take(which)
        assert "".join(taken.id) == expected
        for i, name in enumerate(expected):
            row = taken[i]
            original = poses["abc".index(name)]
            for field, value in vars(original).items():
                assert np.array_equal(
                    np.asarray(getattr(row, field)), np.asarray(value), equal_nan=field not in TEXT
                ), field


TEXT = {"id", "by", "group", "attributes"}


def test_concat_undoes_take() -> None:
    poses = three()
    assert Poses.concat([poses.take([0]), poses.take([]), poses.take([1, 2])]).equals(poses)
    with pytest.raises(PosesError, match="different K"):
        Poses.concat([poses, Poses.empty(3)])
    with pytest.raises(PosesError, match="nothing"):
        Poses.concat([])


def test_replace_changes_only_what_is_named() -> None:
    poses = three()
    changed = poses.replace(p_bad=[0.5, 0.5, 0.5], attributes=[{"n": i} for i in range(3)])
    assert changed.p_bad.tolist() == [0.5] * 3
    assert changed.attributes[2] == {"n": 2}
    assert changed.replace(p_bad=poses.p_bad, attributes=poses.attributes).equals(poses)
    with pytest.raises(PosesError, match="unknown field"):
        poses.replace(p_worse=[1])
    with pytest.raises(PosesError, match="p_bad has shape"):
        poses.replace(p_bad=[1])
    with pytest.raises(PosesError, match="outside"):
        poses.replace(p_bad=[1, 2, 3])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ["a", "b", "d"]),
        ("xy", [[[0, 0], [1, 2]], [[NAN, NAN], [3, 4.5]], [[5, 6], [NAN, NAN]]]),
        ("score", [[0.1, 0.2], [0.3, 0.4], [0.5, NAN]]),
        ("box", [[0, 0, 1, 1], [NAN] * 4, [1.5, 2, 1.5, 9.00000001]]),
        ("visibility", [[2, 1], [0, 2], [2, 0]]),
        ("crowd", [True, True, False]),
        ("attributes", [{"track": 2}, {}, {"note": "é"}]),
    ],
)
def test_equal_means_every_value(field: str, value: Any) -> None:
    assert three().equals(three())
    assert not three().equals(three().replace(**{field: value}))


def test_a_pose_is_a_row() -> None:
    pose = three()[-1]
    assert (pose.id, pose.by, pose.group, pose.attributes) == ("c", "anna", "v2", {"note": "é"})
    assert pose.xy[0].tolist() == [5, 6]
    with pytest.raises(IndexError, match="pose 3 of 3"):
        three()[3]


def test_a_pose_id_depends_on_all_that_names_the_pose() -> None:
    given = {"sample_id": "s", "path": "a.jpg", "box": [0.0, 0, 1, 1], "source": "boxes.json", "record": 7}
    first = pose_id(**given)
    assert len(first) == 32
    assert int(first, 16) >= 0
    assert first == pose_id(**(given | {"box": np.array([0, 0, 1, 1], np.float32), "record": "7"}))
    others = [
        {"sample_id": "t"},
        {"path": "b.jpg"},
        {"box": [0.0, 0, 1, 1.0000001]},
        {"source": "c"},
        {"record": 8},
        {"path": "\udcff.jpg"},  # a file name that is not UTF-8
    ]
    assert len({first, *(pose_id(**(given | other)) for other in others)}) == len(others) + 1


def test_copies_of_one_image_are_kept_apart_by_their_path() -> None:
    one, two = (Sample("s", "images", path, (4, 3), Poses.empty(2)) for path in ("a.jpg", "b.jpg"))
    assert one.key != two.key
    assert len(one.with_poses(three()).poses) == 3
    assert len(one.poses) == 0
