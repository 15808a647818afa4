"""The picture before training shows what the network is given."""

import numpy as np
import torch

from model.augment import Augmentation
from model.preview import preview
from model.targets import targets
from tests.model.random_people import COCO, INPUT, drawn, people


def test_arrays_for_a_picture() -> None:
    batch = people(5)
    how = Augmentation(truncation=0.5)
    crops = drawn(batch, how, COCO)
    taught = targets(crops, input_size=INPUT, heatmap_size=(16, 12), codecs=("udp",))
    shown = preview(crops, taught)
    assert shown.crops.shape == (5, *INPUT, 3) and shown.crops.dtype == np.uint8
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    given = crops.images.permute(0, 2, 3, 1).numpy() * std + mean
    assert np.abs(shown.crops - 255 * given).max() < 0.51
    for name, array in (("xy", crops.xy), ("visibility", crops.visibility), ("inside", crops.inside)):
        assert np.array_equal(getattr(shown, name), array.numpy())
    assert np.array_equal(shown.heatmaps, taught.heatmaps) and np.array_equal(shown.weights, taught.weights)
    assert np.array_equal(shown.dataset, torch.zeros(5))
