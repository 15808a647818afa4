"""A certificate in the words that a dataset card may carry: no more than was proven, and what was not.

Each sentence states one thing that a reader needs to check the claim: what is claimed and with what confidence, over
which poses, what counts as bad, which audit showed it, who answered it and how well they see errors, what is claimed
beside it, and what it does not cover. A certificate that was refused says that nothing is claimed, and why.
"""

from typing import TYPE_CHECKING

from autolabel.percent import percent, percent_at_most, percent_confidence

if TYPE_CHECKING:
    from autolabel.certificate import Certificate
    from autolabel.side_claims import SideClaim


def words(made: "Certificate") -> str:
    """The paragraph for a dataset card.

    Args:
        made: Issued or refused.
    """
    if not made.population_before:
        return "No pose was accepted without a person looking at it, so nothing is claimed."
    if not made.issued:
        return (
            f"No claim is made about the share of bad poses among those that were accepted without a person looking at "
            f"each. An audit was to show that at most {percent(made.max_bad)} of {made.population_before:,} are bad, "
            f"with {percent_confidence(made.confidence)} confidence, and did not: {made.reason}."
        )
    sentences = [_claim(made), _bad(made), _audit(made), *_fallback(made), _reviewers(made), *_beside(made), _limits()]
    return " ".join(sentences)


def claim(max_bad: float, left: int, confidence: float, tested: bool) -> str:
    """The promise in one sentence.

    Args:
        max_bad: Share that may be bad.
        left: Accepted poses that are left.
        confidence: 1 - δ.
        tested: Whether known errors were shown to the reviewers, so that the confidence is over these too.
    """
    over = "the audit's draw and the reviewers' test" if tested else "the audit's draw"
    return (
        f"At most {percent(max_bad)} of the {left:,} accepted poses are bad, "
        f"with {percent_confidence(confidence)} confidence over {over}."
    )


def no_claim(max_bad: float, population: int) -> str:
    """What stands in the place of a promise that was not proven.

    Args:
        max_bad: Share that was to be shown.
        population: Accepted poses.
    """
    if not population:
        return "Nothing is accepted, so nothing is claimed."
    return f"It was not shown that at most {percent(max_bad)} of {population:,} poses are bad, so nothing is claimed."


def _claim(made: "Certificate") -> str:
    return (
        f"{made.claim} Accepted are poses that a network placed and that no person looked at, the audited ones "
        f"excepted. The claim is about exactly these {made.population_after:,} poses together, as named by the digest "
        f"{made.digest_after} ({made.population_before:,} poses of digest {made.digest_before} before the audit's "
        f"corrections)."
    )


def _bad(made: "Certificate") -> str:
    rule = made.rule
    return (
        f"A pose is bad when its OKS is below {rule.bad_oks:g}, when {rule.bad_gross} or more of its keypoints are "
        f"gross (keypoint similarity below {rule.gross_ks:g}, or said present where absent, or the reverse), when its "
        f"box holds no instance, or when it is a second pose on one instance."
    )


def _audit(made: "Certificate") -> str:
    counts = made.counts
    left = f", {counts.uncorrected:,} left as they were" if counts.uncorrected else ""
    return (
        f"It is shown by an audit of {counts.audited:,} of the {made.population_before:,} poses, drawn uniformly at "
        f"random without replacement after the poses were frozen and before any answer. Found bad: {counts.bad:,} "
        f"({counts.rejected:,} thrown out, {counts.corrected - counts.rejected:,} corrected{left}). Before these "
        f"corrections at most {percent_at_most(made.bound_before)} were bad, after them at most "
        f"{percent_at_most(made.bound_after)} are."
    )


def _fallback(made: "Certificate") -> list[str]:
    said: list[str] = []
    if len(made.steps) > 1:
        said.append(
            f"The poses are number {made.step + 1} of {len(made.steps)} nested sets that were fixed before the draw "
            f"and tested in that order until the first failed, which spends the confidence once."
        )
    if made.delta and made.delta.attempts > 1:
        said.append(
            f"It is audit {made.delta.attempt} of {made.delta.attempts} that share the confidence; the claim holds for "
            f"all of them together."
        )
    return said


def _reviewers(made: "Certificate") -> str:
    if made.reviewers is None:
        return "Reviewers were not tested: they are taken to find every bad pose."
    if made.reviewers.assumed:
        return made.reviewers.words()
    return f"{made.reviewers.words()} The limits above allow for what they miss."


def _beside(made: "Certificate") -> list[str]:
    if not made.beside:
        return []
    return [
        "Beside it stand limits that each hold at their own confidence and are not joint with the claim or with each "
        "other; they take reviewers to find every error:",
        *(f"{side.claim}{_named(side)}" for side in made.beside),
    ]


def _named(side: "SideClaim") -> str:
    return f" What was drawn from is named by the digest {side.digest}." if side.digest else ""


def _limits() -> str:
    return (
        "None of this covers poses that people reviewed, people without a box, images whose poses are not settled, "
        "other data of the same kind, or a part of the accepted poses: some of them can hold a larger share of bad "
        "ones. It ends when a pose is added, removed or changed."
    )
