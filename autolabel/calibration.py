"""Fitting a calibrator: from evidence to the probability that a keypoint is gross, and that a pose is bad.

Three models share one file. The *keypoint model* ranks keypoints by evidence (:mod:`autolabel.evidence`) with a
monotone logistic regression and boosted trees (:mod:`autolabel.monotone`); curves by kind of keypoint and size of the
person make ``p_gross`` of its log-odds (:mod:`autolabel.curves`). The *pose model* does the same for ``p_bad``,
which is no product over keypoints: their errors hang together. The *error model* expects a distance in pixels.

Whatever is fitted on top of a model sees only what that model says about poses of images that it was not fitted on.
The same holds for comparisons with checked poses: a pose is never compared with itself.
"""

from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autolabel.calibrator import Calibrator, places, side_of
from autolabel.curves import fit_curves
from autolabel.errors import InputError
from autolabel.evidence import (
    KEYPOINT_COLUMNS,
    POSE_COLUMNS,
    SOURCES,
    Column,
    Experience,
    Features,
    Floats,
    compared,
    keypoint_evidence,
    log_size,
    pairs,
    pose_evidence,
)
from autolabel.monotone import fit_ranker, fit_regression
from autolabel.novelty import Novelty, fit_novelty
from autolabel.pose_prior import PosePrior, fit_prior
from autolabel.poses import Poses, Visibility
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton

Bools = NDArray[np.bool_]

MIN_BAD = 5
"""A calibrator needs at least this many bad poses, and as many good ones."""

FOLDS = 5
KNOWN_SHARE = 0.02
"""A column of which less is known is left out."""

USUAL = 0.9
"""Share of the keypoints that are right whose evidence is called usual."""

_LEAST_RIGHT = 20
_OF_POSES = frozenset(("novelty",))

_LARGEST_ERROR = 1.0
"""Of a keypoint, as a share of the person's size: beyond that, wrong is wrong."""


class Judged(Protocol):
    """Predicted poses and what the truth says about them: :class:`pipelines.check.Checked`."""

    @property
    def poses(self) -> Poses:
        """N poses."""
        ...

    @property
    def features(self) -> Features:
        """Their features."""
        ...

    @property
    def truth(self) -> Floats:
        """(N, K, 2) true places, NaN where unknown."""
        ...

    @property
    def gross(self) -> Bools:
        """(N, K) gross keypoints."""
        ...

    @property
    def scored(self) -> Bools:
        """(N, K) keypoints that the truth says something about."""
        ...

    @property
    def bad(self) -> Bools:
        """(N,) bad poses."""
        ...

    @property
    def error(self) -> Floats:
        """(N, K) pixels from the truth, NaN where unknown."""
        ...

    @property
    def group(self) -> NDArray[np.intp]:
        """(N,) poses of one group are never on both sides of a fold."""
        ...


def fit(
    checked: Judged,
    *,
    skeleton: Skeleton,
    predicted: Predicted,
    seed: int = 0,
    without: Collection[str] = (),
) -> Calibrator:
    """Fit all models on checked poses.

    Args:
        checked: Poses predicted by one network in one way, none of which it was trained on.
        skeleton: Of the poses.
        predicted: How they were predicted.
        seed: Of the folds and the trees.
        without: Evidence to leave out, by name.

    Raises:
        InputError: Too few checked poses, or too few of one kind; poses without a prediction; unknown evidence.
    """
    require_enough(checked)
    if unknown := sorted(set(without) - set(SOURCES)):
        raise InputError(f"no such evidence: {unknown[0]}", remedy=f"There is {', '.join(SOURCES)}.")
    features = {name: values for name, values in checked.features.items() if name not in without}
    fold = _folds(checked.group, checked.bad, seed)
    experience = _experience(checked, features, skeleton, np.ones(len(fold), bool), seed, without)
    known = _compared_out_of_fold(checked, features, skeleton, fold, seed, without)

    keypoint_x = keypoint_evidence(checked.poses, known, skeleton)
    columns = _usable(KEYPOINT_COLUMNS, keypoint_x[checked.scored], without)
    x = keypoint_x[..., places(KEYPOINT_COLUMNS, columns)]
    directions = _directions(KEYPOINT_COLUMNS, columns)
    rows, row_fold = checked.scored, np.repeat(fold[:, None], x.shape[1], axis=1)
    keypoint, odds_held = fit_ranker(columns, x[rows], checked.gross[rows], directions, row_fold[rows], seed=seed)
    sizes = log_size(checked.poses)
    group = np.broadcast_to(pairs(skeleton), rows.shape)
    row_size = np.repeat(sizes[:, None], x.shape[1], axis=1)
    curves = fit_curves(odds_held, checked.gross[rows], group[rows], row_size[rows], groups=int(group.max()) + 1)
    odds = keypoint(x.reshape(-1, x.shape[-1])).reshape(rows.shape)
    odds[rows] = odds_held  # of the others the truth says nothing, and the model has not seen them either

    pose_x = pose_evidence(checked.poses, known, odds)
    pose_columns = _usable(POSE_COLUMNS, pose_x, without)
    pose_x = pose_x[:, places(POSE_COLUMNS, pose_columns)]
    pose_directions = _directions(POSE_COLUMNS, pose_columns)
    pose, pose_held = fit_ranker(pose_columns, pose_x, checked.bad, pose_directions, fold, seed=seed)
    one = np.zeros(len(fold), np.intp)
    pose_curves = fit_curves(pose_held, checked.bad, one, sizes, groups=1)

    share = np.minimum(checked.error / side_of(checked.poses)[:, None], _LARGEST_ERROR)
    measured = np.isfinite(share) & (checked.poses.visibility != Visibility.ABSENT)
    error, base = fit_regression(x[measured], share[measured], directions, seed=seed)
    p_held = np.empty(len(fold))
    for i in np.unique(fold).tolist():  # by curves that have not seen the fold either
        held = fold == i
        others = fit_curves(pose_held[~held], checked.bad[~held], one[~held], sizes[~held], groups=1)
        p_held[held] = others(pose_held[held], one[held], sizes[held])
    return Calibrator(
        predicted=predicted,
        skeleton=skeleton.fingerprint,
        poses=len(fold),
        bad=int(checked.bad.sum()),
        without=tuple(sorted(without)),
        keypoint_columns=columns,
        pose_columns=pose_columns,
        keypoint=keypoint,
        keypoint_curves=curves,
        pose=pose,
        pose_curves=pose_curves,
        error=error,
        error_base=base,
        posture=experience.posture if isinstance(experience.posture, PosePrior) else None,
        familiarity=experience.familiarity if isinstance(experience.familiarity, Novelty) else None,
        usual=_usual(keypoint_x, checked),
        held_out=tuple((round(float(p), 6), bool(y)) for p, y in zip(p_held, checked.bad, strict=True)),
    )


def require_enough(checked: Judged) -> None:
    """Refuse poses that nothing can be learnt from.

    Raises:
        InputError: Too few of them, too few of one kind, or the truth says nothing.
    """
    bad = checked.bad
    if min(int(bad.sum()), int((~bad).sum())) < MIN_BAD:
        raise InputError(
            f"{len(bad)} checked poses with {bad.sum()} bad ones are too few to fit a calibrator",
            remedy=f"It takes {MIN_BAD} bad and {MIN_BAD} good poses at least, a hundred of each to be useful. "
            "Until then `autolabel score` ranks without a calibrator.",
        )
    if not checked.scored.any():
        raise InputError("the truth says nothing about any keypoint", subject="calibrate")


def _folds(group: NDArray[np.intp], bad: Bools, seed: int) -> NDArray[np.intp]:
    """(N,) folds that part no group, with about as many bad poses in each."""
    names, member = np.unique(group, return_inverse=True)
    share = np.bincount(member, bad) / np.bincount(member)
    order = np.lexsort((np.random.default_rng(seed).random(len(names)), share > 0))
    place = np.empty(len(names), np.intp)
    place[order] = np.arange(len(names)) % FOLDS
    return place[member]


def _experience(
    checked: Judged, features: Features, skeleton: Skeleton, rows: Bools, seed: int, without: Collection[str]
) -> Experience:
    """What is learnt from the checked poses at ``rows``."""
    embedding = features.get("embedding")
    familiar = None
    if embedding is not None and "novelty" not in without:
        familiar = fit_novelty(embedding[rows], seed=seed)
    if {"bones", "residual"} <= set(without):
        return Experience(None, familiar)
    true = np.asarray(checked.truth[rows], np.float32)
    placed = np.isfinite(true).all(axis=-1)
    poses = Poses.create(
        skeleton.num_keypoints,
        xy=true,
        visibility=np.where(placed, Visibility.VISIBLE, Visibility.UNLABELLED),
        box=checked.poses.box[rows],
    )
    return Experience(fit_prior(poses, skeleton), familiar)


def _compared_out_of_fold(
    checked: Judged,
    features: Features,
    skeleton: Skeleton,
    fold: NDArray[np.intp],
    seed: int,
    without: Collection[str],
) -> dict[str, NDArray[Any]]:
    """The evidence on each pose, compared with checked poses of other folds only."""
    known = dict(features)
    for i in np.unique(fold).tolist():
        held = fold == i
        experience = _experience(checked, features, skeleton, ~held, seed, without)
        mine = {name: values[held] for name, values in features.items()}
        for name, values in compared(checked.poses.take(held), mine, experience).items():
            if name not in features and name not in without:
                full = known.setdefault(name, np.full((len(fold), *values.shape[1:]), np.nan))
                full[held] = values
    return known


def _usual(x: Floats, checked: Judged) -> dict[str, tuple[float | None, ...]]:
    """How far each evidence goes for keypoints (N, K, F) that are right, in the direction of doubt."""
    right = checked.scored & ~checked.gross
    found: dict[str, tuple[float | None, ...]] = {}
    for i, column in enumerate(KEYPOINT_COLUMNS):
        if column.name == column.source and column.direction and column.name not in _OF_POSES:
            values = np.where(right, x[..., i], np.nan) * column.direction
            limits = [_quantile(values[:, k], USUAL) for k in range(x.shape[1])]
            found[column.name] = tuple(None if v is None else round(v * column.direction, 6) for v in limits)
    return found


def _quantile(values: Floats, share: float) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) >= _LEAST_RIGHT else None


def _usable(all_columns: Sequence[Column], x: Floats, without: Collection[str]) -> tuple[str, ...]:
    """Names of the columns that say anything: known here and there, and not always the same."""
    finite = np.isfinite(x)
    known = finite.mean(axis=0) >= KNOWN_SHARE
    low = np.where(finite, x, np.inf).min(axis=0)
    high = np.where(finite, x, -np.inf).max(axis=0)
    varies = known & (high > low)
    learnt = varies & np.array([c.learnt and c.source not in without for c in all_columns], bool)
    return tuple(c.name for c, some in zip(all_columns, learnt, strict=True) if some)


def _directions(all_columns: Sequence[Column], names: Sequence[str]) -> list[int]:
    return [all_columns[i].direction for i in places(all_columns, names)]
