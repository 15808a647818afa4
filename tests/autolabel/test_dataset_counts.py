"""What a dataset holds: images by what becomes of them, poses by state, keypoints by who placed them."""

from autolabel.dataset_counts import count_dataset
from autolabel.formats.policy import ImagePolicy
from tests.autolabel.dataset_cases import SAMPLES


def test_images_by_what_becomes_of_them() -> None:
    counts = count_dataset(iter(SAMPLES))
    assert (counts.images, counts.exported, counts.empty) == (7, 3, 1)
    assert (counts.rejected, counts.unsettled) == (1, 3)
    assert (counts.grouped, counts.repeats, counts.boxed) == (1, 1, 1)


def test_poses_by_state_and_keypoints_by_origin() -> None:
    counts = count_dataset(iter(SAMPLES))
    told = {state: (found.poses, found.exported) for state, found in counts.states.items()}
    assert told == {
        "accepted": (2, 1),
        "reviewed": (3, 2),
        "review": (1, 0),
        "rejected": (1, 0),
        "boxed": (1, 0),
        "expert": (1, 0),
        "": (1, 0),
        "['?']": (1, 0),
    }
    assert (counts.poses, counts.exported_poses) == (11, 3)
    assert counts.states["reviewed"].keypoints == {"model": 4, "human": 2, "imported": 0, "none": 0}
    assert counts.visibility == {"unlabelled": 0, "visible": 6, "hidden": 3, "absent": 3}
    assert counts.networks == {"net": 1}, "poses that a person saw are not a network's alone"


def test_another_policy_and_nothing() -> None:
    counts = count_dataset(iter(SAMPLES), ImagePolicy.ALL)
    assert (counts.exported, counts.exported_poses) == (7, 11)
    nothing = count_dataset([])
    assert (nothing.images, nothing.poses, nothing.boxed) == (0, 0, 0)
