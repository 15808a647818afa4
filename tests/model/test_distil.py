"""A student's loss is the sum of its terms, it learns from a teacher alone, and about fixed views it asks once."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from autolabel.errors import CheckpointError, ConfigError
from autolabel.manifest import Manifest, write_manifest
from benchmarks.parity_network import randomise
from model.asked import EverNew, Keeping
from model.augment import Augmentation
from model.checkpoint import load_model
from model.config import ViTPoseConfig
from model.distil import Distillation, Distilled, distil
from model.draws import Draws
from model.recipe import Training
from model.supervised import WHOLE_BOX_WEIGHT, Source, pose_crops, train_supervised
from model.teacher import Teacher
from model.training_state import METRICS
from model.vitpose import ViTPose, build_vitpose
from tests.doubles import Recorder, Stopped

HEADS: Mapping[str, Any] = {"presence": True, "whole_box": True}


def network(dots, seed: int = 0, **changes: Any) -> ViTPose:
    given: Mapping[str, Any] = {"input_size": (64, 48), "patch_size": 8, "width": 32, "depth": 2, "heads": 2}
    torch.manual_seed(seed)
    return build_vitpose(ViTPoseConfig(**{**given, "decoder": "simple", **changes}), dots.skeleton)


def noisy(dots, seed: int = 1, **changes: Any) -> ViTPose:
    """A teacher whose every answer is noise, which shows every difference."""
    model = network(dots, **changes)
    randomise(model, seed)
    return model


def recipe(**changes: Any) -> Training:
    given = {"steps": 12, "batch_size": 4, "learning_rate": 2e-3, "warmup_steps": 3, "log_every": 4, "save_every": 5}
    return Training(**{**given, "precision": "fp32", "device": "cpu", **changes})


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / METRICS).read_text().splitlines()]


def same(a: ViTPose, b: ViTPose) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)


# ---- the loss


@pytest.mark.parametrize(
    ("step", "weights"),
    [
        (0, (0.5, 2.0)),  # the first step has the first weights
        (11, (1.0, 0.0)),  # and the last one the last
        (4, (0.5 + 0.5 * 4 / 11, 2.0 - 2.0 * 4 / 11)),
    ],
)
def test_the_loss_is_the_sum_of_its_weighted_terms(dots, step, weights) -> None:
    student, how = network(dots, **HEADS), recipe(presence_weight=0.3, augmentation=Augmentation(truncation=0.5))
    teacher = Teacher.of(noisy(dots, **HEADS), student, precision="fp32", wants_features=True)
    what = Distillation(label_weight=(0.5, 1.0), teacher_weight=(2.0, 0.0), feature_weight=0.1)
    objective = Distilled(student, EverNew(teacher), how, what)
    people = pose_crops(student, [Source(dots.manifest("people", 4))], how.augmentation, batch_size=4)[range(4)]
    taught = objective.draw(people, Draws(0, step, 4, slice(None)))
    outputs = objective.network(*taught.inputs)
    found = {name: float(value.detach()) for name, value in objective.losses(outputs, taught).items()}

    images, lesson = taught.inputs[0], taught.targets.lesson
    said = teacher.say(images)
    assert said.presence is not None and said.whole_box is not None and said.features is not None
    outputs = type(outputs)(*(answer.detach() for answer in outputs))
    of_heatmaps = (outputs.heatmaps - said.heatmaps).square().mean()
    inside, visible = F.binary_cross_entropy_with_logits(outputs.presence, said.presence, reduction="none").unbind(-1)
    of_presence = (inside + said.presence[..., 0] * visible).mean()
    of_boxes = (outputs.whole_box - said.whole_box).abs().mean()
    from_teacher = of_heatmaps + 0.3 * of_presence + WHOLE_BOX_WEIGHT * of_boxes
    of_features = (outputs.features - said.features).square().mean()
    squared = (lesson.targets.weights[..., None, None] * (outputs.heatmaps - lesson.targets.heatmaps)).square().mean()
    assert found["teacher_loss"] == pytest.approx(float(from_teacher), rel=1e-5)
    assert found["feature_loss"] == pytest.approx(float(of_features), rel=1e-5)
    assert found["label_loss"] > float(squared), "presence and whole box are told by labels too"
    for_labels, for_teacher = weights
    total = for_labels * found["label_loss"] + for_teacher * (float(from_teacher) + 0.1 * float(of_features))
    assert found["loss"] == pytest.approx(total, rel=1e-5)


def test_labels_that_do_not_count_change_nothing(dots, tmp_path) -> None:
    """With the teacher's term alone, a labelled person and an unlabelled one teach the same."""
    manifest, how = dots.manifest("people", 6), recipe(augmentation=Augmentation(rotation=20, half_body=0.0))
    alone = Distillation(label_weight=(0.0, 0.0))
    ends: list[ViTPose] = []
    for name, labelled in (("labelled", True), ("unlabelled", False)):
        student = network(dots)
        teacher = Teacher.of(noisy(dots), student, precision="fp32")
        sources = [Source(manifest)]
        given = {"sources": sources} if labelled else {"sources": [], "unlabelled": sources}
        distil(student, teacher, how=how, distillation=alone, out=tmp_path / name, **given)
        ends.append(student)
    assert same(*ends)
    assert not same(ends[0], network(dots))


def test_without_the_teachers_term_it_is_supervised_training(dots, tmp_path) -> None:
    manifest, how = dots.manifest("people", 6), recipe(augmentation=Augmentation(truncation=0.5))
    alone, student = network(dots, **HEADS), network(dots, **HEADS)
    train_supervised(alone, [Source(manifest)], how, tmp_path / "alone")
    big = noisy(dots, **HEADS)
    count, teacher = Counted(big), Teacher.of(big, student, precision="fp32")
    labels = Distillation(teacher_weight=(0.0, 0.0))
    distil(student, teacher, [Source(manifest)], how, labels, tmp_path / "student")
    assert same(alone, student)
    assert count.crops == 0, "and nobody is asked"


def test_a_student_learns_from_people_whom_nobody_labelled(dots, tmp_path) -> None:
    """A teacher that finds dots, of twice the resolution; its student sees boxes alone, and finds them too."""
    still = Augmentation(rotation=10, scale=0.1, half_body=0.0, shift=0.0, flip=0.0)
    how = recipe(steps=160, batch_size=8, learning_rate=4e-3, log_every=40, augmentation=still)
    manifest = dots.manifest("people", 16, sides=(50, 90))
    big = network(dots, input_size=(96, 72))
    taught = train_supervised(big, [Source(manifest)], how, tmp_path / "teacher")
    bare = [
        replace(sample, poses=replace(sample.poses, visibility=np.zeros_like(sample.poses.visibility)))
        for sample in manifest
    ]
    boxes = write_manifest(tmp_path / "boxes", bare, dots.skeleton, {"dots": dots.folder}, stage="test")
    student = network(dots, seed=1, width=24)
    teacher = Teacher.of(big, student, flip_average=False, precision="fp32")
    last = distil(student, teacher, [], how, Distillation(), tmp_path / "student", unlabelled=[Source(boxes)])
    first = lines(tmp_path / "student")[0]
    assert taught["pck"] > 0.6
    assert last["agreement"] > 0.7 > first["agreement"]
    assert last["teacher_loss"] < 0.5 * first["teacher_loss"]
    assert last["label_loss"] == 0.0
    assert same(load_model(tmp_path / "student"), student), "and the folder holds the student alone"


@pytest.mark.parametrize("views", [0, 2])
@pytest.mark.parametrize("stopped", [3, 7])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(dots, tmp_path, views, stopped) -> None:
    sources, unlabelled = [Source(dots.manifest("one", 5), 3.0)], [Source(dots.manifest("two", 4, seed=1), 1.0)]
    how = recipe(augmentation=Augmentation(truncation=0.5, cutout=0.5), accumulate=2, ema=0.9, log_every=2)
    what = Distillation(views=views, feature_weight=1e-3, teacher_weight=(1.0, 0.0))

    def run(name: str, seed: int = 0, **given: Any) -> ViTPose:
        student = network(dots, seed=seed, drop_path=0.2, **HEADS)
        big = noisy(dots, input_size=(128, 96), width=48, **HEADS)
        teacher = Teacher.of(big, student, precision="fp32", wants_features=True)
        keeping = Keeping(tmp_path / f"{name}-kept", "the teacher", ["one", "two"])
        keep = {"keeping": keeping} if views else {}
        distil(student, teacher, sources, how, what, tmp_path / name, unlabelled=unlabelled, **keep, **given)
        return student

    whole = run("whole")
    with pytest.raises(Stopped):
        run("cut", progress=Recorder(stopped))
    resumed = run("cut", seed=1 if stopped > 5 else 0)
    # With views too: what was computed just now is rounded to 16 bits as what was kept is.
    assert same(resumed, whole)


def test_without_a_place_to_keep_views_are_refused(dots, tmp_path) -> None:
    student = network(dots)
    teacher = Teacher.of(noisy(dots), student, precision="fp32")
    with pytest.raises(ConfigError, match="views is 2, and nothing says where to keep"):
        distil(student, teacher, [Source(dots.manifest("p", 4))], recipe(), Distillation(views=2), tmp_path / "out")


def test_a_teacher_is_compiled(dots) -> None:
    """What is compiled is what is asked."""
    student = network(dots)
    teacher, seen = Teacher.of(noisy(dots), student, flip_average=False, precision="fp32"), []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        seen.append(graph)
        return graph.forward

    teacher.speaker.compile(backend=backend)
    teacher.say(torch.zeros(1, 3, 64, 48))
    assert seen


# ---- fixed views


class Counted:
    """Counts the crops that a network is asked about."""

    def __init__(self, model: ViTPose) -> None:
        self.crops = 0
        model.patch_embed.register_forward_pre_hook(self._count)

    def _count(self, _: Any, given: tuple[torch.Tensor]) -> None:
        self.crops += len(given[0])


def run_kept(dots, out: Path, folder: Path, *, teacher: str = "t", seed: int = 1, **changes: Any) -> tuple[int, Any]:
    student, big = network(dots), noisy(dots, seed)
    count = Counted(big)
    asked = Teacher.of(big, student, flip_average=False, precision="fp32")
    how = recipe(**{"augmentation": Augmentation(rotation=20), **changes})
    keeping = Keeping(folder, teacher, ["people"])
    there = dots.folder / "people"
    people = Manifest.open(there) if there.exists() else dots.manifest("people", 5)
    distil(student, asked, [Source(people)], how, Distillation(views=2), out, keeping=keeping)
    return count.crops, student


def test_a_view_is_asked_about_once(dots, tmp_path) -> None:
    """Twelve steps of five crops, of five people in two views: each of ten is computed once, and none a second time."""
    asked, first = run_kept(dots, tmp_path / "one", tmp_path / "kept", batch_size=5)
    assert asked == 10
    asked, second = run_kept(dots, tmp_path / "two", tmp_path / "kept", batch_size=5)
    assert asked == 0
    assert same(first, second)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "another"}, "the cached targets are of another teacher"),
        ({"augmentation": Augmentation(rotation=30)}, "other than here: augmentation"),
    ],
)
def test_what_is_kept_of_another_teacher_or_of_other_crops_is_refused(dots, tmp_path, changes, message) -> None:
    run_kept(dots, tmp_path / "one", tmp_path / "kept")
    with pytest.raises(CheckpointError, match=message):
        run_kept(dots, tmp_path / "two", tmp_path / "kept", **changes)


def test_damaged_outputs_are_asked_for_again(dots, tmp_path) -> None:
    _, first = run_kept(dots, tmp_path / "one", tmp_path / "kept")
    rows = next((tmp_path / "kept").glob("rows*"))
    data = bytearray(rows.read_bytes())
    data[100] ^= 0xFF
    rows.write_bytes(data)
    asked, second = run_kept(dots, tmp_path / "two", tmp_path / "kept")
    assert asked == 1
    assert same(first, second)


@pytest.mark.parametrize(
    "given",
    [
        {"views": -1},
        {"feature_weight": -1.0},
        {"label_weight": (1.0, -0.5)},
        {"teacher_weight": (math.nan, 1.0)},
        {"label_weight": (0.0, 0.0), "teacher_weight": (0.0, 0.0)},
        {"teacher": "x"},
    ],
)
def test_impossible_settings_are_refused(given) -> None:
    with pytest.raises(ConfigError):
        Distillation.parse(given, subject="distillation")
