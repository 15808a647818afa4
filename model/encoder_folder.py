"""The folder of an encoder that was pre-trained here: ``model.safetensors`` in our names, and ``config.json``.

It is no pose network: there are no keypoint heads and no skeleton. ``train`` starts one from it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from model.config import ViTPoseConfig
from model.tensor_files import digest_tensors, of_json, of_tensors, write_together

FORMAT = "autolabel-encoder-1"
"""Marks the config.json of an encoder's folder, and the version of its layout."""

TENSORS, CONFIG = "model.safetensors", "config.json"


def save_encoder(
    config: ViTPoseConfig, tensors: Mapping[str, Tensor], folder: Path, metrics: Mapping[str, float]
) -> None:
    """Write an encoder's folder, both files or none; the config comes last, with the digest of the tensors.

    Args:
        config: The network that was pre-trained.
        tensors: Patch embedding, positions, blocks and last norm.
        folder: Where to; made if it is not there.
        metrics: Figures to keep with it.

    Raises:
        WorkError: It cannot be written, such as when the disk is full; an older one stays as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digest = tensors_digest(tensors)
    described = {"format": FORMAT, "digest": digest, "network": config.described(), "metrics": dict(metrics)}
    write_together(
        [
            of_tensors(folder / TENSORS, tensors, {"format": "pt", "digest": digest}),
            of_json(folder / CONFIG, described),
        ]
    )


def read_description(folder: Path) -> dict[str, Any] | None:
    """What the config.json of a folder says; None where there is none, or it is no JSON object."""
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    return content if isinstance(content, dict) else None


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over names, types, shapes and numbers."""
    digest = hashlib.sha256()
    digest_tensors(digest, tensors)
    return digest.hexdigest()
