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


def test_a_first_look_is_called_one_and_shows_no_target() -> None:
    crops = drawn(people(40), Augmentation(truncation=0.5, first_look=0.5), COCO, whole_box=True)
    shown = preview(crops, targets(crops, input_size=INPUT, heatmap_size=(16, 12), codecs=("udp",)))
    first = np.array([bool(caption) for caption in shown.captions])
    assert np.array_equal(first, crops.first_look) and 8 < first.sum() < 32
    assert not shown.heatmaps[first].any() and shown.heatmaps[~first].any(axis=(1, 2, 3)).all()
    assert "teaches presence" in shown.captions[first.argmax()]
