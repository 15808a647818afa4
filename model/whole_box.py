"""People whom the image cuts, looked at again at the scale of whole people.

A box that ends where the image ends may hold a part of a person only. Cropped to it, a lone arm fills the input: a size
at which the network has to know every part of every body, where whole people come at one size. So such a person is
looked at twice. What the first look said, which keypoints are there and where, tells how large the whole person's box
would be; the second look has the crop of that box, with black where there is no image, and its answers count.

How much larger is one number, the *growth*, of boxes as wide for their height as people usually are. It is told by a
ridge regression (Hoerl & Kennard, Technometrics 1970) on the first look's answers, fitted when a network is saved
(:mod:`model.fit_whole_box`) on people who were cut and whose whole box is known. The idea is amodal completion (Kar et
al., ICCV 2015) with the pose network's own answers as its features. Nothing of it is learnt by the network itself, so
that any trained one with a presence head can have it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Sides = NDArray[np.bool_]

GROWTHS = (1.0, 1.4, 2.0, 2.8, 4.0)
"""Second looks come at one of these, because their crops are cut before it is known which is needed."""

TOUCH = 0.02
"""A box reaches the edge of the image where it is nearer than this share of its longer side, or than a pixel."""

_ASPECTS = (0.25, 1.0)  # of people whose boxes are usual
_FINE = np.geomspace(1.0, GROWTHS[-1], 29).astype(np.float64)
_RIDGE = 1.0


def touches(box: Floats, image: Floats) -> Sides:
    """On which sides boxes reach the edge of their images.

    Args:
        box: (N, 4) xyxy.
        image: (N, 4) xyxy edges of the images in the same frame; -0.5 and the size less 0.5 in full-image pixels.

    Returns:
        (N, 4): left, top, right, bottom.
    """
    near = np.maximum(TOUCH * _longer(box), 1.0)[:, None]
    return np.concatenate([box[:, :2] - image[:, :2], image[:, 2:] - box[:, 2:]], axis=1) < near


def cut_sides(box: Floats, image: Floats) -> Sides:
    """(N, 4) on which sides people may be cut: where their box reaches the edge, but not if it is the whole image.

    Such a box was given where nobody was detected, and says nothing of where a person ends. Arguments as for
    :func:`touches`.
    """
    sides = touches(box, image)
    return sides & ~sides.all(axis=1, keepdims=True)


def usual_aspect(whole: Floats) -> float:
    """Width by height of the boxes (N, 4) of whole people, the median, as far as it is one of people."""
    size = np.maximum(whole[:, 2:] - whole[:, :2], 1.0)
    return float(np.clip(np.median(size[:, 0] / size[:, 1]), *_ASPECTS))


def grown(box: Floats, sides: Sides, growth: Floats, aspect: float) -> Floats:
    """Boxes of whole people, beyond the image on the sides where it ends.

    Where the top or the bottom is cut, the whole is ``growth`` times as high as the part's longer side; where left or
    right is, ``aspect`` times as wide as that. What a box has already it keeps.

    Args:
        box: (N, 4) xyxy of parts.
        sides: (N, 4) where they reach the image's edge.
        growth: (N,) at least 1.
        aspect: Usual width by height of whole people.

    Returns:
        (N, 4).
    """
    size = box[:, 2:] - box[:, :2]
    wanted = (growth * _longer(box))[:, None] * np.array([aspect, 1.0])
    more = np.maximum(wanted - size, 0.0)
    low, high = sides[:, :2].astype(float), sides[:, 2:].astype(float)
    share = more / np.maximum(low + high, 1.0)  # two cut sides take half each
    return np.concatenate([box[:, :2] - share * low, box[:, 2:] + share * high], axis=1)


def best_growth(box: Floats, whole: Floats, sides: Sides, aspect: float) -> Floats:
    """(N,) the growth whose box has the largest intersection over union with the whole person's box (N, 4)."""
    overlaps = [_iou(grown(box, sides, np.full(len(box), growth), aspect), whole) for growth in _FINE]
    return np.asarray(_FINE[np.argmax(overlaps, axis=0)], np.float64)


def answers(xy: Floats, score: Floats, presence: Floats, box: Floats, sides: Sides) -> Floats:
    """What the regression sees of a first look.

    Args:
        xy: (N, K, 2) where the keypoints were found, in the frame of the boxes.
        score: (N, K) heights of their peaks.
        presence: (N, K) probabilities that they lie inside the image.
        box: (N, 4) xyxy that were looked at.
        sides: (N, 4) where they reach the image's edge.

    Returns:
        (N, :func:`count_answers`): 1, presence, places about the box's centre in its longer sides weighted by presence,
        peaks, the sides, and the logarithm of the box's aspect, alone and by side.
    """
    centre = (box[:, :2] + box[:, 2:]) / 2
    places = (xy - centre[:, None]) / _longer(box)[:, None, None] * presence[:, :, None]
    size = np.maximum(box[:, 2:] - box[:, :2], 1.0)
    aspect = np.log(size[:, :1] / size[:, 1:])
    ends = sides.astype(float)
    one = np.ones((len(box), 1))
    columns = (one, presence, places.reshape(len(box), 2 * xy.shape[1]), score, ends, aspect, aspect * ends)
    return np.concatenate(columns, axis=1)


def count_answers(num_keypoints: int) -> int:
    """How many numbers :func:`answers` makes of K keypoints, and a regression weighs."""
    return 4 * num_keypoints + 10


def told_growth(seen: Floats, weights: Sequence[float]) -> Floats:
    """(N,) growth that a regression tells from :func:`answers`; between 1 and the largest of ``GROWTHS``."""
    return np.exp(np.clip(seen @ np.asarray(weights), 0.0, np.log(GROWTHS[-1])))


def nearest(growth: Floats) -> NDArray[np.intp]:
    """(N,) which of ``GROWTHS`` is nearest, by ratio; 0 calls for no second look."""
    return np.abs(np.log(growth)[:, None] - np.log(GROWTHS)).argmin(axis=1)


def weigh(seen: Floats, growth: Floats) -> tuple[float, ...]:
    """The weights of a ridge regression of the logarithm of growths (N,) on :func:`answers`."""
    shrink = _RIDGE * np.eye(seen.shape[1])
    shrink[0, 0] = 0.0  # the constant
    found = np.linalg.solve(seen.T @ seen + shrink, seen.T @ np.log(growth))
    return tuple(float(weight) for weight in found)


def _longer(box: Floats) -> Floats:
    """(N,) longer sides, a pixel at least."""
    return np.maximum((box[:, 2:] - box[:, :2]).max(axis=1), 1.0)


def _iou(one: Floats, other: Floats) -> Floats:
    """(N,) of pairs of boxes."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    both = np.maximum(high - low, 0.0).prod(axis=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (one, other)]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-9)
