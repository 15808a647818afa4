"""Readers of weights: files byte by byte, and layouts name by name."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import torch

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import DATASETS
from model.layouts import Origin
from tests.fuzz.mutate import mutate_bytes, mutate_json
from tests.fuzz.target import Target, put
from tests.model.released_layouts import PLUS_HEADS, Shapes, mae_shapes, mmpose_shapes, official_shapes

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


def described(shapes: Shapes, **known: str) -> bytes:
    """Names and shapes as JSON; beside them what a caller or a folder may say, under names that no tensor has."""
    return json.dumps({**known, **{name: list(shape) for name, shape in shapes.items()}}).encode()


def official_seeds(folder: Path) -> list[bytes]:
    plus = official_shapes("s", heads=PLUS_HEADS, experts=6)
    split = {name: (384, *shape[1:]) if ".fc2." in name else shape for name, shape in plus.items()}
    return [
        described(official_shapes("s")),
        described(plus),
        described(plus, dataset="aic"),
        described(official_shapes("s", (17, 14, 16)), dataset="mpii"),
        described(official_shapes("s", simple=True), file="ap10k.pth", skeleton="ap10k17"),
        described(split, dataset="coco"),
    ]


def mmpose_seeds(folder: Path) -> list[bytes]:
    return [
        described(mmpose_shapes("s")),
        described(mmpose_shapes("s", 14, simple=True), dataset="aic"),
        described(mmpose_shapes("s", 16), file="td-hm_mpii.pth"),
    ]


def encoder_seeds(folder: Path) -> list[bytes]:
    theirs = mmpose_shapes("s")
    return [
        described(mae_shapes(384, 12)),
        described({name: shape for name, shape in official_shapes("s").items() if name.startswith("backbone.")}),
        described({name: shape for name, shape in theirs.items() if name.startswith("backbone.")}),
    ]


def read_shapes(data: bytes) -> tuple[dict[str, torch.Tensor], Origin]:
    """A layout without its numbers: tensors that have names and shapes and no storage."""
    try:
        content = json.loads(data)
        known = {name: content.pop(name, None) for name in ("dataset", "file", "skeleton")}
        shapes = {str(name): [int(side) for side in shape] for name, shape in content.items()}
        state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    except (TypeError, ValueError, AttributeError, OverflowError, RuntimeError, RecursionError) as error:
        raise CheckpointError("are no shapes of tensors") from error
    dataset, file, skeleton = (value if isinstance(value, str) else None for value in known.values())
    beside = Skeleton.load(skeleton) if skeleton in {row.skeleton for row in DATASETS.values()} else None
    return state, Origin(file or "x.pth", dataset or None, beside)


def read_official(data: bytes, folder: Path) -> object:
    from model.official import names_from_official

    state, origin = read_shapes(data)
    return read_named(names_from_official(state, origin.subject), origin)


def read_mmpose(data: bytes, folder: Path) -> object:
    from model.mmpose import names_from_mmpose

    state, origin = read_shapes(data)
    return read_named(names_from_mmpose(state, origin.subject), origin)


def read_named(tensors: dict[str, torch.Tensor], origin: Origin) -> object:
    """As ``load_model`` goes on from there."""
    from model.fit import fitted
    from model.identify import identify
    from model.layouts import select_dataset

    weights = fitted(identify(tensors, origin), origin.subject)
    return fitted(select_dataset(weights, origin), origin.subject)


def read_encoder(data: bytes, folder: Path) -> object:
    """Into a plain network; what is no encoder is refused as the pose network that it then has to be."""
    from model.config import ViTPoseConfig
    from model.encoders import read_encoder as read
    from model.encoders import start_from_encoder
    from model.vitpose import build_vitpose

    state, origin = read_shapes(data)
    encoder = read(state, origin.subject)
    if encoder is None:
        return read_official(data, folder)
    with torch.device("meta"):
        model = build_vitpose(ViTPoseConfig.of_size("s", decoder="simple"), Skeleton.load("coco17"))
    start_from_encoder(model, encoder)
    return model


TARGETS: Mapping[str, Target] = {
    "pth": Target(pth_seeds, read_pth, mutate_bytes),
    "checkpoint": Target(own_seeds, read_own, mutate_json),
    "huggingface": Target(huggingface_seeds, read_huggingface, mutate_json),
    "safetensors": Target(tensors_seeds, read_tensors, mutate_bytes),
    "official": Target(official_seeds, read_official, mutate_json),
    "mmpose": Target(mmpose_seeds, read_mmpose, mutate_json),
    "encoder": Target(encoder_seeds, read_encoder, mutate_json),
}
