"""``autolabel cascade``: a fast student labels everybody, and its teacher whom the student doubts.

The student's own calibrator says whom it doubts. Those people are labelled once more by the teacher, in the same boxes
and under the same ids; all others keep what the student said. In the end each pose is scored by the calibrator of the
network that placed it, beside the people that stand around it then.

Images with doubted people are decoded twice: who is doubted is known when the student has seen all of them, and to keep
images until then would take memory. Every step goes on where it was stopped, part by part; the steps lie in ``steps``
below the result and are removed when it is complete.
"""

import json
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.formats.records import read_json
from autolabel.manifest import PART_SIZE, Existing, Manifest, ManifestWriter, write_text
from autolabel.prediction_record import Predicted
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState, file_digest
from pipelines.calibrators import Calibrators
from pipelines.cascade_networks import Boxes, Labeller, Manner
from pipelines.cascade_poses import STAGE, doubted, require_choice, write_doubted, write_mixed
from pipelines.lint import Linter
from pipelines.parts import QUARANTINE
from pipelines.predict import PredictResult, is_manifest, open_source
from pipelines.predicted import predicted_how
from pipelines.score import CALIBRATOR, Scorer, evidence_of, score, score_parts

STEPS = "steps"
"""Folder of what is needed only until the result is complete."""

RECORD = "cascade.json"
"""In the result: who placed how many poses, and how long it took."""

STUDENT, TEACHER, REST = "student", "teacher", "rest"
"""What time is counted by."""


@dataclass(frozen=True)
class CascadeResult:
    """What a cascade made.

    Attributes:
        manifest: Its manifest, scored.
        student: Poses that the student placed.
        teacher: Poses that the teacher placed.
        asked: Poses that the teacher was asked about; the student's stands where the teacher could not answer.
        threshold: The lowest ``p_bad`` that the student gave to one of those; None where nobody was doubted.
        seconds: By the student, the teacher and for the rest, in the calls that worked on it; what a killed one did
            to a part that it did not finish is not in it.
        predicted: What became of the images and boxes, as in ``predict``'s summary.
    """

    manifest: Manifest
    student: int
    teacher: int
    asked: int
    threshold: float | None
    seconds: Mapping[str, float]
    predicted: Mapping[str, int]

    @property
    def people_per_second(self) -> float:
        """Poses placed, by the whole time."""
        total = sum(self.seconds.values())
        return (self.student + self.teacher) / total if total else float("nan")

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "student": self.student,
            "teacher": self.teacher,
            "asked": self.asked,
            "threshold": self.threshold,
            "seconds": dict(self.seconds),
            "people_per_second": self.people_per_second,
            **self.predicted,
        }

    def told(self) -> str:
        """For a person."""
        took = {name: f"{self.seconds.get(name, 0.0):,.1f} s" for name in (STUDENT, TEACHER, REST)}
        lines = [
            f"{self.manifest.path}: {self.student + self.teacher:,} people, {self.people_per_second:.3g} a second",
            f"{self.student:,} placed by the student, which looked at all of them in {took[STUDENT]}",
            f"{self.teacher:,} placed by the teacher in {took[TEACHER]}; {took[REST]} for the rest",
        ]
        if self.asked > self.teacher:
            lines.append(
                f"{self.asked - self.teacher:,} doubted by the student, and left as they are: see {QUARANTINE}"
            )
        return "\n".join(lines)


def cascade(
    source: str | Path,
    *,
    student: str | Path,
    teacher: str | Path,
    out: str | Path,
    student_calibrator: str | Path | None = None,
    teacher_calibrator: str | Path | None = None,
    doubt: float | None = None,
    share: float | None = None,
    dataset: str | None = None,
    boxes: str | Path | None = None,
    boxes_images: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    flip_test: bool = False,
    batch_size: int = 32,
    part_size: int = PART_SIZE,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> CascadeResult:
    """Label every box by a student, and those that it doubts by its teacher.

    Args:
        source: A manifest folder, or a folder of images, as ``predict`` takes them.
        student: The fast network, as ``distill`` leaves it.
        teacher: The slow one.
        out: The manifest to write.
        student_calibrator: What tells whom the student doubts; by default ``calibrator.json`` in its folder. The
            student predicts in the way that it was fitted for, with the quality head beside it if it was fitted to one.
        teacher_calibrator: The same for the teacher. Where there is none, the poses that it placed have no ``p_bad``
            and are never accepted without a person.
        doubt: From which ``p_bad`` on the teacher is asked, 0.1 where ``share`` is not given either.
        share: Or the most doubtful, such a share of all.
        dataset: Expert and head of a ViTPose++ teacher.
        boxes: COCO annotations or results that give the boxes.
        boxes_images: With COCO results, the COCO file that names the images.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``: as the calibrators were fitted; or ``fp32``, ``bf16`` or ``fp16``.
        flip_test: A teacher without a calibrator predicts the mirrored crop, too.
        batch_size: Crops a batch.
        part_size: Images a part, where a folder of images is scanned, and of those that the teacher sees.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: The student has no calibrator; a calibrator is for something else; ``predict``'s reasons.
        SkeletonError: The networks have different skeletons.
        ConfigError: ``doubt`` and ``share`` are both given, or impossible; no such device, precision or calibrator.
        CheckpointError: No such weights, or no such quality head.
        ExistsError: ``out`` holds another result.
    """
    require_choice(doubt, share)
    out, manner = Path(out), Manner(device, precision, flip_test, batch_size)
    boxed = is_manifest(source) and Manifest.open(source).counts["poses"] > 0
    given: Boxes = "file" if boxes is not None else "manifest" if boxed else "whole-image"
    first = Labeller.read(student, student_calibrator, manner, boxes=given)
    second = Labeller.read(teacher, teacher_calibrator, manner, boxes=given, dataset=dataset)
    _require_pair(first, second, progress)
    # Only now, because a folder of images is scanned.
    manifest = open_source(source, out, part_size=part_size, overwrite=overwrite, progress=progress)
    inputs = {"manifest": manifest.digest, STUDENT: first.digest, TEACHER: second.digest}
    inputs |= {role: file_digest(path) for role, path in _files(first, second, boxes, boxes_images).items()}
    config = {"doubt": doubt, "share": share, "part_size": part_size, **vars(manner)}
    work = _Work(manifest, first, second, manner, out, doubt, share, part_size, boxes, boxes_images, inputs, progress)
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, STAGE, config=config, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            work.run()
        shutil.rmtree(out / STEPS, ignore_errors=True)
        result = CascadeResult(manifest=Manifest.open(out), **read_json(out / RECORD))
    if result.predicted["quarantined"]:
        progress.note(f"{result.predicted['quarantined']:,} images were set aside, see {out / QUARANTINE}")
    if result.teacher and second.calibrator is None:
        progress.note("the teacher has no calibrator: what it placed has no p_bad, and is never accepted unseen")
    return result


def _require_pair(student: Labeller, teacher: Labeller, progress: Progress) -> None:
    """Refuse two networks that are no cascade, and warn of one that is no use.

    Raises:
        InputError: The student has no calibrator.
        SkeletonError: The skeletons differ.
    """
    student.skeleton.require_same(teacher.skeleton, teacher.weights)
    if student.calibrator is None:
        raise InputError(
            "has no calibrator, so that nobody can tell what it doubts",
            subject=student.weights,
            remedy="Distil it with [doubt], or fit one with `autolabel calibrate` and give --student-calibrator.",
        )
    if student.digest == teacher.digest:
        progress.note("WARNING: student and teacher are the same network: nobody is labelled twice.")


def _files(
    student: Labeller, teacher: Labeller, boxes: str | Path | None, boxes_images: str | Path | None
) -> dict[str, str | Path]:
    """The files that are read, by role."""
    files = {
        "student calibrator": student.file,
        "teacher calibrator": teacher.file,
        "boxes": boxes,
        "boxes_images": boxes_images,
    }
    return {role: path for role, path in files.items() if path is not None}


@dataclass(frozen=True)
class _Work:
    """A cascade to be done, or gone on with, in an open run."""

    source: Manifest
    student: Labeller
    teacher: Labeller
    manner: Manner
    out: Path
    doubt: float | None
    share: float | None
    part_size: int
    boxes: str | Path | None
    boxes_images: str | Path | None
    inputs: Mapping[str, str]
    progress: Progress

    def run(self) -> None:
        """All steps; those that are finished are read."""
        steps = self.out / STEPS
        with _timed(steps, STUDENT):
            said = self._asked(self.student, self.source, boxes=self.boxes, boxes_images=self.boxes_images)
        with _timed(steps, REST):
            calibrator = self.student.file
            scored = score(said.manifest.path, out=steps / "scored", calibrator=calibrator, progress=self.progress)
            which, threshold = self._doubted(scored.manifest)
            hard = write_doubted(scored.manifest, which, steps / "doubted", part_size=self.part_size)
        looks, corrected = [said], None
        if count := hard.counts["poses"]:
            self.progress.note(f"the student doubts {count:,} of {len(which):,} people: the teacher labels them")
            with _timed(steps, TEACHER):
                looks.append(self._asked(self.teacher, hard))
                corrected = looks[-1].manifest
        with _timed(steps, REST):
            mixed = write_mixed(said.manifest, corrected, steps / "mixed", asked=self._second)
            writer = self._scored(mixed)
            placed = np.concatenate([mixed.poses(i).by for i in range(mixed.num_parts)])
        aside = [(look.manifest.path / QUARANTINE).read_text(encoding="utf-8") for look in looks]
        write_text(self.out / QUARANTINE, "".join(aside))
        record = {
            "student": int((placed == self.student.by).sum()),
            "teacher": 0 if corrected is None else int((placed == self.teacher.by).sum()),
            "asked": count,
            "threshold": threshold,
            "seconds": _seconds(steps),
            "predicted": {name: said.summary()[name] for name in _TOLD},
        }
        write_text(self.out / RECORD, json.dumps(record, indent=2) + "\n")
        writer.commit()

    def _asked(self, network: Labeller, source: Manifest, **boxes: str | Path | None) -> PredictResult:
        name = STUDENT if network is self.student else TEACHER
        return network.predict(source.path, self.out / STEPS / name, self.manner, **boxes, progress=self.progress)

    @property
    def _second(self) -> Predicted | None:
        """How the teacher predicts, where it has a calibrator and is another network than the student."""
        apart = self.student.digest != self.teacher.digest
        return self.teacher.calibrator.predicted if apart and self.teacher.calibrator is not None else None

    def _doubted(self, scored: Manifest) -> tuple[NDArray[np.bool_], float | None]:
        """(N,) whom the teacher is asked about, and the lowest ``p_bad`` among them."""
        p_bad = np.concatenate([scored.poses(i).p_bad for i in range(scored.num_parts)])
        which = doubted(p_bad, self.doubt, self.share) & (self.student.digest != self.teacher.digest)
        return which, float(p_bad[which].min()) if which.any() else None

    def _scored(self, mixed: Manifest) -> ManifestWriter:
        """Each pose with the doubt of the calibrator of the network that placed it; not committed yet."""
        files = [self.student.file, self.teacher.file if self._second is not None else None]
        given = [file for file in files if file is not None]
        how = Calibrators.read(given, predicted_how(mixed), mixed.skeleton, evidence_of(mixed))
        parents = {role: digest for role, digest in self.inputs.items() if role not in _CALIBRATORS}
        parents[CALIBRATOR] = how.digest
        scorer = Scorer(mixed.skeleton, how, Linter(mixed))
        return score_parts(self.out, mixed, scorer, parents, self.progress, stage=STAGE)


_TOLD = ("quarantined", "whole_image", "unboxed", "suppressed", "larger_crops")
_CALIBRATORS = ("student calibrator", "teacher calibrator")


def _seconds(steps: Path) -> dict[str, float]:
    """How long was worked so far."""
    file = steps / "seconds.json"
    return read_json(file) if file.is_file() else {}


@contextmanager
def _timed(steps: Path, name: str) -> Generator[None]:
    """Add the time that something takes to what was worked so far."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds = _seconds(steps)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
        if steps.is_dir():
            write_text(steps / "seconds.json", json.dumps(seconds) + "\n")
