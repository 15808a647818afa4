"""Some poses of a manifest, image by image: what is looked at once more when a quality head is to learn of them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError, InputError
from autolabel.manifest import Manifest
from autolabel.poses import Poses, Sample
from autolabel.progress import Task
from autolabel.synthetic_errors import nearest_neighbours
from pipelines.decoding import decoded_ahead


class PoseImages:
    """The images of some poses, read in the manifest's order.

    Args:
        manifest: Where the poses are from.
        poses: N of its poses, in any order.
        rows: (M,) which of them are wanted; each has a box.

    Attributes:
        read: Rows of the wanted poses whose images were handed on, in that order.
        unread: Images that could not be read.
    """

    def __init__(self, manifest: Manifest, poses: Poses, rows: NDArray[np.intp]) -> None:
        self._manifest, self._poses = manifest, poses
        self._row = {pose: row for row, pose in enumerate(poses.id.tolist())}
        self._wanted = np.zeros(len(poses), bool)
        self._wanted[rows] = True
        self._image = np.full(len(poses), -1, np.intp)
        self.read: list[int] = []
        self.unread: list[str] = []

    def decoded(self, task: Task) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
        """Images (H, W, 3) uint8 and the boxes (n, 4) of their wanted poses."""
        for part in range(self._manifest.num_parts):
            samples = self._manifest.part(part)
            rows = [self._rows(sample, self._image.max(initial=-1) + 1) for sample in samples]
            wanted = [i for i, own in enumerate(rows) if len(own)]
            task.advance(len(samples) - len(wanted))
            for i, image in decoded_ahead(self._manifest, samples, wanted):
                task.advance()
                if isinstance(image, ImageError):
                    self.unread.append(samples[i].path)
                    continue
                self.read.extend(rows[i])
                yield image, self._poses.box[rows[i]]

    def neighbours(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, K, 2) for each pose the nearest same joints of others in its image, once the images were read.

        Args:
            places: (N, K, 2) where the joints of all poses are, NaN where that is not known.
        """
        order = np.argsort(self._image, kind="stable")
        image = np.where(self._image < 0, -1 - np.arange(len(order)), self._image)  # each alone whose image is unknown
        found = np.empty_like(places)
        found[order] = nearest_neighbours(places[order], np.isfinite(places[order]).all(axis=-1), image[order])
        return found

    def _rows(self, sample: Sample, image: int) -> list[int]:
        """The wanted rows of a sample's poses; notes which image all of its poses are in."""
        rows = [row for pose in sample.poses.id.tolist() if (row := self._row.get(pose)) is not None]
        self._image[rows] = image
        return [row for row in rows if self._wanted[row]]


def judgeable(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses of one person in a box, of whom something was predicted."""
    return np.isfinite(poses.xy).any(axis=(1, 2)) & ~poses.crowd & np.isfinite(poses.box).all(axis=1)


def require_its_own(poses: Poses, network: str, subject: str) -> None:
    """Refuse poses that a network did not predict.

    Args:
        poses: All of them predicted.
        network: The first 12 digits of its digest.
        subject: What errors call the network.

    Raises:
        InputError: Some are of another one.
    """
    if strangers := sorted(set(poses.by.tolist()) - {network}):
        raise InputError(
            f"is network {network}, and the poses are of {strangers[0] or 'no network'}",
            subject=subject,
            remedy="Give the weights that the poses were predicted with.",
        )
