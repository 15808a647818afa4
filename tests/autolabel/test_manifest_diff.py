"""Two manifests of few poses that differ in known ways, in every order and in parts of every size."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ManifestError, SkeletonError
from autolabel.manifest import Manifest, write_manifest
from autolabel.manifest_diff import Change, ImageDiff, PoseDiff, compare
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
NAMES = SKELETON.keypoints


def sample(i: int, *ids: str, **given: Any) -> Sample:
    """Image ``i`` with poses of a network, which stand elsewhere in every image."""
    n = len(ids)
    xy = np.random.default_rng(i).uniform(0, 90, (n, K, 2))
    poses = Poses.create(
        K,
        id=list(ids),
        xy=xy,
        visibility=np.full((n, K), Visibility.VISIBLE),
        origin=np.full((n, K), Origin.MODEL),
        box=[[0, 0, 90, 90]] * n,
    )
    return replace(Sample(f"{i:032x}", "corpus", f"{i}.jpg", (100, 100), poses), **given)


def written(path: Path, samples: Sequence[Sample], *, part_size: int = 3, skeleton: Skeleton = SKELETON) -> Manifest:
    return write_manifest(path, samples, skeleton, {"corpus": path}, stage="test", part_size=part_size)


def with_pose(changed: Sample, **given: Any) -> Sample:
    return changed.with_poses(changed.poses.replace(**given))


BASE = [sample(i, f"a{i}", f"b{i}") for i in range(5)]


def edited(field: str, row: int, keypoint: int, value: Any) -> dict[str, Any]:
    array = getattr(BASE[1].poses, field).copy()
    array[row, keypoint] = value
    return {field: array}


def both(**given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for part in given.values() for name, value in part.items()}


PLACE = ("corpus", "1.jpg")
FAR = BASE[1].poses.xy[0, 3] + np.float32([3, 4])
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a keypoint moved", edited("xy", 0, 3, FAR), {"moved": {NAMES[3]: 5.0}}),
    (
        "hidden",
        edited("visibility", 0, 2, Visibility.HIDDEN),
        {"visibility": {NAMES[2]: ("visible", "hidden")}},
    ),
    (
        "taken away",
        both(
            xy=edited("xy", 0, 2, np.nan),
            visibility=edited("visibility", 0, 2, Visibility.ABSENT),
            origin=edited("origin", 0, 2, Origin.HUMAN),
        ),
        {
            "unplaced": (NAMES[2],),
            "visibility": {NAMES[2]: ("visible", "absent")},
            "origin": {NAMES[2]: ("model", "human")},
        },
    ),
    ("reviewed", {"attributes": [{"state": "reviewed"}, {}]}, {"state": ("", "reviewed")}),
    ("a state that is no word", {"attributes": [{"state": ["?"]}, {}]}, {"state": ("", "['?']")}),
    ("another box", {"box": [[0, 0, 90, 91], [0, 0, 90, 90]]}, {"box": ([0, 0, 90, 90], [0, 0, 90, 91])}),
    ("no box", {"box": [[np.nan] * 4, [0, 0, 90, 90]]}, {"box": ([0, 0, 90, 90], None)}),
]


@pytest.mark.parametrize(("given", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_a_pose_states_is_compared(given: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    now = [*BASE]
    now[1] = with_pose(BASE[1], **given)
    first, second = written(tmp_path / "a", BASE), written(tmp_path / "b", now)
    (found,) = compare(first, second)
    assert isinstance(found, PoseDiff)
    wanted = PoseDiff("a1", PLACE, Change.CHANGED, **{"moved": {}, **expected})
    assert found == replace(wanted, moved=pytest.approx(wanted.moved, abs=1e-4))
    (back,) = compare(second, first)
    assert isinstance(back, PoseDiff)
    assert back.moved == found.moved
    assert back.placed == found.unplaced
    assert back.state == (None if found.state is None else found.state[::-1])


def test_scores_and_who_said_it_are_left_out(tmp_path: Path) -> None:
    scored = with_pose(BASE[1], score=np.ones((2, K)), by=["net", "net"], p_bad=[0.5, 0.5])
    first, second = written(tmp_path / "a", BASE), written(tmp_path / "b", [BASE[0], scored, *BASE[2:]])
    assert first.digest != second.digest
    assert list(compare(first, second)) == []


@pytest.mark.parametrize("part_size", [1, 2, 10])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_images_and_poses_that_came_and_went(part_size: int, order: list[int], tmp_path: Path) -> None:
    altered = replace(BASE[3], id="f" * 32)
    now = [BASE[1], BASE[2].with_poses(BASE[2].poses.take([1])), altered, sample(9, "a9")]
    first = written(tmp_path / "a", BASE[:4])
    second = written(tmp_path / "b", [now[i] for i in order], part_size=part_size)
    found = list(compare(first, second))
    told = {(item.place[1], getattr(item, "pose", ""), item.change.value) for item in found}
    assert told == {
        ("0.jpg", "", "removed"),
        ("0.jpg", "a0", "removed"),
        ("0.jpg", "b0", "removed"),
        ("2.jpg", "a2", "removed"),
        ("3.jpg", "", "changed"),
        ("9.jpg", "", "added"),
        ("9.jpg", "a9", "added"),
    }
    assert len(found) == len(told)
    (gone,) = (item for item in found if isinstance(item, ImageDiff) and item.change is Change.REMOVED)
    assert gone.to_dict() == {"image": "corpus/0.jpg", "change": "removed"}


def test_equal_manifests_and_empty_ones(tmp_path: Path) -> None:
    whole, same = written(tmp_path / "a", BASE), written(tmp_path / "b", BASE[::-1], part_size=1)
    nothing = written(tmp_path / "nothing", [])
    assert list(compare(whole, same)) == []
    assert list(compare(nothing, nothing)) == []
    assert {item.change for item in compare(nothing, whole)} == {Change.ADDED}
    assert len(list(compare(nothing, whole))) == len(list(compare(whole, nothing))) == 15


def test_poses_of_one_id_in_two_images_are_not_mixed_up(tmp_path: Path) -> None:
    twins = [sample(0, "same"), sample(1, "same")]
    first, second = written(tmp_path / "a", twins), written(tmp_path / "b", twins[::-1])
    assert list(compare(first, second)) == []


def test_other_skeletons_cannot_be_compared(tmp_path: Path) -> None:
    first = written(tmp_path / "a", BASE)
    other = written(tmp_path / "b", [], skeleton=Skeleton.load("mpii16"))
    with pytest.raises(SkeletonError, match=r"b: skeleton 'mpii16' .* is not 'coco17' .*autolabel map"):
        list(compare(first, other))


@pytest.mark.parametrize(
    ("samples", "said"),
    [([*BASE, BASE[4]], "lists image 4.jpg twice"), ([sample(0, "x", "x")], "lists pose 'x' twice in image 0.jpg")],
)
def test_what_is_listed_twice_is_refused(samples: list[Sample], said: str, tmp_path: Path) -> None:
    first, second = written(tmp_path / "a", BASE), written(tmp_path / "b", samples)
    for pair in ((first, second), (second, first)):
        with pytest.raises(ManifestError, match=f"b: {said}"):
            list(compare(*pair))
