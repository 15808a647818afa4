"""What a curator does with FiftyOne's Python interface, and what tests look at there."""

from typing import Any

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Sample
from tests.standing import COCO


def load(fiftyone: Any, name: str) -> Any:
    dataset = fiftyone.load_dataset(name)
    dataset.reload()
    return dataset


def labels(dataset: Any, *names: str) -> dict[str, tuple[Any, ...]]:
    """Values of all poses by pose id."""
    columns = dataset.values([f"poses.keypoints.{n}" for n in ("pose_id", *names)])
    poses, *values = ([value for image in column for value in image] for column in columns)
    return dict(zip(poses, zip(*values, strict=True), strict=True))


def again(shown: Manifest, samples: list[Sample], name: str = "later.m") -> Manifest:
    return write_manifest(shown.path.with_name(name), samples, COCO, shown.roots, stage="test")


def move(fiftyone: Any, name: str, pose: int, keypoint: int, place: tuple[float, float]) -> None:
    """What a curator does with the SDK."""
    for sample in load(fiftyone, name).iter_samples(autosave=True):
        for label in sample.poses.keypoints:
            if label.pose_id == f"{pose:032x}":
                label.points[keypoint] = place


def tag(fiftyone: Any, name: str, pose: int, word: str) -> None:
    dataset = load(fiftyone, name)
    found = labels(dataset, "id")[f"{pose:032x}"][0]
    dataset.select_labels(ids=[found], fields="poses").tag_labels(word)
