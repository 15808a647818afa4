"""What is claimed beside a certificate: untouched keypoints of reviewed poses, and people whom nobody boxed.

A certificate speaks about accepted poses. Two things it cannot see have an audit each. Of the poses that people
reviewed, the keypoints that nobody moved are still the network's; some are drawn, one by one. And an image may hold
somebody without a box, or a box without anybody; some images are drawn and looked at as a whole. Keypoints of one pose
are wrong together and missed people come in groups, so that neither may be counted as if independent: keypoints are
drawn singly, and of images the share is limited that has any such fault. Then the hypergeometric limit is exact. Each
claim holds at its own confidence, they are not joint, and each takes reviewers to find every error, which it says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autolabel.bounds import upper_bound
from autolabel.percent import percent_at_most, percent_confidence

KEYPOINTS, MISSED, NOBODY = "untouched keypoints", "missed people", "boxes without a person"
"""What a side claim is about."""


@dataclass(frozen=True)
class SideClaim:
    """One audit beside the certificate's own.

    Attributes:
        what: What it is about.
        claim: In words, with its confidence.
        bound: Upper limit of the share in the population.
        confidence: Over this audit's draw, for this claim alone.
        drawn: How many were looked at.
        found: How many of them were at fault.
        population: How many they were drawn from.
        digest: Of what they were drawn from, as routing noted it before any answer; "" where it noted none.
    """

    what: str
    claim: str
    bound: float
    confidence: float
    drawn: int
    found: int
    population: int
    digest: str = ""


def keypoint_claim(gross: int, drawn: int, population: int, confidence: float, digest: str = "") -> SideClaim:
    """The share of gross keypoints among those of reviewed poses that nobody touched.

    Args:
        gross: Gross ones among those that were drawn.
        drawn: Keypoints drawn, singly and without replacement.
        population: Untouched keypoints of reviewed poses.
        confidence: 1 - δ, of this claim alone.
        digest: Of these keypoints.

    Raises:
        InputError: Counts that contradict each other, or a confidence outside (0, 1).
    """
    bound = upper_bound(gross, drawn, population, confidence)
    of = f"of the {population:,} keypoints that reviewers left untouched are gross"
    claim = _claim(of, f"{gross:,} of {drawn:,} drawn were", bound, confidence)
    return SideClaim(KEYPOINTS, claim, bound, confidence, drawn, gross, population, digest)


def image_claims(
    missed: Sequence[int], nobody: Sequence[int], population: int, confidence: float, digest: str = ""
) -> tuple[SideClaim, SideClaim]:
    """The shares of images in which somebody has no box, and in which a box holds nobody.

    Args:
        missed: People without a box in each of the drawn images.
        nobody: Boxes without a person in each of them.
        population: Images that they were drawn from, uniformly and without replacement.
        confidence: 1 - δ, of each claim alone.
        digest: Of these images.

    Raises:
        InputError: As :func:`keypoint_claim`.
    """
    faults: Mapping[str, tuple[Sequence[int], str]] = {
        MISSED: (missed, "have somebody without a box"),
        NOBODY: (nobody, "have a box without a person"),
    }
    claims: list[SideClaim] = []
    for what, (each, words) in faults.items():
        found, drawn = sum(count > 0 for count in each), len(each)
        bound = upper_bound(found, drawn, population, confidence)
        seen = f"{found:,} of {drawn:,} drawn do, {sum(each):,} in all"
        of = f"of the {population:,} images all of whose poses are settled or certified {words}"
        claim = _claim(of, seen, bound, confidence)
        claims.append(SideClaim(what, claim, bound, confidence, drawn, found, population, digest))
    return claims[0], claims[1]


def _claim(of: str, seen: str, bound: float, confidence: float) -> str:
    sure = f"with {percent_confidence(confidence)} confidence where reviewers are taken to find every error"
    return f"At most {percent_at_most(bound)} {of}, {sure} ({seen})."
