"""Resampled positions against a bicubic written out in float64, and a network at another input size."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import CheckpointError, ConfigError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.attention import Windows
from model.checkpoint import assemble, load_model, model_digest, save_huggingface, save_model
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.layouts import Weights
from model.positions import adapted, resample_positions, resample_table
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


# Other variants of a trained network.

SMALL = {"input_size": (64, 48), "width": 32, "depth": 3, "heads": 4, "decoder": "simple"}


def weights_of(**changes: object) -> Weights:
    model = build_vitpose(ViTPoseConfig.model_validate({**SMALL, **changes}), Skeleton.load("coco17")).eval()
    randomise(model, seed=0)
    return Weights(model.config, model.skeletons, dict(model.state_dict()))


WINDOWS = {"attention": "window", "window": (3, 2), "shift": True, "pool": True, "relative_position": True}


@pytest.mark.parametrize(
    ("old", "changes"),
    [
        ({}, {"ratio": 2, "upsampling": 2}),
        ({"ratio": 2}, {"ratio": 1, "input_size": [128, 96]}),
        ({}, {"attention": "window", "window": [3, 2]}),
        ({}, WINDOWS),
        (WINDOWS, {"attention": "full"}),
        (WINDOWS, {"relative_position": False, "full_every": 2}),
        (WINDOWS, {"window": (4, 3), "full_every": 3, "ratio": 2}),
        ({"decoder": "classic"}, {"presence": True, "drop_path": 0.3}),
        ({"presence": True, "attention": "window"}, {"presence": False}),
        ({"presence": True}, {"whole_box": True}),
        ({"whole_box": True}, {"whole_box": False, "presence": True}),
        ({"whole_box": True, "presence": True}, {"ratio": 2}),
    ],
)
def test_trained_weights_fit_every_variant(old: dict[str, object], changes: dict[str, Any]) -> None:
    before = weights_of(**old)
    after = adapted(before, changes, "a.pth")
    named = {name: getattr(after.config, name) for name in changes}
    assert named == {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    model = assemble(after, "a.pth")  # refuses what lacks, is unknown, or has another shape
    with torch.no_grad():
        assert model(torch.zeros(1, 3, *model.input_size)).isfinite().all()
    changed = ("pos_embed", "presence_heads.", "whole_box_head.", "relative_position_bias_table")
    kept = {name: tensor for name, tensor in before.tensors.items() if not any(part in name for part in changed)}
    torch.testing.assert_close({name: after.tensors[name] for name in kept}, kept, rtol=0, atol=0)
    assert after.tensors["pos_embed"].shape[1] == 1 + int(np.prod(after.config.grid_size))


def test_nothing_changed_is_the_weights_themselves() -> None:
    before = weights_of(**WINDOWS)
    assert adapted(before, {"window": [3, 2], "ratio": 1}, "a.pth") is before


def test_fresh_presence_heads_come_from_the_seed_alone() -> None:
    one, again, other = (adapted(weights_of(), {"presence": True}, "a.pth", seed=seed) for seed in (3, 3, 4))
    names = [name for name in one.tensors if name.startswith("presence_heads.0.")]
    assert names
    assert all(torch.equal(one.tensors[name], again.tensors[name]) for name in names)
    assert not all(torch.equal(one.tensors[name], other.tensors[name]) for name in names)
    weights = weights_of()
    before = torch.random.get_rng_state()
    adapted(weights, {"presence": True}, "a.pth")
    assert torch.equal(torch.random.get_rng_state(), before)


THRESHOLDS = {"presence_threshold": 0.8, "visible_threshold": 0.3}


@pytest.mark.parametrize(
    ("old", "changes", "expected"),
    [
        ({"presence": True, **THRESHOLDS}, {"presence": False}, (0.5, 0.5)),
        ({**THRESHOLDS}, {"presence": True}, (0.5, 0.5)),
        ({"presence": True, **THRESHOLDS}, {"presence": True, "ratio": 2}, (0.8, 0.3)),  # the same heads
    ],
)
def test_thresholds_belong_to_the_presence_heads(
    old: dict[str, object], changes: dict[str, Any], expected: tuple[float, float]
) -> None:
    config = adapted(weights_of(**old), changes, "a.pth").config
    assert (config.presence_threshold, config.visible_threshold) == expected


def test_fresh_biases_are_zero_so_that_a_whole_window_stays_the_same_network() -> None:
    before = weights_of()
    whole = {"attention": "window", "window": (4, 3), "pool": True, "shift": True, "relative_position": True}
    after = adapted(before, whole, "a.pth")
    images = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        torch.testing.assert_close(assemble(after, "a")(images), assemble(before, "b")(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("old", "changes", "message"),
    [
        ({}, {"widht": 3}, r"a\.pth: unknown key 'widht'; did you mean 'width'"),
        ({}, {"windows": 3}, "unknown key 'windows'; did you mean 'window'"),
        ({}, {"depth": 3}, r"a\.pth: depth of trained weights cannot be changed, only input_size, ratio"),
        ({"decoder": "classic"}, {"upsampling": 2}, "a classic decoder with another one has other layers"),
        ({}, {"input_size": (60, 48)}, "multiples of patch_size 16"),
        ({}, {"shift": True}, "shift True needs attention 'window'"),
        (WINDOWS, {"full_every": 9}, "full_every 9 must be 0, or from 2 to the depth, 3"),
    ],
)
def test_what_cannot_be_changed_is_refused(old: dict[str, object], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        adapted(weights_of(**old), changes, "a.pth")


def biases(rows: int, columns: int, value: Any) -> torch.Tensor:
    """(distances, 1) that are a function of the distances."""
    places = [(r, c) for r in range(1 - rows, rows) for c in range(1 - columns, columns)]
    return torch.tensor([[float(value(r, c))] for r, c in places])


@pytest.mark.parametrize(
    ("target", "grid", "factor"),
    [
        ((3, 2), (8, 6), (1, 1)),  # a smaller window: the same distances
        ((7, 5), (16, 12), (2, 2)),  # a grid twice as fine: a distance of two is what one was
        ((4, 3), (8, 3), (1, 0.5)),  # a coarser one, along one axis
    ],
)
def test_distances_keep_their_biases(
    target: tuple[int, int], grid: tuple[int, int], factor: tuple[float, float]
) -> None:
    """Of a linear function, which linear interpolation keeps exactly."""
    table = biases(4, 3, lambda r, c: 3 * r - c)
    found = resample_table(table, Windows((4, 3)), Windows(target), (8, 6), grid)
    reach = (3, 2)

    def expected(r: int, c: int) -> float:
        row, column = (np.clip(d / f, -end, end) for d, f, end in zip((r, c), factor, reach, strict=True))
        return 3 * row - column

    torch.testing.assert_close(found, biases(*target, expected))


def test_beyond_the_largest_known_distance_it_stays() -> None:
    found = resample_table(biases(2, 1, lambda r, c: r), Windows((2, 1)), Windows((4, 3)), (8, 6), (8, 6))
    torch.testing.assert_close(found, biases(4, 3, lambda r, c: np.clip(r, -1, 1)))
