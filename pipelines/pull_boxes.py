"""Who was boxed in all answers and waits for a pose: the manifest of boxed people that ``pull`` writes.

It stands beside the corrections, in ``OUT/boxes``, only where there is somebody. ``autolabel predict`` gives these
people keypoints, ``autolabel push`` of what it wrote sends each of them as an ordinary task, and ``autolabel merge``
adds those who were answered to their images; the others it adds too, as people who wait. Whoever was boxed once and is
no more, because a rectangle was drawn anew or deleted, is named in ``OUT/retracted.jsonl``: such a one waits no longer.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autolabel.labelstudio.answers import Answer
from autolabel.labelstudio.boxed import (
    PEOPLE,
    BoxedPerson,
    Drawn,
    SampleKey,
    boxed_people,
    drawn_boxes,
    read_people,
    standing_places,
    waiting_poses,
)
from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.frame import Floats
from autolabel.labelstudio.oddities import Oddity, understand
from autolabel.labelstudio.tasks import BLIND, PLANTED, TaskRecord
from autolabel.manifest import Existing, Parent, write_manifest, write_text
from autolabel.merge import BOXED, BOXES, RETRACTED, Correction, State
from autolabel.phrases import counted
from autolabel.poses import Sample
from pipelines.pull_answers import Notice, Sent


@dataclass(frozen=True, eq=False)
class Boxed:
    """Everybody who was boxed and has no answered pose.

    Attributes:
        samples: Their images, each with a pose a person: a box, no keypoints, the state "boxed".
        waiting: How many they are.
        unasked: How many of them have no task of their own yet.
        retracted: Ids of people who were boxed in some answer, and whom no answer boxes any more; each with the key of
            the task in which that was.
    """

    samples: list[Sample]
    waiting: int
    unasked: int
    retracted: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class PeopleBoxed:
    """Everybody who was boxed in the answers that stand.

    Attributes:
        given: Each answer with its rectangles, in the order of the answers' times.
        samples: The images in which somebody drew, as they were sent.
        people: Who was boxed in each of them.
    """

    given: Sequence[tuple[Annotation, Sequence[Drawn]]]
    samples: Mapping[SampleKey, Sample]
    people: Mapping[SampleKey, Sequence[BoxedPerson]]


def read_people_boxed(
    annotations: Mapping[str, Sequence[Annotation]],
    sent: Sent,
    corrections: Mapping[str, Correction],
    understood: Mapping[tuple[str, str], Answer],
    notices: list[Notice],
) -> PeopleBoxed:
    """Work out who was boxed, posed at once or not.

    Args:
        annotations: The standing ones by task, in the order of their times.
        sent: What the tasks showed.
        corrections: The standing answers to tasks of one pose, by pose id: whom they reject stands nowhere.
        understood: What each usable annotation says, by its key.
        notices: Gets a line for every rectangle that was not used.
    """
    given = _drawn(annotations, sent, lambda annotation, _: understood.get(annotation.key), notices)
    drawn = _by_image(given)
    images = _Images.of(sent, drawn, corrections)
    people: dict[SampleKey, list[BoxedPerson]] = {}
    for key in images.samples:
        people[key], refused = boxed_people(drawn[key], images.asked[key], images.known[key])
        notices += [
            Notice(one.task, sent.records[one.task].pose, why, Oddity.UNUSED_BOX, one.by) for one, why in refused
        ]
    return PeopleBoxed(given, images.samples, people)


def read_boxed(
    boxed: PeopleBoxed,
    annotations: Mapping[str, Sequence[Annotation]],
    sent: Sent,
    corrections: Mapping[str, Correction],
    journal: Iterable[Annotation] = (),
) -> Boxed:
    """Work out who of the boxed people waits for a pose.

    Args:
        boxed: Everybody who was boxed.
        annotations: The standing ones by task.
        sent: What the tasks showed.
        corrections: The standing answers by pose id, of posed people too: whom they answer waits no more.
        journal: Every version of every annotation, those that were overruled or deleted too.
    """
    samples: list[Sample] = []
    people: list[BoxedPerson] = []
    for key, found in boxed.people.items():
        if open_ := [person for person in found if person.pose not in corrections]:
            samples.append(boxed.samples[key].with_poses(waiting_poses(open_, sent.skeleton.num_keypoints)))
            people += open_
    overruled = _overruled(journal, annotations)
    before = _drawn(overruled, sent, lambda old, record: understand(old, record, sent.skeleton).answer, [])
    ever = {one.pose: one.task for _, mine in (*before, *boxed.given) for one in mine}
    stand = corrections.keys() | {person.pose for person in people}
    retracted = {pose: task for pose, task in ever.items() if pose not in stand}
    return Boxed(samples, len(people), sum(not person.asked for person in people), retracted)


def write_boxed(out: Path, boxed: Boxed, sent: Sent, parents: Sequence[Parent]) -> None:
    """Write the boxed people below a pull's folder, if there are any, and beside them who is boxed no more."""
    lines = ({"pose": pose, "task": task} for pose, task in sorted(boxed.retracted.items()))
    write_text(out / RETRACTED, "".join(json.dumps(line) + "\n" for line in lines))
    if boxed.samples:
        write_manifest(
            out / BOXES,
            boxed.samples,
            sent.skeleton,
            sent.roots,
            stage="pull",
            parents=parents,
            existing=Existing.OVERWRITE,
        )


def what_to_do(boxed: Boxed, out: Path, project: str | Path) -> str:
    """The commands by which the people who have no task yet get one."""
    return (
        f"{counted(boxed.unasked, 'boxed person')} without a pose. A cold start asks about them itself; else "
        f"`autolabel predict {out / BOXES} --weights W --out boxed.m` gives each a pose, and `autolabel push boxed.m "
        f"--project {project}` asks about it"
    )


def _drawn(
    annotations: Mapping[str, Sequence[Annotation]],
    sent: Sent,
    read: Callable[[Annotation, TaskRecord], Answer | None],
    notices: list[Notice],
) -> list[tuple[Annotation, list[Drawn]]]:
    """Every answer that has any with its rectangles, in the order of the answers' times."""
    found: list[tuple[Annotation, list[Drawn]]] = []
    for annotation, record in _of_tasks(annotations, sent):
        answer = read(annotation, record)  # what cannot be used is told with its pose
        if answer is None or annotation.fault:
            continue
        mine, why = drawn_boxes(annotation, answer, record)
        if mine and record.kind in (PLANTED, BLIND):
            mine, why = [], [*why, f"{counted(len(mine), 'box')} not used: this task checks its reviewer"]
        notices += [Notice(record.task, record.pose, text, Oddity.UNUSED_BOX, annotation.by) for text in why]
        if mine:
            found.append((annotation, mine))
    return sorted(found, key=lambda pair: (pair[0].time, pair[0].key))


def _by_image(given: Iterable[tuple[Annotation, list[Drawn]]]) -> dict[SampleKey, list[list[Drawn]]]:
    images: dict[SampleKey, list[list[Drawn]]] = {}
    for _, mine in given:
        images.setdefault(mine[0].sample, []).append(mine)
    return images


def _overruled(
    journal: Iterable[Annotation], standing: Mapping[str, Sequence[Annotation]]
) -> dict[str, list[Annotation]]:
    """The versions of answers that count no more, by task."""
    count = {(*entry.key, entry.updated) for mine in standing.values() for entry in mine}
    versions: dict[str, list[Annotation]] = {}
    for entry in journal:
        if not (entry.skipped or entry.deleted) and (*entry.key, entry.updated) not in count:
            versions.setdefault(entry.task, []).append(entry)
    return versions


def _of_tasks(annotations: Mapping[str, Sequence[Annotation]], sent: Sent) -> Iterator[tuple[Annotation, TaskRecord]]:
    for task, mine in annotations.items():
        if record := sent.records.get(task):
            yield from ((annotation, record) for annotation in mine)


@dataclass(frozen=True, eq=False)
class _Images:
    """The images in which somebody drew.

    Attributes:
        samples: As they were sent.
        asked: Boxes of people who were boxed before and have a task of their own.
        known: Places of everybody else who has a pose there.
    """

    samples: dict[SampleKey, Sample]
    asked: dict[SampleKey, dict[str, Floats]]
    known: dict[SampleKey, dict[str, Floats]]

    @classmethod
    def of(cls, sent: Sent, wanted: Container[SampleKey], corrections: Mapping[str, Correction]) -> "_Images":
        planted = {record.pose for record in sent.records.values() if record.kind == PLANTED}
        images = cls({}, defaultdict(dict), defaultdict(dict))
        for manifest in sent.manifests.values():
            for key, people in read_people(manifest.path / PEOPLE).items():
                if key in wanted:
                    images.known[key].update(people)
            for sample in manifest:
                if sample.key in wanted:
                    images._add(sample, planted)
        for people in images.known.values():
            for pose in people.keys() & corrections.keys():
                _answered(people, corrections[pose])
        return images

    def _add(self, sample: Sample, planted: Container[str]) -> None:
        self.samples.setdefault(sample.key, sample)
        boxed = {
            pose
            for pose, attributes in zip(sample.poses.id, sample.poses.attributes, strict=True)
            if BOXED in attributes
        }
        for pose, place in standing_places(sample).items():
            if pose not in planted:
                (self.asked if pose in boxed else self.known)[sample.key][pose] = place


def _answered(people: dict[str, Floats], correction: Correction) -> None:
    """Put somebody where the answer says, or away."""
    if correction.state is State.REJECTED:
        del people[correction.pose]
    elif not np.isnan(correction.after.box[0]):
        people[correction.pose] = correction.after.box
