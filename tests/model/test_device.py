"""What a job computes on, and in which precision."""

import pytest
import torch

from autolabel.errors import ConfigError
from model.device import pick_device, pick_precision

CPU = torch.device("cpu")
needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")


def test_auto_takes_what_there_is() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_precision("auto", CPU) in ("fp32", "bf16")


def test_what_is_named_is_taken() -> None:
    assert pick_device("cpu") == CPU
    assert [pick_precision(name, CPU) for name in ("fp32", "bf16")] == ["fp32", "bf16"]
    assert pick_precision("fp16", torch.device("cuda")) == "fp16"


@needs_no_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_missing_gpu_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--device {name}: no such CUDA device. Use --device cpu or auto"):
        pick_device(name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_one_of_several_gpus() -> None:
    assert pick_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ConfigError, match="no such CUDA device"):
        pick_device(f"cuda:{torch.cuda.device_count()}")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cpu:1", "auto:0", "CUDA"])
def test_an_unknown_device_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown device .*Use auto, cpu or cuda"):
        pick_device(name)


@pytest.mark.parametrize(("name", "message"), [("fp8", "unknown precision 'fp8'"), ("fp16", "not on a CPU")])
def test_an_impossible_precision_is_told(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pick_precision(name, CPU)
