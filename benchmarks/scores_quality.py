"""A pool once more, with what a quality head says of every pose.

For each split of a pool a head is taught on the poses that are fitted on, and all poses are predicted again with it.
What the score model is fitted on is what heads say that had not seen the pose, as it will be in use.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.scores_arms import HEAD, fit_part
from benchmarks.scores_pools import Labelling, Pool, Predictions, judged
from pipelines.quality import LearnedQuality, learn_quality


def with_head(predictions: Predictions, pool: Pool, number: int, seed: int, steps: int | None = None) -> Pool:
    """The same poses with ``HEAD``; taught and predicted now if that is not there.

    Args:
        predictions: Makes them.
        pool: Without a head.
        number: Of the network, as for :meth:`Predictions.pool`.
        seed: Of the split.
        steps: Of each head, instead of as many as ``learn_quality`` takes.
    """
    learnt = fit_part(pool, seed)
    taught = [
        _taught(predictions, pool, learnt, i, one, seed, steps)
        for i, one in enumerate(predictions.labellings(pool.name, number))
    ]
    predicted = [
        predictions.predicted(one, head.path, f"-quality-{seed}")
        for one, (head, _) in zip(predictions.labellings(pool.name, number), taught, strict=True)
    ]
    found = judged(pool.name, predictions.truth(pool.name), predicted)
    if found.checked.poses.id.tolist() != pool.checked.poses.id.tolist():
        raise AssertionError("a head must not change which poses there are")
    features = dict(found.checked.features)
    for head, rows in taught:
        for name in HEAD:
            features[name] = features[name].copy()
            features[name][rows] = head.features[name]
    return replace(found, checked=replace(found.checked, features=features))


def _taught(
    predictions: Predictions,
    pool: Pool,
    learnt: NDArray[np.bool_],
    i: int,
    labelling: Labelling,
    seed: int,
    steps: int | None,
) -> tuple[LearnedQuality, NDArray[np.bool_]]:
    """A head of the i-th network, and the (N,) poses that it learnt."""
    own = {pose for sample in pool.predicted[i] for pose in sample.poses.id.tolist()}
    rows = learnt & np.array([pose in own for pose in pool.checked.poses.id.tolist()], bool)
    head = learn_quality(
        pool.predicted[i],
        pool.checked.take(rows),
        weights=labelling.network,
        out=_file(predictions, labelling, seed),
        device=predictions.device,
        precision="fp32",
        seed=seed,
        steps=steps,
        overwrite=True,
        progress=predictions.networks.progress,
    )
    return head, rows


def _file(predictions: Predictions, labelling: Labelling, seed: int) -> Path:
    folder = predictions.networks.out / "quality"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{labelling.name}-{seed}.safetensors"
