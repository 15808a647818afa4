"""Writing a DeepLabCut project; ``deeplabcut.py`` tells the format.

Rows are streamed into the tables of their folders, so that memory holds the names of folders and individuals and
nothing else. The project appears under its name only when it is complete.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from autolabel.errors import ConfigError, FormatError
from autolabel.formats.coco_writing import shortest
from autolabel.formats.deeplabcut_project import CONFIG, LABELED_DATA, OURS, folder_name
from autolabel.formats.deeplabcut_table import SCENE
from autolabel.formats.image_files import put_image, require_slashes
from autolabel.formats.labels import TRACK, Aspect, Tally, Written, path_below_root, say_something
from autolabel.formats.output import new_folder
from autolabel.formats.policy import ImagePolicy, select
from autolabel.formats.yaml_files import yaml_text
from autolabel.poses import Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import Skeleton

CANNOT = frozenset(
    {
        *(Aspect.HIDDEN, Aspect.ABSENT, Aspect.PLACE, Aspect.UNLABELLED, Aspect.SCORE, Aspect.PRESENCE, Aspect.BOX),
        *(
            Aspect.BOXLESS,
            Aspect.BOX_SCORE,
            Aspect.AREA,
            Aspect.CROWD,
            Aspect.DOUBT,
            Aspect.ORIGIN,
            Aspect.BY,
            Aspect.POSE_ID,
        ),
        *(Aspect.POSE_GROUP, Aspect.ATTRIBUTES, Aspect.IMAGE_ID, Aspect.GROUP, Aspect.DUPLICATE),
        Aspect.IMAGE_ATTRIBUTES,
    }
)
"""What a project cannot hold: all but places, images without animals and, in our own file beside, the skeleton. The
one attribute that it can hold is ``track``, where it tells the poses of every image apart.
"""

MAX_INDIVIDUALS = 64
"""More tracks than this are not written as individuals: each takes two columns a keypoint in every table."""

_LONGEST_NAME = 255
"""Bytes of a name that file systems take."""

_LONGEST_SCORER = _LONGEST_NAME - len("CollectedData_.csv")


def write_dlc(
    path: str | Path,
    samples: Iterable[Sample],
    skeleton: Skeleton,
    *,
    policy: ImagePolicy = ImagePolicy.COMPLETE,
    file_name: Callable[[Sample], str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
    scorer: str = "autolabel",
    image_file: Callable[[Sample], Path] | None = None,
) -> Written:
    """Write samples as a DeepLabCut project: multi-animal where an image holds more than one pose.

    Hidden keypoints are written like visible ones, since somebody said where they are; keypoints without a
    statement are left empty. Individuals are called as the poses' ``track``, or numbered.

    Args:
        path: The project's folder.
        samples: Iterated twice, so not a generator.
        skeleton: Of all poses.
        policy: What to do with images of which some animals are not settled. Ignore regions cannot be written.
        file_name: Gives the path of an image below its root; that of the sample by default.
        overwrite: Replace a folder that an export made.
        progress: Where to report.
        scorer: Who labelled, in DeepLabCut's words; part of the tables' names.
        image_file: Where the image of a sample is; each table gets links to its images. Without it there are none.

    Raises:
        ExistsError: The folder stands already.
        ConfigError: A scorer that is no file name, or the library that writes ``config.yaml`` is missing.
        FormatError: A path with a backslash, or whose folders make too long a name; two images of the same path.
        InputError: An image is not there.
    """
    if not scorer or set(scorer) & set('/\\\0"') or not scorer.isprintable() or len(scorer.encode()) > _LONGEST_SCORER:
        raise ConfigError(f"{scorer[:80]!r} cannot be part of a file's name", subject="scorer")
    name_of = file_name or path_below_root
    plan = _Plan.make(samples, policy, name_of)
    tally = Tally(CANNOT - {Aspect.ATTRIBUTES})
    tally.skeleton(skeleton)
    with new_folder(path, overwrite=overwrite) as folder:
        with _Tables(folder, scorer, skeleton, plan) as tables:
            for sample in tally.samples(samples, policy, progress):
                name = name_of(sample)
                tables.write(name, sample.poses)
                tally.lose(Aspect.ATTRIBUTES, sum(map(plan.loses, sample.poses.attributes)))
                if image_file is not None:
                    link = folder / _place(name)
                    if link.is_symlink():
                        raise FormatError("is the path of two images", record=name)
                    put_image(image_file(sample), link)
        (folder / CONFIG).write_text(yaml_text(_config(Path(path), scorer, skeleton, plan)), encoding="utf-8")
        ours = json.dumps({"format": "dlc", "skeleton": skeleton.to_dict()}, ensure_ascii=False, indent=1)
        (folder / OURS).write_text(ours + "\n", encoding="utf-8")
    return tally.written()


@dataclass(frozen=True)
class _Plan:
    """What must be known before the first row is written.

    Attributes:
        individuals: What the poses of an image are called; one empty name in a single-animal project.
        tracked: Whether these are the poses' tracks.
        folders: The size of an image of each folder, by the folder's name.
    """

    individuals: tuple[str, ...]
    tracked: bool
    folders: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    @classmethod
    def make(cls, samples: Iterable[Sample], policy: ImagePolicy, name_of: Callable[[Sample], str]) -> "_Plan":
        most, tracked, tracks = 1, True, dict[str, None]()
        folders: dict[str, tuple[int, int]] = {}
        for sample in samples:
            chosen = select(sample, policy)
            if chosen is None:
                continue
            folders.setdefault(_place(name_of(chosen)).parent.name, chosen.size)
            rows = _written_poses(chosen.poses)
            most = max(most, len(rows))
            own = _tracks(chosen.poses, rows)
            tracked = tracked and len(own) == len(rows)
            if tracked:
                tracks.update(own)
                tracked = len(tracks) <= MAX_INDIVIDUALS
        if tracked and len(tracks) > 1:
            return cls(tuple(tracks), True, folders)
        numbered = tuple(f"individual{i + 1}" for i in range(most))
        return cls(numbered if most > 1 else ("",), False, folders)

    @property
    def multi(self) -> bool:
        """Whether it is a multi-animal project."""
        return self.individuals != ("",)

    def loses(self, attributes: Mapping[str, Any]) -> bool:
        """Whether a pose's attributes say something that is not written."""
        return say_something({k: value for k, value in attributes.items() if not (self.tracked and k == TRACK)})

    def columns(self, poses: Poses) -> dict[int, int]:
        """Which pose fills each individual's columns."""
        rows = _written_poses(poses)
        if not self.tracked:
            return dict(enumerate(rows))
        return {self.individuals.index(poses.attributes[i][TRACK]): i for i in rows}


class _Tables:
    """The tables of the folders, of which one is open."""

    def __init__(self, folder: Path, scorer: str, skeleton: Skeleton, plan: _Plan) -> None:
        self._folder, self._scorer, self._skeleton, self._plan = folder, scorer, skeleton, plan
        self._open = ExitStack()
        self._current: Path | None = None
        self._table: Any = None

    def __enter__(self) -> "_Tables":
        (self._folder / LABELED_DATA).mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self, name: str, poses: Poses) -> None:
        """Write the row of an image."""
        place = _place(name)
        self._turn_to(self._folder / place.parent)
        columns = self._plan.columns(poses)
        cells: list[Any] = []
        for m in range(len(self._plan.individuals)):
            cells.extend(_cells(poses, columns[m]) if m in columns else [""] * (2 * self._skeleton.num_keypoints))
        self._table.writerow([place.as_posix(), *cells])

    def _turn_to(self, folder: Path) -> None:
        if folder == self._current:
            return
        self._open.close()
        folder.mkdir(exist_ok=True)
        path = folder / f"CollectedData_{self._scorer}.csv"
        new = not path.exists()
        file = self._open.enter_context(path.open("a", encoding="utf-8", newline=""))
        self._table = csv.writer(file, lineterminator="\n")
        self._current = folder
        if new:
            self._table.writerows(self._header())

    def _header(self) -> Iterator[list[str]]:
        columns = [
            (individual, part, coord)
            for individual in self._plan.individuals
            for part in self._skeleton.keypoints
            for coord in ("x", "y")
        ]
        yield ["scorer", *(self._scorer for _ in columns)]
        if self._plan.multi:
            yield ["individuals", *(individual for individual, _, _ in columns)]
        yield ["bodyparts", *(part for _, part, _ in columns)]
        yield ["coords", *(coord for _, _, coord in columns)]


def _tracks(poses: Poses, rows: Sequence[int]) -> dict[str, None]:
    """The different tracks of an image's poses that can name an individual."""
    tracks = [poses.attributes[i].get(TRACK) for i in rows]
    return dict.fromkeys(track for track in tracks if isinstance(track, str) and track and track != SCENE)


def _written_poses(poses: Poses) -> list[int]:
    """The poses that have something to write: without a labelled keypoint an individual is not in the image."""
    return np.flatnonzero(poses.labelled.any(axis=1)).tolist()


def _cells(poses: Poses, i: int) -> list[Any]:
    xy = np.where(poses.labelled[i][:, None], poses.xy[i], np.nan).reshape(-1)
    return ["" if number is None else number for number in shortest(xy)]


def _place(name: str) -> PurePosixPath:
    """Where the image of a path below its root is in the project."""
    whole = PurePosixPath(require_slashes(name, "DeepLabCut"))
    parent = whole.parent.as_posix()
    folder = folder_name("" if parent == "." else parent)
    if len(folder.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
        raise FormatError("its folders make too long a name for the one level of DeepLabCut", record=name)
    return PurePosixPath(LABELED_DATA, folder, whole.name)


def _config(path: Path, scorer: str, skeleton: Skeleton, plan: _Plan) -> dict[str, Any]:
    """What DeepLabCut asks of a project, with its own defaults."""
    names = list(skeleton.keypoints)
    animals: dict[str, Any] = {"bodyparts": names}
    if plan.multi:
        animals = {"individuals": list(plan.individuals), "uniquebodyparts": [], "multianimalbodyparts": names}
        animals["bodyparts"] = "MULTI!"
    videos = {f"{folder}.mp4": {"crop": f"0, {width}, 0, {height}"} for folder, (width, height) in plan.folders.items()}
    return {
        "Task": skeleton.name,
        "scorer": scorer,
        "date": "Jan1",
        "multianimalproject": plan.multi,
        "identity": False,
        "project_path": str(path.absolute()),
        "video_sets": videos,
        **animals,
        "start": 0,
        "stop": 1,
        "numframes2pick": 20,
        "skeleton": [[skeleton.keypoints[i], skeleton.keypoints[j]] for i, j in skeleton.edges],
        "skeleton_color": "black",
        "pcutoff": 0.6,
        "dotsize": 12,
        "alphavalue": 0.7,
        "colormap": "rainbow",
        "TrainingFraction": [0.95],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "default",
        "snapshotindex": -1,
        "batch_size": 8,
        "cropping": False,
        "x1": 0,
        "x2": 640,
        "y1": 0,
        "y2": 480,
        "corner2move2": [50, 50],
        "move2corner": True,
    }
