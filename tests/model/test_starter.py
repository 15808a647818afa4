"""One file holds a network to half precision; what is no such file is told, and nothing half-written stays."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from autolabel.errors import CheckpointError, ConfigError, SkeletonError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.checkpoint import load_model, model_digest, save_model
from model.config import ViTPoseConfig
from model.starter import FORMAT, KEY, PEOPLE, save_starter, starter
from model.vitpose import ViTPose, build_vitpose

COCO = Skeleton.load("coco17")
SMALL = {"input_size": (64, 48), "patch_size": 16, "width": 32, "depth": 2, "heads": 2, "deconv_channels": 16}


def network(**changes: object) -> ViTPose:
    """Every parameter random; the classic decoder has batch norm's statistics and counter too."""
    config = ViTPoseConfig.parse({**SMALL, "presence": True, "whole_box": True, **changes}, subject="test")
    skeletons = [COCO, Skeleton.load("mpii16")][: max(len(config.datasets), 1)]
    model = build_vitpose(config, skeletons).eval()
    randomise(model, 0)
    return model


def header(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()[KEY])


@pytest.mark.parametrize(
    "changes",
    [
        {"presence_threshold": 0.3, "visible_threshold": 0.7, "absent_below": 0.1},
        {"decoder": "simple", "presence": False},
        {"datasets": ("coco", "mpii")},
    ],
)
def test_a_network_comes_back_to_half_precision(tmp_path: Path, changes: dict[str, object]) -> None:
    model = network(**changes)
    path = save_starter(model, tmp_path / "new" / "a.safetensors")
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]
    read = load_model(path)
    assert read.config == model.config and read.skeletons == model.skeletons and not read.training
    for name, tensor in model.state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(read.state_dict()[name], expected), name
        assert read.state_dict()[name].dtype == tensor.dtype
    assert path.stat().st_size < 0.7 * (save_model(model, tmp_path / "folder") / "model.safetensors").stat().st_size
    assert header(path)["format"] == FORMAT and header(path)["skeletons"][0]["name"] == "coco17"


def test_it_answers_like_the_network(tmp_path: Path) -> None:
    model = network()
    read = load_model(save_starter(model, tmp_path / "a.safetensors"))
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for ours, theirs in zip(read.forward_all(images), model.forward_all(images), strict=True):
            assert ours.dtype == torch.float32
            assert (ours - theirs).abs().max() < 0.02 * theirs.abs().max()
    assert model_digest(read) == model_digest(tmp_path / "a.safetensors") != model_digest(model)


def test_the_same_network_is_the_same_file(tmp_path: Path) -> None:
    files = [save_starter(network(), tmp_path / f"{name}.safetensors").read_bytes() for name in "ab"]
    assert files[0] == files[1]
    again = save_starter(load_model(tmp_path / "a.safetensors"), tmp_path / "c.safetensors")
    assert again.read_bytes() == files[0], "nothing is rounded twice"


def test_one_dataset_of_several_and_another_input_size(tmp_path: Path) -> None:
    path = save_starter(network(datasets=("coco", "mpii")), tmp_path / "a.safetensors")
    assert load_model(path, dataset="mpii").skeleton.name == "mpii16"
    assert load_model(path, input_size=(128, 96)).heatmap_size == (32, 24)


# ---- what may not be written


def test_a_file_that_is_too_large_is_not_written(tmp_path: Path) -> None:
    path = save_starter(network(), tmp_path / "a.safetensors")
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"would have [\d,]+ bytes, and may have 1,000\. Distil"):
        save_starter(network(depth=3), path, max_bytes=1000)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_numbers_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model.last_norm.bias[3] = 1e6
    with pytest.raises(CheckpointError, match=r"last_norm\.bias holds numbers that half precision cannot"):
        save_starter(model, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"must end in \.safetensors"):
        save_starter(network(), tmp_path / "a.pth")
    assert not list(tmp_path.iterdir())


# ---- what may not be read


def changed(path: Path, tensors: dict[str, torch.Tensor] | None = None, **words: object) -> None:
    """The file again with other tensors or other words in its header."""
    save_file({**load_file(path), **(tensors or {})}, path, {KEY: json.dumps({**header(path), **words})})


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            lambda p: save_file(load_file(p), p),
            CheckpointError,
            "one file of a folder.*Give the folder, with the config",
        ),
        (lambda p: changed(p, format="pt"), CheckpointError, "one file of a folder"),
        (lambda p: changed(p, format="autolabel-starter-2"), CheckpointError, "format autolabel-starter-2.*Update"),
        (lambda p: changed(p, digest=None), CheckpointError, "damaged: its content"),
        (lambda p: changed(p, config={}), CheckpointError, "damaged: its content"),
        (lambda p: changed(p, {"pos_embed": torch.zeros(1, 13, 32).half()}), CheckpointError, "damaged: its content"),
        (lambda p: changed(p, {"extra": torch.zeros(1)}), CheckpointError, "damaged: its content"),
        (lambda p: p.write_bytes(p.read_bytes()[:5000]), CheckpointError, r"a\.safetensors is damaged.*Fetch"),
        (lambda p: save_file(load_file(p), p, {KEY: "[" * 100_000}), CheckpointError, "its header is not JSON"),
        (lambda p: save_file(load_file(p), p, {KEY: "{"}), CheckpointError, "its header is not JSON"),
        (lambda p: changed(p, skeletons=["\ud800"]), CheckpointError, "damaged: its content"),
        (lambda p: p.write_bytes(b""), CheckpointError, "is empty"),
        (lambda p: p.write_text("<!DOCTYPE html><p>Sign in"), CheckpointError, "is a web page"),
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1"), CheckpointError, "LFS pointer"),
        (lambda p: torch.save({"state_dict": {}}, p), CheckpointError, r"a\.safetensors is damaged"),
    ],
)
def test_other_and_damaged_files_are_told(tmp_path: Path, spoil, error, message) -> None:  # pyright: ignore
    path = save_starter(network(), tmp_path / "a.safetensors")
    spoil(path)
    with pytest.raises(error, match=message) as raised:
        load_model(path)
    assert str(path) in str(raised.value)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = save_starter(network(), tmp_path / "a.safetensors")
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged: its content"):
        load_model(path)


@pytest.mark.parametrize(
    ("word", "value", "error", "message"),
    [
        ("config", [1], CheckpointError, "describes no network"),
        ("config", {"widht": 3}, ConfigError, "did you mean 'width'"),
        ("config", {"width": 96}, CheckpointError, "lacks|does not fit"),
        ("skeletons", {}, CheckpointError, "describes no network"),
        ("skeletons", [3], CheckpointError, "describes no network"),
        ("skeletons", [{}], SkeletonError, "name"),
        ("skeletons", [], CheckpointError, "lacks|has unknown"),
    ],
)
def test_a_description_that_contradicts_itself(tmp_path: Path, word, value, error, message) -> None:  # pyright: ignore
    """Written with its digest by somebody who makes such files."""
    from model.starter import _digest

    path = save_starter(network(), tmp_path / "a.safetensors")
    words = {**header(path), word: value}
    words.pop("digest")
    changed(path, **words, digest=_digest(words, load_file(path)))
    with pytest.raises(error, match=message):
        load_model(path)


# ---- the package


def test_the_package_says_whether_it_carries_one() -> None:
    if PEOPLE.is_file():
        model = load_model(starter())
        assert model.skeleton.name == "coco17" and PEOPLE.stat().st_size <= 12_000_000
    else:
        with pytest.raises(ConfigError, match=re.escape("no starter network comes with this package. Give --weights")):
            starter()
