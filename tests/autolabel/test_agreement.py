"""How far answers agree: OKS as autolabel/similarity.py has it, the same in both directions."""

import numpy as np
import pytest

from autolabel.agreement import Agreement, agreement, answers_similarity, of_person, pairs_of
from autolabel.poses import Poses, Visibility
from autolabel.reviewer_quality import looks_of
from autolabel.similarity import mean_similarity, oks_matrix, pair_similarity
from tests.looks import AREA, SENT, STICK, K, look, sent_pose

A, B = {0: (52.0, 23.0), 1: (31.0, 80.0)}, {0: (49.0, 19.0)}


def test_oks_is_that_of_two_poses() -> None:
    pairs = pairs_of(looks_of([look("ann", A), look("bob", B)], K), STICK)
    ann, bob = SENT.copy(), SENT.copy()
    ann[0], ann[1], bob[0] = A[0], A[1], B[0]
    full = [[Visibility.VISIBLE] * K]
    one, other = (Poses.create(K, xy=[xy], visibility=full, area=[AREA], box=[[20, 10, 80, 90]]) for xy in (ann, bob))
    assert len(pairs) == 1
    assert pairs.oks == pytest.approx(oks_matrix(one, other, STICK)[0])
    assert pairs.oks == pytest.approx(mean_similarity(pair_similarity(other, one, STICK)))
    assert pairs.distance[0] == pytest.approx([5.0, 1.0, 0.0])
    assert pairs.area.tolist() == [AREA]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Visibility.HIDDEN, [1.0, 1.0, 1.0]),  # a word about visibility is no other place
        (Visibility.ABSENT, [0.0, 1.0, 1.0]),
        (Visibility.UNLABELLED, [np.nan, 1.0, 1.0]),
    ],
)
def test_what_only_one_places_counts_as_unlike(said: Visibility, expected: list[float]) -> None:
    looks = looks_of([look("ann", said={0: said}), look("bob")], K)
    a, b = looks.left.take([0]), looks.left.take([1])
    area = np.array([AREA])
    for one, other in ((a, b), (b, a)):
        assert answers_similarity(one, other, area, STICK)[0] == pytest.approx(expected, nan_ok=True)
    assert np.isnan(pairs_of(looks, STICK).distance[0, 0]) == (said != Visibility.HIDDEN)


def test_what_both_call_absent_does_not_count() -> None:
    looks = looks_of([look(who, said=dict.fromkeys(range(K), Visibility.ABSENT)) for who in ("ann", "bob")], K)
    pairs = pairs_of(looks, STICK)
    assert np.isnan(pairs.oks).all()
    assert agreement(pairs, np.ones(1, bool)) == Agreement(0, None, None)


def test_pairs_are_two_people_on_the_same_pose_and_view() -> None:
    other = sent_pose("pose-1")
    looks = looks_of(
        [
            look("ann"),
            look("ann", A, task="another task about the same pose"),  # herself
            look("bob", B),
            look("bob", blind=True),  # another view
            look("cid", A, blind=True),
            look("cid", pose=other),  # another pose
            look("dan", rejected=True, pose=other),
        ],
        K,
    )
    pairs = pairs_of(looks, STICK)
    names = [
        (looks.who[i], looks.who[j], bool(b)) for i, j, b in zip(pairs.first, pairs.second, pairs.blind, strict=True)
    ]
    assert sorted(names) == [("ann", "bob", False), ("ann", "bob", False), ("bob", "cid", True)]
    assert pairs.disputed == 1
    assert agreement(pairs, of_person(pairs, looks, "ann")).pairs == 2
    assert agreement(pairs, of_person(pairs, looks, "bob") & pairs.blind).oks == pytest.approx(float(pairs.oks[2]))


def test_the_lowest_tenth() -> None:
    places = [{0: (50.0 + step, 20.0)} for step in range(11)]
    answers = [
        look(who, to, pose=sent_pose(f"p{i}")) for i, to in enumerate(places) for who, to in (("a", to), ("b", {}))
    ]
    pairs = pairs_of(looks_of(answers, K), STICK)
    found = agreement(pairs, np.ones(len(pairs), bool))
    assert found.pairs == 11
    assert found.oks == pytest.approx(pairs.oks.mean())
    assert found.low == pytest.approx(sorted(pairs.oks)[1])
