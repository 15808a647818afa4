"""Official and easy_ViTPose files: there and back without a changed bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.checkpoint import load_model, model_digest, save_model, save_official
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.layouts import Origin
from model.official import read_official
from model.vitpose import ViTPose, build_vitpose
from tests.model.released_layouts import PLUS_HEADS, State, filled, official_shapes

SMALL = {"input_size": (64, 48), "width": 32, "depth": 3, "heads": 4}
MOUSE = Skeleton.from_dict({"name": "mouse3", "keypoints": ["nose", "left_ear", "right_ear"]})


def small(skeletons: Skeleton | list[Skeleton], **changes: object) -> ViTPose:
    model = build_vitpose(ViTPoseConfig.model_validate({**SMALL, **changes}), skeletons).eval()
    randomise(model, seed=0)
    return model


def written(path: Path) -> State:
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("heads", "experts", "simple"),
    [((17,), 0, True), (PLUS_HEADS, 6, False)],
    ids=["simple", "classic, ++ with all heads"],
)
def test_a_released_file_comes_back_bit_for_bit(
    heads: tuple[int, ...], experts: int, simple: bool, tmp_path: Path
) -> None:
    state = filled(official_shapes(heads=heads, experts=experts, simple=simple))
    torch.save({"state_dict": state}, tmp_path / "vitpose.pth")
    model = load_model(tmp_path / "vitpose.pth")
    assert len(model.skeletons) == len(heads)
    through = load_model(save_model(model, tmp_path / "checkpoint"))
    torch.testing.assert_close(written(save_official(through, tmp_path / "back")), state, rtol=0, atol=0)


@pytest.mark.parametrize(
    "model",
    [
        small(Skeleton.load("coco17"), datasets=("coco",)),
        small(MOUSE, decoder="simple", patch_size=8, codec="plain", box_padding=1.1, absent_below=0.1),
        small(
            [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS],
            experts=6,
            expert_width=8,
            datasets=PLUS_DATASETS,
        ),
        small(
            [Skeleton.load("mpii16"), Skeleton.load("coco17")],
            experts=2,
            expert_width=4,
            datasets=("mpii", "coco"),
        ),
        small(MOUSE, ratio=2, upsampling=2, presence=True, whole_box=True),
    ],
    ids=["coco", "of our own", "++", "++ in another order", "overlapping, with all heads"],
)
def test_whatever_we_have_can_be_written_and_read(model: ViTPose, tmp_path: Path) -> None:
    """Sizes that were never released, own skeletons and other orders too: the file says what it holds."""
    path = save_official(model, tmp_path)
    assert model_digest(load_model(path)) == model_digest(model)
    assert Skeleton.load(tmp_path / "skeleton.json") == model.skeleton
    assert sorted(file.name for file in tmp_path.iterdir()) == ["skeleton.json", "vitpose.pth"]


@pytest.mark.parametrize("dataset", [None, "aic"])
def test_a_description_of_more_than_there_is(dataset: str | None, tmp_path: Path) -> None:
    """Found before anything is split."""
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS]
    path = save_official(small(skeletons, experts=6, expert_width=8, datasets=PLUS_DATASETS), tmp_path)
    content = torch.load(path, weights_only=True)
    del content["state_dict"]["backbone.blocks.1.mlp.experts.1.weight"]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"lacks blocks\.1\.mlp\.experts\.1\.weight"):
        load_model(path, dataset)


@pytest.mark.parametrize("dataset", ["coco", "coco_25", "wholebody", "mpii", "aic", "ap10k", "apt36k"])
def test_easy_vitpose_files_name_their_dataset(dataset: str) -> None:
    keypoints = {"coco": 17, "coco_25": 25, "wholebody": 133, "mpii": 16, "aic": 14, "ap10k": 17, "apt36k": 17}
    shapes = official_shapes("h", (keypoints[dataset],))
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    weights = read_official(state, Origin(f"downloads/vitpose-h-{dataset}.pth"))
    assert weights.config == ViTPoseConfig.of_size("h", datasets=(dataset,), codec=DATASETS[dataset].codec)
    assert weights.skeletons[0].num_keypoints == keypoints[dataset]


def test_body_and_feet_are_in_easy_vitposes_order() -> None:
    names = Skeleton.load(DATASETS["coco_25"].skeleton).keypoints
    assert (names[5], names[14]) == ("neck", "hip")
    assert names[19:] == tuple(
        f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")
    )
    assert names[:5] == ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
    assert names[6:14] == tuple(f"{s}_{p}" for p in ("shoulder", "elbow", "wrist", "hip") for s in ("left", "right"))
    assert names[15:19] == tuple(f"{s}_{p}" for p in ("knee", "ankle") for s in ("left", "right"))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"autolabel": "{"}, "its meta is not what we wrote.*Convert"),
        ({"autolabel": "[]"}, "its meta is not what we wrote.*Convert"),
        ({"autolabel": "{}"}, "its meta describes no network.*Convert"),
        ({"autolabel": 3}, "its meta is not what we wrote"),
    ],
)
def test_a_description_that_is_not_ours(meta: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = torch.load(save_official(small(MOUSE), tmp_path), weights_only=True)
    torch.save({**content, "meta": meta}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "other.pth")
