"""The simulated reviewer: right without noise, human with it, repeatable, and heard by ``pull``."""

import json
from typing import Any

import numpy as np
import pytest

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.merge import KeypointChange, State, Verdict, read_corrections
from autolabel.poses import Origin, Poses, Visibility
from autolabel.similarity import pair_similarity
from autolabel.skeleton import Skeleton
from pipelines.pull import PullResult, pull
from pipelines.push import push
from pipelines.simulated_reviewer import SimulatedReviewer
from tests.pipelines.plants import QUEUED, checked, plant, whole

SKELETON = Skeleton.load("coco17")
PRESENT = slice(0, 16)


def answers(result: PullResult) -> Poses:
    poses = Poses.concat([sample.poses for sample in result.manifest])
    return poses.take(np.argsort(poses.id))


def reviewed(case: Any, *entries: dict[str, Any], **options: Any) -> tuple[SimulatedReviewer, PullResult]:
    push(case.route(*entries), project=case.project)
    reviewer = SimulatedReviewer(case.write("truth", case.truth), **{"seed": 1, **options})
    assert reviewer.review(case.project) == (len(entries) or 6)
    return reviewer, pull(project=case.project, out=case.folder / "answers")


def test_without_noise_everything_that_was_off_is_right_and_the_rest_is_kept(review_case: Any) -> None:
    reviewer, result = reviewed(review_case, noise=0.0)
    poses = answers(result)
    assert (pair_similarity(poses, review_case.truth, SKELETON)[:, PRESENT] > 0.75).all()
    assert np.array_equal(poses.xy[0], review_case.model.xy[0]), "was right: bit by bit as it was"
    assert poses.xy[1, 3:5] == pytest.approx(review_case.truth.xy[1, 3:5], abs=1e-4)
    assert poses.origin[1].tolist() == [Origin.HUMAN if k in (3, 4) else Origin.MODEL for k in range(17)]
    assert np.array_equal(poses.visibility, review_case.truth.visibility)
    # 6 submits, 2 moved points, 1 tick for the mirrored pose and what it costs to say hidden and absent there.
    corrections = {c.pose: c for c in read_corrections(result.corrections, 17)}
    assert corrections["pose-0"].clicks == 1
    assert corrections["pose-1"].clicks == 3
    assert corrections["pose-2"].verdict == (Verdict.SWAPPED,)
    assert reviewer.clicks == sum(c.clicks for c in corrections.values())


def test_a_mirrored_pose_is_fixed_with_one_tick(review_case: Any) -> None:
    flip = list(SKELETON.flip)
    visibility = review_case.truth.visibility.copy()
    visibility[2] = visibility[2][flip]
    review_case.model = review_case.model.replace(visibility=visibility)
    reviewer, result = reviewed(review_case, {"pose": "pose-2"})
    assert np.array_equal(answers(result).xy[0], review_case.model.xy[2][flip])
    assert reviewer.clicks == 2


def test_wrong_visibility_is_corrected(review_case: Any) -> None:
    visibility = np.full((6, 17), Visibility.VISIBLE)
    review_case.model = review_case.model.replace(visibility=visibility)
    reviewer, result = reviewed(review_case, {"pose": "pose-0"})
    pose = answers(result)[0]
    assert pose.visibility.tolist() == [2] * 15 + [Visibility.HIDDEN, Visibility.ABSENT]
    assert reviewer.clicks == 3
    assert read_corrections(result.corrections, 17)[0].keypoints[15:] == (
        KeypointChange.MARKED,
        KeypointChange.REMOVED,
    )


def test_what_the_truth_does_not_label_is_left_alone(review_case: Any) -> None:
    visibility = review_case.truth.visibility.copy()
    visibility[1, 3:5] = Visibility.UNLABELLED
    review_case.truth = review_case.truth.replace(visibility=visibility)
    reviewer, result = reviewed(review_case, {"pose": "pose-1"})
    assert np.array_equal(answers(result).xy[0], review_case.model.xy[1])
    assert reviewer.clicks == 1


def test_missing_points_are_added_and_a_blind_task_gets_them_all(review_case: Any) -> None:
    xy = review_case.model.xy.copy()
    xy[0, 7] = np.nan
    visibility = review_case.model.visibility.copy()
    visibility[0, 7] = Visibility.UNLABELLED
    review_case.model = review_case.model.replace(xy=xy, visibility=visibility)
    reviewer, result = reviewed(review_case, {"pose": "pose-0"}, {"pose": "pose-3", "blind": True}, noise=0.0)
    poses = answers(result)
    assert poses.xy[0, 7] == pytest.approx(review_case.truth.xy[0, 7], abs=1e-4)
    assert poses.xy[1, PRESENT] == pytest.approx(review_case.truth.xy[3, PRESENT], abs=1e-4)
    assert np.array_equal(poses.visibility, review_case.truth.visibility[[0, 3]])
    assert reviewer.clicks == 2 + (16 + 1 + 1)  # 16 points, one of them hidden, submit


def test_a_pose_that_the_truth_lacks_is_nobody(review_case: Any) -> None:
    review_case.truth = review_case.truth.replace(id=[f"other-{i}" for i in range(6)])
    reviewer, result = reviewed(review_case, {"pose": "pose-0"})
    (correction,) = read_corrections(result.corrections, 17)
    assert (correction.state, correction.verdict) == (State.REJECTED, (Verdict.NO_PERSON,))
    assert reviewer.clicks == correction.clicks == 2


def test_human_noise_has_the_spread_that_sigma_means(review_case: Any) -> None:
    """d² / (σ² A) of a second annotator has mean 1, so that E[KS] is 8/9 (confidence notes, 2.5)."""
    far = review_case.model.replace(xy=review_case.model.xy + 60)
    review_case.model = far
    found: list[np.ndarray] = []
    truth = review_case.write("truth", review_case.truth)
    push(review_case.route(), project=review_case.project)
    for seed in range(20):
        for file in ReviewFolder.of(review_case.project).exports.glob("*.json"):
            file.unlink()
        (ReviewFolder.of(review_case.project).journal).unlink(missing_ok=True)
        SimulatedReviewer(truth, seed=seed).review(review_case.project)
        poses = answers(pull(project=review_case.project, out=review_case.folder / f"answers-{seed}"))
        moved = poses.origin == Origin.HUMAN
        distance = ((poses.xy - review_case.truth.xy) ** 2).sum(axis=-1)
        found.append((distance / (np.array(SKELETON.sigmas) ** 2 * 3000.0))[moved])
    ratio = np.concatenate(found)
    assert len(ratio) > 1000
    assert ratio.mean() == pytest.approx(1.0, abs=0.1)
    assert np.exp(-ratio / 8).mean() == pytest.approx(8 / 9, abs=0.01)


def test_answers_depend_on_seed_and_pose_alone(review_case: Any) -> None:
    def answer(name: str, seed: int, *order: int) -> Poses:
        routing = review_case.route(*({"pose": f"pose-{i}"} for i in order), name=name, digest=name * 16)
        (review_case.folder / name).mkdir(exist_ok=True)  # the routing lies there too
        push(routing, project=review_case.folder / name)
        SimulatedReviewer(truth, seed=seed).review(review_case.folder / name)
        return answers(pull(project=review_case.folder / name, out=review_case.folder / f"{name}-answers"))

    truth = review_case.write("truth", review_case.truth)
    one, other = answer("aaaa", 1, 1, 2, 3), answer("bbbb", 1, 3, 5, 1)
    assert np.array_equal(one.xy[[0, 2]], other.xy[[0, 1]])
    assert not np.array_equal(answer("cccc", 2, 1).xy[0], one.xy[0])


def test_overlooking_leaves_errors(review_case: Any) -> None:
    reviewer, result = reviewed(review_case, {"pose": "pose-1"}, miss=1.0)
    assert np.array_equal(answers(result).xy[0], review_case.model.xy[1])
    assert reviewer.clicks == 1


def test_only_open_tasks_are_answered(review_case: Any) -> None:
    reviewer, _ = reviewed(review_case, {"pose": "pose-0"}, {"pose": "pose-1"})
    clicks = reviewer.clicks
    assert reviewer.review(review_case.project) == 0
    push(review_case.route({"pose": "pose-3"}, name="next", digest="cd" * 32), project=review_case.project)
    assert reviewer.review(review_case.project) == 1
    assert reviewer.clicks > clicks
    result = pull(project=review_case.project, out=review_case.folder / "all")
    assert result.answered == 3


def test_the_export_has_the_fields_of_a_real_one(review_case: Any) -> None:
    reviewed(review_case, {"pose": "pose-1"})
    (file,) = ReviewFolder.of(review_case.project).exports.glob("*.json")
    (task,) = json.loads(file.read_text())
    assert {"id", "annotations", "drafts", "predictions", "data", "meta", "created_at", "updated_at"} <= set(task)
    (annotation,) = task["annotations"]
    assert {"id", "completed_by", "was_cancelled", "lead_time", "unique_id", "parent_prediction"} <= set(annotation)
    origins = {item["origin"] for item in annotation["result"]}
    assert origins == {"prediction", "prediction-changed"}
    changed = {item["id"] for item in annotation["result"] if item["origin"] == "prediction-changed"}
    assert len(changed) == 2


def sent_out(case: Any, *entries: dict[str, Any]) -> None:
    routing = case.route(*entries)
    if QUEUED in entries:
        plant(case, routing)
    push(routing, project=case.project)


def brought_back(case: Any) -> PullResult:
    return pull(project=case.project, out=case.folder / "answers")


def test_planted_and_blind_poses_are_answered_by_their_truth(review_case: Any) -> None:
    blind = {"pose": "pose-1", "kind": "blind", "blind": True}
    sent_out(review_case, QUEUED, blind, {"pose": "pose-1", "kind": "audit"})
    truth = [review_case.write("truth", review_case.truth), checked(review_case)]
    SimulatedReviewer(truth, seed=1).review(review_case.project)
    result = brought_back(review_case)
    checks = {c.pose: c for c in read_corrections(result.manifest.path / "checks.jsonl", 17)}
    moved = [k for k, change in enumerate(checks["plant-1"].keypoints) if change is KeypointChange.MOVED]
    assert moved == [3, 4]
    assert checks["plant-1"].after.xy[3:5] == pytest.approx(review_case.truth.xy[1, 3:5], abs=8)
    assert (checks["pose-1"].after.visibility[PRESENT] != Visibility.ABSENT).all(), "everything was placed"
    assert not np.array_equal(checks["pose-1"].after.xy[3], answers(result).xy[0, 3]), "as two people do"


def test_overlooked_tasks_are_submitted_as_they_are(review_case: Any) -> None:
    far = review_case.truth.replace(xy=review_case.truth.xy + 40)
    review_case.model = review_case.model.replace(xy=far.xy)
    blind = {"pose": "pose-0", "kind": "blind", "blind": True}
    sent_out(review_case, *({"pose": f"pose-{i}"} for i in range(6)), blind, whole(0))
    lazy = SimulatedReviewer(review_case.write("truth", review_case.truth.take([0, 0, 2, 3, 4, 5])), seed=1, overlook=1)
    assert lazy.review(review_case.project) == 8
    result = brought_back(review_case)
    assert {c.clicks for c in read_corrections(result.corrections, 17)} == {1}
    (check,) = read_corrections(result.manifest.path / "checks.jsonl", 17)
    assert check.clicks > 15, "there is nothing to agree with"
    (image,) = map(json.loads, (result.manifest.path / "images.jsonl").read_text().splitlines())
    assert (image["missed"], image["nobody"]) == (0, [])


def test_some_tasks_are_overlooked(review_case: Any) -> None:
    """A third of them, whatever their number of errors; drawn by seed and task."""
    review_case.model = review_case.model.replace(xy=review_case.truth.xy + 40)
    sent_out(review_case)
    truth = review_case.write("truth", review_case.truth)
    found: list[int] = []
    for seed in range(30):
        for file in ReviewFolder.of(review_case.project).exports.glob("*.json"):
            file.unlink()
        SimulatedReviewer(truth, seed=seed, overlook=1 / 3).review(review_case.project)
        (file,) = ReviewFolder.of(review_case.project).exports.glob("*.json")
        made = [task["annotations"][0]["result"] for task in json.loads(file.read_text())]
        found += [all(item["origin"] == "prediction" for item in result) for result in made]
    assert np.mean(found) == pytest.approx(1 / 3, abs=0.1)
    assert 0 < sum(found[:6]) < 6 or 0 < sum(found[6:12]) < 6


def test_of_whole_images_it_boxes_who_has_none_and_drops_who_is_nobody(review_case: Any) -> None:
    review_case.truth = review_case.truth.replace(id=["pose-0", "missed", "pose-2", "pose-3", "other", "another"])
    sent_out(review_case, whole(0), whole(1), whole(2))
    reviewer = SimulatedReviewer(review_case.write("truth", review_case.truth), seed=1)
    reviewer.review(review_case.project)
    result = brought_back(review_case)
    assert (result.images, result.answered, result.notices, result.open) == (3, 0, 0, 0)
    found = [json.loads(line) for line in (result.manifest.path / "images.jsonl").read_text().splitlines()]
    assert [(line["sample"][0], line["missed"], line["nobody"]) for line in found] == [
        ("s0", 1, ["pose-1"]),
        ("s1", 0, []),
        ("s2", 2, ["pose-4", "pose-5"]),
    ]
    assert reviewer.clicks == sum(line["clicks"] for line in found) == 4 + 1 + 8
