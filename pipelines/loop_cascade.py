"""The corpus of a loop that has a student: the student labels everybody, and its teacher whom the student doubts.

Who labels round ``n`` stands in its ``student.json`` (:mod:`pipelines.loop_student`). What a student and a teacher said
is kept with the round in which they came together, as long as both stay; whom the student doubts was decided by the
calibrator of that round. How much a pose is doubted in the end is said anew in every round, by the calibrators of the
round.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolabel.formats.records import read_json
from autolabel.manifest import COMMIT, Manifest
from pipelines.cascade import RECORD, cascade
from pipelines.loop_predict import predicted_by
from pipelines.loop_state import Loop

STUDENT = "student.json"
"""In a round's folder: which student labels, or why none does."""

CASCADE = "cascade"
"""Folder of what student and teacher said of the corpus; the same with ``-test`` of other manifests."""

CALIBRATOR, STUDENT_CALIBRATOR = "calibrator.json", "student-calibrator.json"
"""Files of a round: of the network in force, which is the teacher, and of its student."""


@dataclass(frozen=True)
class Pair:
    """A student and its teacher, who label together.

    Attributes:
        student: Its weights.
        teacher: Its weights.
        home: Folder of the round in which they came together.
        here: Folder of the round that they label for.
        doubt: From which ``p_bad`` of the student's on the teacher labels.
    """

    student: str
    teacher: str
    home: Path
    here: Path
    doubt: float

    @property
    def calibrators(self) -> list[Path]:
        """By which this round's poses are scored, the student's first."""
        return [self.here / STUDENT_CALIBRATOR, self.here / CALIBRATOR]

    @property
    def record(self) -> dict[str, Any]:
        """Who placed how much of the corpus, and how long it took."""
        return read_json(self.home / CASCADE / RECORD)


def student_of(here: Path) -> Mapping[str, Any] | None:
    """What a round decided about its student; None where none was asked for.

    Args:
        here: The round's folder.
    """
    return read_json(here / STUDENT) if (here / STUDENT).is_file() else None


def pair_of(loop: Loop, n: int) -> Pair | None:
    """Who labels round ``n`` together; None where one network labels it alone.

    Args:
        loop: The loop.
        n: The round; its student was decided about.
    """
    now = student_of(loop.round(n))
    if now is None or now["state"] == "none":
        return None
    first = max(now["student"]["round"], now["teacher"])
    home = next(m for m in range(first, n + 1) if m == n or _labelled(loop.round(m), now))
    student = loop.round(now["student"]["round"]) / "student"
    there = loop.round(home)
    doubt = read_json(there / STUDENT)["doubt"]
    return Pair(str(student), loop.network(now["teacher"])[1], there, loop.round(n), doubt)


def _labelled(here: Path, now: Mapping[str, Any]) -> bool:
    """Whether the same two labelled for that round, in its own folder."""
    then = student_of(here)
    same = then is not None and then["state"] != "none" and all(then[key] == now[key] for key in ("student", "teacher"))
    return same and (here / CASCADE / COMMIT).is_file()


def labelled_by(loop: Loop, pair: Pair) -> Manifest:
    """The corpus as student and teacher label it; what is there is read."""
    return _cascade(loop, pair, loop.round(0) / "predicted", pair.home / CASCADE)


def labels_of(loop: Loop, n: int, source: Path, name: str) -> Manifest:
    """What whoever labels round ``n`` says of other people.

    Args:
        loop: The loop.
        n: The round.
        source: Manifest of boxes or poses.
        name: Of the result's folder.
    """
    pair = pair_of(loop, n)
    if pair is None:
        return predicted_by(loop, n, source, name)
    return _cascade(loop, pair, source, pair.home / f"{CASCADE}-{name}")


def calibrators_of(loop: Loop, n: int) -> list[Path]:
    """The calibrators of whoever labels round ``n``; none while there are too few checked poses."""
    pair = pair_of(loop, n)
    files = pair.calibrators if pair else [loop.round(n) / CALIBRATOR]
    return [file for file in files if file.is_file()]


def _cascade(loop: Loop, pair: Pair, source: Path, out: Path) -> Manifest:
    if (out / COMMIT).is_file():
        return Manifest.open(out)
    return cascade(
        source,
        student=pair.student,
        teacher=pair.teacher,
        out=out,
        student_calibrator=pair.home / STUDENT_CALIBRATOR,
        teacher_calibrator=pair.home / CALIBRATOR,
        doubt=pair.doubt,
        dataset=loop.project.network.dataset or None,
        progress=loop.progress,
    ).manifest
