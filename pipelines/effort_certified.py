"""The way of this tool to spend effort: accept what can be promised, review the rest, stop by the certificate.

1. Poses are drawn at random and reviewed whole: *calibration* poses, on which doubt is fitted, and *development* poses,
   by which it is corrected. Groups of near-duplicates are on one side.
2. An accepted set is proposed (:mod:`autolabel.propose`). Where there is none, or accepting it would save less than
   its planted and blind tasks cost, everything that is left is reviewed, and nothing else is spent.
3. The others are reviewed in the order of what a second of work removes (:mod:`autolabel.select`), the audit mixed
   among them. Known errors are planted, and some audited poses are shown once more without a pre-label, as are as many
   of the others, as decoys.
4. The audit is walked along the nested accepted sets (:mod:`autolabel.walk`). Where it proves nothing, and the plan
   allows for several, its answers correct what is expected of the poses that are left, and another set is proposed and
   audited, as ``route --attempts`` does: the audits share what the draw may miss. What none of them proves is reviewed.

The way ends there; the truth is never read. As all that is not accepted is reviewed in the end, every image is complete
then, and poses are accepted one by one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.bounds import lower_bound
from autolabel.propose import POWER, Development, Policy, Proposal, nothing, propose
from autolabel.reviewers import ReviewerRates, split_confidence
from autolabel.select import asked, clean_up, errors_per_second
from autolabel.similarity import BadRule
from autolabel.walk import Walk, judge
from pipelines.effort import Doubting, Doubts, Session
from pipelines.effort_review import Answers, Corpus, Reviewer

Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

CAUGHT = 0.95
"""Share of the plants that people are expected to find, when an audit is planned."""

BORDERLINE = (0.5, 0.75)
"""OKS of the errors that half of the plants are taken from: the hardest to see."""

_NOBODY, _NONE = np.empty(0, np.intp), np.empty(0, bool)

CLEAR = BadRule(gross_ks=0.3)
"""By which an answer makes a known error of a pose. Two people differ by some KS too: of poses that are bad by one
person's answer and hardly doubted, a third may be good, and another person will not find them bad."""


@dataclass(frozen=True)
class Plan:
    """What is promised, and how much is drawn to keep the promise.

    Attributes:
        max_bad: The promised share of bad poses.
        confidence: Of the promise.
        attempts: Audits that may be made for it; each spends its part of what the draw may miss.
        calibration: Poses to fit doubt on.
        development: Poses to correct it by.
        most: Both together are at most this share of the corpus.
        first: Share of the corpus that is reviewed before anything is proposed, the poses most worth it. They would be
            reviewed anyway; known errors to plant come from them too.
        plants: Known errors to show.
        blind: Audited poses to show without a pre-label; so many of the reviewed ones are shown so too, as decoys.
        extra: Planted and blind tasks may cost at most this share of reviewing everything.
        untouched: Expected share of gross keypoints among those of reviewed poses that nobody is asked about; 0 asks
            about every keypoint.
        left: So many keypoints of a reviewed pose are left at most.
    """

    max_bad: float = 0.02
    confidence: float = 0.95
    attempts: int = 1
    calibration: int = 500
    development: int = 500
    most: float = 0.15
    first: float = 0.04
    plants: int = 60
    blind: int = 20
    extra: float = 0.04
    untouched: float = 0.01
    left: int = 17

    @property
    def each(self) -> float:
        """The confidence of each audit."""
        return 1 - (1 - self.confidence) / self.attempts


@dataclass(frozen=True, eq=False)
class Outcome:
    """How it ended.

    Attributes:
        session: All that was opened.
        accepted: (N,) poses that are kept as the network left them, under the certificate.
        reason: Why nothing is accepted, or "".
        proposal: What was proposed last.
        walk: The verdict of the last audit; None where none was drawn.
        rates: Of the reviewers; None where no audit was drawn.
    """

    session: Session
    accepted: Bools
    reason: str
    proposal: Proposal
    walk: Walk | None = None
    rates: ReviewerRates | None = None

    @property
    def bound(self) -> float:
        """Upper limit of the bad share of the accepted poses; 0 where none is accepted."""
        return self.walk.bounds[self.walk.step].after if self.walk is not None and self.walk.issued else 0.0


def certified(
    corpus: Corpus, reviewer: Reviewer, doubting: Doubting, rng: np.random.Generator, plan: Plan | None = None
) -> Outcome:
    """Spend effort on a corpus until all of it is reviewed or certified.

    Args:
        corpus: What the network says; its truth is for the reviewer alone.
        reviewer: Who answers.
        doubting: Fits doubt on the calibration poses.
        rng: Draws the poses, the audit and its place among the tasks.
        plan: What is promised, by default 2 % with 95 % confidence.
    """
    plan, session = plan or Plan(), Session(corpus, reviewer)
    calibration, development = _drawn(corpus, plan, rng)
    learnt = session.open("calibration", calibration)
    tried = session.open("development", development)
    doubts = doubting([learnt])
    if doubts is None:
        _review(session, None, plan, session.open_rows[:0], rng)
        return _nothing(session, nothing("too few calibration poses to fit doubt on: review all poses"))
    worth = errors_per_second(doubts.p_bad, doubts.p_gross, gross_weight=1 / corpus.xy.shape[1])
    early = session.open("review", clean_up(worth, session.open_rows, round(plan.first * len(corpus))))
    plants = _plants([learnt, tried, early], doubts, plan.plants)
    checked = Development(doubts.p_bad[tried.rows], tried.found.bad)
    proposal = _proposed(session, doubts, checked, plan, len(plants))
    if proposal.steps and not _pays(session, proposal, [learnt, tried], doubts, len(plants), plan):
        proposal = nothing("accepting would save less than its planted and blind tasks cost: review all poses")
    if not proposal.steps:
        _review(session, doubts, plan, session.open_rows[:0], rng)
        return _nothing(session, proposal)
    return _audited(session, doubts, proposal, checked, plants, plan, rng)


def _audited(
    session: Session,
    doubts: Doubts,
    proposal: Proposal,
    checked: Development,
    plants: Indices,
    plan: Plan,
    rng: np.random.Generator,
    rates: ReviewerRates | None = None,
    attempt: int = 1,
) -> Outcome:
    """Review all that is not proposed with the audit among it; then propose again, or review what is not proven.

    Args:
        session: What was done so far.
        doubts: About all poses.
        proposal: What is audited.
        checked: All checked poses that may correct what is expected.
        plants: Known errors to show.
        plan: What is promised.
        rng: Draws the audit, and its place among the tasks.
        rates: What the first audit told about the reviewers; None where this is the first.
        attempt: Number of the audit.
    """
    place = np.sort(rng.choice(len(proposal.accepted), size=proposal.audit, replace=False))
    audit = proposal.accepted[place]
    kept = np.zeros(len(session.settled), bool)
    kept[proposal.accepted] = True
    caught = session.again("planted", plants).found.bad if rates is None else _NONE
    blind = _blind(session, audit, kept, plan, rng) if rates is None else _Blind(_NOBODY, _NONE)
    answers = _review(session, doubts, plan, audit, rng, but=kept)
    standing = answers.found.bad[_places(answers.rows, audit)]
    found = standing.copy()
    found[blind.place] |= blind.bad
    draw, reviewers = split_confidence(plan.each)
    rates = rates or blind.rates(caught, standing, reviewers)
    sizes = [step.size for step in proposal.steps]
    verdict = judge(
        sizes,
        np.searchsorted(sizes, place, side="right"),
        found,
        standing,
        max_bad=plan.max_bad,
        confidence=draw if rates.shown else plan.each,
        sensitivity=rates.sensitivity,
    )
    if not verdict.issued and attempt < plan.attempts:
        checked = _joined(checked, Development(doubts.p_bad[audit], found))
        again = _proposed(session, doubts, checked, plan, len(plants))
        if again.steps:
            return _audited(session, doubts, again, checked, plants, plan, rng, rates, attempt + 1)
    kept[proposal.accepted[sizes[verdict.step] if verdict.issued else 0 :]] = False
    _review(session, doubts, plan, audit[:0], rng, but=kept)
    reason = "" if verdict.issued else "the audit did not prove the promise: all poses were reviewed"
    return Outcome(session, kept & ~session.settled, reason, proposal, verdict, rates)


def _joined(checked: Development, more: Development) -> Development:
    return Development(np.concatenate([checked.p_bad, more.p_bad]), np.concatenate([checked.bad, more.bad]))


@dataclass(frozen=True, eq=False)
class _Blind:
    """Audited poses that were shown without a pre-label too.

    Attributes:
        place: (b,) which of the audited ones.
        bad: (b,) whether the network's pose is bad by what was placed.
    """

    place: Indices
    bad: Bools

    def rates(self, caught: Bools, standing: Bools, confidence: float) -> ReviewerRates:
        """What plants and these poses tell about the reviewers.

        Args:
            caught: (p,) plants that were found.
            standing: (a,) audited poses that were found bad with their pre-label.
            confidence: Of the limit of what reviewers find.
        """
        return ReviewerRates(
            planted=len(caught),
            planted_caught=int(caught.sum()),
            blind=len(self.bad),
            blind_bad=int(self.bad.sum()),
            blind_caught=int((self.bad & standing[self.place]).sum()),
            confidence=confidence,
        )


def _blind(session: Session, audit: Indices, kept: Bools, plan: Plan, rng: np.random.Generator) -> _Blind:
    """Show some of the audit without a pre-label, and as many poses of the others, as decoys."""
    place = rng.choice(len(audit), size=min(plan.blind, len(audit)), replace=False)
    bad = session.blind("blind", audit[place]).found.by(CLEAR).bad
    others = session.open_rows[~kept[session.open_rows]]
    # Drawn with a generator of their own: they change no other draw.
    session.blind("blind", rng.spawn(1)[0].choice(others, size=min(len(place), len(others)), replace=False))
    return _Blind(place, bad)


def _nothing(session: Session, proposal: Proposal) -> Outcome:
    return Outcome(session, np.zeros(len(session.settled), bool), proposal.reason, proposal)


def _drawn(corpus: Corpus, plan: Plan, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Calibration and development poses: whole groups in random order, until there are enough."""
    wanted = np.array([plan.calibration, plan.development], np.float64)
    wanted *= min(1.0, plan.most * len(corpus) / max(wanted.sum(), 1))
    number = np.unique(corpus.group, return_inverse=True)[1]
    place = rng.permutation(number.max() + 1)[number]
    order = np.argsort(place, kind="stable")
    before = np.cumsum(np.bincount(place))[place] - np.bincount(place)[place]
    first = before[order] < wanted[0]
    second = ~first & (before[order] < wanted.sum())
    return order[first], order[second]


def _proposed(session: Session, doubts: Doubts, checked: Development, plan: Plan, plants: int) -> Proposal:
    """The accepted set that should save most openings, by what was found so far."""
    open_ = ~session.settled
    draw, reviewers = split_confidence(plan.each)
    sensitivity = lower_bound(round(CAUGHT * plants), plants, reviewers)
    return propose(
        doubts.p_bad,
        open_,
        session.corpus.image,
        max_bad=plan.max_bad,
        confidence=draw if plants else plan.each,
        budget=int(open_.sum()),
        policy=Policy.ALL,
        sensitivity=sensitivity if plants else 1.0,
        development=checked,
    )


def _pays(session: Session, proposal: Proposal, seen: list[Answers], doubts: Doubts, plants: int, plan: Plan) -> bool:
    """Whether the clicks and openings that accepting should save are more than its extra tasks cost."""
    cost = np.concatenate([one.effort.clicks + one.effort.opened for one in seen])
    doubt = doubts.p_bad[np.concatenate([one.rows for one in seen])]
    bad = np.concatenate([one.found.bad for one in seen])
    sure = cost[doubt <= proposal.steps[0].threshold]
    each = float(sure.mean()) if len(sure) else 2.0
    blind = min(plan.blind, proposal.audit)
    blind += min(blind, len(session.open_rows) - len(proposal.accepted))  # the decoys
    by_hand = 2.0 + session.corpus.xy.shape[1]
    extra = plants * float(cost[bad].mean() if bad.any() else 0.0) + blind * by_hand
    saved = POWER * (proposal.steps[0].size - proposal.audit) * each
    return extra < min(saved, plan.extra * float(cost.mean()) * len(doubts.p_bad))


def _plants(seen: list[Answers], doubts: Doubts, count: int) -> Indices:
    """Rows that people found clearly bad: half the least doubtful of all, half those of the borderline ones."""
    bad = np.concatenate([one.found.by(CLEAR).bad for one in seen])
    rows = np.concatenate([one.rows for one in seen])[bad]
    oks = np.concatenate([one.found.oks for one in seen])[bad]
    order = np.argsort(doubts.p_bad[rows], kind="stable")
    rows, oks = rows[order], oks[order]
    borderline = rows[(oks >= BORDERLINE[0]) & (oks < BORDERLINE[1])][: count // 2]
    rest = rows[~np.isin(rows, borderline)][: count - len(borderline)]
    return np.concatenate([rest, borderline])


def _review(
    session: Session,
    doubts: Doubts | None,
    plan: Plan,
    audit: Indices,
    rng: np.random.Generator,
    but: Bools | None = None,
) -> Answers:
    """Open all that is open, best first, and the audit at random places among it; poses of ``but`` stay closed."""
    rest = session.open_rows if but is None else session.open_rows[~but[session.open_rows]]
    if doubts is None:
        return session.open("review", rng.permutation(rest))
    worth = errors_per_second(doubts.p_bad, doubts.p_gross, gross_weight=1 / session.corpus.xy.shape[1])
    ordered = clean_up(worth, rest, len(rest))
    order = np.argsort(np.concatenate([np.arange(len(rest)), rng.random(len(audit)) * len(rest)]), kind="stable")
    rows = np.concatenate([ordered, audit])[order]
    kinds = np.concatenate([np.full(len(rest), "review"), np.full(len(audit), "audit")])[order]
    about = _asked(session, doubts, plan, rows)
    if about is not None:
        about[kinds == "audit"] = True
    return session.open(kinds.tolist(), rows, asked=about)


def _asked(session: Session, doubts: Doubts, plan: Plan, rows: Indices) -> Bools | None:
    """(n, K) keypoints to ask about, of those that the truth ever speaks of; None for all."""
    if not plan.untouched:
        return None
    known = np.asarray(session.corpus.scored.any(axis=0))
    may = np.broadcast_to(known, (len(rows), known.size))
    return asked(doubts.p_gross[rows], plan.untouched, may=may, weakest=max(int(known.sum()) - plan.left, 0))


def _places(rows: Indices, wanted: Indices) -> Indices:
    """Where in some rows, each there once, the wanted ones stand."""
    order = np.argsort(rows, kind="stable")
    return order[np.searchsorted(rows, wanted, sorter=order)]
