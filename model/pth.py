"""A ``.pth`` file: reading tensors out of it without running anything, and writing one.

Pickle can run code, so only ``torch.load(weights_only=True)`` reads it. People give many other files by mistake: a
web page saved under the name, a Git LFS pointer, an ONNX export, another tool's detector. Each is told by its first
bytes or its content, and refused with what to do instead.
"""

import json
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.serialization import safe_globals

from autolabel.errors import CheckpointError
from model.layouts import Tensors

OURS = "autolabel"
"""Key in ``meta`` of files that we write, with the network's description as JSON."""

# mmpose 1.x keeps arrays of numbers beside the weights (meta.dataset_meta: sigmas, colours). NumPy's functions that
# put them together run nothing; its dtype of objects is not among them. The module was renamed in NumPy 2.
_ARRAYS: list[Any] = [
    *(
        (made.__reduce__()[0], f"numpy.{core}.multiarray.{name}")
        for made, name in ((np.zeros(1), "_reconstruct"), (np.float64(), "scalar"))
        for core in ("core", "_core")
    ),
    *(np.ndarray, np.dtype),
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"},
]

_SNIFF = 512
_DOWNLOAD_AGAIN = "Download it again, and compare its size with the one on the page."
_GIVE = "Give an official .pth, a Hugging Face folder or a checkpoint folder."


@dataclass(frozen=True)
class PthFile:
    """What a file holds.

    Attributes:
        state: Its tensors, under the file's names, without ``module.``.
        described: What we wrote of the network beside them, or None.
    """

    state: Tensors
    described: Mapping[str, Any] | None


def read_pth(path: Path, subject: str) -> PthFile:
    """The ``state_dict`` in a file: at its top, or under ``state_dict``, ``model`` or ``module``.

    Raises:
        CheckpointError: It is no PyTorch file of tensors; says what it seems to be.
    """
    refuse_other_files(path, subject)
    try:
        with safe_globals(_ARRAYS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _objects(str(error), subject) from error
    except _DAMAGED as error:
        first = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"is damaged: {first}", subject=subject, remedy=_DOWNLOAD_AGAIN) from error
    if not isinstance(content, dict):
        raise _no_state_dict(f"a {type(content).__name__}", subject)
    return PthFile(_state(content, subject), _described(content, subject))


def write_pth(path: Path, state: Mapping[str, Tensor], described: Mapping[str, Any]) -> None:
    """Write tensors and a description, as ``{"meta": ..., "state_dict": ...}``."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    torch.save({"meta": {OURS: json.dumps(described)}, "state_dict": stored}, path)


def refuse_other_files(path: Path, subject: str, *, safetensors: bool = False) -> None:
    """Refuse what is told by its first bytes, before anything tries to read it as weights.

    Args:
        path: The file.
        subject: What errors call it.
        safetensors: It is to be a safetensors file, not PyTorch's.

    Raises:
        CheckpointError: It is empty, a pointer, a web page, or another tool's file.
    """
    with path.open("rb") as file:
        start = file.read(_SNIFF)
    found = _of_any_kind(start) or (None if safetensors else _not_pytorch(start, path))
    if found is not None:
        what, remedy = found
        raise CheckpointError(what, subject=subject, remedy=remedy)


# What torch's restricted unpickler raises on bytes that are no pickle of tensors; found by mutating files.
_DAMAGED = (
    *(RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError, AssertionError),
    *(OverflowError, MemoryError, struct.error),
)

ANNEX = (
    "is a git-annex pointer, not the file itself",
    "Run `git annex get` on it, or download the file from the page.",
)

_SUFFIXES: Mapping[str, tuple[str, str]] = {
    ".onnx": ("is an ONNX file, whose weights are baked into a graph", "Give the .pth that it was exported from."),
    ".engine": ("is a TensorRT engine, which is made for one machine", "Give the .pth that it was exported from."),
    ".ckpt": ("is a TensorFlow or Lightning checkpoint", "Save its state_dict with torch.save as a .pth."),
}

# First bytes, what they tell, what to do.
_STARTS = (
    (
        b"version https://git-lfs",
        "is a Git LFS pointer, not the file itself",
        "Run `git lfs pull` where you cloned it, or download the file from the page.",
    ),
    (b"\x1f\x8b", "is a gzip archive", "Unpack it and give the .pth inside."),
    (b"7z\xbc\xaf", "is a 7-Zip archive", "Unpack it and give the .pth inside."),
    (b"\x89HDF", "is an HDF5 file, as Keras writes", _GIVE),
    (b"GGUF", "is a GGUF file", _GIVE),
)


def _of_any_kind(start: bytes) -> tuple[str, str] | None:
    """What the file is, and what to do, where it is certainly no weights of any kind."""
    if not start:
        return "is empty (0 bytes)", _DOWNLOAD_AGAIN
    for magic, what, remedy in _STARTS:
        if start.startswith(magic):
            return what, remedy
    if b"/annex/objects/" in start:
        return ANNEX
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return (
            "is a web page, not weights",
            "The site answered with a page (a login or a warning about the file's size): download it in a browser, "
            "or from the address of the file itself.",
        )
    return None


def _not_pytorch(start: bytes, path: Path) -> tuple[str, str] | None:
    """What the file is, and what to do, where it is certainly not what ``torch.save`` writes."""
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 100_000_000:
        return "is one file of a folder (safetensors)", "Give the folder, with the config.json that describes it."
    if start.startswith(b"PK"):
        return _zip(path)
    if not start.startswith(b"\x80"):
        return _SUFFIXES.get(path.suffix.lower()) or ("is not a PyTorch file", _GIVE)
    return None


def _zip(path: Path) -> tuple[str, str] | None:
    """What a zip file is: PyTorch's have one folder with ``data.pkl``."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, LookupError, OSError, struct.error):
        return f"is damaged, or cut short at {path.stat().st_size:,} bytes", _DOWNLOAD_AGAIN
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return (
            "is a TorchScript program, not a state_dict",
            "Give the .pth that it was exported from; or save torch.jit.load(path).state_dict() as a .pth.",
        )
    if not any(name.endswith("data.pkl") for name in names):
        listed = ", ".join(names[:3]) or "nothing"
        return f"is a zip archive with {listed}, not a PyTorch file", "Unpack it and give the .pth inside."
    return None


def _objects(message: str, subject: str) -> CheckpointError:
    """The error for a pickle with more than tensors; names the class where PyTorch's message does."""
    named = re.search(r"GLOBAL ([\w.]+)", message)
    held = f" ({named[1]})" if named else ""
    if named and named[1].startswith(("ultralytics.", "models.yolo")):
        return CheckpointError(
            f"is a YOLO file: it holds a whole pickled detector{held}, which is never executed",
            subject=subject,
            remedy="Give ViTPose weights. Boxes from that detector come in as COCO results (predict --boxes).",
        )
    return CheckpointError(
        f"is not a PyTorch file, or holds Python objects besides tensors{held}, which are never executed",
        subject=subject,
        remedy="If you trust it, save only its state_dict, with the program that wrote it: "
        "torch.save({'state_dict': ...}, path).",
    )


def _state(content: Mapping[str, Any], subject: str) -> Tensors:
    state: Mapping[str, Any] = content
    for key in ("state_dict", "model", "module"):
        if isinstance(state.get(key), dict):
            state = cast("Mapping[str, Any]", state[key])
    if "param_groups" in state or ("optimizer" in state and not _tensors(state)):
        raise CheckpointError(
            "holds an optimizer's state and no network",
            subject=subject,
            remedy="Give the file of the weights that was saved beside it.",
        )
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise _no_state_dict("nothing" if not state else f"the keys {', '.join(map(str, list(state)[:3]))}", subject)
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _tensors(state: Mapping[str, Any]) -> list[str]:
    return [name for name, value in state.items() if isinstance(value, Tensor)]


def _no_state_dict(found: str, subject: str) -> CheckpointError:
    return CheckpointError(
        f"holds no state_dict, but {found}", subject=subject, remedy=f"{_GIVE} Tensors by name are what is read."
    )


def _described(content: Mapping[str, Any], subject: str) -> Mapping[str, Any] | None:
    meta = content.get("meta")
    text = cast("Mapping[str, Any]", meta).get(OURS) if isinstance(meta, dict) else None
    if text is None:
        return None
    try:
        described = json.loads(text)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"its meta is not what we wrote: {error}", subject=subject, remedy="Convert the network again."
        ) from error
    if not isinstance(described, dict):
        raise CheckpointError("its meta is not what we wrote", subject=subject, remedy="Convert the network again.")
    return cast("dict[str, Any]", described)
