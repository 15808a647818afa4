"""People who were boxed and posed in one go, in a whole image: corrections of poses that were in no task.

``autolabel serve`` gives a drawn box its joints; or somebody places them by hand. Joints belong to the box that they
hang on, and one that hangs on nothing to the only box around it that lacks it. What the network had placed is known
from ``served.jsonl``, so that a joint that nobody touched stays the network's. Who is who among all boxes says
:mod:`pipelines.pull_boxes`, and a person whose box has no joint waits there for a task. Of several answers that pose
one person the last one counts; but whoever was answered in a task of their own stands as that says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from autolabel.labelstudio.answers import Answer, correction, read_answer
from autolabel.labelstudio.boxed import Drawn
from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.oddities import Oddity, tidy
from autolabel.labelstudio.smart import Served
from autolabel.labelstudio.tasks import IMAGE, REVIEW, TaskRecord
from autolabel.merge import BOXED, Correction
from autolabel.phrases import counted
from autolabel.poses import Pose, Poses
from autolabel.skeleton import Skeleton
from pipelines.pull_answers import Answers, Notice, Sent
from pipelines.pull_boxes import PeopleBoxed

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


def posed_people(boxed: PeopleBoxed, sent: Sent, answers: Answers, served: Mapping[str, Served]) -> list[Posed]:
    """Who was boxed and posed in all whole images.

    Args:
        boxed: Everybody who was boxed.
        sent: What the tasks showed.
        answers: What all answers come to; gets notices of joints and poses that are not used as they came.
        served: What boxes were given, by their region.

    Returns:
        Every pose that stands in some answer, in the order of the answers' times, several of one person too.
    """
    who = {drawn: person.pose for people in boxed.people.values() for person in people for drawn in person.drawn}
    found: list[Posed] = []
    for annotation, drawn in boxed.given:
        record = sent.records[annotation.task]
        if record.kind == IMAGE:
            reader = _ImageReader(annotation, record, sent.skeleton, served, answers.notices)
            people = reader.people(drawn, answers.understood[annotation.key])
            found += [_named(posed, who[one]) for one, posed in people if one in who]
    return found


def laid(posed: Iterable[Posed], answers: Answers) -> list[Posed]:
    """The posed people who stand as they were posed, each once; the answers get what was stated of them.

    Args:
        posed: From :func:`posed_people`.
        answers: What all answers come to.
    """
    last = {one.pose.id: one for one in posed}
    for pose in last.keys() & answers.corrections.keys():
        one, own = last.pop(pose).correction, answers.corrections[pose]
        what = f"posed by {one.by} at {one.when}; a task of their own counts, answered by {own.by} at {own.when}"
        answers.notices.append(Notice(one.task, pose, what, Oddity.OVERRULED, one.by))
    answers.corrections.update((pose, one.correction) for pose, one in last.items())
    return list(last.values())


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

    def people(self, drawn: Sequence[Drawn], answer: Answer) -> Iterator[tuple[Drawn, Posed]]:
        """Everybody whose box has a joint."""
        items, _ = tidy(self.annotation.result, self.record, self.skeleton)
        owned = self._owned([cast("Item", item) for item in items if isinstance(item, Mapping)], drawn, answer)
        for one in drawn:
            mine = owned[one.region]
            if any(item.get("type") == "keypointlabels" for item in mine):
                yield one, self._posed(one, mine)

    def _owned(self, items: Sequence[Item], drawn: Sequence[Drawn], answer: Answer) -> dict[str, list[Item]]:
        """The items of each box: itself, its joints and what is said of them."""
        boxes = {one.region: answer.boxes[one.region] for one in drawn}
        owned: dict[str, list[Item]] = {region: [] for region in boxes}
        labels: dict[str, set[str]] = {region: set() for region in boxes}
        loose: list[Item] = []
        owner = {region: region for region in boxes}
        elsewhere = lost = 0
        for item in items:
            if item.get("type") == "keypointlabels":
                parent = str(item.get("parentID") or "")
                if parent in boxes:
                    owner[str(item.get("id"))] = parent
                    labels[parent].add(_label(item))
                elif parent:
                    elsewhere += 1
                else:
                    loose.append(item)
        for item in loose:
            around = [
                region for region, box in boxes.items() if _holds(box, item) and _label(item) not in labels[region]
            ]
            if len(around) == 1:
                owner[str(item.get("id"))] = around[0]
                labels[around[0]].add(_label(item))
            else:
                lost += 1
        if elsewhere:
            hang = "hangs" if elsewhere == 1 else "they hang"
            what = f"{counted(elsewhere, 'joint')} not used: {hang} on a box that was not drawn here, or was not used"
            self._tell(what, Oddity.UNUSED_BOX)
        if lost:
            self._tell(f"{lost} joints not used: they hang on no box, and could be anybody's", Oddity.UNUSED_BOX)
        for item in items:
            if (region := owner.get(str(item.get("id")))) is not None:
                owned[region].append(item)
        return owned

    def _posed(self, one: Drawn, items: Sequence[Item]) -> Posed:
        answer = read_answer(items, self.skeleton, place="result", subject=f"annotation {self.annotation.annotation}")
        if answer.doubled:
            names = ", ".join(self.skeleton.keypoints[k] for k in dict.fromkeys(answer.doubled))
            self._tell(f"placed twice, the last was taken: {names}", Oddity.DOUBLED)
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

    def _tell(self, what: str, kind: Oddity) -> None:
        self.notices.append(Notice(self.record.task, "", what, kind, self.annotation.by))


def _holds(box: Sequence[float], item: Item) -> bool:
    value = cast("Item", item["value"])
    x, y, width, height = box
    return 0 <= float(value["x"]) - x <= width and 0 <= float(value["y"]) - y <= height


def _label(item: Item) -> str:
    labels = cast("Item", item["value"]).get("keypointlabels")
    return str(cast("list[Any]", labels)[0]) if isinstance(labels, list) and labels else ""
