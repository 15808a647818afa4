"""``autolabel loop``: rounds of review and fine-tuning that end in an audited dataset.

Each step is an ordinary stage with a folder of its own, so the state of the loop is what is on disk, and a loop that
was killed goes on with the step it was at::

    rounds/00/  [cold  routing  pulled  training]  model  predicted  scored  lint  round.json
    rounds/NN/  routing  pulled  training  filled  model  gate  gate.json  predicted  merged  scored  lint  round.json
                [student  student.json  cascade, in the place of predicted]
    audit/      routing  pulled  merged  audit.json                        one draw of the accepted poses
    certificate.json  dataset/  dataset-card.md  yolo/  coco.json  report.html

When reviewers have not answered everything, the loop says what it waits for and returns; the same call goes on, and
with ``wait`` it fetches answers and goes on by itself. Rounds end early when nothing is left to review, when people
have opened as many poses as they may, or when the next round would buy too little (:mod:`pipelines.loop_stop`). One
process at a time works on a project. Every finished round has a ``report.html`` beside its ``round.json``.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from autolabel.certify import Certificate
from autolabel.errors import ExistsError
from autolabel.manifest import COMMIT, Manifest
from autolabel.progress import SILENT, Progress
from autolabel.project import read_project
from autolabel.stop_rule import Stop, all_done
from pipelines import report as reporting
from pipelines.loop_audit import audit_and_finish
from pipelines.loop_board import Board, board
from pipelines.loop_hold import held
from pipelines.loop_intact import note_images, require_intact
from pipelines.loop_round import first_round, require_corpus, review_round
from pipelines.loop_state import (
    CERTIFICATE,
    ROUND,
    Loop,
    Reviewer,
    Waiting,
    last_pulled,
    round_folders,
    settle_seconds,
    waits_for_reviewers,
)
from pipelines.loop_stop import note_stop
from pipelines.loop_student import require_student_settings
from pipelines.loop_wait import POLL, Patience
from pipelines.measure import Effort
from pipelines.pretrain import read_pretraining
from pipelines.route import ROUTING
from pipelines.train import read_settings

__all__ = ["ROUND", "LoopResult", "report", "run", "status"]


@dataclass(frozen=True)
class LoopResult:
    """Where the loop stands.

    Attributes:
        folder: The project.
        state: ``done`` or ``waiting``.
        waits_for: Who must do what before it goes on; "" when done.
        rounds: Finished rounds of review.
        planned: Rounds of review that the settings ask for.
        effort: What people have done so far, the audit included.
        certificate: What the audit proved, once it was judged.
        board: Every step, what it cost, and what is foretold; None where nobody asked for the status.
    """

    folder: Path
    state: str
    waits_for: str
    rounds: int
    planned: int
    effort: Effort
    certificate: Certificate | None
    board: Board | None = field(default=None, compare=False)

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        judged = self.certificate
        return {
            "project": self.folder,
            "state": self.state,
            "waits_for": self.waits_for,
            "rounds": self.rounds,
            "planned": self.planned,
            **self.effort.to_dict(),
            "certificate": None if judged is None else {"issued": judged.issued, "reason": judged.reason},
            **(self.board.to_dict() if self.board else {}),
        }

    def table(self) -> str:
        """For people: where it stands, and the board."""
        at_work = self.board.at_work if self.board else ""
        lines = [f"{self.folder}: {self.state}", *([f"at work: {at_work}"] if at_work else [])]
        lines += [f"waits for {self.waits_for}"] * bool(self.waits_for)
        return "\n".join([*lines, "", self.board.table()] if self.board else lines)


def run(
    directory: str | Path = Path(),
    *,
    wait: bool = False,
    poll: float = POLL,
    reviewer: Reviewer | None = None,
    truth: Manifest | None = None,
    audit: bool = True,
    progress: Progress = SILENT,
) -> LoopResult:
    """Run, or go on with, a project's loop.

    Args:
        directory: The project.
        wait: Wait for people's answers, and for a server that is gone, instead of returning.
        poll: Seconds between two looks at the server.
        reviewer: Answers tasks at once; without one the loop waits for Label Studio's exports in
            ``labelstudio/exports``.
        truth: Every pose's truth, by id, for demos and tests: rounds then report the error of untouched poses.
        audit: End with an audit; without it the loop stops after the last round.
        progress: Where to report.

    Raises:
        ConfigError: The project's settings are wrong, or a round is gone that later ones were made from.
        SkeletonError: The settings ask for another skeleton than the rounds were made with.
        InputError: Images are gone, or were altered since the first round.
        WorkError: Another process works on the project; says which.
        AutolabelError: A step failed; what is finished stays.
    """
    folder = Path(directory)
    patience = Patience(poll) if wait else None
    loop = Loop(folder, read_project(folder), reviewer, truth, progress, patience)
    try:
        with held(folder):
            settle_seconds(folder)
            require_intact(loop)
            last = _rounds(loop)
            if audit:
                audit_and_finish(loop, last)
    except Waiting as waiting:
        return _result(folder, str(waiting))
    except ExistsError as error:
        raise ExistsError(
            error.message,
            subject=error.subject,
            remedy="A setting or an input was changed in the middle of this step: change it back, or remove the folder "
            "to do the step again.",
        ) from error
    return _result(folder, "")


def status(directory: str | Path = Path()) -> LoopResult:
    """Where a loop stands, from what is on disk; changes nothing.

    Args:
        directory: The project.

    Raises:
        ConfigError: There is no project.
    """
    folder = Path(directory)
    loop = Loop(folder, read_project(folder), None, None, SILENT)
    waits_for = ""
    if not ((folder / "dataset" / COMMIT).is_file() and (folder / "coco.json").is_file()):
        waits_for = waits_for_reviewers(folder) or f"`autolabel loop run {folder}`, which goes on from here"
    stands = _result(folder, waits_for)
    return replace(stands, board=board(loop, waits_for, stands.certificate))


def report(directory: str | Path = Path(), *, progress: Progress = SILENT) -> reporting.Report:
    """Write the project's ``report.html`` and that of every finished round again, from what is on disk.

    Args:
        directory: The project.
        progress: Where to report.

    Returns:
        The project's.

    Raises:
        InputError: No round is finished yet.
    """
    for here in round_folders(Path(directory)):
        if (here / ROUND).is_file():
            reporting.report(here, overwrite=True, progress=progress)
    return reporting.report(directory, overwrite=True, progress=progress)


def _rounds(loop: Loop) -> int:
    """Do the rounds that are not done; returns the number of the last one."""
    count = loop.project.rounds.count
    if not all(loop.finished(n) for n in range(count + 1)):
        _require_settings(loop)
    if not (loop.audit / "routing" / ROUTING).is_file():
        require_corpus(loop)
    if not loop.finished(0):
        loop.progress.note("the first network")
        first_round(loop)
        note_images(loop)
    for n in range(1, count + 1):
        _tell(loop, n - 1)
        if loop.finished(n):
            note_stop(loop, n - 1, None)
        elif stop := review_round(loop, n):
            loop.progress.note(f"{stop.reason}: the rounds end with {n - 1}")
            _end(loop, n - 1, stop)
            return n - 1
    _end(loop, count, all_done(count))
    return count


def _end(loop: Loop, last: int, stop: Stop) -> None:
    """Say in the last round's record and on its page why the rounds end with it."""
    if note_stop(loop, last, stop) or not (loop.round(last) / reporting.REPORT).is_file():
        reporting.report(loop.round(last), overwrite=True, progress=loop.progress)


def _tell(loop: Loop, n: int) -> None:
    """Write a finished round's report, unless it stands: a loop that was killed before it was written writes it now."""
    if not (loop.round(n) / reporting.REPORT).is_file():
        reporting.report(loop.round(n), progress=loop.progress)


def _require_settings(loop: Loop) -> None:
    """Refuse a misspelt setting before hours of work, not after them."""
    project = loop.project
    network = {"size": project.network.size, **project.network.custom}
    read_settings(network, project.training, loop.settings)
    read_settings(network, {**project.training, **project.finetuning}, f"{loop.settings}, with [finetuning]")
    require_student_settings(loop)
    if project.pretraining:
        read_pretraining(project.pretraining, loop.settings)


def _result(folder: Path, waits_for: str) -> LoopResult:
    done = [int(here.name) for here in round_folders(folder) if (here / ROUND).is_file()]
    return LoopResult(
        folder,
        state="waiting" if waits_for else "done",
        waits_for=waits_for,
        rounds=max(done, default=0),
        planned=read_project(folder).rounds.count,
        effort=Effort.of(last_pulled(folder)),
        certificate=_certificate(folder),
    )


def _certificate(folder: Path) -> Certificate | None:
    file = folder / CERTIFICATE
    if not file.is_file():
        return None
    return Certificate.from_dict(json.loads(file.read_text(encoding="utf-8")), subject=str(file))
