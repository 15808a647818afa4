"""AP and AR from match tables against pycocotools' own ``accumulate`` and ``summarize``, to the last bit."""

import contextlib
import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from autolabel.average_precision import NAMES, MatchTables, average_precision, by_threshold, coco_numbers
from autolabel.evaluate_coco import instance_scores, match_images
from autolabel.formats.coco import read_coco
from autolabel.poses import Poses
from autolabel.similarity import similarity_area
from autolabel.skeleton import Skeleton

REAL = Path(__file__).parents[3] / "shared/data/coco25/annotations.json"
COCO17 = Skeleton.load("coco17")
Pair = tuple[Poses, Poses]


def official(pairs: list[Pair], skeleton: Skeleton = COCO17) -> tuple[Any, Any]:
    """pycocotools' ten numbers (-1 where there are none) and its precision array."""

    def coco(images: list[list[dict[str, Any]]]) -> Any:
        flat = [{**record, "image_id": i, "category_id": 1} for i, image in enumerate(images) for record in image]
        made = COCO()
        made.dataset = {
            "images": [{"id": i} for i in range(len(images))],
            "categories": [{"id": 1}],
            "annotations": [{**record, "id": n} for n, record in enumerate(flat, start=1)],
        }
        made.createIndex()
        return made

    def keypoints(xy: Any, v: Any) -> list[float]:
        return np.column_stack([np.nan_to_num(xy.astype(np.float64)), v]).reshape(-1).tolist()

    def true(poses: Poses) -> list[dict[str, Any]]:
        area, labelled = similarity_area(poses), poses.labelled
        return [
            {
                "keypoints": keypoints(poses.xy[i], labelled[i].astype(int)),
                "num_keypoints": int(labelled[i].sum()),
                "area": float(area[i]),
                "iscrowd": int(poses.crowd[i]),
                "bbox": [*poses.box[i, :2].tolist(), *(poses.box[i, 2:] - poses.box[i, :2]).tolist()],
            }
            for i in range(len(poses))
        ]

    def found(poses: Poses) -> list[dict[str, Any]]:
        score = instance_scores(poses)
        extent = np.ptp(poses.xy.astype(np.float64), axis=1).prod(axis=1)
        return [
            {
                "keypoints": keypoints(poses.xy[i], np.ones(17)),
                "score": float(score[i]),
                "area": float(extent[i]),
                "iscrowd": 0,
            }
            for i in range(len(poses))
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(coco([true(t) for _, t in pairs]), coco([found(p) for p, _ in pairs]), "keypoints")
        judge.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats, judge.eval


def assert_official(pairs: list[Pair]) -> MatchTables:
    tables = match_images(pairs, COCO17)
    stats, evaluation = official(pairs)
    assert np.nan_to_num(coco_numbers(tables)[0], nan=-1.0).tolist() == stats.tolist()
    if stats[0] >= 0:
        precision, recall = by_threshold(tables)
        assert precision.tolist() == evaluation["precision"][:, :, 0, 0, 0].mean(axis=1).tolist()
        assert recall.tolist() == evaluation["recall"][:, 0, 0, 0].tolist()
        assert average_precision(tables).tolist() == [stats[0]]
    return tables


def predicted(truth: Poses, rng: np.random.Generator, *, ties: bool) -> Poses:
    """Everybody twice, shaken differently, and somebody where nobody is."""
    xy = np.nan_to_num(truth.xy.astype(np.float64), nan=60.0)
    level = rng.exponential(3, (len(xy), 1, 1))
    places = np.concatenate([xy + level * rng.normal(0, 1, xy.shape), xy + 3 * level, rng.uniform(0, 600, (2, 17, 2))])
    score = rng.uniform(0, 1, len(places))
    return Poses.create(17, xy=places, box_score=np.round(score, 1) if ties else score)


def drawn(rng: np.random.Generator, people: int) -> Poses:
    corner, side = rng.uniform(0, 500, (people, 1, 2)), rng.uniform(20, 400, (people, 1, 1))
    box = np.concatenate([corner, corner + side], axis=2)[:, 0]
    return Poses.create(
        17,
        xy=corner + side * rng.uniform(0, 1, (people, 17, 2)),
        visibility=rng.choice([0, 1, 2], (people, 17)) * (rng.random((people, 1)) < 0.9),
        box=box,
        area=0.4 * side.reshape(-1) ** 2,
        crowd=rng.random(people) < 0.1,
    )


@pytest.mark.parametrize("ties", [False, True])
def test_real_people_have_pycocotools_numbers_to_the_last_bit(ties: bool) -> None:
    if not REAL.is_file():
        pytest.skip("shared/data/coco25 is not here")
    rng = np.random.default_rng(0)
    pairs = [(predicted(s.poses, rng, ties=ties), s.poses) for s in read_coco(REAL).samples]
    tables = assert_official(pairs)
    assert 0.2 < coco_numbers(tables)[0, 0] < 0.8


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), people=st.lists(st.integers(0, 5), min_size=1, max_size=6), ties=st.booleans())
def test_any_images_have_pycocotools_numbers_to_the_last_bit(seed: int, people: list[int], ties: bool) -> None:
    """Empty images, crowds, people without keypoints, more than 20 poses, equal scores."""
    rng = np.random.default_rng(seed)
    truths = [drawn(rng, n) for n in people]
    assert_official([(predicted(truth, rng, ties=ties), truth) for truth in truths])


def test_more_than_twenty_poses_of_an_image_do_not_count() -> None:
    rng = np.random.default_rng(3)
    truths = [drawn(rng, 15), drawn(rng, 2)]
    tables = assert_official([(predicted(truth, rng, ties=False), truth) for truth in truths])
    assert np.bincount(tables.image).tolist() == [20, 6]


def test_an_image_that_counts_twice_is_the_image_twice() -> None:
    rng = np.random.default_rng(1)
    truths = [drawn(rng, n) for n in (2, 3, 1, 0, 4, 2)]
    pairs = [(predicted(truth, rng, ties=False), truth) for truth in truths]
    tables = match_images(pairs, COCO17)
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 3, 0, 1, 0], [0, 6, 0, 0, 0, 0], [0, 0, 0, 5, 0, 1]], float)
    for row, numbers in zip(weights, coco_numbers(tables, weights), strict=True):
        repeated = [pair for pair, often in zip(pairs, row, strict=True) for _ in range(int(often))]
        assert np.nan_to_num(numbers, nan=-1.0).tolist() == pytest.approx(official(repeated)[0].tolist(), abs=1e-12)
    assert average_precision(tables, weights).tolist() == coco_numbers(tables, weights)[:, 0].tolist()


def test_resamples_need_no_more_memory_than_a_few_columns_of_the_poses() -> None:
    rng = np.random.default_rng(5)
    images, poses = 10_000, 20_000
    right = rng.random((3, 10, poses)) < 0.6
    tables = MatchTables(
        np.sort(rng.integers(0, images, poses)).astype(np.int32),
        rng.random(poses),
        right,
        ~right,
        np.full((images, 3), 2, np.int32),
    )
    weights = rng.integers(0, 3, (4, images)).astype(float)
    tracemalloc.start()
    coco_numbers(tables, weights)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Thirty columns of 64-bit numbers, one for each size and threshold, would be 240 bytes a pose each time.
    assert peak < 500 * poses


def test_images_in_another_order_and_in_batches_are_the_same_tables() -> None:
    rng = np.random.default_rng(2)
    truths = [drawn(rng, n) for n in (2, 0, 3, 1)]
    pairs = [(predicted(truth, rng, ties=True), truth) for truth in truths]
    whole = match_images(pairs, COCO17)
    batches = MatchTables.concat([match_images(pairs[:2], COCO17), match_images(pairs[2:], COCO17)])
    order = np.array([2, 0, 3, 1])
    shuffled = match_images([pairs[i] for i in order], COCO17)
    for expected, made in ((whole, batches), (shuffled, whole.take(order))):
        for field in ("image", "score", "right", "wrong", "people"):
            assert np.array_equal(getattr(expected, field), getattr(made, field)), field


@pytest.mark.parametrize("people", [0, 2])
@pytest.mark.parametrize("poses", [0, 2])
def test_nobody_and_nothing(people: int, poses: int) -> None:
    rng = np.random.default_rng(4)
    truth = drawn(rng, people).replace(crowd=np.zeros(people, bool), visibility=np.full((people, 17), 2))
    found = Poses.create(17, xy=rng.uniform(0, 500, (poses, 17, 2)))
    numbers = dict(zip(NAMES, coco_numbers(match_images([(found, truth)], COCO17))[0].tolist(), strict=True))
    assert np.isnan(numbers["AP"]) == (people == 0)
    assert_official([(found, truth)])
