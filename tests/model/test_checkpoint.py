"""What is read, what is refused and why, what is written; test_parity has heatmaps of released layouts."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.checkpoint import load_model, model_digest, save_huggingface, save_model
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.vitpose import ViTPose, build_vitpose

SMALL = {"input_size": (64, 48), "width": 32, "depth": 3, "heads": 4}
MOUSE = Skeleton.from_dict({"name": "mouse3", "keypoints": ["nose", "left_ear", "right_ear"]})


def small(skeleton: Skeleton | list[Skeleton] | None = None, **changes: object) -> ViTPose:
    """A network with random parameters and buffers that takes milliseconds."""
    config = ViTPoseConfig.model_validate({**SMALL, **changes})
    model = build_vitpose(config, skeleton or Skeleton.load("coco17")).eval()
    randomise(model, seed=0)
    return model


def small_plus(heads: int) -> ViTPose:
    skeletons = [Skeleton.load(DATASETS[name].skeleton) for name in PLUS_DATASETS]
    return small(skeletons[:heads], experts=6, expert_width=8, datasets=PLUS_DATASETS)


def assert_same(one: ViTPose, other: ViTPose) -> None:
    """Config, skeletons and every tensor."""
    assert one.config == other.config
    assert one.skeletons == other.skeletons
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)
    assert model_digest(one) == model_digest(other)


# Our checkpoint folder.


@pytest.mark.parametrize(
    "model",
    [
        small(),
        small(MOUSE, decoder="simple", patch_size=8, codec="plain", box_padding=1.1),
        small_plus(heads=1),
        small_plus(heads=6),
        small(
            MOUSE,
            ratio=2,
            upsampling=2,
            presence=True,
            whole_box=True,
            presence_threshold=0.4,
            codecs=("plain",),
            datasets=("mice",),
        ),
        small(attention="window", window=(3, 2), shift=True, pool=True, full_every=2, relative_position=True),
    ],
)
def test_a_checkpoint_folder_gives_the_same_network_back(model: ViTPose, tmp_path: Path) -> None:
    folder = save_model(model, tmp_path / "deep" / "teacher", {"AP": 0.758})
    loaded = load_model(folder)
    assert_same(loaded, model)
    images = torch.randn(2, 3, 64, 48)
    torch.testing.assert_close(loaded.forward_all(images), model.forward_all(images), rtol=0, atol=0)
    assert not loaded.training
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert json.loads((folder / "config.json").read_text())["metrics"] == {"AP": 0.758}
    assert Skeleton.load(folder / "skeleton.json") == model.skeleton
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_saving_again_replaces(tmp_path: Path) -> None:
    save_model(small_plus(heads=6), tmp_path)
    assert_same(load_model(save_model(small_plus(heads=1), tmp_path)), small_plus(heads=1))
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    model = small()
    randomise(model, seed=5)
    assert_same(load_model(save_model(model, tmp_path)), model)
    assert (tmp_path / "metrics.jsonl").read_text() == "{}\n"


def test_a_save_killed_halfway_over_an_older_one_is_found_out(tmp_path: Path) -> None:
    save_model(small(), tmp_path / "old")
    model = small()
    randomise(model, seed=5)
    save_model(model, tmp_path / "new")
    (tmp_path / "new" / "model.safetensors").replace(tmp_path / "old" / "model.safetensors")
    with pytest.raises(CheckpointError, match="are from different saves"):
        load_model(tmp_path / "old")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    save_model(small(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    tied = small()
    tied.blocks[0].norm1.weight = tied.blocks[1].norm1.weight  # safetensors refuses to write one tensor twice
    with pytest.raises(RuntimeError, match="share memory"):
        save_model(tied, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("dataset", PLUS_DATASETS)
def test_our_own_plus_folder_splits_like_the_whole_answers(dataset: str, tmp_path: Path) -> None:
    whole = small_plus(heads=6)
    split = load_model(save_model(whole, tmp_path), dataset=dataset)
    images = torch.randn(2, 3, 64, 48)
    assert split.skeleton.name == DATASETS[dataset].skeleton
    assert (split.num_experts, split.config.codec) == (0, DATASETS[dataset].codec)
    with torch.inference_mode():
        torch.testing.assert_close(split(images), whole(images, PLUS_DATASETS.index(dataset)))


def test_naming_the_dataset_that_a_plain_network_is_for_changes_nothing(tmp_path: Path) -> None:
    model = small(datasets=("coco",), codec="plain")
    assert_same(load_model(save_model(model, tmp_path), dataset="coco"), model)
    with pytest.raises(CheckpointError, match="is for coco, not for 'aic'"):
        load_model(tmp_path, dataset="aic")
    save_model(small(MOUSE), tmp_path)
    with pytest.raises(CheckpointError, match="names no dataset, not for 'coco'"):
        load_model(tmp_path, dataset="coco")


def test_heads_of_our_own_datasets_split_with_their_codec_and_presence_head(tmp_path: Path) -> None:
    skeletons = [Skeleton.load("coco17"), MOUSE, Skeleton.load("mpii16")]
    names, codecs = ("coco", "mice", "mpii"), ("udp", "plain", "plain")
    whole = small(
        skeletons,
        datasets=names,
        codecs=codecs,
        presence=True,
        experts=3,
        expert_width=8,
        attention="window",
        shift=True,
    )
    save_model(whole, tmp_path)
    images = torch.randn(2, 3, 64, 48)
    for index, name in enumerate(names):
        split = load_model(tmp_path, dataset=name)
        assert (split.skeleton, split.config.codec, split.config.codecs) == (skeletons[index], codecs[index], ())
        torch.testing.assert_close(split.forward_all(images), whole.forward_all(images, index), rtol=1e-4, atol=1e-5)


def test_digest_notices_every_kind_of_change(tmp_path: Path) -> None:
    model = small()
    digests = {model_digest(model)}
    with torch.no_grad():
        model.blocks[1].mlp.fc1.bias[3] += 1e-6
    digests.add(model_digest(model))
    model.keypoint_heads[0].deconv_layers[1].running_var[0] += 1
    digests.add(model_digest(model))
    model.config = model.config.model_copy(update={"codec": "plain"})
    digests.add(model_digest(model))
    model.skeletons = (Skeleton.load("ap10k17"),)
    digests.add(model_digest(model))
    assert len(digests) == 5
    assert model_digest(save_model(model, tmp_path)) == model_digest(model)


# Files and the hub.


class _Payload:
    """What a malicious pickle would run."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return os.system, ("touch executed",)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "meta": _Payload()}, "evil.pth")
    with pytest.raises(CheckpointError, match="which are never executed"):
        load_model("evil.pth")
    assert not Path("executed").exists()


def _truncated(path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.pth", lambda path: path.write_bytes(b""), "is empty"),
        ("a.pth", lambda path: path.write_bytes(b"not a checkpoint at all"), "is not a PyTorch file"),
        ("a.pth", _truncated, "is damaged"),
        ("a.pth", lambda path: torch.save([1, 2], path), "holds no state_dict"),
        ("a.pth", lambda path: torch.save({"state_dict": {"epoch": 3}}, path), "holds no state_dict"),
        ("model.safetensors", lambda path: save_file({"a": torch.ones(1)}, path), "is one file of a folder"),
    ],
)
def test_files_that_hold_no_weights(name: str, write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "has no config.json"),
        ("config.json", "{", "config.json is not JSON"),
        ("config.json", "[]", "config.json is not a JSON object"),
        ("config.json", "{}", "config.json says 'no model_type'"),
        ("config.json", '{"model_type": "detr"}', "says 'detr', which is no ViTPose"),
        ("config.json", '{"format": "autolabel-vitpose-9"}', "says 'autolabel-vitpose-9'"),
        ("config.json", '{"format": "autolabel-vitpose-1"}', "describes no network"),
        ("model.safetensors", None, "has no model.safetensors.*Pickled or sharded"),
        ("model.safetensors", "\0" * 99, "model.safetensors is damaged"),
        ("skeleton.json", None, "has no skeleton.json"),
    ],
)
def test_damaged_folders(name: str, content: str | None, message: str, tmp_path: Path) -> None:
    folder = save_model(small(), tmp_path / "teacher")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


def test_a_tensor_missing_from_our_folder_is_named(tmp_path: Path) -> None:
    folder = save_model(small(), tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["blocks.1.attn.qkv.bias"]
    digest = json.loads((folder / "config.json").read_text())["digest"]
    save_file(tensors, folder / "model.safetensors", metadata={"digest": digest})
    with pytest.raises(CheckpointError, match=r"lacks blocks\.1\.attn\.qkv\.bias"):
        load_model(folder)


def test_a_wrong_path_is_not_looked_up_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        load_model(tmp_path / "teacher")


@pytest.fixture
def offline_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache and no network; huggingface_hub reads its environment only once, at import."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_a_hub_id_without_network(offline_hub: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder, and the Hugging Face hub cannot be reached"):
        load_model("usyd-community/vitpose-base-simple")


def test_a_hub_id_from_the_cache(offline_hub: Path) -> None:
    repository = offline_hub / "models--some-lab--vitpose-tiny"
    model = small()
    save_huggingface(model, repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    assert_same(load_model("some-lab/vitpose-tiny"), model)
