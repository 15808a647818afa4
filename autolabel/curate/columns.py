"""What ``--where`` may ask of poses, as columns over all poses of some samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.curate.documents import Document

COLUMNS = {
    "p_bad": "probability that the pose is bad",
    "worst_gross": "p_gross of its most doubtful keypoint",
    "score": "mean of the network's own scores",
    "box_score": "the detector's score",
    "width": "of the box, in pixels",
    "height": "of the box, in pixels",
    "labelled": "keypoints that are shown",
    "state": "open, reviewed, rejected, expert or boxed",
    "routed": "accepted, review, audit, rejected or nothing, by --routing",
    "by": "network or person that stated the pose last",
    "reasons": "why it is doubted",
    "lint": "faults that need no truth",
    "swap": "left and right seem to have changed places",
    "truncated": "a keypoint lies outside the image",
    "label_error": "a label that seems wrong",
    "oks": "with --truth",
    "bad": "by --truth",
    "previous_oks": "with --previous",
    "student_oks": "with --student",
    "path": "of the image, below its root",
    "root": "corpus root",
    "group": "of the image",
    "split": "by --split",
    "duplicate_of": "the image that this one repeats",
    "num_poses": "poses in the image",
}
"""Names and meanings."""

_OF_IMAGES = frozenset({"path", "root", "group", "split", "duplicate_of", "num_poses"})
_NUMBERS = frozenset(
    {"p_bad", "worst_gross", "score", "box_score", "width", "height", "labelled", "oks", "previous_oks", "student_oks"}
)
_FLAGS = frozenset({"swap", "truncated", "label_error", "bad"})


def columns(documents: Sequence[Document]) -> dict[str, NDArray[Any]]:
    """(N,) arrays by name of the N poses in the documents of samples: NaN, "" or False where nothing is known."""
    rows = [(d, pose) for d in documents for pose in d["poses"]["keypoints"]]
    boxes = {(d["key"], box["pose_id"]): (d, box) for d in documents for box in d["boxes"]["detections"]}
    made = dict[str, NDArray[Any]]()
    for name in COLUMNS:
        values = [_value(name, document, pose, boxes) for document, pose in rows]
        if name in _NUMBERS:
            made[name] = np.array([np.nan if value is None else value for value in values], np.float64)
        elif name in _FLAGS:
            made[name] = np.array([bool(value) for value in values], bool)
        else:
            made[name] = np.empty(len(values), object)
            made[name][:] = ["" if value is None else value for value in values]
    return made


def _value(
    name: str, document: Document, pose: Document, boxes: dict[tuple[str, str], tuple[Document, Document]]
) -> Any:
    if name in _OF_IMAGES:
        return document[name]
    if name == "score":
        return pose["mean_score"]
    if name == "labelled":
        return sum(said in ("visible", "hidden") for said in pose["visibility"])
    if name in ("box_score", "width", "height"):
        image, box = boxes.get((document["key"], pose["pose_id"]), (document, {}))
        if not box:
            return None
        if name == "box_score":
            return box["confidence"]
        return box["bounding_box"][2 + (name == "height")] * image["metadata"][name]
    return pose.get(name)
