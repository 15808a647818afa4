"""Documents into the database: through FiftyOne's public interface, or as they are where that is known to be the same.

FiftyOne makes an object of every pose and a document of every object again, which takes most of the time. What its
version 1.22 stores is known field by field (``tests/live/test_curate.py`` compares the two), so there the documents go
to the collection directly. Any other version is written through the public interface.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from autolabel.curate.documents import Document

KNOWN = "1.22."
"""Versions whose stored documents are known."""

LABELS = ("keypoints", "detections")
"""Where a field keeps its labels."""


class Writer(Protocol):
    """Writes documents to one data set; each has a ``key`` that no other has."""

    def add(self, documents: Sequence[Document]) -> None:
        """Samples that the data set lacks."""
        ...

    def update(self, documents: Sequence[Document]) -> None:
        """Samples that it has: every field that a document names; tags of samples stay."""
        ...


def writer_for(fiftyone: Any, dataset: Any) -> Writer:
    """The fastest safe way to write to a data set."""
    known = str(fiftyone.__version__).startswith(KNOWN)
    return DocumentWriter(fiftyone, dataset) if known else PublicWriter(fiftyone, dataset)


class PublicWriter:
    """Through FiftyOne's public interface; the fields are declared, so that it need not look for new ones.

    Labels are set as the documents that they are stored as, which spares FiftyOne an object for each; the first ones
    are read again to see that it takes them so. A version that does not is given objects.

    Args:
        fiftyone: The module.
        dataset: Where to.
        plain: Whether labels may be set as documents.
    """

    def __init__(self, fiftyone: Any, dataset: Any, *, plain: bool = True) -> None:
        self._fiftyone, self._dataset = fiftyone, dataset
        self._plain, self._seen = plain, set[str]()

    def add(self, documents: Sequence[Document]) -> None:
        """See :class:`Writer`."""
        bare = [{name: value for name, value in d.items() if not isinstance(value, dict)} for d in documents]
        # No sample is kept: those that exist would be read again after every change.
        samples = (self._fiftyone.Sample(**document) for document in bare)
        self._dataset.add_samples(
            samples, expand_schema=False, validate=False, progress=False, num_samples=len(documents)
        )
        self._set(documents, [n for n in (documents[0] if documents else ()) if n not in bare[0]])

    def update(self, documents: Sequence[Document]) -> None:
        """See :class:`Writer`."""
        self._set(documents, [name for name in (documents[0] if documents else ()) if name != "key"])

    def _set(self, documents: Sequence[Document], names: Sequence[str]) -> None:
        # Of a view, because of a data set all keys would be read for every field.
        view = self._dataset.select_by("key", [document["key"] for document in documents])
        for name in names:
            values = {document["key"]: document[name] for document in documents}
            if not (self._plain and self._took(view, name, values)):
                objects = {key: self._object(value) for key, value in values.items()}
                view.set_values(name, objects, key_field="key", progress=False)

    def _took(self, view: Any, name: str, values: Mapping[str, Any]) -> bool:
        """Set a field to values that are no objects, and see that FiftyOne reads the first as what it is."""
        try:
            view.set_values(name, values, key_field="key", expand_schema=False, validate=False, progress=False)
            if name in self._seen:
                return True
            self._seen.add(name)
            sample = view.first()
            given, found = values[sample["key"]], sample[name]
            # As text, because NaN is not equal to itself.
            self._plain = not isinstance(given, dict) or repr(found) == repr(self._object(given))
        except (TypeError, ValueError, AttributeError):  # of a version that knows other arguments or values
            self._plain = False
        return self._plain

    def _object(self, value: Any) -> Any:
        """The object that a document with a ``_cls`` is of, those in its lists first; anything else as it is."""
        if not isinstance(value, dict):
            return value
        given = cast("Document", value)
        made = {n: self._objects(item) for n, item in given.items() if n not in ("_cls", "attributes")}
        return getattr(self._fiftyone, given["_cls"])(**made)

    def _objects(self, item: Any) -> Any:
        if not isinstance(item, list):
            return item
        several = cast("list[Any]", item)
        return [self._object(one) for one in several] if several and isinstance(several[0], dict) else several


class DocumentWriter:
    """Straight into the collection, as FiftyOne 1.22 would leave it.

    Args:
        fiftyone: The module.
        dataset: Where to.
    """

    def __init__(self, fiftyone: Any, dataset: Any) -> None:
        self._dataset = dataset
        self._collection = dataset._sample_collection
        self._of = {"_media_type": "image", "_dataset_id": dataset._doc.id}
        if dataset.media_type is None:
            dataset.media_type = fiftyone.core.media.IMAGE

    def add(self, documents: Sequence[Document]) -> None:
        """See :class:`Writer`."""
        now = _now()
        made = [
            {
                **document,
                "tags": list[str](),
                "_rand": random.random(),
                "created_at": now,
                "last_modified_at": now,
                **self._of,
            }
            for document in documents
        ]
        if made:
            self._collection.insert_many(made, ordered=False)

    def update(self, documents: Sequence[Document]) -> None:
        """See :class:`Writer`."""
        from pymongo import UpdateOne

        now = _now()
        changes = [
            UpdateOne({"key": d["key"]}, {"$set": {**_without_key(d), "last_modified_at": now}}) for d in documents
        ]
        if changes:
            self._collection.bulk_write(changes, ordered=False)


def with_ids(document: Document, kept: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Document:
    """A document whose labels have FiftyOne's ids: those that the data set knows them by, else new ones.

    Args:
        document: From :func:`autolabel.curate.documents.documents`.
        kept: By field and by pose id, what stays of a label that is there: ``_id``, ``tags`` and others.
    """
    from bson import ObjectId

    made = dict(document)
    for name, value in document.items():
        for labels in LABELS if isinstance(value, dict) else ():
            field, old = cast("Document", value), kept.get(name, {})
            if labels in field:
                listed = [{"_id": ObjectId(), **label, **old.get(label["pose_id"], {})} for label in field[labels]]
                made[name] = {**field, labels: listed}
    return made


def _without_key(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "key"}


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
