"""Writing a COCO keypoint file; ``coco.py`` tells the dialect.

Images and annotations are streamed to disk, so that memory holds the ids and categories of the source and
nothing else. The file appears under its name only when it is complete.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from autolabel.formats.coco_reading import OURS, THEIRS
from autolabel.formats.coco_source import annotation_keys, category, image_keys, source_id
from autolabel.formats.coco_source import file_name as source_name
from autolabel.formats.json_text import json_text
from autolabel.formats.labels import Tally, Written
from autolabel.formats.output import new_file
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Origin, Pose, Sample, Visibility
from autolabel.progress import SILENT, Progress
from autolabel.similarity import similarity_area
from autolabel.skeleton import Skeleton

_EXACT_INTEGER = 2.0**24
"""Up to here single precision holds every whole number, so that one can be written without a point."""


def write_coco(
    path: str | Path,
    samples: Iterable[Sample],
    skeleton: Skeleton,
    *,
    header: Mapping[str, Any] | None = None,
    policy: ImagePolicy = ImagePolicy.COMPLETE,
    file_name: Callable[[Sample], str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Written:
    """Write samples as a COCO keypoint file.

    Nothing is lost: ids, categories and whatever else a COCO source carried are written again. What has no id,
    or one that stands already (two sources were merged), gets the next free one.

    Args:
        path: The JSON file.
        samples: Iterated twice, so not a generator.
        skeleton: Of all poses.
        header: Other top-level keys, such as ``info`` and ``licenses``, and categories that no pose may show.
        policy: What to do with images of which some people are not settled.
        file_name: Gives the ``file_name`` of a sample; its path below its root by default.
        overwrite: Replace a file that stands already.
        progress: Where to report.

    Raises:
        ExistsError: The file stands already.
        FormatError: Attributes that JSON cannot hold.
    """
    path = Path(path)
    plan, tally = _Plan(samples, header or {}), Tally()
    with new_file(path, overwrite=overwrite) as out, _spool(path.parent) as annotations:
        _write_head(out, header or {}, plan.categories(skeleton))
        writer = _Writer(out, annotations, skeleton, plan, file_name or source_name)
        for sample in tally.samples(samples, policy, progress):
            writer.write(sample)
        out.write('\n],\n"annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, out)
        out.write("\n]}\n")
    return tally.written()


def shortest(values: NDArray[np.float32]) -> list[Any]:
    """Numbers as JSON should show them: the shortest decimals that give the same float32; NaN becomes null.

    A whole number has no point: 412.8, 416. Negative zero keeps its sign.
    """
    # numpy prints a float32 in its shortest form; as a double that decimal prints the same.
    doubles = values.astype("U32").astype(np.float64)
    return [_plain(value, _EXACT_INTEGER) for value in doubles.tolist()]


class _Ids:
    """Gives every record an id of its own: the source's where it asks for it first, else a free one."""

    def __init__(self) -> None:
        self._seen: set[int | str] = set()
        self._claimed: set[int | str] = set()
        self._next = 1

    def announce(self, wanted: int | str | None) -> None:
        """Keep an id from being given to a record without one."""
        if wanted is not None:
            self._seen.add(wanted)
            if isinstance(wanted, int):
                self._next = max(self._next, wanted + 1)

    def claim(self, wanted: int | str | None) -> int | str:
        """The id to write."""
        if wanted in self._seen and wanted not in self._claimed:
            assert wanted is not None
            self._claimed.add(wanted)
            return wanted
        self._next += 1
        return self._next - 1


class _Plan:
    """What must be known before the first record is written: the ids and the categories of the source."""

    def __init__(self, samples: Iterable[Sample], header: Mapping[str, Any]) -> None:
        self.image_ids, self.annotation_ids = _Ids(), _Ids()
        self._categories: dict[int | str, Mapping[str, Any]] = {}
        for stated in header.get("categories", ()):
            self._categories[stated["id"]] = stated
        for sample in samples:
            self.image_ids.announce(source_id(sample.attributes))
            for attributes in sample.poses.attributes:
                self.annotation_ids.announce(source_id(attributes))
                if found := category(attributes):
                    self._categories.setdefault(found["id"], found)
        if not self._categories:
            self._categories[1] = {"id": 1}
        self.default_category = next(iter(self._categories))

    def categories(self, skeleton: Skeleton) -> list[dict[str, Any]]:
        """The records of the file's ``categories``."""
        ours = {
            "keypoints": list(skeleton.keypoints),
            "skeleton": [[i + 1, j + 1] for i, j in skeleton.edges],
            OURS: {"skeleton": skeleton.to_dict()},
        }
        return [{"name": skeleton.name, **stated, **ours} for stated in self._categories.values()]


class _Writer:
    """Streams samples into the two lists of the file."""

    def __init__(
        self,
        images: IO[str],
        annotations: IO[str],
        skeleton: Skeleton,
        plan: _Plan,
        file_name: Callable[[Sample], str],
    ) -> None:
        self._images = self._poses = 0
        self._image_file, self._annotation_file = images, annotations
        self._skeleton, self._plan, self._file_name = skeleton, plan, file_name

    def write(self, sample: Sample) -> None:
        """Write an image and its annotations."""
        image_id = self._plan.image_ids.claim(source_id(sample.attributes))
        record = _image(sample, image_id, self._file_name(sample))
        _append(self._image_file, record, first=self._images == 0)
        self._images += 1
        areas = similarity_area(sample.poses)
        for i in range(len(sample.poses)):
            attributes = sample.poses.attributes[i]
            ids = {
                "id": self._plan.annotation_ids.claim(source_id(attributes)),
                "image_id": image_id,
                "category_id": category(attributes).get("id", self._plan.default_category),
            }
            record = {**annotation_keys(attributes), **ids, **_annotation(sample.poses[i], float(areas[i]))}
            _append(self._annotation_file, record, first=self._poses == 0)
            self._poses += 1


def _image(sample: Sample, image_id: int | str, file_name: str) -> dict[str, Any]:
    ours = {
        "id": sample.id,
        "group": sample.group,
        "duplicate_of": sample.duplicate_of,
        "attributes": _not_theirs(sample.attributes),
    }
    width, height = sample.size
    fixed = {"id": image_id, "file_name": file_name, "width": width, "height": height}
    return _with_ours({**fixed, **image_keys(sample.attributes), "id": image_id}, ours)


def _annotation(pose: Pose, area: float) -> dict[str, Any]:
    absent = np.flatnonzero(pose.visibility == Visibility.ABSENT).tolist()
    record: dict[str, Any] = {"iscrowd": int(pose.crowd), "num_keypoints": _count_labelled(pose)}
    record["keypoints"] = _keypoints(pose)
    if absent:
        record["absent"] = absent
    if not np.isnan(pose.score).all():
        record["keypoint_scores"] = shortest(pose.score)
    if not math.isnan(pose.box[0]):
        x, y, right, bottom = (float(edge) for edge in pose.box)
        record["bbox"] = [_plain(v) for v in (x, y, _extent(x, right), _extent(y, bottom))]
    stated = area if math.isnan(pose.area) else float(pose.area)
    if not math.isnan(stated):
        record["area"] = _plain(stated)
    if not math.isnan(pose.box_score):
        record["score"] = shortest(np.array([pose.box_score]))[0]
    return _with_ours(record, _our_block(pose, record))


def _our_block(pose: Pose, record: Mapping[str, Any]) -> dict[str, Any]:
    """What COCO has no word for, and the few values that its words would bend."""
    zero = (pose.xy == 0).all(axis=1)
    unlabelled = pose.visibility == Visibility.UNLABELLED
    unplaced_if_absent = pose.visibility == Visibility.ABSENT
    stated = np.where(unlabelled, Origin.NONE, Origin.IMPORTED)
    block: dict[str, Any] = {
        "id": pose.id,
        "by": pose.by,
        "group": pose.group,
        "at_zero": np.flatnonzero(zero & (unlabelled | unplaced_if_absent)).tolist(),
        "presence": [] if np.isnan(pose.presence).all() else shortest(pose.presence),
        "p_gross": [] if np.isnan(pose.p_gross).all() else shortest(pose.p_gross),
        "origin": [] if (pose.origin == stated).all() else pose.origin.tolist(),
        "attributes": _not_theirs(pose.attributes),
    }
    if not math.isnan(pose.p_bad):
        block["p_bad"] = shortest(np.array([pose.p_bad]))[0]
    if "area" in record and math.isnan(pose.area):
        block["area"] = None
    if "bbox" in record:
        x, y, width, height = record["bbox"]
        edges = [float(edge) for edge in pose.box]
        if [x, y, x + width, y + height] != edges:
            block["box"] = edges
    return block


def _keypoints(pose: Pose) -> list[Any]:
    """3 K numbers x, y, v."""
    place = shortest(np.nan_to_num(pose.xy, nan=0.0).reshape(-1))
    v = np.where(pose.visibility == Visibility.ABSENT, 0, pose.visibility).tolist()
    return [number for i, state in enumerate(v) for number in (place[2 * i], place[2 * i + 1], state)]


def _count_labelled(pose: Pose) -> int:
    return int(((pose.visibility == Visibility.HIDDEN) | (pose.visibility == Visibility.VISIBLE)).sum())


def _extent(low: float, high: float) -> float:
    """The shortest number that leads from the low edge to the high one: a source's own width comes out."""
    exact = high - low
    for digits in range(1, 17):
        candidate = float(f"{exact:.{digits}g}")
        if low + candidate == high:
            return candidate
    return exact


def _plain(value: float, limit: float = 2.0**53) -> float | int | None:
    if math.isnan(value):
        return None
    whole = value.is_integer() and abs(value) < limit and (value != 0 or math.copysign(1, value) > 0)
    return int(value) if whole else value


def _not_theirs(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != THEIRS}


def _with_ours(record: dict[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Add our block, without what is empty; null is a statement and stays."""
    block = {name: value for name, value in ours.items() if value is None or value not in ("", [], {})}
    return {**record, OURS: block} if block else record


def _write_head(out: IO[str], header: Mapping[str, Any], categories: list[dict[str, Any]]) -> None:
    out.write("{")
    for name, value in header.items():
        if name != "categories":
            out.write(f"{json.dumps(name)}: {json_text(value)},\n")
    out.write('"categories": [\n' + ",\n".join(json_text(category) for category in categories) + '\n],\n"images": [')


def _append(out: IO[str], record: Mapping[str, Any], *, first: bool) -> None:
    out.write(("\n" if first else ",\n") + json_text(record))


def _spool(folder: Path) -> IO[str]:
    return tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder)
