"""Whom a student doubts, what its teacher is shown, and whose word stands."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from autolabel.errors import ConfigError
from autolabel.manifest import Manifest, write_manifest
from autolabel.prediction_record import Predicted
from pipelines.cascade_poses import doubted, write_doubted, write_mixed
from pipelines.predict import predict
from tests.pipelines.cascaded import IMAGES, PEOPLE, CascadeCase, all_poses, feature

NAN = float("nan")
N = IMAGES * PEOPLE


@pytest.mark.parametrize(
    ("p_bad", "doubt", "share", "expected"),
    [
        ([0.05, 0.1, 0.2], None, None, [1, 2]),  # 0.1, itself included
        ([0.05, 0.1, 0.2], 0.15, None, [2]),
        ([0.05, NAN, 0.2], 0.0, None, [0, 2]),
        ([0.05, 1.0, 0.2], 1.0, None, [1]),
        ([0.3, 0.1, 0.2, 0.4], None, 0.5, [0, 3]),
        ([0.2, 0.2, 0.2, 0.2], None, 0.5, [0, 1]),  # of equally doubtful ones the first
        ([0.2, 0.3, 0.2, 0.2], None, 0.5, [0, 1]),
        ([NAN, 0.1, NAN, 0.2], None, 0.5, [3]),  # half of those that have one
        ([NAN, 0.1, NAN, 0.2], None, 1.0, [1, 3]),
        ([0.3, 0.1], None, 0.0, []),
        ([0.3, 0.1, 0.2], None, 0.34, [0]),
        ([NAN, NAN], None, 1.0, []),
        ([], 0.5, None, []),
        ([], None, 0.5, []),
    ],
)
def test_who_is_doubted(p_bad: list[float], doubt: float | None, share: float | None, expected: list[int]) -> None:
    found = doubted(np.array(p_bad, np.float32), doubt, share)
    assert found.dtype == bool
    assert np.flatnonzero(found).tolist() == expected


def test_the_first_of_many_equally_doubtful_ones_are_taken() -> None:
    p_bad = np.tile(np.array([0.3, 0.2, NAN], np.float32), 300)
    found = np.flatnonzero(doubted(p_bad, share=0.25))
    assert np.array_equal(found, np.arange(0, 450, 3)), "all share one p_bad: the first half of those"


@pytest.mark.parametrize(("doubt", "share"), [(0.1, 0.1), (-0.1, None), (NAN, None), (None, 1.1), (None, -1.0)])
def test_impossible_choices_are_refused(doubt: float | None, share: float | None) -> None:
    with pytest.raises(ConfigError, match=r"doubt|share"):
        doubted(np.zeros(2, np.float32), doubt, share)


def test_the_teacher_is_shown_boxes_and_nothing_else(cascade_case: CascadeCase, tmp_path: Path) -> None:
    which = np.zeros(N, bool)
    which[[1, 2, 29]] = True
    made = write_doubted(cascade_case.own, which, tmp_path / "m", part_size=1)
    assert (made.counts, made.num_parts) == ({"samples": 2, "poses": 3}, 2)
    shown, own = all_poses(made), all_poses(cascade_case.own).take(which)
    assert shown.id.tolist() == own.id.tolist() == ["0-1", "0-2", "9-2"]
    assert np.array_equal(shown.box, own.box)
    assert np.isnan(shown.xy).all() and np.isnan(shown.box_score).all() and not any(shown.attributes)
    assert write_doubted(cascade_case.own, ~which, tmp_path / "m").digest == made.digest, "what is finished is kept"
    assert write_doubted(cascade_case.own, which & False, tmp_path / "none").counts == {"samples": 0, "poses": 0}


@pytest.fixture
def asked(cascade_case: CascadeCase, tmp_path: Path) -> Manifest:
    """The teacher was asked about two people of the first image and one of the last, which it cannot read."""
    images = tmp_path / "images"
    shutil.copytree(cascade_case.folder / "images", images)
    (images / "9.png").write_bytes(b"text")
    which = np.zeros(N, bool)
    which[[1, 2, 29]] = True
    boxes = write_doubted(cascade_case.own, which, tmp_path / "doubted")
    moved = write_manifest(tmp_path / "moved", list(boxes), boxes.skeleton, {"images": images}, stage="test")
    return predict(moved.path, weights=cascade_case.teacher, out=tmp_path / "teacher", precision="fp32").manifest


def test_where_the_teacher_cannot_answer_the_student_stands(
    cascade_case: CascadeCase, asked: Manifest, tmp_path: Path
) -> None:
    made = write_mixed(cascade_case.own, asked, tmp_path / "m")
    poses, own, its = (all_poses(one) for one in (made, cascade_case.own, cascade_case.its))
    teacher = poses.by == its.by[0]
    assert np.flatnonzero(teacher).tolist() == [1, 2]
    for name in ("xy", "score", "visibility"):
        values = getattr(poses, name)
        assert np.array_equal(values[teacher], getattr(its, name)[teacher])
        assert np.array_equal(values[~teacher], getattr(own, name)[~teacher])
    assert made.num_parts == cascade_case.own.num_parts
    assert [set(made.features(i) or ()) for i in range(3)] == [set(cascade_case.own.features(0) or ())] * 3


def test_features_that_only_the_teacher_has_are_in_every_part(
    cascade_case: CascadeCase, asked: Manifest, tmp_path: Path
) -> None:
    """The teacher in the student's part, because the student's features are the richer ones."""
    student, teacher = cascade_case.its, write_doubted(cascade_case.own, np.arange(N) == 0, tmp_path / "one")
    said = predict(teacher.path, weights=cascade_case.student, out=tmp_path / "said", precision="fp32").manifest
    made = write_mixed(student, said, tmp_path / "m")
    presence = feature(made, "presence")
    assert np.isfinite(presence[0]).all() and np.isnan(presence[1:]).all()


def test_a_stopped_mixing_goes_on(cascade_case: CascadeCase, asked: Manifest, tmp_path: Path) -> None:
    whole = write_mixed(cascade_case.own, asked, tmp_path / "m")
    kept = (tmp_path / "m" / "poses-00000.parquet").stat().st_mtime_ns
    for name in ("manifest.json", "samples-00001.parquet"):
        (tmp_path / "m" / name).unlink()
    again = write_mixed(cascade_case.own, asked, tmp_path / "m")
    assert again.digest == whole.digest
    assert (tmp_path / "m" / "poses-00000.parquet").stat().st_mtime_ns == kept


def test_a_teacher_that_was_asked_about_nobody_is_recorded_all_the_same(
    cascade_case: CascadeCase, tmp_path: Path
) -> None:
    how = Predicted(model="teacher", flip_test=True, larger_crop=False, boxes="file")
    made = write_mixed(cascade_case.own, None, tmp_path / "m", asked=how)
    assert all_poses(made).equals(all_poses(cascade_case.own))
    record = Predicted.read(made.path)
    assert record is not None
    assert record.others == (how.model_copy(update={"boxes": "manifest"}),)
    alone = Predicted.read(write_mixed(cascade_case.own, None, tmp_path / "n").path)
    assert alone is not None and not alone.others
