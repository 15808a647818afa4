"""``autolabel evaluate``: how good a manifest's poses are against the truth."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autolabel.errors import ExistsError
from autolabel.evaluate import Evaluation
from autolabel.evaluate import evaluate as measure
from autolabel.formats.coco import read_coco
from autolabel.manifest import Manifest, write_text
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress

METRICS = "metrics.json"


@dataclass(frozen=True)
class EvaluateResult:
    """What ``evaluate`` found.

    Attributes:
        evaluation: The numbers; ``evaluation.table()`` shows them.
        path: The ``metrics.json`` that holds them, or None where none was asked for.
    """

    evaluation: Evaluation
    path: Path | None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {**self.evaluation.summary(), **({"metrics": self.path} if self.path else {})}


def evaluate(
    manifest: str | Path,
    *,
    truth: str | Path,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> EvaluateResult:
    """Measure a manifest's poses against the truth.

    Args:
        manifest: The manifest folder with the poses to measure.
        truth: A manifest folder, or a COCO keypoint file whose file names are paths below the manifest's
            root.
        out: A folder for ``metrics.json``; nothing is written without it.
        overwrite: Replace a ``metrics.json`` that stands there.
        progress: Where to report.

    Raises:
        InputError: No image in common, or the two skeletons differ.
        ExistsError: ``metrics.json`` stands already.
    """
    predictions = Manifest.open(manifest)
    target = Path(out) / METRICS if out is not None else None
    if target is not None and target.exists() and not overwrite:
        raise ExistsError("stands already", subject=str(target), remedy="Give another --out, or --overwrite.")
    if Path(truth).is_dir():
        known = Manifest.open(truth)
        skeleton, samples = known.skeleton, iter(known)
    else:
        data = read_coco(truth)
        skeleton, samples = data.skeleton, _with_ids(data.samples, predictions)
    predictions.skeleton.require_same(skeleton, str(truth))
    # The truth's skeleton gives the sigmas: two sets of predictions are then measured alike.
    evaluation = measure(predictions, samples, skeleton, progress=progress)
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, json.dumps(evaluation.summary(), indent=2, ensure_ascii=False) + "\n")
    return EvaluateResult(evaluation, target)


def _with_ids(truth: Sequence[Sample], predictions: Manifest) -> Iterator[Sample]:
    """True samples with the keys of the images they are about, found by file name.

    Of a manifest with several roots the file names are ``root/path``, as ``export`` writes them.
    """
    several = len(predictions.roots) > 1
    keys = {f"{s.root}/{s.path}" if several else s.path: s.key for s in predictions}
    for true in truth:
        sample_id, root, path = keys.get(true.path, true.key)
        yield replace(true, id=sample_id, root=root, path=path)
