"""The network behind ``autolabel serve``: one person at a time, whoever asks first."""

import threading
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.labelstudio.frame import Floats
from autolabel.poses import Origin, Pose, Poses
from autolabel.skeleton import Skeleton
from pipelines.predict_part import stated

if TYPE_CHECKING:
    from torch import Tensor

    from model.predict import Predictor


class NetworkPoser:
    """A network that gives one person at a time a pose.

    Args:
        predictor: The network, ready.
        by: What its poses are signed with.
    """

    def __init__(self, predictor: "Predictor", by: str) -> None:
        self._predictor, self._by = predictor, by
        self._turn = threading.Lock()

    @property
    def skeleton(self) -> Skeleton:
        """Of its poses."""
        return self._predictor.model.skeleton

    def pose(self, image: NDArray[np.uint8], box: Floats) -> Pose:
        """The pose in a box.

        Args:
            image: (H, W, 3) RGB.
            box: (4,) xyxy in its pixels.
        """
        import torch

        pixels = cast("Tensor", cast("Any", torch).from_numpy(image)).permute(2, 0, 1)
        with self._turn:
            (said,) = self._predictor.predict([(pixels, np.asarray(box, np.float64).reshape(1, 4))])
        return Poses.create(
            self.skeleton.num_keypoints,
            id=[""],
            box=[box],
            xy=said.xy,
            score=said.score,
            presence=said.presence,
            visibility=stated(self._predictor.model.config, said.score, said.presence, said.visible),
            origin=np.full(said.score.shape, Origin.MODEL),
            by=[self._by],
        )[0]


def load_poser(weights: str, *, dataset: str | None, flip_test: bool, device: str) -> NetworkPoser:
    """Load a network.

    Args:
        weights: Anything ``model.checkpoint.load_model`` reads.
        dataset: Which expert and head of a ViTPose++.
        flip_test: Predict the mirrored crop too.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        CheckpointError: There is no such network, or it is ambiguous.
        ConfigError: There is no such device.
    """
    from model.checkpoint import load_model, model_digest
    from model.predict import Predictor

    model = load_model(weights, dataset=dataset)
    # One crop a batch: somebody waits for one person.
    return NetworkPoser(Predictor(model, device=device, flip_test=flip_test, batch_size=1), model_digest(model)[:12])
