"""The projects that are killed: the demo's drawn people, and the mouse of ``docs/tutorial-openfield.md``.

Both are as small as they can be and still do everything that a loop does. The drawn one starts from a network,
calibrates, compares networks, plants errors and shows poses blind; the mouse has thirty labelled frames and nothing
else, so that nothing is accepted, and everything is reviewed in the end. What costs time to make is made once; every
run then has a project folder of its own beside it.
"""

import copy
import random
import shutil
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.project import FILE, to_toml
from pipelines.demo import prepare
from pipelines.demo_size import DemoSize
from pipelines.drawn_corpus import hide_truth
from pipelines.import_ import import_
from pipelines.simulated_reviewer import SimulatedReviewer
from pipelines.train import train_network

DEMO, OPENFIELD = "demo", "openfield"

SIZE = DemoSize(
    images=330, labelled=150, calibration=60, test=40, budget=24, audit=64, plants=12, blind=2, keypoints=2,
    whole_images=2, finetuning_steps=24,
)  # fmt: skip
STEPS = 600
"""Of the demo's first network: so many that half of its poses are good, and some can be accepted."""
_LABELLED = 30
_NETWORK: Mapping[str, Any] = {
    "patch_size": 8, "width": 96, "depth": 4, "heads": 4, "decoder": "simple", "drop_path": 0.0,
}  # fmt: skip
_TRAINING: Mapping[str, Any] = {
    "batch_size": 8, "learning_rate": 1e-3, "weight_decay": 0.05, "warmup_steps": 10, "device": "cpu", "save_every": 8,
}  # fmt: skip
"""States of a training are saved so often that kills fall between two of them, and just after one."""
_MOUSE: Mapping[str, Any] = {
    "name": OPENFIELD,
    "corpus": {"images": "../parts/images", "boxes": "../parts/rest", "labelled": "../parts/labelled"},
    "rounds": {"count": 2, "budget": 20, "random_share": 0.0},
    "network": {"custom": {"input_size": [64, 64]}},
    "training": {
        "steps": 60,
        "augmentation": {"scale": 0.25, "rotation": 90.0, "rotation_probability": 1.0, "colour": 0.3},
    },
    "finetuning": {"steps": 24},
}


@dataclass(frozen=True)
class Subject:
    """A project that can be run from its beginning as often as one likes.

    Attributes:
        name: What it is called.
        folder: Holds what its runs share.
        settings: The content of ``autolabel.toml``; its paths are relative to a folder beside the shared one.
        reviewer: Makes the person who answers: each time one who says the same.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    reviewer: Callable[[], SimulatedReviewer]

    def project(self, name: str) -> Path:
        """A new project folder, where nothing was done yet."""
        project = self.folder / name
        project.mkdir()
        (project / FILE).write_text(to_toml(self.settings), encoding="utf-8")
        return project


def demo(folder: Path, *, seed: int = 0, size: DemoSize = SIZE, steps: int = STEPS) -> Subject:
    """The demo's project, with a gate that has something to compare, and a promise that few poses can keep.

    Args:
        folder: Made; what its runs share lies in ``parts`` there.
        seed: Of the drawings, the draws and the person.
        size: How much of everything.
        steps: Of the training, before all runs, of the network that they start from; 0 has every run train its own.
    """
    parts = folder / "parts"
    truth = prepare(parts, seed=seed, size=size)
    settings = tomllib.loads((parts / FILE).read_text(encoding="utf-8"))
    moved = {name: f"../parts/{path}" for name, path in settings["corpus"].items() if name != "skeleton"}
    settings["corpus"] |= moved
    settings["promise"] |= {"max_bad": 0.5, "confidence": 0.8}
    settings["rounds"] |= {"random_share": 0.4, "gate_share": 0.5}
    network = {**_NETWORK, "input_size": [64, 48], "absent_below": 0.2}
    settings["network"]["custom"] = network
    if steps:
        training = {**settings["training"], "steps": steps, "warmup_steps": 30, "device": "cpu"}
        labelled = Manifest.open(parts / "drawn" / "labelled")
        train_network([(labelled, 1.0)], out=parts / "network", network=network, training=training)
        settings["network"] = {"weights": "../parts/network"}
    settings["training"] |= _TRAINING
    known = (truth, Manifest.open(parts / "drawn" / "test"))
    return Subject(DEMO, folder, settings, lambda: SimulatedReviewer(known, seed=seed, noise=0.5))


def openfield(folder: Path, data: Path, *, seed: int = 0) -> Subject:
    """The mouse's project, as the tutorial makes it, with fewer steps.

    Args:
        folder: Made; what its runs share lies in ``parts`` there.
        data: The folder ``openfield``, with ``images`` and ``annotations.json``.
        seed: Of the choice of labelled frames, of the draws and of the person.
    """
    parts = folder / "parts"
    parts.mkdir(parents=True)
    (parts / "images").symlink_to(data / "images", target_is_directory=True)
    import_("coco", data / "annotations.json", images=parts / "images", out=parts / "truth")
    everything = Manifest.open(parts / "truth")
    samples = list(everything)
    random.Random(seed).shuffle(samples)
    rest = samples[_LABELLED:]
    hidden = [sample.with_poses(hide_truth(sample.poses)) for sample in rest]
    for name, some in (("labelled", samples[:_LABELLED]), ("rest", hidden), ("rest-truth", rest)):
        write_manifest(
            parts / name, some, everything.skeleton, everything.roots, stage="split", existing=Existing.ERROR
        )
    truth = Manifest.open(parts / "rest-truth")
    settings: dict[str, Any] = copy.deepcopy(dict(_MOUSE))
    settings["rounds"]["seed"] = seed
    settings["network"]["custom"] |= _NETWORK
    settings["training"] |= _TRAINING
    return Subject(OPENFIELD, folder, settings, lambda: SimulatedReviewer(truth, seed=seed, noise=0.25, accept_ks=0.9))


def emptied(folder: Path) -> Path:
    """A folder without what an earlier call left there."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder
