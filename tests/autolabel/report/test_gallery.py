"""Which poses are shown, in which order, and what happens where their images are missing."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.report.gallery import PER_SHELF, SIDE, Shelf, shelves
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("lsp14")
K = SKELETON.num_keypoints
N = 40


def poses(**changes: Any) -> Poses:
    random = np.random.default_rng(1)
    given = {
        "id": [f"{i:032x}" for i in range(N)],
        "xy": random.uniform(10, 50, (N, K, 2)),
        "visibility": np.full((N, K), Visibility.VISIBLE),
        "origin": np.full((N, K), Origin.MODEL),
        "box": np.tile([5.0, 5.0, 55.0, 55.0], (N, 1)),
        "p_bad": np.linspace(0, 0.975, N),
    }
    return Poses.create(K, **(given | changes))


def manifest(tmp_path: Path, given: Poses, part_size: int = 16, broken: tuple[int, ...] = ()) -> Manifest:
    """One pose an image; pose i is in ``i.png``."""
    for i in range(N):
        Image.new("RGB", (60, 60), (i, 100, 200)).save(tmp_path / f"{i}.png")
        if i in broken:
            (tmp_path / f"{i}.png").write_text("no image")
    samples = [Sample(f"s{i}", "root", f"{i}.png", (60, 60), given.take([i])) for i in range(N)]
    return write_manifest(
        tmp_path / "m", samples, SKELETON, {"root": tmp_path}, stage="test", part_size=part_size,
        existing=Existing.OVERWRITE,
    )  # fmt: skip


def shown(found: tuple[Shelf, ...], title: str) -> list[str]:
    return next(([shot.source for shot in shelf.shots] for shelf in found if shelf.title == title), [])


def states(name: Mapping[int, str]) -> list[dict[str, str]]:
    return [{"state": name[i]} if i in name else {} for i in range(N)]


@pytest.mark.parametrize("part_size", [7, 40])
def test_the_most_doubtful_that_nobody_opened_come_first(tmp_path: Path, part_size: int) -> None:
    origin = np.full((N, K), Origin.MODEL)
    origin[37, 3] = Origin.HUMAN
    p_bad = np.linspace(0, 0.975, N)
    p_bad[35] = np.nan
    attributes = states({39: "reviewed", 38: "rejected", 36: "expert"})
    found = shelves(manifest(tmp_path, poses(origin=origin, p_bad=p_bad, attributes=attributes), part_size), {})
    assert shown(found, "Most doubtful") == [f"{i}.png" for i in (36, 34, 33, 32, 31, 30, 29, 28)]
    assert "of 36 poses" in found[0].caption  # opened: 37, 38, 39; never scored: 35


def test_accepted_poses_are_drawn_at_random_but_the_same_every_time(tmp_path: Path) -> None:
    given = poses(attributes=states(dict.fromkeys(range(30), "accepted")))
    first, again = (shown(shelves(manifest(tmp_path, given, size), {}), "Accepted") for size in (16, 5))
    assert first == again
    assert len(first) == PER_SHELF
    rows = [int(name.removesuffix(".png")) for name in first]
    assert set(rows) <= set(range(30))
    assert rows != sorted(rows)


def test_without_accepted_poses_any_are_drawn(tmp_path: Path) -> None:
    found = shelves(manifest(tmp_path, poses()), {})
    assert [shelf.title for shelf in found] == ["Most doubtful", "A random look"]
    accepted = shelves(manifest(tmp_path, poses(attributes=states({0: "accepted"}))), {})
    assert [shelf.title for shelf in accepted] == ["Most doubtful", "Accepted"]


def corrected(given: Poses, row: int, moved: float, by: str = "ann", state: State = State.REVIEWED) -> Correction:
    """A person moved the first joint of a pose to where it is now."""
    before = given.xy[row].copy()
    before[0, 0] -= moved
    change = KeypointChange.MOVED if moved else KeypointChange.KEPT
    return Correction(
        pose=given.id[row],
        sample=("", "", ""),
        change=PoseChange.KEPT,
        keypoints=(change, *[KeypointChange.KEPT] * (K - 1)),
        before=Stated(before, given.visibility[row], given.box[row]),
        after=Stated(given.xy[row], given.visibility[row], given.box[row]),
        state=state,
        verdict=(),
        by=by,
        when="2026-01-01T00:00:00+00:00",
        seconds=None,
        clicks=1,
        task="",
    )


def test_the_largest_corrections_come_first(tmp_path: Path) -> None:
    given = poses()
    moved = {3: 5.0, 20: 30.0, 8: 12.0, 9: 0.0}
    ledger = {given.id[row]: corrected(given, row, by) for row, by in moved.items()}
    ledger[given.id[30]] = corrected(given, 30, 40.0, state=State.REJECTED)
    found = shelves(manifest(tmp_path, given), ledger)
    assert shown(found, "Corrected") == ["20.png", "8.png", "3.png"]  # 9 was only accepted, 30 thrown out
    shot = found[-1].shots[0]
    assert "1 of 14 keypoints changed by ann" in shot.caption
    picture = np.asarray(Image.open(io.BytesIO(shot.jpeg)))
    assert picture.shape == (SIDE, SIDE, 3)


def test_without_a_ledger_what_people_placed_is_shown(tmp_path: Path) -> None:
    origin = np.full((N, K), Origin.MODEL)
    origin[[4, 7], 2] = Origin.HUMAN
    found = shelves(manifest(tmp_path, poses(origin=origin)), {})
    assert sorted(shown(found, "Placed by people")) == ["4.png", "7.png"]


@pytest.mark.parametrize("part_size", [9, 40])
def test_missing_images_are_passed_over(tmp_path: Path, part_size: int) -> None:
    found = shelves(manifest(tmp_path, poses(), part_size, broken=(39, 37)), {})
    assert shown(found, "Most doubtful") == [f"{i}.png" for i in (38, 36, 35, 34, 33, 32, 31, 30)]
    assert shelves(manifest(tmp_path, poses(), broken=tuple(range(N))), {}) == ()


def test_doubtful_joints_are_named(tmp_path: Path) -> None:
    p_gross = np.full((N, K), 0.1)
    p_gross[39, :5] = 0.9
    caption = shelves(manifest(tmp_path, poses(p_gross=p_gross)), {})[0].shots[0].caption
    names = ", ".join(name.replace("_", " ") for name in SKELETON.keypoints[:3])
    assert caption == f"p_bad 0.98 · doubtful: {names} and 2 more"


def test_poses_with_nothing_to_draw_are_not_shown(tmp_path: Path) -> None:
    visibility = np.full((N, K), Visibility.VISIBLE)
    visibility[39] = Visibility.ABSENT
    xy = poses().xy.copy()
    xy[38] = np.nan
    visibility[38] = Visibility.UNLABELLED
    assert shown(shelves(manifest(tmp_path, poses(xy=xy, visibility=visibility)), {}), "Most doubtful")[0] == "37.png"
    assert shelves(manifest(tmp_path, Poses.create(K, id=poses().id)), {}) == ()
