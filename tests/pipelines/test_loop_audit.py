"""The end of the loop: a certificate that is issued, one that is refused, and audits that nobody can decide yet.

A network that is any good takes minutes to train. Here the truth is made to fit a bad one: where its peaks are high,
the truth is what it says, elsewhere something else. The doubt then has something to find.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.certify import population_digest
from autolabel.errors import ConfigError
from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.poses import Poses, Sample, Visibility
from pipelines import loop
from pipelines.predict import predict
from pipelines.simulated_reviewer import SimulatedReviewer

K = 17
POSES = 60
"""In the calibration manifest, and again in the pool."""

KNOWN = 30
"""In the test manifest, which errors are planted from."""

EVERY = 2 * POSES + KNOWN


class Case:
    """Boxes on copies of the drawn images, what the network says about them, and the truth made from that."""

    def __init__(self, drawn_case: Any, weights: Path) -> None:
        self.drawn, self.weights = drawn_case, weights
        self.folder = drawn_case.folder / "made-up"
        (self.folder / "images").mkdir(parents=True)
        rng = np.random.default_rng(0)
        originals = [drawn_case.truth.image_path(sample) for sample in drawn_case.truth]
        samples: list[Sample] = []
        for i, original in enumerate(originals[i % len(originals)] for i in range(EVERY)):
            os.link(original, self.folder / "images" / f"{i}.jpg")
            size = next(s.size for s in drawn_case.truth if drawn_case.truth.image_path(s) == original)
            low = rng.uniform(0, 60, 2)
            box = [*low, *(low + rng.uniform(60, 120, 2))]
            samples.append(
                Sample(f"{i:032x}", "made-up", f"{i}.jpg", size, Poses.create(K, id=[f"pose-{i:03}"], box=[box]))
            )
        self.write("boxes", samples)
        self.predicted = predict(
            self.folder / "boxes", weights=weights, out=self.folder / "said", flip_test=True
        ).manifest
        features = self.predicted.features(0)
        assert features is not None
        peaks = features["peak"].mean(axis=1)
        self.doubtful = peaks < np.quantile(peaks, 0.4)
        self.samples = samples
        self.write("calibration", self.true(~self.doubtful)[:POSES])
        self.write("pool", samples[POSES : 2 * POSES])
        self.known = self.write("known", self.true(~self.doubtful)[2 * POSES :])

    def write(self, name: str, samples: list[Sample]) -> Manifest:
        roots = {"made-up": self.folder / "images"}
        skeleton = self.drawn.truth.skeleton
        return write_manifest(self.folder / name, samples, skeleton, roots, stage="test", existing=Existing.OVERWRITE)

    def true(self, right: Any) -> list[Sample]:
        """The samples with true poses: what was predicted where ``right``, elsewhere any points of the box."""
        said = self.predicted.poses(0)
        share = np.random.default_rng(1).random((EVERY, K, 2))
        anywhere = said.box[:, None, :2] + share * (said.box[:, 2:] - said.box[:, :2])[:, None]
        xy = np.where(np.asarray(right)[:, None, None], said.xy, anywhere)
        truth = said.replace(xy=xy, visibility=np.full((EVERY, K), Visibility.VISIBLE))
        return [sample.with_poses(truth.take([i])) for i, sample in enumerate(self.samples)]

    def project(self, name: str, *, test: str = "", **promise: Any) -> Path:
        return self.drawn.project(
            name,
            corpus={"boxes": "../made-up/pool", "calibration": "../made-up/calibration", "test": test},
            promise={"max_bad": 0.3, "confidence": 0.8, "audit": 30, **promise},
            rounds={"count": 0},
            network={"weights": str(self.weights)},
        )

    def reviewer(self, right: Any, name: str) -> SimulatedReviewer:
        truth = self.write(name, self.true(right)[POSES : 2 * POSES])
        return SimulatedReviewer((truth, self.known), seed=0, noise=0.0)


@pytest.fixture(scope="module")
def case(drawn_case: Any, tiny_weights: Path) -> Case:
    return Case(drawn_case, tiny_weights)


def dataset(project: Path) -> Poses:
    return Manifest.open(project / "dataset").poses(0)


def states(poses: Poses) -> np.ndarray:
    return np.array([a["state"] for a in poses.attributes])


def audited(project: Path) -> list[str]:
    return (project / "audit" / "routing" / "audit.txt").read_text().split()


def accepted(project: Path) -> list[str]:
    return (project / "audit" / "routing" / "accepted.txt").read_text().split()


def test_a_certificate_covers_what_is_accepted(case: Case) -> None:
    project = case.project("issued")
    result = loop.run(project, reviewer=case.reviewer(~case.doubtful, "truth-issued"))
    certificate = result.certificate
    assert certificate is not None
    assert certificate.issued, certificate.reason
    poses = dataset(project)
    proposed, all_drawn = accepted(project), audited(project)
    frozen = proposed[: certificate.population_before]
    drawn = [pose for pose in all_drawn if pose in frozen]
    assert len(proposed) == certificate.steps[-1].size
    assert 0 < len(drawn) == certificate.counts.audited < len(frozen)
    assert set(poses.id[states(poses) == "accepted"]) == set(frozen) - set(drawn)
    assert set(poses.id[states(poses) == "reviewed"]) >= set(all_drawn), "people settled what they audited"
    claimed = poses.take(np.isin(poses.id, frozen) & (states(poses) != "rejected"))
    assert certificate.digest_after == population_digest(claimed)
    assert certificate.covers(claimed)
    truth = dict(zip((f"pose-{i:03}" for i in range(EVERY)), case.doubtful, strict=True))
    left = [truth[pose] for pose in poses.id[states(poses) == "accepted"]]
    assert np.mean(left) <= 0.3
    exported = json.loads((project / "coco.json").read_text())
    assert len(exported["annotations"]) == np.isin(states(poses), ["accepted", "reviewed"]).sum()
    effort = json.loads((project / "audit" / "audit.json").read_text())
    opened = effort["effort"]["poses_opened"]
    assert 0 < opened == effort["tasks"]["audit"] + effort["tasks"]["review"] <= 30
    assert str(opened) in (project / "report.html").read_text()


def test_reviewers_and_images_are_checked_beside(case: Case) -> None:
    project = case.project("checked", test="../made-up/known", max_bad=0.5, audit=60, plants=8, blind=2, images=12)
    result = loop.run(project, reviewer=case.reviewer(~case.doubtful, "truth-checked"))
    certificate = result.certificate
    assert certificate is not None
    rates = certificate.reviewers
    assert rates is not None
    assert (rates.planted, rates.planted_caught, rates.blind) == (8, 8, 2)
    assert rates.sensitivity < 1
    assert certificate.issued and len(certificate.beside) == 2, "of the images that the certified set completes"
    assert all(0 < claim.drawn <= 12 and claim.found == 0 for claim in certificate.beside)
    poses = dataset(project)
    assert set(poses.id) == {f"pose-{i:03}" for i in range(POSES, 2 * POSES)}, "no planted pose is exported"
    proven = set(accepted(project)[: certificate.population_before]) if certificate.issued else set()
    assert set(poses.id[states(poses) == "accepted"]) == proven - set(audited(project))
    effort = json.loads((project / "audit" / "audit.json").read_text())
    assert {kind: effort["tasks"][kind] for kind in ("planted", "blind", "image")} == {
        "planted": 8,
        "blind": 3,  # the audit left room for one decoy
        "image": 12,
    }
    assert effort["effort"]["poses_opened"] == sum(effort["tasks"].values()) <= 60


def test_plants_need_checked_poses(case: Case) -> None:
    with pytest.raises(ConfigError, match=r"promise\.plants asks for known errors"):
        loop.run(case.project("unchecked", plants=5))


def test_after_a_refusal_nothing_is_accepted(case: Case) -> None:
    project = case.project("refused", audit=12)  # few of the accepted ones, so that correcting these does not save it
    right = np.zeros(EVERY, bool)
    result = loop.run(project, reviewer=case.reviewer(right, "truth-refused"))
    certificate = result.certificate
    assert certificate is not None
    assert not certificate.issued
    assert certificate.counts.bad > 0.3 * certificate.counts.audited > 0
    poses = dataset(project)
    assert set(states(poses)) == {"reviewed", "review"}
    assert len(accepted(project)) > 0, "it was proposed before anybody answered"
    exported = json.loads((project / "coco.json").read_text())
    assert len(exported["annotations"]) == (states(poses) == "reviewed").sum() == 12
    assert result.state == "done"


class Hesitant:
    """Answers as another reviewer does, but asks an expert about one audited pose and submits another one empty."""

    def __init__(self, inner: SimulatedReviewer) -> None:
        self.inner = inner

    def review(self, project: str | Path) -> int:
        count = self.inner.review(project)
        folder = Path(project) / "labelstudio"
        lines = (folder / "taskmap.jsonl").read_text().splitlines()
        key = {task["pose"]: task["task"] for task in map(json.loads, lines)}
        unsure, careless = audited(Path(project))[:2]
        for file in folder.glob("exports/*.json"):
            exported = json.loads(file.read_text())
            for task in exported:
                if task["data"]["task_key"] == key[unsure]:
                    task["annotations"][0]["result"].append(EXPERT)
                if task["data"]["task_key"] == key[careless]:
                    task["annotations"][0]["result"] = []
            file.write_text(json.dumps(exported))
        return count


EXPERT = {
    "id": "v",
    "from_name": "verdict",
    "to_name": "image",
    "type": "choices",
    "origin": "manual",
    "value": {"choices": ["needs expert"]},
}


def test_an_audit_waits_until_every_pose_is_decided(case: Case) -> None:
    project = case.project("hesitant")
    inner = case.reviewer(~case.doubtful, "truth-hesitant")
    result = loop.run(project, reviewer=Hesitant(inner))
    assert result.state == "waiting"
    assert result.waits_for.startswith("reviewers: 2 tasks of the audit, such as that of pose pose-")
    assert result.certificate is None
    assert loop.run(project).waits_for == result.waits_for
    for file in (project / "labelstudio" / "exports").glob("*.json"):
        file.unlink()  # the server now holds other answers, and is exported again
    inner.review(project)
    for file in (project / "labelstudio" / "exports").glob("*.json"):
        file.write_text(file.read_text().replace('"updated_at": "2026', '"updated_at": "2027'))
    result = loop.run(project)
    assert result.state == "done"
    assert result.certificate is not None
    assert result.certificate.issued


def test_without_a_budget_for_the_audit_nothing_is_promised(case: Case) -> None:
    result = loop.run(case.project("no-audit", audit=0))
    assert result.state == "done"
    assert result.certificate is not None
    assert not result.certificate.issued
    assert (result.effort.poses_opened, result.certificate.population) == (0, 0)
