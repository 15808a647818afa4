"""What every reader gives and every writer tells: labels of another tool, and what a format could not hold.

A reader checks the whole file before it gives anything out, and names the record and the field of what is wrong.
A writer streams, so that memory does not grow with the corpus, and its result appears under its name only when it is
complete. Neither drops anything in silence: what a reader left out stands in ``Labels.notes``, what a writer could
not carry in ``Written.lost``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.formats.policy import ImagePolicy, select
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import Progress
from autolabel.skeleton import Skeleton

_COUNTED_TOGETHER = 256

TRACK = "track"
"""Attribute of a pose: what SLEAP's track, or DeepLabCut's individual, is called."""

UNKNOWN_SIZE = (0, 0)
"""Size of a sample whose file says nothing about its image's size; whoever sees the image knows it."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What a label file holds.

    Attributes:
        skeleton: Of all its poses.
        samples: The images in the file's order. ``root`` is "", and so are ``id`` of samples and poses unless
            the file is ours: whoever sees the images gives them. ``size`` is ``UNKNOWN_SIZE`` where the format
            does not state it.
        header: What the file says of itself, for whoever writes it again.
        notes: What it held and did not come in, a sentence each.
        digest: Hex digest of all bytes that were read, where they are more than the file that was named.
    """

    skeleton: Skeleton
    samples: Sequence[Sample]
    header: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()
    digest: str = ""


class Aspect(StrEnum):
    """Something that a manifest says and that a format may be unable to hold; the value is how people read it."""

    COORDINATES = "coordinates to the last bit of single precision"
    HIDDEN = "hidden keypoints apart from visible ones"
    ABSENT = "absent keypoints apart from unlabelled ones"
    PLACE = "coordinates of keypoints that are not labelled"
    UNLABELLED = "poses without a labelled keypoint"
    SCORE = "keypoint scores"
    PRESENCE = "presence"
    BOX = "boxes"
    BOX_SCORE = "box scores"
    AREA = "areas"
    CROWD = "crowd regions"
    DOUBT = "p_gross and p_bad"
    ORIGIN = "what placed each keypoint"
    BY = "who stated each pose"
    POSE_ID = "pose ids"
    POSE_GROUP = "groups of poses"
    ATTRIBUTES = "attributes of poses"
    EMPTY = "images without people"
    IMAGE_ID = "content hashes of images"
    GROUP = "groups of images"
    DUPLICATE = "marks of repeated images"
    IMAGE_ATTRIBUTES = "attributes of images"
    EDGES = "edges of the skeleton"
    FLIP = "flip pairs of the skeleton"
    SIGMAS = "OKS sigmas"
    OUTSIDE = "keypoints outside the image"
    BOXLESS = "that a pose has no box"


@dataclass(frozen=True)
class Written:
    """What a writer wrote.

    Attributes:
        images: Images written.
        poses: Poses written, ignore regions included.
        left_out: Images that the image policy left out.
        lost: What the format could not hold, and in how many poses or images it stood.
    """

    images: int
    poses: int
    left_out: int
    lost: Mapping[Aspect, int] = field(default_factory=dict[Aspect, int])

    def note(self) -> str:
        """A sentence about everything that did not get through; "" where everything did."""
        told = ", ".join(f"{what.value} ({n:,})" for what, n in self.lost.items())
        return f"WARNING: this format cannot hold: {told}" if told else ""


def say_something(attributes: Mapping[str, Any]) -> bool:
    """Whether attributes say anything: 0 and false are answers, null and what is empty are none."""
    return any(value is not None and value not in ("", [], {}) for value in attributes.values())


def path_below_root(sample: Sample) -> str:
    """What a writer calls a sample's image where it is not told otherwise."""
    return sample.path


class Tally:
    """Hands a writer the samples that are to be written, and counts them and what the format cannot hold.

    Args:
        cannot: The aspects that the format cannot hold.
    """

    def __init__(self, cannot: frozenset[Aspect] = frozenset()) -> None:
        self._cannot = cannot
        self._images = self._poses = self._left_out = 0
        self._lost = Counter[Aspect]()
        self._uncounted: list[Sample] = []

    def samples(self, samples: Iterable[Sample], policy: ImagePolicy, progress: Progress) -> Iterator[Sample]:
        """The samples as the image policy wants them written, one after the other."""
        total = len(samples) if isinstance(samples, Sized) else None
        with progress.task("export", total, "image") as task:
            for sample in samples:
                chosen = select(sample, policy)
                if chosen is None:
                    self._left_out += 1
                else:
                    self._count(chosen)
                    yield chosen
                task.advance()

    def skeleton(self, skeleton: Skeleton) -> None:
        """Take note of what the skeleton says."""
        self._lose(_of_skeleton(skeleton))

    def lose(self, aspect: Aspect, n: int = 1) -> None:
        """Take note of a loss that only the writer sees."""
        if n:
            self._lost[aspect] += n

    def written(self) -> Written:
        """What came of it; losses in the order of :class:`Aspect`."""
        self._count_losses()
        lost = {aspect: self._lost[aspect] for aspect in Aspect if self._lost[aspect]}
        if Aspect.BOX in self._cannot and Aspect.BOX not in lost:
            lost.pop(Aspect.BOXLESS, None)  # where no pose has a box, that one has none needs no telling
        return Written(self._images, self._poses, self._left_out, lost)

    def _count(self, sample: Sample) -> None:
        self._images += 1
        self._poses += len(sample.poses)
        if self._cannot:
            self._uncounted.append(sample)
            if len(self._uncounted) == _COUNTED_TOGETHER:
                self._count_losses()

    def _count_losses(self) -> None:
        """Count many samples at once: an array of one image's poses is too short to be worth its overhead."""
        if self._uncounted:
            poses = Poses.concat([sample.poses for sample in self._uncounted])
            self._lose({**_of_poses(poses), **_of_samples(self._uncounted, poses)})
            self._uncounted.clear()

    def _lose(self, said: Mapping[Aspect, int]) -> None:
        self._lost.update({aspect: n for aspect, n in said.items() if n and aspect in self._cannot})


def _of_skeleton(skeleton: Skeleton) -> dict[Aspect, int]:
    return {
        Aspect.EDGES: len(skeleton.edges),
        Aspect.FLIP: len(skeleton.flip_pairs),
        Aspect.SIGMAS: 0 if skeleton.sigmas_guessed else skeleton.num_keypoints,
    }


def _of_samples(samples: Sequence[Sample], poses: Poses) -> dict[Aspect, int]:
    """In how many images each aspect says something; ``poses`` are those of all samples."""
    return {
        Aspect.EMPTY: sum(not len(sample.poses) for sample in samples),
        Aspect.IMAGE_ID: sum(bool(sample.id) for sample in samples),
        Aspect.GROUP: sum(bool(sample.group) and sample.group != sample.id for sample in samples),
        Aspect.DUPLICATE: sum(bool(sample.duplicate_of) for sample in samples),
        Aspect.IMAGE_ATTRIBUTES: sum(say_something(sample.attributes) for sample in samples),
        Aspect.OUTSIDE: _outside(samples, poses),
    }


def _outside(samples: Sequence[Sample], poses: Poses) -> int:
    """Labelled keypoints outside their image, where its size is known."""
    sizes = np.array([sample.size for sample in samples], np.float64)
    size = np.repeat(sizes, [len(sample.poses) for sample in samples], axis=0)[:, None]
    beyond = ((poses.xy < 0) | (poses.xy > size)).any(axis=-1) & (size != UNKNOWN_SIZE).all(axis=-1)
    return int((poses.labelled & beyond).sum())


def _of_poses(poses: Poses) -> dict[Aspect, int]:
    """In how many poses each aspect says something."""

    def known(values: NDArray[np.floating[Any]]) -> int:
        return int((~np.isnan(values.reshape(len(poses), -1))).any(axis=1).sum()) if len(poses) else 0

    def said(values: NDArray[Any]) -> int:
        return int((values != "").sum())

    placed = ~poses.labelled & ~np.isnan(poses.xy[..., 0])
    stated = np.where(poses.labelled, Origin.IMPORTED, Origin.NONE)
    return {
        Aspect.HIDDEN: int((poses.visibility == Visibility.HIDDEN).any(axis=1).sum()),
        Aspect.ABSENT: int((poses.visibility == Visibility.ABSENT).any(axis=1).sum()),
        Aspect.PLACE: int(placed.any(axis=1).sum()),
        Aspect.UNLABELLED: int((~poses.labelled.any(axis=1)).sum()),
        Aspect.SCORE: known(poses.score),
        Aspect.PRESENCE: known(poses.presence),
        Aspect.BOX: known(poses.box),
        Aspect.BOXLESS: int(np.isnan(poses.box[:, 0]).sum()),
        Aspect.BOX_SCORE: known(poses.box_score),
        Aspect.AREA: known(poses.area),
        Aspect.CROWD: int(poses.crowd.sum()),
        Aspect.DOUBT: int((~np.isnan(poses.p_bad) | (~np.isnan(poses.p_gross)).any(axis=1)).sum()),
        Aspect.ORIGIN: int(((poses.origin != stated) & poses.labelled).any(axis=1).sum()),
        Aspect.BY: said(poses.by),
        Aspect.POSE_ID: said(poses.id),
        Aspect.POSE_GROUP: said(poses.group),
        Aspect.ATTRIBUTES: sum(map(say_something, poses.attributes)),
    }
