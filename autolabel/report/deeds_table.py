"""The table of what each round did: what was labelled first, learnt and found by lint, and why it was the last."""

from collections.abc import Sequence

from autolabel.report.cost_board import NARROW, duration
from autolabel.report.page import Table
from autolabel.report.rounds import ColdStart, Faults, Lessons, Round, Student

_NOTHING = "–"
_ABOUT_STUDENTS = " A student labels everybody, and after it its teacher labels whom the student doubts."


def deeds_table(rounds: Sequence[Round]) -> Table | None:
    """One row for each round; columns of which nothing is told are left out. None where nothing is told at all."""
    columns = (
        "Round",
        "labelled first, by hand",
        "learnt from",
        "student",
        "faults, unseen poses",
        "faults, answered",
        "why the rounds ended",
    )
    rows = [
        (
            str(r.number),
            _cold(r.cold) if r.cold else _NOTHING,
            ", ".join(map(_lesson, r.lessons)) or _NOTHING,
            _student(r.student) if r.student else _NOTHING,
            *(_faults(r.faults) if r.faults else (_NOTHING, _NOTHING)),
            r.stop or _NOTHING,
        )
        for r in rounds
    ]
    kept = [i for i in range(len(columns)) if not i or any(row[i] != _NOTHING for row in rows)]
    if len(kept) == 1:
        return None
    return Table(
        title="What each round did",
        caption="Learnt from: poses of each part, and its share of the crops in a batch; a keypoint that people left "
        "open is taught by the last network where that was sure of it. Faults are what lint finds and only a person "
        "can settle: such a pose is not accepted; among answered poses the finding is a question about the answer."
        + _ABOUT_STUDENTS
        * any(r.student for r in rounds),
        columns=tuple(columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in rows),
    )


def _cold(cold: ColdStart) -> str:
    what = "people" if cold.boxed else "images"
    return f"{cold.chosen:,} of {cold.candidates:,} {what}, chosen by {cold.features}"


def _lesson(lesson: Lessons) -> str:
    told = f"{lesson.poses:,} {lesson.source} ({100 * lesson.share:.0f}{NARROW}%)"
    return f"{told} with {lesson.filled:,} keypoints filled in" if lesson.filled else told


def _student(student: Student) -> str:
    if student.state == "none":
        return "not used: too few checked poses"
    placed = f"placed {student.placed:,}, its teacher {student.asked:,}"
    return f"{student.state}; {placed} in {duration(student.seconds)}"


def _faults(faults: Faults) -> tuple[str, str]:
    answered = f"{faults.answered_faulty:,} of {faults.answered:,}" if faults.answered else _NOTHING
    return f"{faults.faulty:,} of {faults.poses:,}", answered
