"""The dataset card says what it holds, what was proven, what is missing, and nobody's name."""

from dataclasses import replace

import pytest

from autolabel.audit import AuditCounts
from autolabel.certificate import Certificate
from autolabel.certify import certificate
from autolabel.dataset_card import Card, RoundLine
from autolabel.dataset_counts import count_dataset
from autolabel.similarity import BadRule
from autolabel.skeleton import Skeleton
from tests.autolabel.dataset_cases import SAMPLES


def judged(bad: int) -> Certificate:
    return certificate(
        AuditCounts(460, bad, 0, keypoints=6000, gross=9),
        max_bad=0.02,
        confidence=0.95,
        population=1500,
        digest_before="b" * 64,
        digest_after="a" * 64,
        audit=["pose0"],
        rule=BadRule(),
        routing="routing",
        answers="answers",
    )


CARD = Card(
    name="mice | rats",
    version="f" * 64,
    skeleton=Skeleton.load("coco17"),
    counts=count_dataset(SAMPLES),
    certificate=judged(1),
    rounds=[RoundLine(0, "abc", 120, 0), RoundLine(1, "def", 1320, 200)],
    began="weights vitpose-b",
    opened=300,
    clicks=1234,
    files=[("coco.json", "COCO")],
)


def test_the_whole_card() -> None:
    text = CARD.text()
    assert text.startswith("# mice \\| rats\n\n3 poses with 17 keypoints (skeleton `coco17`) in 3 images.\n")
    assert f"Version: `{'f' * 64}`" in text
    assert CARD.certificate is not None
    assert CARD.certificate.words() in text
    assert "| reviewed: a person looked at it, and corrected or kept it | 3 | 2 | 4 | 2 | 0 | 0 |" in text
    assert "| 1 | `def` | 1,320 poses | 200 |" in text
    assert "The first network: weights vitpose-b." in text
    assert "opened poses and images 300 times and clicked 1,234 times" in text
    assert "Exported poses that no person has seen, by network: `net` 1 pose." in text
    assert "- `coco.json`: COCO" in text
    assert "somebody" not in text.replace("somebody in them", "").replace("somebody asked", ""), "nobody is named"


def test_known_gaps_are_told() -> None:
    text = CARD.text()
    for gap in (
        "- 3 images left out: somebody in them is not settled.",
        "- 1 image left out: a person rejected them.",
        "- 2 poses not settled",
        "- 1 boxed person without a pose.",
        "- 1 exported image without a pose",
    ):
        assert gap in text
    assert "The export leaves out 1 accepted pose" in text


@pytest.mark.parametrize(("field", "value"), [("licence", "CC BY 4.0"), ("source", "our barn,\n2021")])
def test_what_nobody_gave_is_said_to_be_missing(field: str, value: str) -> None:
    missing = f"**missing**, nobody gave it (`{field}` under `[dataset]`"
    assert missing in CARD.text()
    assert f"- Nobody gave the {field} of the images." in CARD.text()
    given = replace(CARD, **{field: value}).text()
    assert f"- {field.capitalize()}: {' '.join(value.split())}\n" in given
    assert missing not in given
    assert f"Nobody gave the {field}" not in given
    assert missing in replace(CARD, **{field: "  "}).text()


@pytest.mark.parametrize(
    ("certificate", "said"),
    [(None, "No audit was judged, so nothing is claimed"), (judged(400), "No claim is made about the share of bad")],
)
def test_without_a_proof_nothing_is_claimed(certificate: Certificate | None, said: str) -> None:
    text = replace(CARD, certificate=certificate).text()
    assert said in text
    assert "of the 1,5" not in text
    assert "The export leaves out" not in text


def test_an_empty_dataset_has_a_card() -> None:
    text = replace(CARD, counts=count_dataset([]), rounds=[], files=[]).text()
    assert "0 poses with 17 keypoints" in text
    assert "No image states a group" in text
    assert "No image is marked as a near-duplicate" in text
    assert "## Files" not in text


def test_why_the_rounds_ended() -> None:
    ended = replace(CARD, ended="with round 1: nothing is left to review").text()
    assert "\n\nThe rounds of review ended with round 1: nothing is left to review.\n\n" in ended
    assert "rounds of review ended" not in CARD.text(), "nothing is told of a project of before"
