"""Distillation: a student learns what a teacher says, beside what labels say or in their place.

Two terms in one loss over the same loop (:mod:`model.train`): the student's outputs against labels, exactly as
supervised training has them, and against the teacher's (:mod:`model.teacher`). The teacher knows every crop, so people
whom nobody labelled teach too, and so do keypoints that labels lack. What the paper (``vitpose.md`` 4.8) calls output
distillation is the sum of both with equal weights; DWPose (Yang et al., ICCVW 2023) lets the teacher's weight fall to
zero, which ``teacher_weight = [1, 0]`` does. Presence and whole-box heads have both terms as well.

Optionally the student's last tokens are drawn to the teacher's through a linear map that is thrown away (DWPose's
feature term), and each person is seen in a few fixed crops whose teacher's outputs are kept on disk
(:mod:`model.views`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from autolabel.errors import ConfigError
from autolabel.progress import SILENT, Progress
from autolabel.settings import Settings
from model.asked import Asked, EverNew, Keeping, Kept
from model.data import PoseCrops
from model.draws import Draws, hashed
from model.heads import Answers
from model.heatmap import decode
from model.lesson import Lesson, lesson
from model.losses import heatmap_mse, presence_loss
from model.objective import Drawn, Examples
from model.recipe import Training
from model.supervised import (
    PCK_SHARE,
    WHOLE_BOX_WEIGHT,
    AllHeads,
    Source,
    Supervised,
    first_batch,
    pose_crops,
    train_on_people,
)
from model.teacher import Teacher, Told
from model.teacher_cache import TeacherCache, bytes_needed
from model.train import Data
from model.views import Views
from model.vitpose import DatasetIndex, ViTPose

Weight = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]
"""A weight at the first step and at the last; on a line between them."""


class Distillation(Settings):
    """What a student learns from.

    Attributes:
        label_weight: Of the labels' term, at the first and at the last step.
        teacher_weight: Of the teacher's term, at the first and at the last step.
        feature_weight: Of the distance between last tokens, relative to the teacher's term, with whose weight it rises
            and falls; 0 for none. Tokens are of the size of 1 and heatmaps' squared errors of 0.001.
        flip_average: Ask the teacher about the mirrored crop too, and learn the mean: better, and twice the work.
        views: Fixed crops of each person, whose teacher's outputs are kept on disk; 0 draws a new crop every time and
            keeps nothing.
        match_names: Where the skeletons differ, keypoints of the same name stand for each other; those that the teacher
            does not know are learnt from labels alone. Otherwise another skeleton is refused.
    """

    label_weight: Weight = (1.0, 1.0)
    teacher_weight: Weight = (1.0, 1.0)
    feature_weight: float = Field(default=0.0, ge=0)
    flip_average: bool = True
    views: int = Field(default=0, ge=0, le=1000)
    match_names: bool = False

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any((*self.label_weight, *self.teacher_weight)):
            raise ValueError("label_weight and teacher_weight are all 0: there would be nothing to learn")
        return self

    def weights(self, step: int, steps: int) -> tuple[float, float]:
        """Weights of labels and teacher at a step, from 0, of so many."""
        done = step / max(steps - 1, 1)
        (label, last_label), (teacher, last_teacher) = self.label_weight, self.teacher_weight
        return label + (last_label - label) * done, teacher + (last_teacher - teacher) * done


class StudentAnswers(NamedTuple):
    """What a student says of B crops: an :class:`model.heads.Answers`, and its tokens for the teacher.

    Attributes:
        heatmaps: (B, K, h, w).
        presence: (B, K, 2) logits, or None.
        whole_box: (B, 4), or None.
        features: (B, D of the teacher, Hp, Wp) last tokens through the linear map; None where there is none.
    """

    heatmaps: Tensor
    presence: Tensor | None
    whole_box: Tensor | None
    features: Tensor | None


class Student(nn.Module):
    """A network that learns from a teacher.

    Args:
        heads: The network.
        to_teacher: Channels of the teacher's tokens, if the student's are to be drawn to them.
        seed: Of the linear map that does it; torch's global random numbers are left alone.
    """

    def __init__(self, heads: AllHeads, to_teacher: int = 0, seed: int = 0) -> None:
        super().__init__()
        self.heads = heads
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' generators too
            self.to_teacher = nn.Conv2d(heads.model.config.width, to_teacher, 1) if to_teacher else None

    def forward(self, images: Tensor, dataset: DatasetIndex = None) -> StudentAnswers:
        """All answers, from one pass of the encoder."""
        model = self.heads.model
        features = model.forward_features(images, dataset)
        answers = model.forward_heads(features, dataset)
        return StudentAnswers(*answers, None if self.to_teacher is None else self.to_teacher(features))


@dataclass(frozen=True)
class Taught:
    """What a step teaches.

    Attributes:
        lesson: The crops, and what their labels say.
        told: What the teacher says of them; None where its weight is 0 from first to last, as where it gives its
            student a token and nothing else.
        weights: Of labels and teacher.
    """

    lesson: Lesson
    told: Told | None
    weights: tuple[float, float]


class Distilled:
    """A student's two terms; see :class:`model.objective.Objective`.

    Args:
        student: Trained in place.
        source: Where crops and the teacher's answers come from.
        how: The recipe.
        distillation: What counts how much.
    """

    def __init__(self, student: ViTPose, source: Asked, how: Training, distillation: Distillation) -> None:
        self._labels, self._source = Supervised(student, how), source
        self._how, self._distillation = how, distillation
        width = source.teacher.model.config.width if source.teacher.wants_features else 0
        heads = self._labels.network
        assert isinstance(heads, AllHeads)
        self.network: nn.Module = Student(heads, width, hashed(how.seed, width))

    def groups(self, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        """As supervised training has them, and the linear map at the heads' rate."""
        groups = self._labels.groups(weight_decay, layer_decay)
        assert isinstance(self.network, Student)
        if self.network.to_teacher is not None:
            own = list(self.network.to_teacher.parameters())
            groups.append({"params": own, "weight_decay": weight_decay, "lr_scale": 1.0})
        return groups

    def draw(self, batch: Any, draws: Draws) -> Drawn:
        """Random crops, what labels say of them, and what the teacher says."""
        people, numbers = self._source.people(batch, draws)
        drawn = self._labels.draw(people, numbers)
        given: Lesson = drawn.targets
        told = None
        if any(self._distillation.teacher_weight):
            said = self._source.said(batch, given.crops.images, self._how.augmentation, numbers.again())
            told = self._source.teacher.told(said, given)
        weights = self._distillation.weights(draws.step, self._how.steps)
        return Drawn(drawn.inputs, Taught(given, told, weights))

    def losses(self, outputs: StudentAnswers, drawn: Drawn) -> Mapping[str, Tensor]:
        """``loss``, and of its parts ``label_loss`` and ``teacher_loss``, each as it is before its weight."""
        taught: Taught = drawn.targets
        for_labels, for_teacher = taught.weights
        labels = self._labels.losses(Answers(*outputs[:3]), Drawn(drawn.inputs, taught.lesson))["loss"]
        if taught.told is None:
            return {"loss": for_labels * labels, "label_loss": labels}
        teacher = self._teacher_loss(outputs, taught.told)
        parts = {"label_loss": labels, "teacher_loss": teacher}
        if outputs.features is not None and taught.told.features is not None:
            features = (outputs.features.float() - taught.told.features).square().mean()
            parts["feature_loss"] = features
            teacher = teacher + self._distillation.feature_weight * features
        return {"loss": for_labels * labels + for_teacher * teacher, **parts}

    def _teacher_loss(self, outputs: StudentAnswers, told: Told) -> Tensor:
        """All heads against the teacher's, with the weights that they have against labels."""
        loss = heatmap_mse(outputs.heatmaps.float(), told.heatmaps, told.weights)
        if outputs.presence is not None and told.presence is not None and told.presence_weights is not None:
            loss = loss + self._how.presence_weight * presence_loss(
                outputs.presence, told.presence, told.presence_weights
            )
        if outputs.whole_box is not None and told.whole_box is not None:
            loss = loss + WHOLE_BOX_WEIGHT * (outputs.whole_box - told.whole_box).abs().mean()
        return loss

    @torch.no_grad()
    def metrics(self, outputs: StudentAnswers, drawn: Drawn) -> Mapping[str, Tensor]:
        """``pck`` of labelled keypoints; ``agreement``: the same share, of peaks that are near the teacher's."""
        taught: Taught = drawn.targets
        own = self._labels.metrics(Answers(*outputs[:3]), Drawn(drawn.inputs, taught.lesson))
        if taught.told is None:
            return own
        maps, known = outputs.heatmaps, taught.told.weights > 0
        error = (decode(maps, "plain").xy - decode(taught.told.heatmaps, "plain").xy).norm(dim=-1)
        near = (error < PCK_SHARE * maps.shape[2]) & known
        return {**own, "agreement": near.sum() / known.sum().clamp_min(1)}

    def save(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """The student alone, as supervised training saves it."""
        assert isinstance(network, Student)
        self._labels.save(network.heads, folder, metrics)


def distil(
    student: ViTPose,
    teacher: Teacher,
    sources: Sequence[Source],
    how: Training,
    distillation: Distillation,
    out: Path,
    *,
    unlabelled: Sequence[Source] = (),
    keeping: Keeping | None = None,
    validation: Sequence[Source] = (),
    show: Callable[[Lesson], None] | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train a student in place and save it; see :func:`model.train.train`.

    Args:
        student: From a teacher's layers, from scratch, or loaded.
        teacher: Who teaches it.
        sources: Labelled poses; may be empty.
        how: The recipe.
        distillation: What counts how much.
        out: The checkpoint folder. A ``state.pt`` in it is gone on from.
        unlabelled: Poses of which only the box counts.
        keeping: Where to keep the teacher's outputs; needed with ``distillation.views``.
        validation: As :func:`model.supervised.train_supervised`.
        show: As :func:`model.supervised.train_supervised`.
        progress: Where to report.

    Returns:
        The last line of metrics; with validation also the best one's, each name with ``best_`` before it.

    Raises:
        CheckpointError: The folder in ``keeping`` has outputs of another teacher or of other crops.
        ConfigError: As :func:`model.supervised.train_supervised`, whose other errors come from here as well.
    """
    crops = pose_crops(
        student,
        sources,
        how.augmentation,
        batch_size=how.batch_size,
        workers=how.workers,
        unlabelled=unlabelled,
        input_size=max(student.input_size, teacher.model.input_size),
    )
    if crops.note:
        progress.note(crops.note)
    source, examples = _asked(teacher, crops, how, distillation, keeping, progress)
    data = Data(examples, [one.share for one in (*sources, *unlabelled)])
    if show is not None:
        people, numbers = source.people(*first_batch(data, how))
        show(lesson(student, people, how.augmentation, numbers))
    if how.compile:
        teacher.speaker.compile()
    return train_on_people(
        student,
        lambda: Distilled(student, source, how, distillation),
        data,
        how,
        out,
        taught=[0],
        identity={"distillation": distillation.model_dump(mode="json")},
        validation=validation,
        progress=progress,
    )


def _asked(
    teacher: Teacher,
    crops: PoseCrops,
    how: Training,
    distillation: Distillation,
    keeping: Keeping | None,
    progress: Progress,
) -> tuple[Asked, Examples]:
    """How the teacher is asked, and the examples for that.

    Raises:
        ConfigError: Views are wanted, and nothing says where to keep them.
        CheckpointError: As :func:`distil`.
    """
    views = distillation.views
    if not views:
        return EverNew(teacher), crops
    if keeping is None:
        raise ConfigError(
            f"views is {views}, and nothing says where to keep what the teacher says of them",
            subject="distillation",
            remedy="Give keeping, or views = 0.",
        )
    rows, shapes = views * len(crops), teacher.shapes
    identity = keeping.identity(teacher, how, views, crops.detail)
    cache = TeacherCache.open(keeping.folder, identity=identity, rows=rows, shapes=shapes)
    seen = how.steps * how.batch_size
    progress.note(
        f"the teacher's outputs of {rows:,} views are kept in {keeping.folder}: {cache.filled:,} are there, all take "
        f"{bytes_needed(rows, shapes) / 2**30:.1f} GiB"
        + (f"; {seen:,} crops will be seen, so few come twice, and views = 0 keeps nothing" if seen < 2 * rows else "")
    )
    return Kept(teacher, cache), Views(crops, views, cache)
