"""People whom a reviewer boxed: rectangles drawn around somebody who has no pose, or whose pose lay elsewhere.

A person who was missed is only boxed. In a whole image every rectangle that the task did not show is one. In a crop
it is the right place of somebody whose box was wrong (the verdict "person missing or wrong" rejects the old pose),
or somebody else who is seen there. A box is predicted and comes back as an ordinary task; until that is answered
the person waits, and the image is not complete.

The same person may be boxed by several people, or in several tasks, and whoever looks at a crop does not know
whether its neighbours have poses. So rectangles of different answers that overlap with IoU of one half or more are
one person; so is a rectangle that overlaps what was asked about before, which keeps its id. A rectangle around
somebody who has a pose already is none. What lies outside a task's picture could not be boxed there, and is left out
when boxes are compared. Two rectangles of one answer are always two people, and so are a rectangle and whoever its
task showed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.errors import FormatError
from autolabel.labelstudio.answers import Answer, Submitted
from autolabel.labelstudio.folder import read_lines
from autolabel.labelstudio.frame import Floats
from autolabel.labelstudio.images import image_region, place_of, shown_poses
from autolabel.labelstudio.tasks import IMAGE, TaskRecord, box_region
from autolabel.merge import BOXED, Verdict
from autolabel.phrases import counted
from autolabel.poses import Poses, Sample, pose_id
from autolabel.similarity import DEFAULT_RULE, box_iou

PEOPLE = "people.jsonl"
"""Beside what was sent: who has a pose in the images of the tasks, whether a task shows it or not."""

LEAST = 2.0
"""Image pixels: a rectangle with a shorter side is a slip of the hand."""

LEAST_SEEN = 0.5
"""Share of a box that two tasks must both show, for their boxes to be compared."""

EVERYWHERE = np.array([-np.inf, -np.inf, np.inf, np.inf])
"""The view of a box that was drawn or predicted in no task that we know of."""

SampleKey = tuple[str, str, str]
Places = Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A rectangle that somebody drew.

    Attributes:
        sample: Key of the image (id, root, path).
        box: (4,) float64 xyxy in image pixels, within what the task shows.
        view: (4,) float64 xyxy of what the task shows.
        region: Label Studio's id of it.
        task: Key of the task.
        by: Who.
        deliberate: Ids of the poses whose boxes were shown, so that it is drawn beside them on purpose.
    """

    sample: SampleKey
    box: Floats
    view: Floats
    region: str
    task: str
    by: str
    deliberate: frozenset[str]

    @property
    def pose(self) -> str:
        """The id of the pose to be: the same whenever the same answer is read."""
        return pose_id(self.sample[0], self.sample[2], self.box, self.task, self.region)


@dataclass(frozen=True, eq=False)
class BoxedPerson:
    """Somebody who was boxed and has no answered pose.

    Attributes:
        pose: Id of the pose to be.
        box: (4,) float64 xyxy in image pixels.
        task: Key of the task in which the person was boxed.
        by: Who did.
        asked: Whether a task of the person's own was sent already.
        drawn: The rectangles around the person, in the order of the answers' times.
    """

    pose: str
    box: Floats
    task: str
    by: str
    asked: bool
    drawn: tuple[Drawn, ...] = ()


def drawn_boxes(submitted: Submitted, answer: Answer, record: TaskRecord) -> tuple[list[Drawn], list[str]]:
    """The rectangles of an answer that are none of the task's own.

    Args:
        submitted: Who.
        answer: What was submitted; not void.
        record: The task.

    Returns:
        The rectangles; of those that cannot be used, why.
    """
    own = {image_region(record.task, i) for i in range(len(record.poses))}
    own.add(box_region(record.task))
    new = {region: percent for region, percent in answer.boxes.items() if region not in own}
    if Verdict.BAD_IMAGE in answer.verdict:
        return [], [f"{counted(len(new), 'box')} not used: the image was rejected"] * bool(new)
    deliberate = frozenset(record.poses if record.kind == IMAGE else ())
    drawn: list[Drawn] = []
    why: list[str] = []
    for region, percent in new.items():
        box = _within(record, percent)
        if not (box[2:] - box[:2]).min() >= LEAST:  # nor what is no number
            why.append(f"a box not used: less than {LEAST:g} pixels of it lie in the picture")
            continue
        drawn.append(Drawn(record.sample, box, _view(record), region, record.task, submitted.by, deliberate))
    return drawn, why


def boxed_people(
    answers: Iterable[Sequence[Drawn]], asked: Places, known: Places
) -> tuple[list[BoxedPerson], list[tuple[Drawn, str]]]:
    """Who was boxed in one image.

    Args:
        answers: The rectangles of each answer, in the order of the answers' times.
        asked: Boxes of the people who were boxed before and have a task of their own, by pose id.
        known: Places of all other poses that stand in the image, by id.

    Returns:
        The people for whom a rectangle stands; and rectangles around somebody who has a pose, with the words for it.
    """
    people = [(BoxedPerson(pose, box, "", "", True), EVERYWHERE) for pose, box in asked.items()]
    named: dict[int, BoxedPerson] = {}
    refused: list[tuple[Drawn, str]] = []
    for drawn in answers:
        new = list[Drawn]()
        for one in drawn:
            others = {pose: place for pose, place in known.items() if pose not in one.deliberate}
            if pose := _overlapped(one, others):
                refused.append((one, f"a box not used: pose {pose} is there already"))
            else:
                new.append(one)
        alike = [
            [0.0 if person.pose in one.deliberate else _alike(one, person.box, view) for person, view in people]
            for one in new
        ]
        for one, i in zip(new, _pairs(alike), strict=True):
            if i is None:
                people.append((BoxedPerson(one.pose, one.box, one.task, one.by, False), one.view))
                i = len(people) - 1
            before, _ = people[i]
            mine = named.get(i, BoxedPerson(before.pose, before.box, one.task, one.by, before.asked))
            named[i] = replace(mine, drawn=(*mine.drawn, one))
    return list(named.values()), refused


def waiting_poses(people: Sequence[BoxedPerson], num_keypoints: int) -> Poses:
    """People as poses with a box and no keypoints, whose state says that they wait."""
    return Poses.create(
        num_keypoints,
        id=[person.pose for person in people],
        box=np.array([person.box for person in people]).reshape(-1, 4),
        by=[person.by for person in people],
        attributes=[{"state": BOXED, BOXED: person.task} for person in people],
    )


def standing_places(sample: Sample) -> dict[str, Floats]:
    """(4,) xyxy of every pose of an image that has a place and that nobody has rejected, by its id."""
    return {str(sample.poses.id[i]): place_of(sample.poses[i]) for i in shown_poses(sample)}


def people_line(sample: Sample) -> dict[str, Any]:
    """Who has a pose in an image and where, boxed people left out: a line of :data:`PEOPLE`."""
    boxed = [BOXED in attributes for attributes in sample.poses.attributes]
    places = standing_places(sample.with_poses(sample.poses.take(~np.array(boxed, bool))))
    return {"sample": list(sample.key), "people": {pose: place.tolist() for pose, place in places.items()}}


def read_people(path: Path) -> dict[SampleKey, dict[str, Floats]]:
    """Read lines of :func:`people_line`; nothing where there is no such file.

    Raises:
        FormatError: A line is damaged.
    """
    found: dict[SampleKey, dict[str, Floats]] = {}
    for number, data in enumerate(read_lines(path), start=1):
        try:
            a, b, c = data["sample"]
            people: Mapping[str, Any] = data["people"]
            found[a, b, c] = {pose: np.array(place, np.float64).reshape(4) for pose, place in people.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{error!r}", record=f"line {number}", subject=str(path)) from error
    return found


def _within(record: TaskRecord, percent: Sequence[float]) -> Floats:
    """(4,) xyxy of a rectangle, as far as it lies in what the task shows; plain floats, as they may be huge."""
    x, y, width, height = percent
    left, right = (min(max(value, 0.0), 100.0) for value in sorted((x, x + width)))
    top, bottom = (min(max(value, 0.0), 100.0) for value in sorted((y, y + height)))
    return record.frame.box_to_image([left, top, right - left, bottom - top])


def _view(record: TaskRecord) -> Floats:
    return record.frame.box_to_image([0.0, 0.0, 100.0, 100.0])


def _overlapped(one: Drawn, places: Places) -> str:
    """The id of the place that a box overlaps most, where that is enough to be the same person; else ""."""
    alike = {pose: _alike(one, place, EVERYWHERE) for pose, place in places.items()}
    return (
        max(alike, key=lambda pose: alike[pose]) if max(alike.values(), default=0.0) >= DEFAULT_RULE.match_iou else ""
    )


def _alike(one: Drawn, box: Floats, view: Floats) -> float:
    """IoU of a rectangle with another box in what both tasks show; 0 where that holds less than half of either."""
    low, high = np.maximum(one.view[:2], view[:2]), np.minimum(one.view[2:], view[2:])
    a, b = (np.clip(whole, [*low, *low], [*high, *high]) for whole in (one.box, box))
    share = max(_area(a) / _area(one.box), _area(b) / _area(box) if _area(box) > 0 else 0.0)
    return float(box_iou(a[None], b[None])[0, 0]) if share >= LEAST_SEEN else 0.0


def _area(box: Floats) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0.0)))


def _pairs(alike: Sequence[Sequence[float]]) -> list[int | None]:
    """For each row the column that is the same person, each at most once, the best pairs first."""
    found: list[int | None] = [None] * len(alike)
    ranked = sorted(((value, i, j) for i, row in enumerate(alike) for j, value in enumerate(row)), reverse=True)
    for value, i, j in ranked:
        if value >= DEFAULT_RULE.match_iou and found[i] is None and j not in found:
            found[i] = j
    return found
