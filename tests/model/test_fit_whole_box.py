"""People whom we cut ourselves teach how large the whole of somebody is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config import ViTPoseConfig
from model.fit_whole_box import _looked, fit_whole_box
from model.supervised import Source, pose_crops
from model.validate import CUT
from model.vitpose import build_vitpose
from model.whole_box import GROWTHS, best_growth, count_answers, told_growth, usual_aspect, weigh

SIZE = {"input_size": (32, 32), "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "decoder": "simple"}


class Touching:
    """People whose images end with their boxes."""

    def __init__(self, crops):
        self._crops = crops

    def __len__(self):
        return len(self._crops)

    def __getitem__(self, places):
        batch = self._crops[places]
        return replace(batch, image=batch.box)


@pytest.fixture
def model(dots):
    torch.manual_seed(0)
    return build_vitpose(ViTPoseConfig(**SIZE, presence=True), dots.skeleton)


@pytest.fixture
def crops(dots, model):
    return pose_crops(model, [Source(dots.manifest("people", 60))], CUT, batch_size=16)


def test_the_same_people_and_seed_give_the_same_weights_and_change_nothing(model, crops) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.random.get_rng_state()
    weights = fit_whole_box(model, crops, batch_size=16, seed=0)
    assert len(weights) == 1 + count_answers(3) and np.isfinite(weights).all()
    whole = crops[list(range(60))].box.numpy()
    assert weights[0] == pytest.approx(usual_aspect(whole), rel=1e-3)
    assert model.training, "as it was"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert fit_whole_box(model, crops, batch_size=16, seed=0) == weights
    assert fit_whole_box(model, crops, batch_size=16, seed=1) != weights


def test_the_whole_is_told_better_than_by_its_mean(model, crops) -> None:
    """Even with a network that knows nothing: the box's shape and the sides that were cut say something."""
    model.eval()
    with torch.inference_mode():
        parts = [_looked(model, crops, list(range(60)), seed) for seed in range(8)]
    looks = [[np.concatenate(columns) for columns in zip(*some, strict=True)] for some in (parts[:6], parts[6:])]
    (seen, growth), (others, truth) = ((look[0], best_growth(*look[1:], 0.8)) for look in looks)
    assert growth.min() >= 1 and growth.max() <= GROWTHS[-1] * (1 + 1e-9) and growth.std() > 0.1
    error = np.log(told_growth(others, weigh(seen, growth)) / truth)
    assert np.square(error).mean() < 0.8 * np.square(np.log(truth) - np.log(growth).mean()).mean()


def test_nobody_learns_from_people_whom_their_own_image_cuts(model, crops) -> None:
    assert fit_whole_box(model, Touching(crops), batch_size=16, seed=0) == ()


def test_people_come_from_all_manifests(model, crops, monkeypatch) -> None:
    asked: list[int] = []

    class Watched(Touching):
        def __getitem__(self, places):
            asked.extend(places)
            return crops[places]

    monkeypatch.setattr("model.fit_whole_box.PEOPLE", 20)
    fit_whole_box(model, Watched(crops), batch_size=16, seed=0)
    assert len(set(asked)) == 20 and (min(asked), max(asked)) == (0, 59)


def test_too_few_people_give_no_weights(model, dots) -> None:
    few = pose_crops(model, [Source(dots.manifest("few", 5))], CUT, batch_size=16)
    assert fit_whole_box(model, few, batch_size=16, seed=0) == ()
