"""Fresh heads on a trained encoder: the encoder's weights to the bit, heads from the seed."""

import pytest
import torch

from autolabel.errors import ConfigError
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.fresh_heads import with_fresh_heads
from model.vitpose import build_vitpose

PAIR = Skeleton("pair", ("right", "left"), (), (1, 0), (0.05, 0.05), "test")


def trained(skeleton, **changes):
    given = {"input_size": (32, 32), "patch_size": 8, "width": 32, "depth": 2, "heads": 2, "deconv_channels": 8}
    return build_vitpose(ViTPoseConfig(**{**given, "absent_below": 0.1, **changes}), skeleton)


def heads(model):
    return {name: tensor for name, tensor in model.state_dict().items() if "_head" in name.split(".")[0]}


def test_the_encoder_stays_and_the_heads_are_new(dots) -> None:
    model = trained(dots.skeleton, datasets=("dots",), codecs=("plain",))
    changes = {"decoder": "simple", "presence": True, "whole_box": True}
    one, two, other = (with_fresh_heads(model, {"": PAIR}, changes, seed=seed, subject="x") for seed in (0, 0, 1))
    assert one.skeleton == PAIR and len(one.presence_heads) == 1
    assert (one.config.decoder, one.config.datasets, one.config.codecs) == ("simple", (), ())
    assert one.config.absent_below == 0.0, "what its peaks mean is not known yet"
    for name, tensor in model.state_dict().items():
        if name not in heads(model):
            assert torch.equal(one.state_dict()[name], tensor), name
    assert all(torch.equal(tensor, heads(two)[name]) for name, tensor in heads(one).items())
    assert not all(torch.equal(tensor, heads(other)[name]) for name, tensor in heads(one).items())


def test_fresh_presence_heads_have_no_thresholds_of_old_ones(dots) -> None:
    model = trained(dots.skeleton, presence=True, presence_threshold=0.8, visible_threshold=0.3)
    for presence in (True, False):
        fresh = with_fresh_heads(model, {"": PAIR}, {"presence": presence}, seed=0, subject="x").config
        assert (fresh.presence_threshold, fresh.visible_threshold) == (0.5, 0.5)


def test_a_head_for_each_of_several_datasets(dots) -> None:
    fresh = with_fresh_heads(trained(dots.skeleton), {"a": PAIR, "b": dots.skeleton}, {}, seed=0, subject="x")
    assert fresh.config.datasets == ("a", "b")
    assert [skeleton.num_keypoints for skeleton in fresh.skeletons] == [2, 3]


def test_experts_belong_to_their_datasets(dots) -> None:
    plus = trained([dots.skeleton, PAIR], datasets=("a", "b"), experts=2, expert_width=8)
    with pytest.raises(ConfigError, match=r"expert for each.*Name the dataset.*a, b"):
        with_fresh_heads(plus, {"": PAIR}, {}, seed=0, subject="x")
