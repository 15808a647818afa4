import json
from typing import Any

import numpy as np
import pytest

from autolabel.bootstrap import Draws
from autolabel.errors import InputError
from autolabel.evaluate import summarise
from autolabel.evaluate_pair import PairedComparison, Verdict, compare_measured
from autolabel.evaluate_people import Truth, measure
from autolabel.evaluate_result import numbers
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton

LSP = Skeleton.load("lsp14")
IMAGES = 40


def truth_of(images: int = IMAGES) -> list[Sample]:
    rng = np.random.default_rng(0)
    return [
        Sample(
            f"hash{i}",
            "images",
            f"{i}.jpg",
            (640, 480),
            Poses.create(
                14,
                id=[f"t{i}"],
                xy=rng.uniform(50, 350, (1, 14, 2)),
                visibility=np.full((1, 14), 2),
                box=[[50, 50, 350, 350]],
                area=[30000.0],
            ),
        )
        for i in range(images)
    ]


def shaken(truth: list[Sample], pixels: float, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    made: list[Sample] = []
    for i, sample in enumerate(truth):
        xy = sample.poses.xy + rng.normal(0, pixels, sample.poses.xy.shape)
        made.append(
            sample.with_poses(sample.poses.replace(xy=xy, id=[f"p{seed}-{i}"], box_score=[rng.uniform(0.3, 1)]))
        )
    return made


def compared(this: list[Sample], other: list[Sample], truth: list[Sample], bootstrap: int = 100) -> PairedComparison:
    known = Truth(truth)
    return compare_measured(measure(this, known, LSP), measure(other, known, LSP), bootstrap=bootstrap)


def by_name(comparison: PairedComparison) -> dict[tuple[str, ...], Any]:
    return {d.name: d for d in comparison.differences}


def test_the_less_shaken_poses_are_better_in_every_number() -> None:
    truth = truth_of()
    good, poor = (measure(poses, Truth(truth), LSP) for poses in (shaken(truth, 5, 1), shaken(truth, 12, 2)))
    comparison = compare_measured(good, poor, bootstrap=100)
    this, other = (numbers(summarise(measured)) for measured in (good, poor))
    differences = by_name(comparison)
    assert differences.keys() == this.keys()
    for name, d in differences.items():
        assert (d.this, d.other) == pytest.approx((this[name], other[name]), nan_ok=True)
        if d.this is not None:
            assert d.difference == pytest.approx(d.this - d.other)
            assert d.low <= d.difference <= d.high
    for name in (("coco", "AP"), ("pck", "0.05"), ("mean_error_px",), ("median_error_px",), ("gross_rate",)):
        assert differences[name].verdict is Verdict.BETTER and differences[name].p == 0
    worse = by_name(compare_measured(poor, good, bootstrap=100))
    for name, d in differences.items():
        if d.difference is not None:
            assert worse[name].difference == pytest.approx(-d.difference)
        assert {d.verdict, worse[name].verdict} in ({Verdict.BETTER, Verdict.WORSE}, {Verdict.UNDECIDED})


def test_the_same_poses_do_not_differ() -> None:
    truth = truth_of()
    poses = shaken(truth, 10, 1)
    comparison = compared(poses, poses, truth)
    for d in comparison.differences:
        assert d.difference in (0, None) and d.verdict is Verdict.UNDECIDED
        assert d.p in (1, None)  # no resample lies on this side of zero
    assert not comparison.changed
    assert all(change.fixed == change.broken == 0 for change in comparison.keypoints.values())


def test_both_sets_are_drawn_alike() -> None:
    """The interval is that of the differences; two sets drawn apart would give another, wider one."""
    truth = truth_of()
    # Hard images are hard for both.
    rng = np.random.default_rng(3)
    hard = [sample.with_poses(sample.poses.replace(xy=sample.poses.xy + rng.exponential(8))) for sample in truth]
    one, two = shaken(hard, 1.0, 1), shaken(hard, 1.2, 2)
    measured = [measure(poses, Truth(truth), LSP) for poses in (one, two)]
    d = by_name(compare_measured(*measured, bootstrap=100))["mean_error_px",]
    mean = [
        np.array([np.linalg.norm(p.poses.xy - t.poses.xy, axis=2).mean() for p, t in zip(s, truth, strict=True)])
        for s in (one, two)
    ]
    weights = np.concatenate(list(Draws(IMAGES, 100, seed=0)))
    expected = np.percentile(weights @ (mean[0] - mean[1]) / IMAGES, [2.5, 97.5])
    assert (d.low, d.high) == pytest.approx(tuple(expected), abs=1e-4)
    assert d.p == pytest.approx(
        (np.sign(mean[0].mean() - mean[1].mean()) * (weights @ (mean[0] - mean[1])) <= 0).mean()
    )
    apart = summarise(measured[0], bootstrap=100).intervals
    alone = apart.of(("mean_error_px",)) if apart else None
    assert alone and alone["high"] - alone["low"] > 3 * (d.high - d.low)


def test_fixed_and_broken_keypoints_and_people() -> None:
    truth = truth_of(6)

    def moved(changes: dict[int, list[int]], missing: int) -> list[Sample]:
        made: list[Sample] = []
        for i, sample in enumerate(truth):
            xy = sample.poses.xy.copy()
            xy[0, changes.get(i, [])] += 200
            made.append(sample.with_poses(sample.poses.replace(xy=xy).take([i != missing])))
        return made

    ankle, knee, head = (LSP.index(name) for name in ("left_ankle", "left_knee", "head_top"))
    before = moved({0: [ankle, knee], 1: [ankle], 2: [head]}, missing=4)
    after = moved({0: [], 1: [ankle], 2: [head, knee]}, missing=5)
    comparison = compared(after, before, truth, bootstrap=20)
    changes = {name: (c.fixed, c.broken, c.both) for name, c in comparison.keypoints.items() if c.fixed or c.broken}
    assert changes == {"left_ankle": (1, 0, 4), "left_knee": (1, 1, 4)}
    people = comparison.people
    # Image 0 is repaired and 4 found; 2 has a second gross keypoint and 5 is lost.
    assert (people.fixed, people.broken, people.found, people.lost) == (2, 2, 1, 1)
    assert {(p.image, p.truth) for p in comparison.changed} == {(f"{i}.jpg", f"t{i}") for i in (0, 2, 4, 5)}
    first, second, *_ = comparison.changed
    assert {(p.image, p.oks, p.other_oks) for p in (first, second)} == {("4.jpg", 1, 0), ("5.jpg", 0, 1)}
    lost = next(p for p in comparison.changed if p.image == "5.jpg")
    assert (lost.pose, lost.other_pose, lost.change) == ("", "t5", -1)


def test_the_most_changed_poses_are_listed_with_the_greatest_change_first() -> None:
    truth = truth_of()
    comparison = compared(shaken(truth, 5, 1), shaken(truth, 15, 2), truth, bootstrap=2)
    sizes = [abs(p.change) for p in comparison.changed]
    assert len(sizes) == 20 and sizes == sorted(sizes, reverse=True)
    assert all(p.pose == f"p1-{p.truth[1:]}" and p.other_pose == f"p2-{p.truth[1:]}" for p in comparison.changed)


def test_different_images_are_refused_and_named() -> None:
    truth = truth_of(5)
    poses = shaken(truth, 5, 1)
    with pytest.raises(InputError, match=r"against: .* 1 only in the first, 2 only in the second, such as 0\.jpg"):
        compared(poses[2:], [*poses[:2], *poses[3:]], truth)
    compared(poses[::-1], poses, truth, bootstrap=2)  # order is no difference


@pytest.mark.parametrize(("images", "verdict"), [(5, Verdict.UNDECIDED), (6, Verdict.BETTER)])
def test_fewer_than_six_images_decide_nothing(images: int, verdict: Verdict) -> None:
    truth = truth_of(images)
    comparison = compared(shaken(truth, 1, 1), shaken(truth, 30, 2), truth)
    error = by_name(comparison)["mean_error_px",]
    assert error.high < 0 and error.verdict is verdict
    assert f"beware: only {images} images" in comparison.table()
    assert ("nothing is decided" in comparison.note) == (verdict is Verdict.UNDECIDED)


def test_one_group_gives_no_verdict() -> None:
    truth = [Sample(s.id, s.root, s.path, s.size, s.poses, "video") for s in truth_of(5)]
    comparison = compared(shaken(truth, 1, 1), shaken(truth, 20, 2), truth)
    assert {d.verdict for d in comparison.differences} == {Verdict.UNDECIDED}
    assert {d.low for d in comparison.differences} == {d.p for d in comparison.differences} == {None}
    assert (comparison.unit, comparison.clusters) == ("group", 1)


def test_summary_and_table() -> None:
    truth = truth_of()
    comparison = compared(shaken(truth, 5, 1), shaken(truth, 12, 2), truth)
    summary = json.loads(json.dumps(comparison.summary(), allow_nan=False))
    gross = by_name(comparison)["gross_rate",]
    assert summary["differences"]["gross_rate"]["difference"] == gross.difference
    assert summary["differences"]["coco"]["AP"]["verdict"] == "better"
    assert summary["keypoints"]["neck"]["gross_rate"].keys() == {
        "this", "other", "difference", "low", "high", "p", "verdict",
    }  # fmt: skip
    assert len(summary["changed"]) == 20 and summary["changed"][0]["truth"]
    lines = comparison.table().splitlines()
    row = next(line for line in lines if line.startswith("gross keypoints"))
    assert f"{100 * gross.difference:+.2f} pt" in row and row.endswith("better")
    assert next(line for line in lines if line.startswith("missed people")).endswith("undecided")
    assert any(line.startswith("neck ") for line in lines)
    assert lines[-1].split()[0].endswith(".jpg")
