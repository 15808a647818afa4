import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.evaluate import evaluate
from autolabel.poses import Origin, Poses, Sample
from autolabel.similarity import BadRule
from autolabel.skeleton import Skeleton

SQUARE = Skeleton("square", ("a", "b", "c", "d"), ((0, 1),), (0, 1, 2, 3), (0.05,) * 4, "stated by the test")
CORNERS = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])


def people(*shifts: tuple[float, float], **given: Any) -> Poses:
    xy = np.array([CORNERS + shift for shift in shifts]).reshape(-1, 4, 2)
    box = np.concatenate([xy[:, 0], xy[:, 3]], axis=1)
    return Poses.create(4, **{"xy": xy, "box": box, "visibility": np.full(xy.shape[:2], 2)} | given)


def image(name: str, poses: Poses, size: tuple[int, int] = (640, 480)) -> Sample:
    return Sample(f"hash of {name}", "images", name, size, poses)


def moved(poses: Poses, *changes: tuple[int, int, float]) -> Poses:
    """The poses with some keypoints moved to the right: (pose, keypoint, pixels)."""
    xy = poses.xy.copy()
    for i, k, pixels in changes:
        xy[i, k, 0] += pixels
    return poses.replace(xy=xy)


def test_perfect_poses() -> None:
    truth = [image("1.jpg", people((0, 0), (300, 0))), image("2.jpg", people((50, 50)))]
    result = evaluate(truth, truth, SQUARE)
    assert set(result.coco) == {"AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"}
    assert result.coco["AP"] == result.coco["AR"] == 1
    assert result.pck == {"0.05": 1, "0.1": 1, "0.2": 1}
    assert (result.mean_error_px, result.median_error_px, result.gross_rate, result.bad_rate) == (0, 0, 0, 0)
    assert (result.counts.people, result.counts.matched, result.counts.keypoints) == (3, 3, 12)


def test_every_number_by_hand() -> None:
    true = image("1.jpg", people((0, 0), (300, 0), (0, 300)))
    found = moved(
        people((0, 0), (300, 0), (600, 300)),  # the third is nobody
        (0, 0, 3.0),  # within 5 px
        (0, 1, 8.0),  # within 10 px; still alike: 2 A (2σ)² = 106, KS = exp(-64/106) = 0.55
        (1, 2, 15.0),  # within 20 px: gross
        (1, 3, 50.0),  # gross
    )
    result = evaluate([image("1.jpg", found)], [true], SQUARE)
    assert result.pck == {
        "0.05": 5 / 12,
        "0.1": 6 / 12,
        "0.2": 7 / 12,
    }  # four are missed with the third person
    assert result.mean_error_px == pytest.approx((3 + 8 + 15 + 50) / 8)
    assert result.median_error_px == pytest.approx(1.5)
    assert result.gross_rate == 2 / 8
    assert result.bad_rate == 2 / 3  # two gross keypoints; nobody there
    counts = result.counts
    assert (counts.people, counts.poses, counts.matched, counts.missed, counts.extra) == (3, 3, 2, 1, 1)
    assert result.keypoints["c"].gross_rate == 0.5 and result.keypoints["c"].labelled == 2
    assert result.keypoints["b"].median_error_px == pytest.approx(4)


@pytest.mark.parametrize(
    ("pixels", "share"),
    [
        pytest.param(49.99, 1.0, id="nearer than the limit"),
        pytest.param(50.0, 1.0, id="at the limit is within"),
        pytest.param(50.01, 0.75, id="further"),
    ],
)
def test_pck_counts_what_lies_at_its_limit(pixels: float, share: float) -> None:
    found = moved(people((0, 0)), (0, 0, -pixels))  # the box is 100 px long; a half of it is exact in binary
    assert evaluate([image("1.jpg", found)], [image("1.jpg", people((0, 0)))], SQUARE, pck=(0.5,)).pck == {"0.5": share}


def test_unlabelled_keypoints_do_not_score_and_absent_ones_only_by_presence() -> None:
    true = image("1.jpg", people((0, 0), visibility=[[2, 1, 0, 3]]))
    found = moved(people((0, 0)), (0, 2, 400.0), (0, 3, 400.0))
    result = evaluate([image("1.jpg", found)], [true], SQUARE)
    assert result.mean_error_px == 0 and result.pck["0.05"] == 1
    assert result.counts.keypoints == 3 and result.gross_rate == 1 / 3  # the absent one is claimed
    modest = found.replace(presence=[[1, 1, 1, 0.1]], origin=[[Origin.MODEL] * 4], visibility=[[0] * 4])
    assert evaluate([image("1.jpg", modest)], [true], SQUARE).gross_rate == 0


def test_presence_is_measured_where_something_was_said_of_what_is_known() -> None:
    true = image("1.jpg", people((0, 0), (300, 0), visibility=[[2, 1, 0, 3], [2, 2, 3, 3]]))
    said = [[0.9, 0.4, 0.9, 0.1], [np.nan, 0.8, 0.6, 0.3]]
    found = evaluate([image("1.jpg", people((0, 0), (300, 0), presence=said))], [true], SQUARE)
    assert found.presence is not None
    # Inside 0.9 0.4 0.8, absent 0.1 0.6 0.3: eight of nine pairs are ranked rightly.
    assert (found.presence.keypoints, found.presence.inside) == (6, 0.5)
    assert found.presence.auroc == pytest.approx(8 / 9)
    assert found.presence.brier == pytest.approx((0.01 + 0.36 + 0.04 + 0.01 + 0.36 + 0.09) / 6)
    assert found.presence.calibration_error == pytest.approx((0.1 + 0.6 + 0.2 + 0.1 + 0.6 + 0.3) / 6)
    assert "AUROC 0.889" in found.table()
    assert json.loads(json.dumps(found.summary()))["presence"]["keypoints"] == 6
    whole = evaluate([image("1.jpg", people((0, 0), presence=[[0.9] * 4]))], [image("1.jpg", people((0, 0)))], SQUARE)
    assert whole.presence is not None
    assert whole.presence.auroc is None
    assert "nothing to rank" in whole.table()
    nothing = evaluate([image("1.jpg", people((0, 0)))], [true], SQUARE)
    assert nothing.presence is None
    assert "AUROC" not in nothing.table()


def test_crowds_neither_miss_nor_blame() -> None:
    true = image("1.jpg", people((0, 0), (300, 300), crowd=[False, True]))
    result = evaluate([image("1.jpg", people((0, 0), (310, 300)))], [true], SQUARE)
    assert (result.counts.people, result.counts.poses, result.counts.ignored) == (1, 1, 1)
    assert result.bad_rate == 0 and result.counts.missed == 0 and result.pck["0.05"] == 1


def test_the_rule_and_the_thresholds_are_the_callers() -> None:
    true = [image("1.jpg", people((0, 0)))]
    found = [image("1.jpg", moved(people((0, 0)), (0, 0, 30.0)))]
    assert evaluate(found, true, SQUARE, rule=BadRule(bad_oks=0.7)).bad_rate == 0
    assert evaluate(found, true, SQUARE, rule=BadRule(bad_oks=0.7, bad_gross=1)).bad_rate == 1
    assert evaluate(found, true, SQUARE, pck=(0.3,)).pck == {"0.3": 1}


def test_images_that_only_one_side_has_are_left_aside_and_counted() -> None:
    both, mine, theirs = (image(name, people((0, 0))) for name in ("1.jpg", "2.jpg", "3.jpg"))
    result = evaluate([both, mine], [theirs, both], SQUARE)
    counts = result.counts
    assert (counts.images, counts.images_without_truth, counts.images_without_poses) == (1, 1, 1)
    assert counts.missed == 0
    assert "2, only one side has them" in result.table()


def test_copies_of_an_image_are_told_apart_by_path() -> None:
    a, b = (Sample("same", "images", name, (640, 480), people((0, 0))) for name in ("a.jpg", "b.jpg"))
    wrong = Sample("same", "images", "b.jpg", (640, 480), people((500, 0)))
    result = evaluate([wrong, a], [a, b], SQUARE)
    assert (result.counts.matched, result.counts.missed) == (1, 1)


def test_errors() -> None:
    one = image("1.jpg", people((0, 0)))
    with pytest.raises(InputError, match="no image of the predictions"):
        evaluate([one], [image("2.jpg", people((0, 0)))], SQUARE)
    with pytest.raises(InputError, match=r"1.jpg: is 320x240, the truth says 640x480"):
        evaluate([image("1.jpg", people((0, 0)), (320, 240))], [one], SQUARE)


@pytest.mark.parametrize("found", [0, 2])
@pytest.mark.parametrize("true", [0, 2])
def test_empty_images_have_no_rates(found: int, true: int) -> None:
    result = evaluate([image("1.jpg", people(*[(0, 0)] * found))], [image("1.jpg", people(*[(0, 0)] * true))], SQUARE)
    assert (result.coco["AP"] is None) == (true == 0)
    assert (result.bad_rate is None) == (found == 0)
    assert (result.mean_error_px is None) == (not (found and true))
    assert json.loads(json.dumps(result.summary()))["counts"]["images"] == 1
    assert "bad poses" in result.table()
    assert result.sigma_source in result.table()


def test_the_table_and_the_summary_tell_the_same(tmp_path: Path) -> None:
    true = [image("1.jpg", people((0, 0)))]
    result = evaluate([image("1.jpg", moved(people((0, 0)), (0, 0, 10.0)))], true, SQUARE)
    summary = result.summary()
    assert summary["sigma_source"] == "stated by the test"
    assert summary["keypoints"]["a"]["median_error_px"] == pytest.approx(10)
    lines = result.table().splitlines()
    assert next(line for line in lines if line.startswith("error, mean")).split() == [
        "error,",
        "mean",
        "2.50",
        "px",
    ]
    # Columns of measures that no keypoint has (this skeleton has no head and no torso) are left out.
    assert next(line for line in lines if line.startswith("keypoint ")).split("  ")[0] == "keypoint"
    row = next(line for line in lines if line.startswith("a ")).split()
    assert " ".join(row) == "a 1 10.00 px 10.00 px 1.000 0.389 100.0% 0.0% 0.0% 0.0% 0.0% 100.0%"
