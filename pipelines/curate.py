"""``autolabel curate``: a manifest in FiftyOne, and what curators decide there back as corrections.

One command for the curator's day: show (``pipelines/curate_show.py``), look (the App), bring home
(``pipelines/curate_pull.py``).
"""

from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

from autolabel.curate.app import open_app
from autolabel.curate.database import database, open_fiftyone
from autolabel.curate.install import install_plugin as install
from autolabel.errors import InputError
from autolabel.manifest import Manifest
from autolabel.progress import SILENT, Progress
from pipelines.curate_beside import neighbours
from pipelines.curate_pull import CuratePullResult, pull_decisions
from pipelines.curate_show import ShowResult, show_manifest
from pipelines.curate_shown import dataset_name
from pipelines.mongodb import find_mongodb, stop_mongodb


@dataclass(frozen=True)
class CurateResult:
    """What was done.

    Attributes:
        shown: The data set; None where decisions were pulled, or there was no manifest.
        pulled: The decisions; None where none were asked for.
        plugin: Where our plugin was installed; None where that was not asked for.
        stopped: Whether the database was stopped.
    """

    shown: ShowResult | None = None
    pulled: CuratePullResult | None = None
    plugin: Path | None = None
    stopped: bool = False

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            **(self.shown.summary() if self.shown else {}),
            **(self.pulled.summary() if self.pulled else {}),
            **({"plugin": self.plugin} if self.plugin else {}),
            **({"stopped": True} if self.stopped else {}),
        }


def curate(
    manifest: str | Path | Manifest | None = None,
    *,
    name: str | None = None,
    where: str | None = None,
    truth: str | Path | None = None,
    previous: str | Path | None = None,
    student: str | Path | None = None,
    routing: str | Path | None = None,
    suspects: str | Path | None = None,
    split: str | None = None,
    sheet: str | Path | None = None,
    brain: bool = False,
    app: bool = False,
    port: int = 5151,
    pull: bool = False,
    out: str | Path | None = None,
    by: str | None = None,
    install_plugin: bool = False,
    stop_database: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> CurateResult:
    """Show a manifest in FiftyOne, or bring home what curators decided about it there.

    Args:
        manifest: The manifest. Only installing and stopping do without.
        name: Of the data set; by default of the project that the manifest lies in, or of its folder.
        where: Show only images with a pose of which this is true (:mod:`autolabel.curate.where`).
        truth: A manifest of true poses of the same images, shown beside; each pose's OKS by our own measure.
        previous: What the model before said of the same images: what changed gets a view.
        student: What another model says of them: where the two disagree gets a view.
        routing: A routing folder: where each pose goes.
        suspects: What ``audit-labels`` wrote: suspected labels get a view.
        split: Shares such as ``train=0.8,val=0.2``: the split of each image.
        sheet: Make a contact sheet too, a data set with a crop of each person; the crops are written here.
        brain: Map the people by the pose encoder's embeddings, and tell similar people and unique images.
        app: Then show it in FiftyOne's App, until the user interrupts.
        port: Of the App.
        pull: Bring home what was tagged and edited, instead of showing anything.
        out: With ``pull``, the manifest of corrected poses to write.
        by: With ``pull``, who tagged, where our plugin did not write it down; by default the user of this machine.
        install_plugin: Install our operators and panel into FiftyOne.
        stop_database: Stop the database that this command started, in the end.
        overwrite: With ``pull``, replace what was pulled before.
        progress: Where to report.

    Raises:
        InputError: There is nothing to do; something else has the data set's name, or there is none to pull from; no
            image is where the manifest says, or nothing matches ``where``; the App's port is taken.
        SkeletonError: The data set, or a manifest beside, has another skeleton.
        ConfigError: ``where`` or ``split`` cannot be understood.
        WorkError: No database can be had, or it stopped answering: the same command goes on.
        ExistsError: ``out`` holds another result.
    """
    _require_something(manifest, pull=pull, out=out, other=install_plugin or stop_database)
    plugin = install(open_fiftyone(find_mongodb(progress=progress))) if install_plugin else None
    shown = pulled = None
    if manifest is not None:
        source = manifest if isinstance(manifest, Manifest) else Manifest.open(manifest)
        called = name or dataset_name(source)
        if pull:
            assert out is not None
            pulled = pull_decisions(source, called, out=out, by=by or getuser(), overwrite=overwrite, progress=progress)
        else:
            beside = neighbours(
                source, truth=truth, previous=previous, student=student, routing=routing, suspects=suspects, split=split
            )
            crops = Path(sheet) if sheet is not None else None
            shown = show_manifest(source, called, beside, where=where, sheet=crops, brain=brain, progress=progress)
        if app:
            with database():
                open_app(open_fiftyone(find_mongodb(progress=progress)), called, port, progress.note)
    stopped = stop_mongodb(progress=progress) if stop_database else False
    return CurateResult(shown, pulled, plugin, stopped)


def _require_something(manifest: object, *, pull: bool, out: object, other: bool) -> None:
    if manifest is None and not other:
        raise InputError("there is nothing to show", subject="curate", remedy="Give a manifest folder.")
    if pull and (manifest is None or out is None):
        missing = "a manifest" if manifest is None else "--out"
        raise InputError(f"--pull needs {missing}", subject="curate", remedy="As: curate M --pull --out CORRECTIONS")
