"""What is different between two manifests: images, and what is stated about each pose.

Images are paired by their place (root and path), the poses of an image by their ids, which they keep through all
rounds. The second manifest is read part by part, and of the first one those parts that hold the same images. So memory
does not grow with the poses: held are two parts, and an index of 13 bytes an image. Scores, and who stated a pose last,
are left out: they may change while the label stays the same.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ManifestError
from autolabel.manifest import Manifest
from autolabel.merge import apart
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import SILENT, Progress

Place = tuple[str, str]
"""Root and path of an image."""


class Change(StrEnum):
    """What happened to an image or a pose between two manifests."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    """Of an image: other bytes at the same place. Of a pose: at least one of the things that it states."""


@dataclass(frozen=True)
class ImageDiff:
    """An image that is in one manifest alone, or whose bytes are others.

    Attributes:
        place: Root and path.
        change: What happened.
    """

    place: Place
    change: Change

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"image": "/".join(self.place), "change": self.change.value}


@dataclass(frozen=True)
class PoseDiff:
    """A pose that is in one manifest alone, or that states something else.

    Attributes:
        pose: Its id.
        place: Root and path of its image.
        change: What happened. Of a pose that was added or removed, nothing below is told.
        moved: Image pixels between the two places of each keypoint that has another place.
        placed: Keypoints that have a place in the second manifest alone.
        unplaced: Keypoints that have a place in the first one alone.
        visibility: Before and after, of the keypoints whose visibility is another one.
        origin: Before and after, of the keypoints that were placed by another kind of hand.
        state: Before and after, where it is another one; "" is no state.
        box: Before and after, xyxy in image pixels, where it is another one; None is no box.
    """

    pose: str
    place: Place
    change: Change
    moved: Mapping[str, float]
    placed: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()
    visibility: Mapping[str, tuple[str, str]] | None = None
    origin: Mapping[str, tuple[str, str]] | None = None
    state: tuple[str, str] | None = None
    box: tuple[list[float] | None, list[float] | None] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: of a changed pose, only what is different."""
        told = {
            "moved": dict(self.moved),
            "placed": list(self.placed),
            "unplaced": list(self.unplaced),
            "visibility": self.visibility,
            "origin": self.origin,
            "state": self.state,
            "box": self.box,
        }
        head = {"pose": self.pose, "image": "/".join(self.place), "change": self.change.value}
        return {**head, **{name: value for name, value in told.items() if value}}


def compare(first: Manifest, second: Manifest, progress: Progress = SILENT) -> Iterator[ImageDiff | PoseDiff]:
    """What is different in the second manifest.

    Args:
        first: What stood before.
        second: What stands now.
        progress: Where to report.

    Yields:
        One an image or pose that is different: first those of images in ``second``, then those of images that are in
        ``first`` alone.

    Raises:
        SkeletonError: Their skeletons differ, so that keypoints cannot be paired.
        ManifestError: The first manifest or both list an image twice, or one of them lists a pose twice in one image.
    """
    first.skeleton.require_same(second.skeleton, str(second.path))
    index = _Index(first)
    with progress.task("compare", len(second), "image") as task:
        for i in range(second.num_parts):
            samples = second.part(i)
            parts = index.visit(samples, second)
            for part in sorted(set(parts)):
                now = [sample for sample, at in zip(samples, parts, strict=True) if at == part]
                before = {sample.key[1:]: sample for sample in first.part(part)} if part >= 0 else {}
                yield from _of_part(before, now, first, second)
            task.advance(len(samples))
    for sample in index.left():
        yield ImageDiff(sample.key[1:], Change.REMOVED)
        yield from (_alone(pose, sample, Change.REMOVED) for pose in sample.poses.id.tolist())


class _Index:
    """In which part of a manifest each image lies, found by a hash of its place, and which of them were visited."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        keys: list[NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        parts: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        for i in range(manifest.num_parts):
            keys.append(_hashes(manifest.part(i)))
            parts.append(np.full(len(keys[-1]), i, np.int32))
        whole = np.concatenate(keys)
        order = np.argsort(whole, kind="stable")
        self._keys, self._parts = whole[order], np.concatenate(parts)[order]
        self._visited = np.zeros(len(order), bool)
        if len(twice := np.flatnonzero(self._keys[1:] == self._keys[:-1])):
            row = int(twice[0]) + 1
            samples = manifest.part(int(self._parts[row]))
            _refuse(samples[int(np.flatnonzero(_hashes(samples) == self._keys[row])[-1])], manifest)

    def visit(self, samples: list[Sample], whose: Manifest) -> list[int]:
        """The part of each sample's image; -1 where there is none at its place.

        Raises:
            ManifestError: An image was visited before, so that ``whose`` lists it twice.
        """
        if not len(self._keys):
            return [-1] * len(samples)
        keys = _hashes(samples)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        found = self._keys[at] == keys
        for sample, row in zip(samples, np.where(found, at, -1).tolist(), strict=True):
            if row >= 0 and self._visited[row]:
                _refuse(sample, whose)
            if row >= 0:
                self._visited[row] = True
        return np.where(found, self._parts[at], -1).tolist()

    def left(self) -> Iterator[Sample]:
        """Samples whose images nobody visited."""
        keys = self._keys[~self._visited]
        for part in np.unique(self._parts[~self._visited]).tolist():
            samples = self._manifest.part(part)
            yield from (sample for sample, alone in zip(samples, np.isin(_hashes(samples), keys), strict=True) if alone)


def _refuse(sample: Sample, manifest: Manifest) -> NoReturn:
    raise ManifestError(f"lists image {sample.path} twice", subject=str(manifest.path))


def _hashes(samples: list[Sample]) -> NDArray[np.uint64]:
    """(N,) 64 bits of each sample's place; among a million images two are equal by chance once in 10^7 manifests."""
    places = (f"{sample.root}\0{sample.path}".encode() for sample in samples)
    digests = b"".join(hashlib.blake2b(place, digest_size=8).digest() for place in places)
    return np.frombuffer(digests, np.uint64)


def _of_part(
    before: Mapping[Place, Sample], now: list[Sample], first: Manifest, second: Manifest
) -> Iterator[ImageDiff | PoseDiff]:
    """The samples of one part beside those that stood at their places."""
    olds, news = [Poses.empty(first.skeleton.num_keypoints)], [Poses.empty(first.skeleton.num_keypoints)]
    pairs: list[_Pair] = []
    start_old, start_new = 0, 0
    for sample in now:
        place = sample.key[1:]
        old = before.get(place)
        ours = _rows(sample, second)
        if old is None:
            yield ImageDiff(place, Change.ADDED)
            yield from (_alone(pose, sample, Change.ADDED) for pose in ours)
            continue
        if old.id != sample.id:
            yield ImageDiff(place, Change.CHANGED)
        theirs = _rows(old, first)
        yield from (_alone(pose, sample, Change.ADDED) for pose in ours if pose not in theirs)
        yield from (_alone(pose, old, Change.REMOVED) for pose in theirs if pose not in ours)
        both = [pose for pose in ours if pose in theirs]
        pairs += [_Pair(pose, place, start_old + theirs[pose], start_new + ours[pose]) for pose in both]
        olds.append(old.poses)
        news.append(sample.poses)
        start_old, start_new = start_old + len(theirs), start_new + len(ours)
    yield from _changed(Poses.concat(olds), Poses.concat(news), pairs, first.skeleton.keypoints)


class _Pair(NamedTuple):
    """One pose in both manifests: its id, its image, and its rows among the poses of before and of now."""

    pose: str
    place: Place
    old: int
    new: int


def _rows(sample: Sample, manifest: Manifest) -> dict[str, int]:
    """Where each pose of an image stands in it."""
    ids = sample.poses.id.tolist()
    rows = {pose: i for i, pose in enumerate(ids)}
    if len(rows) < len(ids):
        twice = next(pose for i, pose in enumerate(ids) if rows[pose] != i)
        raise ManifestError(f"lists pose {twice!r} twice in image {sample.path}", subject=str(manifest.path))
    return rows


def _alone(pose: str, sample: Sample, change: Change) -> PoseDiff:
    return PoseDiff(pose, sample.key[1:], change, {})


def _changed(old: Poses, new: Poses, pairs: Sequence[_Pair], names: tuple[str, ...]) -> Iterator[PoseDiff]:
    """Of the pairs those that differ."""
    old, new = old.take([pair.old for pair in pairs]), new.take([pair.new for pair in pairs])
    had, has = ~np.isnan(old.xy[..., 0]), ~np.isnan(new.xy[..., 0])
    distance = apart(old.xy, new.xy)
    moved = had & has & (old.xy != new.xy).any(axis=-1)
    seen, hand = old.visibility != new.visibility, old.origin != new.origin
    box = ((old.box != new.box) & ~(np.isnan(old.box) & np.isnan(new.box))).any(axis=1)
    states = [(_state(a), _state(b)) for a, b in zip(old.attributes, new.attributes, strict=True)]
    restated = np.array([a != b for a, b in states], bool)
    any_keypoint = (moved | (had != has) | seen | hand).any(axis=1)
    different: list[int] = np.flatnonzero(any_keypoint | box | restated).tolist()
    for i in different:
        yield PoseDiff(
            pairs[i].pose,
            pairs[i].place,
            Change.CHANGED,
            moved={names[k]: float(distance[i, k]) for k in np.flatnonzero(moved[i])},
            placed=_named(has[i] & ~had[i], names),
            unplaced=_named(had[i] & ~has[i], names),
            visibility=_words(seen[i], old.visibility[i], new.visibility[i], names, Visibility) or None,
            origin=_words(hand[i], old.origin[i], new.origin[i], names, Origin) or None,
            state=states[i] if restated[i] else None,
            box=(_box(old.box[i]), _box(new.box[i])) if box[i] else None,
        )


def _named(which: NDArray[np.bool_], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name, named in zip(names, which.tolist(), strict=True) if named)


def _words(
    which: NDArray[np.bool_],
    old: NDArray[np.uint8],
    new: NDArray[np.uint8],
    names: tuple[str, ...],
    kind: type[Visibility] | type[Origin],
) -> dict[str, tuple[str, str]]:
    return {names[k]: (kind(old[k]).name.lower(), kind(new[k]).name.lower()) for k in np.flatnonzero(which)}


def _state(attributes: Mapping[str, Any]) -> str:
    """The state in a word: attributes hold whatever a table said."""
    state = attributes.get("state")
    return "" if state is None else str(state)


def _box(box: NDArray[np.float64]) -> list[float] | None:
    return None if np.isnan(box[0]) else box.tolist()
