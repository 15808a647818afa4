"""Fitting a calibrator from manifests, and scoring with it: probabilities for what it was fitted for, only."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.calibrator import Calibrator
from autolabel.errors import ExistsError, InputError
from autolabel.manifest import Existing, Manifest, ManifestWriter
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines import calibrate as module
from pipelines.calibrate import calibrate
from pipelines.check import check
from pipelines.predicted import predicted_how
from pipelines.score import score

SKELETON = Skeleton.load("coco17")
K = 17
N = 120


def case(folder: Path, **changes: Any) -> tuple[Manifest, Manifest]:
    """Predicted poses, one an image, of which those with low peaks are 40 pixels off; and their truth."""
    rng = np.random.default_rng(0)
    peak = np.repeat(rng.uniform(0.1, 0.9, (N, 1)), K, axis=1).astype(np.float32)
    peak[-1] = np.nan  # an image that could not be read
    xy = rng.uniform(10, 90, (N, K, 2))
    shared = {"id": [f"p{i}" for i in range(N)], "box": np.tile([0.0, 0.0, 100.0, 100.0], (N, 1))}
    visible = np.full((N, K), Visibility.VISIBLE)
    truth = Poses.create(K, **shared, xy=xy, visibility=visible, attributes=[{"state": "reviewed"}] * N)
    said = xy + np.where(peak < 0.5, 40, 0)[..., None]
    said[-1] = np.nan
    visible = np.where(np.isnan(said[..., 0]), Visibility.UNLABELLED, visible)
    by = ["net"] * (N - 1) + [""]
    model = Poses.create(
        K, **{**shared, "xy": said, "visibility": visible, "by": by, "origin": np.full((N, K), Origin.MODEL), **changes}
    )
    return write(folder / "truth", truth, None), write(folder / "predicted", model, peak)


def write(path: Path, poses: Poses, peak: np.ndarray | None) -> Manifest:
    samples = [Sample(f"s{i}", "r", f"{i}.png", (100, 100), poses.take([i])) for i in range(N)]
    with ManifestWriter(path, SKELETON, {"r": path}, stage="predict", existing=Existing.OVERWRITE) as writer:
        for part, rows in enumerate(np.array_split(np.arange(N), 3)):
            # The last part could not be read at all: it has no features.
            features = {"peak": peak[rows]} if peak is not None else None
            writer.write_part(part, [samples[i] for i in rows], features)
    return Manifest.open(path)


def all_poses(manifest: Manifest) -> Poses:
    return Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])


def test_doubt_becomes_probability(tmp_path: Path) -> None:
    truth, predicted = case(tmp_path)
    result = calibrate(predicted.path, truth=truth.path, out=tmp_path / "c.json")
    assert (result.calibrator.poses, result.calibrator.predicted.model) == (N - 1, "net")
    assert result.plot.read_bytes().startswith(b"\x89PNG")
    assert "AUROC" in result.told()
    bad = check(predicted, truth).bad[:-1]
    assert result.summary()["bad"] == result.calibrator.bad == bad.sum()
    scored = score(predicted.path, out=tmp_path / "scored", calibrator=tmp_path / "c.json")
    p_bad = all_poses(scored.manifest).p_bad
    assert np.isnan(p_bad[-1])
    assert p_bad[:-1][bad].min() > p_bad[:-1][~bad].max()
    assert scored.mean_p_bad == pytest.approx(bad.mean(), abs=0.03)
    assert scored.calibrated
    assert {parent.role for parent in scored.manifest.parents} == {"manifest", "calibrator"}


def test_the_same_again_changes_nothing_and_another_needs_overwrite(tmp_path: Path) -> None:
    truth, predicted = case(tmp_path)
    arguments: dict[str, Any] = {"truth": truth.path, "out": tmp_path / "deep" / "c.json"}
    calibrate(predicted.path, **arguments)
    before = (tmp_path / "deep" / "c.json").read_bytes()
    calibrate(predicted.path, **arguments)
    assert (tmp_path / "deep" / "c.json").read_bytes() == before
    with pytest.raises(ExistsError, match="stands already"):
        calibrate(predicted.path, seed=1, **arguments)
    assert calibrate(predicted.path, seed=1, overwrite=True, **arguments).calibrator != Calibrator.model_validate_json(
        before
    )


def test_a_calibrator_of_another_network_is_refused(tmp_path: Path) -> None:
    truth, predicted = case(tmp_path)
    calibrate(predicted.path, truth=truth.path, out=tmp_path / "c.json")
    _, other = case(tmp_path, by=["other"] * N)
    with pytest.raises(InputError, match="was fitted for model net, these other"):
        score(other.path, out=tmp_path / "scored", calibrator=tmp_path / "c.json")


def test_whether_there_is_enough(tmp_path: Path) -> None:
    truth, predicted = case(tmp_path)
    checked = check(predicted, truth)
    assert module.enough(checked)
    few = checked.take(checked.bad & (np.cumsum(checked.bad) <= 4) | ~checked.bad)
    assert not module.enough(few)
    with pytest.raises(InputError, match="4 bad ones are too few"):
        module.fit(few, skeleton=SKELETON, how=predicted_how(predicted))
    bare = replace(checked, features={})
    assert not module.enough(bare), "without features there is nothing to fit on"


def test_a_prior_says_that_it_is_one(tmp_path: Path) -> None:
    _, predicted = case(tmp_path)
    result = score(predicted.path, out=tmp_path / "scored")
    assert not result.calibrated
    assert json.loads(json.dumps(result.summary(), default=str))["calibrated"] is False
    assert [parent.role for parent in result.manifest.parents] == ["manifest"]


def test_a_calibrator_for_something_else_ranks_when_forced(tmp_path: Path) -> None:
    truth, predicted = case(tmp_path)
    calibrate(predicted.path, truth=truth.path, out=tmp_path / "c.json")
    _, other = case(tmp_path, by=["other"] * N)
    result = score(other.path, out=tmp_path / "scored", calibrator=tmp_path / "c.json", force=True)
    assert not result.calibrated
    assert {parent.role for parent in result.manifest.parents} == {"manifest", "forced calibrator"}
    assert np.isfinite(all_poses(result.manifest).p_bad[:-1]).all()


def test_another_network_is_evidence(tmp_path: Path) -> None:
    """The other network is right wherever the peak is low: only disagreement can tell what the peak does not."""
    truth, predicted = case(tmp_path)
    bare = Manifest.open(predicted.path)
    arguments: dict[str, Any] = {"truth": truth.path, "without": ["peak"]}
    blind = calibrate(bare.path, out=tmp_path / "blind.json", **arguments)
    seeing = calibrate(bare.path, out=tmp_path / "seeing.json", against=truth.path, **arguments)
    assert "against" in seeing.calibrator.uses
    assert seeing.quality.auroc > 0.95 > 0.8 > blind.quality.auroc
    scored = score(bare.path, out=tmp_path / "s", calibrator=tmp_path / "seeing.json", against=truth.path)
    features = scored.manifest.features(0)
    assert features is not None
    assert {"against", "conflict", "expected_error"} <= set(features)
    told = [reason for a in all_poses(scored.manifest).attributes for reason in a.get("reasons", [])]
    assert any(reason["feature"] == "against" and "truth" in reason["text"] for reason in told)
    with pytest.raises(InputError, match="features that these lack: against"):
        score(bare.path, out=tmp_path / "t", calibrator=tmp_path / "seeing.json")
