"""What curators did in FiftyOne: tags on images, on poses, on boxes and on crops, and points that were edited.

Who tagged and when FiftyOne does not keep. Operators of our plugin write both down as they tag; where nobody did, the
first reading writes down who asked and when, so that a second reading tells the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.curate.documents import BOXES, POSES
from autolabel.curate.sync import is_edited

ACCEPT, REJECT, WRONG_BOX, REVIEW = "accept", "reject", "wrong-box", "send-to-review"
DECISIONS = (ACCEPT, REJECT, WRONG_BOX, REVIEW)
"""Tags that decide something; all others are the curators' own."""

BATCH = 2000
"""Images that are read at a time."""


@dataclass(frozen=True, eq=False)
class Mark:
    """What was done to one pose.

    Attributes:
        key: Of its image.
        pose: Its id.
        tags: Decisions, in the order of :data:`DECISIONS`.
        on_image: Those of them that stand on the whole image.
        shares: (K, 2) its points as they were edited, as shares of the image; None where nobody edited it.
        visibility: What is said of each keypoint since, where it was edited.
        by: Who.
        at: ISO 8601 time.
        left: Whether its image is no longer in the manifest.
    """

    key: str
    pose: str
    tags: tuple[str, ...]
    on_image: tuple[str, ...]
    shares: NDArray[np.float64] | None
    visibility: tuple[str, ...]
    by: str
    at: str
    left: bool


def read_marks(dataset: Any, people: Any | None, *, by: str, now: str) -> Iterator[Mark]:
    """All that was done in a data set, image by image.

    Writes down who and when on poses where nobody did.

    Args:
        dataset: Of a manifest's images.
        people: Its contact sheet, if there is one.
        by: Who is asking.
        now: ISO 8601 time.
    """
    on_crops = _crop_tags(people) if people is not None else {}
    ordered = dataset.sort_by("key")
    for start in range(0, len(dataset), BATCH):
        stamped, cleared = dict[str, tuple[str, str]](), list[str]()
        for found in _labels(ordered[start : start + BATCH], on_crops):
            if not found.mark.tags and found.mark.shares is None:
                cleared += [found.label] if found.mark.at else []
                continue
            mark = found.mark
            if not mark.at:
                mark = replace(mark, by=mark.by or by, at=now)
                stamped[found.label] = (mark.by, mark.at)
            yield mark
        _stamp(dataset, {**stamped, **dict.fromkeys(cleared, (None, None))})


@dataclass(frozen=True)
class _Found:
    """A pose's mark, which may be empty, and FiftyOne's id of the label."""

    label: str
    mark: Mark


def _labels(view: Any, on_crops: Mapping[str, Sequence[str]]) -> Iterator[_Found]:
    names = ("pose_id", "id", "tags", "points", "visibility", "stated", "decided_by", "decided_at")
    fields = [f"{POSES}.keypoints.{name}" for name in names]
    boxes = [f"{BOXES}.detections.{name}" for name in ("pose_id", "tags")]
    keys, left, image_tags, boxed, box_tags, *columns = view.values(["key", "left", "tags", *boxes, *fields])
    for i, key in enumerate(keys):
        of_boxes = dict(zip(boxed[i] or (), box_tags[i] or (), strict=True))
        on_image = _decisions(image_tags[i] or ())
        for row in zip(*(column[i] or () for column in columns), strict=True):
            label: dict[str, Any] = dict(zip(names, row, strict=True))
            pose = label["pose_id"]
            tags = _decisions([*(label["tags"] or ()), *(of_boxes.get(pose) or ()), *on_crops.get(pose, ()), *on_image])
            edited = is_edited(label)
            shares = np.array(label["points"], np.float64).reshape(-1, 2) if edited else None
            said = tuple(label["visibility"] or ()) if edited else ()
            by, at = label["decided_by"] or "", label["decided_at"] or ""
            yield _Found(label["id"], Mark(key, pose, tags, on_image, shares, said, by, at, bool(left[i])))


def _crop_tags(people: Any) -> dict[str, list[str]]:
    """The tags of a contact sheet's crops, by pose."""
    poses, tags = people.values(["pose_id", "tags"])
    return {pose: found for pose, found in zip(poses, tags, strict=True) if found}


def _decisions(tags: Iterable[str]) -> tuple[str, ...]:
    found = set(tags)
    return tuple(tag for tag in DECISIONS if tag in found)


def _stamp(dataset: Any, labels: Mapping[str, tuple[str | None, str | None]]) -> None:
    """Write who and when on labels, by FiftyOne's id of them."""
    if labels:
        for place, name in enumerate(("decided_by", "decided_at")):
            values = {label: said[place] for label, said in labels.items()}
            dataset.set_label_values(f"{POSES}.keypoints.{name}", values)
