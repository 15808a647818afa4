"""Sessions: every task is charged, the curve tells the truth, and nothing is answered twice."""

import numpy as np
import pytest

from autolabel.errors import InputError
from pipelines.effort import Session, by_hand, in_order
from pipelines.effort_review import Reviewer
from tests.people import K, some_corpus

REVIEWER = Reviewer(0)


def test_the_curve_is_what_the_corpus_is_worth_after_each_task() -> None:
    corpus = some_corpus(60, bad=0.3)
    session = Session(corpus, REVIEWER)
    session.open("one", [5, 3, 8])
    session.again("planted", [5])
    session.open(["two", "three"], [10, 20])
    curve = session.curve
    assert len(curve.bad) == 1 + 3 + 1 + 2
    assert curve.bad[0] == pytest.approx(corpus.by_truth().bad.mean())
    assert curve.gross[0] == pytest.approx(corpus.by_truth().gross.mean())
    for done, rows in ((1, [5]), (3, [5, 3, 8]), (4, [5, 3, 8]), (6, [5, 3, 8, 10, 20])):
        alone = Session(corpus, REVIEWER)
        alone.open("some", rows)
        assert curve.bad[done] == pytest.approx(alone.bad.mean())
        assert curve.gross[done] == pytest.approx(alone.gross.sum() / (60 * K))
    assert curve.opened.tolist() == list(range(7))


def test_every_task_is_on_the_bill() -> None:
    session = Session(some_corpus(40, bad=0.5), REVIEWER)
    answers = session.open(["a", "b"] * 5, range(10))
    session.blind("blind", [0, 1])
    spent = session.spent
    assert list(spent) == ["a", "b", "blind"]
    assert spent["a"].clicks == answers.effort.clicks[::2].sum()
    assert spent["blind"].clicks == 2 * (1 + K) and spent["blind"].opened == 2
    whole = session.total
    assert sum(one.clicks for one in spent.values()) == whole.clicks == session.curve.clicks[-1]
    assert sum(one.seconds for one in spent.values()) == whole.seconds == session.curve.seconds[-1]


@pytest.mark.parametrize("way", ["again", "blind"])
def test_extra_tasks_change_nothing(way: str) -> None:
    session = Session(some_corpus(20, bad=20), REVIEWER)
    getattr(session, way)("extra", [1, 2, 2])
    assert not session.settled.any() and session.bad.all() and session.total.opened == 3


@pytest.mark.parametrize("rows", [[1, 1], [0]])
def test_a_pose_is_not_opened_twice(rows: list[int]) -> None:
    session = Session(some_corpus(5), REVIEWER)
    session.open("first", [0])
    with pytest.raises(InputError, match="answered already"):
        session.open("second", rows)


def test_nothing_opened_is_nothing_spent() -> None:
    session = Session(some_corpus(5), REVIEWER)
    assert session.total.clicks == 0 and session.spent == {}
    session.open("none", [])
    assert session.curve.clicks.tolist() == [0.0] and session.open_rows.tolist() == [0, 1, 2, 3, 4]


def test_by_hand_costs_most_and_ends_as_good_as_people_are() -> None:
    corpus = some_corpus(100, bad=0.3)
    hand, checked = by_hand(corpus, REVIEWER, np.random.default_rng(0)), in_order(corpus, REVIEWER, range(100))
    assert hand.curve.bad[0] == 1 and hand.curve.bad[-1] <= 0.02
    assert hand.total.clicks == 100 * (2 + K) > 3 * checked.total.clicks
    assert hand.settled.all() and checked.settled.all()


def test_the_order_changes_the_way_and_not_the_end() -> None:
    corpus = some_corpus(100, bad=0.3)
    worst_first = np.argsort(-corpus.by_truth().gross.sum(axis=1), kind="stable")
    one, two = in_order(corpus, REVIEWER, worst_first), in_order(corpus, REVIEWER, worst_first[::-1])
    assert one.total == two.total and one.bad.tolist() == two.bad.tolist()
    first, last = one.curve.reached(0.02, 0.02), two.curve.reached(0.02, 0.02)
    assert first is not None and last is not None and first < 40 < last
