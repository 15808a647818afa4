"""``autolabel route``: proposes what to accept, draws what is to prove it, and queues what people should see.

Writes lists of pose ids, never copies: ``accepted.txt``, ``review.txt``, ``audit.txt``, ``rejected.txt`` and others,
the queue of tasks in the order of review, and ``routing.json``, which states the promise and the numbers behind it.

Everything that is to prove something is drawn here, before any answer is known: the audit of accepted poses, a blind
slice of it with as many decoys among the reviews, planted errors, untouched keypoints of reviewed poses, whole images.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.census import Price
from autolabel.errors import InputError
from autolabel.formats.records import read_json
from autolabel.labelstudio.folder import read_lines
from autolabel.labelstudio.form import PALETTE
from autolabel.labelstudio.tasks import UNSHOWN
from autolabel.manifest import Existing, Manifest, write_text
from autolabel.planner import Past, forecast
from autolabel.plants import Plants
from autolabel.portions import PORTIONS, parse_portions
from autolabel.progress import SILENT, Progress
from autolabel.propose import Policy, Proposal, nothing, propose, require_promise
from autolabel.route import Order
from autolabel.run import Run, RunState, file_digest
from pipelines.audit_chain import ROUTING, Link, chain, claim, require_replaceable
from pipelines.audit_ledger import require_undrawn
from pipelines.route_checked import Known, choose_plants, open_checked, planted_before, read_checked, write_plants
from pipelines.route_draws import Asked, make_draws
from pipelines.route_files import QUEUE, population_digests, queue, write_lists, write_queue
from pipelines.route_pool import Pool, read_pool, sample_keys
from pipelines.route_promise import Promise, attempt_after
from pipelines.route_questions import questions
from pipelines.route_record import Decision, record
from pipelines.routing_seal import sealed
from pipelines.score import CALIBRATOR

FORETOLD = ("review", "development", "calibration", "gate", "audit")
"""Kinds of tasks that a forecast is about: those that open an open pose for the first time."""

__all__ = ["FORETOLD", "QUEUE", "ROUTING", "RouteResult", "route"]


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
        shown = ("counts", "spent", "expected_bad", "threshold", "promise", "reason", "advice", "digest")
        return {"routing": self.folder, **{name: self.record[name] for name in shown}}


def route(
    manifest: str | Path,
    *,
    out: str | Path,
    max_bad: float,
    confidence: float = 0.95,
    budget: int,
    audit: bool = True,
    random_share: float = 0.0,
    portions: str = PORTIONS,
    order: str = "doubt",
    images: str = "complete",
    checked: str | Path | None = None,
    truth: str | Path | None = None,
    plants: int = 0,
    blind: int = 0,
    keypoints: int = 0,
    whole_images: int = 0,
    max_gross: float = 0.01,
    attempts: int = 1,
    after: str | Path | None = None,
    history: str | Path | None = None,
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
        budget: Tasks that people will open: audits, plants and all others included.
        audit: Draw the proof now. Without it the accepted set is a proposal only, and the whole budget is spent on
            review.
        random_share: Share of the review budget drawn uniformly to measure by: from all open poses, or with an audit
            from those that are not accepted. At least a tenth where the order is ``clean`` or ``learn``.
        portions: How these are dealt: shares of ``development``, ``calibration`` and ``gate``, by groups of images.
        order: Which poses are reviewed first: ``doubt``, ``random``, ``clean`` (most errors removed a second) or
            ``learn`` (doubtful, and unlike what people have seen).
        images: Which images will be exported, so that their accepted poses are claimed: ``complete`` or ``all``.
        checked: Poses of the same network, scored by the same calibrator, on images of which people know the truth;
            neither network nor calibrator has learnt from them. They correct what is predicted, and errors to plant
            come from them.
        truth: That truth.
        plants: How many known errors to plant among the tasks; needs ``checked``.
        blind: How many audited poses to show once more without a pre-label. As many of the poses to review are shown
            so too, as decoys, as far as there are any: N opens 2 N tasks.
        keypoints: How many untouched keypoints of reviewed poses to draw.
        whole_images: How many images that will be complete to draw.
        max_gross: Expected share of gross ones among the keypoints of reviewed poses that people are not asked about.
        attempts: Among how many audits δ is shared, decided before the first.
        after: The routing whose audit failed, when this is not the first one.
        history: JSON lines of past rounds (:class:`autolabel.planner.Past`), to forecast what the reviews should buy;
            those that say ``"uniform": true`` are of poses drawn uniformly, and speak for the corpus.
        seed: Of all draws.
        overwrite: Replace another routing in ``out``, unless its audit was judged or its tasks were pushed.
        progress: Where to report.

    Raises:
        InputError: An impossible promise, share or budget; checked poses without truth, or scored otherwise; an
            earlier audit that has not failed, or that another one follows already; a manifest of which an audit was
            judged that ``after`` does not name.
        ConfigError: Portions that cannot be used.
        ExistsError: ``out`` holds another result.
    """
    require_promise(max_bad, confidence, budget)
    attempt, failed = attempt_after(after, max_bad, confidence, attempts)
    asked = Asked(
        budget, audit, random_share, parse_portions(portions), Order.parse(order), plants, blind, keypoints,
        whole_images, max_gross, seed, attempt, failed,
    )  # fmt: skip
    policy = Policy.parse(images)
    promise = Promise(max_bad, confidence, attempt, attempts, tested=bool(plants or blind))
    if plants and checked is None:
        raise InputError("plants need poses that people checked", remedy="Give --checked and --truth.")
    source = Manifest.open(manifest)
    opened = open_checked(source, checked, truth)
    inputs = {"manifest": source.digest, **({"after": failed} if failed else {})}
    if opened is not None:
        inputs |= {"checked": opened[0].digest, "truth": opened[1].digest}
    past = _history(Path(history)) if history is not None else None
    if history is not None:
        inputs["history"] = file_digest(history)
    config = {
        "max_bad": max_bad, "confidence": confidence, "budget": budget, "audit": audit, "random_share": random_share,
        "portions": portions, "order": asked.order.value, "policy": policy.value, "plants": plants, "blind": blind,
        "keypoints": keypoints, "whole_images": whole_images, "max_gross": max_gross,
        "attempts": attempts, "seed": seed,
    }  # fmt: skip
    earlier = chain(Path(after)) if after is not None else ()
    if overwrite:
        require_replaceable(Path(out))
    if audit and (overwrite or not (Path(out) / ROUTING).is_file()):
        require_undrawn(source, {link.digest for link in earlier})
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "route", config=config, inputs=inputs, existing=existing, commit=ROUTING) as run:
        if run.state is not RunState.DONE:
            known = read_checked(*opened, progress) if opened is not None else None
            decision = _decide(source, asked, policy, promise, known, earlier, progress)
            _write(run.path, decision, past)
        made = read_json(run.path / ROUTING)
    if made["reason"]:
        progress.note(f"nothing is accepted: {made['reason']}")
    if audit:
        progress.note(made["advice"])
    return RouteResult(Path(out), made)


@dataclass(frozen=True)
class _History:
    """Past rounds, and what was drawn uniformly in them."""

    rounds: tuple[Past, ...]
    uniform: tuple[Past, ...]


def _history(path: Path) -> _History:
    """The rounds of a history.

    Raises:
        InputError: It cannot be read, or a line is no round.
    """
    if not path.is_file():
        raise InputError("there is no such file", subject=str(path), remedy="The loop keeps one in rounds/NN.")
    try:
        lines = [(line.pop("uniform", False) is True, Past.from_dict(line)) for line in read_lines(path)]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"holds a line that is no round: {error!r}", subject=str(path)) from error
    return _History(*(tuple(past for drawn, past in lines if drawn is kind) for kind in (False, True)))


def _decide(
    manifest: Manifest,
    asked: Asked,
    policy: Policy,
    promise: Promise,
    known: Known | None,
    earlier: Sequence[Link],
    progress: Progress,
) -> Decision:
    beside = known.manifest if known is not None else ()
    pool = read_pool(manifest, progress, beside=beside)
    plants = None
    if known is not None and asked.planted:
        shown = planted_before(link.folder for link in earlier)
        plants = choose_plants(known, asked.planted, shown, asked.rng("plants"))
    proposal = _proposal(manifest, pool, asked, policy, promise, known, len(plants or ()))
    price = _price(pool, proposal, asked, plants, known)
    if not price.pays and len(proposal.accepted):
        proposal = nothing(price.words())
    if not len(proposal.accepted):
        plants = None
    draws = make_draws(
        manifest,
        pool,
        proposal,
        asked,
        planted=len(plants or ()),
        maturity=known.maturity if known is not None else 0,
        progress=progress,
    )
    asking = questions(pool, draws.tasks, asked.max_gross, calibrated=_calibrated(manifest))
    after = earlier[0] if earlier else None
    return Decision(manifest, pool, asked, policy, promise, proposal, price, known, plants, draws, asking, after)


def _calibrated(manifest: Manifest) -> bool:
    return any(parent.role == CALIBRATOR for parent in manifest.parents)


def _proposal(
    manifest: Manifest,
    pool: Pool,
    asked: Asked,
    policy: Policy,
    promise: Promise,
    known: Known | None,
    planted: int,
) -> Proposal:
    """What may be accepted. Where no audit is drawn yet, one of any size could follow."""
    if manifest.skeleton.num_keypoints > PALETTE:
        return nothing(
            f"of a skeleton with more than {PALETTE} keypoints a task shows only those that are asked about, so no "
            "audit can judge whole poses: `autolabel map` to a smaller skeleton first"
        )
    if not _calibrated(manifest):
        return nothing(
            "p_bad is no calibrated probability here. A loop fits a calibrator by itself once its random draws hold "
            "enough bad and good poses (more rounds, or a larger rounds.random_share); elsewhere run `autolabel "
            "calibrate`, and after a merge `autolabel score --calibrator` once more"
        )
    return propose(
        pool.trusted,
        pool.open,
        pool.image,
        max_bad=promise.max_bad,
        confidence=promise.draw,
        budget=asked.budget - asked.beside if asked.audit else len(pool.ids),
        policy=policy,
        sensitivity=promise.sensitivity(planted),
        development=known.development(policy) if known is not None else None,
    )


def _price(pool: Pool, proposal: Proposal, asked: Asked, plants: Plants | None, known: Known | None) -> Price:
    accepted = len(proposal.accepted)
    blind = min(asked.blind, proposal.audit)
    return Price(
        open=int(pool.open.sum()),
        accepted=accepted,
        audit=proposal.audit,
        planted=len(plants or ()) if accepted else 0,
        blind=blind,
        decoys=min(blind, max(int((pool.open & pool.shown).sum()) - accepted, 0)),
        beside=_beside(pool, asked) if accepted else 0,
        development=len(known.checked.bad) if known is not None else 0,
    )


def _beside(pool: Pool, asked: Asked) -> int:
    """Keypoints and images that can be looked at beside the promise, at most."""
    return min(asked.keypoints, int(pool.untouched_counts().sum())) + min(asked.images, len(pool.group))


def _write(out: Path, decision: Decision, past: _History | None) -> None:
    """Write the lists; ``routing.json`` last, it is the commit."""
    draws, proposal, pool = decision.draws, decision.proposal, decision.pool
    planted: list[str] = []
    if decision.known is not None and decision.plants is not None:
        planted = write_plants(decision.known, decision.plants, out)
    keys = sample_keys(decision.manifest, draws.images)
    write_lists(out, decision.manifest, pool, proposal, draws, keys, decision.held_back())
    tasks = queue(pool, draws, planted, keys, decision.asked)
    write_queue(out, tasks)
    sizes = [step.size for step in proposal.steps] or [0]
    made = record(
        out,
        decision,
        digests=population_digests(decision.manifest, pool, proposal.accepted, sizes),
        tasks=tasks,
        forecast=_forecast(decision, past) if past is not None else None,
    )
    if decision.after is not None and decision.asked.audit:
        claim(decision.after.folder, made["digest"])
    write_text(out / ROUTING, json.dumps(sealed(made, out), indent=2, ensure_ascii=False) + "\n")


def _forecast(decision: Decision, past: _History) -> dict[str, Any]:
    """What the reviews of open poses should buy, by the rounds so far."""
    pool, tasks = decision.pool, decision.draws.tasks
    rows = np.flatnonzero(pool.open)
    reviewed = np.searchsorted(rows, np.concatenate([tasks[kind] for kind in FORETOLD]))
    by_hand = np.searchsorted(rows, np.concatenate([tasks[kind] for kind in FORETOLD if kind in UNSHOWN]))
    made = forecast(
        pool.p_bad[rows],
        pool.p_gross[rows],
        reviewed,
        by_hand=by_hand,
        history=past.rounds,
        uniform=past.uniform,
        settled=len(pool.ids) - len(rows),
    )
    return {**made.to_dict(), "words": made.words()}
