"""Which poses somebody means who has selected something in FiftyOne's App.

In order: labels that are selected, images or crops that are selected, the one that is open. Where the view shows only
some poses of an image, only those are meant. On a contact sheet a crop stands for its pose in the data set of images.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from autolabel.curate.dataset import INFO
from autolabel.curate.documents import BOXES, POSES
from autolabel.errors import InputError
from autolabel.phrases import counted

IMAGES, PEOPLE = "images", "people"
"""What a data set shows."""

_SELECT = "Select tiles by the box in their corner, or poses by a click on them in an open image."


@dataclass(frozen=True)
class Shown:
    """A data set of ours that is open, and the other one of its manifest.

    Attributes:
        images: The data set of images; None where only a contact sheet is left.
        people: Its contact sheet, if there is one.
        on_sheet: Whether the contact sheet is the one that is open.
        keypoints: Their names, in order.
        manifest: The manifest's folder; "" where that is not known.
        digest: The manifest's digest when it was shown.
    """

    images: Any | None
    people: Any | None
    on_sheet: bool
    keypoints: tuple[str, ...]
    manifest: str
    digest: str

    @property
    def open(self) -> Any:
        """The data set that is open."""
        return self.people if self.on_sheet else self.images


@dataclass(frozen=True)
class Chosen:
    """What is meant.

    Attributes:
        poses: Ids, each once, in the order of the view.
        told: What was selected, in words.
    """

    poses: tuple[str, ...]
    told: str


def shown_sets(dataset: Any) -> Shown:
    """What a data set shows.

    Raises:
        InputError: ``autolabel curate`` did not make it.
    """
    info = _info(dataset)
    if info.get("shows") not in (IMAGES, PEOPLE):
        name = f"FiftyOne data set {dataset.name!r}" if dataset is not None else None
        raise InputError("`autolabel curate` did not make this data set", subject=name,
                         remedy="Open one that it made.")  # fmt: skip
    on_sheet = info["shows"] == PEOPLE
    other = _other(info, IMAGES if on_sheet else PEOPLE)
    images, people = (other, dataset) if on_sheet else (dataset, other)
    source = _info(images) or info
    return Shown(
        images=images,
        people=people,
        on_sheet=on_sheet,
        keypoints=tuple(info.get("keypoints") or ()),
        manifest=str(source.get("manifest") or ""),
        digest=str(source.get("digest") or ""),
    )


def chosen_poses(
    shown: Shown, view: Any, *, labels: Sequence[Mapping[str, Any]], samples: Sequence[str], current: str | None
) -> Chosen:
    """The poses that are meant.

    Args:
        shown: What is open.
        view: What the App shows of it.
        labels: Selected ones, as FiftyOne tells them: ``label_id``, ``field`` and more.
        samples: Ids of selected samples.
        current: Id of the sample that is open.

    Raises:
        InputError: Nothing is selected, or nothing that is a pose of the manifest.
    """
    what = "person" if shown.on_sheet else "image"
    if labels:
        poses, told = _of_labels(shown, labels), _told(labels, current)
    elif samples:
        poses, told = poses_in(shown, view.select(list(samples))), counted(len(samples), f"selected {what}")
    elif current:
        poses, told = poses_in(shown, view.select([current])), f"the open {what}"
    else:
        raise InputError("Nothing is selected", remedy=_SELECT)
    if not poses:
        raise InputError(f"No pose of the manifest is in {told}", remedy=_SELECT)
    return Chosen(poses, told)


def poses_in(shown: Shown, view: Any) -> tuple[str, ...]:
    """Ids of the poses that a view shows, patches of poses or boxes too."""
    places = ["pose_id"] if shown.on_sheet else []
    places += [f"{POSES}.pose_id", f"{BOXES}.pose_id", f"{POSES}.keypoints.pose_id"]
    schema = view.get_field_schema(flat=True)
    place = next((place for place in places if place in schema), "")
    return _once(view.values(place, unwind=True)) if place else ()


def _of_labels(shown: Shown, labels: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The poses that labels are, or are the boxes of."""
    ids = {str(label["label_id"]) for label in labels}
    places = [f"{POSES}.keypoints"] + ([] if shown.on_sheet else [f"{BOXES}.detections"])
    chosen = shown.open.match({"$or": [{f"{place}._id": {"$in": _object_ids(ids)}} for place in places]})
    columns = chosen.values([f"{place}.{name}" for place in places for name in ("id", "pose_id")])
    pairs = zip(columns[::2], columns[1::2], strict=True)
    return _once(
        pose
        for listed, poses in pairs
        for own_ids, own_poses in zip(listed, poses, strict=True)
        for label, pose in zip(own_ids or (), own_poses or (), strict=True)
        if label in ids
    )


def _told(labels: Sequence[Mapping[str, Any]], current: str | None) -> str:
    """Selected labels in words: the App keeps them selected when somebody goes on to another image."""
    elsewhere = sum(label.get("sample_id", current) != current for label in labels) if current else 0
    return counted(len(labels), "selected label") + (f" ({elsewhere:,} not in the open image)" if elsewhere else "")


def _info(dataset: Any) -> Mapping[str, Any]:
    """What a data set says of itself; nothing where it is not ours, or none is open."""
    mark = dataset.info.get(INFO) if dataset is not None else None
    return cast("Mapping[str, Any]", mark) if isinstance(mark, dict) else {}


def _other(info: Mapping[str, Any], shows: str) -> Any | None:
    """The other data set of a manifest, where it is still there and ours."""
    import fiftyone  # pyright: ignore[reportMissingTypeStubs]  # it has none

    module, name = cast("Any", fiftyone), info.get(shows)
    if not name or not module.dataset_exists(name):
        return None
    found = module.load_dataset(name)
    return found if _info(found).get("shows") == shows else None


def _once(ids: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in ids if name))


def _object_ids(ids: Iterable[str]) -> list[Any]:
    from bson import ObjectId

    return [ObjectId(name) for name in ids if ObjectId.is_valid(name)]
