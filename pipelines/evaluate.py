"""``autolabel evaluate``: how good a manifest's poses are against the truth, and against another manifest's."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autolabel.errors import ConfigError, ExistsError
from autolabel.evaluate import summarise
from autolabel.evaluate_pair import PairedComparison, compare_measured
from autolabel.evaluate_people import Measured, Truth, measure
from autolabel.evaluate_result import Evaluation
from autolabel.formats.coco import read_coco
from autolabel.manifest import Manifest, make_folder, write_text
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import Skeleton

METRICS = "metrics.json"
BOOTSTRAP = 1000


@dataclass(frozen=True)
class EvaluateResult:
    """What ``evaluate`` found.

    Attributes:
        evaluation: The numbers; ``evaluation.table()`` shows them.
        path: The ``metrics.json`` that holds them, or None where none was asked for.
        comparison: With the other manifest, or None where none was given.
        plots: The pictures beside ``metrics.json``, by name.
    """

    evaluation: Evaluation
    path: Path | None
    comparison: PairedComparison | None = None
    plots: Mapping[str, Path] | None = None

    def metrics(self) -> dict[str, Any]:
        """The content of ``metrics.json``."""
        compared = {"against": self.comparison.summary()} if self.comparison else {}
        return {**self.evaluation.summary(), **compared}

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {**self.metrics(), **({"metrics": self.path, "plots": self.plots or {}} if self.path else {})}

    def table(self) -> str:
        """For people."""
        return "\n".join([self.evaluation.table(), *([self.comparison.table()] if self.comparison else [])])


def evaluate(
    manifest: str | Path,
    *,
    truth: str | Path,
    against: str | Path | None = None,
    out: str | Path | None = None,
    bootstrap: int = BOOTSTRAP,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> EvaluateResult:
    """Measure a manifest's poses against the truth.

    Args:
        manifest: The manifest folder with the poses to measure.
        truth: A manifest folder, or a COCO keypoint file whose file names are paths below the manifest's
            root.
        against: Another manifest of the same images, to compare the poses with.
        out: A folder for ``metrics.json`` and the plots; nothing is written without it.
        bootstrap: Resamples for the intervals; 0 for none.
        seed: Of the resamples.
        overwrite: Replace a ``metrics.json`` and pictures that stand there.
        progress: Where to report.

    Raises:
        InputError: No image in common, the manifests do not have the same images, or skeletons differ.
        ConfigError: ``bootstrap`` or ``seed`` is negative, or ``bootstrap`` 0 where manifests are to be compared.
        ExistsError: ``metrics.json`` or a picture stands already, or a file where a folder is to be made.
    """
    _require_draws(bootstrap, seed, against)
    target = Path(out) / METRICS if out is not None else None
    if target is not None:
        _require_free(target.parent, overwrite)
    predictions = Manifest.open(manifest)
    others = Manifest.open(against) if against is not None else None
    skeleton, samples = _truth(truth, predictions)
    predictions.skeleton.require_same(skeleton, str(truth))
    if others:
        skeleton.require_same(others.skeleton, str(against))
    if target is not None:
        make_folder(target.parent)
    known = Truth(samples)
    # The truth's skeleton gives the sigmas: two sets of predictions are then measured alike.
    this = measure(predictions, known, skeleton, progress=progress)
    evaluation = summarise(this, bootstrap=bootstrap, seed=seed, progress=progress)
    other = measure(others, known, skeleton, progress=progress) if others else None
    comparison = compare_measured(this, other, bootstrap=bootstrap, seed=seed, progress=progress) if other else None
    result = EvaluateResult(evaluation, target, comparison)
    return _written(result, target.parent, this, other) if target is not None else result


def _require_draws(bootstrap: int, seed: int, against: str | Path | None) -> None:
    for option, number in (("--bootstrap", bootstrap), ("--seed", seed)):
        if number < 0:
            raise ConfigError(f"is {number}, expected 0 or more", subject=option)
    if against is not None and bootstrap == 0:
        raise ConfigError(
            "is 0, but a comparison is made of resamples",
            subject="--bootstrap",
            remedy=f"Leave it out ({BOOTSTRAP}), or leave out --against.",
        )


def _require_free(folder: Path, overwrite: bool) -> None:
    """A picture of somebody's own is no less theirs for having the name of one of ours."""
    from autolabel.report.evaluation_plots import PLOTS

    for path in (folder / name for name in (METRICS, *PLOTS)):
        if path.is_dir():
            raise ExistsError(
                "is a folder where a file is to be written", subject=str(path), remedy="Give another --out."
            )
        if path.exists() and not overwrite:
            raise ExistsError("stands already", subject=str(path), remedy="Give another --out, or --overwrite.")


def _truth(truth: str | Path, predictions: Manifest) -> tuple[Skeleton, Iterable[Sample]]:
    if Path(truth).is_dir():
        known = Manifest.open(truth)
        return known.skeleton, known
    data = read_coco(truth)
    return data.skeleton, _with_ids(data.samples, predictions)


def _written(result: EvaluateResult, folder: Path, this: Measured, other: Measured | None) -> EvaluateResult:
    """The same result with its plots and ``metrics.json`` on disk, the latter last."""
    from autolabel.report.evaluation_plots import PLOTS, draw

    pictures = draw(this, result.evaluation, other, result.comparison)
    for name in PLOTS:
        (folder / name).unlink(missing_ok=True)
    for name, png in pictures.items():
        (folder / name).write_bytes(png)
    write_text(folder / METRICS, json.dumps(result.metrics(), indent=2, ensure_ascii=False) + "\n")
    return replace(result, plots={Path(name).stem: folder / name for name in pictures})


def _with_ids(truth: Sequence[Sample], predictions: Manifest) -> Iterator[Sample]:
    """True samples with the keys of the images they are about, found by file name.

    Of a manifest with several roots the file names are ``root/path``, as ``export`` writes them.
    """
    several = len(predictions.roots) > 1
    keys = {f"{s.root}/{s.path}" if several else s.path: s.key for s in predictions}
    for true in truth:
        sample_id, root, path = keys.get(true.path, true.key)
        yield replace(true, id=sample_id, root=root, path=path)
