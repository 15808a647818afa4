"""Whether tensors are those of the network that their description names: none lacks, none is left, shapes agree.

Checked once before anything is made of them, so that what splits, merges or resamples may rely on it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from autolabel.errors import CheckpointError
from model.layouts import HEADS, Tensors, Weights
from model.vitpose import expected_tensors


def fitted(weights: Weights, subject: str) -> Weights:
    """The same weights, complete; batch norm's counters, which some files lack, are 0.

    Args:
        weights: Of any layout. A ViTPose++ may lack the heads of its later datasets.
        subject: What errors call it.

    Raises:
        CheckpointError: A tensor lacks, is unknown, or has another shape.
    """
    datasets, heads = len(weights.config.datasets), len(weights.skeletons)
    if heads in (1, datasets):
        expected = expected_tensors(weights.config, weights.skeletons)
    else:
        filler = weights.skeletons[-1:] * (datasets - heads)
        lacking = tuple(f"{kind}{head}." for kind in HEADS for head in range(heads, datasets))
        every = expected_tensors(weights.config, weights.skeletons + filler)
        expected = {name: tensor for name, tensor in every.items() if not name.startswith(lacking)}
    return Weights(weights.config, weights.skeletons, fit(weights.tensors, expected, subject))


def fit(tensors: Tensors, expected: Mapping[str, Tensor], subject: str) -> Tensors:
    """The tensors, checked by name and shape, counters that lack as 0.

    Raises:
        CheckpointError: As :func:`fitted`.
    """
    counters = {name: torch.tensor(0) for name in expected if name.endswith("num_batches_tracked")}
    tensors = {**counters, **tensors}
    missing = [name for name in expected if name not in tensors]
    unknown = [name for name in tensors if name not in expected]
    shapes = [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    for fault, names in (("lacks", missing), ("has unknown tensors", unknown), ("does not fit:", shapes)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CheckpointError(
                f"{fault} {', '.join(names[:3])}{more}",
                subject=subject,
                remedy="It is damaged, or its config.json is of another network.",
            )
    return tensors


def require_numbers(tensors: Tensors, expected: Mapping[str, Tensor], subject: str) -> None:
    """Refuse parameters that are quantised, NaN or infinite.

    Raises:
        CheckpointError: Names the first.
    """
    for name, tensor in tensors.items():
        if expected[name].is_floating_point() and not tensor.is_floating_point():
            raise CheckpointError(
                f"{name} holds {str(tensor.dtype).removeprefix('torch.')} numbers: it is quantised, or no weights",
                subject=subject,
                remedy="Give the floating-point weights that it was made from.",
            )
        if not tensor.is_meta and not tensor.isfinite().all():
            raise CheckpointError(
                f"{name} holds NaN or infinity: its training diverged, or it is damaged",
                subject=subject,
                remedy="Give an earlier checkpoint, or fetch it again.",
            )
