"""Fixed views: each person is seen in a few random crops, which are the same whenever they come.

What a teacher says of a crop can be kept only if the crop comes again. So each person counts as several examples, its
views; the place of a view among all of them decides its random numbers (:class:`model.draws.PlaceDraws`), and where its
teacher's outputs are kept (:mod:`model.teacher_cache`). The more views, the more the student sees of the augmentation,
and the more is to be kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from autolabel.errors import ConfigError
from model.data import PoseBatch
from model.objective import Examples
from model.teacher_cache import TeacherCache


class People(Examples, Protocol):
    """Examples that are people on canvases, such as :class:`model.data.PoseCrops`."""

    def __getitem__(self, places: Sequence[int]) -> PoseBatch:
        """The batch of the people at ``places``."""
        ...


@dataclass(frozen=True)
class ViewBatch:
    """B views of people.

    Attributes:
        poses: The people, one for each view.
        place: (B,) int64, the views among all. It stays on the CPU whatever the device: random numbers are computed
            there, and a GPU would have to be waited for.
        kept: What is kept of the views by name, (B, ...) float16; empty without a cache.
        known: (B,) bool, of which views something is kept; on the CPU.
    """

    poses: PoseBatch
    place: Tensor
    kept: Mapping[str, Tensor]
    known: Tensor

    def __len__(self) -> int:
        """The number of views, B."""
        return len(self.place)

    def to(self, device: torch.device) -> "ViewBatch":
        """The same views, with the people and what is kept of them on a device."""
        soon = device.type == "cuda"
        kept = {name: values.to(device, non_blocking=soon) for name, values in self.kept.items()}
        return replace(self, poses=self.poses.to(device), kept=kept)

    def pin_memory(self) -> "ViewBatch":
        """The same views, with the people and what is kept of them in memory that a GPU can copy from by itself."""
        kept = {name: values.pin_memory() for name, values in self.kept.items()}
        return replace(self, poses=self.poses.pin_memory(), kept=kept)

    def rows(self, rows: slice | Tensor) -> "ViewBatch":
        """Some of the views."""
        here = rows if isinstance(rows, slice) else rows.cpu()
        kept = {name: values[rows] for name, values in self.kept.items()}
        return ViewBatch(self.poses.rows(rows), self.place[here], kept, self.known[here])


class Views:
    """Every person in every view, as :class:`model.objective.Examples`: view p is of the person ``p // views``.

    Args:
        people: Who is seen.
        views: Of each of them.
        cache: Where something is kept of each view; read with the images, by the data loader's workers.

    Attributes:
        sizes: How many views each source gave; their places run through the sources in order.

    Raises:
        ConfigError: Nobody would be seen.
    """

    def __init__(self, people: People, views: int, cache: TeacherCache | None = None) -> None:
        if views < 1:
            raise ConfigError(
                f"is {views}, a person is seen in 1 at least", subject="views", remedy="Give a whole number from 1."
            )
        self._people, self._views, self._cache = people, views, cache
        self.sizes = [views * size for size in people.sizes]

    def __len__(self) -> int:
        """All views of all people."""
        return self._views * len(self._people)

    def __getitem__(self, places: Sequence[int]) -> ViewBatch:
        """The batch of the views at ``places``.

        Raises:
            ImageError: An image cannot be read, or has another size than the manifest says.
            WorkError: What is kept cannot be read.
        """
        poses, place = self._people[self._of(places)], torch.tensor(list(places), dtype=torch.int64)
        if self._cache is None:
            return ViewBatch(poses, place, {}, torch.zeros(len(place), dtype=torch.bool))
        kept, known = self._cache.read(places)
        return ViewBatch(
            poses,
            place,
            {name: torch.from_numpy(values) for name, values in kept.items()},
            torch.from_numpy(known),
        )

    def names(self, places: Sequence[int]) -> list[str]:
        """The images of the people at ``places``."""
        return self._people.names(self._of(places))

    def _of(self, places: Sequence[int]) -> list[int]:
        return [place // self._views for place in places]
