"""Predicted poses beside the truth: by id, by place, in parts, and what is left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import InputError, SkeletonError
from autolabel.manifest import Existing, Manifest, ManifestWriter, write_manifest
from autolabel.poses import Poses, Visibility
from autolabel.similarity import bad_poses, gross_keypoints, mean_similarity, pair_similarity
from autolabel.skeleton import Skeleton
from pipelines.check import Checked, check

SKELETON = Skeleton.load("coco17")
K = 17


def with_features(review_case: Any, name: str, poses: Poses, featured: tuple[int, ...] = (0, 1, 2)) -> Manifest:
    """One image a part; those not featured come without features, as parts do in which no image could be read."""
    roots = {"images": review_case.folder / "images"}
    path = review_case.folder / name
    with ManifestWriter(path, SKELETON, roots, stage="predict", existing=Existing.OVERWRITE) as writer:
        for i, sample in enumerate(review_case.samples(poses)):
            rows = np.arange(2 * i, 2 * i + 2, dtype=np.float32)
            writer.write_part(i, [sample], {"peak": np.repeat(rows[:, None], K, axis=1)} if i in featured else None)
    return Manifest.open(path)


def renamed(poses: Poses) -> Poses:
    """The same poses as another source would have them: other ids, in reverse order within each image."""
    return poses.take([1, 0, 3, 2, 5, 4]).replace(id=[f"truth-{i}" for i in range(6)])


@pytest.fixture
def predicted(review_case: Any) -> Manifest:
    return with_features(review_case, "predicted", review_case.model)


def expected_bad(review_case: Any) -> np.ndarray:
    ks = pair_similarity(review_case.model, review_case.truth, SKELETON)
    return bad_poses(mean_similarity(ks), gross_keypoints(review_case.model, review_case.truth, ks))


@pytest.mark.parametrize("by_place", [False, True])
def test_poses_are_judged_beside_their_truth(review_case: Any, predicted: Manifest, by_place: bool) -> None:
    truth = review_case.write("truth", renamed(review_case.truth) if by_place else review_case.truth)
    checked = check(predicted, truth)
    assert checked.poses.id.tolist() == review_case.model.id.tolist()
    bad = expected_bad(review_case)
    assert bad.any()
    assert not bad.all()
    assert checked.bad.tolist() == bad.tolist()
    ks = pair_similarity(review_case.model, review_case.truth, SKELETON)
    assert np.array_equal(checked.gross, gross_keypoints(review_case.model, review_case.truth, ks))
    assert checked.features["peak"][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert checked.sizes.tolist() == [[160, 120]] * 6
    distance = np.linalg.norm(review_case.model.xy - review_case.truth.xy, axis=-1)
    assert np.allclose(checked.error[:, :16], distance[:, :16], atol=1e-4)
    assert np.isnan(checked.error[:, 16]).all(), "an absent keypoint has no distance"
    assert checked.scored.all(), "but something is said about it"
    assert checked.oks == pytest.approx(
        mean_similarity(pair_similarity(review_case.model, review_case.truth, SKELETON))
    )


def test_by_id_only_what_was_checked_counts(review_case: Any, predicted: Manifest) -> None:
    """In parts of which no checked pose is left, too: there, nothing is matched by place instead."""
    rows = [0, 3]
    stranger = review_case.truth.replace(id=["pose-0", "x", "y", "pose-3", "suppressed", "z"])
    samples = [s.with_poses(s.poses.take([i])) for s, i in zip(review_case.samples(stranger), (0, 1, 0), strict=True)]
    roots = {"images": review_case.folder / "images"}
    truth = write_manifest(review_case.folder / "checked", samples, SKELETON, roots, stage="select")
    checked = check(predicted, truth)
    assert checked.poses.id.tolist() == [f"pose-{r}" for r in rows]
    assert checked.bad.tolist() == expected_bad(review_case)[rows].tolist()
    assert checked.features["peak"][:, 0].tolist() == rows


def test_by_place_what_matches_nobody_is_bad_but_only_on_checked_images(review_case: Any, predicted: Manifest) -> None:
    samples = review_case.samples(renamed(review_case.truth))
    truth = write_manifest(
        review_case.folder / "some",
        [samples[0].with_poses(samples[0].poses.take([1])), samples[1]],
        SKELETON,
        {"images": review_case.folder / "images"},
        stage="import",
    )
    checked = check(predicted, truth)
    assert checked.poses.id.tolist() == ["pose-0", "pose-1", "pose-2", "pose-3"], "nothing is known of the last image"
    assert checked.bad.tolist() == [False, True, *expected_bad(review_case)[2:4]]
    assert np.isnan(checked.oks).tolist() == [False, True, False, False]
    assert not checked.scored[1].any()


def test_states_of_a_correction(review_case: Any, predicted: Manifest) -> None:
    states = ["reviewed", "reviewed", "rejected", "expert", "reviewed", "reviewed"]
    truth = review_case.truth.replace(attributes=[{"state": state} for state in states])
    checked = check(predicted, review_case.write("pulled", truth))
    assert checked.poses.id.tolist() == ["pose-0", "pose-1", "pose-2", "pose-4", "pose-5"], "an expert has not spoken"
    assert checked.bad[2], "rejected"
    assert not checked.scored[2].any(), "what stood there teaches nothing about keypoints"
    assert np.isnan(checked.error[2]).all()


def test_a_truth_that_says_nothing_is_left_out(review_case: Any, predicted: Manifest) -> None:
    visibility = review_case.truth.visibility.copy()
    visibility[1] = Visibility.UNLABELLED
    visibility[4, :10] = Visibility.UNLABELLED
    checked = check(predicted, review_case.write("truth", review_case.truth.replace(visibility=visibility)))
    assert checked.poses.id.tolist() == ["pose-0", "pose-2", "pose-3", "pose-4", "pose-5"]
    assert checked.scored[3].tolist() == [False] * 10 + [True] * 7


def test_a_part_without_features_does_not_take_them_from_the_others(review_case: Any) -> None:
    predicted = with_features(review_case, "predicted", review_case.model, featured=(0, 2))
    checked = check(predicted, review_case.write("truth", review_case.truth))
    assert checked.features["peak"][:, 0].tolist()[:2] == [0, 1]
    assert np.isnan(checked.features["peak"][2:4]).all()
    assert checked.features["peak"][4:, 0].tolist() == [4, 5]


def test_joined_and_taken(review_case: Any, predicted: Manifest) -> None:
    whole = check(predicted, review_case.write("truth", review_case.truth))
    first, rest = whole.take(np.arange(6) < 2), whole.take(np.arange(6) >= 2)
    again = Checked.joined([first, rest])
    assert again.poses.equals(whole.poses)
    for name in ("gross", "scored", "bad", "oks", "error", "sizes"):
        assert np.array_equal(getattr(again, name), getattr(whole, name), equal_nan=name in ("oks", "error"))
    assert np.array_equal(again.features["peak"], whole.features["peak"])


def test_nothing_in_common_is_refused(review_case: Any, predicted: Manifest, tmp_path: Path) -> None:
    empty = write_manifest(tmp_path / "empty", [], SKELETON, {}, stage="test")
    with pytest.raises(InputError, match="no predicted pose is among the checked ones"):
        check(predicted, empty)
    other = write_manifest(tmp_path / "other", [], Skeleton.load("lsp14"), {}, stage="test")
    with pytest.raises(SkeletonError):
        check(predicted, other)
