"""How a round learns: what it starts from, what it changes in the network, what it writes down."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from autolabel.errors import ConfigError
from autolabel.manifest import Manifest
from autolabel.project import Project
from autolabel.skeleton import Skeleton
from model.checkpoint import load_model, save_huggingface, save_model
from model.config import ViTPoseConfig
from model.starter import save_starter
from model.vitpose import ViTPose, build_vitpose
from pipelines import loop
from pipelines.loop_learn import settings_of
from pipelines.simulated_reviewer import SimulatedReviewer
from tests.pipelines.conftest import NETWORK

COCO = Skeleton.load("coco17")
GENTLE = {"layer_decay": 0.8, "ema": 0.998, "partial": {"freeze": ["attention"]}}


def network(**changes: Any) -> ViTPose:
    """Random weights."""
    torch.manual_seed(0)
    return build_vitpose(ViTPoseConfig.parse({**NETWORK, **changes}, subject="test"), COCO).eval()


def released(folder: Path) -> str:
    """A folder in Hugging Face's layout."""
    return str(save_huggingface(network(input_size=[64, 48], patch_size=16, depth=2), folder / "released"))


def starter(folder: Path) -> str:
    """One file, to half precision, as the weights that come with the package."""
    return str(save_starter(network(presence=True), folder / "starter.safetensors"))


def record(project: Path, n: int) -> dict[str, Any]:
    return json.loads((project / "rounds" / f"{n:02d}" / "round.json").read_text())


@pytest.fixture(scope="module", params=["scratch", "starter", "released"])
def learnt(request: pytest.FixtureRequest, drawn_case: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project of one round, and the network that the round went on from."""
    make = {"starter": starter, "released": released}.get(request.param)
    weights = make(tmp_path_factory.mktemp(request.param)) if make else ""
    tables = {"network": {"weights": weights, "custom": {}}} if weights else {}
    project = drawn_case.project(f"learn-{request.param}", rounds={"count": 1}, **tables)
    loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False)
    return project, weights or str(project / "rounds" / "00" / "model")


def test_attention_stays_and_the_rest_learns(learnt: tuple[Path, str]) -> None:
    project, init = learnt
    before, after = (load_model(path).state_dict() for path in (init, str(project / "rounds" / "01" / "model")))
    assert before.keys() == after.keys()
    frozen = {name for name in before if ".attn." in name or ".norm1." in name}
    assert len(frozen) >= 6
    assert {name for name in frozen if not torch.equal(before[name], after[name])} == set()
    mlp = {name for name in before if ".mlp." in name}
    assert mlp and not any(torch.equal(before[name], after[name]) for name in mlp)


def test_a_round_says_what_it_learnt_from_and_how(learnt: tuple[Path, str]) -> None:
    project, _ = learnt
    learning = record(project, 1)["learning"]
    assert json.loads((project / "rounds" / "01" / "learning.json").read_text()) == learning
    assert learning["settings"] == {"steps": 6, "learning_rate": pytest.approx(2e-4), **GENTLE}
    assert [(part["from"], part["share"]) for part in learning["sources"]] == [("corrected", 0.5), ("base", 0.5)]
    corrected = Manifest.open(project / "rounds" / "01" / "training").counts["poses"]
    assert learning["corrected"] == learning["sources"][0]["poses"] == corrected
    assert record(project, 0)["learning"] is None


def test_every_round_is_measured_on_the_base_set(learnt: tuple[Path, str], drawn_case: Any) -> None:
    project, _ = learnt
    people = Manifest.open(drawn_case.folder / "test").counts["poses"]
    found = [record(project, n)["base"] for n in (0, 1)]
    for base in found:
        assert base["people"] == people
        assert 0 < base["oks"] < 1 and 0 <= base["pck"] <= 1 and 0 <= base["bad"] <= 1
    assert found[0] != found[1]
    assert record(project, 1)["routed"]["test"]["oks"] == pytest.approx(found[1]["oks"])


def test_a_round_of_before_goes_on_with_what_it_trained(learnt: tuple[Path, str], drawn_case: Any) -> None:
    """It was trained at another rate, without a word about it, and the loop was killed before the round was done."""
    project, _ = learnt
    copy = project.parent / f"{project.name}-old"
    shutil.copytree(project, copy)
    here = copy / "rounds" / "01"
    (here / "learning.json").unlink()
    (here / "round.json").unlink()
    weights = (here / "model" / "model.safetensors").stat().st_mtime_ns
    settings = copy / "autolabel.toml"
    settings.write_text(settings.read_text().replace("steps = 6", "steps = 7"))
    loop.run(copy, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False)
    assert (here / "model" / "model.safetensors").stat().st_mtime_ns == weights
    again, before = record(copy, 1), record(project, 1)
    assert again["learning"] is None and again["trained_on"] == before["trained_on"]
    assert again["base"] == before["base"]


def test_without_a_base_set_nothing_is_said_of_forgetting(drawn_case: Any, tiny_weights: Path) -> None:
    tables = {"corpus": {"test": ""}, "network": {"weights": str(tiny_weights)}, "rounds": {"count": 0}}
    project = drawn_case.project("no-base", **tables)
    loop.run(project, audit=False)
    assert record(project, 0)["base"] is None


@pytest.mark.parametrize(
    ("training", "finetuning", "expected"),
    [
        ({}, {}, {"learning_rate": 5e-5}),  # a tenth of the default
        ({"learning_rate": 1e-3}, {}, {"learning_rate": 1e-4}),
        ({"learning_rate": 1e-3}, {"learning_rate": 3e-4}, {"learning_rate": 3e-4}),
        ({"ema": 0.9, "layer_decay": 0.9}, {}, {"ema": 0.9, "layer_decay": 0.9}),  # what training says counts
        ({"ema": 0.9}, {"ema": 0.0}, {"ema": 0.0}),
        ({}, {"partial": {"freeze": []}}, {"partial": {"freeze": []}}),
        (
            {"partial": {"lora_rank": 4}},
            {},
            {"partial": {"lora_rank": 4}},
        ),  # adapters and frozen parts exclude each other
        ({"steps": 50, "warmup_steps": 5}, {"steps": 20}, {"steps": 20, "warmup_steps": 5}),
    ],
)
def test_what_the_settings_do_not_say_is_chosen(
    training: dict[str, Any], finetuning: dict[str, Any], expected: dict[str, Any], tiny_weights: Path
) -> None:
    tables = {"name": "p", "corpus": {"images": "i"}, "training": training, "finetuning": finetuning}
    found = settings_of(Project.model_validate(tables), str(tiny_weights))
    rest = {"learning_rate": 5e-5, **GENTLE, **training, **expected}
    assert found.keys() == rest.keys()
    for name, value in rest.items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_larger_networks_decay_more(tmp_path: Path) -> None:
    large = save_model(network(width=448, heads=2), tmp_path / "large")
    settings = Project.model_validate({"name": "p", "corpus": {"images": "i"}})
    assert settings_of(settings, str(large))["layer_decay"] == 0.75


def test_a_wrong_training_table_is_told(tiny_weights: Path) -> None:
    settings = Project.model_validate({"name": "p", "corpus": {"images": "i"}, "training": {"learning_rate": "fast"}})
    with pytest.raises(ConfigError, match="learning_rate"):
        settings_of(settings, str(tiny_weights))
