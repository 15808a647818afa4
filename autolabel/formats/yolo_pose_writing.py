"""Writing a YOLO-pose data set; ``yolo_pose.py`` tells the dialect.

Labels are written image by image, so that memory does not grow with the corpus. The folder takes its name when it
is complete.
"""

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from autolabel.errors import ConfigError, FormatError
from autolabel.formats.image_files import ImageFiles, put_image
from autolabel.formats.keypoint_box import keypoint_box
from autolabel.formats.labels import Aspect, Tally, Written, say_something
from autolabel.formats.output import new_folder
from autolabel.formats.policy import ImagePolicy, select
from autolabel.formats.yaml_files import yaml_text
from autolabel.formats.yolo_classes import Classes, says_more
from autolabel.formats.yolo_data import OURS, SPLITS
from autolabel.formats.yolo_listing import labels_file
from autolabel.formats.yolo_numbers import box_fields, fractions
from autolabel.formats.yolo_pose_reading import SPLIT
from autolabel.poses import Poses, Sample, Visibility
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import Skeleton
from autolabel.split import assign_splits

CANNOT = frozenset(
    {
        *(Aspect.ABSENT, Aspect.SCORE, Aspect.PRESENCE, Aspect.BOX_SCORE, Aspect.AREA, Aspect.CROWD, Aspect.DOUBT),
        *(Aspect.ORIGIN, Aspect.BY, Aspect.POSE_ID, Aspect.POSE_GROUP, Aspect.ATTRIBUTES, Aspect.IMAGE_ID),
        *(Aspect.GROUP, Aspect.DUPLICATE, Aspect.IMAGE_ATTRIBUTES, Aspect.OUTSIDE, Aspect.BOXLESS),
    }
)
"""What the format cannot hold. Of attributes it holds the class and the split."""

_COUNTED_HERE = frozenset({Aspect.ATTRIBUTES, Aspect.IMAGE_ATTRIBUTES})
_DATA_FILE = "data.yaml"


def write_yolo_pose(
    path: str | Path,
    samples: Iterable[Sample],
    skeleton: Skeleton,
    *,
    image_path: Callable[[Sample], Path] | None = None,
    image_files: ImageFiles = ImageFiles.LINK,
    shares: Mapping[str, float] | None = None,
    header: Mapping[str, Any] | None = None,
    policy: ImagePolicy = ImagePolicy.COMPLETE,
    file_name: Callable[[Sample], str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Written:
    """Write samples as a YOLO-pose data set: ``data.yaml``, ``images/SPLIT/...``, ``labels/SPLIT/...``.

    An image's split is, in this order: as ``shares`` divide them, the sample's attribute ``split``, ``train``.
    Crowd regions are not written, because the format cannot tell trainers to skip them. A pose without a box gets
    a box around its labelled keypoints.

    Args:
        path: The folder.
        samples: Iterated several times, so not a generator.
        skeleton: Of all poses.
        image_path: Where a sample's image lies; needed unless ``image_files`` is ``NONE``.
        image_files: How the images come into the data set.
        shares: Of ``train``, ``val`` and ``test``, as in :func:`autolabel.split.assign_splits`.
        header: Its ``categories`` name classes that no pose may show.
        policy: What to do with images of which some people are not settled.
        file_name: Gives the name below ``images/SPLIT``; the path below the sample's root by default.
        overwrite: Replace an earlier export.
        progress: Where to report.

    Raises:
        ExistsError: Something stands already.
        ConfigError: Shares of other splits, or no ``image_path`` where images are asked for.
        FormatError: Two images would share a file of labels, a path leaves its folder, or a size is unknown.
        InputError: An image is not there.
    """
    if image_files is not ImageFiles.NONE and image_path is None:
        raise ConfigError("needs to know where the images lie", subject="image_path")
    split_of = _splits(samples, shares, policy)
    tally = Tally(CANNOT - _COUNTED_HERE)
    tally.skeleton(skeleton)
    classes = Classes(samples, header or {}, skeleton.name)
    with new_folder(path, overwrite=overwrite) as folder:
        writer = _Writer(folder, classes, tally)
        for sample in tally.samples(samples, policy, progress):
            split = split_of(sample)
            image = writer.labels(sample, split, _name(sample, split, file_name))
            if image_path is not None:
                put_image(image_path(sample), image, image_files, option="--image-files")
        present = [split for split in SPLITS if writer.images[split]]
        for split in present or SPLITS[:1]:
            (folder / "images" / split).mkdir(parents=True, exist_ok=True)
        text = _data_file(skeleton, classes, present)
        (folder / _DATA_FILE).write_text(text, encoding="utf-8")
    for note in writer.notes(present, divided=shares is not None):
        progress.note(note)
    return replace(tally.written(), poses=writer.poses)


@dataclass
class _Writer:
    """Writes files of labels, and counts what it had to change."""

    folder: Path
    classes: Classes
    tally: Tally
    poses: int = 0
    boxed: int = 0
    cut: int = 0
    crowds: int = 0
    undivided: int = 0
    images: Counter[str] = field(default_factory=Counter[str])

    def labels(self, sample: Sample, split: str, name: str) -> Path:
        """Write the labels of an image; where the image belongs."""
        if min(sample.size) < 1:
            raise FormatError("has no size, without which there are no parts of it", subject=sample.path)
        image = self.folder / "images" / split / name
        file = Path(labels_file(str(image)))
        lines = self._lines(sample)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8", newline="\n") as out:
                out.write("".join(f"{line}\n" for line in lines))
        except (FileExistsError, NotADirectoryError) as error:
            raise FormatError(
                f"would share its labels with another image, called the same but for the suffix: {file.name}",
                subject=f"{sample.root}/{sample.path}",
                remedy="YOLO knows an image by its name without the suffix: rename one, or leave it out.",
            ) from error
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            remedy = "YOLO's labels are called as the image, with .txt: rename it, or leave it out."
            raise FormatError("has too long a name", subject=f"{sample.root}/{sample.path}", remedy=remedy) from error
        self.images[split] += 1
        self.undivided += SPLIT not in sample.attributes
        self.poses += len(lines)
        others = {key: value for key, value in sample.attributes.items() if key != SPLIT or value != split}
        self.tally.lose(Aspect.IMAGE_ATTRIBUTES, int(say_something(others)))
        return image

    def notes(self, present: list[str], *, divided: bool) -> list[str]:
        """What a user should know of what was written."""
        counts = ", ".join(f"{split} {self.images[split]:,}" for split in present) or "none"
        notes = [f"Images by split: {counts}."]
        if len(present) == 1 and present[0] != "test":
            other = "val" if present[0] == "train" else "train"
            notes.append(f"No image is in {other}, which trainers require: it is stated as {present[0]} again.")
        if not divided and 0 < self.undivided < self.images.total():
            notes.append(f"{self.undivided:,} images state no split: they are in train.")
        if self.crowds:
            notes.append(
                f"{self.crowds:,} crowd or ignore regions are not written: YOLO has none, so that trainers will take "
                "the people in them for background. With --images complete no image has an unsettled person."
            )
        if self.boxed:
            notes.append(f"{self.boxed:,} poses had no box: written with a box around their labelled keypoints.")
        if self.cut:
            notes.append(f"{self.cut:,} boxes cut to their image, because trainers refuse numbers outside 0..1.")
        return notes

    def _lines(self, sample: Sample) -> list[str]:
        poses = sample.poses.take(~sample.poses.crowd) if sample.poses.crowd.any() else sample.poses
        self.crowds += len(sample.poses) - len(poses)
        if not len(poses):
            return []
        self.tally.lose(Aspect.ATTRIBUTES, sum(map(says_more, poses.attributes)))
        visibility, places = _keypoints(poses, sample.size, self.tally)
        rows: list[str] = []
        for i, box in enumerate(self._boxes(poses, visibility, sample.size)):
            if box is None:
                self.tally.lose(Aspect.UNLABELLED)
                continue
            numbers, exact = box_fields(box, sample.size)
            if not exact:
                self.cut += 1
                self.tally.lose(Aspect.BOX)
            points = [f"{x} {y} {v}" for (x, y), v in zip(places[i], visibility[i].tolist(), strict=True)]
            rows.append(" ".join([str(self.classes.index(poses.attributes[i])), *numbers, *points]))
        return rows

    def _boxes(self, poses: Poses, visibility: np.ndarray[Any, Any], size: tuple[int, int]) -> list[list[float] | None]:
        """The poses' own boxes, else those of their keypoints, else nothing."""
        boxes: list[list[float] | None] = []
        for i in range(len(poses)):
            if not np.isnan(poses.box[i, 0]):
                boxes.append(poses.box[i].tolist())
                continue
            points = poses.xy[i][visibility[i] > 0]
            self.boxed += int(len(points) > 0)
            boxes.append(keypoint_box(points, size).tolist() if len(points) else None)
        return boxes


def _keypoints(
    poses: Poses, size: tuple[int, int], tally: Tally
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], list[list[tuple[str, str]]]]:
    """(N, K) v as it is written, and x and y of each keypoint as it is written."""
    n, k = poses.visibility.shape
    within = (poses.xy >= 0) & (poses.xy <= np.array(size))
    inside = within[..., 0] & within[..., 1]
    visibility = np.where(poses.labelled & inside, poses.visibility, Visibility.UNLABELLED).astype(np.uint8)
    unlabelled = ~poses.labelled & ~np.isnan(poses.xy[..., 0])
    unsaid = unlabelled & (~inside | (poses.xy == 0).all(axis=-1))
    tally.lose(Aspect.PLACE, int(unsaid.any(axis=1).sum()))
    pixels = np.where(inside[..., None], poses.xy, np.float32(0)).reshape(-1)
    texts = fractions(pixels, np.tile(np.array(size, np.int64), n * k))
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    return visibility, [pairs[i * k : (i + 1) * k] for i in range(n)]


def _splits(
    samples: Iterable[Sample], shares: Mapping[str, float] | None, policy: ImagePolicy
) -> Callable[[Sample], str]:
    if shares is None:
        return lambda sample: split if (split := sample.attributes.get(SPLIT)) in SPLITS else SPLITS[0]
    if unknown := [name for name in shares if name not in SPLITS]:
        raise ConfigError(
            f"{unknown[0]!r} is no split of a YOLO data set", subject="split", remedy=f"Known: {', '.join(SPLITS)}."
        )
    return assign_splits((sample for sample in samples if select(sample, policy) is not None), shares)


def _name(sample: Sample, split: str, file_name: Callable[[Sample], str] | None) -> str:
    """The image's name below ``images/SPLIT``.

    Folders called ``images`` or ``labels`` would mislead tools that look for labels: what a YOLO data set begins
    with is left out, and others get an underscore.
    """
    pure = PurePosixPath(sample.path if file_name is None else file_name(sample))
    if pure.is_absolute() or ".." in pure.parts or not pure.name:
        raise FormatError("leaves its folder", subject=str(pure))
    folders = list(pure.parent.parts)
    if set(folders[:2]) == {"images", split}:
        folders = folders[2:]
    return "/".join([*(f"{name}_" if name in ("images", "labels") else name for name in folders), pure.name])


def _data_file(skeleton: Skeleton, classes: Classes, present: list[str]) -> str:
    """The text of ``data.yaml``.

    ``path`` is left out: only then do trainers start from the folder of the file itself.
    """
    first = next(iter(present), SPLITS[0])
    required = [split for split in SPLITS[:2] if split not in present]
    stated = {split: f"images/{split}" for split in present} | dict.fromkeys(required, f"images/{first}")
    content: dict[str, Any] = {
        **{split: stated[split] for split in SPLITS if split in stated},
        "names": dict(enumerate(classes.names)),
        "kpt_shape": [skeleton.num_keypoints, 3],
        "flip_idx": list(skeleton.flip),
        "kpt_names": {i: list(skeleton.keypoints) for i in range(len(classes.names))},
        OURS: {"splits": present or [first], "skeleton": skeleton.to_dict()},
    }
    return yaml_text(content)
