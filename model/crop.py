"""Boxes to network inputs: the region around each box, its affine map, the warp, and the way back.

A :class:`Regions` says where the B crops lie in the full image; :func:`crop_matrices` turns it into maps from
full-image to input pixels in the codec's convention (see :mod:`model.heatmap`); :func:`crop` warps the image,
and :func:`back_project` carries peaks home. Augmentation is just other regions: a scaled ``size``, a moved
``centre``, a ``rotation``, a ``flip``; everything after that follows.

Full-image and input pixels have their centres at integers, x right and y down. The geometry is a dozen
numbers a crop, so keep it in float64 on the CPU, where boxes come from; only the image needs the device.

Source: the official ViTPose code (mmpose 0.24, ``post_transforms.py`` and ``top_down_transform.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.errors import ConfigError, InputError, PosesError
from model.config import Codec
from model.constant import constant
from model.heatmap import extent, is_udp
from model.warp import fits_opencv, flat, opencv, warp, warp_by_opencv

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MIN_SIDE = 1.0  # pixels; a box of zero width or height is a thin one, not an error


@dataclass(frozen=True)
class Regions:
    """Where B crops lie in the full image.

    A crop shows the rectangle of ``size`` about ``centre``, turned by ``rotation``, and then mirrored left to
    right where ``flip`` is set. UDP and plain turn in opposite directions, as in the official code.

    Attributes:
        centre: (B, 2) x and y in full-image pixels.
        size: (B, 2) width and height in full-image pixels, positive, padding included. It has the aspect of
            the network's input, or else the crop is stretched.
        rotation: (B,) degrees.
        flip: (B,) bool.
    """

    centre: Tensor
    size: Tensor
    rotation: Tensor
    flip: Tensor

    def __post_init__(self) -> None:
        """Check that the four tensors speak of the same crops."""
        count = len(self.centre)
        expected = {"centre": (count, 2), "size": (count, 2), "rotation": (count,), "flip": (count,)}
        for name, shape in expected.items():
            actual = tuple(getattr(self, name).shape)
            if actual != shape:
                raise InputError(f"shape is {actual}, expected {shape}", subject=f"Regions.{name}")
        if self.flip.dtype != torch.bool:
            raise InputError(f"dtype is {self.flip.dtype}, expected torch.bool", subject="Regions.flip")

    def __len__(self) -> int:
        """The number of crops, B."""
        return len(self.centre)

    def edges(self) -> NDArray[np.float64]:
        """(B, 4) xyxy of upright ones, full-image pixels."""
        return torch.cat([self.centre - self.size / 2, self.centre + self.size / 2], dim=1).numpy()

    def rows(self, rows: slice) -> "Regions":
        """Some of them."""
        return Regions(self.centre[rows], self.size[rows], self.rotation[rows], self.flip[rows])


def regions_from_boxes(
    box: Tensor, *, input_size: tuple[int, int], padding: float = 1.25, checked: bool = False
) -> Regions:
    """The upright region around every box: widened on its short side to the input's aspect, then padded.

    Args:
        box: (B, 4) xyxy continuous edges in full-image pixels. A side below 1 pixel counts as 1 pixel.
        input_size: (height, width) of the network's input.
        padding: Factor on both sides after the aspect is right.
        checked: The boxes are known to be sound. Looking at them waits for the device.

    Returns:
        Regions in the boxes' dtype (float64 if they are integers) and on their device.

    Raises:
        PosesError: A box is not finite (a pose without a box cannot be cropped) or has its corners swapped.
        ConfigError: The padding is not positive.
    """
    if padding <= 0:
        raise ConfigError(f"padding is {padding}, expected a positive factor", subject="padding")
    box = box if box.is_floating_point() else box.double()
    if not checked:
        _require_boxes(box)
    low, high = box[:, :2], box[:, 2:]
    height, width = input_size
    aspect = width / height
    w, h = (high - low).clamp_min(_MIN_SIDE).unbind(-1)
    size = torch.stack((torch.maximum(w, h * aspect), torch.maximum(h, w / aspect)), dim=-1) * padding
    return Regions(
        centre=(low + high) / 2,
        size=size,
        rotation=box.new_zeros(len(box)),
        flip=torch.zeros(len(box), dtype=torch.bool, device=box.device),
    )


def _require_boxes(box: Tensor) -> None:
    bad = ~(box.isfinite().all(-1) & (box[:, 2:] >= box[:, :2]).all(-1))
    if bad.any():
        row = int(bad.nonzero()[0])
        raise PosesError(
            f"no region can be cut around {box[row].tolist()}",
            subject=f"box {row}",
            remedy="Give finite x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, and leave out poses without a box",
        )


def crop_matrices(regions: Regions, *, input_size: tuple[int, int], codec: Codec) -> Tensor:
    """The affine maps (B, 2, 3) from full-image pixels to input pixels.

    The region's centre goes to the middle of the input and its sides to the input's sides, both as the codec
    measures them: UDP to (W - 1) / 2 and W - 1, plain to W / 2 and W. A flip mirrors the input about that
    middle, so in UDP it reverses the columns, and in plain it also moves them by one pixel, as mirroring the
    whole image before cropping does. (The official code mirrors first, so there a flip turns the other way.)

    Args:
        regions: B regions.
        input_size: (height, width) of the input; with a heatmap's size the maps lead to its cells.
        codec: ``"udp"`` or ``"plain"``.
    """
    middle = constant(extent(input_size, codec), regions.size) / 2
    scale = 2 * middle / regions.size
    angle = torch.deg2rad(regions.rotation if is_udp(codec) else -regions.rotation)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack((cos, -sin, sin, cos), dim=-1).unflatten(-1, (2, 2))
    linear = scale[..., None] * turn
    linear[:, 0] = torch.where(regions.flip[:, None], -linear[:, 0], linear[:, 0])
    offset = middle - (linear * regions.centre[:, None, :]).sum(-1)
    return torch.cat((linear, offset[..., None]), dim=-1)


def of_reduced(matrices: Tensor, by: Tensor) -> Tensor:
    """Maps (B, 2, 3) from images' pixels, as maps from those of images reduced by whole numbers (B,).

    The first pixel of a reduced image is the mean of the first ``by`` x ``by``, so that its middle is theirs.
    """
    linear, offset, by = matrices[..., :2], matrices[..., 2], by[:, None]
    return torch.cat((by[..., None] * linear, (offset + linear.sum(-1) * (by - 1) / 2)[..., None]), dim=-1)


def invert(matrices: Tensor) -> Tensor:
    """The inverse maps (B, 2, 3) of affine maps (B, 2, 3)."""
    (a, b, x), (c, d, y) = (row.unbind(-1) for row in matrices.unbind(-2))
    determinant = a * d - b * c
    entries = (d, -b, b * y - d * x, -c, a, c * x - a * y)
    return (torch.stack(entries, dim=-1) / determinant[..., None]).unflatten(-1, (2, 3))


def apply(matrices: Tensor, xy: Tensor) -> Tensor:
    """Map points ``xy`` (B, ..., 2), or one (1, ..., 2) for all, with affine maps (B, 2, 3), in the wider dtype."""
    # Not a matrix product, which autocast or TF32 would round to a few bits.
    maps = matrices.reshape(len(matrices), *[1] * (xy.ndim - 2), 2, 3)
    x, y = xy[..., None, :].unbind(-1)
    return maps[..., 0] * x + maps[..., 1] * y + maps[..., 2]


def back_project(xy: Tensor, regions: Regions, *, heatmap_size: tuple[int, int], codec: Codec) -> Tensor:
    """Carry ``xy`` (B, K, 2) from heatmap cells to full-image pixels: the exact inverse of crop and stride.

    Args:
        xy: Peaks in heatmap cells, on the regions' device; NaN stays NaN.
        regions: The B regions that were cropped.
        heatmap_size: (h, w) of the heatmaps in cells.
        codec: ``"udp"`` or ``"plain"``.
    """
    return apply(invert(crop_matrices(regions, input_size=heatmap_size, codec=codec)), xy)


def crop(image: Tensor, matrices: Tensor, input_size: tuple[int, int]) -> Tensor:
    """Warp B crops out of one image as ``cv2.warpAffine`` does with ``INTER_LINEAR`` and a zero border.

    OpenCV reads the image at multiples of 1/32 pixel and blends in integers. So does this, on every device (all
    pixels are equal to OpenCV 4.12's): the published weights were trained on it, at sharp edges it is worth several
    grey levels, and in integers no crop depends on the others in its batch. Pixels are gathered from the uint8
    image as it is, so memory grows with the crops and not with the image. OpenCV itself cuts on the CPU, where it
    is installed, in a third of the time.

    Args:
        image: (3, H, W) uint8; planar or a permuted (H, W, 3) array, both without a copy.
        matrices: (B, 2, 3) maps from full-image pixels to input pixels.
        input_size: (height, width) of the crops.

    Returns:
        (B, 3, height, width) uint8 on the image's device; black outside the image.

    Raises:
        InputError: The image is empty or has another shape or dtype, or a map cannot be inverted.
    """
    _require_image(image)
    inverse = _inverted(matrices)
    if fits_opencv(image, inverse, input_size) and (cv2 := opencv()):
        return warp_by_opencv(cv2, image, inverse, input_size)
    return warp(flat([image], image.device), torch.zeros(len(inverse), dtype=torch.long), inverse, input_size)


def crop_each(
    images: Sequence[Tensor], owner: Tensor, matrices: Tensor, input_size: tuple[int, int], device: torch.device
) -> Tensor:
    """Warp B crops out of several images, as :func:`crop` does out of one; on a GPU all of them at once.

    Args:
        images: At least one, (3, H, W) uint8 each, on the CPU or on the device.
        owner: (B,) int64, which of them each crop is of.
        matrices: (B, 2, 3) maps from its pixels to input pixels.
        input_size: (height, width) of the crops.
        device: Where they are wanted; images that lie elsewhere are copied there in one piece.

    Returns:
        (B, 3, height, width) uint8 on the device.

    Raises:
        InputError: As :func:`crop`.
    """
    if device.type == "cpu":
        crops = torch.empty(len(owner), 3, *input_size, dtype=torch.uint8)
        for number in owner.unique().tolist():
            rows = (owner == number).nonzero()[:, 0]
            crops[rows] = crop(images[number], matrices[rows], input_size)
        return crops
    for image in images:
        _require_image(image)
    return warp(flat(images, device), owner, _inverted(matrices), input_size)


def _require_image(image: Tensor) -> None:
    if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3 or not image.numel():
        raise InputError(f"image is {image.dtype} {tuple(image.shape)}, expected torch.uint8 (3, H, W)")


def _inverted(matrices: Tensor) -> Tensor:
    """The maps from crops to images, float64."""
    inverse = invert(matrices.double())
    if not inverse.isfinite().all():
        raise InputError("a map from the image to a crop cannot be inverted", subject="matrices")
    return inverse


def normalise(crops: Tensor) -> Tensor:
    """Scale uint8 RGB ``crops`` (B, 3, h, w) to float32 with ImageNet's mean and standard deviation."""
    levels = crops / 255
    mean, std = (constant(values, levels)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return levels.sub_(mean).div_(std)
