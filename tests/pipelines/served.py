"""A backend without a network: everybody stands in the middle of their box."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import TaskRecord
from autolabel.poses import Origin, Pose, Poses, Visibility
from autolabel.skeleton import Skeleton
from pipelines.serve_answer import Backend

DRAWN = (25.0, 10.0, 40.0, 50.0)
"""Percent of the picture."""


@dataclass
class Middle:
    """Puts every keypoint onto the diagonal of the box; remembers what it was shown."""

    skeleton: Skeleton
    image: NDArray[np.uint8] | None = None
    box: Any = None

    def pose(self, image: NDArray[np.uint8], box: Any) -> Pose:
        self.image, self.box = image, box
        k = self.skeleton.num_keypoints
        xy = np.linspace(box[:2], box[2:], k + 2)[1:-1]
        visible, origin = np.full((1, k), Visibility.VISIBLE), np.full((1, k), Origin.MODEL)
        score = np.linspace(0.2, 0.9, k)
        return Poses.create(k, id=[""], xy=[xy], score=[score], visibility=visible, origin=origin, by=["net"])[0]


def nobody(place: str) -> bytes:
    raise AssertionError(f"nobody should fetch {place}")


def backend(
    project: Any,
    skeleton: str | Skeleton = "coco17",
    url: str = "",
    fetch: Callable[[str], bytes] = nobody,
) -> Backend:
    loaded = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    return Backend(ReviewFolder.of(project), Middle(loaded), url, fetch)


def request(key: object, image: str = "", box: tuple[float, ...] = DRAWN) -> dict[str, Any]:
    """What Label Studio sends when somebody has drawn a box in a task."""
    x, y, width, height = box
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": ["box"]}
    drawn = {"id": "own", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}
    data = {"task_key": key, "image": image}
    return {"tasks": [{"id": 1, "data": data}], "params": {"context": {"result": [drawn]}}}


def served(answering: Backend, record: TaskRecord, box: tuple[float, ...] = DRAWN) -> list[dict[str, Any]]:
    """The regions that a box in a task gets, as the editor submits them when they were accepted."""
    (prediction,) = answering.predict(request(record.task, box=box))["results"]
    return [{**region, "origin": "manual"} for region in prediction["result"]]
