"""The loop teaches, goes on after a kill bit by bit as if there had been none, and says when it cannot."""

import json
import math
import re
import resource
import weakref

import numpy as np
import pytest
import torch

from autolabel.errors import CheckpointError, ConfigError, WorkError
from autolabel.progress import SILENT
from model.recipe import Training
from model.train import LAST, LAST_GOOD, Data, _Loop, train
from model.train_processes import accelerator_of
from model.training_state import METRICS, STATE, Average
from tests.doubles import Recorder, Stopped
from tests.model.line import Fit, Line


def recipe(**changes):
    given = {"steps": 12, "batch_size": 8, "learning_rate": 1e-2, "warmup_steps": 3, "log_every": 4, "save_every": 5}
    return Training(**{**given, "precision": "fp32", "device": "cpu", **changes})


def run(out, fit=None, how=None, *, line=None, **more):
    fit, line = fit or Fit(), line or Line()
    data = Data(line, [1.0] * len(line.sizes))
    return fit, train(fit, data, how or recipe(), out, identity={}, **more)


def lines(out):
    return [json.loads(line) for line in (out / METRICS).read_text().splitlines()]


def timeless(records):
    return [{name: value for name, value in record.items() if name != "crops_per_second"} for record in records]


def weights(fit):
    return torch.cat([tensor.flatten() for tensor in fit.network.state_dict().values()])


def saved(folder):
    return json.loads((folder / "line.json").read_text())


def test_the_loss_falls_and_the_network_is_saved(tmp_path) -> None:
    fit, last = run(tmp_path, how=recipe(steps=60, log_every=10, learning_rate=3e-2))
    records = lines(tmp_path)
    assert [record["step"] for record in records] == [10, 20, 30, 40, 50, 60]
    assert records[-1] == last == saved(tmp_path)["metrics"]
    assert last["loss"] < 0.5 * records[0]["loss"]
    assert last["size"] > 0 and last["crops_per_second"] > 0
    assert not fit.network.training
    assert saved(tmp_path)["tensors"]["0.bias"] == fit.network.state_dict()["0.bias"].tolist()
    assert not (tmp_path / LAST).exists()
    state = torch.load(tmp_path / STATE, weights_only=True)
    assert state["step"] == 60, "until the result is recorded, nothing has to be done again"
    again, end = run(tmp_path, Fit(seed=5), how=recipe(steps=60, log_every=10, learning_rate=3e-2))
    assert timeless([end]) == timeless([last]) and torch.equal(weights(again), weights(fit)) and not again.seen


@pytest.mark.parametrize("stopped", [3, 7, 11])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(tmp_path, stopped) -> None:
    """Dropout, two sources, an average, slices, validations: everything that is random or remembered."""
    line = Line([5, 9])
    how = recipe(ema=0.9, accumulate=3, log_every=2, validate_every=3, patience=9)
    fits = {name: Fit() for name in ("whole", "stopped")}

    def validate(network):
        return {"score": network[0].weight.sum().item()}

    ends = {"whole": run(tmp_path / "whole", fits["whole"], how, line=line, validate=validate)[1]}
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", fits["stopped"], how, line=line, validate=validate, progress=Recorder(stopped))
    assert (tmp_path / "stopped" / STATE).exists() == (stopped > 5)
    with (tmp_path / "stopped" / METRICS).open("a") as file:
        file.write('{"step": 99, "lo')  # the half line that a kill can leave
    resumed = Fit(seed=1 if stopped > 5 else 0)  # what it started from is in the state too, if there is one
    ends["stopped"] = run(tmp_path / "stopped", resumed, how, line=line, validate=validate)[1]
    assert torch.equal(weights(resumed), weights(fits["whole"]))
    assert timeless([ends["stopped"]]) == timeless([ends["whole"]])
    assert timeless(lines(tmp_path / "stopped")) == timeless(lines(tmp_path / "whole"))
    for folder in (".", LAST):
        one, other = (saved(tmp_path / name / folder) for name in ("stopped", "whole"))
        assert one["tensors"] == other["tensors"]


def test_the_seed_decides(tmp_path) -> None:
    ends = [weights(run(tmp_path / name, how=recipe(seed=seed))[0]) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("slices", [2, 3, 8])
def test_slices_give_the_gradient_of_the_whole(tmp_path, slices) -> None:
    """Sizes that do not divide too; dropout aside, which draws for each slice."""

    def fit():
        line = Fit()
        line.network[1].p = 0.0
        return line

    whole = run(tmp_path / "whole", fit())[0]
    sliced = run(tmp_path / "sliced", fit(), recipe(accumulate=slices))[0]
    assert torch.allclose(weights(whole), weights(sliced), atol=1e-6)
    assert not torch.equal(weights(Fit()), weights(sliced))
    assert set(sliced.seen) == {len(range(part, 8, slices)) for part in range(slices)}
    one, other = (timeless(lines(tmp_path / name)) for name in ("whole", "sliced"))
    assert [r["loss"] for r in one] == pytest.approx([r["loss"] for r in other], abs=1e-6)


def test_the_average_is_what_is_saved(tmp_path) -> None:
    """Against the recurrence: e <- d e + (1 - d) w, with timm's d = min(ema, 1 - (1 + n)^(-2/3)), 0 at first."""
    seen = []

    class Watched(Average):
        def update(self, network, step):
            super().update(network, step)
            seen.append(network.state_dict()["0.weight"].clone())

    fit = Fit()
    average = Watched(fit.network, 0.8)
    for step in range(6):
        with torch.no_grad():
            fit.network[0].weight.add_(step + 1.0)
        average.update(fit.network, step)
    expected = seen[0]
    for n in range(1, 6):
        decay = min(0.8, 1 - (1 + n) ** (-2 / 3))
        expected = decay * expected + (1 - decay) * seen[n]
    assert torch.allclose(average.network.state_dict()["0.weight"], expected, atol=1e-5)

    fit, _ = run(tmp_path, how=recipe(ema=0.9))
    kept = torch.tensor(saved(tmp_path)["tensors"]["0.weight"])
    assert not torch.allclose(kept, fit.network.state_dict()["0.weight"], atol=1e-4)


# ---- validation


def test_the_best_network_is_kept_and_the_last_one_beside_it(tmp_path) -> None:
    scores = iter([0.1, 0.5, 0.3, 0.4])
    kept = []

    def validate(network):
        kept.append(network[0].bias.tolist())
        assert not network.training
        return {"score": next(scores), "pck": 0.25}

    fit, last = run(tmp_path, how=recipe(validate_every=3), validate=validate)
    assert saved(tmp_path)["tensors"]["0.bias"] == kept[1]
    assert saved(tmp_path)["metrics"] == {"step": 6, "validation_score": 0.5, "validation_pck": 0.25}
    assert saved(tmp_path / LAST)["tensors"]["0.bias"] == kept[3] == fit.network[0].bias.tolist()
    assert (last["step"], last["validation_score"]) == (12, 0.4)
    assert (last["best_step"], last["best_validation_score"]) == (6, 0.5)
    assert [record.get("validation_score") for record in lines(tmp_path)] == [0.1, None, 0.5, None, 0.3, 0.4]


def test_training_stops_when_nothing_gets_better(tmp_path) -> None:
    scores = iter([0.1, 0.5, 0.3, 0.5, 0.9])
    how = recipe(validate_every=2, patience=2, steps=40)
    _, last = run(tmp_path, how=how, validate=lambda _: {"score": next(scores)})
    assert last["step"] == 8, "two validations after the best one; as good is not better"
    assert last["best_step"] == 4


# ---- the recipe


def test_rates_reach_the_optimizer(tmp_path) -> None:
    how = recipe(log_every=1)
    run(tmp_path, how=how)
    assert [record["learning_rate"] for record in lines(tmp_path)] == [how.rate(step) for step in range(12)]


def test_a_groups_factor_is_in_the_step(tmp_path) -> None:
    """AdamW's first step moves every weight by its rate, whatever the gradient."""
    how = recipe(steps=1, learning_rate=1e-3, warmup_steps=0, layer_decay=0.5, weight_decay=0.0)
    fit, _ = run(tmp_path, how=how)
    assert (weights(fit) - weights(Fit())).abs().max().item() == pytest.approx(5e-4, rel=0.01)


def test_betas_are_the_optimizers(tmp_path) -> None:
    with pytest.raises(Stopped):
        run(tmp_path, how=recipe(betas=(0.9, 0.95)), progress=Recorder(7))
    state = torch.load(tmp_path / STATE, weights_only=True)
    assert state["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.95)


# ---- refusals


def test_a_loss_that_is_no_number_names_its_images_and_keeps_the_network_before(tmp_path) -> None:
    line, how = Line(bad=[13]), recipe(save_every=3, batch_size=2, log_every=1)
    with pytest.raises(WorkError, match=r"loss is no number at step \d+, whose crops are of .*Lower|lower") as error:
        run(tmp_path, how=how, line=line)
    assert error.value.exit_code == 1
    assert "13.jpg" in str(error.value)
    step = int(re.findall(r"at step (\d+)", str(error.value))[0])
    assert [record["step"] for record in lines(tmp_path)] == list(range(1, step))
    assert all(math.isfinite(record["loss"]) for record in lines(tmp_path))
    kept = saved(tmp_path / LAST_GOOD)
    assert kept["metrics"]["step"] == step - 1
    # The same steps with the image repaired have the same weights before that step.
    before = run(tmp_path / "whole", how=recipe(steps=step - 1, batch_size=2, log_every=1, schedule="steps"))[0]
    steps_only = Fit()
    with pytest.raises(WorkError):
        run(tmp_path / "steps", steps_only, how.model_copy(update={"schedule": "steps"}), line=line)
    assert saved(tmp_path / "steps" / LAST_GOOD)["tensors"]["0.bias"] == before.network[0].bias.tolist()
    assert not (tmp_path / "line.json").exists()


@pytest.mark.parametrize(("factor", "steps_survived"), [(4.0, 3), (65536.0, 17)])
def test_a_gradient_that_stays_no_number_ends_a_training_in_half_precision(tmp_path, factor, steps_survived) -> None:
    """Overflow is excused while the scaler has something to halve: a factor of 4 is 2, then 1, then 1/2."""

    class Endless(Fit):
        def losses(self, outputs, drawn):
            # Its value is 0, its slope infinite times 0.
            return {"loss": (outputs[:, 0] * 0).abs().sqrt().mean()}

    fit, how = Endless(), recipe(steps=30, log_every=1)
    accelerator = accelerator_of("cpu", "fp32")
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=factor)
    loop = _Loop(fit, Data(Line(), [1.0]), how, tmp_path, {}, None, accelerator)
    with pytest.raises(WorkError, match=rf"no number at step {steps_survived + 1}, whose crops are of which the loss"):
        loop.run(SILENT)
    assert all(math.isfinite(value) for value in np.ravel(saved(tmp_path / LAST_GOOD)["tensors"]["0.bias"]))


def test_a_batch_that_does_not_fit_is_answered_with_one_that_would(tmp_path) -> None:
    with pytest.raises(WorkError, match=r"memory with 8 crops at once.* 2 at once would fit: set accumulate = 4"):
        run(tmp_path / "a", Fit(room=3))
    with pytest.raises(WorkError, match=r"out of memory with 8.*Not even one fits.*checkpoint_activations"):
        run(tmp_path / "b", Fit(room=0))
    run(tmp_path / "c", Fit(room=3), recipe(accumulate=4))


def test_what_would_fit_is_tried_without_what_did_not(tmp_path) -> None:
    """Nothing of the failed attempt is alive any more, whose memory the others need."""
    alive: list[bool] = []
    failed: list[weakref.ref] = []

    class Crowded(Fit):
        def losses(self, outputs, drawn):
            alive.extend(reference() is not None for reference in failed)
            if len(outputs) > 2:
                failed.append(weakref.ref(outputs))
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().losses(outputs, drawn)

    with pytest.raises(WorkError, match="2 at once would fit"):
        run(tmp_path, Crowded())
    assert len(alive) >= 2 and not any(alive)


def test_slices_may_not_be_empty(tmp_path) -> None:
    with pytest.raises(ConfigError, match="accumulate"):
        Training.parse({"batch_size": 4, "accumulate": 5}, subject="training")


def test_a_full_disk_leaves_the_older_state(tmp_path) -> None:
    with pytest.raises(Stopped):
        run(tmp_path, progress=Recorder(7))
    before = (tmp_path / STATE).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(WorkError, match=r"state\.pt: cannot be written; the older one stays.*Make room"):
            run(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / STATE).read_bytes() == before
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".*.tmp"))
    assert run(tmp_path)[1]["step"] == 12


@pytest.fixture
def stopped(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path, progress=Recorder(7))
    return tmp_path


def test_a_state_of_another_recipe_is_refused(stopped) -> None:
    with pytest.raises(CheckpointError, match=r"state\.pt: belongs to another recipe.*--overwrite"):
        run(stopped, how=recipe(steps=20))


def test_a_state_of_another_network_is_refused(stopped) -> None:
    with pytest.raises(CheckpointError, match="belongs to another network"):
        train(Fit(), Data(Line(), [1.0]), recipe(), stopped, identity={"network": {"width": 4}})


def test_damaged_metrics_do_not_end_a_resumption(stopped) -> None:
    before = lines(stopped)
    with (stopped / METRICS).open("ab") as file:
        file.write(b"\0\0\0\n[3]\n{}\n\xff\n")
    run(stopped)
    assert timeless(lines(stopped))[: len(before)] == timeless(before)
    assert [record["step"] for record in lines(stopped)] == [4, 8, 12]


@pytest.mark.parametrize("part", ["network", "optimizer", "standing", "step"])
def test_a_state_that_lacks_a_part_is_told(stopped, part) -> None:
    state = torch.load(stopped / STATE, weights_only=True)
    del state[part]
    torch.save(state, stopped / STATE)
    with pytest.raises(CheckpointError, match=r"state\.pt: is damaged"):
        run(stopped)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all"])
def test_a_damaged_state_is_told(stopped, content) -> None:
    (stopped / STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.pt: is damaged.*--overwrite"):
        run(stopped)


def test_a_state_with_a_hole_is_told(stopped) -> None:
    content = bytearray((stopped / STATE).read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    (stopped / STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.pt: is damaged"):
        run(stopped)
