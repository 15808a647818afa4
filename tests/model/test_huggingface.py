"""The Hugging Face layout both ways: defaults, labels, refusals. What transformers makes of it is in test_parity."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from autolabel.errors import CheckpointError, ConfigError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise, reference
from model.checkpoint import load_model, model_digest, save_huggingface
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.vitpose import ViTPose, build_vitpose

SMALL = {"input_size": (64, 48), "width": 32, "depth": 3, "heads": 4}
MOUSE = Skeleton.from_dict({"name": "mouse3", "keypoints": ["nose", "left_ear", "right_ear"]})


def small(skeleton: Skeleton | list[Skeleton] | None = None, **changes: object) -> ViTPose:
    """A network with random parameters and buffers that takes milliseconds."""
    config = ViTPoseConfig.model_validate({**SMALL, **changes})
    model = build_vitpose(config, skeleton or Skeleton.load("coco17")).eval()
    randomise(model, seed=0)
    return model


def small_plus(heads: int) -> ViTPose:
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS]
    return small(skeletons[:heads], experts=6, expert_width=8, datasets=PLUS_DATASETS)


def assert_same(one: ViTPose, other: ViTPose) -> None:
    """Config, skeletons and every tensor."""
    assert one.config == other.config
    assert one.skeletons == other.skeletons
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
    assert model_digest(one) == model_digest(other)


@pytest.mark.parametrize(
    "model",
    [
        small(datasets=("coco",)),
        small(Skeleton.load("ap10k17"), codec="plain", datasets=("ap10k",), drop_path=0.2),
        small(MOUSE, decoder="simple", norm_eps=1e-12, heatmap_sigma=3.0),
        small_plus(heads=1),
    ],
)
def test_huggingface_folder_gives_the_same_network_back(model: ViTPose, tmp_path: Path) -> None:
    assert_same(load_model(save_huggingface(model, tmp_path)), model)


@pytest.mark.parametrize(("decoder", "experts"), [("classic", 6), ("simple", 0)])
def test_a_folder_of_transformers_comes_back_bit_for_bit(decoder: str, experts: int, tmp_path: Path) -> None:
    reference("s", decoder, experts=experts, depth=2).save_pretrained(tmp_path / "theirs")
    ours = save_huggingface(load_model(tmp_path / "theirs"), tmp_path / "ours")
    files = [load_file(folder / "model.safetensors") for folder in (ours, tmp_path / "theirs")]
    torch.testing.assert_close(*files, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (small_plus(heads=6), "holds one keypoint head.*Load one of coco, aic"),
        (small(patch_size=4), "pads by 1, transformers always by 2.*save_model"),
        (small(deconv_channels=64), "has 64 deconv channels, not 256"),
        (
            small(attention="window"),
            "has attention within windows, which transformers does not know.*checkpoint folder",
        ),
        (small(relative_position=True), "has relative positions, which transformers does not know"),
        (small(ratio=2), "has overlapping patches, which transformers has no word for.*save_model"),
        (small(upsampling=2), "has heatmaps of 2 cells per token"),
        (small(presence=True), "has a presence head"),
        (small(whole_box=True), "has a whole-box head"),
    ],
)
def test_what_that_layout_cannot_express_is_refused(model: ViTPose, message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        save_huggingface(model, tmp_path)


def plain_huggingface(folder: Path, model: ViTPose, **changes: object) -> Path:
    """A folder as transformers writes it, with nothing of ours, and some keys of its config changed."""
    save_huggingface(model, folder)
    (folder / "skeleton.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    for key in ("autolabel", "id2label", "label2id", "edges"):
        del config[key]
    for key, value in changes.items():
        (config["backbone_config"] if key in config["backbone_config"] else config)[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_huggingface_defaults_that_files_leave_out(tmp_path: Path) -> None:
    folder = plain_huggingface(tmp_path, small())
    config = json.loads((folder / "config.json").read_text())
    for key in ("layer_norm_eps", "mlp_ratio", "num_experts", "part_features", "out_indices", "out_features"):
        del config["backbone_config"][key]
    del config["scale_factor"]
    (folder / "config.json").write_text(json.dumps(config))
    loaded = load_model(folder)
    assert loaded.config.norm_eps == 1e-12
    assert loaded.config.datasets == ("coco",)
    assert loaded.blocks[0].norm1.eps == loaded.last_norm.eps == 1e-12


PAIRS = ("Eye", "Ear", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
COCO_LABELS = ["Nose", *(f"{side}_{name}" for name in PAIRS for side in "LR")]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (COCO_LABELS, "coco17"),
        ([f"LABEL_{i}" for i in range(17)], "coco17"),
        (
            [f"whisker {i}" for i in range(17)],
            r"\(whisker 0, whisker 1, whisker 2, …\) are no known dataset's",
        ),
        ([name.upper() for name in Skeleton.load("ap10k17").keypoints], "may be those of ap10k or apt36k"),
    ],
)
def test_huggingface_labels_tell_what_17_keypoints_are(labels: list[str], expected: str, tmp_path: Path) -> None:
    folder = plain_huggingface(tmp_path, small(), id2label={str(i): name for i, name in enumerate(labels)})
    if expected in ("coco17", "ap10k17"):
        assert load_model(folder).skeleton.name == expected
    else:
        with pytest.raises(CheckpointError, match=expected):
            load_model(folder)
        if labels[0] != "whisker 0":
            assert load_model(folder, dataset="ap10k").config.codec == "plain"


SWAPPED = [name.translate(str.maketrans("LR", "RL")) if name != "Nose" else name for name in COCO_LABELS]
AP10K = list(Skeleton.load("ap10k17").keypoints)


@pytest.mark.parametrize(
    ("labels", "dataset", "beside", "expected"),
    [
        # COCO's labels under animals' names, and the other way round
        (COCO_LABELS, "ap10k", None, r"labels \(Nose, L_Eye, R_Eye, …\) are not the keypoints of ap10k.*those of coco"),
        (AP10K, "coco", None, "are not the keypoints of coco.*those of ap10k or apt36k"),
        (COCO_LABELS, None, "ap10k17", "are not the keypoints of ap10k.*those of coco"),
        # words that are nobody's: only a skeleton.json says what they mean
        ([f"Punkt {i}" for i in range(17)], "coco", None, r"are not the keypoints of coco.*skeleton\.json"),
        ([f"Punkt {i}" for i in range(17)], "coco", "coco17", "coco"),
        ([f"Punkt {i}" for i in range(17)], None, "coco17", "coco"),
        ([*COCO_LABELS[:10], *(f"tail {i}" for i in range(7))], None, None, "are no known dataset's"),
        (SWAPPED, None, None, "are no known dataset's"),
        (SWAPPED, "coco", None, "are not the keypoints of coco"),
        # placeholders say nothing
        ([f"LABEL_{i}" for i in range(17)], "ap10k", None, "ap10k"),
        ([name.replace("L_", "left ").replace("R_", "right ") for name in COCO_LABELS], None, None, "coco"),
        ([name.replace("L_", "left").replace("R_", "right") for name in COCO_LABELS], "coco", None, "coco"),
    ],
)
def test_labels_are_not_passed_over(
    labels: list[str], dataset: str | None, beside: str | None, expected: str, tmp_path: Path
) -> None:
    folder = plain_huggingface(tmp_path / "f", small(), id2label={str(i): name for i, name in enumerate(labels)})
    if beside:
        (folder / "skeleton.json").write_text(json.dumps(Skeleton.load(beside).to_dict()))
    if expected in DATASETS:
        assert load_model(folder, dataset).config.datasets == (expected,)
    else:
        with pytest.raises(CheckpointError, match=expected):
            load_model(folder, dataset)


def test_what_we_write_loads_under_any_name(tmp_path: Path) -> None:
    """Also where the keypoints have the names of placeholders, and the folder that of another dataset."""
    unnamed = Skeleton.from_dict({"name": "own", "keypoints": [f"LABEL_{i}" for i in range(17)]})
    model = small(unnamed)
    assert_same(load_model(save_huggingface(model, tmp_path / "ap10k")), model)


def test_experts_that_nothing_names_are_refused(tmp_path: Path) -> None:
    model = small([Skeleton.load("coco17")], experts=3, expert_width=8, datasets=("coco", "mpii", "wholebody"))
    assert_same(load_model(save_huggingface(model, tmp_path / "ours")), model)
    with pytest.raises(CheckpointError, match="has 3 experts and does not say whose they are"):
        load_model(plain_huggingface(tmp_path / "theirs", model), "coco")
    plus = plain_huggingface(tmp_path / "plus", small_plus(1), id2label={str(i): name for i, name in enumerate(AP10K)})
    for dataset in (None, "coco", "ap10k"):
        with pytest.raises(CheckpointError, match=r"are not COCO's, whose head .*official \.pth"):
            load_model(plus, dataset)


def test_a_skeleton_put_beside_foreign_weights_names_them(tmp_path: Path) -> None:
    folder = plain_huggingface(tmp_path, small(MOUSE))
    with pytest.raises(CheckpointError, match="no known dataset's"):
        load_model(folder)
    (folder / "skeleton.json").write_text(json.dumps(MOUSE.to_dict()))
    assert load_model(folder).skeleton == MOUSE


def test_huggingface_plus_has_only_the_coco_head(tmp_path: Path) -> None:
    whole = small_plus(heads=1)
    folder = plain_huggingface(tmp_path, whole)
    split = load_model(folder, dataset="coco")
    images = torch.randn(2, 3, 64, 48)
    with torch.inference_mode():
        torch.testing.assert_close(split(images), whole(images, 0))
    with pytest.raises(CheckpointError, match=r"'mpii' but not its keypoint head.*Hugging Face.*official \.pth"):
        load_model(folder, dataset="mpii")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale_factor": 2}, "scale_factor is 2; ViTPose has 4"),
        ({"qkv_bias": False}, "qkv_bias is False; ViTPose has True"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"out_indices": [2]}, r"features from stage 2, not the last \(3\)"),
        ({"patch_size": [16, 8]}, "is not square"),
        ({"backbone_config": None}, "has no backbone_config"),
        ({"num_hidden_layers": 2, "out_indices": [2]}, "has unknown tensors backbone.encoder.layer.2"),
        ({"num_hidden_layers": 4, "out_indices": [4]}, "lacks blocks.3"),
        ({"image_size": [128, 96]}, r"pos_embed is \(1, 13, 32\), not \(1, 49, 32\)"),
        ({"hidden_size": 48}, "patch_embed.proj.weight is .32, 3, 16, 16., not .48,.* and .* more"),
        ({"num_attention_heads": 5}, "multiple of heads 5"),
        ({"num_experts": "six"}, "config.json cannot be read: '>' not supported"),
        ({"id2label": {"nose": 0}}, "config.json cannot be read: invalid literal"),
        ({"autolabel": 3}, "config.json cannot be read: 'int' object is not iterable"),
    ],
)
def test_huggingface_configs_that_do_not_fit(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    folder = plain_huggingface(tmp_path, small(), **changes)
    with pytest.raises((CheckpointError, ConfigError), match=message):
        load_model(folder)


def test_query_key_and_value_of_different_shapes(tmp_path: Path) -> None:
    folder = plain_huggingface(tmp_path, small())
    tensors = load_file(folder / "model.safetensors")
    name = "backbone.encoder.layer.0.attention.attention.key.weight"
    save_file({**tensors, name: torch.ones(32, 8)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"query\.weight, .* differ in shape"):
        load_model(folder)


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    folder = plain_huggingface(tmp_path, small())
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()},
        folder / "model.safetensors",
    )
    loaded = load_model(folder)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert loaded(torch.zeros(1, 3, 64, 48)).isfinite().all()
