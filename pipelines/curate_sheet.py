"""The contact sheet of a manifest: crops of its people on disk, and a data set that shows them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.curate.dataset import index_keys, open_dataset
from autolabel.curate.documents import Document
from autolabel.curate.sheet import Part, crop_documents, declare_people, write_crop
from autolabel.curate.sync import PEOPLE, Synced, sync
from autolabel.curate.views import save_people_views
from autolabel.curate.writers import writer_for
from autolabel.errors import ImageError
from autolabel.manifest import make_folder
from autolabel.poses import Sample
from autolabel.progress import Progress, Task
from pipelines.curate_shown import Shown
from pipelines.decoding import decoded_ahead


@dataclass(frozen=True)
class SheetResult:
    """A contact sheet.

    Attributes:
        dataset: Its name.
        people: How many are on it.
        folder: Where the crops are.
        written: Crops that this call made.
        without_image: People whose image cannot be read; they are not on it.
        synced: What was written of the data set.
    """

    dataset: str
    people: int
    folder: Path
    written: int
    without_image: int
    synced: Synced

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        kept = ("dataset", "people", "folder", "written", "without_image")
        return {name: value for name, value in asdict(self).items() if name in kept}


def show_people(fiftyone: Any, name: str, shown: Shown, folder: Path, progress: Progress) -> SheetResult:
    """Cut out everybody, and bring the contact sheet to what the manifest says.

    Crops that are there already are kept: a file's name tells which points it was cut for.

    Args:
        fiftyone: The module.
        name: Of the contact sheet's data set.
        shown: The manifest.
        folder: Where the crops are written.
        progress: Where to report.

    Raises:
        InputError: Something else has the name.
    """
    make_folder(folder)
    dataset = open_dataset(fiftyone, name, shown.source.skeleton, shows="people")
    declare_people(fiftyone, dataset, shown.source.skeleton)
    index_keys(dataset)
    cutting = _Cutting(shown, folder.resolve())
    with progress.task("contact sheet", len(shown.source), "image") as task:
        synced = sync(dataset, cutting.batches(task), writer_for(fiftyone, dataset), PEOPLE)
    save_people_views(fiftyone, dataset)
    return SheetResult(name, cutting.people, folder, cutting.written, cutting.without_image, synced)


@dataclass
class _Cutting:
    """Cuts people out while their documents pass, and counts."""

    shown: Shown
    folder: Path
    people: int = 0
    written: int = 0
    without_image: int = 0

    def batches(self, task: Task) -> Iterator[list[Document]]:
        """The documents of the people of each batch of images."""
        for batch in self.shown.batches():
            made = [list(crop_documents(document, self.folder)) for _, document in batch]
            wanted = [i for i, people in enumerate(made) if any(not _is_there(crop) for crop, _ in people)]
            samples: list[Sample] = [sample for sample, _ in batch]
            for i, image in decoded_ahead(self.shown.source, samples, wanted):
                if isinstance(image, ImageError):
                    self.without_image += len(made[i])
                    made[i] = []
                else:
                    self.written += _cut(image, made[i])
            task.advance(len(batch))
            people = [crop for each in made for crop, _ in each]
            self.people += len(people)
            yield people


def _cut(image: NDArray[np.uint8], people: list[tuple[Document, Part]]) -> int:
    """Write the crops of an image that are not there; how many."""
    wanted = [(crop, part) for crop, part in people if not _is_there(crop)]
    for crop, part in wanted:
        write_crop(Path(crop["filepath"]), part.cut(image))
    return len(wanted)


def _is_there(crop: Document) -> bool:
    return Path(crop["filepath"]).is_file()
