"""``autolabel push``: routed poses and images become Label Studio tasks in the project's review folder.

A manifest is pushed as well, with every pose of it in the queue: so people whom reviewers boxed get a task each.

Repeatable: what a routing sends is decided by its digest, so pushing it again adds nothing, and a push that
was killed goes on where it stopped. Tasks are written in files of 1,000, each of which exists only when its
crops and its lines in the task map do. The poses are kept as they were sent, so that answers can be read
without the manifest that was routed; planted poses lie among them, under roots of their own where a name
means another folder. Beside them stands who else has a pose in these images (``people.jsonl``).

Where the project has a ``[labelstudio] url``, the tasks then go to that server (``push_server.py``); else they are
imported by hand.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, count, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError, InputError, ManifestError
from autolabel.formats.records import read_json
from autolabel.images import read_image
from autolabel.labelstudio.boxed import PEOPLE, people_line
from autolabel.labelstudio.folder import ReviewFolder, append_lines
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.frame import cut, frame_of, whole
from autolabel.labelstudio.images import image_key, image_task, shown_poses
from autolabel.labelstudio.lock import alone_in
from autolabel.labelstudio.sync import SyncResult
from autolabel.labelstudio.tasks import IMAGE, PLANTED, TaskRecord, read_task_map, review_task, task_key
from autolabel.manifest import COMMIT, Existing, Manifest, Parent, make_folder, write_manifest, write_text
from autolabel.phrases import counted
from autolabel.poses import Pose, Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.project import FILE, read_project, require_folder
from autolabel.skeleton import Skeleton
from autolabel.writing import naming
from pipelines.audit_chain import PUSHED, leave
from pipelines.push_queue import PLANTS, Queued, Routing, read_queue, without_asked
from pipelines.push_server import send, server_access

TASKS_A_FILE = 1000


@dataclass(frozen=True)
class PushResult:
    """What a push left in the review folder.

    Attributes:
        folder: The review folder.
        routing: Digest of the routing.
        tasks: Tasks of this routing that are ready to import.
        added: Those that this call made.
        set_aside: What is queued and has no task, because its image could not be read.
        server: What became of the tasks on the project's server; None where it has none.
    """

    folder: Path
    routing: str
    tasks: int
    added: int
    set_aside: int
    server: SyncResult | None = None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "folder": self.folder,
            "routing": self.routing,
            "tasks": self.tasks,
            "added": self.added,
            "set_aside": self.set_aside,
            **({"server": asdict(self.server)} if self.server else {}),
        }


def push(
    directory: str | Path, *, project: str | Path, whole_images: bool = False, progress: Progress = SILENT
) -> PushResult:
    """Write a queue as Label Studio tasks, and bring them to the project's server where it has one.

    Two pushes into one project go one after the other.

    Args:
        directory: The routing folder; or a manifest, each pose of which is then queued for review, boxed people who
            have a task already left out.
        project: The project folder; the tasks go to its ``labelstudio``.
        whole_images: Of a manifest, queue its images instead, in each of which people box everybody who has no box.
        progress: Where to report.

    Raises:
        FormatError: The routing folder is malformed, or a written task was edited; nothing was sent.
        ManifestError: The manifest is not the one that was routed.
        SkeletonError: The project has tasks of another skeleton.
        InputError: There is no such project folder, no queued image can be read, the server has no such project or does
            not take the token, or its form was edited by hand so that answers would not be ours.
        WorkError: The routing's folder takes no note that its tasks were pushed, or the server failed. Pushing again
            goes on where this one stopped.
    """
    require_folder(project)
    routing = read_queue(Path(directory), whole_images=whole_images)
    access = server_access(project)
    folder = ReviewFolder.of(project)
    with alone_in(folder, progress):
        before_this = {r.pose for r in read_task_map(folder.taskmap).values() if r.routing != routing.digest}
        routing = without_asked(routing, before_this)
        smart = (Path(project) / FILE).is_file() and read_project(project).labelstudio.smart
        written = _write_tasks(routing, Path(directory), folder, smart, progress)
        if access is None:
            return written
        skeleton = routing.manifest.skeleton
        return replace(written, server=send(access, project, routing.digest, skeleton, progress=progress))


def _write_tasks(
    routing: Routing, directory: Path, folder: ReviewFolder, smart: bool, progress: Progress
) -> PushResult:
    """The review folder's half: form, crops, task map and tasks."""
    for made in (folder.crops, folder.exports, folder.tasks):
        made.mkdir(parents=True, exist_ok=True)
    for other in sorted(folder.path.glob(f"sent/*/{COMMIT}")):
        routing.manifest.skeleton.require_same(Manifest.open(other.parent).skeleton, str(other.parent))
    write_text(folder.form, labelling_form(routing.manifest.skeleton, smart=smart))
    sent = _sent(routing, folder)
    found = _Found.of(sent)
    if routing.routed:
        leave(directory / PUSHED, {"routing": routing.digest})
    before, added = _count(folder, routing), False
    with progress.task("push", len(routing.queue), "task") as task:
        for i, start in enumerate(range(0, len(routing.queue), TASKS_A_FILE)):
            part = routing.queue[start : start + TASKS_A_FILE]
            file = folder.task_file(routing.digest, i)
            if not file.exists():
                items = [
                    found.item(entry, routing, _priority(j, len(routing.queue))) for j, entry in enumerate(part, start)
                ]
                if tasks := _tasks(items, sent, folder, smart, progress):  # without any, the next push looks again
                    added = True
                    write_text(file, json.dumps(tasks, ensure_ascii=False) + "\n")
            task.advance(len(part))
    now = _count(folder, routing) if added else before
    if routing.queue and not now:
        raise InputError(
            f"nothing to send: no image of the {counted(len(routing.queue), 'queued task')} can be read",
            subject=str(directory),
            remedy=f"Put the images back below {', '.join(map(str, sent.roots.values()))}, then push again.",
        )
    return PushResult(folder.path, routing.digest, now, now - before, len(routing.queue) - now)


@dataclass(frozen=True)
class _Item:
    """A task to be: its line of the task map, its image, and the row of its pose there."""

    record: TaskRecord
    sample: Sample
    row: int

    def crop(self, image: NDArray[np.uint8]) -> bytes:
        """The crop's file; in a task without keypoints the box is drawn into it."""
        return cut(image, self.record.frame, self.sample.poses.box[self.row] if self.record.blind else None)

    def task(self, skeleton: Skeleton, *, smart: bool) -> dict[str, object]:
        """In Label Studio's import format."""
        if self.record.kind == IMAGE:
            return image_task(self.record, self.sample, smart=smart)
        return review_task(self.record, self.sample.poses[self.row], skeleton, limbs=not smart)


@dataclass(frozen=True)
class _Found:
    """Where what is queued stands: the sample and the row of every pose, and the samples by their keys."""

    poses: Mapping[str, tuple[Sample, int]]
    images: Mapping[tuple[str, ...], Sample]

    @classmethod
    def of(cls, sent: Manifest) -> "_Found":
        samples = {sample.key: sample for sample in sent}
        return cls({pose: (s, i) for s in samples.values() for i, pose in enumerate(s.poses.id.tolist())}, samples)

    def item(self, entry: Queued, routing: Routing, priority: float) -> _Item:
        if entry.kind == IMAGE:
            sample = self.images[entry.image]
            return _Item(replace(_image_record(routing, sample), priority=priority), sample, -1)
        sample, row = self.poses[entry.pose]
        return _Item(replace(_record(routing, entry, sample, sample.poses[row]), priority=priority), sample, row)


def _priority(place: int, count: int) -> float:
    """From 1 for the first of a queue downwards. Drawn tasks stand at random places, so theirs tell nothing."""
    return (count - place) / count


def _sent(routing: Routing, folder: ReviewFolder) -> Manifest:
    """What tasks show, as a manifest of its own: what answers are compared with."""
    path = folder.sent(routing.digest)
    if not (path / COMMIT).is_file():
        parents = [Parent("routing", routing.digest), Parent("manifest", routing.manifest.digest)]
        if routing.plants is not None:
            parents.append(Parent("plants", routing.plants.digest))
        plants, roots = _plants(routing)
        people: list[dict[str, Any]] = []
        shown = list(_shown(routing, plants, people))
        make_folder(path)
        write_text(path / PEOPLE, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in people))
        write_manifest(
            path,
            shown,
            routing.manifest.skeleton,
            {**routing.manifest.roots, **roots},
            stage="push",
            parents=parents,
            existing=Existing.RESUME,
        )
    sent = Manifest.open(path)
    _require_all(routing, sent)
    return sent


def _shown(
    routing: Routing, plants: dict[tuple[str, str, str], Sample], people: list[dict[str, Any]]
) -> Iterator[Sample]:
    """The queued poses and images, sample by sample; planted poses of an image stand beside its own.

    Adds to ``people`` who else is in these images.
    """
    poses = {entry.pose for entry in routing.queue if entry.kind not in (IMAGE, PLANTED)}
    images = {entry.image for entry in routing.queue if entry.kind == IMAGE}
    for sample in routing.manifest:
        whole = set(shown_poses(sample)) if sample.key in images else set[int]()
        rows = [i for i, pose in enumerate(sample.poses.id.tolist()) if pose in poses or i in whole]
        planted = plants.pop(sample.key, None)
        if not (rows or planted or sample.key in images):
            continue
        people.append(people_line(sample))
        mine = sample.poses.take(rows)
        yield sample.with_poses(Poses.concat([mine, planted.poses]) if planted else mine)
    yield from plants.values()


def _plants(routing: Routing) -> tuple[dict[tuple[str, str, str], Sample], dict[str, Path]]:
    """The planted poses by the key of their image, and their roots.

    A root keeps its name unless the routed manifest means another folder by it.
    """
    queued = {entry.pose for entry in routing.queue if entry.kind == PLANTED}
    if routing.plants is None or not queued:
        return {}, {}
    taken, names = routing.manifest.roots, dict[str, str]()
    for name, root in routing.plants.roots.items():
        same = name not in taken or taken[name].resolve() == root.resolve()
        names[name] = name if same else _free(f"{PLANTS}-{name}", {*taken, *routing.plants.roots})
    found: dict[tuple[str, str, str], Sample] = {}
    for sample in routing.plants:
        rows = [i for i, pose in enumerate(sample.poses.id.tolist()) if pose in queued]
        if rows:
            mine = replace(sample.with_poses(sample.poses.take(rows)), root=names[sample.root])
            found[mine.key] = mine
    return found, {names[name]: root for name, root in routing.plants.roots.items()}


def _free(name: str, taken: set[str]) -> str:
    return next(free for free in chain([name], (f"{name}-{i}" for i in count(2))) if free not in taken)


def _require_all(routing: Routing, sent: Manifest) -> None:
    samples = list(sent)
    lost = {e.pose for e in routing.queue if e.kind != IMAGE}.difference(*(s.poses.id.tolist() for s in samples))
    unknown = {e.image for e in routing.queue if e.kind == IMAGE}.difference(s.key for s in samples)
    if lost or unknown:
        what = [f"{len(lost)} of the queued poses"] * bool(lost) + [f"{len(unknown)} of the queued images"] * bool(
            unknown
        )
        raise ManifestError(f"lacks {' and '.join(what)}", subject=str(routing.manifest.path))


def _tasks(
    items: Sequence[_Item], sent: Manifest, folder: ReviewFolder, smart: bool, progress: Progress
) -> list[dict[str, object]]:
    """The tasks of one file, in the order of the queue; writes their crops and their task map lines first."""
    failed = _write_crops(items, sent, folder, progress)
    known = read_task_map(folder.taskmap)
    ready = [item for item in items if item.record.task not in failed]
    append_lines(folder.taskmap, (item.record.to_dict() for item in ready if item.record.task not in known))
    return [item.task(sent.skeleton, smart=smart) for item in ready]


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
        of=routing.planted[entry.pose] if entry.kind == PLANTED else "",
        marks=routing.marks,
    )


def _image_record(routing: Routing, sample: Sample) -> TaskRecord:
    return TaskRecord(
        task=image_key(routing.digest, sample.key),
        pose="",
        sample=sample.key,
        frame=whole(sample.size),
        routing=routing.digest,
        kind=IMAGE,
        blind=False,
        model="",
        # A pose that was planted in the same image is shown in a task of its own alone.
        poses=tuple(pose for pose in sample.poses.id[shown_poses(sample)].tolist() if pose not in routing.planted),
    )


def _write_crops(items: Sequence[_Item], sent: Manifest, folder: ReviewFolder, progress: Progress) -> set[str]:
    """Write the crops that are missing, reading each image once.

    Returns:
        The tasks whose image cannot be read.
    """
    failed: set[str] = set()
    missing = [item for item in items if not (folder.crops / item.record.crop).exists()]
    missing.sort(key=lambda item: item.sample.key)
    for _, group in groupby(missing, key=lambda item: item.sample.key):
        mine = list(group)
        try:
            image = _image(sent, mine[0].sample)
        except ImageError as error:
            progress.note(f"no task for {len(mine)} queued: {error}")
            failed.update(item.record.task for item in mine)
            continue
        for item in mine:
            _write(folder.crops / item.record.crop, item.crop(image))
    return failed


def _image(sent: Manifest, sample: Sample) -> NDArray[np.uint8]:
    path = sent.image_path(sample)
    image = read_image(path)
    if image.shape[1::-1] != sample.size:
        raise ImageError(f"is {image.shape[1::-1]}, was {sample.size} when it was scanned", subject=str(path))
    return image


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with naming(path):
        temporary.write_bytes(data)
    temporary.replace(path)


def _count(folder: ReviewFolder, routing: Routing) -> int:
    """Tasks of a routing in the files to import."""
    return sum(len(read_json(file)) for file in folder.task_files(routing.digest))
