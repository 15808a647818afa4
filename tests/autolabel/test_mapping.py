from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import ConfigError, SkeletonError
from autolabel.mapping import KeypointMap, apply, keypoint_map, read_names
from autolabel.poses import Origin, Poses, Visibility
from autolabel.skeleton import Skeleton, builtin_skeletons

COCO = Skeleton.load("coco17")
MPII = Skeleton.load("mpii16")
U, H, V, A = Visibility.UNLABELLED, Visibility.HIDDEN, Visibility.VISIBLE, Visibility.ABSENT


def skeleton(*keypoints: str) -> Skeleton:
    return Skeleton("made", keypoints, (), tuple(range(len(keypoints))), (0.05,) * len(keypoints), "test")


def coco_poses(n: int = 3, seed: int = 0) -> Poses:
    rng = np.random.default_rng(seed)
    return Poses.create(
        17,
        id=[f"p{i}" for i in range(n)],
        xy=rng.uniform(-50, 700, (n, 17, 2)),
        score=rng.uniform(0, 1, (n, 17)),
        presence=rng.uniform(0, 1, (n, 17)),
        visibility=np.full((n, 17), V),
        box=[[0, 0, 9, 9]] * n,
        p_gross=np.full((n, 17), 0.5),
        p_bad=np.full(n, 0.5),
        attributes=[{"a": i} for i in range(n)],
    )


def test_subset_keeps_bits_and_everything_else() -> None:
    poses = coco_poses()
    mapped = apply(keypoint_map(COCO, skeleton("right_ankle", "nose")), poses)
    assert mapped.xy.tobytes() == poses.xy[:, [16, 0]].tobytes()
    for name in ("score", "presence", "visibility", "origin"):
        assert (getattr(mapped, name) == getattr(poses, name)[:, [16, 0]]).all(), name
    for name in ("id", "box", "attributes"):
        assert np.array_equal(getattr(mapped, name), getattr(poses, name)), name
    # Doubt was calibrated for other keypoints and sigmas.
    assert np.isnan(mapped.p_gross).all() and np.isnan(mapped.p_bad).all()


@pytest.mark.parametrize("name", builtin_skeletons())
def test_identity(name: str) -> None:
    same = Skeleton.load(name)
    assert (keypoint_map(same, same).weights == np.eye(same.num_keypoints)).all()


def test_coco_to_mpii_derives_the_trunk_and_leaves_the_head() -> None:
    mapping = keypoint_map(COCO, MPII)
    assert mapping.unsourced == ("upper_neck", "head_top")
    poses = coco_poses()
    mapped = apply(mapping, poses)
    for name, parents in (("thorax", [5, 6]), ("pelvis", [11, 12])):
        middle = poses.xy[:, parents].astype(np.float64).mean(axis=1)
        assert mapped.xy[:, MPII.index(name)] == pytest.approx(middle, abs=1e-4)
    head = mapped.xy[:, MPII.index("head_top")]
    assert np.isnan(head).all() and (mapped.visibility[:, MPII.index("head_top")] == U).all()
    assert mapped.xy[:, MPII.index("left_knee")].tobytes() == poses.xy[:, 13].tobytes()


def test_whole_body_to_coco_and_there_is_no_way_back_for_the_hands() -> None:
    whole = Skeleton.load("wholebody133")
    assert not keypoint_map(whole, COCO).unsourced
    assert len(keypoint_map(COCO, whole).unsourced) == 116


@pytest.mark.parametrize(
    ("parents", "derived"),
    [
        ((V, V), V),
        ((V, H), H),
        ((H, A), A),
        ((V, A), A),
        ((V, U), U),
        ((A, U), U),
        ((U, U), U),
    ],
)
def test_a_derived_keypoint_is_as_known_as_its_worst_parent(
    parents: tuple[Visibility, Visibility], derived: Visibility
) -> None:
    poses = Poses.create(2, xy=[[[0, 0], [10, 20]]], visibility=[parents])
    source = skeleton("left_hip", "right_hip")
    for order in ((0, 1), (1, 0)):
        swapped = poses.replace(visibility=poses.visibility[:, order])
        mapped = apply(keypoint_map(source, skeleton("pelvis")), swapped)
        assert mapped.visibility.tolist() == [[derived]]
        assert mapped.xy.tolist() == [[[5, 10]]]  # the place is kept, whatever is said of it


def test_numbers_of_a_derived_keypoint_are_the_worst() -> None:
    poses = Poses.create(
        2,
        xy=[[[0, 0], [10, 20]], [[0, 0], [np.nan, np.nan]]],
        score=[[0.25, 0.75], [0.5, np.nan]],
        presence=[[1, 0.5], [np.nan, 1]],
        origin=[[Origin.HUMAN, Origin.MODEL], [Origin.HUMAN, Origin.IMPORTED]],
    )
    mapped = apply(keypoint_map(skeleton("left_hip", "right_hip"), skeleton("pelvis")), poses)
    assert mapped.score[0].tolist() == [0.25] and np.isnan(mapped.score[1]).all()
    assert mapped.presence[0].tolist() == [0.5] and np.isnan(mapped.presence[1]).all()
    assert mapped.origin.tolist() == [[Origin.MODEL], [Origin.IMPORTED]]
    assert np.isnan(mapped.xy[1]).all()


def test_names_go_before_equal_names() -> None:
    mapping = keypoint_map(skeleton("a", "b", "c"), skeleton("a", "x"), {"a": "b", "x": {"a": 1, "c": 3}})
    assert mapping.weights.tolist() == [[0, 1, 0], [0.25, 0, 0.75]]
    poses = Poses.create(3, xy=[[[0, 0], [7, 7], [8, 4]]], visibility=[[V, V, V]])
    assert apply(mapping, poses).xy.tolist() == [[[7, 7], [6, 3]]]


@given(st.integers(0, 5), st.randoms(use_true_random=False))
def test_apply_is_the_weighted_mean(n: int, random: Any) -> None:
    rng = np.random.default_rng(random.randint(0, 2**32))
    weights = rng.uniform(0, 1, (4, 6)) * (rng.uniform(0, 1, (4, 6)) < 0.5)
    weights[0] = 0
    weights = np.divide(weights, weights.sum(1, keepdims=True), out=weights, where=weights.sum(1, keepdims=True) > 0)
    mapping = KeypointMap(skeleton(*"abcdef"), skeleton(*"wxyz"), weights)
    poses = Poses.create(6, xy=rng.uniform(-100, 900, (n, 6, 2)), visibility=rng.choice([1, 2, 3], (n, 6)))
    mapped = apply(mapping, poses)
    for k in range(4):
        if weights[k].any():
            expected = np.einsum("j,njc->nc", weights[k], poses.xy.astype(np.float64))
            assert mapped.xy[:, k] == pytest.approx(expected, abs=1e-3)
        else:
            assert np.isnan(mapped.xy[:, k]).all() and (mapped.visibility[:, k] == U).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"nek": "nose"}, "no keypoint 'nek'. Did you mean 'neck'"),
        ({"neck": "noze"}, "no keypoint 'noze'. Did you mean 'nose'"),
        ({"neck": {"nose": 0}}, "'neck' needs sources with weights above 0"),
        ({"neck": {"nose": -1, "left_hip": 3}}, "weights above 0"),
        ({"neck": {"nose": float("nan")}}, "weights above 0"),
        ({"neck": []}, "weights above 0"),
    ],
)
def test_wrong_names(names: dict[str, Any], message: str) -> None:
    with pytest.raises(SkeletonError, match=message):
        keypoint_map(COCO, skeleton("neck", "nose"), names)


def test_nothing_in_common() -> None:
    with pytest.raises(SkeletonError, match=r"no keypoint of 'coco17' maps to one of 'made'.*names file"):
        keypoint_map(COCO, skeleton("snout"))


def test_poses_of_another_skeleton() -> None:
    with pytest.raises(SkeletonError, match="poses have 3 keypoints, 'coco17' has 17"):
        apply(keypoint_map(COCO, COCO), Poses.empty(3))


@pytest.mark.parametrize("weights", [np.ones((1, 2)), np.full((1, 3), 0.5), np.array([[2.0, -1.0, 0.0]])])
def test_impossible_weights(weights: np.ndarray) -> None:
    with pytest.raises(SkeletonError, match="weights"):
        KeypointMap(skeleton("a", "b", "c"), skeleton("x"), weights)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.toml", 'a = "b"\nc = ["d", "e"]\nf = { g = 1, h = 0.5 }\n'),
        ("names.json", '{"a": "b", "c": ["d", "e"], "f": {"g": 1, "h": 0.5}}'),
    ],
)
def test_names_files(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_names(tmp_path / name) == {"a": "b", "c": ["d", "e"], "f": {"g": 1, "h": 0.5}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1", "'a' is 1, expected a keypoint"),
        ("a = []", r"'a' is \[\]"),
        ("a = [1]", r"'a' is \[1\]"),
        ("a = { b = true }", "'a' is "),
        ("a = ", "is neither TOML nor JSON"),
    ],
)
def test_malformed_names_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_names(tmp_path / "names.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_names(tmp_path / "missing.toml")
