"""Readers of weights: files byte by byte, and layouts name by name."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import torch

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from tests.fuzz.mutate import mutate_bytes, mutate_json
from tests.fuzz.target import Target, put
from tests.model.released_layouts import official_shapes

SMALL = {"input_size": (32, 32), "width": 16, "depth": 1, "heads": 2, "decoder": "simple"}


def network() -> object:
    from model.config import ViTPoseConfig
    from model.vitpose import build_vitpose

    torch.manual_seed(0)
    return build_vitpose(
        ViTPoseConfig.parse({**SMALL, "datasets": ("coco",)}, subject="small"), Skeleton.load("coco17")
    )


def saved(folder: Path, layout: str) -> Path:
    from model import checkpoint

    path = folder / f"seed-{layout}"
    if not path.is_dir():
        {"own": checkpoint.save_model, "huggingface": checkpoint.save_huggingface}[layout](network(), path)
    return path


def pth_seeds(folder: Path) -> list[bytes]:
    made = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save({"state_dict": {"a": torch.ones(3)}}, file, _use_new_zipfile_serialization=zipped)
        made.append(file.getvalue())
    return made


def read_pth(data: bytes, folder: Path) -> object:
    from model.pth import read_pth as read

    return read(put(data, folder, "x.pth"), "x.pth")


def own_seeds(folder: Path) -> list[bytes]:
    return [(saved(folder, "own") / "config.json").read_bytes()]


def read_own(data: bytes, folder: Path) -> object:
    from model.checkpoint import load_model

    return load_model(put(data, saved(folder, "own"), "config.json").parent)


def huggingface_seeds(folder: Path) -> list[bytes]:
    return [(saved(folder, "huggingface") / "config.json").read_bytes()]


def read_huggingface(data: bytes, folder: Path) -> object:
    from model.checkpoint import load_model

    return load_model(put(data, saved(folder, "huggingface"), "config.json").parent)


def tensors_seeds(folder: Path) -> list[bytes]:
    return [(saved(folder, "own") / "model.safetensors").read_bytes()]


def read_tensors(data: bytes, folder: Path) -> object:
    from model.checkpoint import load_model

    return load_model(put(data, saved(folder, "own"), "model.safetensors").parent)


def shapes_seeds(folder: Path) -> list[bytes]:
    plain, plus = official_shapes("s"), official_shapes("s", heads=(17, 14, 16, 17, 17, 133), experts=6)
    return [json.dumps({name: list(shape) for name, shape in shapes.items()}).encode() for shapes in (plain, plus)]


def read_shapes(data: bytes, folder: Path) -> object:
    """The layout without its numbers: tensors that have names and shapes and no storage."""
    from model.layouts import Origin, select_dataset
    from model.official import read_official
    from model.vitpose import expected_tensors

    try:
        shapes = {str(name): [int(side) for side in shape] for name, shape in json.loads(data).items()}
        state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    except (TypeError, ValueError, AttributeError, OverflowError, RuntimeError, RecursionError) as error:
        raise CheckpointError("are no shapes of tensors") from error
    origin = Origin(subject="x.pth")
    weights = select_dataset(read_official(state, origin), origin)
    return expected_tensors(weights.config, weights.skeletons)


TARGETS: Mapping[str, Target] = {
    "pth": Target(pth_seeds, read_pth, mutate_bytes),
    "checkpoint": Target(own_seeds, read_own, mutate_json),
    "huggingface": Target(huggingface_seeds, read_huggingface, mutate_json),
    "safetensors": Target(tensors_seeds, read_tensors, mutate_bytes),
    "official": Target(shapes_seeds, read_shapes, mutate_json),
}
