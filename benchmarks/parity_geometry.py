"""Geometry parity: targets and peaks against the tests' NumPy reference, crops against OpenCV, round trips.

python -c "from benchmarks import parity_geometry; print(*parity_geometry.rows(), sep=chr(10))"
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import torch

from model.config import Codec
from model.crop import Regions, apply, back_project, crop, crop_matrices, regions_from_boxes
from model.heatmap import decode, encode, input_to_cells

CODECS: tuple[Codec, ...] = ("udp", "plain")
SIZES = {
    "256x192": ((256, 192), (64, 48)),
    "384x288": ((384, 288), (96, 72)),
    "128x96": ((128, 96), (32, 24)),
}


def rows() -> list[dict[str, object]]:
    """All rows; half a minute on one core."""
    return [*_targets(), *_peaks(), *_crops(), *_round_trips()]


def _at_most(name: str, quantity: str, value: float, bound: float) -> dict[str, object]:
    return {"name": name, "quantity": quantity, "value": value, "bound": bound, "passed": value <= bound}


@cache
def numpy_reference() -> ModuleType:
    """The tests' reference; ``tests`` is no package, so it is loaded by its path."""
    path = Path(__file__).parent.parent / "tests" / "model" / "heatmap_reference.py"
    spec = importlib.util.spec_from_file_location("heatmap_reference", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _targets() -> Iterator[dict[str, object]]:
    reference = numpy_reference()
    for size, (pixels, cells) in SIZES.items():
        rng = np.random.default_rng(0)
        xy = rng.uniform([-60, -60], [pixels[1] + 60, pixels[0] + 60], (1000, 2))
        for codec in CODECS:
            ours, weights = encode(
                torch.tensor(xy)[None],
                torch.ones(1, 1000),
                input_size=pixels,
                heatmap_size=cells,
                codec=codec,
            )
            expected = [reference.encode(point, pixels, cells, codec) for point in xy]
            error = np.abs(ours[0].numpy() - np.stack([target for target, _ in expected])).max()
            yield _at_most(f"target {codec} {size}", "max |ours - reference|", float(error), 1e-6)
            unequal = np.not_equal(weights[0].numpy(), [weight for _, weight in expected]).sum()
            yield _at_most(f"target weight {codec} {size}", "unequal of 1000", int(unequal), 0)


def _peaks() -> Iterator[dict[str, object]]:
    reference = numpy_reference()
    for size, (_, cells) in SIZES.items():
        maps = reference.random_maps(np.random.default_rng(0), 1000, cells).astype(np.float32)
        ours = {codec: decode(torch.tensor(maps)[None], codec).xy[0].numpy() for codec in CODECS}
        exact = [reference.decode_udp(heatmap.astype(float)) for heatmap in maps]
        opencv = [reference.decode_udp(m.astype(float), cv2.GaussianBlur(m, (11, 11), 0)) for m in maps]
        well = np.array([conditioning for _, _, conditioning in exact]) >= reference.WELL_CONDITIONED
        quantity = f"max px of {well.sum()} well-conditioned of {len(maps)}"
        for name, theirs in (("NumPy", exact), ("OpenCV blur", opencv)):
            error = 4.0638 * np.abs(ours["udp"] - np.stack([xy for xy, _, _ in theirs]))[well].max()
            yield _at_most(f"peak udp {size}, {name}", quantity, float(error), 0.01)
        quarter = np.stack([reference.decode_plain(heatmap)[0] for heatmap in maps])
        error = 4 * np.abs(ours["plain"] - quarter).max()
        yield _at_most(f"peak plain {size}, NumPy", f"max px of {len(maps)}", float(error), 0.01)


def _crops() -> Iterator[dict[str, object]]:
    size = (256, 192)
    images = {
        "noise": _noise(480, 640),
        "drawn": _drawn(480, 640),
        "drawn, 12 megapixels": _drawn(3000, 4000),
    }
    for kind, image in images.items():
        planes = torch.tensor(image).permute(2, 0, 1)
        for codec in CODECS:
            matrices = crop_matrices(_regions(100, image.shape[:2]), input_size=size, codec=codec)
            ours = crop(planes, matrices, size).permute(0, 2, 3, 1).numpy()
            theirs = np.stack([cv2.warpAffine(image, m, size[::-1], flags=cv2.INTER_LINEAR) for m in matrices.numpy()])
            difference = cv2.absdiff(ours.reshape(-1), theirs.reshape(-1))
            share, bound = float((difference <= 2).mean()), 0.999
            yield {
                "name": f"crop {codec}, {kind}",
                "quantity": "share within 2 grey levels of OpenCV, at least",
                "value": share,
                "bound": bound,
                "passed": share >= bound,
            }
            yield _at_most(f"crop {codec}, {kind}", "max grey levels", int(difference.max()), 2)


def _round_trips() -> Iterator[dict[str, object]]:
    """To cells and back, and through targets and peaks, at least 6 cells inside the map's border."""
    pixels, cells = SIZES["256x192"]
    bounds = {"udp": 0.1, "plain": 0.45 * 4}
    for codec in CODECS:
        regions = _regions(100, (480, 640))
        start = torch.tensor(np.random.default_rng(0).uniform([6, 6], [41, 57], (100, 17, 2)))
        xy = back_project(start, regions, heatmap_size=cells, codec=codec)
        matrices = crop_matrices(regions, input_size=pixels, codec=codec)
        inside = apply(matrices, xy)
        found = input_to_cells(inside, input_size=pixels, heatmap_size=cells, codec=codec)
        back = back_project(found, regions, heatmap_size=cells, codec=codec)
        yield _at_most(f"back-projection {codec}", "max full-image px", float((back - xy).abs().max()), 1e-6)
        targets, _ = encode(inside, torch.ones(100, 17), input_size=pixels, heatmap_size=cells, codec=codec)
        back = back_project(decode(targets, codec).xy, regions, heatmap_size=cells, codec=codec)
        error = float((apply(matrices, back) - inside).norm(dim=-1).mean())
        yield _at_most(f"label, crop, target, peak, label {codec}", "mean input px", error, bounds[codec])


def _regions(count: int, image: tuple[int, ...]) -> Regions:
    """Boxes of 4 to 600 px in, over and outside the image; half of them turned, half of them mirrored."""
    rng = np.random.default_rng(0)
    centre = rng.uniform(-0.2, 1.2, (count, 2)) * [image[1], image[0]]
    half = np.exp(rng.uniform(np.log(4), np.log(600), (count, 2))) / 2
    boxes = torch.tensor(np.concatenate([centre - half, centre + half], axis=1))
    return replace(
        regions_from_boxes(boxes, input_size=(256, 192)),
        rotation=torch.tensor(rng.choice([0, 1], count) * rng.uniform(-80, 80, count)),
        flip=torch.tensor(rng.random(count) < 0.5),
    )


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _drawn(height: int, width: int) -> np.ndarray:
    """Discs and lines with smooth edges over a gradient."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    image = np.stack([255 * x / width, 255 * y / height, 127 + 80 * np.sin(x / 9)], axis=-1).astype(np.uint8)
    for _ in range(150):
        colour = tuple(rng.integers(0, 256, 3).tolist())
        a, b = rng.integers(0, [width, height], (2, 2)).tolist()
        cv2.line(image, a, b, colour, int(rng.integers(1, 6)), cv2.LINE_AA)
        cv2.circle(image, a, int(rng.integers(3, 40)), colour, -1, cv2.LINE_AA)
    return image
