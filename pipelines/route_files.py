"""The files of a routing: lists of pose ids, the queue of tasks, for ``push`` and ``certify``.

``accepted.txt`` stands in the order of doubt: a step of the promise is the first so many of its lines. All of them
are named in ``routing.json`` with the digests of their bytes (``pipelines/routing_seal.py``).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.digests import digest_of, pose_digests
from autolabel.labelstudio.tasks import UNSHOWN
from autolabel.manifest import Manifest, write_text
from autolabel.portions import KINDS as PORTIONS
from autolabel.propose import Indices, Proposal
from autolabel.route import Order, mixed_priorities
from pipelines.route_draws import Asked, Draws
from pipelines.route_pool import Pool, SampleKey

QUEUE = "queue.jsonl"


def write_lists(
    out: Path,
    manifest: Manifest,
    pool: Pool,
    proposal: Proposal,
    draws: Draws,
    keys: Sequence[SampleKey],
    held: NDArray[np.bool_],
) -> None:
    """Write what was decided and drawn.

    Args:
        out: The folder.
        manifest: What was routed.
        pool: Its columns.
        proposal: What is accepted.
        draws: What was drawn.
        keys: Of the drawn images.
        held: (N,) poses that nothing may be trained on until the audit is spent.
    """
    rows = {
        "accepted": proposal.accepted,
        "review": draws.tasks["review"],
        "audit": draws.tasks["audit"],
        "rejected": np.flatnonzero(pool.second),
        "blind": draws.tasks["blind"],
        "decoys": draws.decoys,
        "held": np.flatnonzero(held),
    }
    lists = {f"{name}.txt": pool.ids[chosen].tolist() for name, chosen in rows.items()}
    names = manifest.skeleton.keypoints
    lists["keypoints.jsonl"] = [json.dumps({"pose": pool.ids[row], "keypoint": names[k]}) for row, k in draws.keypoints]
    steps = draws.complete_at[draws.images].tolist()
    lists["images.jsonl"] = [json.dumps({"sample": list(k), "step": s}) for k, s in zip(keys, steps, strict=True)]
    for name, lines in lists.items():
        write_text(out / name, "".join(f"{line}\n" for line in lines))


def queue(
    pool: Pool, draws: Draws, planted: Sequence[str], keys: Sequence[SampleKey], asked: Asked
) -> list[dict[str, Any]]:
    """All tasks, most urgent first; a drawn task's place among the others tells nothing about it.

    Args:
        pool: The manifest's columns.
        draws: What was drawn.
        planted: Ids of the planted poses.
        keys: Of the drawn images.
        asked: Gives the order and the generator.
    """
    review = draws.tasks["review"]
    if asked.order in (Order.CLEAN, Order.LEARN):  # their order is no order of doubt
        urgency = (1 - np.arange(len(review)) / max(len(review), 1)).tolist()
    else:
        doubt = np.nan_to_num(pool.p_bad[review].astype(np.float64), nan=1.0)
        urgency = np.where(pool.second[review], 1.0, doubt).tolist()
    tasks = [_task(pose, "review", urgent) for pose, urgent in zip(pool.ids[review].tolist(), urgency, strict=True)]
    rows = [(row, kind) for kind in draws.tasks if kind != "review" for row in draws.tasks[kind].tolist()]
    rows += [(row, "blind") for row in draws.decoys.tolist()]
    drawn = [(str(pool.ids[row]), kind) for row, kind in rows] + [(pose, "planted") for pose in planted]
    chances = [draws.probability.get(row) if kind in PORTIONS else None for row, kind in rows] + [None] * len(planted)
    places = mixed_priorities(urgency, len(drawn) + len(keys), asked.rng("places"))
    tasks += [
        {**_task(pose, kind, place), **({"probability": chance} if chance is not None else {})}
        for (pose, kind), place, chance in zip(drawn, places, chances, strict=False)
    ]
    tasks += [
        {**_task("", "image", place), "image": list(key)} for key, place in zip(keys, places[len(drawn) :], strict=True)
    ]
    return sorted(tasks, key=lambda task: (-task["priority"], task["pose"], task["kind"], task.get("image", [])))


def write_queue(out: Path, tasks: Sequence[dict[str, Any]]) -> None:
    """Write the tasks, one a line."""
    write_text(out / QUEUE, "".join(json.dumps(task) + "\n" for task in tasks))


def population_digests(manifest: Manifest, pool: Pool, accepted: Indices, sizes: Sequence[int]) -> list[str]:
    """The digest of the first so many accepted poses, for each of the sizes: how a certificate names a population.

    Args:
        manifest: What was routed.
        pool: Its columns.
        accepted: (M,) rows in the order of doubt.
        sizes: At most M.
    """
    place = np.full(len(pool.ids), -1, np.intp)
    place[accepted] = np.arange(len(accepted))
    digests = [b""] * len(accepted)
    first = 0
    for i in range(manifest.num_parts if len(accepted) else 0):
        poses = manifest.poses(i)
        mine = place[first : first + len(poses)]
        chosen = np.flatnonzero(mine >= 0)
        for at, digest in zip(mine[chosen].tolist(), pose_digests(poses.take(chosen)), strict=True):
            digests[at] = digest
        first += len(poses)
    return [digest_of(digests[:size]) for size in sizes]


def _task(pose: str, kind: str, priority: float) -> dict[str, Any]:
    return {"pose": pose, "kind": kind, "priority": priority, "blind": kind in UNSHOWN}
