"""The stages of a distillation: the teacher's knowledge token, the student, and a fresh head for it.

Each stage is a training with a folder of its own below the student's, the last one in the student's folder itself. A
stage that was finished is found finished, and one that was stopped goes on, because a training does so; so a
distillation that was killed anywhere goes on with the stage that it was at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from autolabel.progress import Progress
from autolabel.settings import Settings
from pipelines.train import CROPS, Portion, shower
from pipelines.training_run import draw_curves

if TYPE_CHECKING:
    from torch import Tensor

    from model.asked import Keeping
    from model.distil import Distillation
    from model.lesson import Lesson
    from model.recipe import Training
    from model.supervised import Source
    from model.vitpose import ViTPose

WEIGHTS = "model.safetensors"  # model.checkpoint's, which needs torch

TOKEN, BODY, CACHE = "knowledge", "student", "teacher-outputs"
"""Folders below the student's: of the teacher with its token, of the student before its head is taught anew, and of the
teacher's outputs in fixed views."""

_TOKEN_RATE = 1e-2
"""Learning rate of a token by default. It is one vector of numbers about 1, and Adam moves each by the rate a step."""


class Stage(Settings):
    """A stage that may be left out.

    Attributes:
        steps: How long; 0 leaves it out.
        learning_rate: 0 takes the default: 0.01 for the token, the training's own for the head.
    """

    steps: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=0.0, ge=0)


@dataclass(frozen=True, eq=False)
class Stages:
    """All that a distillation works with.

    Attributes:
        teacher: The network, as it was loaded.
        make: Makes the student, before a token is given to it.
        data: Labelled.
        unlabelled: Of which only boxes count.
        validation: To measure on.
        how: The recipe of the student.
        distillation: What counts how much.
        keeping: Where the teacher's outputs are kept; None with a new crop every time.
        knowledge: The token's stage.
        head: The head's stage.
    """

    teacher: "ViTPose"
    make: "Callable[[], ViTPose]"
    data: Sequence[Portion]
    unlabelled: Sequence[Portion]
    validation: Sequence[Portion]
    how: "Training"
    distillation: "Distillation"
    keeping: "Keeping | None"
    knowledge: Stage
    head: Stage

    def run(self, folder: Path, progress: Progress) -> dict[str, Any]:
        """All stages; the student ends up in ``folder``, and the last line of metrics is returned.

        Raises:
            WorkError: As :func:`model.train.train`.
        """
        token = self._token(folder / TOKEN, progress) if self.knowledge.steps else None
        body = folder / BODY if self.head.steps else folder
        last = self._body(token, body, folder, progress)
        return self._head(body, folder, progress) if self.head.steps else last

    def _token(self, folder: Path, progress: Progress) -> "Tensor":
        """The teacher's token (1, 1, D), tuned while all else stays as it is (``vitpose.md`` 4.8)."""
        from model.knowledge import with_token
        from model.supervised import train_supervised

        teacher = with_token(self.teacher, seed=self.how.seed)
        how = self._recipe(self.knowledge, _TOKEN_RATE, ("network",), ema=0.0, layer_decay=1.0, validate_every=0)
        progress.note(f"the teacher's knowledge token: {how.steps:,} steps")
        train_supervised(teacher, _sources(self.data), how, folder, progress=progress)
        assert teacher.knowledge is not None
        return teacher.knowledge.detach()

    def _body(self, token: "Tensor | None", out: Path, folder: Path, progress: Progress) -> dict[str, Any]:
        """The student, which learns from labels and teacher."""
        from model.knowledge import give_token

        student, how = self.make(), self.how
        if token is not None:
            give_token(student, token)
            how = how.model_copy(update={"partial": how.partial.with_frozen("knowledge")})
        picture = folder / CROPS
        return self._distil(
            student,
            self.teacher,
            how,
            self.distillation,
            out,
            progress,
            keeping=self.keeping,
            match_names=self.distillation.match_names,
            show=None if picture.is_file() else shower(picture, progress),
        )

    def _head(self, body: Path, folder: Path, progress: Progress) -> dict[str, Any]:
        """A fresh keypoint head on the student's encoder, which learns what the student says itself (DWPose)."""
        from model.checkpoint import load_model
        from model.fresh_heads import with_fresh_decoder

        own = load_model(body)
        student = with_fresh_decoder(own, seed=self.how.seed)
        how = self._recipe(self.head, self.how.learning_rate, ("encoder", "answers"))
        alone = self.distillation.model_copy(
            update={"label_weight": (0.0, 0.0), "teacher_weight": (1.0, 1.0), "feature_weight": 0.0, "views": 0}
        )
        progress.note(f"a fresh head, taught by the student itself: {how.steps:,} steps")
        return self._distil(student, own, how, alone, folder, progress)

    def _distil(
        self,
        student: "ViTPose",
        teacher: "ViTPose",
        how: "Training",
        distillation: "Distillation",
        out: Path,
        progress: Progress,
        *,
        keeping: "Keeping | None" = None,
        match_names: bool = False,
        show: "Callable[[Lesson], None] | None" = None,
    ) -> dict[str, Any]:
        from model.distil import distil
        from model.teacher import Teacher
        from model.train_processes import leads

        teaches = Teacher.of(
            teacher,
            student,
            match_names=match_names,
            flip_average=distillation.flip_average,
            wants_features=distillation.feature_weight > 0,
            precision=how.precision,
        )
        if teaches.unknown:
            progress.note(
                f"learnt from labels alone, as the teacher has no such keypoint: {', '.join(teaches.unknown)}"
            )
        try:
            return distil(
                student,
                teaches,
                _sources(self.data),
                how,
                distillation,
                out,
                unlabelled=_sources(self.unlabelled),
                keeping=keeping,
                validation=_sources(self.validation),
                show=show if leads() else None,
                progress=progress,
            )
        finally:
            if leads():
                draw_curves(out, progress)

    def _recipe(self, stage: Stage, rate: float, frozen: tuple[str, ...], **changes: Any) -> "Training":
        """The student's recipe for a stage of its own."""
        from model.recipe import Training

        how = self.how.model_dump()
        how |= {"steps": stage.steps, "learning_rate": stage.learning_rate or rate, "partial": {"freeze": frozen}}
        how |= {"warmup_steps": min(self.how.warmup_steps, stage.steps // 10), "patience": 0}
        return Training.parse({**how, **changes}, subject="distillation")


def _sources(portions: Sequence[Portion]) -> "list[Source]":
    from model.supervised import Source

    return [Source(*portion) for portion in portions]
