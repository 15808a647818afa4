"""What a project's page cannot tell, each with its reason and with what would change that."""

from collections.abc import Iterator, Sequence

from autolabel.certify import Certificate
from autolabel.report.evidence import Evidence
from autolabel.report.page import Gaps
from autolabel.report.rounds import Round


def gaps(rounds: Sequence[Round], certificate: Certificate | None, evidence: Evidence) -> tuple[Gaps, ...]:
    """The list; none where everything is told.

    Args:
        rounds: In order.
        certificate: What the audit proved, if it is told.
        evidence: What was measured beside the rounds' own numbers.
    """
    found = (*evidence.gaps, *_gaps(rounds, certificate, evidence))
    if not found:
        return ()
    return (Gaps("Not on this page", "What could be told of a project, and is not told of this one.", found),)


def _gaps(rounds: Sequence[Round], certificate: Certificate | None, evidence: Evidence) -> Iterator[tuple[str, str]]:
    if all(r.routed.untouched is None for r in rounds):
        shown = (
            "the audit bounds it among the accepted poses" if certificate else "an audit bounds it once it is judged"
        )
        yield "Error of untouched poses", f"Nobody knows the truth of poses that nobody opened; {shown}."
    if not evidence.doubt and not any(r.score for r in rounds):
        yield (
            "Risk against coverage, reliability",
            "Nothing tells how far the doubt can be trusted: no held-out test with a fitted calibrator, and no pose "
            "that was drawn at random after doubts had become probabilities. corpus.test tells it, and so do random "
            "draws (rounds.random_share) of a round after the one that fitted the first calibrator.",
        )
    yield from _of_networks(rounds, evidence)
    yield from _of_answers(evidence)


def _of_networks(rounds: Sequence[Round], evidence: Evidence) -> Iterator[tuple[str, str]]:
    several = any(len(yardstick.readings) > 1 for yardstick in evidence.yardsticks)
    if not evidence.yardsticks:
        yield (
            "Learning, kinds of error, errors by keypoint",
            "There is no set that no network learns from and no network placed: neither corpus.test nor enough random "
            "draws that people placed without a pre-label.",
        )
    elif not several:
        yield "Learning", "Only one network has been in force so far: there is nothing to compare it with."
    if evidence.base is None:
        yield (
            "Forgetting",
            "No network was measured on a set that stays for good: give corpus.base or corpus.test.",
        )
    elif several and len(evidence.base.readings) < 2:
        yield "Forgetting", f"Only one network was measured on the {evidence.base.name}."
    if all(r.gate is None for r in rounds):
        yield "New networks against old ones", "No round has trained a network yet, or none was put before a gate."


def _of_answers(evidence: Evidence) -> Iterator[tuple[str, str]]:
    answered = evidence.answered
    if answered is None:
        yield "People's work, swaps found, planted errors missed", "No answer has come back yet."
        return
    if not any(work.fixed_timed for work in answered.work):
        told = any(work.timed for work in answered.work)
        why = "no keypoint was changed in them" if told else "the answers do not tell how long they took"
        yield "Seconds a fixed keypoint", f"Answers have come back, but {why}."
    if not answered.swapped:
        yield "Swaps found", "No answer exchanged joints of the left and the right side."
    if not answered.caught.of:
        yield (
            "Planted errors",
            "None was answered, so that how many errors people overlook is not known: give promise.plants, or a blind "
            "slice (promise.blind).",
        )
    elif not answered.missed:
        yield "Planted errors missed", f"People found all {answered.caught.of:,}."
    if not evidence.states.get("accepted"):
        yield "Accepted without a touch", "Nothing is accepted before an audit has proven the promise."
    if evidence.speed is None:
        yield "Images a second", "The rounds do not tell how long prediction took."
