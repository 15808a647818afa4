"""Measuring a network during training: PCK on upright crops, and presence on people that the image cuts.

The crops come from the canvases that training uses, not from the photographs, so a validation takes seconds; its PCK is
within a fraction of a point of what ``autolabel evaluate`` finds, which is the figure to quote.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autolabel.poses import Visibility
from autolabel.presence import auroc
from model.augment import Augmentation
from model.crop import regions_from_boxes
from model.data import PoseBatch, PoseCrops
from model.draws import Draws
from model.heatmap import cells_to_input, decode
from model.lesson import Lesson, lesson
from model.losses import heatmap_mse
from model.thresholds import choose_threshold
from model.vitpose import ViTPose

PCK_SHARE = 0.1
"""PCK counts keypoints within this share of the longer side of their person's box."""

STILL = Augmentation(flip=0, half_body=0, scale=0, rotation=0, rotation_probability=0, shift=0, shift_probability=0)
"""Crops as prediction cuts them."""

CUT = STILL.model_copy(update={"truncation": 1.0})
"""The same people at the edge of an image."""


class Validation:
    """Measures a network; what :func:`model.train.train` takes as ``validate``.

    Args:
        crops: People to measure on.
        model: Tells sizes, skeletons and conventions. The network that is measured is given at each call.
        batch_size: Crops at a time.
        seed: Of the cuts, which are the same at every call.
    """

    def __init__(self, crops: PoseCrops, model: ViTPose, batch_size: int, seed: int) -> None:
        self._crops, self._model, self._size, self._seed = crops, model, batch_size, seed

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Metrics of a network whose ``forward`` gives heatmaps and presence logits.

        Returns:
            ``score``, the mean PCK@0.1 of the datasets, and ``loss``; ``pck``, or with several datasets ``pck_NAME``;
            of a presence head ``presence_auroc`` and the thresholds.
        """
        device = next(network.parameters()).device
        near, labelled, loss = self._upright(network, device)
        pck = near / labelled.clamp_min(1)
        taught = [head for head in range(len(pck)) if labelled[head] > 0]
        found = {"score": float(pck[taught].mean()), "loss": loss}
        if len(pck) == 1:
            found["pck"] = found["score"]
        else:
            found |= {f"pck_{self._model.config.datasets[head]}": float(pck[head]) for head in taught}
        return found | (self._presence(network, device) if self._model.config.presence else {})

    def _upright(self, network: nn.Module, device: torch.device) -> tuple[Tensor, Tensor, float]:
        """Keypoints within ``PCK_SHARE``, and labelled ones, by head; the mean heatmap loss."""
        heads = len(self._model.skeletons)
        near, labelled, loss = torch.zeros(heads), torch.zeros(heads), 0.0
        for batch, drawn in self._lessons(STILL, device):
            heatmaps = network(drawn.crops.images, drawn.dataset)[0].float()
            taught = drawn.targets
            error = heatmap_mse(heatmaps, taught.heatmaps, taught.weights, drawn.keypoints)
            loss += float(error) * len(batch.box) / len(self._crops)
            stated = _labelled(drawn.crops.visibility)
            hits = self._distance(batch, drawn, heatmaps) < PCK_SHARE
            for head in range(heads):
                rows = (drawn.dataset == head)[:, None]
                near[head] += float((hits & stated & rows).sum())
                labelled[head] += float((stated & rows).sum())
        return near, labelled, loss

    def _distance(self, batch: PoseBatch, drawn: Lesson, heatmaps: Tensor) -> Tensor:
        """(B, K) from prediction to label, in longer sides of the person's box."""
        model, config = self._model, self._model.config
        places = torch.zeros_like(drawn.crops.xy)
        for head in range(len(model.skeletons)):
            codec = config.codec_of(head)
            cells = decode(heatmaps, codec).xy
            own = cells_to_input(cells, input_size=model.input_size, heatmap_size=model.heatmap_size, codec=codec)
            places = torch.where((drawn.dataset == head)[:, None, None], own.to(places), places)
        regions = regions_from_boxes(batch.box, input_size=model.input_size, padding=config.box_padding, checked=True)
        zoom = model.input_size[1] / regions.size[:, 0]  # input pixels per canvas pixel
        longer = (batch.box[:, 2:] - batch.box[:, :2]).amax(dim=1) * zoom
        return (places - drawn.crops.xy).norm(dim=-1) / longer[:, None]

    def _presence(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """How well the presence head tells, and where to draw the lines."""
        chances: list[NDArray[np.float32]] = []
        truths: list[NDArray[np.float32]] = []
        weights: list[NDArray[np.float32]] = []
        for _, drawn in self._lessons(CUT, device):
            logits = network(drawn.crops.images, drawn.dataset)[1]
            chances.append(_rows(logits.float().sigmoid()))
            truths.append(_rows(drawn.targets.presence))
            weights.append(_rows(drawn.targets.presence_weights))
        chance, truth, weight = (np.concatenate(parts) for parts in (chances, truths, weights))
        found: dict[str, float] = {}
        for column, name in enumerate(("presence", "visible")):
            counts = weight[:, column] > 0
            p, t = chance[counts, column], truth[counts, column] > 0.5
            if t.any() and not t.all():
                found |= {f"{name}_auroc": auroc(p, t), f"{name}_threshold": choose_threshold(p, t)}
        return found

    def _lessons(self, how: Augmentation, device: torch.device) -> Iterator[tuple[PoseBatch, Lesson]]:
        for start in range(0, len(self._crops), self._size):
            places = list(range(start, min(start + self._size, len(self._crops))))
            batch = self._crops[places].to(device)
            draws = Draws(self._seed, start, len(places), slice(None), device)
            yield batch, lesson(self._model, batch, how, draws)


def _labelled(visibility: Tensor) -> Tensor:
    return (visibility == Visibility.VISIBLE) | (visibility == Visibility.HIDDEN)


def _rows(values: Tensor) -> NDArray[np.float32]:
    """(B, K, 2) as (B x K, 2)."""
    return values.flatten(0, 1).float().cpu().numpy()
