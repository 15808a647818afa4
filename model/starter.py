"""A network as one small file: tensors in half precision, and beside them in its header all that describes it.

The package carries one, so that ``autolabel predict PHOTOS`` needs no download (``weights/``, with its model card). It
is a safetensors file, which cannot run code; its metadata holds the config, the skeletons and a digest over everything,
because the format itself would not notice a flipped bit. They are one JSON text, because safetensors writes several in
any order, and the same network shall be the same file. Computing is in float32 all the same: only what is
stored is rounded, to 11 bits.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from autolabel.errors import CheckpointError, ConfigError
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.layouts import Tensors, Weights
from model.tensor_files import digest_tensors, write_whole
from model.vitpose import ViTPose

FORMAT = "autolabel-starter-1"
"""Marks the file, and the version of its layout."""

KEY = "autolabel"
"""Under which the metadata holds the description."""

PEOPLE = Path(__file__).parent / "weights" / "starter-people.safetensors"
"""Where the network for people lies in a package that carries one."""

MAX_BYTES = 12_000_000
"""A package is downloaded by everybody who installs it, wanted or not."""


def starter() -> Path:
    """The network that comes with the package.

    Raises:
        ConfigError: This package carries none.
    """
    if not PEOPLE.is_file():
        raise ConfigError(
            "no starter network comes with this package",
            subject="weights",
            remedy="Give --weights: a checkpoint folder of `autolabel train`, a Hugging Face id such as "
            "usyd-community/vitpose-base, or a .pth (`autolabel weights list` names the released ones).",
        )
    return PEOPLE


def save_starter(model: ViTPose, path: str | Path, *, max_bytes: int = MAX_BYTES) -> Path:
    """Write a network as one file that ``load_model`` reads; it appears whole or not at all.

    Args:
        model: As ``load_model`` or a training made it.
        path: The file, ending in ``.safetensors``; its folder is made.
        max_bytes: It may not be larger.

    Returns:
        The file.

    Raises:
        CheckpointError: It would be too large, or a weight is beyond half precision's range.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError("the file's name must end in .safetensors", subject=str(path))
    tensors = {name: _halved(name, tensor, str(path)) for name, tensor in model.state_dict().items()}
    skeletons = [skeleton.to_dict() for skeleton in model.skeletons]
    described = {"format": FORMAT, "config": model.config.described(), "skeletons": skeletons}
    metadata = {KEY: _json({**described, "digest": _digest(described, tensors)})}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Serialised first: what is too large need not be written to be refused.
    content = save(tensors, metadata)
    if len(content) > max_bytes:
        raise CheckpointError(
            f"would have {len(content):,} bytes, and may have {max_bytes:,}",
            subject=str(path),
            remedy="Distil the network into a smaller one, or drop heads.",
        )
    write_whole(path, lambda temporary: temporary.write_bytes(content))
    return path


def from_starter(tensors: Tensors, metadata: Mapping[str, str], subject: str) -> Weights:
    """The network that a file's tensors and metadata make, in float32.

    Args:
        tensors: As they are stored.
        metadata: Of the file's header.
        subject: What errors call it.

    Raises:
        CheckpointError: It is of another kind, incomplete or damaged.
        ConfigError: Its config is impossible.
        SkeletonError: A skeleton of it is.
    """
    described = _described(metadata, subject)
    digest = described.pop("digest", None)
    try:
        whole = digest == _digest(described, tensors)
    except (ValueError, RecursionError):  # words that are no text, or nest too deeply to be written
        whole = False
    if not whole:
        raise CheckpointError(
            "is damaged: its content is not that of its digest",
            subject=subject,
            remedy="Install autolabel again, or write the file again.",
        )
    config, skeletons = described.get("config"), described.get("skeletons")
    if (
        not isinstance(config, dict)
        or not isinstance(skeletons, list)
        or not all(isinstance(s, dict) for s in skeletons)
    ):
        raise CheckpointError("its header describes no network", subject=subject)
    return Weights(
        ViTPoseConfig.parse(config, subject=subject),
        tuple(Skeleton.from_dict(skeleton, subject=subject) for skeleton in skeletons),
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()},
    )


def _described(metadata: Mapping[str, str], subject: str) -> dict[str, Any]:
    """What the header says, if it is one of ours."""
    try:
        described = json.loads(metadata.get(KEY, "{}"))
    except (ValueError, RecursionError) as error:  # what nests too deeply is no JSON of ours either
        raise CheckpointError(f"its header is not JSON: {error}", subject=subject) from error
    kind = described.get("format") if isinstance(described, dict) else None
    if kind == FORMAT:
        return described
    if str(kind).startswith("autolabel-starter-"):
        raise CheckpointError(
            f"is of the format {kind}, and this version reads {FORMAT}",
            subject=subject,
            remedy="Update autolabel, or save the network again.",
        )
    raise CheckpointError(
        "is one file of a folder (safetensors), and does not say what network it is",
        subject=subject,
        remedy="Give the folder, with the config.json that describes it.",
    )


def _halved(name: str, tensor: Tensor, subject: str) -> Tensor:
    """A tensor to store; counters stay as they are."""
    stored = tensor.detach().cpu().contiguous()
    if not stored.is_floating_point():
        return stored
    half = stored.half()
    if not half.isfinite().all():
        raise CheckpointError(f"{name} holds numbers that half precision cannot", subject=subject)
    return half


def _digest(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Hex SHA-256 over the description and every stored tensor."""
    digest = hashlib.sha256(_json(described).encode())
    digest_tensors(digest, tensors)
    return digest.hexdigest()


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False)
