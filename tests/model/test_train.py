"""Training teaches, goes on after a kill bit by bit as if there had been none, and says when it cannot."""

import json
import math

import pytest
import torch

from autolabel.errors import CheckpointError, ConfigError, InputError, SkeletonError, WorkError
from autolabel.skeleton import Skeleton
from model.augment import Augmentation
from model.checkpoint import load_model
from model.config import ViTPoseConfig
from model.train import METRICS, STATE, Source, Training, make_optimizer, train
from model.vitpose import build_vitpose
from tests.doubles import Recorder, Stopped


def network(dots, seed=0, **changes):
    given = {"input_size": (64, 48), "patch_size": 8, "width": 32, "depth": 2, "heads": 2, "deconv_channels": 16}
    torch.manual_seed(seed)
    return build_vitpose(ViTPoseConfig(**{**given, "drop_path": 0.2, **changes}), dots.skeleton)


def recipe(**changes):
    given = {"steps": 12, "batch_size": 4, "learning_rate": 2e-3, "warmup_steps": 3, "log_every": 4, "save_every": 5}
    return Training(**{**given, "precision": "fp32", "device": "cpu", **changes})


def lines(out):
    return [json.loads(line) for line in (out / METRICS).read_text().splitlines()]


def timeless(records):
    return [{name: value for name, value in record.items() if name != "crops_per_second"} for record in records]


def same(a, b):
    one, two = a.state_dict(), b.state_dict()
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)


def test_the_loss_falls_and_dots_are_found(dots, tmp_path) -> None:
    manifest = dots.manifest("people", 16, sides=(50, 90))
    still = Augmentation(rotation=10, scale=0.1, flip=0)  # a dot's colour does not change in the mirror
    how = recipe(steps=160, batch_size=8, learning_rate=4e-3, log_every=40, augmentation=still)
    last = train(network(dots, drop_path=0.0), [Source(manifest)], how, tmp_path / "out")
    records = lines(tmp_path / "out")
    assert [record["step"] for record in records] == [40, 80, 120, 160]
    assert records[-1] == last
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    assert records[-1]["pck"] > 0.6 > records[0]["pck"]


def test_the_folder_holds_the_network_that_was_trained(dots, tmp_path) -> None:
    model = network(dots)
    last = train(model, [Source(dots.manifest("people", 4))], recipe(), tmp_path / "out")
    assert not model.training
    assert same(load_model(tmp_path / "out"), model)
    assert not same(network(dots), model)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "config.json",
        "model.safetensors",
        "skeleton.json",
        METRICS,
    }
    described = json.loads((tmp_path / "out" / "config.json").read_text())
    assert described["metrics"] == last


@pytest.mark.parametrize("stopped", [3, 7, 11])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(dots, tmp_path, stopped) -> None:
    """Stochastic depth, batch norm, two sources and colour: everything that is random or remembered."""
    sources = [Source(dots.manifest("one", 5), 3.0), Source(dots.manifest("two", 4, seed=1), 1.0)]
    how = recipe(augmentation=Augmentation(colour=0.2), layer_decay=0.8, log_every=2)
    whole = network(dots)
    train(whole, sources, how, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(network(dots), sources, how, tmp_path / "stopped", progress=Recorder(stopped))
    assert (tmp_path / "stopped" / STATE).exists() == (stopped > 5)
    with (tmp_path / "stopped" / METRICS).open("a") as file:
        file.write('{"step": 99, "lo')  # the half line that a kill can leave
    # What it started from is in the state too, if there is one.
    resumed = network(dots, seed=1 if stopped > 5 else 0)
    train(resumed, sources, how, tmp_path / "stopped")
    assert same(resumed, whole)
    assert timeless(lines(tmp_path / "stopped")) == timeless(lines(tmp_path / "whole"))
    assert not (tmp_path / "stopped" / STATE).exists()


def test_the_seed_decides(dots, tmp_path) -> None:
    sources = [Source(dots.manifest("people", 5))]
    runs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        runs.append(network(dots))
        train(runs[-1], sources, recipe(steps=3, seed=seed), tmp_path / name)
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_mixed_precision_ends_with_the_training(dots, tmp_path) -> None:
    """The network computes in fp32 again afterwards, and the process may train in another precision."""
    sources = [Source(dots.manifest("people", 4))]
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    ends = []
    for precision in ("fp32", "bf16", "fp32"):
        model = network(dots)
        train(model, sources, recipe(precision=precision, steps=4), tmp_path / f"out{len(ends)}")
        with torch.inference_mode():
            assert torch.equal(model(images), load_model(tmp_path / f"out{len(ends)}")(images))
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        ends.append(model)
    assert same(ends[0], ends[2])
    assert not same(ends[0], ends[1]), "bf16 was bf16"


# ---- the recipe


def test_learning_rates() -> None:
    how = Training(steps=110, warmup_steps=10, learning_rate=1.0)
    assert how.rate(0) == 0.1
    assert how.rate(9) == how.rate(10) == 1.0
    assert how.rate(35) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))
    assert how.rate(60) == pytest.approx(0.5)
    assert 0 < how.rate(109) < 1e-3
    assert Training(steps=10, warmup_steps=0, learning_rate=1.0).rate(0) == 1.0
    assert Training(steps=5, warmup_steps=10, learning_rate=1.0).rate(4) == 0.5, "all of it warm-up"


def test_rates_reach_the_optimizer(dots, tmp_path) -> None:
    train(network(dots), [Source(dots.manifest("people", 4))], recipe(log_every=1), tmp_path / "out")
    how = recipe()
    assert [record["learning_rate"] for record in lines(tmp_path / "out")] == [how.rate(step) for step in range(12)]


def test_layers_decay_as_official(dots) -> None:
    """``vitpose.md`` 4.2: rate^(L + 1 - id); the stem is 0, block i is i + 1, the rest L + 1; no decay of 1-D."""
    model = network(dots, depth=3)
    groups = make_optimizer(model, recipe(layer_decay=0.75, weight_decay=0.1)).param_groups
    found = {parameter: group for group in groups for parameter in group["params"]}
    assert len(found) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        layer = 4
        if name.startswith(("patch_embed", "pos_embed")):
            layer = 0
        elif name.startswith("blocks."):
            layer = int(name.split(".")[1]) + 1
        assert found[parameter]["lr_scale"] == pytest.approx(0.75 ** (4 - layer)), name
        decays = parameter.ndim > 1 and name != "pos_embed"
        assert found[parameter]["weight_decay"] == (0.1 if decays else 0.0), name


def test_the_layers_factor_is_in_the_step(dots, tmp_path) -> None:
    """AdamW's first step moves every weight by its rate (plus decay), whatever the gradient."""
    model, before = network(dots), network(dots)
    how = recipe(steps=1, learning_rate=1e-3, warmup_steps=0, layer_decay=0.1, weight_decay=0.0)
    train(model, [Source(dots.manifest("people", 4))], how, tmp_path / "out")
    moved = {
        name: (parameter - before.get_parameter(name)).abs().max().item()
        for name, parameter in model.named_parameters()
    }
    assert moved["keypoint_heads.0.final_layer.weight"] == pytest.approx(1e-3, rel=0.05)
    assert moved["blocks.1.mlp.fc2.weight"] == pytest.approx(1e-4, rel=0.05)
    assert moved["blocks.0.mlp.fc2.weight"] == pytest.approx(1e-5, rel=0.05)
    assert moved["patch_embed.proj.weight"] == pytest.approx(1e-6, rel=0.2)


# ---- refusals


def test_a_loss_that_is_no_number_ends_the_run(dots, tmp_path) -> None:
    sources = [Source(dots.manifest("people", 4))]
    how = recipe(learning_rate=1e30, warmup_steps=0, log_every=3, save_every=2)
    with pytest.raises(WorkError, match=r"the loss is (nan|inf) at step \d.*Lower the learning rate") as error:
        train(network(dots), sources, how, tmp_path / "out")
    assert error.value.exit_code == 1
    assert all(math.isfinite(record["loss"]) for record in lines(tmp_path / "out"))
    assert not (tmp_path / "out" / STATE).exists() and not (tmp_path / "out" / "model.safetensors").exists()


@pytest.fixture
def stopped(dots, tmp_path):
    sources = [Source(dots.manifest("people", 4))]
    with pytest.raises(Stopped):
        train(network(dots), sources, recipe(), tmp_path / "out", progress=Recorder(7))
    return sources


def test_a_state_of_another_network_is_refused(dots, tmp_path, stopped) -> None:
    with pytest.raises(CheckpointError, match=r"state\.pt: belongs to another network.*--overwrite"):
        train(network(dots, width=48), stopped, recipe(), tmp_path / "out")


def test_a_state_of_another_recipe_is_refused(dots, tmp_path, stopped) -> None:
    with pytest.raises(CheckpointError, match="belongs to another recipe"):
        train(network(dots), stopped, recipe(steps=20), tmp_path / "out")


def test_a_damaged_state_is_told(dots, tmp_path, stopped) -> None:
    state = tmp_path / "out" / STATE
    whole = state.read_bytes()
    for data in (b"", whole[: len(whole) // 2], b"something else"):
        state.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"state\.pt: is damaged"):
            train(network(dots), stopped, recipe(), tmp_path / "out")


def test_what_cannot_be_trained_on_is_refused_before_anything_is_made(dots, tmp_path) -> None:
    people = dots.manifest("people", 2)
    other = Skeleton("other", ("a", "b", "c"), (), (0, 1, 2), (0.05,) * 3, "test")
    with pytest.raises(SkeletonError):
        train(build_vitpose(network(dots).config, other), [Source(people)], recipe(), tmp_path / "out")
    unlabelled = dots.manifest("unlabelled", 2, visibility=[0, 0, 0])
    with pytest.raises(InputError, match="no labelled pose"):
        train(network(dots), [Source(people), Source(unlabelled)], recipe(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("field", "value"), [("seed", -1), ("layer_decay", 0), ("precision", "fp8"), ("steps", 0)])
def test_impossible_settings_are_refused(field, value) -> None:
    with pytest.raises(ConfigError, match=field):
        Training.parse({field: value}, subject="test")
