"""A routing with a known number of bad poses: what is counted, what is issued, and what is refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autolabel.bounds import residual_bound, upper_bound
from autolabel.certificate import Certificate
from autolabel.digests import population_digest
from autolabel.errors import ExistsError, FormatError, InputError, ManifestError, SkeletonError
from autolabel.manifest import Manifest
from autolabel.poses import Poses, Visibility
from autolabel.skeleton import Skeleton
from tests.pipelines.audited import ACCEPTED, AUDITED, Audit, K, states


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit.make(tmp_path)


def test_a_clean_audit_is_issued_and_written(audit: Audit) -> None:
    audit.route()
    answers = audit.answer()
    made = audit.certify(answers)
    assert made.issued
    assert (made.counts.audited, made.counts.bad, made.counts.gross) == (AUDITED, 0, 0)
    assert made.counts.keypoints == AUDITED * K
    assert made.bound_before == upper_bound(0, AUDITED, ACCEPTED, 0.9)
    assert set(made.audit) == set(audit.ids(range(AUDITED)))
    written = json.loads((audit.folder / "certificate.json").read_text())
    assert Certificate.from_dict(written) == made


def test_bad_poses_are_counted_as_everywhere_else(audit: Audit) -> None:
    audit.err(1)  # two gross keypoints: bad, although 12 of 14 are right
    audit.err(4, keypoints=1)  # one gross keypoint: not bad
    audit.err(2, keypoints=3)  # will be rejected: bad as a pose, of which no keypoint counts
    audit.err(AUDITED + 1, keypoints=K)  # accepted but not audited: nobody knows
    audit.route(max_bad=0.2)
    answers = Manifest.open(audit.answer())
    given = Poses.concat([sample.poses for sample in answers])
    shuffled = audit.write("answers", given.replace(attributes=states(2)).take(np.arange(60)[::-1]))
    made = audit.certify(shuffled)
    assert (made.counts.bad, made.counts.rejected, made.counts.gross) == (2, 1, 3)
    assert made.counts.keypoints == (AUDITED - 1) * K
    assert made.bound_before == upper_bound(2, AUDITED, ACCEPTED, 0.9)
    assert made.bound_after == residual_bound(2, AUDITED, ACCEPTED, 0.9, rejected=1)
    assert made.population_after == ACCEPTED - 1


def test_an_absent_keypoint_that_the_model_placed_is_gross(audit: Audit) -> None:
    audit.route()
    visibility = audit.model.visibility.copy()
    visibility[3, [5, 6]] = Visibility.ABSENT
    assert audit.certify(audit.answer(visibility=visibility)).counts.bad == 1


def test_what_it_covers_is_the_corrected_population_alone(audit: Audit) -> None:
    audit.route(max_bad=0.2)
    answers = audit.answer(rejected=[0])
    made = audit.certify(answers)
    assert made.issued
    answered = Poses.concat([sample.poses for sample in Manifest.open(answers)])
    corrected = [answered.take(range(1, AUDITED)), audit.model.take(range(AUDITED, ACCEPTED))]
    assert made.covers(corrected)
    assert made.digest_before == population_digest(audit.model.take(range(ACCEPTED)))
    assert not made.covers(audit.model.take(range(ACCEPTED)))  # without the corrections
    assert not made.covers([*corrected, audit.model.take([ACCEPTED])])  # with one that was not accepted


def test_too_many_bad_ones_are_refused_with_a_reason_and_still_written(audit: Audit) -> None:
    audit.route(max_bad=0.05)
    made = audit.certify(audit.answer(rejected=(0, 1, 2, 3)))
    assert not made.issued
    assert "4 of 30 audited poses were bad" in made.reason
    assert json.loads((audit.folder / "certificate.json").read_text())["issued"] is False


def test_nothing_accepted_certifies_nothing(audit: Audit) -> None:
    folder = audit.route(population_digest=population_digest(Poses.empty(K)))
    (folder / "accepted.txt").write_text("")
    (folder / "audit.txt").write_text("")
    made = audit.certify(audit.answer())
    assert not made.issued
    assert "nothing to certify" in made.reason


@pytest.mark.parametrize("state", [{}, {"state": "expert"}, {"state": "audit"}])
def test_an_audited_pose_without_an_answer_is_named(audit: Audit, state: dict[str, str]) -> None:
    audit.route()
    attributes: list[dict[str, str]] = states()
    attributes[7] = state
    with pytest.raises(InputError, match=r"1 of 30 audited poses have no answer, such as pose07.*autolabel pull"):
        audit.certify(audit.answer(attributes=attributes))


def test_an_answer_that_says_nothing_is_none(audit: Audit) -> None:
    audit.route()
    visibility = audit.model.visibility.copy()
    visibility[9] = Visibility.UNLABELLED
    with pytest.raises(InputError, match="pose pose09: an answer that labels no keypoint"):
        audit.certify(audit.answer(visibility=visibility))


def test_an_audit_proves_something_once(audit: Audit) -> None:
    audit.route(max_bad=0.05)
    refused = audit.certify(audit.answer(rejected=(0, 1, 2, 3)))
    assert not refused.issued
    with pytest.raises(InputError, match=r"judged before, with other answers.*The verdict stands.*--after"):
        audit.certify(audit.answer(), overwrite=True)
    assert audit.certify(audit.answer(rejected=(0, 1, 2, 3))) == refused


def test_another_certificate_is_not_overwritten_and_the_audit_not_spent(audit: Audit) -> None:
    audit.route()
    answers = audit.answer()
    (audit.folder / "certificate.json").write_text("{}")
    with pytest.raises(ExistsError, match=r"certificate\.json: another certificate"):
        audit.certify(answers)
    assert not (audit.folder / "routing" / "audit-spent.json").exists()
    assert audit.certify(answers, overwrite=True).issued


def test_a_certificate_is_a_file(audit: Audit) -> None:
    audit.route()
    answers = audit.answer()
    (audit.folder / "certificate.json").mkdir()
    with pytest.raises(InputError, match=r"certificate\.json: is a folder.*name of a file"):
        audit.certify(answers, overwrite=True)
    assert not (audit.routing / "audit-spent.json").exists()


def lists(folder: Path, name: str, *ids: str) -> None:
    (folder / name).write_text("".join(f"{pose}\n" for pose in ids))


def edit(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "routing.json").read_text()) | changes
    kept = {name: value for name, value in record.items() if value is not None}
    (folder / "routing.json").write_text(json.dumps(kept))


def rename_accepted(folder: Path) -> None:
    (folder / "accepted.txt").write_text((folder / "accepted.txt").read_text().replace("pose47", "pose48"))


def add_accepted(folder: Path) -> None:
    (folder / "accepted.txt").write_text((folder / "accepted.txt").read_text() + "pose48\n")


def accept_a_stranger(folder: Path) -> None:
    (folder / "accepted.txt").write_text((folder / "accepted.txt").read_text().replace("pose47", "nobody"))


DAMAGES = [
    (rename_accepted, InputError, "not those that routing froze"),
    (add_accepted, InputError, "not those that routing froze"),
    (accept_a_stranger, InputError, "not those that routing froze"),
    (lambda f: lists(f, "audit.txt", "pose00", "pose59"), InputError, "1 audited poses are not accepted ones, such as"),
    (lambda f: lists(f, "audit.txt", "pose00", "pose00"), FormatError, "names a pose twice"),
    (lambda f: (f / "audit.txt").unlink(), FormatError, r"audit\.txt: cannot be read"),
    (lambda f: lists(f, "blind.txt", "pose40"), InputError, "1 blind tasks are of poses that are not audited"),
    (lambda f: lists(f, "blind.txt", "pose04"), FormatError, "delta: leaves nothing to the reviewers"),
    (lambda f: (f / "routing.json").write_text("{"), FormatError, r"routing\.json: is not JSON"),
    (lambda f: (f / "routing.json").unlink(), InputError, "Give the folder that `autolabel route` wrote"),
    (lambda f: edit(f, max_bad=None), FormatError, "max_bad: is missing"),
    (lambda f: edit(f, max_bad=0), FormatError, "max_bad: is 0, expected a number between 0 and 1"),
    (lambda f: edit(f, max_bad=1), FormatError, "max_bad: is 1"),
    (lambda f: edit(f, max_bad=math.nan), FormatError, "max_bad: NaN and Infinity are not JSON numbers"),
    (lambda f: edit(f, max_bad="2 %"), FormatError, "max_bad: is a text, expected a number"),
    (lambda f: edit(f, confidence=1), FormatError, "confidence: is 1"),
    (lambda f: edit(f, confidence=0), FormatError, "confidence: is 0"),
    (lambda f: edit(f, delta={"this_audit": 0.2}), FormatError, "delta: a δ that cannot be spent so"),
    (lambda f: edit(f, attempts=2), FormatError, "delta: audits that spend more than their δ together"),
    (lambda f: edit(f, keypoints={"population": 9, "drawn": 1}), FormatError, "keypoints: 1 were drawn, and"),
    (lambda f: edit(f, images={"population": 9, "drawn": 2}), FormatError, "images: 2 were drawn, and"),
    (lambda f: edit(f, steps=[{"size": 47, "population_digest": "0"}]), FormatError, "steps: end with another set"),
]


@pytest.mark.parametrize(("damage", "error", "message"), DAMAGES)
def test_a_damaged_routing_is_refused(
    audit: Audit, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    damage(audit.route())
    with pytest.raises(error, match=message):
        audit.certify(audit.answer())
    assert not (audit.folder / "certificate.json").exists()
    assert not (audit.routing / "audit-spent.json").exists()


@pytest.mark.parametrize(
    ("edited", "name"),
    [
        (
            lambda f: lists(f, "audit.txt", *(f"pose{i:02d}" for i in range(4, 30))),
            "audit.txt",
        ),  # the bad ones are gone
        (lambda f: (f / "accepted.txt").write_text((f / "accepted.txt").read_text()[::-1]), "accepted.txt"),
        (lambda f: lists(f, "blind.txt", "pose04"), "blind.txt"),
        (lambda f: (f / "audit.txt").unlink(), "audit.txt"),
        (lambda f: edit(f, max_bad=0.5), "routing.json"),
        (lambda f: edit(f, steps=None), "routing.json"),
        (lambda f: edit(f, digest="another"), "routing.json"),
    ],
)
def test_an_edited_routing_is_refused(audit: Audit, edited: Callable[[Path], None], name: str) -> None:
    audit.audited = SPREAD
    folder = audit.route(steps=(32, ACCEPTED), seal=True)
    edited(folder)
    with pytest.raises(InputError, match=rf"{name}: is not what routing wrote. Put back"):
        audit.certify(audit.answer())


def test_a_promise_is_not_lowered_once_the_audit_is_known(audit: Audit) -> None:
    folder = audit.route(max_bad=0.05)
    assert not audit.certify(audit.answer(rejected=(0, 1, 2, 3))).issued
    edit(folder, max_bad=0.3)
    with pytest.raises(InputError, match="judged before, with another promise"):
        audit.certify(audit.answer(rejected=(0, 1, 2, 3)), overwrite=True)


def test_a_manifest_that_changed_since_routing_is_refused(audit: Audit) -> None:
    audit.route()
    audit.write("model", audit.model.replace(p_bad=np.full(60, 0.01)))
    with pytest.raises(InputError, match=r"another version of .*Put back what was routed"):
        audit.certify(audit.answer())


def test_poses_added_after_the_draw_are_not_covered(audit: Audit) -> None:
    audit.route(max_bad=0.2)
    made = audit.certify(audit.answer())
    answered = Poses.concat([sample.poses for sample in Manifest.open(audit.folder / "answers")])
    corrected = [answered.take(range(AUDITED)), audit.model.take(range(AUDITED, ACCEPTED))]
    assert made.covers(corrected)
    assert not made.covers([*corrected, audit.model.take([ACCEPTED])])
    more = audit.model.replace(id=[f"late{i}" for i in range(60)])
    audit.write("model", Poses.concat([audit.model, more]))
    with pytest.raises(InputError, match="was made from another version"):
        audit.certify(audit.answer(), overwrite=True)


def test_scores_that_are_not_numbers_change_nothing(audit: Audit) -> None:
    audit.model = audit.model.replace(p_bad=np.full(60, np.nan), score=np.full((60, K), np.nan))
    audit.route()
    assert audit.certify(audit.answer()).issued


def test_answers_of_another_skeleton_or_with_a_pose_twice_are_refused(audit: Audit) -> None:
    audit.route()
    audit.answer()
    other = Skeleton.load("aic14")
    with pytest.raises(SkeletonError, match="autolabel map"):
        audit.certify(audit.write("answers", audit.model, other))
    double = audit.model.replace(attributes=states(), id=["pose00", "pose00", *audit.model.id[2:]])
    lists(audit.route(), "audit.txt", "pose00")
    with pytest.raises(ManifestError, match="two poses have the same id"):
        audit.certify(audit.write("answers", double))


SPREAD = [*range(20), *range(32, 42)]
"""20 of the first 32 accepted poses are audited, and 10 of the other 16."""


@pytest.mark.parametrize(
    ("bad", "step", "population"),
    [
        ((), 1, ACCEPTED),
        ((33, 34, 35, 36), 0, 32),  # the looser set is too bad, which costs the strict one nothing
        ((0, 1, 2, 3), -1, 32),  # the strict one fails: the looser one is not even looked at
    ],
)
def test_nested_sets_are_walked_from_strict_to_loose(
    audit: Audit, bad: tuple[int, ...], step: int, population: int
) -> None:
    audit.audited = SPREAD
    audit.err(*bad)
    audit.route(max_bad=0.12, steps=(32, ACCEPTED), seal=True)
    made = audit.certify(audit.answer())
    assert (made.step, made.issued, made.population_before) == (step, step >= 0, population)
    assert made.counts.audited == (30 if step == 1 else 20)
    assert made.counts.bad == len([row for row in bad if row < population])
    assert made.digest_before == population_digest(audit.model.take(range(population)))
    answered = audit.truth.replace(xy=audit.truth.xy + 0.25)
    inside = [row for row in SPREAD if row < population]
    rest = [row for row in range(population) if row not in inside]
    assert made.digest_after == population_digest([answered.take(inside), audit.model.take(rest)])
    assert {s.name for s in made.strata} <= {"truncated", "small", "crowded", "group: video0", "group: video1"}


def test_a_reordered_list_of_accepted_poses_is_another_row_of_sets(audit: Audit) -> None:
    audit.audited = SPREAD
    folder = audit.route(steps=(32, ACCEPTED))
    lists(folder, "accepted.txt", *audit.ids([*range(1, ACCEPTED), 0]))
    with pytest.raises(InputError, match="not those that routing froze"):
        audit.certify(audit.answer())
