"""``routing.json``: what was decided, for the commands that follow and for people.

It states the promise in words, the numbers behind it, what was spent and what was assumed; and the digests that later
tell whether anything has changed since.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.census import Price
from autolabel.manifest import Manifest
from autolabel.percent import percent
from autolabel.plants import Plants
from autolabel.portions import KINDS
from autolabel.propose import Policy, Proposal
from pipelines.audit_chain import Link
from pipelines.route_checked import PLANTS, Known
from pipelines.route_digests import image_digests, keypoints_digest
from pipelines.route_draws import Asked, Draws
from pipelines.route_pool import Pool
from pipelines.route_promise import Promise
from pipelines.route_questions import Questions


@dataclass(frozen=True, eq=False)
class Decision:
    """Everything that one routing decided and drew.

    Attributes:
        manifest: What was routed.
        pool: Its columns.
        asked: How many tasks of each kind were asked for.
        policy: Which images will be exported.
        promise: What is promised of the accepted poses.
        proposal: Which these are.
        price: The promise beside a census.
        known: The checked poses, where there are any.
        plants: The errors that are planted, where there are any.
        draws: What was drawn.
        questions: Which keypoints people are asked about.
        after: The routing whose audit failed before, where there is one.
    """

    manifest: Manifest
    pool: Pool
    asked: Asked
    policy: Policy
    promise: Promise
    proposal: Proposal
    price: Price
    known: Known | None
    plants: Plants | None
    draws: Draws
    questions: Questions
    after: Link | None

    @property
    def planted(self) -> dict[str, int]:
        """How many errors are planted, the network's own and made-up ones."""
        made = self.plants.synthetic if self.plants is not None else np.empty(0, bool)
        return {"natural": int((~made).sum()), "synthetic": int(made.sum())}

    def held_back(self) -> NDArray[np.bool_]:
        """(N,) poses of images that may not be parted from one with an audited or a planted pose."""
        audited = self.pool.group[self.pool.image[self.draws.tasks["audit"]]]
        beside = self.pool.beside[:0]
        if self.plants is not None and self.known is not None:
            planted = np.isin(self.known.checked.poses.id, self.plants.poses.id.tolist())
            beside = self.pool.beside[self.known.image[planted]]
        return np.isin(self.pool.group, np.concatenate([audited, beside]))[self.pool.image]

    def advice(self) -> list[str]:
        """What a person should know before spending the budget."""
        told, planted = [self.price.words()], sum(self.planted.values())
        if not len(self.proposal.accepted) and self.proposal.reason not in told[0]:
            told = [f"{self.price.words()} The reason: {self.proposal.reason}."]
        drawn = (
            ("untouched keypoints of reviewed poses", self.asked.keypoints, len(self.draws.keypoints)),
            ("complete images", self.asked.images, len(self.draws.images)),
            ("audited poses to show blind", self.asked.blind, len(self.draws.tasks["blind"])),
        )
        told += [f"Only {got} of {wanted} {name} could be drawn: there are no more." for name, wanted, got in drawn
                 if got < wanted and len(self.proposal.accepted)]  # fmt: skip
        if planted < self.asked.planted and len(self.proposal.accepted):
            told.append(f"Only {planted} of {self.asked.planted} errors could be planted: check more poses.")
        if self.planted["synthetic"]:
            told.append(f"{self.planted['synthetic']} planted errors are made up: the network's own were too few.")
        blind, decoys = len(self.draws.tasks["blind"]), len(self.draws.decoys)
        if decoys < blind:
            told.append(f"{decoys} of {blind} blind tasks have a decoy, for want of poses to review: whoever is given "
                        "both tasks of another pose can tell that it is audited.")  # fmt: skip
        if self.asked.blind and not self.asked.planted:
            told.append("Plant errors too: a few blind answers alone say so little about reviewers that one error "
                        "among them can make the promise impossible to prove.")  # fmt: skip
        if planted and (least := self.promise.sensitivity(planted)) < 0.9:
            told.append(f"With {planted} planted errors reviewers can be shown to find {percent(least)} of bad poses "
                        "at best: more of them make the audit smaller.")  # fmt: skip
        if self.draws.uniform and len(np.unique(self.pool.group)) < len(self.asked.portions):
            told.append("The images are too few groups to keep development, calibration and gate apart.")
        return told


def record(
    out: Path,
    decision: Decision,
    *,
    digests: Sequence[str],
    tasks: Sequence[Mapping[str, Any]],
    forecast: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The content of ``routing.json``.

    Args:
        out: The routing's folder.
        decision: What was decided.
        digests: Of the population of each step; of no poses where nothing is accepted.
        tasks: The queue.
        forecast: What the reviews should buy, where past rounds are known.
    """
    made: dict[str, Any] = {
        **_promised(out, decision),
        **_setting(out, decision),
        **_numbers(decision, digests),
        **_proof(out, decision),
        "questions": decision.questions.to_dict(),
        "census": decision.price.to_dict(),
        "spent": {**_spent(tasks), "total": len(tasks)},
        "assumes": _assumptions(decision),
        **({"forecast": dict(forecast)} if forecast is not None else {}),
    }
    queued = [[task["pose"], task["kind"], task.get("image", [])] for task in tasks]
    text = json.dumps({**made, "queue": queued}, sort_keys=True)
    return {**made, "digest": hashlib.sha256(text.encode()).hexdigest()}


def _promised(out: Path, decision: Decision) -> dict[str, Any]:
    promise, accepted = decision.promise, len(decision.proposal.accepted)
    after = decision.after
    return {
        "promise": promise.words(accepted) if accepted else "Nothing is promised: nothing is accepted.",
        "reason": decision.proposal.reason,
        "advice": " ".join(decision.advice()),
        "max_bad": promise.max_bad,
        "confidence": promise.confidence,
        "delta": promise.delta(),
        "attempt": promise.attempt,
        "attempts": promise.attempts,
        **({"after": after.digest, "after_folder": os.path.relpath(after.folder, out)} if after else {}),
    }


def _setting(out: Path, decision: Decision) -> dict[str, Any]:
    manifest, asked = decision.manifest, decision.asked
    return {
        "manifest": os.path.relpath(manifest.path, out),
        "manifest_digest": manifest.digest,
        "skeleton": manifest.skeleton.name,
        "budget": asked.budget,
        "audit": asked.audit,
        "random_share": asked.uniform_share,
        "order": asked.order.value,
        "policy": decision.policy.value,
        "seed": asked.seed,
    }


def _numbers(decision: Decision, digests: Sequence[str]) -> dict[str, Any]:
    pool, proposal, draws = decision.pool, decision.proposal, decision.draws
    portions = {kind: len(draws.tasks[kind]) for kind in KINDS}
    return {
        "counts": {
            "poses": len(pool.ids),
            "open": int(pool.open.sum()),
            "unpredicted": int((pool.open & ~pool.shown).sum()),
            "accepted": len(proposal.accepted),
            "review": len(draws.tasks["review"]),
            "audit": len(draws.tasks["audit"]),
            "rejected": int(pool.second.sum()),
            "lint": int(pool.faulty.sum()),
            **portions,
        },
        "expected_bad": _number(proposal.expected),
        "threshold": _number(proposal.threshold),
        "population_digest": digests[-1],
        "steps": [
            {"size": s.size, "expected_bad": s.expected, "threshold": s.threshold, "population_digest": digest}
            for s, digest in zip(proposal.steps, digests, strict=False)
        ],
        "portions": {
            "shares": dict(decision.asked.portions),
            "drawn": portions,
            "drawn_from": draws.candidates,
        },
    }


def _proof(out: Path, decision: Decision) -> dict[str, Any]:
    draws, known, planted = decision.draws, decision.known, decision.planted
    shown = {"digest": Manifest.open(out / PLANTS).digest} if sum(planted.values()) else {}
    return {
        "planned": {
            "audit": decision.proposal.audit,
            "confidence": round(decision.promise.draw, 12),
            "sensitivity": decision.promise.sensitivity(sum(planted.values())),
        },
        "development": {
            "poses": len(known.checked.bad) if known is not None else 0,
            "bad": int(known.checked.bad.sum()) if known is not None else 0,
        },
        "plants": {**planted, **shown},
        "blind": len(draws.tasks["blind"]),
        "decoys": len(draws.decoys),
        "keypoints": _keypoints(decision),
        "images": _images(decision),
    }


def _keypoints(decision: Decision) -> dict[str, Any]:
    """How many untouched keypoints were drawn from how many, and from which where any were."""
    draws = decision.draws
    drawn: dict[str, Any] = {"population": draws.num_keypoints, "drawn": len(draws.keypoints)}
    return drawn | ({"digest": keypoints_digest(decision.manifest, decision.pool)} if draws.keypoints else {})


def _images(decision: Decision) -> dict[str, Any]:
    """The same of images, and for each step of those that are complete with it; ``settled`` needs no accepted pose."""
    draws = decision.draws
    drawn: dict[str, Any] = {"population": draws.num_images, "drawn": len(draws.images)}
    if not len(draws.images):
        return drawn
    digests = image_digests(decision.manifest, draws)
    settled, *steps = [
        {"population": len(draws.complete(step)), "digest": digest} for step, digest in enumerate(digests, start=-1)
    ]
    return {**drawn, "settled": settled, "steps": steps}


def _spent(tasks: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    kinds = sorted({task["kind"] for task in tasks})
    return {kind: sum(task["kind"] == kind for task in tasks) for kind in kinds}


def _assumptions(decision: Decision) -> list[str]:
    promise, planted = decision.promise, decision.planted
    told = ["the audit's poses are drawn uniformly without replacement, before any answer, from the accepted ones"]
    if sum(planted.values()):
        told.append("reviewers find a bad pose of the audit at least as often as a known error, and independently")
    else:
        told.append("reviewers see every error in what they audit")
    if planted["synthetic"]:
        told.append(f"{planted['synthetic']} made-up errors are as hard to see as the network's own")
    if promise.attempts > 1:
        told.append(f"at most {promise.attempts} audits are made for this promise, and each spends its part of δ alone")
    else:
        told.append("this is the only audit that is made for this promise")
    if decision.known is not None:
        told.append("neither the network nor the calibrator has learnt from the development poses")
    if second := int(decision.pool.second.sum()):
        told.append(f"{second} poses were rejected by the model alone: they stay unsettled until a person confirms")
    else:
        told.append("nothing was rejected by the model alone")
    return told


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
