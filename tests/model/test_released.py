"""The table of releases: figures as published, ids that can be told apart, files that are recognised."""

import pytest

from model.config import DATASETS, SIZES, ViTPoseConfig
from model.released import LAYOUTS, RELEASES, differs_from, find_release, golden_by_shape, with_golden

BY_ID = {release.id: release for release in RELEASES}


def test_every_release_is_described() -> None:
    assert len(BY_ID) == len(RELEASES)
    for release in RELEASES:
        assert release.layout in LAYOUTS
        assert release.size in SIZES
        assert set(release.datasets) <= set(DATASETS)
        assert {figure.dataset for figure in release.figures} <= set(release.datasets)
        assert (release.decoder is None) == (release.layout == "mae") == (not release.datasets)


# Name in the table, and AP on COCO's validation images, from the README of the official repository and mmpose's pages.
COCO_AP = {
    "official/vitpose-s-coco": 73.8, "official/vitpose-b-coco": 75.8,
    "official/vitpose-l-coco": 78.3, "official/vitpose-h-coco": 79.1,
    "official/vitpose-s-simple-coco": 73.5, "official/vitpose-b-simple-coco": 75.5,
    "official/vitpose-l-simple-coco": 78.2, "official/vitpose-h-simple-coco": 78.9,
    "official/vitpose-b-coco-aic-mpii": 77.1, "official/vitpose-l-coco-aic-mpii": 78.7,
    "official/vitpose-h-coco-aic-mpii": 79.5,
    "official/vitpose-b-coco-aic-mpii-crowdpose": 77.5, "official/vitpose-l-coco-aic-mpii-crowdpose": 79.1,
    "official/vitpose-h-coco-aic-mpii-crowdpose": 79.8,
    "official/vitpose++-s": 75.8, "official/vitpose++-b": 77.0, "official/vitpose++-l": 78.6,
    "official/vitpose++-h": 79.4,
    "mmpose/small-62d7a712": 73.9, "mmpose/base-216eae50": 75.7, "mmpose/large-53609f55": 78.2,
    "mmpose/huge-e32adcd4": 78.8, "mmpose/huge_3rdparty-5b738c8e": 79.0,
    "mmpose/small-simple-4c101a76": 73.6, "mmpose/base-simple-0b8234ea": 75.6,
    "mmpose/large-simple-3a7ee9e1": 78.0, "mmpose/huge-simple-ffd48c05": 78.9,
    "mmpose/human_art-small-5cbe2bfc": 73.7, "mmpose/human_art-base-b417f546": 75.8,
    "mmpose/human_art-large-9aba9345": 78.2, "mmpose/human_art-huge-603bb573": 78.8,
}  # fmt: skip


def test_reported_coco_ap() -> None:
    found = {
        release.id: figure.value
        for release in RELEASES
        for figure in release.figures
        if figure.benchmark.startswith("COCO val AP")
    }
    assert found == COCO_AP


@pytest.mark.parametrize(
    ("size", "figures"),
    [
        ("s", (75.8, 78.4, 29.7, 92.7, 71.4, 74.2, 54.4)),
        ("b", (77.0, 82.6, 31.8, 92.8, 74.5, 75.9, 57.4)),
        ("l", (78.6, 85.7, 34.3, 94.0, 80.4, 80.8, 60.6)),
        ("h", (79.4, 85.7, 34.8, 94.2, 82.4, 82.3, 61.2)),
    ],
)
def test_reported_figures_of_plus(size: str, figures: tuple[float, ...]) -> None:
    """COCO, OCHuman, AIC, MPII, AP-10K, APT-36K, WholeBody."""
    release = BY_ID[f"official/vitpose++-{size}"]
    assert tuple(figure.value for figure in release.figures) == figures
    assert [figure.dataset for figure in release.figures][2:] == ["aic", "mpii", "ap10k", "apt36k", "wholebody"]


@pytest.mark.parametrize(
    ("release", "figures"),
    [
        ("official/vitpose-b-coco-aic-mpii", (77.1, 88.0, 87.3, 32.0, 93.3)),
        ("official/vitpose-l-coco-aic-mpii", (78.7, 90.9, 90.1, 34.5, 94.0)),
        ("official/vitpose-h-coco-aic-mpii", (79.5, 90.9, 90.3, 35.4, 94.1)),
        ("official/vitpose-b-coco-aic-mpii-crowdpose", (77.5, 88.2, 31.9, 93.4, 74.7)),
        ("official/vitpose-l-coco-aic-mpii-crowdpose", (79.1, 91.5, 34.6, 93.9, 76.6)),
        ("official/vitpose-h-coco-aic-mpii-crowdpose", (79.8, 91.6, 35.3, 94.1, 76.3)),
        ("mmpose/small-62d7a712", (73.9, 50.7, 22.8)),
        ("mmpose/base-216eae50", (75.7, 55.5, 27.0)),
        ("mmpose/large-53609f55", (78.2, 63.7, 34.2)),
        ("mmpose/huge-e32adcd4", (78.8, 66.5, 37.7)),
        ("mmpose/human_art-small-5cbe2bfc", (73.8, 38.1, 73.7)),
        ("mmpose/human_art-base-b417f546", (75.9, 41.0, 75.8)),
        ("mmpose/human_art-large-9aba9345", (78.9, 45.9, 78.2)),
        ("mmpose/human_art-huge-603bb573", (80.0, 46.8, 78.8)),
    ],
)
def test_reported_figures_of_other_benchmarks(release: str, figures: tuple[float, ...]) -> None:
    """OCHuman's, said to be disputed, and Human-Art's beside COCO's."""
    assert tuple(figure.value for figure in BY_ID[release].figures) == figures
    assert all("disputed" in f.benchmark for r in RELEASES for f in r.figures if "OCHuman" in f.benchmark)


@pytest.mark.parametrize(
    ("release", "size", "changes", "expected"),
    [
        ("vitpose-base", "b", {}, ""),
        ("vitpose-base", "s", {}, "384 wide and 12 deep, not of size b"),
        ("vitpose-base", "b", {"decoder": "simple"}, "a network with the simple decoder, not the classic one"),
        ("vitpose-base", "b", {"experts": 2, "expert_width": 8, "datasets": ("a", "b")}, "a ViTPose++, not a plain"),
        ("vitpose-plus-base", "b", {}, ""),  # split from it
    ],
)
def test_what_cannot_be_a_release(release: str, size: str, changes: dict[str, object], expected: str) -> None:
    found = differs_from(BY_ID[f"usyd-community/{release}"], ViTPoseConfig.of_size(size, **changes))
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_published_keypoints() -> None:
    found = {release.id: (release.golden.x, release.golden.y, release.golden.score) for release in with_golden()}  # type: ignore[union-attr]
    assert found == {
        "usyd-community/vitpose-base-simple": (398.1805, 181.8084, 0.86664),
        "usyd-community/vitpose-base": (398.0791, 181.8281, 0.88235),
        "usyd-community/vitpose-base-coco-aic-mpii": (398.3055, 181.7416, 0.86997),
        "usyd-community/vitpose-plus-small": (398.1597, 181.6902, 0.9051),
        "usyd-community/vitpose-plus-base": (398.2013, 181.7283, 0.87505),
        "usyd-community/vitpose-plus-large": (398.1409, 181.7412, 0.8746),
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("usyd-community/vitpose-base", "usyd-community/vitpose-base"),
        ("/data/vitpose-base-simple", "usyd-community/vitpose-base-simple"),
        ("vitpose-plus-small", "usyd-community/vitpose-plus-small"),
        ("easy/vitpose-h-ap10k.pth", "easy_vitpose/vitpose-h-ap10k"),
        ("td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192-0b8234ea_20230407.pth", "mmpose/base-simple-0b8234ea"),
        ("mae_pretrain_vit_base_20230913.pth", "mmpose/mae-base"),
        ("official/vitpose++-s", "official/vitpose++-s"),
        ("vitpose-b.pth", None),
        ("checkpoint", None),
    ],
)
def test_a_name_tells_the_release(source: str, expected: str | None) -> None:
    found = find_release(source)
    assert (found.id if found else None) == expected


@pytest.mark.parametrize(
    ("size", "changes", "expected"),
    [
        ("s", {"experts": 6, "expert_width": 96, "datasets": tuple("abcdef")}, "usyd-community/vitpose-plus-small"),
        ("b", {"decoder": "simple"}, "usyd-community/vitpose-base-simple"),
        ("b", {}, None),  # two releases have this shape
        ("s", {}, None),  # nothing was published
    ],
)
def test_a_shape_tells_the_release_only_where_one_has_it(
    size: str, changes: dict[str, object], expected: str | None
) -> None:
    found = golden_by_shape(ViTPoseConfig.of_size(size, **changes))
    assert (found.id if found else None) == expected
