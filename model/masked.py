"""A masked autoencoder around ViTPose's encoder (He et al., CVPR 2022, arXiv 2111.06377).

Of each crop's patches a random quarter goes through the encoder; a light decoder is given what comes out and one and
the same token for every patch that was hidden, and predicts their pixels. The encoder never computes a hidden patch,
which is why a step costs a fraction of a supervised one. What is kept is the encoder alone.

A patch is what the network's own patch embedding reads: with its padding of 2, patch i of 16 covers pixels
[16i-2, 16i+14) (``vitpose.md`` 1.2). Targets are those same pixels, so that no target shows what another patch saw;
the zeros of the padding are among them at the left and top edge, the last two rows and columns are never asked for.
Positions are MAE's fixed table of sines and cosines with slot 0 at zero; fine-tuning then learns on from it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from model.crop import IMAGENET_MEAN, IMAGENET_STD
from model.vitpose import ViTPose

_EPSILON = 1e-6  # of the patches' variance


class MaskedAutoencoder(nn.Module):
    """The encoder of a ViTPose, without its keypoint heads, and a decoder that predicts hidden patches.

    Names of the encoder's tensors are ViTPose's; it shares them with the network that it was made from.

    Args:
        model: Plain, with full attention and patches that do not overlap; see :func:`model.pretrain.require_maskable`.
        mask_ratio: Share of the patches that is hidden.
        decoder_width: Channels, a multiple of 4.
        decoder_depth: Blocks.
        decoder_heads: Attention heads.

    Attributes:
        grid_size: (Hp, Wp) patches.
        kept: How many of them are seen.
        patch_size: Side of a patch, P.
        checkpoint_activations: Compute the blocks again in the backward pass.
    """

    def __init__(
        self, model: ViTPose, *, mask_ratio: float, decoder_width: int, decoder_depth: int, decoder_heads: int
    ) -> None:
        super().__init__()
        kernel = model.patch_embed.proj.weight
        width, self.patch_size = len(kernel), kernel.shape[-1]
        self.padding = int(model.patch_embed.proj.padding[0])
        self.grid_size = model.grid_size
        patches = self.grid_size[0] * self.grid_size[1]
        self.kept = min(max(int(patches * (1 - mask_ratio)), 1), patches - 1)
        self.checkpoint_activations = False
        self.patch_embed, self.pos_embed = model.patch_embed, model.pos_embed
        self.blocks, self.last_norm = model.blocks, model.last_norm
        self.pos_embed.requires_grad_(False)
        norm: Any = partial(nn.LayerNorm, eps=1e-6)  # timm's annotation wants a class, its code a callable
        self.decoder_embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, decoder_width))
        self.decoder_positions: Tensor
        # (N,D): of (1,N,D) the slice would have strides that keep torch from handing it to other processes.
        self.register_buffer(
            "decoder_positions", sine_positions(decoder_width, self.grid_size)[0, 1:], persistent=False
        )
        self.decoder_blocks = nn.ModuleList(
            Block(decoder_width, decoder_heads, qkv_bias=True, norm_layer=norm) for _ in range(decoder_depth)
        )
        self.decoder_norm = norm(decoder_width)
        self.decoder_pred = nn.Linear(decoder_width, 3 * self.patch_size**2)
        nn.init.normal_(self.mask_token, std=0.02)
        for part in (self.decoder_embed, self.decoder_blocks, self.decoder_pred):
            initialise(part)

    def forward(self, images: Tensor, shuffle: Tensor) -> Tensor:
        """Predict every patch from the few that are seen.

        Args:
            images: (B,3,H,W) float32, ImageNet-normalised.
            shuffle: (B,N) int64, for each image its patches in a random order: the first ``kept`` are seen.

        Returns:
            (B,N,3P²), patches in their own order, each as :meth:`patches` gives it, brought to mean 0 and variance 1.
        """
        return self.decode(self.encode(images, shuffle[:, : self.kept]), shuffle)

    def encode(self, images: Tensor, seen: Tensor) -> Tensor:
        """The tokens (B,n,D) of the patches ``seen`` (B,n) alone, after the last norm."""
        # The convolution of :class:`model.vitpose.PatchEmbed`, computed where it is wanted only.
        proj = self.patch_embed.proj
        tokens = F.linear(taken(self.patches(images), seen), proj.weight.flatten(1), proj.bias)
        positions = self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        tokens = tokens + taken(positions.expand(len(images), -1, -1), seen)
        for block in self.blocks:
            tokens = self._through(block, tokens)
        return self.last_norm(tokens)

    def decode(self, tokens: Tensor, shuffle: Tensor) -> Tensor:
        """Predictions (B,N,3P²) for all patches, in their own order, from the tokens (B,n,D) of the first n."""
        tokens = self.decoder_embed(tokens)
        hidden = shuffle.shape[1] - tokens.shape[1]
        mask = self.mask_token.to(tokens.dtype).expand(len(tokens), hidden, -1)
        tokens = taken(torch.cat([tokens, mask], dim=1), shuffle.argsort(dim=1))
        tokens = tokens + self.decoder_positions
        for block in self.decoder_blocks:
            tokens = self._through(block, tokens)
        return self.decoder_pred(self.decoder_norm(tokens))

    def patches(self, images: Tensor) -> Tensor:
        """(B,3,H,W) -> (B,N,3P²): the pixels that each patch embedding reads, channel by channel, row by row."""
        rows, columns, size = *self.grid_size, self.patch_size
        read = F.pad(images, (self.padding, -self.padding) * 2)
        cut = read.unflatten(2, (rows, size)).unflatten(4, (columns, size))  # (B,3,rows,P,columns,P)
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def images(self, patches: Tensor) -> Tensor:
        """(B,N,3P²) -> (B,3,H,W): the inverse of :meth:`patches`; what no patch reads is 0."""
        rows, columns, size = *self.grid_size, self.patch_size
        cut = patches.unflatten(1, (rows, columns)).unflatten(3, (3, size, size)).permute(0, 3, 1, 4, 2, 5)
        return F.pad(cut.flatten(4).flatten(2, 3), (-self.padding, self.padding) * 2)

    def encoder_tensors(self) -> dict[str, Tensor]:
        """What a ViTPose starts from: everything but the decoder."""
        return {n: t for n, t in self.state_dict().items() if not n.startswith(("decoder_", "mask_token"))}

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Layer ids for timm's learning-rate decay, as the network's own; the decoder comes last."""
        blocks = r"^blocks\.(\d+)"
        return {"stem": r"^(?:pos_embed|patch_embed)", "blocks": blocks if coarse else [(blocks, None)]}

    def _through(self, block: nn.Module, tokens: Tensor) -> Tensor:
        if self.checkpoint_activations and torch.is_grad_enabled():
            return checkpoint(block, tokens, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return block(tokens)


@dataclass(frozen=True)
class Reconstructions:
    """What a masked autoencoder makes of some crops, for a person to judge.

    Attributes:
        original: (B, H, W, 3) uint8 RGB.
        masked: The same, grey where patches were hidden.
        reconstructed: What was predicted there; elsewhere the original.
    """

    original: NDArray[np.uint8]
    masked: NDArray[np.uint8]
    reconstructed: NDArray[np.uint8]


@torch.no_grad()
def reconstruct(network: MaskedAutoencoder, crops: Tensor, shuffle: Tensor) -> Reconstructions:
    """Fill in what is hidden; each patch gets back the brightness and contrast that its target was freed from.

    Args:
        network: On the crops' device.
        crops: (B, 3, H, W) normalised.
        shuffle: (B, N) orders of the patches.
    """
    patches = network.patches(crops)
    _, mean, deviation = standardised(patches)
    hidden = (shuffle.argsort(dim=1) >= network.kept)[:, :, None]
    filled = torch.where(hidden, network(crops, shuffle).float() * deviation + mean, patches)
    return Reconstructions(
        _pixels(network.images(patches)),
        _pixels(network.images(patches.masked_fill(hidden, 0.0))),
        _pixels(network.images(filled)),
    )


def sine_positions(width: int, grid: tuple[int, int]) -> Tensor:
    """MAE's fixed table (1, 1 + Hp·Wp, D): slot 0 is zero; half of the channels tell the column, half the row.

    Each half holds sines, then cosines, of the place times D/4 frequencies from 1 down to nearly 1/10,000 (Vaswani et
    al., 2017, in two dimensions).

    Args:
        width: D, a multiple of 4.
        grid: (Hp, Wp).
    """
    frequency = 10_000 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows, columns = (torch.arange(side, dtype=torch.float64)[:, None] * frequency for side in grid)
    halves = [torch.cat([angle.sin(), angle.cos()], dim=1) for angle in (columns, rows)]
    table = torch.cat([halves[0].repeat(grid[0], 1), halves[1].repeat_interleave(grid[1], dim=0)], dim=1)
    return torch.cat([torch.zeros(1, width), table.float()])[None]


def taken(tokens: Tensor, places: Tensor) -> Tensor:
    """(B,N,C) at (B,n) -> (B,n,C)."""
    return tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))


def standardised(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B,n,C) with mean 0 and variance 1 each, and the mean and standard deviation (B,n,1) that it had."""
    mean, variance = patches.mean(dim=2, keepdim=True), patches.var(dim=2, keepdim=True)
    deviation = (variance + _EPSILON).sqrt()
    return (patches - mean) / deviation, mean, deviation


def _pixels(crops: Tensor) -> NDArray[np.uint8]:
    """(B, H, W, 3) uint8 of normalised (B, 3, H, W)."""
    mean, std = (crops.new_tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    grey = ((crops * std + mean) * 255).round().clamp(0, 255)
    return grey.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def initialise(part: nn.Module) -> None:
    """As MAE: every matrix, the patch embedding too, uniform after Glorot; biases 0."""
    for module in part.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
