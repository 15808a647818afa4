"""What the paper found, and whether ours agrees: sentences that are made from numbers.

Two networks are compared on the same people by a paired bootstrap. Its interval knows how much the people matter, not
how much a training's seed does; where two seeds were run, their mean is compared and both must point the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.bootstrap import Draws, percentiles
from benchmarks.partial_bodies import Interval

Floats = NDArray[np.float64]

RESAMPLES = 2000


@dataclass(frozen=True)
class Claim:
    """Something that the paper says, as a comparison of two of our runs.

    Attributes:
        table: Where it stands.
        paper: What the paper found (``vitpose.md`` 5.3), in words.
        one: Our run that should be better.
        other: Than this one.
        test: The corpus that both are measured on.
    """

    table: str
    paper: str
    one: str
    other: str
    test: str = "lspet-val"


CLAIMS: Sequence[Claim] = (
    Claim(
        "1",
        "pre-training on the pose data itself serves as well as ImageNet (75.8 AP from ImageNet's million images, 74.5 "
        "from COCO's crops, 75.8 from those of COCO and AIC); it shows no training from scratch",
        "from mae",
        "base",
    ),
    Claim("1", "(not in the paper) twice the training, from scratch", "twice", "base"),
    Claim("1", "(not in the paper) twice the training against MAE and once the training", "twice", "from mae"),
    Claim(
        "2", "a larger input is better (256x192 75.8, 384x288 76.9 AP)", "192x144 /16", "128x96 /16", "fashion17-val"
    ),
    Claim(
        "2",
        "a smaller input is worse (224x224 74.9 against 256x192 75.8 AP)",
        "128x96 /16",
        "64x48 /16",
        "fashion17-val",
    ),
    Claim(
        "2",
        "features at stride 8 are better than at 16 (77.4 against 75.8 AP)",
        "128x96 /8",
        "128x96 /16",
        "fashion17-val",
    ),
    Claim("3", "windows alone lose much (66.4 against 77.4 AP)", "128x96 /8", "attention window 4x4", "fashion17-val"),
    Claim(
        "3",
        "shifted windows win most of it back (76.4 against 66.4 AP)",
        "attention window+shift 4x4",
        "attention window 4x4",
        "fashion17-val",
    ),
    Claim(
        "3",
        "pooled windows do as well (76.4 against 66.4 AP)",
        "attention window+pool 4x4",
        "attention window 4x4",
        "fashion17-val",
    ),
    Claim(
        "3",
        "shift and pool together are better than shift alone (76.8 against 76.4 AP)",
        "attention window+shift+pool 4x4",
        "attention window+shift 4x4",
        "fashion17-val",
    ),
    Claim(
        "3",
        "full attention in a quarter of the blocks is nearly full (76.9 of 77.4 AP)",
        "attention full every L/4 4x4",
        "attention window 4x4",
        "fashion17-val",
    ),
    Claim(
        "3",
        "larger windows are better (16x12 77.1, 8x8 76.8 AP)",
        "attention window+shift+pool 8x6",
        "attention window+shift+pool 4x4",
        "fashion17-val",
    ),
    *(
        Claim("4", paper, f"{one} {labels}", f"{other} {labels}", "fashion17-lsp14-val")
        for labels in (50, 200, 1000)
        for paper, one, other in (
            ("with the MHSA frozen little is lost (75.1 of 75.8 AP)", "full", "MHSA frozen"),
            ("with the FFN frozen more is lost (72.8 against 75.1 AP)", "MHSA frozen", "FFN frozen"),
            ("(not in the paper) LoRA against full fine-tuning", "LoRA", "full"),
        )
    ),
    Claim("5", "other people's data helps (75.8 to 77.1 AP with AIC and MPII)", "together", "lspet alone"),
    Claim(
        "5",
        "experts win back what sharing with animals costs (76.7 to 77.0 AP)",
        "plus",
        "together",
    ),
)


def difference(one: Sequence[Floats], other: Sequence[Floats], threshold: float = 0.1, *, seed: int = 0) -> Interval:
    """PCK of one network less PCK of another, with the interval of a paired bootstrap over people.

    Args:
        one: By training seed, (P, K) errors with NaN where unlabelled.
        other: The same for the same people.
        threshold: Of PCK.
        seed: Of the resamples.
    """
    known = np.isfinite(one[0])
    hits = [
        np.mean([(known & (error <= threshold)).sum(axis=1) for error in errors], axis=0) for errors in (one, other)
    ]
    joints, gained = known.sum(axis=1), hits[0] - hits[1]
    drawn = np.concatenate([weights @ gained / (weights @ joints) for weights in Draws(len(joints), RESAMPLES, seed)])
    low, high = percentiles(drawn[:, None])
    return Interval(float(gained.sum() / joints.sum()), float(low[0]), float(high[0]))


def verdict(claim: Claim, errors: Mapping[str, Sequence[Floats]]) -> str | None:
    """A line of the page, or None where one of the two runs has not been done.

    Args:
        claim: What to compare.
        errors: By run, then by training seed, on the claim's test corpus.
    """
    one, other = errors.get(claim.one, ()), errors.get(claim.other, ())
    seeds = min(len(one), len(other))
    if seeds == 0:
        return None
    found = difference(one[:seeds], other[:seeds])
    signs = {np.sign(difference([a], [b]).value) for a, b in zip(one[:seeds], other[:seeds], strict=True)}
    sure = (found.low > 0 or found.high < 0) and len(signs) == 1
    ours = f"`{claim.one}` is {found.points()} points of PCK@0.1 from `{claim.other}` on {claim.test}"
    trained = "one seed" if seeds == 1 else f"mean of {seeds} seeds"
    stated = claim.paper.startswith("(not in the paper)")
    if not sure:
        says = "nothing that could not be chance"
    elif stated:
        says = "a clear gain" if found.value > 0 else "a clear loss"
    else:
        says = "agrees" if found.value > 0 else "does not agree"
    return f"- {_capital(claim.paper)}. Ours: {ours} ({trained}): **{says}**."


def _capital(text: str) -> str:
    return text if text.startswith("(") else f"The paper: {text}"
