"""Object detectors for tests: random weights in the layout of released ones, and one that finds what it is told to."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.detect import Choice, Detections

CLASSES = ("person", "dog")


def released(folder: Path, *, classes: Sequence[str] = CLASSES) -> Path:
    """A folder as the hub has them for RT-DETR v2, of a network that knows nothing."""
    from transformers import RTDetrImageProcessor, RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrV2Config(
        backbone_config=backbone,
        d_model=32,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 24, 32],
        decoder_in_channels=[32, 32, 32],
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        decoder_layers=2,
        num_queries=20,
        decoder_attention_heads=4,
        encoder_attention_heads=4,
        id2label=dict(enumerate(classes)),
        label2id={name: i for i, name in enumerate(classes)},
    )
    network = RTDetrV2ForObjectDetection(config)
    for parameter in network.parameters():
        if parameter.dim() > 1:  # fresh ones say the same everywhere
            torch.nn.init.normal_(parameter, std=0.15)
    network.save_pretrained(folder)
    RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


class Told:
    """A detector that finds what a function says of an image's size; remembers how many images it saw together."""

    digest = "0123456789abcdef"
    choice = Choice()

    def __init__(self, boxes: Callable[[int, int], Sequence[Sequence[float]]]) -> None:
        self.boxes = boxes
        self.batches: list[int] = []

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        self.batches.append(len(images))
        found = [np.array(self.boxes(image.shape[2], image.shape[1]), float).reshape(-1, 4) for image in images]
        return [Detections(box, np.linspace(0.9, 0.5, len(box), dtype=np.float32)) for box in found]
