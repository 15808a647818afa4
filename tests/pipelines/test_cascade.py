"""A cascade: who is asked, whose word stands, and what survives a kill."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.calibrator import Calibrator
from autolabel.errors import CheckpointError, ConfigError, ExistsError, InputError, SkeletonError
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from model.checkpoint import model_digest
from pipelines.cascade import STEPS, CascadeResult, cascade
from pipelines.console import to_json
from pipelines.parts import QUARANTINE
from pipelines.score import CALIBRATOR, score
from tests.doubles import Recorder, Stopped
from tests.pipelines.cascaded import IMAGES, PEOPLE, CascadeCase, all_poses, feature, network

N = IMAGES * PEOPLE
PLACED = ("xy", "score", "presence", "visibility", "origin", "by")
KEPT = ("id", "box", "group", "area", "crowd", "box_score")


@pytest.fixture(scope="module")
def case(cascade_case: CascadeCase) -> CascadeCase:
    return cascade_case


def run(case: CascadeCase, out: Path, **changes: Any) -> CascadeResult:
    given: dict[str, Any] = {"student": case.student, "teacher": case.teacher, "part_size": 3}
    return cascade(case.source.path, out=out, **{**given, **changes})


@pytest.fixture(scope="module")
def half(case: CascadeCase, tmp_path_factory: pytest.TempPathFactory) -> CascadeResult:
    """The more doubtful half was labelled by the teacher."""
    return run(case, tmp_path_factory.mktemp("half") / "m", share=0.5)


def test_the_student_is_asked_about_all_and_the_teacher_about_whom_it_doubts(case: CascadeCase, tmp_path: Path) -> None:
    own, its = all_poses(case.own), all_poses(case.its)
    limit = float(np.sort(own.p_bad)[N // 2])
    asked = own.p_bad >= np.float32(limit)
    assert 0 < asked.sum() < N
    progress = Recorder()
    result = run(case, tmp_path / "m", doubt=limit, progress=progress)
    made = all_poses(result.manifest)
    assert all(np.array_equal(getattr(made, name), getattr(own, name), equal_nan=name in ("area", "box_score"))
               for name in KEPT)  # fmt: skip
    for name in PLACED:
        for rows, whose in ((~asked, own), (asked, its)):
            expected, found = getattr(whose, name)[rows], getattr(made, name)[rows]
            assert np.array_equal(found, expected, equal_nan=name == "presence"), name
    assert {*made.by[asked]} == {model_digest(case.teacher)[:12]}
    assert np.isfinite(made.p_bad).all() and np.isfinite(made.p_gross).all()
    assert (result.student, result.teacher, result.asked) == (N - asked.sum(), asked.sum(), asked.sum())
    assert result.threshold == pytest.approx(limit)
    assert any(f"doubts {asked.sum()} of {N}" in note for note in progress.notes)
    assert not (tmp_path / "m" / STEPS).exists()


def test_routing_knows_it_as_calibrated_by_both(case: CascadeCase, half: CascadeResult, tmp_path: Path) -> None:
    files = [folder / "calibrator.json" for folder in (case.student, case.teacher)]
    again = score(half.manifest.path, out=tmp_path / "m", calibrator=files).manifest
    one = run(case, tmp_path / "one", teacher=case.bare, share=0.5).manifest
    nobody = run(case, tmp_path / "nobody", share=0.0).manifest
    said = [{p.role: p.digest for p in made.parents}[CALIBRATOR] for made in (half.manifest, again, nobody, one)]
    assert said[0] == said[1] == said[2] != said[3]
    assert half.manifest.stage == "cascade"


def test_features_are_of_the_network_that_placed_the_pose_and_embeddings_of_the_student(
    case: CascadeCase, half: CascadeResult
) -> None:
    result = half
    asked = all_poses(result.manifest).by == model_digest(case.teacher)[:12]
    assert asked.sum() == N // 2
    assert np.array_equal(feature(result.manifest, "embedding"), feature(case.own, "embedding"))
    for name in ("peak", "spread", "size"):
        expected = [feature(whose, name) for whose in (case.its, case.own)]
        mask = asked.reshape(-1, *(1,) * (expected[0].ndim - 1))
        assert np.array_equal(feature(result.manifest, name), np.where(mask, *expected))
    for name in ("presence", "quality_ks", "quality_bad", "again"):  # of the student alone
        values = feature(result.manifest, name)
        assert np.isnan(values[asked]).all()
        assert np.array_equal(values[~asked], feature(case.own, name)[~asked])
    how = Predicted.read(result.manifest.path)
    assert how is not None
    assert [one.model for one in how.each] == [model_digest(w)[:12] for w in (case.student, case.teacher)]
    assert [bool(one.quality) for one in how.each] == [True, False]


@pytest.mark.parametrize(("share", "whose"), [(0.0, "own"), (1.0, "its")])
def test_all_of_one_network_is_what_that_network_says_alone(
    case: CascadeCase, tmp_path: Path, share: float, whose: str
) -> None:
    result = run(case, tmp_path / "m", share=share)
    made, alone = all_poses(result.manifest), all_poses(getattr(case, whose))
    for name in (*PLACED, "p_bad", "p_gross"):
        assert np.array_equal(getattr(made, name), getattr(alone, name), equal_nan=name == "presence"), name
    assert (result.student, result.teacher) == ((N, 0) if whose == "own" else (0, N))


def test_a_pose_among_poses_of_its_own_network_keeps_its_doubt(case: CascadeCase, tmp_path: Path) -> None:
    """Only a neighbour that another network placed elsewhere can change what is thought of a pose."""
    result = run(case, tmp_path / "m", share=0.2)
    unchanged = 0
    for made, own in zip(result.manifest, case.own, strict=True):
        if len({*made.poses.by}) == 1 and made.poses.by[0] == own.poses.by[0]:
            assert np.array_equal(made.poses.p_bad, own.poses.p_bad)
            unchanged += 1
    assert unchanged


def test_a_teacher_without_a_calibrator_leaves_no_doubt(case: CascadeCase, tmp_path: Path) -> None:
    progress = Recorder()
    result = run(case, tmp_path / "m", teacher=case.bare, share=0.3, progress=progress)
    made = all_poses(result.manifest)
    placed = made.by == model_digest(case.bare)[:12]
    assert placed.sum() == round(0.3 * N)
    assert np.array_equal(np.isnan(made.p_bad), placed) and np.array_equal(np.isnan(made.p_gross).all(axis=1), placed)
    assert any("no p_bad" in note for note in progress.notes)


class Killed:
    """A progress that ends the work after so many steps of all tasks together."""

    def __init__(self, after: int) -> None:
        self._left = after

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "it") -> Iterator["Killed"]:
        yield self

    def advance(self, n: int = 1, **numbers: float) -> None:
        self._left -= n
        if self._left <= 0:
            raise Stopped

    def note(self, message: str) -> None:
        pass


@pytest.mark.parametrize("after", [1, 7, 12, 22, 26, 33])
def test_a_killed_cascade_goes_on(case: CascadeCase, half: CascadeResult, tmp_path: Path, after: int) -> None:
    with pytest.raises(Stopped):
        run(case, tmp_path / "m", share=0.5, progress=Killed(after))
    assert not (tmp_path / "m" / "manifest.json").exists()
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "m" / STEPS).glob("*/poses-*.parquet")}
    result = run(case, tmp_path / "m", share=0.5)
    assert result.manifest.digest == half.manifest.digest
    assert (result.student, result.teacher, result.asked) == (half.student, half.teacher, half.asked)
    assert np.array_equal(feature(result.manifest, "peak"), feature(half.manifest, "peak"))
    assert after < 7 or kept


def test_the_same_again_does_nothing_and_something_else_needs_overwrite(case: CascadeCase, tmp_path: Path) -> None:
    first = run(case, tmp_path / "m", share=0.2)
    (tmp_path / "m" / STEPS).mkdir()  # as if it had been killed before it was removed
    before = (tmp_path / "m" / "manifest.json").stat().st_mtime_ns
    assert run(case, tmp_path / "m", share=0.2).summary() == first.summary()
    assert (tmp_path / "m" / "manifest.json").stat().st_mtime_ns == before
    assert not (tmp_path / "m" / STEPS).exists()
    with pytest.raises(ExistsError, match="--overwrite"):
        run(case, tmp_path / "m", share=0.3)
    assert run(case, tmp_path / "m", share=0.3, overwrite=True).teacher == round(0.3 * N)


def test_the_summary_is_json_and_people_read_another(half: CascadeResult) -> None:
    told = json.loads(to_json(half.summary()))
    assert (told["samples"], told["poses"], told["student"], told["teacher"]) == (IMAGES, N, N - N // 2, N // 2)
    assert set(told["seconds"]) == {"student", "teacher", "rest"}
    assert told["people_per_second"] == pytest.approx(N / sum(told["seconds"].values()))
    assert told["quarantined"] == told["suppressed"] == 0
    assert f"{N // 2} placed by the teacher" in half.told()


def test_images_that_cannot_be_read_are_set_aside(case: CascadeCase, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(case.folder / "images", images)
    (images / "2.png").write_bytes(b"text")
    source = write_manifest(tmp_path / "s", list(case.source), case.source.skeleton, {"images": images}, stage="test")
    result = cascade(source.path, student=case.student, teacher=case.teacher, out=tmp_path / "m", share=1.0)
    made = all_poses(result.manifest)
    assert np.flatnonzero(np.isnan(made.xy).any(axis=(1, 2))).tolist() == [6, 7, 8]
    assert np.flatnonzero(np.isnan(made.p_bad)).tolist() == [6, 7, 8]
    assert result.predicted["quarantined"] == 1
    assert "2.png" in (tmp_path / "m" / QUARANTINE).read_text()
    assert result.teacher == result.asked == N - PEOPLE


def test_boxes_of_a_detector_are_dropped_by_the_student_alone(case: CascadeCase, tmp_path: Path) -> None:
    """Of two boxes on one person the student keeps one; the teacher must not drop any more, as ids have to stay."""
    calibrator = tmp_path / "boxes.json"
    fitted = Calibrator.read(case.student / "calibrator.json")
    how = fitted.predicted.model_copy(update={"boxes": "file"})
    fitted.model_copy(update={"predicted": how}).save(calibrator)
    shutil.copy(case.student / "calibrator.quality.safetensors", tmp_path / "boxes.quality.safetensors")
    records = [
        {"image_id": 1, "category_id": 1, "bbox": [5, 5, 40, 60], "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [5, 5, 40, 60], "score": 0.8},
        {"image_id": 1, "category_id": 1, "bbox": [60, 5, 40, 60], "score": 0.7},
    ]
    (tmp_path / "boxes.coco").write_text(json.dumps(records))
    listing = {"images": [{"id": 1, "file_name": "0.png", "width": 120, "height": 80}], "annotations": []}
    (tmp_path / "images.coco").write_text(json.dumps({**listing, "categories": [{"id": 1, "name": "person"}]}))
    given = {"boxes": tmp_path / "boxes.coco", "boxes_images": tmp_path / "images.coco", "teacher": case.bare}
    result = run(case, tmp_path / "m", student_calibrator=calibrator, share=1.0, **given)
    made = all_poses(result.manifest)
    assert made.box_score.tolist() == pytest.approx([0.9, 0.7])
    assert feature(result.manifest, "box_score").tolist() == pytest.approx([0.9, 0.7])
    assert (result.predicted["suppressed"], result.teacher) == (1, 2)
    with pytest.raises(InputError, match=r"calibrator\.json: was fitted for boxes manifest, these file"):
        run(case, tmp_path / "n", **given)


def test_nobody_to_label(case: CascadeCase, tmp_path: Path) -> None:
    skeleton, roots = case.source.skeleton, case.source.roots
    crowd = Poses.create(17, id=["c"], box=[[0.0, 0.0, 50.0, 50.0]], crowd=[True])
    for name, samples in (("none", []), ("crowd", [next(iter(case.source)).with_poses(crowd)])):
        source = write_manifest(tmp_path / name, samples, skeleton, roots, stage="test")
        given: dict[str, Any] = {"student": case.student, "teacher": case.teacher, "share": 1.0}
        if not samples:  # without boxes every image would be one person
            given["student_calibrator"] = None
            with pytest.raises(InputError, match="boxes manifest, these whole-image"):
                cascade(source.path, out=tmp_path / f"{name}-m", **given)
            continue
        result = cascade(source.path, out=tmp_path / f"{name}-m", **given)
        assert (result.student, result.teacher, result.asked, result.threshold) == (0, 0, 0, None)
        assert len(all_poses(result.manifest)) == 1
        assert to_json(result.summary()) and result.told()


def test_one_network_is_no_cascade(case: CascadeCase, tmp_path: Path) -> None:
    progress = Recorder()
    result = run(case, tmp_path / "m", teacher=case.student, share=1.0, progress=progress)
    assert any(note.startswith("WARNING: student and teacher are the same network") for note in progress.notes)
    assert (result.student, result.teacher) == (N, 0)
    assert np.array_equal(all_poses(result.manifest).p_bad, all_poses(case.own).p_bad)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"doubt": 0.1, "share": 0.1}, ConfigError, "both doubt and share"),
        ({"doubt": 1.5}, ConfigError, "doubt is 1.5"),
        ({"share": float("nan")}, ConfigError, "share is nan"),
        ({"student": "bare"}, InputError, r"bare: has no calibrator.*Distil it with \[doubt\]"),
        ({"student": "nowhere"}, CheckpointError, "nowhere"),
        (
            {"student_calibrator": "teacher/calibrator.json"},
            InputError,
            r"teacher/calibrator\.json: was fitted for model",
        ),
        ({"teacher_calibrator": "student/calibrator.json"}, CheckpointError, "quality"),
        ({"student_calibrator": "nowhere.json"}, ConfigError, "nowhere.json"),
        ({"precision": "bf16"}, InputError, "was fitted for precision fp32, these bf16"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_predicted(
    case: CascadeCase, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {name: case.folder / value if isinstance(value, str) and name != "precision" else value
             for name, value in changes.items()}  # fmt: skip
    with pytest.raises(error, match=message):
        run(case, tmp_path / "m", **given)
    assert not (tmp_path / "m").exists()


def test_networks_of_two_skeletons_are_refused(case: CascadeCase, tmp_path: Path) -> None:
    other = network(tmp_path / "other", 4, Skeleton.load("crowdpose14"), width=32)
    with pytest.raises(SkeletonError):
        run(case, tmp_path / "m", teacher=other)


def test_a_calibrator_whose_quality_head_is_gone_is_refused(case: CascadeCase, tmp_path: Path) -> None:
    shutil.copy(case.student / "calibrator.json", tmp_path / "c.json")
    with pytest.raises(CheckpointError, match=r"c\.quality\.safetensors: is not there"):
        run(case, tmp_path / "m", student_calibrator=tmp_path / "c.json")


def test_a_folder_of_images_is_scanned(case: CascadeCase, tmp_path: Path) -> None:
    calibrator = tmp_path / "whole.json"
    fitted = Calibrator.read(case.student / "calibrator.json")
    how = fitted.predicted.model_copy(update={"boxes": "whole-image"})
    fitted.model_copy(update={"predicted": how}).save(calibrator)
    shutil.copy(case.student / "calibrator.quality.safetensors", tmp_path / "whole.quality.safetensors")
    result = cascade(
        case.folder / "images", student=case.student, teacher=case.bare, student_calibrator=calibrator,
        out=tmp_path / "m", share=0.5,
    )  # fmt: skip
    assert (result.predicted["whole_image"], result.student, result.teacher) == (IMAGES, 5, 5)
    assert Manifest.open(tmp_path / "m-scan").counts == {"samples": IMAGES, "poses": 0}


def test_a_folder_of_images_is_not_scanned_for_nothing(case: CascadeCase, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bare: has no calibrator"):
        cascade(case.folder / "images", student=case.bare, teacher=case.bare, out=tmp_path / "m")
    assert not list(tmp_path.iterdir())
