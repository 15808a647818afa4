"""A teacher sees what the student sees, says what it would say in prediction, and is understood."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from autolabel.errors import ConfigError, SkeletonError
from autolabel.skeleton import Skeleton
from benchmarks.parity_network import randomise
from model.augment import Augmentation
from model.config import ViTPoseConfig
from model.crop import IMAGENET_MEAN, IMAGENET_STD
from model.draws import Draws
from model.heatmap import flip_back
from model.lesson import Lesson, lesson
from model.supervised import Source, pose_crops
from model.teacher import Teacher
from model.vitpose import ViTPose, build_vitpose

EVERYTHING = Augmentation(truncation=0.6, tight=0.5, cutout=0.5, colour=0.2)


def network(skeleton: Skeleton, seed: int = 0, **changes: Any) -> ViTPose:
    given: Mapping[str, Any] = {"input_size": (64, 48), "patch_size": 8, "width": 32, "depth": 2, "heads": 2}
    model = build_vitpose(ViTPoseConfig(**{**given, "decoder": "simple", **changes}), skeleton).eval()
    randomise(model, seed)
    return model


def drawn(dots, student: ViTPose, size: tuple[int, int], how: Augmentation) -> tuple[Any, Lesson, Draws]:
    """Eight people, their lesson, and the numbers that it was drawn from."""
    sources = [Source(dots.manifest("people", 8, sides=(60, 90)))]
    people = pose_crops(student, sources, how, batch_size=8, input_size=size)[range(8)]
    draws = Draws(0, 3, 8, slice(None))
    return people, lesson(student, people, how, draws), draws.again()


@pytest.mark.parametrize("codecs", [("udp", "udp"), ("plain", "udp"), ("udp", "plain")])
def test_both_see_the_same_region_at_their_own_resolution(dots, codecs) -> None:
    """Mirrored, turned, cut, recoloured and covered: the larger crop, made small, is the smaller one."""
    teacher = network(dots.skeleton, input_size=(128, 96), codec=codecs[0])
    student = network(dots.skeleton, codec=codecs[1], whole_box=True)
    people, taught, again = drawn(dots, student, (128, 96), EVERYTHING)
    seen = Teacher.of(teacher, student).images(people, taught.crops.images, EVERYTHING, again)
    assert seen.shape == (8, 3, 128, 96)
    small = F.interpolate(seen, (64, 48), mode="bilinear", antialias=True, align_corners=False)
    mean, std = torch.tensor(IMAGENET_MEAN).mean(), torch.tensor(IMAGENET_STD).mean()
    own, other = ((crop - mean / std).flatten(1) for crop in (taught.crops.images, small))
    alike = torch.nn.functional.cosine_similarity(own - own.mean(1, True), other - other.mean(1, True))
    assert float(alike.min()) > 0.9, alike
    assert float(alike.median()) > 0.97, alike


def test_of_the_same_size_and_convention_the_crops_are_shared(dots) -> None:
    student = network(dots.skeleton)
    people, taught, again = drawn(dots, student, (64, 48), EVERYTHING)
    seen = Teacher.of(network(dots.skeleton, 1), student).images(people, taught.crops.images, EVERYTHING, again)
    assert seen is taught.crops.images


@pytest.mark.parametrize("flip_average", [True, False])
def test_it_says_what_prediction_says(dots, flip_average) -> None:
    model = network(dots.skeleton, 1, presence=True, whole_box=True, codec="plain")
    teacher = Teacher.of(model, network(dots.skeleton), flip_average=flip_average, precision="fp32")
    images = torch.randn(3, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    said = teacher.say(images)
    with torch.inference_mode():
        maps, logits, reach = model.forward_all(images)
        chance = logits.sigmoid()
        if flip_average:
            mirrored, others, backward = model.forward_all(images.flip(-1))
            maps = (maps + flip_back(mirrored, dots.skeleton.flip, "plain")) / 2
            chance = (chance + others.sigmoid()[:, list(dots.skeleton.flip)]) / 2
            reach = (reach + backward[:, [2, 1, 0, 3]]) / 2
    for found, wanted in zip(said, (maps, chance, reach), strict=False):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert said.features is None
    assert {name: tuple(getattr(said, name).shape[1:]) for name in teacher.shapes} == teacher.shapes


def test_features_come_on_the_grid_of_the_student(dots) -> None:
    student = network(dots.skeleton)
    teacher = Teacher.of(network(dots.skeleton, 1, input_size=(128, 96), width=48), student, wants_features=True)
    _, taught, _ = drawn(dots, student, (128, 96), EVERYTHING)
    said = teacher.say(torch.randn(8, 3, 128, 96))
    assert said.features is not None and said.features.shape == (8, 48, 16, 12)
    assert teacher.shapes["features"] == (48, 16, 12)
    told = teacher.told(said, taught)
    assert told.features is not None and told.features.shape == (8, 48, 8, 6)
    covered = said.features[:, :, 4:12, 4:8].mean(dim=(2, 3))
    torch.testing.assert_close(told.features[:, :, 2:6, 2:4].mean(dim=(2, 3)), covered, rtol=0.3, atol=0.3)


def test_a_teacher_is_frozen(dots) -> None:
    model = network(dots.skeleton).train()
    Teacher.of(model, network(dots.skeleton))
    assert not model.training and not any(parameter.requires_grad for parameter in model.parameters())


def test_without_its_head_nothing_is_said_about_presence(dots) -> None:
    _, taught, _ = drawn(dots, network(dots.skeleton, presence=True, whole_box=True), (64, 48), EVERYTHING)
    for heads in ({"teacher": True, "student": False}, {"teacher": False, "student": True}):
        teacher, student = (
            network(dots.skeleton, presence=heads[name], whole_box=heads[name]) for name in ("teacher", "student")
        )
        asked = Teacher.of(teacher, student)
        told = asked.told(asked.say(taught.crops.images), taught)
        assert told.presence is None and told.presence_weights is None and told.whole_box is None


def test_whether_a_keypoint_is_seen_counts_as_far_as_it_is_there(dots) -> None:
    student = network(dots.skeleton, presence=True)
    teacher = Teacher.of(network(dots.skeleton, 1, presence=True), student)
    _, taught, _ = drawn(dots, student, (64, 48), EVERYTHING)
    told = teacher.told(teacher.say(taught.crops.images), taught)
    assert told.presence is not None and told.presence_weights is not None
    assert told.presence_weights[..., 0].eq(1).all()
    torch.testing.assert_close(told.presence_weights[..., 1], told.presence[..., 0])


def test_a_first_look_teaches_no_place(dots) -> None:
    how = Augmentation(truncation=0.5, first_look=0.5)
    student = network(dots.skeleton, whole_box=True)
    teacher = Teacher.of(network(dots.skeleton, 1), student)
    _, taught, _ = drawn(dots, student, (64, 48), how)
    assert 0 < int(taught.crops.first_look.sum()) < 8
    told = teacher.told(teacher.say(taught.crops.images), taught)
    assert torch.equal(told.weights, (~taught.crops.first_look).float()[:, None].expand(-1, 3))


# ---- skeletons


OTHER = Skeleton("other", ("right", "tail", "nose"), (), (0, 1, 2), (0.05,) * 3, "test")
STRANGE = Skeleton("strange", ("a", "b"), (), (0, 1), (0.05,) * 2, "test")


def test_another_skeleton_is_refused_unless_names_are_to_be_matched(dots) -> None:
    teacher, student = network(dots.skeleton), network(OTHER)
    with pytest.raises(SkeletonError, match=r"'other' \(3 keypoints\), its teacher 'dots' \(3\)") as refused:
        Teacher.of(teacher, student)
    assert "match_names = true" in str(refused.value)
    with pytest.raises(SkeletonError, match="no keypoint of the teacher's 'dots' has a name of 'strange'"):
        Teacher.of(teacher, network(STRANGE), match_names=True)


def test_keypoints_of_the_same_name_are_taught(dots) -> None:
    teacher = Teacher.of(network(dots.skeleton, 1, presence=True), network(OTHER, presence=True), match_names=True)
    assert teacher.keypoints == (2, -1, 0) and teacher.unknown == ("tail",)
    _, taught, _ = drawn(dots, network(dots.skeleton), (64, 48), EVERYTHING)
    said = teacher.say(taught.crops.images)
    told = teacher.told(said, taught)
    assert torch.equal(told.heatmaps[:, 0], said.heatmaps[:, 2]) and torch.equal(
        told.heatmaps[:, 2], said.heatmaps[:, 0]
    )
    assert not told.heatmaps[:, 1].any() and told.weights[0].tolist() == [1, 0, 1]
    assert told.presence_weights is not None and not told.presence_weights[:, 1].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box_padding": 1.5}, r"pads boxes by 1.5, its teacher by 1.25.*\n?.*Set box_padding = 1.25 in \[model\]"),
        ({"input_size": (64, 64)}, r"has an input of 64x64, its teacher one of 64x48.*\n?.*input_size of 64:48"),
    ],
)
def test_who_would_not_see_the_same_is_refused(dots, changes, message) -> None:
    with pytest.raises(ConfigError) as refused:
        Teacher.of(network(dots.skeleton), network(dots.skeleton, **changes))
    assert re.search(message, str(refused.value)), refused.value


def test_a_student_of_several_heads_is_refused(dots) -> None:
    config = ViTPoseConfig(
        input_size=(64, 48), patch_size=8, width=32, depth=2, heads=2, decoder="simple", datasets=("a", "b")
    )
    with pytest.raises(ConfigError, match="has 2 heads, and a teacher teaches one"):
        Teacher.of(network(dots.skeleton), build_vitpose(config, [dots.skeleton, OTHER]))
