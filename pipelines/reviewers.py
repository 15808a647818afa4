"""``autolabel reviewers``: how well each person reviews, how far they agree, and what sigmas their answers tell.

Everything is read from what ``pull`` has brought: planted errors that were found, blind answers against those with a
pre-label, tasks that several people answered, what was kept, and time. It goes to ``reviewers.json`` and
``reviewers.png``; where people labelled enough keypoints twice, ``skeleton.json`` has the sigmas that they tell.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from autolabel.agreement import Agreement
from autolabel.errors import InputError
from autolabel.labelstudio.exports import Annotation, standing
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.tasks import PLANTED
from autolabel.manifest import Existing, write_text
from autolabel.progress import SILENT, Progress
from autolabel.project import require_folder
from autolabel.report.reviewer_plots import draw_reviewers
from autolabel.reviewer_quality import Look, Share, looks_of
from autolabel.reviewer_report import Reviewer, ReviewerReport, measure_reviewers, remarks
from autolabel.run import DONE, Run, RunState, file_digest
from autolabel.sigmas import Sigma, with_sigmas
from autolabel.skeleton import Skeleton
from pipelines.console import aligned
from pipelines.pull_answers import Sent
from pipelines.pull_ledger import Given, given_answers

NUMBERS, PLOT, SIGMAS = "reviewers.json", "reviewers.png", "skeleton.json"


@dataclass(frozen=True)
class ReviewersResult:
    """What was measured about the people who review.

    Attributes:
        path: The folder with ``reviewers.json`` and ``reviewers.png``.
        report: The numbers.
        skeleton: The skeleton with the sigmas that double labels tell; None where they are too few.
    """

    path: Path
    report: ReviewerReport
    skeleton: Path | None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        files = {"numbers": self.path / NUMBERS, "plot": self.path / PLOT, "skeleton": self.skeleton}
        return {**self.report.to_dict(), "remarks": remarks(self.report), **files}

    def table(self) -> str:
        """For people."""
        people = [_HEAD, *(_row(person) for person in self.report.people), _row(self.report.together)]
        measured = [sigma for sigma in self.report.sigmas if sigma.n]
        parts = [aligned(people)]
        if measured:
            parts.append(aligned([_SIGMA_HEAD, *(_sigma_row(sigma) for sigma in measured)]))
        persuaded = self.report.together.anchoring
        notes = [*([persuaded.words()] if persuaded.poses else []), *remarks(self.report)]
        if self.skeleton is not None:
            notes.append(
                f"Sigmas of double labels: `autolabel map M --to {self.skeleton} --out M2` measures with them."
            )
        return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def reviewers(
    *, project: str | Path, out: str | Path, overwrite: bool = False, progress: Progress = SILENT
) -> ReviewersResult:
    """Measure the people who review.

    Args:
        project: The project folder; what ``pull`` brought into it counts.
        out: The folder to write.
        overwrite: Replace the result of other answers there.
        progress: Where to report.

    Raises:
        InputError: There is no such project folder, nothing was pushed, or there is no usable answer.
        FormatError: The journal is damaged.
        ExistsError: ``out`` holds another result.
    """
    require_folder(project)
    folder = ReviewFolder.of(project)
    sent = Sent.read(folder)
    last = [annotation for task in standing(Journal.read(folder.journal).entries).values() for annotation in task]
    given = list(given_answers(last, sent))
    if not given:
        raise InputError(
            "has no usable answer about a pose", subject=str(folder.path), remedy="Run `autolabel pull` first."
        )
    with progress.task("measure", 1, "project") as task:
        report = measure_reviewers(looks_of(map(_look, given), sent.skeleton.num_keypoints), sent.skeleton)
        task.advance()
    better = with_sigmas(sent.skeleton, report.sigmas, len(report.people), _last_day(last))
    inputs = {"taskmap": file_digest(folder.taskmap), "journal": file_digest(folder.journal)}
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "reviewers", config={}, inputs=inputs, existing=existing, commit=DONE) as run:
        if run.state is not RunState.DONE:
            _write(run, report, sent.skeleton, better)
        return ReviewersResult(run.path, report, run.path / SIGMAS if better else None)


def _write(run: Run, report: ReviewerReport, skeleton: Skeleton, better: Skeleton | None) -> None:
    draw_reviewers(report, skeleton, run.path / PLOT)
    if better is not None:
        write_text(run.path / SIGMAS, json.dumps(better.to_dict(), indent=2, ensure_ascii=False) + "\n")
    numbers = {**report.to_dict(), "remarks": remarks(report)}
    write_text(run.path / NUMBERS, json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    run.finish({"people": len(report.people), "answers": report.together.answers})


def _look(given: Given) -> Look:
    record = given.record
    return Look(given.correction, given.pose, record.routing, record.kind == PLANTED, record.blind)


def _last_day(annotations: list[Annotation]) -> str:
    return max(annotations, key=lambda annotation: annotation.time).updated[:10]


_HEAD = (
    "",
    "answers",
    "planted errors found",
    "overlooked, blind found",
    "kept",
    "OKS with others",
    "seconds",
    "blind",
)


def _row(person: Reviewer) -> tuple[str, ...]:
    seconds = ["" if s is None else f"{s:.1f}" for s in (person.seconds, person.blind_seconds)]
    agreed = _agreed(person.shown_agreement, person.blind_agreement)
    found, passed = _share(person.caught), _share(person.anchoring.overlooked)
    return person.name or "together", f"{person.answers:,}", found, passed, _share(person.kept), agreed, *seconds


def _share(share: Share) -> str:
    if share.value is None:
        return "-"
    low, high = share.limits
    return f"{share.hits} of {share.of} ({100 * low:.0f} to {100 * high:.0f} %)"


def _agreed(shown: Agreement, blind: Agreement) -> str:
    told = [
        f"{agreed.oks:.3f} ({agreed.pairs}{word})" for agreed, word in ((shown, ""), (blind, " blind")) if agreed.pairs
    ]
    return ", ".join(told) or "-"


_SIGMA_HEAD = ("keypoint", "double labels", "sigma", "95 %", "by median", "in use", "from")


def _sigma_row(sigma: Sigma) -> tuple[str, ...]:
    numbers = (sigma.value, sigma.low, sigma.high, sigma.median)
    value, low, high, median = ("-" if number is None else f"{number:.3f}" for number in numbers)
    source = sigma.source if sigma.enough else f"{sigma.source}, too few"
    return sigma.keypoint, f"{sigma.n:,}", value, f"{low} to {high}", median, f"{sigma.in_use:.3f}", source
