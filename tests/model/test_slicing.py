"""Students of a teacher's weights: which numbers they get, what starts fresh, what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from autolabel.errors import ConfigError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.config import DATASETS, ViTPoseConfig
from model.positions import resample_positions
from model.slicing import sliced
from model.vitpose import ViTPose, build_vitpose

COCO = Skeleton.load("coco17")
SMALL = {"input_size": (64, 48), "patch_size": 8, "width": 64, "depth": 4, "heads": 4, "deconv_channels": 16}
ALL = {"presence": True, "whole_box": True, "knowledge": True}
WINDOWS = {"attention": "window", "window": (3, 2), "shift": True, "pool": True, "relative_position": True}
HALF_HEADS = {"width": 32, "heads": 2, "deconv_channels": 8}
HALF_CHANNELS = {**HALF_HEADS, "heads": 4}


def config(**changes: Any) -> ViTPoseConfig:
    return ViTPoseConfig.model_validate({**SMALL, **changes})


def teacher(**changes: Any) -> ViTPose:
    """Every number random, batch norm's statistics too."""
    model = build_vitpose(config(**changes), COCO).eval()
    randomise(model, 0)
    return model


def plus(**changes: Any) -> ViTPose:
    names = ("coco", "aic")
    return build_vitpose(config(datasets=names, **changes), [Skeleton.load(DATASETS[name].skeleton) for name in names])


def images() -> Tensor:
    return torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("blocks", ["even", "first"])
@pytest.mark.parametrize(
    "variant", [{}, ALL, {**ALL, "decoder": "simple"}, {**WINDOWS, "presence": True}, {"ratio": 2, "upsampling": 2}]
)
def test_a_student_like_its_teacher_is_its_teacher(variant: dict[str, Any], blocks: Any) -> None:
    model = teacher(**variant)
    same = sliced(model, model.config, blocks=blocks, seed=3)
    assert same.fresh == ()
    assert same.blocks == (0, 1, 2, 3)
    with torch.no_grad():
        for ours, theirs in zip(same.model.eval().forward_all(images()), model.forward_all(images()), strict=True):
            assert ours is theirs is None or torch.equal(ours, theirs)


def halves(tensor: Tensor, *axes: int) -> Tensor:
    """Every other element along some axes."""
    return tensor[tuple(slice(None, None, 2 if axis in axes else 1) for axis in range(tensor.dim()))]


# What a tensor of a student half as wide, with half the heads, is of its teacher's.
EXPECTED: dict[str, Callable[[Tensor], Tensor]] = {
    "patch_embed.proj.weight": lambda t: halves(t, 0),
    "pos_embed": lambda t: halves(t, 2),
    "knowledge": lambda t: halves(t, 2),
    "blocks.0.norm1.weight": lambda t: halves(t, 0),
    "blocks.3.norm2.bias": lambda t: halves(t, 0),
    "blocks.1.attn.qkv.weight": lambda t: halves(t.view(3, 4, 16, 64), 1, 3).reshape(96, 32) * 2**0.5,
    "blocks.1.attn.qkv.bias": lambda t: halves(t.view(3, 4, 16), 1).flatten(),
    "blocks.1.attn.proj.weight": lambda t: halves(t.view(64, 4, 16), 0, 1).reshape(32, 32) * 2**0.5,
    "blocks.2.mlp.fc1.weight": lambda t: halves(t, 0, 1) * 2**0.5,
    "blocks.2.mlp.fc2.weight": lambda t: halves(t, 0, 1) * 2**0.5,
    "blocks.2.mlp.fc2.bias": lambda t: halves(t, 0),
    "last_norm.bias": lambda t: halves(t, 0),
    "keypoint_heads.0.deconv_layers.0.weight": lambda t: halves(t, 0, 1) * 2**0.5,
    "keypoint_heads.0.deconv_layers.1.running_var": lambda t: halves(t, 0),
    "keypoint_heads.0.deconv_layers.3.weight": lambda t: halves(t, 0, 1) * 2**0.5,
    "keypoint_heads.0.deconv_layers.4.bias": lambda t: halves(t, 0),
    "keypoint_heads.0.deconv_layers.4.num_batches_tracked": lambda t: t,
    "keypoint_heads.0.final_layer.weight": lambda t: halves(t, 1) * 2**0.5,
    "keypoint_heads.0.final_layer.bias": lambda t: t,
    "presence_heads.0.queries": lambda t: halves(t, 2),
    "presence_heads.0.keys.weight": lambda t: halves(t.view(4, 16, 64), 1, 2).reshape(32, 32) * 2**0.5,
    "presence_heads.0.values.bias": lambda t: halves(t.view(4, 16), 1).flatten(),
    "presence_heads.0.mix.weight": lambda t: halves(t.view(4, 16, 4, 16), 1, 3).reshape(32, 32) * 2**0.5,
    "presence_heads.0.weight": lambda t: halves(t.view(17, 2, 4, 16), 3).reshape(17, 2, 32) * 2**0.5,
    "presence_heads.0.bias": lambda t: t,
    "whole_box_head.queries": lambda t: halves(t, 2),
    "whole_box_head.values.weight": lambda t: halves(t.view(16, 4, 64), 1, 2).reshape(32, 32) * 2**0.5,
    "whole_box_head.mix.weight": lambda t: halves(t.view(128, 16, 4), 2).reshape(128, 32) * 2**0.5,
    "whole_box_head.judge.weight": lambda t: t,
}


def test_it_has_every_other_head_and_channel_everywhere() -> None:
    model = teacher(**ALL)
    half = sliced(model, config(**ALL, **HALF_HEADS), seed=0)
    assert half.fresh == ()
    theirs, ours = model.state_dict(), half.model.state_dict()
    for name, expected in EXPECTED.items():
        torch.testing.assert_close(ours[name], expected(theirs[name]), msg=lambda text, name=name: f"{name}: {text}")


def test_heads_of_fewer_channels_have_the_same_of_queries_keys_and_values() -> None:
    model = teacher()
    theirs, ours = model.state_dict(), sliced(model, config(**HALF_CHANNELS), seed=0).model.state_dict()
    qkv, proj = theirs["blocks.0.attn.qkv.weight"], theirs["blocks.0.attn.proj.weight"]
    expected = halves(qkv.view(3, 4, 16, 64), 2, 3).reshape(96, 32) * 2**0.5
    torch.testing.assert_close(ours["blocks.0.attn.qkv.weight"], expected)
    expected = halves(proj.view(64, 4, 16), 0, 2).reshape(32, 32) * 2**0.5
    torch.testing.assert_close(ours["blocks.0.attn.proj.weight"], expected)


def test_channels_are_spread_where_widths_do_not_divide() -> None:
    model = teacher()
    ours = sliced(model, config(width=48, heads=3), seed=0).model
    assert torch.equal(ours.last_norm.weight, model.last_norm.weight[[i * 64 // 48 for i in range(48)]])


@pytest.mark.parametrize(
    ("depth", "of", "blocks", "expected"),
    [
        (1, 4, "even", (0,)),
        (2, 4, "even", (0, 3)),
        (3, 6, "even", (0, 2, 5)),
        (6, 12, "even", (0, 2, 4, 7, 9, 11)),
        (3, 6, "first", (0, 1, 2)),
    ],
)
def test_blocks_are_evenly_spaced_or_the_first(depth: int, of: int, blocks: Any, expected: tuple[int, ...]) -> None:
    """A block that adds nothing can be left out: the student then is its teacher."""
    model = teacher(depth=of)
    with torch.no_grad():
        for block in (block for index, block in enumerate(model.blocks) if index not in expected):
            for layer in (block.attn.proj, block.mlp.fc2):
                layer.weight.zero_()
                layer.bias.zero_()
        student = sliced(model, config(depth=depth), blocks=blocks, seed=0)
        assert student.blocks == expected
        assert torch.equal(student.model.eval()(images()), model(images()))


@pytest.mark.parametrize(
    ("of", "student", "fresh"),
    [
        (ALL, HALF_HEADS, ()),
        ({}, {"decoder": "simple"}, ("keypoint_heads.0",)),
        ({"decoder": "simple"}, {}, ("keypoint_heads.0",)),
        ({"decoder": "simple"}, {"decoder": "simple", "upsampling": 2, "width": 32, "heads": 4}, ()),
        ({}, {"upsampling": 2}, ("keypoint_heads.0",)),
        ({}, {"deconv_channels": 32}, ("keypoint_heads.0",)),
        ({}, {"patch_size": 16}, ("patch_embed",)),
        ({}, {"ratio": 2}, ()),
        ({}, {**ALL, "depth": 2}, ("knowledge", "presence_heads.0", "whole_box_head")),
        ({}, WINDOWS, ()),
        (WINDOWS, HALF_HEADS, ()),
    ],
)
def test_what_has_no_counterpart_starts_fresh(
    of: dict[str, Any], student: dict[str, Any], fresh: tuple[str, ...]
) -> None:
    model, wanted = teacher(**of), config(**student)
    before = torch.random.get_rng_state()
    one, other = (sliced(model, wanted, seed=seed) for seed in (5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert set(one.fresh) == set(fresh)
    assert {"pos_embed", "blocks.0", "last_norm"} <= set(one.kept)
    assert not set(one.kept) & set(fresh)
    torch.manual_seed(5)
    expected = build_vitpose(wanted, COCO).state_dict()
    ours, others = one.model.state_dict(), other.model.state_dict()
    for name in ours:
        known_nothing = bool(fresh) and name.startswith(fresh)
        assert torch.equal(ours[name], (expected if known_nothing else others)[name]), name
    assert one.model(torch.zeros(2, 3, 64, 48)).isfinite().all()


def test_positions_are_resampled_and_then_sliced() -> None:
    model = teacher()
    ours = sliced(model, config(input_size=(96, 80), **HALF_HEADS), seed=0).model.pos_embed
    assert torch.equal(ours, halves(resample_positions(model.pos_embed, (8, 6), (12, 10)), 2))


def test_biases_of_relative_positions_are_those_of_the_heads() -> None:
    model = teacher(**WINDOWS)
    student = sliced(model, config(**WINDOWS, **HALF_HEADS, depth=2), seed=0)
    tables = [
        net.state_dict()[f"blocks.{i}.attn.relative_position_bias_table"] for net, i in ((student.model, 1), (model, 3))
    ]
    assert student.blocks == (0, 3)
    assert torch.equal(tables[0], halves(tables[1], 1))


def test_new_biases_of_relative_positions_change_nothing() -> None:
    model = teacher()
    student = sliced(model, config(relative_position=True), seed=0)
    with torch.no_grad():
        torch.testing.assert_close(student.model.eval()(images()), model(images()))


def test_the_teacher_stays_as_it_was_and_shares_nothing() -> None:
    model = teacher(**ALL)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    student = sliced(model, model.config, seed=0).model
    with torch.no_grad():
        for tensor in student.state_dict().values():
            tensor.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"width": 128}, r"student: width is 128, the teacher's 64.*Make it smaller"),
        ({"depth": 5}, "depth is 5, the teacher's 4"),
        ({"heads": 8}, "heads is 8, the teacher's 4"),
        ({"width": 48, "heads": 2}, r"width / heads is 24, the teacher's 16.*Set heads = 3"),
        ({"width": 17, "heads": 1}, r"width / heads is 17, the teacher's 16.*Make it smaller"),
        ({"mlp_ratio": 5}, "width x mlp_ratio is 320, the teacher's 256"),
        ({"experts": 2, "expert_width": 8, "datasets": ("a", "b")}, "experts 2: a student has none"),
    ],
)
def test_more_than_the_teacher_has_is_refused(student: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sliced(teacher(), config(**student), seed=0)


@pytest.mark.parametrize("model", [plus(), plus(experts=2, expert_width=8)])
def test_a_teacher_of_several_datasets_is_split_first(model: ViTPose) -> None:
    with pytest.raises(ConfigError, match=r"teacher: is a network of several datasets.*split it for: coco, aic"):
        sliced(model, config(), seed=0)
