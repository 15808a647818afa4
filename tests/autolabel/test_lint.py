import json
from typing import Any

import numpy as np
import pytest

from autolabel.bones import BoneLengths
from autolabel.errors import PosesError
from autolabel.lint import Finding, Kind, lint_poses
from autolabel.mirror import repair_mirrored
from autolabel.poses import Poses
from autolabel.skeleton import Skeleton
from tests.standing import COCO, moved, people

MANY = people(60, shake=0.5, apart=400)  # all in one image, far from each other
OWNER = np.zeros(60)
PRIOR = BoneLengths.fit(MANY, COCO)
LEGS = {"left_knee": (38, 130), "right_knee": (62, 130), "left_ankle": (37, 170), "right_ankle": (63, 170)}


def found(poses: Poses, **more: Any) -> dict[int, list[Finding]]:
    findings = lint_poses(poses, np.zeros(len(poses)), COCO, prior=PRIOR, **more)
    return {row: its for row, its in enumerate(findings) if its}


def at(row: int, name: str) -> tuple[float, float]:
    x, y = MANY.xy[row, COCO.index(name)].tolist()
    return x, y


def test_correct_poses_have_no_findings() -> None:
    assert found(MANY) == {}
    assert found(MANY, other=people(60, shake=0.5, apart=400, seed=1)) == {}


# Row 0 has the fault; `second` says whether a second opinion is needed to see it.
@pytest.mark.parametrize(
    ("kind", "places", "names", "second"),
    [
        (Kind.LIMB, LEGS, list(LEGS), True),
        (Kind.NEIGHBOUR, {"left_wrist": at(1, "left_wrist")}, ["left_wrist"], False),
        (Kind.NEIGHBOUR, {"left_wrist": at(1, "left_wrist")}, ["left_wrist"], True),
        (Kind.BONE, {"left_elbow": (150, 60)}, ["left_elbow"], False),
        (Kind.COINCIDENT, {"left_knee": at(0, "right_knee")}, ["left_knee", "right_knee"], False),
        (Kind.COINCIDENT, {"left_knee": at(0, "right_knee")}, ["left_knee", "right_knee"], True),
        (Kind.OUTSIDE, {"left_wrist": (110, 82)}, ["left_wrist"], True),
    ],
)
def test_a_fault_is_found_where_it_is(kind: Kind, places: dict[str, Any], names: list[str], second: bool) -> None:
    faulty = moved(MANY, 0, places)
    findings = found(faulty, other=MANY) if second else found(faulty)
    assert list(findings) == [0]
    finding = next(f for f in findings[0] if f.kind is kind)
    assert {COCO.keypoints[k] for k in finding.keypoints} == set(names)
    assert all(name.split("_")[1] in finding.text for name in names)
    assert all(np.isfinite(value) for value in finding.evidence.values())


def test_a_mirrored_pose_is_that_and_nothing_else() -> None:
    turned = repair_mirrored(MANY, np.array([0]), COCO)
    (finding,) = found(turned, other=MANY)[0]
    assert finding.kind is Kind.MIRRORED
    assert finding.keypoints == tuple(range(17))
    assert finding.evidence["agreeing"] == 1


def test_by_itself_a_face_does_not_make_a_pose_mirrored() -> None:
    turned = repair_mirrored(MANY, np.arange(60), COCO)
    assert not any(f.kind is Kind.MIRRORED for its in found(turned).values() for f in its)


def test_a_flip_test_finds_what_the_network_turns() -> None:
    features = {"flip_ks": np.full((60, 17), 0.95), "swap_ks": np.full((60, 17), 0.05)}
    features["flip_ks"][2, 5:], features["swap_ks"][2, 5:] = 0.05, 0.95
    assert {f.kind for f in found(MANY, features=features)[2]} <= {Kind.MIRRORED, Kind.LIMB}
    assert list(found(MANY, features=features)) == [2]


def test_a_box_without_a_person_has_low_peaks_and_another_pose() -> None:
    other, peak = moved(MANY, 3, dict.fromkeys(COCO.keypoints, (0.0, 0.0))), np.full((60, 17), 0.8)
    peak[3] = 0.05
    (finding,) = found(MANY, other=other, other_features={"peak": peak})[3]
    assert finding.kind is Kind.NOBODY
    assert list(found(MANY, other=MANY, other_features={"peak": peak})) == []  # low peaks, but where the pose is
    assert list(found(MANY, features={"peak": peak})) == [3]


def test_where_the_second_opinion_agrees_nothing_is_wrong() -> None:
    faulty = moved(MANY, 0, {"left_elbow": (72, 0)})
    assert found(faulty)[0]
    assert found(faulty, other=faulty) == {}


def test_a_second_opinion_on_the_neighbour_is_no_witness() -> None:
    two = people(2, apart=25)
    astray = moved(two, 0, {"left_knee": tuple(two.xy[1, COCO.index("left_knee")].tolist())})
    faulty = moved(two, 0, {"left_knee": tuple(two.xy[1, COCO.index("right_knee")].tolist())})
    assert not any(f.kind is Kind.NEIGHBOUR for its in found(faulty, other=astray).values() for f in its)


@pytest.mark.parametrize(("visibility", "expected"), [(2, True), (1, False)])
def test_hidden_points_may_lie_outside_what_is_seen(visibility: int, expected: bool) -> None:
    box, said = MANY.box.copy(), MANY.visibility.copy()
    box[0, 3], said[0, 13:] = 140, visibility  # the box ends below the knees
    kinds = [f.kind for f in found(MANY.replace(box=box, visibility=said)).get(0, [])]
    assert (Kind.OUTSIDE in kinds) is expected


def test_findings_are_json() -> None:
    finding = Finding(Kind.BONE, (1, 2), "a bone", {"excess": np.float64(0.123456), "oks": float("nan")})
    text = json.dumps(finding.to_dict(), allow_nan=False)
    assert json.loads(text) == {"kind": "bone", "keypoints": [1, 2], "text": "a bone", "evidence": {"excess": 0.1235}}


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_poses(count: int) -> None:
    assert lint_poses(people(count), np.zeros(count), COCO) == [[]] * count


def test_blank_constant_and_crowd_poses_are_borne() -> None:
    blank = Poses.create(17, xy=np.full((2, 17, 2), np.nan))
    assert found(blank, other=blank) == {}
    assert found(blank, features={"peak": np.full((2, 17), np.nan)}) == {}
    crowd = Poses.create(17, xy=np.zeros((2, 17, 2)), visibility=np.full((2, 17), 2), crowd=[True, True])
    assert found(crowd) == {}
    constant = crowd.replace(crowd=[False, False], box=[[0, 0, 50, 50]] * 2)
    assert {f.kind for its in found(constant).values() for f in its} <= set(Kind)


def test_one_keypoint_without_pairs_or_edges() -> None:
    skeleton = Skeleton.from_dict({"name": "one", "keypoints": ["tip"]})
    one = Poses.create(1, xy=[[[5, 5]], [[90, 5]]], visibility=[[2], [2]], box=[[0, 0, 9, 9]] * 2)
    findings = lint_poses(one, np.arange(2), skeleton, other=one.take([0, 0]))
    assert [[f.kind for f in its] for its in findings] == [[], [Kind.OUTSIDE]]


@pytest.mark.parametrize(
    ("owner", "skeleton", "other", "message"),
    [
        (np.zeros(2), COCO, None, r"owner has shape \(2,\), expected \(3,\)"),
        (np.zeros(3), Skeleton.load("lsp14"), None, "skeleton 'lsp14': poses of 17 keypoints, expected 14"),
        (np.zeros(3), COCO, people(2), "other poses of shape"),
    ],
)
def test_what_does_not_fit_is_refused(owner: Any, skeleton: Skeleton, other: Any, message: str) -> None:
    with pytest.raises(PosesError, match=message):
        lint_poses(people(3), owner, skeleton, other=other)
