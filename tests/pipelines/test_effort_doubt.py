"""Doubt is fitted on people's answers: on what they found, in the corpus's order, and not where they are too few."""

import numpy as np
import pytest

from autolabel.poses import Origin, Poses, Visibility
from autolabel.prediction_record import Predicted
from pipelines.check import Checked
from pipelines.effort_doubt import Calibrated
from pipelines.effort_review import Corpus, Reviewer
from tests.people import SKELETON, K, some_corpus

POSES = 300


def checked_of(corpus: Corpus) -> Checked:
    """The corpus as ``check`` gives it; the peak knows which keypoints are wrong."""
    judged, random = corpus.by_truth(), np.random.default_rng(0)
    n = len(corpus)
    peak = np.clip(0.8 - 0.5 * judged.gross + random.normal(0, 0.1, (n, K)), 0, 1)
    poses = Poses.create(
        K,
        id=[f"p{i}" for i in range(n)],
        xy=corpus.xy,
        visibility=np.full((n, K), Visibility.VISIBLE),
        origin=np.full((n, K), Origin.MODEL),
        by=["network"] * n,
        box=np.tile([0.0, 0, 100, 180], (n, 1)),
    )
    error = np.linalg.norm(corpus.xy - corpus.truth, axis=-1)
    return Checked(
        poses, {"peak": peak}, np.full((n, 2), 500.0), judged.gross, corpus.scored, judged.bad, judged.oks, error,
        corpus.truth, corpus.group, corpus.area,
    )  # fmt: skip


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return some_corpus(POSES, bad=0.4)


def doubting(corpus: Corpus) -> Calibrated:
    return Calibrated(checked_of(corpus), SKELETON, Predicted(model="network", flip_test=True, larger_crop=False))


def test_answers_take_the_place_of_the_truth(corpus: Corpus) -> None:
    rows = np.array([20, 3, 150])
    answers = Reviewer(0, overlook=1.0).look(corpus, rows)  # people who find nothing
    seen = doubting(corpus).answered(answers)
    assert seen.poses.id.tolist() == ["p3", "p20", "p150"]
    assert not seen.gross.any() and not seen.bad.any() and (seen.error < 1e-3).all()
    assert seen.truth == pytest.approx(answers.xy[[1, 0, 2]])


def test_doubt_tells_the_bad_poses_from_the_others(corpus: Corpus) -> None:
    answers = Reviewer(0).look(corpus, np.arange(150))
    fit = doubting(corpus)
    doubts = fit([answers])
    assert doubts is not None and doubts.p_bad.shape == (POSES,) and doubts.p_gross.shape == (POSES, K)
    bad = corpus.by_truth().bad[150:]
    assert doubts.p_bad[150:][bad].mean() > 2 * doubts.p_bad[150:][~bad].mean()
    assert fit([answers]) is doubts  # the same answers are fitted once


@pytest.mark.parametrize("bad", [0, 300])
def test_answers_of_one_kind_teach_nothing(bad: int) -> None:
    corpus = some_corpus(POSES, bad=bad)
    assert doubting(corpus)([Reviewer(0, noise=0.0, overlook=0.0).look(corpus, np.arange(100))]) is None
