"""Files of tensors appear whole or not at all."""

import resource

import pytest
import torch

from autolabel.errors import CheckpointError, WorkError
from model.checkpoint import load_model, save_model
from model.config import ViTPoseConfig
from model.tensor_files import read_tensors, write_tensors, write_text_whole
from model.vitpose import build_vitpose
from tests.model.conftest import SKELETON


@pytest.fixture
def full_disk():
    """A limit on the size of files, which the system answers as it does when the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_tensors_and_what_is_said_of_them_come_back(tmp_path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(3)}
    write_tensors(tmp_path / "x.safetensors", tensors, {"digest": "d"})
    read, metadata = read_tensors(tmp_path / "x.safetensors", "x")
    assert metadata == {"digest": "d"}
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_what_lacks_or_is_damaged_is_told(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"has no x\.safetensors"):
        read_tensors(tmp_path / "x.safetensors", "folder")
    (tmp_path / "x.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not a header")
    with pytest.raises(CheckpointError, match=r"x\.safetensors is damaged"):
        read_tensors(tmp_path / "x.safetensors", "folder")


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, request) -> None:
    config = ViTPoseConfig(input_size=(32, 32), patch_size=8, width=32, depth=1, heads=2, decoder="simple")
    before, after = (build_vitpose(config, SKELETON).eval() for _ in range(2))
    save_model(before, tmp_path)
    request.getfixturevalue("full_disk")
    with pytest.raises(WorkError, match=r"model\.safetensors: cannot be written; the older one stays.*Make room"):
        save_model(after, tmp_path)
    kept = load_model(tmp_path).state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.state_dict().items())
    assert not list(tmp_path.glob(".*"))


def test_text_on_a_full_disk(tmp_path, full_disk) -> None:
    with pytest.raises(WorkError, match=r"note: cannot be written: .*Make room"):
        write_text_whole(tmp_path / "note", "x" * 10_000)
    assert not list(tmp_path.iterdir())
