"""A manifest as it is shown in FiftyOne: batches of documents, made while they are written."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from autolabel.curate.columns import columns
from autolabel.curate.documents import Document, documents
from autolabel.curate.sync import BATCH
from autolabel.curate.where import Where
from autolabel.errors import InputError
from autolabel.manifest import Manifest
from autolabel.poses import Sample
from autolabel.progress import Task
from autolabel.project import FILE
from autolabel.stores import is_stored
from pipelines.curate_beside import Neighbours

_ROUND = re.compile(r"rounds/(\d+)(?:/|$)")


@dataclass(frozen=True)
class Shown:
    """What of a manifest is shown, and with what.

    Attributes:
        source: The manifest.
        beside: What it is shown with.
        where: Which poses are asked for; None for all.
    """

    source: Manifest
    beside: Neighbours
    where: Where | None = None

    def batches(self) -> Iterator[list[tuple[Sample, Document]]]:
        """The images with a pose that is asked for, as they stand in batches of :data:`BATCH` images."""
        number = _ROUND.search(self.source.path.resolve().as_posix())
        samples = iter(self.source)
        while batch := list(islice(samples, BATCH)):
            files = [image_file(self.source, sample) for sample in batch]
            made = documents(
                batch,
                files,
                self.source.skeleton,
                self.beside.of(batch),
                round_number=int(number[1]) if number else None,
            )
            yield [(sample, d) for sample, d, asked in zip(batch, made, self._asked(made), strict=True) if asked]

    def _asked(self, made: list[Document]) -> list[bool]:
        counts = [document["num_poses"] for document in made]
        if self.where is None or not any(counts):
            return [self.where is None] * len(made)
        chosen = self.where(columns(made))
        return [bool(chosen[start:end].any()) for start, end in pairwise(np.cumsum([0, *counts]).tolist())]


@dataclass
class Count:
    """What was seen while documents passed.

    Attributes:
        images: How many.
        poses: How many poses.
        missing: Images that are not where the manifest says.
        first: Where the first of them should be.
    """

    images: int = 0
    poses: int = 0
    missing: int = 0
    first: str = ""

    def watch(self, shown: Shown, task: Task) -> Iterator[list[Document]]:
        """The documents of a manifest, counted."""
        for batch in shown.batches():
            made = [document for _, document in batch]
            gone = [document["filepath"] for document in made if not Path(document["filepath"]).is_file()]
            self.images += len(made)
            self.poses += sum(document["num_poses"] for document in made)
            self.missing += len(gone)
            self.first = self.first or next(iter(gone), "")
            yield made
            task.advance(BATCH)


def image_file(source: Manifest, sample: Sample) -> Path:
    """Where a sample's image lies, absolute and without detours: FiftyOne names samples by it."""
    return Path(*source.image_path(sample).resolve().parts)


def dataset_name(source: Manifest) -> str:
    """The name of a manifest's data set: of its project, which keeps one over all rounds, or of its folder."""
    path = source.path.resolve()
    project = next((folder for folder in path.parents if (folder / FILE).is_file()), path)
    return re.sub(r"[^\w.-]+", "-", project.name).strip("-.") or "poses"


def require_images(source: Manifest) -> None:
    """Refuse a manifest none of whose first images can be shown.

    Raises:
        InputError: They lie in an object store, or are not where the manifest says.
    """
    stored = next((root for root in source.roots.values() if is_stored(root)), None)
    if stored is not None:
        raise InputError(
            f"its images lie in an object store ({stored}), which FiftyOne's App cannot show",
            subject=str(source.path),
            remedy="Mount the bucket, and scan the mounted folder.",
        )
    first = [image_file(source, sample) for sample in islice(iter(source), BATCH)]
    if first and not any(file.is_file() for file in first):
        raise InputError(
            f"none of its images is where it says, such as {first[0]}",
            subject=str(source.path),
            remedy="Put the images back, or scan or import them again from where they are now.",
        )
