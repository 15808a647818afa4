"""The accepted poses as a certificate needs them, read part by part: what each states, and where it stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.digests import digest_of, pose_digests
from autolabel.errors import InputError, ManifestError
from autolabel.poses import Poses
from autolabel.progress import SILENT, Progress
from pipelines.certify_read import ACCEPTED, PUT_BACK, Routing


@dataclass(frozen=True, eq=False)
class Population:
    """The N accepted poses in the order of their list.

    Attributes:
        digests: What each one states.
        box: (N, 4) xyxy pixels.
        image_size: (N, 2) of its image, in pixels.
        in_image: (N,) poses in its image.
        group: (N,) of its image.
        audited: The m audited poses, in the order of their list.
        rows: (m,) where these stand among the N.
    """

    digests: tuple[bytes, ...]
    box: NDArray[np.float64]
    image_size: NDArray[np.int64]
    in_image: NDArray[np.int64]
    group: NDArray[Any]
    audited: Poses
    rows: NDArray[np.intp]

    def digest_before(self, size: int) -> str:
        """Of the first ``size`` poses, as accepted."""
        return digest_of(self.digests[:size])

    def digest_after(self, size: int, answers: Poses, rejected: NDArray[np.bool_]) -> str:
        """Of the first ``size`` poses with the m answers laid over them, and without the rejected ones."""
        inside = self.rows < size
        untouched = np.ones(size, bool)
        untouched[self.rows[inside]] = False
        rows: list[int] = np.flatnonzero(untouched).tolist()
        kept = [self.digests[row] for row in rows]
        return digest_of([*kept, *pose_digests(answers.take(inside & ~rejected))])


def read_population(routing: Routing, progress: Progress = SILENT) -> Population:
    """The accepted poses as they are now.

    Raises:
        InputError: They are not those that routing froze.
        ManifestError: Two poses have the same id.
    """
    manifest, n = routing.manifest, len(routing.accepted)
    row, audit = {pose: i for i, pose in enumerate(routing.accepted)}, set(routing.audit)
    digests = [b""] * n
    box, image_size = np.full((n, 4), np.nan), np.zeros((n, 2), np.int64)
    in_image, group = np.zeros(n, np.int64), np.full(n, "", object)
    found: list[Poses] = []
    with progress.task("certify", len(manifest), "image") as task:
        for i in range(manifest.num_parts):
            samples, owner, every = manifest.part(i), manifest.owners(i), manifest.poses(i)
            places = np.array([row.get(pose, -1) for pose in every.id], np.intp)
            mine = places >= 0
            at, poses, where = places[mine], every.take(mine), owner[mine]
            for place, digest in zip(at.tolist(), pose_digests(poses), strict=True):
                if digests[place]:
                    raise ManifestError("two poses have the same id", subject=str(manifest.path))
                digests[place] = digest
            box[at] = poses.box
            image_size[at] = np.array([sample.size for sample in samples], np.int64).reshape(-1, 2)[where]
            in_image[at] = np.bincount(owner, minlength=len(samples))[where]
            group[at] = np.array([sample.group for sample in samples], object)[where]
            found.append(poses.take(np.array([pose in audit for pose in poses.id], bool)))
            task.advance(len(samples))
    audited = poses_in_order(found, routing.audit, manifest.skeleton.num_keypoints, str(manifest.path))
    rows = np.array([row[pose] for pose in routing.audit], np.intp)
    made = Population(tuple(digests), box, image_size, in_image, group, audited, rows)
    _require_frozen(made, routing)
    return made


def poses_in_order(parts: Iterable[Poses], ids: tuple[str, ...], num_keypoints: int, subject: str) -> Poses:
    """Of the poses in the parts those with these ids, in that order; ids that no pose has are left out.

    Raises:
        ManifestError: Two poses have the same id.
    """
    wanted = set(ids)
    chosen = [poses.take(np.array([pose in wanted for pose in poses.id], bool)) for poses in parts]
    poses = Poses.concat([Poses.empty(num_keypoints), *chosen])
    row = {pose: i for i, pose in enumerate(poses.id)}
    if len(row) < len(poses):
        raise ManifestError("two poses have the same id", subject=subject)
    return poses.take(np.array([row[pose] for pose in ids if pose in row], np.intp))


def _require_frozen(population: Population, routing: Routing) -> None:
    known = all(population.digests)
    if not known or any(population.digest_before(step.size) != step.digest for step in routing.steps):
        raise InputError(
            "the accepted poses are not those that routing froze",
            subject=str(routing.folder / ACCEPTED),
            remedy=PUT_BACK,
        )
