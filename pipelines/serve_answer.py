"""What ``autolabel serve`` answers: a box that was drawn in a task of the project becomes a pose.

A task is known by our key in its data, and its image is the file that was pushed, never a path out of a request. Where
that file is not on this machine, the picture that the task shows is fetched from the project's Label Studio, and from
no other place. In a crop, which asks about one person, a drawn box stays a box.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urljoin, urlsplit

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError, ImageError, InputError
from autolabel.images import decode_image, read_image
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.frame import Floats, Frame
from autolabel.labelstudio.smart import (
    Served,
    box_alone,
    drawn_box,
    log_served,
    smart_record,
    smart_regions,
)
from autolabel.labelstudio.tasks import IMAGE, MODEL_VERSION, TaskRecord, read_task_map
from autolabel.manifest import Manifest
from autolabel.poses import Pose, Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.loop_wait import WAKE

MAX_PIXELS = 60_000_000
"""A larger picture is refused before it is decoded: somebody waits for the answer."""

Json = Mapping[str, Any]


class UnknownTask(InputError):
    """A request about a task that this project never sent."""


class Poser(Protocol):
    """What gives a person in a box a pose."""

    @property
    def skeleton(self) -> Skeleton:
        """Of its poses."""
        ...

    def pose(self, image: NDArray[np.uint8], box: Floats) -> Pose:
        """The pose in a box.

        Args:
            image: (H, W, 3) RGB.
            box: (4,) xyxy in its pixels.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """A project whose annotators are helped.

    Attributes:
        folder: Its review folder.
        poser: What gives poses.
        url: Of the project's Label Studio, without a slash at the end; "" where it has none.
        fetch: The bytes behind an address of that server, with the project's token.
    """

    folder: ReviewFolder
    poser: Poser
    url: str
    fetch: Callable[[str], bytes]

    def predict(self, body: Json) -> dict[str, Any]:
        """Answer Label Studio's request for predictions.

        Args:
            body: ``tasks``, and ``params.context`` where somebody drew. Without a context nothing is answered: every
                task brings its pre-labels along.

        Returns:
            ``results`` with one entry, or none.

        Raises:
            FormatError: The request is malformed.
            UnknownTask: The task is none of this project's.
            InputError: Its picture cannot be had, or is refused.
        """
        tasks = body.get("tasks")
        if not isinstance(tasks, list):
            raise FormatError("is no list", record="request", field="tasks")
        context = _object(_object(body.get("params")).get("context"))
        if not context:
            return {"results": []}
        if len(cast("list[Any]", tasks)) != 1:
            raise FormatError(f"holds {len(cast('list[Any]', tasks))}, expected one", record="request", field="tasks")
        data = _object(_object(cast("list[Any]", tasks)[0]).get("data"))
        regions = self._regions(data, context)
        return {"results": [{"model_version": MODEL_VERSION, "result": regions}]}

    def wake(self) -> None:
        """Say that somebody answered: ``loop run --wait`` looks at once."""
        (self.folder.path / WAKE).touch()

    def _regions(self, data: Json, context: Json) -> list[dict[str, Any]]:
        task, box = self._task(data), drawn_box(context)
        if box is None:
            return []
        record = smart_record(task, box)
        if task.kind != IMAGE:
            return [box_alone(record, box)]
        image = self._picture(task, data)
        frame = Frame((0, 0), (image.shape[1], image.shape[0]), (image.shape[1], image.shape[0]))
        pose = self.poser.pose(image, frame.box_to_image(box))
        # In percent from picture to image: what was fetched may have another size.
        xy = task.frame.to_image(frame.to_percent(pose.xy))
        placed = _placed(pose, record.task, xy, task.frame.box_to_image(box))
        log_served(self.folder.path, Served.of(record, task.task, placed))
        return smart_regions(record, placed, self.poser.skeleton)

    def _task(self, data: Json) -> TaskRecord:
        key = data.get("task_key")
        known = _known(self.folder.taskmap)
        if not isinstance(key, str) or key not in known:
            raise UnknownTask(
                f"task {key!r} was not sent by this project",
                subject=str(self.folder.taskmap),
                remedy="Connect this backend only to the project on the server that `autolabel push` filled.",
            )
        record = known[key]
        self.poser.skeleton.require_same(_sent(self.folder.sent(record.routing))[0].skeleton, str(self.folder.path))
        return record

    def _picture(self, task: TaskRecord, data: Json) -> NDArray[np.uint8]:
        try:
            return self._own(task)
        except ImageError:
            place = str(data.get("image", ""))
            if not self.url or not _is_of(place, self.url):
                raise
            return decode_image(self.fetch(place), subject=place, max_pixels=MAX_PIXELS)

    def _own(self, task: TaskRecord) -> NDArray[np.uint8]:
        sent, images = _sent(self.folder.sent(task.routing))
        sample = images[task.sample]
        path = sent.image_path(sample)
        image = read_image(path, max_pixels=MAX_PIXELS)
        if image.shape[1::-1] != sample.size:
            raise ImageError(f"is {image.shape[1::-1]}, was {sample.size} when it was sent", subject=str(path))
        return image


def _known(taskmap: Path) -> dict[str, TaskRecord]:
    """All tasks that were sent, by their key; read again only where there are more."""
    if not taskmap.is_file():
        return {}
    now = taskmap.stat()
    return _task_map(taskmap, now.st_size, now.st_mtime_ns)


@lru_cache(maxsize=1)
def _task_map(taskmap: Path, size: int, changed: int) -> dict[str, TaskRecord]:
    del size, changed  # they tell one content from another
    return read_task_map(taskmap)


@lru_cache(maxsize=8)
def _sent(folder: Path) -> tuple[Manifest, dict[tuple[str, str, str], Sample]]:
    """What was sent, which never changes, and its images by key, without their poses."""
    sent = Manifest.open(folder)
    nobody = Poses.empty(sent.skeleton.num_keypoints)
    return sent, {sample.key: sample.with_poses(nobody) for sample in sent}


def _is_of(place: str, url: str) -> bool:
    """Whether an address is one of a server: below its own, with the same scheme, host and port."""
    there, here = urlsplit(urljoin(f"{url}/", place)), urlsplit(url)
    own = there.path.startswith(f"{here.path.rstrip('/')}/")
    return (there.scheme, there.netloc) == (here.scheme, here.netloc) and own and ".." not in there.path.split("/")


def _placed(pose: Pose, name: str, xy: Floats, box: Floats) -> Pose:
    fields = {"xy": [xy], "box": [box], "score": [pose.score], "presence": [pose.presence]}
    said = {"visibility": [pose.visibility], "origin": [pose.origin], "by": [pose.by]}
    return Poses.create(len(xy), id=[name], **fields, **said)[0]


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, Mapping) else {}
