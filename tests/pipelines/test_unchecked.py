"""People whom nobody checked, from several manifests: by chance, each once, and none that a teacher may know."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ExistsError, SkeletonError
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.unchecked import unchecked

COCO = Skeleton.load("coco17")
K = COCO.num_keypoints


def people(count: int, image: int = 0, **fields: Any) -> Poses:
    box = np.tile([1.0, 2, 30, 40], (count, 1)) + np.arange(count)[:, None]
    return Poses.create(K, **{"id": [f"{image}p{i}" for i in range(count)], "box": box, **fields})


def images(name: str, counts: Sequence[int], group: str = "", **fields: Any) -> list[Sample]:
    return [
        Sample(f"{name}-bytes-{i}", "photos", f"{name}{i}.png", (60, 80), people(count, i, **fields), group=group)
        for i, count in enumerate(counts)
    ]


def write(folder: Path, name: str, samples: Sequence[Sample], skeleton: Skeleton = COCO) -> Manifest:
    return write_manifest(folder / name, samples, skeleton, {"photos": folder / "photos"}, stage="test")


@pytest.fixture
def checked(tmp_path: Path) -> Manifest:
    return write(tmp_path, "checked", images("c", [1]))


def taken(manifest: Manifest) -> dict[str, int]:
    return {sample.path: len(sample.poses) for sample in manifest}


def test_whole_images_of_all_manifests_until_there_are_enough(tmp_path: Path, checked: Manifest) -> None:
    one, two = write(tmp_path, "one", images("a", [3, 2, 4])), write(tmp_path, "two", images("b", [1, 5]))
    everybody = unchecked([one, two], checked, most=100, seed=0, out=tmp_path / "all")
    assert taken(everybody) == {"a0.png": 3, "a1.png": 2, "a2.png": 4, "b0.png": 1, "b1.png": 5}
    ids = [pose for sample in everybody for pose in sample.poses.id.tolist()]
    assert len(set(ids)) == 15, "people of one name in both manifests are told apart"
    assert all(everybody.image_path(sample).resolve() == tmp_path / "photos" / sample.path for sample in everybody)
    some = [unchecked([one, two], checked, most=7, seed=seed, out=tmp_path / f"some{seed}") for seed in range(4)]
    for manifest in some:
        cut = [path for path, count in taken(manifest).items() if count != taken(everybody)[path]]
        assert manifest.counts["poses"] == 7
        assert len(cut) <= 1, "only of the last image not everybody comes in"
    assert len({tuple(taken(manifest)) for manifest in some}) > 1, "the seed decides"


def test_groups_that_were_checked_and_images_seen_before_are_left_out(tmp_path: Path) -> None:
    checked = write(
        tmp_path, "checked", [replace(sample, group=f"video{i}") for i, sample in enumerate(images("c", [1, 1]))]
    )
    first = images("a", [1, 2, 3, 4])
    first[0] = replace(first[0], group="video1")
    first[1] = replace(first[1], id="c-bytes-0")
    again = replace(first[2], poses=people(6))
    sources = [write(tmp_path, "one", first), write(tmp_path, "two", [again])]
    assert taken(unchecked(sources, checked, most=100, seed=0, out=tmp_path / "out")) == {"a2.png": 3, "a3.png": 4}


def test_files_of_the_same_name_in_another_corpus_are_others(tmp_path: Path) -> None:
    """Every drawn corpus has an image 00000000.jpg, and every scan of a folder a root of the same name."""
    checked = write(tmp_path / "one", "checked", images("0000", [1, 1], group="day 1"))
    others = [replace(sample, id=f"other-{i}") for i, sample in enumerate(images("0000", [2, 3], group="day 1"))]
    source = write(tmp_path / "two", "people", others)
    found = unchecked([source], checked, most=100, seed=0, out=tmp_path / "out")
    assert taken(found) == {"00000.png": 2, "00001.png": 3}
    copied = write(tmp_path / "three", "people", [replace(others[0], id="0000-bytes-0"), *others[1:]])
    found = unchecked([source, copied], checked, most=100, seed=0, out=tmp_path / "again")
    assert found.counts["samples"] == 2, "the same bytes in two folders are one image, and checked ones are left out"


def test_crowds_and_people_without_a_box_do_not_come_in(tmp_path: Path, checked: Manifest) -> None:
    box = np.tile([1.0, 2, 30, 40], (3, 1))
    box[1] = np.nan
    source = write(tmp_path, "one", [*images("a", [3], box=box, crowd=[True, False, False]), *images("b", [0])])
    found = unchecked([source], checked, most=100, seed=0, out=tmp_path / "out")
    assert [sample.poses.id.tolist() for sample in found] == [["0-0p2"]]


def test_nobody_is_left(tmp_path: Path, checked: Manifest) -> None:
    found = unchecked([checked], checked, most=100, seed=0, out=tmp_path / "out")
    assert found.counts == {"samples": 0, "poses": 0}


def test_the_same_again_does_nothing_and_another_needs_overwrite(tmp_path: Path, checked: Manifest) -> None:
    source, out = write(tmp_path, "one", images("a", [3, 2])), tmp_path / "out"
    first = unchecked([source], checked, most=4, seed=0, out=out)
    written = (out / "manifest.json").stat().st_mtime_ns
    assert unchecked([source], checked, most=4, seed=0, out=out).digest == first.digest
    assert (out / "manifest.json").stat().st_mtime_ns == written
    with pytest.raises(ExistsError):
        unchecked([source], checked, most=3, seed=0, out=out)
    assert unchecked([source], checked, most=3, seed=0, out=out, overwrite=True).counts["poses"] == 3


def test_several_skeletons_are_refused(tmp_path: Path, checked: Manifest) -> None:
    crowd = Skeleton.load("crowdpose14")
    other = write(tmp_path, "two", [Sample("x", "photos", "x.png", (60, 80), Poses.empty(14))], crowd)
    with pytest.raises(SkeletonError, match="crowdpose14"):
        unchecked([checked, other], checked, most=4, seed=0, out=tmp_path / "out")
