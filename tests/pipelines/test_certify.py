"""A routing with a known number of bad poses: what is counted, what is issued, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from autolabel.certify import Certificate, population_digest, residual_bound, upper_bound
from autolabel.errors import ExistsError, FormatError, InputError, ManifestError, SkeletonError
from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.certify import certify

SKELETON = Skeleton.load("lsp14")
K = SKELETON.num_keypoints
ACCEPTED, AUDITED = 48, 30


@dataclass
class Audit:
    """A routed manifest of 60 poses, two a sample, of which 48 are accepted and 30 of those audited."""

    folder: Path
    model: Poses

    def ids(self, n: int) -> list[str]:
        return self.model.id[:n].tolist()

    def samples(self, poses: Poses) -> list[Sample]:
        return [
            Sample(f"s{i}", "root", f"{i}.png", (200, 200), poses.take([2 * i, 2 * i + 1]))
            for i in range(len(poses) // 2)
        ]

    def write(self, name: str, poses: Poses, skeleton: Skeleton = SKELETON) -> Path:
        path = self.folder / name
        roots = {"root": self.folder}
        write_manifest(
            path, self.samples(poses), skeleton, roots, stage="test", part_size=7, existing=Existing.OVERWRITE
        )
        return path

    def route(self, max_bad: float = 0.1, **changes: object) -> Path:
        folder = self.folder / "routing"
        folder.mkdir(exist_ok=True)
        manifest = Manifest.open(self.write("model", self.model))
        record = {
            "manifest": "../model",
            "manifest_digest": manifest.digest,
            "digest": "routing-digest",
            "max_bad": max_bad,
            "confidence": 0.9,
            "population_digest": population_digest(self.model.take(range(ACCEPTED))),
        }
        (folder / "routing.json").write_text(json.dumps(record | changes))
        (folder / "accepted.txt").write_text("".join(f"{pose}\n" for pose in self.ids(ACCEPTED)))
        (folder / "audit.txt").write_text("".join(f"{pose}\n" for pose in self.ids(AUDITED)[::-1]))
        return folder

    def answer(self, **changes: object) -> Path:
        """Everything reviewed; the pixels that a person shifts every keypoint by change no pose's verdict."""
        given = self.model.replace(xy=self.model.xy + 0.25, **changes)
        if "attributes" not in changes:
            given = given.replace(attributes=[{"state": "reviewed"}] * len(given))
        return self.write("answers", given)

    def certify(self, answers: Path, overwrite: bool = False) -> Certificate:
        out = self.folder / "certificate.json"
        return certify(self.folder / "routing", audit=answers, out=out, overwrite=overwrite)


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    n = 60
    xy = np.random.default_rng(3).uniform(20, 180, (n, K, 2))
    model = Poses.create(
        K,
        id=[f"pose{i:02d}" for i in range(n)],
        xy=xy,
        visibility=np.full((n, K), Visibility.VISIBLE),
        origin=np.full((n, K), Origin.MODEL),
        box=np.tile([0.0, 0.0, 200.0, 200.0], (n, 1)),
    )
    return Audit(tmp_path, model)


def states(*rejected: int) -> list[dict[str, str]]:
    return [{"state": "rejected" if i in rejected else "reviewed"} for i in range(60)]


def test_a_clean_audit_is_issued_and_written(audit: Audit) -> None:
    audit.route()
    answers = audit.answer()
    made = audit.certify(answers)
    assert made.issued
    assert (made.counts.audited, made.counts.bad, made.counts.gross) == (AUDITED, 0, 0)
    assert made.counts.keypoints == AUDITED * K
    assert made.bound_before == upper_bound(0, AUDITED, ACCEPTED, 0.9)
    assert set(made.audit) == set(audit.ids(AUDITED))
    written = json.loads((audit.folder / "certificate.json").read_text())
    assert Certificate.from_dict(written) == made


def wild(audit: Audit, pose: int, keypoints: int) -> np.ndarray:
    """The model's xy with some keypoints of one pose far off."""
    xy = audit.model.xy.copy()
    xy[pose, :keypoints] += 150
    return xy


def test_bad_poses_are_counted_as_everywhere_else(audit: Audit) -> None:
    xy = wild(audit, 1, 2)  # two gross keypoints: bad, although 12 of 14 are right
    xy[4, 0] += 150  # one gross keypoint: not bad
    xy[2, :3] += 150  # will be rejected: bad as a pose, of which no keypoint counts
    xy[AUDITED + 1] += 150  # accepted but not audited: nobody knows
    answered = audit.answer()  # what people say is the truth from before the model went wrong
    audit.model = audit.model.replace(xy=xy)
    audit.route(max_bad=0.2)
    answers = Manifest.open(answered)
    truth = Poses.concat([sample.poses for sample in answers])
    audit.write("answers", truth.replace(attributes=states(2)).take(np.arange(60)[::-1]))  # in any order
    made = audit.certify(answered)
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
    answers = audit.answer(attributes=states(0))
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
    made = audit.certify(audit.answer(attributes=states(0, 1, 2, 3)))
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
    refused = audit.certify(audit.answer(attributes=states(0, 1, 2, 3)))
    assert not refused.issued
    with pytest.raises(InputError, match=r"judged before, with other answers.*route again"):
        audit.certify(audit.answer(), overwrite=True)
    assert audit.certify(audit.answer(attributes=states(0, 1, 2, 3))) == refused


def test_another_certificate_is_not_overwritten_and_the_audit_not_spent(audit: Audit) -> None:
    audit.route()
    answers = audit.answer()
    (audit.folder / "certificate.json").write_text("{}")
    with pytest.raises(ExistsError, match=r"certificate\.json: another certificate"):
        audit.certify(answers)
    assert not (audit.folder / "routing" / "audit-spent.json").exists()
    assert audit.certify(answers, overwrite=True).issued


def rename_accepted(folder: Path) -> None:
    (folder / "accepted.txt").write_text((folder / "accepted.txt").read_text().replace("pose47", "pose48"))


def audit_a_stranger(folder: Path) -> None:
    (folder / "audit.txt").write_text("pose00\npose59\n")


def twice(folder: Path) -> None:
    (folder / "audit.txt").write_text("pose00\npose00\n")


def no_audit(folder: Path) -> None:
    (folder / "audit.txt").unlink()


def not_json(folder: Path) -> None:
    (folder / "routing.json").write_text("{")


def no_routing(folder: Path) -> None:
    (folder / "routing.json").unlink()


def no_limit(folder: Path) -> None:
    record = json.loads((folder / "routing.json").read_text())
    del record["max_bad"]
    (folder / "routing.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (rename_accepted, InputError, "not those that routing froze"),
        (audit_a_stranger, InputError, "1 audited poses are not accepted ones, such as pose59"),
        (twice, FormatError, "names a pose twice"),
        (no_audit, FormatError, r"audit\.txt: cannot be read"),
        (not_json, FormatError, r"routing\.json: is not JSON"),
        (no_routing, InputError, "Give the folder that `autolabel route` wrote"),
        (no_limit, FormatError, "max_bad: is missing"),
    ],
)
def test_a_damaged_routing_is_refused(
    audit: Audit, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    damage(audit.route())
    with pytest.raises(error, match=message):
        audit.certify(audit.answer())
    assert not (audit.folder / "certificate.json").exists()


def test_a_manifest_that_changed_since_routing_is_refused(audit: Audit) -> None:
    audit.route()
    audit.write("model", audit.model.replace(p_bad=np.full(60, 0.01)))
    with pytest.raises(InputError, match=r"another version of .*Route the manifest as it is now"):
        audit.certify(audit.answer())


def test_answers_of_another_skeleton_or_with_a_pose_twice_are_refused(audit: Audit) -> None:
    audit.route()
    audit.answer()
    other = Skeleton.load("aic14")
    with pytest.raises(SkeletonError, match="autolabel map"):
        audit.certify(audit.write("answers", audit.model, other))
    double = audit.model.replace(attributes=states(), id=["pose00", "pose00", *audit.model.id[2:]])
    audit.route(population_digest=population_digest(audit.model.take(range(ACCEPTED))))
    (audit.folder / "routing" / "audit.txt").write_text("pose00\n")
    with pytest.raises(ManifestError, match="two poses have the same id"):
        audit.certify(audit.write("answers", double))
