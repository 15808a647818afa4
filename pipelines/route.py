"""``autolabel route``: proposes what to accept, draws the audit, and queues what people should see.

Writes lists of pose ids, never copies: ``accepted.txt``, ``review.txt``, ``audit.txt``, ``rejected.txt``, the queue
of tasks in the order of review, and ``routing.json``, which states the promise and the numbers behind it.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.certify import population_digest
from autolabel.errors import InputError
from autolabel.manifest import Existing, Manifest, write_text
from autolabel.merge import SETTLED, State
from autolabel.progress import SILENT, Progress
from autolabel.route import (
    Indices,
    Order,
    Policy,
    Proposal,
    draw,
    mixed_priorities,
    nothing,
    propose,
    require_promise,
    review_order,
)
from autolabel.run import Run, RunState
from pipelines.score import CALIBRATOR

ROUTING = "routing.json"
QUEUE = "queue.jsonl"


@dataclass(frozen=True)
class RouteResult:
    """What was decided.

    Attributes:
        folder: Where the lists are.
        record: The content of ``routing.json``.
    """

    folder: Path
    record: dict[str, Any]

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        shown = ("counts", "expected_bad", "threshold", "reason", "digest")
        return {"routing": self.folder, **{name: self.record[name] for name in shown}}


@dataclass(frozen=True, eq=False)
class _Pool:
    """The columns that routing decides by, of all N poses of a manifest.

    Attributes:
        ids: (N,) of the poses.
        p_bad: (N,) their doubt, NaN where there is none.
        image: (N,) number of the image.
        open: (N,) nobody settled them, and their image is not rejected.
        shown: (N,) a person would find keypoints to check: something was predicted.
    """

    ids: NDArray[Any]
    p_bad: NDArray[np.float32]
    image: NDArray[np.int64]
    open: NDArray[np.bool_]
    shown: NDArray[np.bool_]


def route(
    manifest: str | Path,
    *,
    out: str | Path,
    max_bad: float,
    confidence: float = 0.95,
    budget: int,
    audit: bool = True,
    random_share: float = 0.0,
    order: str = "doubt",
    images: str = "complete",
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> RouteResult:
    """Decide where each open pose of a scored manifest goes.

    Args:
        manifest: What ``score`` wrote.
        out: The routing folder.
        max_bad: The promise: share of bad poses among the accepted.
        confidence: Of the promise.
        budget: Tasks that people will open, audits included.
        audit: Draw an audit of the accepted poses now. Without it the accepted set is a proposal only, and the whole
            budget is spent on review.
        random_share: Share of the review budget drawn uniformly to calibrate on: from all open poses, or with an
            audit from those that are not accepted.
        order: Which poses are reviewed first: ``doubt`` or ``random``.
        images: Which images will be exported, so that their accepted poses are claimed: ``complete`` or ``all``.
        seed: Of all draws.
        overwrite: Replace another routing in ``out``.
        progress: Where to report.

    Raises:
        InputError: An impossible promise, share or budget.
        ExistsError: ``out`` holds another result.
    """
    require_promise(max_bad, confidence, budget)
    if not 0 <= random_share <= 1:
        raise InputError(f"random_share is {random_share}", remedy="Give a share from 0 to 1.")
    source = Manifest.open(manifest)
    config = {
        "max_bad": max_bad,
        "confidence": confidence,
        "budget": budget,
        "audit": audit,
        "random_share": random_share,
        "order": Order.parse(order).value,
        "policy": Policy.parse(images).value,
        "seed": seed,
    }
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    inputs = {"manifest": source.digest}
    with Run.open(out, "route", config=config, inputs=inputs, existing=existing, commit=ROUTING) as run:
        if run.state is not RunState.DONE:
            pool = _read(source, progress)
            proposal = _proposal(source, pool, config)
            _write(run.path, source, pool, proposal, config, _drawn(pool, proposal, config))
        record = json.loads((run.path / ROUTING).read_text(encoding="utf-8"))
    if record["reason"]:
        progress.note(f"nothing is accepted: {record['reason']}")
    return RouteResult(Path(out), record)


def _read(manifest: Manifest, progress: Progress) -> _Pool:
    columns: list[tuple[NDArray[Any], ...]] = []
    first = 0
    with progress.task("route", len(manifest), "image") as task:
        for i in range(manifest.num_parts):
            samples = manifest.part(i)
            poses, owner = manifest.poses(i), manifest.owners(i)
            refused = np.array([sample.attributes.get("state") == State.REJECTED for sample in samples], bool)
            settled = np.array([a.get("state") in SETTLED for a in poses.attributes], bool)
            shown = np.asarray(np.isfinite(poses.xy[..., 0]).any(axis=1))
            open_ = ~(settled | poses.crowd | refused[owner])
            columns.append((poses.id, poses.p_bad, owner + first, open_, shown))
            first += len(samples)
            task.advance(len(samples))
    return _Pool(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _proposal(manifest: Manifest, pool: _Pool, config: dict[str, Any]) -> Proposal:
    """What may be accepted. Where no audit is drawn yet, one of any size could follow."""
    if not any(parent.role == CALIBRATOR for parent in manifest.parents):
        return nothing("p_bad is a prior, not a probability, until `autolabel calibrate` has seen checked poses")
    return propose(
        pool.p_bad,
        pool.open,
        pool.image,
        max_bad=config["max_bad"],
        confidence=config["confidence"],
        budget=config["budget"] if config["audit"] else len(pool.ids),
        policy=Policy(config["policy"]),
    )


def _drawn(pool: _Pool, proposal: Proposal, config: dict[str, Any]) -> dict[str, Indices]:
    """The rows of each kind of task: the audit first, then calibration by lot, then review with what is left.

    Poses of which nothing was predicted are in none of them: people correct, they do not place everything anew.
    """
    rng = np.random.default_rng(config["seed"])
    audit = draw(proposal.accepted, proposal.audit if config["audit"] else 0, rng)
    candidates = np.flatnonzero(pool.open & pool.shown)
    if config["audit"]:
        candidates = np.setdiff1d(candidates, proposal.accepted, assume_unique=True)
    budget = config["budget"] - len(audit)
    calibration = draw(candidates, round(config["random_share"] * budget), rng)
    rest = np.setdiff1d(candidates, calibration, assume_unique=True)
    review = review_order(pool.p_bad, rest, budget - len(calibration), Order(config["order"]), rng)
    return {"review": review, "calibration": calibration, "audit": audit}


def _write(
    out: Path,
    manifest: Manifest,
    pool: _Pool,
    proposal: Proposal,
    config: dict[str, Any],
    tasks: dict[str, Indices],
) -> None:
    """Write the lists; ``routing.json`` last, it is the commit."""
    rejected = proposal.accepted[:0]  # no network rejects a pose by itself yet
    lists = {"accepted": proposal.accepted, "review": tasks["review"], "audit": tasks["audit"], "rejected": rejected}
    for name, chosen in lists.items():
        _write_lines(out / f"{name}.txt", pool.ids[chosen])
    _write_lines(out / QUEUE, [json.dumps(task) for task in _queue(pool, tasks, config["seed"])])
    counts = {name: len(chosen) for name, chosen in lists.items()}
    record = {
        "manifest": os.path.relpath(manifest.path, out),
        "manifest_digest": manifest.digest,
        "skeleton": manifest.skeleton.name,
        **config,
        "counts": {
            "poses": len(pool.ids),
            "open": int(pool.open.sum()),
            "unpredicted": int((pool.open & ~pool.shown).sum()),
            **counts,
            "calibration": len(tasks["calibration"]),
        },
        "expected_bad": _number(proposal.expected),
        "threshold": _number(proposal.threshold),
        "reason": proposal.reason,
        "population_digest": _population(manifest, set(pool.ids[proposal.accepted].tolist())),
        "assumes": [
            "the audit's poses are drawn uniformly without replacement, before any answer, from the accepted ones",
            "reviewers see every error in what they audit",
            "nothing was rejected by the model alone",
        ],
    }
    queued = [pool.ids[chosen].tolist() for chosen in tasks.values()]
    text = json.dumps({**record, "queue": queued}, sort_keys=True)
    record["digest"] = hashlib.sha256(text.encode()).hexdigest()
    write_text(out / ROUTING, json.dumps(record, indent=2) + "\n")


def _queue(pool: _Pool, tasks: dict[str, Indices], seed: int) -> list[dict[str, Any]]:
    """All tasks, most urgent first; a drawn task's place among the others tells nothing about it."""
    rng = np.random.default_rng([seed, 1])
    urgency = np.nan_to_num(pool.p_bad[tasks["review"]], nan=1.0).tolist()
    priority = {
        "review": urgency,
        "calibration": mixed_priorities(urgency, len(tasks["calibration"]), rng),
        "audit": mixed_priorities(urgency, len(tasks["audit"]), rng),
    }
    queue = [
        {"pose": pose, "kind": kind, "priority": urgent, "blind": False}
        for kind, rows in tasks.items()
        for pose, urgent in zip(pool.ids[rows].tolist(), priority[kind], strict=True)
    ]
    return sorted(queue, key=lambda task: (-task["priority"], task["pose"]))


def _population(manifest: Manifest, accepted: set[str]) -> str:
    parts = (manifest.poses(i) for i in range(manifest.num_parts))
    return population_digest(poses.take(np.array([p in accepted for p in poses.id], bool)) for poses in parts)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _write_lines(path: Path, lines: Sequence[str] | NDArray[Any]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
