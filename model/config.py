"""What a ViTPose is made of: one frozen, strict description, and the two tables of what was released.

A config is data. It is written into every checkpoint folder, and :func:`model.vitpose.build_vitpose`
translates it into the network's flat arguments; no module ever sees it. Unknown keys are errors that name the
nearest known one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from autolabel.errors import ConfigError
from autolabel.settings import Settings

Codec = Literal["udp", "plain"]
Decoder = Literal["classic", "simple"]

UPSAMPLING = 4
"""Both decoders enlarge the token grid by this much, so a heatmap is the input / patch size x 4."""


MAX_SIDE = 8192
"""Longest side of an input, in pixels. Like the limits of the fields below, it is far beyond any network that
exists: a damaged or hostile config must not ask for all memory."""


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

PLUS_DATASETS = ("coco", "aic", "mpii", "ap10k", "apt36k", "wholebody")
"""Order of the experts and heads in the released ViTPose++ files."""


class ViTPoseConfig(Settings):
    """One network. The defaults are ViTPose-B, classic decoder, 256x192, as released for COCO.

    Attributes:
        input_size: (H, W) in pixels; both are multiples of the patch size.
        patch_size: Side of the square patch; the token grid is exactly input_size / patch_size.
        patch_padding: Zeros around the image before it is cut. The released networks use 2, which moves every
            patch two pixels up and left and leaves the last two rows and columns unread; the default keeps 2
            wherever the grid stays H/P x W/P (2 x padding < patch), so that it is 2 for patches of 5 and
            more, 1 for 3 and 4.
        width: Channels of a token, D.
        depth: Number of blocks.
        heads: Attention heads; they divide the width.
        mlp_ratio: Hidden channels of a block's MLP, in widths.
        norm_eps: Epsilon of every LayerNorm (official 1e-6; Hugging Face files say 1e-12).
        drop_path: Stochastic-depth rate of the last block in training; the rates rise linearly from 0.
        decoder: "classic" (two deconvolutions) or "simple" (ReLU, bilinear x4, 3x3 convolution).
        deconv_channels: Channels between the two deconvolutions of the classic decoder.
        experts: 0 for a plain network, else the number of ViTPose++ experts.
        expert_width: Output channels that an expert fills, P; the last P of the width.
        datasets: Names of the datasets, in the order of experts and keypoint heads; may be empty for a plain
            network.
        codec: Heatmap convention of the first head, for crops, targets and decoding; further heads follow
            :data:`DATASETS`.
        heatmap_sigma: Standard deviation of the target Gaussian, in heatmap cells.
        box_padding: How much larger than the box the crop is.
        absent_below: A peak lower than this says that the keypoint is absent (outside the image, or
            unknowable). 0 for networks that never learnt it, such as all released ones: they state a place
            for every keypoint.
    """

    input_size: tuple[int, int] = (256, 192)
    patch_size: int = Field(default=16, ge=1, le=256)
    patch_padding: int = Field(default_factory=lambda known: default_padding(known.get("patch_size", 16)), ge=0)
    width: int = Field(default=768, ge=1, le=16_384)
    depth: int = Field(default=12, ge=1, le=256)
    heads: int = Field(default=12, ge=1, le=16_384)
    mlp_ratio: int = Field(default=4, ge=1, le=64)
    norm_eps: float = Field(default=1e-6, gt=0)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    decoder: Decoder = "classic"
    deconv_channels: int = Field(default=256, ge=1, le=16_384)
    experts: int = Field(default=0, ge=0, le=256)
    expert_width: int = Field(default=0, ge=0)
    datasets: tuple[str, ...] = ()
    codec: Codec = "udp"
    heatmap_sigma: float = Field(default=2.0, gt=0)
    box_padding: float = Field(default=1.25, gt=0)
    absent_below: float = Field(default=0.0, ge=0, lt=1)

    @property
    def grid_size(self) -> tuple[int, int]:
        """(Hp, Wp) tokens."""
        return self.input_size[0] // self.patch_size, self.input_size[1] // self.patch_size

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """(h, w) cells."""
        return self.grid_size[0] * UPSAMPLING, self.grid_size[1] * UPSAMPLING

    @classmethod
    def of_size(cls, size: str, *, subject: str = "", **changes: Any) -> "ViTPoseConfig":
        """The config of a released size, with changes.

        Args:
            size: "s", "b", "l" or "h".
            subject: What errors call it; by default the size's name.
            **changes: Fields that differ.

        Raises:
            ConfigError: No such size, or the changes are wrong.
        """
        if size not in SIZES:
            raise ConfigError(f"no size {size!r}", subject=subject or "size", remedy=f"Known: {', '.join(SIZES)}.")
        row = SIZES[size]
        known = {"width": row.width, "depth": row.depth, "heads": row.heads, "drop_path": row.drop_path}
        return cls.parse({**known, **changes}, subject=subject or f"ViTPose-{size.upper()}")

    @model_validator(mode="after")
    def _consistent(self) -> "ViTPoseConfig":
        if min(self.input_size) < 1 or any(side % self.patch_size for side in self.input_size):
            raise ValueError(f"input_size {self.input_size} must be multiples of patch_size {self.patch_size}")
        if max(self.input_size) > MAX_SIDE:
            raise ValueError(f"input_size {self.input_size} is larger than {MAX_SIDE}")
        if 2 * self.patch_padding >= self.patch_size:
            raise ValueError(
                f"patch_padding {self.patch_padding} must be less than half of patch_size {self.patch_size}, "
                "or the token grid would not be input_size / patch_size"
            )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        self._check_experts()
        return self

    def _check_experts(self) -> None:
        if len(set(self.datasets)) != len(self.datasets):
            raise ValueError(f"datasets {self.datasets} must be different names")
        if self.experts == 0:
            if self.expert_width:
                raise ValueError(f"expert_width {self.expert_width} needs experts")
            return
        if self.experts < 2 or len(self.datasets) != self.experts:
            raise ValueError(f"experts {self.experts} must be at least 2 and as many as the datasets {self.datasets}")
        if not 0 < self.expert_width < self.width:
            raise ValueError(f"expert_width {self.expert_width} must lie between 0 and width {self.width}")


def default_padding(patch_size: int) -> int:
    """The released padding, 2, as far as the token grid stays input_size / patch_size."""
    return min(2, (patch_size - 1) // 2)
