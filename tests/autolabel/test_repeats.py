import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.poses import Poses, Sample
from autolabel.repeats import Repeats


def sample(path: str, people: int = 1, duplicate_of: str = "", **attributes: object) -> Sample:
    poses = Poses.create(1, id=[f"{path}-{i}" for i in range(people)])
    return Sample(path, "images", path, (10, 10), poses, duplicate_of=duplicate_of, attributes=attributes)


def frame(time: float, duplicate_of: str = "") -> Sample:
    return sample(f"frame-{time}", duplicate_of=duplicate_of, video="a.mp4", video_root="films", time=time)


@pytest.mark.parametrize(
    ("samples", "group", "image"),
    [
        ([], [], []),
        ([sample("a", 2), sample("b")], [0, 0, 1], [0, 0, 1]),
        ([sample("a"), sample("b", duplicate_of="a"), sample("c")], [0, 0, 1], [0, 1, 2]),
        ([sample("b", duplicate_of="a"), sample("a")], [0, 0], [0, 1]),  # the copy comes first
        ([sample("b", duplicate_of="/other/a"), sample("c", duplicate_of="/other/a")], [0, 0], [0, 1]),  # not here
        ([frame(0.0), frame(0.9), frame(1.1)], [0, 0, 1], [0, 1, 2]),
        ([frame(0.0), frame(5.0), frame(9.0, duplicate_of="frame-5.0")], [0, 1, 1], [0, 1, 2]),
        ([sample("a", video="a.mp4", time=None), sample("b", video="a.mp4")], [0, 1], [0, 1]),
        ([sample("a", 0), sample("b")], [1], [1]),
    ],
)
def test_images_that_show_the_same_are_one_group(samples: list[Sample], group: list[int], image: list[int]) -> None:
    repeats = Repeats.of(samples)
    assert repeats.group.tolist() == group
    assert repeats.image.tolist() == image


def test_how_long_a_stretch_is_can_be_chosen() -> None:
    assert Repeats.of([frame(0.0), frame(3.0), frame(6.0)], seconds=5).group.tolist() == [0, 0, 1]
    with pytest.raises(InputError, match="above 0"):
        Repeats.of([], seconds=0)


def test_only_other_images_of_a_group_wait() -> None:
    repeats = Repeats(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 2]))
    assert repeats.deferred(np.array([2, 0, 3, 1])).tolist() == [False, True, False, True]
    assert repeats.deferred(np.array([0, 1, 2])).tolist() == [False, False, True]
    assert repeats.deferred(np.empty(0, np.intp)).tolist() == []


def test_shapes_must_fit() -> None:
    with pytest.raises(InputError, match="shape"):
        Repeats(np.zeros(2, np.int64), np.zeros(3, np.int64))
