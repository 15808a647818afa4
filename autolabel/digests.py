"""Which poses there are and what they state, as one digest: how a certificate names its population.

A pose states its id, its box, and of each keypoint the place, the visibility, and whether it lies inside the image.
Scores, and who placed what, are left out: they may change while the label stays the same. The digest of a population
is the SHA-256 over the sorted SHA-256 of its poses, so that neither their order nor their parts matter.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.poses import Poses
from autolabel.similarity import claims_present


def population_digest(poses: Poses | Iterable[Poses]) -> str:
    """Hex digest of which poses there are and what they state, whatever their order.

    Args:
        poses: All of them, or their parts one after the other.
    """
    parts = [poses] if isinstance(poses, Poses) else poses
    return digest_of(digest for part in parts for digest in pose_digests(part))


def digest_of(digests: Iterable[bytes]) -> str:
    """The :func:`population_digest` of poses of which each one's digest is known."""
    whole = hashlib.sha256()
    for digest in sorted(digests):
        whole.update(digest)
    return whole.hexdigest()


def pose_digests(poses: Poses) -> list[bytes]:
    """SHA-256 of what each of N poses states."""
    if not len(poses):
        return []
    rows = np.concatenate(
        [_bytes(poses.box), _bytes(poses.xy), poses.visibility, claims_present(poses).view(np.uint8)], axis=1
    )
    heads = [f"{name}\0".encode() for name in poses.id]
    return [hashlib.sha256(head + row.tobytes()).digest() for head, row in zip(heads, rows, strict=True)]


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """(N, ...) floats as (N, bytes), equal for equal values: one NaN and one zero."""
    one = np.where(np.isnan(array), array.dtype.type(np.nan), array + array.dtype.type(0))
    return np.ascontiguousarray(one.reshape(len(one), -1)).view(np.uint8)
