"""A manifest as a FiftyOne data set.

The manifest stays the truth and the data set a view of it: called again it brings the data set to what the manifest
says now, writes only what differs, and keeps what curators did.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.curate.brain import EmbeddingResult, Embeddings, embed
from autolabel.curate.columns import COLUMNS
from autolabel.curate.database import database, open_fiftyone
from autolabel.curate.dataset import index_keys, note, open_dataset
from autolabel.curate.documents import sample_key
from autolabel.curate.schema import declare, show
from autolabel.curate.sync import Synced, sync
from autolabel.curate.views import save_views
from autolabel.curate.where import Where
from autolabel.curate.writers import writer_for
from autolabel.errors import InputError
from autolabel.manifest import Manifest
from autolabel.phrases import counted
from autolabel.progress import SILENT, Progress
from pipelines.curate_beside import Neighbours
from pipelines.curate_sheet import SheetResult, show_people
from pipelines.curate_shown import Count, Shown, require_images
from pipelines.lint import EMBEDDING
from pipelines.mongodb import find_mongodb

_NAMED = 3


@dataclass(frozen=True)
class ShowResult:
    """What a data set shows now.

    Attributes:
        dataset: Its name.
        images: Images in it.
        poses: Poses in them.
        synced: What was written.
        missing: Images that are not where the manifest says.
        views: Names of the saved views.
        people: The contact sheet; None where none was asked for.
        embedded: What was made of the embeddings; None where that was not asked for.
    """

    dataset: str
    images: int
    poses: int
    synced: Synced
    missing: int
    views: tuple[str, ...]
    people: SheetResult | None = None
    embedded: EmbeddingResult | None = None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        done = self.synced
        return {
            "dataset": self.dataset,
            "images": self.images,
            "poses": self.poses,
            "added": done.added,
            "updated": done.updated,
            "unchanged": done.unchanged,
            "removed": done.removed,
            "left": done.left,
            "edited": done.edited,
            "missing": self.missing,
            "views": self.views,
            **({"sheet": self.people.summary()} if self.people else {}),
            **({"embedded": self.embedded.summary()} if self.embedded else {}),
        }


def show_manifest(
    source: Manifest,
    name: str,
    beside: Neighbours,
    *,
    where: str | None = None,
    sheet: Path | None = None,
    brain: bool = False,
    progress: Progress = SILENT,
) -> ShowResult:
    """Bring a data set to what a manifest says.

    Args:
        source: The manifest.
        name: Of the data set.
        beside: What it is shown with.
        where: Show only images with a pose of which this is true.
        sheet: Make a contact sheet too, and write its crops here.
        brain: Map the people, and tell similar ones and unique images.
        progress: Where to report.

    Raises:
        InputError: Something else has the name, no image is where the manifest says, the images lie in an object
            store, or nothing matches ``where``.
        SkeletonError: The data set has another skeleton.
        ConfigError: ``where`` cannot be understood.
        WorkError: No database can be had, or it stopped answering: the same call goes on.
    """
    require_images(source)
    asked = Where.parse(where, COLUMNS) if where is not None else None
    shown, count = Shown(source, beside, asked), Count()
    fiftyone = open_fiftyone(find_mongodb(progress=progress))
    with database():
        dataset = open_dataset(fiftyone, name, source.skeleton, shows="images")
        declare(fiftyone, dataset, beside.columns, beside.others)
        index_keys(dataset)
        synced = _write(fiftyone, dataset, shown, count, progress)
        show(fiftyone, dataset, source.skeleton, beside.others)
        people = show_people(fiftyone, f"{name}-people", shown, sheet, progress) if sheet is not None else None
        embedded = embed(fiftyone, dataset, embeddings_of(source), progress.note) if brain else None
        _sign(fiftyone, dataset, source, people)
        views = save_views(fiftyone, dataset)
    result = ShowResult(name, count.images, count.poses, synced, count.missing, tuple(views), people, embedded)
    _tell(result, count, progress)
    return result


def _write(fiftyone: Any, dataset: Any, shown: Shown, count: Count, progress: Progress) -> Synced:
    """Bring the data set to what the manifest says.

    Raises:
        InputError: Nothing is asked for; what the data set held is left alone.
    """
    with progress.task("curate", len(shown.source), "image") as task:
        done = sync(dataset, count.watch(shown, task), writer_for(fiftyone, dataset))
    if shown.where is not None and not count.images:
        raise InputError(
            "no pose is as --where asks", subject=shown.where.text, remedy="Ask for less; nothing was changed."
        )
    return done


def embeddings_of(source: Manifest) -> Embeddings:
    """A stream over a manifest's embeddings, part by part; nothing where it has none."""

    def stream() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for i in range(source.num_parts):
            features = source.features(i) or {}
            if EMBEDDING not in features:
                continue
            first = 0
            for sample in source.part(i):
                rows = slice(first, first + len(sample.poses))
                first = rows.stop
                yield sample_key(sample), features[EMBEDDING][rows]

    return stream


def _sign(fiftyone: Any, dataset: Any, source: Manifest, people: SheetResult | None) -> None:
    """Write down what the data set shows, for the plugin and for ``--pull``."""
    said: dict[str, Any] = {"manifest": str(source.path.resolve()), "digest": source.digest}
    if people is not None:
        note(fiftyone.load_dataset(people.dataset), {**said, "images": dataset.name})
        said["people"] = people.dataset
    note(dataset, said)


def _tell(result: ShowResult, count: Count, progress: Progress) -> None:
    done = result.synced
    if count.missing:
        progress.note(
            f"WARNING: {counted(count.missing, 'image')} not where the manifest says, the first is {count.first}: "
            "FiftyOne shows grey tiles for them"
        )
    if done.edited:
        progress.note(
            f"{counted(done.edited, 'pose')} edited in FiftyOne and not pulled yet: left as edited. "
            "`autolabel curate --pull` brings them home"
        )
    if done.left:
        progress.note(
            f"{counted(done.left, 'tagged image')} left the manifest and stay, in the view `left the manifest`"
        )
    for lost in done.lost[:_NAMED]:
        progress.note(f"tag lost with its pose, which left its image: {lost}")
    if len(done.lost) > _NAMED:
        progress.note(f"and {len(done.lost) - _NAMED} more tags of poses that left their images")
    if result.people and result.people.without_image:
        progress.note(f"not on the contact sheet, for want of a readable image: {result.people.without_image} people")
