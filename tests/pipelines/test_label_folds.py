"""Nobody judges a label that it learnt."""

from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import ConfigError, InputError
from autolabel.manifest import Manifest
from autolabel.poses import Poses, Sample
from autolabel.project import to_toml
from pipelines.label_folds import Fold, layers, pose_folds, train_folds
from tests.pipelines.conftest import NETWORK, TRAINING


def sample(i: int, group: str = "") -> Sample:
    return Sample(f"s{i}", "r", f"{i}.jpg", (9, 9), Poses.create(1, id=[f"p{i}"]), group=group)


@pytest.mark.parametrize("number", [2, 3, 5])
def test_every_pose_is_in_one_fold_and_groups_stay_together(number: int) -> None:
    samples = [sample(i, f"video {i // 4}") for i in range(80)]
    folds = pose_folds(samples, number)
    assert len(folds) == number
    assert sorted(pose for ids in folds for pose in ids) == sorted(f"p{i}" for i in range(80))
    for start in range(0, 80, 4):
        assert len([ids for ids in folds if ids & {f"p{i}" for i in range(start, start + 4)}]) == 1


@pytest.mark.parametrize("number", [-1, 0, 1])
def test_one_fold_would_see_itself(number: int) -> None:
    with pytest.raises(ConfigError, match="expected 2 or more"):
        pose_folds([sample(i) for i in range(5)], number)


def test_too_few_groups_for_the_folds() -> None:
    with pytest.raises(InputError, match="too few"):
        pose_folds([sample(i, "one video") for i in range(5)], 2)


def test_folds_are_laid_so_that_each_pose_is_looked_at_once_a_layer() -> None:
    ids = ["a", "b", "c"]
    halves = [Fold("w0", frozenset("ab")), Fold("w1", frozenset("c"))]
    assert layers(halves, ids) == [halves]
    assert layers([Fold("w0"), Fold("w1")], ids) == [[Fold("w0")], [Fold("w1")]]
    assert layers([*halves, Fold("w2")], ids) == [halves, [Fold("w2")]]
    with pytest.raises(ConfigError, match="none of the poses"):
        layers([Fold("w0", frozenset("z"))], ids)


def recipe(folder: Path, name: str, **changes: Any) -> Path:
    path = folder / "train.toml"
    data = "".join(f'[[data]]\nmanifest = "{folder / each}"\n' for each in (name, *changes.get("more", ())))
    path.write_text(data + to_toml({"model": NETWORK, "training": {**TRAINING, "steps": 2, "warmup_steps": 1}}))
    return path


@pytest.mark.slow
def test_a_network_is_trained_for_each_fold_on_the_rest(drawn_case: Any, tmp_path: Path) -> None:
    config = recipe(drawn_case.folder, "pool-truth", more=["labelled"])
    manifest = Manifest.open(drawn_case.folder / "pool-truth")
    folds = train_folds(manifest, config, 2, out=tmp_path / "folds")
    assert [fold.weights for fold in folds] == [tmp_path / "folds" / str(i) / "network" for i in range(2)]
    for i, fold in enumerate(folds):
        learnt = Manifest.open(tmp_path / "folds" / str(i) / "data")
        seen = {pose for each in learnt for pose in each.poses.id.tolist()}
        assert fold.ids is not None
        assert seen.isdisjoint(fold.ids)
        assert seen | fold.ids == {pose for each in manifest for pose in each.poses.id.tolist()}
    written = [(fold.weights / "model.safetensors").stat().st_mtime_ns for fold in folds]  # type: ignore[operator]
    train_folds(manifest, config, 2, out=tmp_path / "folds")
    assert written == [(fold.weights / "model.safetensors").stat().st_mtime_ns for fold in folds]  # type: ignore[operator]


def test_a_recipe_for_something_else_is_refused(drawn_case: Any, tmp_path: Path) -> None:
    manifest = Manifest.open(drawn_case.folder / "pool-truth")
    with pytest.raises(ConfigError, match="does not train on"):
        train_folds(manifest, recipe(drawn_case.folder, "labelled"), 2, out=tmp_path / "folds")


def test_a_recipe_that_measures_itself_on_the_audited_images_is_refused(drawn_case: Any, tmp_path: Path) -> None:
    config = recipe(drawn_case.folder, "pool-truth")
    config.write_text(config.read_text() + '\n[[validation]]\nmanifest = "pool-truth"\n')
    with pytest.raises(ConfigError, match="validates on images of the audited manifest"):
        train_folds(Manifest.open(drawn_case.folder / "pool-truth"), config, 2, out=tmp_path / "folds")
