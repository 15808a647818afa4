"""A corpus of arrays with a known share of bad poses, and a doubt that knows about them as much as one likes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autolabel.skeleton import Skeleton
from pipelines.effort import Doubts
from pipelines.effort_review import Answers, Corpus

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
AREA = 10_000.0


def some_corpus(poses: int = 200, *, bad: float | int = 0.2, wrong: int = 4, image: int = 1, seed: int = 0) -> Corpus:
    """Poses that are exact, but for ``wrong`` keypoints far off in each bad one; ``image`` poses stand in an image."""
    random = np.random.default_rng(seed)
    truth = random.uniform(0, 500, (poses, K, 2))
    xy = truth.copy()
    count = bad if isinstance(bad, int) else round(bad * poses)
    for row in random.permutation(poses)[:count]:
        xy[row, random.permutation(K)[:wrong]] += 300.0
    return Corpus(
        xy=xy,
        present=np.ones((poses, K), bool),
        truth=truth,
        scored=np.ones((poses, K), bool),
        area=np.full(poses, AREA),
        image=np.arange(poses) // image,
        group=np.arange(poses) // image,
        sigmas=np.asarray(SKELETON.sigmas),
        flip=np.asarray(SKELETON.flip),
    )


@dataclass(frozen=True)
class Knowing:
    """Doubts everybody a little, and a ``known`` share of the bad poses much; 0 knows nothing.

    Attributes:
        corpus: Whose truth it looks at, as only a test may.
        known: Share of the bad poses.
        base: What is said of the others.
    """

    corpus: Corpus
    known: float = 1.0
    base: float = 0.002

    def __call__(self, answers: Sequence[Answers]) -> Doubts:
        judged = self.corpus.by_truth()
        random = np.random.default_rng(1)
        suspect = judged.bad & (random.random(len(self.corpus)) < self.known)
        spread = self.base * random.random(len(self.corpus))
        return Doubts(np.where(suspect, 0.9, spread), np.where(suspect[:, None] & judged.gross, 0.9, 0.001))


def knows_nothing(answers: Sequence[Answers]) -> None:
    """As where too few answers were given to fit anything."""
