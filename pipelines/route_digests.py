"""What untouched keypoints and whole images are drawn from, as digests: how a claim about them names its population.

As the digest of a population of poses (``autolabel/digests.py``) they are the SHA-256 over the sorted SHA-256 of the
single ones, so that neither their order nor the parts of a manifest matter.
"""

import hashlib
import json
from collections.abc import Iterator

import numpy as np

from autolabel.digests import digest_of, pose_digests
from autolabel.manifest import Manifest
from pipelines.route_draws import Draws
from pipelines.route_pool import Pool, sample_keys


def keypoints_digest(manifest: Manifest, pool: Pool) -> str:
    """Of all untouched keypoints: what their poses state, and which keypoints of them nobody touched.

    Args:
        manifest: What was routed; read part by part.
        pool: Its columns.
    """

    def each() -> Iterator[bytes]:
        first = 0
        for i in range(manifest.num_parts):
            bits = pool.untouched[first : first + len(manifest.owners(i))]
            first += len(bits)
            rows = np.flatnonzero(bits.any(axis=1))
            if len(rows):
                stated = pose_digests(manifest.poses(i).take(rows))
                yield from (
                    hashlib.sha256(pose + row.tobytes()).digest() for pose, row in zip(stated, bits[rows], strict=True)
                )

    return digest_of(each())


def image_digests(manifest: Manifest, draws: Draws) -> list[str]:
    """Of the images that are complete without an accepted pose, then of those that are complete with each step.

    Args:
        manifest: What was routed; the samples of these images are read.
        draws: Say which images these are.
    """
    images = draws.complete(draws.num_steps - 1)
    keys = [hashlib.sha256(json.dumps(key).encode()).digest() for key in sample_keys(manifest, images)]
    need = draws.complete_at[images].tolist()
    return [
        digest_of(key for key, at in zip(keys, need, strict=True) if at <= step) for step in range(-1, draws.num_steps)
    ]
