"""The official layout by names and shapes: what is read from it, split, refused. No tensor here has storage."""

import pytest
import torch
from torch import Tensor

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import DATASETS, PLUS_DATASETS, SIZES, ViTPoseConfig
from model.layouts import Origin, Weights, select_dataset
from model.official import read_official
from model.vitpose import expected_tensors

COCO = Skeleton.load("coco17")
MOUSE = Skeleton.from_dict({"name": "mouse3", "keypoints": ["nose", "left_ear", "right_ear"]})


def official(
    size: str = "s",
    heads: tuple[int, ...] = (17,),
    *,
    experts: int = 0,
    simple: bool = False,
    tokens: int = 192,
) -> dict[str, Tensor]:
    width, depth = SIZES[size].width, SIZES[size].depth
    part = width // 4 if experts else 0
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.cls_token": (1, 1, width),
        "backbone.pos_embed": (1, tokens + 1, width),
        "backbone.patch_embed.proj.weight": (width, 3, 16, 16),
        "backbone.patch_embed.proj.bias": (width,),
        "backbone.last_norm.weight": (width,),
        "backbone.last_norm.bias": (width,),
    }
    for i in range(depth):
        linear = {
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "mlp.fc1": (4 * width, width),
            "mlp.fc2": (width - part, 4 * width),
            **{f"mlp.experts.{e}": (part, 4 * width) for e in range(experts)},
        }
        for name, shape in linear.items():
            shapes[f"backbone.blocks.{i}.{name}.weight"] = shape
            shapes[f"backbone.blocks.{i}.{name}.bias"] = shape[:1]
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            shapes[f"backbone.blocks.{i}.{name}"] = (width,)
    for index, k in enumerate(heads):
        head = f"associate_keypoint_heads.{index - 1}" if index else "keypoint_head"
        shapes[f"{head}.final_layer.weight"] = (k, width, 3, 3) if simple else (k, 256, 1, 1)
        shapes[f"{head}.final_layer.bias"] = (k,)
        for layer, inputs in () if simple else ((0, width), (3, 256)):
            shapes[f"{head}.deconv_layers.{layer}.weight"] = (inputs, 256, 4, 4)
            for name in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{head}.deconv_layers.{layer + 1}.{name}"] = (256,)
            shapes[f"{head}.deconv_layers.{layer + 1}.num_batches_tracked"] = ()
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def read(state: dict[str, Tensor], dataset: str | None = None, **known: object) -> Weights:
    origin = Origin(subject=str(known.pop("subject", "weights.pth")), dataset=dataset, **known)  # type: ignore[arg-type]
    return select_dataset(read_official(state, origin), origin)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("simple", [False, True])
def test_official_names_and_shapes_are_exactly_what_the_network_has(size: str, simple: bool) -> None:
    weights = read(official(size, simple=simple))
    expected = expected_tensors(weights.config, weights.skeletons)
    assert {n: t.shape for n, t in weights.tensors.items()} == {n: t.shape for n, t in expected.items()}
    assert weights.config == ViTPoseConfig.of_size(size, decoder="simple" if simple else "classic", datasets=("coco",))


@pytest.mark.parametrize("dataset", [None, *PLUS_DATASETS])
@pytest.mark.parametrize("stored", [(17, 14, 16, 17, 17, 133), (17, 133, 133, 133, 133, 133)])
def test_official_plus_whole_or_split(dataset: str | None, stored: tuple[int, ...]) -> None:
    """Associate heads may be stored padded to 133 keypoints; only a dataset's own are kept."""
    weights = read(official(heads=stored, experts=6), dataset)
    expected = expected_tensors(weights.config, weights.skeletons)
    assert {n: t.shape for n, t in weights.tensors.items()} == {n: t.shape for n, t in expected.items()}
    names = PLUS_DATASETS if dataset is None else (dataset,)
    assert weights.config.datasets == names
    assert [s.name for s in weights.skeletons] == [DATASETS[name].skeleton for name in names]
    assert weights.config.codec == DATASETS[names[0]].codec
    assert (weights.config.experts, weights.config.expert_width) == ((6, 96) if dataset is None else (0, 0))


@pytest.mark.parametrize(
    ("tokens", "input_size"),
    [(192, (256, 192)), (432, (384, 288)), (972, (576, 432)), (196, (224, 224)), (256, (256, 256))],
)
def test_input_size_from_positions(tokens: int, input_size: tuple[int, int]) -> None:
    assert read(official(tokens=tokens)).config.input_size == input_size


@pytest.mark.parametrize(
    ("keypoints", "dataset", "subject", "expected"),
    [
        (17, None, "vitpose_base.pth", "coco"),
        (17, "ap10k", "vitpose_base.pth", "ap10k"),
        (17, "apt36k", "apt36k.pth", "apt36k"),
        (17, None, "runs/ap10k/vitpose_base.pth", "coco"),
        (16, None, "b.pth", "mpii"),
        (133, None, "wholebody.pth", "wholebody"),
        (17, None, "vitpose-b-ap10k.pth", "ap10k"),
        (17, None, "vitpose+_apt36k.pth", "apt36k"),
        (17, None, "vitpose-b-multi-coco-aic-mpii.pth", "coco"),
        (25, None, "vitpose-s-coco_25.pth", "coco_25"),
        (25, "coco_25", "b.pth", "coco_25"),
        (14, None, "aic.pth", "aic"),
        (14, None, "vitpose_base_crowdpose.pth", "crowdpose"),
        (14, "aic", "b.pth", "aic"),
        (14, "crowdpose", "b.pth", "crowdpose"),
        (17, "coco", "mpii.pth", "coco"),  # a name that cannot be meant, against the caller
        (17, "ap10k", "vitpose-ap10k-from-coco.pth", "ap10k"),
        (17, "ap10k", "best_coco_AP_epoch_210.pth", "ap10k"),  # mmpose's name for a metric
    ],
)
def test_what_a_plain_head_predicts(keypoints: int, dataset: str | None, subject: str, expected: str) -> None:
    weights = read(official(heads=(keypoints,)), dataset, subject=subject)
    assert weights.config.datasets == (expected,)
    assert weights.config.codec == DATASETS[expected].codec
    assert weights.skeletons[0].name == DATASETS[expected].skeleton


def test_a_skeleton_beside_the_file_says_what_an_unknown_head_predicts() -> None:
    weights = read(official(heads=(3,)), skeleton=MOUSE)
    assert weights.skeletons == (MOUSE,)
    assert (weights.config.datasets, weights.config.codec) == ((), "udp")


def test_a_skeleton_of_a_public_dataset_brings_its_codec() -> None:
    """Also beside a file whose name agrees; AP-10K's keypoints are APT-36K's too."""
    skeleton = Skeleton.load("ap10k17")
    for subject in ("weights.pth", "apt36k.pth", "ap10k.pth"):
        weights = read(official(heads=(17,)), skeleton=skeleton, subject=subject)
        assert (weights.config.datasets, weights.config.codec) == (("ap10k",), "plain")


@pytest.mark.parametrize("dataset", PLUS_DATASETS[1:])
def test_of_a_padded_head_the_first_maps_are_kept(dataset: str) -> None:
    state = official(heads=(17, *(133,) * 5), experts=6)
    index = PLUS_DATASETS.index(dataset)
    name = f"associate_keypoint_heads.{index - 1}.final_layer"
    numbered = {f"{name}.weight": torch.arange(133.0).reshape(133, 1, 1, 1), f"{name}.bias": torch.arange(133.0)}
    found = read({**state, **numbered}, dataset)
    k = found.skeletons[0].num_keypoints
    for part in ("weight", "bias"):
        assert torch.equal(found.tensors[f"keypoint_heads.0.final_layer.{part}"].flatten(), torch.arange(float(k)))


def without(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}


def without_experts(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if ".experts." not in name}


def wide_experts(width: int) -> dict[str, Tensor]:
    """As the official S config would have them, 192, which no released file has."""
    state = official(heads=(17, 14, 16, 17, 17, 133), experts=6)
    return {n: torch.empty(width, *t.shape[1:], device="meta") if ".experts." in n else t for n, t in state.items()}


@pytest.mark.parametrize(
    ("state", "dataset", "known", "message"),
    [
        # what a lone head predicts
        (official(heads=(14,)), None, {}, r"14 keypoints may be those of aic or crowdpose.*--dataset"),
        (official(heads=(17,)), None, {"subject": "mpii.pth"}, "name says mpii, its head has 17 keypoints.*--dataset"),
        (official(heads=(25,)), None, {}, "25 keypoints may be those of coco_25, but nothing says so.*--dataset"),
        (official(heads=(26,)), None, {}, r"26 keypoints, which is no known dataset's.*skeleton\.json"),
        (official(heads=(17,)), "mpii", {}, "its head has 17 keypoints, 'mpii16' has 16"),
        (
            official(heads=(17,)),
            "ap10k",
            {"subject": "vitpose-s-coco.pth"},
            "name says coco, --dataset says ap10k.*rename",
        ),
        (official(heads=(17,)), "coco", {"subject": "ap10k.pth"}, r"name says ap10k, --dataset says coco"),
        (
            official(heads=(17,)),
            None,
            {"subject": "vitpose-s-ap10k.pth", "skeleton": COCO},
            r"name says ap10k, the skeleton\.json beside it 'coco17'.*--dataset ap10k",
        ),
        (official(heads=(17,)), "cocoo", {}, "no dataset 'cocoo'.*Known: coco, aic"),
        (official(heads=(4,)), None, {"skeleton": MOUSE}, "its head has 4 keypoints, 'mouse3' has 3"),
        # ViTPose++
        (official(experts=6), "ap10k", {}, "has the expert of 'ap10k' but not its keypoint head"),
        (official(heads=(17, 14), experts=6), None, {}, "lacks the keypoint heads of mpii, ap10k"),
        (official(heads=(17, 14), experts=6), "mpii", {}, r"heads: coco, aic;"),
        (
            official(heads=(17, 10, 16, 17, 17, 133), experts=6),
            None,
            {},
            "head 1 has 10 keypoints, .*aic14' 14",
        ),
        (official(experts=6), "crowdpose", {}, "is for coco, aic, .*, not for 'crowdpose'"),
        (official(heads=(17,), experts=7), None, {}, "has 7 experts"),
        # fewer than six: which ones is not recorded
        (official(heads=(17, 16, 133), experts=3), None, {}, "has 3 experts and does not say whose they are"),
        (official(heads=(17, 17), experts=2), "coco", {}, "has 2 experts and does not say whose they are"),
        # neither AIC's 14 keypoints nor the padding
        (official(heads=(17, 20, 16, 17, 17, 133), experts=6), None, {}, "head 1 has 20 keypoints"),
        (
            without("backbone.blocks.0.mlp.experts.0.weight", official(experts=6)),
            None,
            {},
            r"lacks blocks\.0\.mlp\.experts\.0\.weight",
        ),
        (
            without("keypoint_head.final_layer.bias", official()),
            None,
            {},
            r"lacks keypoint_heads\.0\.final_layer\.bias",
        ),
        (official() | {"keypoint_head.final_layer.weight": torch.tensor(1.0)}, None, {}, "which is not 4 dimensions"),
        (
            official() | {"backbone.pos_embed": torch.ones(193, 384)},
            None,
            {},
            r"\(193, 384\), which is not 3 dimensions",
        ),
        (official() | {"backbone.pos_embed": torch.ones(1, 0, 384)}, None, {}, "-1 positions are neither"),
        (wide_experts(192), None, {}, "experts are 192 wide and the layer they complete 288, .* are 96 wide"),
        # several heads without experts: AIC and CrowdPose cannot be told apart
        (official(heads=(17, 14, 16, 14)), "aic", {}, r"heads 1 \(14 keypoints\), 3 .*--dataset\): coco, mpii"),
        (official(heads=(17, 14, 16, 14)), None, {}, r"4 keypoint heads, and nothing tells .*--dataset\): coco, mpii"),
        (official(heads=(17, 17)), None, {}, r"nothing tells which datasets heads 1 \(17 keypoints\) are for"),
        (official(heads=(133, 14)), None, {}, r"heads 0 \(133 keypoints\), 1 .* Give the file of a network of one"),
        (official(heads=(14, 17)), "coco", {}, r"heads 0 \(14 keypoints\), 1 .* Give the file of a network of one"),
        (official(heads=(17, 14)), None, {}, r"heads 1 \(14 keypoints\) .*--dataset\): coco\."),
        # a split coco.pth without its experts still has the other heads, which fit other experts
        (official(heads=(17, 14, 16, 17, 17, 133)), "aic", {}, "encoder split for coco already.*'aic' too"),
        # sizes
        (official(tokens=191), None, {}, "191 positions are neither a 4:3 nor a square grid"),
        # other layouts
        (without("keypoint_head", official()), None, {}, "an encoder without keypoint_head"),
        (without("backbone.pos_embed", official()), None, {}, r"ViTPose weights without backbone\.pos_embed"),
        ({"backbone.layers.0.ln1.weight": torch.ones(1)}, None, {}, "an encoder without keypoint_head"),
        ({"backbone.embeddings.position_embeddings": torch.ones(1)}, None, {}, "Hugging Face weights"),
        ({"blocks.0.norm1.weight": torch.ones(1)}, None, {}, "a bare vision transformer"),
        ({"conv1.weight": torch.ones(1)}, None, {}, "no ViTPose weights"),
    ],
)
def test_what_is_refused_and_why(
    state: dict[str, Tensor], dataset: str | None, known: dict[str, object], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(state, dataset, **known)


def test_unreleased_sizes_are_refused_because_heads_are_not_recorded() -> None:
    state = {name: tensor for name, tensor in official().items() if not name.startswith("backbone.blocks.11.")}
    with pytest.raises(CheckpointError, match="width 384, depth 11 is no released size"):
        read(state)


@pytest.mark.parametrize("dataset", ["coco", "mpii"])
def test_heads_that_are_told_apart_are_had_by_name(dataset: str) -> None:
    """COCO + AIC + MPII + CrowdPose: the two of 14 keypoints stay behind."""
    weights = read(official(heads=(17, 14, 16, 14)), dataset)
    assert weights.config.datasets == (dataset,)
    assert [s.name for s in weights.skeletons] == [DATASETS[dataset].skeleton]


@pytest.mark.parametrize("dataset", [None, "coco", "aic", "mpii"])
def test_shared_encoder_with_several_heads(dataset: str | None) -> None:
    """COCO + AIC + MPII without experts: told apart by their number of keypoints."""
    weights = read(official(heads=(17, 14, 16)), dataset)
    assert weights.config.datasets == (("coco", "aic", "mpii") if dataset is None else (dataset,))
    expected = expected_tensors(weights.config, weights.skeletons)
    assert {n: t.shape for n, t in weights.tensors.items()} == {n: t.shape for n, t in expected.items()}


def test_leftovers_of_the_official_split_tool_are_left_out() -> None:
    """It merges the expert but leaves all experts, and in coco.pth all heads, in the file."""
    state = official(heads=(17, 14, 16, 17, 17, 133), experts=6)
    for i in range(12):
        state[f"backbone.blocks.{i}.mlp.fc2.weight"] = torch.empty(384, 1536, device="meta")
        state[f"backbone.blocks.{i}.mlp.fc2.bias"] = torch.empty(384, device="meta")
    weights = read(state)
    assert (weights.config.experts, weights.config.datasets, len(weights.skeletons)) == (0, ("coco",), 1)
    assert read(state, "coco").config == weights.config
    for dataset in ("ap10k", "aic"):
        with pytest.raises(CheckpointError, match=f"encoder split for coco already.*'{dataset}' too"):
            read(state, dataset)
    with pytest.raises(CheckpointError, match="encoder split for coco already"):
        read(without("associate_keypoint_heads.4", state), "aic")
    assert read(without_experts(state)).config == weights.config
    expected = expected_tensors(weights.config, weights.skeletons)
    assert {n: t.shape for n, t in weights.tensors.items()} == {n: t.shape for n, t in expected.items()}
