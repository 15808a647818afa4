"""A cold start: a project without labelled poses and without a network begins with what people place on bare images.

Round 0 then chooses ``rounds.first`` images that differ most (k-centre, by :mod:`pipelines.cold_features`), some of
them by lot, and shows them without any pre-label. Where ``corpus.boxes`` gives boxes, as many people are asked about,
each from another image as long as there are others. Where nobody gave boxes, people first draw a box around everybody
in these images, and then place the keypoints of each::

    rounds/00/cold/     corpus  cold.json  [encoder]  [routing  pulled  boxed  people]
    rounds/00/          routing  pulled  training  model  ...                       as in every later round

Answers to what was drawn by lot calibrate and are never learnt from; the first network learns from the others. Each
step is kept, so that a killed loop goes on with the same images and the same tasks.
"""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.errors import ConfigError, InputError
from autolabel.formats.records import read_json
from autolabel.labelstudio.images import image_key
from autolabel.labelstudio.tasks import IMAGE
from autolabel.manifest import COMMIT, Existing, Manifest, Parent, write_manifest, write_text
from autolabel.merge import BOXED, State
from autolabel.phrases import counted
from autolabel.poses import Poses
from autolabel.repeats import Repeats
from autolabel.run import DONE, Run, RunState
from autolabel.skeleton import Skeleton
from autolabel.stop_rule import budget_left
from pipelines.cold_boxing import (
    ALONE,
    PEOPLE,
    SampleKey,
    alone,
    boxed_people,
    boxed_queue,
    nobody,
    people_task,
    teaches,
    told,
    write_boxed,
    write_people,
)
from pipelines.cold_choice import choose, write_routing
from pipelines.cold_features import ENCODER, Askable, given_encoder, looks_of, network_of
from pipelines.loop_review import reviewed
from pipelines.loop_state import COLD, Loop, asked_skeleton, to_learn_from
from pipelines.pull import PullResult
from pipelines.route import ROUTING
from pipelines.scan import scan
from pipelines.subset import with_poses
from pipelines.train import train_network

RECORD = "cold.json"
"""In the folder of a cold start: what was chosen, and how."""


def cold_start(loop: Loop) -> Manifest | None:
    """Have people place the first poses, where a project has neither labelled poses nor a pose network.

    Args:
        loop: The loop; its round 0 is not finished.

    Returns:
        Their answers; None for a project that starts from labelled poses or from a network.

    Raises:
        Waiting: People have tasks to answer, or all that they answered so far is of no use.
        ConfigError: The settings name no skeleton.
        InputError: There is no image that could be asked about.
    """
    if loop.project.corpus.labelled or (loop.project.network.weights and not given_encoder(loop)):
        return None
    here = loop.round(0)
    if not (here / "routing" / ROUTING).is_file():
        _ask(loop, here)
    return reviewed(loop, here, lacks=partial(_nothing_to_learn, loop))


def first_network(loop: Loop, answers: Manifest | None) -> int:
    """Train the network of before any review, where the settings give no pose network.

    Args:
        loop: The loop.
        answers: Of a cold start; None trains on ``corpus.labelled``.

    Returns:
        How many of people's poses it learnt from.

    Raises:
        ConfigError: A setting of the network or the training is wrong.
        CheckpointError: The encoder that it starts from does not fit it.
    """
    here, project = loop.round(0), loop.project
    encoder, learnt = given_encoder(loop), loop.manifest(project.corpus.labelled)
    if answers is not None:
        learnt = with_poses(answers, to_learn_from(loop, answers), out=here / "training", stage="select")
    if learnt is None or (project.network.weights and not encoder):
        return 0
    whole = None
    if answers is not None and boxed_corpus(loop):
        whole = alone(learnt, Manifest.open(here / COLD / BOXED), here / COLD / ALONE)
    own = here / COLD / ENCODER
    with loop.timed(here, "train"):
        train_network(
            [(learnt, 1.0), (whole, 1.0)] if whole else [(learnt, 1.0)],
            out=here / "model",
            init=encoder or (str(own) if (own / DONE).is_file() else ""),
            network=network_of(loop, encoder),
            training=project.training,
            subject=loop.settings,
            progress=loop.progress,
        )
    return 0 if answers is None else learnt.counts["poses"]


def boxed_corpus(loop: Loop) -> Path | None:
    """The corpus with the people whom a cold start had boxed; None where nobody had to be."""
    people = loop.round(0) / COLD / PEOPLE
    return people if (people / COMMIT).is_file() else None


def cold_record(loop: Loop) -> dict[str, Any] | None:
    """What ``round.json`` says of a cold start; None where there was none."""
    file = loop.round(0) / COLD / RECORD
    if not file.is_file():
        return None
    record = read_json(file)
    return {name: record[name] for name in ("looks", "boxes", "candidates")} | {
        "chosen": len(record["chosen"]),
        "by_lot": len(record["by_lot"]),
    }


def _ask(loop: Loop, here: Path) -> None:
    """Choose whom to ask about; where nobody gave boxes, have people boxed first. Each step is done once."""
    skeleton, cold = _skeleton(loop), here / COLD
    if not (cold / RECORD).is_file():
        loop.progress.note("a cold start: there are no labelled poses and no pose network, so people label first")
    asked = _askable(loop, cold / "corpus", skeleton)
    if not (cold / RECORD).is_file():
        with loop.timed(here, "choose"):
            _choose(loop, asked, cold)
    record = read_json(cold / RECORD)
    if record["boxes"]:
        drawn = set(record["by_lot"])
        queue = [people_task(pose, by_lot=pose in drawn) for pose in record["chosen"]]
        write_routing(here / "routing", asked.corpus, queue)
        return
    if not (cold / "routing" / ROUTING).is_file():
        images = [{"pose": "", "kind": IMAGE, "blind": False, "image": key} for key in record["chosen"]]
        write_routing(cold / "routing", asked.corpus, images)
    sent = str(read_json(cold / "routing" / ROUTING)["digest"])
    tasks = {image_key(sent, key) for key in _keys(record["chosen"])}
    answers = reviewed(loop, cold, lacks=lambda pulled: nobody(tasks, pulled.manifest))
    boxes = write_boxed(asked.corpus, boxed_people(answers, tasks), cold / BOXED)
    loop.progress.note(told(boxes))
    write_people(asked.corpus, boxes, _keys(record["chosen"]), cold / PEOPLE)
    write_routing(here / "routing", boxes, boxed_queue(boxes, _keys(record["by_lot"]), loop.project.rounds.seed))


def _skeleton(loop: Loop) -> Skeleton:
    skeleton = asked_skeleton(loop)
    if skeleton is None:
        raise ConfigError(
            "gives neither network.weights nor corpus.labelled, and no corpus.skeleton to label anew",
            subject=loop.settings,
            remedy="Name the skeleton that people are to place, or give a checkpoint to label with, or labelled poses.",
        )
    return skeleton


def _askable(loop: Loop, out: Path, skeleton: Skeleton) -> Askable:
    """The corpus in the project's skeleton, with the boxes that are given and without any keypoint."""
    settings = loop.project.corpus
    source = loop.path(settings.boxes) if settings.boxes else loop.folder / "scanned"
    if not settings.boxes:
        scan(loop.path(settings.images), out=source, progress=loop.progress)
    given = Manifest.open(source)
    with Run.open(out, COLD, config={"skeleton": skeleton.to_dict()}, inputs={"manifest": given.digest}) as run:
        if run.state is not RunState.DONE:
            bare = (sample.with_poses(_bare(sample.poses, skeleton.num_keypoints)) for sample in given)
            parents = [Parent("manifest", given.digest)]
            write_manifest(out, bare, skeleton, given.roots, stage=COLD, parents=parents, existing=Existing.OVERWRITE)
    corpus = Manifest.open(out)
    return Askable(corpus, people=any(len(sample.poses) for sample in Askable(corpus, people=True)))


def _bare(poses: Poses, num_keypoints: int) -> Poses:
    """Boxes with their ids, and who was rejected."""
    states = [attributes.get("state") for attributes in poses.attributes]
    kept: dict[str, Any] = {name: getattr(poses, name) for name in ("id", "box", "box_score", "area", "crowd", "group")}
    attributes = [{"state": state} if state == State.REJECTED else {} for state in states]
    return Poses.create(num_keypoints, **kept, attributes=attributes)


def _choose(loop: Loop, asked: Askable, cold: Path) -> None:
    """Write ``cold.json``: the ids of people, or the keys of images, in the order in which they are asked about."""
    rounds = loop.project.rounds
    first = _first(loop, people=asked.people)
    looks = looks_of(loop, asked, cold)
    different, drawn = choose(looks.embedding, Repeats.of(asked), first, rounds.random_share, rounds.seed)
    if not len(different):
        raise InputError(
            "holds nothing that people could label: no image of it can be read",
            subject=str(asked.corpus.roots),
            remedy="Put images there, or give a manifest of boxes as corpus.boxes.",
        )
    mixed = np.random.default_rng(rounds.seed).permutation(np.concatenate([different, drawn])).tolist()
    names = asked.names(mixed)
    record = {
        "looks": looks.made_by,
        "boxes": asked.people,
        "candidates": len(looks.embedding),
        "chosen": [names[row] for row in mixed],
        "by_lot": [names[row] for row in drawn.tolist()],
    }
    what = counted(len(mixed), "person" if asked.people else "image")
    loop.progress.note(f"people label {what} of {len(looks.embedding):,} first, chosen by {looks.made_by}")
    if 2 * len(mixed) > len(looks.embedding):
        loop.progress.note(
            f"WARNING: that is most of the corpus, all by hand: rounds.first = {first} is meant for a small part of it"
        )
    write_text(cold / RECORD, json.dumps(record, indent=2) + "\n")


def _first(loop: Loop, *, people: bool) -> int:
    """How many are asked about: ``rounds.first``, or what ``rounds.budget_total`` allows.

    Where nobody gave boxes, an image costs two tasks at least: one that boxes, and one for somebody in a box.

    Raises:
        ConfigError: The budget of all rounds does not allow two.
    """
    rounds, annotators = loop.project.rounds, loop.project.labelstudio.annotators
    first = budget_left(rounds.first, 0, rounds.budget_total, annotators if people else 2 * annotators)
    if first < 2:
        raise ConfigError(
            f"rounds.budget_total = {rounds.budget_total} allows no cold start",
            subject=loop.settings,
            remedy="Raise it: a first network needs the poses of two images at least.",
        )
    if first < rounds.first:
        what = "people" if people else "images"
        loop.progress.note(
            f"rounds.budget_total allows {first} {what} to begin with, not rounds.first = {rounds.first}"
        )
    return first


def _keys(images: Iterable[Any]) -> set[SampleKey]:
    """Keys of images, out of JSON."""
    return {(a, b, c) for a, b, c in images}


def _nothing_to_learn(loop: Loop, pulled: PullResult) -> str:
    """What people still have to do where no answer places a joint of a person, in words; "" where one does."""
    wanted = set(to_learn_from(loop, pulled.manifest))
    for sample in pulled.manifest:
        ids = sample.poses.id[teaches(sample.poses)].tolist()
        if not wanted.isdisjoint(ids):
            return ""
    which = f"none of the {counted(pulled.answered, 'answer')}" if pulled.answered else "no answer that can be used"
    return (
        f"reviewers: {which} places keypoints that a first network could learn from. Have the answers changed in "
        "Label Studio"
    )
