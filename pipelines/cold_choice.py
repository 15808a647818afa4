"""Which images, or people, a cold start asks about, and the routing that sends them.

Some are drawn by lot, so that what is learnt about errors is about the corpus; the others are those that differ most
from one another and from these (k-centre greedy, :func:`autolabel.select.learning_batch`). Near-copies of one picture,
and neighbouring frames of one video, are not asked about twice.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.manifest import Manifest, write_text
from autolabel.repeats import Repeats
from autolabel.select import learning_batch, uniform_draw
from pipelines.route import ROUTING
from pipelines.route_files import write_queue
from pipelines.routing_seal import sealed

Indices = NDArray[np.intp]


def choose(
    embedding: NDArray[np.floating], repeats: Repeats, count: int, share: float, seed: int
) -> tuple[Indices, Indices]:
    """Choose some of N boxes: by lot, and as different as can be.

    Boxes of one image are chosen together only where there are too few images.

    Args:
        embedding: (N, D) what they look like; a row with a NaN is never chosen.
        repeats: Of all N.
        count: How many to choose; fewer come where there are fewer that do not repeat one another.
        share: Of these, how many by lot, 0 to 1; one at least is not.
        seed: Of the lot.

    Returns:
        (n,) rows that differ most, in the order in which they were chosen, and (m,) rows drawn by lot.
    """
    candidates = np.flatnonzero(np.isfinite(embedding).all(axis=1))
    alone = Repeats(repeats.group, np.arange(len(repeats)))  # nobody joins another, of the same image neither
    groups = len(np.unique(repeats.group[candidates]))
    asked = min(count, len(candidates))
    by_lot = max(min(round(share * asked), asked - 1, groups - 1), 0)
    drawn, _ = uniform_draw(candidates, by_lot, np.random.default_rng(seed), alone)
    different = drawn[:0]
    for how in (alone, repeats):
        different = np.concatenate(
            [
                different,
                learning_batch(
                    embedding,
                    np.zeros(len(embedding)),
                    candidates,
                    count - len(drawn) - len(different),
                    taken=np.concatenate([drawn, different]),
                    repeats=how,
                ),
            ]
        )
    return different, drawn


def write_routing(out: Path, manifest: Manifest, queue: Sequence[dict[str, Any]]) -> None:
    """Write a routing that sends a queue, for ``push``; ``routing.json`` comes last.

    Args:
        out: The folder.
        manifest: Holds what is queued.
        queue: The tasks in their order: ``pose`` or ``image``, ``kind`` and ``blind``.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_queue(out, queue)
    kinds = [str(task["kind"]) for task in queue]
    record = {
        "manifest": os.path.relpath(manifest.path, out),
        "manifest_digest": manifest.digest,
        "skeleton": manifest.skeleton.name,
        "spent": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)} | {"total": len(kinds)},
        "digest": hashlib.sha256(json.dumps([manifest.digest, list(queue)]).encode()).hexdigest(),
    }
    write_text(out / ROUTING, json.dumps(sealed(record, out), indent=2) + "\n")
