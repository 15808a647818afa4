"""How much the demo draws, trains and reviews: quick for a first look, full for a promise worth having."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MAX_BAD, CONFIDENCE = 0.15, 0.95
"""The quick demo's promise."""

NOISE = 0.5
"""How far the reviewer's points scatter, as a share of what COCO's annotators do: drawn joints are plain to see."""

NETWORK: Mapping[str, Any] = {
    "input_size": [96, 72],
    "patch_size": 8,
    "width": 128,
    "depth": 6,
    "heads": 4,
    "deconv_channels": 64,
    "drop_path": 0.0,
    "absent_below": 0.2,
}
"""The small ViTPose of the drawn corpus: what differs from ViTPose-S."""

TRAINING: Mapping[str, Any] = {
    "steps": 1200,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "warmup_steps": 50,
    "augmentation": {"half_body": 0.0, "scale": 0.25, "rotation": 15.0, "shift": 0.0, "colour": 0.3},
}
"""Frozen with the corpus: on 300 poses this leaves 15 to 40 % of the others bad (``benchmarks/drawn.py``)."""

FINETUNING: Mapping[str, Any] = {"warmup_steps": 20}
"""What a round of corrections changes beside the loop's own defaults (:func:`pipelines.loop_learn.settings_of`)."""


@dataclass(frozen=True)
class DemoSize:
    """How much is drawn, trained and reviewed. The defaults take a few minutes on two cores.

    Attributes:
        images: Drawn pictures; those that are not needed for the poses below are the pool.
        labelled: Poses to learn from.
        calibration: Poses to calibrate on.
        test: Poses to measure on, and to choose accepted sets by.
        budget: Tasks a round.
        max_bad: The promise: share of the accepted poses that may be bad.
        audit: Tasks of the audit, those below and the decoys of the blind ones included.
        plants: Known errors among them.
        blind: Audited poses that are placed without a pre-label too, and as many decoys among the reviewed ones.
        keypoints: Untouched keypoints that are looked at again.
        whole_images: Images on which missed people are looked for.
        steps: Of the first training.
        finetuning_steps: Of a round's.
        network: What differs from ViTPose-S.
        training: Settings of the first training beside its steps.
    """

    images: int = 1250
    labelled: int = 300
    calibration: int = 200
    test: int = 300
    budget: int = 120
    max_bad: float = MAX_BAD
    audit: int = 200
    plants: int = 30
    blind: int = 8
    keypoints: int = 8
    whole_images: int = 8
    steps: int = TRAINING["steps"]
    finetuning_steps: int = 200
    network: Mapping[str, Any] = field(default_factory=lambda: NETWORK)
    training: Mapping[str, Any] = field(default_factory=lambda: TRAINING)


QUICK = DemoSize()
"""A quarter of an hour on two slow cores: everything is seen at work, by a network that has learnt little."""

FULL = DemoSize(
    images=13_000,
    labelled=10_000,
    calibration=800,
    test=800,
    budget=240,
    max_bad=0.02,
    audit=1_000,
    plants=100,
    blind=16,
    keypoints=50,
    whole_images=50,
    steps=3_200,
    finetuning_steps=400,
    network={**NETWORK, "absent_below": 0.0, "presence": True},
    training={
        **TRAINING,
        "batch_size": 64,
        "accumulate": 4,
        "warmup_steps": 200,
        "ema": 0.998,
        "presence_weight": 0.001,
    },
)
"""An hour: the same network, after ten times as many crops of thirty times as many people, and a promise of 2 %."""


class Size(StrEnum):
    """The demo's sizes by name, for the command line."""

    QUICK = "quick"
    FULL = "full"

    def amounts(self) -> DemoSize:
        """How much of everything."""
        return {Size.QUICK: QUICK, Size.FULL: FULL}[self]
