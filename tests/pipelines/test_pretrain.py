"""Pre-training from a file: mistakes are named before anything is written; a supervised training starts from it."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from autolabel.errors import ConfigError, ExistsError, InputError
from autolabel.project import to_toml
from autolabel.report.training_plots import CURVES
from autolabel.run import RECORD
from autolabel.skeleton import Skeleton
from model.checkpoint import load_model
from model.encoders import find_encoder
from model.tensor_files import read_tensors
from pipelines.pretrain import PICTURE, REFUSED, pretrain
from pipelines.train import train
from pipelines.train_begin import beginning
from tests.doubles import Recorder, Stopped, stop
from tests.pipelines.job import run_in_processes
from tests.pipelines.test_train import encoder_folder

NETWORK = {"input_size": [32, 24], "patch_size": 8, "width": 32, "depth": 1, "heads": 2}
TRAINING = {"steps": 4, "batch_size": 4, "precision": "fp32", "device": "cpu", "save_every": 2}
MASKING = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}


def write(folder: Path, drawn_case: Any, name: str = "pretrain.toml", **tables: Any) -> Path:
    content = {
        "data": [{"manifest": str(drawn_case.folder / "pool")}],
        "model": NETWORK,
        "training": TRAINING,
        "pretraining": MASKING,
        **tables,
    }
    file = folder / name
    file.write_text(to_toml({name: value for name, value in content.items() if value is not None}))
    return file


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors(folder / "model.safetensors", "encoder")[0]


def test_an_encoder_is_pretrained_as_the_file_says(drawn_case: Any, tmp_path: Path) -> None:
    result = pretrain(config=write(tmp_path, drawn_case), out=tmp_path / "out")
    assert result.metrics["step"] == 4 and result.metrics["refused"] == 0
    assert result.summary()["checkpoint"] == tmp_path / "out"
    files = {file.name for file in (tmp_path / "out").iterdir() if not file.name.startswith(".")}
    encoder = {"model.safetensors", "config.json", "metrics.jsonl", PICTURE, CURVES}
    assert files == encoder | {RECORD, "done.json", "run.log"}
    with Image.open(tmp_path / "out" / PICTURE) as picture:
        assert picture.width > 600 and picture.height > 400
    before = tensors(tmp_path / "out")
    assert pretrain(config=tmp_path / "pretrain.toml", out=tmp_path / "out", resume=True).metrics == result.metrics
    torch.testing.assert_close(tensors(tmp_path / "out"), before, rtol=0, atol=0)


def test_a_training_starts_from_it(drawn_case: Any, tmp_path: Path) -> None:
    """With no step that changes anything, exactly its tensors are there."""
    out = pretrain(config=write(tmp_path, drawn_case), out=tmp_path / "encoder").checkpoint
    still = {**TRAINING, "steps": 1, "warmup_steps": 0, "learning_rate": 1e-30, "weight_decay": 0.0}
    supervised = {
        "data": [{"manifest": str(drawn_case.folder / "labelled")}],
        "init": "encoder",
        "training": still,
        "pretraining": None,
    }
    file = write(tmp_path, drawn_case, "train.toml", **supervised, model={**NETWORK, "decoder": "simple"})
    found = load_model(train(config=file, out=tmp_path / "trained").checkpoint).state_dict()
    for name, tensor in tensors(out).items():  # AdamW moves by the rate even what was 0
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-29, msg=name)
    refused = write(tmp_path, drawn_case, "train.toml", **supervised, model={**NETWORK, "heads": 4})
    with pytest.raises(InputError, match=r"has 2 attention heads, the network 4\. Set heads = 2 in \[model\]"):
        train(config=refused, out=tmp_path / "other")


@pytest.mark.parametrize("stopped", [1, 3])
def test_a_run_that_stopped_goes_on(drawn_case: Any, tmp_path: Path, stopped: int) -> None:
    file = write(tmp_path, drawn_case)
    pretrain(config=file, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        pretrain(config=file, out=tmp_path / "stopped", progress=Recorder(after=stopped))
    pretrain(config=file, out=tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "state.pt").exists()
    torch.testing.assert_close(tensors(tmp_path / "stopped"), tensors(tmp_path / "whole"), rtol=0, atol=0)


def test_images_without_boxes_and_several_sources(drawn_case: Any, tmp_path: Path) -> None:
    data = [
        {"manifest": str(drawn_case.folder / "pool"), "crops": "images", "share": 3.0},
        {"manifest": str(drawn_case.folder / "labelled"), "crops": "people"},
    ]
    out = pretrain(config=write(tmp_path, drawn_case, data=data), out=tmp_path / "out").checkpoint
    record = json.loads((out / RECORD).read_text())
    assert record["config"]["crops"] == ["images", "people"] and record["config"]["shares"] == [3.0, 1.0]


def test_it_goes_on_from_an_encoder(drawn_case: Any, tmp_path: Path) -> None:
    first = pretrain(config=write(tmp_path, drawn_case), out=tmp_path / "first").checkpoint
    still = {**TRAINING, "learning_rate": 1e-30, "weight_decay": 0.0}
    file = write(tmp_path, drawn_case, init="first", training=still)
    second = pretrain(config=file, out=tmp_path / "second").checkpoint
    torch.testing.assert_close(tensors(second), tensors(first), rtol=0, atol=0)
    assert "init" in json.loads((second / RECORD).read_text())["inputs"]


def test_images_that_cannot_be_read_are_listed(drawn_case: Any, tmp_path: Path) -> None:
    """By a run that is stopped and one that goes on, each once; half a line is what a kill can leave."""
    from autolabel.manifest import Manifest, write_manifest

    pool = Manifest.open(drawn_case.folder / "pool")
    samples = list(pool)
    (tmp_path / "images").mkdir()
    for i, sample in enumerate(samples):
        source = pool.image_path(sample)
        target = tmp_path / "images" / sample.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes()[:99] if i in (1, 4) else source.read_bytes())
    write_manifest(tmp_path / "m", samples, pool.skeleton, dict.fromkeys(pool.roots, tmp_path / "images"), stage="t")
    file = write(tmp_path, drawn_case, data=[{"manifest": "m", "crops": "images"}], training={**TRAINING, "steps": 6})
    with pytest.raises(Stopped):
        pretrain(config=file, out=tmp_path / "out", progress=Recorder(after=5))
    with (tmp_path / "out" / REFUSED).open("a") as lines:
        lines.write('{"image": "ha')
    progress = Recorder()
    result = pretrain(config=file, out=tmp_path / "out", progress=progress)
    assert result.metrics["refused"] == 2
    assert progress.notes[-1].startswith("2 images could not be read")
    whole = [json.loads(line) for line in (tmp_path / "out" / REFUSED).read_text().splitlines() if line.endswith("}")]
    assert sorted(Path(line["image"]).name for line in whole) == sorted(Path(samples[i].path).name for i in (1, 4))
    assert all(line["reason"] for line in whole)


def test_other_settings_need_overwrite(drawn_case: Any, tmp_path: Path) -> None:
    file = write(tmp_path, drawn_case)
    pretrain(config=file, out=tmp_path / "out")
    write(tmp_path, drawn_case, pretraining={**MASKING, "mask_ratio": 0.5})
    with pytest.raises(ExistsError, match="--overwrite"):
        pretrain(config=file, out=tmp_path / "out")
    pretrain(config=file, out=tmp_path / "out", overwrite=True)
    with pytest.raises(ConfigError, match="goes on with what --overwrite removes"):
        pretrain(config=file, out=tmp_path / "out", overwrite=True, resume=True)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"pretrainig": {}}, r"pretrain\.toml: unknown key 'pretrainig'; did you mean 'pretraining'\?"),
        ({"pretraining": {"mask": 0.5}}, r"pretrain\.toml: pretraining: unknown key 'mask'; did you mean 'mask_ratio'"),
        ({"training": {"stpes": 3}}, r"pretrain\.toml: training: unknown key 'stpes'; did you mean 'steps'\?"),
        ({"training": {"patience": 3}}, r"pretrain\.toml: training: patience has no effect in pre-training"),
        ({"model": {**NETWORK, "ratio": 2}}, r"pretrain\.toml: model: ratio 2 cannot be pre-trained"),
        ({"data": [{"manifest": "m", "crops": "boxes"}]}, r"data\.0\.crops: .*'auto', 'people' or 'images'"),
        ({"data": [{"manifest": "nowhere"}]}, "nowhere: not a manifest folder"),
        ({"init": "nowhere"}, "starts from nowhere, which is no encoder.*timm:NAME"),
    ],
)
def test_a_mistake_in_the_file_leaves_nothing_behind(
    drawn_case: Any, tmp_path: Path, tables: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pretrain(config=write(tmp_path, drawn_case, **tables), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_does_not_fit(drawn_case: Any, tmp_path: Path) -> None:
    pretrain(config=write(tmp_path, drawn_case), out=tmp_path / "first")
    assert find_encoder(tmp_path / "first") is not None
    file = write(tmp_path, drawn_case, init="first", model={**NETWORK, "depth": 2})
    with pytest.raises(InputError, match="first: is 32 wide and 1 deep, the network 32 and 2"):
        pretrain(config=file, out=tmp_path / "out")


def dinov3(folder: Path) -> Path:
    """A small one of timm's, as timm would save it."""
    tiny = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 4, "num_classes": 0}
    model = timm.create_model("vit_small_patch16_dinov3", **tiny)
    folder.mkdir()
    described = {"architecture": "vit_small_patch16_dinov3", "num_classes": 0, "model_args": tiny}
    (folder / "config.json").write_text(json.dumps({**described, "pretrained_cfg": {"num_classes": 0}}))
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


def test_a_training_without_a_network_takes_the_encoders_and_tells_its_notes(drawn_case: Any, tmp_path: Path) -> None:
    """Of ``pretrain``'s folder, and of a DINOv3 of timm's, whose rotary positions have no place."""
    out = pretrain(config=write(tmp_path, drawn_case), out=tmp_path / "encoder").checkpoint
    theirs = dinov3(tmp_path / "dinov3")
    for init, heads, notes in ((out, 2, ()), (theirs, 4, ("its rotary positions have no place",))):
        begun = beginning(
            str(init), datasets={"": Skeleton.load("coco17")}, dataset="", network={}, seed=0, subject="train.toml"
        )
        made = begun.make()
        assert (made.config.width, made.config.heads) == (32, heads) and begun.digest
        assert len(begun.notes) == len(notes) and all(note in begun.notes[i] for i, note in enumerate(notes))


def test_pretraining_goes_on_with_what_an_encoder_says_about_itself(drawn_case: Any, tmp_path: Path) -> None:
    """With a key of its own or none: crops of 48x32, unpadded patches of 8 with two heads, as at first."""
    was = json.loads((encoder_folder(tmp_path / "first") / "config.json").read_text())["network"]
    for name, model, changed in (("none", None, {}), ("one", {"box_padding": 1.1}, {"box_padding": 1.1})):
        file = write(tmp_path, drawn_case, init="first", model=model, training={**TRAINING, "steps": 1})
        out = pretrain(config=file, out=tmp_path / name).checkpoint
        assert json.loads((out / "config.json").read_text())["network"] == {**was, **changed}


def test_pretraining_tells_an_encoders_notes(drawn_case: Any, tmp_path: Path) -> None:
    dinov3(tmp_path / "dinov3")
    model = {"input_size": [32, 24], "patch_size": 8}
    progress = Recorder()
    pretrain(
        config=write(tmp_path, drawn_case, init="dinov3", model=model, training={**TRAINING, "steps": 1}),
        out=tmp_path / "out",
        progress=progress,
    )
    assert "dinov3: its rotary positions have no place" in progress.notes[0]


@pytest.mark.parametrize("stops", [False, True])
def test_curves_that_cannot_be_drawn_are_noted(drawn_case: Any, tmp_path: Path, stops: bool) -> None:
    """Neither fails a finished run nor hides why another ended."""

    def obstruct() -> None:
        (tmp_path / "out" / CURVES).mkdir(exist_ok=True)  # no file can take its place
        if stops:
            stop()

    progress = Recorder(after=3, end=obstruct)
    file = write(tmp_path, drawn_case, training={**TRAINING, "log_every": 1})
    with pytest.raises(Stopped) if stops else nullcontext():
        assert pretrain(config=file, out=tmp_path / "out", progress=progress).metrics["step"] == 4
    assert any("could not be drawn" in note for note in progress.notes)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"training": {**TRAINING, "batch_size": 3}}, r"pretrain\.toml: training: batch_size"),
        ({"training": {"stpes": 3}}, r"unknown key 'stpes'"),
        ({"model": {**NETWORK, "ratio": 2}}, "ratio 2 cannot be pre-trained"),
        ({"data": [{"manifest": "nowhere"}]}, "nowhere: not a manifest folder"),
    ],
)
def test_a_mistake_is_told_before_processes_are_started(
    drawn_case: Any, tmp_path: Path, tables: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):  # a process' failure would be a WorkError
        pretrain(config=write(tmp_path, drawn_case, **tables), out=tmp_path / "out", processes=2)
    assert not (tmp_path / "out").exists()


def test_two_processes_have_the_losses_of_one(drawn_case: Any, tmp_path: Path) -> None:
    """The same command, started twice: each works on half of every batch, and every mask is what it was."""
    config = write(tmp_path, drawn_case, training={**TRAINING, "log_every": 1})
    losses: dict[int, list[float]] = {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        losses[processes] = [record["loss"] for record in run_in_processes("pretrain", config, out, processes)]
        assert find_encoder(out) is not None and (out / CURVES).is_file() and not (out / "state.pt").exists()
    assert len(losses[1]) == 4
    assert losses[2] == pytest.approx(losses[1], abs=1e-5, rel=1e-5)
