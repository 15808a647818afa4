"""The corpora that ways to spend effort are compared on: what one network says of people it never learnt.

The pools are those of ``benchmarks.promise_pools``. The network stays as it is: what corrections teach it is measured
with the loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.prediction_record import Predicted
from autolabel.select import errors_per_second
from benchmarks.scores_arms import raw_peak
from benchmarks.scores_pools import Pool
from pipelines.effort import Doubting, Session, by_hand, in_order
from pipelines.effort_certified import Outcome, Plan, certified
from pipelines.effort_doubt import Calibrated
from pipelines.effort_review import Corpus, Reviewer

HAND, EVERYTHING, RANDOM, PEAK = "by hand", "check everything", "random", "peak"
OURS, ORACLE = "ours", "oracle score"

CERTIFIED: Mapping[str, Plan] = {OURS: Plan()}
"""What stops by its own certificate."""

ARMS = (HAND, EVERYTHING, RANDOM, PEAK, OURS, ORACLE)


@dataclass(frozen=True, eq=False)
class Case:
    """A corpus with what is doubted about it.

    Attributes:
        name: Of the corpus.
        corpus: What the network says, and the truth.
        peak: (N,) doubt by the height of the peaks.
        doubting: Fits the score model on answers.
    """

    name: str
    corpus: Corpus
    peak: NDArray[np.float64]
    doubting: Doubting


def of_pool(pool: Pool, seed: int) -> Case:
    """A pool of one network.

    Args:
        pool: Its poses.
        seed: Of the score model's fit.

    Raises:
        ValueError: The pool does not say how one network predicted it.
    """
    records = [Predicted.read(manifest.path) for manifest in pool.predicted]
    if len(records) != 1 or records[0] is None:
        raise ValueError(f"{pool.name}: one network's predictions are needed, with the record that predict leaves")
    doubting = Calibrated(pool.checked, pool.skeleton, records[0], seed)
    return Case(pool.name, Corpus.of(pool.checked, pool.skeleton, pool.clusters), raw_peak(pool), doubting)


def sessions(case: Case, seed: int, noise: float = 1.0) -> dict[str, tuple[Session, Outcome | None]]:
    """All arms of one seed: what was done, and how the certified one ended.

    Args:
        case: The corpus.
        seed: Of everything that is drawn.
        noise: Factor on the human standard deviation of the reviewer's points.

    The arms without a certificate go on to the end; where they could have stopped is read from the truth.
    """
    corpus, reviewer = case.corpus, Reviewer(seed, noise=noise)

    def rng(stream: int) -> np.random.Generator:
        return np.random.default_rng([seed, stream])

    true = corpus.by_truth()
    worth = errors_per_second(true.bad, true.gross, gross_weight=1 / true.gross.shape[1])
    found: dict[str, tuple[Session, Outcome | None]] = {
        HAND: (by_hand(corpus, reviewer, rng(0)), None),
        EVERYTHING: (in_order(corpus, reviewer, np.arange(len(corpus))), None),
        RANDOM: (in_order(corpus, reviewer, rng(1).permutation(len(corpus))), None),
        PEAK: (in_order(corpus, reviewer, np.argsort(-case.peak, kind="stable")), None),
        ORACLE: (in_order(corpus, reviewer, np.argsort(-worth, kind="stable")), None),
    }
    for name, plan in CERTIFIED.items():
        outcome = certified(corpus, reviewer, case.doubting, rng(2), plan)
        found[name] = outcome.session, outcome
    return {name: found[name] for name in ARMS}
