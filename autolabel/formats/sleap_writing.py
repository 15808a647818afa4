"""Writing a label file of SLEAP; ``sleap.py`` tells the format.

sleap-io wants all labels in memory before it writes: about 12.5 kB a pose of 17 keypoints with scores (20,000 poses,
sleap-io 0.9.5). The file appears under its name only when it is complete.
"""

# sleap-io ships no type marker: what comes out of it is Any.

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.formats.image_files import require_image, require_slashes
from autolabel.formats.labels import TRACK, UNKNOWN_SIZE, Aspect, Tally, Written, path_below_root, say_something
from autolabel.formats.output import new_path
from autolabel.formats.policy import ImagePolicy, settled
from autolabel.formats.sleap_file import OURS, save, sleap_io
from autolabel.poses import Origin, Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import Skeleton

CANNOT = frozenset(
    {
        *(Aspect.HIDDEN, Aspect.ABSENT, Aspect.UNLABELLED, Aspect.PRESENCE, Aspect.BOX, Aspect.AREA, Aspect.CROWD),
        Aspect.BOXLESS,
        *(Aspect.DOUBT, Aspect.ORIGIN, Aspect.BY, Aspect.POSE_ID, Aspect.POSE_GROUP, Aspect.ATTRIBUTES),
        *(Aspect.IMAGE_ID, Aspect.DUPLICATE, Aspect.IMAGE_ATTRIBUTES),
    }
)
"""What a ``.slp`` file cannot hold. The one attribute that it can hold is ``track``."""


def write_sleap(
    path: str | Path,
    samples: Iterable[Sample],
    skeleton: Skeleton,
    *,
    policy: ImagePolicy = ImagePolicy.COMPLETE,
    file_name: Callable[[Sample], str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
    image_file: Callable[[Sample], Path] | None = None,
) -> Written:
    """Write samples as a label file of SLEAP.

    Args:
        path: The ``.slp`` file.
        samples: Gone through once; all that is written is held in memory.
        skeleton: Of all poses.
        policy: What to do with images of which some animals are not settled. Ignore regions cannot be written.
        file_name: Gives the path of an image below its root; that of the sample by default.
        overwrite: Replace a file that stands already.
        progress: Where to report.
        image_file: Where the image of a sample is: SLEAP opens images by their absolute paths. Without it the paths
            below the root are written.

    Raises:
        ExistsError: The file stands already.
        FormatError: A path with a backslash, which sleap-io takes for a folder's end; or what sleap-io refuses.
        InputError: An image is not there.
        ConfigError: sleap-io is missing.
    """
    tally = Tally(CANNOT - {Aspect.ATTRIBUTES})
    tally.skeleton(skeleton)
    labels = _Labels(sleap_io(str(path)), skeleton)
    with new_path(path, overwrite=overwrite) as temporary:
        for sample in tally.samples(samples, policy, progress):
            name = (file_name or path_below_root)(sample)
            if image_file is not None:
                name = str(require_image(image_file(sample)).absolute())
            labels.add(sample, require_slashes(name, "SLEAP"), negative=policy is not ImagePolicy.ALL)
            tally.lose(Aspect.ATTRIBUTES, sum(map(_loses, sample.poses.attributes)))
        save(labels.finished(), temporary, str(path))
    return tally.written()


@dataclass(eq=False)
class _Video:
    """An image list that grows, of one group and size."""

    video: Any
    names: list[str]


@dataclass(eq=False)
class _Labels:
    """``sleap_io.Labels`` that grow."""

    library: Any
    skeleton: Skeleton
    _videos: dict[tuple[str, tuple[int, int]], _Video] = field(
        default_factory=dict[tuple[str, tuple[int, int]], _Video]
    )
    _tracks: dict[str, Any] = field(default_factory=dict[str, Any])
    _frames: list[Any] = field(default_factory=list[Any])

    def __post_init__(self) -> None:
        names = self.skeleton.keypoints
        self._theirs = self.library.Skeleton(
            nodes=list(names),
            edges=[(names[i], names[j]) for i, j in self.skeleton.edges],
            symmetries=[(names[i], names[j]) for i, j in self.skeleton.flip_pairs],
            name=self.skeleton.name,
        )

    def add(self, sample: Sample, name: str, *, negative: bool) -> None:
        """Add an image; ``negative`` says that one without animals has none."""
        video = self._video(sample)
        video.names.append(name)
        frame = self.library.LabeledFrame(
            video=video.video,
            frame_idx=len(video.names) - 1,
            instances=self._instances(sample.poses),
            is_negative=negative and not len(sample.poses),
        )
        self._frames.append(frame)

    def finished(self) -> Any:
        """The labels as they are to be saved."""
        for (_, size), video in self._videos.items():
            video.video.filename = video.names
            video.video.backend_metadata = _metadata(video.names, size)
        labels = self.library.Labels(
            labeled_frames=self._frames,
            videos=[video.video for video in self._videos.values()],
            skeletons=[self._theirs],
            tracks=list(self._tracks.values()),
        )
        groups = [group for group, _ in self._videos]
        labels.provenance[OURS] = {"skeleton": self.skeleton.to_dict(), "groups": groups}
        return labels

    def _video(self, sample: Sample) -> _Video:
        key = ("" if sample.group == sample.id else sample.group, sample.size)
        if key not in self._videos:
            self._videos[key] = _Video(self.library.Video(filename=[""], open_backend=False), [])
        return self._videos[key]

    def _instances(self, poses: Poses) -> list[Any]:
        instances: list[Any] = []
        labelled, alone = poses.labelled, _predictions(poses)
        rows: list[int] = np.flatnonzero(labelled.any(axis=1)).tolist()
        for i in rows:
            track = self._track(poses.attributes[i])
            scored = not (np.isnan(poses.score[i]).all() and np.isnan(poses.box_score[i]))
            prediction = None
            if scored or alone[i]:
                prediction = self.library.PredictedInstance.from_numpy(
                    np.float64(poses.xy[i]),
                    skeleton=self._theirs,
                    point_scores=np.float64(poses.score[i]),
                    score=float(poses.box_score[i]),
                    track=track,
                )
                prediction.points["visible"] = labelled[i]
            if not alone[i]:
                user = self.library.Instance.from_numpy(np.float64(poses.xy[i]), skeleton=self._theirs, track=track)
                user.points["visible"] = labelled[i]
                user.from_predicted = prediction
                instances.append(user)
            if prediction is not None:
                instances.append(prediction)
        return instances

    def _track(self, attributes: Mapping[str, Any]) -> Any:
        name = attributes.get(TRACK)
        if not isinstance(name, str) or not name:
            return None
        if name not in self._tracks:
            self._tracks[name] = self.library.Track(name=name)
        return self._tracks[name]


def _predictions(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses that are no labels: they wait for somebody, or a model placed them and nobody has accepted that."""
    stateless = np.array([not attributes.get("state") for attributes in poses.attributes], bool)
    by_model = ((poses.origin == Origin.MODEL) | ~poses.labelled).all(axis=1)
    return ~settled(poses) | (stateless & by_model)


def _metadata(names: list[str], size: tuple[int, int]) -> dict[str, Any]:
    """What SLEAP keeps of an image list; without it, it would open the first image to find out."""
    width, height = size
    known = {"shape": [len(names), height, width, 3], "height_": height, "width_": width, "channels_": 3}
    return {
        "type": "ImageVideo",
        "filename": names[0],
        "filenames": names,
        "grayscale": False,
        **({} if size == UNKNOWN_SIZE else known),
    }


def _loses(attributes: Mapping[str, Any]) -> bool:
    """Whether a pose's attributes say something that is not written."""
    return say_something({k: value for k, value in attributes.items() if k != TRACK or not isinstance(value, str)})
