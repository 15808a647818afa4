"""A frozen network as a teacher: what it says of a student's crops, in the student's words.

The teacher sees the same region of the same person as the student, at its own resolution, and says what it would say in
prediction, averaged with what it says of the mirrored crop if that is wanted. That answer is brought to the student's
keypoints and grid (:mod:`model.resample`). The region is the same because crops are drawn from random numbers that
belong to the person and not to the network, as shares of a box that both pad alike; so both must pad alike, and their
inputs have one aspect.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autolabel.errors import ConfigError, SkeletonError
from model.augment import Augmentation, augment
from model.constant import constant
from model.data import PoseBatch
from model.device import pick_precision
from model.draws import RandomNumbers
from model.heads import Answers
from model.heatmap import flip_back
from model.lesson import Lesson
from model.resample import Resampling
from model.vitpose import ViTPose
from model.whole_box import MIRRORED

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_ASPECT = 1e-3
"""Relative difference between the aspects of two inputs that is none."""


class Said(NamedTuple):
    """What a teacher says of B crops in its own words; K, D and the sizes are its own.

    Attributes:
        heatmaps: (B, K, h, w).
        presence: (B, K, 2) probabilities that a keypoint lies inside the image, and is visible if it does; None without
            a presence head.
        whole_box: (B, 4) of :class:`model.heads.WholeBoxHead`; None without one.
        features: (B, D, Hp, Wp) after the last norm; None where nobody wants them.
    """

    heatmaps: Tensor
    presence: Tensor | None = None
    whole_box: Tensor | None = None
    features: Tensor | None = None

    def rows(self, rows: slice) -> "Said":
        """What it says of some of the crops."""
        others = (None if values is None else values[rows] for values in self[1:])
        return Said(self.heatmaps[rows], *others)


class Told(NamedTuple):
    """What a teacher says of B crops, as a student would say it.

    Attributes:
        heatmaps: (B, K, h, w) float32, 0 for keypoints that the teacher does not know.
        weights: (B, K) float32, 1 where the teacher's heatmap is to be learnt: not of a keypoint that it does not know,
            and not of a first look, of which no place counts.
        presence: (B, K, 2) as :class:`Said`; None where one of the two lacks the head.
        presence_weights: (B, K, 2), with ``presence``: an answer about visibility counts as far as the teacher thinks
            that there is something to be seen.
        whole_box: (B, 4), or None where one of the two lacks the head.
        features: (B, D of the teacher, Hp, Wp), or None where nobody wants them.
    """

    heatmaps: Tensor
    weights: Tensor
    presence: Tensor | None
    presence_weights: Tensor | None
    whole_box: Tensor | None
    features: Tensor | None


class Speaker(nn.Module):
    """A network whose ``forward`` gives its features and all that its heads say, which is what can be compiled."""

    def __init__(self, model: ViTPose) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Answers]:
        """Features (B, D, Hp, Wp) of normalised crops (B, 3, H, W), and the heads' answers."""
        features = self.model.forward_features(images)
        return features, self.model.forward_heads(features)


@dataclass(frozen=True, eq=False)
class Teacher:
    """A network that teaches another one.

    Attributes:
        speaker: The teacher, frozen and in evaluation mode; of several heads the first one teaches.
        student: Who learns from it: tells sizes, keypoints and heads. Of one head.
        resampling: From the teacher's grid to the student's.
        keypoints: (K of the student) int64, the teacher's keypoint that is each of the student's; -1 for none.
        flip_average: Ask the teacher about the mirrored crop too, and average.
        wants_features: Whether to hand on the teacher's features.
        precision: As of the training; see :func:`model.device.pick_precision`.
    """

    speaker: Speaker
    student: ViTPose
    resampling: Resampling
    keypoints: tuple[int, ...]
    flip_average: bool
    wants_features: bool
    precision: str

    @classmethod
    def of(
        cls,
        model: ViTPose,
        student: ViTPose,
        *,
        match_names: bool = False,
        flip_average: bool = True,
        wants_features: bool = False,
        precision: str = "auto",
    ) -> "Teacher":
        """A teacher for a student. The network is frozen, and put into evaluation mode.

        Args:
            model: The teacher.
            student: Who learns.
            match_names: Let keypoints of the same name stand for each other where the skeletons differ.
            flip_average: As the attribute.
            wants_features: As the attribute.
            precision: As the attribute.

        Raises:
            SkeletonError: The skeletons differ, and ``match_names`` is not set; or no name is in both.
            ConfigError: The two pad boxes differently, have inputs of another aspect, or the student has several heads.
        """
        if len(student.skeletons) > 1:
            raise ConfigError(
                f"has {len(student.skeletons)} heads, and a teacher teaches one",
                subject="student",
                remedy="Distil a student for each dataset.",
            )
        _require_same_region(model, student)
        model.eval().requires_grad_(False)
        return cls(
            Speaker(model).eval(),
            student,
            Resampling.between(model.config, student.config),
            _matched(model, student, match_names),
            flip_average,
            wants_features,
            precision,
        )

    @property
    def model(self) -> ViTPose:
        """The teacher."""
        return self.speaker.model

    @property
    def unknown(self) -> tuple[str, ...]:
        """The student's keypoints that the teacher does not know."""
        names = self.student.skeleton.keypoints
        return tuple(name for name, place in zip(names, self.keypoints, strict=True) if place < 0)

    @property
    def sees_the_same(self) -> bool:
        """Whether the student's crops are the teacher's."""
        own, other = self.model.config, self.student.config
        return own.input_size == other.input_size and own.codec == other.codec

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of what it says of one crop, by name (:class:`Said`)."""
        config, k = self.model.config, self.model.skeleton.num_keypoints
        found: dict[str, tuple[int, ...]] = {"heatmaps": (k, *config.heatmap_size)}
        found |= {"presence": (k, 2)} if config.presence else {}
        found |= {"whole_box": (4,)} if config.whole_box else {}
        return found | ({"features": (config.width, *config.grid_size)} if self.wants_features else {})

    def images(self, people: PoseBatch, images: Tensor, how: Augmentation, draws: RandomNumbers) -> Tensor:
        """(B, 3, H, W) a student's crops as the teacher sees them.

        Args:
            people: Whom they show.
            images: (B, 3, H, W) the crops as the student sees them.
            how: How they vary.
            draws: The random numbers that they were drawn from, from the start.
        """
        if self.sees_the_same:
            return images
        return augment(
            people,
            how,
            self.student.skeletons,
            input_size=self.model.input_size,
            padding=self.model.config.box_padding,
            codecs=(self.model.config.codec,),
            draws=draws,
            whole_box=self.student.config.whole_box,
        ).images

    @torch.no_grad()
    def say(self, images: Tensor) -> Said:
        """What the teacher says of normalised crops (B, 3, H, W) of its own size."""
        if self.model.pos_embed.device != images.device:
            self.model.to(images.device)
        if not self.flip_average:
            return self._forward(images)
        both = self._forward(torch.cat([images, images.flip(-1)]))
        own, other = both.rows(slice(len(images))), both.rows(slice(len(images), None))
        flip = constant(tuple(self.model.skeleton.flip), torch.zeros(0, dtype=torch.int64, device=images.device))
        presence, whole_box = own.presence, own.whole_box
        if presence is not None and other.presence is not None:
            presence = (presence + other.presence[:, flip]) / 2
        if whole_box is not None and other.whole_box is not None:
            whole_box = (whole_box + other.whole_box[:, list(MIRRORED)]) / 2
        maps = (own.heatmaps + flip_back(other.heatmaps, flip, self.model.config.codec)) / 2
        return Said(maps, presence, whole_box, own.features)

    def _forward(self, images: Tensor) -> Said:
        precision = pick_precision(self.precision, images.device)
        with torch.autocast(images.device.type, _TYPES[precision], enabled=precision != "fp32"):
            features, (maps, logits, whole_box) = self.speaker(images)
        presence = None if logits is None else logits.float().sigmoid()
        return Said(maps.float(), presence, whole_box, features.float() if self.wants_features else None)

    @torch.no_grad()
    def told(self, said: Said, lesson: Lesson) -> Told:
        """What the teacher said of a lesson's crops, in the student's words."""
        config, maps, presence = self.student.config, said.heatmaps, said.presence
        known = constant(tuple(float(place >= 0) for place in self.keypoints), maps)
        if self.keypoints != tuple(range(maps.shape[1])):
            places = constant(self.keypoints, torch.zeros(0, dtype=torch.int64, device=maps.device)).clamp_min(0)
            maps = maps[:, places] * known[:, None, None]
            presence = None if presence is None else presence[:, places]
        maps = self.resampling(maps)
        weights = known.expand(len(maps), -1).masked_fill(lesson.crops.first_look[:, None], 0.0)
        presence = presence.float() if config.presence and presence is not None else None
        presence_weights = None
        if presence is not None:
            seen = torch.stack([torch.ones_like(presence[..., 0]), presence[..., 0]], dim=-1)
            presence_weights = seen * known[:, None]
        whole_box = said.whole_box.float() if config.whole_box and said.whole_box is not None else None
        features = None if said.features is None else _on_grid(said.features.float(), self.student.grid_size)
        return Told(maps, weights, presence, presence_weights, whole_box, features)


def _on_grid(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Features (B, D, Hp, Wp) on another grid: the mean of what a coarser token covers, or read between finer ones."""
    if tuple(features.shape[2:]) == grid:
        return features
    return F.interpolate(features, size=grid, mode="bilinear", align_corners=False, antialias=True)


def _require_same_region(teacher: ViTPose, student: ViTPose) -> None:
    own, other = teacher.config, student.config
    if own.box_padding != other.box_padding:
        raise ConfigError(
            f"pads boxes by {other.box_padding:g}, its teacher by {own.box_padding:g}: they would not see the same",
            subject="student",
            remedy=f"Set box_padding = {own.box_padding:g} in [model].",
        )
    (h, w), (height, width) = own.input_size, other.input_size
    if abs(w * height / (h * width) - 1) > _ASPECT:
        raise ConfigError(
            f"has an input of {height}x{width}, its teacher one of {h}x{w}: of another aspect, they would not see the "
            "same",
            subject="student",
            remedy=f"Set an input_size of {h}:{w} in [model].",
        )


def _matched(teacher: ViTPose, student: ViTPose, match_names: bool) -> tuple[int, ...]:
    """(K of the student) the teacher's keypoints.

    Raises:
        SkeletonError: As :meth:`Teacher.of`.
    """
    own, other = teacher.skeleton, student.skeleton
    if own.fingerprint == other.fingerprint:
        return tuple(range(own.num_keypoints))
    if not match_names:
        raise SkeletonError(
            f"has the skeleton {other.name!r} ({other.num_keypoints} keypoints), its teacher {own.name!r} "
            f"({own.num_keypoints})",
            subject="student",
            remedy="Set match_names = true to let keypoints of the same name stand for each other, or convert the data "
            "with `autolabel map`.",
        )
    found = tuple(own.keypoints.index(name) if name in own.keypoints else -1 for name in other.keypoints)
    if max(found) < 0:
        raise SkeletonError(
            f"no keypoint of the teacher's {own.name!r} has a name of {other.name!r}",
            subject="student",
            remedy="Convert the data with `autolabel map`, which takes a file of names.",
        )
    return found
