"""A student and its teacher, both tiny and untrained, who doubt differently: what a cascade needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.checkpoint import load_model, save_model
from model.config import ViTPoseConfig
from model.heads import QualityHead
from model.quality import save_quality
from model.vitpose import build_vitpose
from pipelines.calibrate import calibrate, quality_file
from pipelines.predict import predict
from pipelines.score import score

COCO = Skeleton.load("coco17")
K = COCO.num_keypoints
IMAGES, PEOPLE = 10, 3
SIZE = (120, 80)
TINY: dict[str, Any] = {"input_size": (64, 48), "patch_size": 8, "depth": 1, "heads": 2, "deconv_channels": 16}


@dataclass(frozen=True)
class CascadeCase:
    """Ten images of three people in three parts, and two networks with calibrators in their folders.

    The student has a presence head and a quality head, and is narrower than its teacher, so that they leave different
    features.

    Attributes:
        folder: Where everything lies; ``images`` too.
        source: Boxes.
        student: A checkpoint folder, with calibrator and quality head.
        teacher: Another, with a calibrator.
        bare: The teacher without a calibrator.
        own: What the student says of everybody, scored.
        its: What the teacher says of everybody, scored.
    """

    folder: Path
    source: Manifest
    student: Path
    teacher: Path
    bare: Path
    own: Manifest
    its: Manifest


def make_cascade_case(folder: Path) -> CascadeCase:
    """Make one."""
    source = corpus(folder)
    student = network(folder / "student", 1, width=32, presence=True)
    head = folder / "head.safetensors"
    torch.manual_seed(3)
    save_quality(QualityHead(32, K), head, load_model(student))
    teacher, bare = (network(folder / name, 2, width=48) for name in ("teacher", "bare"))
    own = _calibrated(source, student, folder, head)
    return CascadeCase(folder, source, student, teacher, bare, own, _calibrated(source, teacher, folder, None))


def corpus(folder: Path) -> Manifest:
    """Images of noise, and boxes that overlap."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    samples = list[Sample]()
    for i in range(IMAGES):
        Image.fromarray(rng.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)).save(folder / f"images/{i}.png")
        low = rng.uniform(0, 40, (PEOPLE, 2))
        box = np.concatenate([low, low + rng.uniform(25, 40, (PEOPLE, 2))], axis=1)
        poses = Poses.create(K, id=[f"{i}-{j}" for j in range(PEOPLE)], box=box, group=[f"g{i}"] * PEOPLE)
        samples.append(Sample(f"s{i}", "images", f"{i}.png", SIZE, poses))
    return write_manifest(folder / "boxed", samples, COCO, {"images": folder / "images"}, stage="test", part_size=4)


def network(folder: Path, seed: int, skeleton: Skeleton = COCO, **changes: Any) -> Path:
    """An untrained network with random weights."""
    model = build_vitpose(ViTPoseConfig(**TINY, **changes), skeleton)
    randomise(model, seed)
    return save_model(model, folder)


def _calibrated(source: Manifest, weights: Path, folder: Path, head: Path | None) -> Manifest:
    """Put a calibrator into a network's folder, and give what it says, scored."""
    given: dict[str, Any] = {"weights": weights, "precision": "fp32", "quality": head}
    said = predict(source.path, out=folder / f"{weights.name}-said", **given).manifest
    calibrator = weights / "calibrator.json"
    calibrate(said.path, truth=checked(said).path, out=calibrator)
    if head is not None:
        head.rename(quality_file(calibrator))
    return score(said.path, out=folder / f"{weights.name}-scored", calibrator=calibrator).manifest


def checked(said: Manifest) -> Manifest:
    """What was predicted as checked poses, of which those with the lower peaks were far off."""
    low = np.concatenate([said.poses(i).score.mean(axis=1) for i in range(said.num_parts)])
    middle = np.median(low)
    samples = list[Sample]()
    for sample in said:
        poses, wrong = sample.poses, (sample.poses.score.mean(axis=1) < middle)[:, None]
        truth = poses.replace(
            xy=poses.xy + 200 * wrong[..., None],
            visibility=np.where(wrong, Visibility.VISIBLE, poses.visibility),
            origin=np.full(poses.origin.shape, Origin.HUMAN),
        )
        samples.append(sample.with_poses(truth))
    out = said.path.with_name(f"{said.path.name}-checked")
    return write_manifest(out, samples, said.skeleton, said.roots, stage="test")


def all_poses(manifest: Manifest) -> Poses:
    """Every pose, in order."""
    return Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])


def feature(manifest: Manifest, name: str) -> np.ndarray:
    """One feature of every pose, in order."""
    parts = [manifest.features(i) for i in range(manifest.num_parts)]
    return np.concatenate([part[name] for part in parts if part is not None])
