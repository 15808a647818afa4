"""A licence-free corpus of drawn people with exact truth, for the demo, the tests and the benchmarks.

Each picture is a scene: one to four articulated, clothed figures before a textured background, lit,
overlapping, cut off by the border, then developed with blur, noise and compression. All 17 COCO keypoints
are known exactly, and whether one is visible is read from the buffers that the picture was drawn with.
Picture ``index`` of a seed depends on nothing else, so a corpus of any size can be streamed, and drawn in
any order and in several places.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autolabel.errors import WorkError
from autolabel.manifest import Existing, Manifest, ManifestWriter
from autolabel.poses import Poses, Sample, Visibility, pose_id
from autolabel.progress import SILENT, Progress, Task
from autolabel.skeleton import Skeleton
from pipelines.drawn_scene import DrawnSettings, Person, compose, develop, paint, read_truth

ROOT: Final = "images"
"""Name of the corpus root in the manifests, and of its folder."""

FROZEN: Final = DrawnSettings(
    pose_spread=0.02, clutter=0.12, occlusion=0.05, neighbours=0.08, truncation=0.06, lighting=0.12, turning=0.15
)
"""The difficulty of the project's benchmark corpus; changing it changes every figure measured on it."""

_ATTEMPTS = 200


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture and its truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        poses: The people, nearest first. ``xy`` is known for every keypoint, outside the picture too.
            ``visibility`` is visible, hidden (by the body itself, another person or an object) or absent
            (outside the picture). ``box`` is the tight box of the person's visible pixels, ``area`` their
            number; a box that covers the pixels i to j reads (i, j + 1), as COCO's boxes of masks do.
    """

    image: NDArray[np.uint8]
    poses: Poses


def draw(index: int, seed: int, settings: DrawnSettings = FROZEN) -> Drawing:
    """Draw picture ``index`` of the corpus ``seed``.

    Args:
        index: Which picture, from 0.
        seed: Which corpus, from 0.
        settings: How hard it is.

    Raises:
        WorkError: No scene shows enough of everybody, which only extreme settings bring about.
    """
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng((seed, index, attempt))
        scene = compose(rng, settings)
        canvas = paint(scene)
        poses = read_truth(canvas, scene.people)
        if _worth_labelling(poses, scene.people):
            ids = [pose_id(f"drawn-{seed}", str(index), box, "drawn", i) for i, box in enumerate(poses.box)]
            return Drawing(develop(canvas.colour, rng, settings.lighting), poses.replace(id=ids))
    raise WorkError(
        f"no scene in {_ATTEMPTS} shows enough of everybody",
        subject=f"drawing {index} of seed {seed}",
        remedy="Lower occlusion, neighbours or truncation, or draw larger people.",
    )


def hide_truth(poses: Poses) -> Poses:
    """The same people with what a detector would know of them: ids and boxes, nothing else."""
    return Poses.create(poses.num_keypoints, id=poses.id, box=poses.box)


def draw_corpus(
    out: Path,
    *,
    images: int,
    seed: int,
    first: int = 0,
    settings: DrawnSettings = FROZEN,
    part_size: int = 1000,
    existing: Existing = Existing.ERROR,
    progress: Progress = SILENT,
) -> tuple[Manifest, Manifest]:
    """Write a corpus: ``out/images``, and beside it the manifests ``out/truth`` and ``out/boxes``.

    Args:
        out: The folder.
        images: How many pictures.
        seed: Which corpus, from 0.
        first: Index of its first picture, so that pieces of one corpus can be drawn apart.
        settings: How hard it is.
        part_size: Pictures a part of the manifests.
        existing: What to do where something stands already; RESUME keeps the parts that are finished, which
            must have been drawn with the same arguments.
        progress: Where to report to.

    Returns:
        The truth, and the same samples with boxes only.

    Raises:
        ExistsError: A manifest stands there already.
    """
    folder = out / ROOT
    folder.mkdir(parents=True, exist_ok=True)
    skeleton, roots = Skeleton.load("coco17"), {ROOT: folder}
    with (
        ManifestWriter(out / "truth", skeleton, roots, stage="drawn", existing=existing) as truth,
        ManifestWriter(out / "boxes", skeleton, roots, stage="drawn", existing=existing) as boxes,
        progress.task("draw", images, "image") as task,
    ):
        finished = truth.finished_parts() & boxes.finished_parts()
        for part, start in enumerate(range(first, first + images, part_size)):
            indices = range(start, min(start + part_size, first + images))
            if part in finished:
                task.advance(len(indices))
                continue
            samples = list(_write_images(folder, indices, seed, settings, task))
            truth.write_part(part, samples)
            boxes.write_part(part, [sample.with_poses(hide_truth(sample.poses)) for sample in samples])
    return Manifest.open(out / "truth"), Manifest.open(out / "boxes")


def _write_images(folder: Path, indices: range, seed: int, settings: DrawnSettings, task: Task) -> Iterator[Sample]:
    """Draw pictures, write them as JPEG, and yield them as samples."""
    for index in indices:
        drawing = draw(index, seed, settings)
        packed = BytesIO()
        Image.fromarray(drawing.image).save(packed, "JPEG", quality=92)
        data = packed.getvalue()
        path = f"{index:08d}.jpg"
        (folder / path).write_bytes(data)
        height, width = drawing.image.shape[:2]
        # The id that `scan` gives to a file of these bytes.
        yield Sample(hashlib.sha256(data).hexdigest()[:32], ROOT, path, (width, height), drawing.poses)
        task.advance()


def _worth_labelling(poses: Poses, people: tuple[Person, ...]) -> bool:
    """Whether enough is seen of everybody: 8 keypoints inside, 4 visible, about a quarter of the body."""
    inside = (poses.visibility != Visibility.ABSENT).sum(axis=1)
    visible = (poses.visibility == Visibility.VISIBLE).sum(axis=1)
    least = np.array([0.025 * person.scale**2 for person in people])
    return bool(((inside >= 8) & (visible >= 4) & (poses.area >= least)).all())
