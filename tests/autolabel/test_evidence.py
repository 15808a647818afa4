"""Evidence: columns from poses and features, unknown where there is nothing to know."""

from typing import Any

import numpy as np
import pytest

from autolabel.evidence import (
    KEYPOINT_COLUMNS,
    POSE_COLUMNS,
    SOURCES,
    Experience,
    compared,
    image_of_each,
    keypoint_evidence,
    pairs,
    pose_evidence,
)
from autolabel.poses import Poses, Visibility
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")
K = 17


def make_poses(n: int, **given: Any) -> Poses:
    values = {"xy": np.zeros((n, K, 2)), "visibility": np.full((n, K), Visibility.VISIBLE)}
    return Poses.create(K, **{**values, "box": np.tile([10.0, 10.0, 50.0, 90.0], (n, 1)), **given})


def keypoint_column(name: str, poses: Poses, known: dict[str, np.ndarray]) -> np.ndarray:
    return keypoint_evidence(poses, known, SKELETON)[..., [c.name for c in KEYPOINT_COLUMNS].index(name)]


def pose_column(name: str, poses: Poses, known: dict[str, np.ndarray], doubt: np.ndarray | None = None) -> np.ndarray:
    odds = np.zeros((len(poses), K)) if doubt is None else doubt
    return pose_evidence(poses, known, odds)[:, [c.name for c in POSE_COLUMNS].index(name)]


def test_columns_are_named_once_and_every_source_can_be_left_out() -> None:
    for columns in (KEYPOINT_COLUMNS, POSE_COLUMNS):
        assert len({column.name for column in columns}) == len(columns)
        assert {column.direction for column in columns} <= {-1, 0, 1}
    assert "" not in SOURCES
    assert {"peak", "quality_bad", "bones", "novelty", "against"} <= set(SOURCES)


def test_what_is_not_there_is_unknown() -> None:
    poses = make_poses(2)
    x = keypoint_evidence(poses, {"peak": np.full((2, K), 0.5)}, SKELETON)
    known = {c.name for c, some in zip(KEYPOINT_COLUMNS, np.isfinite(x).all(axis=(0, 1)), strict=True) if some}
    assert known == {"peak", "absent", "joint", "pose_peak", "size"}
    y = pose_evidence(poses, {}, np.zeros((2, K)))
    known = {c.name for c, some in zip(POSE_COLUMNS, np.isfinite(y).all(axis=0), strict=True) if some}
    assert known == {
        *("mean_doubt", "worst_doubt", "second_doubt", "third_doubt", "expected_gross", "absent_share", "size"),
    }


def test_an_absent_keypoint_has_no_place() -> None:
    visibility = np.full((1, K), Visibility.VISIBLE)
    visibility[0, 3] = Visibility.ABSENT
    poses = make_poses(1, visibility=visibility)
    known = {name: np.full((1, K), 0.4) for name in ("peak", "flip_ks", "presence", "bones")}
    for name in ("peak", "flip_ks", "bones"):
        assert np.isnan(keypoint_column(name, poses, known)[0]).tolist() == [i == 3 for i in range(K)]
    assert np.isnan(keypoint_column("absent_peak", poses, known)[0]).tolist() == [i != 3 for i in range(K)]
    doubt = keypoint_column("presence_doubt", poses, known)[0]
    assert doubt[[2, 3]] == pytest.approx([0.6, 0.4]), "the chance that what is said of it is wrong"
    assert pose_column("absent_share", poses, known) == pytest.approx([1 / K])


def test_numbers_of_a_pose_are_of_its_own_row() -> None:
    poses = make_poses(3)
    peak = np.tile(np.linspace(0.1, 0.9, K), (3, 1))
    peak[1] *= 0.5
    peak[2, :2] = np.nan, np.inf
    known = {"peak": peak, "edge": np.array([0.0, 2.0, np.nan])}
    assert pose_column("mean_peak", poses, known)[:2] == pytest.approx([0.5, 0.25])
    assert pose_column("mean_peak", poses, known)[2] == pytest.approx(np.linspace(0.1, 0.9, K)[2:].mean())
    assert pose_column("low_peak", poses, known)[:2] == pytest.approx([0.15, 0.075]), "the second lowest"
    assert pose_column("edge", poses, known).tolist()[:2] == [0, 2]
    assert np.isnan(keypoint_column("edge", poses, known)[2]).all()


def test_a_pose_counts_its_doubtful_keypoints() -> None:
    odds = np.full((1, K), -9.0)
    odds[0, :3] = 4.0, 3.0, 2.0
    found = [pose_column(name, make_poses(1), {}, odds)[0] for name in ("worst_doubt", "second_doubt", "third_doubt")]
    assert found == [4, 3, 2]
    gross = np.exp(pose_column("expected_gross", make_poses(1), {}, odds)[0])
    assert gross == pytest.approx((1 / (1 + np.exp(-odds))).sum(), rel=1e-4)


def test_the_swapped_mirror_image_is_compared_with_the_straight_one() -> None:
    known = {"swap_ks": np.full((1, K), 0.9), "flip_ks": np.full((1, K), 0.2)}
    assert keypoint_column("swap_gain", make_poses(1), known) == pytest.approx(np.full((1, K), 0.7))


class Long:
    def bones(self, poses: Poses) -> np.ndarray:
        return np.full((len(poses), K), 3.0)

    def residual(self, poses: Poses) -> np.ndarray:
        return np.full((len(poses), K), 2.0)


class Far:
    width = 1

    def distance(self, embedding: np.ndarray) -> np.ndarray:
        return embedding[:, 0] * 2.0


def test_comparison_adds_what_checked_poses_tell() -> None:
    poses, embedding = make_poses(2), np.array([[1.0], [2.0]])
    known = compared(poses, {"embedding": embedding}, Experience(Long(), Far()))
    assert known["novelty"].tolist() == [2, 4]
    assert pose_column("worst_bones", poses, known).tolist() == [3, 3]
    assert pose_column("mean_residual", poses, known).tolist() == [2, 2]
    assert set(compared(poses, {}, Experience(None, Far()))) == set(), "no embedding, no novelty"
    assert "novelty" not in compared(poses, {"embedding": np.ones((2, 5))}, Experience(None, Far())), "another network"


def test_mirror_partners_are_one_kind() -> None:
    kinds = pairs(SKELETON)
    assert kinds.min() == 0
    assert len(np.unique(kinds)) == kinds.max() + 1 == 9
    left, right = SKELETON.index("left_knee"), SKELETON.index("right_knee")
    assert kinds[left] == kinds[right]


def test_every_pose_knows_its_image() -> None:
    assert image_of_each([2, 0, 1]).tolist() == [0, 0, 2]
    assert image_of_each([]).tolist() == []


def test_no_poses_are_no_trouble() -> None:
    poses = Poses.empty(K)
    assert keypoint_evidence(poses, {}, SKELETON).shape == (0, K, len(KEYPOINT_COLUMNS))
    assert pose_evidence(poses, {}, np.zeros((0, K))).shape == (0, len(POSE_COLUMNS))
