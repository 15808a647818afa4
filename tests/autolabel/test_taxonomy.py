"""Error states by hand, and against a reading of the paper's rules one keypoint and one candidate at a time."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.formats.coco import read_coco
from autolabel.poses import Poses
from autolabel.similarity import similarity_area
from autolabel.skeleton import Skeleton
from autolabel.taxonomy import GOOD_KS, State, classify, scoring_errors

REAL = Path(__file__).parents[3] / "shared/data/coco25/annotations.json"
COCO17 = Skeleton.load("coco17")
ARMS = Skeleton("arms", ("nose", "left_hand", "right_hand"), (), (0, 2, 1), (0.05, 0.05, 0.05), "stated by the test")

# 2 A (2σ)² = 200: KS 0.85 lies at 5.7 px, KS 0.5 at 11.8 px.
HOME = [[100.0, 100.0], [60.0, 100.0], [140.0, 100.0]]
AWAY = [[300.0, 100.0], [260.0, 100.0], [340.0, 100.0]]


def people(visibility: Any = 2, **given: Any) -> Poses:
    xy = np.array([HOME, AWAY])
    return Poses.create(3, **{"xy": xy, "visibility": np.broadcast_to(visibility, (2, 3)), "area": [1e4, 1e4]} | given)


@pytest.mark.parametrize(
    ("keypoint", "place", "expected"),
    [
        pytest.param(1, (60, 100), State.GOOD, id="exactly right"),
        pytest.param(1, (65, 100), State.GOOD, id="KS 0.88"),
        pytest.param(1, (66, 100), State.JITTER, id="KS 0.84"),
        pytest.param(1, (71, 100), State.JITTER, id="KS 0.55"),
        pytest.param(1, (72, 100), State.MISS, id="KS 0.49"),
        pytest.param(1, (140, 100), State.INVERSION, id="its own other hand"),
        pytest.param(1, (151, 100), State.INVERSION, id="near its own other hand"),
        pytest.param(1, (260, 100), State.SWAP, id="the neighbour's same hand"),
        pytest.param(1, (340, 100), State.SWAP, id="the neighbour's other hand"),
        pytest.param(1, (300, 100), State.MISS, id="the neighbour's nose is no candidate"),
        pytest.param(0, (300, 100), State.SWAP, id="nose on nose"),
        pytest.param(0, (60, 100), State.MISS, id="a nose is nobody's mirror image"),
        pytest.param(1, (math.nan, math.nan), State.MISS, id="not predicted"),
    ],
)
def test_states_by_hand(keypoint: int, place: tuple[float, float], expected: State) -> None:
    xy = np.array([HOME])
    xy[0, keypoint] = place
    states = classify(xy, [0], people(), ARMS)[0]
    assert states[keypoint] == expected
    assert (np.delete(states, keypoint) == State.GOOD).all()


def test_what_nobody_labelled_is_no_candidate_and_not_judged() -> None:
    xy = np.array([HOME])
    xy[0, 1] = AWAY[1]
    unlabelled = people([[2, 2, 2], [2, 0, 2]])
    assert classify(xy, [0], unlabelled, ARMS).tolist() == [[State.GOOD, State.MISS, State.GOOD]]
    own_unknown = people([[2, 0, 3], [2, 2, 2]])
    assert classify(xy, [0], own_unknown, ARMS).tolist() == [[State.GOOD, State.UNKNOWN, State.UNKNOWN]]


def test_a_crowd_is_nobody() -> None:
    xy = np.array([HOME])
    xy[0, 1] = AWAY[1]
    assert classify(xy, [0], people(crowd=[False, True]), ARMS)[0, 1] == State.MISS


def test_the_neighbours_size_decides_how_near_is_near() -> None:
    xy = np.array([HOME])
    xy[0, 1] = [280.0, 100.0]  # 20 px from the neighbour's hand
    assert classify(xy, [0], people(area=[1e4, 1e4]), ARMS)[0, 1] == State.MISS
    assert classify(xy, [0], people(area=[1e4, 9e4]), ARMS)[0, 1] == State.SWAP


def test_nearer_to_the_own_place_is_no_swap() -> None:
    """Two people whose hands nearly touch: the similar one counts, and of equal ones the own."""
    close = people(xy=np.array([HOME, np.add(HOME, (6.0, 0.0))]))
    xy = np.array([HOME])
    assert (classify(xy, [0], close, ARMS) == State.GOOD).all()
    xy[0, 1] = [63.0, 100.0]  # half way
    assert classify(xy, [0], close, ARMS)[0, 1] == State.GOOD
    xy[0, 1] = [64.0, 100.0]
    assert classify(xy, [0], close, ARMS)[0, 1] == State.SWAP


def test_of_equal_places_the_own_mirror_image_goes_before_a_neighbours() -> None:
    """Both right hands lie where the left one was predicted, and the own left hand elsewhere."""
    touching = people(xy=np.array([HOME, [AWAY[0], AWAY[1], HOME[2]]]))
    xy = np.array([HOME])
    xy[0, 1] = np.add(HOME[2], (3.0, 0.0))
    assert classify(xy, [0], touching, ARMS)[0, 1] == State.INVERSION


def test_good_is_from_its_bound_on() -> None:
    """At the pixel where KS is 0.85 as numbers have it, on both sides of it."""
    spread = 2 * 1e4 * (2 * 0.05) ** 2
    at = math.sqrt(-spread * math.log(GOOD_KS))
    for further, expected in ((-1e-6, State.GOOD), (1e-6, State.JITTER)):
        xy = np.array([HOME])
        xy[0, 1, 0] += at + further
        assert classify(xy, [0], people(), ARMS)[0, 1] == expected


def state_by_the_book(place: Any, k: int, person: int, truth: Poses, skeleton: Skeleton) -> State:
    """Ronchi & Perona's rules, one candidate after the other."""
    area = similarity_area(truth)

    def ks(owner: int, joint: int) -> float:
        if truth.visibility[owner, joint] not in (1, 2):
            return -1.0
        if np.isnan(place[0]):
            return 0.0
        d2 = sum((float(a) - float(b)) ** 2 for a, b in zip(place, truth.xy[owner, joint], strict=True))
        return math.exp(-d2 / (2 * area[owner] * (2 * skeleton.sigmas[k]) ** 2))

    if truth.visibility[person, k] not in (1, 2):
        return State.UNKNOWN
    mirror = skeleton.flip[k]
    candidates = [(ks(person, k), "own")]
    if mirror != k:
        candidates.append((ks(person, mirror), "mirror"))
    for other in range(len(truth)):
        if other != person and not truth.crowd[other]:
            candidates += [(ks(other, k), "other"), (ks(other, mirror), "other")]
    best, kind = max(candidates, key=lambda candidate: candidate[0])
    if best < 0.5:
        return State.MISS
    if kind == "own":
        return State.GOOD if best >= 0.85 else State.JITTER
    return State.INVERSION if kind == "mirror" else State.SWAP


def assert_by_the_book(xy: Any, persons: Any, truth: Poses, skeleton: Skeleton) -> list[int]:
    states = classify(xy, persons, truth, skeleton)
    expected = [
        [state_by_the_book(xy[m, k], k, person, truth, skeleton) for k in range(skeleton.num_keypoints)]
        for m, person in enumerate(persons)
    ]
    assert states.tolist() == expected
    return states.ravel().tolist()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), people=st.integers(1, 4))
def test_states_are_the_papers(seed: int, people: int) -> None:
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 200, (people, 17, 2))
    truth = Poses.create(
        17,
        xy=xy,
        visibility=rng.choice([0, 1, 2, 3], (people, 17), p=[0.1, 0.2, 0.6, 0.1]),
        area=rng.uniform(2e3, 4e4, people),
        crowd=rng.random(people) < 0.2,
    )
    # Each prediction is put near something that somebody has.
    near = rng.integers(0, people, (people, 17)), rng.integers(0, 17, (people, 17))
    found = xy[near] + rng.normal(0, 3, xy.shape)
    found[rng.random((people, 17)) < 0.1] = np.nan
    assert_by_the_book(found, list(range(people)), truth, COCO17)


def test_states_of_real_people_are_the_papers() -> None:
    if not REAL.is_file():
        pytest.skip("shared/data/coco25 is not here")
    rng = np.random.default_rng(0)
    seen: list[int] = []
    for sample in read_coco(REAL).samples:
        truth = sample.poses
        xy = np.nan_to_num(truth.xy.astype(np.float64), nan=50.0) + rng.normal(0, 4, truth.xy.shape)
        mirrored, swapped = rng.random((2, *xy.shape[:2], 1)) < 0.2
        xy = np.where(mirrored, xy[:, list(COCO17.flip)], np.where(swapped, np.roll(xy, 1, axis=0), xy))
        seen += assert_by_the_book(xy, list(range(len(truth))), truth, COCO17)
    assert set(seen) == set(State)


@pytest.mark.parametrize(
    ("oks", "score", "expected"),
    [
        pytest.param([[0.9, 0.2], [0.1, 0.8]], [0.5, 0.6], (0, 0), id="one pose each"),
        pytest.param([[0.9, 0.0], [0.7, 0.0]], [0.6, 0.5], (1, 0), id="the most like is the best scored"),
        pytest.param([[0.9, 0.0], [0.7, 0.0]], [0.5, 0.6], (1, 1), id="the most like is not"),
        pytest.param([[0.9, 0.0], [0.7, 0.0]], [0.5, 0.5], (1, 0), id="equal scores are no error"),
        pytest.param([[0.9, 0.0], [0.1, 0.0]], [0.5, 0.6], (0, 0), id="OKS 0.1 is on nobody"),
        pytest.param([[0.9, 0.0], [0.7, 0.8]], [0.5, 0.6], (0, 0), id="a pose is on whom it is most like"),
        pytest.param([[0.9], [0.3]], [0.5, 0.6], (1, 1), id="OKS 0.3 is on them"),
        pytest.param([[0.9], [0.9], [0.3]], [0.2, 0.6, 0.5], (1, 0), id="of two most like the better scored counts"),
        pytest.param(np.zeros((0, 2)), [], (0, 0), id="no poses"),
        pytest.param(np.zeros((2, 0)), [0.1, 0.2], (0, 0), id="nobody"),
    ],
)
def test_scoring_errors(oks: Any, score: Any, expected: tuple[int, int]) -> None:
    assert scoring_errors(np.array(oks, float), score) == expected


def test_no_pose_has_no_state() -> None:
    assert classify(np.zeros((0, 3, 2)), [], people(), ARMS).shape == (0, 3)
