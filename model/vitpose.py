"""ViTPose and ViTPose++, whole (Xu et al., NeurIPS 2022, arXiv 2204.12484; ViTPose++, arXiv 2212.04246).

A plain vision transformer and a light decoder: cut the crop into patches, add positions, run L pre-norm
blocks, and turn the token grid into one heatmap per keypoint.

    images (B,3,H,W) -> patches -> tokens (B,N,D) -> L blocks -> features (B,D,Hp,Wp) -> heatmaps (B,K,h,w)

ViTPose++ shares everything between datasets except the last channels of each MLP, which belong to the
sample's dataset (:class:`ExpertMlp`), and the decoder, of which there is one per dataset. A knowledge token (the
paper's token distillation) goes through all blocks with the patches' tokens, which look at it, and is left out of the
features. Names of modules follow the official checkpoints. Shapes are fixed: a network takes images of its
construction size only, so that it compiles once.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from autolabel.errors import ConfigError, InputError
from autolabel.skeleton import Skeleton
from model.attention import TABLE, GridAttention, Windows, plan
from model.config import Attention, Decoder, ViTPoseConfig
from model.decoders import ClassicDecoder, SimpleDecoder
from model.heads import Answers, PresenceHead, WholeBoxHead

DatasetIndex = Tensor | int | None
"""Whose expert and head serve the samples: (B,) int64, one index for all, or None for the first (COCO's)."""


class PatchEmbed(nn.Module):
    """Images (B,3,H,W) -> tokens (B,N,D), row by row.

    The padding is the released networks' quirk: with 2 at patch 16, patch i covers pixels [16i-2, 16i+14). With a
    stride below the patch size, patches overlap.
    """

    def __init__(self, patch_size: int, stride: int, padding: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=stride, padding=padding)

    def forward(self, images: Tensor) -> Tensor:
        """Cut and project."""
        return self.proj(images).flatten(2).transpose(1, 2)


class ExpertMlp(nn.Module):
    """The MLP of a ViTPose++ block: the last P output channels come from the expert of the sample's dataset.

    ``fc1`` and the first D - P rows of the second layer are shared; ``experts[e]`` are its last P rows for
    dataset e.
    """

    def __init__(self, width: int, hidden: int, experts: int, expert_width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width - expert_width)
        self.experts = nn.ModuleList(nn.Linear(hidden, expert_width) for _ in range(experts))

    def forward(self, tokens: Tensor, dataset: DatasetIndex) -> Tensor:
        """(B,N,D) -> (B,N,D)."""
        hidden = self.act(self.fc1(tokens))
        return torch.cat([self.fc2(hidden), self._expert(hidden, dataset)], dim=-1)

    def _expert(self, hidden: Tensor, dataset: DatasetIndex) -> Tensor:
        if not isinstance(dataset, Tensor):
            return self.experts[dataset or 0](hidden)
        # Gathering each sample's own weights costs one expert per sample whatever the mix, keeps every shape
        # fixed, and gives every expert a gradient (zero where unused), which distributed training needs.
        weight = torch.stack([expert.get_parameter("weight") for expert in self.experts])[dataset]  # (B,P,4D)
        bias = torch.stack([expert.get_parameter("bias") for expert in self.experts])[dataset]  # (B,P)
        return torch.baddbmm(bias[:, None], hidden, weight.mT)


class ViTPose(nn.Module):
    """The network. Arguments are those of :class:`model.config.ViTPoseConfig`, flat.

    Args:
        skeletons: What the keypoint heads predict: one skeleton, or one per dataset.

    Attributes:
        skeletons: As given.
        input_size: (H, W) of the images.
        grid_size: (Hp, Wp) tokens.
        heatmap_size: (h, w) cells, ``upsampling`` times the grid.
        presence_heads: One per keypoint head, or none.
        whole_box_head: One for all datasets, or None.
        knowledge: (1, 1, D), the knowledge token, or None.
        windows: How each block attends.
        checkpoint_activations: Whether training keeps only what enters each block and computes the rest again for
            the backward pass, which needs much less memory and a third more time. False until somebody sets it.
        config: Description only, set by :func:`build_vitpose`; nothing here reads it.
    """

    config: ViTPoseConfig

    def __init__(
        self,
        skeletons: Sequence[Skeleton],
        *,
        input_size: tuple[int, int],
        patch_size: int,
        ratio: int,
        patch_padding: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: int,
        norm_eps: float,
        drop_path: float,
        attention: Attention,
        window: tuple[int, int],
        shift: bool,
        pool: bool,
        full_every: int,
        relative_position: bool,
        decoder: Decoder,
        deconv_channels: int,
        upsampling: int,
        presence: bool,
        whole_box: bool,
        experts: int,
        expert_width: int,
        knowledge: bool,
    ) -> None:
        super().__init__()
        self.skeletons = tuple(skeletons)
        self.input_size = input_size
        stride = patch_size // ratio
        self.grid_size = (input_size[0] // stride, input_size[1] // stride)
        self.heatmap_size = (self.grid_size[0] * upsampling, self.grid_size[1] * upsampling)
        self.num_experts = experts
        self.checkpoint_activations = False
        norm: Any = partial(nn.LayerNorm, eps=norm_eps)  # timm's annotation wants a class, its code a callable
        drop_paths = [drop_path * index / max(depth - 1, 1) for index in range(depth)]

        self.patch_embed = PatchEmbed(patch_size, stride, patch_padding, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid_size[0] * self.grid_size[1] + 1, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio, qkv_bias=True, norm_layer=norm, drop_path=rate) for rate in drop_paths
        )
        if experts:
            for block in self.blocks:
                block.mlp = ExpertMlp(width, width * mlp_ratio, experts, expert_width)
        self.windows = plan(
            self.grid_size,
            depth,
            attention=attention,
            window=window,
            shift=shift,
            pool=pool,
            full_every=full_every,
        )
        for block, windows in zip(self.blocks, self.windows, strict=True):
            if relative_position or windows != Windows(self.grid_size):
                block.attn = GridAttention(width, heads, self.grid_size, windows, relative_position=relative_position)
        self.last_norm = norm(width)
        counts = [skeleton.num_keypoints for skeleton in self.skeletons]
        if decoder == "classic":
            self.keypoint_heads = nn.ModuleList(ClassicDecoder(width, deconv_channels, k, upsampling) for k in counts)
        else:
            self.keypoint_heads = nn.ModuleList(SimpleDecoder(width, k, upsampling) for k in counts)
        self._initialise()
        # Made last, so that the same seed gives the same network with and without them.
        self.presence_heads = nn.ModuleList(PresenceHead(width, k) for k in counts if presence)
        self.whole_box_head = WholeBoxHead(width) if whole_box else None
        self.knowledge = nn.Parameter(fresh_knowledge(width)) if knowledge else None

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton of the first head, the one that ``forward`` uses unless told otherwise."""
        return self.skeletons[0]

    def forward(self, images: Tensor, dataset: DatasetIndex = None) -> Tensor:
        """Heatmaps of cropped people.

        Args:
            images: (B,3,H,W) float32, RGB, ImageNet-normalised, of the construction size.
            dataset: Which expert and head; see :data:`DatasetIndex`. A network without experts and with one head,
                such as a ViTPose++ split for one dataset, takes no notice of it.

        Returns:
            (B,K,h,w). With several heads and a tensor ``dataset``, K is the largest skeleton's and the
            channels beyond a sample's own keypoints are 0.

        Raises:
            InputError: Images of another size, or a dataset that does not exist.
        """
        return self.forward_head(self.forward_features(images, dataset), dataset)

    def forward_all(self, images: Tensor, dataset: DatasetIndex = None) -> Answers:
        """What all heads say, from one pass of the encoder.

        Args:
            images: As :meth:`forward`.
            dataset: As :meth:`forward`.

        Raises:
            InputError: As :meth:`forward`.
        """
        return self.forward_heads(self.forward_features(images, dataset), dataset)

    def forward_heads(self, features: Tensor, dataset: DatasetIndex = None) -> Answers:
        """What all heads say of the encoder's features (B,D,Hp,Wp).

        Raises:
            InputError: A dataset that has no head.
        """
        presence = self._answers(self.presence_heads, features, dataset) if len(self.presence_heads) else None
        whole_box = None if self.whole_box_head is None else self.whole_box_head(features)
        return Answers(self.forward_head(features, dataset), presence, whole_box)

    def forward_features(self, images: Tensor, dataset: DatasetIndex = None) -> Tensor:
        """The encoder: images (B,3,H,W) -> features (B,D,Hp,Wp), after the last LayerNorm.

        Raises:
            InputError: As :meth:`forward`.
        """
        if tuple(images.shape[-2:]) != self.input_size:
            raise InputError(
                f"images are {images.shape[-2]}x{images.shape[-1]} (HxW), this network takes "
                f"{self.input_size[0]}x{self.input_size[1]}"
            )
        self._check_dataset(dataset, self.num_experts)
        # There is no class token, yet its position slot exists: MAE's table has one, ViTPose adds it to every
        # token, and fine-tuning made it non-zero, so it must not be dropped.
        tokens = self.patch_embed(images) + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        if self.knowledge is not None:  # it has no place in the crop, and so no position
            tokens = torch.cat([tokens, self.knowledge.expand(tokens.shape[0], -1, -1)], dim=1)
        for block in self.blocks:
            if self.checkpoint_activations and self.training and torch.is_grad_enabled():
                tokens = checkpoint(self._block, block, tokens, dataset, use_reentrant=False)
            else:
                tokens = self._block(block, tokens, dataset)
        if self.knowledge is not None:
            tokens = tokens[:, :-1]
        tokens = self.last_norm(tokens)
        return tokens.transpose(1, 2).unflatten(2, self.grid_size)

    def _block(self, block: nn.Module, tokens: Tensor, dataset: DatasetIndex) -> Tensor:
        return _expert_block(block, tokens, dataset) if self.num_experts else block(tokens)

    def forward_head(self, features: Tensor, dataset: DatasetIndex = None) -> Tensor:
        """The decoder: features (B,D,Hp,Wp) -> heatmaps (B,K,h,w), as :meth:`forward` describes.

        Raises:
            InputError: A dataset that has no head.
        """
        return self._answers(self.keypoint_heads, features, dataset)

    def _answers(self, heads: nn.ModuleList, features: Tensor, dataset: DatasetIndex) -> Tensor:
        """(B,K,...) of the head that is asked, or of each sample's own, padded to the largest skeleton."""
        if len(heads) == 1:
            return heads[0](features)
        self._check_dataset(dataset, len(heads))
        if not isinstance(dataset, Tensor):
            return heads[dataset or 0](features)
        # Every head sees the whole batch, as in the official training, and each sample keeps its own
        # dataset's answer.
        largest = max(skeleton.num_keypoints for skeleton in self.skeletons)
        answers: Tensor | None = None
        for index, head in enumerate(heads):
            own = head(features)
            padded = F.pad(own, (*[0, 0] * (own.dim() - 2), 0, largest - own.shape[1]))
            mine = (dataset == index).reshape(-1, *[1] * (own.dim() - 1))
            answers = torch.where(mine, padded, torch.zeros_like(padded) if answers is None else answers)
        assert answers is not None, "there is always a head"
        return answers

    def group_matcher(self, coarse: bool = False) -> dict[str, object]:
        """Layer ids for timm's learning-rate decay: the stem is 0, block i is i + 1, the rest comes last."""
        blocks = r"^blocks\.(\d+)"
        return {"stem": r"^(?:pos_embed|patch_embed|knowledge)", "blocks": blocks if coarse else [(blocks, None)]}

    def no_weight_decay(self) -> set[str]:
        """Parameters that timm leaves out of weight decay, besides biases and norms."""
        tables = {name for name, _ in self.named_parameters() if name.endswith(TABLE)}
        return {"pos_embed", *tables, *(() if self.knowledge is None else ("knowledge",))}

    def restore_constants(self) -> None:
        """Compute anew what is neither learnt nor saved; needed after ``to_empty``."""
        for block in self.blocks:
            if isinstance(block.attn, GridAttention):
                block.attn.restore_constants()

    def _check_dataset(self, dataset: DatasetIndex, known: int) -> None:
        # A tensor's values are not looked at: on a GPU that would wait for the device.
        if known and isinstance(dataset, int) and not 0 <= dataset < known:
            raise InputError(f"dataset index {dataset} is not in 0..{known - 1}")

    def _initialise(self) -> None:
        """As official without a pre-trained encoder; the patch convolution keeps PyTorch's default."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for module in self.keypoint_heads.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.001)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def fresh_knowledge(width: int) -> Tensor:
    """An untaught knowledge token, (1, 1, D), as positions start."""
    return nn.init.trunc_normal_(torch.zeros(1, 1, width), std=0.02)


def _expert_block(block: Any, tokens: Tensor, dataset: DatasetIndex) -> Tensor:
    """What timm's ``Block.forward`` does, but with the dataset handed on to the MLP."""
    tokens = tokens + block.drop_path1(block.attn(block.norm1(tokens)))
    return tokens + block.drop_path2(block.mlp(block.norm2(tokens), dataset))


def build_vitpose(config: ViTPoseConfig, skeletons: Skeleton | Sequence[Skeleton]) -> ViTPose:
    """A freshly initialised network, in training mode.

    Args:
        config: What to build.
        skeletons: One skeleton, or one per dataset of ``config.datasets`` in their order.

    Raises:
        ConfigError: The number of skeletons is neither one nor that of the datasets.
    """
    heads = (skeletons,) if isinstance(skeletons, Skeleton) else tuple(skeletons)
    if len(heads) not in (1, len(config.datasets)):
        raise ConfigError(
            f"{len(heads)} skeletons for {len(config.datasets)} datasets",
            remedy="Give one, or one per dataset.",
        )
    model = ViTPose(
        heads,
        input_size=config.input_size,
        patch_size=config.patch_size,
        ratio=config.ratio,
        patch_padding=config.patch_padding,
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        norm_eps=config.norm_eps,
        drop_path=config.drop_path,
        attention=config.attention,
        window=config.window,
        shift=config.shift,
        pool=config.pool,
        full_every=config.full_every,
        relative_position=config.relative_position,
        decoder=config.decoder,
        deconv_channels=config.deconv_channels,
        upsampling=config.upsampling,
        presence=config.presence,
        whole_box=config.whole_box,
        experts=config.experts,
        expert_width=config.expert_width,
        knowledge=config.knowledge,
    )
    model.config = config
    return model


def expected_tensors(config: ViTPoseConfig, skeletons: Skeleton | Sequence[Skeleton]) -> dict[str, Tensor]:
    """Names and shapes of all parameters and buffers, as tensors without storage."""
    with torch.device("meta"):
        return build_vitpose(config, skeletons).state_dict()
