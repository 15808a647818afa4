"""Whether released weights predict what was published of them: one nose, its place and its peak.

The porters of ViTPose to transformers took these values from the official implementation: COCO's validation image
000000000139, two boxes, heatmaps averaged with the mirrored image's; of the second person the nose's x, y and score.
Their tolerance is 0.05 for each.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.predict import Predictor
from model.released import Golden
from model.vitpose import ViTPose

IMAGE = "000000000139.jpg"
IMAGE_SIZE = (640, 426)
"""(W, H) of the image."""

IMAGE_SHA256 = "ffe0f0cec3b2e27aab1967229cdf0a0d7751dcdd5800322f0b8ac0dffb3b8a8d"
TOLERANCE = 0.05

_BOXES_XYWH = ((412.8, 157.61, 53.05, 138.01), (384.43, 172.21, 15.12, 35.74))
_PERSON = 1


@dataclass(frozen=True)
class Compared:
    """One published number and ours.

    Attributes:
        name: ``nose x``, ``nose y`` (pixels) or ``score``.
        expected: As published.
        found: What the network says.
    """

    name: str
    expected: float
    found: float

    @property
    def difference(self) -> float:
        """Found less expected."""
        return self.found - self.expected

    @property
    def ok(self) -> bool:
        """Whether they agree within the tolerance; NaN never does."""
        return abs(self.difference) <= TOLERANCE


def compare(model: ViTPose, image: NDArray[np.uint8], golden: Golden) -> tuple[Compared, ...]:
    """Predict as the official pipeline does (flip test, fp32, on the CPU) and compare.

    Args:
        model: From ``load_model``, with COCO's keypoints first.
        image: (H, W, 3) RGB, the image itself.
        golden: What was published.
    """
    predictor = Predictor(model, device="cpu", precision="fp32", flip_test=True, batch_size=len(_BOXES_XYWH))
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in _BOXES_XYWH])
    [found] = predictor.predict([(torch.from_numpy(image).permute(2, 0, 1), boxes)])
    nose = model.skeleton.index("nose")
    x, y = (float(value) for value in found.xy[_PERSON, nose])
    score = float(found.score[_PERSON, nose])
    return (
        Compared("nose x", golden.x, x),
        Compared("nose y", golden.y, y),
        Compared("score", golden.score, score),
    )
