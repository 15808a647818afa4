"""What the loop makes of a ViTPose: the official loss and steps, several datasets, what is saved."""

import json
import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.errors import ConfigError, InputError, SkeletonError
from autolabel.manifest import write_manifest
from autolabel.poses import Poses, Visibility
from autolabel.skeleton import Skeleton
from model.augment import Augmentation
from model.batches import MixedBatches
from model.checkpoint import load_model
from model.config import ViTPoseConfig
from model.draws import Draws, hashed
from model.lesson import lesson
from model.partial import Partial
from model.recipe import Training
from model.supervised import Source, Supervised, pose_crops, train_supervised
from model.training_state import METRICS, STATE
from model.vitpose import build_vitpose
from tests.doubles import Recorder, Stopped

STILL = {"half_body": 0.0, "shift": 0.0, "flip": 0.0}


def network(dots, seed=0, skeletons=None, **changes):
    given = {"input_size": (64, 48), "patch_size": 8, "width": 32, "depth": 2, "heads": 2, "deconv_channels": 16}
    torch.manual_seed(seed)
    return build_vitpose(ViTPoseConfig(**{**given, "drop_path": 0.2, **changes}), skeletons or dots.skeleton)


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
    still = Augmentation(rotation=10, scale=0.1, **STILL)  # a dot's colour does not change in the mirror
    how = recipe(steps=160, batch_size=8, learning_rate=4e-3, log_every=40, augmentation=still)
    last = train_supervised(network(dots, drop_path=0.0), [Source(manifest)], how, tmp_path / "out")
    records = lines(tmp_path / "out")
    assert [record["step"] for record in records] == [40, 80, 120, 160]
    assert records[-1] == last
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]
    assert records[-1]["pck"] > 0.6 > records[0]["pck"]


def test_the_folder_holds_the_network_that_was_trained(dots, tmp_path) -> None:
    model = network(dots)
    last = train_supervised(model, [Source(dots.manifest("people", 4))], recipe(), tmp_path / "out")
    assert not model.training
    assert same(load_model(tmp_path / "out"), model)
    assert not same(network(dots), model)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "config.json",
        "model.safetensors",
        "skeleton.json",
        METRICS,
        STATE,
    }
    described = json.loads((tmp_path / "out" / "config.json").read_text())
    assert described["metrics"] == last


@pytest.mark.parametrize("stopped", [3, 7, 11])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(dots, tmp_path, stopped) -> None:
    """Stochastic depth, batch norm, every augmentation, all heads, two sources, an average, validation."""
    sources = [Source(dots.manifest("one", 5), 3.0), Source(dots.manifest("two", 4, seed=1), 1.0)]
    held = [Source(dots.manifest("held", 3, seed=2))]
    everything = Augmentation(colour=0.2, truncation=0.5, cutout=0.5)
    how = recipe(augmentation=everything, layer_decay=0.8, log_every=2, ema=0.9, validate_every=4, accumulate=2)
    whole = network(dots, presence=True, whole_box=True)
    train_supervised(whole, sources, how, tmp_path / "whole", validation=held)
    with pytest.raises(Stopped):
        begun = network(dots, presence=True, whole_box=True)
        train_supervised(begun, sources, how, tmp_path / "cut", validation=held, progress=Recorder(stopped))
    assert (tmp_path / "cut" / STATE).exists() == (stopped > 5)
    resumed = network(dots, seed=1 if stopped > 5 else 0, presence=True, whole_box=True)
    train_supervised(resumed, sources, how, tmp_path / "cut", validation=held)
    assert same(resumed, whole)
    assert timeless(lines(tmp_path / "cut")) == timeless(lines(tmp_path / "whole"))
    for folder in (".", "last"):
        assert same(load_model(tmp_path / "cut" / folder), load_model(tmp_path / "whole" / folder))


def test_mixed_precision_ends_with_the_training(dots, tmp_path) -> None:
    """The network computes in fp32 again afterwards, and the process may train in another precision."""
    sources = [Source(dots.manifest("people", 4))]
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    ends = []
    for precision in ("fp32", "bf16", "fp32"):
        model = network(dots)
        train_supervised(model, sources, recipe(precision=precision, steps=4), tmp_path / f"out{len(ends)}")
        with torch.inference_mode():
            assert torch.equal(model(images), load_model(tmp_path / f"out{len(ends)}")(images))
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        ends.append(model)
    assert same(ends[0], ends[2])
    assert not same(ends[0], ends[1]), "bf16 was bf16"


# ---- the recipe, against NumPy


def adamw(parameters, gradients, moments, step, rate, how, scales, decays):
    """Loshchilov & Hutter 2019 with bias correction, on float64 arrays, after clipping to the L2 norm."""
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    factor = min(1.0, how.grad_clip / (norm + 1e-6))
    one, two = how.betas
    updated = {}
    for name, value in parameters.items():
        gradient = gradients[name] * factor
        first, second = moments.get(name, (0.0, 0.0))
        first, second = one * first + (1 - one) * gradient, two * second + (1 - two) * gradient**2
        moments[name] = first, second
        scaled = rate * scales[name]
        value = value * (1 - scaled * how.weight_decay * decays[name])
        mean, spread = first / (1 - one**step), second / (1 - two**step)
        updated[name] = value - scaled * mean / (np.sqrt(spread) + 1e-8)
    return updated


def test_two_steps_have_the_losses_of_a_numpy_reference(dots, tmp_path) -> None:
    """Loss with target weights (``vitpose.md`` 4.1), warm-up, layer decay, clipping, AdamW; torch gives gradients."""
    manifest = dots.manifest("people", 6, visibility=(2, 0, 1))  # one keypoint is unlabelled
    how = recipe(steps=2, warmup_steps=2, layer_decay=0.7, log_every=1, grad_clip=0.001, learning_rate=5e-3)
    model, reference = (network(dots, drop_path=0.0, decoder="simple") for _ in range(2))
    train_supervised(model, [Source(manifest)], how, tmp_path / "out")

    crops = pose_crops(reference, [Source(manifest)], how.augmentation, batch_size=4)
    groups = Supervised(reference, how).groups(1.0, how.layer_decay)
    found = {id(p): group for group in groups for p in group["params"]}
    named = dict(reference.named_parameters())
    scales = {name: found[id(p)]["lr_scale"] for name, p in named.items()}
    decays = {name: found[id(p)]["weight_decay"] for name, p in named.items()}
    moments, losses = {}, []
    for step, places in enumerate(MixedBatches(crops.sizes, [1.0], batch_size=4, start=0, stop=2, seed=0)):
        draws = Draws(hashed(how.seed, 0), step, 4, slice(None))
        drawn = lesson(reference, crops[places], how.augmentation, draws)
        maps = reference(drawn.crops.images)
        p, t = maps.detach().numpy().astype(np.float64), drawn.targets.heatmaps.numpy().astype(np.float64)
        w = drawn.targets.weights.numpy()[..., None, None]
        assert (w == 0).any() and (w == 1).any()
        losses.append(float(np.mean([((w[:, k] * p[:, k] - w[:, k] * t[:, k]) ** 2).mean() for k in range(3)])))
        slope = torch.tensor(2 * w**2 * (p - t) / p.size, dtype=torch.float32)
        gradients = dict(zip(named, torch.autograd.grad(maps, list(named.values()), slope), strict=True))
        updated = adamw(
            {name: value.detach().numpy().astype(np.float64) for name, value in named.items()},
            {name: gradient.numpy().astype(np.float64) for name, gradient in gradients.items()},
            moments,
            step + 1,
            5e-3 * (step + 1) / 2,
            how,
            scales,
            decays,
        )
        with torch.no_grad():
            for name, value in named.items():
                value.copy_(torch.tensor(updated[name]))
    assert [record["loss"] for record in lines(tmp_path / "out")] == pytest.approx(losses, rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    for name, value in model.named_parameters():
        assert torch.allclose(value, named[name], atol=2e-6), name


def test_layers_decay_as_official(dots) -> None:
    """``vitpose.md`` 4.2: rate^(L + 1 - id); the stem is 0, block i is i + 1, the rest L + 1; no decay of 1-D."""
    model = network(dots, depth=3)
    groups = Supervised(model, recipe()).groups(0.1, 0.75)
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


def test_recomputed_activations_change_nothing(dots, tmp_path) -> None:
    """Stochastic depth too: the second forward pass draws what the first one drew."""
    sources = [Source(dots.manifest("people", 4))]
    ends = []
    for recomputed in (False, True):
        ends.append(network(dots))
        how = recipe(steps=3, checkpoint_activations=recomputed)
        train_supervised(ends[-1], sources, how, tmp_path / str(recomputed))
    assert same(*ends)
    assert not same(ends[0], network(dots))


# ---- presence


def with_and_without(dots, name, count, seed):
    """People of whom every other one has no right dot, and is labelled so."""
    whole = dots.manifest(name, count, seed=seed, sides=(50, 90))
    samples = []
    for number, sample in enumerate(whole):
        if number % 2:
            pixels = np.array(Image.open(dots.folder / sample.path))
            pixels[..., 2] = 0
            poses = sample.poses.replace(visibility=np.array([[2, 2, Visibility.ABSENT]], np.uint8))
            sample = dots.sample(f"without-{sample.path}", poses, pixels)
        samples.append(sample)
    return write_manifest(dots.folder / f"{name}-some", samples, dots.skeleton, {"dots": dots.folder}, stage="test")


def test_presence_is_learnt_and_its_thresholds_are_kept(dots, tmp_path) -> None:
    people, held = with_and_without(dots, "people", 24, 0), with_and_without(dots, "held", 40, 5)
    still = Augmentation(rotation=5, scale=0.1, **STILL)
    how = recipe(
        steps=100,
        batch_size=12,
        learning_rate=4e-3,
        presence_weight=0.1,
        augmentation=still,
        validate_every=100,
        log_every=10,
    )
    model = network(dots, drop_path=0.0, presence=True)
    last = train_supervised(model, [Source(people)], how, tmp_path / "out", validation=[Source(held)])
    assert last["presence_loss"] < lines(tmp_path / "out")[0]["presence_loss"]
    assert last["best_validation_presence_auroc"] > 0.8
    best = load_model(tmp_path / "out")
    assert best.config.presence_threshold == last["best_validation_presence_threshold"] != 0.5
    assert model.config.presence_threshold == 0.5, "the network in memory is as it was described"


def test_how_far_the_whole_person_reaches_is_learnt_and_disturbs_nothing_else(dots, tmp_path) -> None:
    manifest = dots.manifest("people", 50)
    how = recipe(
        steps=60,
        batch_size=12,
        log_every=20,
        grad_clip=1e9,
        learning_rate=4e-3,
        augmentation=Augmentation(truncation=0.5, first_look=0.0, **STILL),  # without first looks both see the same
    )
    model, without = network(dots, whole_box=True), network(dots)
    train_supervised(model, [Source(manifest)], how, tmp_path / "out")
    losses = [line["whole_box_loss"] for line in lines(tmp_path / "out")]
    assert losses[-1] < 0.7 * losses[0]
    train_supervised(without, [Source(manifest)], how, tmp_path / "without")
    learnt, same = load_model(tmp_path / "out").state_dict(), load_model(tmp_path / "without").state_dict()
    for name, tensor in same.items():
        torch.testing.assert_close(learnt[name], tensor, rtol=1e-5, atol=1e-7)
    assert {name.split(".")[0] for name in set(learnt) - set(same)} == {"whole_box_head"}


def test_presence_and_whole_box_heads_by_themselves_change_nothing_else(dots, tmp_path) -> None:
    """Not even the statistics of the classic decoder's batch norm."""
    manifest = dots.manifest("people", 20)
    model = network(dots, presence=True, whole_box=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert any("running_mean" in name for name in before)
    cut = Augmentation(truncation=1.0, first_look=0.5)
    how = recipe(steps=6, batch_size=4, ema=0.9, augmentation=cut, partial=Partial(freeze=("keypoints",)))
    train_supervised(model, [Source(manifest)], how, tmp_path / "out", validation=[Source(manifest)])
    for learnt in (model.state_dict(), load_model(tmp_path / "out" / "last").state_dict()):
        changed = {name for name, tensor in learnt.items() if not torch.equal(tensor, before[name])}
        assert {name.split(".")[0] for name in changed} == {"presence_heads", "whole_box_head"}


# ---- several datasets


def left_and_right(dots):
    """Two datasets of the same pictures: all three dots, and the outer two in another order."""
    pair = Skeleton("pair", ("right", "left"), (), (1, 0), (0.05, 0.05), "test")
    whole = dots.manifest("whole", 6, sides=(50, 90))
    part = dots.manifest("part", 6, seed=1, sides=(50, 90))
    return pair, whole, part


@pytest.fixture
def two(dots, tmp_path):
    pair, whole, part = left_and_right(dots)
    samples = []
    for sample in part:
        poses = sample.poses
        own = Poses.create(
            2, id=poses.id, xy=poses.xy[:, [2, 1]], visibility=poses.visibility[:, [2, 1]], box=poses.box
        )
        samples.append(sample.with_poses(own))
    other = write_manifest(dots.folder / "pair", samples, pair, {"dots": dots.folder}, stage="test")
    return pair, [Source(whole, 1.0, "whole"), Source(other, 1.0, "pair")]


@pytest.mark.parametrize("experts", [0, 2])
def test_each_dataset_teaches_its_own_decoder(dots, tmp_path, two, experts) -> None:
    pair, sources = two
    more = {"experts": 2, "expert_width": 8} if experts else {}
    config = {"datasets": ("whole", "pair"), "codecs": ("udp", "plain"), "drop_path": 0.0, **more}
    model = network(dots, skeletons=(dots.skeleton, pair), **config)
    still = Augmentation(rotation=10, scale=0.1, **STILL)
    how = recipe(steps=90, batch_size=12, learning_rate=6e-3, log_every=30, augmentation=still)
    last = train_supervised(model, sources, how, tmp_path / "out", validation=sources)
    assert last["validation_pck_whole"] > 0.5 and last["validation_pck_pair"] > 0.5
    assert last["validation_score"] == pytest.approx(
        (last["validation_pck_whole"] + last["validation_pck_pair"]) / 2, abs=1e-6
    )
    again = load_model(tmp_path / "out" / "last")
    assert same(again, model)
    for index, name in enumerate(("whole", "pair")):
        alone = load_model(tmp_path / "out" / "last", name)
        assert alone.num_experts == 0 and len(alone.skeletons) == 1
        images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            assert torch.allclose(alone(images), model(images, index), atol=1e-6), "split exactly"


def test_a_foreign_decoder_learns_nothing(dots, tmp_path, two) -> None:
    """One dataset alone, in a network of two: what is the other's stays bit by bit, whatever the weight decay."""
    pair, sources = two
    model, before = (
        network(
            dots,
            skeletons=(dots.skeleton, pair),
            datasets=("whole", "pair"),
            presence=True,
            experts=2,
            expert_width=8,
        )
        for _ in range(2)
    )
    train_supervised(model, sources[:1], recipe(), tmp_path / "out")
    own, foreign = (
        [
            torch.equal(a, b)
            for (name, a), b in zip(model.named_parameters(), before.parameters(), strict=True)
            if re.search(rf"_heads\.{head}\.|experts\.{head}\.", name)
        ]
        for head in (0, 1)
    )
    assert not any(own) and all(foreign)


# ---- part of a network


@pytest.mark.parametrize("frozen", ["attention", "mlp", "encoder"])
def test_what_is_frozen_stays_bit_by_bit(dots, tmp_path, frozen) -> None:
    model = network(dots)
    parts = {"attention": ("attn", "norm1"), "mlp": ("mlp", "norm2", "patch_embed", "pos_embed")}
    train_supervised(
        model, [Source(dots.manifest("people", 4))], recipe(partial=Partial(freeze=(frozen,))), tmp_path / "out"
    )
    before = network(dots)
    for name, value in model.named_parameters():
        still = any(part in name for part in parts.get(frozen, ())) or (frozen == "encoder" and "heads" not in name)
        assert torch.equal(value, before.get_parameter(name)) == still, name


def test_adapters_are_trained_and_stopped_and_saved_as_plain_weights(dots, tmp_path) -> None:
    pytest.importorskip("peft")
    sources = [Source(dots.manifest("people", 4))]
    how = recipe(partial=Partial(lora_rank=2), ema=0.9)
    whole = network(dots)
    train_supervised(whole, sources, how, tmp_path / "whole")
    with pytest.raises(Stopped):
        train_supervised(network(dots), sources, how, tmp_path / "cut", progress=Recorder(7))
    resumed = network(dots)
    train_supervised(resumed, sources, how, tmp_path / "cut")
    assert same(resumed, whole), "merged into the network in memory"
    saved = load_model(tmp_path / "whole")
    assert same(saved, load_model(tmp_path / "cut"))
    before = network(dots)
    assert list(saved.state_dict()) == list(before.state_dict())
    assert torch.equal(saved.pos_embed, before.pos_embed)
    assert not torch.equal(saved.state_dict()["blocks.0.attn.qkv.weight"], before.blocks[0].attn.qkv.weight)


def test_processes_that_read_images_change_nothing(dots, tmp_path) -> None:
    sources = [Source(dots.manifest("people", 5))]
    ends = [network(dots), network(dots)]
    for workers, model in enumerate(ends):
        train_supervised(model, sources, recipe(steps=4, workers=workers), tmp_path / str(workers))
    assert same(*ends)


# ---- refusals


def test_a_state_of_another_network_is_refused(dots, tmp_path) -> None:
    sources = [Source(dots.manifest("people", 4))]
    with pytest.raises(Stopped):
        train_supervised(network(dots), sources, recipe(), tmp_path / "out", progress=Recorder(7))
    with pytest.raises(InputError, match=r"state\.pt: belongs to another network.*--overwrite"):
        train_supervised(network(dots, width=48), sources, recipe(), tmp_path / "out")


def test_what_cannot_be_trained_on_is_refused_before_anything_is_made(dots, tmp_path) -> None:
    other = Skeleton("other", ("a", "b"), (), (0, 1), (0.05, 0.05), "test")
    with pytest.raises(SkeletonError):
        train_supervised(network(dots, skeletons=other), [Source(dots.manifest("a", 2))], recipe(), tmp_path / "out")
    unlabelled = dots.manifest("b", 2, visibility=(0, 0, 0))
    with pytest.raises(InputError, match="no labelled"):
        train_supervised(network(dots), [Source(unlabelled)], recipe(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_must_say_which_of_several_heads_it_teaches(dots, tmp_path, two) -> None:
    pair, sources = two
    model = network(dots, skeletons=(dots.skeleton, pair), datasets=("whole", "pair"))
    manifest = sources[0].manifest
    with pytest.raises(ConfigError, match=r"several heads.*dataset = .*whole, pair"):
        train_supervised(model, [Source(manifest)], recipe(), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"no head for a dataset 'hole'.*whole, pair"):
        train_supervised(model, [Source(manifest, 1.0, "hole")], recipe(), tmp_path / "out")
    with pytest.raises(SkeletonError):
        train_supervised(model, [Source(manifest, 1.0, "pair")], recipe(), tmp_path / "out")


def test_one_keypoint_is_enough(dots, tmp_path) -> None:
    nose = Skeleton("nose", ("nose",), (), (0,), (0.05,), "test")
    samples = []
    for sample in dots.manifest("people", 4):
        poses = sample.poses
        one = Poses.create(1, id=poses.id, xy=poses.xy[:, :1], visibility=poses.visibility[:, :1], box=poses.box)
        samples.append(sample.with_poses(one))
    manifest = write_manifest(dots.folder / "noses", samples, nose, {"dots": dots.folder}, stage="test")
    model = network(dots, skeletons=nose, presence=True)
    train_supervised(model, [Source(manifest)], recipe(), tmp_path / "out", validation=[Source(manifest)])
    assert load_model(tmp_path / "out").skeleton.num_keypoints == 1
