"""What a cascade is worth: time saved against the teacher alone, and quality kept, at several doubts.

Half of the validation images calibrate student and teacher, on the other half they label: the student alone, both as a
cascade at each doubt, the teacher alone. Time is from image files to a scored manifest.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autolabel.evaluate import evaluate
from autolabel.manifest import Manifest
from benchmarks.distillation_plan import FINAL, VALIDATION
from pipelines import calibrate
from pipelines.cascade import cascade
from pipelines.check import Checked, check
from pipelines.predict import predict
from pipelines.predicted import predicted_how
from pipelines.score import score
from pipelines.subset import with_poses

DOUBTS = (0.5, 0.3, 0.2, 0.1, 0.05)
THRESHOLD = 0.1


class Validation(Protocol):
    """Who is labelled, by kind: ``benchmarks.distillation_data.People``, or a few in a test."""

    def truth(self, name: str) -> Manifest:
        """With their labels."""
        ...

    def boxes(self, name: str) -> Manifest:
        """With boxes alone."""
        ...


@dataclass(frozen=True)
class Halves:
    """Validation people of one kind.

    Attributes:
        fitted: Boxes of the people that calibrate.
        measured: Boxes of the others.
        truth: Of the others.
        checked: Of those that calibrate.
    """

    fitted: Manifest
    measured: Manifest
    truth: Manifest
    checked: Manifest


def measure_cascades(people: Validation, student: Path, teacher: Path, folder: Path) -> list[dict[str, Any]]:
    """A row for the student alone, for each doubt, and for the teacher alone.

    Args:
        people: The validation people.
        student: Its checkpoint folder.
        teacher: The same.
        folder: For what is written; it is made anew.

    Raises:
        InputError: Too few validation people are bad, or good, to calibrate on.
    """
    shutil.rmtree(folder, ignore_errors=True)
    kinds = {name: _halves(people, name, folder / name) for name in VALIDATION}
    files = {name: folder / f"{name}.json" for name in ("student", "teacher")}
    for name, weights in (("student", student), ("teacher", teacher)):
        _fit(kinds, weights, files[name], folder / f"{name}-fitted")
    rows = [_alone("student", student, files["student"], kinds, folder / "alone")]
    for doubt in DOUBTS:
        rows.append(_together(doubt, student, teacher, files, kinds, folder / "together"))
    rows.append(_alone(FINAL, teacher, files["teacher"], kinds, folder / "alone"))
    shutil.rmtree(folder)
    whole = rows[-1]["seconds"]
    return [{**row, "time saved": 1 - row["seconds"] / whole} for row in rows]


def _halves(people: Validation, name: str, folder: Path) -> Halves:
    """Images in turn: the first calibrates, the second is measured."""
    truth, boxes = people.truth(name), people.boxes(name)
    order = np.random.default_rng(0).permutation(len(truth)).tolist()
    first = set(order[: len(order) // 2])
    ids: tuple[list[str], list[str]] = ([], [])
    for i, sample in enumerate(truth):
        ids[i not in first].extend(sample.poses.id.tolist())

    def part(manifest: Manifest, which: int, called: str) -> Manifest:
        return with_poses(manifest, ids[which], out=folder / called, stage="select")

    return Halves(
        part(boxes, 0, "fitted"), part(boxes, 1, "measured"), part(truth, 1, "truth"), part(truth, 0, "checked")
    )


def _fit(kinds: Mapping[str, Halves], weights: Path, out: Path, folder: Path) -> None:
    """Fit one calibrator on all kinds of people."""
    said = [(_predicted(weights, half.fitted, folder / name), half.checked) for name, half in kinds.items()]
    checked = Checked.joined([check(predicted, truth) for predicted, truth in said])
    first = said[0][0]
    calibrate.fit(checked, skeleton=first.skeleton, how=predicted_how(first)).save(out)


def _predicted(weights: Path, boxes: Manifest, out: Path) -> Manifest:
    return predict(boxes.path, weights=weights, out=out).manifest


def _alone(name: str, weights: Path, calibrator: Path, kinds: Mapping[str, Halves], folder: Path) -> dict[str, Any]:
    """One network labels everybody."""
    found, seconds = dict[str, Manifest](), 0.0
    for kind, half in kinds.items():
        start = time.perf_counter()
        said = _predicted(weights, half.measured, folder / f"{name}-{kind}")
        found[kind] = score(said.path, out=folder / f"{name}-{kind}-scored", calibrator=calibrator).manifest
        seconds += time.perf_counter() - start
    return _row(f"`{name}` alone", kinds, found, seconds, asked=float(name == FINAL))


def _together(
    doubt: float,
    student: Path,
    teacher: Path,
    files: Mapping[str, Path],
    kinds: Mapping[str, Halves],
    folder: Path,
) -> dict[str, Any]:
    """The student labels everybody, and its teacher whom it doubts."""
    found, seconds, asked = dict[str, Manifest](), 0.0, 0
    for kind, half in kinds.items():
        made = cascade(
            half.measured.path,
            student=student,
            teacher=teacher,
            out=folder / f"{doubt}-{kind}",
            student_calibrator=files["student"],
            teacher_calibrator=files["teacher"],
            doubt=doubt,
        )
        found[kind], asked = made.manifest, asked + made.asked
        seconds += sum(made.seconds.values())
    people = sum(half.measured.counts["poses"] for half in kinds.values())
    return _row(f"cascade, doubt {doubt:g}", kinds, found, seconds, asked=asked / people)


def _row(
    name: str, kinds: Mapping[str, Halves], found: Mapping[str, Manifest], seconds: float, *, asked: float
) -> dict[str, Any]:
    """PCK and bad poses of each kind of people, and over the kinds."""
    measured = {
        kind: evaluate(found[kind], half.truth, half.truth.skeleton, pck=(THRESHOLD,)) for kind, half in kinds.items()
    }
    pck = {kind: _known(its.pck[f"{THRESHOLD:g}"]) for kind, its in measured.items()}
    people = sum(half.measured.counts["poses"] for half in kinds.values())
    return {
        "who labels": name,
        "asked of the teacher": asked,
        "people/s": people / seconds,
        "seconds": seconds,
        **{f"{kind} PCK@{THRESHOLD:g}": value for kind, value in pck.items()},
        f"macro PCK@{THRESHOLD:g}": float(np.mean(list(pck.values()))),
        "bad poses": float(np.mean([_known(its.bad_rate) for its in measured.values()])),
    }


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def cascade_lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The table's lines, the head first."""
    head: tuple[str, ...] = (
        "who labels",
        "asked of the teacher",
        "people/s",
        "time saved",
        "macro PCK@0.1",
        "bad poses",
    )
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        shares = {name: f"{100 * row[name]:.1f} %" for name in (head[1], head[3], head[4], head[5])}
        lines.append((row[head[0]], shares[head[1]], f"{row['people/s']:.0f}", *(shares[name] for name in head[3:])))
    return lines
