from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from autolabel.formats.coco import read_coco
from autolabel.poses import Origin, Poses, Visibility
from autolabel.similarity import (
    BadRule,
    bad_poses,
    box_iou,
    claims_present,
    compare,
    gross_keypoints,
    keypoint_similarity,
    longer_side,
    match,
    oks_matrix,
    pair_similarity,
    similarity_area,
)
from autolabel.skeleton import Skeleton

COCO17 = Skeleton.load("coco17")
SQUARE = Skeleton("square", ("a", "b", "c", "d"), (), (0, 1, 2, 3), (0.05,) * 4, "test")
CORNERS = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
REAL = Path(__file__).parents[3] / "shared/data/coco25/annotations.json"


def squares(*shifts: tuple[float, float], **given: Any) -> Poses:
    """Poses of four keypoints on the corners of boxes of 100 x 100 pixels."""
    xy = np.array([CORNERS + shift for shift in shifts]).reshape(-1, 4, 2)
    box = np.concatenate([xy[:, 0], xy[:, 3]], axis=1)
    return Poses.create(4, **{"xy": xy, "box": box, "visibility": np.full(xy.shape[:2], Visibility.VISIBLE), **given})


def distance_of_ks(ks: float, area: float, sigma: float) -> float:
    return float(np.sqrt(-np.log(ks) * 2 * area * (2 * sigma) ** 2))


# Areas


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        (4_000.0, 4_000.0),  # a mask
        (10_000.0, 5_300.0),  # the box in disguise
        (9_901.0, 5_300.0),  # within 1 % of it
        (10_099.0, 5_300.0),
        (9_899.0, 9_899.0),  # further away: a mask that fills its box
        (10_101.0, 10_101.0),
        (np.nan, 5_300.0),  # unknown
        (0.0, 5_300.0),  # no mask has no area
    ],
)
def test_area_that_is_no_mask_is_replaced(area: float, expected: float) -> None:
    assert similarity_area(squares((0, 0), area=[area])) == pytest.approx([expected])


def test_area_without_box_uses_the_extent_of_labelled_keypoints() -> None:
    boxless = squares((7, 9), box=[[np.nan] * 4], visibility=[[2, 2, 1, 0]])
    assert similarity_area(boxless) == pytest.approx([5_300.0])
    assert longer_side(boxless) == pytest.approx([100.0])
    nothing = squares((7, 9), box=[[np.nan] * 4], visibility=[[0, 0, 3, 0]])
    assert np.isnan(similarity_area(nothing)).all()


# KS and OKS


def test_ks_is_the_formula() -> None:
    xy = np.array([[3.0, 4.0]])
    expected = np.exp(-25.0 / (2 * 400.0 * (2 * 0.05) ** 2))
    assert keypoint_similarity(xy, np.zeros((1, 2)), 400.0, [0.05]) == pytest.approx([expected], rel=1e-12)


def test_ks_of_nothing_predicted_is_zero_and_of_nothing_true_unknown() -> None:
    nan, zero = np.full((1, 2), np.nan), np.zeros((1, 2))
    assert keypoint_similarity(nan, zero, 100.0, [0.05]).tolist() == [0.0]
    assert np.isnan(keypoint_similarity(zero, nan, 100.0, [0.05])).all()


def coco_oks(truth: Poses, found: Poses, skeleton: Skeleton, area: np.ndarray) -> np.ndarray:
    """(found, truth) OKS by pycocotools."""

    def triples(poses: Poses, i: int) -> list[float]:
        place = np.nan_to_num(poses.xy[i].astype(np.float64))
        v = np.where(poses.labelled[i], poses.visibility[i], 0)
        return np.column_stack([place, v]).reshape(-1).tolist()

    def index(poses: Poses, areas: np.ndarray, **more: list[Any]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": 1}],
            "categories": [{"id": 1}],
            "annotations": [
                {
                    "id": i + 1,
                    "image_id": 1,
                    "category_id": 1,
                    "keypoints": triples(poses, i),
                    "num_keypoints": int(poses.labelled[i].sum()),
                    "area": float(areas[i]),
                    "bbox": [0, 0, 1, 1],
                    "iscrowd": 0,
                    "score": -i,  # keeps the order
                }
                for i in range(len(poses))
            ],
        }
        coco.createIndex()
        return coco

    judge = COCOeval(index(truth, area), index(found, np.ones(len(found))), "keypoints")
    judge.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
    judge.params.imgIds, judge.params.catIds = [1], [1]
    judge._prepare()
    return np.asarray(judge.computeOks(1, 1))


@pytest.mark.parametrize("seed", range(3))
def test_oks_is_that_of_pycocotools_on_perturbed_people(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(seed)
    people = rng.uniform(0, 600, (6, 17, 2)).astype(np.float32)
    visibility = rng.choice([0, 1, 2, 3], (6, 17), p=[0.2, 0.2, 0.5, 0.1])
    visibility[:, 0] = 2
    area = rng.uniform(500, 40_000, 6)
    truth = Poses.create(17, xy=people, visibility=visibility, box=[[0, 0, 600, 600]] * 6, area=area)
    noise = rng.normal(0, rng.uniform(1, 30, (6, 1, 1)), people.shape)
    found = Poses.create(17, xy=people + noise, visibility=np.full((6, 17), 2))
    expected = coco_oks(truth, found, COCO17, area)
    assert np.abs(oks_matrix(found, truth, COCO17) - expected).max() < 1e-9
    assert expected.max() > 0.3  # the comparison is not of zeros


@pytest.mark.skipif(not REAL.is_file(), reason="shared/data/coco25 is not here")
def test_oks_is_that_of_pycocotools_on_real_people() -> None:
    rng = np.random.default_rng(7)
    compared = 0
    for sample in read_coco(REAL).samples:
        truth = sample.poses.take(sample.poses.labelled.any(axis=1) & ~sample.poses.crowd)
        if not len(truth):
            continue
        found = truth.replace(
            xy=np.nan_to_num(truth.xy) + rng.normal(0, 5, truth.xy.shape),
            visibility=np.full(truth.xy.shape[:2], 2),
        )
        expected = coco_oks(truth, found, COCO17, similarity_area(truth))
        assert np.abs(oks_matrix(found, truth, COCO17) - expected).max() < 1e-9
        compared += len(truth)
    assert compared > 50


# Presence and gross keypoints


@pytest.mark.parametrize(
    ("origin", "visibility", "presence", "has_xy", "claimed"),
    [
        (Origin.MODEL, Visibility.UNLABELLED, 0.5, True, True),  # presence decides, from 0.5 on
        (Origin.MODEL, Visibility.UNLABELLED, 0.49, True, False),  # ... although there is a coordinate
        (Origin.MODEL, Visibility.VISIBLE, 0.3, True, True),  # a word that a network made of it goes before
        (Origin.MODEL, Visibility.HIDDEN, 0.3, True, True),
        (Origin.MODEL, Visibility.ABSENT, 0.7, True, False),
        (Origin.MODEL, Visibility.UNLABELLED, np.nan, True, True),  # unknown presence: a coordinate claims
        (Origin.MODEL, Visibility.UNLABELLED, np.nan, False, False),
        (Origin.MODEL, Visibility.ABSENT, np.nan, True, False),
        (Origin.HUMAN, Visibility.VISIBLE, 0.1, True, True),  # a person's word goes before the model's number
        (Origin.HUMAN, Visibility.ABSENT, 0.9, True, False),
        (Origin.IMPORTED, Visibility.HIDDEN, np.nan, True, True),
    ],
)
def test_who_claims_that_a_keypoint_is_present(
    origin: Origin, visibility: Visibility, presence: float, has_xy: bool, claimed: bool
) -> None:
    poses = Poses.create(
        1,
        xy=[[[1, 1] if has_xy else [np.nan, np.nan]]],
        visibility=[[visibility]],
        presence=[[presence]],
        origin=[[origin]],
    )
    assert claims_present(poses).tolist() == [[claimed]]


@pytest.mark.parametrize(
    ("truth", "presence", "ks", "gross"),
    [
        (Visibility.VISIBLE, 0.9, 0.51, False),
        (Visibility.VISIBLE, 0.9, 0.49, True),
        (Visibility.HIDDEN, 0.9, 0.49, True),  # hidden is measured like visible
        (Visibility.VISIBLE, 0.1, 1.0, True),  # said absent, but it is there
        (Visibility.ABSENT, 0.9, np.nan, True),  # said present, but it is absent
        (Visibility.ABSENT, 0.1, np.nan, False),
        (Visibility.UNLABELLED, 0.9, np.nan, False),  # never scores
        (Visibility.UNLABELLED, 0.1, np.nan, False),
    ],
)
def test_gross(truth: Visibility, presence: float, ks: float, gross: bool) -> None:
    shift = 0.0 if np.isnan(ks) else distance_of_ks(ks, 5_300.0, 0.05)
    true = squares((0, 0), visibility=[[truth, 2, 2, 2]])
    found = squares(
        (0, 0), presence=[[presence, 1, 1, 1]], origin=[[Origin.MODEL] * 4], visibility=[[Visibility.UNLABELLED] * 4]
    )
    xy = found.xy.copy()
    xy[0, 0, 0] += shift
    found = found.replace(xy=xy)
    similarity = pair_similarity(found, true, SQUARE)
    assert gross_keypoints(found, true, similarity).tolist() == [[gross, False, False, False]]


@pytest.mark.parametrize(
    ("oks", "gross", "bad"),
    [
        (0.75, 0, False),  # the limit itself is good
        (0.749, 0, True),
        (0.9, 1, False),
        (0.9, 2, True),
        (np.nan, 1, False),  # nothing labelled: only presence can be wrong
        (np.nan, 2, True),
    ],
)
def test_bad(oks: float, gross: int, bad: bool) -> None:
    keypoints = np.arange(4)[None] < gross
    assert bad_poses(np.array([oks]), keypoints).tolist() == [bad]


def test_the_rule_is_configurable() -> None:
    strict = BadRule(bad_oks=0.95, bad_gross=1)
    one_gross = np.array([[True, False]])
    assert bad_poses(np.array([0.9]), np.zeros((1, 2), bool), strict).tolist() == [True]
    assert bad_poses(np.array([0.99]), one_gross, strict).tolist() == [True]
    assert bad_poses(np.array([0.9]), one_gross).tolist() == [False]


# Matching


def test_match_is_greedy_by_oks() -> None:
    truth = squares((0, 0), (10, 0))
    # The first is nearer to the second truth (2 px) than the second is (3 px): greedy gives it away first.
    found = squares((8, 0), (13, 0))
    assert match(found, truth, SQUARE).tolist() == [1, 0]


def test_match_is_one_to_one() -> None:
    assert sorted(match(squares((0, 0), (1, 0), (2, 0)), squares((0, 0)), SQUARE).tolist()) == [-1, -1, 0]


def test_equal_oks_is_decided_by_box_overlap() -> None:
    found = squares((0, 0), (0, 0), box=[[0, 0, 60, 100], [0, 0, 90, 100]])
    assert match(found, squares((0, 0)), SQUARE).tolist() == [-1, 0]


@pytest.mark.parametrize(("width", "matched"), [(50, True), (49, False)])
def test_zero_oks_needs_overlapping_boxes(width: int, matched: bool) -> None:
    truth = squares((0, 0))
    found = squares((5_000, 0), box=[[0, 0, width, 100]])
    assert oks_matrix(found, truth, SQUARE).max() < 1e-9
    assert match(found, truth, SQUARE).tolist() == [0 if matched else -1]


def test_a_truth_without_labels_is_matched_by_its_box() -> None:
    truth = squares((0, 0), visibility=[[0] * 4])
    assert match(squares((3, 0)), truth, SQUARE).tolist() == [0]
    judged = compare(squares((3, 0)), truth, SQUARE)
    assert judged.bad.tolist() == [False] and not judged.scored.any() and np.isnan(judged.oks).all()


def test_iou() -> None:
    a = np.array([[0.0, 0, 10, 10], [np.nan] * 4])
    b = np.array([[5.0, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 3]])
    assert box_iou(a, b) == pytest.approx(np.array([[1 / 3, 0, 0], [0, 0, 0]]))


# Comparison


def test_extra_and_second_poses_are_bad_and_missed_people_are_named() -> None:
    truth = squares((0, 0), (1_000, 0))
    found = squares((0, 0), (1, 1), (5_000, 0))
    judged = compare(found, truth, SQUARE)
    assert judged.truth.tolist() == [0, -1, -1]
    assert judged.bad.tolist() == [False, True, True]
    assert judged.missed.tolist() == [False, True]
    assert judged.oks[0] == 1 and np.isnan(judged.oks[1:]).all()


def test_poses_in_a_crowd_are_neither_good_nor_bad() -> None:
    truth = squares((0, 0), (1_000, 0), crowd=[False, True])
    found = squares((0, 0), (1_010, 10), (1_060, 0))
    judged = compare(found, truth, SQUARE)
    assert judged.ignored.tolist() == [False, True, False]  # the third lies in it by 40 % only
    assert judged.bad.tolist() == [False, False, True]
    assert judged.missed.tolist() == [False, False]  # a crowd is nobody to miss


def test_nobody_against_nobody() -> None:
    for found, truth in ((0, 0), (2, 0), (0, 2)):
        judged = compare(squares(*[(0, 0)] * found), squares(*[(0, 0)] * truth), SQUARE)
        assert judged.bad.tolist() == [True] * found
        assert judged.missed.tolist() == [True] * truth


def test_unlabelled_keypoints_change_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = squares((0, 0), visibility=[[2, 2, 0, 0]])
    steady, wild = squares((2, 0)), squares((2, 0))
    xy = wild.xy.copy()
    xy[0, 2:] = rng.uniform(-1e4, 1e4, (2, 2))
    a, b = compare(steady, truth, SQUARE), compare(wild.replace(xy=xy), truth, SQUARE)
    assert a.oks == b.oks and (a.gross == b.gross).all() and a.scored.tolist() == [[True, True, False, False]]
