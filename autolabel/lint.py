"""Faults that people and networks make and that need no ground truth to be suspected: what, where, and why.

======================  ==========================================================================================
kind                    evidence
======================  ==========================================================================================
mirrored                left and right of the whole pose have changed places (:mod:`autolabel.mirror`)
mirrored limb           the same in one limb
neighbour               a keypoint lies on another person's
bone                    a bone is longer than those of the other poses allow (:mod:`autolabel.bones`)
coincident              two keypoints of a pose lie in one place
outside                 a keypoint lies far outside the pose's box
nobody                  the box holds no person
======================  ==========================================================================================

The strongest evidence is a second opinion: a prediction of the same boxes by a network that has not seen these labels.
It raises doubts of its own, and where it agrees with a keypoint it clears it of every other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.bones import BoneLengths, BonePrior
from autolabel.errors import PosesError
from autolabel.limbs import limb_name, limbs, pair_array
from autolabel.mirror import MirrorEvidence, mirror_evidence, placed
from autolabel.poses import Poses, Visibility
from autolabel.similarity import keypoint_similarity, longer_side, mean_similarity, similarity_area
from autolabel.skeleton import Skeleton
from autolabel.swaps import Nearest, nearest_neighbour

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Features = Mapping[str, NDArray[Any]]


class Kind(StrEnum):
    """What a finding is about."""

    MIRRORED = "mirrored"
    LIMB = "mirrored limb"
    NEIGHBOUR = "neighbour"
    BONE = "bone"
    COINCIDENT = "coincident"
    OUTSIDE = "outside"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Finding:
    """A fault that a pose seems to have.

    Attributes:
        kind: What.
        keypoints: Indices of the keypoints it is about; all of them for a whole pose.
        text: For a reviewer: what seems wrong, in a sentence without a full stop.
        evidence: The numbers behind it, by name.
    """

    kind: Kind
    keypoints: tuple[int, ...]
    text: str
    evidence: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, as it stands in a pose's ``attributes["lint"]``."""
        evidence = {name: round(float(value), 4) for name, value in self.evidence.items() if np.isfinite(value)}
        return {
            "kind": str(self.kind),
            "keypoints": list(self.keypoints),
            "text": self.text,
            "evidence": evidence,
        }


@dataclass(frozen=True)
class LintRule:
    """From which evidence on something is found.

    Attributes:
        mirrored: Nats for a mirrored pose: the odds against that one is mirrored, before anything is known.
        pairs: Pairs that must say something before a whole pose is called mirrored.
        agreeing: Share of them that must speak for it.
        limb: Nats for a mirrored limb.
        agrees: A prediction of this KS clears a keypoint.
        differs: A prediction of lower KS does not know the keypoint where it is.
        neighbour: KS with another person's keypoint.
        astray: KS of a prediction with another person's keypoint from which on it is no witness.
        bone: Excess of a bone, as its prior gives it.
        coincident: Distance of two keypoints, in OKS sigmas of the pose (σ √A).
        apart: Distance of their predictions from which on they do not belong in one place, in the same unit.
        outside: Distance from the box, in longer sides of it.
        hidden_outside: The same for a hidden keypoint without a bone that is too long: many boxes hold what is seen.
        nobody_oks: OKS with a prediction, below which the two have nothing in common.
        nobody_peak: Mean height of the prediction's peaks below which it sees nobody.
    """

    mirrored: float = 2.0
    pairs: int = 2
    agreeing: float = 0.75
    limb: float = 2.0
    agrees: float = 0.5
    differs: float = 0.2
    neighbour: float = 0.6
    astray: float = 0.3
    bone: float = 0.05
    coincident: float = 0.1
    apart: float = 1.0
    outside: float = 0.1
    hidden_outside: float = 0.4
    nobody_oks: float = 0.6
    nobody_peak: float = 0.25


DEFAULT_RULE = LintRule()

CHUNK = 4_000_000
"""Distances of two keypoints that are held at a time."""

Findings = Iterator[tuple[int, Finding]]
"""Rows of poses, and what was found there."""


def lint_poses(
    poses: Poses,
    owner: ArrayLike,
    skeleton: Skeleton,
    *,
    features: Features | None = None,
    prior: BonePrior | None = None,
    other: Poses | None = None,
    other_features: Features | None = None,
    rule: LintRule = DEFAULT_RULE,
) -> list[list[Finding]]:
    """Look for faults in poses; a corpus can be given part by part, images whole.

    A mirrored pose, or a box without a person, is that and nothing else.

    Args:
        poses: N poses of any number of images.
        owner: (N,) which image each is in; only equality matters.
        skeleton: Theirs.
        features: What the network that made the poses left, rows as ``poses``.
        prior: How long bones may be; by default learnt from these poses.
        other: N poses of the same boxes by somebody else, a network for example; row i is about the same person as
            pose i, NaN where there is none.
        other_features: What the network that made those left.
        rule: Thresholds.

    Returns:
        For each pose its findings, the most telling kind first.

    Raises:
        PosesError: ``owner``, ``other`` or the skeleton does not fit the poses.
    """
    case = _Case(poses, np.asarray(owner), skeleton, features, other, other_features, rule)
    evidence = mirror_evidence(poses, skeleton, features=features, other=other, other_features=other_features)
    excess = (BoneLengths.fit(poses, skeleton) if prior is None else prior).bones(poses)
    empty, oks, peaks = _empty(case)
    mirrored = ~empty & _whole(evidence, rule)
    limb = ~(empty | mirrored)[:, None] & (evidence.limbs >= rule.limb)
    cleared, unknown = _second_opinion(case)
    fit = ~(empty | mirrored | poses.crowd)[:, None] & ~cleared
    nearest = nearest_neighbour(poses, poses, case.owner, skeleton)
    taken = fit & unknown & (nearest.ks >= rule.neighbour)
    if other is None:
        taken &= excess >= rule.bone
    else:  # where the second opinion lies on a neighbour too, it is the one that takes people for one another
        taken &= ~(nearest_neighbour(other, poses, case.owner, skeleton).ks >= rule.astray)
    found: list[list[Finding]] = [[] for _ in range(len(poses))]
    for findings in (
        _nobody_findings(case, empty, oks, peaks),
        _mirrored_findings(case, mirrored, evidence),
        _limb_findings(case, limb, evidence),
        _neighbour_findings(case, taken, nearest),
        _bone_findings(case, np.where(fit & ~taken, np.nan_to_num(excess), 0.0)),
        _coincident_findings(case, fit),
        _outside_findings(case, fit, excess),
    ):
        for row, finding in findings:
            found[row].append(finding)
    return found


@dataclass(frozen=True, eq=False)
class _Case:
    """What :func:`lint_poses` was given."""

    poses: Poses
    owner: NDArray[Any]
    skeleton: Skeleton
    features: Features | None
    other: Poses | None
    other_features: Features | None
    rule: LintRule

    def __post_init__(self) -> None:
        n, k = self.poses.visibility.shape
        if k != self.skeleton.num_keypoints:
            wanted = self.skeleton.num_keypoints
            raise PosesError(f"poses of {k} keypoints, expected {wanted}", subject=f"skeleton {self.skeleton.name!r}")
        if self.owner.shape != (n,):
            raise PosesError(f"owner has shape {self.owner.shape}, expected ({n},)")
        if self.other is not None and self.other.visibility.shape != (n, k):
            raise PosesError(f"other poses of shape {self.other.visibility.shape}, expected {(n, k)}, one for each")


def _second_opinion(case: _Case) -> tuple[Bools, Bools]:
    """(N, K) keypoints that the other poses agree with, and those that they do not know there."""
    if case.other is None:
        return np.zeros(case.poses.visibility.shape, bool), np.ones(case.poses.visibility.shape, bool)
    area = similarity_area(case.poses)
    ks = keypoint_similarity(placed(case.poses), placed(case.other), area, case.skeleton.sigmas)
    return ks >= case.rule.agrees, ~(ks >= case.rule.differs)


def _empty(case: _Case) -> tuple[Bools, Floats, Floats]:
    """(N,) boxes in which the network sees nobody and, as a second opinion, not the pose; its OKS; its mean peak."""
    poses, rule = case.poses, case.rule
    features = case.features if case.other is None else case.other_features
    oks = np.full(len(poses), np.nan)
    if case.other is not None:
        area = similarity_area(poses)
        oks = mean_similarity(keypoint_similarity(placed(case.other), placed(poses), area, case.skeleton.sigmas))
    peaks = np.full(len(poses), np.nan)
    if features is not None and "peak" in features:
        peaks = mean_similarity(np.asarray(features["peak"], np.float64))
    boxed = np.isfinite(poses.box[:, 0]) & ~poses.crowd
    return boxed & (peaks < rule.nobody_peak) & ~(oks >= rule.nobody_oks), oks, peaks


def _whole(evidence: MirrorEvidence, rule: LintRule) -> Bools:
    """(N,) poses mirrored as a whole: enough evidence, and most pairs alike."""
    enough = (evidence.whole >= rule.mirrored) & (evidence.speaking >= rule.pairs)
    return enough & (evidence.agreeing >= rule.agreeing)


def _nobody_findings(case: _Case, empty: Bools, oks: Floats, peaks: Floats) -> Findings:
    text, everything = "the box seems to hold no person", tuple(range(case.skeleton.num_keypoints))
    for row in _rows(empty):
        yield row, Finding(Kind.NOBODY, everything, text, {"peak": float(peaks[row]), "oks": float(oks[row])})


def _mirrored_findings(case: _Case, mirrored: Bools, evidence: MirrorEvidence) -> Findings:
    text = "left and right of the whole pose seem to have changed places"
    everything = tuple(range(case.skeleton.num_keypoints))
    for row in _rows(mirrored):
        numbers = {"nats": evidence.whole[row], "pairs": evidence.speaking[row], "agreeing": evidence.agreeing[row]}
        yield row, Finding(Kind.MIRRORED, everything, text, _numbers(numbers))


def _limb_findings(case: _Case, limb: Bools, evidence: MirrorEvidence) -> Findings:
    """One finding a limb, about those of its pairs that speak for it."""
    pair, members = pair_array(case.skeleton), limbs(case.skeleton)
    for row in _rows(limb.any(axis=1)):
        for index in _rows(limb[row]):
            turned = [p for p in members[index].pairs if evidence.pairs[row, p] > 0]
            text = f"left and right {limb_name(case.skeleton, turned)} seem to have changed places"
            keypoints = tuple(np.sort(pair[turned], axis=None).tolist())
            numbers = {"nats": evidence.limbs[row, index], "pairs": len(turned)}
            yield row, Finding(Kind.LIMB, keypoints, text, _numbers(numbers))


def _neighbour_findings(case: _Case, taken: Bools, nearest: Nearest) -> Findings:
    for row in _rows(taken.any(axis=1)):
        keypoints = tuple(_rows(taken[row]))
        whose = case.poses.id[nearest.row[row, keypoints[0]]]
        text = f"{_seem(case.skeleton, keypoints)} to be on another person, pose {whose}"
        yield row, Finding(Kind.NEIGHBOUR, keypoints, text, {"ks": float(nearest.ks[row, list(keypoints)].max())})


def _bone_findings(case: _Case, excess: Floats) -> Findings:
    """The keypoint of each pose whose bones are most too long, and others that are nearly so."""
    for row in _rows((excess >= case.rule.bone).any(axis=1)):
        worst = float(excess[row].max())
        keypoints = tuple(_rows(excess[row] >= max(case.rule.bone, 0.8 * worst)))
        text = f"a bone at {_names(case.skeleton, keypoints)} is longer than it can be"
        yield row, Finding(Kind.BONE, keypoints, text, {"excess": worst})


def _coincident_findings(case: _Case, fit: Bools) -> Findings:
    """Two keypoints in one place, unless a second opinion puts both of them there."""
    poses, rule = case.poses, case.rule
    first, second = np.triu_indices(poses.num_keypoints, 1)
    step = max(1, CHUNK // max(len(first), 1))
    for start in range(0, len(poses), step):
        part = slice(start, start + step)
        apart = _apart(np.where(poses.labelled[part, :, None], poses.xy[part], np.nan), case, part)
        sure = (apart < rule.coincident) & (fit[part][:, first] | fit[part][:, second])
        if case.other is not None:
            sure &= ~(_apart(placed(case.other)[part], case, part) < rule.apart)
        for row in _rows(sure.any(axis=1)):
            which = np.flatnonzero(sure[row])
            keypoints = tuple(sorted({*first[which].tolist(), *second[which].tolist()}))
            text = f"{_names(case.skeleton, keypoints)} lie in one place"
            numbers = {"distance": float(apart[row, which].min())}
            yield start + row, Finding(Kind.COINCIDENT, keypoints, text, numbers)


def _apart(xy: NDArray[Any], case: _Case, part: slice) -> Floats:
    """(n, K (K - 1) / 2) distance of every two keypoints of a part of the poses, in their mean sigma times √A."""
    first, second = np.triu_indices(case.poses.num_keypoints, 1)
    sigmas = np.array(case.skeleton.sigmas)
    unit = np.sqrt(similarity_area(case.poses)[part])[:, None] * (sigmas[first] + sigmas[second]) / 2
    return np.linalg.norm(xy[:, first].astype(np.float64) - xy[:, second], axis=-1) / np.maximum(unit, 1e-9)


def _outside_findings(case: _Case, fit: Bools, excess: Floats) -> Findings:
    poses, rule = case.poses, case.rule
    box = poses.box[:, None]
    beyond = np.maximum(box[..., :2] - poses.xy, poses.xy - box[..., 2:]).max(axis=-1)
    away = beyond / np.maximum(longer_side(poses), 1.0)[:, None]
    plain = (poses.visibility == Visibility.VISIBLE) | (excess >= rule.bone)
    far = fit & poses.labelled & (away > np.where(plain, rule.outside, rule.hidden_outside))
    for row in _rows(far.any(axis=1)):
        keypoints = tuple(_rows(far[row]))
        text = f"{_seem(case.skeleton, keypoints)} to lie far outside the box"
        yield row, Finding(Kind.OUTSIDE, keypoints, text, {"distance": float(away[row, list(keypoints)].max())})


def _rows(mask: Bools | np.bool_) -> list[int]:
    return np.flatnonzero(mask).tolist()


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _seem(skeleton: Skeleton, keypoints: Sequence[int]) -> str:
    return f"{_names(skeleton, keypoints)} {'seems' if len(keypoints) == 1 else 'seem'}"


def _names(skeleton: Skeleton, keypoints: Sequence[int]) -> str:
    names = [skeleton.keypoints[k].replace("_", " ") for k in keypoints]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
