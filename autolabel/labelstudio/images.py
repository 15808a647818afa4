"""A whole image as a task, and what its answer says about missed people and about boxes without a person.

The task shows the image with one rectangle a pose and no keypoints. Who checks it draws a rectangle around
everybody who has none, and deletes those that hold nobody; a rectangle that was only moved is still the same
person. Answers are counted, never laid over poses: they tell how often the network misses people.

An empty result is ambiguous, because Label Studio may not have shown the rectangles. It counts where there were
none to show; where every rectangle was deleted, the verdict "person missing or wrong" must say so. A rectangle
that was deleted and drawn again counts on both sides, which errs on the side of caution.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.errors import FormatError
from autolabel.labelstudio import form
from autolabel.labelstudio.answers import Answer, Submitted
from autolabel.labelstudio.folder import read_lines
from autolabel.labelstudio.frame import Floats
from autolabel.labelstudio.tasks import IMAGE, TaskRecord, canvas, rectangle, task_key, task_of
from autolabel.merge import State, Verdict
from autolabel.poses import Pose, Sample

HEADER = (
    f"Whole picture: draw a box (key {form.BOX_KEY}; hold Ctrl when you begin inside another box) around everybody who "
    f'has none, and delete boxes that hold nobody; where none of the given boxes is left, tick "{Verdict.NO_PERSON}"'
)

SMART_HEADER = (
    "Whole picture: switch on Auto-Annotation and Auto-Accept Suggestions below, choose the pink box in the bar beside "
    f"the picture, then the label {form.BOX!r} (key {form.BOX_KEY}), and draw a box around everybody who has none: "
    "their joints appear, to be put right"
)
"""Where :mod:`pipelines.serve` answers."""

IMAGES = "images.jsonl"
"""The file of answers about whole images, in the folder of a pulled manifest."""


TREMBLE = 1.0
"""Percent of the picture: by less a box is moved only by a click that slips."""


@dataclass(frozen=True)
class ImageCheck:
    """What one person found in one whole image.

    Attributes:
        sample: Key of the sample (id, root, path).
        missed: People who had no box.
        nobody: Ids of the poses whose box holds nobody.
        shown: How many poses the task showed.
        by: Who.
        when: ISO 8601 time.
        seconds: How long it took, or None when unknown.
        clicks: 2 a box drawn, 1 a box deleted, 1 a verdict, 1 to submit.
        task: Key of the task.
    """

    sample: tuple[str, str, str]
    missed: int
    nobody: tuple[str, ...]
    shown: int
    by: str
    when: str
    seconds: float | None
    clicks: int
    task: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: a line of :data:`IMAGES`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ImageCheck":
        """The inverse of :meth:`to_dict`, which also takes lists for tuples."""
        a, b, c = data["sample"]
        values: dict[str, Any] = {**data, "sample": (a, b, c), "nobody": tuple(data["nobody"])}
        return cls(**values)


def read_images(path: Path) -> list[ImageCheck]:
    """Read an :data:`IMAGES` file; nothing where there is none.

    Raises:
        FormatError: A line is damaged.
    """
    found: list[ImageCheck] = []
    for number, data in enumerate(read_lines(path), start=1):
        try:
            found.append(ImageCheck.from_dict(data))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{error!r}", record=f"line {number}", subject=str(path)) from error
    return found


def image_key(routing: str, sample: tuple[str, str, str]) -> str:
    """The key of an image's task; a hash as every other's."""
    return task_key(routing, json.dumps(sample), IMAGE)


def shown_poses(sample: Sample) -> list[int]:
    """Rows of the poses whose rectangle a task shows: those with a place that no person has rejected."""
    return [
        i
        for i, attributes in enumerate(sample.poses.attributes)
        if attributes.get("state") != State.REJECTED and not np.isnan(place_of(sample.poses[i])).any()
    ]


def place_of(pose: Pose) -> Floats:
    """(4,) xyxy of a pose: its box, or what its keypoints take up; NaN where it has neither."""
    if not np.isnan(pose.box[0]):
        return pose.box
    known = pose.xy[~np.isnan(pose.xy[:, 0])].astype(np.float64)
    if not len(known):
        return np.full(4, np.nan)
    return np.concatenate([known.min(axis=0), known.max(axis=0) + 1.0])


def image_task(record: TaskRecord, sample: Sample, *, smart: bool = False) -> dict[str, Any]:
    """The task in Label Studio's import format.

    Args:
        record: Its line of the task map.
        sample: The image with its poses, those of ``record.poses`` among them.
        smart: Whether a drawn box gets a pose at once.
    """
    row = {pose: i for i, pose in enumerate(sample.poses.id.tolist())}
    places = [place_of(sample.poses[row[pose]]) for pose in record.poses]
    # Small ones on top: a large box would swallow the press on a small one inside it.
    order = sorted(range(len(places)), key=lambda i: float(np.prod(places[i][2:] - places[i][:2])))
    boxes = [rectangle(record, image_region(record.task, i), places[i]) for i in order]
    return task_of(record, SMART_HEADER if smart else HEADER, [*boxes, _about(record)])


def _about(record: TaskRecord) -> dict[str, Any]:
    """What tells the form to show nothing of joints."""
    choice = {"type": "choices", "from_name": form.ABOUT, "value": {"choices": [form.WHOLE]}}
    return {"id": f"{record.task[:12]}-about", **canvas(record), **choice}


def image_region(task: str, i: int) -> str:
    """The id of the i-th pose's rectangle."""
    return f"{task[:12]}-p{i}"


def why_void_image(answer: Answer, record: TaskRecord) -> str:
    """Why an answer about a whole image cannot be used, or "" when it can."""
    kept, added = _kept(answer, record), _added(answer, record)
    if answer.rotated:
        return "the picture was rotated"
    if Verdict.EXPERT in answer.verdict or Verdict.BAD_IMAGE in answer.verdict:
        return f"says only {' and '.join(answer.verdict)!r}: whoever is missed must be boxed"
    if record.poses and not kept and Verdict.NO_PERSON not in answer.verdict:
        return f"no box came back; if all hold nobody, tick {str(Verdict.NO_PERSON)!r}, else check that boxes are shown"
    if Verdict.NO_PERSON in answer.verdict and len(kept) == len(record.poses) and not added:
        return "says that a person is missing or wrong, but no box was drawn or deleted"
    return ""


def image_check(submitted: Submitted, answer: Answer, record: TaskRecord) -> ImageCheck:
    """What an answer says about a whole image.

    Args:
        submitted: Who and when.
        answer: What was submitted; not void.
        record: The task.
    """
    kept, added = _kept(answer, record), _added(answer, record)
    nobody = tuple(pose for i, pose in enumerate(record.poses) if i not in kept)
    return ImageCheck(
        sample=record.sample,
        missed=added,
        nobody=nobody,
        shown=len(record.poses),
        by=submitted.by,
        when=submitted.updated,
        seconds=submitted.seconds,
        clicks=2 * added + len(nobody) + len(answer.verdict) + 1,
        task=record.task,
    )


def moved_boxes(answer: Answer, record: TaskRecord, sample: Sample) -> list[str]:
    """Ids of the poses whose rectangle was moved or resized by more than the hand trembles.

    Each is still taken for the same person, but whoever begins to draw inside a box moves it instead.

    Args:
        answer: What was submitted.
        record: The task.
        sample: The image as it was sent.
    """
    row = {pose: i for i, pose in enumerate(sample.poses.id.tolist())}
    moved: list[str] = []
    for i, pose in enumerate(record.poses):
        answered = answer.boxes.get(image_region(record.task, i))
        if answered is not None and pose in row:
            sent = record.frame.box_to_percent(place_of(sample.poses[row[pose]]))
            moved += [pose] * bool(np.abs(np.subtract(answered, sent)).max() > TREMBLE)
    return moved


def _kept(answer: Answer, record: TaskRecord) -> set[int]:
    return {i for i in range(len(record.poses)) if image_region(record.task, i) in answer.boxes}


def _added(answer: Answer, record: TaskRecord) -> int:
    return len(answer.boxes) - len(_kept(answer, record))
