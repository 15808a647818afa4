"""The certified way: it accepts what can be promised, says when that is nothing, and pays for all it opens."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from autolabel.select import errors_per_second
from pipelines.effort import Doubts, in_order
from pipelines.effort_certified import CLEAR, Outcome, Plan, certified
from pipelines.effort_review import Answers, Corpus, Reviewer
from tests.people import Knowing, knows_nothing, some_corpus

PLAN = Plan(calibration=200, development=100, plants=40, blind=5)

SHAKEN = 2.0
"""Every point is moved by √2 √A σ in x and in y: a KS of 0.61, which is put right where it is asked about."""


def run(corpus: Corpus, known: float, plan: Plan = PLAN, seed: int = 0, overlook: float = 0.02) -> Outcome:
    return certified(
        corpus, Reviewer(seed, overlook=overlook), Knowing(corpus, known), np.random.default_rng(seed), plan
    )


def everything(corpus: Corpus, seed: int = 0) -> float:
    total = in_order(corpus, Reviewer(seed), range(len(corpus))).total
    return total.clicks + total.opened


def effort(outcome: Outcome) -> float:
    total = outcome.session.total
    return total.clicks + total.opened


def test_a_good_doubt_saves_most_of_the_work_and_keeps_the_promise() -> None:
    corpus = some_corpus(6_000, bad=0.1)
    outcome = run(corpus, 0.97)
    session = outcome.session
    assert outcome.accepted.sum() > 3_000 and outcome.reason == ""
    assert 0 < outcome.bound <= PLAN.max_bad
    assert session.bad[outcome.accepted].mean() <= PLAN.max_bad
    assert effort(outcome) < 0.6 * everything(corpus)
    assert set(session.spent) == {"calibration", "development", "planted", "blind", "audit", "review"}
    assert session.spent["planted"].opened == 40 and session.spent["blind"].opened == 10, "five, and five decoys"
    # All that is not accepted was opened, once, and the extra tasks beside it.
    assert session.total.opened == (~outcome.accepted).sum() + 50
    assert outcome.rates is not None and outcome.rates.planted == 40


@pytest.mark.parametrize("bad", [0.1, 0.6])
def test_a_useless_doubt_accepts_nothing_and_costs_what_checking_everything_costs(bad: float) -> None:
    corpus = some_corpus(1_500, bad=bad)
    outcome = run(corpus, 0.0)
    assert not outcome.accepted.any() and outcome.reason
    assert effort(outcome) <= 1.05 * everything(corpus)
    assert outcome.session.settled.all()


def test_where_nothing_can_be_fitted_all_is_reviewed_and_nothing_else_is_spent() -> None:
    corpus = some_corpus(300)
    outcome = certified(corpus, Reviewer(0), knows_nothing, np.random.default_rng(0), PLAN)
    assert not outcome.accepted.any() and "too few" in outcome.reason
    assert effort(outcome) == everything(corpus)
    assert not {"planted", "blind", "audit"} & set(outcome.session.spent)


def test_a_census_is_cheaper_for_a_tiny_corpus() -> None:
    """116 poses: an audit that proves 2 % would open nearly all of them."""
    corpus = some_corpus(116, bad=0.15)
    outcome = run(corpus, 1.0)
    assert not outcome.accepted.any() and outcome.reason
    assert effort(outcome) <= everything(corpus)
    assert outcome.walk is None and outcome.rates is None


def test_doubts_that_are_missing_accept_nothing() -> None:
    corpus = some_corpus(600)

    def silent(answers: Sequence[Answers]) -> Doubts:
        return Doubts(np.full(600, np.nan), np.full((600, corpus.xy.shape[1]), np.nan))

    outcome = certified(corpus, Reviewer(0), silent, np.random.default_rng(0), PLAN)
    assert not outcome.accepted.any() and outcome.session.settled.all()


def test_an_audit_that_refuses_leaves_nothing_accepted_and_costs_little() -> None:
    """The doubt is rosy: it says 0.2 % where 3 % are bad, and people find it out."""
    corpus = some_corpus(4_000, bad=0.04)
    outcome = run(corpus, 0.2)
    assert outcome.walk is None or not outcome.walk.issued
    assert not outcome.accepted.any() and effort(outcome) <= 1.05 * everything(corpus)


def test_a_failed_audit_is_learnt_from_and_another_set_is_proven() -> None:
    """Half of what a draw may miss is left for a second audit; reviewers are not tested again."""
    corpus = some_corpus(6_000, bad=0.1)
    alone, shared = (run(corpus, 0.9, replace(PLAN, attempts=n), seed=3) for n in (1, 2))
    assert not alone.accepted.any() and "did not prove" in alone.reason
    assert shared.accepted.sum() > 3_000 and shared.session.bad[shared.accepted].mean() <= PLAN.max_bad
    assert effort(shared) < 0.7 * effort(alone)
    spent = shared.session.spent
    assert spent["audit"].opened > alone.session.spent["audit"].opened
    assert (spent["planted"].opened, spent["blind"].opened) == (40, 10)


def test_the_promise_is_broken_no_more_often_than_it_says() -> None:
    """A corpus just worse than promised, whose bad poses no doubt knows: 5 % of the certificates may be wrong."""
    corpus = some_corpus(3_000, bad=0.025, wrong=6)
    plan = replace(PLAN, calibration=50, development=0)
    broken = 0
    for seed in range(40):
        outcome = run(corpus, 0.0, plan, seed)
        accepted = outcome.accepted
        broken += bool(accepted.any() and outcome.session.bad[accepted].mean() > plan.max_bad)
    assert broken <= 5  # at 5 %, six of 40 or more have a chance of 1.4 %


def test_groups_are_on_one_side_and_the_draw_is_a_share() -> None:
    corpus = some_corpus(400, image=4)
    seen: list[Answers] = []

    def watching(answers: Sequence[Answers]) -> Doubts:
        seen.extend(answers)
        return Knowing(corpus)(answers)

    outcome = certified(corpus, Reviewer(0), watching, np.random.default_rng(0), PLAN)
    spent = outcome.session.spent
    assert spent["calibration"].opened + spent["development"].opened <= PLAN.most * 400 + 4
    groups, counts = np.unique(corpus.group[seen[0].rows], return_counts=True)
    assert (counts == 4).all() and len(groups) == spent["calibration"].opened / 4


def test_one_joint_is_left_where_it_is_sure() -> None:
    """The least doubtful keypoint of a pose is not asked about: less is moved, and no pose gets bad by it."""
    corpus = some_corpus(500, bad=0.6)
    shaken = replace(corpus, xy=corpus.xy + np.sqrt(SHAKEN * corpus.area)[:, None, None] * corpus.sigmas[:, None])
    asked = run(shaken, 1.0, replace(PLAN, untouched=0.0))
    left = run(shaken, 1.0, replace(PLAN, untouched=0.01, left=1))
    assert effort(left) < effort(asked)
    assert left.session.bad.mean() == pytest.approx(asked.session.bad.mean(), abs=0.005)


def test_plants_are_clearly_bad() -> None:
    """Known errors are bad by more than two people differ by."""
    corpus = some_corpus(6_000, bad=0.1)
    outcome = run(corpus, 0.98)
    assert outcome.rates is not None and CLEAR.gross_ks < 0.5
    assert outcome.rates.planted_caught >= 0.85 * outcome.rates.planted


def test_the_same_seed_does_the_same() -> None:
    corpus = some_corpus(2_000, bad=0.1)
    one, two, other = run(corpus, 0.97), run(corpus, 0.97), run(corpus, 0.97, seed=1)
    assert one.session.total == two.session.total and (one.accepted == two.accepted).all()
    assert one.session.total != other.session.total


def test_the_worst_comes_first() -> None:
    corpus = some_corpus(1_000, bad=0.2)
    doubts = Knowing(corpus)([])
    worth = errors_per_second(doubts.p_bad, doubts.p_gross)
    assert worth[corpus.by_truth().bad].min() > worth[~corpus.by_truth().bad].max()
    outcome = run(corpus, 1.0, replace(PLAN, most=0.1, max_bad=1e-4))  # nothing can be accepted
    assert set(outcome.session.spent) == {"calibration", "development", "review"}
    curve = outcome.session.curve
    assert curve.bad[100] > 0.15 and curve.bad[100 + 200] < 0.05
