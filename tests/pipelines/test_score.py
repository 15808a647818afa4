"""Scoring a manifest: part by part, with what cannot be scored left without a doubt."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ExistsError, InputError
from autolabel.manifest import Manifest, ManifestWriter
from autolabel.poses import Poses, Visibility
from autolabel.score import REASONS, prior
from autolabel.skeleton import Skeleton
from pipelines.manifest_evidence import image_sizes
from pipelines.score import score

SKELETON = Skeleton.load("coco17")
K = 17
PEAKS = np.linspace(0.1, 0.9, 6 * K, dtype=np.float32).reshape(6, K)


def write(review_case: Any, poses: Poses, featured: tuple[int, ...] = (0, 1, 2)) -> Manifest:
    roots = {"images": review_case.folder / "images"}
    with ManifestWriter(review_case.folder / "predicted", SKELETON, roots, stage="predict") as writer:
        for i, sample in enumerate(review_case.samples(poses)):
            writer.write_part(i, [sample], {"peak": PEAKS[2 * i : 2 * i + 2]} if i in featured else None)
    return Manifest.open(review_case.folder / "predicted")


def all_poses(manifest: Manifest) -> Poses:
    return Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])


def test_only_the_doubt_changes(review_case: Any, tmp_path: Path) -> None:
    source = write(review_case, review_case.model)
    result = score(source.path, out=tmp_path / "scored")
    poses = all_poses(result.manifest)
    p_gross, p_bad = prior(review_case.model, {"peak": PEAKS})
    assert poses.p_gross == pytest.approx(p_gross)
    assert poses.p_bad == pytest.approx(p_bad)
    assert result.mean_p_bad == pytest.approx(p_bad.mean())
    before = {name: getattr(review_case.model, name) for name in ("p_gross", "p_bad", "attributes")}
    assert poses.replace(**before).equals(review_case.model)
    assert result.with_reasons == sum(REASONS in attributes for attributes in poses.attributes) > 0
    assert result.manifest.num_parts == 3
    features = [result.manifest.features(i) for i in range(3)]
    assert np.array_equal(np.concatenate([part["peak"] for part in features if part]), PEAKS)


def test_what_a_person_has_seen_is_beyond_doubt(review_case: Any, tmp_path: Path) -> None:
    states = ["reviewed", "rejected", "expert", "review", "", "accepted"]
    model = review_case.model.replace(
        attributes=[{"state": state} for state in states],
        p_bad=np.full(6, 0.25),
        by=["ann", "ann", "ann", "net", "net", "net"],
    )
    result = score(write(review_case, model).path, out=tmp_path / "scored")
    assert np.isnan(all_poses(result.manifest).p_bad).tolist() == [True] * 3 + [False] * 3


def test_a_part_of_which_nothing_was_predicted_is_no_trouble(review_case: Any, tmp_path: Path) -> None:
    xy, visibility = review_case.model.xy.copy(), review_case.model.visibility.copy()
    xy[2:4], visibility[2:4] = np.nan, Visibility.UNLABELLED
    source = write(review_case, review_case.model.replace(xy=xy, visibility=visibility), featured=(0, 2))
    poses = all_poses(score(source.path, out=tmp_path / "scored").manifest)
    assert np.isnan(poses.p_bad).tolist() == [False, False, True, True, False, False]


def test_predictions_without_features_are_refused(review_case: Any, tmp_path: Path) -> None:
    source = write(review_case, review_case.model, featured=(0,))
    with pytest.raises(InputError, match=r"has no features to score by.*autolabel predict"):
        score(source.path, out=tmp_path / "scored")


def test_a_killed_scoring_goes_on(review_case: Any, tmp_path: Path) -> None:
    source = write(review_case, review_case.model)
    first = score(source.path, out=tmp_path / "scored").manifest
    kept = (tmp_path / "scored" / "poses-00000.parquet").stat().st_mtime_ns
    for name in ("manifest.json", "samples-00001.parquet"):
        (tmp_path / "scored" / name).unlink()
    again = score(source.path, out=tmp_path / "scored").manifest
    assert again.digest == first.digest
    assert (tmp_path / "scored" / "poses-00000.parquet").stat().st_mtime_ns == kept


def test_another_manifest_needs_overwrite(review_case: Any, tmp_path: Path) -> None:
    score(write(review_case, review_case.model).path, out=tmp_path / "scored")
    other = review_case.write(
        "other", review_case.truth.replace(xy=np.full((6, K, 2), np.nan), visibility=np.zeros((6, K)))
    )
    with pytest.raises(ExistsError):
        score(other.path, out=tmp_path / "scored")
    result = score(other.path, out=tmp_path / "scored", overwrite=True)
    assert np.isnan(result.mean_p_bad)


def test_every_pose_has_its_image_size(review_case: Any) -> None:
    samples = review_case.samples(review_case.model)
    samples[1] = samples[1].with_poses(Poses.empty(K))
    assert image_sizes(samples).tolist() == [[160, 120]] * 4
    assert image_sizes([]).shape == (0, 2)
