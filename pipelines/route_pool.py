"""The columns that routing decides by, read from a scored manifest part by part."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.manifest import Manifest
from autolabel.merge import SETTLED, State
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import Progress
from autolabel.second_poses import second_poses
from autolabel.skeleton import Skeleton
from autolabel.split import united_groups
from pipelines.lint import faulty

SampleKey = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Pool:
    """All N poses and I images of a manifest, as far as routing looks at them.

    Attributes:
        ids: (N,) of the poses.
        p_bad: (N,) their doubt, NaN where there is none.
        p_gross: (N, K) float16 doubts of the keypoints.
        image: (N,) number of the image.
        open: (N,) nobody settled them, and their image is not rejected.
        shown: (N,) a person would find keypoints to check: something was predicted.
        second: (N,) open poses that nearly coincide with a better one: the model alone rejects them.
        faulty: (N,) open poses in which ``lint`` finds a fault: a person has to see them, however sure the score is.
        untouched: (N, ceil(K / 8)) bits of the keypoints that a person reviewed and left where the model placed them.
        group: (I,) united groups: what may not be parted.
        refused: (I,) images that a person rejected.
        beside: (J,) united groups of the images that were read beside.
    """

    ids: NDArray[Any]
    p_bad: NDArray[np.float32]
    p_gross: NDArray[np.float16]
    image: NDArray[np.int64]
    open: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    second: NDArray[np.bool_]
    faulty: NDArray[np.bool_]
    untouched: NDArray[np.uint8]
    group: NDArray[np.uint64]
    refused: NDArray[np.bool_]
    beside: NDArray[np.uint64]

    @property
    def trusted(self) -> NDArray[np.float32]:
        """(N,) ``p_bad``; NaN too where the model rejects a pose or lint faults it: such a pose is never accepted."""
        return np.where(self.second | self.faulty, np.float32(np.nan), self.p_bad)

    def untouched_counts(self) -> NDArray[np.int64]:
        """(N,) untouched keypoints of each pose."""
        return np.unpackbits(self.untouched, axis=1).sum(axis=1, dtype=np.int64)

    def complete_at(self, accepted: NDArray[np.intp], sizes: Sequence[int]) -> NDArray[np.intp]:
        """(I,) the strictest of S nested sets with which all poses of an image are settled or accepted.

        It is -1 where that needs no accepted pose, as in an image without poses, and S where no set suffices, as in one
        that was rejected.

        Args:
            accepted: (M,) rows in the order of doubt.
            sizes: (S,) ascending; set s is the first ``sizes[s]`` accepted poses.
        """
        needs = np.full(len(self.ids), len(sizes), np.intp)
        needs[accepted] = np.searchsorted(sizes, np.arange(len(accepted)), side="right")
        found = np.where(self.refused, len(sizes), -1)
        np.maximum.at(found, self.image[self.open], needs[self.open])
        return found


def read_pool(manifest: Manifest, progress: Progress, *, beside: Iterable[Sample] = ()) -> Pool:
    """Read what routing decides by.

    Args:
        manifest: What ``score`` wrote.
        progress: Where to report.
        beside: Images of another manifest, to know which of them belong to groups of this one.
    """
    columns: list[tuple[NDArray[Any], ...]] = []
    refused: list[NDArray[np.bool_]] = []
    groups = united_groups(chain(_stream(manifest, columns, refused, progress), beside))
    return Pool(
        *(np.concatenate(column) for column in zip(*columns, strict=True)),
        group=groups[: len(manifest)],
        refused=np.concatenate(refused),
        beside=groups[len(manifest) :],
    )


def sample_keys(manifest: Manifest, images: NDArray[np.intp]) -> list[SampleKey]:
    """The keys of some images, given by their ascending numbers, in that order."""
    keys: list[SampleKey] = []
    first = 0
    for i in range(manifest.num_parts):
        length = manifest.part_length(i)
        mine = images[(images >= first) & (images < first + length)] - first
        if len(mine):
            samples = manifest.part(i)
            chosen: list[int] = mine.tolist()
            keys += [samples[place].key for place in chosen]
        first += length
    return keys


def _stream(
    manifest: Manifest,
    columns: list[tuple[NDArray[Any], ...]],
    refused: list[NDArray[np.bool_]],
    progress: Progress,
) -> Iterator[Sample]:
    """The samples; adds the columns of each part on the way, so that the manifest is read once."""
    first = 0
    with progress.task("route", len(manifest), "image") as task:
        for i in range(manifest.num_parts):
            samples = manifest.part(i)
            rejected = np.array([sample.attributes.get("state") == State.REJECTED for sample in samples], bool)
            owner = manifest.owners(i)
            columns.append(_columns(manifest.poses(i), owner, rejected[owner], manifest.skeleton, first))
            refused.append(rejected)
            first += len(samples)
            task.advance(len(samples))
            yield from samples


def _columns(
    poses: Poses,
    owner: NDArray[np.int64],
    refused: NDArray[np.bool_],
    skeleton: Skeleton,
    first: int,
) -> tuple[NDArray[Any], ...]:
    states = [attributes.get("state") for attributes in poses.attributes]
    settled = np.array([state in SETTLED for state in states], bool)
    reviewed = np.array([state == State.REVIEWED for state in states], bool)
    shown = np.asarray(np.isfinite(poses.xy[..., 0]).any(axis=1))
    open_ = ~(settled | poses.crowd | refused)
    # A pose that a person let pass outdoes every other; one that a person rejected, or without keypoints, none.
    rivals = np.flatnonzero((open_ | (reviewed & ~refused)) & shown & ~poses.crowd)
    score = np.where(reviewed, np.inf, 1 - np.nan_to_num(poses.p_bad, nan=1.0))[rivals]
    second = np.zeros(len(poses), bool)
    second[rivals] = second_poses(poses.xy[rivals], poses.box[rivals], owner[rivals], score, skeleton.sigmas)
    untouched = (poses.origin == Origin.MODEL) & (poses.visibility != Visibility.UNLABELLED)
    untouched &= (reviewed & ~refused & ~poses.crowd)[:, None]
    bits = np.packbits(untouched, axis=1)
    p_gross = poses.p_gross.astype(np.float16)
    return poses.id, poses.p_bad, p_gross, owner + first, open_, shown, second & open_, faulty(poses) & open_, bits
