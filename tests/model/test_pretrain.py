"""Pre-training by the loop: the loss is what is said of it, falls, goes on after a kill, and leaves an encoder."""

import json
import os
from pathlib import Path

import pytest
import torch

from autolabel.errors import CheckpointError, ConfigError
from model.config import ViTPoseConfig
from model.draws import Draws
from model.encoders import find_encoder, start_from_encoder
from model.image_crops import ImageCrops
from model.masked import sine_positions
from model.pretrain import MaskedImages, Pretraining, build_autoencoder, recipe, require_maskable
from model.tensor_files import read_tensors
from model.train import Data, train
from model.training_state import METRICS
from model.vitpose import build_vitpose
from tests.doubles import Recorder, Stopped

CONFIG = ViTPoseConfig.model_validate(
    {"input_size": (32, 32), "patch_size": 8, "width": 32, "depth": 1, "heads": 2, "drop_path": 0.5}
)
MASKING = Pretraining(decoder_width=16, decoder_depth=1, decoder_heads=2)
FEW = {"steps": 8, "batch_size": 4, "precision": "fp32", "device": "cpu", "log_every": 2, "save_every": 3}


def corpus(dots, count=8):
    manifest = dots.manifest("people", count, sides=(50, 90))
    return ImageCrops([manifest], cuts=["auto"], input_size=(32, 32), padding=1.25, area=MASKING.area)


def objective(seed=0, **changes):
    torch.manual_seed(seed)
    given = {"refuse": lambda *_: None, **changes}
    return MaskedImages(build_autoencoder(CONFIG, MASKING), CONFIG, MASKING, **given)


def run(trained, crops, out, progress=None, **changes):
    given = {} if progress is None else {"progress": progress}
    how = recipe({**FEW, **changes}, "test")
    return train(trained, Data(crops, [1.0]), how, out, identity={"network": CONFIG.described()}, **given)


def weights(trained):
    return {name: tensor.clone() for name, tensor in trained.network.state_dict().items()}


# ---- the loss


def test_the_loss_is_of_hidden_patches_only(dots) -> None:
    """By a loop over samples and patches; what is predicted for seen patches does not count."""
    trained = objective()
    drawn = trained.draw(corpus(dots)[range(4)], Draws(0, 0, 4, slice(None)))
    crops, shuffle = drawn.inputs
    patches = trained.network.patches(crops)
    outputs = torch.randn(patches.shape)
    errors = []
    for i in range(4):
        for place in shuffle[i, 4:].tolist():  # of 16 a quarter is seen
            wanted = patches[i, place]
            wanted = (wanted - wanted.mean()) / (wanted.var() + 1e-6).sqrt()
            errors.append(((outputs[i, place] - wanted) ** 2).mean())
    assert len(errors) == 4 * 12
    loss = trained.losses(outputs, drawn)["loss"]
    torch.testing.assert_close(loss, torch.stack(errors).mean())
    for i in range(4):
        outputs[i, shuffle[i, :4]] += 100
    assert torch.equal(trained.losses(outputs, drawn)["loss"], loss)
    outputs[0, shuffle[0, 4]] += 100
    assert trained.losses(outputs, drawn)["loss"] > loss + 100
    assert trained.metrics(outputs, drawn) == {}


def test_slices_draw_what_the_whole_batch_does(dots) -> None:
    trained, batch = objective(), corpus(dots)[range(6)]
    crops, shuffle = trained.draw(batch, Draws(3, 5, 6, slice(None))).inputs
    assert all(sorted(row) == list(range(16)) for row in shuffle.tolist())
    assert len({tuple(row) for row in shuffle.tolist()}) == 6
    for part in (slice(0, 2), slice(1, None, 2), slice(5, 6)):
        found = trained.draw(batch.rows(part), Draws(3, 5, 6, part)).inputs
        assert torch.equal(found[0], crops[part]) and torch.equal(found[1], shuffle[part])
    other = trained.draw(batch, Draws(3, 6, 6, slice(None))).inputs
    assert not torch.equal(other[1], shuffle) and not torch.equal(other[0], crops)


def test_slices_losses_are_the_whole_ones(dots, tmp_path) -> None:
    crops, ends = corpus(dots), []
    for accumulate in (1, 2):
        trained = objective()
        run(trained, crops, tmp_path / str(accumulate), accumulate=accumulate)
        ends.append(weights(trained))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-6)


# ---- training


def test_the_loss_falls(dots, tmp_path) -> None:
    trained = objective()
    run(trained, corpus(dots), tmp_path, steps=80, batch_size=8, learning_rate=3e-3, log_every=40, save_every=500)
    losses = [json.loads(line)["loss"] for line in (tmp_path / METRICS).read_text().splitlines()]
    assert losses[-1] < 0.9 * losses[0] and losses[-1] < 0.9, losses


def test_positions_stay_and_depth_is_not_dropped(dots, tmp_path) -> None:
    trained = objective()
    before = weights(trained)
    run(trained, corpus(dots), tmp_path)
    after = weights(trained)
    unmoved = {name for name in before if torch.equal(before[name], after[name])}
    assert unmoved == {"pos_embed"}
    assert not [module for module in trained.network.modules() if type(module).__name__ == "DropPath"]


@pytest.mark.parametrize("stopped", [2, 5])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(dots, tmp_path, stopped) -> None:
    crops, whole, resumed = corpus(dots), objective(), objective()
    run(whole, crops, tmp_path / "whole")
    with pytest.raises(Stopped):
        run(objective(), crops, tmp_path / "stopped", Recorder(stopped))
    run(resumed, crops, tmp_path / "stopped")
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)


def test_broken_images_do_not_end_it(dots, tmp_path) -> None:
    crops = corpus(dots)
    broken = [dots.folder / f"people-{i}.png" for i in (2, 5)]
    for file in broken:
        file.write_bytes(file.read_bytes()[:200])
    told: list[tuple[str, str]] = []
    run(objective(refuse=lambda image, reason: told.append((image, reason))), crops, tmp_path)
    assert sorted(image[-12:] for image, _ in told) == ["people-2.png", "people-5.png"], "each once"
    assert all(reason for _, reason in told)


# ---- what is left


def test_a_network_starts_from_what_was_trained(dots, tmp_path) -> None:
    crops, shown = corpus(dots), []
    trained = objective(show=lambda folder, made: shown.append((folder, made)), shown=crops[[0, 1, 2]])
    last = run(trained, crops, tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    assert described["format"] == "autolabel-encoder-1" and described["metrics"] == last
    for source in (tmp_path, tmp_path / "model.safetensors"):
        encoder = find_encoder(source)
        assert encoder is not None
        assert (encoder.grid, encoder.heads, encoder.network["width"]) == ((4, 4), 2, 32)
        model = build_vitpose(CONFIG, dots.skeleton)
        start_from_encoder(model, encoder)
        found, expected = model.state_dict(), weights(trained)
        names = {name for name in found if not name.startswith("keypoint_heads.")}
        assert names == set(encoder.tensors)
        assert all(torch.equal(found[name], expected[name]) for name in names)
    [(folder, made)] = shown
    assert folder == tmp_path and made.original.shape == (3, 32, 32, 3)
    assert (made.masked != made.original).any() and (made.reconstructed != made.original).any()


def test_every_variant_starts_from_it(dots, tmp_path) -> None:
    """Another size, overlapping patches, windows; but not other heads."""
    run(objective(), corpus(dots), tmp_path)
    encoder = find_encoder(tmp_path)
    assert encoder is not None
    for changes in (
        {"input_size": (64, 48)},
        {"ratio": 2, "patch_padding": 2},
        {"attention": "window", "window": (2, 2)},
    ):
        model = build_vitpose(ViTPoseConfig.model_validate({**CONFIG.described(), **changes}), dots.skeleton)
        start_from_encoder(model, encoder)
        assert torch.equal(model.blocks[0].mlp.fc1.weight, encoder.tensors["blocks.0.mlp.fc1.weight"])
    with pytest.raises(CheckpointError, match=r"has 2 attention heads, the network 4.*heads = 2"):
        start_from_encoder(build_vitpose(CONFIG.model_copy(update={"heads": 4}), dots.skeleton), encoder)


def test_a_damaged_folder_is_told(dots, tmp_path) -> None:
    run(objective(), corpus(dots), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for changed, message in (({"network": 3}, "describes no network"), ({"digest": "0"}, "from different saves")):
        (tmp_path / "config.json").write_text(json.dumps({**config, **changed}))
        with pytest.raises(CheckpointError, match=message):
            find_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        find_encoder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        find_encoder(tmp_path)


def test_going_on_from_an_encoder_keeps_its_positions(tmp_path, dots) -> None:
    run(objective(), corpus(dots), tmp_path)
    encoder = find_encoder(tmp_path)
    assert encoder is not None
    encoder.tensors["pos_embed"] += 1
    found = build_autoencoder(CONFIG, MASKING, encoder).encoder_tensors()
    assert all(torch.equal(found[name], tensor) for name, tensor in encoder.tensors.items())
    encoder.tensors["pos_embed"] *= 0  # DINOv3's, which has none that we could keep
    found = build_autoencoder(CONFIG, MASKING, encoder).encoder_tensors()
    assert torch.equal(found["pos_embed"], sine_positions(32, (4, 4)))


def test_a_save_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    trained = objective()
    trained.save(trained.network, tmp_path, {"loss": 1.0})
    before, digest = read_tensors(tmp_path / "model.safetensors", "x")
    with torch.no_grad():
        trained.network.last_norm.weight += 1
    (tmp_path / f".model.safetensors.{os.getpid()}.tmp").mkdir()  # nothing can be written there
    with pytest.raises(Exception, match="directory"):
        trained.save(trained.network, tmp_path, {"loss": 0.5})
    after, same = read_tensors(tmp_path / "model.safetensors", "x")
    assert digest == same and torch.equal(after["last_norm.weight"], before["last_norm.weight"])


# ---- settings


def test_the_recipe_is_maes() -> None:
    how = recipe({"steps": 1000, "batch_size": 512}, "test")
    assert (how.learning_rate, how.weight_decay, how.betas, how.warmup_steps) == (3e-4, 0.05, (0.9, 0.95), 50)
    assert recipe({"learning_rate": 1e-3, "warmup_steps": 7}, "test").learning_rate == 1e-3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stpes": 3}, "test: unknown key 'stpes'"),
        ({"augmentation": {"flip": 0.0}}, r"test: augmentation has no effect in pre-training.*\[pretraining\]"),
        ({"patience": 3}, "test: patience has no effect"),
    ],
)
def test_settings_of_the_recipe_that_are_refused(fields, message) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe(fields, "test")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio: .*less than 1"),
        ({"decoder_width": 30}, "decoder_width: .*multiple of 4"),
        ({"decoder_width": 20, "decoder_heads": 8}, "decoder_width 20 must be a multiple of decoder_heads 8"),
        ({"area": (0.5, 0.2)}, "must rise between 0 and 1"),
        ({"area": (0.0, 0.2)}, "must rise between 0 and 1"),
    ],
)
def test_impossible_settings(fields, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Pretraining.parse(fields, subject="test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratio": 2, "patch_padding": 2}, "ratio 2 cannot be pre-trained: a patch that is seen.*with ratio 1"),
        ({"attention": "window", "window": (2, 2)}, "attention window cannot be pre-trained.*with attention full"),
        ({"relative_position": True}, "relative_position True cannot be pre-trained"),
        ({"experts": 2, "expert_width": 8, "datasets": ("coco", "aic")}, "experts 2 cannot be pre-trained"),
        ({"width": 18}, "4x4 patches of width 18: at least 2 and a multiple of 4"),
        ({"input_size": (8, 8)}, "1x1 patches of width 32"),
    ],
)
def test_networks_that_cannot_be_masked(changes, message) -> None:
    with pytest.raises(ConfigError, match=f"^file: {message}"):
        require_maskable(ViTPoseConfig.model_validate({**CONFIG.described(), **changes}), "file")
