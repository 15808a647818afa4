"""Weights from and to disk: every released layout goes in, and comes out.

A checkpoint folder holds ``model.safetensors``, ``config.json`` (the network's
:class:`model.config.ViTPoseConfig` and, from training, its metrics) and ``skeleton.json``; a ViTPose++ kept
whole has ``skeleton-NAME.json`` for each further head. The other layouts are a Hugging Face folder and the ``.pth``
files of mmpose 0.x (official, easy_ViTPose) and 1.x. No file that is read can run code: safetensors, JSON, and
``torch.load(weights_only=True)``.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.fit import fit, fitted, require_numbers
from model.hub import hub_folder
from model.huggingface import read_huggingface, write_huggingface
from model.identify import identify
from model.layouts import Origin, Tensors, Weights, count_heads, require_common_encoder, select_dataset
from model.mmpose import is_mmpose, names_from_mmpose, names_to_mmpose
from model.official import names_from_official, names_to_official
from model.positions import adapted, for_input_size
from model.pth import read_pth, write_pth
from model.starter import from_starter
from model.tensor_files import digest_tensors, of_json, of_tensors, read_tensors, write_together
from model.vitpose import ViTPose, build_vitpose

FORMAT = "autolabel-vitpose-1"
"""Marks the config.json of a checkpoint folder, and the version of its layout."""


PTH = "vitpose.pth"
"""Name of the file that :func:`save_official` and :func:`save_mmpose` write."""

_FILES = ("config.json", "model.safetensors", "skeleton.json")
_WANTED = "a checkpoint folder, a Hugging Face folder or hub id, or an official .pth"


def load_model(source: str | Path, dataset: str | None = None, input_size: tuple[int, int] | None = None) -> ViTPose:
    """A network ready to predict.

    Args:
        source: One of: a checkpoint folder; a Hugging Face folder; the id of one on the hub, such as
            ``usyd-community/vitpose-base-simple``; a ``.pth`` of the official repository, of easy_ViTPose or of
            mmpose 1.x; a ``.safetensors`` of :func:`model.starter.save_starter`. A ``skeleton.json`` beside foreign
            weights says what their keypoints are.
        dataset: Which dataset's keypoints, for weights of several datasets or of unstated ones. A ViTPose++
            is then split exactly: that dataset's expert merged into a plain encoder, with its head. Left out,
            a ViTPose++ is kept whole and answers for its first dataset, COCO, unless told otherwise.
        input_size: (H, W) in pixels, where it is to differ from the file's: the positions are resampled. The
            network computes, but was not trained for that size: expect less until it is fine-tuned.

    Returns:
        The network in evaluation mode, float32, on the CPU.

    Raises:
        CheckpointError: Nothing there, damaged, of another layout, ambiguous, or without what ``dataset``
            needs.
        ConfigError: The file's config, or the input size, is impossible.
    """
    weights = _read(source, dataset)
    if input_size is not None:
        weights = for_input_size(weights, input_size, str(source))
    return assemble(weights, str(source))


def load_adapted(source: str | Path, dataset: str | None, changes: Mapping[str, Any], *, seed: int = 0) -> ViTPose:
    """A network to go on training as another one; see :func:`model.positions.adapted` for what may change.

    Args:
        source: As for :func:`load_model`.
        dataset: As for :func:`load_model`.
        changes: Fields of its config that are to differ.
        seed: Of what the changes add.

    Raises:
        CheckpointError: As :func:`load_model`.
        ConfigError: A change is impossible.
    """
    return assemble(adapted(_read(source, dataset), changes, str(source), seed=seed), str(source))


def save_model(model: ViTPose, folder: str | Path, metrics: Mapping[str, float] | None = None) -> Path:
    """Write a checkpoint folder that :func:`load_model` reads; other files in it are left alone.

    An older checkpoint is replaced when all files of the new one are complete. The config comes last and names the
    digest that the tensors carry, so that a kill between the renames is found out when it is loaded.

    Args:
        model: As :func:`model.vitpose.build_vitpose` or :func:`load_model` made it.
        folder: Where to; made if it is not there.
        metrics: Figures to keep with it.

    Returns:
        The folder.

    Raises:
        WorkError: It cannot be written, such as when the disk is full; an older one stays as it was.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    digest = model_digest(model)
    tensors = of_tensors(folder / "model.safetensors", model.state_dict(), {"format": "pt", "digest": digest})
    names = _skeleton_files(model.config, len(model.skeletons))
    skeletons = [of_json(folder / name, one.to_dict()) for name, one in zip(names, model.skeletons, strict=True)]
    network = model.config.described()
    described = {"format": FORMAT, "digest": digest, "network": network, "metrics": dict(metrics or {})}
    write_together([tensors, *skeletons, of_json(folder / "config.json", described)])
    return folder


def save_huggingface(model: ViTPose, folder: str | Path) -> Path:
    """Write a folder that transformers' ``VitPoseForPoseEstimation.from_pretrained`` reads.

    Our ``skeleton.json`` lies beside it, so that :func:`load_model` gets the same network back.

    Returns:
        The folder.

    Raises:
        CheckpointError: The network has what that layout cannot express.
        WorkError: As :func:`save_model`.
    """
    config, tensors = write_huggingface(model)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_together(
        [
            of_tensors(folder / "model.safetensors", tensors, {"format": "pt"}),
            of_json(folder / "skeleton.json", model.skeleton.to_dict()),
            of_json(folder / "config.json", config),
        ]
    )
    return folder


def save_official(model: ViTPose, folder: str | Path) -> Path:
    """Write ``vitpose.pth`` in the official layout (mmpose 0.x).

    Its ``meta`` holds our description, so that :func:`load_model` gets the same network back, presence heads and all;
    the official code passes over those.

    Returns:
        The file.

    Raises:
        CheckpointError: The network attends within windows or to a knowledge token, which the official code does not.
        WorkError: As :func:`save_model`.
    """
    require_common_encoder(model.config, "the official code", str(folder))
    return _save_pth(model, Path(folder), names_to_official(model.state_dict()))


def save_mmpose(model: ViTPose, folder: str | Path) -> Path:
    """Write ``vitpose.pth`` in the layout of mmpose 1.x, with positions folded (see :mod:`model.mmpose`).

    Returns:
        The file.

    Raises:
        CheckpointError: The network has several heads or experts, windows or a knowledge token, which that layout
            cannot hold.
        WorkError: As :func:`save_model`.
    """
    require_common_encoder(model.config, "mmpose 1.x", str(folder))
    return _save_pth(model, Path(folder), names_to_mmpose(model.state_dict(), str(folder)))


def model_digest(source: ViTPose | str | Path) -> str:
    """Hex SHA-256 over config, skeletons and every tensor of a network, whatever layout holds it.

    Raises:
        CheckpointError: As :func:`load_model`.
    """
    model = source if isinstance(source, ViTPose) else load_model(source)
    described = [model.config.described(), [skeleton.to_dict() for skeleton in model.skeletons]]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    digest_tensors(digest, model.state_dict())
    return digest.hexdigest()


# Reading.


def _read(source: str | Path, dataset: str | None) -> Weights:
    """What lies at ``source``, or the part of it for ``dataset``."""
    origin = Origin(subject=str(source), dataset=dataset)
    path = Path(source)
    if path.is_dir():
        weights = _read_folder(path, origin)
    elif path.is_file() and path.suffix == ".safetensors":
        weights = from_starter(*read_tensors(path, origin.subject), origin.subject)
    elif path.is_file():
        weights = _read_pth(path, origin)
    elif path.is_symlink():
        raise CheckpointError(
            f"is a link to {path.readlink()}, which is not there",
            subject=origin.subject,
            remedy="Get the file it stands for (`git annex get`, or download it), or give another.",
        )
    else:
        weights = _read_folder(hub_folder(str(source), _FILES, wanted=_WANTED), origin)
    return select_dataset(fitted(weights, origin.subject), origin)


def _read_folder(folder: Path, origin: Origin) -> Weights:
    config = _read_json(folder / "config.json", origin.subject)
    if config.get("format") == FORMAT:
        return _read_own(folder, config, origin)
    if config.get("model_type") != "vitpose":
        kind = config.get("format") or config.get("model_type") or "no model_type"
        raise CheckpointError(
            f"its config.json says {kind!r}, which is no ViTPose that this version reads",
            subject=origin.subject,
            remedy="Give a checkpoint folder or a Hugging Face folder of VitPoseForPoseEstimation.",
        )
    beside = folder / "skeleton.json"
    origin = replace(origin, skeleton=Skeleton.load(beside) if beside.is_file() else None)
    tensors, _ = read_tensors(folder / "model.safetensors", origin.subject)
    return read_huggingface(config, tensors, origin)


def _read_own(folder: Path, described: Mapping[str, Any], origin: Origin) -> Weights:
    network = described.get("network")
    if not isinstance(network, dict):
        raise CheckpointError("its config.json describes no network", subject=origin.subject)
    config = ViTPoseConfig.parse(network, subject=f"{origin.subject}/config.json")
    tensors, metadata = read_tensors(folder / "model.safetensors", origin.subject)
    if metadata.get("digest") != described.get("digest"):
        raise CheckpointError(
            "config.json and model.safetensors are from different saves",
            subject=origin.subject,
            remedy="Save the model again.",
        )
    skeletons = [
        Skeleton.from_dict(_read_json(folder / name, origin.subject), subject=f"{origin.subject}/{name}")
        for name in _skeleton_files(config, count_heads(tensors))
    ]
    return Weights(config, tuple(skeletons), tensors)


def _skeleton_files(config: ViTPoseConfig, heads: int) -> list[str]:
    return ["skeleton.json", *(f"skeleton-{name}.json" for name in config.datasets[1:heads])]


def _read_pth(path: Path, origin: Origin) -> Weights:
    file = read_pth(path, origin.subject)
    if is_mmpose(file.state):
        tensors = names_from_mmpose(file.state, origin.subject)
    else:
        tensors = names_from_official(file.state, origin.subject)
    if file.described is not None:
        return _described(file.described, tensors, origin.subject)
    beside = path.parent / "skeleton.json"
    origin = replace(origin, skeleton=Skeleton.load(beside) if beside.is_file() else None)
    return identify(tensors, origin)


def _described(described: Mapping[str, Any], tensors: Tensors, subject: str) -> Weights:
    """What a ``.pth`` that we wrote says of itself."""
    try:
        network, skeletons = dict(described["network"]), list(described["skeletons"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"its meta describes no network: {error}", subject=subject, remedy="Convert the network again."
        ) from error
    config = ViTPoseConfig.parse(network, subject=subject)
    return Weights(config, tuple(Skeleton.from_dict(s, subject=subject) for s in skeletons), tensors)


def _read_json(path: Path, subject: str) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(
            f"has no {path.name}",
            subject=subject,
            remedy="Give a whole checkpoint folder or Hugging Face folder, or a .pth file itself.",
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path.name} is not JSON: {error}", subject=subject) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} is not a JSON object", subject=subject)
    return content


def assemble(weights: Weights, subject: str) -> ViTPose:
    """The network that weights describe, in evaluation mode, float32, on the CPU.

    Raises:
        CheckpointError: The tensors do not fit their description, or are no numbers.
    """
    # Built without storage first: initialising what is about to be overwritten takes seconds for the larger
    # networks.
    with torch.device("meta"):
        model = build_vitpose(weights.config, weights.skeletons)
    expected = model.state_dict()
    tensors = fit(weights.tensors, expected, subject)
    require_numbers(tensors, expected, subject)
    model.to_empty(device="cpu").load_state_dict(tensors)
    model.restore_constants()
    return model.eval()


# Writing: all files of a save are complete before the first takes its place.


def _save_pth(model: ViTPose, folder: Path, state: Tensors) -> Path:
    """Write a ``.pth`` and, for programs that read no meta, the skeleton of its first head beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    skeletons = [skeleton.to_dict() for skeleton in model.skeletons]
    described = {"network": model.config.described(), "skeletons": skeletons}
    weights = (folder / PTH, lambda temporary: write_pth(temporary, state, described))
    write_together([of_json(folder / "skeleton.json", skeletons[0]), weights])
    return folder / PTH
