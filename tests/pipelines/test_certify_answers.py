"""Answers that check other answers: second ones, blind ones, plants, drawn keypoints, whole images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.bounds import residual_bound, upper_bound
from autolabel.certificate import Certificate
from autolabel.errors import FormatError, InputError
from autolabel.labelstudio.tasks import task_key
from autolabel.manifest import Manifest
from autolabel.merge import State
from autolabel.poses import Poses
from pipelines.routing_seal import sealed
from tests.pipelines.audited import ACCEPTED, AUDITED, DIGEST, Audit, correction, image, wild


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit.make(tmp_path)


def test_a_pose_is_bad_if_any_answer_says_so_and_corrected_if_the_standing_one_does(audit: Audit) -> None:
    audit.err(0, 1)
    audit.route(max_bad=0.3)
    checks = [
        audit.said(1, bad=True),  # both agree
        audit.said(2, bad=True, by="eve"),  # the standing answer let it pass
        audit.said(3, bad=False),
        audit.said(4, bad=False, state=State.REJECTED),
        audit.said(50, bad=True),  # not audited
    ]
    made = audit.certify(audit.check(checks))
    assert (made.counts.bad, made.counts.uncorrected, made.counts.rejected) == (4, 2, 0)
    assert made.bound_after == residual_bound(4, AUDITED, ACCEPTED, 0.9, corrected=2)
    assert made.population_after == ACCEPTED, "what only a second answer rejects stays"
    assert made.reviewers is None


def test_a_second_answer_after_the_verdict_is_not_judged_again(audit: Audit) -> None:
    audit.route()
    assert audit.certify(audit.check([audit.said(3, bad=False)])).issued
    with pytest.raises(InputError, match="judged before, with other answers"):
        audit.certify(audit.check([audit.said(3, bad=True)]), overwrite=True)
    with pytest.raises(InputError, match="judged before, with other answers"):
        audit.certify(audit.check(), overwrite=True)
    assert audit.certify(audit.check([audit.said(3, bad=False)])).issued


def planted(audit: Audit, n: int = 10) -> Poses:
    """Known errors: poses that are not in the routed manifest, with three keypoints far off."""
    bad = wild(audit.truth.take(range(n)), range(n), 3)
    return bad.replace(id=[f"plant{i}" for i in range(n)])


def caught(audit: Audit, shown: Poses, i: int, *, found: bool = True, **more: Any) -> Any:
    one = shown.take([i])
    left = audit.truth.take([i]) if found else one
    return correction(one, left, task_key(DIGEST, one.id[0], "planted"), **more)


def test_planted_errors_measure_the_reviewers(audit: Audit) -> None:
    shown = planted(audit)
    audit.route(max_bad=0.3, plants=shown, synthetic=2)
    answers = [caught(audit, shown, i) for i in range(6)]
    answers += [caught(audit, shown, 6, found=False, state=State.REJECTED)]
    answers += [caught(audit, shown, 7, found=False)]  # submitted as it was
    answers += [caught(audit, shown, 8), caught(audit, shown, 8, found=False, by="eve")]  # one of two saw it
    # and nobody answered number 9
    made = audit.certify(audit.check(answers))
    assert made.reviewers is not None
    assert (made.reviewers.planted, made.reviewers.planted_caught, made.reviewers.synthetic) == (10, 7, 2)
    assert made.reviewers.confidence == pytest.approx(0.98)
    sensitivity = made.reviewers.sensitivity
    assert made.bound_after == residual_bound(0, AUDITED, ACCEPTED, 0.92, sensitivity=sensitivity)
    assert made.counts.bad == 0, "a plant is no accepted pose"
    assert "2 of them made up" in made.words()


def test_unanswered_plants_count_as_missed(audit: Audit) -> None:
    shown = planted(audit)
    audit.route(plants=shown)
    made = audit.certify(audit.check())
    assert made.reviewers is not None
    assert (made.reviewers.planted, made.reviewers.planted_caught, made.reviewers.sensitivity) == (10, 0, 0.0)
    assert not made.issued
    assert made.bound_after == 1.0
    assert "cannot prove it with any audit" in made.reason


def test_answers_to_another_routings_plants_do_not_count(audit: Audit) -> None:
    shown = planted(audit)
    audit.route(plants=shown)
    one = shown.take([0])
    other = correction(one, audit.truth.take([0]), task_key("another-routing", one.id[0], "planted"))
    made = audit.certify(audit.check([other]))
    assert made.reviewers is not None
    assert made.reviewers.planted_caught == 0


def test_blind_answers_measure_what_the_pre_label_hides(audit: Audit) -> None:
    audit.err(0, 1)
    audit.route(max_bad=0.3, blind=(0, 1, 2, 3))
    checks = [
        audit.said(0, "blind", bad=False),  # sees nothing wrong, unlike who had the pre-label
        correction(audit.model.take([1]), audit.truth.take([1]), task_key(DIGEST, "pose01", "blind")),
        audit.said(2, "blind", bad=True),  # overlooked with the pre-label
        audit.said(3, "blind", bad=False),
    ]
    made = audit.certify(audit.check(checks))
    rates = made.reviewers
    assert rates is not None
    assert (rates.blind, rates.blind_bad, rates.blind_caught, rates.planted) == (4, 2, 1, 0)
    assert (made.counts.bad, made.counts.uncorrected) == (3, 1)


def test_decoys_count_for_nothing(audit: Audit) -> None:
    """Blind answers to poses that are not audited, whatever they say."""
    audit.err(0, 1)
    audit.route(max_bad=0.3, blind=(0, 1))
    checks = [audit.said(0, "blind", bad=True), audit.said(1, "blind", bad=False)]
    alone = audit.certify(audit.check(checks))
    decoys = [audit.said(i, "blind", bad=bad) for i, bad in ((ACCEPTED, True), (ACCEPTED + 1, False))]
    assert audit.certify(audit.check([*decoys, *checks])).to_dict() == alone.to_dict()


def test_a_blind_slice_that_finds_nothing_tests_nobody(audit: Audit) -> None:
    audit.route(max_bad=0.3, blind=(0, 1))
    made = audit.certify(audit.check([audit.said(i, "blind", bad=False) for i in (0, 1)]))
    assert made.reviewers is not None
    assert made.reviewers.assumed
    assert made.bound_before == upper_bound(0, AUDITED, ACCEPTED, 0.92), "what was set aside for them is not taken back"
    assert "Reviewers were not tested" in made.words()


@pytest.mark.parametrize("state", [None, State.EXPERT])
def test_a_blind_task_without_an_answer_is_named(audit: Audit, state: State | None) -> None:
    audit.route(blind=(0, 1))
    checks = [audit.said(0, "blind", bad=False)]
    checks += [] if state is None else [audit.said(1, "blind", bad=False, state=state)]
    with pytest.raises(InputError, match=r"1 of 2 blind tasks have no answer, such as pose01.*Finish these tasks"):
        audit.certify(audit.check(checks))
    assert not (audit.routing / "audit-spent.json").exists()


def test_an_ordinary_answer_is_no_blind_one(audit: Audit) -> None:
    audit.route(blind=(0,))
    with pytest.raises(InputError, match="1 of 1 blind tasks have no answer"):
        audit.certify(audit.check([audit.said(0, bad=False)]))


def test_answers_of_a_pull_that_knew_no_checks_are_refused(audit: Audit) -> None:
    audit.route(blind=(0,))
    with pytest.raises(InputError, match=r"checks\.jsonl: there is no such file"):
        audit.certify(audit.answer())


def test_a_plant_that_is_not_among_the_plants_is_refused(audit: Audit) -> None:
    folder = audit.route(plants=planted(audit))
    lines = (folder / "plants.jsonl").read_text()
    (folder / "plants.jsonl").write_text(lines.replace("plant9", "plant99"))
    with pytest.raises(FormatError, match="lists plant99, which is not among the plants"):
        audit.certify(audit.check())


def test_untouched_keypoints_are_counted_one_by_one(audit: Audit) -> None:
    reviewed = [50, 51, 52]
    audit.err(50, keypoints=3)
    audit.route(max_bad=0.3, keypoints=[(50, 0), (50, 1), (50, 9), (51, 0), (52, 4)])
    fixed = [
        correction(audit.model.take([i]), audit.truth.take([i]), task_key(DIGEST, f"pose{i}", "keypoint"))
        for i in reviewed[:2]
    ]
    gone = audit.said(52, "keypoint", bad=False, state=State.REJECTED)  # nobody is there at all
    made = audit.certify(audit.check(corrections=[*fixed, gone]))
    [claim] = made.beside
    assert (claim.found, claim.drawn, claim.population) == (3, 5, 70)
    assert claim.bound == upper_bound(3, 5, 70, 0.9)
    assert made.issued, "a claim beside it decides nothing"
    assert made.counts.audited == AUDITED


def test_a_keypoint_is_gross_if_any_answer_says_so(audit: Audit) -> None:
    audit.route(max_bad=0.3, keypoints=[(50, 0), (51, 0), (52, 0), (53, 0)])
    kept = [audit.said(i, "keypoint", bad=False) for i in range(50, 54)]
    others = [
        audit.said(50, "keypoint", bad=True, by="eve"),  # the last answer let it pass
        audit.said(51, "keypoint", bad=False, by="eve"),
        audit.said(52, "keypoint", bad=False, by="eve", state=State.EXPERT),  # could not tell
        correction(
            audit.model.take([53]), wild(audit.model.take([53]), [0]), task_key("another", "pose53", "keypoint")
        ),
    ]
    [claim] = audit.certify(audit.check(others, kept)).beside
    assert (claim.found, claim.drawn, claim.digest) == (2, 4, "of keypoints")
    with pytest.raises(InputError, match="judged before, with other answers"):
        audit.certify(audit.check(others[1:], kept), overwrite=True)


@pytest.mark.parametrize("kind", ["audit", "keypoint of another routing", "expert"])
def test_a_drawn_keypoint_needs_an_answer_to_its_own_task(audit: Audit, kind: str) -> None:
    audit.route(keypoints=[(50, 0)])
    state = State.EXPERT if kind == "expert" else State.REVIEWED
    answer = audit.said(50, "keypoint" if kind == "expert" else kind, bad=False, state=state)
    with pytest.raises(InputError, match="1 of 1 poses with drawn keypoints have no answer, such as pose50"):
        audit.certify(audit.check(corrections=[answer]))


def with_images(audit: Audit, *found: dict[str, Any]) -> Certificate:
    audit.route(max_bad=0.3, images=(3, 4, 5))
    return audit.certify(audit.check(images=found))


def test_whole_images_are_judged_by_the_worst_that_anybody_saw(audit: Audit) -> None:
    stale = image(5, missed=9, task="of another routing")
    answers = [image(3), image(3, missed=2, by="eve"), image(4, nobody=["pose08"]), image(5), stale]
    missed, nobody = with_images(audit, *answers).beside
    assert (missed.found, missed.drawn, missed.population) == (1, 3, 25)
    assert missed.bound == upper_bound(1, 3, 25, 0.9)
    assert (nobody.found, "2 in all" in missed.claim, "1 in all" in nobody.claim) == (1, True, True)


def test_an_image_without_an_answer_is_named(audit: Audit) -> None:
    with pytest.raises(InputError, match=r"1 of 3 drawn images have no answer, such as root/4\.png"):
        with_images(audit, image(3), image(5))


SPREAD = [*range(20), *range(32, 42)]
STEPS: dict[str, Any] = {"max_bad": 0.12, "steps": (32, ACCEPTED), "images": (3, 20, 27)}
NEEDED = {"need": (0, 1, -1), "complete": (5, 18, 25)}
"""Of the drawn images one is complete with the strict set, one with the loose one, and one holds no accepted pose."""


@pytest.mark.parametrize(
    ("bad", "more", "claims"),
    [
        ((), NEEDED, (1, 3, 25, "of 25 images")),
        ((33, 34, 35, 36), NEEDED, (0, 2, 18, "of 18 images")),
        ((0, 1, 2, 3), NEEDED, (0, 1, 5, "of 5 images")),
        ((0, 1, 2, 3), {"need": (0, 1, 1), "complete": (0, 18, 25)}, None),  # every image needs an accepted pose
        ((), {}, (1, 3, 25, "")),  # a routing that did not note which step an image needs
        ((33, 34, 35, 36), {}, None),
    ],
)
def test_images_are_claimed_as_far_as_the_certified_step_completes_them(
    audit: Audit, bad: tuple[int, ...], more: dict[str, Any], claims: tuple[int, int, int, str] | None
) -> None:
    audit.audited = SPREAD
    audit.err(*bad)
    audit.route(**STEPS, **more)
    made = audit.certify(audit.check(images=[image(3), image(20, missed=2), image(27)]))
    if claims is None:
        assert made.beside == ()
        return
    missed, nobody = made.beside
    assert (missed.found, missed.drawn, missed.population, missed.digest) == claims
    assert missed.bound == upper_bound(*claims[:3], 0.9)
    assert (nobody.population, nobody.digest) == claims[2:]
    if made.issued and claims[3]:
        assert f"named by the digest {claims[3]}." in made.words()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"need": (0, 1, -1), "complete": (5, 18)}, "steps: are 1, but there are 2 nested sets"),
        ({"need": (0, 1, -1), "complete": (5, 2, 25)}, "steps: do not grow to the 25 images"),
        ({"need": (0, 2, -1), "complete": (5, 18, 25)}, "steps: do not grow to the 25 images, and 3 drawn"),
        ({"need": (-1, 1, -1), "complete": (1, 18, 25)}, "steps: hold fewer images than were drawn"),
    ],
)
def test_steps_of_images_that_contradict_each_other_are_refused(
    audit: Audit, more: dict[str, Any], message: str
) -> None:
    audit.route(**STEPS, **more)
    with pytest.raises(FormatError, match=message):
        audit.certify(audit.check(images=[image(3), image(20), image(27)]))


def test_other_plants_than_those_that_were_sealed_are_refused(audit: Audit) -> None:
    shown = planted(audit)
    audit.route(plants=shown)
    digest = Manifest.open(audit.routing / "plants").digest
    audit.route(max_bad=0.4, plants=shown, seal=True)
    record = json.loads((audit.routing / "routing.json").read_text())
    record = sealed({**record, "plants": {"natural": 10, "digest": digest}}, audit.routing)
    (audit.routing / "routing.json").write_text(json.dumps(record))
    audit.write("routing/plants", wild(shown, range(10), 6))  # easier to see
    answers = audit.check([caught(audit, shown, i) for i in range(10)])
    with pytest.raises(InputError, match="plants: is not what routing wrote"):
        audit.certify(answers)
    audit.write("routing/plants", shown)
    assert audit.certify(answers).issued


@pytest.mark.parametrize("missed", [-1, 0.5, "two"])
def test_a_number_of_people_is_a_number(audit: Audit, missed: Any) -> None:
    with pytest.raises(FormatError, match=r"images\.jsonl.*missed: is"):
        with_images(audit, image(3, missed=missed), image(4), image(5))


def test_all_of_it_survives_the_file(audit: Audit) -> None:
    shown = planted(audit)
    audit.route(max_bad=0.4, plants=shown, blind=(0,), images=(3,), steps=(40, ACCEPTED), seal=False)
    checks = [audit.said(0, "blind", bad=False), *(caught(audit, shown, i) for i in range(10))]
    made = audit.certify(audit.check(checks, images=[image(3)]))
    assert made.issued
    assert Certificate.from_dict(made.to_dict()) == made
    text = made.words()
    for part in ("10 of 10 known errors", "nested sets", "not joint", "somebody without a box"):
        assert part in text
    assert np.isfinite(made.bound_after)
