"""Who is looked at with jitter, where, and what two looks that disagree come to."""

import numpy as np
import pytest

from autolabel.similarity import MASK_SHARE
from model.jitter import LOOKS, MIDDLE, jittered, steadiness, uncertain, unlooked


@pytest.mark.parametrize(
    ("peaks", "expected"),
    [
        ([0.9, 0.9], False),  # sure
        ([0.1, 0.2], False),  # hopeless
        ([0.9, 0.3], True),  # half of it
        ([0.5, np.nan], True),  # what was not predicted does not count
        ([0.9, np.nan], False),
        ([np.nan, np.nan], False),
        ([MIDDLE[0]] * 2, False),
        ([MIDDLE[1]] * 2, False),
        ([-1.0, -2.0], False),
    ],
)
def test_the_uncertain_middle(peaks, expected) -> None:
    assert uncertain(np.array([peaks], np.float32)).tolist() == [expected]
    assert uncertain(np.array([peaks[:1]], np.float32)).shape == (1,)


def test_nobody() -> None:
    assert uncertain(np.zeros((0, 3), np.float32)).shape == (0,)
    assert jittered(np.zeros((0, 4))).shape == (0, len(LOOKS), 4)


def test_boxes_are_scaled_and_shifted() -> None:
    found = jittered(np.array([[100.0, 200, 300, 600], [5, 5, 5, 5]]))
    assert found[0] == pytest.approx(np.array([[118, 204, 298, 564], [82, 196, 302, 636]]))
    assert (found[1, :, 2:] - found[1, :, :2]) == pytest.approx(np.array([[0.9, 0.9], [1.1, 1.1]]))
    # The same box, whoever else is there.
    assert np.array_equal(jittered(np.array([[100.0, 200, 300, 600]]))[0], found[0])
    low, high = np.maximum(found[0, :, :2], [100, 200]), np.minimum(found[0, :, 2:], [300, 600])
    common = (high - low).prod(axis=1)
    iou = common / (200 * 400 + (found[0, :, 2:] - found[0, :, :2]).prod(axis=1) - common)
    assert (iou > 0.75).all() and (iou < 0.95).all()


def test_steadiness_is_similarity() -> None:
    """One keypoint stays, one moves by its length in one of two looks, one was never found, one is lost by a look."""
    box, sigma = np.array([[0.0, 0, 100, 200]]), 0.05
    length = 2 * sigma * np.sqrt(MASK_SHARE * 100 * 200)
    xy = np.array([[[10, 10], [50, 50], [np.nan, np.nan], [9, 9]]], np.float32)
    looks = np.repeat(xy[:, None], 2, axis=1)
    looks[0, 1, 1, 0] += length
    looks[0, 0, 3] = np.nan
    peak = np.array([[0.9, 0.5, np.nan, 0.4]], np.float32)
    peaks = np.array([[[0.8, 0.6, 0.1, 0.3], [0.95, 0.55, 0.1, 0.7]]], np.float32)
    found = steadiness(xy, peak, looks, peaks, box=box, sigmas=(sigma,) * 4)
    assert found["jitter_ks"][0] == pytest.approx([1, (1 + np.exp(-0.5)) / 2, np.nan, 0.5], abs=1e-5, nan_ok=True)
    assert found["jitter_peak"][0] == pytest.approx([0.8, 0.5, np.nan, 0.3], nan_ok=True)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


def test_unlooked() -> None:
    found = unlooked((2, 3))
    assert list(found) == ["jitter_ks", "jitter_peak"]
    assert all(values.shape == (2, 3) and np.isnan(values).all() for values in found.values())
