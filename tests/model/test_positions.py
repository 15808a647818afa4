"""Resampled positions against a bicubic written out in float64, and a network at another input size."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import CheckpointError, ConfigError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.checkpoint import load_model, model_digest, save_huggingface, save_model
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.positions import resample_positions
from model.vitpose import build_vitpose
from tests.model.released_layouts import filled, mmpose_shapes

GRIDS = [(16, 12), (24, 18), (14, 14), (12, 16), (8, 6), (36, 27)]


def cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.75, which PyTorch and OpenCV have."""
    a, x = -0.75, np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def weights(source: int, target: int) -> np.ndarray:
    """(target, source): pixel centres at halves, cells beyond the border repeat it; no smoothing when shrinking."""
    matrix = np.zeros((target, source))
    for i in range(target):
        centre = (i + 0.5) * source / target - 0.5
        for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            matrix[i, min(max(j, 0), source - 1)] += cubic(np.array(centre - j))
    return matrix


def reference(positions: np.ndarray, source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    grid = positions[0, 1:].reshape(*source, -1)
    down, across = weights(source[0], target[0]), weights(source[1], target[1])
    resized = np.einsum("ia,jb,abd->ijd", down, across, grid)
    return np.concatenate([positions[:, :1], resized.reshape(1, target[0] * target[1], -1)], axis=1)


@pytest.mark.parametrize(("source", "target"), list(product(GRIDS, GRIDS)))
def test_against_the_reference(source: tuple[int, int], target: tuple[int, int]) -> None:
    table = torch.randn(1, 1 + source[0] * source[1], 5, generator=torch.Generator().manual_seed(0))
    found = resample_positions(table, source, target)
    if source == target:
        assert found is table
    expected = reference(table.double().numpy(), source, target)
    np.testing.assert_allclose(found.double().numpy(), expected, rtol=0, atol=1e-6)
    assert found.dtype == table.dtype
    assert torch.equal(found[:, 0], table[:, 0])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20))
def test_what_is_the_same_everywhere_stays_so(h: int, w: int, rows: int, columns: int) -> None:
    table = torch.full((1, 1 + h * w, 3), 0.25)
    table[:, 0] = 9.0
    found = resample_positions(table, (h, w), (rows, columns))
    assert found.shape == (1, 1 + rows * columns, 3)
    torch.testing.assert_close(found[:, 1:], torch.full_like(found[:, 1:], 0.25))
    assert (found[:, 0] == 9.0).all()


def test_a_square_guess_would_be_wrong_for_pose_weights() -> None:
    with pytest.raises(CheckpointError, match="193 positions are not one and a grid of 14x14"):
        resample_positions(torch.zeros(1, 193, 4), (14, 14), (16, 12))


def test_a_released_file_at_another_input_size(tmp_path: Path) -> None:
    torch.save(filled(mmpose_shapes(simple=True)), tmp_path / "vitpose.pth")
    model = load_model(tmp_path / "vitpose.pth")
    larger = load_model(tmp_path / "vitpose.pth", input_size=(384, 288))
    assert (larger.input_size, larger.heatmap_size) == ((384, 288), (96, 72))
    expected = reference(model.pos_embed.detach().double().numpy(), (16, 12), (24, 18))
    np.testing.assert_allclose(larger.pos_embed.detach().numpy(), expected, rtol=0, atol=1e-6)
    others = {name: t for name, t in larger.state_dict().items() if name != "pos_embed"}
    torch.testing.assert_close(others, {name: model.state_dict()[name] for name in others}, rtol=0, atol=0)
    same = load_model(tmp_path / "vitpose.pth", input_size=(256, 192))
    assert model_digest(same) == model_digest(model)


@pytest.mark.parametrize("dataset", [None, "aic"])
def test_a_whole_or_split_plus_at_another_input_size(dataset: str | None, tmp_path: Path) -> None:
    config = {"input_size": (64, 48), "width": 32, "depth": 2, "heads": 4, "experts": 6, "expert_width": 8}
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS]
    model = build_vitpose(ViTPoseConfig.model_validate({**config, "datasets": PLUS_DATASETS}), skeletons).eval()
    randomise(model, seed=0)
    resized = load_model(save_model(model, tmp_path), dataset=dataset, input_size=(32, 80))
    assert resized(torch.zeros(1, 3, 32, 80)).shape[1:] == (17 if dataset is None else 14, 8, 20)
    expected = reference(model.pos_embed.detach().double().numpy(), (4, 3), (2, 5))
    np.testing.assert_allclose(resized.pos_embed.detach().numpy(), expected, rtol=0, atol=1e-6)
    if dataset is not None:
        again = load_model(save_huggingface(resized, tmp_path / "huggingface"))
        assert model_digest(again) == model_digest(resized)


@pytest.mark.parametrize("size", [(250, 192), (0, 192), (256,), "big", (256.5, 192)])
def test_impossible_sizes_are_refused(size: object, tmp_path: Path) -> None:
    model = build_vitpose(ViTPoseConfig.model_validate({"width": 32, "depth": 1, "heads": 4}), Skeleton.load("coco17"))
    with pytest.raises(ConfigError, match="input_size"):
        load_model(save_model(model, tmp_path), input_size=size)  # type: ignore[arg-type]
