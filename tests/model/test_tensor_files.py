"""Files of tensors appear whole or not at all."""

import resource
from dataclasses import replace

import pytest
import torch

from autolabel.errors import CheckpointError, WorkError
from autolabel.skeleton import Skeleton
from model.checkpoint import load_model, save_huggingface, save_model, save_official
from model.config import ViTPoseConfig
from model.encoder_folder import save_encoder
from model.tensor_files import of_json, of_tensors, read_tensors, write_together, write_whole
from model.vitpose import ViTPose, build_vitpose
from tests.model.conftest import SKELETON


@pytest.fixture
def full_disk():
    """A limit on the size of files, which the system answers as it does when the disk is full: 4 KiB, or as told."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_tensors_and_what_is_said_of_them_come_back(tmp_path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(3)}
    write_together([of_tensors(tmp_path / "x.safetensors", tensors, {"digest": "d"})])
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


def network(skeleton: Skeleton = SKELETON, *, seed: int = 0) -> ViTPose:
    torch.manual_seed(seed)
    config = ViTPoseConfig(input_size=(32, 32), patch_size=8, width=32, depth=1, heads=2, decoder="simple")
    return build_vitpose(config, skeleton).eval()


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, full_disk) -> None:
    before = network()
    save_model(before, tmp_path)
    full_disk(4096)
    with pytest.raises(WorkError, match=r"model\.safetensors: cannot be written; the older one stays.*Make room"):
        save_model(network(seed=1), tmp_path)
    kept = load_model(tmp_path).state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.state_dict().items())
    assert not list(tmp_path.glob(".*"))


LONG = replace(SKELETON, keypoints=("nose" * 20_000, "left", "right"))  # its file is larger than the network's
METRICS = {f"metric {n}": 0.0 for n in range(10_000)}
SAVES = {
    "config of a checkpoint": (lambda folder, new: save_model(network(seed=new), folder, METRICS if new else {})),
    "skeleton of a checkpoint": (lambda folder, new: save_model(network(LONG if new else SKELETON, seed=new), folder)),
    "skeleton of Hugging Face": (
        lambda folder, new: save_huggingface(network(LONG if new else SKELETON, seed=new), folder)
    ),
    "weights of the official layout": (
        lambda folder, new: save_official(network(replace(SKELETON, name="new") if new else SKELETON), folder)
    ),
    "config of an encoder": (
        lambda folder, new: save_encoder(
            network().config, {"a": torch.full((1000,), float(new))}, folder, METRICS if new else {}
        )
    ),
}


@pytest.mark.parametrize("what", SAVES)
def test_a_later_file_that_cannot_be_written_leaves_all_older_ones(what, tmp_path, full_disk) -> None:
    save = SAVES[what]
    save(tmp_path / "old", 0)
    before = contents(tmp_path / "old")
    save(tmp_path / "new", 1)
    after = contents(tmp_path / "new")
    *smaller, largest = sorted(after, key=lambda name: len(after[name]))
    assert any(before[name] != after[name] for name in smaller), "or leaving them alone would be no merit"
    full_disk(len(after[largest]) - 1)
    with pytest.raises(WorkError, match="cannot be written; the older one stays"):
        save(tmp_path / "old", 1)
    assert contents(tmp_path / "old") == before


def test_a_folder_in_a_files_place_leaves_the_older_checkpoint(tmp_path) -> None:
    save_model(network(), tmp_path)
    before = contents(tmp_path)
    (tmp_path / "other").mkdir()
    files = [of_json(tmp_path / "config.json", {"a": 1}), of_json(tmp_path / "other", {"b": 2})]
    with pytest.raises(WorkError, match=r"other: cannot be written: .*[Dd]irectory"):
        write_together(files)
    (tmp_path / "other").rmdir()
    assert contents(tmp_path) == before


def test_files_take_their_places_in_order_when_all_are_complete(tmp_path) -> None:
    there: list[list[str]] = []

    def write(path) -> None:
        there.append(sorted(file.name for file in tmp_path.iterdir() if not file.name.startswith(".")))
        path.write_text("x")

    write_together([(tmp_path / "a", write), (tmp_path / "b", write)])
    assert there == [[], []]
    assert set(contents(tmp_path)) == {"a", "b"}


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_file_on_a_full_disk(tmp_path, full_disk) -> None:
    full_disk(4096)
    with pytest.raises(WorkError, match=r"note: cannot be written: .*Make room"):
        write_whole(tmp_path / "note", lambda path: path.write_text("x" * 10_000))
    assert not list(tmp_path.iterdir())
