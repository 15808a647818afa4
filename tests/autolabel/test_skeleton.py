"""A skeleton cannot contradict itself, survives its JSON, and is told apart by what a coordinate means."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import SkeletonError
from autolabel.skeleton import DEFAULT_SIGMA, SIDE_COLORS, Skeleton, builtin_skeletons, flip_from_names

ARM = {
    "name": "arm",
    "description": "a pair of arms",
    "keypoints": ["neck", "left_hand", "right_hand"],
    "edges": [[0, 1], [0, 2]],
    "flip_pairs": [[1, 2]],
    "sigmas": [0.079, 0.062, 0.062],
    "sigma_source": "made up",
    "upper": [0, 1, 2],
    "lower": [],
    "colors": ["#000000", "#00ff00", "#Ff0000"],
}


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in ARM.items() if key not in keys}


def test_json_gives_the_same_skeleton_back() -> None:
    assert Skeleton.from_dict(ARM).to_dict() == ARM


@pytest.mark.parametrize("name", builtin_skeletons())
def test_builtin_skeletons_survive_json(name: str) -> None:
    skeleton = Skeleton.load(name)
    assert Skeleton.from_dict(json.loads(json.dumps(skeleton.to_dict()))) == skeleton


def test_a_users_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "arm.json").write_text(json.dumps(ARM))
    arm = Skeleton.load(tmp_path / "arm.json")
    assert (arm.num_keypoints, arm.flip, arm.flip_pairs) == (3, (0, 2, 1), ((1, 2),))
    assert arm.sides == ("centre", "left", "right")
    assert Skeleton.load(str(tmp_path / "arm.json")) == arm


def test_what_a_file_leaves_out_is_filled_in_and_said() -> None:
    arm = Skeleton.from_dict(without("flip_pairs", "sigmas", "sigma_source", "colors"))
    assert arm.flip == (0, 2, 1)
    assert arm.sigmas == (DEFAULT_SIGMA,) * 3
    assert str(DEFAULT_SIGMA) in arm.sigma_source
    assert arm.sigmas_guessed and not Skeleton.load("coco17").sigmas_guessed
    assert arm.colors == (SIDE_COLORS["centre"], SIDE_COLORS["left"], SIDE_COLORS["right"])


@pytest.mark.parametrize(
    ("names", "flip"),
    [
        (["left_eye", "right_eye", "nose"], (1, 0, 2)),
        (["LeftEye", "RightEye"], (1, 0)),
        (["l_eye", "r_eye", "lobe"], (1, 0, 2)),
        (["left_eye", "nose"], (0, 1)),  # a partner that is not there
        (["eye_right", "eye_left"], (1, 0)),
        (["right_ear", "left_bright", "right_bright"], (0, 1, 2)),  # "bright" mirrors to nothing: no pair
    ],
)
def test_names_tell_which_keypoints_mirror_each_other(names: list[str], flip: tuple[int, ...]) -> None:
    assert flip_from_names(names) == flip
    assert Skeleton.from_dict({"name": "x", "keypoints": names}).flip == flip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [], "flip_pairs": []}, "at least one keypoint"),
        ({"keypoints": ["neck", "", "hand"]}, "no empty name"),
        ({"keypoints": ["neck", "hand", "hand"]}, "'hand' stands twice"),
        ({"keypoints": "neck"}, "not a list"),
        ({"keypoints": 3}, "cannot be read"),
        ({"edges": [[0, 3]]}, r"edges names a keypoint outside 0\.\.2"),
        ({"edges": [[0, -1]]}, r"edges names a keypoint outside 0\.\.2"),
        ({"edges": [[1, 1]]}, "joins a keypoint to itself"),
        ({"edges": [[0, 1, 2]]}, "cannot be read"),
        ({"flip_pairs": [[0, 1], [1, 2]]}, "not an involution"),
        ({"flip_pairs": [[1, 7]]}, r"flip_pairs names a keypoint outside 0\.\.2"),
        ({"flip_pairs": [[1, -1]]}, r"flip_pairs names a keypoint outside 0\.\.2"),
        ({"sigmas": [0.1, 0.1]}, "sigmas has 2 values for 3 keypoints"),
        ({"sigmas": [0.1, 0.1, 0]}, "between 0 and 1"),
        ({"sigmas": [0.1, 0.1, float("nan")]}, "between 0 and 1"),
        ({"sigmas": [0.1, 0.1, "wide"]}, "cannot be read"),
        ({"upper": [9]}, r"upper names a keypoint outside 0\.\.2"),
        ({"colors": ["#000000"]}, "colors has 1 values"),
        ({"colors": ["red", "#00ff00", "#0000ff"]}, "'red' is not of the form #rrggbb"),
        ({"sigma": [0.1]}, "unknown key 'sigma'.*'sigmas'"),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SkeletonError, match=message):
        Skeleton.from_dict(ARM | change)


@pytest.mark.parametrize("key", ["name", "keypoints"])
def test_what_must_be_given(key: str) -> None:
    with pytest.raises(SkeletonError, match=f"'{key}' is missing"):
        Skeleton.from_dict(without(key))


def test_construction_checks_too() -> None:
    with pytest.raises(SkeletonError, match="flip has 1 values for 2 keypoints"):
        Skeleton(name="x", keypoints=("a", "b"), edges=(), flip=(0,), sigmas=(0.1, 0.1), sigma_source="")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[1, 2]", "not a JSON object"), (b"{", "not JSON"), (b"\xff\xfe", "not JSON"), (None, "coco17")],
)
def test_files_that_are_no_skeleton(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(SkeletonError, match=message) as refused:
        Skeleton.load(tmp_path / "x.json")
    assert refused.value.subject == str(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"sigmas": [0.01, 0.02, 0.02]}, True),  # may be re-estimated
        ({"name": "other", "edges": [], "upper": []}, True),
        ({"keypoints": ["neck", "left_hand", "right_fist"]}, False),
        ({"keypoints": ["left_hand", "neck", "right_hand"]}, False),
        ({"flip_pairs": []}, False),
    ],
)
def test_the_fingerprint_covers_what_a_coordinate_means(change: dict[str, Any], same: bool) -> None:
    arm, other = Skeleton.from_dict(ARM), Skeleton.from_dict(ARM | change)
    assert (arm.fingerprint == other.fingerprint) is same
    mix: Callable[[], None] = lambda: arm.require_same(other, "b.json")  # noqa: E731
    if same:
        mix()
    else:
        with pytest.raises(SkeletonError, match=r"b\.json.*autolabel map"):
            mix()


def test_a_keypoint_is_found_by_name() -> None:
    arm = Skeleton.from_dict(ARM)
    assert arm.index("left_hand") == 1
    with pytest.raises(SkeletonError, match=r"'left_hnd'.*Did you mean 'left_hand'"):
        arm.index("left_hnd")
