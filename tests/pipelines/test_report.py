"""A small project with images of noise, which compress worst: one file, bounded, and about the right thing."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ExistsError, InputError
from autolabel.manifest import Manifest, write_manifest
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, write_corrections
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.report import Report, report

SKELETON = Skeleton.load("lsp14")
K = SKELETON.num_keypoints
LIMIT = 3_000_000
PEOPLE = 36


def write_dataset(project: Path) -> Manifest:
    random = np.random.default_rng(0)
    folder = project / "images"
    folder.mkdir(parents=True)
    states = ["accepted", "review", "reviewed"]
    poses = Poses.create(
        K,
        id=[f"{i:032x}" for i in range(PEOPLE)],
        xy=random.uniform(60, 340, (PEOPLE, K, 2)),
        visibility=np.full((PEOPLE, K), Visibility.VISIBLE),
        origin=np.full((PEOPLE, K), Origin.MODEL),
        box=np.tile([40.0, 40.0, 360.0, 360.0], (PEOPLE, 1)),
        p_bad=random.uniform(0, 1, PEOPLE),
        attributes=[{"state": states[i % 3]} for i in range(PEOPLE)],
    )
    samples: list[Sample] = []
    for i in range(PEOPLE):
        pixels = random.integers(0, 256, (400, 400, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}<b>.png", compress_level=1)
        samples.append(Sample(f"s{i}", "images", f"{i}<b>.png", (400, 400), poses.take([i])))
    return write_manifest(project / "dataset", samples, SKELETON, {"images": folder}, stage="merge", part_size=10)


def write_round(project: Path, number: int, dataset: Manifest) -> None:
    folder = project / "rounds" / f"{number:02d}" / "corrections"
    folder.mkdir(parents=True)
    measured = {"n": 100, "bad": 0.3 - 0.1 * number, "gross": 0.1, "epe": 9.0 - number, "oks": 0.8}
    arm = {"untouched": measured, "test": measured}
    record: dict[str, Any] = {
        "round": number,
        "model": "0123456789ab",
        "trained_on": 50,
        "counts": {"accepted": 12, "review": 12},
        "effort": {"poses_opened": 12 * number, "clicks": 30 * number},
        "routed": arm,
        "random": arm,
        "score": {"auroc_bad": 0.9, "risk_coverage": [[1.0, 0.1]], "reliability": [[0.1, 0.1, 90]]},
        "seconds": {"train": 2.0},
    }
    (folder.parent / "round.json").write_text(json.dumps(record))
    ledger = [correction(sample.poses) for sample in dataset if sample.poses.attributes[0]["state"] == "reviewed"]
    write_corrections(folder / "corrections.jsonl", ledger)


def correction(poses: Poses) -> Correction:
    pose = poses[0]
    return Correction(
        pose=pose.id,
        sample=("", "", ""),
        change=PoseChange.KEPT,
        keypoints=(KeypointChange.MOVED,) * K,
        before=Stated(pose.xy + np.float32(9), pose.visibility, pose.box),
        after=Stated.of(pose),
        state=State.REVIEWED,
        verdict=(),
        by="ann <i>",
        when="2026-01-01T00:00:00+00:00",
        seconds=None,
        clicks=1,
        task="",
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("reports") / "noise"
    dataset = write_dataset(project)
    for number in range(2):
        write_round(project, number, dataset)
    return project


@pytest.fixture(scope="module")
def made(project: Path) -> Report:
    return report(project)


def test_a_project_is_one_bounded_file_that_needs_no_other(project: Path, made: Report) -> None:
    assert made.path == project / "report.html"
    html = made.path.read_text(encoding="utf-8")
    assert made.summary() == {"report": made.path, "plots": 3, "pictures": 24, "bytes": made.path.stat().st_size}
    assert 100_000 < made.size < LIMIT
    assert not re.search(r"https?:|file:|src=\"(?!data:)", html)
    assert "<b>" not in html and "0&lt;b&gt;.png" in html
    for words in ("Nothing is promised yet", "Untouched poses, round by round", "Held-out test", "random routing",
                  "Most doubtful", "Accepted", "Corrected", "14 of 14 keypoints changed by ann &lt;i&gt;"):  # fmt: skip
        assert words in html


def test_the_same_project_gives_the_same_bytes(project: Path, made: Report, tmp_path: Path) -> None:
    assert report(project, out=tmp_path / "again.html").path.read_bytes() == made.path.read_bytes()


def test_a_round_is_told_alone(project: Path, tmp_path: Path) -> None:
    made = report(project / "rounds" / "00", out=tmp_path / "deep" / "round.html")
    html = made.path.read_text(encoding="utf-8")
    assert "<title>noise: round 0</title>" in html
    assert "1 round ·" in html


def test_a_manifest_is_told_without_a_promise(project: Path, tmp_path: Path) -> None:
    made = report(project / "dataset", out=tmp_path / "m.html")
    html = made.path.read_text(encoding="utf-8")
    assert made.size < LIMIT and made.plots == 1 and made.pictures == 16
    assert "What is said about each keypoint" in html
    assert "promise" not in html


def test_reports_are_not_overwritten_unasked(project: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("mine")
    with pytest.raises(ExistsError, match="overwrite"):
        report(project / "dataset", out=file)
    assert file.read_text() == "mine"
    assert report(project / "dataset", out=file, overwrite=True).size == file.stat().st_size


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither a manifest nor a project.*round\.json"):
        report(tmp_path)
    (tmp_path / "rounds").mkdir()
    with pytest.raises(InputError, match="no round is finished"):
        report(tmp_path)
    assert not (tmp_path / "report.html").exists()
