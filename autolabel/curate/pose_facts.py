"""What is known of poses that are shown in FiftyOne: from the data set, the manifest, and the ledger beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.curate.documents import POSES
from autolabel.curate.pose_story import Story
from autolabel.curate.selection import Shown
from autolabel.errors import FormatError, InputError
from autolabel.ledger import LEDGER, Entry, read_ledger
from autolabel.manifest import Manifest

MOST = 4
"""Poses that are explained at a time."""

_ATTRIBUTES = (
    "pose_id", "tags", "p_bad", "p_gross", "presence", "confidence", "visibility", "origin", "reasons", "lint",
    "state", "by", "routed", "oks", "bad", "decided_by", "decided_at",
)  # fmt: skip


def read_stories(shown: Shown, poses: Sequence[str]) -> list[Story]:
    """The stories of at most :data:`MOST` poses, the most doubtful first.

    Args:
        shown: The data sets.
        poses: Ids of the poses.
    """
    labels = _labels(shown, poses)
    worst = sorted(labels.values(), key=lambda pair: -(pair[1].get("p_bad") or 0))[:MOST]
    ids = [str(label["pose_id"]) for _, label in worst]
    manifest, missing = _manifest(shown)
    if manifest is None:
        return [Story(label, path, shown.keypoints, missing=missing) for path, label in worst]
    features, stories = measured(manifest, ids), list[Story]()
    for pose, (path, label) in zip(ids, worst, strict=True):
        history, broken = _history(manifest, pose)
        told = missing or broken
        stories.append(
            Story(label, path, shown.keypoints, manifest.skeleton, history, features.get(pose, {}), missing=told)
        )
    return stories


def measured(manifest: Manifest, poses: Sequence[str]) -> dict[str, dict[str, NDArray[Any]]]:
    """The features of poses: by id and name, (K,) values of keypoints or (1,) of the pose.

    Reads the manifest part by part, and stops when it has them all.
    """
    wanted, found = set(poses), dict[str, dict[str, NDArray[Any]]]()
    for i in range(manifest.num_parts):
        if len(found) == len(wanted):
            break
        ids: list[str] = manifest.poses(i).id.tolist()
        rows = {name: row for row, name in enumerate(ids) if name in wanted}
        features = manifest.features(i) if rows else None
        for name, row in rows.items():
            told = (features or {}).items()
            found[name] = {feature: np.atleast_1d(values[row]) for feature, values in told}
    return found


def _labels(shown: Shown, poses: Sequence[str]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """By pose id, the path of its image and the attributes of its label."""
    dataset = shown.images if shown.images is not None else shown.people
    assert dataset is not None
    schema = dataset.get_field_schema(flat=True)
    names = [name for name in _ATTRIBUTES if f"{POSES}.keypoints.{name}" in schema]
    view = dataset.match({f"{POSES}.keypoints.pose_id": {"$in": list(poses)}})
    paths, *columns = view.values(["path", *(f"{POSES}.keypoints.{name}" for name in names)])
    wanted, found = set(poses), dict[str, tuple[str, Mapping[str, Any]]]()
    for i, path in enumerate(paths):
        for row in zip(*(column[i] or () for column in columns), strict=True):
            label = dict(zip(names, row, strict=True))
            if label["pose_id"] in wanted:
                found[label["pose_id"]] = (path or "", label)
    return found


def _manifest(shown: Shown) -> tuple[Manifest | None, str]:
    """The manifest that is shown, or why it cannot be looked into."""
    if not shown.manifest:
        return None, "Which manifest is shown is not written down here: without features and history."
    try:
        manifest = Manifest.open(shown.manifest)
    except InputError as error:
        return None, f"Without features and history. {error}"
    other = shown.digest and manifest.digest != shown.digest
    return (
        manifest,
        f"{manifest.path} has changed since it was shown; `autolabel curate` shows it anew." if other else "",
    )


def _history(manifest: Manifest, pose: str) -> tuple[list[Entry], str]:
    """Every answer about a pose; or why they cannot be read."""
    try:
        return read_ledger(manifest.path / LEDGER, manifest.skeleton.num_keypoints, pose), ""
    except FormatError as error:
        return [], str(error)
