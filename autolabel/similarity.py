"""How like the truth a pose is: keypoint similarity, gross keypoints, bad poses, who is matched with whom.

Every measure, score, calibration and certificate uses these definitions, so that "bad" means one thing
everywhere. Keypoint similarity (KS) and object keypoint similarity (OKS) are COCO's (Ronchi & Perona, ICCV
2017; pycocotools ``COCOeval.computeOks``) with one difference: an area that is only the box's area in
disguise is no mask, and is replaced by the share of the box that masks fill on average.

What the four states of a keypoint do: a *visible* or *hidden* truth is measured by distance; an *absent*
truth has no distance, only the question whether the pose claims the keypoint; an *unlabelled* truth never
scores.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autolabel.poses import Origin, Poses, Visibility
from autolabel.skeleton import Skeleton

MASK_SHARE = 0.53
"""COCO's mean ratio of a person's mask to its box."""

NO_MASK_TOLERANCE = 0.01
"""An area within this share of width x height was computed from the box."""

ZERO_OKS = 1e-6
"""Poses less alike than this count as not alike: such a pair needs overlapping boxes to be matched."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class BadRule:
    """When a keypoint is gross and a pose is bad.

    Attributes:
        gross_ks: A keypoint of lower KS is gross.
        bad_oks: A pose of lower OKS is bad.
        bad_gross: A pose with this many gross keypoints is bad.
        present: The presence from which a pose claims that a keypoint lies inside the image. Only where its visibility
            is unlabelled, in poses made elsewhere: ``predict`` states one for every keypoint, by the network's own
            threshold, and then this says nothing.
        match_iou: Box IoU that matches two poses whose OKS is zero.
    """

    gross_ks: float = 0.5
    bad_oks: float = 0.75
    bad_gross: int = 2
    present: float = 0.5
    match_iou: float = 0.5


DEFAULT_RULE = BadRule()


@dataclass(frozen=True, eq=False)
class Comparison:
    """The N poses of one image against its T true poses.

    Attributes:
        truth: (N,) index of the true pose that each pose is matched with, -1 where there is none.
        ks: (N, K) similarity, NaN where the truth has no place to compare with.
        oks: (N,) mean of ``ks``, NaN where nothing could be compared.
        scored: (N, K) keypoints of which the truth says something: visible, hidden or absent.
        gross: (N, K) gross keypoints, all of them scored.
        ignored: (N,) poses that say nothing for or against: matched with nobody, inside a crowd region.
        bad: (N,) bad poses. Ignored poses are not bad; unmatched ones are (no instance, or a second pose on
            one).
        missed: (T,) true people, crowds left out, whom no pose is matched with.
    """

    truth: NDArray[np.intp]
    ks: Floats
    oks: Floats
    scored: Bools
    gross: Bools
    ignored: Bools
    bad: Bools
    missed: Bools


def compare(poses: Poses, truth: Poses, skeleton: Skeleton, rule: BadRule = DEFAULT_RULE) -> Comparison:
    """Match the poses of one image with its true poses and judge each.

    Args:
        poses: N poses of one image.
        truth: T true poses of the same image; its crowd regions match nobody and excuse who lies in them.
        skeleton: Gives the sigmas.
        rule: When a keypoint is gross and a pose is bad.
    """
    matched = match(poses, truth, skeleton, rule)
    found = matched >= 0
    shape = (len(poses), poses.num_keypoints)
    ks, gross = np.full(shape, np.nan), np.zeros(shape, bool)
    scored, oks = np.zeros(shape, bool), np.full(len(poses), np.nan)
    mine, theirs = poses.take(found), truth.take(matched[found])
    ks[found] = pair_similarity(mine, theirs, skeleton)
    oks[found] = mean_similarity(ks[found])
    scored[found] = theirs.visibility != Visibility.UNLABELLED
    gross[found] = gross_keypoints(mine, theirs, ks[found], rule)
    ignored = ~found & _inside_crowd(poses, truth, rule.match_iou)
    missed = ~truth.crowd
    missed[matched[found]] = False
    bad = bad_poses(oks, gross, rule) | ~(found | ignored)
    return Comparison(matched, ks, oks, scored, gross, ignored, bad, missed)


def keypoint_similarity(xy: ArrayLike, truth: ArrayLike, area: ArrayLike, sigmas: ArrayLike) -> Floats:
    """KS = exp(-d² / (2 A (2σ)²)).

    Args:
        xy: (..., K, 2) pixels.
        truth: (..., K, 2) pixels; broadcast against ``xy``.
        area: (...) square pixels, A.
        sigmas: (K,) σ.

    Returns:
        (..., K) in 0..1, 0 where ``xy`` is NaN, NaN where ``truth`` is NaN.
    """
    a, b = np.asarray(xy, np.float64), np.asarray(truth, np.float64)
    variance = (2.0 * np.asarray(sigmas, np.float64)) ** 2
    # COCO adds the smallest step at 1, so that an empty area gives 1 at distance zero and 0 elsewhere.
    spread = 2.0 * (np.asarray(area, np.float64)[..., None] + np.spacing(1.0)) * variance
    ks = np.exp(-((a - b) ** 2).sum(axis=-1) / spread)
    unknown = np.isnan(b).any(axis=-1)
    return np.where(unknown, np.nan, np.nan_to_num(ks, nan=0.0))


def mean_similarity(ks: Floats) -> Floats:
    """OKS: the mean KS over the keypoints that have one.

    Args:
        ks: (..., K), NaN where the truth is not labelled.

    Returns:
        (...), NaN where nothing is labelled.
    """
    known = ~np.isnan(ks)
    count = known.sum(axis=-1)
    total = np.where(known, ks, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def similarity_area(poses: Poses) -> Floats:
    """(N,) the area A of each pose, in square pixels.

    The pose's own area; but 0.53 of its box where the area is missing, not positive, or within 1 % of the
    box's width x height (then it is no mask). A pose without a box is measured by the tight box of its
    labelled keypoints.
    """
    box = _box_or_extent(poses)
    full = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    mask = (poses.area > 0) & ~(np.abs(poses.area - full) <= NO_MASK_TOLERANCE * full)
    return np.where(mask, poses.area, MASK_SHARE * full)


def longer_side(poses: Poses) -> Floats:
    """(N,) longer side of each box, or of the tight box of the labelled keypoints, in pixels."""
    box = _box_or_extent(poses)
    return np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])


def pair_similarity(poses: Poses, truth: Poses, skeleton: Skeleton) -> Floats:
    """(N, K) KS of pose i against true pose i; NaN where the truth is unlabelled or absent."""
    return keypoint_similarity(poses.xy, _labelled_xy(truth), similarity_area(truth), skeleton.sigmas)


def oks_matrix(poses: Poses, truth: Poses, skeleton: Skeleton) -> Floats:
    """(N, T) OKS of every pose with every true pose; NaN where the true pose has no labelled keypoint."""
    area = similarity_area(truth)
    return mean_similarity(
        keypoint_similarity(poses.xy[:, None], _labelled_xy(truth)[None], area[None], skeleton.sigmas)
    )


def claims_present(poses: Poses, threshold: float = 0.5) -> Bools:
    """(N, K) whether each pose claims that the keypoint lies inside the image.

    What is stated is read from the visibility, whoever stated it: claimed if it has a coordinate and is not marked
    absent. That is also what files for other tools say, and a network's own threshold is in it
    (``ViTPoseConfig.presence_threshold``). Where a model gave a presence and nobody made a word of it (unlabelled),
    ``presence >= threshold`` decides.
    """
    stated = (poses.visibility != Visibility.ABSENT) & ~np.isnan(poses.xy[..., 0])
    from_model = (poses.origin == Origin.MODEL) | (poses.origin == Origin.NONE)
    silent = from_model & (poses.visibility == Visibility.UNLABELLED) & ~np.isnan(poses.presence)
    return np.where(silent, poses.presence >= threshold, stated)


def gross_keypoints(poses: Poses, truth: Poses, ks: Floats, rule: BadRule = DEFAULT_RULE) -> Bools:
    """(N, K) KS too low, or claimed present where the truth is absent, or the reverse.

    Args:
        poses: N poses.
        truth: Their N true poses.
        ks: (N, K) from :func:`pair_similarity`.
        rule: Thresholds.
    """
    present = claims_present(poses, rule.present)
    wrong_place = truth.labelled & ((ks < rule.gross_ks) | ~present)
    return wrong_place | ((truth.visibility == Visibility.ABSENT) & present)


def bad_poses(oks: Floats, gross: Bools, rule: BadRule = DEFAULT_RULE) -> Bools:
    """(N,) OKS below the limit, or too many gross keypoints; an unknown OKS (NaN) alone is not bad."""
    return (oks < rule.bad_oks) | (gross.sum(axis=1) >= rule.bad_gross)


def match(poses: Poses, truth: Poses, skeleton: Skeleton, rule: BadRule = DEFAULT_RULE) -> NDArray[np.intp]:
    """Match poses with true poses one to one.

    Greedily by OKS; equal OKS is decided by box IoU, and a pair whose OKS is zero (or unknown, because
    nothing of the truth is labelled) is matched only where the boxes overlap with IoU of at least
    ``rule.match_iou``.

    Returns:
        (N,) index of the matched true pose, -1 where there is none. Crowd regions are never matched.
    """
    result = np.full(len(poses), -1, np.intp)
    oks = np.nan_to_num(oks_matrix(poses, truth, skeleton), nan=0.0)
    oks[oks < ZERO_OKS] = 0.0
    iou = box_iou(poses.box, truth.box)
    allowed = ((oks > 0) | (iou >= rule.match_iou)) & ~truth.crowd
    i, j = np.nonzero(allowed)
    taken = np.zeros(len(truth), bool)
    for pair in np.lexsort((-iou[i, j], -oks[i, j])):
        if result[i[pair]] < 0 and not taken[j[pair]]:
            result[i[pair]] = j[pair]
            taken[j[pair]] = True
    return result


def box_iou(a: Floats, b: Floats) -> Floats:
    """(N, T) intersection over union of xyxy boxes (N, 4) and (T, 4); 0 where one is missing or empty."""
    shared = _intersection(a, b)
    union = _box_area(a)[:, None] + _box_area(b)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _inside_crowd(poses: Poses, truth: Poses, share: float) -> Bools:
    crowd = truth.box[truth.crowd]
    own = _box_area(poses.box)[:, None]
    covered = np.divide(_intersection(poses.box, crowd), own, out=np.zeros((len(poses), len(crowd))), where=own > 0)
    return np.asarray((covered >= share).any(axis=1))


def _intersection(a: Floats, b: Floats) -> Floats:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.nan_to_num(np.clip(high - low, 0.0, None).prod(axis=-1), nan=0.0)


def _box_area(box: Floats) -> Floats:
    return np.nan_to_num((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]), nan=0.0)


def _labelled_xy(poses: Poses) -> Floats:
    return np.where(poses.labelled[..., None], poses.xy.astype(np.float64), np.nan)


def _box_or_extent(poses: Poses) -> Floats:
    labelled = poses.labelled[..., None]
    low = np.where(labelled, poses.xy, np.inf).min(axis=1, initial=np.inf)
    high = np.where(labelled, poses.xy, -np.inf).max(axis=1, initial=-np.inf)
    extent = np.concatenate([low, high], axis=1).astype(np.float64)
    extent[~labelled.any(axis=(1, 2))] = np.nan
    return np.where(np.isnan(poses.box), extent, poses.box)
