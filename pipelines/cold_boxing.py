"""The part of a cold start that a corpus without boxes needs: who was boxed, and how the other images are labelled.

People draw a box around everybody in the images that were chosen. Each of these is then asked about, and stands in the
corpus from then on, under the same id. An image that nobody was shown is labelled whole, as one person; so that the
first network knows people of that size, it also learns from those who are alone in their image in such a box.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.labelstudio.tasks import REVIEW
from autolabel.manifest import Existing, Manifest, Parent, write_manifest
from autolabel.merge import BOXED
from autolabel.phrases import counted
from autolabel.poses import Poses, Sample
from autolabel.run import Run, RunState
from pipelines.cold_features import with_whole_image
from pipelines.merge_boxed import boxes_of

PEOPLE = "people"
"""In it, where nobody gave boxes, the corpus as it is labelled from then on: who was boxed, else whole images."""

ALONE = "alone"
"""In it, likewise, those who are alone in their image, in boxes as large as the image: so the others are labelled."""

_CALIBRATION = "calibration"
SampleKey = tuple[str, str, str]


def people_task(pose: str, *, by_lot: bool) -> dict[str, Any]:
    """The task that asks about somebody in a box, without a pre-label; what is drawn by lot calibrates."""
    return {"pose": pose, "kind": _CALIBRATION if by_lot else REVIEW, "blind": True}


def boxed_people(answers: Manifest, tasks: Collection[str]) -> dict[SampleKey, Poses]:
    """Who was boxed in some tasks, by image: those who wait for a pose, and those who were answered already.

    A round 0 that is done again, because its folder is gone, finds everybody answered, and asks about nobody twice.

    Args:
        answers: What ``pull`` wrote.
        tasks: Keys of tasks about whole images.

    Returns:
        People without keypoints in the order of their ids, with what marks them as boxed.
    """
    waiting = boxes_of(answers)
    found: dict[SampleKey, dict[str, tuple[list[float], str]]] = {}
    for sample in chain(answers, waiting or ()):
        for pose, box, attributes in zip(sample.poses.id, sample.poses.box, sample.poses.attributes, strict=True):
            if (task := str(attributes.get(BOXED, ""))) in tasks:
                found.setdefault(sample.key, {})[str(pose)] = (box.tolist(), task)
    k = answers.skeleton.num_keypoints
    return {
        key: Poses.create(
            k,
            id=sorted(people),
            box=[people[pose][0] for pose in sorted(people)],
            attributes=[{"state": BOXED, BOXED: people[pose][1]} for pose in sorted(people)],
        )
        for key, people in found.items()
    }


def write_boxed(corpus: Manifest, people: Mapping[SampleKey, Poses], out: Path) -> Manifest:
    """The manifest of everybody who was boxed, in the order of the corpus; it is asked about.

    Args:
        corpus: All images.
        people: By image.
        out: The folder to write.
    """
    boxed = (sample.with_poses(people[sample.key]) for sample in corpus if sample.key in people)
    parents = [Parent("manifest", corpus.digest)]
    return write_manifest(
        out, boxed, corpus.skeleton, corpus.roots, stage=BOXED, parents=parents, existing=Existing.OVERWRITE
    )


def boxed_queue(boxes: Manifest, by_lot: Collection[SampleKey], seed: int) -> list[dict[str, Any]]:
    """A task for everybody who was boxed; where all of them are in images drawn by lot, all are learnt from.

    Args:
        boxes: Everybody who was boxed.
        by_lot: Keys of the images that were drawn by lot.
        seed: Of the order.
    """
    drawn = {pose: sample.key in by_lot for sample in boxes for pose in sample.poses.id.tolist()}
    calibrates = not all(drawn.values())
    order = np.random.default_rng(seed).permutation(sorted(drawn)).tolist()
    return [people_task(pose, by_lot=calibrates and drawn[pose]) for pose in order]


def write_people(corpus: Manifest, boxes: Manifest, asked: Collection[SampleKey], out: Path) -> None:
    """The corpus to label: whoever was boxed; nobody where nobody was boxed; and whole images that nobody was shown.

    Args:
        corpus: All images.
        boxes: Everybody who was boxed.
        asked: Keys of the images that people were shown.
        out: The folder to write.
    """
    k = corpus.skeleton.num_keypoints
    boxed = {s.key: Poses.create(k, id=s.poses.id, box=s.poses.box) for s in boxes}

    def people() -> Iterator[Sample]:
        for sample in corpus:
            shown = sample.key in asked
            yield sample.with_poses(boxed.get(sample.key, Poses.empty(k))) if shown else with_whole_image(sample)

    inputs = {"manifest": corpus.digest, "boxes": boxes.digest}
    with Run.open(out, PEOPLE, config={}, inputs=inputs) as run:
        if run.state is not RunState.DONE:
            parents = [Parent(role, digest) for role, digest in inputs.items()]
            write_manifest(
                out,
                people(),
                corpus.skeleton,
                corpus.roots,
                stage=PEOPLE,
                parents=parents,
                existing=Existing.OVERWRITE,
            )


def alone(learnt: Manifest, boxes: Manifest, out: Path) -> Manifest | None:
    """The poses of people who are alone in their image, in the box that the network will get in the images not shown.

    Args:
        learnt: What the first network learns from.
        boxes: Everybody who was boxed.
        out: The folder to write.

    Returns:
        None where nobody is alone: then the network never sees anybody as small as the other images show them.
    """
    lone = {sample.key for sample in boxes if len(sample.poses) == 1}
    chosen = [sample for sample in learnt if sample.key in lone and teaches(sample.poses).all()]
    if not chosen:
        return None
    with Run.open(out, ALONE, config={}, inputs={"manifest": learnt.digest, "boxes": boxes.digest}) as run:
        if run.state is RunState.DONE:
            return Manifest.open(out)
        whole = (s.with_poses(s.poses.replace(box=np.array([[0.0, 0.0, *s.size]]))) for s in chosen)
        return write_manifest(
            out,
            whole,
            learnt.skeleton,
            learnt.roots,
            stage=ALONE,
            parents=[Parent("manifest", learnt.digest)],
            existing=Existing.OVERWRITE,
        )


def teaches(poses: Poses) -> NDArray[np.bool_]:
    """(N,) people from whom a network can learn a keypoint: in a box, no crowd, and somebody placed one of theirs."""
    return np.isfinite(poses.box).all(axis=1) & ~poses.crowd & poses.labelled.any(axis=1)


def told(boxes: Manifest) -> str:
    """What came of the boxes, in words, and whether this corpus can do without a detector's."""
    several = sum(len(sample.poses) > 1 for sample in boxes)
    text = f"{counted(boxes.counts['poses'], 'person')} in boxes: the loop asks about them itself"
    if not several:
        return text
    return (
        f"{text}. WARNING: {several} of the {counted(len(boxes), 'image')} with people show several, but an image that "
        "nobody was shown is labelled as one person. Give a detector's boxes as corpus.boxes, in a new project"
    )


def nobody(tasks: Collection[str], answers: Manifest) -> str:
    """What people still have to do where they boxed nobody in any of these tasks, in words; "" where they did."""
    if boxed_people(answers, tasks):
        return ""
    return (
        f"reviewers: nobody is boxed in any of the {counted(len(tasks), 'image')} that were shown. Have the answers "
        "changed in Label Studio: a box around everybody who is to get a pose"
    )
