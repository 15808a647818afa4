"""The student of a loop: distilled from the network in force, and again when that has changed enough.

After the gate of a round it is asked whether the student still says what its teacher says. There the teacher of today
and the one that the student learnt from label the same few hundred people; where they differ in more of them than
``student.refresh``, the student is distilled anew, from where it stands. It learns what people labelled, with the
teacher's word beside it, and from the rest of the corpus the teacher's word alone. Nothing that measures is among them.
Its doubt is its own, fitted anew in every round. ``student.json`` in the round's folder says what was decided and why;
it is written once.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.manifest import Manifest, write_text
from autolabel.merge import State
from autolabel.percent import percent
from pipelines.check import check
from pipelines.distill import distill_network
from pipelines.distill_student import TEACHER, student
from pipelines.fill import fill_open
from pipelines.loop_cascade import CALIBRATOR, STUDENT, STUDENT_CALIBRATOR, student_of
from pipelines.loop_doubt import calibrated, drawn_to_calibrate
from pipelines.loop_lessons import said_by_people
from pipelines.loop_predict import predicted_by
from pipelines.loop_state import Loop, kept_apart, to_learn_from
from pipelines.subset import with_poses
from pipelines.train import Portion

SAMPLE = 500
"""People whom two teachers are compared on."""

ALIKE = 0.9
"""OKS of two networks' poses of one person from which on they say the same."""

TAUGHT_SHARE = 0.5
"""Of every batch, for people of whom the teacher's word is all there is, where others are labelled."""

FEW = "too few checked poses are bad, or good, to tell what it doubts: corpus.calibration or random draws bring more"


def require_student(loop: Loop, n: int) -> None:
    """Refuse a student that could not be made of the network in force before round ``n``, before people are asked.

    Raises:
        ConfigError: A setting of ``[student]`` is unknown or impossible, or does not fit the network.
        SkeletonError: They have different keypoints.
    """
    asked = loop.project.student
    if not asked.steps:
        return
    from model.checkpoint import load_model
    from model.teacher import Teacher

    subject, seed = f"{loop.settings}: student", loop.project.rounds.seed
    teacher = load_model(loop.network(n - 1)[1], loop.project.network.dataset or None)
    begins = student(
        teacher,
        teacher.skeleton,
        asked.network,
        init=TEACHER,
        blocks="even",
        knowledge=False,
        seed=seed,
        subject=subject,
    )
    Teacher.of(teacher, begins.make())


def require_student_settings(loop: Loop) -> None:
    """Refuse a misspelt setting of ``[student]`` before any work.

    Raises:
        ConfigError: Names it.
    """
    asked = loop.project.student
    if not asked.steps:
        return
    from model.distil import Distillation
    from pipelines.train import read_settings

    subject = f"{loop.settings}: student"
    read_settings(asked.network, _training(loop, 0), subject)
    Distillation.parse(asked.distillation, subject=f"{subject}: distillation")


def refresh_student(loop: Loop, n: int, pulled: Manifest) -> Mapping[str, Any] | None:
    """Keep, make or refresh the student for round ``n``, once; the same however often it is called.

    Args:
        loop: The loop.
        n: The round; its gate decided.
        pulled: All answers so far.

    Returns:
        The content of ``student.json``; None where no student is asked for.

    Raises:
        ConfigError: The student does not fit the network in force.
        WorkError: Its loss is no longer finite.
    """
    here = loop.round(n)
    if (record := student_of(here)) is not None or not loop.project.student.steps:
        return record
    with loop.timed(here, "student"):
        record = _decided(loop, n, pulled)
    write_text(here / STUDENT, json.dumps(record, indent=2) + "\n")
    loop.progress.note(f"student of round {n}: {record['reason']}")
    return record


def _decided(loop: Loop, n: int, pulled: Manifest) -> dict[str, Any]:
    """Make what there is to make, and say what: the content of ``student.json``."""
    here, (owner, weights) = loop.round(n), loop.network(n)
    record: dict[str, Any] = {"state": "none", "changed": None, "student": None, "teacher": owner}
    record["doubt"] = loop.project.student.doubt
    drawn = drawn_to_calibrate(loop, n, pulled)
    of_teacher = calibrated(loop, weights, drawn, places=_places(loop.round(owner), "", here / "teacher-drawn"))
    if of_teacher is None:
        return {**record, "reason": f"none: {FEW}"}
    before = _student_before(loop, n)
    state, reason, changed = _state(loop, n, before)
    if state == "distilled":
        before = _distilled(loop, n, pulled, before)
    assert before is not None
    record |= {"state": state, "reason": reason, "changed": changed, "student": before}
    made = loop.round(before["round"])
    places = _places(made, "student-", here / "student-drawn")
    of_student = calibrated(loop, str(made / "student"), drawn, places=places)
    if of_student is None:
        return {**record, "state": "none", "reason": f"{reason}, but not used: {FEW}"}
    of_teacher.save(here / CALIBRATOR)
    of_student.save(here / STUDENT_CALIBRATOR)
    return record


def _places(kept: Path, prefix: str, drawn: Path) -> dict[str, Path]:
    """Where what a network says is kept: of what stays, with its round; of draws, which grow, with this one."""
    return {"calibration": kept / f"{prefix}calibration", "drawn": drawn}


def _student_before(loop: Loop, n: int) -> Mapping[str, Any] | None:
    """The last student that an earlier round distilled: its round, and its teacher's; None where none did."""
    for m in range(n - 1, -1, -1):
        record = student_of(loop.round(m))
        if record is not None and (known := record["student"]) is not None:
            return dict(known)
    return None


def _state(loop: Loop, n: int, before: Mapping[str, Any] | None) -> tuple[str, str, float | None]:
    """Whether the student is distilled or kept, why in words, and in how many people the teacher changed."""
    asked = loop.project.student
    if before is None:
        return "distilled", "distilled: it is the first", None
    if before["network"] != asked.network:
        return "distilled", "distilled: the settings ask for another student", None
    if loop.network(before["from"])[0] == loop.network(n)[0]:
        return "kept", "kept: the network in force is the one it learnt from", 0.0
    changed = _changed(loop, before["from"], n)
    said = f"the network in force places {percent(changed)} of people elsewhere than the one it learnt from"
    state = "distilled" if changed >= asked.refresh else "kept"
    return state, f"{state}: {said}", changed


def _changed(loop: Loop, old: int, n: int) -> float:
    """Share of a fixed sample of people whom the networks in force after two rounds place differently."""
    sample = _sample(loop)
    before, after = (predicted_by(loop, m, sample.path, "sample") for m in (old, n))
    oks = check(after, before).oks
    known = oks[np.isfinite(oks)]
    return float((known < ALIKE).mean()) if len(known) else 1.0


def _sample(loop: Loop) -> Manifest:
    """The people whom all teachers are compared on: drawn once, by the seed."""
    everything = Manifest.open(loop.round(0) / "predicted")
    ids = sorted(pose for i in range(everything.num_parts) for pose in everything.poses(i).id.tolist())
    rng = np.random.default_rng((loop.project.rounds.seed, SAMPLE))
    rows: list[int] = rng.permutation(len(ids))[:SAMPLE].tolist()
    return with_poses(everything, [ids[i] for i in rows], out=loop.round(0) / "to-compare", stage="select")


def _distilled(loop: Loop, n: int, pulled: Manifest, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Distil the student of round ``n``; one that was stopped goes on. What ``student.json`` says of it."""
    asked = loop.project.student
    goes_on = before is not None and before["network"] == asked.network
    labelled, pool = _people(loop, n, pulled)
    people = sum(manifest.counts["poses"] for manifest in labelled)
    rest = TAUGHT_SHARE if people else 1.0
    data = [Portion(one, (1 - TAUGHT_SHARE) * one.counts["poses"] / people) for one in labelled]
    distill_network(
        loop.network(n)[1],
        data,
        out=loop.round(n) / "student",
        unlabelled=[Portion(pool, rest)] if pool.counts["poses"] else [],
        dataset=loop.project.network.dataset,
        init=str(loop.round(before["round"]) / "student") if before is not None and goes_on else TEACHER,
        network={} if goes_on else asked.network,
        training=_training(loop, n),
        distillation=asked.distillation,
        subject=f"{loop.settings}: student",
        progress=loop.progress,
    )
    return {"round": n, "from": loop.network(n)[0], "network": asked.network}


def _training(loop: Loop, n: int) -> dict[str, Any]:
    asked = loop.project.student
    return {**asked.training, "steps": asked.steps, "seed": loop.project.rounds.seed + n}


def _people(loop: Loop, n: int, pulled: Manifest) -> tuple[list[Manifest], Manifest]:
    """Manifests of labelled people, and everybody else of the corpus; without what measures, and what is nobody."""
    here, learnt = loop.round(n), to_learn_from(loop, pulled)
    corrected = with_poses(pulled, learnt, out=here / "training", stage="select")
    stated = fill_open(corrected, said_by_people(loop.folder, corrected), None, out=here / "student-lessons").manifest
    labelled = [one for one in (stated, loop.manifest(loop.project.corpus.labelled)) if one and one.counts["poses"]]
    proof, images = kept_apart(loop)
    known = proof.union(learnt, _rejected(pulled))
    everything = Manifest.open(loop.round(0) / "predicted")
    rest = [p for s in everything if s.id not in images for p in s.poses.id.tolist() if p not in known]
    return labelled, with_poses(everything, rest, out=here / "student-pool", stage="select")


def _rejected(pulled: Manifest) -> set[str]:
    """Poses that people threw out: nobody is there."""
    poses = (pulled.poses(i) for i in range(pulled.num_parts))
    pairs = (pair for part in poses for pair in zip(part.id.tolist(), part.attributes, strict=True))
    return {pose for pose, attributes in pairs if attributes.get("state") == State.REJECTED}
