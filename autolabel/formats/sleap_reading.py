"""Reading a label file of SLEAP; ``sleap.py`` tells the format."""

# sleap-io ships no type marker: what comes out of it is Any until it is an array or a value of ours.

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import FormatError, PosesError, SkeletonError
from autolabel.formats.file_skeletons import file_skeleton, our_skeleton
from autolabel.formats.labels import TRACK, UNKNOWN_SIZE, Labels
from autolabel.formats.records import Record, refuse_repeated_images
from autolabel.formats.sleap_file import OURS, is_prediction, load
from autolabel.formats.sleap_paths import VideoPlace, common_folder
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton

_LARGEST = float(np.finfo(np.float32).max)
_UNMARKED = "frames without instances that nobody marked as negative"
_OTHER_KINDS = ("suggestions", "sessions", "events", "rois", "masks", "bboxes", "centroids", "label_images")


def read_sleap(src: str | Path, *, images: str | Path | None = None, skeleton: Skeleton | None = None) -> Labels:
    """Read a label file of SLEAP.

    Args:
        src: The ``.slp`` file.
        images: The folder of the images, or of the frames that ``autolabel scan --every 1`` wrote. Without it, paths
            are those in the file, without what makes them absolute.
        skeleton: What the nodes are; its names must be the file's, in any order. Of several skeletons in the file
            it chooses the one with these names.

    Raises:
        FormatError: The file is damaged, names the record; it has no skeleton or several; a video of which there are
            no frames.
        ConfigError: sleap-io is missing.
    """
    subject = str(src)
    file = load(src)
    nodes = _Nodes.of(file, skeleton, subject)
    reader = _Reader(file, nodes, _our_groups(file), subject)
    samples = reader.samples(None if images is None else Path(images))
    return Labels(nodes.skeleton, samples, notes=tuple(reader.notes()))


@dataclass(frozen=True)
class _Nodes:
    """Our skeleton, and where each of its keypoints stands among the nodes of each of the file's that are read.

    Attributes:
        skeleton: Ours.
        orders: By ``id`` of the file's skeleton.
    """

    skeleton: Skeleton
    orders: Mapping[int, list[int]]

    @classmethod
    def of(cls, file: Any, given: Skeleton | None, subject: str) -> "_Nodes":
        skeletons: list[Any] = list(file.skeletons)
        if not skeletons:
            raise FormatError("holds no skeleton", subject=subject)
        names = {id(one): _names(one, i, subject) for i, one in enumerate(skeletons)}
        if given is not None:
            chosen = [one for one in skeletons if set(names[id(one)]) == set(given.keypoints)] or skeletons[:1]
        else:
            used = {id(instance.skeleton) for frame in file.labeled_frames for instance in frame.instances}
            chosen = [one for one in skeletons if id(one) in used] or skeletons[:1]
            if len({names[id(one)] for one in chosen}) > 1:
                told = ", ".join(f"{one.name!r} ({len(names[id(one)])} nodes)" for one in chosen)
                remedy = "Choose one with --skeleton, a file with its keypoints."
                raise FormatError(f"holds poses of several skeletons: {told}", subject=subject, remedy=remedy)
        ours = _skeleton(chosen[0], names[id(chosen[0])], file, given, subject)
        orders = {id(one): [names[id(one)].index(name) for name in ours.keypoints] for one in chosen}
        return cls(ours, orders)


@dataclass
class _Reader:
    """Turns frames into samples and counts what does not come in; ``groups`` are those of the videos, if known."""

    file: Any
    nodes: _Nodes
    groups: list[str] | None
    subject: str
    left_out: Counter[str] = field(default_factory=Counter[str])

    def samples(self, images: Path | None) -> list[Sample]:
        """The frames in the file's order."""
        videos: dict[int, int] = {id(video): i for i, video in enumerate(self.file.videos)}
        by_video: dict[int, list[int]] = {}
        frames: list[Any] = list(self.file.labeled_frames)
        for n, frame in enumerate(frames):
            by_video.setdefault(videos[id(frame.video)], []).append(n)
        samples: dict[int, Sample] = {}
        for i, numbers in by_video.items():
            place = _place(self.file.videos[i], i, self.subject)
            paths = place.paths([int(frames[n].frame_idx) for n in numbers], images)
            group, size = self._group(i, paths), self._size(i)
            for n, path in zip(numbers, paths, strict=True):
                record = f"frame {frames[n].frame_idx} of {place.record}"
                samples[n] = Sample("", "", path, size, self._poses(frames[n], record), group=group)
            if place.is_list:
                self.left_out["images that are in no labelled frame"] += len(set(place.names)) - len(set(paths))
        named = ((samples[n].path, f"frames[{n}]", self.subject) for n in range(len(frames)))
        refuse_repeated_images(named, remedy="Merge them in SLEAP, or give --images.")
        return [samples[n] for n in range(len(frames))]

    def notes(self) -> Iterator[str]:
        """A sentence for everything that did not come in as it is."""
        for kind in _OTHER_KINDS:
            self.left_out[kind.replace("_", " ")] += len(getattr(self.file, kind, ()))
        for what, n in self.left_out.items():
            if n > 0 and what == _UNMARKED:
                yield f"{n:,} {what}: they come in as images without animals."
            elif n > 0:
                yield f"{n:,} {what} left out."

    def _group(self, i: int, paths: Sequence[str]) -> str:
        return self.groups[i] if self.groups is not None else common_folder(paths) or f"video {i}"

    def _size(self, i: int) -> tuple[int, int]:
        """The size of a video's images; only in files of ours it holds for all of them."""
        shape = self.file.videos[i].backend_metadata.get("shape") if self.groups is not None else None
        if not isinstance(shape, list | tuple) or len(cast("list[Any]", shape)) != 4:
            return UNKNOWN_SIZE
        height, width = cast("list[Any]", shape)[1:3]
        return (width, height) if type(width) is type(height) is int and min(width, height) > 0 else UNKNOWN_SIZE

    def _poses(self, frame: Any, record: str) -> Poses:
        rows = [self._row(instance, record) for instance in self._chosen(frame)]
        rows = [row for row in rows if row is not None]
        if not len(frame.instances) and not frame.is_negative:
            self.left_out[_UNMARKED] += 1
        if not rows:
            return Poses.empty(self.nodes.skeleton.num_keypoints)
        try:
            return Poses.create(
                self.nodes.skeleton.num_keypoints, **{key: [row[key] for row in rows] for key in rows[0]}
            )
        except PosesError as error:
            raise FormatError(error.message, record=record, subject=self.subject) from error

    def _chosen(self, frame: Any) -> Iterator[Any]:
        """The user's instances, and the predictions that none of them replaces."""
        users = [one for one in frame.instances if not is_prediction(one)]
        replaced = {id(one.from_predicted) for one in users}
        tracks = {id(one.track) for one in users if one.track is not None}
        for one in frame.instances:
            if id(one.skeleton) not in self.nodes.orders:
                self.left_out["instances of other skeletons"] += 1
            elif not is_prediction(one) or (id(one) not in replaced and id(one.track) not in tracks):
                yield one
            elif id(one) not in replaced:
                self.left_out["predicted instances whose track a user's instance has"] += 1

    def _row(self, instance: Any, record: str) -> dict[str, Any] | None:
        xy, score, visible = self._points(instance, record)
        if not visible.any():
            self.left_out["instances without a visible point"] += 1
            return None
        predicted = is_prediction(instance)
        origin = Origin.MODEL if predicted else Origin.IMPORTED
        total = float(instance.score) if predicted else np.nan
        source = instance.from_predicted
        if not predicted and source is not None and id(source.skeleton) in self.nodes.orders:
            place, scores, _ = self._points(source, record)
            same = ((place == xy) | (np.isnan(place) & np.isnan(xy))).all(axis=1)
            score = np.where(same, scores, np.nan)
            total = float(source.score) if same.all() and is_prediction(source) else np.nan
        name = instance.track.name if instance.track is not None else ""
        return {
            "xy": xy,
            "score": score,
            "visibility": np.where(visible, Visibility.VISIBLE, Visibility.UNLABELLED),
            "origin": np.where(visible, origin, Origin.NONE),
            "box_score": self._number(total, record),
            "attributes": {TRACK: name} if isinstance(name, str) and name else {},
        }

    def _points(self, instance: Any, record: str) -> tuple[Any, Any, Any]:
        """(K, 2) places, (K,) scores, (K,) whether they are visible, in the order of our keypoints."""
        order = self.nodes.orders[id(instance.skeleton)]
        points = instance.points
        if len(points) != len(order):
            message = f"has {len(points)} points, its skeleton has {len(order)} nodes"
            raise FormatError(message, record=record, subject=self.subject)
        points = points[order]
        xy = np.array(points["xy"], np.float64)
        score = np.array(points["score"] if is_prediction(instance) else np.full(len(points), np.nan), np.float64)
        self._refuse(
            _too_large(xy).any(axis=1) | _too_large(score), record, "is not a finite number in single precision"
        )
        self._refuse(np.isnan(xy[:, 0]) != np.isnan(xy[:, 1]), record, "has one coordinate and no other")
        return xy, score, np.array(points["visible"], bool) & ~np.isnan(xy[:, 0])

    def _number(self, value: float, record: str) -> float:
        if abs(value) > _LARGEST:
            self._fail(record, "score", "is not a finite number in single precision")
        return value

    def _refuse(self, wrong: NDArray[np.bool_], record: str, message: str) -> None:
        if wrong.any():
            self._fail(record, self.nodes.skeleton.keypoints[int(wrong.argmax())], message)

    def _fail(self, record: str, name: str, message: str) -> None:
        raise FormatError(message, record=record, field=name, subject=self.subject)


def _too_large(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.greater(np.abs(values), _LARGEST)


def _our_block(file: Any) -> dict[str, Any]:
    provenance: object = file.provenance
    block = cast("dict[str, Any]", provenance).get(OURS) if isinstance(provenance, dict) else None
    return cast("dict[str, Any]", block) if isinstance(block, dict) else {}


def _our_groups(file: Any) -> list[str] | None:
    """The names of the videos' groups where we wrote the file and nobody changed its videos since."""
    said = _our_block(file).get("groups")
    groups = cast("list[object]", said) if isinstance(said, list) else []
    named = [group for group in groups if isinstance(group, str)]
    return named if len(named) == len(groups) == len(file.videos) else None


def _names(skeleton: Any, i: int, subject: str) -> tuple[str, ...]:
    names: list[object] = list(skeleton.node_names)
    if not all(isinstance(name, str) for name in names):
        raise FormatError("has a name that is no text", record=f"skeletons[{i}]", field="nodes", subject=subject)
    return tuple(str(name) for name in names)


def _skeleton(theirs: Any, names: tuple[str, ...], file: Any, given: Skeleton | None, subject: str) -> Skeleton:
    index = {id(node): i for i, node in enumerate(theirs.nodes)}
    edges = [(index[id(edge.source)], index[id(edge.destination)]) for edge in theirs.edges]
    flip = list(range(len(names)))
    for symmetry in theirs.symmetries:
        pair = sorted(index[id(node)] for node in symmetry.nodes)
        if len(pair) != 2 or any(flip[i] != i for i in pair):
            message = f"{' and '.join(names[i] for i in pair)} are not one of the pairs that change sides"
            raise FormatError(message, record="skeletons", field="symmetries", subject=subject)
        flip[pair[0]], flip[pair[1]] = pair[1], pair[0]
    ours = our_skeleton(Record(_our_block(file), f"provenance.{OURS}", subject)) if given is None else None
    if ours is not None and ours.keypoints == names:  # else somebody changed the nodes since
        try:
            return replace(ours, edges=ours.edges if set(ours.edges) == set(edges) else tuple(edges), flip=tuple(flip))
        except SkeletonError as error:
            raise FormatError(error.message, record="skeletons", subject=subject) from error
    return file_skeleton(
        names,
        name=str(theirs.name or "sleap"),
        subject=subject,
        tool="SLEAP",
        given=given,
        edges=edges,
        flip=flip if theirs.symmetries else None,
    )


def _place(video: Any, i: int, subject: str) -> VideoPlace:
    """Where the images of a video are; for embedded frames those of what they were taken from."""
    record = f"videos[{i}]"
    while isinstance(video.filename, str) and video.filename.endswith(".slp"):
        video = video.source_video
        if video is None:
            raise FormatError(
                "holds its frames itself and does not say of which video or images they are",
                record=record,
                subject=subject,
                remedy="Give the .slp file that this package was made of.",
            )
    is_list = not isinstance(video.filename, str)
    return VideoPlace(record, subject, tuple(video.filename) if is_list else (video.filename,), is_list)
