"""The box of a pose that has none, where a format or a tool asks for one."""

import numpy as np
from numpy.typing import NDArray


def keypoint_box(xy: NDArray[np.floating], size: tuple[int, int] | None = None) -> NDArray[np.float64]:
    """The box that just holds the pixels that keypoints lie in.

    A keypoint at x is the centre of the pixel from edge x to edge x + 1, so that one keypoint has a box of one pixel:
    trainers drop boxes of no area, and nobody can grip one.

    Args:
        xy: (M, 2) places of at least one keypoint.
        size: Width and height of the image, to keep the box of keypoints inside of it inside as well.

    Returns:
        (4,) float64 xyxy.
    """
    low, high = xy.min(axis=0).astype(np.float64), xy.max(axis=0).astype(np.float64) + 1
    if size is not None:
        low, high = np.minimum(low, np.array(size) - 1.0), np.minimum(high, size)
    return np.concatenate([low, high])
