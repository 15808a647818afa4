"""The keypoints of a FiftyOne data set as labels; ``autolabel import fiftyone`` makes a manifest of them.

The data set is read some columns of some images at a time, so that of FiftyOne's objects there are none and of its
documents few in memory. ``incoming_fields.py`` finds out what is to be read, ``incoming_labels.py`` makes poses of it.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolabel.curate.database import database
from autolabel.curate.documents import Document
from autolabel.curate.incoming_fields import (
    OURS,
    choose_field,
    find_boxes,
    load_dataset,
    our_mark,
    scalar_names,
    skeleton_of,
)
from autolabel.curate.incoming_labels import (
    BOXLESS,
    READ,
    READ_OF_BOXES,
    READ_OF_OURS,
    THEIRS,
    Counts,
    Layout,
    carried,
    plain,
    read_poses,
)
from autolabel.curate.schema import SAMPLE_FIELDS
from autolabel.errors import ImageError, InputError, WorkError
from autolabel.formats.labels import UNKNOWN_SIZE, Labels
from autolabel.formats.records import refuse_repeated_images
from autolabel.images import image_size
from autolabel.poses import Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import Skeleton

BATCH = 1000
"""Images that are read at a time."""

_OF_SAMPLES = ("filepath", "metadata.width", "metadata.height", "tags")
_OF_OUR_SAMPLES = ("path", "group", "duplicate_of", "left")

_OUTSIDE = "images lie outside the folder of the images and were left out"
_LEFT = "images left the manifest that the data set shows and were left out"


def read_dataset(
    fiftyone: Any,
    name: str,
    images: Path,
    *,
    field: str = "",
    skeleton: Skeleton | None = None,
    progress: Progress = SILENT,
) -> Labels:
    """Read the keypoints of a FiftyOne data set.

    An image whose size neither the data set nor its own header tells has the size ``UNKNOWN_SIZE`` and poses that say
    nothing: without the size, nobody knows where they are.

    Args:
        fiftyone: The module, with a database that answers.
        name: Of the data set.
        images: The folder that its images lie below; the samples' paths start here.
        field: The field of keypoints; may be left out where there is one, or where the data set is ours.
        skeleton: What the keypoints are, where the data set does not say it.
        progress: Where to report.

    Raises:
        InputError: There is no such data set, it shows no images, or none of them lies below ``images``.
        FormatError: No or several fields of keypoints, or a malformed label; names the image and the attribute.
        SkeletonError: A data set of ours needs the skeleton that it was made with.
        WorkError: The data set changed while it was read, or the database stopped answering.
    """
    subject = f"FiftyOne data set {name!r}"
    with database():
        dataset = load_dataset(fiftyone, name, subject)
        chosen = choose_field(fiftyone, dataset, field, subject)
        made, order = skeleton_of(dataset, chosen, skeleton, subject)
        boxes, why_boxless = find_boxes(fiftyone, dataset, chosen)
        ours = chosen in OURS and bool(our_mark(dataset))
        columns, scalars = _columns(fiftyone, dataset, chosen, (boxes.shared,) if boxes else (), ours=ours)
        layout = Layout(subject, chosen, ours, made, order, carried(ours, scalars), boxes)
        reader = _Reader(layout, columns, images)
        samples = reader.samples(dataset, progress)
        others = [one for one in dataset.get_field_schema(embedded_doc_type=fiftyone.Keypoints) if one != chosen]
    first = reader.counts.first
    if not samples and _OUTSIDE in first:
        why = f"holds none of the images of {subject}, such as {first[_OUTSIDE]}"
        raise InputError(why, subject=str(images), remedy="Give the folder that they lie below.")
    named = ((sample.path, f"image {i}", subject) for i, sample in enumerate(samples))
    refuse_repeated_images(named, remedy="Delete one of them in FiftyOne.")
    notes = reader.counts.notes()
    if BOXLESS in first and why_boxless:
        notes.append(why_boxless)
    if others:
        notes.append(f"Only keypoints of the field {chosen!r} were read; there are also {', '.join(others)}.")
    return Labels(made, samples, notes=tuple(notes), digest=reader.digest)


@dataclass(frozen=True)
class _Columns:
    """Names of what is read of samples and of labels; ``theirs`` of samples travel in the attribute ``THEIRS``."""

    samples: Sequence[str]
    labels: Sequence[str]
    theirs: Sequence[str]


def _columns(
    fiftyone: Any, dataset: Any, field: str, shared: Sequence[str], *, ours: bool
) -> tuple[_Columns, list[str]]:
    """What is to be read, and which of a label's attributes are single values."""
    schema = {**dataset.get_field_schema(flat=True), **dataset.get_dynamic_field_schema(fields=field)}
    scalars = scalar_names(fiftyone, schema, f"{field}.keypoints.")
    said = {spec.path for spec in SAMPLE_FIELDS} if our_mark(dataset) else set[str]()
    theirs = [name for name in scalar_names(fiftyone, schema) if name not in (*_OF_SAMPLES, *said)]
    samples = (*_OF_SAMPLES, *(_OF_OUR_SAMPLES if ours else ()), *theirs)
    labels = (*(READ_OF_OURS if ours else READ), *shared, *scalars)
    return _Columns(samples, list(dict.fromkeys(labels)), ("tags", *theirs)), scalars


@dataclass(frozen=True)
class _Row:
    """What was read of a sample, of its labels and of its boxes, by name."""

    sample: Document
    labels: list[Document]
    boxes: list[Document]


class _Reader:
    """Reads the samples in order, and keeps what has to be told of all of them."""

    def __init__(self, layout: Layout, columns: _Columns, images: Path) -> None:
        self.counts = Counts()
        self._layout, self._columns, self._images = layout, columns, images
        self._below = _Below(images)
        self._hash = hashlib.sha256(repr((layout.field, layout.order)).encode())

    @property
    def digest(self) -> str:
        """Of all that was read."""
        return self._hash.hexdigest()

    def samples(self, dataset: Any, progress: Progress) -> list[Sample]:
        """Those of the data set, oldest first."""
        ordered, total = dataset.sort_by("id"), len(dataset)
        made = list[Sample]()
        with progress.task("read", total, "image") as task:
            for start in range(0, total, BATCH):
                rows = list(self._rows(ordered[start : start + BATCH]))
                made += [sample for row in rows if (sample := self._sample(row)) is not None]
                task.advance(len(rows))
        return made

    def _rows(self, view: Any) -> Iterator[_Row]:
        boxes, poses = self._layout.boxes, f"{self._layout.field}.keypoints."
        of_boxes = dict.fromkeys((*READ_OF_BOXES, boxes.shared)) if boxes else ()
        parts = [(self._columns.samples, ""), (self._columns.labels, poses)]
        parts += [(tuple(of_boxes), f"{boxes.name}.detections.")] if boxes else []
        columns = iter(view.values([f"{prefix}{name}" for names, prefix in parts for name in names]))
        samples, labels, *rest = [{name: next(columns) for name in names} for names, _ in parts]
        for i in range(len(samples["filepath"])):
            sample = {name: values[i] for name, values in samples.items()}
            yield _Row(sample, self._labels(labels, i), self._labels(rest[0], i) if rest else [])

    def _labels(self, columns: dict[str, Any], i: int) -> list[Document]:
        """The labels of one sample; each column holds a list of values, or nothing where the sample has no labels."""
        values = [column[i] or () for column in columns.values()]
        try:
            return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
        except ValueError as error:
            raise WorkError(
                "changed while it was read", subject=self._layout.subject, remedy="Run the command again."
            ) from error

    def _sample(self, row: _Row) -> Sample | None:
        said, layout = row.sample, self._layout
        path = self._below.path(said["filepath"])
        if path is None or said.get("left"):
            self.counts.add(_OUTSIDE if path is None else _LEFT, said["filepath"])
            return None
        read = [path, {**said, "filepath": ""}, row.labels, row.boxes]
        self._hash.update(json.dumps(read, sort_keys=True, default=str).encode("utf-8", "surrogateescape"))
        size = self._size(said, path)
        if size == UNKNOWN_SIZE:
            poses = Poses.create(layout.skeleton.num_keypoints, id=[""] * len(row.labels))
        else:
            poses = read_poses(row.labels, row.boxes, layout, image=path, size=size, counts=self.counts)
        theirs = plain({name: said[name] for name in self._columns.theirs})
        same = said.get("path") == path
        return Sample(
            id="",
            root="",
            path=path,
            size=size,
            poses=poses,
            group=said.get("group") or "",
            duplicate_of=(said.get("duplicate_of") or "") if same else "",
            attributes={THEIRS: theirs} if theirs else {},
        )

    def _size(self, said: Document, path: str) -> tuple[int, int]:
        width, height = said["metadata.width"], said["metadata.height"]
        if width and height:
            return int(width), int(height)
        try:
            return image_size(self._images / path)
        except ImageError:
            return UNKNOWN_SIZE


class _Below:
    """Paths below a folder, whichever of its names a file is called by."""

    def __init__(self, folder: Path) -> None:
        self._names = (folder.absolute(), folder.resolve())
        self._real = dict[Path, Path]()

    def path(self, file: str) -> str | None:
        """With forward slashes; None where the file lies elsewhere."""
        whole = Path(file)
        if ".." not in whole.parts:
            for folder in self._names:
                if whole.is_relative_to(folder):
                    return whole.relative_to(folder).as_posix()
        if whole.parent not in self._real:
            self._real[whole.parent] = whole.parent.resolve()
        real = self._real[whole.parent] / whole.name
        return real.relative_to(self._names[1]).as_posix() if real.is_relative_to(self._names[1]) else None
