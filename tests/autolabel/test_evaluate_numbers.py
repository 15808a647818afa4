"""Every number of ``evaluate`` against plain Python, one keypoint at a time, on people of several skeletons."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from autolabel.evaluate import evaluate, summarise
from autolabel.evaluate_people import Truth, measure
from autolabel.evaluate_result import Evaluation, describe, numbers
from autolabel.poses import Poses, Sample
from autolabel.similarity import compare
from autolabel.skeleton import Skeleton
from autolabel.taxonomy import State, classify

LIMITS = {"pck": 0.2, "pckh": 0.5, "pck_torso": 0.2}


def corpus(skeleton: Skeleton, images: int = 12, seed: int = 0) -> tuple[list[Sample], list[Sample]]:
    """Truth and predictions: up to three people an image, some missed, some extra, some crowds, much unlabelled."""
    rng = np.random.default_rng(seed)
    k = skeleton.num_keypoints
    truth, found = [], []
    for i in range(images):
        n = int(rng.integers(0, 4))
        corner, side = (
            400 * np.arange(n)[:, None, None] + rng.uniform(0, 50, (n, 1, 2)),
            rng.uniform(80, 300, (n, 1, 1)),
        )
        xy = corner + side * rng.uniform(0, 1, (n, k, 2))
        true = Poses.create(
            k,
            id=[f"t{i}-{j}" for j in range(n)],
            xy=xy,
            visibility=rng.choice([0, 1, 2, 3], (n, k), p=[0.15, 0.15, 0.6, 0.1]),
            box=np.concatenate([corner, corner + side], axis=2)[:, 0],
            area=0.5 * side.reshape(-1) ** 2,
            crowd=rng.random(n) < 0.15,
        )
        moved = xy + rng.exponential(0.03, (n, k, 1)) * side * rng.normal(0, 1, xy.shape)
        moved[rng.random((n, k)) < 0.05] = np.nan
        poses = Poses.create(
            k, id=[f"p{i}-{j}" for j in range(n)], xy=moved, box=true.box, box_score=rng.uniform(0.3, 1, n)
        ).take(rng.random(n) < 0.85)
        if rng.random() < 0.3:
            extra = Poses.create(k, id=[f"x{i}"], xy=rng.uniform(0, 900, (1, k, 2)) + 2000, box_score=[0.4])
            poses = Poses.concat([poses, extra])
        truth.append(Sample(f"hash{i}", "images", f"{i}.jpg", (2000, 1000), true))
        found.append(truth[-1].with_poses(poses))
    return found, truth


def length(kind: str, true: Poses, j: int, skeleton: Skeleton) -> float | None:
    def between(a: str, b: str) -> float | None:
        if a not in skeleton.keypoints or b not in skeleton.keypoints:
            return None
        ends = [skeleton.index(a), skeleton.index(b)]
        return math.dist(*true.xy[j, ends].astype(float)) if true.labelled[j, ends].all() else None

    if kind == "pck":
        x1, y1, x2, y2 = true.box[j]
        return max(x2 - x1, y2 - y1)
    if kind == "pckh":
        return between("head_top", "upper_neck" if "upper_neck" in skeleton.keypoints else "neck")
    return between("left_shoulder", "right_hip")


def keypoints(found: list[Sample], truth: list[Sample], skeleton: Skeleton) -> Iterator[dict[str, Any]]:
    """Each labelled keypoint of each true person: its error, lengths, state."""
    for sample, true_sample in zip(found, truth, strict=True):
        poses, true = sample.poses, true_sample.poses
        judged = compare(poses, true, skeleton)
        for j in np.flatnonzero(~true.crowd):
            mine = np.flatnonzero(judged.truth == j)
            for k in range(skeleton.num_keypoints):
                error, state, ks, scored, gross = math.inf, State.UNKNOWN, None, False, False
                if len(mine):
                    i = mine[0]
                    ks, scored, gross = float(judged.ks[i, k]), judged.scored[i, k], judged.gross[i, k]
                    place = poses.xy[i, k].astype(float)
                    error = math.inf if np.isnan(place[0]) else math.dist(place, true.xy[j, k].astype(float))
                    if judged.oks[i] > 0.1:
                        state = State(int(classify(poses.xy[[i]], [j], true, skeleton)[0, k]))
                yield {
                    "k": skeleton.keypoints[k],
                    "labelled": bool(true.labelled[j, k]),
                    "matched": len(mine) > 0,
                    "error": error,
                    "ks": ks,
                    "scored": scored,
                    "gross": gross,
                    "state": state,
                    **{kind: length(kind, true, j, skeleton) for kind in LIMITS},
                }


def share(hits: list[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def within(rows: list[dict[str, Any]], kind: str, t: float) -> float | None:
    return share([r["error"] <= t * r[kind] for r in rows if r["labelled"] and r[kind] is not None])


def area_under(rows: list[dict[str, Any]], kind: str) -> float | None:
    """The curve summed up in 20,000 steps."""
    ratios = np.array([r["error"] / r[kind] for r in rows if r["labelled"] and r[kind] is not None])
    if not len(ratios):
        return None
    at = (np.arange(20_000) + 0.5) / 20_000 * LIMITS[kind]
    return float(np.searchsorted(np.sort(ratios), at, side="right").mean() / len(ratios))


def expected(rows: list[dict[str, Any]], head: list[dict[str, Any]]) -> dict[tuple[str, ...], float | None]:
    """The numbers that exist over all keypoints and for each; ``head`` are the rows that count in PCKh."""
    errors = [r["error"] for r in rows if r["labelled"] and r["matched"] and math.isfinite(r["error"])]
    similar = [r["ks"] for r in rows if r["labelled"] and r["matched"]]
    judged = [r["state"] for r in rows if r["state"]]
    return {
        **{("pck", f"{t:g}"): within(rows, "pck", t) for t in (0.05, 0.1, 0.2)},
        ("pckh", "0.5"): within(head, "pckh", 0.5),
        ("pck_torso", "0.2"): within(rows, "pck_torso", 0.2),
        **{("auc", kind): area_under(head if kind == "pckh" else rows, kind) for kind in LIMITS},
        ("mean_error_px",): float(np.mean(errors)) if errors else None,
        ("median_error_px",): float(np.median(errors)) if errors else None,
        ("mean_ks",): float(np.mean(similar)) if similar else None,
        ("gross_rate",): share([bool(r["gross"]) for r in rows if r["scored"]]),
        **{("taxonomy", "shares", s.name.lower()): share([state == s for state in judged]) for s in State if s},
    }


def at(result: Any, name: tuple[str, ...]) -> Any:
    for key in name:
        result = result[key]
    return result


def assert_close(found: float | None, wanted: float | None, what: object) -> None:
    assert (found is None) == (wanted is None), what
    assert found is None or found == pytest.approx(wanted, abs=1e-4 if "auc" in str(what) else 1e-9), what


@pytest.mark.parametrize("name", ["coco17", "mpii16", "lsp14", "ap10k17"])
def test_numbers_are_those_of_plain_python(name: str) -> None:
    skeleton = Skeleton.load(name)
    found, truth = corpus(skeleton)
    result = evaluate(found, truth, skeleton)
    summary, rows = result.summary(), list(keypoints(found, truth, skeleton))
    head = [r for r in rows if not (name == "mpii16" and r["k"] in ("pelvis", "thorax"))]
    for key, wanted in expected(rows, head).items():
        assert_close(at(summary, key), wanted, key)
    for keypoint in skeleton.keypoints:
        own = [r for r in rows if r["k"] == keypoint]
        for key, wanted in expected(own, own).items():
            assert_close(at(summary["keypoints"][keypoint], key), wanted, (keypoint, *key))
        assert result.keypoints[keypoint].labelled == sum(r["labelled"] and r["matched"] for r in own)
    counts = result.counts
    assert result.missed_rate == counts.missed / counts.people and counts.missed > 0
    assert result.extra_rate == counts.extra / counts.poses and counts.extra > 0
    taxonomy = result.taxonomy
    assert taxonomy.counts == {s.name.lower(): sum(r["state"] == s for r in rows) for s in State if s}
    assert (taxonomy.missed_people, taxonomy.extra_poses) == (counts.missed, counts.extra)
    assert taxonomy.people + taxonomy.unlike <= counts.matched


def test_lengths_say_who_has_one_and_why_nobody_does() -> None:
    coco, mpii = Skeleton.load("coco17"), Skeleton.load("mpii16")
    result = evaluate(*corpus(coco), coco)
    assert result.pckh == {"0.5": None} and result.auc["pckh"] is None
    assert result.lengths["pckh"].what == "no head length: skeleton coco17 has no head top and neck"
    assert result.lengths["pckh"].measurable == 0
    found, truth = corpus(mpii)
    lengths = evaluate(found, truth, mpii).lengths
    assert (
        lengths["pckh"].what == "head_top to upper_neck" and lengths["pck_torso"].what == "left_shoulder to right_hip"
    )
    assert 0 < lengths["pck_torso"].measurable < lengths["pck"].measurable == lengths["pck"].people
    boxed = [s.with_poses(s.poses.replace(attributes=[{"head_box": [0, 0, 30, 40]}] * len(s.poses))) for s in truth]
    result = evaluate(found, boxed, mpii)
    people = result.counts.people
    assert (
        result.lengths["pckh"].what == f"0.6 x diagonal of the head box ({people} people), else head_top to upper_neck"
    )
    assert result.lengths["pckh"].measurable == people
    rows = list(keypoints(found, truth, mpii))
    rows = [{**r, "pckh": 30.0} for r in rows if r["k"] not in ("pelvis", "thorax")]
    assert result.pckh["0.5"] == pytest.approx(within(rows, "pckh", 0.5))


@pytest.mark.parametrize("name", ["coco17", "mpii16"])
def test_every_number_has_an_interval_around_it_or_does_not_exist(name: str) -> None:
    skeleton = Skeleton.load(name)
    found, truth = corpus(skeleton, images=40)
    measured = measure(found, Truth(truth), skeleton)
    result = summarise(measured, bootstrap=100)
    assert result.intervals is not None
    for key, value in numbers(result).items():
        interval = result.intervals.of(key)
        assert (interval is None) == (value is None), key
        if interval is not None and value is not None:
            assert interval["low"] <= value <= interval["high"], key
            assert interval["low"] < interval["high"] or value in (0, 1), key
        assert describe(key).label
    assert (result.intervals.unit, result.intervals.clusters) == ("image", 40)
    assert result.intervals.of(("keypoints", skeleton.keypoints[0], "gross_rate"))
    assert summarise(measured, bootstrap=100) == result
    assert summarise(measured, bootstrap=100, seed=1) != result


def test_a_perfect_confidence_is_worth_what_pycocotools_says() -> None:
    """Scores that are upside down lose AP; with each pose's OKS as its score nothing is lost."""
    coco = Skeleton.load("coco17")
    found, truth = corpus(coco, images=30)

    def scored(evaluate_as: list[list[float]]) -> Evaluation:
        samples = [s.with_poses(s.poses.replace(box_score=score)) for s, score in zip(found, evaluate_as, strict=True)]
        return evaluate(samples, truth, coco)

    def likeness(sample: Sample, true: Sample) -> list[float]:
        judged = compare(sample.poses, true.poses, coco)
        return np.nan_to_num(judged.oks).tolist()

    oks = [likeness(s, t) for s, t in zip(found, truth, strict=True)]
    best, worst = scored(oks), scored([[1 - value for value in image] for image in oks])
    assert best.coco["AP"] == pytest.approx(best.scoring.perfect_ap) and best.scoring.ap_gap == pytest.approx(0)
    assert worst.scoring.perfect_ap == best.scoring.perfect_ap
    assert worst.scoring.ap_gap == pytest.approx(best.coco["AP"] - worst.coco["AP"])  # type: ignore[operator]
    assert worst.scoring.ap_gap is not None and worst.scoring.ap_gap > 0.05


@pytest.mark.parametrize(
    ("groups", "unit", "clusters", "note"),
    [
        pytest.param([""] * 40, "image", 40, "", id="images"),
        pytest.param(
            [f"v{i // 4}" for i in range(40)], "group", 10, "only 10 groups: intervals are too narrow", id="few"
        ),
        pytest.param(["v"] * 40, "group", 1, "all images are one group: nothing can be said about another", id="one"),
    ],
)
def test_groups_are_drawn_together(groups: list[str], unit: str, clusters: int, note: str) -> None:
    coco = Skeleton.load("coco17")
    found, truth = corpus(coco, images=40)
    grouped = [Sample(s.id, s.root, s.path, s.size, s.poses, group) for s, group in zip(found, groups, strict=True)]
    result = evaluate(grouped, truth, coco, bootstrap=50)
    intervals = result.intervals
    assert intervals is not None
    assert (intervals.unit, intervals.clusters, intervals.note) == (unit, clusters, note)
    assert bool(intervals.values) == (clusters > 1)
    assert note in result.table() and "percentile bootstrap, 50 resamples" in result.table()
