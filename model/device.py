"""Which device and which precision a job uses when the user leaves it open."""

from typing import Literal, get_args

import torch

from autolabel.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


def pick_device(device: str) -> torch.device:
    """The named device, or with ``auto`` a GPU where there is one.

    Args:
        device: ``auto``, ``cpu``, ``cuda``, or one of several as in ``cuda:1``.

    Raises:
        ConfigError: There is no such device.
    """
    kind, _, number = device.partition(":")
    if kind not in get_args(Device) or (number and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError(f"unknown device {device!r}", subject="--device", remedy="Use auto, cpu or cuda.")
    if kind == "cpu" or (kind == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if int(number or 0) >= torch.cuda.device_count():
        raise ConfigError("no such CUDA device", subject=f"--device {device}", remedy="Use --device cpu or auto.")
    return torch.device("cuda" if kind == "auto" else device)


def pick_precision(precision: str, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """The named precision, or with ``auto`` bf16 where the processor computes in it, else fp32.

    Raises:
        ConfigError: An unknown precision, or fp16 on a CPU, where it is no faster and overflows.
    """
    if precision not in get_args(Precision):
        raise ConfigError(
            f"unknown precision {precision!r}", subject="--precision", remedy="Use auto, fp32, bf16 or fp16."
        )
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("not on a CPU", subject="--precision fp16", remedy="Use bf16, fp32 or auto.")
    if precision == "auto":
        return "bf16" if _has_bf16(device) else "fp32"
    return precision  # pyright: ignore[reportReturnType]  # one of the Literal's names, as tested above


def _has_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed and not emulated, which would be slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # oneDNN says yes to every AVX-512 processor; on Arm, where the other two say no, it asks for the instructions.
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and (native or not torch.cpu._is_avx2_supported())
