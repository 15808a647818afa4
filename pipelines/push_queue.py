"""What is to be asked: the queue of a routing and its planted errors, or every pose of a manifest.

A manifest is its own queue: each pose that is no crowd and that nobody has rejected is reviewed, the most doubtful
first. It is for people whom reviewers boxed, who were in no routing, and for poses that somebody chose by hand.
"""

import hashlib
import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autolabel.errors import FormatError, InputError, ManifestError
from autolabel.formats.records import Record, read_json
from autolabel.labelstudio.folder import is_digest, read_lines
from autolabel.labelstudio.tasks import BLIND, DOUBTS, IMAGE, KINDS, PLANTED, REVIEW
from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import BOXED, State
from pipelines.routing_seal import require_plants, require_unedited

PLANTS = "plants"
"""The manifest of planted poses below a routing, and the stem of the list that says what they were made from."""


@dataclass(frozen=True)
class Queued:
    """One line of a routing's queue.

    Attributes:
        pose: Id of the pose; "" where a whole image is to be shown.
        kind: What it is queued for.
        blind: Whether it is shown without keypoints.
        image: Key of the sample (id, root, path) of a whole image; empty otherwise.
    """

    pose: str
    kind: str
    blind: bool
    image: tuple[str, str, str] | tuple[()] = ()


@dataclass(frozen=True)
class Routing:
    """What ``autolabel route`` decided, as far as it concerns reviewers.

    Attributes:
        digest: Of the routing.
        manifest: What was routed.
        queue: Tasks in their order.
        plants: The poses that are planted; None where none are.
        planted: By id of a planted pose, the checked pose that it was made from.
        marks: How many keypoints each task asks about.
        routed: Whether it is a routing; False where it is a manifest.
    """

    digest: str
    manifest: Manifest
    queue: tuple[Queued, ...]
    plants: Manifest | None
    planted: Mapping[str, str]
    marks: int = DOUBTS
    routed: bool = True


def read_queue(source: Path, *, whole_images: bool = False) -> Routing:
    """Read what is to be asked.

    Args:
        source: A routing folder, or a manifest.
        whole_images: Of a manifest, its images instead of its poses.

    Raises:
        InputError: As :func:`read_routing`, or the images of a routing are asked for.
        FormatError: Likewise.
        ManifestError: Likewise, or the manifest cannot be read.
    """
    if (source / COMMIT).is_file() and not (source / "routing.json").is_file():
        return (image_queue if whole_images else manifest_queue)(Manifest.open(source))
    if whole_images:
        raise InputError(
            "is a routing, which says itself what is shown whole",
            subject=str(source),
            remedy="Give a manifest with --whole-images.",
        )
    return read_routing(source)


def manifest_queue(manifest: Manifest) -> Routing:
    """Every pose of a manifest, to be reviewed; its digest is the manifest's.

    A pose without keypoints is shown without any, and whoever answers places all of them.
    """
    queue: list[tuple[float, Queued]] = []
    for i in range(manifest.num_parts):
        poses = manifest.poses(i)
        rejected = [attributes.get("state") == State.REJECTED for attributes in poses.attributes]
        ids, p_bad = poses.id.tolist(), poses.p_bad.tolist()
        placed = set(np.flatnonzero(np.isfinite(poses.xy[..., 0]).any(axis=1)).tolist())
        for row in np.flatnonzero(~(poses.crowd | np.array(rejected, bool))).tolist():
            queue.append((p_bad[row], Queued(ids[row], REVIEW, blind=row not in placed)))
    queue.sort(key=lambda entry: 1.0 if math.isnan(entry[0]) else -entry[0])
    entries = tuple(entry for _, entry in queue)
    if len({entry.pose for entry in entries}) < len(entries):
        raise ManifestError("holds two poses of one id", subject=str(manifest.path))
    return Routing(manifest.digest, manifest, entries, None, {}, routed=False)


def image_queue(manifest: Manifest) -> Routing:
    """Every image of a manifest, shown whole, in the manifest's order; repetitions of another image are left out."""
    digest = hashlib.sha256(f"whole images of {manifest.digest}".encode()).hexdigest()
    keys = (sample.key for sample in manifest if not sample.duplicate_of)
    return Routing(digest, manifest, tuple(Queued("", IMAGE, False, key) for key in keys), None, {}, routed=False)


def without_asked(routing: Routing, asked: Container[str]) -> Routing:
    """A manifest's queue without the boxed people who have a task already, from another push; a routing as it is."""
    if routing.routed:
        return routing
    parts = (routing.manifest.poses(i) for i in range(routing.manifest.num_parts))
    boxed = {
        pose
        for poses in parts
        for pose, attributes in zip(poses.id.tolist(), poses.attributes, strict=True)
        if BOXED in attributes
    }
    return replace(routing, queue=tuple(e for e in routing.queue if e.pose not in boxed or e.pose not in asked))


def read_routing(directory: Path) -> Routing:
    """Read a routing folder.

    Raises:
        InputError: The routing, one of its lists or its planted poses are not what routing wrote.
        FormatError: A file is malformed, something is queued twice for one purpose, or a planted pose is not listed.
        ManifestError: The manifest has changed since.
    """
    path = directory / "routing.json"
    record = Record(read_json(path), "", str(path))
    if not is_digest(digest := record.text("digest")):
        record.fail("digest", f"is {digest!r}, expected 64 hexadecimal digits", "Route again, into another folder.")
    manifest = Manifest.open(directory / record.text("manifest"))
    if manifest.digest != record.text("manifest_digest"):
        raise ManifestError("is not the manifest that was routed", subject=str(manifest.path), remedy="Route it again.")
    require_unedited(record.data, directory)
    require_plants(record.data, directory)
    queue = _read_queue(directory / "queue.jsonl")
    planted = _read_planted(directory / f"{PLANTS}.jsonl")
    if unknown := sorted({entry.pose for entry in queue if entry.kind == PLANTED} - set(planted)):
        raise FormatError(f"does not list planted pose {unknown[0]}", subject=str(directory / f"{PLANTS}.jsonl"))
    plants = None
    if (directory / PLANTS / COMMIT).is_file():
        plants = Manifest.open(directory / PLANTS)
        plants.skeleton.require_same(manifest.skeleton, str(plants.path))
    asked = Record(record.data.get("questions", {"marks": DOUBTS}), "questions", str(path))
    return Routing(digest, manifest, queue, plants, planted, int(asked.number("marks")))


def _read_queue(path: Path) -> tuple[Queued, ...]:
    queue = [_queued(Record(data, f"line {n}", str(path))) for n, data in enumerate(read_lines(path), start=1)]
    if len({(entry.pose, entry.kind, entry.image) for entry in queue}) < len(queue):
        raise FormatError("a pose or an image is queued twice for one purpose", subject=str(path))
    return tuple(queue)


def _queued(line: Record) -> Queued:
    kind, blind = line.text("kind"), line.require("blind")
    if kind not in KINDS:
        line.fail("kind", f"is {kind!r}, expected one of: {', '.join(KINDS)}")
    if not isinstance(blind, bool):
        line.fail("blind", "is not a truth value")
    if kind == BLIND and not blind:
        line.fail("blind", "is false, but that is what the task is for")
    if kind != IMAGE:
        return Queued(line.text("pose"), kind, blind)
    a, b, c = (str(part) for part in line.items("image", 3))
    return Queued("", kind, False, (a, b, c))


def _read_planted(path: Path) -> dict[str, str]:
    lines = (Record(data, f"line {number}", str(path)) for number, data in enumerate(read_lines(path), start=1))
    return {line.text("pose"): line.text("of") for line in lines}
