"""Small corpora with known truth: a routed one for the jobs around review, a drawn one for the loop."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.project import to_toml
from autolabel.skeleton import Skeleton
from pipelines.drawn_corpus import draw_corpus, hide_truth
from pipelines.train import train_network
from tests.pipelines.cascaded import CascadeCase, make_cascade_case

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
SIZE = (160, 120)
IMAGES = 3
PEOPLE = 2
UPRIGHT = {6: Image.Transpose.ROTATE_90}  # how the pixels of an orientation-6 photograph are stored


@dataclass
class ReviewCase:
    """Three images of two people each, the last one stored on its side with an EXIF orientation.

    Attributes:
        folder: Where everything lies.
        project: The project folder.
        truth: (6, K) true poses; keypoint 16 of each is absent, 15 hidden.
        model: What a model made of them: pose 0 is right, 1 has two gross keypoints, 2 is mirrored, the rest jitters.
    """

    folder: Path
    project: Path
    truth: Poses
    model: Poses

    def samples(self, poses: Poses) -> list[Sample]:
        return [
            Sample(f"s{i}", "images", f"{i}.png", SIZE, poses.take([PEOPLE * i, PEOPLE * i + 1])) for i in range(IMAGES)
        ]

    def write(self, name: str, poses: Poses) -> Manifest:
        return write_manifest(
            self.folder / name,
            self.samples(poses),
            SKELETON,
            {"images": self.folder / "images"},
            stage="test",
            part_size=2,
            existing=Existing.OVERWRITE,
        )

    def route(self, *entries: dict[str, Any], name: str = "routing", digest: str = "ab" * 32) -> Path:
        """A routing folder; without entries every pose is queued for review."""
        manifest = self.write(f"{name}-scored", self.model)
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        record = {
            "manifest": f"../{name}-scored",
            "manifest_digest": manifest.digest,
            "digest": digest,
            "skeleton": SKELETON.name,
        }
        (folder / "routing.json").write_text(json.dumps(record))
        queue = entries or tuple({"pose": pose} for pose in self.model.id)
        lines = [{"kind": "review", "priority": 0.5, "blind": False, **entry} for entry in queue]
        (folder / "queue.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder


@pytest.fixture
def review_case(tmp_path: Path) -> ReviewCase:
    rng = np.random.default_rng(7)
    images = tmp_path / "images"
    images.mkdir()
    for i in range(IMAGES):
        pixels = rng.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        image, exif = Image.fromarray(pixels), Image.Exif()
        if i == IMAGES - 1:
            exif[0x0112] = 6
            image = image.transpose(UPRIGHT[6])
        image.save(images / f"{i}.png", exif=exif)
    n = IMAGES * PEOPLE
    low = np.tile([[10.0, 10.0], [85.0, 12.0]], (IMAGES, 1))
    xy = low[:, None] + rng.uniform(0, 1, (n, K, 2)) * (65, 95)
    visibility = np.full((n, K), Visibility.VISIBLE)
    visibility[:, 15], visibility[:, 16] = Visibility.HIDDEN, Visibility.ABSENT
    box = np.concatenate([low, np.add(low, (65, 95))], axis=1)
    shared = {"id": [f"pose-{i}" for i in range(n)], "box": box, "area": np.full(n, 3000.0)}
    truth = Poses.create(
        K, **shared, xy=xy, visibility=visibility, origin=np.full((n, K), Origin.IMPORTED), by=["truth"] * n
    )
    seen = xy + rng.normal(0, 0.2, xy.shape)
    seen[0] = xy[0]
    seen[1, 3:5] += 30
    seen[2] = xy[2][list(SKELETON.flip)]
    model = Poses.create(
        K,
        **shared,
        xy=seen,
        visibility=visibility,
        score=rng.uniform(0.3, 0.9, (n, K)),
        presence=np.where(visibility == Visibility.ABSENT, 0.1, 0.9),
        origin=np.full((n, K), Origin.MODEL),
        by=["net"] * n,
    )
    (tmp_path / "project").mkdir()
    return ReviewCase(tmp_path, tmp_path / "project", truth, model)


NETWORK = {
    "input_size": [32, 24],
    "patch_size": 8,
    "width": 32,
    "depth": 1,
    "heads": 2,
    "decoder": "simple",
    "drop_path": 0.0,
    "absent_below": 0.05,
}
TRAINING = {
    "steps": 12,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "warmup_steps": 2,
    "precision": "fp32",
    "device": "cpu",
    "save_every": 5,
    "log_every": 4,
    "augmentation": {"half_body": 0.0, "shift_probability": 0.0},  # a dozen steps teach more of whole people
}


@dataclass
class DrawnCase:
    """A few drawn images, cut into what a project starts from; a ViTPose so small that it learns in a second.

    Attributes:
        folder: Holds the manifests labelled, calibration, test, pool (boxes only) and pool-truth; projects go here.
        truth: The pool's truth.
    """

    folder: Path
    truth: Manifest

    def project(self, name: str, **changes: dict[str, Any]) -> Path:
        """A new project; ``changes`` are laid over its tables."""
        tables: dict[str, dict[str, Any]] = {
            "corpus": {
                "images": "../drawn/images",
                "boxes": "../pool",
                "labelled": "../labelled",
                "calibration": "../calibration",
                "test": "../test",
            },
            "promise": {"max_bad": 0.3, "confidence": 0.8, "audit": 3},
            "rounds": {"count": 2, "budget": 4, "random_share": 0.5},
            "network": {"custom": NETWORK},
            "training": TRAINING,
            "finetuning": {"steps": 6},
        }
        tables = {table: values | changes.pop(table, {}) for table, values in tables.items()}
        assert not changes
        project = self.folder / name
        project.mkdir()
        (project / "autolabel.toml").write_text(to_toml({"name": name, **tables}))
        return project

    def crowd(self, name: str, count: int, rng: np.random.Generator) -> tuple[Path, list[Sample]]:
        """A new folder with as many images, all of them the first drawn one, and one box somewhere in each."""
        folder, first = self.folder / name, next(iter(self.truth))
        (folder / "images").mkdir(parents=True)
        samples = list[Sample]()
        for i in range(count):
            os.link(self.truth.image_path(first), folder / "images" / f"{i}.jpg")
            low = rng.uniform(0, 60, 2)
            box = [[*low, *(low + rng.uniform(60, 120, 2))]]
            poses = Poses.create(self.truth.skeleton.num_keypoints, id=[f"pose-{i:03}"], box=box)
            samples.append(Sample(f"{i:032x}", "crowd", f"{i}.jpg", first.size, poses))
        return folder, samples


@pytest.fixture(scope="session")
def drawn_case(tmp_path_factory: pytest.TempPathFactory) -> DrawnCase:
    folder = tmp_path_factory.mktemp("drawn-case")
    drawn, _ = draw_corpus(folder / "drawn", images=16, seed=3)
    samples = list(drawn)
    parts = {"labelled": samples[:4], "calibration": samples[4:6], "test": samples[6:7], "pool-truth": samples[7:]}
    parts["pool"] = [sample.with_poses(hide_truth(sample.poses)) for sample in parts["pool-truth"]]
    for name, part in parts.items():
        write_manifest(folder / name, part, drawn.skeleton, drawn.roots, stage="test", part_size=4)
    return DrawnCase(folder, Manifest.open(folder / "pool-truth"))


@pytest.fixture(scope="session")
def tiny_weights(drawn_case: DrawnCase) -> Path:
    """A trained checkpoint of the tiny network."""
    labelled = Manifest.open(drawn_case.folder / "labelled")
    out = drawn_case.folder / "weights"
    return train_network([(labelled, 1.0)], out=out, network=NETWORK, training=TRAINING).checkpoint


@pytest.fixture(scope="session")
def cascade_case(tmp_path_factory: pytest.TempPathFactory) -> CascadeCase:
    return make_cascade_case(tmp_path_factory.mktemp("cascade"))
