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
        ({"ratio": 3}, "ratio: .*1 or 2, not 3"),
        ({"ratio": 2, "patch_size": 7, "input_size": (70, 70)}, "patch_size 7 must be a multiple of ratio 2"),
        ({"ratio": 2, "input_size": (260, 192)}, "multiples of patch_size 16 / ratio 2"),
        ({"ratio": 2, "patch_padding": 3}, "at least a quarter of patch_size 16 at ratio 2"),  # grid would be H/8 - 1
        ({"ratio": 2, "patch_size": 2}, "less than half of patch_size 2"),
        ({"upsampling": 3}, "upsampling: .*2 or 4, not 3"),
        ({"attention": "windows"}, "attention: .*'full' or 'window', not 'windows'"),
        ({"attention": "window", "window": (0, 8)}, r"window \(0, 8\) must be at least one token"),
        ({"attention": "window", "full_every": 1}, "full_every 1 must be 0, or from 2 to the depth, 12"),
        ({"attention": "window", "full_every": 13}, "full_every 13 must be"),
        ({"input_size": (8192, 8192)}, r"\(8192, 8192\) makes more than 65,536 tokens"),
        (
            {"input_size": (4096, 4096), "attention": "window", "window": (150, 150), "shift": True},
            r"window \(150, 150\) on a grid of \(256, 256\) tokens makes 2,025,000,000 pairs",
        ),
        ({"input_size": (4096, 4096), "attention": "window", "window": (2, 2), "pool": True}, "makes .* pairs"),
        ({"shift": True}, "shift True needs attention 'window'"),
        ({"pool": True}, "pool True needs attention 'window'"),
        ({"full_every": 3}, "full_every 3 needs attention 'window'"),
        ({"window": (16, 12)}, r"window \(16, 12\) needs attention 'window'"),
        ({"codecs": ("udp", "plain"), "datasets": ("coco",)}, "codecs .* must be one per dataset"),
        ({"codecs": ("plain",), "codec": "udp"}, "codec udp must be the first of codecs"),
        ({"presence_threshold": 1.5}, "presence_threshold: .*less than or equal to 1"),
        ({"width": 100, "heads": 12}, "multiple of heads 12"),
        ({"decoder": "fancy"}, "decoder: .*'classic' or 'simple', not 'fancy'"),
        ({"norm_eps": 0.0}, "norm_eps: .*greater than 0"),
        ({"expert_width": 96}, "needs experts"),
        ({"experts": 2, "expert_width": 96, "datasets": ("coco",)}, "as many as the datasets"),
        ({"experts": 2, "expert_width": 96, "datasets": ("coco", "coco")}, "different names"),
        ({"datasets": ("Coco", "coco")}, "different names, whatever the case"),
        ({"datasets": ("coco", "")}, "dataset '' must be named in letters, digits"),
        ({"datasets": ("../mice",)}, r"dataset '\.\./mice' must be named in"),
        ({"datasets": ("mice/2",)}, "dataset 'mice/2' must be named in"),
        ({"datasets": (".mice",)}, "beginning with a letter or digit, because files are named after it"),
        ({"datasets": ("mice\n",)}, "must be named in"),
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


@pytest.mark.parametrize(("patch_size", "padding"), [(16, 4), (14, 4), (8, 2), (6, 2), (4, 1)])
def test_overlapping_patches_keep_the_grid_whole(patch_size: int, padding: int) -> None:
    """At patch 16 as official, 4 + 2 (ratio // 2 - 1)."""
    stride = patch_size // 2
    config = ViTPoseConfig(input_size=(9 * stride, 7 * stride), patch_size=patch_size, ratio=2)
    assert (config.patch_padding, config.grid_size) == (padding, (9, 7))
    assert (9 * stride + 2 * padding - patch_size) // stride + 1 == 9  # the convolution's own arithmetic
    assert config.heatmap_size == (36, 28)


def test_a_network_without_later_variants_is_described_as_before() -> None:
    """Digests of networks, which calibrators and runs know, and files for older versions stay what they were."""
    first = ["absent_below", "box_padding", "codec", "datasets", "deconv_channels", "decoder", "depth", "drop_path"]
    first += ["expert_width", "experts", "heads", "heatmap_sigma", "input_size", "mlp_ratio", "norm_eps"]
    first += ["patch_padding", "patch_size", "width"]
    assert set(ViTPoseConfig().described()) == set(first)
    config = ViTPoseConfig(ratio=2, attention="window", shift=True, presence=True, codec="plain")
    later = {"ratio": 2, "attention": "window", "shift": True, "presence": True}
    assert {name: value for name, value in config.described().items() if name not in first} == later
    assert ViTPoseConfig.parse(config.described(), subject="config.json") == config


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["udp"]),
        ({"codec": "plain", "datasets": ("coco", "aic", "mpii")}, ["plain", "plain", "udp"]),
        ({"codec": "plain", "datasets": ("mine", "yours", "coco")}, ["plain", "plain", "udp"]),  # else the first's
        ({"codecs": ("plain", "udp"), "datasets": ("mine", "aic")}, ["plain", "udp"]),
        ({"codecs": ("plain",)}, ["plain"]),
    ],
)
def test_codecs_of_heads(fields: dict[str, object], expected: list[str]) -> None:
    config = ViTPoseConfig.parse(fields, subject="config.json")
    assert [config.codec_of(head) for head in range(len(expected))] == expected
    assert config.codec == expected[0]


def test_sizes_that_are_used_are_within_the_limits() -> None:
    """And far beyond: 1/8 features of a large input, in pooled and shifted windows up to the whole grid."""
    given = {"input_size": (1024, 768), "ratio": 2, "attention": "window", "pool": True, "shift": True}
    for window in ((8, 8), (16, 12), (64, 48), (128, 96)):
        ViTPoseConfig.parse({**given, "window": window}, subject="config.json")
    ViTPoseConfig.parse({"input_size": (4096, 4096)}, subject="config.json")
    for name in (*DATASETS, "Mice-2_b.v1"):
        ViTPoseConfig(datasets=(name,))


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
    assert ViTPoseConfig.of_size("ti").width // ViTPoseConfig.of_size("ti").heads == 64  # DeiT's
    assert SIZES["s"].width // SIZES["s"].heads == 32  # not DeiT-S's 64
    with pytest.raises(ConfigError, match=r"no size 'g'.*Known: s, b, l, h"):
        ViTPoseConfig.of_size("g")


# Each public dataset, as the released networks were trained and are evaluated: codec, flip pairs, OKS sigmas, written
# out from the official configs.
COCO_PAIRS = [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)]
COCO_SIGMAS = [0.026, *[0.025] * 2, *[0.035] * 2, *[0.079] * 2, *[0.072] * 2, *[0.062] * 2, *[0.107] * 2]
COCO_SIGMAS += [*[0.087] * 2, *[0.089] * 2]
ANIMAL_PAIRS = [(0, 1), (5, 8), (6, 9), (7, 10), (11, 14), (12, 15), (13, 16)]
ANIMAL_SIGMAS = [0.025, 0.025, 0.026, 0.035, 0.035, 0.079, 0.072, 0.062, 0.079, 0.072, 0.062]
ANIMAL_SIGMAS += [0.107, 0.087, 0.089, 0.107, 0.087, 0.089]
AIC_SIGMAS = [0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144, 0.03909642, 0.03686941]
AIC_SIGMAS += [0.01981803, 0.03843971, 0.03412318, 0.02415081, 0.01291456, 0.01236173]
CROWD_SIGMAS = [*[0.079] * 2, *[0.072] * 2, *[0.062] * 2, *[0.107] * 2, *[0.087] * 2, *[0.089] * 2, *[0.079] * 2]
FACE_PAIRS = [*[(23 + i, 39 - i) for i in range(8)], (40, 49), (41, 48), (42, 47), (43, 46), (44, 45), (54, 58)]
FACE_PAIRS += [(55, 57), (59, 68), (60, 67), (61, 66), (62, 65), (63, 70), (64, 69), (71, 77), (72, 76), (73, 75)]
FACE_PAIRS += [(78, 82), (79, 81), (83, 87), (84, 86), (88, 90)]
HAND_PAIRS = [(91 + k, 112 + k) for k in range(21)]
BODY_FEET_PAIRS = [(1, 2), (3, 4), (6, 7), (8, 9), (10, 11), (12, 13), (15, 16), (17, 18), (19, 22), (20, 23), (21, 24)]

RELEASED = {
    "coco": ("udp", COCO_PAIRS, COCO_SIGMAS),
    "aic": ("plain", [(0, 3), (1, 4), (2, 5), (6, 9), (7, 10), (8, 11)], AIC_SIGMAS),
    "mpii": ("udp", [(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)], None),  # MPII measures PCKh
    "ap10k": ("plain", ANIMAL_PAIRS, ANIMAL_SIGMAS),
    "apt36k": ("plain", ANIMAL_PAIRS, ANIMAL_SIGMAS),
    "wholebody": ("plain", [*COCO_PAIRS, (17, 20), (18, 21), (19, 22), *FACE_PAIRS, *HAND_PAIRS], None),
    "crowdpose": ("plain", [(i, i + 1) for i in range(0, 12, 2)], CROWD_SIGMAS),
    "coco_25": ("udp", BODY_FEET_PAIRS, None),  # none published
}


@pytest.mark.parametrize("name", DATASETS)
def test_codec_flip_and_sigmas_come_with_the_dataset(name: str) -> None:
    codec, pairs, sigmas = RELEASED[name]
    skeleton = Skeleton.load(DATASETS[name].skeleton)
    assert DATASETS[name].codec == codec
    assert list(skeleton.flip_pairs) == pairs
    if sigmas is not None:
        assert list(skeleton.sigmas) == sigmas


def test_datasets_have_their_keypoints() -> None:
    counts = {name: Skeleton.load(known.skeleton).num_keypoints for name, known in DATASETS.items()}
    assert [counts[name] for name in PLUS_DATASETS] == [17, 14, 16, 17, 17, 133]
    assert (counts["crowdpose"], counts["coco_25"]) == (14, 25)
    assert set(RELEASED) == set(DATASETS)


def test_wholebody_has_133_sigmas_of_its_own() -> None:
    """Of single values tests/autolabel/test_skeletons.py has more."""
    skeleton = Skeleton.load("wholebody133")
    assert len(skeleton.sigmas) == 133
    assert list(skeleton.sigmas[:17]) == COCO_SIGMAS
    assert list(skeleton.sigmas[17:23]) == [0.068, 0.066, 0.066, 0.092, 0.094, 0.094]
    assert skeleton.sigmas[91:112] == skeleton.sigmas[112:133], "one table serves both hands"
    assert max(skeleton.sigmas[23:91]) == 0.045, "a face is placed more precisely than a body"
