"""The reviewer of arrays: what it costs, what it leaves, and what it says of the network's poses."""

from dataclasses import replace

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.similarity import BadRule
from pipelines.effort_review import BLIND, PLANTED, Reviewer
from tests.people import K, some_corpus

PERFECT = Reviewer(0, noise=0.0, overlook=0.0)


def test_a_perfect_reviewer_moves_what_is_wrong_and_nothing_else() -> None:
    corpus = some_corpus(50, bad=0.4, wrong=3)
    truly = corpus.by_truth()
    answers = PERFECT.look(corpus, np.arange(50))
    assert answers.effort.clicks.tolist() == (1 + truly.gross.sum(axis=1)).tolist()
    assert (answers.effort.seconds == 3 + 2.5 * truly.gross.sum(axis=1)).all()
    assert not answers.left.gross.any() and not answers.left.bad.any()
    assert (answers.found.gross == truly.gross).all() and (answers.found.bad == truly.bad).all()
    assert truly.bad.sum() == 20


@pytest.mark.parametrize(
    ("wrong", "bad"),
    [(0, False), (1, False), (2, True), (5, True)],  # one gross keypoint is no bad pose, two are
)
def test_bad_is_what_the_product_calls_bad(wrong: int, bad: bool) -> None:
    judged = some_corpus(3, bad=3, wrong=wrong).by_truth()
    assert judged.bad.tolist() == [bad] * 3
    assert judged.gross.sum() == 3 * wrong


def test_a_mirrored_pose_takes_one_click() -> None:
    corpus = some_corpus(4, bad=0)
    mirrored = replace(corpus, xy=corpus.truth[:, corpus.flip])
    answers = PERFECT.look(mirrored, [0, 1, 2, 3])
    assert answers.effort.clicks.tolist() == [2.0] * 4
    assert answers.xy == pytest.approx(corpus.truth)
    assert answers.found.bad.all() and not answers.left.bad.any()


def test_what_is_said_to_be_inside_the_image_is_put_right() -> None:
    corpus = some_corpus(2, bad=0)
    truth, present = corpus.truth.copy(), corpus.present.copy()
    truth[0, 3] = np.nan  # absent, and the network says it is there
    present[1, 5] = False  # there, and the network says it is not
    answers = PERFECT.look(replace(corpus, truth=truth, present=present), [0, 1])
    assert answers.effort.clicks.tolist() == [2.0, 2.0]
    assert not answers.present[0, 3] and answers.present[1, 5]
    assert answers.found.gross.sum(axis=1).tolist() == [1, 1] and not answers.left.gross.any()


def test_what_is_not_asked_about_stays_and_is_not_charged() -> None:
    corpus = some_corpus(10, bad=10, wrong=4)
    nothing = np.zeros((10, K), bool)
    answers = PERFECT.look(corpus, np.arange(10), asked=nothing)
    assert answers.effort.clicks.tolist() == [1.0] * 10
    assert (answers.left.gross == corpus.by_truth().gross).all() and not answers.found.bad.any()


def test_an_overlooked_pose_is_submitted_as_it_is() -> None:
    corpus = some_corpus(400, bad=400)
    never = Reviewer(0, overlook=1.0).look(corpus, np.arange(400))
    assert (never.effort.clicks == 1).all() and never.left.bad.all() and not never.found.bad.any()
    some = Reviewer(0, noise=0.0, overlook=0.1).look(corpus, np.arange(400)).left.bad.mean()
    assert some == pytest.approx(0.1, abs=0.05)


def test_human_noise_is_what_sigma_says() -> None:
    """COCO's σ: of two people's points a KS below t has probability t^8, 0.4 % for 0.5."""
    corpus = some_corpus(2_000, bad=0)
    answers = Reviewer(0).by_hand(corpus, np.arange(2_000))
    ks = answers.left.ks
    assert ks.mean() == pytest.approx(8 / 9, abs=0.003)
    assert answers.left.gross.mean() == pytest.approx(0.5**8, abs=0.001)
    assert (answers.effort.clicks == 2 + K).all()  # a box and every point


def test_a_look_is_repeatable_and_another_one_differs() -> None:
    corpus = some_corpus(30, bad=30)
    rows = np.arange(30)
    first, again = Reviewer(1).look(corpus, rows), Reviewer(1).look(corpus, rows[::-1])
    assert (first.xy == again.xy[::-1]).all()
    for other in (Reviewer(1).look(corpus, rows, look=PLANTED), Reviewer(2).look(corpus, rows)):
        assert (first.xy != other.xy).any()
    assert (Reviewer(1).by_hand(corpus, rows).xy == Reviewer(1).by_hand(corpus, rows, look=BLIND).xy).all()


def test_a_stricter_rule_calls_less_gross() -> None:
    corpus = some_corpus(1, bad=0)
    xy = corpus.xy.copy()
    # KS 0.4 at d² = -2 A (2σ)² ln 0.4
    xy[0, :2, 0] += np.sqrt(-2 * corpus.area[0] * (2 * corpus.sigmas[:2]) ** 2 * np.log(0.4))
    judged = replace(corpus, xy=xy).by_truth()
    assert judged.ks[0, 0] == pytest.approx(0.4) and judged.bad[0]
    assert not judged.by(BadRule(gross_ks=0.3)).bad[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"area": np.ones(3)}, "area has shape"),
        ({"flip": np.arange(4)}, "flip has shape"),
        ({"scored": np.zeros((5, K), bool)}, "says nothing"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(some_corpus(5), **change)


def test_who_is_not_labelled_is_bad_and_all_is_gross() -> None:
    judged = some_corpus(5, bad=0).unlabelled().by_truth()
    assert judged.bad.all() and judged.gross.all()
