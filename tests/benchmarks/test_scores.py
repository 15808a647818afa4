"""The doubt benchmark on a made-up pool, with a score model that is made up too: nothing is trained or predicted."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from autolabel.manifest import Manifest, ManifestWriter
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.score_quality import brier_skill, risk_curve
from autolabel.skeleton import Skeleton
from benchmarks.pages import fill
from benchmarks.scores_ablation import ablated, groups, worth
from benchmarks.scores_arms import EVIDENCE, FEATURES, PEAK, QUALITY, RAW, Trial, fit_part, raw_peak
from benchmarks.scores_measures import BETTER, Held, measured, over
from benchmarks.scores_pools import Pool, judged, strata, with_joints
from benchmarks.scores_report import PAGE, sections, write_report
from benchmarks.scores_rows import JUDGED, LIMIT, bars, reached, summary
from pipelines.check import Checked

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints


def some_pool(name: str = "drawn", poses: int = 400, *, networks: int = 1, head: bool = False, seed: int = 0) -> Pool:
    """Two people an image; the peak tells a little of who is bad, ``flip_ks`` tells more."""
    rng = np.random.default_rng(seed)
    bad = rng.random(poses) < 0.3
    oks = np.clip(0.9 - 0.5 * bad + rng.normal(0, 0.05, poses), 0, 1)
    shape = (poses, K)
    features = {
        "peak": np.clip(0.7 - 0.1 * bad[:, None] + rng.normal(0, 0.2, shape), 0, 1),
        "flip_ks": np.clip(0.7 - 0.15 * bad[:, None] + rng.normal(0, 0.3, shape), 0, 1),
    }
    if head:
        features["quality_bad"] = np.clip(0.3 + 0.4 * bad + rng.normal(0, 0.1, poses), 0, 1)
    checked = Checked(
        Poses.create(
            K,
            id=[f"p{i}" for i in range(poses)],
            xy=rng.random((*shape, 2)),
            visibility=np.full(shape, Visibility.VISIBLE),
            origin=np.full(shape, Origin.MODEL),
            by=[f"network {i % networks}" for i in range(poses)],
            box=np.tile([10.0, 10, 60, 90], (poses, 1)),
        ),
        features,
        sizes=np.full((poses, 2), 100.0),
        gross=np.zeros(shape, bool),
        scored=np.ones(shape, bool),
        bad=bad,
        oks=oks,
        error=np.zeros(shape),
        truth=rng.random((*shape, 2)),
        group=np.arange(poses) // 2,
        area=np.full(poses, 2120.0),
    )
    kinds = {"all": np.ones(poses, bool), "small": np.arange(poses) % 4 == 0}
    return Pool(name, SKELETON, checked, np.arange(poses) // 2, poses // 2, kinds, ())


def mean_of_evidence(learnt: Pool, asked: Pool, *, without: frozenset[str], seed: int) -> np.ndarray:
    """A score model: the base rate, moved by the mean of whatever may be seen."""
    assert not np.isin(asked.clusters, learnt.clusters).any()
    assert len(set(asked.checked.poses.by) | set(learnt.checked.poses.by)) == 1
    found = asked.checked.features
    seen = [1 - found[name].mean(axis=1) for name in ("peak", "flip_ks") if name not in without]
    seen += [found["quality_bad"]] * 3 if "quality_bad" in found and "quality_bad" not in without else []
    return np.clip(np.mean(seen, axis=0), 0, 1) if seen else np.full(len(asked), learnt.checked.bad.mean())


def some_held(poses: int = 120, seed: int = 0) -> Held:
    rng = np.random.default_rng(seed)
    bad = rng.random(poses) < 0.3
    oks = np.where(rng.random(poses) < 0.1, np.nan, 0.8 - 0.4 * bad + 0.1 * rng.random(poses))
    doubts = {"good": np.round(0.3 * bad + 0.7 * rng.random(poses), 2), "useless": np.full(poses, 0.3)}
    everybody = {"all": np.ones(poses, bool), "even": np.arange(poses) % 2 == 0}
    return Held(bad, oks, np.arange(poses) // 3, doubts, everybody)


def test_measures_of_a_draw_are_those_of_the_poses_repeated() -> None:
    held = some_held()
    weights = np.random.default_rng(1).integers(0, 3, (4, len(held.bad)))
    found = over(held, weights)[:, 0]
    for b, counts in enumerate(weights):
        doubt, bad, oks = (np.repeat(values, counts) for values in (held.doubts["good"], held.bad, held.oks))
        known, curve = ~np.isnan(oks), risk_curve(doubt, bad)
        expected = {
            "AURC": curve.aurc()[0],
            "AUROC": curve.auroc()[0],
            "Spearman": -spearmanr(doubt[known], oks[known]).statistic,
            "Brier skill": brier_skill(doubt, bad),
            LIMIT: curve.coverage(0.02)[0],
            "risk at 70%": curve.risk_at(0.7)[0],
        }
        for name, value in expected.items():
            assert found[b, list(BETTER).index(name)] == pytest.approx(value), name


def test_a_gain_is_paired_and_above_zero_where_it_is_better() -> None:
    splits = [some_held(seed=0), some_held(seed=0)]
    found = measured(splits, clusters=40, resamples=200)
    for name in ("AURC", "AUROC", "risk at 50%"):
        gain = found.gain(name, "good", "useless")
        assert gain.low > 0 and gain.low < gain.value < gain.high and len(gain.splits) == 2
        back = found.gain(name, "useless", "good")
        assert back.value == -gain.value and back.high == pytest.approx(-gain.low)
        same = found.gain(name, "good", "good")
        assert (same.value, same.low, same.high) == (0, 0, 0)
    low, high = found.interval("AUROC", "good")
    assert low < found.value("AUROC", "good") < high
    assert np.isnan(found.value("Spearman", "useless"))  # a constant has no rank


@pytest.mark.parametrize(("name", "share"), [("fashion17", 0.4), ("drawn", 0.5)])
def test_images_are_not_parted_and_splits_differ(name: str, share: float) -> None:
    pool = some_pool(name)
    fit = fit_part(pool, 0)
    assert fit.sum() == pytest.approx(share * len(pool), abs=2)
    assert not set(pool.clusters[fit]) & set(pool.clusters[~fit])
    assert (fit == fit_part(pool, 0)).all() and (fit != fit_part(pool, 1)).any()


def test_raw_peak_is_of_keypoints_said_present_that_the_truth_speaks_of() -> None:
    pool = some_pool(poses=4)
    seen = np.full((4, K), Visibility.VISIBLE, np.uint8)
    seen[0, 0], seen[1] = Visibility.ABSENT, Visibility.ABSENT
    scored = np.ones((4, K), bool)
    scored[:, 1] = False
    peaks = pool.checked.features["peak"]
    checked = replace(pool.checked, poses=pool.checked.poses.replace(visibility=seen), scored=scored)
    one = replace(pool, checked=checked)
    found = raw_peak(one)
    assert found[0] == pytest.approx(1 - peaks[0, 2:].mean())
    assert found[1] == 1
    assert found[2] == pytest.approx(1 - np.delete(peaks[2], 1).mean())


@pytest.mark.parametrize("networks", [1, 2])
@pytest.mark.parametrize("head", [False, True])
def test_arms(head: bool, networks: int) -> None:
    headed = some_pool(head=True, networks=networks) if head else None
    held = Trial(some_pool(networks=networks), 0, mean_of_evidence, headed).arms()
    assert list(held.doubts) == [RAW, PEAK, FEATURES, *([QUALITY] if head else [])]
    assert all(np.isfinite(doubt).all() and len(doubt) == len(held.bad) for doubt in held.doubts.values())
    assert held.doubts[PEAK] == pytest.approx(held.doubts[RAW])
    ranks = [risk_curve(doubt, held.bad).auroc()[0] for doubt in held.doubts.values()]
    assert ranks[1] < ranks[2] < (ranks[3] if head else 1.1)


def test_every_piece_of_evidence_is_in_one_group_and_the_peak_in_none() -> None:
    found = groups(["peak", "flip_ks", "flip_peak", "swap_ks", "quality_bad", "a_new_one", "box_score", "size"])
    assert found["flip test"] == {"flip_ks", "flip_peak"} and found["a_new_one"] == {"a_new_one"}
    assert "peak" not in set().union(*found.values())
    assert set().union(*groups(sorted(EVIDENCE)).values()) == EVIDENCE - {"peak"}


def test_ablation_tells_what_counts_from_what_does_not() -> None:
    held = ablated(Trial(some_pool(poses=600), 0, mean_of_evidence))
    assert not any("quality" in arm for arm in held.doubts)
    rows = {row["evidence"]: row for row in worth([held], clusters=300, resamples=100)}
    assert not rows["flip test"]["worth nothing"] and rows["flip test"]["AUROC lost without"][1] > 0
    assert rows["size and edge"]["worth nothing"] and "presence" not in rows


def test_strata() -> None:
    visibility = np.full((4, K), Visibility.VISIBLE, np.uint8)
    visibility[0, 3], visibility[1, 3] = Visibility.ABSENT, Visibility.HIDDEN
    xy = np.full((4, K, 2), 50.0)
    xy[2, 5] = [50, 104]  # labelled beyond the image
    box = np.array([[10, 10, 60, 90], [10, 10, 60, 90], [10, 10, 60, 90], [0, 10, 60, 20]], float)
    found = strata(Poses.create(K, xy=xy, visibility=visibility, box=box), np.full((4, 2), 100.0))
    assert found["all"].all()
    assert found["truncated"].tolist() == [True, False, True, True]
    assert found["small"].tolist() == [False, False, False, True]
    assert found["hidden joints"].tolist() == [False, True, False, False]
    nothing = strata(Poses.empty(K), np.zeros((0, 2)))
    assert list(nothing) == ["all"]


def corpus(folder: Path, xy: np.ndarray, visibility: int, **features: np.ndarray) -> Manifest:
    """A manifest of as many images as there are places, two people each."""
    samples = [
        Sample(
            f"{i:032x}",
            "images",
            f"{i}.jpg",
            (100, 100),
            Poses.create(
                K,
                id=[f"{i}a", f"{i}b"],
                xy=xy[2 * i : 2 * i + 2],
                visibility=np.full((2, K), visibility),
                origin=np.full((2, K), Origin.MODEL),
                box=np.tile([10.0, 10, 60, 90], (2, 1)),
            ),
        )
        for i in range(len(xy) // 2)
    ]
    with ManifestWriter(folder, SKELETON, {"images": folder}, stage="test") as writer:
        writer.write_part(0, samples, features or None)
    return Manifest.open(folder)


def test_a_pool_is_what_was_predicted_beside_the_truth(tmp_path: Path) -> None:
    xy = np.random.default_rng(0).uniform(20, 80, (6, K, 2))
    moved = xy.copy()
    moved[3] += 60
    moved[4, 0] += 60  # one gross keypoint is not bad
    peak = np.full((6, K), 0.5, np.float32)
    peak[5] = np.nan  # nothing was predicted
    truth = corpus(tmp_path / "truth", xy, Visibility.VISIBLE)
    predicted = corpus(tmp_path / "predicted", moved, Visibility.VISIBLE, peak=peak)
    pool = judged("drawn", truth, [predicted])
    assert pool.checked.poses.id.tolist() == ["0a", "0b", "1a", "1b", "2a"]
    assert pool.clusters.tolist() == [0, 0, 1, 1, 2] and pool.num_clusters == 3
    assert pool.checked.bad.tolist() == [False, False, False, True, False]
    limbs = judged("drawn", with_joints(truth, SKELETON.keypoints[5:], tmp_path / "limbs"), [predicted])
    assert limbs.checked.scored[0].tolist() == [False] * 5 + [True] * 12
    assert with_joints(truth, (), tmp_path / "limbs").digest == Manifest.open(tmp_path / "limbs").digest


def measured_pools() -> list[dict]:
    pools = []
    for name in ("fashion17", "drawn", "lspet"):
        pool, headed = some_pool(name), some_pool(name, head=True) if name == "drawn" else None
        trials = [Trial(pool, seed, mean_of_evidence, headed) for seed in range(2)]
        pools.append(
            summary(
                name,
                [trial.arms() for trial in trials],
                clusters=pool.num_clusters,
                fitted=[int(trial.fitted.sum()) for trial in trials],
                ablation=[ablated(trials[0])] if name == "drawn" else [],
                resamples=50,
            )
        )
    return json.loads(json.dumps(pools))


def test_what_is_measured_fills_page_and_pictures(tmp_path: Path) -> None:
    pools = measured_pools()
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    write_report(pools, bars(pools), page, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "| fashion17 | raw peak |" in text and "Worth nothing" in text
    lspet = next(line for line in text.splitlines() if line.startswith("| lspet | features |"))
    assert lspet.count("–") == 6  # coverages and probabilities are not told where labels are wrong
    for name in ("scores-risk.png", "scores-reliability.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_bars() -> None:
    pools = measured_pools()
    rows = bars(pools)
    assert {(row["pool"], row["arm"]) for row in rows} == {
        (pool["pool"], arm["arm"])
        for pool in pools
        if pool["pool"] != "lspet"
        for arm in pool["arms"]
        if arm["arm"] in JUDGED
    }
    assert rows[0]["met"]  # flip_ks ranks better than the peak
    assert not rows[-1]["met"]  # a mean of evidence is no probability
    assert not any(row["met"] for row in bars([]))
    assert not reached(bars([]))
    assert not reached(rows)
    assert reached([{**row, "met": row["met"] or row["arm"] == JUDGED[0]} for row in rows]), "one arm is enough"
    for pool in pools:  # nothing can be kept: the area decides
        for arm in pool["arms"]:
            arm[LIMIT] = [0.0, 0.0, 0.0]
    assert bars(pools)[1]["bar"].startswith("AURC")


def test_a_page_without_a_marker_is_refused() -> None:
    made = sections([], bars([]))
    assert set(made) == {"pools", "arms", "gains", "strata", "ablation", "bars"}
    with pytest.raises(ValueError, match="no <!-- table pools -->"):
        fill("text", made)
    assert "not measured" in fill("<!-- table bars -->\nold\n<!-- end bars -->", {"bars": made["bars"]}).lower()
