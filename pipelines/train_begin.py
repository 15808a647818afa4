"""Where a training begins: a fresh network, a pre-trained encoder, or a checkpoint to go on from."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from autolabel.errors import ConfigError
from autolabel.run import file_digest
from autolabel.skeleton import Skeleton

if TYPE_CHECKING:
    from model.config import ViTPoseConfig
    from model.encoders import Encoder
    from model.recipe import Training
    from model.vitpose import ViTPose


Heads = Literal["kept", "new"]


class Beginning(NamedTuple):
    """A network to train, made when it is needed.

    Attributes:
        make: Makes it.
        digest: Of what it starts from; empty for a fresh network.
        notes: What a person should know of it.
    """

    make: "Callable[[], ViTPose]"
    digest: str = ""
    notes: tuple[str, ...] = ()


def read_settings(
    network: Mapping[str, Any], training: Mapping[str, Any], subject: str
) -> "tuple[ViTPoseConfig, Training]":
    """What the settings describe, before anything is written.

    Args:
        network: ``size`` (``s`` by default) and fields of ``model.config.ViTPoseConfig``.
        training: Fields of ``model.recipe.Training``.
        subject: What errors call the settings.

    Raises:
        ConfigError: A key is unknown or a value impossible; names it and the table it stands in.
    """
    from model.config import ViTPoseConfig
    from model.recipe import Training

    fields = dict(network)
    described = ViTPoseConfig.of_size(str(fields.pop("size", "s")), subject=f"{subject}: model", **fields)
    return described, Training.parse(training, subject=f"{subject}: training")


def beginning(
    init: str,
    *,
    datasets: Mapping[str, Skeleton],
    dataset: str,
    network: Mapping[str, Any],
    seed: int,
    subject: str,
    heads: Heads = "kept",
) -> Beginning:
    """What a training begins with.

    Args:
        init: A checkpoint or an encoder; empty for a fresh network.
        datasets: Skeletons of the data by the dataset's name, in the order of a fresh network's heads; one under the
            name "" where the data names none.
        dataset: Expert and head of a ViTPose++ in ``init``.
        network: As ``TrainFile.model``.
        seed: Of a fresh network's weights.
        subject: What errors call the settings.
        heads: Whether a checkpoint's heads are kept, or replaced by fresh ones for the data's keypoints.

    Raises:
        ConfigError: Settings that contradict each other or the checkpoint.
        CheckpointError: There is no such checkpoint, or it is damaged.
    """
    encoder = _encoder(init)
    if init and encoder is None:
        if heads == "new":
            return _from_trained_encoder(init, datasets, dataset, network, seed, subject)
        return _from_checkpoint(init, dataset, network, seed, subject)
    if heads == "new":
        raise ConfigError(
            'heads = "new" replaces those of a pose network, and there is none to start from',
            subject=subject,
            remedy="Remove heads, or give init a pose network.",
        )
    _require_no_dataset(dataset, subject)
    if encoder is not None:
        network = with_encoder(network, encoder)
    described = read_settings(_with_datasets(network, list(datasets), subject), {}, subject)[0]
    fresh = _from_nothing(list(datasets.values()), described, seed)
    if encoder is None:
        return Beginning(fresh)
    make = _from_encoder(encoder, network, described, fresh, subject)
    return Beginning(make, _digest(encoder), notes_of(encoder))


def with_encoder(network: Mapping[str, Any], encoder: "Encoder") -> dict[str, Any]:
    """A network's table, and beside it what an encoder says about itself: those of ``pretrain`` and of timm say it.

    Args:
        network: As ``TrainFile.model``; what it gives counts.
        encoder: To start from.

    Returns:
        The whole table; empty where neither says anything.
    """
    own = dict(encoder.network)
    patch = own.get("patch_size")
    if network.get("ratio", 1) != own.get("ratio", 1) or network.get("patch_size", patch) != patch:
        own.pop("patch_padding", None)  # goes with the patches and how they overlap
    if "size" in network:
        own = {name: value for name, value in own.items() if name not in ("width", "depth", "heads", "drop_path")}
    return {**own, **network}


def notes_of(encoder: "Encoder") -> tuple[str, ...]:
    """What a person should know of an encoder to start from, with its name."""
    return tuple(f"{encoder.subject}: {note}" for note in encoder.notes)


def _with_datasets(network: Mapping[str, Any], names: Sequence[str], subject: str) -> dict[str, Any]:
    """The network's table with the data's datasets, an expert for each where it has experts."""
    fields = dict(network)
    if names == [""]:
        return fields
    if "datasets" in fields:
        raise ConfigError(
            "names datasets in [model]", subject=subject, remedy="The [[data]] tables say them: remove it."
        )
    fields["datasets"] = tuple(names)
    if fields.get("expert_width") and "experts" not in fields:
        fields["experts"] = len(names)
    return fields


def _from_nothing(skeletons: Sequence[Skeleton], described: "ViTPoseConfig", seed: int) -> "Callable[[], ViTPose]":
    """Makes a fresh network for the data's skeletons, drawn from the run's seed."""

    def begin() -> "ViTPose":
        import torch

        from model.vitpose import build_vitpose

        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # torch leaves the argument untyped
        return build_vitpose(described, skeletons)

    return begin


def _encoder(init: str) -> "Encoder | None":
    from model.encoders import find_encoder

    return find_encoder(init) if init else None


def _digest(encoder: "Encoder") -> str:
    """Of the file it came from, or of what names it where it came from no file."""
    from pathlib import Path

    path = Path(encoder.subject)
    path = path / "model.safetensors" if path.is_dir() else path
    return file_digest(path) if path.is_file() else encoder.subject


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


def _from_checkpoint(init: str, dataset: str, network: Mapping[str, Any], seed: int, subject: str) -> Beginning:
    """The checkpoint to go on from, changed as [model] says."""
    from model.checkpoint import load_adapted, model_digest
    from model.positions import ADAPTABLE

    _require_changes(network, ADAPTABLE, subject)
    model = load_adapted(init, dataset or None, network, seed=seed)
    return Beginning(lambda: model, model_digest(model))


def _from_trained_encoder(
    init: str,
    datasets: Mapping[str, Skeleton],
    dataset: str,
    network: Mapping[str, Any],
    seed: int,
    subject: str,
) -> Beginning:
    """The checkpoint's encoder, changed as [model] says, with fresh heads for the data's keypoints."""
    from model.checkpoint import load_adapted, model_digest
    from model.fresh_heads import HEAD_FIELDS, with_fresh_heads
    from model.positions import ADAPTABLE

    _require_changes(network, (*ADAPTABLE, *HEAD_FIELDS), subject)
    own = {name: value for name, value in network.items() if name in HEAD_FIELDS}
    rest = {name: value for name, value in network.items() if name not in HEAD_FIELDS}
    trained = load_adapted(init, dataset or None, rest, seed=seed)
    return Beginning(
        lambda: with_fresh_heads(trained, datasets, own, seed=seed, subject=subject), model_digest(trained)
    )


def _require_changes(network: Mapping[str, Any], possible: Sequence[str], subject: str) -> None:
    if others := sorted(set(network) - set(possible)):
        raise ConfigError(
            "gives a network and a checkpoint to go on from",
            subject=subject,
            remedy=f"Beside init, [model] may give {', '.join(possible)}: remove {', '.join(others)}, or init.",
        )
