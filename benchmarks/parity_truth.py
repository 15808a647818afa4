"""The truth in place of the network: through everything around it nothing may be lost.

The people of 25 COCO photographs go the way of `autolabel predict`, `export`, `import` and `evaluate`, with a network
that answers with the heatmaps of their true keypoints. What it answers owes nothing to the code that is measured: the
boxes become crops by the published formulas written out here, the heatmaps are drawn by the tests' NumPy reference,
and the crops that it is shown are compared with OpenCV's. So an error anywhere, such as half a pixel, the wrong
person's turn or left for right, is an error of the result.

python -c "from benchmarks import parity_truth; print(*parity_truth.rows(), sep=chr(10))"
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from autolabel.images import read_image
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample, Visibility
from autolabel.progress import SILENT
from autolabel.skeleton import Skeleton
from benchmarks.parity_geometry import CODECS, numpy_reference
from model.config import Codec, ViTPoseConfig
from model.crop import IMAGENET_MEAN, IMAGENET_STD
from model.heatmap import decode
from model.predict import Predictor
from pipelines.evaluate import evaluate
from pipelines.export import export
from pipelines.import_ import import_
from pipelines.predict_part import Job, predict_part

DATA = Path(__file__).parents[2] / "shared" / "data" / "coco25"
INPUT, CELLS = (256, 192), (64, 48)
PADDING = 1.25
NEAR = 5
"""Within so many cells of the border DARK reads reflected cells, and is not exact."""


@dataclass(frozen=True)
class Outcome:
    """What came of one way of asking.

    Attributes:
        error: (M,) distance of the M counted keypoints from the truth, in input pixels.
        near: (M,) whether they lie within ``NEAR`` cells of the heatmap's border.
        outside: Labelled keypoints outside the crop, which no heatmap holds: left out.
        people: How many.
        ap: COCO AP, over the same keypoints.
        crops: Share of the crops' pixels within 2 grey levels of OpenCV's.
        unequal: Keypoints whose peak differs from the NumPy reference's by more than a thousandth of a cell.
    """

    error: np.ndarray
    near: np.ndarray
    outside: int
    people: int
    ap: float
    crops: float
    unequal: int


class TruthNetwork(nn.Module):
    """Answers with the true heatmaps of people, in their order, as the predictor asks batch by batch.

    Args:
        images: (H, W, 3) of each of N people.
        boxes: (N, 4) xyxy.
        xy: (N, K, 2) full-image pixels.
        drawn: (N, K) which of them to draw.
    """

    def __init__(
        self, images: list[np.ndarray], boxes: np.ndarray, xy: np.ndarray, drawn: np.ndarray, codec: Codec, flip: bool
    ) -> None:
        super().__init__()
        self.skeleton = Skeleton.load("coco17")
        self.config = ViTPoseConfig(input_size=INPUT, codec=codec, width=3, heads=1)  # its features are the pixels
        self.input_size, self.heatmap_size = INPUT, CELLS
        self.images, self.matrices, self.flip = images, reference_matrices(boxes, codec), flip
        self.xy, self.drawn = transformed(self.matrices, xy), drawn
        self.next = 0
        self.close: list[float] = []
        self.maps: list[np.ndarray] = []

    def forward_features(self, images: Tensor) -> Tensor:
        return images

    def forward_heads(self, images: Tensor) -> tuple[Tensor, None, None]:
        """(B, 3, H, W) crops, with a flip test their mirror images in the second half, to (B, K, h, w)."""
        maps = np.zeros((len(images), self.skeleton.num_keypoints, *CELLS), np.float32)
        half = len(images) // 2 if self.flip else len(images)
        people = range(self.next, min(self.next + half, len(self.images)))
        self.next += len(people)
        for row, person in enumerate(people):
            maps[row] = self._straight(person, images[row])
            if self.flip:
                maps[half + row] = self._mirrored(person, images[half + row])
        return torch.tensor(maps), None, None

    def _straight(self, person: int, image: Tensor) -> np.ndarray:
        self._compare(image, self._warped(person))
        maps = self._draw(self.xy[person], self.drawn[person])
        self.maps.append(maps)
        return maps

    def _mirrored(self, person: int, image: Tensor) -> np.ndarray:
        """Everything at its mirror image, where left looks like right."""
        self._compare(image, self._warped(person)[:, ::-1])
        mirror = [[-1, 1]] * self.xy[person] + [INPUT[1] - 1, 0]
        partner = list(self.skeleton.flip)
        return self._draw(mirror[partner], self.drawn[person][partner])

    def _draw(self, xy: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        maps = np.zeros((len(xy), *CELLS), np.float32)
        for k in np.flatnonzero(drawn):
            maps[k], _ = numpy_reference().encode(xy[k], INPUT, CELLS, self.config.codec)
        return maps

    def _warped(self, person: int) -> np.ndarray:
        return cv2.warpAffine(self.images[person], self.matrices[person], INPUT[::-1], flags=cv2.INTER_LINEAR)

    def _compare(self, image: Tensor, expected: np.ndarray) -> None:
        grey = 255 * (image.permute(1, 2, 0).numpy() * IMAGENET_STD + IMAGENET_MEAN)
        self.close.append(float((np.abs(grey - expected) < 2.5).mean()))


def reference_matrices(boxes: np.ndarray, codec: Codec) -> np.ndarray:
    """(N, 2, 3) from full-image to input pixels: ``vitpose.md`` 3.1 and 3.2 without rotation, in float64."""
    x1, y1, x2, y2 = boxes.T
    aspect = INPUT[1] / INPUT[0]
    w, h = x2 - x1, y2 - y1
    bw, bh = PADDING * np.maximum(w, h * aspect), PADDING * np.maximum(h, w / aspect)
    across, down = (INPUT[1] - 1, INPUT[0] - 1) if codec == "udp" else (INPUT[1], INPUT[0])
    sx, sy, zero = across / bw, down / bh, np.zeros(len(boxes))
    left, top = (x1 + x2) / 2 - bw / 2, (y1 + y2) / 2 - bh / 2
    return np.stack([sx, zero, -sx * left, zero, sy, -sy * top], axis=1).reshape(-1, 2, 3)


def transformed(matrices: np.ndarray, xy: np.ndarray) -> np.ndarray:
    return np.einsum("nij,nkj->nki", matrices[:, :, :2], xy) + matrices[:, None, :, 2]


# Ways of asking: samples to samples, the images rewritten where they change.


def as_it_is(sample: Sample, folder: Path, rng: np.random.Generator) -> Sample:
    return sample


def shrunk(sample: Sample, folder: Path, rng: np.random.Generator) -> Sample:
    """An eighth of the size: boxes from 3 pixels on, enlarged by the crop."""
    width, height = (max(side // 8, 1) for side in sample.size)
    with Image.open(folder / sample.path) as image:
        image.resize((width, height)).save(folder / sample.path, quality=95)
    poses = sample.poses
    return replace(
        sample,
        id=hashlib.sha256((folder / sample.path).read_bytes()).hexdigest()[:32],
        size=(width, height),
        poses=poses.replace(xy=poses.xy / 8, box=poses.box / 8, area=poses.area / 64),
    )


def over_the_border(sample: Sample, folder: Path, rng: np.random.Generator) -> Sample:
    """Everybody moved so that the middle of the box lies on the image's border."""
    poses = sample.poses
    middle = (poses.box[:, :2] + poses.box[:, 2:]) / 2
    corner = rng.integers(0, 2, middle.shape) * sample.size
    along = rng.integers(0, 2, len(middle))  # on the side it keeps its place
    corner[np.arange(len(middle)), along] = middle[np.arange(len(middle)), along]
    move = corner - middle
    return sample.with_poses(poses.replace(xy=poses.xy + move[:, None], box=poses.box + np.tile(move, 2)))


def loose_boxes(sample: Sample, folder: Path, rng: np.random.Generator) -> Sample:
    """A detector's boxes: off by up to 15 % of each side, so that some keypoints fall out of the crop."""
    box = sample.poses.box
    size = np.tile(box[:, 2:] - box[:, :2], 2)
    return sample.with_poses(sample.poses.replace(box=box + size * rng.uniform(-0.15, 0.15, box.shape)))


WAYS: dict[str, Callable[[Sample, Path, np.random.Generator], Sample]] = {
    "as it is": as_it_is,
    "small boxes": shrunk,
    "over the border": over_the_border,
    "loose boxes": loose_boxes,
}


def outcome(codec: Codec, *, flip_test: bool = False, way: str = "as it is") -> Outcome:
    """Ask once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth, outside = _truth(folder, codec, way)
        samples = list(truth)
        poses = Poses.concat([sample.poses for sample in samples])
        images = [read_image(truth.image_path(sample)) for sample in samples for _ in range(len(sample.poses))]
        network = TruthNetwork(images, poses.box, poses.xy.astype(np.float64), poses.labelled, codec, flip_test)
        predictor = Predictor(network, device="cpu", precision="fp32", flip_test=flip_test, batch_size=16)
        job = Job(truth, None, "", predictor, "truth")
        with SILENT.task("predict") as task:
            predicted, _, report = predict_part(job, samples, task)
        assert network.next == len(poses) and not report.quarantined
        found = _out_and_in(folder, predicted, truth)
        ap = evaluate(found.path, truth=truth.path, bootstrap=0).evaluation.coco["AP"]
        row = {pose: i for i, pose in enumerate(found.poses(0).id)}
        theirs = found.poses(0).take([row[pose] for pose in poses.id])
        error = transformed(network.matrices, theirs.xy.astype(np.float64)) - network.xy
        cells = network.xy / numpy_reference().strides(INPUT, CELLS, codec)
        last = np.array([CELLS[1] - 1, CELLS[0] - 1])
        near = ((cells < NEAR) | (cells > last - NEAR)).any(axis=-1)
        return Outcome(
            error=np.linalg.norm(error, axis=-1)[poses.labelled],
            near=near[poses.labelled],
            outside=outside,
            people=len(poses),
            ap=ap or 0.0,
            crops=float(np.mean(network.close)),
            unequal=_unequal(np.stack(network.maps), poses.labelled, codec),
        )


def _truth(folder: Path, codec: Codec, way: str) -> tuple[Manifest, int]:
    """The people with a labelled keypoint, asked for in this way; those outside the crop unlabelled, and how many."""
    for file in (DATA / "images").iterdir():
        (folder / "images").mkdir(exist_ok=True)
        (folder / "images" / file.name).write_bytes(file.read_bytes())
    source = import_("coco", DATA / "annotations.json", images=folder / "images", out=folder / "source").manifest
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    outside = 0
    for original in source:
        sample = WAYS[way](original, folder / "images", rng)
        poses = sample.poses.take(sample.poses.labelled.any(axis=1) & ~sample.poses.crowd)
        xy = transformed(reference_matrices(poses.box, codec), poses.xy.astype(np.float64))
        cells = xy / numpy_reference().strides(INPUT, CELLS, codec)
        lost = poses.labelled & ((cells < 0) | (cells > [CELLS[1] - 1, CELLS[0] - 1])).any(axis=-1)
        outside += int(lost.sum())
        samples.append(
            sample.with_poses(poses.replace(visibility=np.where(lost, Visibility.UNLABELLED, poses.visibility)))
        )
    return write_manifest(folder / "truth", samples, source.skeleton, source.roots, stage="truth"), outside


def _out_and_in(folder: Path, predicted: list[Sample], truth: Manifest) -> Manifest:
    """Through a COCO file and back."""
    write_manifest(folder / "predicted", predicted, truth.skeleton, truth.roots, stage="predict")
    export("coco", folder / "predicted", out=folder / "predicted.json", images="all")
    return import_("coco", folder / "predicted.json", images=folder / "images", out=folder / "found").manifest


def _unequal(maps: np.ndarray, drawn: np.ndarray, codec: Codec) -> int:
    """Compare our peaks with the NumPy reference's, on these targets."""
    ours = decode(torch.tensor(maps), codec).xy.numpy()[drawn]
    one = numpy_reference().decode_udp if codec == "udp" else numpy_reference().decode_plain
    theirs = np.stack([one(heatmap.astype(np.float64))[0] for heatmap in maps[drawn]])
    return int((np.abs(ours - theirs).max(axis=-1) > 1e-3).sum())


BOUNDS = {"udp": 0.1, "plain": 0.45 * 4}
"""Mean input pixels: DARK is exact but at the border; a quarter offset is good to 0.45 cells of 4 pixels."""

LEAST_AP = {"udp": 0.99, "plain": 0.95}
ASKED = [*((way, False) for way in WAYS), ("as it is", True), ("loose boxes", True)]
"""Ways, without and with a flip test."""


def rows() -> list[dict[str, object]]:
    """All rows, half a minute on one core; none where the photographs are not."""
    return [row for codec in CODECS for row in _rows(codec)] if DATA.is_dir() else []


def _rows(codec: Codec) -> Iterator[dict[str, object]]:
    crops, unequal, keypoints = [], 0, 0
    for way, flip_test in ASKED:
        found = outcome(codec, flip_test=flip_test, way=way)
        name = f"truth as network, {codec}, {way}{', flip test' if flip_test else ''}"
        counted = (
            f"{len(found.error)} keypoints ({found.near.sum()} within {NEAR} cells of the map's border: mean "
            f"{found.error[found.near].mean():.2g}; {found.outside} outside the crop left out)"
        )
        yield _at_most(name, f"mean input px of {counted}", float(found.error.mean()), BOUNDS[codec])
        if codec == "udp":
            inside = float(found.error[~found.near].mean())
            yield _at_most(name, f"mean input px farther than {NEAR} cells from it", inside, 0.01)
        yield _at_least(name, f"AP of {found.people} people", found.ap, LEAST_AP[codec])
        crops.append(found.crops)
        unequal, keypoints = unequal + found.unequal, keypoints + len(found.error)
    name = f"truth as network, {codec}"
    yield _at_least(name, "share of the crops' pixels within 2 grey levels of OpenCV, at least", min(crops), 0.999)
    yield _at_most(name, f"peaks unlike NumPy's by 0.001 cell, of {keypoints}", unequal, 0)


def _at_least(name: str, quantity: str, value: float, bound: float) -> dict[str, object]:
    return {"name": name, "quantity": quantity, "value": value, "bound": bound, "passed": value >= bound}


def _at_most(name: str, quantity: str, value: float, bound: float) -> dict[str, object]:
    return {"name": name, "quantity": quantity, "value": value, "bound": bound, "passed": value <= bound}
