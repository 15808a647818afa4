"""Files of tensors: read with clear errors, written whole or not at all.

What stood there before stays until the new file is complete, so that a full disk or a kill takes nothing away.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from autolabel.errors import CheckpointError, WorkError
from model.pth import refuse_other_files


def read_tensors(path: Path, subject: str) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors of a safetensors file, and what it says of them.

    Args:
        path: The file.
        subject: What errors call it, or the folder that it is in.

    Raises:
        CheckpointError: It is not there, damaged, or of another kind.
    """
    if not path.is_file():
        raise CheckpointError(
            f"has no {path.name}",
            subject=subject,
            remedy="Pickled or sharded weights are not read: save them as one safetensors file.",
        )
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            return tensors, file.metadata() or {}
    except SafetensorError as error:
        refuse_other_files(path, subject, safetensors=True)
        raise CheckpointError(
            f"{path.name} is damaged: {error}", subject=subject, remedy="Fetch or write it again."
        ) from error


def digest_tensors(digest: "hashlib._Hash", tensors: Mapping[str, Tensor]) -> None:
    """Feed names, types, shapes and numbers to a digest, in the order of the names."""
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside ``path`` and put it in its place when it is complete.

    Args:
        path: The file.
        write: Writes to the path it is given.

    Raises:
        WorkError: It cannot be written, such as when the disk is full; the older file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and not _of_the_disk(error):
            raise
        kept = "; the older one stays" if path.is_file() else ""
        raise WorkError(
            f"cannot be written{kept}: {error}",
            subject=str(path),
            remedy="Make room, or see who may write there; then give the same command again.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _of_the_disk(error: RuntimeError) -> bool:
    """Whether torch's writer of zip files says so what the system told it; other mistakes are ours."""
    return "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors as safetensors, whole.

    Raises:
        WorkError: As :func:`write_whole`.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda temporary: save_file(stored, temporary, metadata=dict(metadata)))


def write_text_whole(path: Path, text: str) -> None:
    """Write UTF-8 text, whole.

    Raises:
        WorkError: As :func:`write_whole`.
    """
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
