"""What all steps of the loop share: where things lie, whose turn it is, and what may be learnt from."""

import json
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autolabel.formats.records import Record, read_json
from autolabel.labelstudio.exports import read_export, standing
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.images import IMAGES, image_key, read_images
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.tasks import AUDIT, BLIND, IMAGE, KEYPOINT, KINDS, TO_GATE, read_task_map, task_key
from autolabel.manifest import COMMIT, Manifest, write_text
from autolabel.merge import CORRECTIONS, SETTLED, State, read_corrections
from autolabel.poses import Sample
from autolabel.progress import Progress
from autolabel.project import FILE, Project, read_project
from autolabel.promotion import Decision
from autolabel.run import DONE
from autolabel.skeleton import Skeleton
from pipelines.certify import SPENT
from pipelines.loop_wait import Patience
from pipelines.pull_answers import CHECKS, Sent
from pipelines.push_queue import read_routing

ROUND = "round.json"
CERTIFICATE = "certificate.json"
CLOSED = "closed.json"
"""Says that a step has taken in its answers: what is answered later belongs to the next one."""

GATE = "gate.json"
"""Says whether a round's new network replaces the one before it, and why."""

COLD = "cold"
"""The folder of a cold start, in round 0's."""

FILLED = "filled"
"""Folder of a round's training poses beside the corrections, and of what was filled in."""

HELD = "held.txt"
"""A routing's list of poses that resemble those of its audit."""

_SECONDS = "seconds.json"
_UNDER_WAY = "under way"
"""Names the step there that has begun; the file's own time is when."""

_PROOF = frozenset(KINDS) - {"review", BLIND}
"""Kinds of tasks whose answers measure, and from which a network must never learn. A blind answer is laid over nothing;
its pose is audited, and then has a task of that kind too, or it is a decoy, and may be learnt from as reviewed.
"""

_FITS_CALIBRATOR = frozenset({"calibration", "random"})
_DEVELOPS = frozenset({"development"})
_GATES = frozenset({TO_GATE})
_JUDGED = frozenset({AUDIT, BLIND, KEYPOINT, IMAGE})
"""Kinds of tasks without whose answers an audit cannot be judged."""


class Reviewer(Protocol):
    """Who answers the tasks of a project: nobody here in real use, a simulation in the demo."""

    def review(self, project: str | Path) -> int:
        """Answer open tasks; returns how many."""
        ...


class Waiting(Exception):
    """Somebody has to do something before the loop can go on; the message says who and what."""


@dataclass(frozen=True)
class Loop:
    """A project on its way.

    Attributes:
        folder: The project.
        project: Its settings.
        reviewer: Who answers at once, if anybody does.
        truth: Truth for measuring, if it is known.
        progress: Where to report.
        patience: How to wait for people; None to return and say what is waited for.
    """

    folder: Path
    project: Project
    reviewer: Reviewer | None
    truth: Manifest | None
    progress: Progress
    patience: Patience | None = None

    @property
    def settings(self) -> str:
        """The settings' file, as errors call it."""
        return str(self.folder / FILE)

    @property
    def audit(self) -> Path:
        """The folder of the last step."""
        return self.folder / "audit"

    def round(self, n: int) -> Path:
        """The folder of a round."""
        return self.folder / "rounds" / f"{n:02d}"

    def finished(self, n: int) -> bool:
        """Whether a round is finished."""
        return (self.round(n) / ROUND).is_file()

    def path(self, setting: str) -> Path:
        """A path of the settings, relative to the project."""
        return self.folder / setting

    def manifest(self, setting: str) -> Manifest | None:
        """A manifest of the settings; None where none is given."""
        return Manifest.open(self.path(setting)) if setting else None

    def network(self, n: int) -> tuple[int, str]:
        """The last round up to ``n`` whose network is in force, and its weights; before any, those of the settings.

        A network that its round's gate refused is never in force.
        """
        for m in range(n, -1, -1):
            if (self.round(m) / "model" / DONE).is_file() and promoted(self.round(m)):
                return m, str(self.round(m) / "model")
        weights = self.project.network.weights
        return 0, str(self.path(weights)) if self.path(weights).exists() else weights

    @contextmanager
    def timed(self, here: Path, step: str) -> Generator[None]:
        """Add the time of a block to a step's, in the folder's ``seconds.json``.

        The step that begins is noted there, so that :func:`settle_seconds` knows of one in which the process is killed.
        """
        here.mkdir(parents=True, exist_ok=True)
        _note_seconds(here, {**read_seconds(here), _UNDER_WAY: step})
        start = time.perf_counter()
        try:
            yield
        finally:
            _spend(here, step, time.perf_counter() - start)


def promoted(here: Path) -> bool:
    """Whether a round's gate let its new network pass; a round without a gate lets every one pass.

    Raises:
        FormatError: ``gate.json`` is malformed.
    """
    file = here / GATE
    if not file.is_file():
        return True
    record = Record(read_json(file), "", str(file))
    decision, known = record.text("decision"), [decision.value for decision in Decision]
    if decision not in known:
        record.fail("decision", f"is {decision!r}, expected one of: {', '.join(known)}")
    return decision == Decision.PROMOTED


def read_seconds(here: Path) -> dict[str, float]:
    """Time by step of a folder's steps so far; not yet that of a step which is under way."""
    return {step: spent for step, spent in _noted_seconds(here).items() if not isinstance(spent, str)}


def settle_seconds(folder: Path) -> None:
    """Add the time of steps in which a process was killed, until the last file that it wrote into their folder.

    Call it before anything is written there again. What such a step did after that file is lost, and its time with it.

    Args:
        folder: The project, held by the caller.
    """
    for here in (*round_folders(folder), folder / "rounds" / "00" / COLD, folder / "audit"):
        step = _noted_seconds(here).get(_UNDER_WAY)
        if isinstance(step, str):
            begun = (here / _SECONDS).stat().st_mtime
            _spend(here, step, max(_written(here), begun) - begun)


def _written(here: Path) -> float:
    """When a file below a folder was written last; one that vanishes meanwhile does not count."""
    last = 0.0
    for file in here.rglob("*"):
        with suppress(FileNotFoundError):
            last = max(last, file.lstat().st_mtime)
    return last


def _spend(here: Path, step: str, seconds: float) -> None:
    """Add time to a step's that has ended."""
    spent = read_seconds(here)
    _note_seconds(here, {**spent, step: spent.get(step, 0.0) + seconds})


def _noted_seconds(here: Path) -> dict[str, float | str]:
    file = here / _SECONDS
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _note_seconds(here: Path, noted: Mapping[str, float | str]) -> None:
    write_text(here / _SECONDS, json.dumps(noted) + "\n")


def asked_skeleton(loop: Loop) -> Skeleton | None:
    """The skeleton that the settings ask for, if they do."""
    name = loop.project.corpus.skeleton
    if not name:
        return None
    return Skeleton.load(loop.path(name) if loop.path(name).is_file() else name)


def round_folders(folder: Path) -> list[Path]:
    """The folders of a project's rounds, in their order; a copy under another name beside them is none."""
    return sorted(
        (here for here in (folder / "rounds").glob("*") if here.name.isdecimal()), key=lambda here: int(here.name)
    )


def last_pulled(folder: Path) -> Path | None:
    """The newest answers of a project: those of the audit, or of its last round that has any."""
    cold = folder / "rounds" / "00" / COLD / "pulled"
    found = [cold, *(here / "pulled" for here in round_folders(folder)), folder / "audit" / "pulled"]
    finished = [pulled for pulled in found if (pulled / COMMIT).is_file() and (pulled / CORRECTIONS).is_file()]
    return finished[-1] if finished else None


def to_learn_from(loop: Loop, pulled: Manifest) -> list[str]:
    """Ids of the answered poses that a network may be trained on.

    Left out are poses that were drawn to measure it, poses that an unspent audit holds because they resemble its own,
    images of the calibration, test and base manifests, poses and images that people rejected, and what was left to an
    expert.
    """
    proof, images = kept_apart(loop)
    samples = (s for s in pulled if s.id not in images and s.attributes.get("state") != State.REJECTED)
    return sorted(pose for pose, state in _states(samples) if state == State.REVIEWED and pose not in proof)


def kept_apart(loop: Loop) -> tuple[set[str], set[str]]:
    """What nothing may be learnt from, because it measures: ids of poses, and ids of images."""
    corpus = loop.project.corpus
    measuring = (corpus.calibration, corpus.test, corpus.base)
    images = {sample.id for part in measuring for sample in loop.manifest(part) or ()}
    return _drawn_as_proof(loop.folder, _PROOF) | _held(loop.folder), images


def taught(folder: Path) -> set[str]:
    """Ids of the poses of which some round's network learnt, or was to learn, what the one before it said."""
    parts = (here / FILLED / "accepted" / "poses" for here in round_folders(folder))
    made = (Manifest.open(part) for part in parts if (part / COMMIT).is_file())
    return {pose for one in made for i in range(one.num_parts) for pose in one.poses(i).id.tolist()}


def to_calibrate_on(loop: Loop, pulled: Manifest) -> list[str]:
    """Ids of the settled poses that rounds drew at random to calibrate on."""
    drawn = _drawn_as_proof(loop.folder, _FITS_CALIBRATOR) - taught(loop.folder)
    return sorted(pose for pose, state in _states(pulled) if state in SETTLED and pose in drawn)


def to_develop_on(loop: Loop, pulled: Manifest) -> list[str]:
    """Ids of the settled poses that rounds drew at random to choose by, which neither network nor calibrator saw."""
    drawn = _drawn_as_proof(loop.folder, _DEVELOPS) - taught(loop.folder)
    return sorted(pose for pose, state in _states(pulled) if state in SETTLED and pose in drawn)


def to_gate_by(loop: Loop, pulled: Manifest) -> list[str]:
    """Ids of the settled poses that rounds drew at random to compare networks by, used up or not."""
    drawn = _drawn_as_proof(loop.folder, _GATES)
    return sorted(pose for pose, state in _states(pulled) if state in SETTLED and pose in drawn)


def open_tasks(folder: Path) -> tuple[int, int]:
    """How many tasks of a project wait for an answer, and how many were sent; reads exports, changes nothing."""
    review = ReviewFolder.of(folder)
    if not read_task_map(review.taskmap):
        return 0, 0
    sent = Sent.read(review)
    journal = Journal.read(review.journal)
    for file in sorted(review.exports.glob("*.json")):
        for task in read_export(file, sent.records, sent.skeleton):
            journal.look_at(task.annotations)
    answers = standing(journal.entries)
    return sum(task not in answers for task in sent.records), len(sent.records)


def waits_for_reviewers(folder: Path) -> str:
    """What a loop waits for while tasks have no answer, and what to do about it; empty when all have one."""
    unanswered, sent = open_tasks(folder)
    if not unanswered:
        return ""
    waiting, server = f"reviewers: {unanswered} of {sent} tasks have no answer", read_project(folder).labelstudio
    if server.url and server.project:
        where = f"{server.url}/projects/{server.project}"
        return f"{waiting} here. They are at {where}; `autolabel loop run {folder}` fetches what was answered there"
    exchange = folder / "labelstudio"
    return (
        f"{waiting}. Import {exchange / 'tasks'} into Label Studio, and put its JSON export into {exchange / 'exports'}"
    )


def undecided(folder: Path, routing: Path, pulled: Manifest) -> tuple[list[str], list[str]]:
    """What keeps an audit from being judged, though all its tasks have some answer.

    Args:
        folder: The project.
        routing: The audit's routing.
        pulled: All answers.

    Returns:
        What was left to an expert or answered in a way that cannot be used, and what has no task because its image
        cannot be read; both in words.
    """
    plan, known = read_routing(routing), read_task_map(ReviewFolder.of(folder).taskmap)
    k = pulled.skeleton.num_keypoints
    standing, checks = (
        {c.task for c in read_corrections(pulled.path / name, k) if c.state in SETTLED}
        for name in (CORRECTIONS, CHECKS)
    )
    done = standing | checks | {finding.task for finding in read_images(pulled.path / IMAGES)}
    unanswered: list[str] = []
    unshown: list[str] = []
    audited = {entry.pose for entry in plan.queue if entry.kind == AUDIT}
    for entry in plan.queue:
        decoy = entry.kind == BLIND and entry.pose not in audited
        if entry.kind not in _JUDGED or decoy:
            continue
        task = image_key(plan.digest, entry.image) if entry.image else task_key(plan.digest, entry.pose, entry.kind)
        if task in (standing if entry.kind == AUDIT else done):  # of an audited pose, the audit's own has to stand
            continue
        what = f"image {entry.image[2]}" if entry.image else f"pose {entry.pose}"
        (unanswered if task in known else unshown).append(what)
    return unanswered, unshown


def _held(folder: Path) -> set[str]:
    """Poses that audits which are not spent hold back."""
    lists = [here / "routing" / HELD for here in (*round_folders(folder), folder / "audit")]
    open_ = (file for file in lists if file.is_file() and not (file.parent / SPENT).is_file())
    return {pose for file in open_ for pose in file.read_text(encoding="utf-8").split()}


def _drawn_as_proof(folder: Path, kinds: frozenset[str]) -> set[str]:
    records = read_task_map(ReviewFolder.of(folder).taskmap)
    return {record.pose for record in records.values() if record.kind in kinds}


def _states(samples: "Manifest | Iterator[Sample]") -> Iterator[tuple[str, str]]:
    """The id and the state of every pose."""
    for sample in samples:
        for pose, attributes in zip(sample.poses.id.tolist(), sample.poses.attributes, strict=True):
            yield pose, str(attributes.get("state", ""))
