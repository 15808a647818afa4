"""Writing whole-image tasks for Label Studio; ``labelstudio.py`` tells the dialect.

Tasks are streamed, a thousand a file, because a server takes a few hundred megabytes a request at most. The
folder appears under its name only when it is complete.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError
from autolabel.formats.coco_writing import shortest
from autolabel.formats.json_text import json_text
from autolabel.formats.keypoint_box import keypoint_box
from autolabel.formats.labels import UNKNOWN_SIZE, Aspect, Tally, Written, path_below_root
from autolabel.formats.labelstudio_form import CROWD, KEYPOINTS, PERSON, whole_image_form
from autolabel.formats.output import new_folder
from autolabel.formats.policy import ImagePolicy
from autolabel.labelstudio.form import BOX, IMAGE, VISIBILITY, VISIBILITY_CHOICES
from autolabel.labelstudio.frame import Frame
from autolabel.labelstudio.tasks import MARKER, MODEL_VERSION
from autolabel.poses import Origin, Pose, Sample, Visibility
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import Skeleton

CANNOT: frozenset[Aspect] = frozenset()
"""Nothing: what Label Studio has no word for travels in the ``meta`` of tasks and regions, which it keeps."""

OURS = "autolabel"
"""Key of our own block in the ``meta`` of tasks and regions."""

THEIRS = "labelstudio"
"""Attribute of samples and poses that carries what a project said and we have no field for."""

FORM = "form.xml"
SKELETON = "skeleton.json"
LOCAL_FILES = "/data/local-files/?d="
TASKS_PER_FILE = 1_000

_RADIUS = 0.6  # percent of the image's width, display only
_PLAIN_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")  # "#" has a meaning inside Label Studio
_RAW_SCHEMES = ("s3://", "gs://", "azure-blob://")


class TaskKind(StrEnum):
    """What the poses of a task are to Label Studio."""

    ANNOTATIONS = "annotations"
    """Finished work. Keypoints that nobody stated are not shown."""
    PREDICTIONS = "predictions"
    """A model's proposal, which the annotator's canvas is filled with. Everything that has a place is shown."""


def write_labelstudio(
    path: str | Path,
    samples: Iterable[Sample],
    skeleton: Skeleton,
    *,
    kind: TaskKind = TaskKind.ANNOTATIONS,
    image_url: str = LOCAL_FILES,
    policy: ImagePolicy = ImagePolicy.COMPLETE,
    file_name: Callable[[Sample], str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Written:
    """Write samples as Label Studio tasks of whole images: ``tasks-00000.json`` ..., ``form.xml``, ``skeleton.json``.

    Args:
        path: The folder.
        samples: The samples; iterated once.
        skeleton: Of all poses.
        kind: Whether people's answers or a model's proposals are written.
        image_url: What stands before an image's name in its address.
        policy: What to do with images of which some people are not settled.
        file_name: Gives the name of a sample's image; its path below its root by default.
        overwrite: Replace a folder that an export made.
        progress: Where to report.

    Raises:
        ExistsError: The folder stands already.
        FormatError: Attributes that JSON cannot hold, or an image of unknown size.
    """
    tally, outside, unshown = Tally(CANNOT), 0, 0
    tally.skeleton(skeleton)
    with new_folder(path, overwrite=overwrite) as folder, closing(_TaskFiles(folder)) as files:
        (folder / FORM).write_text(whole_image_form(skeleton), encoding="utf-8")
        (folder / SKELETON).write_text(json_text(skeleton.to_dict()) + "\n", encoding="utf-8")
        for sample in tally.samples(samples, policy, progress):
            name = (file_name or path_below_root)(sample)
            people = _People(sample, skeleton, kind)
            files.write(_task(sample, skeleton, name, _url(image_url, name), people.answer()))
            outside, unshown = outside + people.outside, unshown + people.unshown
    if unshown:
        progress.note(f"{unshown:,} keypoints that nobody stated are not shown; as predictions they would be.")
    if outside:
        progress.note(
            f"{outside:,} keypoints and boxes reach outside their image and stand at its edge in Label Studio, which "
            "takes no others; their true place is kept beside it and comes back where nobody moves them."
        )
    return tally.written()


def plain_id(pose_id: str) -> str:
    """The region id of a pose's box, which tells the pose's id wherever Label Studio takes it."""
    if _PLAIN_ID.fullmatch(pose_id):
        return pose_id
    return "pose-" + hashlib.sha256(pose_id.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def shown_point(xy: NDArray[np.float32], size: tuple[int, int]) -> list[float]:
    """[x, y] in percent as a point is written: of the pixel's middle, and not outside the image."""
    return Frame((0, 0), size, size).to_percent(xy).tolist()


def shown_box(box: NDArray[np.float64], size: tuple[int, int]) -> list[float]:
    """[x, y, width, height] in percent as a box is written."""
    return Frame((0, 0), size, size).box_to_percent(box)


class _TaskFiles:
    """Lists of tasks, a new file each time one is full; one with an empty list where there are none."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._tasks, self._file = folder, 0, self._open(folder, 0)

    def write(self, task: Mapping[str, Any]) -> None:
        """Append a task."""
        number, place = divmod(self._tasks, TASKS_PER_FILE)
        if number and not place:
            self.close()
            self._file = self._open(self._folder, number)
        self._file.write(("\n" if not place else ",\n") + json_text(task))
        self._tasks += 1

    def close(self) -> None:
        """End the last list."""
        with self._file as file:
            file.write("\n]\n")

    @staticmethod
    def _open(folder: Path, number: int) -> IO[str]:
        file = (folder / f"tasks-{number:05d}.json").open("w", encoding="utf-8")
        file.write("[")
        return file


class _People:
    """The poses of one sample as an annotation or a prediction.

    The order of its regions is the order of the mouse: the first lies on top. A box on top would swallow every press
    on a keypoint, so all boxes come last.
    """

    def __init__(self, sample: Sample, skeleton: Skeleton, kind: TaskKind) -> None:
        if sample.size == UNKNOWN_SIZE:
            raise FormatError(
                "the size of the image is not known, so that nothing has a percentage", record=sample.path
            )
        self._sample, self._skeleton, self._kind = sample, skeleton, kind
        self.outside = self.unshown = 0
        width, height = sample.size
        self._canvas = {"to_name": IMAGE, "original_width": width, "original_height": height, "image_rotation": 0}

    def answer(self) -> dict[str, Any]:
        """By the task's key ``annotations`` or ``predictions``."""
        points: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        taken: set[str] = set()
        for i in range(len(self._sample.poses)):
            pose = self._sample.poses[i]
            region = plain_id(pose.id) if pose.id else f"person-{i}"
            region = region if region not in taken else f"{region}-{i}"
            taken.add(region)
            drawn = self._drawn(pose)
            self.unshown += int((~np.isnan(pose.xy[:, 0])).sum()) - len(drawn)
            points += [item for k in drawn for item in self._keypoint(pose, k, region)]
            boxes.append(self._box(pose, region))
        result = {"result": points + boxes}
        if self._kind is TaskKind.PREDICTIONS:
            return {"predictions": [{"model_version": MODEL_VERSION, **result}]}
        return {"annotations": [{"was_cancelled": False, **result}]}

    def _drawn(self, pose: Pose) -> list[int]:
        """Keypoints that get a region: an annotation shows only what is stated."""
        placed = ~np.isnan(pose.xy[:, 0])
        stated = pose.visibility != Visibility.UNLABELLED
        return np.flatnonzero(placed & (stated | (self._kind is TaskKind.PREDICTIONS))).tolist()

    def _keypoint(self, pose: Pose, k: int, person: str) -> Iterable[dict[str, Any]]:
        x, y = shown_point(pose.xy[k], self._sample.size)
        self.outside += not _within(pose.xy[k] + np.float32(0.5), self._sample.size)
        name = self._skeleton.keypoints[k]
        region = {"id": f"{person}-k{k}", "parentID": person, **self._canvas}
        place = {"x": x, "y": y, "width": _RADIUS}
        yield {
            **region, "type": "keypointlabels", "from_name": KEYPOINTS, **_score(pose.score[k]),
            "meta": {OURS: {"keypoint": name, **_said(pose, k)}}, "value": {**place, "keypointlabels": [name]},
        }  # fmt: skip
        if pose.visibility[k] != Visibility.UNLABELLED:
            # Two items of one id: this is how Label Studio ties an answer to a region.
            word = next(word for word, state in VISIBILITY_CHOICES.items() if state == pose.visibility[k])
            yield {**region, "type": "choices", "from_name": VISIBILITY, "value": {**place, "choices": [word]}}

    def _box(self, pose: Pose, region: str) -> dict[str, Any]:
        width, height = self._sample.size
        box, boxless = pose.box, bool(np.isnan(pose.box[0]))
        if boxless:
            # Keypoints need one all the same: it is what says that they are one person's.
            placed = pose.xy[~np.isnan(pose.xy[:, 0])]
            box = keypoint_box(placed, (width, height)) if len(placed) else np.array([0, 0, width, height])
        else:
            self.outside += not (_within(box[:2], self._sample.size) and _within(box[2:], self._sample.size))
        x, y, w, h = shown_box(box, self._sample.size)
        label = CROWD if pose.crowd else PERSON
        value = {"x": x, "y": y, "width": w, "height": h, "rotation": 0, "rectanglelabels": [label]}
        said = {"region": region, "box": [float(v) for v in box], "boxless": boxless, **self._of_pose(pose)}
        return {
            "id": region, **self._canvas, "type": "rectanglelabels", "from_name": BOX, **_score(pose.box_score),
            "meta": {OURS: _without_empty(said)}, "value": value,
        }  # fmt: skip

    def _of_pose(self, pose: Pose) -> dict[str, Any]:
        """What has no word in Label Studio; keypoints that have no region stand here too."""
        drawn = set(self._drawn(pose))
        rest = {name: _said(pose, k) for k, name in enumerate(self._skeleton.keypoints) if k not in drawn}
        for k, name in enumerate(self._skeleton.keypoints):
            if k not in drawn:
                rest[name] |= _score(pose.score[k])
        return {
            "id": pose.id,
            "by": pose.by,
            "group": pose.group,
            "area": None if np.isnan(pose.area) else float(pose.area),
            "p_bad": _number(pose.p_bad),
            "drawn": len(drawn),
            "keypoints": {name: said for name, said in rest.items() if said != {"visibility": 0}},
            "attributes": dict(pose.attributes),
        }


def _task(sample: Sample, skeleton: Skeleton, name: str, url: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    ours = {
        "skeleton": skeleton.fingerprint,
        "path": name,
        "size": list(sample.size),
        "id": sample.id,
        "group": sample.group,
        "duplicate_of": sample.duplicate_of,
        "attributes": dict(sample.attributes),
    }
    data = {**_fields(sample.attributes), IMAGE: url}
    return {"data": data, "meta": {OURS: {**MARKER, **_without_empty(ours)}}, **answer}


def _fields(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Other fields of the task that the sample came from, but for those that mark our own crops."""
    theirs = attributes.get(THEIRS)
    fields = cast("Mapping[str, Any]", theirs).get("data") if isinstance(theirs, Mapping) else None
    if not isinstance(fields, Mapping):
        return {}
    return {name: v for name, v in cast("Mapping[str, Any]", fields).items() if name not in ("task_key", "crop")}


def _said(pose: Pose, k: int) -> dict[str, Any]:
    """What is known about a keypoint beside its score; its exact place tells whether somebody moved it."""
    visibility = int(pose.visibility[k])
    stated = Origin.NONE if visibility == Visibility.UNLABELLED else Origin.IMPORTED
    said = {
        "xy": None if np.isnan(pose.xy[k, 0]) else shortest(pose.xy[k]),
        "visibility": visibility,
        "presence": _number(pose.presence[k]),
        "p_gross": _number(pose.p_gross[k]),
        "origin": None if pose.origin[k] == stated else int(pose.origin[k]),
    }
    return {name: value for name, value in said.items() if value is not None}


def _score(value: float) -> dict[str, Any]:
    number = _number(value)
    return {} if number is None else {"score": number}


def _number(value: float) -> Any:
    return None if math.isnan(value) else shortest(np.array([value], np.float32))[0]


def _within(point: NDArray[Any], size: tuple[int, int]) -> bool:
    return bool((point >= 0).all() and (point <= np.array(size)).all())


def _url(prefix: str, name: str) -> str:
    """The address of an image; cloud storage keys are not escaped."""
    return prefix + (name if prefix.startswith(_RAW_SCHEMES) else quote(name, errors="surrogateescape"))


def _without_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in values.items() if not (value is None or value is False or value in ("", [], {}))
    }
