"""How far a pose is to be trusted, read off what the encoder saw: a head beside a network that judges given places.

A heatmap's peak ranks keypoints, but is no probability: it does not know how large the person is, and a network that
mistakes a left arm for a right one is sure of it. This head looks at the frozen encoder's features where the pose puts
each keypoint, and at the whole crop, and says how like the truth each place will be, whether it is gross, and whether
the pose is bad. It follows CCNet (Gu et al., ICML 2024, arXiv 2311.17105), which regresses keypoint similarity on a
network's last features. The place is an input of ours: so it can be taught with planted errors
(:mod:`model.quality_training`), and it judges a second look or a person's correction as well.

It belongs to the network on whose features it was trained. It is kept in a file of its own, since nothing of the
network changes with it, and refuses another one.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autolabel.errors import CheckpointError
from model.checkpoint import model_digest
from model.config import Codec
from model.crop import Regions, crop_matrices
from model.tensor_files import digest_tensors, of_tensors, read_tensors, write_together
from model.vitpose import ViTPose

FORMAT = "autolabel-quality-1"
"""Marks a quality head's file, and the version of its layout."""

CHANNELS = 32
"""What is kept of each token."""

HIDDEN = 96
"""Width of the judgement."""

DROPOUT = 0.1

NUMBERS = 4
"""Numbers about a place, besides the features: x and y in the crop, the person's size in pixels and in the crop."""

_AROUND = 3  # a side of the patch of places, a token apart, at which a keypoint's features are read
_BEYOND = 1.5  # places farther from the middle than this many halves of the crop tell nothing more


class Quality(NamedTuple):
    """What a quality head says of B poses of K keypoints; NaN where there is no place, or no pose, to judge.

    Attributes:
        ks: (B, K) float32, the similarity with the truth that is expected of each place, 0..1.
        gross: (B, K) float32, how likely it is gross: of lower similarity than 0.5, or rightly not where it is said to
            be, because the keypoint is not in the image (:func:`autolabel.similarity.gross_keypoints`).
        bad: (B,) float32, how likely the pose is bad.
    """

    ks: Tensor
    gross: Tensor
    bad: Tensor


class QualityHead(nn.Module):
    """Features (B,D,Hp,Wp) and V poses each -> logits of similarity (B,V,K), gross (B,V,K) and bad (B,V).

    Each token is reduced to ``CHANNELS`` numbers. A keypoint reads them at its place and a token around, a keypoint's
    own gain and offset say what they should be like, and what all keypoints of the pose found is weighed in. It costs
    less than 1 % of the smallest released network. No gradient goes back to the features.

    Args:
        width: Channels of a token, D.
        num_keypoints: K.

    Attributes:
        mean: (D,) subtracted from each token, of the poses that it learns from.
        spread: (D,) divided by.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int, num_keypoints: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.read = nn.Linear(width, CHANNELS)
        self.patch = nn.Linear(_AROUND * _AROUND * CHANNELS, HIDDEN)
        self.whole = nn.Linear(CHANNELS, HIDDEN)
        self.numbers = nn.Linear(NUMBERS, HIDDEN)
        self.gain = nn.Parameter(torch.ones(num_keypoints, HIDDEN))
        self.offset = nn.Parameter(torch.empty(num_keypoints, HIDDEN))
        self.mix = nn.Linear(HIDDEN, HIDDEN)
        self.others = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.place = nn.Linear(HIDDEN, 2)
        self.pose = nn.Sequential(nn.Linear(3 * HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.offset, std=0.5)

    @property
    def num_keypoints(self) -> int:
        """K."""
        return len(self.gain)

    def forward(self, features: Tensor, at: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge, in float32 whatever autocast says.

        Args:
            features: (B, D, Hp, Wp) of the encoder, in any precision.
            at: (B, V, K, 2) x and y of each place as fractions of the crop; NaN where there is none.
            size: (B, 2) of :func:`person_size`.

        Returns:
            Logits, without meaning where there is no place.
        """
        with torch.autocast(features.device.type, enabled=False):
            known = at.isfinite().all(dim=-1)
            middle = torch.where(known[..., None], 2 * at - 1, 0.0).float().clamp(-_BEYOND, _BEYOND)
            tokens = self.read((features.detach().float().permute(0, 2, 3, 1) - self.mean) / self.spread)  # (B,Hp,Wp,C)
            whole = F.gelu(self.whole(tokens.mean(dim=(1, 2))))[:, None]  # (B,1,H)
            numbers = torch.cat([middle, size[:, None, None].expand(*middle.shape[:-1], -1)], dim=-1)
            seen = self.patch(_around(tokens, middle)) * self.gain + self.offset
            found = F.gelu(seen + self.numbers(numbers) + whole[:, :, None])  # (B,V,K,H)
            count = known.sum(dim=-1, keepdim=True).clamp_min(1)
            mean = (found * known[..., None]).sum(dim=2) / count  # (B,V,H)
            judged = F.gelu(self.mix(self.dropout(found)) + self.others(mean)[:, :, None])
            similarity, gross = self.place(self.dropout(judged)).unbind(-1)
            average = (judged * known[..., None]).sum(dim=2) / count
            most = torch.where(known[..., None], judged, 0.0).amax(dim=2)
            pose = torch.cat([average, most, whole.expand_as(average)], dim=-1)
            return similarity, gross, self.pose(self.dropout(pose))[..., 0]


def _around(tokens: Tensor, middle: Tensor) -> Tensor:
    """(B,V,K,9C) of tokens (B,Hp,Wp,C) at places (B,V,K,2), -1..1 over the crop, and one token around; 0 beyond."""
    height, width = tokens.shape[1:3]
    steps = torch.arange(_AROUND, device=tokens.device) - _AROUND // 2
    y, x = torch.meshgrid(steps * 2 / height, steps * 2 / width, indexing="ij")
    places = middle.flatten(1, 2)[:, :, None] + torch.stack([x, y], dim=-1).flatten(0, 1)  # (B,VK,9,2)
    read = F.grid_sample(tokens.permute(0, 3, 1, 2), places, align_corners=False)  # (B,C,VK,9)
    return read.permute(0, 2, 3, 1).flatten(2).unflatten(1, middle.shape[1:3])


def fractions(cells: Tensor, heatmap_size: tuple[int, int]) -> Tensor:
    """Heatmap cells (..., 2) as fractions of the crop; ``heatmap_size`` is (h, w)."""
    return (cells + 0.5) / torch.tensor(heatmap_size[::-1], dtype=cells.dtype, device=cells.device)


def crop_fractions(regions: Regions, *, heatmap_size: tuple[int, int], codec: Codec) -> Tensor:
    """The affine maps (B, 2, 3) from full-image pixels to fractions of B crops; ``heatmap_size`` is (h, w)."""
    cells = crop_matrices(regions, input_size=heatmap_size, codec=codec)
    size = torch.tensor(heatmap_size[::-1], dtype=cells.dtype)
    return (cells + torch.tensor([0, 0, 0.5], dtype=cells.dtype)) / size[:, None]


def person_size(boxes: Tensor, region: Tensor) -> Tensor:
    """(B, 2) float32 logarithms of a person's size: in pixels of the image, which say how sharp, and in the crop.

    The size is the square root of the box's area, in which keypoint similarity measures.

    Args:
        boxes: (B, 4) xyxy in full-image pixels; a side below 1 counts as 1.
        region: (B, 2) width and height of what was cropped, full-image pixels.
    """
    side = (boxes[:, 2:] - boxes[:, :2]).clamp_min(1).prod(dim=-1).sqrt()
    # About 0 for a person of 100 pixels that fills its crop as usual.
    return torch.stack([(side / 100).log(), (2 * side / region.prod(dim=-1).sqrt()).log()], dim=-1).float()


@torch.no_grad()
def judge(head: QualityHead, features: Tensor, at: Tensor, size: Tensor) -> Quality:
    """What a head says of B poses, each on the crop that its features are of.

    Args:
        head: In evaluation mode, on the features' device.
        features: (B, D, Hp, Wp) of the encoder for the crops, not mirrored.
        at: (B, K, 2) places as fractions of the crops, see :func:`fractions`; NaN where there is none.
        size: (B, 2) of :func:`person_size`.
    """
    similarity, gross, bad = (logits[:, 0].sigmoid() for logits in head(features, at[:, None], size))
    known = at.isfinite().all(dim=-1)
    nothing = known.new_full((), torch.nan, dtype=torch.float32)
    return Quality(
        torch.where(known, similarity, nothing),
        torch.where(known, gross, nothing),
        torch.where(known.any(dim=-1), bad, nothing),
    )


def quality_digest(head: QualityHead) -> str:
    """Hex SHA-256 over every tensor of a head."""
    digest = hashlib.sha256()
    digest_tensors(digest, head.state_dict())
    return digest.hexdigest()


def save_quality(head: QualityHead, path: str | Path, model: ViTPose, about: Mapping[str, str] | None = None) -> Path:
    """Write a head as one safetensors file that names the network it belongs to.

    Args:
        head: Trained on the network's features.
        path: The file; its folder is made if it is not there.
        model: The network.
        about: More to keep with it.

    Raises:
        WorkError: It cannot be written; an older file stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        **(about or {}),
        "format": FORMAT,
        "model": model_digest(model),
        "skeleton": model.skeleton.fingerprint,
        "input_size": "x".join(map(str, model.input_size)),
    }
    write_together([of_tensors(path, head.state_dict(), metadata)])
    return path


def load_quality(path: str | Path, model: ViTPose) -> QualityHead:
    """A network's quality head, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: Nothing there, damaged, no quality head, or one of another network.
    """
    path = Path(path)
    tensors, metadata = read_tensors(path, str(path))
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            "is not a quality head",
            subject=str(path),
            remedy="Give the file that `autolabel calibrate --weights` made.",
        )
    own, its = model_digest(model), metadata.get("model", "")
    if own != its:
        raise CheckpointError(
            f"was trained for network {its[:12]}, this one is {own[:12]}",
            subject=str(path),
            remedy="Train one for this network: `autolabel calibrate --weights`.",
        )
    # The digest stands for the skeleton too, unless the file was put together by hand.
    head = QualityHead(model.config.width, model.skeleton.num_keypoints)
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            "is damaged: its tensors are not those of this network's head", subject=str(path), remedy="Train it again."
        ) from error
    return head.eval()
