"""Which calibrator says how much each pose of a manifest is to be doubted: that of the network that placed it.

Mostly there is one network, and one calibrator or none. Where several networks placed the poses, as in a cascade, what
one is unsure of means nothing to the other's calibrator, so each has its own; poses of a network without one get no
doubt at all, which keeps them from being accepted.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autolabel.calibrator import Calibrator
from autolabel.errors import InputError
from autolabel.poses import Poses
from autolabel.prediction_record import Predicted
from autolabel.run import file_digest
from autolabel.skeleton import Skeleton


@dataclass(frozen=True)
class Share:
    """Poses that one calibrator judges.

    Attributes:
        rows: Which they are, ascending.
        calibrator: None for the prior.
        first: Whether they are of the manifest's first network, whose embeddings the features hold.
    """

    rows: NDArray[np.intp]
    calibrator: Calibrator | None
    first: bool = True


@dataclass(frozen=True)
class Calibrators:
    """The calibrators of a manifest's networks.

    Attributes:
        predicted: How its poses were predicted.
        of: By network. Without any, a prior ranks all poses.
        trusted: Whether all fit, so that what they say are probabilities.
        digest: Of the files; empty without any.
        force: Whether poses of a network without a calibrator are ranked by the first one.
    """

    predicted: Predicted
    of: Mapping[str, Calibrator]
    trusted: bool
    digest: str
    force: bool = False

    @classmethod
    def read(
        cls,
        files: Sequence[str | Path],
        predicted: Predicted,
        skeleton: Skeleton,
        features: Collection[str],
        *,
        force: bool = False,
    ) -> "Calibrators":
        """Read the files, and see whether they fit.

        Args:
            files: What ``calibrate`` wrote, one a network at most.
            predicted: How the poses were predicted.
            skeleton: Of the poses.
            features: Names of what is known of them; where nothing is, there is nothing to fit.
            force: Use a calibrator that was fitted for something else, but never for another skeleton.

        Raises:
            ConfigError: A file is not there, or is no calibrator.
            InputError: One was fitted for another network, skeleton or way to predict, or two for the same network.
        """
        of, trusted = dict[str, Calibrator](), True
        for file in files:
            fitted = Calibrator.read(file)
            its = next((one for one in predicted.each if one.model == fitted.predicted.model), predicted.each[0])
            if its.model in of:
                raise InputError(
                    f"two calibrators for the poses of network {its.model}",
                    subject=str(file),
                    remedy="Give one for each network.",
                )
            trusted &= not features or _fits(fitted, its, skeleton, features, force)
            of[its.model] = fitted
        return cls(predicted, of, trusted, _digest([file_digest(file) for file in files]), force)

    @property
    def silent(self) -> tuple[str, ...]:
        """Networks whose poses get no doubt, because others have a calibrator and they have none."""
        if not self.of or self.force:
            return ()
        return tuple(one.model for one in self.predicted.each if one.model not in self.of)

    def shares(self, poses: Poses) -> Iterator[Share]:
        """Who judges which poses; those that nobody judges are left out.

        Args:
            poses: N poses; of those without a prediction nothing will be said, whoever gets them.

        Raises:
            InputError: Some are of a network that nobody wrote down.
        """
        everyone = np.arange(len(poses))
        if not self.of:
            yield Share(everyone, None)
            return
        said = np.isfinite(poses.score).any(axis=1)
        by = np.where(said, poses.by, self.predicted.model)
        if not self.force:
            self._require_known(by)
        for number, one in enumerate(self.predicted.each):
            mine = by == one.model if number or not self.force else ~np.isin(by, self._others)
            fitted = self.of.get(one.model) or (next(iter(self.of.values())) if self.force else None)
            if fitted is not None:
                yield Share(np.flatnonzero(mine), fitted, first=not number)

    @property
    def _others(self) -> list[str]:
        return [one.model for one in self.predicted.others]

    def _require_known(self, by: NDArray[np.object_]) -> None:
        """Refuse poses of networks that no record is of."""
        known = [one.model for one in self.predicted.each]
        if strangers := sorted(set(by.tolist()) - set(known)):
            raise InputError(
                f"some poses are of {strangers[0] or 'no network'}, others of {known[0]}",
                subject="calibrator",
                remedy="Score the poses of one network at a time.",
            )


def _fits(fitted: Calibrator, its: Predicted, skeleton: Skeleton, features: Collection[str], force: bool) -> bool:
    """Whether a calibrator is for these poses; where it is not, an error unless forced."""
    try:
        fitted.require_fits(its, skeleton, features)
    except InputError:
        if not force or fitted.skeleton != skeleton.fingerprint:
            raise
        return False
    return True


def _digest(digests: Sequence[str]) -> str:
    """One digest of several, whatever their order; of one, its own."""
    if len(digests) < 2:
        return "".join(digests)
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
