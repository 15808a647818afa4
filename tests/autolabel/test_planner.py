import json

import numpy as np
import pytest
from numpy.typing import NDArray

from autolabel.effort import Costs
from autolabel.errors import InputError
from autolabel.planner import Forecast, Past, Range, Record, check, forecast

NAN = float("nan")
K = 17


class Corpus:
    """Poses whose doubts are off by a factor, and rounds that review the most doubtful ones."""

    def __init__(self, factor: float, seed: int, change: float = 0.0, poses: int = 600) -> None:
        self.rng = np.random.default_rng(seed)
        self.factor, self.change, self.poses = factor, change, poses
        self.redraw()

    def redraw(self) -> None:
        n = self.poses
        factor = self.factor * np.exp(self.change * self.rng.standard_normal())
        self.p_bad = self.rng.beta(0.6, 3, n)
        self.p_gross = self.p_bad[:, None] * self.rng.beta(1, 4, (n, K))
        chance = np.minimum(factor * self.p_bad, 1)
        self.bad = self.rng.random(n) < chance
        share = np.minimum(factor * self.p_gross.sum(axis=1) / np.maximum(chance, 1e-12) / K, 1)
        self.gross = np.where(self.bad, self.rng.binomial(K, share), 0)
        self.seconds = (3 + 2.5 * self.gross) * self.rng.gamma(4, 0.25, n)

    def past(self, rows: NDArray[np.intp]) -> Past:
        return Past.of(self.p_bad[rows], self.p_gross[rows], self.bad[rows], self.gross[rows], self.seconds[rows])

    def first(self, count: int = 150) -> NDArray[np.intp]:
        return np.argsort(-self.p_bad)[:count]


def coverage(factor: float, rounds: int, change: float = 0.0, runs: int = 60) -> dict[str, float]:
    """How often a 90 % interval held what came to be, after so many past rounds."""
    held = dict.fromkeys(("bad", "gross", "seconds", "corpus_bad", "corpus_bad_after", "corpus_gross"), 0)
    for run in range(runs):
        corpus = Corpus(factor, run, change)
        history, uniform = [], []
        for _ in range(rounds):
            history.append(corpus.past(corpus.first()))
            uniform.append(corpus.past(np.arange(150)))
            corpus.redraw()
        rows = corpus.first()
        told = forecast(corpus.p_bad, corpus.p_gross, rows, history=history, uniform=uniform)
        found = check(told, corpus.past(rows))
        left = np.delete(corpus.bad, rows)
        held["bad"] += found.bad
        held["gross"] += found.gross
        held["seconds"] += bool(found.seconds)
        held["corpus_bad"] += told.corpus_bad.holds(corpus.bad.mean())
        held["corpus_bad_after"] += told.corpus_bad_after.holds(left.sum() / 600)
        held["corpus_gross"] += told.corpus_gross.holds(corpus.gross.sum() / 600 / K)
    return {name: count / runs for name, count in held.items()}


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.6])
def test_intervals_hold_about_as_often_as_they_say(factor: float) -> None:
    found = coverage(factor, rounds=8)
    # 0.9 within what 60 runs tell; that it is a little more comes from not knowing that the factor is constant.
    assert all(share >= 0.8 for share in found.values()), found
    assert 0.87 <= np.mean(list(found.values())) <= 0.99, found


def test_intervals_hold_when_the_factor_changes_from_round_to_round() -> None:
    found = coverage(1.0, rounds=8, change=0.25)
    assert all(0.75 <= share <= 0.99 for share in found.values()), found


def test_past_rounds_correct_the_forecast_and_make_it_narrower() -> None:
    corpus = Corpus(0.5, seed=7)
    history = list[Past]()
    for _ in range(6):
        history.append(corpus.past(corpus.first()))
        corpus.redraw()
    rows = corpus.first()
    before = forecast(corpus.p_bad, corpus.p_gross, rows)
    after = forecast(corpus.p_bad, corpus.p_gross, rows, history=history)
    assert before.bad.expected == pytest.approx(corpus.p_bad[rows].sum(), rel=0.1)
    assert after.bad.expected == pytest.approx(corpus.p_bad[rows].sum() / 2, rel=0.15)
    assert after.bad.high - after.bad.low < 0.5 * (before.bad.high - before.bad.low)
    assert (before.rounds, after.rounds) == (0, 6)
    assert "without any past round" in before.words()
    assert "from 6 past rounds" in after.words()


def test_the_uniform_share_corrects_what_is_said_of_the_corpus() -> None:
    corpus, other = Corpus(1.0, seed=1), Corpus(2.0, seed=2)
    rows = corpus.first()
    history, uniform = [corpus.past(rows)] * 3, [other.past(np.arange(300))] * 3
    alone = forecast(corpus.p_bad, corpus.p_gross, rows, history=history)
    both = forecast(corpus.p_bad, corpus.p_gross, rows, history=history, uniform=uniform)
    assert both.bad == alone.bad
    assert both.corpus_bad_after.expected > 1.4 * alone.corpus_bad_after.expected


def test_settled_poses_are_part_of_the_corpus() -> None:
    corpus = Corpus(1.0, seed=1)
    alone, more = (forecast(corpus.p_bad, corpus.p_gross, corpus.first(), settled=settled) for settled in (0, 1800))
    assert more.corpus_bad_after.expected == pytest.approx(alone.corpus_bad_after.expected / 4)
    assert more.corpus_gross.high == pytest.approx(alone.corpus_gross.high / 4)
    assert more.bad == alone.bad


def test_poses_without_a_pre_label_cost_all_their_keypoints() -> None:
    p_bad, p_gross = [0.5, 0.5, NAN], np.full((3, K), 0.1)
    costs = Costs(view=3, fix=2)
    told = forecast(p_bad, p_gross, [0, 1], by_hand=[1], costs=costs, history=[])
    belief = forecast(p_bad, p_gross, [0, 1], costs=costs)
    assert told.seconds.expected / belief.seconds.expected == pytest.approx(
        (6 + 2 * (1.7 + K)) / (6 + 4 * 1.7), rel=0.05
    )
    assert (told.bad, told.gross) == (belief.bad, belief.gross)
    past = Past.of(p_bad, p_gross, [0, 1, 1], [0, 3, 3], by_hand=[False, True, True], costs=costs)
    assert past.expected_seconds == pytest.approx(6 + 2 * (1.7 + K))


def test_seconds_are_learnt_from_those_that_were_taken() -> None:
    corpus = Corpus(1.0, seed=3)
    rows = corpus.first()
    slow = [
        Past(past.doubts, past.bad, past.expected_gross, past.gross, past.gross_squares, 1000, 3000.0)
        for past in [corpus.past(rows)] * 5
    ]
    untimed = [Past(past.doubts, past.bad, past.expected_gross, past.gross, past.gross_squares, 1000) for past in slow]
    costs = Costs(view=10, fix=0)
    told = forecast(corpus.p_bad, corpus.p_gross, rows, history=slow, costs=costs)
    assert told.seconds.expected == pytest.approx(4500, rel=0.15)
    belief = forecast(corpus.p_bad, corpus.p_gross, rows, history=untimed, costs=costs)
    assert belief.seconds.low < 1500 < belief.seconds.high
    assert belief.bad == told.bad


@pytest.mark.parametrize("confidence", [0.5, 0.99])
def test_more_confidence_takes_a_wider_interval(confidence: float) -> None:
    corpus = Corpus(1.0, seed=4)
    usual = forecast(corpus.p_bad, corpus.p_gross, corpus.first())
    other = forecast(corpus.p_bad, corpus.p_gross, corpus.first(), confidence=confidence)
    assert (other.bad.high > usual.bad.high) == (confidence > 0.9)
    assert (other.bad.low < usual.bad.low) == (confidence > 0.9)


@pytest.mark.parametrize(
    ("p_bad", "p_gross", "rows", "bad", "after"),
    [
        (np.empty(0), np.empty((0, 3)), [], 0, 0),
        ([NAN, NAN], [[NAN] * 3] * 2, [0, 1], 0, 0),  # nothing is known: nothing is foretold
        ([0.0] * 5, [[0.0] * 3] * 5, [0], 0, 0),
        ([1.0], [[1.0] * 3], [0], 1, 0),
        ([0.5] * 4, [[0.1] * 3] * 4, [], 0, 0.5),
    ],
)
def test_small_and_empty_corpora(p_bad: object, p_gross: object, rows: list[int], bad: float, after: float) -> None:
    told = forecast(p_bad, p_gross, rows)  # type: ignore[arg-type]
    assert told.bad.expected == pytest.approx(bad, abs=0.25)
    assert told.corpus_bad_after.expected == pytest.approx(after, abs=0.1)
    assert told.bad.low <= told.bad.expected + 0.5 <= told.bad.high + 1
    assert told.words()


def test_poses_without_a_doubt_are_counted_apart() -> None:
    told = forecast([0.5, NAN, 0.5], np.zeros((3, 2)), [0, 1])
    assert (told.reviews, told.unforeseen) == (2, 1)
    assert check(told, Past.of([0.5, NAN], np.zeros((2, 2)), [1, 1], [0, 0])).bad


def test_forecasts_are_kept_as_json() -> None:
    corpus = Corpus(1.0, seed=5)
    told = forecast(corpus.p_bad, corpus.p_gross, corpus.first())
    assert Forecast.from_dict(json.loads(json.dumps(told.to_dict()))) == told


@pytest.mark.parametrize(
    ("p_bad", "p_gross", "rows", "options"),
    [
        ([0.1], [[0.1]], [0], {"confidence": 0}),
        ([0.1], [[0.1]], [0], {"confidence": 1}),
        ([0.1], [[0.1]], [0], {"confidence": NAN}),
        ([0.1], [[0.1]], [1], {}),
        ([0.1], [[0.1]], [-1], {}),
        ([0.1, 0.1], [[0.1]] * 2, [0, 0], {}),
        ([0.1, 0.1], [[0.1]], [0], {}),
        ([1.5], [[0.1]], [0], {}),
    ],
)
def test_what_contradicts_itself_is_refused(
    p_bad: list[float], p_gross: list[list[float]], rows: list[int], options: dict[str, float]
) -> None:
    with pytest.raises(InputError):
        forecast(p_bad, p_gross, rows, **options)  # type: ignore[arg-type]


def told(low: float, high: float, reviews: int = 100) -> Forecast:
    one, share = Range((low + high) / 2, low, high), Range(0.1, 0.0, 0.2)
    return Forecast(reviews, 0, one, one, one, share, share, share, share, 0.9, 3)


def found(bad: int, seconds: float | None = None) -> Past:
    past = Past.of(np.full(100, 0.3), np.zeros((100, 2)), np.arange(100) < bad, np.arange(100) < bad)
    return Past(past.doubts, past.bad, past.expected_gross, past.gross, past.gross_squares, 300, seconds)


@pytest.mark.parametrize(
    ("bad", "seconds", "held"),
    [(20, None, (True, True, None)), (40, 30.0, (True, True, True)), (41, 41.0, (False, False, False))],
)
def test_a_forecast_is_compared_with_what_happened(bad: int, seconds: float | None, held: tuple[object, ...]) -> None:
    answer = check(told(20, 40), found(bad, seconds))
    assert (answer.bad, answer.gross, answer.seconds) == held


def test_a_round_that_was_not_finished_proves_nothing() -> None:
    with pytest.raises(InputError, match="100 poses were reviewed, the forecast is about 200"):
        check(told(20, 40, reviews=200), found(30))


def test_the_record_says_how_often_intervals_held() -> None:
    good = Record.of([(told(20, 40), found(30, 30.0))] * 9 + [(told(20, 40), found(50))])
    assert (good.rounds, good.bad, good.gross, good.timed, good.seconds) == (10, 9, 9, 9, 9)
    assert good.too_narrow == ()
    assert good.words() == (
        "The 90% intervals held for bad poses in 9 and for gross keypoints in 9 of 10 rounds, for the time in 9 of 9"
    )
    poor = Record.of([(told(20, 40), found(30))] * 6 + [(told(20, 40), found(50))] * 4)
    assert poor.too_narrow == ("bad", "gross")
    assert poor.words().endswith("too seldom for bad and gross")
    assert Record.of([]).words() == "No forecast has been checked yet"
