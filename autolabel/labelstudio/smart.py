"""A box that somebody draws around a person in a whole image, and the pose that it gets at once.

``autolabel serve`` is asked with the box and answers with regions: keypoints with their visibility, and the box that
they hang on. Their ids begin with a name of the box that is none of a task. What was served is kept in
``served.jsonl`` of the review folder, because what comes back does not tell which keypoints a network had placed, and
where.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from autolabel.errors import FormatError
from autolabel.formats.records import TOO_LARGE
from autolabel.labelstudio import form
from autolabel.labelstudio.folder import append_lines, read_lines
from autolabel.labelstudio.tasks import TaskRecord, box_region, canvas, pose_regions
from autolabel.poses import Origin, Pose, Poses
from autolabel.skeleton import Skeleton

SERVED = "served.jsonl"
"""In the review folder: every pose that a drawn box was given, a line each."""

LEAST_PERCENT = 0.2
"""A box with a shorter side, in percent of the picture, is a slip of the hand."""

Percent = tuple[float, float, float, float]
"""[x, y, width, height] of a box in percent of the picture."""


@dataclass(frozen=True)
class Served:
    """A pose that a box was given.

    Attributes:
        name: Of the box; see :func:`smart_record`.
        task: Key of the task.
        box: xyxy in image pixels.
        xy: K places in image pixels.
        visibility: K numbers, what was said of each keypoint; see :class:`autolabel.poses.Visibility`.
        score: K numbers, the network's own.
        by: Which network.
    """

    name: str
    task: str
    box: tuple[float, ...]
    xy: tuple[tuple[float, float], ...]
    visibility: tuple[int, ...]
    score: tuple[float, ...]
    by: str

    @classmethod
    def of(cls, record: TaskRecord, task: str, pose: Pose) -> "Served":
        """What is kept of a pose.

        Args:
            record: From :func:`smart_record`.
            task: Key of the task.
            pose: In image pixels, every keypoint placed.
        """
        xy = tuple((float(x), float(y)) for x, y in pose.xy.tolist())
        visibility, score = tuple(map(int, pose.visibility.tolist())), tuple(map(float, pose.score.tolist()))
        return cls(record.task, task, tuple(pose.box.tolist()), xy, visibility, score, pose.by)

    def pose(self) -> Pose:
        """As it was served."""
        origin = np.full((1, len(self.xy)), Origin.MODEL)
        fields = {"box": [self.box], "xy": [self.xy], "visibility": [self.visibility], "score": [self.score]}
        return Poses.create(len(self.xy), id=[self.name], by=[self.by], origin=origin, **fields)[0]


def drawn_box(context: Mapping[str, Any]) -> Percent | None:
    """The box that somebody has just drawn, cut at the edge of the picture.

    Args:
        context: As Label Studio sends it to an interactive backend, with the drawn regions in ``result``.

    Returns:
        None where no rectangle was drawn, or one without extent.

    Raises:
        FormatError: The place of the rectangle is none.
    """
    result = context.get("result")
    items = [
        cast("Mapping[str, Any]", item)
        for item in (cast("list[Any]", result) if isinstance(result, list) else [])
        if isinstance(item, Mapping) and cast("Mapping[str, Any]", item).get("type") in ("rectanglelabels", "rectangle")
    ]
    if not items:
        return None
    value = items[-1].get("value")
    if not isinstance(value, Mapping):
        raise FormatError("is no object", record="context.result", field="value")
    x, y, width, height = (_number(cast("Mapping[str, Any]", value), name) for name in ("x", "y", "width", "height"))
    left, right = (min(max(edge, 0.0), 100.0) for edge in sorted((x, x + width)))
    top, bottom = (min(max(edge, 0.0), 100.0) for edge in sorted((y, y + height)))
    if min(right - left, bottom - top) < LEAST_PERCENT:
        return None
    return left, top, right - left, bottom - top


def smart_record(task: TaskRecord, box: Percent) -> TaskRecord:
    """A record in which the regions of a box are named: the same box in the same task gives the same names.

    Args:
        task: The task in which the box was drawn.
        box: Where.
    """
    digest = hashlib.sha256(json.dumps([task.task, *box]).encode()).hexdigest()
    return replace(task, task=f"smart-{digest[:18]}", poses=())


def smart_regions(record: TaskRecord, pose: Pose, skeleton: Skeleton) -> list[dict[str, Any]]:
    """The regions of a served pose, those on top first; unlike a sent one's, its box may be moved.

    Args:
        record: From :func:`smart_record`.
        pose: In image pixels.
        skeleton: Names the keypoints.
    """
    regions = pose_regions(record, pose, skeleton, limbs=False)
    return [{name: value for name, value in region.items() if name != "readonly"} for region in regions]


def box_alone(record: TaskRecord, box: Percent) -> dict[str, Any]:
    """The region of a box that gets no pose."""
    x, y, width, height = box
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [form.BOX]}
    region = {"id": box_region(record.task), **canvas(record)}
    return {**region, "type": "rectanglelabels", "from_name": form.BOX, "value": value}


def log_served(folder: Path, served: Served) -> None:
    """Keep what was served, safely on disk.

    Args:
        folder: The review folder.
        served: What.
    """
    append_lines(folder / SERVED, [asdict(served)])


def read_served(folder: Path) -> dict[str, Served]:
    """What was served, by the region of the box; nothing where nothing was.

    Args:
        folder: The review folder.

    Raises:
        FormatError: A line is damaged.
    """
    found: dict[str, Served] = {}
    path = folder / SERVED
    for number, data in enumerate(read_lines(path), start=1):
        try:
            listed: dict[str, Any] = {name: tuple(data[name]) for name in ("box", "visibility", "score")}
            xy = tuple((float(x), float(y)) for x, y in data["xy"])
            served = Served(str(data["name"]), str(data["task"]), xy=xy, by=str(data["by"]), **listed)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{error!r}", record=f"line {number}", subject=str(path)) from error
        found[box_region(served.name)] = served
    return found


def _number(value: Mapping[str, Any], name: str) -> float:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < TOO_LARGE:
        raise FormatError(f"is {found!r}, expected a number", record="context.result", field=f"value.{name}")
    return float(found)
