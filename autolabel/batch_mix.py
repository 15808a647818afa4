"""What a round's batches are made of: shares of corrections, replay and accepted poses, with a cap on the hard ones.

Poses that were opened because they were doubted are no fair sample of the corpus: a network that sees little else gets
worse on the poses that nobody doubts, and its doubts lose their scale. Their share of every batch is capped. What is
above the cap goes to everything else in proportion to its poses, so that each of those comes up more often by as much.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mix:
    """One number for each kind of pose: how many there are, or their share of every batch.

    Attributes:
        hard: Corrected poses that were opened because they were doubted.
        random: Corrected poses that were drawn at random.
        base: Poses that the first network learnt from.
        accepted: Poses that nobody opened and the routing accepts.
    """

    hard: float = 0
    random: float = 0
    base: float = 0
    accepted: float = 0


def missing(counts: Mix, *, replay: float, cap: float) -> int:
    """How many accepted poses are wanted, where everything else is fewer than the hard poses; 0 where nothing is.

    Args:
        counts: Poses; accepted ones are not looked at.
        replay: Share of every batch that is asked for from the base.
        cap: Largest share of the hard poses.
    """
    before = shares(Mix(counts.hard, counts.random, counts.base), replay=replay, cap=1.0)
    others = counts.random + (counts.base if replay else 0)
    return int(max(counts.hard - others, 0)) if before.hard > cap else 0


def shares(counts: Mix, *, replay: float, cap: float) -> Mix:
    """Shares of every batch, 1 in sum.

    Args:
        counts: Poses of each kind; somebody corrected at least one.
        replay: Share that is asked for from the base; corrections share the rest by their number.
        cap: Largest share of the hard poses. Where there is nothing else, they are everything all the same.
    """
    base = replay if counts.base else 0.0
    corrected = counts.hard + counts.random
    hard, random = ((1 - base) * count / corrected for count in (counts.hard, counts.random))
    others = counts.random + (counts.base if base else 0) + counts.accepted
    above = max(hard - cap, 0.0) if others else 0.0
    each = above / others if others else 0.0
    return Mix(
        hard=min(hard, cap) if others else hard,
        random=random + each * counts.random,
        base=base + (each * counts.base if base else 0.0),
        accepted=each * counts.accepted,
    )
