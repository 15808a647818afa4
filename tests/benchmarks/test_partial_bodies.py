"""Cutting people apart, and what is counted of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autolabel.presence import auroc
from autolabel.skeleton import Skeleton
from benchmarks.partial_bodies import (
    HALVES,
    KINDS,
    Cases,
    Interval,
    compare,
    cuts,
    measure,
    presence_row,
    rows_by_kind,
    share_within,
    told,
)
from benchmarks.training_people import Answers, Person, longer_side

LSP = Skeleton.load("lsp14")

STANDING = {
    "head_top": (100, 20), "neck": (100, 50),
    "left_shoulder": (120, 62), "left_elbow": (130, 80), "left_wrist": (135, 105),
    "right_shoulder": (80, 62), "right_elbow": (70, 80), "right_wrist": (65, 105),
    "left_hip": (112, 115), "left_knee": (114, 160), "left_ankle": (116, 205),
    "right_hip": (88, 115), "right_knee": (86, 160), "right_ankle": (84, 205),
}  # fmt: skip
"""Somebody who stands in the middle of an image of 200 x 230."""


def person(joints: dict[str, tuple[float, float]], size: tuple[int, int] = (200, 230)) -> Person:
    xy = np.array([joints.get(name, (0, 0)) for name in LSP.keypoints], np.float64)
    labelled = np.array([name in joints for name in LSP.keypoints])
    low, high = xy[labelled].min(axis=0), xy[labelled].max(axis=0)
    box = np.concatenate([low - 0.1 * (high - low), high + 0.1 * (high - low)])
    return Person(Path("nowhere.png"), size, box, xy, labelled, np.where(labelled, 2, 0).astype(np.uint8))


def names(inside: NDArray[np.bool_]) -> set[str]:
    return {name for name, there in zip(LSP.keypoints, inside, strict=True) if there}


UPPER = {name for name in STANDING if not any(joint in name for joint in ("hip", "knee", "ankle"))}


@pytest.mark.parametrize(
    ("kind", "inside", "untouched"),
    [
        # Only the image's bottom is cut away: what stands beside the head stays in the picture.
        ("head", {"head_top", "neck"}, ("left", "top", "right")),
        ("upper body", UPPER, ("left", "top", "right")),
        ("lower body", set(STANDING) - UPPER, ("left", "right", "bottom")),
        ("left half", {name for name, (x, _) in STANDING.items() if x < 99}, ("left", "top", "bottom")),
        ("right half", {name for name, (x, _) in STANDING.items() if x > 99}, ("top", "right", "bottom")),
    ],
)
def test_cuts_of_somebody_who_stands(kind: str, inside: set[str], untouched: tuple[str, ...]) -> None:
    who = person(STANDING)
    cut = next(cut for cut in cuts(who, LSP) if cut.kind == kind)
    assert names(cut.inside) == inside
    borders = dict(zip(("left", "top", "right", "bottom"), zip(cut.window, (0, 0, 200, 230), strict=True), strict=True))
    assert {side for side, (is_at, end) in borders.items() if is_at == end} == set(untouched)


def test_every_kind_is_found_and_every_cut_takes_something_away() -> None:
    found = cuts(person(STANDING), LSP)
    assert {cut.kind for cut in found} == set(KINDS)
    assert sum(cut.kind in ("arm", "leg") for cut in found) == 4
    for cut in found:
        assert 2 <= cut.inside.sum() < 14
        x0, y0, x1, y1 = cut.window
        assert x0 - 0.5 <= cut.box[0] < cut.box[2] <= x1 - 0.5
        assert y0 - 0.5 <= cut.box[1] < cut.box[3] <= y1 - 0.5


def test_wanted_joints_stay_and_those_inside_are_in_the_window() -> None:
    who = person(STANDING)
    for cut in cuts(who, LSP):
        if cut.kind in HALVES:
            continue
        x0, y0, x1, y1 = cut.window
        for name, there in zip(LSP.keypoints, cut.inside, strict=True):
            x, y = STANDING[name]
            assert there == (x0 - 0.5 <= x < x1 - 0.5 and y0 - 0.5 <= y < y1 - 0.5), (cut.kind, name)


def test_the_box_reaches_to_where_limbs_leave_the_image() -> None:
    who = person(STANDING)
    cut = next(cut for cut in cuts(who, LSP) if cut.kind == "upper body")
    # The trunk goes on to the hips: the box ends at the cut, below the wrists.
    assert cut.box[3] == cut.window[3] - 0.5
    assert cut.box[3] < 115  # the hips
    # On the open sides it is the tight box and a tenth: shoulders to wrists, 65 to 135.
    assert cut.box[[0, 2]] == pytest.approx([65 - 7, 135 + 7])


def test_people_with_too_little_are_not_cut() -> None:
    two = person({"left_knee": (50, 60), "left_ankle": (52, 90)})
    assert all(cut.inside.sum() < 2 or two.labelled.sum() > 2 for cut in cuts(two, LSP))
    tiny = person({name: (x / 20, y / 20) for name, (x, y) in STANDING.items()}, size=(12, 14))
    assert cuts(tiny, LSP) == []


def test_unlabelled_joints_are_neither_inside_nor_cut_away() -> None:
    who = person({name: place for name, place in STANDING.items() if name != "left_wrist"})
    wrist = LSP.index("left_wrist")
    found = cuts(who, LSP)
    assert len(found) >= 7
    assert not any(cut.inside[wrist] for cut in found)


def cases(whole: float, part: float, *, seed: int, probable: bool = False) -> Cases:
    """100 people with two parts each; so large a share of joints is right."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(100), 2)
    inside = np.tile([True, True, False], (200, 1))
    return Cases(
        person=owner,
        kind=np.array(["head", "arm"] * 100),
        inside=inside,
        known=np.ones((200, 3), bool),
        whole=np.where(rng.random((100, 3)) < whole, 0.05, 0.5),
        part=np.where(inside, np.where(rng.random((200, 3)) < part, 0.05, 0.5), np.nan),
        scale=np.full(200, 3.0),
        presence=np.where(inside, 0.8, 0.3) + rng.normal(0, 0.02, (200, 3)),
        probable=probable,
    )


def test_rows_count_the_same_joints_on_the_whole_and_on_the_part() -> None:
    some = cases(0.7, 0.5, seed=0)
    row = rows_by_kind(some, "plain")[-1]
    assert row["part"] == "all"
    assert row["parts"] == 200
    expected = np.mean([some.whole[p, k] <= 0.1 for p in range(100) for _ in range(2) for k in range(2)])
    assert row["whole@0.1"] == pytest.approx(expected)
    assert row["part@0.1"] == pytest.approx((some.part[some.inside] <= 0.1).mean())
    assert row["drop@0.1"] == pytest.approx(row["whole@0.1"] - row["part@0.1"])
    # 0.05 of the original box is 0.15 of a box of a third of its length: within 0.2 of it, but not within 0.1.
    assert row["part@0.1, remade box"] == 0
    assert row["part@0.2, remade box"] == pytest.approx(row["part@0.2"])


def test_share_within_of_nothing_is_unknown() -> None:
    assert np.isnan(share_within(np.full((2, 2), np.nan), 0.1))


def test_the_comparison_is_paired() -> None:
    plain, ours = cases(0.7, 0.4, seed=1), cases(0.7, 0.4, seed=2)
    same = compare(plain, plain)
    assert (same["whole"].value, same["whole"].low, same["whole"].high) == (0, 0, 0)
    assert same["ratio"].value == 1
    assert same["whole kept"]
    assert not same["halved"]
    other = compare(plain, ours)
    assert other["whole"].low < other["whole"].value < other["whole"].high


@pytest.mark.parametrize(
    ("whole", "part", "halved", "kept"),
    [(0.7, 0.68, True, True), (0.7, 0.3, False, True), (0.5, 0.5, True, False)],
)
def test_the_bar(whole: float, part: float, halved: bool, kept: bool) -> None:
    plain = cases(0.7, 0.4, seed=3)
    ours = cases(whole, part, seed=3)
    found = compare(plain, ours)
    assert found["halved"] is halved
    assert found["whole kept"] is kept
    text = told(found)
    assert ("not less than half" in text) is not halved
    assert ("does not exclude" in text) is not kept


def test_there_is_no_ratio_to_a_plain_recipe_that_loses_nothing() -> None:
    found = compare(cases(0.5, 0.9, seed=1), cases(0.5, 0.5, seed=2), resamples=50)
    assert np.isnan(found["ratio"].value)
    assert not found["halved"]


def test_interval_covers_the_true_difference() -> None:
    """Of 40 pairs of networks of known quality, about one in twenty misses."""
    missed = 0
    for seed in range(40):
        two = (cases(0.6, 0.4, seed=2 * seed), cases(0.7, 0.4, seed=2 * seed + 1))
        found: Interval = compare(*two, resamples=200)["whole"]
        missed += not found.low <= 0.1 <= found.high
    assert missed <= 6


def test_presence_of_probabilities_is_calibrated_and_of_peaks_only_ranked() -> None:
    head, peak = (
        presence_row(cases(0.7, 0.5, seed=0, probable=True), "ours"),
        presence_row(cases(0.7, 0.5, seed=0), "plain"),
    )
    assert head["AUROC"] == peak["AUROC"] == 1
    assert head["inside"] == pytest.approx(2 / 3)
    # Told apart perfectly, but too timidly: 0.8 where it is 1, 0.3 where it is 0.
    assert head["Brier"] == pytest.approx((2 * 0.2**2 + 0.3**2) / 3, abs=0.005)
    assert head["Brier skill"] == pytest.approx(1 - head["Brier"] / (2 / 9))
    assert head["ECE"] == pytest.approx((2 * 0.2 + 0.3) / 3, abs=0.01)
    assert "Brier" not in peak


def test_cases_are_kept(tmp_path: Path) -> None:
    some = cases(0.7, 0.5, seed=0, probable=True)
    some.save(tmp_path / "cases.npz")
    again = Cases.load(tmp_path / "cases.npz")
    for name, value in vars(some).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert again.probable is True


def test_a_network_is_asked_about_smaller_images(tmp_path: Path) -> None:
    """The cut is real, and answers come home: a network that points at the window's corner is right there."""
    who = person(STANDING)
    Image.new("RGB", (200, 230), (90, 120, 60)).save(tmp_path / "a.png")
    shown: list[tuple[int, int]] = []

    def corner(model: Any, images: Any) -> Answers:
        boxes = []
        for pixels, box in images:
            shown.append(pixels.shape[1::-1])
            assert (box[0, :2] >= -0.5).all()
            assert (box[0, 2:] <= np.array(pixels.shape[1::-1]) - 0.5).all()
            boxes.append(box[0])
        n = len(boxes)
        return Answers(np.zeros((n, 14, 2)), np.ones((n, 14)), None, None)

    class Model:
        skeleton = LSP

    here = Person(tmp_path / "a.png", (200, 230), who.box, who.xy, who.labelled, who.visibility)
    found = measure(Model(), [here], ask=corner)
    expected = [(cut.window[2] - cut.window[0], cut.window[3] - cut.window[1]) for cut in cuts(here, LSP)]
    assert shown[1:] == expected
    half = int(np.flatnonzero(found.kind == "right half")[0])
    window = next(cut.window for cut in cuts(here, LSP) if cut.kind == "right half")
    wanted = np.hypot(*(who.xy[13] - window[:2])) / longer_side(who.box)
    assert found.part[half, 13] == pytest.approx(wanted)
    assert found.probable is False


def test_a_peak_ranks_by_its_height() -> None:
    some = cases(0.7, 0.5, seed=4)
    assert presence_row(some, "plain")["AUROC"] == auroc(some.presence.ravel(), some.inside.ravel())
