"""The calibrator as a value: what was fitted, in a file, and what it says about poses.

How it is fitted is told in :mod:`autolabel.calibration`. It is valid for one network, predicted with in one way, and
refuses anything else.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autolabel.curves import Curves
from autolabel.errors import ConfigError, InputError
from autolabel.evidence import (
    KEYPOINT_COLUMNS,
    POSE_COLUMNS,
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
from autolabel.manifest import write_text
from autolabel.monotone import Ranker, Trees
from autolabel.novelty import Novelty
from autolabel.pose_prior import PosePrior
from autolabel.poses import Poses, Visibility
from autolabel.prediction_record import Predicted
from autolabel.settings import Settings
from autolabel.skeleton import Skeleton

_SHOWN = 12
"""Characters of a digest that errors show."""

_OWN = frozenset(("bones", "residual"))
"""Evidence that needs no features: poses tell it."""


@dataclass(frozen=True, eq=False)
class Doubt:
    """What a calibrator says about N poses.

    Attributes:
        p_gross: (N, K) probability that the keypoint is gross.
        p_bad: (N,) probability that the pose is bad.
        error: (N, K) expected distance from the truth in pixels; NaN where the keypoint is said to be absent.
        known: Evidence by name, as :func:`autolabel.evidence.compared` gives it; what reasons are made from.
    """

    p_gross: Floats
    p_bad: Floats
    error: Floats
    known: Mapping[str, NDArray[Any]]


class Calibrator(Settings):
    """The score model: fitted on checked poses, stored as JSON.

    Attributes:
        kind: What kind of file this is.
        predicted: How the poses were predicted that it was fitted on.
        skeleton: Fingerprint of their skeleton.
        poses: How many there were.
        bad: How many of them were bad.
        without: Evidence that was left out on request.
        keypoint_columns: Inputs of the keypoint and error models.
        pose_columns: Inputs of the pose model.
        keypoint: Log-odds of gross.
        keypoint_curves: To ``p_gross``.
        pose: Log-odds of bad.
        pose_curves: To ``p_bad``.
        error: Expected error, as a share of the person's size.
        error_base: Added to it.
        posture: What is known of bones and postures.
        familiarity: What is known of appearances.
        usual: By evidence, (K,) how far it goes for nine of ten keypoints that are right, None where too few are known;
            what goes further is a reason to name.
        held_out: (N, 2) what was said of each of the N poses by models that had not seen it, and whether it was bad.
    """

    kind: Literal["autolabel-calibrator-2"] = "autolabel-calibrator-2"
    predicted: Predicted
    skeleton: str
    poses: int
    bad: int
    without: tuple[str, ...] = ()
    keypoint_columns: tuple[str, ...]
    pose_columns: tuple[str, ...]
    keypoint: Ranker
    keypoint_curves: Curves
    pose: Ranker
    pose_curves: Curves
    error: Trees
    error_base: float
    posture: PosePrior | None = None
    familiarity: Novelty | None = None
    usual: dict[str, tuple[float | None, ...]] = Field(default_factory=dict[str, tuple[float | None, ...]])
    held_out: tuple[tuple[float, bool], ...] = ()

    @property
    def uses(self) -> frozenset[str]:
        """Evidence that its models read."""
        read = {*self.keypoint_columns, *self.pose_columns}
        return frozenset(c.source for c in (*KEYPOINT_COLUMNS, *POSE_COLUMNS) if c.name in read and c.source)

    @property
    def usual_limits(self) -> dict[str, Floats]:
        """``usual`` as arrays, NaN where it is not known."""
        return {name: np.array(limits, np.float64) for name, limits in self.usual.items()}

    def to_json(self) -> str:
        """The content of its file."""
        return self.model_dump_json(indent=1) + "\n"

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
        if str(cast("dict[str, Any]", data).get("kind", "")) == "autolabel-calibrator-1":
            raise ConfigError(
                "is a calibrator of an older version", subject=str(path), remedy="Fit it again: `autolabel calibrate`."
            )
        return cls.parse(cast("dict[str, Any]", data), subject=str(path))

    def require_fits(self, predicted: Predicted, skeleton: Skeleton, features: Collection[str]) -> None:
        """Refuse poses of another network, of another way to predict, or without the evidence it reads.

        Raises:
            InputError: They are; says in what they differ.
        """
        differs = [
            f"{name.replace('_', ' ')} {said(mine)}, these {said(theirs)}"
            for name, mine in self.predicted
            if name != "device" and mine != (theirs := getattr(predicted, name))
        ]
        if skeleton.fingerprint != self.skeleton:
            differs.insert(0, "another skeleton")
        if missing := sorted(self.uses - _OWN - set(features)):
            differs.append(f"features that these lack: {', '.join(missing)}")
        if differs:
            unjudged = self.predicted.quality and not predicted.quality
            judge = "Predict with --quality and the head that was trained with it. " if unjudged else ""
            raise InputError(
                f"was fitted for {'; '.join(differs)}",
                subject="calibrator",
                remedy=f"{judge}Fit one on poses of this network, predicted in this way: `autolabel calibrate`. "
                "Or --force: then p_bad is a ranking, and no probability.",
            )


def said(value: object) -> str:
    """A setting in words."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value in ("", None) else str(value)[:_SHOWN]


def doubt(calibrator: Calibrator, poses: Poses, features: Features, skeleton: Skeleton) -> Doubt:
    """What the calibrator says, whatever it was fitted for: ask :meth:`Calibrator.require_fits` first.

    Args:
        calibrator: The models.
        poses: N predicted poses.
        features: Their features.
        skeleton: Of the poses.
    """
    known = compared(poses, features, Experience(calibrator.posture, calibrator.familiarity))
    x = keypoint_evidence(poses, known, skeleton)[..., places(KEYPOINT_COLUMNS, calibrator.keypoint_columns)]
    flat, shape = x.reshape(-1, x.shape[-1]), x.shape[:2]
    odds = calibrator.keypoint(flat)
    sizes = log_size(poses)
    group = np.broadcast_to(pairs(skeleton), shape).ravel()
    p_gross = calibrator.keypoint_curves(odds, group, np.repeat(sizes, shape[1])).reshape(shape)
    pose_x = pose_evidence(poses, known, odds.reshape(shape))[:, places(POSE_COLUMNS, calibrator.pose_columns)]
    p_bad = calibrator.pose_curves(calibrator.pose(pose_x), np.zeros(len(poses), np.intp), sizes)
    share = np.maximum(calibrator.error(flat).reshape(shape) + calibrator.error_base, 0.0)
    absent = poses.visibility == Visibility.ABSENT
    return Doubt(p_gross, p_bad, np.where(absent, np.nan, share * side_of(poses)[:, None]), known)


def places(all_columns: Sequence[Column], names: Sequence[str]) -> list[int]:
    """Where in all columns the named ones stand."""
    place = {column.name: i for i, column in enumerate(all_columns)}
    return [place[name] for name in names]


def side_of(poses: Poses) -> Floats:
    """(N,) longer side of each box, pixels."""
    return np.exp(log_size(poses))
