"""``autolabel train``: supervised training and fine-tuning from a TOML file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from autolabel.errors import ConfigError
from autolabel.manifest import Existing, Manifest
from autolabel.progress import SILENT, Progress
from autolabel.settings import Settings
from autolabel.skeleton import Skeleton
from pipelines.launch import is_launched
from pipelines.train_begin import Beginning, Heads, beginning, read_settings
from pipelines.training_run import Job, Trained, beside, draw_curves, in_processes, launch_again, require_resumable

if TYPE_CHECKING:
    from model.lesson import Lesson
    from model.recipe import Training
    from model.vitpose import ViTPose

CROPS = "crops.png"
"""The picture of augmented crops that a training begins with."""


class Data(Settings):
    """Poses to train on, or to measure on.

    Attributes:
        manifest: The manifest's folder; relative to the TOML file.
        share: Relative share of every batch.
        dataset: Name of the dataset, for a network with a decoder for each of several; manifests of one dataset have
            one skeleton.
    """

    manifest: str
    share: float = Field(1.0, gt=0)
    dataset: str = ""


class TrainFile(Settings):
    """The content of a training file.

    Attributes:
        data: One or more manifests.
        validation: Manifests to measure on while training: the best network is kept. Their shares do not count.
        init: A checkpoint to go on from, relative to the TOML file, or a hub id; or a pre-trained encoder (a folder of
            ``pretrain``, MAE's ``.pth``, ``timm:NAME``), which ``model`` then describes; without it a network is made
            from ``model``.
        dataset: Expert and head of a ViTPose++ in ``init``.
        heads: ``new`` puts fresh heads for the data's keypoints on the encoder of the checkpoint in ``init``, whatever
            keypoints that had.
        model: ``size`` (``ti``, ``s``, ``b``, ``l``, ``h``; ``s`` by default) and the fields of
            ``model.config.ViTPoseConfig`` that differ from it. Beside a checkpoint, what it may change: ``input_size``,
            ``ratio``, the attention's fields, ``presence``, ``whole_box``, ``drop_path``.
        training: Fields of ``model.recipe.Training``.
    """

    data: tuple[Data, ...] = Field(min_length=1)
    validation: tuple[Data, ...] = ()
    init: str = ""
    dataset: str = ""
    heads: Heads = "kept"
    model: dict[str, Any] = Field(default_factory=dict[str, Any])
    training: dict[str, Any] = Field(default_factory=dict[str, Any])


class Portion(NamedTuple):
    """Poses to train on.

    Attributes:
        manifest: The poses.
        share: Relative share of every batch.
        dataset: Name of the dataset, or empty.
    """

    manifest: Manifest
    share: float = 1.0
    dataset: str = ""


def train(
    *,
    config: str | Path,
    out: str | Path,
    resume: bool = False,
    processes: int = 1,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Trained:
    """Train as a TOML file says; a run that was stopped goes on where it stopped.

    Args:
        config: The TOML file; see :class:`TrainFile`.
        out: The checkpoint folder.
        resume: Refuse to start anew: ``out`` must hold a run that was stopped, or is done.
        processes: How many on this machine share every batch, such as one a GPU.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        ConfigError: A setting is unknown or impossible, or two contradict each other.
        InputError: There is nothing to resume; data or checkpoint are not there, or do not fit.
        ExistsError: ``out`` holds another result.
        WorkError: The loss is no longer finite, memory does not suffice, or the disk is full.
    """
    require_resumable(out, resume=resume, overwrite=overwrite)
    path = Path(config)
    settings = TrainFile.load(path)
    sources, validation = (
        [Portion(Manifest.open(path.parent / data.manifest), data.share, data.dataset) for data in part]
        for part in (settings.data, settings.validation)
    )
    if processes > 1 and not is_launched():
        _require_trainable(settings, sources, processes, str(path))
        return launch_again("train", path, out, processes, resume=resume, overwrite=overwrite)
    return train_network(
        sources,
        out=out,
        validation=validation,
        init=beside(path, settings.init),
        dataset=settings.dataset,
        heads=settings.heads,
        network=settings.model,
        training=settings.training,
        subject=str(path),
        overwrite=overwrite,
        progress=progress,
    )


def _require_trainable(settings: TrainFile, sources: Sequence[Portion], processes: int, subject: str) -> None:
    """Refuse before any process is started what would be refused in all of them; of ``init``, which may be large, not.

    Raises:
        ConfigError: A setting is unknown or impossible.
    """
    how = read_settings({}, settings.training, subject)[1]
    how.share(processes, f"{subject}: training")
    datasets = _datasets(sources, subject)
    if not settings.init:
        beginning(
            "",
            datasets=datasets,
            dataset=settings.dataset,
            network=settings.model,
            seed=how.seed,
            subject=subject,
            heads=settings.heads,
        )


def train_network(
    sources: Sequence[tuple[Manifest, float] | Portion],
    *,
    out: str | Path,
    validation: Sequence[tuple[Manifest, float] | Portion] = (),
    init: str = "",
    dataset: str = "",
    heads: Heads = "kept",
    network: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    subject: str = "training",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Trained:
    """Train a new network, or fine-tune one.

    Started by ``accelerate launch`` in several processes, every one calls this, and the first one writes.

    Args:
        sources: Manifests, their relative shares of every batch, and their datasets.
        out: The checkpoint folder.
        validation: Manifests to measure on while training.
        init: Checkpoint to fine-tune, or encoder to start from.
        dataset: Expert and head of a ViTPose++.
        heads: As ``TrainFile.heads``.
        network: As ``TrainFile.model``.
        training: As ``TrainFile.training``.
        subject: What errors call the settings.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        ConfigError: A setting is unknown or impossible.
        InputError: As :func:`train`.
        ExistsError: ``out`` holds another result.
        WorkError: As :func:`train`.
    """
    from model.train_processes import join

    portions, held = ([_portion(source) for source in part] for part in (sources, validation))
    how = read_settings({}, training or {}, subject)[1]
    begin = beginning(
        init,
        datasets=_datasets(portions, subject),
        dataset=dataset,
        network=network or {},
        seed=how.seed,
        subject=subject,
        heads=heads,
    )
    inputs = {f"data {i}": portion.manifest.digest for i, portion in enumerate(portions)}
    inputs |= {f"validation {i}": portion.manifest.digest for i, portion in enumerate(held)}
    if begin.digest:
        inputs["init"] = begin.digest
    config = {
        "shares": [portion.share for portion in portions],
        "network": dict(network or {}),
        "dataset": dataset,
        "training": how.model_dump(mode="json"),
    }
    config |= {"heads": heads} if heads != "kept" else {}
    if named := [portion.dataset for portion in (*portions, *held)]:
        config |= {"datasets": named} if any(named) else {}
    job = Job(config, inputs, Existing.OVERWRITE if overwrite else Existing.RESUME)

    def work(folder: Path) -> dict[str, Any]:
        return _work(begin, portions, held, how, folder, progress)

    return in_processes("train", out, job, join(how.device), work)


def _portion(source: tuple[Manifest, float] | Portion) -> Portion:
    return source if isinstance(source, Portion) else Portion(source[0], source[1])


def _datasets(portions: Sequence[Portion], subject: str) -> dict[str, Skeleton]:
    """The data's skeletons by dataset, in the order in which they come first.

    Raises:
        ConfigError: Some name a dataset and others do not.
        SkeletonError: Two manifests of one dataset have different skeletons.
    """
    if not portions:
        raise ConfigError("no data to train on", subject=subject)
    if len({bool(portion.dataset) for portion in portions}) > 1:
        raise ConfigError(
            "names a dataset for some of its data",
            subject=subject,
            remedy="Give dataset = ... in every [[data]], or in none.",
        )
    found: dict[str, Skeleton] = {}
    for portion in portions:
        known = found.setdefault(portion.dataset, portion.manifest.skeleton)
        known.require_same(portion.manifest.skeleton, str(portion.manifest.path))
    return found


def _work(
    begin: Beginning,
    portions: Sequence[Portion],
    held: Sequence[Portion],
    how: "Training",
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train, with a picture of what is trained on before, and the curves after."""
    from model.supervised import Source, train_supervised
    from model.train_processes import leads

    for note in begin.notes if leads() else ():
        progress.note(note)
    sources, validation = ([Source(*portion) for portion in part] for part in (portions, held))
    picture = folder / CROPS
    show = shower(picture, progress) if leads() and not picture.is_file() else None
    model = begin.make()
    if leads():
        progress.note(f"the network: {cost_told(model, how)}")
    try:
        return train_supervised(model, sources, how, folder, validation=validation, show=show, progress=progress)
    finally:
        if leads():
            draw_curves(folder, progress)


def cost_told(model: "ViTPose", how: "Training") -> str:
    """What a network costs, for people."""
    from model.cost import cost

    keypoints = max(skeleton.num_keypoints for skeleton in model.skeletons)
    return cost(model.config, keypoints, checkpoint_activations=how.checkpoint_activations).told()


def shower(picture: Path, progress: Progress) -> "Callable[[Lesson], None]":
    """What draws the first crops that the network will see; once, because a run that goes on sees the same."""

    def show(lesson: "Lesson") -> None:
        from autolabel.report.crops_picture import crops_picture
        from model.preview import preview

        shown = preview(lesson.crops, lesson.targets)
        crops_picture(
            shown.crops,
            shown.xy,
            shown.visibility,
            lesson.skeletons,
            picture,
            dataset=shown.dataset.tolist(),
            heatmaps=shown.heatmaps,
            captions=shown.captions,
        )
        progress.note(f"look at {picture}: augmented crops, with the keypoints that they teach")

    return show
