"""``train`` as its TOML file says."""

import json
from pathlib import Path

import pytest

from autolabel.errors import ConfigError, ExistsError, InputError
from model.checkpoint import load_model, model_digest
from pipelines.drawn_corpus import draw_corpus
from pipelines.train import train

RECIPE = """
data = [{{ manifest = "drawn/truth" }}]
init = "{init}"
{model}
[training]
steps = {steps}
batch_size = 2
warmup_steps = 1
log_every = 1
precision = "fp32"
"""
MODEL = (
    '[model]\ninput_size = [48, 32]\nwidth = 32\ndepth = 1\nheads = 2\ndecoder = "simple"\ndrop_path = 0.0\n'
    "absent_below = 0.2"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw_corpus(tmp_path / "drawn", images=3, seed=1)
    (tmp_path / "t.toml").write_text(RECIPE.format(init="", model=MODEL, steps=2))
    return tmp_path


def test_a_checkpoint_comes_out_and_fine_tuning_starts_from_it(folder: Path) -> None:
    result = train(config=folder / "t.toml", out=folder / "a")
    assert result.metrics["step"] == 2
    assert load_model(folder / "a").config.absent_below == 0.2
    assert len((folder / "a" / "metrics.jsonl").read_text().splitlines()) == 2
    digest = model_digest(folder / "a")
    (folder / "f.toml").write_text(RECIPE.format(init="a", model="", steps=1))
    train(config=folder / "f.toml", out=folder / "b")
    assert model_digest(folder / "b") != digest == model_digest(folder / "a")
    assert json.loads((folder / "b" / "run.json").read_text())["inputs"]["init"] == digest


def test_the_same_again_does_nothing_and_another_recipe_is_refused(folder: Path) -> None:
    train(config=folder / "t.toml", out=folder / "a")
    written = (folder / "a" / "model.safetensors").stat().st_mtime_ns
    assert train(config=folder / "t.toml", out=folder / "a", resume=True).metrics["step"] == 2
    assert (folder / "a" / "model.safetensors").stat().st_mtime_ns == written
    (folder / "t.toml").write_text(RECIPE.format(init="", model=MODEL, steps=3))
    with pytest.raises(ExistsError, match="another run"):
        train(config=folder / "t.toml", out=folder / "a")
    assert train(config=folder / "t.toml", out=folder / "a", overwrite=True).metrics["step"] == 3


def test_what_is_wrong_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="no run to resume"):
        train(config=folder / "t.toml", out=folder / "new", resume=True)
    (folder / "t.toml").write_text(RECIPE.format(init="", model=MODEL, steps=2) + "warmup_step = 3\n")
    with pytest.raises(ConfigError, match="Did you mean 'warmup_steps'"):
        train(config=folder / "t.toml", out=folder / "a")
    (folder / "t.toml").write_text(RECIPE.format(init="drawn", model=MODEL, steps=2))
    with pytest.raises(InputError):
        train(config=folder / "t.toml", out=folder / "c")
