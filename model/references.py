"""What people would run instead of ours: the Hugging Face pipeline, and ONNX Runtime in the network's place in it.

Both are used as their documentation shows it: an image processor cuts and normalises the crops of several images, the
network answers, the processor decodes. Only ``autolabel bench`` needs them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.errors import ConfigError
from model.backends import output_names
from model.checkpoint import load_model
from model.export import run_onnx
from model.vitpose import ViTPose

Image = tuple[NDArray[np.uint8], NDArray[np.float64]]
"""Pixels (H, W, 3) RGB and boxes (n, 4) xyxy."""


@dataclass(frozen=True)
class Reference:
    """Another way from images with boxes to keypoints.

    Attributes:
        processor: Of transformers.
        network: From what the processor makes of crops to something with ``heatmaps``.
    """

    processor: Any
    network: Callable[[Mapping[str, Tensor]], Any]

    @torch.inference_mode()
    def predict(self, images: Sequence[Image]) -> list[NDArray[np.float32]]:
        """(n, K, 3) x, y and score of everybody in each image."""
        boxes = [np.hstack([box[:, :2], box[:, 2:] - box[:, :2]]) for _, box in images]
        inputs = self.processor([pixels for pixels, _ in images], boxes=boxes, return_tensors="pt")
        found = self.processor.post_process_pose_estimation(self.network(inputs), boxes=boxes)
        return [
            np.stack([torch.cat([one["keypoints"], one["scores"][:, None]], 1).numpy() for one in people])
            for people in found
        ]


def huggingface(folder: Path, precision: str, device: str = "cpu") -> Reference:
    """Its pipeline on a folder that :func:`model.checkpoint.save_huggingface` wrote, ``fp32`` or ``bf16``.

    The processor works on the CPU, as its documentation has it.
    """
    VitPoseForPoseEstimation, processor = _transformers(load_model(folder))
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    model = VitPoseForPoseEstimation.from_pretrained(folder, dtype=dtype).eval().to(device)

    def answer(inputs: Mapping[str, Tensor]) -> Any:
        said = model(pixel_values=inputs["pixel_values"].to(device, dtype))
        said.heatmaps = said.heatmaps.float().cpu()
        return said

    return Reference(processor, answer)


def onnx_runtime(folder: Path, file: Path) -> Reference:
    """The same processor around a network in ONNX Runtime, in fp32, on as many threads as PyTorch has."""
    model = load_model(folder)
    run, maps = run_onnx(file), output_names(model).index("maps")

    def answer(inputs: Mapping[str, Tensor]) -> Any:
        return _Said(torch.from_numpy(run(inputs["pixel_values"].numpy())[maps]))

    return Reference(_transformers(model)[1], answer)


@dataclass
class _Said:
    heatmaps: Tensor


def _transformers(model: ViTPose) -> tuple[Any, Any]:
    """The network's class, and a processor for crops of the network's size."""
    try:
        from transformers import VitPoseForPoseEstimation, VitPoseImageProcessor
    except ImportError as error:
        raise _missing("transformers", "detect") from error
    height, width = model.input_size
    return VitPoseForPoseEstimation, VitPoseImageProcessor(size={"height": height, "width": width})


def _missing(library: str, extra: str) -> ConfigError:
    return ConfigError(f"needs {library}", subject="a reference", remedy=f"pip install 'skeleton-autolabel[{extra}]'")
