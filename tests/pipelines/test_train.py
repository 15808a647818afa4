"""Training from a file: its mistakes are named before anything is written, and a stopped run goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from autolabel.errors import CheckpointError, ConfigError, ExistsError, InputError, ManifestError, SkeletonError
from autolabel.project import to_toml
from autolabel.run import RECORD, file_digest
from autolabel.skeleton import Skeleton
from model.checkpoint import load_model, model_digest
from model.config import PRESETS, ViTPoseConfig
from model.encoder_folder import save_encoder
from model.vitpose import build_vitpose
from pipelines.map_ import map_
from pipelines.train import train
from pipelines.train_begin import beginning
from tests.doubles import Recorder, Stopped
from tests.model.released_layouts import filled, mae_shapes
from tests.pipelines.job import run_in_processes

NETWORK = {"input_size": [32, 24], "patch_size": 8, "width": 32, "depth": 1, "heads": 2, "decoder": "simple"}
TRAINING = {"steps": 4, "batch_size": 4, "warmup_steps": 1, "precision": "fp32", "device": "cpu", "save_every": 2}


def write(folder: Path, drawn_case: Any, **tables: Any) -> Path:
    content = {
        "data": [{"manifest": str(drawn_case.folder / "labelled")}],
        "model": NETWORK,
        "training": TRAINING,
        **tables,
    }
    file = folder / "train.toml"
    file.write_text(to_toml({name: value for name, value in content.items() if value is not None}))
    return file


def test_a_network_is_trained_as_the_file_says(drawn_case: Any, tmp_path: Path) -> None:
    result = train(config=write(tmp_path, drawn_case), out=tmp_path / "out")
    model = load_model(result.checkpoint)
    assert (model.input_size, model.config.width, model.skeleton.name) == ((32, 24), 32, "coco17")
    assert result.metrics["step"] == 4
    assert result.summary()["checkpoint"] == tmp_path / "out"
    assert not (tmp_path / "out" / "state.pt").exists()
    before = model_digest(result.checkpoint)
    assert train(config=tmp_path / "train.toml", out=tmp_path / "out", resume=True).metrics == result.metrics
    assert model_digest(result.checkpoint) == before


def test_fine_tuning_goes_on_from_a_checkpoint_beside_the_file(
    drawn_case: Any, tiny_weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "teacher").symlink_to(tiny_weights)
    data = [{"manifest": str(drawn_case.folder / name), "share": s} for name, s in (("labelled", 1.0), ("test", 3.0))]
    file = write(tmp_path, drawn_case, data=data, init="teacher", model=None)
    tuned = train(config=file, out=tmp_path / "out").checkpoint
    record = json.loads((tuned / RECORD).read_text())
    assert record["inputs"]["init"] == model_digest(tiny_weights)
    assert record["config"]["shares"] == [1.0, 3.0]
    assert load_model(tuned).config == load_model(tiny_weights).config
    assert model_digest(tuned) != model_digest(tiny_weights)


def test_a_run_that_stopped_goes_on(drawn_case: Any, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case)
    train(config=file, out=tmp_path / "whole")
    told = Recorder(after=3)
    with pytest.raises(Stopped):
        train(config=file, out=tmp_path / "stopped", progress=told)
    assert (tmp_path / "stopped" / "state.pt").is_file()
    assert "GMACs" in told.notes[0] and "crops.png" in told.notes[1]
    train(config=file, out=tmp_path / "stopped")
    assert model_digest(tmp_path / "stopped") == model_digest(tmp_path / "whole")


def test_data_that_is_not_there_leaves_nothing_behind(drawn_case: Any, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case, data=[{"manifest": str(tmp_path / "gone")}])
    with pytest.raises(ManifestError, match="gone"):
        train(config=file, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_data_or_recipe_need_overwrite(drawn_case: Any, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case)
    first = model_digest(train(config=file, out=tmp_path / "out").checkpoint)
    write(tmp_path, drawn_case, training={**TRAINING, "seed": 1})
    with pytest.raises(ExistsError, match="--overwrite"):
        train(config=file, out=tmp_path / "out")
    assert model_digest(train(config=file, out=tmp_path / "out", overwrite=True).checkpoint) != first


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        ({"trainig": {}}, ConfigError, r"train\.toml: unknown key 'trainig'; did you mean 'training'\?"),
        (
            {"training": {"stpes": 3}},
            ConfigError,
            r"train\.toml: training: unknown key 'stpes'; did you mean 'steps'\?",
        ),
        (
            {"training": {"augmentation": {"flp": 1}}},
            ConfigError,
            r"augmentation: unknown key 'flp'; did you mean 'flip'",
        ),
        ({"training": {"steps": 0}}, ConfigError, r"training: steps: .*greater than or equal to 1, not 0"),
        ({"model": {"widht": 3}}, ConfigError, r"train\.toml: model: unknown key 'widht'; did you mean 'width'\?"),
        ({"model": {"size": "g"}}, ConfigError, r"train\.toml: model: no size 'g'"),
        ({"data": []}, ConfigError, r"train\.toml: data: .*at least 1 item"),
        ({"data": [{"manifest": "m", "share": 0.0}]}, ConfigError, r"data\.0\.share: .*greater than 0"),
        ({"data": [{"manifets": "m"}]}, ConfigError, r"data\.0: unknown key 'manifets'; did you mean 'manifest'\?"),
        ({"init": "nowhere"}, ConfigError, "a network and a checkpoint"),
        ({"init": "/nowhere/at/all", "model": None}, InputError, "nowhere"),
    ],
)
def test_a_mistake_in_the_file_leaves_nothing_behind(
    drawn_case: Any, tmp_path: Path, tables: dict[str, Any], error: type[Exception], message: str
) -> None:
    file = write(tmp_path, drawn_case, **tables)
    with pytest.raises(error, match=message):
        train(config=file, out=tmp_path / "out")
    assert not (tmp_path / "out").exists(), "so that the corrected file may use the same folder"


def test_fine_tuning_at_another_input_size(drawn_case: Any, tiny_weights: Path, tmp_path: Path) -> None:
    """Only the positions differ from the checkpoint's at the start; the digest of what it starts from says so."""
    file = write(tmp_path, drawn_case, init=str(tiny_weights), model={"input_size": [48, 40]})
    tuned = train(config=file, out=tmp_path / "out").checkpoint
    assert load_model(tuned).config == load_model(tiny_weights, input_size=(48, 40)).config
    record = json.loads((tuned / RECORD).read_text())
    assert record["inputs"]["init"] == model_digest(load_model(tiny_weights, input_size=(48, 40)))
    write(tmp_path, drawn_case, init=str(tiny_weights), model={"input_size": [48, 41]})
    with pytest.raises(ConfigError, match="multiples of patch_size 8"):
        train(config=file, out=tmp_path / "other")


def test_a_training_starts_from_an_encoder(drawn_case: Any, tmp_path: Path) -> None:
    """With no step that changes anything, what was MAE's is there; and the file's digest names the run."""
    mae = filled(mae_shapes(32, 1, patch=6, grid=4))
    torch.save({"model": mae}, tmp_path / "mae.pth")
    still = {**TRAINING, "steps": 1, "learning_rate": 1e-30, "weight_decay": 0.0}
    file = write(tmp_path, drawn_case, init="mae.pth", training=still)
    out = train(config=file, out=tmp_path / "out").checkpoint
    model = load_model(out)
    assert torch.equal(model.blocks[0].attn.qkv.weight, mae["blocks.0.attn.qkv.weight"])
    assert torch.equal(model.patch_embed.proj.weight[:, :, 1:7, 1:7], mae["patch_embed.proj.weight"])
    assert json.loads((out / RECORD).read_text())["inputs"]["init"] == file_digest(tmp_path / "mae.pth")


def test_an_encoder_needs_a_network_it_fits(drawn_case: Any, tmp_path: Path) -> None:
    torch.save({"model": filled(mae_shapes(32, 1))}, tmp_path / "mae.pth")
    for network, error, message in (
        (None, ConfigError, r"starts from an encoder \(.*mae\.pth\) and does not say which network.*size = \"b\""),
        (NETWORK, CheckpointError, "patches of 16, the network 128 and 8"),
        ({"size": "s"}, CheckpointError, "is 32 wide and 1 deep, the network 384 and 12"),
    ):
        file = write(tmp_path, drawn_case, init="mae.pth", model=network)
        with pytest.raises(error, match=message):
            train(config=file, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()


OWN = {"input_size": (48, 32), "patch_size": 8, "patch_padding": 0, "width": 32, "depth": 1, "heads": 2}
OWN |= {"norm_eps": 1e-5, "box_padding": 1.5, "mlp_ratio": 2, "drop_path": 0.25}


def encoder_folder(folder: Path, **changes: Any) -> Path:
    """What ``pretrain`` would write of a network of our own."""
    config = ViTPoseConfig.model_validate({**OWN, **changes})
    state = build_vitpose(config, Skeleton.load("coco17")).state_dict()
    save_encoder(config, {n: t for n, t in state.items() if not n.startswith("keypoint_heads.")}, folder, {})
    return folder


def begun(init: Path, network: dict[str, Any]) -> ViTPoseConfig:
    datasets = {"": Skeleton.load("coco17")}
    start = beginning(str(init), datasets=datasets, dataset="", network=network, seed=0, subject="train.toml")
    return start.make().config


@pytest.mark.parametrize(
    ("network", "changed"),
    [
        ({}, {}),
        ({"presence": True}, {"presence": True}),
        ({"input_size": [32, 24]}, {"input_size": (32, 24)}),
        ({"ratio": 2}, {"ratio": 2, "patch_padding": 2}),  # what goes with a ratio of 2, where 0 cannot be
        ({"ratio": 2, "patch_padding": 3}, {"ratio": 2, "patch_padding": 3}),
        ({"ratio": 1, "drop_path": 0.0}, {"drop_path": 0.0}),
        ({"patch_size": 8, "heads": 2}, {}),
        ({"patch_size": 16}, {"patch_size": 16, "patch_padding": 2}),  # kernels are padded: other patches
    ],
)
def test_an_encoder_says_what_the_model_table_leaves_out(
    tmp_path: Path, network: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert begun(encoder_folder(tmp_path / "encoder"), network) == ViTPoseConfig.model_validate({**OWN, **changed})


def test_a_size_in_the_model_table_counts_before_the_encoders(tmp_path: Path) -> None:
    """Its width, depth, heads and drop path; of those the drop path may differ from the encoder's."""
    tiny = PRESETS["ti"]
    shape = {"width": tiny.width, "depth": tiny.depth, "heads": tiny.heads}
    folder = encoder_folder(tmp_path / "encoder", **shape)
    assert begun(folder, {"size": "ti"}) == ViTPoseConfig.model_validate({**OWN, **shape, "drop_path": tiny.drop_path})
    with pytest.raises(CheckpointError, match="is 192 wide and 12 deep, the network 384 and 12"):
        begun(folder, {"size": "s"})


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"patch_padding": 2}, r"trained with patch_padding 0, the network has 2\. Set patch_padding = 0 in \[model\]"),
        ({"norm_eps": 1e-6}, r"trained with norm_eps 1e-05, the network has 1e-06\. Set norm_eps = 1e-05 in \[model\]"),
        ({"heads": 4}, r"has 2 attention heads, the network 4\. Set heads = 2 in \[model\]"),
        ({"mlp_ratio": 4}, "MLPs of 64 and patches of 8, the network 128 and 8"),
    ],
)
def test_a_network_that_would_compute_an_encoder_otherwise(
    tmp_path: Path, network: dict[str, Any], message: str
) -> None:
    folder = encoder_folder(tmp_path / "encoder")
    with pytest.raises(CheckpointError, match=message):
        begun(folder, network)


def test_without_a_checkpoint_there_is_no_dataset(drawn_case: Any, tmp_path: Path) -> None:
    torch.save({"model": filled(mae_shapes(32, 1, patch=6))}, tmp_path / "mae.pth")
    for init in ("mae.pth", None):
        file = write(tmp_path, drawn_case, init=init, dataset="aic")
        with pytest.raises(ConfigError, match=r"names a dataset \(aic\), but starts from no pose.*Remove dataset"):
            train(config=file, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_resume_needs_a_run_and_excludes_overwrite(drawn_case: Any, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case)
    with pytest.raises(ConfigError, match="goes on with what --overwrite removes"):
        train(config=file, out=tmp_path / "out", resume=True, overwrite=True)
    with pytest.raises(InputError, match="out: holds no run to resume"):
        train(config=file, out=tmp_path / "out", resume=True)
    assert not (tmp_path / "out").exists()


def test_fresh_heads_on_a_trained_encoder(drawn_case: Any, tiny_weights: Path, tmp_path: Path) -> None:
    """Keypoints that the checkpoint never had; its encoder is where the training starts."""
    arms = map_(drawn_case.folder / "labelled", to=skeleton_of_arms(tmp_path), out=tmp_path / "arms")
    data = [{"manifest": str(arms.path)}]
    settings = {"training": {**TRAINING, "steps": 1, "learning_rate": 1e-9}, "init": str(tiny_weights)}
    with pytest.raises(SkeletonError):
        train(config=write(tmp_path, drawn_case, data=data, model=None, **settings), out=tmp_path / "kept")
    file = write(tmp_path, drawn_case, data=data, model={"presence": True}, heads="new", **settings)
    tuned = load_model(train(config=file, out=tmp_path / "new").checkpoint)
    before = load_model(tiny_weights)
    assert tuned.skeleton.keypoints == ("left_wrist", "right_wrist") and tuned.config.presence
    for name, tensor in before.state_dict().items():
        if not name.startswith("keypoint_heads."):
            assert torch.allclose(tuned.state_dict()[name], tensor, atol=1e-6), name


def skeleton_of_arms(folder: Path) -> Path:
    arms = Skeleton("arms", ("left_wrist", "right_wrist"), (), (1, 0), (0.06, 0.06), "test")
    (folder / "arms.json").write_text(json.dumps(arms.to_dict()))
    return folder / "arms.json"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"heads": "new"}, 'heads = "new" replaces those of a pose network'),
        ({"heads": "old"}, "heads"),
        ({"data": [{"manifest": "labelled"}, {"manifest": "test", "dataset": "b"}]}, "for some of its data"),
        ({"data": [{"manifest": "labelled", "dataset": "a"}], "model": {"datasets": ["a"]}}, "names datasets in"),
    ],
)
def test_heads_and_datasets_that_contradict(drawn_case: Any, tmp_path: Path, tables: Any, message: str) -> None:
    for part in tables.get("data", ()):
        part["manifest"] = str(drawn_case.folder / part["manifest"])
    with pytest.raises(ConfigError, match=message):
        train(config=write(tmp_path, drawn_case, **tables), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_datasets_with_experts(drawn_case: Any, tmp_path: Path) -> None:
    """A decoder and an expert for each dataset, from a file; each answers alone as it does in the whole."""
    arms = map_(drawn_case.folder / "labelled", to=skeleton_of_arms(tmp_path), out=tmp_path / "arms")
    data = [
        {"manifest": str(drawn_case.folder / "labelled"), "dataset": "body"},
        {"manifest": str(arms.path), "dataset": "arms", "share": 0.5},
    ]
    network = {**NETWORK, "expert_width": 8}
    file = write(tmp_path, drawn_case, data=data, validation=data, model=network)
    result = train(config=file, out=tmp_path / "out")
    whole = load_model(result.checkpoint)
    assert (whole.config.datasets, whole.num_experts) == (("body", "arms"), 2)
    assert {"best_validation_pck_body", "best_validation_pck_arms"} <= set(result.metrics)
    alone = load_model(result.checkpoint, "arms")
    assert (alone.skeleton.num_keypoints, alone.num_experts) == (2, 0)


def test_two_processes_have_the_losses_of_one(drawn_case: Any, tmp_path: Path) -> None:
    """The same command, started twice: each works on half of every batch, and every crop is what it was."""
    network = {**NETWORK, "drop_path": 0.0, "presence": True}
    recipe = {
        **TRAINING,
        "log_every": 1,
        "accumulate": 2,
        "ema": 0.9,
        "validate_every": 2,
        "augmentation": {"truncation": 0.5, "colour": 0.2, "cutout": 0.5},
    }
    held = [{"manifest": str(drawn_case.folder / "calibration")}]
    config = write(tmp_path, drawn_case, model=network, training=recipe, validation=held)
    losses: dict[int, list[float]] = {}
    validated: dict[int, list[float]] = {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        records = run_in_processes("train", config, out, processes)
        losses[processes] = [record["loss"] for record in records]
        validated[processes] = [record["validation_loss"] for record in records if "validation_loss" in record]
        assert load_model(out).config.presence
        assert (out / "crops.png").is_file() and (out / "curves.png").is_file()
    assert len(losses[1]) == 4
    assert losses[2] == pytest.approx(losses[1], abs=1e-5, rel=1e-5)
    assert len(validated[1]) == 2
    assert validated[2] == pytest.approx(validated[1], abs=1e-5, rel=1e-5)
