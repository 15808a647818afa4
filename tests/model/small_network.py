"""A small network of noise, pictures to show it, and all that it says of them."""

import numpy as np
import torch

from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.config import ViTPoseConfig
from model.vitpose import build_vitpose

COCO = Skeleton.load("coco17")
ARRAYS = ("xy", "score", "presence", "visible", "again")


def network(**changes):
    """A small ViTPose with every parameter random; its heatmaps are noise, which shows every difference."""
    given = {"input_size": (64, 48), "patch_size": 8, "width": 32, "depth": 2, "heads": 2, "deconv_channels": 16}
    model = build_vitpose(ViTPoseConfig(**{**given, **changes}), COCO).eval()
    randomise(model, 0)
    return model


def pictures(count, seed=0):
    """Noisy images of different sizes with up to three boxes each, some of them over the border, some none."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        height, width = rng.integers(40, 120, 2)
        coarse = rng.integers(0, 256, (3, height // 4 + 1, width // 4 + 1), dtype=np.uint8)
        image = torch.tensor(coarse.repeat(4, 1).repeat(4, 2)[:, :height, :width])
        low = rng.uniform(-10, 0.7 * np.array([width, height]), (i % 4, 2))
        made.append((image, np.concatenate([low, low + rng.uniform(8, 70, low.shape)], axis=1)))
    return made


def joined(predictions):
    parts = list(predictions)
    features = {name: np.concatenate([part.features[name] for part in parts]) for name in parts[0].features}
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS}
    return {**arrays, **{f"feature {name}": values for name, values in features.items()}}


def assert_equal(a, b):
    assert list(a) == list(b)
    for name in a:
        assert np.array_equal(a[name], b[name], equal_nan=True), name
