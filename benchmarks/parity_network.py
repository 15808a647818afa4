"""Network parity: our heatmaps against transformers' ``VitPoseForPoseEstimation``, every parameter random.

Default initialisation hides mistakes: zero biases, unit norms, a zero position slot 0 and like experts make
wrong code look right. So the reference gets random values everywhere, at a scale that keeps activations sane,
and goes through the files that users have: a folder written by ``save_pretrained``, or an official ``.pth``.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

from autolabel.skeleton import Skeleton
from model.checkpoint import load_model
from model.config import DATASETS, PLUS_DATASETS, SIZES

BOUND = 2e-5
"""Largest difference allowed between two heatmaps, relative to the largest absolute value of the reference.

The product asks for 1e-4 and float32 gives a few 1e-6. Tanh for erf in GELU, a classic mistake, costs just
1e-4, so the bound lies between.
"""


def reference(
    size: str,
    decoder: str,
    *,
    experts: int = 0,
    depth: int | None = None,
    num_keypoints: int = 17,
    seed: int = 0,
) -> VitPoseForPoseEstimation:
    """transformers' network of a released size: random everywhere, eager attention, evaluation mode."""
    row = SIZES[size]
    depth = depth or row.depth
    backbone = VitPoseBackboneConfig(
        hidden_size=row.width,
        num_hidden_layers=depth,
        num_attention_heads=row.heads,
        num_experts=experts or 1,
        part_features=row.width // 4,
        layer_norm_eps=1e-6,
        out_indices=[depth],
    )
    config = VitPoseConfig(backbone_config=backbone, use_simple_decoder=decoder == "simple", num_labels=num_keypoints)
    with torch.device("meta"):
        model = VitPoseForPoseEstimation._from_config(config, attn_implementation="eager")
    model = model.to_empty(device="cpu").eval()
    randomise(model, seed)
    return model


def randomise(model: nn.Module, seed: int) -> None:
    """Give every parameter and buffer a random value.

    Raises:
        AssertionError: One was left out.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor, mean: float, std: float) -> None:
        with torch.no_grad():
            tensor.normal_(mean, std, generator=generator)
        done.add(id(tensor))

    done: set[int] = set()
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            fan_in = module.weight[0].numel()
            if isinstance(module, nn.ConvTranspose2d):  # (in, out, 4, 4) at stride 2: four taps meet in a pixel
                fan_in = module.weight.shape[0] * 4
            normal(module.weight, 0.0, fan_in**-0.5)
            if module.bias is not None:
                normal(module.bias, 0.0, 0.2)
        elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            normal(module.weight, 1.0, 0.2)
            normal(module.bias, 0.0, 0.2)
        if isinstance(module, nn.BatchNorm2d):
            normal(module.running_mean, 0.0, 0.3)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.num_batches_tracked.fill_(7)
            done |= {id(module.running_var), id(module.num_batches_tracked)}
        for tensor in module.parameters(recurse=False):  # positions, relative ones too, and presence heads
            if id(tensor) not in done:
                normal(tensor, 0.0, 0.5)
    saved = model.state_dict(
        keep_vars=True
    )  # masks of windows, which are buffers too, are not saved: they are constant
    assert not [name for name, tensor in saved.items() if id(tensor) not in done]


def random_images(batch: int, seed: int = 1, size: tuple[int, int] = (256, 192)) -> Tensor:
    """(B,3,H,W) unit normal, as normalised photographs roughly are."""
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def reference_heatmaps(model: VitPoseForPoseEstimation, images: Tensor, dataset: Tensor | None = None) -> Tensor:
    """(B,K,h,w)."""
    return model(images, dataset_index=dataset).heatmaps


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest absolute difference over the whole tensor, relative to the largest value of ``theirs``."""
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} is not {tuple(theirs.shape)}"
    return float((ours - theirs).abs().max() / theirs.abs().max())


def to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An official (mmpose 0.x) ``state_dict`` from transformers' tensors: their converter, backwards."""
    renames = (
        ("backbone.embeddings.position_embeddings", "backbone.pos_embed"),
        ("backbone.embeddings.patch_embeddings.projection", "backbone.patch_embed.proj"),
        ("backbone.layernorm", "backbone.last_norm"),
        ("backbone.encoder.layer", "backbone.blocks"),
        ("attention.output.dense", "attn.proj"),
        ("layernorm_before", "norm1"),
        ("layernorm_after", "norm2"),
        ("head.deconv1", "keypoint_head.deconv_layers.0"),
        ("head.batchnorm1", "keypoint_head.deconv_layers.1"),
        ("head.deconv2", "keypoint_head.deconv_layers.3"),
        ("head.batchnorm2", "keypoint_head.deconv_layers.4"),
        ("head.conv", "keypoint_head.final_layer"),
    )
    official: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if match := re.fullmatch(r"(.*\.layer\.(\d+)\.attention\.attention)\.query\.(weight|bias)", name):
            parts = [state[f"{match[1]}.{part}.{match[3]}"] for part in ("query", "key", "value")]
            official[f"backbone.blocks.{match[2]}.attn.qkv.{match[3]}"] = torch.cat(parts)
        elif ".attention.attention." not in name:
            for theirs, ours in renames:
                name = name.replace(theirs, ours)
            official[name] = tensor
    return official


def rows() -> Iterator[dict[str, object]]:
    """Every released shape, both decoders, plain and each expert; then official files, split by dataset."""
    for size in SIZES:
        for decoder in ("classic", "simple"):
            yield _row(f"ViTPose-{size.upper()} {decoder}", _plain(size, decoder))
            for dataset, value in zip(PLUS_DATASETS, _experts(size, decoder), strict=True):
                yield _row(f"ViTPose++-{size.upper()} {decoder}, expert {dataset}", value)
    for size in ("s", "b"):
        for dataset, value in _official(size):
            yield _row(f"ViTPose++-{size.upper()} official .pth, split for {dataset}", value)


def _row(name: str, value: float) -> dict[str, object]:
    quantity = "max |ours - transformers| / max |transformers|, heatmaps"
    return {"name": name, "quantity": quantity, "value": value, "bound": BOUND, "passed": value <= BOUND}


def _plain(size: str, decoder: str) -> float:
    theirs, images = reference(size, decoder), random_images(2)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        expected = reference_heatmaps(theirs, images)
        del theirs
        with torch.inference_mode():
            return difference(load_model(folder)(images), expected)


def _experts(size: str, decoder: str) -> list[float]:
    """One value per expert, from one batch whose samples are of six datasets."""
    experts = len(PLUS_DATASETS)
    theirs, images, dataset = (
        reference(size, decoder, experts=experts),
        random_images(experts),
        torch.arange(experts),
    )
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        expected = reference_heatmaps(theirs, images, dataset)
        del theirs
        with torch.inference_mode():
            ours = load_model(folder)(images, dataset)
    return [difference(ours[i], expected[i]) for i in range(experts)]


def _official(size: str) -> Iterator[tuple[str, float]]:
    """A ViTPose++ .pth with all six heads, split for each dataset, against transformers given that head."""
    images = random_images(1)
    encoder = reference(size, "classic", experts=len(PLUS_DATASETS))
    state = to_official(encoder.state_dict())
    heads = {}
    for index, name in enumerate(PLUS_DATASETS):
        num_keypoints = Skeleton.load(DATASETS[name].skeleton).num_keypoints
        heads[name] = reference(size, "classic", depth=1, num_keypoints=num_keypoints, seed=index + 1).head
        prefix = f"associate_keypoint_heads.{index - 1}" if index else "keypoint_head"
        for key, tensor in to_official({f"head.{k}": v for k, v in heads[name].state_dict().items()}).items():
            state[key.replace("keypoint_head", prefix)] = tensor
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vitpose.pth"
        torch.save({"meta": {}, "state_dict": state}, path)
        for index, name in enumerate(PLUS_DATASETS):
            encoder.head = heads[name]
            expected = reference_heatmaps(encoder, images, torch.tensor([index]))
            with torch.inference_mode():
                yield name, difference(load_model(path, dataset=name)(images), expected)
