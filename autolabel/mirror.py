"""Evidence that left and right have changed places, in a whole pose or in one limb, and the repair.

Everything is in nats: the log of how much more likely the evidence is if the two keypoints of a pair have changed
places than if they have not. Three witnesses are heard. A *prediction* of the same box, against which the pose and its
mirrored version are held (:func:`against_prediction`). The network that made the pose, by its flip test and by its
heatmaps (:func:`against_itself`). And the *face*: who is seen with nose and both eyes, and whose left eye lies on the
wrong side of the right one, is mirrored (:func:`facing`); that alone never decides.

A network mirrors people itself, mostly those seen from behind. So no prediction can say more than the network's own
doubt about left and right allows (:func:`side_doubt`): if it takes one person in thirty for the mirror image, then a
disagreement is evidence of thirty to one at most, however well the mirrored pose fits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.limbs import limbs, pair_array
from autolabel.poses import Poses, Visibility
from autolabel.similarity import similarity_area
from autolabel.skeleton import Skeleton

Floats = NDArray[np.float64]
Features = Mapping[str, NDArray[Any]]

WIDER = 1.4
"""How many times wider than people's own spread (the skeleton's sigmas) a network's is."""

MISS = 0.03
"""Share of keypoints whose prediction says nothing about where they are; bounds what one keypoint can tell."""

SAYS = 1.0
"""A pair with less evidence than this, in nats, either way, says nothing: its two keypoints lie too close together."""

FACE = 3.0
"""What the face can tell at most, in nats."""

EYES = 0.1
"""Distance of two eyes, in distances from eyes to shoulders, from which on the face is surely turned to the camera."""

MOST = 50.0
"""More nats than anybody can tell apart, and few enough to be taken to the exponent."""

DOUBT, SEEN_DOUBT, UNSEEN_DOUBT = 0.02, 0.003, 0.3
"""Share of people whom a network is taken to mirror: of all, of those who show the face, of those who do not."""

_FACE = ("nose", "left_eye", "right_eye")


@dataclass(frozen=True, eq=False)
class MirrorEvidence:
    """Evidence for changed sides, in nats; positive where changed sides explain it better.

    Attributes:
        pairs: (N, P) of each flip pair of the skeleton, NaN where nothing is known.
        limbs: (N, L) of each limb of :func:`autolabel.limbs.limbs`: those of its pairs that speak for it together;
            NaN where no pair says anything.
        whole: (N,) of the whole pose, NaN likewise.
        agreeing: (N,) share of the pairs that say something which speak for changed sides, NaN likewise.
        speaking: (N,) how many pairs say something.
    """

    pairs: Floats
    limbs: Floats
    whole: Floats
    agreeing: Floats
    speaking: NDArray[np.intp]


def mirror_evidence(
    poses: Poses,
    skeleton: Skeleton,
    *,
    features: Features | None = None,
    other: Poses | None = None,
    other_features: Features | None = None,
) -> MirrorEvidence:
    """Hear all witnesses.

    Args:
        poses: N poses.
        skeleton: Theirs; without flip pairs nothing can be mirrored.
        features: What the network that made them left, rows as ``poses``; only where it has a flip test.
        other: N predictions of the same boxes, NaN where there is none.
        other_features: What that network left.
    """
    shape = (len(poses), len(skeleton.flip_pairs))
    witnesses, doubt = [against_itself(features, skeleton, len(poses))], np.full(shape, DOUBT)
    if other is not None:
        witnesses.append(against_prediction(poses, other, skeleton))
        doubt = side_doubt(poses, other_features, skeleton)
    heard = np.stack(witnesses)
    raw = np.where(np.isnan(heard).all(axis=0), np.nan, np.nansum(heard, axis=0))
    pairs = bounded(raw, doubt)
    speaking = np.nan_to_num(np.abs(raw)) >= SAYS
    count = speaking.sum(axis=1)
    # Pairs do not err one by one: a person mirrored by the network is mirrored in all of them at once.
    together = bounded(_sum(np.where(speaking, raw, np.nan)), _mean(np.where(speaking, doubt, np.nan)))
    agreeing = np.divide((speaking & (raw > 0)).sum(axis=1), count, out=np.full(len(poses), np.nan), where=count > 0)
    whole = np.where(count > 0, together + facing(poses, skeleton), np.nan)
    members = [list(limb.pairs) for limb in limbs(skeleton)]
    found = [_limb(raw[:, m], doubt[:, m]) for m in members]
    by_limb = np.stack(found, axis=1) if found else np.empty((len(poses), 0))
    return MirrorEvidence(pairs, by_limb, whole, agreeing, count)


def against_prediction(poses: Poses, other: Poses, skeleton: Skeleton) -> Floats:
    """(N, P) how much better each pair fits a prediction of the same box with its sides changed, in nats.

    Every keypoint is normally distributed about its prediction, with COCO's spread for the keypoint and the pose's area
    times ``WIDER``, or, in ``MISS`` of all cases, anywhere: KS is the normal density without its constant.
    """
    pair = pair_array(skeleton)
    mine, theirs = placed(poses)[:, pair], placed(other)[:, pair]
    spread = similarity_area(poses)[:, None, None] * (2 * WIDER * np.array(skeleton.sigmas)[pair]) ** 2
    straight = _fit(mine, theirs, spread)
    changed = _fit(mine, theirs[:, :, ::-1], spread)
    return changed - straight


def against_itself(features: Features | None, skeleton: Skeleton, count: int) -> Floats:
    """(N, P) how much the network's own flip test speaks for changed sides, in nats; NaN without one.

    Predicted in the mirrored image and turned back, a keypoint should come out at its own place (``flip_ks``) and not
    at its partner's (``swap_ks``). ``other_side``, where the heatmaps left it, is how high the map of the one side
    stands at the peak of the other.
    """
    pair = pair_array(skeleton)
    if features is None or "flip_ks" not in features or "swap_ks" not in features:
        return np.full((count, len(pair)), np.nan)
    flip, swap = (np.asarray(features[name], np.float64)[:, pair] for name in ("flip_ks", "swap_ks"))
    return np.log((swap + MISS) / (flip + MISS)).mean(axis=2)


def side_doubt(poses: Poses, features: Features | None, skeleton: Skeleton) -> Floats:
    """(N, P) probability that a network took the left of a pair for its right.

    Most people whom networks mirror are seen from behind. Where the poses tell who shows the face, the doubt starts
    from ``SEEN_DOUBT`` or ``UNSEEN_DOUBT``, else from ``DOUBT``. It doubles with every tenth of KS by which the flip
    test disagrees, and is half the square of how high the heatmap stands at the partner's peak (``other_side``) at
    least.

    Args:
        poses: N poses to be judged: who shows the face, which is the same whether they are mirrored or not.
        features: What the network left, rows as ``poses``; None where nothing is known.
        skeleton: Of the poses.
    """
    pair, seen = pair_array(skeleton), face_seen(poses, skeleton)
    start = np.full(len(poses), DOUBT) if seen is None else np.where(seen, SEEN_DOUBT, UNSEEN_DOUBT)
    doubt = np.repeat(start[:, None], len(pair), axis=1)
    if features is not None and "flip_ks" in features and len(pair):
        agrees = _mean(np.asarray(features["flip_ks"], np.float64)[:, pair.ravel()])
        doubt *= 2.0 ** (10 * (1 - np.nan_to_num(agrees, nan=1.0)))[:, None]
    if features is not None and "other_side" in features:
        other = np.asarray(features["other_side"], np.float64)[:, pair].mean(axis=2)
        doubt = np.fmax(doubt, other**2 / 2)
    return np.clip(doubt, 0.0, 0.5)


def face_seen(poses: Poses, skeleton: Skeleton) -> NDArray[np.bool_] | None:
    """(N,) people of whom nose and both eyes are visible; None where the poses do not tell.

    They do not where the skeleton has no such keypoints, and where everybody is said to show the face: then visibility
    was not labelled.
    """
    if not set(_FACE) <= set(skeleton.keypoints) or not len(poses):
        return None
    said = poses.visibility[:, [skeleton.index(name) for name in _FACE]]
    seen = (said == Visibility.VISIBLE).all(axis=1)
    return None if seen.all() else seen


def facing(poses: Poses, skeleton: Skeleton) -> Floats:
    """(N,) what the face says of changed sides, in nats: ``FACE`` at most, 0 where it is not seen.

    Whoever shows nose and both eyes is seen from the front. Looking at a face, with the shoulders below the eyes, its
    left eye is to the right. The nearer to one another the eyes are in the image, the less this says.
    """
    seen, names = face_seen(poses, skeleton), (*_FACE[1:], "left_shoulder", "right_shoulder")
    if seen is None or not set(names) <= set(skeleton.keypoints):
        return np.zeros(len(poses))
    left, right, *shoulders = np.moveaxis(placed(poses)[:, [skeleton.index(name) for name in names]], 1, 0)
    across, down = left - right, (shoulders[0] + shoulders[1] - left - right) / 2
    turn = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    usual = EYES * np.maximum((down**2).sum(axis=1), 1e-9)
    return np.where(seen & np.isfinite(turn), -FACE * np.tanh(turn / usual), 0.0)


def repair_mirrored(poses: Poses, rows: NDArray[np.bool_] | NDArray[np.intp], skeleton: Skeleton) -> Poses:
    """The poses with left and right of these rows changed back: place, score, presence, visibility, doubt and origin.

    Args:
        poses: N poses.
        rows: Which of them, as indices or (N,) mask.
        skeleton: Says which keypoints are pairs.
    """
    chosen = np.zeros(len(poses), bool)
    chosen[rows] = True
    source = np.where(chosen[:, None], np.array(skeleton.flip), np.arange(poses.num_keypoints))
    row = np.arange(len(poses))[:, None]
    names = ("xy", "score", "presence", "visibility", "p_gross", "origin")
    return poses.replace(**{name: getattr(poses, name)[row, source] for name in names})


def placed(poses: Poses) -> Floats:
    """(N, K, 2) places of the keypoints that are said to be in the image, NaN elsewhere."""
    return np.where((poses.visibility == Visibility.ABSENT)[..., None], np.nan, poses.xy.astype(np.float64))


def bounded(evidence: Floats, doubt: Floats) -> Floats:
    """Evidence in nats from a witness who says the opposite of the truth with probability ``doubt``."""
    odds = np.exp(np.clip(evidence, -MOST, MOST))
    return np.log((1 - doubt) * odds + doubt) - np.log((1 - doubt) + doubt * odds)


def _fit(mine: Floats, theirs: Floats, spread: Floats) -> Floats:
    """(N, P) log density of both keypoints of each pair; NaN where one is missing."""
    squared = ((mine - theirs) ** 2).sum(axis=-1)
    return np.log((1 - MISS) * np.exp(-squared / (2 * spread)) + MISS).sum(axis=-1)


def _limb(raw: Floats, doubt: Floats) -> Floats:
    """(N,) evidence of the pairs of a limb that speak for changed sides, NaN where none says anything."""
    speaking = np.nan_to_num(np.abs(raw)) >= SAYS
    together = _sum(np.where(speaking & (raw > 0), raw, np.nan))
    evidence = bounded(np.nan_to_num(together), _mean(doubt))
    return np.where(speaking.any(axis=1), evidence, np.nan)


def _sum(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return np.where(known.any(axis=1), np.where(known, values, 0.0).sum(axis=1), np.nan)


def _mean(values: Floats) -> Floats:
    count = (~np.isnan(values)).sum(axis=1)
    return np.divide(np.nan_to_num(_sum(values)), count, out=np.full(len(values), np.nan), where=count > 0)
