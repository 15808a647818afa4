"""Poses of one manifest beside those that another one has of the same people, part by part.

What a network says of labelled people, what an earlier version said, what somebody else labelled: whoever compares two
manifests row by row asks here. People are paired by the ids of their poses where an image shares any, and by place
otherwise.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.manifest import Manifest
from autolabel.poses import Poses, Sample
from autolabel.similarity import match
from autolabel.skeleton import Skeleton

Features = Mapping[str, NDArray[Any]]


class SecondOpinion:
    """Poses and features of another manifest, found by the poses of this one.

    Of the other manifest an index is held, and the part that was read last: predictions keep the parts of what they
    were made from, so each is read once.

    Args:
        source: Whose poses ask.
        second: Whose poses answer.

    Raises:
        InputError: They share no image.
        SkeletonError: The skeletons differ.
    """

    def __init__(self, source: Manifest, second: Manifest) -> None:
        source.skeleton.require_same(second.skeleton, str(second.path))
        self._skeleton, self._second = source.skeleton, second
        self._part_of = {sample.key: i for i in range(second.num_parts) for sample in second.part(i)}
        self._held: tuple[int, dict[Any, tuple[Poses, int]], Features | None] = (-1, {}, None)
        self._names: dict[str, tuple[int, ...]] = {}
        if not any(sample.key in self._part_of for sample in source):
            raise InputError(
                "has no image of the manifest", subject=str(second.path), remedy="Give poses of the same images."
            )

    @property
    def num_keypoints(self) -> int:
        """K of both manifests."""
        return self._skeleton.num_keypoints

    def theirs(self, sample: Sample) -> Poses:
        """The other manifest's poses of an image, whoever they are of; none where it lacks the image."""
        return self._sample(sample)[0]

    def of(self, samples: list[Sample]) -> tuple[Poses, Features | None]:
        """Aligned with the poses of the samples: the other manifest's poses and features, NaN where it has none."""
        poses, values = list[Poses](), dict[str, list[NDArray[Any]]]()
        rows: list[tuple[NDArray[np.intp], Features | None]] = []
        for sample in samples:
            theirs, first, features = self._sample(sample)
            partner = _partners(sample.poses, theirs, self._skeleton)
            poses.append(_aligned(sample.poses, theirs, partner))
            rows.append((np.where(partner >= 0, partner + first, -1), features))
        shapes = {name: array.shape[1:] for _, found in rows if found for name, array in found.items()}
        for name, shape in shapes.items():
            values[name] = [_spread(found.get(name) if found else None, at, shape) for at, found in rows]
        together = Poses.concat([Poses.empty(self._skeleton.num_keypoints), *poses])
        return together, {name: np.concatenate(parts) for name, parts in values.items()} or None

    def _sample(self, sample: Sample) -> tuple[Poses, int, Features | None]:
        """The other poses of an image, the row of the first among the features of their part, and those."""
        part = self._part_of.get(sample.key)
        if part is None:
            return Poses.empty(self._skeleton.num_keypoints), 0, None
        if part != self._held[0]:
            found, first = dict[Any, tuple[Poses, int]](), 0
            for other in self._second.part(part):
                found[other.key] = (other.poses, first)
                first += len(other.poses)
            self._held = (part, found, self._second.features(part))
        poses, first = self._held[1][sample.key]
        return poses, first, self._held[2]


def _partners(poses: Poses, theirs: Poses, skeleton: Skeleton) -> NDArray[np.intp]:
    """(N,) row of the same person, -1 where there is none: by id if any id is shared, else by place."""
    row = {name: i for i, name in enumerate(theirs.id.tolist())}
    by_id = np.array([row.get(name, -1) for name in poses.id.tolist()], np.intp)
    return by_id if (by_id >= 0).any() or not len(theirs) else match(poses, theirs, skeleton)


def _aligned(poses: Poses, theirs: Poses, partner: NDArray[np.intp]) -> Poses:
    """The partners' poses, one for each; nothing is said where there is none."""
    blank = Poses.create(poses.num_keypoints, id=poses.id)
    both = Poses.concat([theirs, blank])
    return both.take(np.where(partner >= 0, partner, len(theirs) + np.arange(len(poses))))


def _spread(values: NDArray[Any] | None, rows: NDArray[np.intp], shape: tuple[int, ...]) -> NDArray[Any]:
    full = np.full((len(rows), *shape), np.nan, np.float32)
    if values is not None:
        full[rows >= 0] = values[rows[rows >= 0]]
    return full
