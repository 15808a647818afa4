"""``autolabel pretrain``: masked-autoencoder pre-training on images that nobody labelled, from a TOML file."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from autolabel.errors import ConfigError
from autolabel.manifest import Existing, Manifest
from autolabel.progress import SILENT, Progress
from autolabel.settings import Settings
from pipelines.launch import is_launched
from pipelines.train_begin import notes_of, read_settings, with_encoder
from pipelines.training_run import Job, Trained, beside, draw_curves, in_processes, launch_again, require_resumable

if TYPE_CHECKING:
    from model.config import ViTPoseConfig
    from model.encoders import Encoder
    from model.image_crops import ImageCrops
    from model.pretrain import MaskedImages, Pretraining
    from model.recipe import Training

PICTURE = "reconstructions.png"
"""What the network makes of some crops, drawn whenever it is saved."""

REFUSED = "refused.jsonl"
"""A line for every image that could not be read, with the reason; not there where all could."""

Crops = Literal["auto", "people", "images"]

_SHOWN = 8
_NOTES = 5


class PretrainData(Settings):
    """Images to pre-train on.

    Attributes:
        manifest: The manifest's folder; relative to the TOML file.
        share: Relative share of every batch.
        crops: ``people``: one crop of each box; ``images``: crops of whole images; ``auto``: people where the manifest
            has any box.
    """

    manifest: str
    share: float = Field(1.0, gt=0)
    crops: Crops = "auto"


class PretrainFile(Settings):
    """The content of a pre-training file.

    Attributes:
        data: One or more manifests, with or without labels.
        init: An encoder to go on from; see :func:`model.encoders.find_encoder`. Its positions are kept.
        model: As in a training file: ``size`` and fields of ``model.config.ViTPoseConfig``. What concerns keypoints has
            no effect. An encoder in ``init`` that says what it is fills in what is not given.
        training: Fields of ``model.recipe.Training``, with MAE's defaults: see :func:`model.pretrain.recipe`.
        pretraining: Fields of ``model.pretrain.Pretraining``.
    """

    data: tuple[PretrainData, ...] = Field(min_length=1)
    init: str = ""
    model: dict[str, Any] = Field(default_factory=dict[str, Any])
    training: dict[str, Any] = Field(default_factory=dict[str, Any])
    pretraining: dict[str, Any] = Field(default_factory=dict[str, Any])


class Corpus(NamedTuple):
    """Images to pre-train on.

    Attributes:
        manifest: Where they are.
        share: Relative share of every batch.
        crops: As :class:`PretrainData`.
    """

    manifest: Manifest
    share: float = 1.0
    crops: Crops = "auto"


def pretrain(
    *,
    config: str | Path,
    out: str | Path,
    resume: bool = False,
    processes: int = 1,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Trained:
    """Pre-train an encoder as a TOML file says; a run that was stopped goes on where it stopped.

    Args:
        config: The TOML file; see :class:`PretrainFile`.
        out: The encoder's folder; ``train`` starts from it by ``init``.
        resume: Refuse to start anew: ``out`` must hold a run that was stopped, or is done.
        processes: How many on this machine share every batch, such as one a GPU.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        ConfigError: A setting is unknown or impossible, or two contradict each other.
        InputError: There is nothing to resume; data or encoder are not there, or no image can be read.
        ExistsError: ``out`` holds another result.
        WorkError: The loss is no longer finite, memory does not suffice, or the disk is full.
    """
    require_resumable(out, resume=resume, overwrite=overwrite)
    path = Path(config)
    settings = PretrainFile.load(path)
    corpora = [Corpus(Manifest.open(path.parent / d.manifest), d.share, d.crops) for d in settings.data]
    if processes > 1 and not is_launched():
        _require_trainable(settings, processes, str(path))
        return launch_again("pretrain", path, out, processes, resume=resume, overwrite=overwrite)
    return pretrain_encoder(
        corpora,
        out=out,
        init=beside(path, settings.init),
        network=settings.model,
        training=settings.training,
        pretraining=settings.pretraining,
        subject=str(path),
        overwrite=overwrite,
        progress=progress,
    )


def _require_trainable(settings: PretrainFile, processes: int, subject: str) -> None:
    """Refuse before any process is started what would be refused in all of them; of ``init``, which may be large, not.

    Raises:
        ConfigError: A setting is unknown or impossible.
    """
    how = _settings(settings.training, settings.pretraining, subject)[0]
    how.share(processes, f"{subject}: training")
    if not settings.init:
        _network(settings.model, None, subject)


def pretrain_encoder(
    corpora: Sequence[Corpus],
    *,
    out: str | Path,
    init: str = "",
    network: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    pretraining: Mapping[str, Any] | None = None,
    subject: str = "pre-training",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Trained:
    """Pre-train an encoder on manifests.

    Started by ``accelerate launch`` in several processes, every one calls this, and the first one writes.

    Args:
        corpora: At least one.
        out: The encoder's folder.
        init: An encoder to go on from.
        network: As ``PretrainFile.model``.
        training: As ``PretrainFile.training``.
        pretraining: As ``PretrainFile.pretraining``.
        subject: What errors call the settings.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        ConfigError: A setting is unknown or impossible.
        InputError: As :func:`pretrain`.
        ExistsError: ``out`` holds another result.
        WorkError: As :func:`pretrain`.
    """
    from model.encoder_folder import tensors_digest
    from model.train_processes import join

    how, masking = _settings(training or {}, pretraining or {}, subject)
    encoder = _encoder(init, subject)
    described = _network(network or {}, encoder, subject)
    inputs = {f"data {i}": corpus.manifest.digest for i, corpus in enumerate(corpora)}
    inputs |= {"init": tensors_digest(encoder.tensors)} if encoder is not None else {}
    config = {
        "shares": [corpus.share for corpus in corpora],
        "crops": [corpus.crops for corpus in corpora],
        "network": dict(network or {}),
        "training": how.model_dump(mode="json"),
        "pretraining": masking.model_dump(mode="json"),
    }
    job = Job(config, inputs, Existing.OVERWRITE if overwrite else Existing.RESUME)

    def work(folder: Path) -> dict[str, Any]:
        return _work(corpora, encoder, described, how, masking, folder, progress)

    return in_processes("pretrain", out, job, join(how.device), work)


def read_pretraining(training: Mapping[str, Any], subject: str) -> None:
    """Refuse a wrong table ``[pretraining]`` of a project before anything is done.

    Args:
        training: Fields of ``model.recipe.Training``.
        subject: What errors call the settings.

    Raises:
        ConfigError: A key is unknown, impossible, or without effect.
    """
    from model.pretrain import recipe

    recipe(training, f"{subject}: pretraining")


def _settings(
    training: Mapping[str, Any], pretraining: Mapping[str, Any], subject: str
) -> "tuple[Training, Pretraining]":
    """What the settings describe, before anything is written.

    Raises:
        ConfigError: A key is unknown or a value impossible; names it and the table it stands in.
    """
    from model.pretrain import Pretraining, recipe

    return (
        recipe(training, f"{subject}: training"),
        Pretraining.parse(pretraining, subject=f"{subject}: pretraining"),
    )


def _network(network: Mapping[str, Any], encoder: "Encoder | None", subject: str) -> "ViTPoseConfig":
    """What is pre-trained: as the table says, and an encoder to go on from.

    Raises:
        ConfigError: A key is unknown or a value impossible.
        CheckpointError: The encoder does not fit.
    """
    from model.encoders import require_fit
    from model.pretrain import require_maskable

    described = read_settings(with_encoder(network, encoder) if encoder else network, {}, subject)[0]
    require_maskable(described, f"{subject}: model")
    if encoder is not None:
        require_fit(encoder, described)
    return described


def _encoder(init: str, subject: str) -> "Encoder | None":
    """What to go on from.

    Raises:
        ConfigError: It is no encoder.
        CheckpointError: It is damaged.
    """
    if not init:
        return None
    from model.encoders import find_encoder

    encoder = find_encoder(init)
    if encoder is None:
        raise ConfigError(
            f"starts from {init}, which is no encoder",
            subject=subject,
            remedy="Give a folder that pretrain wrote, timm:NAME, or MAE's .pth; or remove init.",
        )
    return encoder


def _work(
    corpora: Sequence[Corpus],
    encoder: "Encoder | None",
    described: "ViTPoseConfig",
    how: "Training",
    masking: "Pretraining",
    folder: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Pre-train, draw the curves, and say what was passed over."""
    from model.train import Data, train
    from model.train_processes import leads

    for note in notes_of(encoder) if encoder is not None and leads() else ():
        progress.note(note)
    refusals = _Refusals(folder / REFUSED, progress)
    crops = _crops(corpora, described, how, masking)
    objective = _objective(encoder, described, how, masking, crops, refusals.add, _picture if leads() else None)
    data = Data(crops, [corpus.share for corpus in corpora])
    identity = {"network": described.described(), "pretraining": masking.model_dump(mode="json")}
    try:
        last = train(objective, data, how, folder, identity=identity, progress=progress)
    finally:
        if leads():
            draw_curves(folder, progress)
    refused = len(refusals.known())
    if refused and leads():
        progress.note(f"{refused} images could not be read: {folder / REFUSED} lists them")
    return {**last, "refused": refused}


def _crops(
    corpora: Sequence[Corpus], described: "ViTPoseConfig", how: "Training", masking: "Pretraining"
) -> "ImageCrops":
    from model.data import CACHE_BYTES
    from model.image_crops import ImageCrops

    return ImageCrops(
        [corpus.manifest for corpus in corpora],
        cuts=[corpus.crops for corpus in corpora],
        input_size=described.input_size,
        padding=described.box_padding,
        area=masking.area,
        cache_bytes=CACHE_BYTES // max(how.workers, 1),
    )


def _objective(
    encoder: "Encoder | None",
    described: "ViTPoseConfig",
    how: "Training",
    masking: "Pretraining",
    crops: "ImageCrops",
    refuse: Callable[[str, str], None],
    show: Callable[[Path, Any], None] | None,
) -> "MaskedImages":
    import torch

    from model.pretrain import MaskedImages, build_autoencoder

    torch.manual_seed(how.seed)  # pyright: ignore[reportUnknownMemberType]  # torch leaves the argument untyped
    network = build_autoencoder(described, masking, encoder)
    network.checkpoint_activations = how.checkpoint_activations
    places = [i * len(crops) // _SHOWN for i in range(_SHOWN)] if len(crops) >= _SHOWN else list(range(len(crops)))
    return MaskedImages(network, described, masking, refuse=refuse, show=show, shown=crops[places])


def _picture(folder: Path, made: Any) -> None:
    from autolabel.report.reconstructions import draw_reconstructions

    (folder / PICTURE).write_bytes(draw_reconstructions(made.masked, made.reconstructed, made.original))


class _Refusals:
    """The images that could not be read, in a file: a line each, written at once, so that the list survives a kill.

    Args:
        path: The file; lines of an earlier part of the run stay.
        progress: Told the first few.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress = path, progress
        self._known = self.known()

    def known(self) -> set[str]:
        """What the file lists, by whichever process."""
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True) if self._path.is_file() else []
        return {json.loads(line)["image"] for line in lines if line.endswith("}\n")}  # a kill can leave half a line

    def add(self, image: str, reason: str) -> None:
        """Take another one."""
        if image in self._known:
            return
        self._known.add(image)
        line = json.dumps({"image": image, "reason": reason})
        with self._path.open("a+", encoding="utf-8") as file:
            half = file.tell() and self._path.read_bytes()[-1:] != b"\n"  # what a kill can leave
            file.write(("\n" if half else "") + line + "\n")
        if len(self._known) <= _NOTES:
            self._progress.note(f"{image}: {reason}; another takes its place")
