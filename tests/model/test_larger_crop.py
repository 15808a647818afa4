"""Who calls for a larger crop: a table of one-keypoint cases, and properties of many."""

import numpy as np
import pytest

from model.larger_crop import call_for_larger, sides_beyond

CROP = (20.0, 10.0, 68.0, 74.0)  # 48 x 64 pixels, 12 x 16 cells of 4
IMAGE = (200.0, 100.0)


def calls(xy, score, inside=None, crop=CROP, image=IMAGE):
    """Of one pose with these keypoints."""
    score = np.array([score], np.float32)
    return call_for_larger(
        np.array([xy], np.float32),
        score,
        np.ones(score.shape, bool) if inside is None else np.array([inside]),
        crop=np.array([crop]),
        image_size=np.array([image]),
        heatmap_size=(16, 12),
    )[0].tolist()


@pytest.mark.parametrize(
    ("xy", "crop", "expected"),
    [
        ((40, 40), CROP, False),  # in the middle
        ((23, 40), CROP, True),  # less than a cell from the left
        ((25, 40), CROP, False),  # more than one
        ((65, 40), CROP, True),  # right
        ((40, 13), CROP, True),  # top
        ((40, 71), CROP, True),  # bottom
        ((10, 40), CROP, True),  # a step of the decoder can leave the map
        ((1, 40), (0, 10, 48, 74), False),  # the image ends with the crop
        ((1, 40), (3, 10, 51, 74), False),  # ... or goes on for less than a cell
        ((5, 40), (4, 10, 52, 74), True),
        ((196, 40), (150, 10, 198, 74), False),
        ((40, 95), (20, 36, 68, 100), False),
        ((40, 95), (20, 34, 68, 97), False),  # 2.5 pixels more below, and a cell is 4
        ((24, 40), (-10, 10, 38, 74), False),  # beyond the right one, but 14 from it
        ((-8, 40), (-10, 10, 38, 74), False),  # on the left border, where there is no image
        ((36, 40), (-10, 10, 38, 74), True),
    ],
)
def test_peaks_on_a_border_that_the_image_crosses(xy, crop, expected) -> None:
    assert calls([xy], [0.8], crop=crop) == [expected]


@pytest.mark.parametrize(
    ("score", "inside", "expected"),
    [
        ([0.8, 0.6, 0.4, 0.14], [1, 1, 1, 1], [0, 0, 0, 0]),  # the median is 0.5, a quarter of it 0.125
        ([0.8, 0.6, 0.4, 0.12], [1, 1, 1, 1], [0, 0, 0, 1]),
        ([0.8, 0.6, 0.4, 0.12], [1, 1, 1, 0], [0, 0, 0, 0]),  # absent: nothing to look for
        ([0.9, 0.1, 0.1, 0.1], [1, 0, 0, 1], [0, 0, 0, 1]),  # of those inside the median is 0.5
        ([0.08, 0.06, 0.04, 0.01], [1, 1, 1, 1], [0, 0, 0, 1]),  # a weak network's peaks are low all over
        ([0.8, 0.6, 0.4, np.nan], [1, 1, 1, 1], [0, 0, 0, 0]),  # nothing was predicted
        ([np.nan] * 4, [1] * 4, [0] * 4),
        ([0.8] * 4, [0] * 4, [0] * 4),
        ([0.8, 0.6, 0.4, -0.1], [1, 1, 1, 1], [0, 0, 0, 1]),  # a map that is nowhere positive
    ],
)
def test_peaks_that_are_low_for_their_pose(score, inside, expected) -> None:
    middle = [(40, 40)] * 4
    flags = np.array(inside, bool)
    assert calls(middle, score, flags) == [bool(value) for value in expected]
    whole = (-50.0, -50.0, 300.0, 300.0)
    assert calls(middle, score, flags, crop=whole) == [False] * 4, "the crop shows all there is"


@pytest.mark.parametrize(
    ("crop", "expected"),
    [
        (CROP, (1, 1, 1, 1)),
        ((0, 10, 48, 74), (0, 1, 1, 1)),
        ((3, 10, 51, 74), (0, 1, 1, 1)),  # less than a cell of 4
        ((20, 3, 68, 67), (1, 0, 1, 1)),
        ((150, 10, 198, 74), (1, 1, 0, 1)),
        ((20, 36, 68, 100), (1, 1, 1, 0)),
        ((-50, -50, 300, 300), (0, 0, 0, 0)),
    ],
)
def test_sides_on_which_the_image_goes_on(crop, expected) -> None:
    found = sides_beyond(np.array([crop], float), np.array([IMAGE]), (16, 12))
    assert found.tolist() == [[bool(side) for side in expected]]


def test_a_single_keypoint_is_typical_of_itself() -> None:
    assert calls([(40, 40)], [0.01]) == [False]


def test_nobody_is_compared_with_others() -> None:
    rng = np.random.default_rng(0)
    n, k = 60, 5
    low = rng.uniform(-20, 80, (n, 2))
    size = rng.uniform(20, 120, (n, 1)) * [0.75, 1]
    low[:5], size[:5] = -30, (300, 400)  # the whole image
    crop = np.concatenate([low, low + size], axis=1)
    given = {
        "xy": (low[:, None] + rng.uniform(0, 1, (n, k, 2)) * size[:, None]).astype(np.float32),
        "score": rng.uniform(0, 1, (n, k)).astype(np.float32) ** 3,
        "inside": rng.random((n, k)) < 0.7,
        "crop": crop,
        "image_size": rng.uniform(60, 200, (n, 2)),
    }
    together = call_for_larger(**given, heatmap_size=(16, 12))
    alone = [call_for_larger(**{name: v[[i]] for name, v in given.items()}, heatmap_size=(16, 12)) for i in range(n)]
    assert np.array_equal(together, np.concatenate(alone))
    assert 0.05 < together.mean() < 0.5 and not together[~given["inside"]].any()
    beyond = sides_beyond(crop, given["image_size"], (16, 12))
    assert beyond.shape == (n, 4) and 0 < (~beyond.any(axis=1)).sum() < n
    assert not together[~beyond.any(axis=1)].any(), "they need no larger crop, whatever the network says"
    nobody = call_for_larger(**{name: v[:0] for name, v in given.items()}, heatmap_size=(16, 12))
    assert nobody.shape == (0, k)
