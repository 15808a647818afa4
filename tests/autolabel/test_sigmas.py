"""Noise of a known sigma comes back, its interval holds as often as it says, and the file says where it comes from."""

from collections.abc import Iterator

import numpy as np
import pytest

from autolabel.poses import Visibility
from autolabel.reviewer_quality import Look, looks_of
from autolabel.sigmas import BLIND, BY_HAND, ENOUGH, estimate_sigmas, scatter, with_sigmas
from autolabel.skeleton import DEFAULT_SIGMA, Skeleton
from tests.looks import AREA, SENT, STICK, K, look, sent_pose

TRUE = np.array([0.03, 0.09, 0.09])  # ends are mirror partners and share one


def answers(
    rng: np.random.Generator, poses: int, people: int = 2, *, blind: bool = True, first: int = 0
) -> Iterator[Look]:
    """People who scatter about the sent place by the true sigmas: E|x - x*|² = σ² A."""
    for i in range(first, first + poses):
        for person in range(people):
            xy = SENT + rng.normal(size=(K, 2)) * (TRUE * np.sqrt(AREA / 2))[:, None]
            to = {k: (float(x), float(y)) for k, (x, y) in enumerate(xy)}
            yield look(f"person-{person}", to, pose=sent_pose(f"pose-{i}"), blind=blind)


@pytest.mark.parametrize("people", [2, 3, 5])
def test_noise_of_known_sigma_comes_back(people: int) -> None:
    looks = looks_of(answers(np.random.default_rng(1), 800 // people, people), K)
    sigmas = estimate_sigmas(looks, STICK)
    assert [s.value for s in sigmas] == pytest.approx(TRUE.tolist(), rel=0.12)
    assert [s.median for s in sigmas] == pytest.approx(TRUE.tolist(), rel=0.15)
    n = 800 // people * (people - 1)
    assert [s.n for s in sigmas] == [n, 2 * n, 2 * n], "mirror partners are measured together"
    assert all(s.source == BLIND and s.enough and not s.heavy for s in sigmas)


def test_the_estimate_is_cocos_formula_for_two_people() -> None:
    looks = looks_of([look("a", {0: (50, 20)}, blind=True), look("b", {0: (53, 24)}, blind=True)], K)
    top = estimate_sigmas(looks, STICK)[0]
    assert top.value == pytest.approx(np.sqrt(25 / AREA / 2))
    assert (top.n, top.enough) == (1, False)


def test_the_interval_holds_as_often_as_it_says() -> None:
    rng, inside = np.random.default_rng(2), 0
    for _ in range(200):
        looks = looks_of(answers(rng, 12, 2), K)
        top = estimate_sigmas(looks, STICK)[0]
        assert top.low is not None
        assert top.high is not None
        inside += top.low <= TRUE[0] <= top.high
    assert 0.91 <= inside / 200 <= 0.985


def test_a_pre_label_that_was_left_tells_nothing() -> None:
    looks = looks_of([look(who, {1: (31.0 + i, 80)}) for i, who in enumerate(("a", "b"))], K)
    found = scatter(looks, looks.placed)
    assert found.keypoint.tolist() == [1], "0 and 2 were left where they were by both"
    top, *ends = estimate_sigmas(looks, STICK)
    assert (top.n, top.value, top.low, top.median) == (0, None, None, None)
    assert [(end.n, end.source) for end in ends] == [(1, BY_HAND)] * 2


def test_blind_answers_alone_count_where_they_are_enough() -> None:
    rng = np.random.default_rng(3)
    persuaded = [
        look(who, {k: (float(SENT[k, 0]) + 0.01, float(SENT[k, 1])) for k in range(K)}, pose=sent_pose(f"shown-{i}"))
        for i in range(100)
        for who in ("a", "b")
    ]
    enough = estimate_sigmas(looks_of([*answers(rng, ENOUGH), *persuaded], K), STICK)[0]
    few = estimate_sigmas(looks_of([*answers(rng, ENOUGH - 1), *persuaded], K), STICK)[0]
    assert (enough.source, enough.n) == (BLIND, ENOUGH)
    assert (few.source, few.n) == (BY_HAND, ENOUGH - 1 + 100)
    assert few.value is not None
    assert enough.value is not None
    assert few.value < enough.value


@pytest.mark.parametrize(
    "pair",
    [
        [look("a", blind=True), look("a", {0: (60, 20)}, task="again")],  # one person
        [look("a", blind=True), look("b", {0: (60, 20)}, routing="other")],  # another pre-label
        [look("a", blind=True), look("b", rejected=True)],
        [look("a", blind=True), look("b", rejected=True, blind=True)],
        [look("a", blind=True), look("b", said=dict.fromkeys(range(K), Visibility.ABSENT))],
    ],
)
def test_what_is_no_double_label(pair: list[Look]) -> None:
    assert [s.n for s in estimate_sigmas(looks_of(pair, K), STICK)] == [0] * K


def test_one_person_counts_once_and_then_blind() -> None:
    looks = looks_of(
        [
            look("a", {0: (90, 90)}),
            look("a", {0: (50, 20)}, blind=True),
            look("b", {0: (53, 24)}, blind=True),
        ],
        K,
    )
    assert estimate_sigmas(looks, STICK)[0].value == pytest.approx(np.sqrt(25 / AREA / 2))


def test_a_few_wild_answers_are_told() -> None:
    wild = [look("person-0", {0: (50, 20)}, pose=sent_pose("wild"), blind=True)]
    wild.append(look("person-1", {0: (150, 120)}, pose=sent_pose("wild"), blind=True))
    top = estimate_sigmas(looks_of([*answers(np.random.default_rng(4), 60), *wild], K), STICK)[0]
    assert top.heavy
    assert top.median == pytest.approx(TRUE[0], rel=0.3)


def test_a_skeleton_gets_the_sigmas_that_are_known_well_enough() -> None:
    rng = np.random.default_rng(5)
    blind_ends: dict[int, Visibility] = dict.fromkeys((1, 2), Visibility.ABSENT)
    tops = [
        look(f"person-{p}", {0: (50 + float(rng.normal()), 20)}, said=blind_ends, pose=sent_pose(f"t{i}"), blind=True)
        for i in range(ENOUGH)
        for p in range(2)
    ]
    sigmas = estimate_sigmas(looks_of(tops, K), STICK)
    better = with_sigmas(STICK, sigmas, 2, "2026-01-02")
    assert better is not None
    assert better.sigmas[1:] == STICK.sigmas[1:]
    assert better.sigmas[0] == pytest.approx(sigmas[0].value, rel=1e-3)
    assert better.fingerprint == STICK.fingerprint, "coordinates mean the same"
    assert "30 to 30 double labels a keypoint by 2 people, until 2026-01-02" in better.sigma_source
    assert "left_end, right_end" in better.sigma_source
    assert Skeleton.from_dict(better.to_dict()) == better
    again = with_sigmas(
        STICK, estimate_sigmas(looks_of([*tops, *answers(rng, 40, first=500)], K), STICK), 2, "2026-01-03"
    )
    assert again is not None
    assert again.sigma_source.split(":")[0] != better.sigma_source.split(":")[0], "another version"


@pytest.mark.parametrize("poses", [0, ENOUGH - 1])
def test_too_few_double_labels_make_no_skeleton(poses: int) -> None:
    one = Skeleton.from_dict({"name": "one", "keypoints": ["top", "a", "b"]})
    assert one.sigmas[0] == DEFAULT_SIGMA
    sigmas = estimate_sigmas(looks_of(answers(np.random.default_rng(6), poses), K), one)
    assert with_sigmas(one, sigmas, 2, "2026-01-02") is None


def test_people_who_agree_to_the_bit_tell_no_sigma() -> None:
    same = [look(who, {0: (50, 20)}, pose=sent_pose(f"p{i}"), blind=True) for i in range(40) for who in ("a", "b")]
    top = estimate_sigmas(looks_of(same, K), STICK)[0]
    assert (top.n, top.value, top.enough) == (40, 0.0, False)
