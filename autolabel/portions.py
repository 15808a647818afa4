"""Which measurement a randomly drawn pose serves: development, calibration or the gate; never two of them.

A calibrator is fitted on some checked poses, thresholds are chosen on others, and a new network is let pass by a third
set. A number that was chosen by looking at poses looks too good on these very poses, and on whatever repeats them. So
whole united groups (:mod:`autolabel.split`: near-duplicates and the frames of a video) are dealt, always in the same
way, whatever round draws them. The audit is a fourth set: it is drawn from the accepted poses, which are open, while
poses of the other sets are settled by the time that it is drawn.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ConfigError
from autolabel.split import parse_shares, split_groups

KINDS = ("development", "calibration", "gate")
"""``development`` chooses what to accept, ``calibration`` fits the calibrator, ``gate`` compares networks."""

PORTIONS = "development=0.25,calibration=0.5,gate=0.25"

_SEED = 0
"""One for all rounds: what a group serves must not change from round to round."""


def parse_portions(text: str) -> dict[str, float]:
    """Shares of the portions as a user writes them, such as :data:`PORTIONS`.

    Raises:
        ConfigError: They are written otherwise, do not add up to 1, or name an unknown portion.
    """
    shares = parse_shares(text)
    if unknown := [name for name in shares if name not in KINDS]:
        raise ConfigError(f"{unknown[0]!r} is not one of: {', '.join(KINDS)}", subject="portions")
    return shares


def deal(groups: NDArray[np.uint64], shares: Mapping[str, float]) -> NDArray[np.object_]:
    """The portion of each image.

    Where there are fewer groups than portions, nothing can be kept apart: then every image serves the calibration, or
    the largest portion where no calibration was asked for.

    Args:
        groups: (N,) united groups, from :func:`autolabel.split.united_groups`.
        shares: From :func:`parse_portions`.

    Returns:
        (N,) names.
    """
    if len(np.unique(groups)) < len(shares):
        alone = "calibration" if "calibration" in shares else max(shares, key=lambda name: shares[name])
        return np.full(len(groups), alone, object)
    return np.array(list(shares), object)[split_groups(groups, shares, _SEED)]
