"""What a network costs: parameters, multiply-accumulates, and the memory that training it takes.

Multiply-accumulates are derived from the description, as papers state them ("GFLOPs" there): of convolutions, linear
layers and the two products of attention; adding, normalising, pooling and softmax are not counted. Memory is measured:
the tensors that a forward pass keeps for the backward pass.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autolabel.skeleton import Skeleton
from model.attention import Windows, window_count
from model.config import ViTPoseConfig
from model.vitpose import ViTPose, build_vitpose


@dataclass(frozen=True)
class Cost:
    """Of one network with one keypoint head.

    Attributes:
        parameters: All of them, those of every expert too; batch norm's statistics are none.
        encoder_macs: Multiply-accumulates of the encoder for one image.
        head_macs: Those of the decoder and, where there is one, of the presence head.
        activation_bytes: What training keeps of one image for the backward pass, in float32 and with plain
            attention, as on the CPU; fused kernels do not keep attention's weights, and bfloat16 halves most of it.
    """

    parameters: int
    encoder_macs: int
    head_macs: int
    activation_bytes: int

    def told(self) -> str:
        """For people."""
        return (
            f"{self.parameters / 1e6:.1f} M parameters; a crop takes {self.macs / 1e9:.2f} GMACs forward, and training "
            f"keeps up to {self.activation_bytes / 2**20:.0f} MiB of it"
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole network for one image."""
        return self.encoder_macs + self.head_macs


def cost(config: ViTPoseConfig, num_keypoints: int, *, checkpoint_activations: bool = False) -> Cost:
    """What a network costs; nothing is computed and no memory taken.

    Args:
        config: The network.
        num_keypoints: K of its head.
        checkpoint_activations: Whether activations are computed again in the backward pass.
    """
    skeleton = Skeleton.from_dict({"name": "counted", "keypoints": [f"keypoint_{k}" for k in range(num_keypoints)]})
    with torch.device("meta"):
        model = build_vitpose(config, skeleton)
        images = torch.empty(1, 3, *config.input_size)
    model.checkpoint_activations = checkpoint_activations
    with sdpa_kernel(SDPBackend.MATH):
        kept = activation_bytes(model.train(), images)
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        encoder_macs=_encoder_macs(config, model.windows),
        head_macs=_decoder_macs(config, num_keypoints) + _other_macs(model),
        activation_bytes=kept,
    )


def activation_bytes(model: ViTPose, images: Tensor) -> int:
    """Bytes that a forward pass keeps for the backward pass, besides parameters and buffers.

    Tensors that share their storage count once. What the backward pass itself needs at its height comes on top:
    gradients of parameters, and of few activations at a time. With checkpointed activations, also what one block
    keeps while it is computed again.

    Args:
        model: In the mode that is to be measured, on any device; on ``meta`` nothing is computed.
        images: (B,3,H,W) on the same device.
    """
    own = {StorageWeakRef(tensor.untyped_storage()) for tensor in (*model.parameters(), *model.buffers())}
    # Holding the storages keeps two that live one after the other from having one address.
    kept: dict[StorageWeakRef, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[StorageWeakRef(storage)] = storage
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model.forward_all(images)
    total = sum(storage.nbytes() for reference, storage in kept.items() if reference not in own)
    del outputs  # until here its graph held what was counted
    return total


def _encoder_macs(config: ViTPoseConfig, windows: list[Windows]) -> int:
    grid, width = config.grid_size[0] * config.grid_size[1], config.width
    patches = grid * 3 * config.patch_size**2 * width
    tokens = grid + config.knowledge
    linear = tokens * width**2 * (4 + 2 * config.mlp_ratio)  # q, k, v and the projection; an expert is a part of fc2
    return patches + config.depth * linear + sum(_attention_macs(config, each) for each in windows)


def _attention_macs(config: ViTPoseConfig, windows: Windows) -> int:
    """Queries with keys, and weights with values; filling is computed too."""
    count, size = window_count(config.grid_size, windows), windows.size[0] * windows.size[1] + config.knowledge
    keys = size + (count if windows.pool else 0)
    return 2 * count * size * keys * config.width


def _decoder_macs(config: ViTPoseConfig, num_keypoints: int) -> int:
    cells = config.heatmap_size[0] * config.heatmap_size[1]
    if config.decoder == "simple":
        return cells * 9 * config.width * num_keypoints
    channels = config.deconv_channels
    outputs = config.grid_size[0] * config.grid_size[1] * 4  # each cell of a deconvolution's output meets 2x2 inputs
    first = outputs * 4 * config.width * channels
    second = 4 * outputs * 4 * channels**2 if config.upsampling == 4 else 0
    return first + second + cells * channels * num_keypoints


def _other_macs(model: ViTPose) -> int:
    """Of the heads that look at all tokens, counted while they run without data: how is their own affair."""
    heads = [*model.presence_heads[:1], *([] if model.whole_box_head is None else [model.whole_box_head])]
    if not heads:
        return 0
    features = torch.empty(1, model.pos_embed.shape[-1], *model.grid_size, device="meta")
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        for head in heads:
            head(features)
    return counter.get_total_flops() // 2
