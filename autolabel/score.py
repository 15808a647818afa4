"""Doubt: from what the network computed about a pose to the probability that it is wrong.

Two probabilities come out: ``p_gross`` for each keypoint and ``p_bad`` for the pose, as ``autolabel.similarity``
defines gross and bad. They come from a *prior* as long as nobody has checked a pose (a ranking on a scale of 0 to 1
that is no probability, and is marked so), and from a :class:`Calibrator` fitted on checked poses after that.

A pose's ``p_bad`` is not a product over its keypoints: their errors hang together, so it has a model of its own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator
from scipy.special import expit  # pyright: ignore[reportMissingTypeStubs]  # it has none

from autolabel.errors import ConfigError, InputError
from autolabel.manifest import write_text
from autolabel.poses import Poses, Visibility
from autolabel.settings import Settings

Floats = NDArray[np.float64]

KEYPOINT_FEATURES = ("peak", "flip_peak", "flip_ks", "swap_ks", "absent", "absent_peak", "log_size")
POSE_FEATURES = ("mean_doubt", "worst_doubt", "second_doubt", "third_doubt", "absent_share", "edge", "log_size")

MIN_BAD = 5
"""A calibrator needs at least this many bad poses, and as many good ones."""

MIN_SPREAD = 1e-6
"""An input that varies less than this is a constant, and is not blown up to unit variance."""

FOLDS = 5
BINS = 10
CURVE_POINTS = 50


class Logistic(Settings):
    """A logistic regression as data: p = 1 / (1 + exp(-(b + w · (x - mean) / scale))).

    Attributes:
        names: (F,) of the inputs.
        mean: (F,) subtracted.
        scale: (F,) divided by.
        weights: (F,).
        bias: Of the sum.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    @model_validator(mode="after")
    def _consistent(self) -> "Logistic":
        lengths = {len(self.names), len(self.mean), len(self.scale), len(self.weights)}
        if len(lengths) > 1 or min(self.scale, default=1.0) <= 0:
            raise ValueError("names, mean, scale and weights must be equally many, and every scale positive")
        return self

    def __call__(self, x: Floats) -> Floats:
        """(..., F) inputs to (...) probabilities."""
        z = (x - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(expit(z @ np.array(self.weights) + self.bias))


class Calibrator(Settings):
    """The score model: fitted on checked poses, stored as JSON, valid for the network it was fitted for.

    Attributes:
        kind: What kind of file this is.
        model: Digest prefix of the network whose poses it was fitted on (``Poses.by``).
        flip_test: Whether those were predicted with a flip test.
        larger_crop: Whether people were looked at again in a larger crop where theirs seemed to cut a keypoint off.
        poses: How many checked poses it was fitted on.
        bad: How many of them were bad.
        keypoint: Gives ``p_gross``.
        pose: Gives ``p_bad``.
    """

    kind: Literal["autolabel-calibrator-1"] = "autolabel-calibrator-1"
    model: str
    flip_test: bool
    larger_crop: bool = False
    poses: int
    bad: int
    keypoint: Logistic
    pose: Logistic

    @model_validator(mode="after")
    def _known_inputs(self) -> "Calibrator":
        if self.keypoint.names != KEYPOINT_FEATURES or self.pose.names != POSE_FEATURES:
            raise ValueError("it was fitted on other inputs than this version computes: fit it again")
        return self

    def to_json(self) -> str:
        """The content of its file."""
        return self.model_dump_json(indent=2) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the JSON file."""
        write_text(Path(path), self.to_json())

    @classmethod
    def read(cls, path: str | Path) -> "Calibrator":
        """Read the JSON file.

        Raises:
            ConfigError: There is none, or it is no calibrator.
        """
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot be read: {error}", subject=str(path)) from error
        if not isinstance(data, dict):
            raise ConfigError("is not a calibrator", subject=str(path))
        return cls.parse(cast("dict[str, Any]", data), subject=str(path))

    def require_fits(self, model: str, features: Mapping[str, Any]) -> None:
        """Refuse poses of another network, or of another way to predict.

        Raises:
            InputError: They are.
        """
        own, other = (self.flip_test, self.larger_crop), _looks(features)
        if model != self.model or other != own:
            raise InputError(
                f"was fitted for network {self.model} {_said(*own)}, "
                f"these poses are of {model or 'no network'} {_said(*other)}",
                subject="calibrator",
                remedy="Fit one on poses of this network: `autolabel calibrate`.",
            )


def keypoint_features(poses: Poses, features: Mapping[str, NDArray[Any]]) -> Floats:
    """(N, K, F) inputs of the keypoint model, in the order of ``KEYPOINT_FEATURES``.

    Without a flip test the agreement features are constant, so that they carry no weight.
    """
    peak = _known(features["peak"], 0.0)
    absent = (poses.visibility == Visibility.ABSENT).astype(np.float64)
    columns = {
        "peak": peak * (1 - absent),
        "flip_peak": _known(features.get("flip_peak", features["peak"]), 0.0) * (1 - absent),
        "flip_ks": _agreement(features, "flip_ks", poses) * (1 - absent) + absent,
        "swap_ks": _agreement(features, "swap_ks", poses) * (1 - absent),
        "absent": absent,
        "absent_peak": peak * absent,
        "log_size": np.broadcast_to(_log_size(poses)[:, None], peak.shape),
    }
    return np.stack([columns[name] for name in KEYPOINT_FEATURES], axis=-1)


def prior(poses: Poses, features: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
    """Doubt before anything was checked: a ranking, not a probability.

    A keypoint is doubted as its peak is low and as the mirrored image disagrees, by the geometric mean of the two;
    one said to be absent, as its map is not empty. A pose is doubted by its second most doubtful keypoint, because
    one gross keypoint does not make a pose bad and two do, or by the mean where that is higher.

    Args:
        poses: N poses.
        features: Their features; without a flip test the peaks alone count.

    Returns:
        (N, K) and (N,) in 0..1.
    """
    x = dict(zip(KEYPOINT_FEATURES, np.moveaxis(keypoint_features(poses, features), -1, 0), strict=True))
    sure = np.sqrt(np.clip(x["peak"], 0, 1) * np.clip(x["flip_ks"], 0, 1))
    doubt = np.where(x["absent"] > 0, np.clip(2 * x["absent_peak"], 0, 1), 1 - sure)
    return doubt, np.maximum(_largest(doubt, 2), doubt.mean(axis=1))


def pose_features(poses: Poses, p_gross: Floats, sizes: ArrayLike) -> Floats:
    """(N, F) inputs of the pose model, in the order of ``POSE_FEATURES``.

    Args:
        poses: N poses.
        p_gross: (N, K) from the keypoint model.
        sizes: (N, 2) width and height of each pose's image.
    """
    # Log-odds, so that the sum in the logistic has no floor: probabilities near 0 all look alike to it.
    doubt = _log_odds(p_gross)
    absent = (poses.visibility == Visibility.ABSENT).mean(axis=1)
    size = np.asarray(sizes, np.float64)
    edge = np.minimum(poses.box[:, :2], size - 1 - poses.box[:, 2:]).min(axis=1) < 2
    columns = {
        "mean_doubt": doubt.mean(axis=1),
        "worst_doubt": _largest(doubt, 1),
        "second_doubt": _largest(doubt, 2),
        "third_doubt": _largest(doubt, 3),
        "absent_share": absent,
        "edge": edge.astype(np.float64),
        "log_size": _log_size(poses),
    }
    return np.stack([columns[name] for name in POSE_FEATURES], axis=-1)


def score(poses: Poses, features: Mapping[str, NDArray[Any]], sizes: ArrayLike, calibrator: Calibrator | None) -> Poses:
    """The poses with ``p_gross`` and ``p_bad``; those without a prediction keep what they had.

    Args:
        poses: N predicted poses.
        features: Their features, from ``predict``.
        sizes: (N, 2) width and height of each pose's image.
        calibrator: None for the prior.

    Raises:
        InputError: The features lack the peaks, or the calibrator was fitted for something else.
    """
    known = predicted(features)
    if calibrator is None:
        p_gross, p_bad = prior(poses, features)
    else:
        for model in set(poses.by[known].tolist()):
            calibrator.require_fits(model, features)
        p_gross = calibrator.keypoint(keypoint_features(poses, features))
        p_bad = calibrator.pose(pose_features(poses, p_gross, sizes))
    return poses.replace(
        p_gross=np.where(known[:, None], p_gross, poses.p_gross),
        p_bad=np.where(known, p_bad, poses.p_bad),
    )


def predicted(features: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """(N,) poses that the network said something about: their image could be read and they have a box.

    Raises:
        InputError: The features lack the peaks.
    """
    if "peak" not in features:
        raise InputError("no features to score by", remedy="Give the manifest that `autolabel predict` wrote.")
    return np.asarray(np.isfinite(features["peak"]).all(axis=1))


def fit_calibrator(
    poses: Poses,
    features: Mapping[str, NDArray[Any]],
    sizes: ArrayLike,
    *,
    gross: NDArray[np.bool_],
    scored: NDArray[np.bool_],
    bad: NDArray[np.bool_],
    seed: int = 0,
) -> Calibrator:
    """Fit both models on checked poses.

    The pose model sees the keypoint model's answers for poses that it was *not* fitted on (five folds), as it will
    in use; fitted on its own training poses it would trust it too much.

    Args:
        poses: N poses predicted by one network.
        features: Their features.
        sizes: (N, 2) image sizes.
        gross: (N, K) which keypoints are gross.
        scored: (N, K) of which keypoints the truth says something.
        bad: (N,) which poses are bad.
        seed: Of the folds.

    Raises:
        InputError: Too few checked poses, or too few of one kind; poses without a prediction, or of several networks.
    """
    if not predicted(features).all() or len(set(poses.by.tolist())) > 1:
        raise InputError("a calibrator is fitted on predicted poses of one network")
    if min(bad.sum(), (~bad).sum()) < MIN_BAD:
        raise InputError(
            f"{len(bad)} checked poses with {bad.sum()} bad ones are too few to fit a calibrator",
            remedy=f"It takes {MIN_BAD} bad and {MIN_BAD} good poses at least, a hundred of each to be useful.",
        )
    x = keypoint_features(poses, features)
    fold = np.random.default_rng(seed).permutation(len(poses)) % FOLDS
    p_gross = np.empty(x.shape[:2])
    for i in range(FOLDS):
        held, rest = fold == i, fold != i
        p_gross[held] = _fit(KEYPOINT_FEATURES, x[rest][scored[rest]], gross[rest][scored[rest]])(x[held])
    flip_test, larger_crop = _looks(features)
    return Calibrator(
        model=str(poses.by[0]),
        flip_test=flip_test,
        larger_crop=larger_crop,
        poses=len(poses),
        bad=int(bad.sum()),
        keypoint=_fit(KEYPOINT_FEATURES, x[scored], gross[scored]),
        pose=_fit(POSE_FEATURES, pose_features(poses, p_gross, sizes), bad),
    )


def score_quality(p_bad: ArrayLike, bad: ArrayLike) -> dict[str, Any] | None:
    """Measure doubts against the truth: do they rank, and do they mean what they say?

    Risk against coverage as Geifman and El-Yaniv (NeurIPS 2017) draw it; reliability over bins of equal mass.

    Args:
        p_bad: (N,) doubts; poses without one (NaN) are left out.
        bad: (N,) truth.

    Returns:
        ``auroc_bad``; ``risk_coverage``: pairs of the share of poses kept, the least doubtful first, and the share of
        bad ones among them; ``reliability``: for each bin its mean doubt, its share of bad poses and its size. None
        where all poses are good, or all bad: nothing can be ranked then.
    """
    from sklearn.metrics import roc_auc_score  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    doubt, truth = np.asarray(p_bad, np.float64), np.asarray(bad, bool)
    truth, doubt = truth[np.isfinite(doubt)], doubt[np.isfinite(doubt)]
    if truth.all() or not truth.any():
        return None
    order = np.argsort(doubt, kind="stable")
    risk = np.cumsum(truth[order]) / np.arange(1, len(order) + 1)
    shown = np.linspace(1, len(order), min(CURVE_POINTS, len(order))).round().astype(int) - 1
    return {
        "auroc_bad": float(cast("Any", roc_auc_score)(truth, doubt)),
        "risk_coverage": [[float((i + 1) / len(order)), float(risk[i])] for i in shown],
        "reliability": [
            [float(doubt[rows].mean()), float(truth[rows].mean()), len(rows)]
            for rows in np.array_split(order, min(BINS, len(order)))
        ],
    }


def _fit(names: Sequence[str], x: Floats, y: NDArray[np.bool_]) -> Logistic:
    """Fit (M, F) inputs to (M,) answers, each input standardised, with scikit-learn's unit L2 penalty."""
    from sklearn.linear_model import LogisticRegression  # pyright: ignore[reportMissingTypeStubs]  # it has none

    mean, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > MIN_SPREAD, spread, 1.0)
    if y.all() or not y.any():  # the smoothed base rate, when one of the two answers never occurs
        rate = (y.sum() + 0.5) / (len(y) + 1)
        weights, bias = np.zeros(x.shape[1]), float(np.log(rate / (1 - rate)))
    else:
        fitted = cast("Any", LogisticRegression)(C=1.0, max_iter=1000).fit((x - mean) / scale, y)
        weights, bias = cast("Floats", fitted.coef_[0]), float(fitted.intercept_[0])
    return Logistic(
        names=tuple(names),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(weights.tolist()),
        bias=bias,
    )


def _agreement(features: Mapping[str, NDArray[Any]], name: str, poses: Poses) -> Floats:
    if name in features:
        return _known(features[name], 0.0)
    return np.ones(poses.visibility.shape)


def _known(values: NDArray[Any], default: float) -> Floats:
    return np.nan_to_num(values.astype(np.float64), nan=default)


def _log_size(poses: Poses) -> Floats:
    side = np.nan_to_num((poses.box[:, 2:] - poses.box[:, :2]).max(axis=1, initial=0), nan=1.0)
    return np.log(np.maximum(side, 1.0))


def _log_odds(p: Floats) -> Floats:
    held = np.clip(p, 1e-3, 1 - 1e-3)
    return np.log(held / (1 - held))


def _largest(values: Floats, place: int) -> Floats:
    """(N,) the ``place``-th largest of each row, or the smallest where there are fewer."""
    place = min(place, values.shape[1])
    return np.partition(values, -place, axis=1)[:, -place]


def _looks(features: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether poses with these features were predicted with a flip test, and with larger crops."""
    return "flip_ks" in features, "again" in features


def _said(flip_test: bool, larger_crop: bool) -> str:
    return f"{'with' if flip_test else 'without'} a flip test{' and with larger crops' if larger_crop else ''}"
