"""The network's description: what is refused, what follows from what, and the released tables."""

import pytest
from pydantic import ValidationError

from autolabel.errors import ConfigError
from autolabel.skeleton import Skeleton
from model.config import DATASETS, PLUS_DATASETS, SIZES, ViTPoseConfig, default_padding


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"teacher\.toml: unknown key 'widht'; did you mean 'width'\?"):
        ViTPoseConfig.parse({"widht": 384}, subject="teacher.toml")
    with pytest.raises(ValidationError, match="did you mean 'decoder'"):
        ViTPoseConfig(decodr="simple")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": (250, 192)}, "multiples of patch_size 16"),
        ({"input_size": (0, 192)}, "multiples of patch_size 16"),
        ({"patch_size": 4, "patch_padding": 2}, "less than half of patch_size 4"),  # grid would be H/4 + 1
        ({"width": 100, "heads": 12}, "multiple of heads 12"),
        ({"decoder": "fancy"}, "decoder: .*'classic' or 'simple', not 'fancy'"),
        ({"norm_eps": 0.0}, "norm_eps: .*greater than 0"),
        ({"expert_width": 96}, "needs experts"),
        ({"experts": 2, "expert_width": 96, "datasets": ("coco",)}, "as many as the datasets"),
        ({"experts": 2, "expert_width": 96, "datasets": ("coco", "coco")}, "different names"),
        ({"experts": 2, "expert_width": 768, "datasets": ("coco", "aic")}, "between 0 and width 768"),
    ],
)
def test_impossible_networks_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ViTPoseConfig.parse(changes, subject="config.json")


@pytest.mark.parametrize(("patch_size", "padding"), [(16, 2), (14, 2), (8, 2), (5, 2), (4, 1), (2, 0), (1, 0)])
def test_padding_keeps_the_grid_whole(patch_size: int, padding: int) -> None:
    assert default_padding(patch_size) == padding
    assert ViTPoseConfig(input_size=(8 * patch_size, 6 * patch_size), patch_size=patch_size).patch_padding == padding
    side = 8 * patch_size
    assert (side + 2 * padding - patch_size) // patch_size + 1 == 8  # the convolution's own arithmetic


def test_sizes_follow_from_input_and_patch() -> None:
    config = ViTPoseConfig(input_size=(128, 96), patch_size=8)
    assert config.grid_size == (16, 12)
    assert config.heatmap_size == (64, 48)


def test_a_config_survives_json() -> None:
    config = ViTPoseConfig.of_size("s", experts=2, expert_width=96, datasets=("coco", "aic"), codec="plain")
    assert ViTPoseConfig.parse(config.model_dump(mode="json"), subject="config.json") == config


def test_named_sizes() -> None:
    config = ViTPoseConfig.of_size("h", decoder="simple")
    assert (config.width, config.depth, config.heads, config.drop_path) == (1280, 32, 16, 0.55)
    assert config.decoder == "simple"
    assert SIZES["s"].width // SIZES["s"].heads == 32  # not DeiT-S's 64
    with pytest.raises(ConfigError, match=r"no size 'g'.*Known: s, b, l, h"):
        ViTPoseConfig.of_size("g")


def test_every_dataset_has_a_built_in_skeleton() -> None:
    counts = {name: Skeleton.load(known.skeleton).num_keypoints for name, known in DATASETS.items()}
    assert [counts[name] for name in PLUS_DATASETS] == [17, 14, 16, 17, 17, 133]
    assert counts["crowdpose"] == 14
    assert {name for name, known in DATASETS.items() if known.codec == "udp"} == {"coco", "mpii"}
