"""How good a human label is, by networks that never saw it: 0 is surely wrong, 1 as good as any.

Four kinds of error have a suspicion each, as ObjectLab has for boxes (Tkachenko, Thyagarajan & Mueller, 2023):

* *misplaced*: the label lies where a network that is sure of itself says the keypoint is not;
* *swapped*: the left label fits the right keypoint and the reverse, for all pairs, for an arm's or a leg's, or for one;
* *missing*: there is no label where the network surely sees the keypoint;
* *implausible*: no body has a keypoint there, by the other labels of the corpus
  (:mod:`autolabel.label_plausibility`), and the network does not have it there either.

A network errs too. What it says about itself (the height and spread of the peak, a second peak, whether the mirrored
image gets the mirrored answer) tells how often, and :mod:`autolabel.label_blame` learns that from the audited corpus
itself. A pose in which most keypoints disagree, and which fits neither mirrored nor shifted, says that the network is
lost; that is one of the doubts. The quality of a keypoint is 1 - its largest suspicion, that of a pose the soft
minimum over its keypoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.label_blame import fit_blame
from autolabel.label_plausibility import implausible
from autolabel.label_swaps import Swap, possible_swaps
from autolabel.poses import Poses, Visibility
from autolabel.similarity import keypoint_similarity, similarity_area
from autolabel.skeleton import Skeleton

AGREE_KS = 0.5
"""Label and prediction agree from this KS on: below, one of the two is gross."""

SWAP_GAIN = 0.3
"""A swap is suspected where the swapped label fits better by this much mean KS."""

FULL_GAIN = 0.5
"""A swap that gains this much is as clear as it gets."""

UNLABELLED_WEIGHT = 0.5
"""A keypoint that nobody labelled teaches nothing wrong, so it counts half of one that is called absent."""

USUALLY = 0.5
"""A keypoint is missed only in a corpus that labels it in this share of its poses."""

STRANGER, WITNESS = 0.5, 0.9
"""Networks that agree with the first share of the labels are trusted least, from the second on they are fully."""

LEAST_TRUST = 0.2

TEMPERATURE = 0.1
"""Of the soft minimum; ObjectLab's."""

SHIFT_KEYPOINTS = 6
"""A pose with fewer labels can be shifted onto anything."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Weights of the doubts before a corpus has said anything: spread, two answers, second peak, the partner seen here too,
# fellows that disagree, low peak, usual distance; of those, what each kind of error looks at.
_KEYPOINT_PRIOR = (4.0, 3.0, 2.0, 2.0, 5.0, 4.0, 6.0)
_SWAP_PRIOR = (4.0, 3.0, 6.0, 4.0, 1.0)
_MISSING_PRIOR = (4.0, 3.0, 2.0, 2.0, 4.0)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one network says about N labelled poses.

    Attributes:
        xy: (N, K, 2) predicted places, full-image pixels; NaN where nothing was predicted.
        numbers: (N, K) each, by the names of ``model.label_doubt.NUMBERS``: ``peak``, ``second``, ``expected_ks``,
            ``sharpness``, ``other_side``, ``flip_ks`` of the prediction, ``level``, ``label_ks``, ``mirror_ks``,
            ``height`` of the label. NaN where there is nothing to say.
    """

    xy: Floats
    numbers: Mapping[str, Floats]

    def __getitem__(self, name: str) -> Floats:
        return self.numbers[name]


@dataclass(frozen=True, eq=False)
class LabelQuality:
    """The quality of N labelled poses.

    Attributes:
        pose: (N,) 0..1, lower is worse; NaN where no label could be judged.
        keypoint: (N, K) 0..1; NaN where neither a label nor a missing one could be judged.
        misplaced: (N, K) suspicion 0..1.
        missing: (N, K) suspicion 0..1.
        implausible: (N, K) suspicion 0..1.
        swapped: (N, G) suspicion of each of ``swaps``.
        shifted: (N,) whether the label fits once it is shifted as a whole, and not before.
        swaps: The G groups.
        floors: The share of wrong labels that was estimated, by kind.
    """

    pose: Floats
    keypoint: Floats
    misplaced: Floats
    missing: Floats
    implausible: Floats
    swapped: Floats
    shifted: Bools
    swaps: tuple[Swap, ...]
    floors: Mapping[str, float]


def combine(evidence: Sequence[Evidence], poses: Poses, skeleton: Skeleton) -> Evidence:
    """What several networks say together: the doubts of each are doubts, and so is that they differ.

    A label is held against only where all of them disagree with it: what speaks for it is taken from the network that
    speaks for it most. Two networks that agree against a label are the strongest sign there is.

    Args:
        evidence: One or more, of the same poses; the first one gives the places.
        poses: The N labelled poses.
        skeleton: Gives the sigmas.

    Raises:
        InputError: There is none.
    """
    if not evidence:
        raise InputError("no network was asked")
    if len(evidence) == 1:
        return evidence[0]
    first, area = evidence[0], similarity_area(poses)
    least = ("peak", "expected_ks", "sharpness", "flip_ks", "level")
    numbers = {
        name: (np.fmin if name in least else np.fmax).reduce([one[name] for one in evidence]) for name in first.numbers
    }
    for other in evidence[1:]:
        agree = keypoint_similarity(other.xy, first.xy, area, skeleton.sigmas)
        numbers["flip_ks"] = np.fmin(numbers["flip_ks"], np.where(np.isnan(other.xy[..., 0]), np.nan, agree))
    own = np.stack([_ks(poses, one.xy, skeleton) for one in evidence])
    nearest = np.where(np.isnan(own), -1.0, own).argmax(axis=0)
    xy = np.take_along_axis(np.stack([one.xy for one in evidence]), nearest[None, ..., None], axis=0)[0]
    return Evidence(xy, numbers)


def label_quality(poses: Poses, evidence: Evidence, skeleton: Skeleton) -> LabelQuality:
    """Judge every label.

    Args:
        poses: N labelled poses.
        evidence: From networks that never saw these labels; see :func:`combine`.
        skeleton: Gives sigmas, mirror images and the halves of the body.

    Raises:
        InputError: Poses and evidence do not fit each other, or no pose has a label.
    """
    if evidence.xy.shape != poses.xy.shape:
        raise InputError(f"evidence of shape {evidence.xy.shape} about poses of shape {poses.xy.shape}")
    if not poses.labelled.any():
        raise InputError("no keypoint is labelled", subject="labels", remedy="Audit a manifest that people labelled.")
    view = _View.of(poses, evidence, skeleton)
    swaps = possible_swaps(skeleton)
    swapped, swap_floor = _swapped(view, swaps)
    explained = _explained(view, swapped, swaps)
    misplaced, place_floor = _misplaced(view, explained)
    missing, missing_floor = _missing(view)
    trust = _trust(view)
    told = np.nan_to_num(np.fmax(np.fmax(misplaced, _spread(swapped, swaps, view)), missing))
    misplaced, swapped, missing = trust * misplaced, trust * swapped, trust * missing
    for_label = np.fmax(np.nan_to_num(view.straight), np.clip(np.nan_to_num(evidence["height"]), 0.0, 1.0))
    # Some posture is always the least usual one: networks that are trusted have to speak against the label, too.
    needed = (trust - LEAST_TRUST) / (1 - LEAST_TRUST)
    unlike = implausible(poses, skeleton) * (1 - for_label) * (1 - needed * (1 - told))
    unlike = np.where(view.known, unlike, np.nan)
    of_networks = np.fmax(np.fmax(misplaced, _spread(swapped, swaps, view)), missing)
    # Two witnesses who know nothing of each other.
    keypoint = (1 - of_networks) * (1 - np.nan_to_num(unlike))
    return LabelQuality(
        pose=_softmin(keypoint),
        keypoint=keypoint,
        misplaced=misplaced,
        missing=missing,
        implausible=unlike,
        swapped=swapped,
        shifted=view.shifted,
        swaps=swaps,
        floors={"misplaced": place_floor, "swapped": swap_floor, "missing": missing_floor},
    )


def _trust(view: "_View") -> float:
    """What the networks' word alone is worth: they have to agree with most labels before they may accuse one.

    Of networks that disagree with half of a corpus nearly every disagreement is their own error, and which one is not
    cannot be told from how sure they are of themselves.
    """
    agree = float((view.straight[view.known] >= AGREE_KS).mean()) if view.known.any() else 1.0
    return float(np.clip((agree - STRANGER) / (WITNESS - STRANGER), LEAST_TRUST, 1.0))


@dataclass(frozen=True, eq=False)
class _View:
    """Labels beside predictions: N poses, K keypoints.

    ``known`` are labels of which the network says something, ``straight`` the KS of label and prediction, ``mirrored``
    the KS of the prediction and the partner's label, ``other`` the share of a keypoint's fellows that disagree,
    in the best of three ways: as they are, mirrored, shifted. ``doubts`` (N, K, 7) are the network's about itself.
    """

    poses: Poses
    evidence: Evidence
    flip: NDArray[np.intp]
    known: Bools
    straight: Floats
    mirrored: Floats
    shifted: Bools
    others: Floats
    doubts: Floats

    @classmethod
    def of(cls, poses: Poses, evidence: Evidence, skeleton: Skeleton) -> "_View":
        flip = np.array(skeleton.flip)
        area = similarity_area(poses)

        def ks(a: Floats, b: Floats) -> Floats:
            return keypoint_similarity(a, b, area, skeleton.sigmas)

        label = np.where(poses.labelled[..., None], poses.xy.astype(np.float64), np.nan)
        predicted = evidence.xy.astype(np.float64)
        said = np.isfinite(predicted).all(axis=-1) & np.isfinite(evidence["expected_ks"])
        known = poses.labelled & said
        straight = np.where(known, ks(predicted, label), np.nan)
        mirrored = np.where(said, ks(predicted, label[:, flip]), np.nan)
        mirrored[:, flip == np.arange(len(flip))] = np.nan
        moved = np.where(known, ks(predicted + _shift(label - predicted, known), label), np.nan)
        ways = np.stack([straight, np.where(np.isnan(mirrored), straight, mirrored), moved])
        wrong = np.where(known, ways < AGREE_KS, False)
        count = known.sum(axis=1, keepdims=True)
        total = wrong.sum(axis=2)
        best = total.argmin(axis=0)
        fewest = np.take_along_axis(wrong, best[None, :, None], axis=0)[0]
        others = (fewest.sum(axis=1, keepdims=True) - fewest) / np.maximum(count - 1, 1)
        enough = count[:, 0] >= SHIFT_KEYPOINTS
        shifted = enough & (best == 2) & (total[0] > count[:, 0] / 2) & (total[2] <= count[:, 0] / 4)
        doubts = _doubts(evidence, others, 1 - _usual(straight, 0.5))
        return cls(poses, evidence, flip, known, straight, mirrored, shifted, others, doubts)


def _doubts(evidence: Evidence, others: Floats, usual: Floats) -> Floats:
    """(N, K, 7) from 0, the network is sure, to about 1.

    Spread, two answers, second peak, the partner seen here too, fellows that disagree, low peak, and how far from the
    label the network usually is: of small keypoints it cannot tell the place any better.
    """
    doubts = np.stack(
        [
            1 - evidence["sharpness"],
            1 - evidence["flip_ks"],
            evidence["second"],
            evidence["other_side"],
            np.where(np.isfinite(evidence["peak"]), others, np.nan),
            1 - evidence["peak"],
            np.broadcast_to(usual, others.shape),
        ],
        axis=-1,
    )
    return np.clip(np.nan_to_num(doubts, nan=1.0), 0.0, 1.0)


def _misplaced(view: _View, explained: Bools) -> tuple[Floats, float]:
    """(N, K) suspicion that a label is out of place, and the share of those; what a swap explains is left to it."""
    judged = view.known & ~explained
    disagree = judged & (view.straight < AGREE_KS)
    blame = fit_blame(disagree[judged], view.doubts[judged], _KEYPOINT_PRIOR)
    far = np.clip(1 - np.nan_to_num(view.straight, nan=1.0) / AGREE_KS, 0.0, 1.0)
    outside = np.nan_to_num(view.evidence["level"]) * (1 - np.nan_to_num(view.evidence["height"]))
    suspicion = np.where(view.known, 0.0, np.nan)
    suspicion[disagree] = (far * outside)[disagree] * blame.label_at_fault(view.doubts[disagree])
    return suspicion, blame.floor


def _swapped(view: _View, swaps: Sequence[Swap]) -> tuple[Floats, float]:
    """(N, G) suspicion that the members of each group are labelled with their sides exchanged, and the share."""
    if not swaps:
        return np.zeros((len(view.poses), 0)), 0.0
    both = view.known & view.known[:, view.flip]
    parts = [_swap_of(view, both, list(swap.members)) for swap in swaps]
    gain, doubts = np.stack([part[0] for part in parts], axis=1), np.stack([part[1] for part in parts], axis=1)
    judged = np.stack([both[:, list(swap.members)].any(axis=1) for swap in swaps], axis=1)
    event = judged & (gain > SWAP_GAIN) & ~view.shifted[:, None]
    # Where neither way fits clearly better, the network says nothing about sides: no sign that it tells them well.
    clearly = judged & (np.abs(gain) > SWAP_GAIN)
    blame = fit_blame(event[clearly], doubts[clearly], _SWAP_PRIOR)
    suspicion = np.where(judged, 0.0, np.nan)
    clear = np.clip(gain / FULL_GAIN, 0.0, 1.0)
    suspicion[event] = clear[event] * blame.label_at_fault(doubts[event])
    return suspicion, blame.floor


def _swap_of(view: _View, both: Bools, members: list[int]) -> tuple[Floats, Floats]:
    """For one group: (N,) gain in mean KS by swapping, and (N, 5) doubts."""
    use = both[:, members]

    def mean(values: Floats) -> Floats:
        total = np.where(use, np.nan_to_num(values[:, members]), 0.0).sum(axis=1)
        return total / np.maximum(use.sum(axis=1), 1)

    outside = view.known.copy()
    outside[:, members] = False
    wrong = (outside & (view.straight < AGREE_KS)).sum(axis=1) / np.maximum(outside.sum(axis=1), 1)
    # Spread, two answers, the partner seen here too, and keypoints outside the group that disagree as well.
    # One pair is exchanged by chance more easily than all are.
    alone = np.full(len(wrong), 2 / len(members))
    doubts = [*(mean(view.doubts[..., i]) for i in (0, 1, 3)), wrong, alone]
    return mean(view.mirrored) - mean(view.straight), np.stack(doubts, axis=-1)


def _explained(view: _View, swapped: Floats, swaps: Sequence[Swap]) -> Bools:
    """(N, K) labels that disagree and would agree in a group whose swap is suspected."""
    inside = np.zeros(view.known.shape, bool)
    for g, swap in enumerate(swaps):
        inside[:, list(swap.members)] |= (swapped[:, g] > 0)[:, None]
    return inside & (view.mirrored >= AGREE_KS) & (view.straight < AGREE_KS)


def _spread(swapped: Floats, swaps: Sequence[Swap], view: _View) -> Floats:
    """(N, K) the largest suspicion of a swap that a keypoint would be part of, among those that it speaks for."""
    result = np.where(view.known, 0.0, np.nan)
    better = view.known & (view.mirrored > view.straight)
    for g, swap in enumerate(swaps):
        members = list(swap.members)
        own = np.where(better[:, members], np.nan_to_num(swapped[:, g])[:, None], 0.0)
        result[:, members] = np.where(view.known[:, members], np.maximum(result[:, members], own), np.nan)
    return result


def _missing(view: _View) -> tuple[Floats, float]:
    """(N, K) suspicion that a label is missing where the network surely sees the keypoint, and the share of those."""
    labelled = view.poses.labelled
    people = labelled.any(axis=1) & ~view.poses.crowd
    usual = labelled[people].mean(axis=0) >= USUALLY
    judged = people[:, None] & usual & np.isfinite(view.evidence["expected_ks"])
    doubts = view.doubts[..., [0, 1, 2, 3, 5]]
    event = judged & ~labelled
    blame = fit_blame(event[judged], doubts[judged], _MISSING_PRIOR)
    weight = np.where(view.poses.visibility == Visibility.ABSENT, 1.0, UNLABELLED_WEIGHT)
    suspicion = np.where(judged, 0.0, np.nan)
    suspicion[event] = weight[event] * blame.label_at_fault(doubts[event])
    return suspicion, blame.floor


def _softmin(quality: Floats) -> Floats:
    """(N,) soft minimum over the known ones of (N, K), NaN where none is."""
    known = np.isfinite(quality)
    weight = np.where(known, np.exp((1 - np.nan_to_num(quality)) / TEMPERATURE), 0.0)
    total = weight.sum(axis=1)
    mixed = (weight * np.nan_to_num(quality)).sum(axis=1)
    return np.where(total > 0, mixed / np.where(total > 0, total, 1.0), np.nan)


def _shift(offset: Floats, known: Bools) -> Floats:
    """(N, 1, 2) the middle offset of a pose's labels; 0 where there are none."""
    some = known.any(axis=1)
    result = np.zeros((len(offset), 1, 2))
    result[some, 0] = np.nanmedian(np.where(known[..., None], offset, np.nan)[some], axis=1)
    return result


def _usual(values: Floats, q: float) -> Floats:
    """(K,) quantile of the finite values of each of (N, K) columns, NaN where there are none."""
    some = np.isfinite(values).any(axis=0)
    result = np.full(values.shape[1], np.nan)
    if some.any():
        result[some] = np.nanquantile(np.where(np.isfinite(values), values, np.nan)[:, some], q, axis=0)
    return result


def _ks(poses: Poses, xy: Floats, skeleton: Skeleton) -> Floats:
    label = np.where(poses.labelled[..., None], poses.xy.astype(np.float64), np.nan)
    return keypoint_similarity(xy, label, similarity_area(poses), skeleton.sigmas)
