from dataclasses import replace

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.evaluate import evaluate, summarise
from autolabel.evaluate_people import Truth, measure
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from tests.doubles import Recorder

STICK = Skeleton("stick", ("top", "end"), ((0, 1),), (0, 1), (0.05, 0.05), "stated by the test")


def person(shift: float = 0.0, **given: object) -> Poses:
    xy = np.array([[[10.0, 10.0], [10.0, 110.0]]]) + shift
    return Poses.create(2, **{"xy": xy, "visibility": [[2, 2]], "box": [[0, 0, 100, 120]], "id": ["p"]} | given)


def image(name: str, poses: Poses, root: str = "images") -> Sample:
    return Sample(f"hash of {name}", root, name, (640, 480), poses)


def test_people_and_images_lie_in_the_truths_order_whatever_the_order_of_the_predictions() -> None:
    rng = np.random.default_rng(0)
    images, inhabited = range(270), range(0, 270, 5)  # two batches
    nobody = {i: Poses.empty(2) for i in images}
    true = nobody | {i: person(id=[f"t{i}"]) for i in inhabited}
    poses = nobody | {i: person(i / 5, id=[f"p{i}"], box_score=[rng.uniform()]) for i in inhabited}
    truth, found = ([image(f"{i}.jpg", of[i]) for i in images] for of in (true, poses))
    straight = measure(found, Truth(truth), STICK)
    mixed = measure([found[i] for i in rng.permutation(len(images))], Truth(truth), STICK)
    assert straight.images.path.tolist() == mixed.images.path.tolist() == [f"{i}.jpg" for i in images]
    assert straight.people.truth_id.tolist() == mixed.people.truth_id.tolist() == [f"t{i}" for i in inhabited]
    assert mixed.people.image.tolist() == list(inhabited)
    assert mixed.people.pose_id[1] == "p5"
    assert summarise(straight, bootstrap=20) == summarise(mixed, bootstrap=20)


def test_ids_and_states_of_missed_people_are_empty() -> None:
    measured = measure([image("1.jpg", Poses.empty(2))], Truth([image("1.jpg", person())]), STICK)
    people = measured.people
    assert people.pose_id.tolist() == [""] and not people.matched[0] and not people.state.any()
    assert np.isnan(people.error).all() and np.isnan(people.oks).all() and people.labelled.all()


def test_a_pair_that_is_hardly_alike_is_not_judged_but_counted() -> None:
    """Boxes overlap, so it is a match; what is wrong with its keypoints nobody can say."""
    far = person(60.0, box=[[0, 0, 100, 120]])
    result = evaluate([image("1.jpg", far)], [image("1.jpg", person())], STICK)
    assert (result.counts.matched, result.taxonomy.people, result.taxonomy.unlike) == (1, 0, 1)
    assert set(result.taxonomy.shares.values()) == {None}


def test_copies_in_two_roots_are_told_apart_by_the_roots_name() -> None:
    truth = [image("1.jpg", person(), "a"), image("1.jpg", person(5.0), "b")]
    same = measure([image("1.jpg", person(5.0), "b"), image("1.jpg", person(), "a")], Truth(truth), STICK)
    assert same.people.error.max() == 0 and same.without_poses == 0
    renamed = measure([image("1.jpg", person(), "photos")], Truth(truth[:1]), STICK)
    assert renamed.people.error.max() == 0
    with pytest.raises(InputError, match=r"1.jpg: stands twice .* same names of roots"):
        measure([image("1.jpg", person(), "x"), image("1.jpg", person(), "y")], Truth(truth[:1]), STICK)
    # Which of the two copies is meant cannot be told.
    with pytest.raises(InputError, match="no image of the predictions"):
        measure([image("1.jpg", person(), "x")], Truth(truth), STICK)


def test_the_truths_group_stands_in_for_a_missing_one() -> None:
    truth = [replace(image(f"{i}.jpg", person()), group="v") for i in range(3)]
    found = [replace(image("0.jpg", person()), group="w"), image("1.jpg", person()), image("2.jpg", person())]
    measured = measure(found, Truth(truth), STICK)
    assert measured.images.group.tolist() == ["w", "v", "v"]
    assert measured.clusters.count == 2


def test_progress_counts_all_images() -> None:
    progress = Recorder()
    truth = [image(f"{i}.jpg", Poses.empty(2)) for i in range(300)]
    measure([*truth, image("stranger.jpg", person())], Truth(truth), STICK, progress=progress)
    assert progress.steps["evaluate"] == [256, 45]
