"""The wording for a dataset card: everything that a reader needs to check the claim, and no more than was proven."""

import pytest

from autolabel.audit import AuditCounts
from autolabel.certificate import Certificate, Delta
from autolabel.certify import StepCounts, certificate, walk
from autolabel.reviewers import ReviewerRates
from autolabel.side_claims import image_claims, keypoint_claim
from autolabel.similarity import BadRule


def made(bad: int = 1, rejected: int = 1, uncorrected: int = 0, **more: object) -> Certificate:
    return certificate(
        AuditCounts(460, bad, rejected, keypoints=6000, gross=9, uncorrected=uncorrected),
        max_bad=0.02,
        confidence=0.95,
        population=1500,
        digest_before="b" * 64,
        digest_after="a" * 64,
        audit=["pose0"],
        rule=BadRule(),
        routing="routing",
        answers="answers",
        **more,  # type: ignore[arg-type]
    )


def test_the_whole_paragraph() -> None:
    before, after = "b" * 64, "a" * 64
    assert made().words() == (
        "At most 2 % of the 1,499 accepted poses are bad, with 95 % confidence over the audit's draw. "
        "Accepted are poses that a network placed and that no person looked at, the audited ones excepted. "
        f"The claim is about exactly these 1,499 poses together, as named by the digest {after} (1,500 poses of "
        f"digest {before} before the audit's corrections). A pose is bad when its OKS is below 0.75, when 2 or more "
        "of its keypoints are gross (keypoint similarity below 0.5, or said present where absent, or the "
        "reverse), when its box holds no instance, or when it is a second pose on one instance. It is shown "
        "by an audit of 460 of the 1,500 poses, drawn uniformly at random without replacement after the poses "
        "were frozen and before any answer. Found bad: 1 (1 thrown out, 0 corrected). Before these "
        "corrections at most 0.867 % were bad, after them at most 0.801 % are. Reviewers were not tested: "
        "they are taken to find every bad pose. None of this covers poses that people reviewed, people "
        "without a box, images whose poses are not settled, other data of the same kind, or a part of the "
        "accepted poses: some of them can hold a larger share of bad ones. It ends when a pose is added, "
        "removed or changed."
    )


RATES = ReviewerRates(planted=40, planted_caught=38, synthetic=5, confidence=0.99)
TESTED = {"reviewers": RATES, "delta": Delta(0.05, 0.05, 0.01)}


@pytest.mark.parametrize(
    ("more", "says", "says_not"),
    [
        (
            TESTED,
            [
                "over the audit's draw and the reviewers' test",
                "Reviewers found 38 of 40 known errors",
                "5 of them made up",
                "allow for what they miss",
            ],
            ["not tested", "joint"],
        ),
        (
            {"reviewers": ReviewerRates(blind=30, confidence=0.99), "delta": Delta(0.05, 0.05, 0.01)},
            ["Reviewers were not tested"],
            ["allow for", "reviewers' test"],
        ),
        (
            {"beside": [keypoint_claim(0, 60, 900, 0.9), *image_claims([0, 1], [0, 0], 50, 0.9)]},
            [
                "each hold at their own confidence and are not joint",
                "900 keypoints that reviewers left untouched",
                "have somebody without a box, with 90 % confidence",
                "have a box without a person",
                "take reviewers to find every error",
            ],
            ["drawn from is named"],
        ),
        (
            {"beside": [keypoint_claim(0, 60, 900, 0.9, "e" * 64), *image_claims([0], [0], 50, 0.9, "f" * 64)]},
            [
                "(0 of 60 drawn were). What was drawn from is named by the digest " + "e" * 64 + ".",
                "What was drawn from is named by the digest " + "f" * 64 + ".",
            ],
            [],
        ),
        (
            {"delta": Delta(0.05, 0.025, attempt=2, attempts=2)},
            ["audit 2 of 2 that share the confidence"],
            ["nested sets"],
        ),
        ({"uncorrected": 1, "rejected": 0}, ["Found bad: 1 (0 thrown out, 0 corrected, 1 left as they were)"], []),
    ],
)
def test_what_is_said_where_it_applies(more: dict[str, object], says: list[str], says_not: list[str]) -> None:
    text = made(**more).words()  # type: ignore[arg-type]
    assert [part for part in says if part not in text] == []
    assert [part for part in says_not if part in text] == []


def test_a_fallback_is_named() -> None:
    steps = (StepCounts(1000, 300, 0, 0, 0), StepCounts(1500, 460, 1, 1, 1), StepCounts(2500, 800, 40, 40, 1))
    text = made(walked=walk(steps, 0.02)).words()
    assert "number 2 of 3 nested sets that were fixed before the draw and tested in that order" in text


def test_a_refusal_claims_nothing() -> None:
    refused = made(bad=30)
    assert not refused.issued
    text = refused.words()
    assert text.startswith("No claim is made about the share of bad poses")
    assert "too many" in text
    assert refused.digest_after not in text
    assert refused.claim not in text
