"""How a teacher is asked: about a new crop every time, or once about each of a few crops that come again.

The first shows the student more, and costs the teacher's work at every step. The second costs it once, and disk: what
is said of each person in each of a few fixed views is kept (:mod:`model.teacher_cache`), and later trainings on the
same views find it there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from model.augment import Augmentation
from model.data import PoseBatch
from model.device import pick_device, pick_precision
from model.draws import Draws, PlaceDraws, RandomNumbers, hashed
from model.recipe import Training
from model.teacher import Said, Teacher
from model.teacher_cache import TeacherCache
from model.train import CROPS
from model.views import ViewBatch

VIEWS_SEED = 0
"""Of fixed views: no training's own, so that students of any seed share what their teacher says of them."""


class Asked(Protocol):
    """How crops are drawn, and what the teacher says of them."""

    @property
    def teacher(self) -> Teacher:
        """Who is asked."""
        ...

    def people(self, batch: Any, draws: Draws) -> tuple[PoseBatch, RandomNumbers]:
        """Who is to be cropped, and from which random numbers."""
        ...

    def said(self, batch: Any, images: Tensor, how: Augmentation, draws: RandomNumbers) -> Said:
        """What the teacher says of the crops (B, 3, H, W) that were drawn; the numbers begin anew."""
        ...


@dataclass(frozen=True, eq=False)
class EverNew:
    """A new crop every time, of which the teacher is asked.

    Attributes:
        teacher: Who is asked.
    """

    teacher: Teacher

    def people(self, batch: PoseBatch, draws: Draws) -> tuple[PoseBatch, RandomNumbers]:
        """The people, and the step's random numbers."""
        return batch, draws

    def said(self, batch: PoseBatch, images: Tensor, how: Augmentation, draws: RandomNumbers) -> Said:
        """See :class:`Asked`."""
        return self.teacher.say(self.teacher.images(batch, images, how, draws))


@dataclass(frozen=True, eq=False)
class Kept:
    """Fixed views, of which the teacher is asked once.

    Attributes:
        teacher: Who is asked.
        cache: Where its answers are kept, from which the batches come with them; as many rows as there are views.
    """

    teacher: Teacher
    cache: TeacherCache

    def people(self, batch: ViewBatch, draws: Draws) -> tuple[PoseBatch, RandomNumbers]:
        """The people, and the views' random numbers."""
        return batch.poses, self._numbers(batch)

    def _numbers(self, batch: ViewBatch) -> PlaceDraws:
        return PlaceDraws(hashed(VIEWS_SEED, CROPS), batch.place, batch.poses.canvas.device)

    def said(self, batch: ViewBatch, images: Tensor, how: Augmentation, draws: RandomNumbers) -> Said:
        """See :class:`Asked`."""
        said = {name: values.float() for name, values in batch.kept.items()}
        if not batch.known.all():
            missing = (~batch.known).nonzero()[:, 0]
            few, there = batch.rows(missing), missing.to(images.device)
            seen = self.teacher.images(few.poses, images[there], how, self._numbers(few))
            new = self.teacher.say(seen)._asdict()
            fresh = {name: new[name].half() for name in said}
            self.cache.write(few.place.numpy(), {name: values.cpu().numpy() for name, values in fresh.items()})
            for name, values in fresh.items():
                said[name][there] = values.float()
        return Said(**said)


@dataclass(frozen=True)
class Keeping:
    """Where a teacher's outputs are kept, for fixed views.

    Attributes:
        folder: Of the cache.
        teacher: Digest of the teacher.
        data: Digests of the manifests, labelled ones first.
    """

    folder: Path
    teacher: str
    data: Sequence[str]

    def identity(self, teacher: Teacher, how: Training, views: int, detail: float) -> dict[str, Any]:
        """Everything that a crop, or what is said of it, depends on.

        Args:
            teacher: Who is asked.
            how: The recipe.
            views: Of each person.
            detail: Of the canvases, as it was reduced.
        """
        student = teacher.student
        return {
            "teacher": self.teacher,
            "data": list(self.data),
            "augmentation": how.augmentation.model_dump(mode="json"),
            "seed": VIEWS_SEED,
            "views": views,
            "flip_average": teacher.flip_average,
            "precision": pick_precision(teacher.precision, pick_device(how.device)),
            "detail": detail,
            # The student's own canvas rounds where a crop lies, and first looks are for its whole-box head.
            "student": [*student.input_size, student.config.whole_box],
        }
