"""Decisions into a data set: what is tagged on poses read, and what was worked out written, with who and when."""

import getpass
from collections.abc import Mapping, Sequence
from typing import Any

from autolabel.curate.deciding import ImageTags, Plan, Standing, with_decision, without_others
from autolabel.curate.documents import BOXES, POSES
from autolabel.curate.selection import Shown

SOMEBODY = "curator"
"""Who decides where neither FiftyOne nor the system knows."""

_POSE = ("pose_id", "id", "tags", "decided_at")
_BOX = ("pose_id", "id", "tags")


def read_standings(shown: Shown, poses: Sequence[str]) -> tuple[list[Standing], dict[str, ImageTags]]:
    """What is tagged on poses, in their order, and on their images by key.

    Args:
        shown: The data sets.
        poses: Ids. Those that the data set of images lacks are known by their crops alone.
    """
    wanted = dict.fromkeys(poses)
    crops = _crops(shown, list(wanted))
    found, images = dict[str, Standing](), dict[str, ImageTags]()
    if shown.images is not None:
        names = [f"{POSES}.keypoints.{name}" for name in _POSE] + [f"{BOXES}.detections.{name}" for name in _BOX]
        view = shown.images.match({f"{POSES}.keypoints.pose_id": {"$in": list(wanted)}})
        for key, tags, *columns in zip(*view.values(["key", "tags", *names]), strict=True):
            labels = _rows(_POSE, columns[: len(_POSE)])
            boxes = {box["pose_id"]: box for box in _rows(_BOX, columns[len(_POSE) :])}
            images[key] = ImageTags(tuple(tags or ()), len(labels))
            for label in labels:
                pose = label["pose_id"]
                if pose in wanted:
                    found[pose] = _standing(key, label, boxes.get(pose, {}), crops.get(pose))
    for pose in wanted:
        if pose not in found and pose in crops:
            # Nobody can sign it there: `--pull` does.
            found[pose] = Standing(pose, "", "", (), "", (), crops[pose], signed=True)
    return [found[pose] for pose in wanted if pose in found], images


def write_decision(shown: Shown, plan: Plan, *, by: str, now: str) -> None:
    """Carry out a plan.

    Args:
        shown: The data sets.
        plan: What changes.
        by: Who decides.
        now: ISO 8601 time.
    """
    signed = [pose for pose in plan.changed if pose.label]
    if shown.images is not None and signed:
        labels = f"{POSES}.keypoints"
        _set_labels(shown.images, f"{labels}.decided_by", {pose.label: by for pose in signed})
        _set_labels(shown.images, f"{labels}.decided_at", {pose.label: now for pose in signed})
        tags = {pose.label: with_decision(pose.tags, plan.decision) for pose in signed}
        _set_labels(shown.images, f"{labels}.tags", tags)
        boxes = {pose.box: without_others(pose.box_tags, plan.decision) for pose in signed if pose.box_tags}
        _set_labels(shown.images, f"{BOXES}.detections.tags", boxes)
        if plan.freed:
            shown.images.set_values("tags", dict(plan.freed), key_field="key", progress=False)
    crops = {
        pose.pose: with_decision(pose.crop_tags, plan.decision) for pose in plan.changed if pose.crop_tags is not None
    }
    if shown.people is not None and crops:
        shown.people.set_values("tags", crops, key_field="pose_id", progress=False)


def who(user: Any) -> str:
    """Who decides: FiftyOne's user where it knows one, or whoever runs its App."""
    named = str(getattr(user, "name", None) or getattr(user, "email", None) or "") if user is not None else ""
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return SOMEBODY


def _standing(key: str, label: Mapping[str, Any], box: Mapping[str, Any], crop: tuple[str, ...] | None) -> Standing:
    return Standing(
        pose=label["pose_id"],
        image=key,
        label=label["id"],
        tags=tuple(label["tags"] or ()),
        box=box.get("id", ""),
        box_tags=tuple(box.get("tags") or ()),
        crop_tags=crop,
        signed=bool(label["decided_at"]),
    )


def _crops(shown: Shown, poses: list[str]) -> dict[str, tuple[str, ...]]:
    """The tags of the poses' crops."""
    if shown.people is None:
        return {}
    ids, tags = shown.people.select_by("pose_id", poses).values(["pose_id", "tags"])
    return {pose: tuple(its or ()) for pose, its in zip(ids, tags, strict=True)}


def _rows(names: Sequence[str], columns: Sequence[Sequence[Any] | None]) -> list[dict[str, Any]]:
    """The labels of one image."""
    return [dict(zip(names, row, strict=True)) for row in zip(*(column or () for column in columns), strict=True)]


def _set_labels(dataset: Any, path: str, values: Mapping[str, Any]) -> None:
    if values:
        dataset.set_label_values(path, dict(values), progress=False)
