"""Which device and which precision a job uses when the user leaves it open."""

from typing import Literal

import torch

from autolabel.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def pick_device(device: str) -> torch.device:
    """The named device, or with ``auto`` a GPU where there is one.

    Raises:
        ConfigError: CUDA is asked for and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("no CUDA device", subject=f"--device {device}", remedy="Use --device cpu or auto.")
    return torch.device(device)


def pick_precision(precision: str, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """The named precision, or with ``auto`` bf16 where the processor computes in it, else fp32.

    Raises:
        ConfigError: Half precision is asked for on a CPU, which has no kernels for it.
    """
    if precision == "auto":
        return "bf16" if _has_bf16(device) else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("the CPU has no fp16", subject="--precision fp16", remedy="Use bf16, fp32 or auto.")
    if precision not in ("fp32", "bf16", "fp16"):
        raise ConfigError(f"unknown precision {precision!r}", remedy="Use auto, fp32, bf16 or fp16.")
    return precision  # pyright: ignore[reportReturnType]  # narrowed by the test above


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
