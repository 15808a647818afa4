"""Which network may look at which labels: one that learnt a label believes it.

A *fold* is a checkpoint and the poses that it never saw. Weights that were not trained on the corpus at all see every
pose. Otherwise the corpus is cut into folds along its groups and near-duplicates (:mod:`autolabel.split`), and for each
a network is trained on all the others.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import ConfigError
from autolabel.manifest import Manifest
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress
from autolabel.split import assign_splits
from pipelines.subset import with_poses
from pipelines.train import Portion, TrainFile, train_network
from pipelines.training_run import beside


@dataclass(frozen=True)
class Fold:
    """A network and the labels that it never saw.

    Attributes:
        weights: Anything ``model.checkpoint.load_model`` reads.
        ids: The poses; None for all of them.
    """

    weights: str | Path
    ids: frozenset[str] | None = None

    def key(self) -> str:
        """Digest of the ids, "all" for all."""
        return "all" if self.ids is None else hashlib.sha256("\n".join(sorted(self.ids)).encode()).hexdigest()


def pose_folds(samples: Iterable[Sample], number: int, seed: int = 0) -> list[frozenset[str]]:
    """Ids of the poses of each fold; what belongs together is in one.

    Args:
        samples: Of the corpus; walked through twice.
        number: Of folds, two at least.
        seed: Another seed gives other folds.

    Raises:
        ConfigError: Fewer than two folds.
        InputError: The corpus has fewer groups than that.
    """
    if number < 2:
        raise ConfigError(
            f"is {number}, expected 2 or more", subject="--folds", remedy="A network must not see its fold."
        )
    known = list(samples)
    side = assign_splits(known, {str(i): 1 / number for i in range(number)}, seed)
    found: list[set[str]] = [set() for _ in range(number)]
    for sample in known:
        found[int(side(sample))].update(map(str, sample.poses.id.tolist()))
    return [frozenset(ids) for ids in found]


def train_folds(
    manifest: Manifest,
    config: str | Path,
    number: int,
    *,
    out: Path,
    seed: int = 0,
    progress: Progress = SILENT,
) -> list[Fold]:
    """Train a network for each fold of a corpus on the rest of it; those that are there already are found again.

    Args:
        manifest: The corpus.
        config: A training file that trains on it; what it trains on beside the corpus, it does for every fold.
        number: Of folds.
        out: Each fold gets ``OUT/I/data``, what its network learns, and ``OUT/I/network``.
        seed: Of the cut.
        progress: Where to report.

    Raises:
        ConfigError: The file does not train on the corpus, or cannot be used; it measures itself on images of the
            corpus; fewer than two folds.
        InputError: The corpus has too few groups.
    """
    path = Path(config)
    settings = TrainFile.load(path)
    given = [(Manifest.open(path.parent / data.manifest), data) for data in settings.data]
    if all(source.digest != manifest.digest for source, _ in given):
        raise ConfigError(
            "does not train on the audited manifest",
            subject=str(path),
            remedy=f'Give a [[data]] with manifest = "{manifest.path}".',
        )
    validation = [
        Portion(Manifest.open(path.parent / data.manifest), data.share, data.dataset) for data in settings.validation
    ]
    _require_apart(manifest, [portion.manifest for portion in validation], str(path))
    folds: list[Fold] = []
    parts = pose_folds(manifest, number, seed)
    for i, ids in enumerate(parts):
        progress.note(f"fold {i + 1} of {number}: a network that never sees {len(ids):,} poses")
        others = frozenset[str]().union(*(part for j, part in enumerate(parts) if j != i))
        learnt = with_poses(manifest, others, out=out / str(i) / "data", stage="fold")
        trained = train_network(
            [
                Portion(learnt if source.digest == manifest.digest else source, data.share, data.dataset)
                for source, data in given
            ],
            out=out / str(i) / "network",
            validation=validation,
            init=beside(path, settings.init),
            dataset=settings.dataset,
            heads=settings.heads,
            network=settings.model,
            training=settings.training,
            subject=str(path),
            progress=progress,
        )
        folds.append(Fold(trained.checkpoint, ids))
    return folds


def _require_apart(manifest: Manifest, measured: Sequence[Manifest], subject: str) -> None:
    """Refuse a validation on the audited images: the checkpoint that is kept would be chosen by their labels."""
    if not measured:
        return
    audited = {sample.id for sample in manifest}
    for other in measured:
        if any(sample.id in audited for sample in other):
            raise ConfigError(
                f"validates on images of the audited manifest ({other.path.name})",
                subject=subject,
                remedy="Leave that [[validation]] out: networks are audited on what they have not seen.",
            )


def layers(folds: Collection[Fold], ids: Collection[str]) -> list[list[Fold]]:
    """Folds put together so that every layer looks at each pose once at most; folds for all poses stand alone.

    Raises:
        ConfigError: A fold is about none of the poses.
    """
    known, found = set(ids), list[tuple[set[str], list[Fold]]]()
    for fold in folds:
        own = known if fold.ids is None else known & fold.ids
        if not own:
            raise ConfigError("is for none of the poses", subject=str(fold.weights))
        for seen, layer in found:
            if seen.isdisjoint(own):
                seen |= own
                layer.append(fold)
                break
        else:
            found.append((set(own), [fold]))
    return [layer for _, layer in found]


def weights_key(folds: Collection[Fold], digests: Mapping[str, str]) -> dict[str, str]:
    """Inputs that name an audit: the digest of each fold's weights, and of its ids."""
    return {f"fold {i}": f"{digests[str(fold.weights)]} {fold.key()}" for i, fold in enumerate(folds)}
