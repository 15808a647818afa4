"""Networks for other runtimes, ONNX and OpenVINO, checked against the network itself."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.errors import ConfigError, WorkError
from model.backends import Flat, openvino_library, openvino_model, output_names
from model.vitpose import ViTPose

ALLOWED = 1e-4
"""How far a written network's answers may differ from the network's, in shares of their largest."""

Run = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]


def write_onnx(model: ViTPose, file: Path) -> None:
    """Write a network as one ONNX file for any number of crops.

    Its input ``images`` (B, 3, H, W) float32 is normalised as ours is; its outputs are named as in
    :class:`model.backends.Answered`.

    Raises:
        ConfigError: The libraries are not installed.
    """
    try:
        import onnx
        import onnxscript  # the exporter's own
    except ImportError as error:
        raise _missing("onnx and onnxscript", "onnx") from error
    del onnx, onnxscript
    example = torch.zeros(2, 3, *model.input_size)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Flat(model).eval(),
            (example,),
            file,
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=["images"],
            output_names=output_names(model),
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )


def write_openvino(model: ViTPose, file: Path, batch: int) -> None:
    """Write a network as ``file`` (``.xml``) and its ``.bin``, for ``batch`` crops at a time, weights in fp32.

    Raises:
        ConfigError: OpenVINO is not installed.
    """
    library = openvino_library()
    if library is None:
        raise _missing("openvino", "openvino")
    library.save_model(openvino_model(model, batch), file, compress_to_fp16=False)


def run_onnx(file: Path) -> Run:
    """A written network in ONNX Runtime, on as many threads as PyTorch has.

    Raises:
        ConfigError: It is not installed.
        WorkError: The file is damaged.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing("onnxruntime", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with _readable(file):
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda images: [np.asarray(answer) for answer in session.run(None, {"images": images})]


def run_openvino(file: Path) -> Run:
    """A written network in OpenVINO, in fp32.

    Raises:
        WorkError: The file is damaged.
    """
    with _readable(file):
        compiled = openvino_library().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: list(compiled([images]).values())


def difference(model: ViTPose, run: Run, batch: int) -> float:
    """The largest difference of a written network's answers on random crops, in shares of the largest answer.

    Raises:
        WorkError: It is more than ``ALLOWED``, or it answers otherwise altogether.
    """
    images = torch.randn(batch, 3, *model.input_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours: list[Tensor] = list(Flat(model).eval()(images))
    theirs = run(images.numpy())
    if [tuple(one.shape) for one in ours] != [tuple(other.shape) for other in theirs]:
        raise WorkError("answers in other shapes than the network", subject="the written network")
    apart = [
        float(np.abs(one.numpy() - other).max() / max(float(one.abs().max()), 1e-12))
        for one, other in zip(ours, theirs, strict=True)
    ]
    if not max(apart) <= ALLOWED:
        raise WorkError(
            f"answers differ by {max(apart):.2g} of the largest, more than {ALLOWED:g}", subject="the written network"
        )
    return max(apart)


@contextmanager
def _readable(file: Path) -> Generator[None]:
    """What a runtime says of a file that it cannot read, in a line."""
    try:
        yield
    except Exception as error:  # runtimes have errors of their own
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise WorkError(
            f"cannot be read: {told[-1].strip()}", subject=str(file), remedy="Write it again with --overwrite."
        ) from error


def _missing(library: str, extra: str) -> ConfigError:
    return ConfigError(f"needs {library}", subject="the export", remedy=f"pip install 'skeleton-autolabel[{extra}]'")
