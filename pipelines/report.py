"""``autolabel report``: one HTML file about a project, one of its rounds, or a manifest."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import ExistsError, InputError
from autolabel.manifest import COMMIT, Manifest, write_text
from autolabel.progress import SILENT, Progress
from autolabel.report.manifest_page import manifest_page
from autolabel.report.page import Page, render
from autolabel.report.project_page import project_page
from autolabel.report.rounds import ROUND, ROUNDS, read_round, read_rounds
from pipelines.report_evidence import evidence

REPORT = "report.html"


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        path: The HTML file; it needs no other file and no network.
        plots: Figures in it.
        pictures: Poses shown in it.
        size: Bytes.
    """

    path: Path
    plots: int
    pictures: int
    size: int

    def summary(self) -> Mapping[str, object]:
        """What to tell the user."""
        return {"report": self.path, "plots": self.plots, "pictures": self.pictures, "bytes": self.size}


def report(
    source: str | Path, *, out: str | Path | None = None, overwrite: bool = False, progress: Progress = SILENT
) -> Report:
    """Write the report.

    Args:
        source: A project's folder, the folder of one of its rounds, or a manifest.
        out: The HTML file; ``report.html`` in the source's folder by default.
        overwrite: Replace a report that stands there.
        progress: Where to report to.

    Raises:
        InputError: The source is none of these, or a project without a finished round.
        ExistsError: A file stands at ``out`` already.
    """
    source = Path(source)
    file = Path(out) if out else source / REPORT
    if file.exists() and not overwrite:
        raise ExistsError(
            "stands already",
            subject=str(file),
            remedy="Give another --out, or --overwrite; "
            "`autolabel loop report` writes those of a project and of its rounds again.",
        )
    with progress.task("report", total=1, unit="pages") as task:
        page = _page(source)
        text = render(page)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
        task.advance()
    pictures = sum(len(shelf.shots) for shelf in page.shelves)
    return Report(path=file, plots=len(page.plots), pictures=pictures, size=len(text.encode()))


def _page(source: Path) -> Page:
    if (source / COMMIT).is_file():
        return manifest_page(Manifest.open(source))
    if (source / ROUND).is_file():
        number, project = read_round(source / ROUND).number, source.resolve().parents[1]
        return project_page(project, upto=number, evidence=evidence(project, number, number))
    if (source / ROUNDS).is_dir():
        return project_page(source, evidence=evidence(source, None, read_rounds(source)[-1].number))
    raise InputError(
        "is neither a manifest nor a project with rounds",
        subject=str(source),
        remedy=f"A manifest holds {COMMIT}, a project {ROUNDS}/, a round {ROUND}.",
    )
