"""`autolabel weights`: list, convert and verify, as functions and as commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from autolabel.errors import CheckpointError, ConfigError, ExistsError, ImageError, InputError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.checkpoint import load_model, model_digest, save_model
from model.config import DATASETS, PLUS_DATASETS, ViTPoseConfig
from model.golden import Compared
from model.vitpose import ViTPose, build_vitpose
from pipelines.cli import main
from pipelines.weights import WeightsVerified, weights_convert, weights_list, weights_verify
from tests.doubles import Recorder

PHOTOGRAPH = Path(__file__).parents[3] / "shared" / "data" / "coco25" / "images" / "000000000139.jpg"
needs_photograph = [
    pytest.mark.live,
    pytest.mark.skipif(not PHOTOGRAPH.is_file(), reason="shared/data/coco25 is not here"),
]

RELEASED = {"width": 384, "depth": 12, "heads": 12, "experts": 6, "expert_width": 96, "datasets": PLUS_DATASETS}
"""A network of the shape of vitpose-plus-small, for small images."""

SMALL = {"input_size": (64, 48), "width": 32, "depth": 2, "heads": 4}


def network(**changes: object) -> ViTPose:
    config = ViTPoseConfig.model_validate({**SMALL, "datasets": ("coco",), **changes})
    known = config.datasets if config.experts else config.datasets[:1]
    model = build_vitpose(config, [Skeleton.load(DATASETS[name].skeleton) for name in known]).eval()
    randomise(model, seed=0)
    return model


PLUS = {"experts": 6, "expert_width": 8, "datasets": PLUS_DATASETS}


def leave(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


# list


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 18 + 13 + 28 + 7 + 8),
        ({"layout": "official"}, 4 + 4 + 3 + 3 + 4),
        ({"layout": "mmpose"}, 4 + 4 + 1 + 4),
        ({"layout": "easy_vitpose"}, 4 * 7),
        ({"layout": "mae"}, 4 + 4),
        ({"layout": "huggingface", "size": "b"}, 4),
        ({"dataset": "wholebody"}, 4 + 4),
        ({"dataset": "wholebody", "size": "s"}, 1 + 1),
        ({"dataset": "crowdpose"}, 3),
        ({"layout": "mae", "dataset": "coco"}, 0),
    ],
)
def test_releases_are_filtered(filters: dict[str, str], count: int) -> None:
    found = weights_list(**filters)
    assert len(found.releases) == count
    assert len(found.table().splitlines()) >= 1 + count


@pytest.mark.parametrize("filters", [{"dataset": "cocoo"}, {"size": "g"}, {"layout": "keras"}])
def test_an_unknown_filter_names_the_known_ones(filters: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"--\w+: no \w+ '\w+'\. Known: "):
        weights_list(**filters)


def test_the_table_says_what_was_reported_and_what_was_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("weights", "list", "--size", "s", "--dataset", "wholebody") == 0
    head, released, easy = capsys.readouterr().out.splitlines()
    assert head.split()[:6] == ["id", "size", "dataset", "input", "decoder", "reported"]
    assert released.split()[:6] == ["official/vitpose++-s", "s++", "wholebody", "256x192", "classic", "54.4"]
    assert easy.split()[:7] == ["easy_vitpose/vitpose-s-wholebody", "s", "wholebody", "256x192", "classic", "-", "-"]
    assert leave("weights", "list", "--layout", "huggingface", "--size", "s", "--json") == 0
    [release] = json.loads(capsys.readouterr().out)["releases"]
    assert release["id"] == "usyd-community/vitpose-plus-small"
    assert release["golden"] == {"x": 398.1597, "y": 181.6902, "score": 0.9051}
    assert (release["licence"], release["figures"]) == ("apache-2.0", [])


# convert


@pytest.mark.parametrize("to", ["checkpoint", "huggingface", "official", "mmpose"])
def test_every_layout_there_and_back(to: str, tmp_path: Path) -> None:
    model = network()
    if to == "mmpose":  # its positions have no slot 0
        with torch.no_grad():
            model.pos_embed[:, 0] = 0
    save_model(model, tmp_path / "source")
    converted = weights_convert(tmp_path / "source", out=tmp_path / "there", to=to)
    back = weights_convert(converted.weights, out=tmp_path / "back")
    assert model_digest(load_model(tmp_path / "back")) == model_digest(model) == back.digest == converted.digest
    assert (converted.datasets, converted.keypoints, converted.input_size) == (("coco",), (17,), (64, 48))
    assert (converted.layout, converted.experts) == (to, 0)


def test_a_plus_is_kept_split_and_merged(tmp_path: Path) -> None:
    whole = network(**PLUS)
    save_model(whole, tmp_path / "plus")
    kept = weights_convert(tmp_path / "plus", out=tmp_path / "kept", to="official")
    assert (kept.experts, kept.keypoints) == (6, (17, 14, 16, 17, 17, 133))
    assert kept.weights == tmp_path / "kept" / "vitpose.pth"
    split = {
        name: weights_convert(kept.weights, dataset=name, to="official", out=tmp_path / name).weights
        for name in PLUS_DATASETS
    }
    merged = weights_convert(
        split["coco"], merge=[str(split[name]) for name in PLUS_DATASETS[1:]], out=tmp_path / "merged"
    )
    assert merged.digest == kept.digest == model_digest(whole)
    some = weights_convert(split["mpii"], merge=[f"aic={split['aic']}"], out=tmp_path / "some", input_size="96x32")
    assert (some.datasets, some.experts, some.input_size) == (("mpii", "aic"), 2, (96, 32))
    with pytest.raises(CheckpointError, match="holds one keypoint head"):
        weights_convert(kept.weights, out=tmp_path / "hf", to="huggingface")
    with pytest.raises(CheckpointError, match="no word for several heads"):
        weights_convert(kept.weights, out=tmp_path / "mm", to="mmpose")


def test_a_conversion_that_was_killed_is_finished(tmp_path: Path) -> None:
    """What it leaves: a record, half a file under another name, and nothing that says it is done."""
    save_model(network(), tmp_path / "source")
    first = weights_convert(tmp_path / "source", out=tmp_path / "out", to="official")
    (tmp_path / "out" / "done.json").unlink()
    first.weights.rename(tmp_path / "out" / ".vitpose.pth.4711.tmp")
    assert weights_convert(tmp_path / "source", out=tmp_path / "out", to="official") == first
    assert model_digest(load_model(first.weights)) == first.digest
    assert not list((tmp_path / "out").glob(".*.tmp"))


def test_a_conversion_is_found_finished_or_refused(tmp_path: Path) -> None:
    save_model(network(), tmp_path / "source")
    first = weights_convert(tmp_path / "source", out=tmp_path / "out", to="official")
    written = first.weights.stat().st_mtime_ns
    assert weights_convert(tmp_path / "source", out=tmp_path / "out", to="official") == first
    assert first.weights.stat().st_mtime_ns == written
    with pytest.raises(ExistsError, match="--overwrite"):
        weights_convert(tmp_path / "source", out=tmp_path / "out", to="mmpose")
    second = weights_convert(tmp_path / "source", out=tmp_path / "out", to="checkpoint", overwrite=True)
    assert second.weights == tmp_path / "out"
    assert model_digest(load_model(second.weights)) == first.digest
    assert not (tmp_path / "out" / "vitpose.pth").exists()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("a year's work")
    with pytest.raises(ExistsError, match="files that autolabel did not make"):
        weights_convert(tmp_path / "source", out=tmp_path / "theirs", overwrite=True)


@pytest.mark.parametrize(("to", "message"), [("mmpose", "no word for several heads"), ("huggingface", "one keypoint")])
def test_what_a_layout_cannot_hold_is_refused_before_there_is_a_folder(to: str, message: str, tmp_path: Path) -> None:
    save_model(network(**PLUS), tmp_path / "plus")
    with pytest.raises(CheckpointError, match=message):
        weights_convert(tmp_path / "plus", out=tmp_path / "out", to=to)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "keras"}, "no layout 'keras'.*Known: checkpoint, huggingface, official, mmpose"),
        ({"input_size": "big"}, "'big' is not a height and a width.*384x288"),
        ({"input_size": "60x48"}, "multiples of patch_size 16"),
        ({"merge": ["."]}, "has no config.json"),
        ({"dataset": "aic"}, "is for coco, not for 'aic'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(network(), tmp_path / "source")
    with pytest.raises(InputError, match=message):
        weights_convert("source", out="out", **options)
    assert not Path("out").exists()


def test_the_command_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(network(), tmp_path / "source")
    code = leave("weights", "convert", tmp_path / "source", "--input-size", "96x64", "--out", tmp_path / "o", "--json")
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0
    assert (summary["input_size"], summary["datasets"], summary["layout"]) == ([96, 64], ["coco"], "checkpoint")
    assert load_model(summary["weights"]).input_size == (96, 64)
    assert leave("weights", "convert", tmp_path / "gone", "--out", tmp_path / "p") == 2


# verify


def test_an_image_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    save_model(network(), tmp_path / "source")
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "small.png")
    Image.fromarray(np.zeros((426, 640, 3), np.uint8)).save(tmp_path / "other.png")
    (tmp_path / "text.jpg").write_text("no picture")
    for name, message in (
        ("small.png", r"is 64x48, COCO's val2017/000000000139\.jpg is 640x426.*as COCO distributes it"),
        ("other.png", r"is not COCO's val2017/000000000139\.jpg byte for byte.*as COCO distributes it"),
    ):
        with pytest.raises(InputError, match=message):
            weights_verify(tmp_path / "source", image=tmp_path / name)
    with pytest.raises(ImageError):
        weights_verify(tmp_path / "source", image=tmp_path / "text.jpg")


def test_what_agrees_is_said_to() -> None:
    rows = (Compared("nose x", 398.0791, 398.1), Compared("score", 0.88, 0.84))
    result = WeightsVerified("usyd-community/vitpose-base", "name", rows)
    assert result.ok
    assert [line.split() for line in result.table().splitlines()[1:]] == [
        ["nose", "x", "398.0791", "398.1000", "+0.0209", "yes"],
        ["score", "0.8800", "0.8400", "-0.0400", "yes"],
    ]


class TestWithThePhotograph:
    pytestmark = needs_photograph

    def test_other_weights_fail_with_advice_and_code_1(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A folder named like a release that holds random numbers."""
        folder = save_model(network(**RELEASED), tmp_path / "vitpose-plus-small")
        progress = Recorder()
        result = weights_verify(folder, image=PHOTOGRAPH, progress=progress)
        assert (result.release, result.told_by, result.ok) == ("usyd-community/vitpose-plus-small", "name", False)
        assert [row.expected for row in result.compared] == [398.1597, 181.6902, 0.9051]
        assert "--as" in progress.notes[-1]
        assert leave("weights", "verify", folder, "--image", PHOTOGRAPH) == 1
        out, err = capsys.readouterr()
        assert [line.split()[-1] for line in out.splitlines()] == ["ok", "NO", "NO", "NO"]
        assert "do not predict what was published. Check" in err
        assert leave("weights", "verify", folder, "--image", PHOTOGRAPH, "--json") == 1
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert summary["ok"] is False
        assert summary["nose x"]["difference"] == summary["nose x"]["found"] - 398.1597

    @pytest.mark.parametrize("named", ["usyd-community/vitpose-plus-small", "vitpose-plus-small"])
    def test_the_release_may_be_named(self, named: str, tmp_path: Path) -> None:
        save_model(network(**RELEASED), tmp_path / "mine")
        result = weights_verify(tmp_path / "mine", image=PHOTOGRAPH, as_=named)
        assert (result.release, result.told_by) == ("usyd-community/vitpose-plus-small", "--as")

    @pytest.mark.parametrize(
        ("folder", "model", "options", "message"),
        [
            ("mine", {}, {}, r"its name and shape tell no release.*--as.*usyd-community/vitpose-base"),
            ("mine", {}, {"as_": "vitpose-plus-huge"}, "nothing was published to compare vitpose-plus-huge with.*--as"),
            ("vitpose-plus-huge", {}, {}, "compare usyd-community/vitpose-plus-huge with.*--as"),
            ("mine", PLUS, {"dataset": "wholebody"}, "predicts wholebody133: .* COCO's keypoints only.*--dataset coco"),
            # a network that cannot be that release
            ("mine", {}, {"as_": "vitpose-base"}, "is 32 wide and 2 deep, not of size b: it is not usyd-.*--as"),
            ("vitpose-base-simple", {}, {}, "is 32 wide and 2 deep, not of size b: it is not usyd-.*base-simple"),
            (
                "mine",
                RELEASED | {"decoder": "simple"},
                {"as_": "vitpose-plus-small"},
                "with the simple decoder, not the",
            ),
            ("mine", {"datasets": ("aic",)}, {}, "predicts aic14: .* COCO's keypoints only"),
        ],
    )
    def test_nothing_to_compare_with(
        self, folder: str, model: dict[str, object], options: dict[str, Any], message: str, tmp_path: Path
    ) -> None:
        save_model(network(**model), tmp_path / folder)
        with pytest.raises(InputError, match=message):
            weights_verify(tmp_path / folder, image=PHOTOGRAPH, **options)
