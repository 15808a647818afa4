"""``autolabel audit-labels``: suspected errors in human labels, best first, by networks that never saw them.

Reads every labelled pose with one or several networks, tells what each says about the label
(:mod:`model.label_doubt`), works out whose fault disagreements are (:mod:`autolabel.label_quality`) and writes
``suspects.csv``, ``suspects.json`` and a gallery.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.errors import ConfigError, InputError
from autolabel.label_quality import Evidence, LabelQuality, combine, label_quality
from autolabel.label_suspects import Suspect, counts, suspects, suspects_csv, suspects_json, suspects_table
from autolabel.manifest import Existing, Manifest, write_text
from autolabel.poses import Poses
from autolabel.progress import SILENT, Progress
from autolabel.run import DONE, Run, file_digest
from pipelines.label_folds import Fold, layers, train_folds, weights_key
from pipelines.label_reading import read_labels

CSV, JSON, GALLERY = "suspects.csv", "suspects.json", "gallery.html"
READINGS, FOLDS = "readings", "folds"
SHOWN = 20
"""Suspects in the table that is printed."""


@dataclass(frozen=True, eq=False)
class AuditLabelsResult:
    """What ``audit-labels`` found.

    Attributes:
        path: The folder with ``suspects.csv``, ``suspects.json`` and ``gallery.html``.
        suspects: Most suspected first.
        quality: Of all poses of the manifest, in its order.
        evidence: What it was made from.
        poses: The manifest's poses.
        unread: Images that could not be read: ``path``, ``reason``, ``detail``.
    """

    path: Path
    suspects: tuple[Suspect, ...]
    quality: LabelQuality
    evidence: Evidence
    poses: Poses
    unread: tuple[dict[str, str], ...]

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "suspects": self.path / JSON,
            "gallery": self.path / GALLERY,
            "judged": int(np.isfinite(self.quality.pose).sum()),
            "suspected": len(self.suspects),
            **{f"{kind}_over_half": count for kind, count in counts(self.suspects).items()},
            "unread": len(self.unread),
        }

    def table(self) -> str:
        """For people."""
        return suspects_table(self.suspects, SHOWN)


def audit_labels(
    manifest: str | Path,
    *,
    weights: Sequence[str | Path] | None = None,
    out_of_fold: Sequence[Fold] = (),
    config: str | Path | None = None,
    folds: int = 0,
    out: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 32,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> AuditLabelsResult:
    """Find labels that are probably wrong.

    Args:
        manifest: Labelled poses with boxes.
        weights: Networks that were **not** trained on these labels; each looks at all poses. Where several do, a label
            is suspected only if all of them disagree with it.
        out_of_fold: Networks, each with the poses that it may look at.
        config: With ``folds``, a training file that trains on the manifest: networks are trained here, each on all
            folds but one, in ``OUT/folds``.
        folds: How many folds.
        out: The folder to write; by default :func:`default_out`. Without weights, folds or config the starter network
            of the package looks, where there is one.
        seed: Of the cut into folds.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        batch_size: Crops a batch.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: No labels, no such weights, too few groups for the folds.
        SkeletonError: A network has another skeleton than the labels.
        ConfigError: Networks were asked for in several ways, ``config`` without folds or the reverse; no weights were
            given and none come with the package.
        ExistsError: ``out`` holds another result.
    """
    source = Manifest.open(manifest)
    weights = weights or ()
    _require_one_way(weights, out_of_fold, config, folds)
    poses = Poses.concat(
        [Poses.empty(source.skeleton.num_keypoints), *(source.poses(i) for i in range(source.num_parts))]
    )
    if not poses.labelled.any():
        raise InputError(
            "no keypoint is labelled", subject=str(source.path), remedy="Audit a manifest that people labelled."
        )
    target = Path(out) if out is not None else default_out(manifest)
    given = [*(Fold(path) for path in weights), *out_of_fold]
    settings: dict[str, Any] = {"precision": precision, "seed": seed, "folds": folds}
    inputs = {"manifest": source.digest}
    if config is not None:
        inputs["config"] = file_digest(config)
    elif not given:
        from model.starter import starter

        given = [Fold(starter())]
    readers = _Readers(source, device, precision, batch_size)
    inputs |= weights_key(given, readers.digests(given))
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(target, "audit-labels", config=settings, inputs=inputs, existing=existing, commit=DONE) as run:
        if config is not None:
            given = train_folds(source, config, folds, out=run.path / FOLDS, seed=seed, progress=progress)
            readers.digests(given)
        result = _work(source, poses, given, readers, run.path, progress)
        run.finish({"suspects": len(result.suspects)})
    if result.unread:
        progress.note(f"{len(result.unread):,} images could not be read, see {run.path / JSON}")
    return result


def default_out(manifest: str | Path) -> Path:
    """Where the suspects of a manifest go when nobody says: ``photos.labels`` in the current directory."""
    return Path.cwd() / f"{Path(manifest).resolve().name.removesuffix('.m')}.labels"


def _require_one_way(
    weights: Sequence[str | Path], out_of_fold: Sequence[Fold], config: str | Path | None, folds: int
) -> None:
    if (config is None) != (folds == 0):
        raise ConfigError("--config and --folds go together", remedy="Give both, or --weights.")
    if sum(map(bool, (weights, out_of_fold, config))) > 1:
        raise ConfigError(
            "networks were given in several ways", remedy="Give --weights, or --config with --folds, not both."
        )


class _Readers:
    """Networks, each loaded once."""

    def __init__(self, manifest: Manifest, device: str, precision: str, batch_size: int) -> None:
        self._manifest = manifest
        self._options: dict[str, Any] = {"device": device, "precision": precision, "batch_size": batch_size}
        self._loaded: dict[str, Any] = {}

    def digests(self, folds: Sequence[Fold]) -> dict[str, str]:
        """Of the weights, by name."""
        from model.checkpoint import model_digest

        return {str(fold.weights): model_digest(self.reader(fold).model) for fold in folds}

    def reader(self, fold: Fold) -> Any:
        """The network of a fold, ready to look."""
        from model.checkpoint import load_model
        from model.label_doubt import LabelReader

        name = str(fold.weights)
        if name not in self._loaded:
            model = load_model(fold.weights)
            model.skeleton.require_same(self._manifest.skeleton, str(self._manifest.path))
            self._loaded[name] = LabelReader(model, **self._options)
        return self._loaded[name]


def _work(
    source: Manifest, poses: Poses, folds: Sequence[Fold], readers: _Readers, out: Path, progress: Progress
) -> AuditLabelsResult:
    said: list[Evidence] = []
    unread: dict[str, dict[str, str]] = {}
    arranged = layers(folds, poses.id.tolist())
    with progress.task("look", len(source) * len(arranged), "image") as task:
        for i, layer in enumerate(arranged):
            networks = [(fold, readers.reader(fold)) for fold in layer]
            evidence, refused = read_labels(source, networks, out / READINGS / str(i), task)
            said.append(evidence)
            unread |= {record["path"]: record for record in refused}
    evidence = combine(said, poses, source.skeleton)
    quality = label_quality(poses, evidence, source.skeleton)
    samples = [(sample, len(sample.poses)) for sample in source]
    paths = [sample.path for sample, count in samples for _ in range(count)]
    found = suspects(poses, paths, quality, evidence, source.skeleton)
    result = AuditLabelsResult(out, tuple(found), quality, evidence, poses, tuple(unread.values()))
    _write(result, source, len(folds), [source.image_path(sample) for sample, count in samples for _ in range(count)])
    return result


def _write(result: AuditLabelsResult, source: Manifest, networks: int, images: list[Path]) -> None:
    from autolabel.report.label_page import Audited, label_page
    from autolabel.report.page import render

    judged = int(np.isfinite(result.quality.pose).sum())
    about = {
        "manifest": source.digest,
        "judged": judged,
        "estimated_shares": dict(result.quality.floors),
        "unread": list(result.unread),
    }
    write_text(result.path / CSV, suspects_csv(result.suspects))
    write_text(result.path / JSON, suspects_json(result.suspects, **about))
    page = label_page(
        Audited(
            name=source.path.resolve().name,
            poses=result.poses,
            images=images,
            predicted=result.evidence.xy,
            judged=judged,
            unread=len(result.unread),
            networks=networks,
            floors=dict(result.quality.floors),
            skeleton=source.skeleton,
        ),
        result.suspects,
    )
    write_text(result.path / GALLERY, render(page))
