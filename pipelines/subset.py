"""Manifests made of another one: some of its poses, or the same poses in other states."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from autolabel.ledger import carry_on
from autolabel.manifest import Existing, Manifest, ManifestWriter, Parent, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.prediction_record import carry_over
from autolabel.run import Run, RunState


def with_poses(source: Manifest, ids: Collection[str], *, out: Path, stage: str) -> Manifest:
    """The poses with these ids and their samples; samples without one are left out, and so are features.

    Args:
        source: The manifest.
        ids: Of the poses; those that it lacks do not matter.
        out: The folder to write.
        stage: The name of the step.

    Raises:
        ExistsError: ``out`` holds another result.
    """
    wanted = set(ids)

    def chosen() -> Iterator[Sample]:
        for sample in source:
            rows = np.flatnonzero([pose in wanted for pose in sample.poses.id.tolist()])
            if len(rows):
                yield sample.with_poses(sample.poses.take(rows))

    parents = [Parent("manifest", source.digest)]
    config = {"ids": hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()}
    with Run.open(out, stage, config=config, inputs={"manifest": source.digest}) as run:
        if run.state is RunState.DONE:
            return Manifest.open(out)
        return write_manifest(
            out, chosen(), source.skeleton, source.roots, stage=stage, parents=parents, existing=Existing.OVERWRITE
        )


def with_states(
    source: Manifest, state: Callable[[Poses], list[str]], *, out: Path, stage: str, config: dict[str, str]
) -> Manifest:
    """The same manifest with every pose's ``state`` stated anew, part by part.

    Args:
        source: The manifest.
        state: The state of each of N poses; "" leaves a pose as it is.
        out: The folder to write.
        stage: The name of the step.
        config: What ``state`` depends on, beside the source.

    Raises:
        ExistsError: ``out`` holds another result.
    """
    with Run.open(out, stage, config=config, inputs={"manifest": source.digest}) as run:
        if run.state is RunState.DONE:
            return Manifest.open(out)
        writer = ManifestWriter(
            out,
            source.skeleton,
            source.roots,
            stage=stage,
            parents=[Parent("manifest", source.digest)],
            existing=Existing.RESUME,
        )
        carry_over(source.path, out)
        carry_on(out, source.path)
        done = writer.finished_parts()
        for i in range(source.num_parts):
            if i not in done:
                writer.write_part(i, [_stated(s, state) for s in source.part(i)], source.features(i))
        return writer.commit()


def _stated(sample: Sample, state: Callable[[Poses], list[str]]) -> Sample:
    poses = sample.poses
    states = state(poses)
    attributes = [{**a, "state": s} if s else a for a, s in zip(poses.attributes, states, strict=True)]
    return replace(sample, poses=poses.replace(attributes=attributes))
