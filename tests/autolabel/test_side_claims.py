"""Claims beside a certificate: exact limits on what was drawn singly, each with its own words and confidence."""

import numpy as np
import pytest

from autolabel.bounds import upper_bound
from autolabel.errors import InputError
from autolabel.side_claims import KEYPOINTS, MISSED, NOBODY, SideClaim, image_claims, keypoint_claim


def test_untouched_keypoints() -> None:
    made = keypoint_claim(1, 300, 12_000, 0.95)
    assert made.what == KEYPOINTS
    assert made.bound == upper_bound(1, 300, 12_000, 0.95)
    assert (made.found, made.drawn, made.population, made.confidence) == (1, 300, 12_000, 0.95)
    assert made.claim == (
        "At most 1.55 % of the 12,000 keypoints that reviewers left untouched are gross, with 95 % confidence "
        "where reviewers are taken to find every error (1 of 300 drawn were)."
    )


def test_images_are_counted_once_however_many_people_they_miss() -> None:
    missed, nobody = image_claims([0, 3, 0, 1, 0], [0, 0, 2, 0, 0], 50, 0.9)
    assert (missed.what, missed.found, nobody.what, nobody.found) == (MISSED, 2, NOBODY, 1)
    assert missed.bound == upper_bound(2, 5, 50, 0.9)
    assert nobody.bound == upper_bound(1, 5, 50, 0.9)
    assert "2 of 5 drawn do, 4 in all" in missed.claim
    assert "90 % confidence where reviewers are taken to find every error" in nobody.claim


def test_a_population_has_a_digest_where_it_was_noted() -> None:
    assert keypoint_claim(0, 5, 50, 0.9, "k").digest == "k"
    assert [claim.digest for claim in image_claims([0], [0], 50, 0.9, "i")] == ["i", "i"]
    assert SideClaim("missed people", "At most ...", 0.1, 0.9, 5, 0, 50).digest == "", "as older certificates have it"


def test_everything_looked_at_leaves_nothing_to_chance() -> None:
    missed, nobody = image_claims([0, 1], [0, 0], 2, 0.95)
    assert (missed.bound, nobody.bound) == (0.5, 0.0)
    assert keypoint_claim(0, 0, 40, 0.95).bound == 1.0


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((2, 1, 50, 0.95), "2 bad of 1"),
        ((0, 51, 50, 0.95), "51 audited of 50"),
        ((0, 5, 50, 1.0), "confidence is 1"),
        ((0, 5, 50, float("nan")), "confidence is nan"),
    ],
)
def test_impossible_counts_are_refused(counts: tuple[int, int, int, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        keypoint_claim(*counts)


def test_a_side_claim_is_wrong_no_more_often_than_it_says() -> None:
    """Images with faults that come in heaps: the share of images is limited, whatever the number of people in them."""
    random = np.random.default_rng(3)
    people = np.where(random.random(400) < 0.07, random.integers(1, 9, 400), 0)
    true, runs, drawn = float((people > 0).mean()), 1500, 60
    bounds = [
        image_claims(people[random.choice(400, drawn, replace=False)].tolist(), [0] * drawn, 400, 0.9)[0].bound
        for _ in range(runs)
    ]
    assert np.mean(np.array(bounds) < true) <= 0.1 + 3 * np.sqrt(0.09 / runs)
    assert np.mean(bounds) < 3 * true, "a limit that is always 1 would pass, and say nothing"
