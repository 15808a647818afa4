"""Routing: which poses may be accepted unseen, which a person should see, and which are drawn as proof.

Everything is decided from ``p_bad`` before any answer is known, so that the audit is one draw from a frozen set.
Poses that a person settled already are not open and take part in nothing. An open pose without a ``p_bad`` (its image
could not be read, or an expert was asked for) is never accepted, and neither is any other pose of its image.
"""

from collections.abc import Sequence

import numpy as np

from autolabel.propose import POWER, Choice, Indices, Policy, Proposal, nothing, propose, require_promise

__all__ = [
    "POWER",
    "Indices",
    "Order",
    "Policy",
    "Proposal",
    "draw",
    "mixed_priorities",
    "nothing",
    "propose",
    "require_promise",
]


class Order(Choice):
    """Which poses are reviewed first."""

    DOUBT = "doubt"
    RANDOM = "random"
    CLEAN = "clean"
    """Most expected errors a second of a person's time."""
    LEARN = "learn"
    """Doubtful, and unlike what people have seen."""


def draw(candidates: Indices, count: int, rng: np.random.Generator) -> Indices:
    """``count`` rows, or all where there are fewer, drawn uniformly without replacement; ascending."""
    return np.sort(rng.choice(candidates, size=min(count, len(candidates)), replace=False))


def mixed_priorities(reviewed: Sequence[float], drawn: int, rng: np.random.Generator) -> list[float]:
    """Priorities for drawn tasks, taken from the ordinary ones' values, so that their place tells nothing.

    Returns:
        ``drawn`` numbers; evenly spread where there are no ordinary tasks.
    """
    if not reviewed:
        return rng.random(drawn).tolist()
    return rng.choice(np.asarray(reviewed, np.float64), size=drawn, replace=True).tolist()
