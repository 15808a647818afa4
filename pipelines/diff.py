"""``autolabel diff``: what changed between two versions of a dataset, or between any two manifests of one skeleton."""

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autolabel.errors import ConfigError
from autolabel.formats.output import new_file
from autolabel.manifest import Manifest
from autolabel.manifest_diff import Change, ImageDiff, PoseDiff, compare
from autolabel.phrases import counted
from autolabel.progress import SILENT, Progress
from pipelines.console import aligned


@dataclass(frozen=True)
class DiffResult:
    """What changed.

    Attributes:
        first: Digest of the first manifest.
        second: Digest of the second one.
        images: How many images were added, removed, changed (other bytes at the same place).
        poses: How many poses were added, removed, changed.
        moved: Poses of which at least one keypoint has another place.
        keypoints: Keypoints that have another place.
        median: Median distance between the two places, in image pixels; None where no keypoint moved.
        largest: The largest one.
        placed: Keypoints that have a place in the second manifest alone.
        unplaced: Keypoints that have a place in the first one alone.
        visibility: Keypoints by how their visibility changed, such as ``visible -> hidden``.
        origins: Keypoints by how their origin changed, such as ``model -> human``.
        states: Poses by how their state changed.
        boxes: Poses with another box.
        out: Where every change is listed; None where nobody asked.
    """

    first: str
    second: str
    images: Mapping[str, int]
    poses: Mapping[str, int]
    moved: int
    keypoints: int
    median: float | None
    largest: float | None
    placed: int
    unplaced: int
    visibility: Mapping[str, int]
    origins: Mapping[str, int]
    states: Mapping[str, int]
    boxes: int
    out: Path | None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        moved = {"poses": self.moved, "keypoints": self.keypoints, "median": self.median, "largest": self.largest}
        told: dict[str, object] = {
            "first": self.first,
            "second": self.second,
            "images": self.images,
            "poses": self.poses,
        }
        told |= {"moved": moved, "placed": self.placed, "unplaced": self.unplaced, "visibility": self.visibility}
        return told | {"origins": self.origins, "states": self.states, "boxes": self.boxes, "out": self.out}

    def table(self) -> str:
        """For people: a line a kind of change, then where the full list is."""
        rows = [("", *(change.value for change in Change))]
        for name, counts in (("images", self.images), ("poses", self.poses)):
            rows.append((name, *(f"{counts[change]:,}" for change in Change)))
        kinds = self._kinds()
        if not kinds and not any(self.images.values()) and not any(self.poses.values()):
            same = "every value is the same" if self.first == self.second else "they differ in what is not compared"
            return f"Nothing changed: {same}."
        listed = [] if self.out is None else [f"Every change is in {self.out}."]
        return "\n".join([aligned(rows), *([aligned(kinds)] if kinds else []), *listed])

    def _kinds(self) -> list[tuple[str, ...]]:
        """What changed in poses that both manifests hold."""
        rows: list[tuple[str, ...]] = []
        if self.median is not None and self.largest is not None:
            of = f"{counted(self.keypoints, 'keypoint')} of {counted(self.moved, 'pose')}"
            rows.append(("moved", of, f"median {self.median:.1f} px, largest {self.largest:.1f} px"))
        for name, count in (("placed", self.placed), ("place removed", self.unplaced)):
            rows += [(name, counted(count, "keypoint"), "")] if count else []
        for name, noun, found in (
            ("visibility", "keypoint", self.visibility),
            ("origin", "keypoint", self.origins),
            ("state", "pose", self.states),
        ):
            rows += [(name, counted(count, noun), change) for change, count in found.items()]
        rows += [("box", counted(self.boxes, "pose"), "")] if self.boxes else []
        return rows


def diff(
    first: str | Path,
    second: str | Path,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> DiffResult:
    """Say what changed between two manifests.

    Images are paired by their place (root and path), and poses by their ids.

    Args:
        first: The manifest folder of before.
        second: The manifest folder of now.
        out: A JSON-lines file to write: a line an image or pose that was added, removed or changed.
        overwrite: Replace a file that stands already.
        progress: Where to report.

    Raises:
        SkeletonError: The skeletons differ, so that keypoints cannot be paired.
        ManifestError: A folder is no manifest, or lists an image or a pose twice.
        ConfigError: ``out`` lies in one of the manifests.
        ExistsError: ``out`` stands already.
    """
    before, now = Manifest.open(first), Manifest.open(second)
    before.skeleton.require_same(now.skeleton, str(now.path))
    if out is not None:
        _require_apart(Path(out), (before, now))
    tally = _Tally()
    with ExitStack() as stack:
        file = None if out is None else stack.enter_context(new_file(out, overwrite=overwrite))
        for found in compare(before, now, progress):
            tally.add(found)
            if file is not None:
                file.write(json.dumps(found.to_dict()) + "\n")
    return tally.result(before, now, None if out is None else Path(out))


def _require_apart(out: Path, manifests: Iterable[Manifest]) -> None:
    if any(out.resolve().is_relative_to(manifest.path.resolve()) for manifest in manifests):
        raise ConfigError("is in the manifest", subject=str(out), remedy="Give another --out.")


@dataclass
class _Tally:
    """Counts of what was found; of the distances four bytes a moved keypoint."""

    images: Counter[str] = field(default_factory=Counter[str])
    poses: Counter[str] = field(default_factory=Counter[str])
    distances: "array[float]" = field(default_factory=lambda: array("f"))
    moved: int = 0
    placed: int = 0
    unplaced: int = 0
    boxes: int = 0
    visibility: Counter[str] = field(default_factory=Counter[str])
    origins: Counter[str] = field(default_factory=Counter[str])
    states: Counter[str] = field(default_factory=Counter[str])

    def add(self, found: ImageDiff | PoseDiff) -> None:
        if isinstance(found, ImageDiff):
            self.images[found.change] += 1
            return
        self.poses[found.change] += 1
        self.moved += bool(found.moved)
        self.distances.extend(found.moved.values())
        self.placed += len(found.placed)
        self.unplaced += len(found.unplaced)
        self.boxes += found.box is not None
        self.visibility.update(map(_arrow, (found.visibility or {}).values()))
        self.origins.update(map(_arrow, (found.origin or {}).values()))
        self.states.update([_arrow(found.state)] if found.state else [])

    def result(self, first: Manifest, second: Manifest, out: Path | None) -> DiffResult:
        distances = np.frombuffer(self.distances, np.float32)
        return DiffResult(
            first=first.digest,
            second=second.digest,
            images={change.value: self.images[change] for change in Change},
            poses={change.value: self.poses[change] for change in Change},
            moved=self.moved,
            keypoints=len(distances),
            median=float(np.median(distances)) if len(distances) else None,
            largest=float(distances.max()) if len(distances) else None,
            placed=self.placed,
            unplaced=self.unplaced,
            visibility=dict(self.visibility.most_common()),
            origins=dict(self.origins.most_common()),
            states=dict(self.states.most_common()),
            boxes=self.boxes,
            out=out,
        )


def _arrow(change: tuple[str, str]) -> str:
    return f"{change[0] or 'no state'} -> {change[1] or 'no state'}"
