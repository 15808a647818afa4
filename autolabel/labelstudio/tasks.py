"""A pose as a Label Studio task: the crop, the model's keypoints filled in, the two doubtful ones marked.

A task tells nobody why it was sent: review, random draw, audit and planted error look alike, carry no score,
and are named by a hash. What our side must know later stands in the task map (:class:`TaskRecord`). Tasks that
show a whole image are made in ``images.py``.

The order of a prediction's regions is the order of the mouse: the first lies on top. Keypoints come first,
the limbs and the box last and read-only; a box on top would swallow every press on a keypoint.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.errors import FormatError
from autolabel.labelstudio import form
from autolabel.labelstudio.folder import is_digest, read_lines
from autolabel.labelstudio.frame import Floats, Frame
from autolabel.poses import Pose, Visibility
from autolabel.skeleton import Skeleton

MODEL_VERSION = "autolabel"
"""Label Studio fills in a prediction only where its version equals the project's. One name for all rounds,
because the project takes it from the first import and keeps it; which model it was stands in the task map."""

CROP_URL = "/data/local-files/?d=crops/"
"""Served by Label Studio's local files, where a document root of its own holds a link to the folder ``crops``, which is
connected as local storage. Never the review folder itself: annotators could read all of it."""

MARKER = {"schema": 1, "points": "percent of (x + 0.5) / width"}
"""Says in every task's ``meta`` how its points are meant; what others write without it is percent of x /
width."""

REVIEW, AUDIT, PLANTED, BLIND, KEYPOINT, IMAGE = "review", "audit", "planted", "blind", "keypoint", "image"
TO_GATE = "gate"
KINDS = (REVIEW, "random", AUDIT, "calibration", "development", TO_GATE, PLANTED, BLIND, KEYPOINT, IMAGE)
"""What a task is for.

``review`` corrects; ``random``, ``calibration``, ``development`` and ``gate`` are drawn to measure the network by;
``audit`` is an accepted pose; ``planted`` one that is known to be bad; ``blind`` an audited pose without its
pre-label, or a decoy of it; ``keypoint`` a pose one of whose untouched keypoints was drawn; ``image`` a whole image.
"""

UNSHOWN = frozenset({BLIND, TO_GATE})
"""Kinds that are sent without keypoints. A joint that a reviewer leaves alone is the network's own, so that answers
beside its pre-label would favour that network when two are compared; those to ``gate`` are laid over their poses."""

UNMERGED = frozenset({PLANTED, BLIND, IMAGE})
"""Kinds whose answers check reviewers or images: they are laid over no pose."""

DOUBTS = 2

_RADIUS = {form.DOUBT: 1.1, form.SURE: 0.45, form.GONE: 0.45}
"""Percent of the crop's longer side, which takes up about as much of the screen whatever the crop's shape."""


@dataclass(frozen=True)
class TaskRecord:
    """One line of the task map.

    Attributes:
        task: The task's key, a hash.
        pose: Id of the pose; "" where the task shows a whole image.
        sample: Key of its sample (id, root, path).
        frame: What the crop shows.
        routing: Digest of the routing that sent it.
        kind: One of :data:`KINDS`.
        blind: Sent without keypoints.
        model: What had placed the keypoints.
        of: Of a planted pose, id of the checked pose that it was made from.
        poses: Of a whole image, ids of the poses that it shows, in the order of their rectangles.
        marks: How many of its keypoints are asked about, the weakest; the same for all tasks of a routing.
        priority: In (0, 1], higher first: its place in the routing's queue.
    """

    task: str
    pose: str
    sample: tuple[str, str, str]
    frame: Frame
    routing: str
    kind: str
    blind: bool
    model: str
    of: str = ""
    poses: tuple[str, ...] = ()
    marks: int = DOUBTS
    priority: float = 1.0

    @property
    def crop(self) -> str:
        """File name of the crop."""
        return f"{self.task}.jpg"

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TaskRecord":
        """The inverse of :meth:`to_dict`, which also takes lists for tuples.

        Raises:
            FormatError: ``routing`` is no digest: it names files.
            KeyError, TypeError, ValueError or AttributeError: The fields are not those of a record.
        """
        if not is_digest(data["routing"]):
            raise FormatError(f"is {data['routing']!r}, expected 64 hexadecimal digits", field="routing")
        a, b, c = data["sample"]
        frame = Frame(**{name: (pair[0], pair[1]) for name, pair in data["frame"].items()})
        poses = tuple(str(pose) for pose in data.get("poses", ()))
        values: dict[str, Any] = {**data, "sample": (a, b, c), "frame": frame, "poses": poses}
        return cls(**values)


def read_task_map(path: Path) -> dict[str, TaskRecord]:
    """All tasks that were ever sent, by their key.

    Raises:
        FormatError: A line is damaged.
    """
    records: dict[str, TaskRecord] = {}
    for number, data in enumerate(read_lines(path), start=1):
        try:
            record = TaskRecord.from_dict(data)
        except FormatError as error:
            raise FormatError(error.message, record=f"line {number}", subject=str(path)) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{error!r}", record=f"line {number}", subject=str(path)) from error
        records[record.task] = record
    return records


def task_key(routing: str, pose: str, kind: str) -> str:
    """The key of a task: the same push gives the same one, and it tells an annotator nothing."""
    text = json.dumps([routing, pose, kind])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def asked(pose: Pose, record: TaskRecord) -> NDArray[np.bool_]:
    """(K,) keypoints that the task is about; an answer says nothing about the others.

    All of them, as long as each has a key of its own. Of a larger skeleton only the ``record.marks`` weakest that
    have a place, because nobody looks at a hundred points; where nothing tells which these are, all again.
    """
    everything = np.ones(len(pose.xy), bool)
    if len(everything) <= form.PALETTE:
        return everything
    weakest = _weakest_first(pose, ~np.isnan(pose.xy[:, 0]))[: record.marks]
    return np.isin(np.arange(len(everything)), weakest) if len(weakest) else everything


def sent_points(pose: Pose, record: TaskRecord) -> Floats:
    """(K, 2) percent of every keypoint as it was sent; NaN where none was.

    An answer's point is compared with these, bit by bit: equal means that nobody moved it.
    """
    if record.blind:
        return np.full(pose.xy.shape, np.nan)
    return np.where(asked(pose, record)[:, None], record.frame.to_percent(pose.xy), np.nan)


def sent_visibility(pose: Pose, record: TaskRecord) -> NDArray[np.uint8]:
    """(K,) what the task says about each keypoint; unlabelled where it shows none.

    What nobody stated is filled in from the presence: absent below one half, else visible.
    """
    shown = ~np.isnan(sent_points(pose, record)[:, 0])
    return np.where(shown, _stated_or_guessed(pose), Visibility.UNLABELLED).astype(np.uint8)


def doubtful(pose: Pose, record: TaskRecord) -> list[int]:
    """The keypoints that are marked, of those that are shown: the weakest, worst first.

    Those of highest ``p_gross``; where the pose is unscored those of lowest score, the ones taken for absent last,
    because their score is low by nature. None where it has neither.
    """
    shown = sent_visibility(pose, record) != Visibility.UNLABELLED
    return _weakest_first(pose, shown)[: record.marks]


def _stated_or_guessed(pose: Pose) -> NDArray[np.uint8]:
    guess = np.where(pose.presence < 0.5, Visibility.ABSENT, Visibility.VISIBLE)
    return np.where(pose.visibility == Visibility.UNLABELLED, guess, pose.visibility).astype(np.uint8)


def _weakest_first(pose: Pose, among: NDArray[np.bool_]) -> list[int]:
    doubt, absent = pose.p_gross, np.zeros(among.shape, bool)
    if np.isnan(doubt).all():
        doubt, absent = -pose.score, _stated_or_guessed(pose) == Visibility.ABSENT
    known = np.flatnonzero(~np.isnan(doubt) & among)
    return known[np.lexsort((-doubt[known], absent[known]))].tolist()


def review_task(record: TaskRecord, pose: Pose, skeleton: Skeleton, *, limbs: bool = True) -> dict[str, Any]:
    """The task in Label Studio's import format, with its prediction.

    Args:
        record: Its line of the task map.
        pose: What it is about.
        skeleton: Names the keypoints.
        limbs: Whether limbs are drawn, for which the form needs a control of their own.
    """
    marked = [skeleton.keypoints[k] for k in doubtful(pose, record)[:DOUBTS]]
    return task_of(record, _header(record, pose, marked, skeleton), pose_regions(record, pose, skeleton, limbs=limbs))


def pose_regions(record: TaskRecord, pose: Pose, skeleton: Skeleton, *, limbs: bool = True) -> list[dict[str, Any]]:
    """The regions of a pose, those on top first: keypoints with their visibility, limbs, the box."""
    return [
        *_keypoint_items(record, pose, skeleton, doubtful(pose, record)),
        *(_limb_items(record, pose, skeleton) if limbs else ()),
        *_box_items(record, pose),
    ]


def task_of(record: TaskRecord, header: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A task in Label Studio's import format.

    Args:
        record: Its line of the task map.
        header: What stands above the picture.
        items: The regions that are filled in, the one on top first.
    """
    crop = record.crop
    data = {"image": CROP_URL + crop, "crop": crop, "task_key": record.task, "header": header}
    return {
        "data": {**data, "priority": record.priority},
        "meta": {"autolabel": MARKER},
        "predictions": [{"model_version": MODEL_VERSION, "result": list(items)}],
    }


def keypoint_region(task: str, keypoint: int) -> str:
    """The id of a keypoint's region."""
    return f"{task[:12]}-k{keypoint}"


def box_region(task: str) -> str:
    """The id of the box's region."""
    return f"{task[:12]}-box"


def limb_trees(edges: Sequence[tuple[int, int]], drawn: set[int]) -> list[list[tuple[int, int | None]]]:
    """Edges as trees of (keypoint, the one it hangs on): Label Studio draws one connected tree a region.

    Every edge between drawn keypoints stands in exactly one tree; those that close a circle start another.
    """
    rest = [edge for edge in edges if drawn.issuperset(edge)]
    trees: list[list[tuple[int, int | None]]] = []
    while rest:
        tree: list[tuple[int, int | None]] = [(rest[0][0], None)]
        members = {rest[0][0]}
        for parent, _ in tree:  # grows while it is walked
            for a, b in [edge for edge in rest if parent in edge]:
                child = b if a == parent else a
                if child not in members:
                    members.add(child)
                    tree.append((child, parent))
                    rest.remove((a, b))
        trees.append(tree)
    return trees


def _header(record: TaskRecord, pose: Pose, doubts: Sequence[str], skeleton: Skeleton) -> str:
    """One wording whatever a task is for; only a blind one, which shows nothing, says so."""
    if not record.blind:
        return f"Check these first: {', '.join(doubts) or 'every joint'}"
    about = asked(pose, record)
    what = "every joint" if about.all() else ", ".join(np.array(skeleton.keypoints)[about].tolist())
    return f"Place {what}, hidden ones too; leave out only what lies outside the picture"


def _keypoint_items(record: TaskRecord, pose: Pose, skeleton: Skeleton, doubts: Sequence[int]) -> list[dict[str, Any]]:
    percent = sent_points(pose, record).tolist()
    visibility = sent_visibility(pose, record)
    names = {value: name for name, value in form.VISIBILITY_CHOICES.items()}
    parent = _parent(record, pose)
    items: list[dict[str, Any]] = []
    # The doubtful ones first: they lie on top.
    for k in [*doubts, *(k for k in range(len(percent)) if k not in doubts)]:
        if visibility[k] == Visibility.UNLABELLED:
            continue
        tag = form.GONE if visibility[k] == Visibility.ABSENT else form.SURE
        tag = form.DOUBT if k in doubts else tag
        region = {"id": keypoint_region(record.task, k), **parent, **canvas(record)}
        place = {"x": percent[k][0], "y": percent[k][1], "width": _radius(record, tag)}
        label = {**place, "keypointlabels": [skeleton.keypoints[k]]}
        choice = {**place, "choices": [names[Visibility(visibility[k])]]}
        # Two items of one id: this is how Label Studio ties an answer to a region.
        items.append({**region, "type": "keypointlabels", "from_name": tag, "value": label})
        items.append({**region, "type": "choices", "from_name": form.VISIBILITY, "value": choice})
    return items


def _radius(record: TaskRecord, tag: str) -> float:
    """The size of a point as Label Studio wants it, in percent of the crop's width."""
    width, height = record.frame.shown
    return _RADIUS[tag] * max(width, height) / width


def _parent(record: TaskRecord, pose: Pose) -> dict[str, str]:
    """What hangs a region below the box, in the editor's list of regions."""
    return {} if np.isnan(pose.box[0]) else {"parentID": box_region(record.task)}


def _limb_items(record: TaskRecord, pose: Pose, skeleton: Skeleton) -> list[dict[str, Any]]:
    if record.blind:
        return []
    # Keypoints that are not asked about as well: they show which joint is which.
    percent = record.frame.to_percent(pose.xy).tolist()
    there = ~np.isnan(pose.xy[:, 0]) & (_stated_or_guessed(pose) != Visibility.ABSENT)
    drawn = set(np.flatnonzero(there).tolist())
    items: list[dict[str, Any]] = []
    for i, tree in enumerate(limb_trees(skeleton.edges, drawn)):
        vertices = [
            {
                "id": f"v{k}",
                "x": percent[k][0],
                "y": percent[k][1],
                "prevPointId": None if parent is None else f"v{parent}",
                "isBezier": False,
            }
            for k, parent in tree
        ]
        value = {"closed": False, "vectorlabels": [form.LIMBS], "vertices": vertices}
        region = {"id": f"{record.task[:12]}-limb{i}", "readonly": True, **_parent(record, pose), **canvas(record)}
        items.append({**region, "type": "vectorlabels", "from_name": form.LIMBS, "value": value})
    return items


def _box_items(record: TaskRecord, pose: Pose) -> list[dict[str, Any]]:
    # A blind task has its box in the crop: a region would take the clicks that place joints on it.
    if record.blind or np.isnan(pose.box[0]):
        return []
    return [{"readonly": True, **rectangle(record, box_region(record.task), pose.box)}]


def rectangle(record: TaskRecord, region: str, box: ArrayLike) -> dict[str, Any]:
    """The region of a (4,) xyxy box."""
    x, y, width, height = record.frame.box_to_percent(box)
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [form.BOX]}
    return {"id": region, **canvas(record), "type": "rectanglelabels", "from_name": form.BOX, "value": value}


def canvas(record: TaskRecord) -> dict[str, Any]:
    """What every region says about the picture that it lies on."""
    width, height = record.frame.shown
    return {"to_name": form.IMAGE, "original_width": width, "original_height": height, "image_rotation": 0}
