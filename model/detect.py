"""Boxes for top-down pose estimation, from any object detector that the transformers library reads.

A detector is a folder, or a hub id, with ``config.json``, ``preprocessor_config.json`` and safetensors, in the layout
of ``AutoModelForObjectDetection``: RT-DETR v2, D-FINE, DETR and their like. Its own processor resizes and normalises,
so that it sees what it was trained on. Nothing else is read: no pickle, no code of a repository.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from torchvision.ops import nms as non_maximum_suppression

from autolabel.errors import CheckpointError, ConfigError
from autolabel.run import file_digest
from model.device import pick_device
from model.hub import hub_folder

DEFAULT = "PekingU/rtdetr_v2_r18vd"
"""A small detector of COCO's 80 classes that runs in real time; Apache-2.0."""

BATCH_SIZE = 8
MIN_SCORE = 0.3
NMS = 0.7
MAX_BOXES = 100

_FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "model.safetensors.index.json")
_WANTED = "a detector's folder or hub id, whole-image, or a COCO file of boxes"


class Detections(NamedTuple):
    """The boxes of one image, best first.

    Attributes:
        box: (N, 4) float64 xyxy in the image's pixels, inside it.
        score: (N,) float32 in 0 to 1.
    """

    box: NDArray[np.float64]
    score: NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """Which of a detector's boxes are kept.

    Attributes:
        classes: Names of what to look for, as the detector calls it.
        min_score: Boxes of a lower score are dropped.
        nms: Of two boxes whose intersection over union is greater, the better one stays; 1 keeps all.
        max_boxes: The best ones of an image, at most.
    """

    classes: tuple[str, ...] = ("person",)
    min_score: float = MIN_SCORE
    nms: float = NMS
    max_boxes: int = MAX_BOXES

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: Nothing to look for, or a number out of range.
        """
        if not self.classes:
            raise ConfigError("nothing to look for", subject="classes")
        for name in ("min_score", "nms"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"is {getattr(self, name)}, expected 0 to 1", subject=name)
        if self.max_boxes < 1:
            raise ConfigError(f"is {self.max_boxes}, expected at least 1", subject="max_boxes")


class Detector:
    """A detector ready to be asked.

    Args:
        network: Of transformers, in evaluation mode.
        processor: Its image processor.
        choice: Which boxes are kept.
        device: Where it computes.
        digest: Of its files.

    Raises:
        ConfigError: It knows none of a class that is asked for.
    """

    def __init__(self, network: Any, processor: Any, choice: Choice, device: torch.device, digest: str) -> None:
        self.network, self.processor, self.choice, self.device = network, processor, choice, device
        self.digest = digest
        self._wanted = torch.tensor(_class_numbers(network.config.id2label, choice.classes), device=device)

    @classmethod
    def load(cls, source: str | Path, choice: Choice = Choice(), *, device: str = "auto") -> Self:
        """Read a detector.

        Args:
            source: A folder, or the id of a hub repository.
            choice: Which boxes are kept.
            device: ``auto``, ``cpu`` or ``cuda``.

        Raises:
            CheckpointError: Nothing there, the hub cannot be reached, or it is no whole object detector.
            ConfigError: transformers is not installed, there is no such device, or an unknown class is asked for.
        """
        try:
            from transformers import AutoImageProcessor, AutoModelForObjectDetection
        except ImportError as error:
            raise ConfigError(
                "needs the transformers library",
                subject="a detector",
                remedy="pip install 'skeleton-autolabel[detect]'",
            ) from error
        folder = Path(source) if Path(source).is_dir() else hub_folder(str(source), _FILES, wanted=_WANTED)
        if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
            raise CheckpointError("has no config.json and safetensors", subject=str(source), remedy=f"Give {_WANTED}.")
        where = pick_device(device)
        try:
            network, loading = AutoModelForObjectDetection.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, output_loading_info=True
            )
            processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
            raise CheckpointError(f"cannot be read as an object detector: {error}", subject=str(source)) from error
        if lacking := [*loading["missing_keys"], *loading["mismatched_keys"]]:
            raise CheckpointError(
                f"lacks {len(lacking)} of the detector's tensors, the first of them {lacking[0]}",
                subject=str(source),
                remedy="Give the whole checkpoint of an object detector.",
            )
        return cls(network.to(where).eval(), processor, choice, where, _digest(folder))

    @torch.inference_mode()
    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """The boxes of some images, looked at together.

        Args:
            images: (3, H, W) uint8 RGB each.
        """
        if not images:
            return []
        sizes = [(int(image.shape[1]), int(image.shape[2])) for image in images]
        given = self.processor(images=list(images), return_tensors="pt", input_data_format="channels_first")
        said = self.network(**given.to(self.device))
        found = self.processor.post_process_object_detection(said, threshold=self.choice.min_score, target_sizes=sizes)
        return [self._kept(one, size) for one, size in zip(found, sizes, strict=True)]

    def _kept(self, found: dict[str, Tensor], size: tuple[int, int]) -> Detections:
        """The boxes of one image (H, W) that are wanted."""
        height, width = size
        limits = found["boxes"].new_tensor([width, height, width, height])
        box, score = torch.minimum(found["boxes"].clamp(min=0), limits).float(), found["scores"].float()
        large = (box[:, 2:] - box[:, :2] >= 1).all(dim=1)
        rows = torch.nonzero(torch.isin(found["labels"], self._wanted) & large & torch.isfinite(score)).flatten()
        box, score = box[rows], score[rows]
        best = non_maximum_suppression(box, score, self.choice.nms)[: self.choice.max_boxes]
        return Detections(box[best].cpu().numpy().astype(np.float64), score[best].cpu().numpy().astype(np.float32))


def _class_numbers(names: dict[int, str], wanted: Sequence[str]) -> list[int]:
    """The detector's numbers of some classes, by name without regard to case."""
    numbers = {name.lower(): number for number, name in names.items()}
    for name in wanted:
        if name.lower() not in numbers:
            known = ", ".join(sorted(names.values())[:20])
            raise ConfigError(f"the detector does not know {name!r}", subject="classes", remedy=f"It knows {known}.")
    return [numbers[name.lower()] for name in wanted]


def _digest(folder: Path) -> str:
    """Of everything that was read."""
    files = sorted(file for pattern in _FILES for file in folder.glob(pattern))
    said = "".join(f"{file.name} {file_digest(file)}\n" for file in files)
    return hashlib.sha256(said.encode()).hexdigest()
