"""Poses that a merge brings into its base: answered ones that the base lacks, and boxed people.

What a person labelled never vanishes: an answered pose that the base no longer holds is put back, which is a
conflict. Somebody who was boxed was never there, and is *added* once answered. Until then a boxed person *waits* in
the image, as a box with the state "boxed", so that no export takes the image for complete; the answer takes its place.
Whoever waits in the base, or was posed in a whole image, and is boxed no more, as the pull says (``retracted.jsonl``),
is taken out again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.labelstudio.folder import read_lines
from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import BOXED, BOXES, RETRACTED, SEEN, Conflict, Correction, State
from autolabel.poses import Poses, Sample
from autolabel.similarity import keypoint_similarity, similarity_area
from autolabel.skeleton import Skeleton
from autolabel.suppress import OKS_THRESHOLD

PUT_BACK = "no longer in the base; put back"
COINCIDES = "was boxed and nearly coincides with another pose of its image; both stand"
NO_IMAGE = "was boxed; its image is not in the base"

ADDED, WAITING, TAKEN_OUT = "added", "waiting", "taken out"

Features = dict[str, NDArray[Any]]
SampleKey = tuple[str, str, str]


@dataclass(frozen=True)
class Brought:
    """What came of somebody who was boxed: a line of ``boxed.jsonl``.

    Attributes:
        pose: Id of the pose.
        image: Path of the image.
        by: Who answered, or drew the box.
        what: ``added`` with an answered pose, ``waiting`` for one, or ``taken out`` of the base.
    """

    pose: str
    image: str
    by: str
    what: str


@dataclass(frozen=True, eq=False)
class Theirs:
    """What people stated about poses that the base may lack, by the key of their image.

    Attributes:
        answered: Answered poses, as people left them.
        waiting: People who were boxed and have no answered pose.
        retracted: Ids of people whom some answer boxed and no answer boxes any more.
    """

    answered: Mapping[SampleKey, Poses]
    waiting: Mapping[SampleKey, Poses]
    retracted: frozenset[str]

    @classmethod
    def of(cls, pulled: Manifest, corrections: Mapping[str, Correction]) -> "Theirs":
        """What a pull's folder holds."""
        chosen = (s.with_poses(s.poses.take([pose in corrections for pose in s.poses.id])) for s in pulled)
        boxes = boxes_of(pulled)
        gone = frozenset(str(line["pose"]) for line in read_lines(pulled.path / RETRACTED))
        return cls(_by_image(chosen), {} if boxes is None else _by_image(boxes), gone)


@dataclass(frozen=True, eq=False)
class Completed:
    """Samples of a part with everything that people stated about them.

    Attributes:
        samples: The samples.
        features: Theirs; NaN for poses that the base lacked.
        brought: Boxed people who were brought in or taken out, or who waited here before.
        conflicts: What did not fit.
    """

    samples: list[Sample]
    features: Features | None
    brought: list[Brought]
    conflicts: list[Conflict]


def boxes_of(pulled: Manifest) -> Manifest | None:
    """The boxed people of a pull; None where there are none."""
    folder = pulled.path / BOXES
    return Manifest.open(folder) if (folder / COMMIT).is_file() else None


def complete(samples: Iterable[Sample], features: Features | None, theirs: Theirs, skeleton: Skeleton) -> Completed:
    """Bring into samples what people stated about them and they lack.

    Args:
        samples: Those of one part of the base.
        features: Of their poses, in order.
        theirs: What people stated.
        skeleton: Of all poses; tells which two nearly coincide.
    """
    parts: list[_Whole] = []
    rows, first = list[int](), 0
    for sample in samples:
        part = _whole(sample, theirs, skeleton)
        rows += [first + row if row >= 0 else -1 for row in part.rows]
        first += len(sample.poses)
        parts.append(part)
    if features is not None and rows != list(range(first)):
        features = {name: _spread(array, np.array(rows, np.intp)) for name, array in features.items()}
    return Completed(
        [part.sample for part in parts],
        features,
        [one for part in parts for one in part.brought],
        [conflict for part in parts for conflict in part.conflicts],
    )


def left_over(theirs: Theirs, seen: set[SampleKey]) -> Iterator[Conflict]:
    """The waiting people whose image the base does not hold."""
    for key, poses in theirs.waiting.items():
        if key not in seen:
            yield from (
                Conflict(pose, NO_IMAGE, f"by {by}, image {key[2]}")
                for pose, by in zip(poses.id, poses.by, strict=True)
            )


@dataclass(frozen=True, eq=False)
class _Whole:
    """A sample with what it lacked, and the row that each of its poses had before, -1 where it is new."""

    sample: Sample
    rows: list[int]
    brought: list[Brought]
    conflicts: list[Conflict]


def _whole(sample: Sample, theirs: Theirs, skeleton: Skeleton) -> _Whole:
    own, none = sample.poses, Poses.empty(skeleton.num_keypoints)
    out = (_waits(own) | _posed(own)) & np.isin(own.id, list(theirs.retracted))
    if not out.any() and sample.key not in theirs.answered and sample.key not in theirs.waiting:
        return _Whole(sample, list(range(len(own))), _waiting(sample), [])
    answered, waiting = theirs.answered.get(sample.key, none), theirs.waiting.get(sample.key, none)
    # An answer takes the place of the box that waited for it.
    stay = ~(_waits(own) & np.isin(own.id, answered.id)) & ~out
    kept = own.take(stay)
    lost = answered.take(~np.isin(answered.id, kept.id))
    boxed = np.array([BOXED in attributes for attributes in lost.attributes], bool)
    new = lost.take(boxed)
    poses = Poses.concat([kept, lost, waiting.take(~np.isin(waiting.id, own.id))])
    rows: list[int] = np.flatnonzero(stay).tolist()
    brought = [Brought(pose, sample.path, by, ADDED) for pose, by in _signed(new)]
    brought += [Brought(pose, sample.path, by, TAKEN_OUT) for pose, by in _signed(own.take(out))]
    whole = sample if len(poses) == len(rows) == len(own) else sample.with_poses(poses)
    conflicts = [Conflict(pose, PUT_BACK, f"by {by}") for pose, by in _signed(lost.take(~boxed))]
    pairs = np.argwhere(_coincide(new, kept, skeleton)).tolist()
    conflicts += [Conflict(str(new.id[i]), COINCIDES, f"with {kept.id[j]}") for i, j in pairs]
    return _Whole(whole, rows + [-1] * (len(poses) - len(rows)), brought + _waiting(whole), conflicts)


def _waiting(sample: Sample) -> list[Brought]:
    return [Brought(pose, sample.path, by, WAITING) for pose, by in _signed(sample.poses.take(_waits(sample.poses)))]


def _coincide(new: Poses, kept: Poses, skeleton: Skeleton) -> NDArray[np.bool_]:
    """(N, M) whether two poses are nearly the same, neither of them rejected."""
    known = np.where(new.labelled[..., None], new.xy, np.nan)
    ks = keypoint_similarity(kept.xy[None], known[:, None], similarity_area(new)[:, None], skeleton.sigmas)
    alike = np.nan_to_num(ks, nan=0.0).mean(axis=-1) > OKS_THRESHOLD
    return np.asarray(alike & ~_rejected(new)[:, None] & ~_rejected(kept)[None])


def _by_image(samples: Iterable[Sample]) -> dict[SampleKey, Poses]:
    return {sample.key: sample.poses for sample in samples if len(sample.poses)}


def _waits(poses: Poses) -> NDArray[np.bool_]:
    return np.array([attributes.get("state") == BOXED for attributes in poses.attributes], bool)


def _posed(poses: Poses) -> NDArray[np.bool_]:
    """(N,) boxed people whose pose a person stated; where no answer says so any more, a pull retracts them."""
    return np.array([BOXED in a and a.get("state") in SEEN for a in poses.attributes], bool)


def _rejected(poses: Poses) -> NDArray[np.bool_]:
    return np.array([attributes.get("state") == State.REJECTED for attributes in poses.attributes], bool)


def _signed(poses: Poses) -> list[tuple[str, str]]:
    return list(zip(poses.id.tolist(), poses.by.tolist(), strict=True))


def _spread(values: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """The values at these rows, NaN where a row is -1."""
    spread = np.full((len(rows), *values.shape[1:]), np.nan, values.dtype)
    spread[rows >= 0] = values[rows[rows >= 0]]
    return spread
