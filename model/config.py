"""What a ViTPose is made of: one frozen, strict description, and the two tables of what was released.

A config is data. It is written into every checkpoint folder, and :func:`model.vitpose.build_vitpose`
translates it into the network's flat arguments; no module ever sees it. Unknown keys are errors that name the
nearest known one.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from autolabel.errors import ConfigError
from autolabel.settings import Settings

Codec = Literal["udp", "plain"]
Decoder = Literal["classic", "simple"]
Attention = Literal["full", "window"]

UPSAMPLING = 4
"""The released decoders enlarge the token grid by this much, so a heatmap is the input / patch size x 4."""


MAX_SIDE = 8192
"""Longest side of an input, in pixels. Like the limits of the fields below, it is far beyond any network that
exists: a damaged or hostile config must not ask for all memory."""

MAX_TOKENS = 65_536
"""As many as an input of 4096x4096 has in patches of 16."""

MAX_LOOKS = 2**27
"""Pairs of a query and a key in all windows of a block: what a mask says a byte each of."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Names of datasets become parts of file names."""


@dataclass(frozen=True)
class Size:
    """One released encoder, with the training settings that go with its width and depth."""

    width: int
    depth: int
    heads: int
    drop_path: float
    layer_decay: float


# ViTPose, official configs (ViTAE-Transformer/ViTPose). S has 12 heads of 32, not DeiT-S's 6 of 64.
SIZES: Mapping[str, Size] = {
    "s": Size(width=384, depth=12, heads=12, drop_path=0.10, layer_decay=0.80),
    "b": Size(width=768, depth=12, heads=12, drop_path=0.30, layer_decay=0.75),
    "l": Size(width=1024, depth=24, heads=16, drop_path=0.50, layer_decay=0.80),
    "h": Size(width=1280, depth=32, heads=16, drop_path=0.55, layer_decay=0.85),
}


@dataclass(frozen=True)
class Dataset:
    """What a head trained on a public dataset means: its skeleton's name and its heatmap convention."""

    skeleton: str
    codec: Codec


# The official configs train COCO and MPII with UDP and everything else with the plain (MSRA) convention. coco_25 is
# easy_ViTPose's own, which decodes everything with UDP; no other convention is known for it.
DATASETS: Mapping[str, Dataset] = {
    "coco": Dataset("coco17", "udp"),
    "aic": Dataset("aic14", "plain"),
    "mpii": Dataset("mpii16", "udp"),
    "ap10k": Dataset("ap10k17", "plain"),
    "apt36k": Dataset("ap10k17", "plain"),
    "wholebody": Dataset("wholebody133", "plain"),
    "crowdpose": Dataset("crowdpose14", "plain"),
    "coco_25": Dataset("bodyfeet25", "udp"),
}

PRESETS: Mapping[str, Size] = {
    **SIZES,
    # DeiT's tiny (Touvron et al., 2021), which nobody released as a ViTPose: starts from scratch or from our own MAE,
    # where neither stochastic depth nor smaller steps for the lower blocks help so small a network.
    "ti": Size(width=192, depth=12, heads=3, drop_path=0.0, layer_decay=1.0),
}
"""The released sizes and our own: the names that :meth:`ViTPoseConfig.of_size` knows."""

PLUS_DATASETS = ("coco", "aic", "mpii", "ap10k", "apt36k", "wholebody")
"""Order of the experts and heads in the released ViTPose++ files."""


class ViTPoseConfig(Settings):
    """One network. The defaults are ViTPose-B, classic decoder, 256x192, as released for COCO.

    Attributes:
        input_size: (H, W) in pixels; both are multiples of the feature stride, patch_size / ratio.
        patch_size: Side of the square patch; the token grid is exactly input_size / patch_size x ratio.
        ratio: 2 lets patches overlap by half, which makes four times as many tokens (the paper's 1/8 features).
        patch_padding: Zeros around the image before it is cut. The released networks use 2, which moves every
            patch two pixels up and left and leaves the last two rows and columns unread; the default keeps 2
            wherever the grid stays H/P x W/P (2 x padding < patch), so that it is 2 for patches of 5 and
            more, 1 for 3 and 4. At ratio 2 it is a quarter of the patch, 4 for 16, as official.
        width: Channels of a token, D.
        depth: Number of blocks.
        heads: Attention heads; they divide the width.
        mlp_ratio: Hidden channels of a block's MLP, in widths.
        norm_eps: Epsilon of every LayerNorm (official 1e-6; Hugging Face files say 1e-12).
        drop_path: Stochastic-depth rate of the last block in training; the rates rise linearly from 0.
        attention: "full", or "window": a token attends to those of its window (:mod:`model.attention`).
        window: (rows, columns) of a window, in tokens; it need not divide the grid.
        shift: Every other one of the blocks with windows moves them by half a window.
        pool: Every window also sees the mean token of each window, where there are several.
        full_every: Every n-th block attends in full all the same; 0 for none.
        relative_position: Whether a learnt bias for each distance between tokens is added to the attention.
        decoder: "classic" (two deconvolutions) or "simple" (ReLU, bilinear x4, 3x3 convolution).
        deconv_channels: Channels of the classic decoder's deconvolutions.
        upsampling: Heatmap cells per token, along a side: 4, or 2, with which a network of ratio 2 has heatmaps of
            the usual size. The classic decoder then has one deconvolution.
        presence: Whether there is a presence head beside each keypoint head (:class:`model.heads.PresenceHead`).
        whole_box: Whether there is a head that tells how far the whole person reaches beyond what the image shows
            (:class:`model.heads.WholeBoxHead`); prediction then looks twice at people whom the image cuts.
        experts: 0 for a plain network, else the number of ViTPose++ experts.
        expert_width: Output channels that an expert fills, P; the last P of the width.
        knowledge: Whether a knowledge token goes through all blocks beside the patches' tokens, by which a teacher
            hands on what it knows (ViTPose's token distillation). Windows and distances have no place for it.
        datasets: Names of the datasets, in the order of experts and keypoint heads; may be empty for a plain
            network. Letters, digits, and, after the first, ``_``, ``.`` and ``-``; different without case, too.
        codecs: Heatmap convention of each head, for crops, targets and decoding, in the order of ``datasets``; may
            be empty where ``codec`` and :data:`DATASETS` say it. See :meth:`codec_of`.
        codec: Heatmap convention of the first head.
        heatmap_sigma: Standard deviation of the target Gaussian, in heatmap cells.
        box_padding: How much larger than the box the crop is.
        absent_below: A peak lower than this says that the keypoint is absent (outside the image, or
            unknowable). 0 for networks that never learnt it, such as all released ones: they state a place
            for every keypoint. Used where there is no presence head.
        presence_threshold: A keypoint whose presence head gives less is absent.
        visible_threshold: A present keypoint whose presence head gives it less to be visible is hidden.
    """

    input_size: tuple[int, int] = (256, 192)
    patch_size: int = Field(default=16, ge=1, le=256)
    ratio: Literal[1, 2] = 1
    patch_padding: int = Field(
        default_factory=lambda known: default_padding(known.get("patch_size", 16), known.get("ratio", 1)), ge=0
    )
    width: int = Field(default=768, ge=1, le=16_384)
    depth: int = Field(default=12, ge=1, le=256)
    heads: int = Field(default=12, ge=1, le=16_384)
    mlp_ratio: int = Field(default=4, ge=1, le=64)
    norm_eps: float = Field(default=1e-6, gt=0)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    attention: Attention = "full"
    window: tuple[int, int] = (8, 8)
    shift: bool = False
    pool: bool = False
    full_every: int = Field(default=0, ge=0)
    relative_position: bool = False
    decoder: Decoder = "classic"
    deconv_channels: int = Field(default=256, ge=1, le=16_384)
    upsampling: Literal[2, 4] = UPSAMPLING
    presence: bool = False
    whole_box: bool = False
    experts: int = Field(default=0, ge=0, le=256)
    expert_width: int = Field(default=0, ge=0)
    knowledge: bool = False
    datasets: tuple[str, ...] = ()
    codecs: tuple[Codec, ...] = ()
    codec: Codec = Field(default_factory=lambda known: (known.get("codecs") or ("udp",))[0])
    heatmap_sigma: float = Field(default=2.0, gt=0)
    box_padding: float = Field(default=1.25, gt=0)
    absent_below: float = Field(default=0.0, ge=0, lt=1)
    presence_threshold: float = Field(default=0.5, ge=0, le=1)
    visible_threshold: float = Field(default=0.5, ge=0, le=1)

    @property
    def stride(self) -> int:
        """Pixels from one token to the next."""
        return self.patch_size // self.ratio

    @property
    def grid_size(self) -> tuple[int, int]:
        """(Hp, Wp) tokens."""
        return self.input_size[0] // self.stride, self.input_size[1] // self.stride

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """(h, w) cells."""
        return self.grid_size[0] * self.upsampling, self.grid_size[1] * self.upsampling

    def codec_of(self, head: int) -> Codec:
        """The heatmap convention of a head: what ``codecs`` says, else its public dataset, else the first head's."""
        if self.codecs:
            return self.codecs[head]
        known = DATASETS.get(self.datasets[head]) if head else None
        return known.codec if known else self.codec

    def described(self) -> dict[str, Any]:
        """The fields for JSON, without those of later versions that have their defaults.

        So the digest of a network and its files stay what they were before this version knew more variants.
        """
        later = {name for name in _LATER if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude=later)

    @classmethod
    def of_size(cls, size: str, *, subject: str = "", **changes: Any) -> "ViTPoseConfig":
        """The config of a named size, with changes.

        Args:
            size: One of :data:`PRESETS`: "s", "b", "l", "h" or "ti".
            subject: What errors call it; by default the size's name.
            **changes: Fields that differ.

        Raises:
            ConfigError: No such size, or the changes are wrong.
        """
        if size not in PRESETS:
            raise ConfigError(f"no size {size!r}", subject=subject or "size", remedy=f"Known: {', '.join(PRESETS)}.")
        row = PRESETS[size]
        known = {"width": row.width, "depth": row.depth, "heads": row.heads, "drop_path": row.drop_path}
        return cls.parse({**known, **changes}, subject=subject or f"ViTPose-{size.upper()}")

    @model_validator(mode="after")
    def _consistent(self) -> "ViTPoseConfig":
        if self.patch_size % self.ratio:
            raise ValueError(f"patch_size {self.patch_size} must be a multiple of ratio {self.ratio}")
        if min(self.input_size) < 1 or any(side % self.stride for side in self.input_size):
            stride = f"patch_size {self.patch_size}" + (f" / ratio {self.ratio}" if self.ratio > 1 else "")
            raise ValueError(f"input_size {self.input_size} must be multiples of {stride}")
        if max(self.input_size) > MAX_SIDE:
            raise ValueError(f"input_size {self.input_size} is larger than {MAX_SIDE}")
        if math.prod(self.grid_size) > MAX_TOKENS:
            raise ValueError(f"input_size {self.input_size} makes more than {MAX_TOKENS:,} tokens")
        self._check_padding()
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        self._check_attention()
        self._check_datasets()
        self._check_experts()
        self._check_codecs()
        return self

    def _check_padding(self) -> None:
        """The convolution's own arithmetic must give the grid: patch - stride <= 2 padding < patch."""
        grid = "or the token grid would not be input_size / patch_size"
        if 2 * self.patch_padding >= self.patch_size:
            raise ValueError(
                f"patch_padding {self.patch_padding} must be less than half of patch_size {self.patch_size}, {grid}"
            )
        if 2 * self.patch_padding < self.patch_size - self.stride:
            raise ValueError(
                f"patch_padding {self.patch_padding} must be at least a quarter of patch_size {self.patch_size} at "
                f"ratio {self.ratio}, {grid} x ratio"
            )

    def _check_attention(self) -> None:
        if self.knowledge and (self.attention != "full" or self.relative_position):
            other = "relative_position" if self.attention == "full" else f"attention {self.attention!r}"
            raise ValueError(f"knowledge needs full attention, where a token has no place: not {other}")
        if min(self.window) < 1:
            raise ValueError(f"window {self.window} must be at least one token high and wide")
        if self.attention == "window":
            if self.full_every == 1 or self.full_every > self.depth:
                raise ValueError(f"full_every {self.full_every} must be 0, or from 2 to the depth, {self.depth}")
            self._check_windows()
            return
        for name in ("window", "shift", "pool", "full_every"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} {getattr(self, name)} needs attention 'window'")

    def _check_windows(self) -> None:
        size = [min(side, whole) for side, whole in zip(self.window, self.grid_size, strict=True)]
        windows = math.prod(-(-whole // side) for side, whole in zip(size, self.grid_size, strict=True))
        tokens = math.prod(size)
        looks = windows * tokens * (tokens + windows * self.pool)
        if windows > 1 and looks > MAX_LOOKS:
            raise ValueError(
                f"window {self.window} on a grid of {self.grid_size} tokens makes {looks:,} pairs of tokens that look "
                f"at each other, more than {MAX_LOOKS:,}"
            )

    def _check_codecs(self) -> None:
        if not self.codecs:
            return
        if len(self.codecs) != max(1, len(self.datasets)):
            raise ValueError(f"codecs {self.codecs} must be one per dataset of {self.datasets}")
        if self.codec != self.codecs[0]:
            raise ValueError(f"codec {self.codec} must be the first of codecs {self.codecs}")

    def _check_datasets(self) -> None:
        for name in self.datasets:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"dataset {name!r} must be named in letters, digits, '_', '.' and '-', beginning with a letter or "
                    "digit, because files are named after it"
                )
        if len({name.lower() for name in self.datasets}) != len(self.datasets):
            raise ValueError(f"datasets {self.datasets} must be different names, whatever the case")

    def _check_experts(self) -> None:
        if self.experts == 0:
            if self.expert_width:
                raise ValueError(f"expert_width {self.expert_width} needs experts")
            return
        if self.experts < 2 or len(self.datasets) != self.experts:
            raise ValueError(f"experts {self.experts} must be at least 2 and as many as the datasets {self.datasets}")
        if not 0 < self.expert_width < self.width:
            raise ValueError(f"expert_width {self.expert_width} must lie between 0 and width {self.width}")


THRESHOLDS = ("presence_threshold", "visible_threshold")
"""Fields that were found for the presence heads of a network, and mean nothing for others."""

_LATER = (
    *("ratio", "attention", "window", "shift", "pool", "full_every", "relative_position", "upsampling"),
    *("presence", "whole_box", "codecs", "knowledge", *THRESHOLDS),
)
"""Fields that the first version of checkpoint folders did not have."""


def default_padding(patch_size: int, ratio: int = 1) -> int:
    """The released padding as far as the token grid stays input_size / patch_size x ratio.

    2 at ratio 1; at ratio 2 the smallest, a quarter of the patch: the official 4 + 2 (ratio // 2 - 1) for 16.
    """
    return min(2, (patch_size - 1) // 2) if ratio == 1 else -(-patch_size // 4)
