"""Training poses whose open keypoints a frozen network fills in: a stage of a round's fine-tuning.

The poses that people left something open in are asked of the network of before, as boxes alone; its calibrator says
which of the places can be believed; those are filled in (:mod:`autolabel.fill`). Each step is an ordinary stage in a
folder of its own::

    asked  predicted  scored  manifest

Where nothing is open, or nothing could be told, the source itself is what is trained on and nothing is written.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.fill import fill, stated
from autolabel.manifest import Existing, Manifest, Parent, write_manifest
from autolabel.poses import FILLED, Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState
from pipelines.score import score

Said = Callable[[Poses], NDArray[np.bool_]]
"""(N, K) of N poses: the keypoints that people said something about."""


@dataclass(frozen=True)
class Teacher:
    """A frozen network and how far it is believed.

    Attributes:
        predict: Predicts a manifest's poses into a folder; both are arguments, in this order.
        calibrator: Fitted for that network, predicting so.
        below: What it says counts where ``p_gross`` is less than this.
    """

    predict: Callable[[Path, Path], Manifest]
    calibrator: Path
    below: float


@dataclass(frozen=True)
class Filled:
    """What is trained on.

    Attributes:
        manifest: Its manifest.
        keypoints: How many were filled in.
    """

    manifest: Manifest
    keypoints: int


def fill_open(
    source: Manifest, said: Said, teacher: Teacher | None, *, out: Path, progress: Progress = SILENT
) -> Filled:
    """Fill in the keypoints that people left open.

    Args:
        source: Poses to train on.
        said: What people said something about; the rest is open.
        teacher: Who fills in; without one, what is open is taken for unlabelled.
        out: The folder of the steps.
        progress: Where to report.

    Raises:
        ExistsError: ``out`` holds another result.
        AutolabelError: A step failed.
    """
    asked, digest, pending = _open(source, said)
    if not asked or (teacher is None and not pending):
        return Filled(source, 0)
    inputs, below, parts = {"manifest": source.digest}, 0.0, list[Poses]()
    if teacher is not None:
        scored = _answered(source, asked, teacher, out, progress)
        parts = [scored.poses(i) for i in range(scored.num_parts)]
        inputs["teacher"], below = scored.digest, teacher.below
    answers = _Answers(parts, source.skeleton.num_keypoints)

    def filled() -> Iterator[Sample]:
        for sample in source:
            poses = sample.poses
            yield sample.with_poses(fill(poses, answers.of(poses), said(poses), source.skeleton, below=below))

    return _counted(_written(out / "manifest", "fill", filled(), source, {"below": below, "said": digest}, inputs))


def keep_sure(scored: Manifest, *, below: float, out: Path) -> Filled:
    """Predicted poses as training poses: what is surely right is kept, all else is unlabelled.

    Args:
        scored: Predicted poses with calibrated ``p_gross``.
        below: A keypoint is kept where its ``p_gross`` is less than this and the network places it.
        out: The folder to write.

    Raises:
        ExistsError: ``out`` holds another result.
    """

    def kept() -> Iterator[Sample]:
        for sample in scored:
            poses = sample.poses
            nothing = np.zeros(poses.visibility.shape, bool)
            yield sample.with_poses(fill(poses, poses, nothing, scored.skeleton, below=below))

    return _counted(_written(out, "keep-sure", kept(), scored, {"below": below}, {"manifest": scored.digest}))


def _counted(made: Manifest) -> Filled:
    attributes = (known for i in range(made.num_parts) for known in made.poses(i).attributes)
    return Filled(made, sum(len(known.get(FILLED, ())) for known in attributes))


def _open(source: Manifest, said: Said) -> tuple[set[str], str, bool]:
    """Ids of the poses that something is open in, a digest of what was said, and whether an open one states something.

    Crowds and poses without a box are never trained on and stay as they are.
    """
    asked, digest, pending = set[str](), hashlib.sha256(), False
    for i in range(source.num_parts):
        poses = source.poses(i)
        known = said(poses)
        digest.update(np.packbits(known).tobytes())
        usable = known.any(axis=1) & ~poses.crowd & np.isfinite(poses.box).all(axis=1)
        asked.update(poses.id[usable & ~known.all(axis=1)].tolist())
        pending = pending or bool((~known & stated(poses)).any())
    return asked, digest.hexdigest(), pending


def _answered(source: Manifest, asked: set[str], teacher: Teacher, out: Path, progress: Progress) -> Manifest:
    """What the network says of these poses, with calibrated doubts."""

    def questions() -> Iterator[Sample]:
        for sample in source:
            rows = np.flatnonzero([pose in asked for pose in sample.poses.id.tolist()])
            if len(rows):
                chosen = sample.poses.take(rows)
                yield sample.with_poses(chosen.replace(attributes=[{}] * len(chosen)))  # a settled pose gets no doubt

    ids = hashlib.sha256("\n".join(sorted(asked)).encode()).hexdigest()
    question = _written(out / "asked", "ask", questions(), source, {"ids": ids}, {"manifest": source.digest})
    predicted = teacher.predict(question.path, out / "predicted")
    return score(predicted.path, out=out / "scored", calibrator=teacher.calibrator, progress=progress).manifest


def _written(
    out: Path,
    stage: str,
    samples: Iterator[Sample],
    like: Manifest,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
) -> Manifest:
    """A manifest of these samples, written once."""
    with Run.open(out, stage, config=config, inputs=inputs) as run:
        if run.state is RunState.DONE:
            return Manifest.open(out)
        parents = [Parent(role, digest) for role, digest in inputs.items()]
        again = Existing.OVERWRITE
        return write_manifest(out, samples, like.skeleton, like.roots, stage=stage, parents=parents, existing=again)


class _Answers:
    """What a network says, by pose.

    Args:
        parts: Its poses.
        keypoints: K.
    """

    def __init__(self, parts: Sequence[Poses], keypoints: int) -> None:
        nothing = Poses.create(keypoints, id=[""])
        self._poses = Poses.concat([*parts, nothing])
        self._row = {pose: i for i, pose in enumerate(self._poses.id[:-1].tolist())}

    def of(self, poses: Poses) -> Poses:
        """The answers to N poses, row by row; a row of nothing where there is none."""
        rows = [self._row.get(pose, -1) for pose in poses.id.tolist()]
        return self._poses.take(np.array(rows, np.intp)).replace(id=poses.id)
