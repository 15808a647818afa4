"""Files of tensors: read with clear errors, written whole or not at all, alone or together with others.

What stood there before stays until the new files are complete, so that a full disk or a kill takes nothing away.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from autolabel.errors import CheckpointError, WorkError
from model.pth import refuse_other_files

Writer = Callable[[Path], object]
"""Writes a file to the path that it is given."""

File = tuple[Path, Writer]
"""A file to be written: where, and by what."""


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


def write_whole(path: Path, write: Writer) -> None:
    """Write a file beside ``path`` and put it in its place when it is complete and on the disk.

    Args:
        path: The file.
        write: Writes to the path it is given.

    Raises:
        WorkError: It cannot be written, such as when the disk is full; the older file stays.
    """
    write_together([(path, write)])


def write_together(files: Sequence[File]) -> None:
    """Write files that belong together: none takes its place before all of them are complete and on the disk.

    What fails then fails before anything was replaced. Only a kill between two of the renames, which come back to back,
    leaves a mixture; so the last of the files is to tell whether the others are of the same save.

    Args:
        files: In the order in which they are to be put in their places.

    Raises:
        WorkError: One of them cannot be written, such as when the disk is full; the older ones stay.
    """
    beside = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path, _ in files]
    current, replaced = files[0][0], 0
    try:
        for (current, write), temporary in zip(files, beside, strict=True):
            if current.is_dir():  # found out by the rename otherwise, when others may have been replaced
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            write(temporary)
            _to_disk(temporary)
        for (current, _), temporary in zip(files, beside, strict=True):
            temporary.replace(current)
            replaced += 1
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and not _of_the_disk(error):
            raise
        kept = "; the older one stays" if current.is_file() and not replaced else ""
        raise WorkError(
            f"cannot be written{kept}: {error}",
            subject=str(current),
            remedy="Make room, or see who may write there; then give the same command again.",
        ) from error
    finally:
        for temporary in beside:
            temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until a file's content is on the disk: a rename may get there before it, and leave an empty file."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _of_the_disk(error: RuntimeError) -> bool:
    """Whether torch's writer of zip files says so what the system told it; other mistakes are ours."""
    return any(word in str(error) for word in ("PytorchStreamWriter", "unexpected pos", "iostream error"))


def of_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> File:
    """Tensors as a safetensors file, for :func:`write_together`."""

    def write(temporary: Path) -> None:
        stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(stored, temporary, metadata=dict(metadata))

    return path, write


def of_json(path: Path, content: Mapping[str, Any]) -> File:
    """A JSON object as indented UTF-8 text, for :func:`write_together`."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return path, lambda temporary: temporary.write_text(text, encoding="utf-8")
