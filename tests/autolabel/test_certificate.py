"""The certificate as it is written down: what it covers, its JSON form, and how its δ may be spent."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from autolabel.audit import AuditCounts
from autolabel.certificate import Certificate, Delta
from autolabel.certify import certificate
from autolabel.digests import population_digest
from autolabel.errors import FormatError, InputError
from autolabel.poses import Poses, Visibility
from autolabel.reviewers import ReviewerRates
from autolabel.side_claims import image_claims, keypoint_claim
from autolabel.similarity import BadRule
from autolabel.strata import Stratum


def small(**more: object) -> Certificate:
    return certificate(
        AuditCounts(audited=90, bad=1, rejected=1, keypoints=1200, gross=3),
        max_bad=0.05,
        confidence=0.95,
        population=300,
        digest_before="before",
        digest_after="after",
        audit=[f"pose{i}" for i in range(90)],
        rule=BadRule(),
        routing="routing",
        answers="answers",
        **more,  # type: ignore[arg-type]
    )


def full() -> Certificate:
    return small(
        delta=Delta(0.05, 0.025, 0.005, attempt=2, attempts=2),
        reviewers=ReviewerRates(40, 38, 3, 10, 1, 1, confidence=0.995),
        beside=[keypoint_claim(1, 60, 900, 0.95), *image_claims([0, 2, 0], [0, 0, 1], 80, 0.95)],
        strata=[Stratum("small", 75, 20, 1, 0.2)],
    )


@pytest.mark.parametrize("made", [small(), full()])
def test_certificates_survive_json(made: Certificate) -> None:
    assert Certificate.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_certificates_of_older_versions_are_still_read() -> None:
    data = json.loads(json.dumps(small().to_dict()))
    for added in ("steps", "step", "delta", "reviewers", "beside", "strata"):
        del data[added]
    del data["counts"]["uncorrected"]
    old = Certificate.from_dict(data)
    assert (old.issued, old.steps, old.delta, old.reviewers, old.beside) == (True, (), None, None, ())
    assert old.counts.corrected == 1
    assert "Reviewers were not tested" in old.words()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"issud": True}, r"c\.json: issud: unknown key"),
        ({"counts": {"audited": 1}}, "cannot be read"),
        ({"rule": {"bad": 2}}, "cannot be read"),
        ({"steps": [{"size": 3}]}, "cannot be read"),
        ({"beside": 4}, "cannot be read"),
        ({"delta": {"total": 0.05, "this_audit": 0.5}}, "cannot be spent so"),
        ({"reviewers": {"planted": 2}}, "cannot be read"),
    ],
)
def test_malformed_certificates_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Certificate.from_dict({**small().to_dict(), **change}, subject="c.json")


def test_a_missing_key_is_named() -> None:
    data = small().to_dict()
    del data["bound_after"]
    with pytest.raises(FormatError, match=r"c\.json: bound_after: missing"):
        Certificate.from_dict(data, subject="c.json")


def some_poses() -> Poses:
    random = np.random.default_rng(5)
    return Poses.create(
        4,
        id=[f"id{i}" for i in range(5)],
        xy=random.normal(100, 30, (5, 4, 2)),
        visibility=np.full((5, 4), Visibility.VISIBLE),
    )


def test_a_certificate_covers_its_population_and_no_other() -> None:
    poses = some_poses()
    made = dataclasses.replace(small(), digest_after=population_digest(poses))
    assert made.issued
    assert made.covers([poses.take([1, 3]), poses.take([0, 2, 4])])
    xy = poses.xy.copy()
    xy[0, 0] += 1
    others = [
        poses.take([0, 1, 2, 3]),
        poses.take([0, 1, 2, 3, 4, 4]),
        Poses.concat([poses, poses.take([0]).replace(id=["added"])]),  # added after the draw
        poses.replace(xy=xy),
        Poses.empty(4),
    ]
    assert not any(made.covers(other) for other in others)
    assert not dataclasses.replace(made, issued=False).covers(poses)


@pytest.mark.parametrize(
    "spent",
    [
        (0.0, 0.0),
        (1.0, 0.5),
        (math.nan, 0.01),
        (0.05, math.nan),
        (0.05, 0.06),
        (0.05, 0.0),
        (0.05, 0.05, 0.05),  # nothing left for the draw
        (0.05, 0.05, -0.01),
        (0.05, 0.05, 0.0, 1, 2),  # two audits that spend all of it each
        (0.05, 0.025, 0.0, 3, 2),
        (0.05, 0.025, 0.0, 0, 2),
    ],
)
def test_no_more_than_delta_is_spent(spent: tuple[float, ...]) -> None:
    with pytest.raises(InputError):
        Delta(*spent)  # type: ignore[arg-type]


def test_what_is_left_of_delta_is_the_draws() -> None:
    assert Delta(0.05, 0.05).draw == pytest.approx(0.95)
    assert Delta(0.05, 0.025, 0.005, 1, 2).draw == pytest.approx(0.98)
    assert Delta(0.05, 0.05 / 3, attempt=3, attempts=3).draw == pytest.approx(1 - 0.05 / 3)
