"""People whom nobody checked: a manifest of some of them, for what a teacher's judgement is to be learnt on.

They come from several manifests, image by image by chance, so that neighbours stay together. Images that were checked
are left out, and all that must not be parted from them: a teacher's quality head may have learnt the truth there, and
a student's that learnt it from the teacher would be tested on what it knows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autolabel.manifest import Existing, Manifest, Parent, inside, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.run import Run, RunState

STAGE = "unchecked"

PART = 256
"""Images a part: what is lost of a prediction that is killed."""


def unchecked(
    sources: Sequence[Manifest], checked: Manifest, *, most: int, seed: int, out: Path, overwrite: bool = False
) -> Manifest:
    """Write people in boxes from several manifests of one skeleton, and no image of a checked group.

    Args:
        sources: Where to take them from; an image that is in several is taken from the first.
        checked: What was checked.
        most: How many people at most; of the last image, not all may come in.
        seed: Which images.
        out: The folder to write.
        overwrite: Replace what ``out`` holds; otherwise the same again does nothing.

    Returns:
        A manifest without people where nobody is left. What it says of keypoints is what the sources say.

    Raises:
        ExistsError: ``out`` holds another result.
        SkeletonError: The sources have several skeletons.
    """
    first, *rest = sources
    for other in rest:
        first.skeleton.require_same(other.skeleton, str(other.path))
    inputs = {"checked": checked.digest, **{f"manifest {i}": source.digest for i, source in enumerate(sources)}}
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, STAGE, config={"most": most, "seed": seed}, inputs=inputs, existing=existing) as run:
        if run.state is RunState.DONE:
            return Manifest.open(out)
        return write_manifest(
            out,
            _chosen(sources, _known(checked), most, seed),
            first.skeleton,
            {_root(i, name): folder for i, source in enumerate(sources) for name, folder in source.roots.items()},
            stage=STAGE,
            parents=[Parent(role, digest) for role, digest in inputs.items()],
            part_size=PART,
            existing=Existing.OVERWRITE,
        )


def _ties(manifest: Manifest, sample: Sample) -> frozenset[tuple[str, str]]:
    """What an image shares with those that it must not be parted from: bytes, file or original, group of its corpus."""
    root, path = sample.original or (sample.root, sample.path)
    image = inside(manifest.roots[root], path).resolve()
    ties = {("bytes", sample.id), ("image", str(image))}
    if sample.group:
        ties.add((f"group in {Path(manifest.roots[sample.root]).resolve()}", sample.group))
    return frozenset(ties)


def _known(checked: Manifest) -> frozenset[tuple[str, str]]:
    return frozenset(tie for sample in checked for tie in _ties(checked, sample))


def _chosen(sources: Sequence[Manifest], known: frozenset[tuple[str, str]], most: int, seed: int) -> Iterator[Sample]:
    """Samples with the people to take, under names that no two sources share."""
    people = np.array([_usable(sample.poses).sum() for _, sample in _fresh(sources, known)], np.intp)
    order = np.random.default_rng(seed).permutation(len(people))
    left = np.empty(len(people), np.intp)
    left[order] = most - (np.cumsum(people[order]) - people[order])
    for (i, sample), count in zip(_fresh(sources, known), np.minimum(left, people).tolist(), strict=True):
        if count > 0:
            poses = sample.poses.take(np.flatnonzero(_usable(sample.poses))[:count])
            named = poses.replace(id=[f"{i}-{pose}" for pose in poses.id.tolist()])
            yield replace(sample, root=_root(i, sample.root), duplicate_of="", poses=named)


def _fresh(sources: Sequence[Manifest], known: frozenset[tuple[str, str]]) -> Iterator[tuple[int, Sample]]:
    """Samples that were not checked, each once, and the number of the manifest that they are from."""
    seen = set[str]()
    for i, source in enumerate(sources):
        for sample in source:
            if sample.id not in seen and known.isdisjoint(_ties(source, sample)):
                seen.add(sample.id)
                yield i, sample


def _usable(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses of one person in a box."""
    return ~poses.crowd & np.isfinite(poses.box).all(axis=1)


def _root(number: int, name: str) -> str:
    return f"{number}-{name}"
