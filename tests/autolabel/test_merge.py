"""Corrections: as JSON, applied, and in conflict."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autolabel.errors import FormatError
from autolabel.formats.records import Record
from autolabel.merge import (
    Correction,
    KeypointChange,
    PoseChange,
    State,
    Stated,
    Verdict,
    changed_since,
    correct,
    latest,
    read_corrections,
    write_corrections,
)
from autolabel.poses import Origin, Poses, Sample, Visibility

K = 3
NAMES = ("head", "paw", "tail")


def make_poses(n: int = 3, **given: Any) -> Poses:
    values = {
        "id": [f"p{i}" for i in range(n)],
        "xy": np.arange(n * K * 2).reshape(n, K, 2) + 0.25,
        "score": np.full((n, K), 0.5),
        "presence": np.full((n, K), 0.75),
        "p_gross": np.full((n, K), 0.125),
        "p_bad": np.full(n, 0.25),
        "box": [(i, i, i + 10, i + 20) for i in range(n)],
        "area": np.full(n, 99.0),
        "origin": np.full((n, K), Origin.MODEL),
        "by": ["net"] * n,
        "attributes": [{"track": i} for i in range(n)],
    }
    return Poses.create(K, **{**values, **given})


def make_correction(poses: Poses, i: int = 0, **given: Any) -> Correction:
    before = Stated.of(poses[i])
    values: dict[str, Any] = {
        "pose": poses.id[i],
        "sample": ("s", "root", "a.jpg"),
        "change": PoseChange.KEPT,
        "keypoints": (KeypointChange.KEPT,) * K,
        "before": before,
        "after": before,
        "state": State.REVIEWED,
        "verdict": (),
        "by": "annotator-1",
        "when": "2026-11-22T20:00:00Z",
        "seconds": 3.5,
        "clicks": 1,
        "task": "t",
    }
    return Correction(**{**values, **given})


def moved(poses: Poses, i: int, k: int, **given: Any) -> Correction:
    before = Stated.of(poses[i])
    xy, visibility = before.xy.copy(), np.full(K, Visibility.VISIBLE, np.uint8)
    xy[k] = (-7.5, 1234.567)
    changes = [KeypointChange.KEPT] * K
    changes[k] = KeypointChange.MOVED
    after = Stated(xy, visibility, before.box)
    return make_correction(poses, i, keypoints=tuple(changes), after=after, **given)


def sample(poses: Poses) -> Sample:
    return Sample("s", "root", "a.jpg", (100, 100), poses)


def apply(poses: Poses, *corrections: Correction) -> Poses:
    return correct(sample(poses), {c.pose: c for c in corrections}).poses


def test_what_was_moved_is_human_and_what_was_kept_stays_as_it_was() -> None:
    poses = make_poses()
    result = apply(poses, moved(poses, 1, 2))
    assert result.xy[1, 2].tolist() == [-7.5, np.float32(1234.567)]
    assert np.array_equal(np.delete(result.xy.reshape(-1, 2), 5, axis=0), np.delete(poses.xy.reshape(-1, 2), 5, axis=0))
    assert result.origin.tolist() == [[1, 1, 1], [1, 1, 2], [1, 1, 1]]
    assert result.visibility.tolist() == [[0, 0, 0], [2, 2, 2], [0, 0, 0]]
    assert result.by.tolist() == ["net", "annotator-1", "net"]
    assert [a.get("state") for a in result.attributes] == [None, "reviewed", None]
    assert [a["track"] for a in result.attributes] == [0, 1, 2]


def test_numbers_about_the_old_place_become_unknown() -> None:
    poses = make_poses()
    result = apply(poses, moved(poses, 1, 2), make_correction(poses, 2))
    for name in ("score", "presence", "p_gross"):
        changed = np.isnan(getattr(result, name))
        assert changed.tolist() == [[False] * 3, [False, False, True], [False] * 3]
    assert np.isnan(result.p_bad).tolist() == [False, True, False]
    assert (result.area == 99).all()


def test_other_poses_are_untouched_and_a_sample_without_corrections_is_the_same_value() -> None:
    poses = make_poses()
    assert apply(poses, moved(poses, 1, 2)).take([0, 2]).equals(poses.take([0, 2]))
    other = sample(poses)
    assert correct(other, {"elsewhere": make_correction(poses)}) is other


def test_a_moved_box_makes_the_area_unknown() -> None:
    poses = make_poses()
    after = Stated(poses.xy[0], poses.visibility[0], np.array([1.0, 2.0, 3.0, 4.0]))
    result = apply(poses, make_correction(poses, change=PoseChange.BOX_MOVED, after=after))
    assert result.box[0].tolist() == [1, 2, 3, 4]
    assert np.isnan(result.area).tolist() == [True, False, False]
    assert np.isnan(result.p_bad).tolist() == [True, False, False]


def test_a_verdict_is_kept_and_a_rejected_image_is_marked() -> None:
    poses = make_poses()
    swapped = correct(sample(poses), {"p0": make_correction(poses, verdict=(Verdict.SWAPPED,))})
    assert swapped.poses.attributes[0]["verdict"] == ["left and right swapped"]
    assert swapped.attributes == {}
    rejected = make_correction(poses, verdict=(Verdict.BAD_IMAGE,), state=State.REJECTED)
    result = correct(sample(poses), {"p0": rejected})
    assert result.attributes == {"state": "rejected"}
    assert [a.get("state") for a in result.poses.attributes] == ["rejected", None, None]


def test_applying_twice_changes_nothing_more() -> None:
    poses = make_poses()
    once = apply(poses, moved(poses, 1, 2))
    assert apply(once, moved(poses, 1, 2)).equals(once)


def test_a_new_prediction_is_no_conflict_and_the_human_wins() -> None:
    poses = make_poses()
    corrections = {"p1": moved(poses, 1, 2)}
    repredicted = poses.replace(xy=poses.xy + np.float32(1), visibility=np.full((3, K), Visibility.ABSENT))
    assert changed_since(repredicted, corrections, NAMES) == []
    result = apply(repredicted, *corrections.values())
    assert np.array_equal(result.xy[1], corrections["p1"].after.xy)
    assert np.isnan(result.score[1]).all(), "none of the new scores is about these places"


@pytest.mark.parametrize("origin", [Origin.HUMAN, Origin.IMPORTED])
def test_what_a_person_or_an_import_changed_since_is_reported(origin: Origin) -> None:
    poses = make_poses()
    corrections = {"p1": moved(poses, 1, 2)}
    origins = np.full((3, K), Origin.MODEL)
    origins[:, 0] = origin
    theirs = poses.replace(xy=poses.xy + np.float32(1), origin=origins)
    (conflict,) = changed_since(theirs, corrections, NAMES)
    assert (conflict.pose, conflict.detail) == ("p1", "head")
    same = poses.replace(origin=np.full((3, K), origin))
    assert changed_since(same, corrections, NAMES) == [], "stated by somebody, but not changed"


def test_a_correction_is_in_no_conflict_with_what_it_left_itself() -> None:
    poses = make_poses()
    after = Stated(poses.xy[0], poses.visibility[0], np.array([1.0, 2.0, 3.0, 4.0]))
    corrections = {
        "p0": make_correction(poses, change=PoseChange.BOX_MOVED, after=after),
        "p1": moved(poses, 1, 2),
    }
    assert changed_since(apply(poses, *corrections.values()), corrections, NAMES) == []


def test_what_another_person_placed_is_not_overruled_by_an_acceptance() -> None:
    poses = make_poses()
    theirs = poses.replace(
        xy=np.where(np.eye(3)[..., None] > 0, poses.xy + np.float32(5), poses.xy),
        origin=np.where(np.eye(3) > 0, Origin.HUMAN, poses.origin),
    )
    result = apply(theirs, moved(poses, 1, 2), moved(poses, 2, 2))
    assert np.array_equal(result.xy[1, 1], theirs.xy[1, 1]), "only accepted: theirs stays"
    assert result.xy[1, 2].tolist() == [-7.5, np.float32(1234.567)]
    assert result.xy[2, 2].tolist() == [-7.5, np.float32(1234.567)], "moved, and later: ours"


def test_a_box_that_has_changed_is_reported() -> None:
    poses = make_poses()
    corrections = {"p1": make_correction(poses, 1)}
    (conflict,) = changed_since(poses.replace(box=poses.box + 1), corrections, NAMES)
    assert conflict.detail == "box"
    assert changed_since(poses, corrections, NAMES) == []


def test_the_latest_of_several_counts_and_the_others_are_reported() -> None:
    poses = make_poses()
    early = make_correction(poses, when="2026-11-22T20:00:00Z", by="a")
    late = make_correction(poses, when="2026-11-22T20:00:00.5Z", by="b")
    chosen, conflicts = latest([late, early])
    assert chosen == {"p0": late}
    assert [c.detail for c in conflicts] == ["by a at 2026-11-22T20:00:00Z, then by b at 2026-11-22T20:00:00.5Z"]
    assert latest([late])[1] == []


def stated_equal(a: Stated, b: Stated) -> bool:
    return a.same(b) and a.xy.dtype == b.xy.dtype and a.box.dtype == b.box.dtype


coordinates = hnp.arrays(np.float32, (K, 2), elements=st.floats(-1e6, 1e6, width=32))
boxes = hnp.arrays(np.float64, 4, elements=st.floats(-1e6, 1e6))


@given(coordinates, boxes, st.sets(st.integers(0, K - 1)), st.booleans())
def test_corrections_survive_json_bit_by_bit(xy: np.ndarray, box: np.ndarray, missing: set[int], boxless: bool) -> None:
    xy[list(missing)] = np.nan
    if boxless:
        box[:] = np.nan
    stated = Stated(xy, np.array([3, 0, 1], np.uint8), box)
    correction = make_correction(make_poses(), before=stated, after=stated, verdict=(Verdict.EXPERT,))
    read = Correction.from_record(Record(correction.to_dict(), "line 1", "c.jsonl"), K)
    assert stated_equal(read.after, stated)
    assert read.to_dict() == correction.to_dict()


def test_files_of_corrections_come_back(tmp_path: Path) -> None:
    poses = make_poses()
    corrections = [moved(poses, 1, 2, seconds=None), make_correction(poses, by="Änne")]
    write_corrections(tmp_path / "c.jsonl", corrections)
    read = read_corrections(tmp_path / "c.jsonl", K)
    assert [c.to_dict() for c in read] == [c.to_dict() for c in corrections]
    assert '"x": [6.25, 8.25, 10.25]' in (tmp_path / "c.jsonl").read_text()


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("change", "vanished", r"line 2\.change: is 'vanished', expected one of: kept"),
        ("keypoints", ["kept"], r"line 2\.keypoints: has 1 entries, expected 3"),
        ("keypoints", ["kept", "kept", 5], r"line 2\.keypoints: is 5"),
        ("state", "done", r"line 2\.state"),
        ("verdict", ["fine"], r"line 2\.verdict: is 'fine'"),
        ("before", {"x": [1, 2, 3]}, r"line 2\.before\.y: is missing"),
        ("seconds", "long", r"line 2\.seconds"),
        ("sample", ["a", "b"], r"line 2\.sample"),
    ],
)
def test_a_malformed_correction_is_named(tmp_path: Path, field: str, value: object, place: str) -> None:
    import json

    good = make_correction(make_poses()).to_dict()
    (tmp_path / "c.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps({**good, field: value})}\n")
    with pytest.raises(FormatError, match=place):
        read_corrections(tmp_path / "c.jsonl", K)


def test_a_missing_file_says_who_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="autolabel pull"):
        read_corrections(tmp_path / "c.jsonl", K)


def test_corrections_come_back_whatever_their_words_hold(tmp_path: Path) -> None:
    # Characters that Python takes for line ends, and JSON does not.
    who = "a\u2028b\u0085c\x1cd\nline"
    made = make_correction(make_poses(), by=who)
    write_corrections(tmp_path / "c.jsonl", [made, made])
    back = read_corrections(tmp_path / "c.jsonl", make_poses().num_keypoints)
    assert [correction.by for correction in back] == [who, who]
