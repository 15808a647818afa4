"""Reading a Label Studio export of whole images; ``labelstudio.py`` tells the dialect.

The whole file is checked before anything is given out. Every task is looked at before the first one that is wrong
refuses the file, so that all of them can be mended at once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from autolabel.errors import FormatError, PosesError
from autolabel.formats.file_skeletons import file_skeleton
from autolabel.formats.labels import UNKNOWN_SIZE, Labels
from autolabel.formats.labelstudio_form import LabellingConfig, read_labelling_config
from autolabel.formats.labelstudio_image import ImageFinder, image_key
from autolabel.formats.labelstudio_people import Person, people_of
from autolabel.formats.labelstudio_poses import PoseReader
from autolabel.formats.labelstudio_regions import Drawing, meta_of, other_meta, read_drawing
from autolabel.formats.labelstudio_tasks import AnnotationChoice, Answer, choose, read_tasks, task_name
from autolabel.formats.labelstudio_writing import SKELETON, THEIRS
from autolabel.formats.records import Record, refuse_repeated_images
from autolabel.labelstudio.tasks import MARKER
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton, builtin_skeletons

_T = TypeVar("_T")
_R = TypeVar("_R")
_MENTIONED = 20
_REPEATED = "Delete one of the tasks, or import only one's annotations."


@dataclass(frozen=True, eq=False)
class _Read:
    """An answer and what it holds."""

    answer: Answer
    drawing: Drawing
    people: Sequence[Person]
    path: str
    placed: int

    @property
    def task(self) -> Record:
        return self.answer.task

    @property
    def ours(self) -> bool:
        return bool(meta_of(self.task).data)


def read_labelstudio(
    src: str | Path,
    images: str | Path | None = None,
    *,
    skeleton: Skeleton | None = None,
    labelling_config: str | Path | None = None,
    annotator: str | None = None,
    annotations: AnnotationChoice = AnnotationChoice.LATEST,
) -> Labels:
    """Read a Label Studio export of whole images.

    Args:
        src: A JSON export, or a folder of JSON files as a target storage writes them.
        images: The folder to find the images in; without it, paths are what the tasks' addresses say.
        skeleton: What the keypoints are; by default what the file tells.
        labelling_config: The project's labelling configuration: says which keypoints there are, in which order, and
            which field of the tasks holds the image.
        annotator: Number or e-mail address of the only annotator whose answers count.
        annotations: Which of a task's annotations is taken.

    Raises:
        FormatError: The file is malformed or ambiguous, naming the task, the record and the field.
    """
    src = Path(src)
    tasks = read_tasks(src)
    config = None if labelling_config is None else read_labelling_config(labelling_config)
    answers, notes = choose(tasks, annotations, annotator)
    key = image_key((a.task for a in answers), config.image_key if config else "")
    finder = ImageFinder(None if images is None else Path(images), key)
    read = _each(answers, lambda answer: _read(answer, finder), _task_of)
    refuse_repeated_images(((item.path, item.task.place, item.task.subject) for item in read), remedy=_REPEATED)
    if skeleton is None:
        skeleton, note = _skeleton(src, read, config)
        notes += [note] if note else []
    poses = PoseReader(skeleton)
    wanted = _without_other_boxes(read, notes)
    samples = _each(wanted, lambda item: _sample(item, key, poses), lambda item: _task_of(item.answer))
    return Labels(skeleton, samples, {}, (*notes, *_notes(read), *poses.notes()))


def _each(items: Iterable[_T], work: Callable[[_T], _R], task: Callable[[_T], str]) -> list[_R]:
    """Do something with every item; what is wrong with the first bad one is said, and which others are."""
    results: list[_R] = []
    wrong: list[tuple[_T, FormatError]] = []
    for item in items:
        try:
            results.append(work(item))
        except FormatError as error:
            wrong.append((item, error))
    if wrong:
        error = wrong[0][1]
        if others := [task(item) for item, _ in wrong[1 : 1 + _MENTIONED]]:
            more = f" and {len(wrong) - 1 - _MENTIONED:,} more" if len(wrong) - 1 > _MENTIONED else ""
            too = f"Something is wrong with {', '.join(others)}{more} too."
            error.remedy = " ".join(filter(None, [error.remedy, too]))
        raise error
    return results


def _task_of(answer: Answer) -> str:
    return task_name(answer.task)


def _read(answer: Answer, finder: ImageFinder) -> _Read:
    ours = meta_of(answer.task)
    if ours.data and ours.data.get("schema") != MARKER["schema"]:
        ours.fail("schema", f"is {ours.data.get('schema')!r}, expected {MARKER['schema']}")
    drawing = read_drawing(answer.record)
    people, placed = people_of(drawing)
    return _Read(answer, drawing, people, finder.find(answer.task), placed)


def _sample(item: _Read, key: str, poses: PoseReader) -> Sample:
    ours, answer = meta_of(item.task), item.answer
    size = item.drawing.size
    if size is None and "size" in ours.data:
        width, height = (int(value) for value in ours.numbers("size", 2))
        size = (width, height)
    rows = poses.rows(answer, item.people, size or UNKNOWN_SIZE, ours=item.ours)
    k = poses.skeleton.num_keypoints
    try:
        made = Poses.create(k, **{name: [row[name] for row in rows] for name in rows[0]}) if rows else Poses.empty(k)
    except PosesError as error:
        raise FormatError(error.message, record=answer.record.place, subject=answer.record.subject) from error
    attributes = dict(ours.record("attributes").data)
    if theirs := _theirs(item, key):
        before = attributes.get(THEIRS)
        attributes[THEIRS] = {**before, **theirs} if isinstance(before, dict) else theirs
    return Sample(
        id=ours.text("id", ""),
        root="",
        path=item.path,
        size=size or UNKNOWN_SIZE,
        poses=made,
        group=ours.text("group", ""),
        duplicate_of=ours.text("duplicate_of", ""),
        attributes=attributes,
    )


def _theirs(item: _Read, key: str) -> dict[str, Any]:
    """What the project says about the task and its annotation."""
    answer = item.answer
    said: dict[str, Any] = {
        "task": item.task.data.get("id"),
        "annotation": answer.record.data.get("id"),
        "annotations": answer.count if answer.count > 1 else None,
        "lead_time": answer.record.data.get("lead_time"),
        "ground_truth": True if answer.record.data.get("ground_truth") is True else None,
        "answers": item.drawing.answers or None,
        "meta": other_meta(item.task) or None,
        "data": item.task.record("data").without([key]) or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _skeleton(src: Path, read: Sequence[_Read], config: LabellingConfig | None) -> tuple[Skeleton, str]:
    """The skeleton that the file tells, and what is to be said about it."""
    beside = (src if src.is_dir() else src.parent) / SKELETON
    fingerprints = {meta_of(item.task).text("skeleton", "") for item in read if item.ours}
    if len(fingerprints) <= 1 and beside.is_file() and (fingerprints or src.is_dir()):
        found = Skeleton.load(beside)
        if not fingerprints or found.fingerprint in fingerprints:
            return found, ""
    for candidate in map(Skeleton.load, builtin_skeletons()):
        if fingerprints == {candidate.fingerprint}:
            return candidate, ""
    labels = dict.fromkeys(point.label for item in read for point in item.drawing.points)
    names = config.keypoints if config else tuple(labels)
    if not names:
        remedy = "Give --skeleton, or the project's labelling configuration with --labelling-config."
        raise FormatError("has no keypoints, so that their names are not known", subject=str(src), remedy=remedy)
    made = file_skeleton(
        names, name=src.stem or "skeleton", subject=str(src), tool="a Label Studio export", any_order=True
    )
    if made in map(Skeleton.load, builtin_skeletons()):
        return made, ""
    note = "" if config else f"Keypoints in the order they are first seen in, without edges: {', '.join(names)}."
    return made, note and f"{note} Another order is told by --skeleton or --labelling-config."


def _without_other_boxes(read: Sequence[_Read], notes: list[str]) -> list[_Read]:
    """The answers without boxes of labels that never have keypoints: they are around other things."""
    boxes = [person.box for item in read for person in item.people if person.box and person.points]
    posed = {box.label for box in boxes}
    left_out = Counter[str]()

    def wanted(item: _Read, person: Person) -> bool:
        box = person.box
        if item.ours or box is None or person.points or not posed or box.label in posed:
            return True
        left_out[box.label] += 1
        return False

    kept = [
        _Read(item.answer, item.drawing, [p for p in item.people if wanted(item, p)], item.path, item.placed)
        for item in read
    ]
    notes += [f"{n:,} boxes labelled {label!r}, which never hold keypoints, left out." for label, n in left_out.items()]
    return kept


def _notes(read: Sequence[_Read]) -> list[str]:
    left_out = sum((item.drawing.left_out for item in read), Counter[str]())
    notes = [f"{n:,} {what}." for what, n in sorted(left_out.items())]
    empty = sum(not item.people and bool(item.answer.by) for item in read)
    placed, turned = sum(item.placed for item in read), sum(item.drawing.turned for item in read)
    if empty:
        notes.append(f"{empty:,} empty annotations taken to say that nobody is in the image.")
    if placed:
        notes.append(f"{placed:,} keypoints without a parent given to the only box around them that lacked one.")
    if turned:
        notes.append(f"{turned:,} turned boxes taken by their extent.")
    return notes
