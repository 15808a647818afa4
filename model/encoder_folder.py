"""The folder of an encoder that was pre-trained here: ``model.safetensors`` in our names, and ``config.json``.

It is no pose network: there are no keypoint heads and no skeleton. ``train`` starts one from it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from autolabel.errors import CheckpointError
from model.config import ViTPoseConfig
from model.pth import refuse_other_files

FORMAT = "autolabel-encoder-1"
"""Marks the config.json of an encoder's folder, and the version of its layout."""

TENSORS, CONFIG = "model.safetensors", "config.json"


def save_encoder(
    config: ViTPoseConfig, tensors: Mapping[str, Tensor], folder: Path, metrics: Mapping[str, float]
) -> None:
    """Write an encoder's folder; each file is replaced whole, the config last, with the digest of the tensors.

    Args:
        config: The network that was pre-trained.
        tensors: Patch embedding, positions, blocks and last norm.
        folder: Where to; made if it is not there.
        metrics: Figures to keep with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    digest = tensors_digest(stored)
    described = {"format": FORMAT, "digest": digest, "network": config.described(), "metrics": dict(metrics)}
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    _replace(folder / TENSORS, lambda file: save_file(stored, file, metadata={"format": "pt", "digest": digest}))
    _replace(folder / CONFIG, lambda file: file.write_text(text, encoding="utf-8"))


def read_description(folder: Path) -> dict[str, Any] | None:
    """What the config.json of a folder says; None where there is none, or it is no JSON object."""
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    return content if isinstance(content, dict) else None


def read_safetensors(path: Path, subject: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors of a file, and what it says of them.

    Raises:
        CheckpointError: It is not there, or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"has no {path.name}", subject=subject, remedy="Give a whole folder, or the file itself.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        refuse_other_files(path, subject, safetensors=True)
        raise CheckpointError(
            f"{path.name} is damaged: {error}", subject=subject, remedy="Fetch or write it again."
        ) from error


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # what a killed run leaves, the next one removes
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
