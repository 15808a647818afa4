"""The whole audit: what it writes, what it refuses, and that a stopped one goes on."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ConfigError, ExistsError, InputError, SkeletonError
from autolabel.label_quality import label_quality
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Visibility
from autolabel.skeleton import Skeleton
from pipelines.audit_labels import CSV, GALLERY, JSON, AuditLabelsResult, audit_labels, default_out
from pipelines.label_folds import Fold
from tests.doubles import Recorder, Stopped


def audit(drawn_case: Any, weights: Path, out: Path, **options: Any) -> AuditLabelsResult:
    return audit_labels(
        options.pop("manifest", drawn_case.truth.path), weights=[weights], out=out, device="cpu", precision="fp32",
        **options,
    )  # fmt: skip


def test_lists_and_gallery_are_written(drawn_case: Any, tiny_weights: Path, tmp_path: Path) -> None:
    result = audit(drawn_case, tiny_weights, tmp_path / "a")
    poses = drawn_case.truth.counts["poses"]
    assert len(result.quality.pose) == poses
    assert result.summary()["judged"] == int(np.isfinite(result.quality.pose).sum()) > 0
    told = json.loads((tmp_path / "a" / JSON).read_text())
    assert [record["pose"] for record in told["suspects"]] == [s.pose for s in result.suspects]
    with (tmp_path / "a" / CSV).open() as file:
        assert len(list(csv.DictReader(file))) == len(result.suspects)
    assert (tmp_path / "a" / GALLERY).read_text().startswith("<!doctype html>")
    again = audit(drawn_case, tiny_weights, tmp_path / "a")
    assert [s.pose for s in again.suspects] == [s.pose for s in result.suspects]
    expected = label_quality(result.poses, result.evidence, drawn_case.truth.skeleton)
    assert np.array_equal(again.quality.pose, expected.pose, equal_nan=True)


def test_a_stopped_audit_goes_on_and_ends_the_same(drawn_case: Any, tiny_weights: Path, tmp_path: Path) -> None:
    whole = audit(drawn_case, tiny_weights, tmp_path / "whole")
    with pytest.raises(Stopped):
        audit(drawn_case, tiny_weights, tmp_path / "part", progress=Recorder(after=6))
    kept = sorted((tmp_path / "part" / "readings" / "0").glob("*.npz"))
    assert len(kept) == 1, "parts of four images: the first is done, the second not"
    then = audit(drawn_case, tiny_weights, tmp_path / "part")
    assert np.array_equal(then.quality.pose, whole.quality.pose, equal_nan=True)


def test_folds_give_every_pose_to_the_network_that_may_see_it(
    drawn_case: Any, tiny_weights: Path, tmp_path: Path
) -> None:
    ids = [pose for sample in drawn_case.truth for pose in sample.poses.id.tolist()]
    halves = [Fold(tiny_weights, frozenset(ids[::2])), Fold(tiny_weights, frozenset(ids[1::2]))]
    options: Any = {"device": "cpu", "precision": "fp32"}
    result = audit_labels(drawn_case.truth.path, out_of_fold=halves, out=tmp_path / "folds", **options)
    one = audit_labels(drawn_case.truth.path, out_of_fold=halves[:1], out=tmp_path / "one", **options)
    whole = audit(drawn_case, tiny_weights, tmp_path / "whole")
    assert np.allclose(result.evidence.xy, whole.evidence.xy, equal_nan=True, atol=1e-3)
    assert np.isnan(one.evidence.xy[1::2]).all()
    assert np.isnan(one.quality.pose[1::2]).all()


def test_an_image_that_cannot_be_read_is_set_aside(drawn_case: Any, tiny_weights: Path, tmp_path: Path) -> None:
    samples = list(drawn_case.truth)
    (tmp_path / "images").mkdir()
    for sample in samples:
        (tmp_path / "images" / sample.path).write_bytes(drawn_case.truth.image_path(sample).read_bytes())
    (tmp_path / "images" / samples[1].path).write_bytes(b"no image")
    roots = {samples[0].root: tmp_path / "images"}
    manifest = write_manifest(tmp_path / "m", samples, drawn_case.truth.skeleton, roots, stage="test")
    progress = Recorder()
    result = audit(drawn_case, tiny_weights, tmp_path / "out", manifest=manifest.path, progress=progress)
    assert [record["path"] for record in result.unread] == [samples[1].path]
    assert all(result.unread[0].values())
    assert json.loads((tmp_path / "out" / JSON).read_text())["unread"] == list(result.unread)
    first = len(samples[0].poses)
    assert np.isnan(result.quality.pose[first : first + len(samples[1].poses)]).all()
    assert any("1 images could not be read" in note for note in progress.notes)


def test_bad_input_is_refused(drawn_case: Any, tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no keypoint is labelled"):
        audit(drawn_case, tiny_weights, tmp_path / "a", manifest=drawn_case.folder / "pool")
    with pytest.raises(ConfigError, match="go together"):
        audit_labels(drawn_case.truth.path, config="train.toml", out=tmp_path / "a")
    with pytest.raises(ConfigError, match="several ways"):
        audit_labels(drawn_case.truth.path, weights=[tiny_weights], config="t.toml", folds=2, out=tmp_path / "a")
    other = Skeleton.load("lsp14")
    poses = Poses.create(14, id=["p"], xy=np.full((1, 14, 2), 5.0), visibility=np.full((1, 14), Visibility.VISIBLE))
    sample = next(iter(drawn_case.truth)).with_poses(poses)
    manifest = write_manifest(tmp_path / "other", [sample], other, drawn_case.truth.roots, stage="test")
    with pytest.raises(SkeletonError):
        audit(drawn_case, tiny_weights, tmp_path / "a", manifest=manifest.path)
    assert not (tmp_path / "a" / JSON).exists()


def test_another_result_is_kept_unless_told(drawn_case: Any, tiny_weights: Path, tmp_path: Path) -> None:
    audit(drawn_case, tiny_weights, tmp_path / "a")
    with pytest.raises(ExistsError):
        audit(drawn_case, tiny_weights, tmp_path / "a", manifest=drawn_case.folder / "labelled")
    labelled = Manifest.open(drawn_case.folder / "labelled")
    result = audit(drawn_case, tiny_weights, tmp_path / "a", manifest=labelled.path, overwrite=True)
    assert len(result.poses) == labelled.counts["poses"]


def test_where_results_go_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_out("elsewhere/photos.m") == tmp_path / "photos.labels"
