"""Shares and their intervals against scipy; what counts as found, kept and persuaded."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from autolabel.merge import Verdict
from autolabel.poses import Visibility
from autolabel.reviewer_quality import (
    Anchoring,
    Look,
    Share,
    anchoring,
    catch_rate,
    kept_rate,
    looks_of,
    median_seconds,
)
from autolabel.sigmas import scatter
from tests.looks import STICK, K, look, sent_pose

FAR = {0: (90.0, 60.0), 1: (75.0, 30.0)}  # two gross keypoints: a bad pose


@pytest.mark.parametrize(("hits", "of"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (57, 200)])
def test_the_interval_is_clopper_pearsons(hits: int, of: int) -> None:
    expected = binomtest(hits, of).proportion_ci(0.95, method="exact")
    assert Share(hits, of).limits == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert Share(hits, of).value == hits / of


def test_of_nothing_nothing_is_known() -> None:
    assert (Share(0, 0).value, Share(0, 0).limits) == (None, (0.0, 1.0))


@pytest.mark.parametrize(("blind_bad", "shown_bad", "both"), [(0, 0, 0), (5, 5, 5), (9, 3, 2), (4, 6, 1), (12, 0, 0)])
def test_the_difference_is_tested_as_mcnemar_does(blind_bad: int, shown_bad: int, both: int) -> None:
    found = Anchoring(20, blind_bad, shown_bad, both, Share(0, 0))
    discordant = blind_bad + shown_bad - 2 * both
    expected = binomtest(blind_bad - both, discordant, 0.5).pvalue if discordant else 1.0
    assert found.chance == pytest.approx(expected)
    assert found.difference == pytest.approx((blind_bad - shown_bad) / 20)
    assert found.overlooked == Share(blind_bad - both, blind_bad)


def test_a_planted_error_is_found_where_the_answer_shows_the_pose_to_be_bad() -> None:
    plants = [sent_pose(f"plant-{i}") for i in range(4)]
    looks = looks_of(
        [
            look("ann", FAR, pose=plants[0], planted=True),
            look("ann", rejected=True, pose=plants[1], planted=True),
            look("ann", pose=plants[2], planted=True),  # kept
            look("ann", {0: (50.5, 20.0)}, pose=plants[3], planted=True),  # moved by half a pixel
            look("bob", FAR, pose=plants[2], planted=True),
            look("bob", FAR),  # not planted
        ],
        K,
    )
    assert catch_rate(looks, looks.judged(STICK), looks.who == "ann") == Share(2, 4)
    assert catch_rate(looks, looks.judged(STICK), looks.who == "bob") == Share(1, 1)
    assert catch_rate(looks, looks.judged(STICK)) == Share(3, 5)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (look("ann"), True),
        (look("ann", {2: (70.0, 80.25)}), False),
        (look("ann", said={2: Visibility.HIDDEN}), False),
        (look("ann", said={2: Visibility.ABSENT}), False),
        (look("ann", verdict=[Verdict.EXPERT]), False),
        (look("ann", rejected=True), False),
    ],
)
def test_kept_is_what_nobody_changed(answer: object, kept: bool) -> None:
    assert kept_rate(looks_of([answer], K)) == Share(int(kept), 1)  # type: ignore[list-item]


def test_planted_and_blind_tasks_are_neither_kept_nor_changed() -> None:
    assert kept_rate(looks_of([look("ann", planted=True), look("ann", blind=True)], K)) == Share(0, 0)


def test_a_pre_label_persuades_where_only_the_blind_answer_finds_the_error() -> None:
    poses = [sent_pose(f"pose-{i}") for i in range(4)]
    looks = looks_of(
        [
            look("cid", FAR, pose=poses[0], blind=True),
            look("ann", pose=poses[0]),  # persuaded
            look("cid", FAR, pose=poses[1], blind=True),
            look("ann", FAR, pose=poses[1]),
            look("cid", pose=poses[2], blind=True),  # the pre-label is right
            look("ann", pose=poses[2]),
            look("cid", FAR, pose=poses[3], blind=True),  # nobody answered it with the pre-label
            look("bob", {0: FAR[0]}, pose=poses[0]),
        ],
        K,
    )
    ann = anchoring(looks, looks.judged(STICK), looks.who == "ann")
    assert (ann.poses, ann.blind_bad, ann.shown_bad, ann.both) == (3, 2, 1, 1)
    assert ann.overlooked == Share(1, 2)
    assert ann.keypoints == Share(2, 4), "both gross keypoints of pose 0, none of pose 1"
    bob = anchoring(looks, looks.judged(STICK), looks.who == "bob")
    assert (bob.poses, bob.blind_bad, bob.shown_bad, bob.keypoints) == (1, 1, 1, Share(1, 2))
    together = anchoring(looks, looks.judged(STICK))
    assert (together.poses, together.shown_bad) == (3, 1), "pose 0 counts as found only if everybody found it"


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (look("ann"), 2),
        (look("ann", {0: (51.0, 20.0)}), 1),
        (look("ann", said={0: Visibility.HIDDEN}), 1),
        (look("ann", said={0: Visibility.HIDDEN, 1: Visibility.ABSENT}), 0),
        (look("ann", rejected=True), 0),
    ],
)
def test_a_keypoint_is_left_only_if_nothing_was_done_to_it(answer: Look, left: int) -> None:
    looks = looks_of([look("cid", FAR, blind=True), answer], K)
    assert anchoring(looks, looks.judged(STICK)).keypoints == Share(left, 2)


def test_what_is_counted_is_what_the_words_say() -> None:
    """Against the definition, pose by pose."""
    rng = np.random.default_rng(0)
    answers = [
        look(
            f"person-{rng.integers(3)}",
            FAR if rng.random() < 0.4 else None,
            pose=sent_pose(f"pose-{rng.integers(30)}"),
            blind=bool(rng.random() < 0.4),
            rejected=bool(rng.random() < 0.1),
        )
        for _ in range(120)
    ]
    looks = looks_of(answers, K)
    judged = looks.judged(STICK)
    for chosen in (np.ones(len(looks), bool), looks.who == "person-1"):
        found = anchoring(looks, judged, chosen)
        both, left, wrong = list[tuple[bool, bool]](), 0, 0
        for pose in set(looks.about.tolist()):
            blind = looks.blind & (looks.about == pose)
            shown = looks.ordinary & chosen & (looks.about == pose)
            if blind.any() and shown.any():
                both.append((bool(judged.bad[blind].any()), bool(judged.bad[shown].all())))
                gross = judged.gross[blind].any(axis=0)
                wrong += shown.sum() * gross.sum()
                left += looks.untouched[shown][:, gross].sum()
        assert (found.poses, found.keypoints) == (len(both), Share(left, wrong))
        assert (found.blind_bad, found.shown_bad) == (sum(b for b, _ in both), sum(s for _, s in both))
        assert found.both == sum(b and s for b, s in both)


def test_answers_to_many_poses_are_all_counted() -> None:
    few = looks_of([look("ann"), look("bob", FAR, blind=True)], K)
    poses = 60_000
    rows = np.tile([0, 1], poses)
    looks = replace(
        few,
        about=np.repeat(np.arange(poses), 2),
        **{name: getattr(few, name)[rows] for name in ("who", "planted", "blind", "rejected", "kept", "placed")},
        seconds=few.seconds[rows],
        shown=few.shown.take(rows),
        left=few.left.take(rows),
    )
    judged = looks.judged(STICK)
    assert anchoring(looks, judged).poses == poses
    assert len(scatter(looks, looks.left.labelled).spread) == poses * K
    assert anchoring(looks, judged, looks.who == "ann").blind_bad == poses


def test_another_routings_pre_label_is_another_question() -> None:
    looks = looks_of([look("cid", FAR, blind=True, routing="a"), look("ann", routing="b")], K)
    assert anchoring(looks, looks.judged(STICK)).poses == 0


def test_of_several_answers_of_one_person_to_one_task_the_last_counts() -> None:
    looks = looks_of([look("ann", FAR, minute=5), look("ann", minute=3), look("bob", minute=1)], K)
    assert (len(looks), looks.kept[looks.who == "ann"].tolist()) == (2, [False])


def test_time_is_a_median_of_what_is_known() -> None:
    times = [3.0, 900.0, 4.0, None]
    looks = looks_of([look("ann", pose=sent_pose(f"p{i}"), seconds=s) for i, s in enumerate(times)], K)
    assert median_seconds(looks, np.ones(4, bool)) == 4.0
    assert median_seconds(looks, np.isnan(looks.seconds)) is None


def test_without_answers_there_is_nothing() -> None:
    looks = looks_of([], K)
    judged = looks.judged(STICK)
    assert catch_rate(looks, judged) == kept_rate(looks) == Share(0, 0)
    assert anchoring(looks, judged).poses == 0
