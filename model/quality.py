"""How far a pose is to be trusted, read off what the encoder saw: what a quality head says, and its file.

A heatmap's peak ranks keypoints, but is no probability: it does not know how large the person is, and a network that
mistakes a left arm for a right one is sure of it. The head (:class:`model.heads.QualityHead`) looks at the frozen
encoder's features where the pose puts each keypoint, and at the whole crop, and says how like the truth each place will
be, whether it is gross, and whether the pose is bad. It follows CCNet (Gu et al., ICML 2024, arXiv 2311.17105), which
regresses keypoint similarity on a network's last features. The place is an input of ours: so it can be taught with
planted errors (:mod:`model.quality_training`), and it judges a second look or a person's correction as well.

It belongs to the network on whose features it was trained. It is kept in a file of its own, since nothing of the
network changes with it, and refuses another one.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from autolabel.errors import CheckpointError
from model.checkpoint import model_digest
from model.config import Codec
from model.constant import constant
from model.crop import Regions, crop_matrices
from model.heads import QualityHead
from model.tensor_files import digest_tensors, of_tensors, read_tensors, write_together
from model.vitpose import ViTPose

FORMAT = "autolabel-quality-1"
"""Marks a quality head's file, and the version of its layout."""


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


def fractions(cells: Tensor, heatmap_size: tuple[int, int]) -> Tensor:
    """Heatmap cells (..., 2) as fractions of the crop; ``heatmap_size`` is (h, w)."""
    return (cells + 0.5) / constant(heatmap_size[::-1], cells)


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
