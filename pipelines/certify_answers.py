"""Reading what people answered, for a certificate: what stands, and what was only asked for to check it.

``pull`` writes both into one folder: the manifest and ``corrections.jsonl`` hold the answers that stand;
``checks.jsonl`` the other answers to audited poses and drawn keypoints, and those to planted and blind tasks;
``images.jsonl`` what was found in whole images. Answers to another routing's tasks are told apart by their task keys.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autolabel.digests import population_digest
from autolabel.errors import InputError
from autolabel.formats.records import Record
from autolabel.labelstudio.folder import read_lines
from autolabel.labelstudio.images import image_key
from autolabel.labelstudio.tasks import AUDIT, BLIND, KEYPOINT, PLANTED, task_key
from autolabel.manifest import Manifest
from autolabel.merge import CORRECTIONS, SETTLED, Correction, State, read_corrections
from autolabel.poses import Poses
from pipelines.certify_population import poses_in_order
from pipelines.certify_read import IMAGES, Routing, SampleKey, sample_key
from pipelines.pull_answers import CHECKS


@dataclass(frozen=True)
class ImageFinding:
    """What one person found in a whole image: people without a box, and boxes without a person."""

    sample: SampleKey
    missed: int
    nobody: frozenset[str]


@dataclass(frozen=True, eq=False)
class Answers:
    """All answers that belong to a routing.

    Attributes:
        standing: The m audited poses as people left them, in the order of the audit.
        rejected: (m,) those that people rejected.
        others: Further answers to audited poses, for which the pre-label was shown.
        blind: Answers to audited poses that were given without seeing the network's pose.
        planted: Answers to planted poses.
        keypoints: All answers to the poses of drawn keypoints; each of these has one that is settled.
        images: What was found in the drawn images; an image may have been answered more than once.
        digest: Of all of it.
    """

    standing: Poses
    rejected: NDArray[np.bool_]
    others: tuple[Correction, ...]
    blind: tuple[Correction, ...]
    planted: tuple[Correction, ...]
    keypoints: tuple[Correction, ...]
    images: tuple[ImageFinding, ...]
    digest: str


def read_answers(audit: str | Path, routing: Routing) -> Answers:
    """Read the answers to a routing's tasks.

    Args:
        audit: The manifest that ``pull`` wrote.
        routing: Whose tasks they answer.

    Raises:
        InputError: An answer is missing; a planted pose without one is merely not found, as in an ordinary task that
            nobody looked at.
        FormatError: A file is malformed.
    """
    manifest = Manifest.open(audit)
    routing.manifest.skeleton.require_same(manifest.skeleton, str(manifest.path))
    standing = _standing(manifest, routing)
    checks, k = manifest.path / CHECKS, manifest.skeleton.num_keypoints
    if (routing.blind or routing.plants) and not checks.is_file():
        raise InputError("there is no such file", subject=str(checks), remedy="Run `autolabel pull` again.")
    beside = read_corrections(checks, k) if checks.is_file() else []
    blind = _of_tasks(beside, routing, BLIND, routing.blind)
    audited, no_others = set(routing.audit), {task_key(routing.digest, pose, BLIND) for pose in routing.blind}
    answers = Answers(
        standing=standing,
        rejected=np.array([a["state"] == State.REJECTED for a in standing.attributes], bool),
        others=tuple(c for c in beside if c.pose in audited and c.task not in no_others),
        blind=blind,
        planted=_of_tasks(beside, routing, PLANTED, routing.plants),
        keypoints=_keypoints(manifest, beside, routing),
        images=_images(manifest.path / IMAGES, routing),
        digest="",
    )
    _require_all(routing.blind, (c.pose for c in blind if c.state in SETTLED), "blind tasks", checks)
    return replace(answers, digest=_digest(answers))


def _standing(manifest: Manifest, routing: Routing) -> Poses:
    """The audited poses as people left them; what another task's answer left is no answer to the audit's."""
    file, foreign = manifest.path / CORRECTIONS, set[str]()
    if file.is_file():
        own = {pose: task_key(routing.digest, pose, AUDIT) for pose in routing.audit}
        corrections = read_corrections(file, manifest.skeleton.num_keypoints)
        foreign = {c.pose for c in corrections if own.get(c.pose, c.task) != c.task}
    every = [poses.take(_settled(poses)) for poses in map(manifest.poses, range(manifest.num_parts))]
    parts = [poses.take(np.array([pose not in foreign for pose in poses.id], bool)) for poses in every]
    found = poses_in_order(parts, routing.audit, manifest.skeleton.num_keypoints, str(manifest.path))
    _require_all(routing.audit, found.id.tolist(), "audited poses", manifest.path)
    return found


def _settled(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses that a person decided about; one sent on to an expert is not decided."""
    return np.array([a.get("state") in SETTLED for a in poses.attributes], bool)


def _of_tasks(found: Iterable[Correction], routing: Routing, kind: str, poses: Sequence[str]) -> tuple[Correction, ...]:
    tasks = {task_key(routing.digest, pose, kind): pose for pose in poses}
    return tuple(c for c in found if tasks.get(c.task) == c.pose)


def _keypoints(manifest: Manifest, beside: Sequence[Correction], routing: Routing) -> tuple[Correction, ...]:
    poses = tuple(dict.fromkeys(pose for pose, _ in routing.keypoints))
    if not poses:
        return ()
    file = manifest.path / CORRECTIONS
    corrections = read_corrections(file, manifest.skeleton.num_keypoints)
    answered = _of_tasks([*corrections, *beside], routing, KEYPOINT, poses)
    _require_all(poses, (c.pose for c in answered if c.state in SETTLED), "poses with drawn keypoints", file)
    return answered


def _images(file: Path, routing: Routing) -> tuple[ImageFinding, ...]:
    keys = {image_key(routing.digest, sample): sample for sample in routing.images}
    found: list[ImageFinding] = []
    for number, data in enumerate(read_lines(file), start=1):
        line = Record(data, f"line {number}", str(file))
        sample = sample_key(line)
        if keys.get(line.text("task")) == sample:
            nobody = frozenset(str(pose) for pose in line.items("nobody"))
            missed = line.number("missed")
            if missed < 0 or not missed.is_integer():
                line.fail("missed", f"is {missed:g}, expected a number of people")
            found.append(ImageFinding(sample, int(missed), nobody))
    answered = (_path(finding.sample) for finding in found)
    _require_all([_path(sample) for sample in routing.images], answered, "drawn images", file)
    return tuple(found)


def _path(sample: SampleKey) -> str:
    return f"{sample[1]}/{sample[2]}"


def _require_all(asked: Sequence[str], answered: Iterable[str], what: str, where: Path) -> None:
    if missing := sorted(set(asked).difference(answered)):
        raise InputError(
            f"{len(missing)} of {len(asked)} {what} have no answer, such as {missing[0]}",
            subject=str(where),
            remedy="Finish these tasks in Label Studio, then run `autolabel pull` and this command again.",
        )


def _digest(answers: Answers) -> str:
    """Of everything that was answered; of the standing answers alone where nothing else was."""
    head = [population_digest(answers.standing), sorted(answers.standing.id[answers.rejected].tolist())]
    given = [*answers.others, *answers.blind, *answers.planted, *answers.keypoints]
    more = sorted(json.dumps(c.to_dict(), sort_keys=True) for c in given)
    more += sorted(json.dumps([i.sample, i.missed, sorted(i.nobody)]) for i in answers.images)
    return hashlib.sha256(json.dumps([*head, more] if more else head).encode()).hexdigest()
