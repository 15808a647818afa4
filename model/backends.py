"""What computes a network's answers: PyTorch everywhere, compiled if told to; OpenVINO on CPUs where it is faster.

A backend takes normalised crops of one fixed shape and gives the encoder's features and what the heads say of them.
OpenVINO takes a network apart and puts it together anew for the processor, in seconds, and is then about one and a half
times as fast as PyTorch in the same precision (``docs/performance.md``). For a small network those seconds are not
worth it.
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autolabel.errors import ConfigError
from model.cost import cost
from model.vitpose import ViTPose

Backend = Literal["torch", "compiled", "openvino"]

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

WORTHWHILE = 0.5e9
"""Multiply-accumulates a crop from which on OpenVINO is chosen by itself: a tenth of a ViTPose-S's at 256x192."""


class Answered(NamedTuple):
    """What a network says of B crops.

    Attributes:
        features: (B, D, Hp, Wp) of the encoder.
        maps: (B, K, h, w).
        presence: (B, K, 2) logits, None without that head.
        reach: (B, 4) of the whole-box head, None without it.
    """

    features: Tensor
    maps: Tensor
    presence: Tensor | None
    reach: Tensor | None


Forward = Callable[[Tensor], Answered]
"""From normalised crops (B, 3, H, W) float32, always the same B."""


def pick_backend(backend: str, model: ViTPose, device: torch.device) -> Backend:
    """The named backend, or with ``auto`` OpenVINO where it is installed, on a CPU, for a network that is large enough.

    Raises:
        ConfigError: There is no such backend, it is not installed, or it is for CPUs alone.
    """
    if backend not in ("auto", "torch", "compiled", "openvino"):
        remedy = "Use auto, torch, compiled or openvino."
        raise ConfigError(f"unknown backend {backend!r}", subject="--backend", remedy=remedy)
    if backend == "compiled":
        return "compiled"
    if backend == "torch" or (backend == "auto" and device.type != "cpu"):
        return "torch"
    if device.type != "cpu":
        raise ConfigError("computes on CPUs alone", subject="--backend openvino", remedy="Use auto or torch.")
    there = openvino_library() is not None
    if backend == "openvino" and not there:
        raise ConfigError(
            "is not installed", subject="--backend openvino", remedy="pip install 'skeleton-autolabel[openvino]'"
        )
    if backend == "openvino":
        return "openvino"
    # What others derive from the network may do what cannot be taken apart.
    plain = type(model) is ViTPose
    worthwhile = plain and cost(model.config, model.skeleton.num_keypoints).macs >= WORTHWHILE
    return "openvino" if there and worthwhile else "torch"


def forward_of(backend: Backend, model: ViTPose, device: torch.device, precision: str, batch: int) -> Forward:
    """A network ready to answer.

    Args:
        backend: From :func:`pick_backend`.
        model: In evaluation mode, on the device.
        device: Where it computes.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        batch: B, how many crops it is always given.
    """
    if backend == "openvino":
        return _OnOpenVINO(model, precision, batch)
    if backend == "compiled":
        return _Compiled(model, device, precision)
    return lambda images: in_torch(model, images, device, precision)


def in_torch(model: ViTPose, images: Tensor, device: torch.device, precision: str) -> Answered:
    """The answers of PyTorch itself; fp32 is that in convolutions too, which on a GPU would round to TF32's 11 bits."""
    if device.type == "cuda" and precision == "fp32":
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features = model.forward_features(images)
            return Answered(features, *model.forward_heads(features))
    with torch.autocast(device.type, TYPES[precision], enabled=precision != "fp32"):
        features = model.forward_features(images)
        return Answered(features, *model.forward_heads(features))


class Flat(nn.Module):
    """A network whose answers are a plain tuple, without those of heads that it lacks."""

    def __init__(self, model: ViTPose) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """What there is of :class:`Answered`."""
        features = self.model.forward_features(images)
        return tuple(answer for answer in (features, *self.model.forward_heads(features)) if answer is not None)


class _Compiled:
    """A network that ``torch.compile`` made programs of, with the first batch that it is given.

    On a CPU one program, which takes a minute. On a GPU one of a block, which serves all blocks and takes seconds, and
    one of each head: between them there is nothing to gain, because the reader records all of it (:mod:`model.graphs`).
    """

    def __init__(self, model: ViTPose, device: torch.device, precision: str) -> None:
        self._ready = False
        network = by_block(model, TYPES[precision]) if device.type == "cuda" else model

        def answer(images: Tensor) -> Answered:
            return in_torch(network, images, device, precision)

        if device.type != "cuda":
            answer = cast("Any", torch).compile(answer, dynamic=False)
        self._answer: Forward = answer

    def __call__(self, images: Tensor) -> Answered:
        try:
            answered = self._answer(images)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if self._ready:
                raise
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise ConfigError(
                f"cannot compile here: {said[0]}",
                subject="--backend compiled",
                remedy="It needs a C++ compiler, and Triton for a GPU; or use --backend torch.",
            ) from error
        self._ready = True
        return answered


def by_block(model: ViTPose, dtype: torch.dtype) -> ViTPose:
    """A copy for inference alone, whose blocks and keypoint heads are compiled, one program for all blocks.

    What autocast would make ``dtype`` of in every batch is so from the beginning.
    """
    network = copy.deepcopy(model).eval()
    heavy = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    for part in (network.patch_embed, *network.blocks, *network.keypoint_heads):
        for layer in part.modules():
            if isinstance(layer, heavy):
                layer.weight.data = layer.weight.data.to(dtype)
    for block in network.blocks:
        block.drop_path1 = block.drop_path2 = nn.Identity()  # whose rates would be a program each
    parts: list[Any] = [*network.keypoint_heads]
    for block in network.blocks:
        # One with experts is not called itself: its parts are.
        parts += [block.attn, block.mlp] if network.num_experts else [block]
    for part in parts:
        part.compile(dynamic=False)
    return network


PIECE = 4
"""Crops that OpenVINO is given at a time, at most: what a layer makes of so many stays in the processor's caches. Of a
ViTPose-S they take nine tenths of the time that 32 at once take (``docs/performance.md``)."""


class _OnOpenVINO:
    """A network that OpenVINO computes, a piece of a batch at a time, on as many threads as PyTorch has."""

    def __init__(self, model: ViTPose, precision: str, batch: int) -> None:
        library = openvino_library()
        properties = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._piece = next(size for size in range(min(PIECE, batch), 0, -1) if batch % size == 0)
        compiled = library.Core().compile_model(openvino_model(model, self._piece), "CPU", properties)
        self._request = compiled.create_infer_request()
        self._heads = (model.config.presence, model.config.whole_box)

    def __call__(self, images: Tensor) -> Answered:
        pieces = [
            self._infer(piece) for piece in images.contiguous().numpy().reshape(-1, self._piece, *images.shape[1:])
        ]
        given = (torch.from_numpy(np.concatenate(outputs)) for outputs in zip(*pieces, strict=True))
        features, maps = next(given), next(given)
        presence, reach = (next(given) if has else None for has in self._heads)
        return Answered(features, maps, presence, reach)

    def _infer(self, piece: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Every output for some crops."""
        self._request.infer([piece], share_inputs=True)
        return [output.data.copy() for output in self._request.output_tensors]


def openvino_model(model: ViTPose, batch: int) -> Any:
    """The network as OpenVINO has it, for ``batch`` crops at a time; its outputs are those of :class:`Answered`.

    The library's own ``convert_model`` would report to its maker that it was called.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = torch.zeros(batch, 3, *model.input_size)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that become constants, as they are meant to
        decoder = TorchScriptPythonDecoder(Flat(model).eval(), example_input=example)
    frontend = FrontEndManager().load_by_framework(framework="pytorch")
    converted = frontend.convert(frontend.load(decoder))
    converted.reshape({converted.inputs[0]: list(example.shape)})
    for output, name in zip(converted.outputs, output_names(model), strict=True):
        output.get_tensor().set_names({name})
    converted.inputs[0].get_tensor().set_names({"images"})
    return converted


def output_names(model: ViTPose) -> list[str]:
    """Names of what :class:`Flat` gives, as of the fields of :class:`Answered`."""
    heads = {"presence": model.config.presence, "reach": model.config.whole_box}
    return ["features", "maps", *(name for name, there in heads.items() if there)]


def openvino_library() -> Any:
    """The library, None where it is not installed."""
    try:
        import openvino
    except ImportError:
        return None
    return openvino
