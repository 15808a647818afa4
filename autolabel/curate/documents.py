"""Samples as FiftyOne's documents: plain values, without FiftyOne.

A point is a share of the image, (x + 0.5) / width: pixel centres lie at integers here, and FiftyOne measures from the
image's edge. Boxes are edges on both sides and are not shifted. A keypoint that is not shown, because it is absent or
nobody said anything, is NaN in its place, so that the order of the skeleton holds.

Every document carries a digest of what it says. A second call compares digests and writes what differs, and nothing
else; a pose's ``stated`` is the digest of its points and visibilities as they were written, by which an edit is seen.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.merge import BOXED, SEEN
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton

Document = dict[str, Any]

PERSON = "person"
"""Label of every pose and box."""

OPEN = "open"
"""State of a pose that no person has seen."""

SAID = tuple(v.name.lower() for v in Visibility)
PLACED = tuple(o.name.lower() for o in Origin)

POSES, BOXES = "poses", "boxes"
TRUTH, PREVIOUS, STUDENT = "truth", "previous", "student"
"""Fields of the poses of other manifests, beside ours."""

SUSPICION = "suspicion"
"""Attribute of a pose: how much ``audit-labels`` suspects its label."""

SWAPS = ("mirrored", "swapped")
"""Words of reasons and of findings that tell of left and right changing places."""

_DIGITS = 4


@dataclass(frozen=True)
class Beside:
    """What is known beside a manifest about some of its samples, with N poses altogether.

    Attributes:
        columns: N values of further attributes of a pose, by name; None where nothing is known.
        others: For each sample the poses of other manifests, by field.
        splits: The split of each sample; none where the data set was not split.
    """

    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])
    others: Mapping[str, Sequence[Poses]] = field(default_factory=dict[str, Sequence[Poses]])
    splits: Sequence[str] = ()


def sample_key(sample: Sample) -> str:
    """32 hex characters that name a sample in the data set."""
    return _hash(json.dumps(sample.key))[:32]


def documents(
    samples: Sequence[Sample],
    files: Sequence[Path],
    skeleton: Skeleton,
    beside: Beside | None = None,
    *,
    round_number: int | None = None,
) -> list[Document]:
    """What the data set holds of samples, without FiftyOne's ids.

    Args:
        samples: With their poses.
        files: Their images.
        skeleton: Of all poses.
        beside: What else is known.
        round_number: The loop's round that made the manifest, if one did.
    """
    beside = Beside() if beside is None else beside
    own = [sample.poses for sample in samples]
    poses, size = _together(samples, own, skeleton)
    keypoints = _parted(_own(poses, size, beside.columns), own)
    boxes = _parted(_boxes(poses, size), own)
    others = {
        name: _parted(_keypoints(*_together(samples, found, skeleton)), found) for name, found in beside.others.items()
    }
    made = list[Document]()
    for i, (sample, file) in enumerate(zip(samples, files, strict=True)):
        mine = keypoints[i]
        document: Document = {
            "filepath": str(file),
            "metadata": {"_cls": "ImageMetadata", "width": sample.size[0], "height": sample.size[1]},
            "key": sample_key(sample),
            "root": sample.root,
            "path": sample.path,
            "group": sample.group,
            "duplicate_of": sample.duplicate_of,
            "split": beside.splits[i] if beside.splits else None,
            "round": round_number,
            "num_poses": len(mine),
            "p_bad": max((pose["p_bad"] for pose in mine if pose["p_bad"] is not None), default=None),
            "oks": min((pose["oks"] for pose in mine if pose.get("oks") is not None), default=None),
            "truncated": any(pose["truncated"] for pose in mine),
            "states": sorted({pose["state"] for pose in mine}),
            "left": False,
            POSES: {"_cls": "Keypoints", "keypoints": mine},
            BOXES: {"_cls": "Detections", "detections": [box for box in boxes[i] if box]},
            **{name: {"_cls": "Keypoints", "keypoints": found[i]} for name, found in others.items()},
        }
        made.append(with_digest(document))
    return made


def with_digest(document: Document) -> Document:
    """A document with the digest of all that it says, by which a change is seen."""
    return {**document, "digest": _hash(json.dumps(document, sort_keys=True))[:32]}


def stated_digest(points: Sequence[Sequence[float]], visibility: Sequence[str]) -> str:
    """16 hex characters of where points are, bit by bit, and of what is said of them."""
    places = np.array(points, np.float64).reshape(-1, 2)
    places[np.isnan(places)] = np.nan  # of the many NaN, one
    return hashlib.sha256(places.tobytes() + " ".join(visibility).encode()).hexdigest()[:16]


def to_shares(xy: NDArray[Any], size: NDArray[Any]) -> NDArray[np.float64]:
    """(N, K, 2) pixels as shares of images of sizes (N, 2)."""
    return (xy.astype(np.float64) + 0.5) / size[:, None, :]


def to_pixels(shares: NDArray[np.float64], size: Sequence[int]) -> NDArray[np.float32]:
    """(..., 2) shares of an image as pixels, the inverse of :func:`to_shares`."""
    return (shares * np.asarray(size, np.float64) - 0.5).astype(np.float32)


def _together(samples: Sequence[Sample], found: Sequence[Poses], skeleton: Skeleton) -> tuple[Poses, NDArray[Any]]:
    """The poses of all samples, and (N, 2) sizes of the images that they are in."""
    sizes = np.array([sample.size for sample in samples], np.float64).reshape(-1, 2)
    poses = Poses.concat([Poses.empty(skeleton.num_keypoints), *found])
    return poses, sizes.repeat([len(theirs) for theirs in found], axis=0)


def _parted(made: list[Document], found: Sequence[Poses]) -> list[list[Document]]:
    """The documents of :func:`_together` by sample."""
    ends = np.cumsum([0, *(len(theirs) for theirs in found)]).tolist()
    return [made[start:end] for start, end in pairwise(ends)]


def _own(poses: Poses, size: NDArray[Any], columns: Mapping[str, Sequence[Any]]) -> list[Document]:
    """All poses of a manifest, with everything that is known of them."""
    gross, presence = _lists(poses.p_gross), _lists(poses.presence)
    p_bad, worst = _numbers(poses.p_bad), _numbers(_largest(poses.p_gross))
    absent: list[bool] = np.any(poses.visibility == Visibility.ABSENT, axis=1).tolist()
    stated: list[bool] = np.any(np.isin(poses.origin, (Origin.HUMAN, Origin.IMPORTED)), axis=1).tolist()
    made = _keypoints(poses, size)
    for i, document in enumerate(made):
        attributes = poses.attributes[i]
        reasons, lint = _words(attributes.get("reasons"), "text"), _words(attributes.get("lint"), "kind")
        state = attributes.get("state")
        more = {name: values[i] for name, values in columns.items()}
        document |= {
            "p_gross": gross[i],
            "presence": presence[i],
            "p_bad": p_bad[i],
            "worst_gross": worst[i],
            "reasons": reasons,
            "lint": lint,
            "swap": any(word in text for text in (*reasons, *lint) for word in SWAPS),
            "label_error": (bool(lint) and stated[i]) or more.get(SUSPICION) is not None,
            "truncated": absent[i],
            "state": str(state) if state in (*SEEN, BOXED) else OPEN,
            **more,
        }
    return made


def _keypoints(poses: Poses, size: NDArray[Any]) -> list[Document]:
    """What every pose says, whichever manifest it is from."""
    shares = to_shares(poses.xy, size)
    shares[~poses.labelled] = np.nan
    points: list[list[list[float]]] = shares.tolist()
    said: list[list[str]] = np.array(SAID, object)[poses.visibility].tolist()
    placed: list[list[str]] = np.array(PLACED, object)[poses.origin].tolist()
    confidence, mean = _lists(poses.score), _numbers(_mean(poses.score))
    return [
        {
            "_cls": "Keypoint",
            "attributes": {},
            "tags": [],
            "label": PERSON,
            "points": points[i],
            "confidence": confidence[i],
            "visibility": said[i],
            "origin": placed[i],
            "pose_id": name,
            "by": by,
            "mean_score": mean[i],
            "stated": stated_digest(points[i], said[i]),
        }
        for i, (name, by) in enumerate(zip(poses.id.tolist(), poses.by.tolist(), strict=True))
    ]


def _boxes(poses: Poses, size: NDArray[Any]) -> list[Document]:
    """A box for each pose that has one, and an empty document for others."""
    edges = poses.box / np.concatenate([size, size], axis=1)
    boxes: list[list[float]] = np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], axis=1).tolist()
    score, p_bad = _numbers(poses.box_score), _numbers(poses.p_bad)
    boxed = np.isfinite(poses.box[:, 0]).tolist()
    return [
        {
            "_cls": "Detection",
            "attributes": {},
            "tags": [],
            "label": PERSON,
            "bounding_box": boxes[i],
            "confidence": score[i],
            "pose_id": name,
            "p_bad": p_bad[i],
        }
        if boxed[i]
        else {}
        for i, name in enumerate(poses.id.tolist())
    ]


def _lists(values: NDArray[np.float32]) -> list[list[float]]:
    """(N, K) as lists of short numbers, NaN for what is unknown."""
    return values.astype(np.float64).round(_DIGITS).tolist()


def _numbers(values: NDArray[Any]) -> list[float | None]:
    """(N,) short numbers, None for NaN: FiftyOne's bounds of a field that holds NaN are NaN."""
    rounded = values.astype(np.float64).round(_DIGITS)
    told = rounded.astype(object)
    told[np.isnan(rounded)] = None
    return told.tolist()


def _mean(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) mean of the known ones of (N, K), NaN where none is."""
    count = np.isfinite(values).sum(axis=1)
    total = np.nansum(values, axis=1, dtype=np.float64)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _largest(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) largest of the known ones of (N, K), NaN where none is."""
    largest = np.nan_to_num(values.astype(np.float64), nan=-1).max(axis=1, initial=-1)
    return np.where(largest < 0, np.nan, largest)


def _words(value: object, name: str) -> list[str]:
    """The words in an attribute that holds a list of objects, as far as it does: it may be of anybody's table."""
    found = cast("list[object]", value) if isinstance(value, list) else []
    objects = [cast("Mapping[str, object]", item) for item in found if isinstance(item, dict)]
    return [str(item[name]) for item in objects if name in item]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
