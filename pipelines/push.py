"""``autolabel push``: routed poses become Label Studio tasks in the project's review folder.

Repeatable: what a routing sends is decided by its digest, so pushing it again adds nothing, and a push that
was killed goes on where it stopped. Tasks are written in files of 1,000, each of which exists only when its
crops and its lines in the task map do. The poses are kept as they were sent, so that answers can be read
without the manifest that was routed.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError, ImageError, ManifestError
from autolabel.formats.records import Record, read_json
from autolabel.images import read_image
from autolabel.labelstudio.folder import ReviewFolder, append_lines, read_lines
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.frame import cut, frame_of
from autolabel.labelstudio.tasks import TaskRecord, read_task_map, review_task, task_key
from autolabel.manifest import COMMIT, Existing, Manifest, Parent, write_manifest, write_text
from autolabel.poses import Pose, Sample
from autolabel.progress import SILENT, Progress

TASKS_A_FILE = 1000
KINDS = ("review", "random", "audit", "calibration")


@dataclass(frozen=True)
class PushResult:
    """What a push left in the review folder.

    Attributes:
        folder: The review folder.
        routing: Digest of the routing.
        tasks: Tasks of this routing that are ready to import.
        added: Those that this call made.
        set_aside: Queued poses without a task, because their image could not be read.
    """

    folder: Path
    routing: str
    tasks: int
    added: int
    set_aside: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "folder": self.folder,
            "routing": self.routing,
            "tasks": self.tasks,
            "added": self.added,
            "set_aside": self.set_aside,
        }


@dataclass(frozen=True)
class Queued:
    """One line of a routing's queue."""

    pose: str
    kind: str
    blind: bool


@dataclass(frozen=True)
class Routing:
    """What ``autolabel route`` decided, as far as it concerns reviewers."""

    digest: str
    manifest: Manifest
    queue: tuple[Queued, ...]


def push(directory: str | Path, *, project: str | Path, progress: Progress = SILENT) -> PushResult:
    """Write a routing's queue as Label Studio tasks.

    Args:
        directory: The routing folder.
        project: The project folder; the tasks go to its ``labelstudio``.
        progress: Where to report.

    Raises:
        FormatError: The routing folder is malformed.
        ManifestError: The manifest is not the one that was routed.
        SkeletonError: The project has tasks of another skeleton.
    """
    routing = read_routing(Path(directory))
    folder = ReviewFolder.of(project)
    for made in (folder.crops, folder.exports, folder.tasks):
        made.mkdir(parents=True, exist_ok=True)
    for other in sorted(folder.path.glob(f"sent/*/{COMMIT}")):
        routing.manifest.skeleton.require_same(Manifest.open(other.parent).skeleton, str(other.parent))
    write_text(folder.form, labelling_form(routing.manifest.skeleton))
    sent = _sent(routing, folder)
    poses = {pose: (sample, sample.poses[i]) for sample in sent for i, pose in enumerate(sample.poses.id)}
    before = _count(folder, routing)
    with progress.task("push", len(routing.queue), "task") as task:
        for i, start in enumerate(range(0, len(routing.queue), TASKS_A_FILE)):
            part = routing.queue[start : start + TASKS_A_FILE]
            file = folder.task_file(routing.digest, i)
            if not file.exists():
                queued = [(entry, *poses[entry.pose]) for entry in part]
                tasks = _tasks(queued, routing, sent, folder, progress)
                write_text(file, json.dumps(tasks, ensure_ascii=False) + "\n")
            task.advance(len(part))
    now = _count(folder, routing)
    return PushResult(folder.path, routing.digest, now, now - before, len(routing.queue) - now)


def read_routing(directory: Path) -> Routing:
    """Read what ``autolabel route`` wrote.

    Raises:
        FormatError: A file is malformed, or a pose is queued twice for one purpose.
        ManifestError: The manifest has changed since.
    """
    path = directory / "routing.json"
    record = Record(read_json(path), "", str(path))
    manifest = Manifest.open(directory / record.text("manifest"))
    if manifest.digest != record.text("manifest_digest"):
        raise ManifestError("is not the manifest that was routed", subject=str(manifest.path), remedy="Route it again.")
    queue: list[Queued] = []
    for number, data in enumerate(read_lines(directory / "queue.jsonl"), start=1):
        line = Record(data, f"line {number}", str(directory / "queue.jsonl"))
        kind, blind = line.text("kind"), line.require("blind")
        if kind not in KINDS:
            line.fail("kind", f"is {kind!r}, expected one of: {', '.join(KINDS)}")
        if not isinstance(blind, bool):
            line.fail("blind", "is not a truth value")
        queue.append(Queued(line.text("pose"), kind, blind))
    if len({(entry.pose, entry.kind) for entry in queue}) < len(queue):
        raise FormatError("a pose is queued twice for one purpose", subject=str(directory / "queue.jsonl"))
    return Routing(record.text("digest"), manifest, tuple(queue))


def _sent(routing: Routing, folder: ReviewFolder) -> Manifest:
    """The queued poses as a manifest of their own: what answers are compared with."""
    path = folder.sent(routing.digest)
    if not (path / COMMIT).is_file():
        wanted = {entry.pose for entry in routing.queue}
        parents = [Parent("routing", routing.digest), Parent("manifest", routing.manifest.digest)]
        write_manifest(
            path,
            _only(routing.manifest, wanted),
            routing.manifest.skeleton,
            routing.manifest.roots,
            stage="push",
            parents=parents,
            existing=Existing.RESUME,
        )
    sent = Manifest.open(path)
    missing = len({entry.pose for entry in routing.queue}) - sent.counts["poses"]
    if missing:
        raise ManifestError(f"lacks {missing} of the queued poses", subject=str(routing.manifest.path))
    return sent


def _only(manifest: Manifest, wanted: set[str]) -> Iterator[Sample]:
    for sample in manifest:
        rows = [i for i, pose in enumerate(sample.poses.id) if pose in wanted]
        if rows:
            yield sample.with_poses(sample.poses.take(rows))


def _tasks(
    queued: Sequence[tuple[Queued, Sample, Pose]],
    routing: Routing,
    sent: Manifest,
    folder: ReviewFolder,
    progress: Progress,
) -> list[dict[str, object]]:
    """The tasks of one file, in the order of the queue; writes their crops and their task map lines first."""
    items = [(_record(routing, entry, sample, pose), sample, pose) for entry, sample, pose in queued]
    failed = _write_crops([(record, sample) for record, sample, _ in items], sent, folder, progress)
    known = read_task_map(folder.taskmap)
    ready = [(record, pose) for record, _, pose in items if record.task not in failed]
    append_lines(folder.taskmap, (record.to_dict() for record, _ in ready if record.task not in known))
    return [review_task(record, pose, sent.skeleton) for record, pose in ready]


def _record(routing: Routing, entry: Queued, sample: Sample, pose: Pose) -> TaskRecord:
    return TaskRecord(
        task=task_key(routing.digest, entry.pose, entry.kind),
        pose=entry.pose,
        sample=sample.key,
        frame=frame_of(pose, sample.size),
        routing=routing.digest,
        kind=entry.kind,
        blind=entry.blind,
        model=pose.by,
    )


def _write_crops(
    items: Sequence[tuple[TaskRecord, Sample]], sent: Manifest, folder: ReviewFolder, progress: Progress
) -> set[str]:
    """Write the crops that are missing, reading each image once.

    Returns:
        The tasks whose image cannot be read.
    """
    failed: set[str] = set()
    missing = [item for item in items if not (folder.crops / item[0].crop).exists()]
    missing.sort(key=lambda item: item[1].key)
    for _, group in groupby(missing, key=lambda item: item[1].key):
        records = list(group)
        try:
            image = _image(sent, records[0][1])
        except ImageError as error:
            progress.note(f"no task for {len(records)} poses: {error}")
            failed.update(record.task for record, _ in records)
            continue
        for record, _ in records:
            _write(folder.crops / record.crop, cut(image, record.frame))
    return failed


def _image(sent: Manifest, sample: Sample) -> NDArray[np.uint8]:
    path = sent.image_path(sample)
    image = read_image(path)
    if image.shape[1::-1] != sample.size:
        raise ImageError(f"is {image.shape[1::-1]}, was {sample.size} when it was scanned", subject=str(path))
    return image


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def _count(folder: ReviewFolder, routing: Routing) -> int:
    """Tasks of a routing in the files to import."""
    files = [file for file in folder.task_files() if file.name.startswith(routing.digest[:12])]
    return sum(len(read_json(file)) for file in files)
