"""Which poses a report shows, and their pictures.

What is most doubtful and nobody opened; accepted poses drawn at random, since only a random look says what
they are like; and the largest corrections. A million poses are looked through part by part: only the few
that are shown are kept, and only their images are read.
"""

import hashlib
import heapq
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autolabel.errors import ImageError
from autolabel.images import read_image
from autolabel.manifest import Manifest
from autolabel.merge import SETTLED, Correction, KeypointChange, State
from autolabel.poses import Origin, Poses, Sample
from autolabel.report.overlay import draw_poses, pose_view
from autolabel.similarity import claims_present, longer_side
from autolabel.skeleton import Skeleton

PER_SHELF = 8
SIDE = 300
"""Pixels of a picture; pages show it somewhat smaller, for sharp screens."""

JPEG_QUALITY = 85
DOUBTFUL_KEYPOINT = 0.5
"""A joint of at least this ``p_gross`` gets a ring."""

_ACCEPTED = "Accepted"
_ANY = "A random look"
"""Shown where nothing was accepted yet."""

_SPARE = 2
"""Times as many candidates as places are kept: some images may be unreadable."""


@dataclass(frozen=True)
class Shot:
    """One pose on one picture.

    Attributes:
        jpeg: The picture.
        caption: What there is to say about the pose.
        source: Which image it is from.
    """

    jpeg: bytes
    caption: str
    source: str


@dataclass(frozen=True)
class Shelf:
    """Some poses of one kind.

    Attributes:
        title: Which kind.
        caption: How they were chosen, and out of how many.
        shots: The pictures.
    """

    title: str
    caption: str
    shots: tuple[Shot, ...]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A pose that may be shown: the one with the highest rank is shown first."""

    rank: float
    sample: Sample
    row: int

    @property
    def poses(self) -> Poses:
        """The pose alone."""
        return self.sample.poses.take([self.row])


Rank = Callable[[Poses], NDArray[np.float64]]
"""(N,) rank of each pose, NaN for those that do not belong on the shelf."""


@dataclass(frozen=True)
class _Kind:
    title: str
    caption: str
    rank: Rank


def shelves(manifest: Manifest, corrections: Mapping[str, Correction]) -> tuple[Shelf, ...]:
    """The gallery of a manifest; kinds of which there are no poses are left out.

    Args:
        manifest: Whose poses to show.
        corrections: What people changed, by pose id; empty where that is not known.
    """
    kinds = _kinds(corrections)
    found = dict(zip(kinds, _find(manifest, [kind.rank for kind in kinds]), strict=True))
    accepted = any(count for kind, (_, count) in found.items() if kind.title == _ACCEPTED)
    made: list[Shelf] = []
    for kind, (candidates, count) in found.items():
        if kind.title == _ANY and accepted:
            continue
        if shots := tuple(_shots(manifest, candidates, corrections)):
            made.append(Shelf(kind.title, kind.caption.format(n=f"{count:,}"), shots))
    return tuple(made)


def _kinds(corrections: Mapping[str, Correction]) -> tuple[_Kind, ...]:
    corrected = _Kind(
        "Corrected",
        "The largest of {n} corrections; lines lead from where the joint was to where a person put it.",
        lambda poses: _correction_size(poses, corrections),
    )
    placed = _Kind("Placed by people", "Drawn at random from {n} poses with joints that people placed.", _placed)
    return (
        _Kind("Most doubtful", "The highest p_bad of {n} poses that no person opened.", _doubt),
        _Kind(_ACCEPTED, "Drawn at random from {n} accepted poses.", _accepted),
        _Kind(_ANY, "Drawn at random from {n} poses.", _drawn),
        corrected if corrections else placed,
    )


def _find(manifest: Manifest, ranks: list[Rank]) -> list[tuple[list[Candidate], int]]:
    """The best candidates for each rank, best first, and how many poses it applies to."""
    best: list[list[Candidate]] = [[] for _ in ranks]
    counts = [0] * len(ranks)
    for i in range(manifest.num_parts):
        samples = manifest.part(i)
        poses = Poses.concat([Poses.empty(manifest.skeleton.num_keypoints), *(s.poses for s in samples)])
        where = [(sample, row) for sample in samples for row in range(len(sample.poses))]
        for kind, rank in enumerate(ranks):
            values = rank(poses)
            known = np.flatnonzero(~np.isnan(values))
            counts[kind] += len(known)
            first = known[np.argsort(-values[known], kind="stable")][: _SPARE * PER_SHELF]
            fresh = [Candidate(float(values[j]), *where[j]) for j in map(int, first)]
            best[kind] = heapq.nlargest(_SPARE * PER_SHELF, [*best[kind], *fresh], key=lambda c: c.rank)
    return list(zip(best, counts, strict=True))


def _doubt(poses: Poses) -> NDArray[np.float64]:
    return np.where(_opened(poses) | ~_drawable(poses), np.nan, poses.p_bad.astype(np.float64))


def _accepted(poses: Poses) -> NDArray[np.float64]:
    accepted = np.array([a.get("state") == "accepted" for a in poses.attributes], bool)
    return np.where(accepted & _drawable(poses), _chance(poses), np.nan)


def _drawn(poses: Poses) -> NDArray[np.float64]:
    return np.where(_drawable(poses), _chance(poses), np.nan)


def _placed(poses: Poses) -> NDArray[np.float64]:
    by_people = (poses.origin == Origin.HUMAN).any(axis=1)
    return np.where(by_people & _drawable(poses), _chance(poses), np.nan)


def _chance(poses: Poses) -> NDArray[np.float64]:
    """(N,) random numbers that depend on the pose alone, so that a report made twice is the same."""
    drawn = [int.from_bytes(hashlib.sha256(f"{pose}".encode()).digest()[:6], "big") for pose in poses.id]
    return np.array(drawn, np.float64)


def _correction_size(poses: Poses, corrections: Mapping[str, Correction]) -> NDArray[np.float64]:
    """The farthest that a joint was moved, in shares of the box; 0 where joints were only marked or added."""
    mine = [corrections.get(pose) for pose in poses.id]
    changed = np.array([c is not None and _changed(c) for c in mine], bool) & _drawable(poses)
    before = np.array([np.full_like(poses.xy[0], np.nan) if c is None else c.before.xy for c in mine])
    moved = np.linalg.norm(before.reshape(poses.xy.shape) - poses.xy, axis=-1)
    return np.where(changed, np.nan_to_num(moved).max(axis=1, initial=0.0) / longer_side(poses), np.nan)


def _changed(correction: Correction) -> bool:
    kept = all(change is KeypointChange.KEPT for change in correction.keypoints)
    return correction.state is State.REVIEWED and not kept


def _opened(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses that a person decided about."""
    settled = [a.get("state") in SETTLED for a in poses.attributes]
    return np.array(settled, bool) | (poses.origin == Origin.HUMAN).any(axis=1)


def _drawable(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses of which there is something to draw."""
    return np.asarray(claims_present(poses).any(axis=1))


def _shots(
    manifest: Manifest, candidates: Iterable[Candidate], corrections: Mapping[str, Correction]
) -> Iterable[Shot]:
    left = PER_SHELF
    for candidate in candidates:
        try:
            image = read_image(manifest.image_path(candidate.sample))
        except ImageError:
            continue  # a report must not fail because some images have been moved away
        correction = corrections.get(candidate.poses.id[0])
        yield _shot(image, candidate, manifest.skeleton, correction)
        left -= 1
        if not left:
            return


def _shot(image: NDArray[np.uint8], candidate: Candidate, skeleton: Skeleton, correction: Correction | None) -> Shot:
    poses = candidate.poses
    marked = poses.p_gross >= DOUBTFUL_KEYPOINT
    before = None if correction is None else correction.before.xy[None]
    view = pose_view(poses, (image.shape[1], image.shape[0]), SIDE)
    drawn = draw_poses(image, poses, skeleton, view=view, marked=marked, before=before)
    return Shot(as_jpeg(drawn), _caption(poses, marked, skeleton, correction), candidate.sample.path)


def as_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """A (H, W, 3) picture as a JPEG file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def _caption(poses: Poses, marked: NDArray[np.bool_], skeleton: Skeleton, correction: Correction | None) -> str:
    parts: list[str] = []
    if correction is not None:
        changed = [c for c in correction.keypoints if c is not KeypointChange.KEPT]
        parts.append(f"{len(changed)} of {skeleton.num_keypoints} keypoints changed by {correction.by}")
    if not np.isnan(poses.p_bad[0]):
        parts.append(f"p_bad {poses.p_bad[0]:.2f}")
    if marked.any():
        names = [skeleton.keypoints[k].replace("_", " ") for k in map(int, np.flatnonzero(marked[0]))]
        parts.append("doubtful: " + ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else ""))
    return " · ".join(parts)
