from pathlib import Path

import numpy as np

from autolabel.manifest import Parent, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.report.manifest_page import BINS, manifest_page
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("lsp14")
K = SKELETON.num_keypoints


def test_a_manifest_is_counted_part_by_part(tmp_path: Path) -> None:
    visibility = np.full((6, K), Visibility.VISIBLE)
    visibility[0, 0], visibility[1, 0], visibility[2:4, 0] = Visibility.HIDDEN, Visibility.ABSENT, Visibility.UNLABELLED
    origin = np.full((6, K), Origin.MODEL)
    origin[5] = Origin.HUMAN
    poses = Poses.create(
        K,
        xy=np.full((6, K, 2), 20.0),
        visibility=visibility,
        origin=origin,
        p_bad=[0.01, 0.01, 0.5, 0.99, np.nan, np.nan],
        box=[[0, 0, 40, 40]] * 5 + [[np.nan] * 4],
    )
    samples = [Sample(f"s{i}", "root", f"{i}.png", (40, 40), poses.take([i])) for i in range(6)]
    parents = [Parent("corrections", "abc")]
    manifest = write_manifest(
        tmp_path / "m", samples, SKELETON, {"root": tmp_path}, stage="merge", parents=parents, part_size=2
    )
    page = manifest_page(manifest)
    said, placed = page.bars
    assert said.rows[0] == (SKELETON.keypoints[0].replace("_", " "), (2, 1, 1, 2))
    assert said.rows[1][1] == (6, 0, 0, 0)
    assert placed.rows[0][1] == (K, 5 * K, 0, 0)
    assert [tile.value for tile in page.tiles] == ["6", "6", f"{6 * K - 3}", "37.8 %"]
    assert "5 with a box" in page.tiles[1].note
    assert "4 scored poses" in page.plots[0].caption
    assert dict(page.facts)["made from"] == "corrections abc"
    assert not page.shelves  # the images are not there, and the page is made all the same
    assert BINS > 10


def test_a_manifest_without_poses_has_a_page(tmp_path: Path) -> None:
    samples = [Sample("s", "root", "a.png", (4, 4), Poses.empty(K))]
    page = manifest_page(write_manifest(tmp_path / "m", samples, SKELETON, {"root": tmp_path}, stage="scan"))
    assert [tile.value for tile in page.tiles] == ["1", "0", "0"]
    assert not page.bars and not page.plots and not page.shelves
