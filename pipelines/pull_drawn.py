"""People who were boxed and posed in one go, in a whole image: corrections of poses that were in no task.

``autolabel serve`` gives a drawn box its joints; or somebody places them by hand. Joints belong to the box that they
hang on, and one that hangs on nothing to the only box around it that lacks it. What the network had placed is known
from ``served.jsonl``, so that a joint that nobody touched stays the network's. A box without any joint is left to
:mod:`pipelines.pull_boxes`: such a person waits for a task. Of several answers that box one person the last one counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from autolabel.labelstudio.answers import Answer, correction, read_answer
from autolabel.labelstudio.boxed import Drawn, drawn_boxes
from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.oddities import Oddity, tidy
from autolabel.labelstudio.smart import Served
from autolabel.labelstudio.tasks import IMAGE, REVIEW, TaskRecord
from autolabel.merge import BOXED, Correction
from autolabel.poses import Pose, Poses
from autolabel.similarity import DEFAULT_RULE, box_iou
from autolabel.skeleton import Skeleton
from pipelines.pull_answers import Notice, Sent

Item = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Posed:
    """Somebody who was boxed and posed.

    Attributes:
        correction: What was stated, of the pose to be.
        pose: As it stood before the person touched it: the network's, or a box alone.
        record: The task.
        annotation: The server's number of the answer.
    """

    correction: Correction
    pose: Pose
    record: TaskRecord
    annotation: str

    def poses(self) -> Poses:
        """The pose as one row, which tells that it was boxed."""
        names = ("xy", "score", "presence", "visibility", "box", "origin")
        fields: dict[str, Any] = {name: [getattr(self.pose, name)] for name in names}
        said = [{BOXED: self.record.task}]
        return Poses.create(len(self.pose.xy), id=[self.pose.id], by=[self.pose.by], attributes=said, **fields)


def posed_people(
    annotations: Mapping[str, Sequence[Annotation]],
    sent: Sent,
    understood: Mapping[tuple[str, str], Answer],
    served: Mapping[str, Served],
    notices: list[Notice],
) -> list[Posed]:
    """Who was boxed and posed in all whole images.

    Args:
        annotations: The standing ones by task.
        sent: What the tasks showed.
        understood: What each usable annotation says, by its key.
        served: What boxes were given, by their region.
        notices: Gets a line for joints that could be anybody's.
    """
    given = [
        (annotation, sent.records[task])
        for task, mine in annotations.items()
        if task in sent.records and sent.records[task].kind == IMAGE
        for annotation in mine
        if annotation.key in understood
    ]
    people: dict[tuple[str, str, str], list[_Somebody]] = {}
    for annotation, record in sorted(given, key=lambda pair: (pair[0].time, pair[0].key)):
        reader = _ImageReader(annotation, record, sent.skeleton, served, notices)
        there = people.setdefault(record.sample, [])
        before = list(there)  # two boxes of one answer are always two people
        for drawn, posed in reader.people(understood[annotation.key]):
            same = next((one for one in before if _same(one.drawn, drawn)), None)
            if same is None:
                there.append(_Somebody(drawn, posed))
            elif posed is not None:
                same.posed = _named(posed, same.drawn.pose)
    return [one.posed for mine in people.values() for one in mine if one.posed is not None]


@dataclass
class _Somebody:
    """Who was boxed first here, and the last pose that was given to them."""

    drawn: Drawn
    posed: Posed | None


def _same(one: Drawn, other: Drawn) -> bool:
    return float(box_iou(one.box[None], other.box[None])[0, 0]) >= DEFAULT_RULE.match_iou


def _named(posed: Posed, pose: str) -> Posed:
    return replace(posed, correction=replace(posed.correction, pose=pose), pose=replace(posed.pose, id=pose))


@dataclass(frozen=True)
class _ImageReader:
    """Reads one answer to a task about a whole image."""

    annotation: Annotation
    record: TaskRecord
    skeleton: Skeleton
    served: Mapping[str, Served]
    notices: list[Notice]

    def people(self, answer: Answer) -> Iterator[tuple[Drawn, Posed | None]]:
        """Everybody who was boxed; None with those without a joint."""
        drawn, _ = drawn_boxes(self.annotation, answer, self.record)
        items, _ = tidy(self.annotation.result, self.record, self.skeleton)
        owned = self._owned([cast("Item", item) for item in items if isinstance(item, Mapping)], drawn, answer)
        for one in drawn:
            mine = owned[one.region]
            yield one, self._posed(one, mine) if any(item.get("type") == "keypointlabels" for item in mine) else None

    def _owned(self, items: Sequence[Item], drawn: Sequence[Drawn], answer: Answer) -> dict[str, list[Item]]:
        """The items of each box: itself, its joints and what is said of them."""
        boxes = {one.region: answer.boxes[one.region] for one in drawn}
        owned: dict[str, list[Item]] = {region: [] for region in boxes}
        labels: dict[str, set[str]] = {region: set() for region in boxes}
        loose: list[Item] = []
        owner = {region: region for region in boxes}
        for item in items:
            if item.get("type") == "keypointlabels":
                parent = str(item.get("parentID", ""))
                if parent in boxes:
                    owner[str(item.get("id"))] = parent
                    labels[parent].add(_label(item))
                else:
                    loose.append(item)
        lost = 0
        for item in loose:
            around = [
                region for region, box in boxes.items() if _holds(box, item) and _label(item) not in labels[region]
            ]
            if len(around) == 1:
                owner[str(item.get("id"))] = around[0]
                labels[around[0]].add(_label(item))
            else:
                lost += 1
        if lost:
            what = f"{lost} joints not used: they hang on no box, and could be anybody's"
            self.notices.append(Notice(self.record.task, "", what, Oddity.UNUSED_BOX, self.annotation.by))
        for item in items:
            if (region := owner.get(str(item.get("id")))) is not None:
                owned[region].append(item)
        return owned

    def _posed(self, one: Drawn, items: Sequence[Item]) -> Posed:
        answer = read_answer(items, self.skeleton, place="result", subject=f"annotation {self.annotation.annotation}")
        served = self.served.get(one.region)
        if served is not None and served.task == self.record.task and len(served.xy) == self.skeleton.num_keypoints:
            pose = replace(served.pose(), id=one.pose)
            named = replace(self.record, task=served.name, kind=REVIEW, model=served.by, poses=())
        else:
            pose = Poses.create(self.skeleton.num_keypoints, id=[one.pose], box=[one.box])[0]
            named = replace(self.record, kind=REVIEW, blind=True, poses=())
        said = correction(self.annotation, answer, named, pose, self.skeleton)
        # The time and the click to submit are the image's.
        said = replace(said, task=self.record.task, seconds=None, clicks=said.clicks - 1)
        return Posed(said, pose, replace(self.record, model=named.model), self.annotation.annotation)


def _holds(box: Sequence[float], item: Item) -> bool:
    value = cast("Item", item["value"])
    x, y, width, height = box
    return 0 <= float(value["x"]) - x <= width and 0 <= float(value["y"]) - y <= height


def _label(item: Item) -> str:
    labels = cast("Item", item["value"]).get("keypointlabels")
    return str(cast("list[Any]", labels)[0]) if isinstance(labels, list) and labels else ""
