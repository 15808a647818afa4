"""A manifest into a data set, batch by batch: what is new is added, what changed is updated, what curators did stays.

Every batch asks the data set for the digests of its images, so that a second call with the same manifest writes
nothing, and one after a database that went down, or a kill, goes on. Tags of images and of labels stay, and so does a
pose that somebody edited in FiftyOne until ``curate --pull`` has brought the edit home.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autolabel.curate.documents import BOXES, POSES, Document, stated_digest
from autolabel.curate.writers import Writer, with_ids

BATCH = 500
"""Images that are compared and written at a time."""

DECIDED = ("decided_by", "decided_at")
_EDITABLE = ("points", "visibility", "stated")


@dataclass(frozen=True)
class Holds:
    """What the documents of a data set hold that is looked at again.

    Attributes:
        boxes: Boxes beside the poses.
        decided: Who decided about a pose, and when.
    """

    boxes: bool
    decided: bool


IMAGES, PEOPLE = Holds(boxes=True, decided=True), Holds(boxes=False, decided=False)
"""Data sets of images, and contact sheets."""


@dataclass
class Synced:
    """What a sync did, in images unless it says otherwise.

    Attributes:
        added: New ones.
        updated: Those that changed.
        unchanged: Those that were as they are.
        removed: Those that left the manifest.
        left: Those that left it and stay, marked, because somebody tagged them.
        edited: Poses that somebody edited and nobody has pulled; they were left as they are.
        lost: Tags on poses that left their image, as ``pose tag``.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    left: int = 0
    edited: int = 0
    lost: list[str] = field(default_factory=list[str])


def sync(dataset: Any, batches: Iterable[Sequence[Document]], writer: Writer, holds: Holds = IMAGES) -> Synced:
    """Bring a data set to what the documents say.

    Args:
        dataset: With its fields declared and a unique index on ``key``.
        batches: All documents of a manifest, :data:`BATCH` or so at a time.
        writer: Writes to the data set.
        holds: What the documents hold.

    What the documents lack is taken out, unless there are none at all.

    Returns:
        What was done.
    """
    done, seen = Synced(), set[str]()
    for batch in batches:
        seen.update(document["key"] for document in batch)
        known = _digests(dataset, [document["key"] for document in batch])
        new = [document for document in batch if document["key"] not in known]
        changed = [d for d in batch if d["key"] in known and known[d["key"]] != d["digest"]]
        writer.add([with_ids(document, {}) for document in new])
        if changed:
            kept = _kept(dataset, changed, done, holds)
            writer.update([with_ids(document, kept.get(document["key"], {})) for document in changed])
        done.added += len(new)
        done.updated += len(changed)
        done.unchanged += len(batch) - len(new) - len(changed)
    if seen:
        _part(dataset, seen, done, holds)
    return done


def _digests(dataset: Any, keys: Sequence[str]) -> dict[str, str]:
    found: tuple[list[str], list[str]] = dataset.select_by("key", keys).values(["key", "digest"])
    return dict(zip(*found, strict=True))


def _kept(
    dataset: Any, changed: Sequence[Document], done: Synced, holds: Holds
) -> dict[str, dict[str, dict[str, Mapping[str, Any]]]]:
    """By image, field and pose: what stays of the labels that are there.

    Counts the edited poses, and lists the tags of those whose pose is gone.
    """
    names = ["pose_id", "id", "tags", *_EDITABLE, *(DECIDED if holds.decided else ())]
    fields = [f"{POSES}.keypoints.{name}" for name in names]
    fields += [f"{BOXES}.detections.{name}" for name in names[:3]] if holds.boxes else []
    view = dataset.select_by("key", [document["key"] for document in changed])
    keys, *columns = view.values(["key", *fields])
    now = {d["key"]: {pose["pose_id"] for pose in d[POSES]["keypoints"]} for d in changed}
    kept = dict[str, dict[str, dict[str, Mapping[str, Any]]]]()
    for i, key in enumerate(keys):
        own = _labels(names, [column[i] for column in columns[: len(names)]])
        theirs = _labels(names[:3], [column[i] for column in columns[len(names) :]])
        done.lost += [f"{pose} {tag}" for pose, old in own.items() if pose not in now[key] for tag in old["tags"]]
        done.edited += sum(is_edited(old) for pose, old in own.items() if pose in now[key])
        kept[key] = {
            POSES: {pose: _stays(old) for pose, old in own.items()},
            BOXES: {pose: {"_id": _object_id(old["id"]), "tags": old["tags"]} for pose, old in theirs.items()},
        }
    return kept


def _labels(names: Sequence[str], columns: Sequence[Sequence[Any] | None]) -> dict[str, dict[str, Any]]:
    """The labels of one image by pose id."""
    rows = zip(*(column or () for column in columns), strict=True)
    labels: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
    return {label["pose_id"]: {**label, "tags": label["tags"] or []} for label in labels if label["pose_id"]}


def _stays(old: Mapping[str, Any]) -> Mapping[str, Any]:
    names = (*DECIDED, *(_EDITABLE if is_edited(old) else ()))
    return {"_id": _object_id(old["id"]), "tags": old["tags"], **{name: old[name] for name in names if old.get(name)}}


def is_edited(label: Mapping[str, Any]) -> bool:
    """Whether a pose's points or visibilities are other than autolabel wrote them."""
    return stated_digest(label["points"], label["visibility"] or []) != label["stated"]


def _part(dataset: Any, seen: set[str], done: Synced, holds: Holds) -> None:
    """Remove the images that left the manifest; tagged ones are marked and stay."""
    fields = [f"{POSES}.keypoints.tags", *([f"{BOXES}.detections.tags"] if holds.boxes else ())]
    ids, keys, left, tags, *of_labels = dataset.values(["id", "key", "left", "tags", *fields])
    gone, marked = list[str](), dict[str, bool]()
    for i, key in enumerate(keys):
        if key in seen:
            continue
        labels = [found for column in of_labels for found in column[i] or ()]
        if tags[i] or any(labels):
            done.left += 1
            marked |= {} if left[i] else {key: True}
        else:
            gone.append(ids[i])
    if marked:
        dataset.set_values("left", marked, key_field="key")
        # Whatever they said is history: should they come back, they are written anew.
        dataset.set_values("digest", dict.fromkeys(marked, ""), key_field="key")
    if gone:
        dataset.delete_samples(gone)
        done.removed += len(gone)


def _object_id(text: str) -> Any:
    from bson import ObjectId

    return ObjectId(text)
