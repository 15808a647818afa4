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
from autolabel.manifest import Existing, Manifest, write_text
from autolabel.merge import SETTLED
from autolabel.progress import SILENT, Progress
from autolabel.route import Order, Policy, Proposal, draw, mixed_priorities, nothing, propose, review_order
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


@dataclass(frozen=True)
class _Pool:
    """The columns that routing decides by, of all poses of a manifest."""

    ids: NDArray[Any]
    p_bad: NDArray[np.float32]
    image: NDArray[np.int64]
    open: NDArray[np.bool_]


def route(
    manifest: str | Path,
    *,
    out: str | Path,
    max_bad: float,
    confidence: float = 0.95,
    budget: int,
    audit: bool = True,
    random_share: float = 0.0,
    order: str = Order.DOUBT,
    images: str = Policy.COMPLETE,
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
        random_share: Share of the review budget drawn uniformly from all open poses, to calibrate on.
        order: Which poses are reviewed first: ``doubt`` or ``random``.
        images: Which images will be exported, and so which accepted poses are claimed: ``complete`` or ``all``.
        seed: Of all draws.
        overwrite: Replace another routing in ``out``.
        progress: Where to report.

    Raises:
        InputError: An impossible promise or budget.
        ExistsError: ``out`` holds another result.
    """
    source, policy = Manifest.open(manifest), Policy.parse(images)
    config = {
        "max_bad": max_bad,
        "confidence": confidence,
        "budget": budget,
        "audit": audit,
        "random_share": random_share,
        "order": Order.parse(order).value,
        "policy": policy.value,
        "seed": seed,
    }
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    inputs = {"manifest": source.digest}
    with Run.open(out, "route", config=config, inputs=inputs, existing=existing, commit=ROUTING) as run:
        if run.state is not RunState.DONE:
            pool = _read(source, progress)
            proposal = _proposal(source, pool, max_bad, confidence, budget if audit else len(pool.ids), policy)
            _write(run.path, source, pool, proposal, config, audit=audit)
        record = json.loads((run.path / ROUTING).read_text(encoding="utf-8"))
    if record["reason"]:
        progress.note(f"nothing is accepted: {record['reason']}")
    return RouteResult(Path(out), record)


def _read(manifest: Manifest, progress: Progress) -> _Pool:
    columns: list[tuple[NDArray[Any], ...]] = []
    first = 0
    with progress.task("route", manifest.num_parts, "part") as task:
        for i in range(manifest.num_parts):
            poses, owner = manifest.poses(i), manifest.owners(i)
            settled = np.array([a.get("state") in SETTLED for a in poses.attributes], bool)
            columns.append((poses.id, poses.p_bad, owner + first, ~settled & ~poses.crowd))
            first += manifest.part_length(i)
            task.advance()
    return _Pool(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _proposal(
    manifest: Manifest, pool: _Pool, max_bad: float, confidence: float, budget: int, policy: Policy
) -> Proposal:
    if not any(parent.role == CALIBRATOR for parent in manifest.parents):
        return nothing("p_bad is a prior, not a probability, until `autolabel calibrate` has seen checked poses")
    return propose(
        pool.p_bad,
        pool.open,
        pool.image,
        max_bad=max_bad,
        confidence=confidence,
        budget=budget,
        policy=policy,
    )


def _write(
    out: Path, manifest: Manifest, pool: _Pool, proposal: Proposal, config: dict[str, Any], *, audit: bool
) -> None:
    """Draw, and write the lists; ``routing.json`` last, it is the commit."""
    rng = np.random.default_rng(config["seed"])
    accepted = proposal.accepted
    audited = draw(accepted, proposal.audit if audit else 0, rng)
    candidates = np.flatnonzero(pool.open)
    if audit:
        candidates = np.setdiff1d(candidates, accepted, assume_unique=True)
    budget = config["budget"] - len(audited)
    calibration = draw(candidates, round(config["random_share"] * budget), rng)
    rest = np.setdiff1d(candidates, calibration, assume_unique=True)
    review = review_order(pool.p_bad, rest, budget - len(calibration), Order(config["order"]), rng)
    rows = {"review": review, "calibration": calibration, "audit": audited}
    lists = {"accepted": accepted, "review": review, "audit": audited, "rejected": audited[:0]}
    for name, chosen in lists.items():
        _write_lines(out / f"{name}.txt", pool.ids[chosen])
    _write_lines(out / QUEUE, [json.dumps(task) for task in _queue(pool, rows, rng)])
    record = {
        "manifest": os.path.relpath(manifest.path, out),
        "manifest_digest": manifest.digest,
        "skeleton": manifest.skeleton.name,
        **config,
        "counts": {
            "poses": len(pool.ids),
            "open": int(pool.open.sum()),
            **{name: len(chosen) for name, chosen in lists.items()},
            "calibration": len(calibration),
        },
        "expected_bad": _number(proposal.expected),
        "threshold": _number(proposal.threshold),
        "reason": proposal.reason,
        "population_digest": _population(manifest, set(pool.ids[accepted].tolist())),
        "assumes": [
            "the audit's poses are drawn uniformly without replacement, before any answer, from the accepted ones",
            "reviewers see every error in what they audit",
            "nothing was rejected by the model alone",
        ],
    }
    text = json.dumps({**record, "queue": [pool.ids[chosen].tolist() for chosen in rows.values()]}, sort_keys=True)
    record["digest"] = hashlib.sha256(text.encode()).hexdigest()
    write_text(out / ROUTING, json.dumps(record, indent=2) + "\n")


def _queue(pool: _Pool, rows: dict[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    """All tasks, most urgent first; a drawn task's place among the others tells nothing about it."""
    urgency = np.nan_to_num(pool.p_bad[rows["review"]], nan=1.0).tolist()
    tasks = [
        {"pose": pose, "kind": "review", "priority": priority, "blind": False}
        for pose, priority in zip(pool.ids[rows["review"]].tolist(), urgency, strict=True)
    ]
    for kind in ("calibration", "audit"):
        drawn = pool.ids[rows[kind]].tolist()
        priorities = mixed_priorities(urgency, len(drawn), rng)
        tasks += [
            {"pose": pose, "kind": kind, "priority": priority, "blind": False}
            for pose, priority in zip(drawn, priorities, strict=True)
        ]
    return sorted(tasks, key=lambda task: (-task["priority"], task["pose"]))


def _population(manifest: Manifest, accepted: set[str]) -> str:
    parts = (manifest.poses(i) for i in range(manifest.num_parts))
    return population_digest(poses.take(np.array([p in accepted for p in poses.id], bool)) for poses in parts)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _write_lines(path: Path, lines: Sequence[str] | NDArray[Any]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
