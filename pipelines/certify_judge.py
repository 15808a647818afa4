"""From a routing, its accepted poses and the answers to the verdict; nothing is read or written here but the plants.

An audited pose is bad if any of its answers says so. Known errors, planted ones and those that blind answers brought to
light, are found only if every ordinary answer to them says so: both choices make the limits larger, never smaller.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autolabel.audit import Bools, Findings, find, shown_bad
from autolabel.certify import Certificate, certificate
from autolabel.errors import FormatError
from autolabel.manifest import Manifest
from autolabel.merge import SETTLED, Correction, PoseChange, State
from autolabel.poses import Poses, Visibility
from autolabel.reviewers import ReviewerRates
from autolabel.side_claims import SideClaim, image_claims, keypoint_claim
from autolabel.similarity import BadRule
from autolabel.skeleton import Skeleton
from autolabel.strata import Stratum, report, strata_of
from autolabel.walk import judge
from pipelines.certify_answers import Answers, ImageFinding
from pipelines.certify_population import Population, poses_in_order
from pipelines.certify_read import PLANTS, Routing

RULE = BadRule()


def verdict(routing: Routing, population: Population, answers: Answers) -> Certificate:
    """The certificate, issued or refused.

    Raises:
        InputError: An answer that says nothing.
        FormatError: A planted pose that is not among the plants.
    """
    skeleton = routing.manifest.skeleton
    standing = find(population.audited, answers.standing, answers.rejected, skeleton, RULE)
    others = _shown(population.audited, answers.others, skeleton)
    blind = _shown(population.audited, answers.blind, skeleton)
    reviewers = _reviewers(routing, answers, standing, others, blind)
    findings = standing.found_too(others.bad | blind.bad)
    sizes = [step.size for step in routing.steps]
    walked = judge(
        sizes,
        np.searchsorted(sizes, population.rows, side="right"),
        findings.bad,
        findings.corrected,
        findings.rejected,
        max_bad=routing.max_bad,
        confidence=routing.delta.draw,
        sensitivity=reviewers.sensitivity if reviewers else 1.0,
    )
    size = sizes[max(walked.step, 0)]
    return certificate(
        findings.among(population.rows < size).counts(),
        max_bad=routing.max_bad,
        confidence=routing.confidence,
        population=size,
        digest_before=population.digest_before(size),
        digest_after=population.digest_after(size, answers.standing, answers.rejected),
        audit=routing.audit,
        rule=RULE,
        routing=routing.digest,
        answers=answers.digest,
        walked=walked,
        delta=routing.delta,
        reviewers=reviewers,
        beside=_beside(routing, answers, walked.step),
        strata=_strata(population, findings, size, routing, reviewers),
    )


class _Shown:
    """What further answers say about N poses.

    Attributes:
        answered: (N,) poses that have one.
        bad: (N,) some answer shows the pose to be bad.
        good: (N,) some answer lets it pass.
    """

    def __init__(self, rows: NDArray[np.intp], bad: Bools, n: int) -> None:
        self.answered, self.bad, self.good = (np.zeros(n, bool) for _ in range(3))
        self.answered[rows] = True
        self.bad[rows[bad]] = True
        self.good[rows[~bad]] = True


def _shown(poses: Poses, corrections: Sequence[Correction], skeleton: Skeleton) -> _Shown:
    row = {pose: i for i, pose in enumerate(poses.id)}
    rows = np.array([row[c.pose] for c in corrections], np.intp)
    shown = poses.take(rows)
    bad, _ = shown_bad(shown, _left(shown, corrections), _rejected(corrections), skeleton, RULE)
    return _Shown(rows, bad, len(poses))


def _left(shown: Poses, corrections: Sequence[Correction]) -> Poses:
    """What the answers made of the C poses that they were given to, which stay as they are wherever that stands."""
    if not corrections:
        return shown
    moved = np.array([c.change is PoseChange.BOX_MOVED for c in corrections])
    return shown.replace(
        xy=np.stack([c.after.xy for c in corrections]),
        visibility=np.stack([c.after.visibility for c in corrections]),
        box=np.where(moved[:, None], np.stack([c.after.box for c in corrections]), shown.box),
        area=np.where(moved, np.nan, shown.area),
    )


def _rejected(corrections: Sequence[Correction]) -> Bools:
    return np.array([c.state is State.REJECTED for c in corrections], bool)


def _reviewers(
    routing: Routing, answers: Answers, standing: Findings, others: _Shown, blind: _Shown
) -> ReviewerRates | None:
    """What known errors tell about the reviewers; None where none were shown."""
    if not (routing.plants or routing.blind):
        return None
    planted = _shown(_plants(routing), answers.planted, routing.manifest.skeleton)
    return ReviewerRates(
        planted=len(routing.plants),
        planted_caught=int((planted.bad & ~planted.good).sum()),
        synthetic=routing.synthetic,
        blind=int(blind.answered.sum()),
        blind_bad=int(blind.bad.sum()),
        blind_caught=int((blind.bad & standing.corrected & ~others.good).sum()),
        confidence=1 - routing.delta.reviewers,
    )


def _plants(routing: Routing) -> Poses:
    num_keypoints = routing.manifest.skeleton.num_keypoints
    if not routing.plants:
        return Poses.empty(num_keypoints)
    manifest = Manifest.open(routing.folder / "plants")
    manifest.skeleton.require_same(routing.manifest.skeleton, str(manifest.path))
    parts = [manifest.poses(i) for i in range(manifest.num_parts)]
    found = poses_in_order(parts, routing.plants, num_keypoints, str(manifest.path))
    if len(found) < len(routing.plants):
        missing = sorted(set(routing.plants) - set(found.id.tolist()))
        raise FormatError(f"lists {missing[0]}, which is not among the plants", subject=str(routing.folder / PLANTS))
    return found


def _beside(routing: Routing, answers: Answers, step: int) -> tuple[SideClaim, ...]:
    """The claims beside it; about images only of those that are complete with the certified step, -1 if none is."""
    claims: list[SideClaim] = []
    if routing.keypoints:
        gross = _gross_keypoints(routing, answers)
        drawn, population, digest = len(routing.keypoints), routing.num_keypoints, routing.keypoints_digest
        claims.append(keypoint_claim(gross, drawn, population, routing.confidence, digest))
    images = routing.images_at[step + 1]
    if images.drawn:
        found: dict[tuple[str, str, str], list[ImageFinding]] = {}
        for finding in answers.images:
            found.setdefault(finding.sample, []).append(finding)
        missed = [max(f.missed for f in found[sample]) for sample in images.drawn]
        nobody = [len(frozenset[str]().union(*(f.nobody for f in found[sample]))) for sample in images.drawn]
        claims += image_claims(missed, nobody, images.population, routing.confidence, images.digest)
    return tuple(claims)


def _gross_keypoints(routing: Routing, answers: Answers) -> int:
    """How many of the drawn keypoints are gross by any answer; one that says nothing, or leaves it open, says so."""
    manifest, skeleton, corrections = routing.manifest, routing.manifest.skeleton, answers.keypoints
    ids = tuple(dict.fromkeys(c.pose for c in corrections))
    row = {pose: i for i, pose in enumerate(ids)}
    rows = np.array([row[c.pose] for c in corrections], np.intp)
    parts = (manifest.poses(i) for i in range(manifest.num_parts))
    shown = poses_in_order(parts, ids, skeleton.num_keypoints, str(manifest.path)).take(rows)
    left, rejected = _left(shown, corrections), _rejected(corrections)
    _, gross = shown_bad(shown, left, rejected, skeleton, RULE)
    unsure = np.array([c.state not in SETTLED for c in corrections], bool)
    gross |= (rejected | unsure)[:, None] | (left.visibility == Visibility.UNLABELLED)
    by_any = np.zeros((len(ids), skeleton.num_keypoints), bool)
    np.logical_or.at(by_any, rows, gross)
    drawn = [(row[pose], skeleton.keypoints.index(name)) for pose, name in routing.keypoints]
    return sum(bool(by_any[place]) for place in drawn)


def _strata(
    population: Population, findings: Findings, size: int, routing: Routing, reviewers: ReviewerRates | None
) -> tuple[Stratum, ...]:
    inside = population.rows < size
    here = findings.among(inside)
    members = strata_of(population.box, population.image_size, population.in_image, population.group, size)
    return report(
        members,
        population.rows[inside],
        here.bad,
        here.corrected,
        here.rejected,
        confidence=routing.delta.draw,
        sensitivity=reviewers.sensitivity if reviewers else 1.0,
    )
