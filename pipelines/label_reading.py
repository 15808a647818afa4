"""What networks say about the labels of a manifest, part by part: a part that was read is kept and never read again."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.images import read_image
from autolabel.label_quality import Evidence
from autolabel.manifest import Manifest
from autolabel.poses import Poses, Sample
from autolabel.progress import Task
from pipelines.label_folds import Fold

if TYPE_CHECKING:
    from model.label_doubt import Labelled, LabelReader

DECODERS = 4
AT_ONCE = 16
"""Images that are decoded at a time."""

_UNREAD = "unread.json"

Usable = NDArray[np.bool_]


def read_labels(
    manifest: Manifest, layer: Sequence[tuple[Fold, "LabelReader"]], folder: Path, task: Task
) -> tuple[Evidence, list[dict[str, str]]]:
    """Let the networks of one layer look at their labels.

    Args:
        manifest: N labelled poses.
        layer: Networks, and the poses that each may look at.
        folder: Keeps what was read.
        task: Advances by images.

    Returns:
        What was said about the N poses, NaN where no network looked, and the images that could not be read: ``path``,
        ``reason`` and ``detail``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, NDArray[Any]]] = []
    unread: list[dict[str, str]] = []
    for i in range(manifest.num_parts):
        kept, said = folder / f"{i:05d}.npz", folder / f"{i:05d}-{_UNREAD}"
        if not kept.is_file():
            arrays, refused = _read_part(manifest.part(i), manifest, layer, task)
            _write(said, json.dumps(refused).encode())
            _save(kept, arrays)
        else:
            task.advance(manifest.part_length(i))
        with np.load(kept) as stored:
            parts.append({name: stored[name] for name in stored.files})
        unread += json.loads(said.read_text(encoding="utf-8"))
    joined = {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]}
    return Evidence(joined.pop("xy"), joined), unread


def usable(poses: Poses) -> Usable:
    """(N,) poses of one person in a box, of whom something is labelled."""
    return ~poses.crowd & np.isfinite(poses.box).all(axis=1) & poses.labelled.any(axis=1)


def _read_part(
    samples: Sequence[Sample], manifest: Manifest, layer: Sequence[tuple[Fold, "LabelReader"]], task: Task
) -> tuple[dict[str, NDArray[Any]], list[dict[str, str]]]:
    k = manifest.skeleton.num_keypoints
    poses = Poses.concat([Poses.empty(k), *(sample.poses for sample in samples)])
    owner = np.repeat(np.arange(len(samples)), [len(sample.poses) for sample in samples])
    arrays: dict[str, NDArray[Any]] = {"xy": np.full((len(poses), k, 2), np.nan, np.float32)}
    unread: list[dict[str, str]] = []
    for fold, reader in layer:
        mine = usable(poses)
        if fold.ids is not None:
            mine &= np.array([pose in fold.ids for pose in poses.id.tolist()], bool)
        looked = list[NDArray[np.intp]]()
        people = _people(manifest, samples, poses, owner, mine, looked, unread, task)
        reading = reader.read(people)
        rows = np.concatenate([np.zeros(0, np.intp), *looked])
        arrays["xy"][rows] = reading.xy
        for name, values in reading.numbers.items():
            arrays.setdefault(name, np.full((len(poses), k), np.nan, np.float32))[rows] = values
    return arrays, unread


def _people(
    manifest: Manifest,
    samples: Sequence[Sample],
    poses: Poses,
    owner: NDArray[np.intp],
    mine: Usable,
    looked: list[NDArray[np.intp]],
    unread: list[dict[str, str]],
    task: Task,
) -> "Iterator[Labelled]":
    """Decoded images with the boxes and labels in them; says which rows they are, and which images were refused."""
    import torch

    to_tensor = cast("Any", torch).from_numpy  # untyped in torch
    label = np.where(poses.labelled[..., None], poses.xy, np.nan).astype(np.float32)
    rows_of = np.flatnonzero(mine)
    wanted, first = np.unique(owner[rows_of], return_index=True)
    parts = dict(zip(wanted.tolist(), np.split(rows_of, first[1:]), strict=True)) if len(wanted) else {}
    places: list[int] = wanted.tolist()
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="decode") as pool:
        for start in range(0, len(places), AT_ONCE):
            some = places[start : start + AT_ONCE]
            for i, image in zip(some, pool.map(partial(_decoded, manifest), [samples[i] for i in some]), strict=True):
                task.advance()
                if isinstance(image, ImageError):
                    detail = {"path": samples[i].path, "reason": image.reason, "detail": image.message}
                    unread.append(detail)
                    continue
                rows = parts[i]
                looked.append(rows)
                yield to_tensor(image).permute(2, 0, 1), poses.box[rows], label[rows]


def _decoded(manifest: Manifest, sample: Sample) -> NDArray[np.uint8] | ImageError:
    try:
        image = read_image(manifest.image_path(sample))
    except ImageError as error:
        return error
    if image.shape[1::-1] != sample.size:
        now, then = ("x".join(map(str, size)) for size in (image.shape[1::-1], sample.size))
        return ImageError(f"is {now} now, the manifest says {then}", reason="other size")
    return image


def _save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    temporary.replace(path)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
