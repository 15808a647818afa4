"""What a project bears between two runs of its loop, and what it refuses: each case says what, where and what to do."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from autolabel.errors import AutolabelError, ConfigError, InputError, SkeletonError
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest, write_manifest
from pipelines import loop
from pipelines.loop import LoopResult
from pipelines.simulated_reviewer import SimulatedReviewer
from pipelines.train import train_network
from tests.doubles import Recorder


@contextmanager
def edited(project: Path, *changes: tuple[str, str]) -> Iterator[None]:
    """The settings with some text replaced; afterwards they are as before."""
    file = project / "autolabel.toml"
    before = text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(before)


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """Without a folder; afterwards it is back, whatever came in its place."""
    kept = folder.with_name(f"{folder.name}.kept")
    folder.rename(kept)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        kept.rename(folder)


@pytest.fixture(scope="module")
def begun(drawn_case: Any, tiny_weights: Path) -> tuple[Path, LoopResult]:
    """A project with images of its own, taken whole, that waits in round 1."""
    project = drawn_case.project(
        "begun",
        rounds={"count": 1},
        network={"weights": str(tiny_weights)},
        corpus={"images": "images", "boxes": "", "labelled": "", "calibration": "", "test": ""},
    )
    shutil.copytree(drawn_case.folder / "drawn" / "images", project / "images")
    (project / "images" / "notes.txt").write_text("no image")
    return project, loop.run(project)


def pictures(project: Path) -> list[Path]:
    return sorted(file for file in (project / "images").rglob("*") if file.suffix in (".jpg", ".png"))


def paint(file: Path) -> None:
    with Image.open(file) as image:
        Image.new("RGB", image.size, (200, 0, 0)).save(file)


def other_pixels_at_the_old_time(file: Path) -> None:
    was = file.stat()
    paint(file)
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


GONE = r"is gone since round 0 was made\. .*put them back as they were, or start a new project"
ALTERED = r"was altered since round 0 was made: its keypoints would lie on other pixels\. A project keeps"


@pytest.mark.parametrize(
    ("change", "error", "notes"),
    [
        pytest.param(Path.unlink, GONE, 0, id="removed"),
        pytest.param(paint, ALTERED, 0, id="altered"),
        pytest.param(other_pixels_at_the_old_time, ALTERED, 0, id="altered, with its old time"),
        pytest.param(lambda file: os.utime(file, ns=(1, 1)), "", 0, id="copied, with another time"),
        pytest.param(lambda file: paint(shutil.copy(file, file.with_name("new.png"))), "", 1, id="added"),
    ],
)
def test_images_that_change_on_disk(
    begun: tuple[Path, LoopResult], change: Callable[[Path], object], error: str, notes: int, tmp_path: Path
) -> None:
    project, waiting = begun
    kept = shutil.copytree(project / "images", tmp_path / "images")
    heard, first = Recorder(), pictures(project)[0]
    change(first)
    try:
        if error:
            with pytest.raises(InputError, match=rf"{first}: {error}"):
                loop.run(project)
        else:
            assert loop.run(project, progress=heard) == waiting
    finally:
        shutil.rmtree(project / "images")
        shutil.copytree(kept, project / "images")
    told = [note for note in heard.notes if "came into" in note]
    assert len(told) == notes
    assert all("1 image came into" in note and "new.png" in note and "leaves them out" in note for note in told)
    assert loop.run(project) == waiting, "put back, it goes on"


def test_several_missing_images_are_counted(begun: tuple[Path, LoopResult], tmp_path: Path) -> None:
    project, waiting = begun
    for file in pictures(project)[:3]:
        shutil.move(file, tmp_path / file.name)
    with pytest.raises(InputError, match="is gone since round 0 was made, as 2 other images of the corpus"):
        loop.run(project)
    for file in tmp_path.iterdir():
        shutil.move(file, project / "images" / file.name)
    assert loop.run(project) == waiting


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            ("[corpus]\n", '[corpus]\nskeleton = "mpii16"\n'),
            SkeletonError,
            r"autolabel\.toml: corpus\.skeleton is mpii16, but the rounds were made with coco17.*Change it back",
        ),
        (("[corpus]\n", '[corpus]\nskeleton = "mpi16"\n'), InputError, "mpi16"),
        (
            ("budget = 4", "budgett = 4"),
            ConfigError,
            r"autolabel\.toml: rounds: unknown key 'budgett'; did you mean 'budget'",
        ),
        (("budget = 4", 'budget = "many"'), ConfigError, r"autolabel\.toml: rounds\.budget"),
        (("[rounds]\n", "[rounds\n"), ConfigError, r"autolabel\.toml"),
        (("[corpus]\n", '[corpus]\nskeleton = "coco17"\n'), None, ""),  # what it was by itself
        (("[rounds]\n", "[rounds]\nseed = 7\n"), None, ""),  # what was drawn once stays drawn
        (("budget = 4", "budget = 2"), None, ""),
    ],
)
def test_settings_edited_by_hand(
    begun: tuple[Path, LoopResult], change: tuple[str, str], error: type[AutolabelError] | None, message: str
) -> None:
    project, waiting = begun
    queue = project / "rounds" / "01" / "routing" / "queue.jsonl"
    drawn = queue.read_bytes()
    with edited(project, change):
        if error is not None:
            with pytest.raises(error, match=message):
                loop.run(project)
        else:
            assert loop.run(project) == waiting
    assert queue.read_bytes() == drawn
    assert loop.run(project) == waiting


def test_somebody_who_rejects_everything_is_told_of(drawn_case: Any, tiny_weights: Path) -> None:
    project = drawn_case.project(
        "rejected",
        rounds={"count": 1, "budget": 12},
        network={"weights": str(tiny_weights)},
        corpus={"calibration": "", "test": ""},
    )
    nobody = write_manifest(
        project / "nobody", [], drawn_case.truth.skeleton, drawn_case.truth.roots, stage="test", part_size=4
    )
    heard = Recorder()
    result = loop.run(project, reviewer=SimulatedReviewer(nobody, seed=0), progress=heard)
    assert (result.state, result.rounds) == ("done", 1)
    (warning, *_) = [note for note in heard.notes if "rejected all" in note]
    poses = drawn_case.truth.counts["poses"]
    assert f"rejected all {poses} poses. Nothing can be learnt from them, and each counts as bad" in warning
    assert any("brought nothing new to learn from: the last network stays" in note for note in heard.notes)
    assert not (project / "rounds" / "01" / "model").exists()
    assert result.certificate is None or not result.certificate.issued
    kept = [a.get("state") for s in Manifest.open(project / "dataset") for a in s.poses.attributes]
    assert kept.count("rejected") == result.effort.poses_opened
    assert json.loads((project / "coco.json").read_text())["annotations"] == []


def test_somebody_who_rejects_everything_from_some_round_on_is_told_of_too(drawn_case: Any, tiny_weights: Path) -> None:
    nothing = {"calibration": "", "test": ""}
    settings: dict[str, Any] = {"network": {"weights": str(tiny_weights)}, "corpus": nothing}
    project = drawn_case.project("wearied", rounds={"count": 1, "budget": 1}, **settings)
    loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False)
    file = project / "autolabel.toml"
    file.write_text(file.read_text().replace("count = 1\nbudget = 1\n", "count = 2\nbudget = 40\n"))
    nobody = write_manifest(
        project / "nobody", [], drawn_case.truth.skeleton, drawn_case.truth.roots, stage="test", part_size=4
    )
    heard = Recorder()
    loop.run(project, reviewer=SimulatedReviewer(nobody, seed=0), audit=False, progress=heard)
    (warning,) = [note for note in heard.notes if "rejected all" in note]
    assert f"rejected all {drawn_case.truth.counts['poses'] - 1} poses" in warning


def test_an_answer_about_a_pose_that_is_no_more_is_listed_and_the_loop_goes_on(
    drawn_case: Any, tiny_weights: Path
) -> None:
    """The rounds were removed, and the corpus has lost an image whose poses people had answered."""
    project = drawn_case.project("no-more", rounds={"count": 1, "budget": 50}, network={"weights": str(tiny_weights)})
    reviewer = SimulatedReviewer(drawn_case.truth, seed=0)
    loop.run(project, reviewer=reviewer, audit=False)
    shutil.rmtree(project / "rounds")
    pool = Manifest.open(drawn_case.folder / "pool")
    *kept, lost = pool
    write_manifest(project / "fewer", kept, pool.skeleton, pool.roots, stage="test", part_size=4)
    heard = Recorder()
    with edited(project, ('boxes = "../pool"', 'boxes = "fewer"')):
        result = loop.run(project, reviewer=reviewer, audit=False, progress=heard)
    again = sum(len(sample.poses) for sample in kept)
    assert result.effort.poses_opened == drawn_case.truth.counts["poses"] + again, "all answers are there, old and new"
    conflicts = (project / "rounds" / "01" / "merged" / "conflicts.jsonl").read_text().splitlines()
    listed = {json.loads(line)["pose"]: json.loads(line)["detail"] for line in conflicts}
    assert set(listed) == set(lost.poses.id.tolist())
    assert all(lost.path in detail for detail in listed.values())
    assert any(f"{len(listed)} corrections did not fit as they were: see" in note for note in heard.notes)
    merged = {pose for s in Manifest.open(project / "rounds" / "01" / "merged") for pose in s.poses.id.tolist()}
    assert merged == {pose for sample in kept for pose in sample.poses.id.tolist()}


@pytest.fixture(scope="module")
def advanced(drawn_case: Any, tiny_weights: Path) -> Path:
    """A project of two finished rounds, whose audit is not drawn yet."""
    project = drawn_case.project("advanced", network={"weights": str(tiny_weights)})
    reviewer = SimulatedReviewer(drawn_case.truth, seed=0)
    assert loop.run(project, reviewer=reviewer, audit=False).rounds == 2
    return project


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (0, r"rounds/00: is gone or not finished, though later .*: rounds/01, rounds/02\. Put it back, or remove"),
        (1, r"rounds/01: is gone or not finished, .*: rounds/02\. .*remove rounds/02 too.*journal\.jsonl"),
    ],
)
def test_a_round_that_later_ones_were_made_from_must_be_there(advanced: Path, gone: int, message: str) -> None:
    with away(advanced / "rounds" / f"{gone:02d}"):
        with pytest.raises(ConfigError, match=message):
            loop.run(advanced, audit=False)
        assert not (advanced / "rounds" / f"{gone:02d}").exists()
        told = loop.status(advanced).board
        assert told is not None
        assert [step.state for step in told.steps] == ["missing" if n == gone else "done" for n in range(3)] + [
            "next",
            "later",
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("count = 2", "count = 1"), r"rounds\.count is 1, but round 2 is finished.*Set rounds\.count to 2 or more"),
        (("../calibration", "../labelled"), r"is in corpus\.labelled and in corpus\.calibration"),
    ],
)
def test_settings_that_would_undo_what_rounds_rest_on(advanced: Path, change: tuple[str, str], message: str) -> None:
    with edited(advanced, change), pytest.raises(ConfigError, match=message):
        loop.run(advanced)
    assert not (advanced / "audit").exists()


def test_another_first_network_is_refused(
    begun: tuple[Path, LoopResult], drawn_case: Any, tiny_weights: Path, tmp_path: Path
) -> None:
    project, waiting = begun
    labelled = Manifest.open(drawn_case.folder / "labelled")
    other = tmp_path / "other"
    train_network([(labelled, 1.0)], out=other, init=str(tiny_weights), training={"steps": 1, "batch_size": 2})
    with (
        edited(project, (str(tiny_weights), str(other))),
        pytest.raises(ConfigError, match=r"another network than the one that labelled round 0: .*Change it back"),
    ):
        loop.run(project)
    assert loop.run(project) == waiting


@dataclass(frozen=True)
class Painting:
    """A reviewer while whose work an image is altered."""

    answers: SimulatedReviewer
    image: Path

    def review(self, project: str | Path) -> int:
        paint(self.image)
        return self.answers.review(project)


def test_an_image_that_is_altered_while_people_work_is_noticed_before_anything_is_learnt(
    drawn_case: Any, tiny_weights: Path
) -> None:
    project = drawn_case.project("painted", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    boxes = Manifest.open(drawn_case.folder / "pool")
    image = boxes.image_path(next(iter(boxes)))
    before, reviewer = image.read_bytes(), SimulatedReviewer(drawn_case.truth, seed=0)
    try:
        with pytest.raises(InputError, match=ALTERED):
            loop.run(project, reviewer=Painting(reviewer, image))
        assert not (project / "rounds" / "01" / "model").exists()
    finally:
        image.write_bytes(before)
    assert loop.run(project, reviewer=reviewer, audit=False).rounds == 1, "put back, it goes on with the answers"


def test_the_last_round_is_done_again_from_the_answers_that_are_there(advanced: Path) -> None:
    last = advanced / "rounds" / "02"
    tasks = read_task_map(ReviewFolder.of(advanced).taskmap)
    before = {name: (last / name / "manifest.json").read_bytes() for name in ("pulled", "training", "merged")}
    shutil.rmtree(last)
    again = loop.run(advanced, audit=False)
    assert (again.state, again.rounds) == ("done", 2), "nobody is asked again"
    assert read_task_map(ReviewFolder.of(advanced).taskmap) == tasks
    digests = {name: json.loads(text)["digest"] for name, text in before.items()}
    assert {name: Manifest.open(last / name).digest for name in before} == digests


def test_the_round_of_the_audit_cannot_be_drawn_again(advanced: Path, drawn_case: Any) -> None:
    result = loop.run(advanced, reviewer=SimulatedReviewer(drawn_case.truth, seed=0))
    assert result.state == "done"
    for n, message in ((2, "rounds/02: is gone, though the audit"), (1, "rounds/01: is gone or not")):
        with away(advanced / "rounds" / f"{n:02d}"):
            with pytest.raises(ConfigError, match=rf"{message}.*The audit is drawn, and cannot be drawn twice"):
                loop.run(advanced)
            told = loop.status(advanced).board
            assert told is not None and told.steps[n].state == "missing"
    assert loop.run(advanced) == result
    heard = Recorder()
    with edited(advanced, ("confidence = 0.8", "confidence = 0.5")):
        assert loop.run(advanced, progress=heard) == result
    (warning,) = [note for note in heard.notes if "[promise] was changed after the audit was drawn" in note]
    assert "confidence = 0.8, as they were then" in warning
