"""``autolabel train``: supervised training and fine-tuning from a TOML file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from autolabel.errors import ConfigError, InputError
from autolabel.manifest import Existing, Manifest
from autolabel.progress import SILENT, Progress
from autolabel.run import DONE, RECORD, Run, RunState, file_digest, read_done
from autolabel.settings import Settings
from autolabel.skeleton import Skeleton

if TYPE_CHECKING:
    from model.config import ViTPoseConfig
    from model.encoders import Encoder
    from model.train import Training
    from model.vitpose import ViTPose


class Data(Settings):
    """Poses to train on.

    Attributes:
        manifest: The manifest's folder; relative to the TOML file.
        share: Relative share of every batch.
    """

    manifest: str
    share: float = Field(1.0, gt=0)


class TrainFile(Settings):
    """The content of a training file.

    Attributes:
        data: One or more manifests.
        init: A checkpoint to go on from, relative to the TOML file, or a hub id; or a pre-trained encoder (MAE's
            ``.pth``), which ``model`` then describes; without it a network is made from ``model``.
        dataset: Expert and head of a ViTPose++ in ``init``.
        model: ``size`` (``s``, ``b``, ``l``, ``h``; ``s`` by default) and the fields of ``model.config.ViTPoseConfig``
            that differ from it. Beside a checkpoint it may give ``input_size`` alone: positions are then resampled.
        training: Fields of ``model.train.Training``.
    """

    data: tuple[Data, ...] = Field(min_length=1)
    init: str = ""
    dataset: str = ""
    model: dict[str, Any] = Field(default_factory=dict[str, Any])
    training: dict[str, Any] = Field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class TrainResult:
    """A finished training.

    Attributes:
        checkpoint: The folder.
        metrics: The last line of its metrics.
    """

    checkpoint: Path
    metrics: Mapping[str, Any]

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {"checkpoint": self.checkpoint, **self.metrics}


def train(
    *,
    config: str | Path,
    out: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train as a TOML file says; a run that was stopped goes on where it stopped.

    Args:
        config: The TOML file; see :class:`TrainFile`.
        out: The checkpoint folder.
        resume: Refuse to start anew: ``out`` must hold a run that was stopped, or is done.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        ConfigError: A setting is unknown or impossible, or two contradict each other.
        InputError: There is nothing to resume; data or checkpoint are not there, or do not fit.
        ExistsError: ``out`` holds another result.
    """
    if resume and overwrite:
        raise ConfigError("--resume goes on with what --overwrite removes", remedy="Give one of them.")
    if resume and not (Path(out) / RECORD).is_file():
        raise InputError("holds no run to resume", subject=str(out), remedy="Leave out --resume to start one.")
    path = Path(config)
    settings = TrainFile.load(path)
    sources = [(Manifest.open(path.parent / data.manifest), data.share) for data in settings.data]
    init = settings.init
    if init and (path.parent / init).exists():
        init = str(path.parent / init)
    return train_network(
        sources,
        out=out,
        init=init,
        dataset=settings.dataset,
        network=settings.model,
        training=settings.training,
        subject=str(path),
        overwrite=overwrite,
        progress=progress,
    )


def train_network(
    sources: Sequence[tuple[Manifest, float]],
    *,
    out: str | Path,
    init: str = "",
    dataset: str = "",
    network: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    subject: str = "training",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a new network, or fine-tune one.

    Args:
        sources: Manifests and their relative shares of every batch.
        out: The checkpoint folder.
        init: Checkpoint to fine-tune, or encoder to start from.
        dataset: Expert and head of a ViTPose++.
        network: As ``TrainFile.model``; beside a checkpoint only its ``input_size``.
        training: As ``TrainFile.training``.
        subject: What errors call the settings.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        ConfigError: A setting is unknown or impossible.
        InputError: As :func:`train`.
        ExistsError: ``out`` holds another result.
    """
    from model.train import Source
    from model.train import train as run_training

    encoder, network = _encoder(init), network or {}
    tuned = bool(init) and encoder is None
    described, how = read_settings({} if tuned else network, training or {}, subject)
    inputs = {f"data {i}": manifest.digest for i, (manifest, _) in enumerate(sources)}
    if tuned:
        inputs["init"], begin = _from_checkpoint(init, dataset, network, subject)
    else:
        _require_no_dataset(dataset, subject)
        begin = _from_nothing(sources[0][0].skeleton, described, how.seed)
        if encoder is not None:
            inputs["init"], begin = file_digest(init), _from_encoder(encoder, network, described, begin, subject)
    config = {
        "shares": [share for _, share in sources],
        "network": dict(network),
        "dataset": dataset,
        "training": how.model_dump(mode="json"),
    }
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "train", config=config, inputs=inputs, existing=existing, commit=DONE) as run:
        if run.state is not RunState.DONE:
            chosen = [Source(manifest, share) for manifest, share in sources]
            run.finish(run_training(begin(), chosen, how, run.path, progress=progress))
        done = read_done(run.path) or {}
    return TrainResult(Path(out), {name: value for name, value in done.items() if name != "key"})


def read_settings(
    network: Mapping[str, Any], training: Mapping[str, Any], subject: str
) -> "tuple[ViTPoseConfig, Training]":
    """What the settings describe, before anything is written.

    Args:
        network: As ``TrainFile.model``.
        training: As ``TrainFile.training``.
        subject: What errors call the settings.

    Raises:
        ConfigError: A key is unknown or a value impossible; names it and the table it stands in.
    """
    from model.config import ViTPoseConfig
    from model.train import Training

    fields = dict(network)
    described = ViTPoseConfig.of_size(str(fields.pop("size", "s")), subject=f"{subject}: model", **fields)
    return described, Training.parse(training, subject=f"{subject}: training")


def _from_nothing(skeleton: Skeleton, described: "ViTPoseConfig", seed: int) -> "Callable[[], ViTPose]":
    """Makes a fresh network for the data's skeleton, drawn from the run's seed."""

    def begin() -> "ViTPose":
        import torch

        from model.vitpose import build_vitpose

        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # torch leaves the argument untyped
        return build_vitpose(described, skeleton)

    return begin


def _encoder(init: str) -> "Encoder | None":
    from model.encoders import find_encoder

    return find_encoder(init) if init else None


def _require_no_dataset(dataset: str, subject: str) -> None:
    if dataset:
        raise ConfigError(
            f"names a dataset ({dataset}), but starts from no pose network that could have its expert and head",
            subject=subject,
            remedy="Remove dataset: the keypoints are those of the data.",
        )


def _from_encoder(
    encoder: "Encoder",
    network: Mapping[str, Any],
    described: "ViTPoseConfig",
    fresh: "Callable[[], ViTPose]",
    subject: str,
) -> "Callable[[], ViTPose]":
    """Makes a fresh network that starts from a pre-trained encoder; refuses now what would not fit then."""
    from model.encoders import require_fit, start_from_encoder

    if not network:
        raise ConfigError(
            f"starts from an encoder ({encoder.subject}) and does not say which network",
            subject=subject,
            remedy='Add a [model] table, such as size = "b".',
        )
    require_fit(encoder, described)

    def begin() -> "ViTPose":
        model = fresh()
        start_from_encoder(model, encoder)
        return model

    return begin


def _from_checkpoint(
    init: str, dataset: str, network: Mapping[str, Any], subject: str
) -> "tuple[str, Callable[[], ViTPose]]":
    """The digest of the checkpoint to go on from, and what gives it."""
    from model.checkpoint import load_model, model_digest

    if others := sorted(set(network) - {"input_size"}):
        raise ConfigError(
            "gives a network and a checkpoint to go on from",
            subject=subject,
            remedy=f"Beside init, [model] may give input_size alone: remove {', '.join(others)}, or init.",
        )
    model = load_model(init, dataset or None, network.get("input_size"))
    return model_digest(model), lambda: model
