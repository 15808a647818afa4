"""One redraw of everything that is drawn before a certificate: who is checked, what is fitted, accepted and audited.

Whole images are drawn from the pool until there are enough calibration poses, then until there are enough development
poses; people check them. A calibrator is fitted on the former, and doubts all the others. From these doubts the product
proposes nested accepted sets, an audit is drawn from them, plants are chosen from the checked poses, reviewers answer
both, and the product's walk gives the verdict. Since the truth is known, what is left in the certified set is counted.

Beside it, what is often done instead, with the same checked poses: accept as far as the empirical error allows, and
accept above a fixed height of the peaks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.calibration import fit
from autolabel.calibrator import doubt
from autolabel.plants import natural_plants
from autolabel.propose import Development, Proposal, propose
from autolabel.reviewers import ReviewerRates
from autolabel.route import draw
from autolabel.walk import Walk, judge
from benchmarks.certificate_reviewers import REVIEWERS, Answers, Ground, Reviewer, answer
from pipelines.route_promise import Promise

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Row = dict[str, Any]

OURS = "certificate"
SAME_LABELS = "empirical, checked poses"
MORE_LABELS = "empirical, audit's poses too"
PEAKS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Plan:
    """What a redraw may spend.

    Attributes:
        calibration: Checked poses to fit on.
        development: Checked poses to choose accepted sets by.
        budget: The most poses that may be audited.
        plants: Known errors that are shown to reviewers; fewer where fewer are found.
        alphas: Shares of bad poses to promise.
        confidence: Of the promise.
    """

    calibration: int
    development: int
    budget: int
    plants: int
    alphas: tuple[float, ...] = (0.01, 0.02, 0.05)
    confidence: float = 0.95


PLANS: Mapping[str, Plan] = {
    "drawn": Plan(calibration=800, development=500, budget=2_000, plants=100),
    "demo": Plan(calibration=800, development=500, budget=2_000, plants=100, alphas=(0.02,)),
    "fashion17": Plan(calibration=200, development=100, budget=300, plants=40),
}


@dataclass(frozen=True, eq=False)
class Stage:
    """What one redraw fixes before anything is accepted.

    Attributes:
        ground: The pool.
        calibration: Rows of the poses that were fitted on.
        development: Rows of the other checked poses.
        p_bad: (N,) doubt of every pose; of the calibration poses by models that had not seen them.
    """

    ground: Ground
    calibration: Rows
    development: Rows
    p_bad: Floats

    @property
    def checked(self) -> Rows:
        """Rows of all poses that people checked."""
        return np.concatenate([self.calibration, self.development])

    @property
    def open(self) -> Bools:
        """(N,) poses that nobody checked."""
        found = np.ones(len(self.ground), bool)
        found[self.checked] = False
        return found


def staged(ground: Ground, plan: Plan, seed: int) -> Stage:
    """Draw who is checked, fit on them, and doubt everybody."""
    image = ground.image
    order = np.random.default_rng([seed, 0]).permutation(np.unique(image))
    poses = np.cumsum(np.bincount(image, minlength=image.max() + 1)[order])
    first = int(np.searchsorted(poses, plan.calibration)) + 1
    second = int(np.searchsorted(poses, poses[first - 1] + plan.development)) + 1
    learnt = np.isin(image, order[:first])
    calibration = np.flatnonzero(learnt)
    development = np.flatnonzero(np.isin(image, order[first:second]))
    fitted = fit(ground.checked.take(learnt), skeleton=ground.skeleton, predicted=ground.predicted, seed=seed)
    rest = ground.checked.take(~learnt)
    p_bad = np.empty(len(ground))
    p_bad[~learnt] = doubt(fitted, rest.poses, rest.features, ground.skeleton).p_bad
    p_bad[calibration] = np.array(fitted.held_out)[:, 0]
    return Stage(ground, calibration, development, p_bad)


def redraw(ground: Ground, plan: Plan, seed: int) -> list[Row]:
    """All arms, promises and reviewers on one redraw."""
    stage = staged(ground, plan, seed)
    rows = [
        certified(stage, plan, alpha, reviewer, np.random.default_rng([seed, 1, i, round(1e6 * alpha)]))
        for i, reviewer in enumerate(REVIEWERS.values())
        for alpha in plan.alphas
    ]
    rng = np.random.default_rng([seed, 2])
    return rows + [row for alpha in plan.alphas for row in (*empirical(stage, plan, alpha, rng), *peaks(stage, alpha))]


def certified(stage: Stage, plan: Plan, alpha: float, reviewer: Reviewer, rng: np.random.Generator) -> Row:
    """What the product promises, and whether it is true."""
    ground, image = stage.ground, stage.ground.image
    seen = answer(ground, stage.checked, reviewer, rng).bad
    plants = planted(stage, seen, plan.plants if reviewer.tested else 0)
    promise = Promise(alpha, plan.confidence, 1, 1, tested=len(plants) > 0)
    proposal = propose(
        stage.p_bad,
        stage.open,
        image,
        max_bad=alpha,
        confidence=promise.draw,
        budget=plan.budget,
        sensitivity=promise.sensitivity(len(plants)),
        development=Development(
            worst_of_image(stage.p_bad[stage.development], image[stage.development]), seen[len(stage.calibration) :]
        ),
    )
    rates = tested(ground, plants, reviewer, 1 - promise.reviewers, rng)
    audited = draw(np.arange(len(proposal.accepted)), proposal.audit, rng)
    answers = answer(ground, proposal.accepted[audited], reviewer, rng)
    walk = judged(proposal, audited, answers, alpha, promise.draw, rates.sensitivity)
    return {
        "arm": OURS,
        "reviewer": reviewer.name,
        "alpha": alpha,
        "issued": walk.issued,
        **_truth(ground, proposal, audited, answers, walk),
        "proposed": len(proposal.accepted),
        "steps": len(proposal.steps),
        "step": walk.step,
        "audited": len(audited),
        "found": int(answers.bad.sum()),
        "plants": len(plants),
        "caught": rates.planted_caught,
        "sensitivity": rates.sensitivity,
        "checked": len(stage.checked),
        "reason": proposal.reason,
    }


def judged(
    proposal: Proposal, audited: Rows, answers: Answers, alpha: float, confidence: float, sensitivity: float
) -> Walk:
    """The product's verdict on the audited places among the accepted poses."""
    sizes = [step.size for step in proposal.steps]
    return judge(
        sizes,
        np.searchsorted(sizes, audited, side="right"),
        answers.bad,
        max_bad=alpha,
        confidence=confidence,
        sensitivity=sensitivity,
    )


def tested(
    ground: Ground, plants: Rows, reviewer: Reviewer, confidence: float, rng: np.random.Generator
) -> ReviewerRates:
    """What the plants say about a reviewer."""
    if not len(plants):
        return ReviewerRates()
    caught = int(answer(ground, plants, reviewer, rng).bad.sum())
    return ReviewerRates(len(plants), caught, confidence=confidence)


def worst_of_image(p_bad: Floats, image: Rows) -> Floats:
    """(N,) the highest doubt among the poses of each one's image."""
    unit = np.unique(image, return_inverse=True)[1]
    worst = np.full(unit.max(initial=-1) + 1, -np.inf)
    np.maximum.at(worst, unit, p_bad)
    return worst[unit]


def left_bad(ground: Ground, rows: Rows, audited: Rows, answers: Answers) -> float:
    """The truly bad share of a set after what its audit corrected.

    Args:
        ground: The pool.
        rows: (M,) poses of the set, those that a larger set has besides them left out.
        audited: (m,) places of the audited poses in the order of doubt; those beyond M are not in the set.
        answers: (m,) what people made of them.
    """
    bad = ground.bad[rows].copy()
    mine = audited < len(rows)
    bad[audited[mine]] = answers.left[mine]
    return float(bad.mean())


def _truth(ground: Ground, proposal: Proposal, audited: Rows, answers: Answers, walk: Walk) -> Row:
    if not walk.issued:
        return {"certified": 0, "true": None, "bound": None}
    size = proposal.steps[walk.step].size
    true = left_bad(ground, proposal.accepted[:size], audited, answers)
    return {"certified": size, "true": true, "bound": walk.bounds[walk.step].after}


def empirical(stage: Stage, plan: Plan, alpha: float, rng: np.random.Generator) -> list[Row]:
    """Accept as far as the share of bad ones among labelled poses is at most alpha."""
    more = draw(np.flatnonzero(stage.open), plan.budget, rng)
    rows = []
    for arm, labelled in ((SAME_LABELS, stage.checked), (MORE_LABELS, np.concatenate([stage.checked, more]))):
        limit = loosest(stage.p_bad[labelled], stage.ground.bad[labelled], alpha)
        rest = stage.open.copy()
        rest[labelled] = False
        rows.append(_claimed(arm, stage, alpha, rest & (stage.p_bad <= limit), len(labelled)))
    return rows


def peaks(stage: Stage, alpha: float) -> list[Row]:
    """Accept what the network is sure of by itself: a mean peak of so much."""
    peak = stage.ground.peak
    return [_claimed(f"peak >= {least}", stage, alpha, stage.open & (peak >= least), 0) for least in PEAKS]


def loosest(p_bad: Floats, bad: Bools, alpha: float) -> float:
    """The largest doubt up to which at most alpha of the labelled poses are bad; -inf if there is none."""
    order = np.argsort(p_bad, kind="stable")
    share = np.cumsum(bad[order]) / np.arange(1, len(bad) + 1)
    last = np.append(np.diff(p_bad[order]) > 0, True)  # poses of the same doubt are not told apart
    passing = np.flatnonzero((share <= alpha) & last)
    return float(p_bad[order][passing[-1]]) if len(passing) else -np.inf


def _claimed(arm: str, stage: Stage, alpha: float, accepted: Bools, labelled: int) -> Row:
    count = int(accepted.sum())
    true = float(stage.ground.bad[accepted].mean()) if count else None
    return {
        "arm": arm,
        "reviewer": "",
        "alpha": alpha,
        "issued": count > 0,
        "certified": count,
        "true": true,
        "checked": labelled,
    }


def planted(stage: Stage, bad: Bools, count: int) -> Rows:
    """Rows of checked poses to show as known errors; ``bad`` (checked,) is what people found."""
    checked = stage.checked
    return checked[natural_plants(stage.p_bad[checked], bad, stage.ground.checked.oks[checked], count)]
