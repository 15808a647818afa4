"""What wraps the tensors of a .pth does not matter; every other file is refused with what it is and what to do."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from autolabel.errors import CheckpointError
from model.checkpoint import load_model
from model.pth import read_pth, write_pth
from tests.model.released_layouts import filled, mae_shapes

TENSORS = {"backbone.pos_embed": torch.ones(1, 3, 2), "keypoint_head.final_layer.bias": torch.zeros(2)}

WRAPPINGS: dict[str, Any] = {
    "raw": TENSORS,
    "state_dict with meta and optimizer": {
        "meta": {"epoch": 210, "mmcv_version": "1.3.9", "config": "model = dict()"},
        "state_dict": TENSORS,
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-5}]},
    },
    "model": {"model": TENSORS, "epoch": 3},
    "module": {"module": TENSORS},
    "model in state_dict": {"state_dict": {"model": TENSORS}},
    "prefixed with module.": {"state_dict": {f"module.{name}": tensor for name, tensor in TENSORS.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "pickle of before torch 1.6"])
def test_what_wraps_the_tensors_does_not_matter(wrapping: str, legacy: bool, tmp_path: Path) -> None:
    torch.save(WRAPPINGS[wrapping], tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    found = read_pth(tmp_path / "a.pth", "a.pth")
    assert found.described is None
    torch.testing.assert_close(found.state, TENSORS, rtol=0, atol=0)


@pytest.mark.parametrize("core", ["core", "_core"], ids=["numpy 1", "numpy 2"])
def test_arrays_of_numbers_beside_the_weights_do_not_matter(core: str, tmp_path: Path) -> None:
    # What mmpose 1.x writes of its data set.
    described = {"sigmas": np.full(17, 0.1, np.float32), "colors": np.zeros((17, 3), np.uint8), "acc": np.float64(0.5)}
    content = {"meta": {"dataset_meta": {**described, "names": ["nose"]}}, "state_dict": TENSORS}
    torch.save(content, tmp_path / "now.pth")
    with zipfile.ZipFile(tmp_path / "now.pth") as now, zipfile.ZipFile(tmp_path / "a.pth", "w") as then:
        for name in now.namelist():
            then.writestr(name, now.read(name).replace(b"numpy._core.multiarray", f"numpy.{core}.multiarray".encode()))
    torch.testing.assert_close(read_pth(tmp_path / "a.pth", "a.pth").state, TENSORS, rtol=0, atol=0)


class Runs:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> Any:
        return (eval, ("1 + 1",))


@pytest.mark.parametrize(
    "held",
    [Runs(), np.array([1, "a"], object), np.array([Runs()], object)],
    ids=["an object", "an array of objects", "an array of what runs"],
)
def test_objects_beside_the_weights_are_never_made(held: Any, tmp_path: Path) -> None:
    torch.save({"meta": {"x": held}, "state_dict": TENSORS}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds Python objects besides tensors"):
        read_pth(tmp_path / "a.pth", "a.pth")


def test_what_we_write_says_what_it_is(tmp_path: Path) -> None:
    write_pth(tmp_path / "a.pth", TENSORS, {"network": {"width": 32}})
    found = read_pth(tmp_path / "a.pth", "a.pth")
    assert found.described == {"network": {"width": 32}}
    torch.testing.assert_close(found.state, TENSORS, rtol=0, atol=0)


def pickled_class(module: str, name: str) -> Callable[[Path], None]:
    """A PyTorch zip whose pickle asks for a class: what ``torch.save(model)`` of another package writes."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")R.")
            archive.writestr("archive/version", "3\n")

    return write


def saved(content: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def with_bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def cut(share: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        torch.save({"state_dict": {"a": torch.zeros(3000)}}, path)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return write


def torchscript(path: Path) -> None:
    """The two entries that torch.jit.save adds and torch.save has not."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"vitpose/{name}", b"\x80\x02N.")


def zipped(path: Path) -> None:
    inner = io.BytesIO()
    torch.save(TENSORS, inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/vitpose.pth", inner.getvalue())


def damaged_pickle(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00u.")
        archive.writestr("archive/version", "3\n")


def odd_name(path: Path) -> None:
    """A name in the archive's list that is no UTF-8 though it says so; found by fuzzing."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\u00e9/data.pkl", b"\x80\x02}.")
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))


PLAIN_NET = {"backbone.conv1.weight": torch.ones(1), "backbone.bn1.weight": torch.ones(1)}
BACKBONE = {"backbone.pos_embed": torch.ones(1, 3, 2), "backbone.blocks.0.norm1.weight": torch.ones(2)}
LINKS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 359990000\n"

WRONG: list[Any] = [
    # id, file name, how it comes about, the reason, the remedy
    ("empty", "a.pth", with_bytes(b""), r"is empty \(0 bytes\)", "Download it again"),
    ("Git LFS pointer", "a.pth", with_bytes(LINKS), "is a Git LFS pointer", "git lfs pull"),
    ("git-annex pointer", "a.pth", with_bytes(b"/annex/objects/MD5E-s9--ab.pth\n"), "is a git-annex", "git annex get"),
    ("login page", "a.pth", with_bytes(b"\n <!DOCTYPE html><html>"), "is a web page", "download it in a browser"),
    ("error of a store", "a.pth", with_bytes(b"<?xml version='1.0'?><Error>"), "is a web page", "address of the file"),
    ("cut short", "a.pth", cut(0.6), r"damaged, or cut short at [\d,]+ bytes", "compare its size"),
    ("cut in the header", "a.pth", cut(0.001), "or cut short at", "Download it again"),
    ("damaged pickle", "a.pth", damaged_pickle, "is damaged|is not a PyTorch file", "Download it again|state_dict"),
    ("damaged list of files", "a.pth", odd_name, "is damaged", "Download it again"),
    ("text", "a.pth", with_bytes(b"epoch,loss\n1,0.5\n"), "is not a PyTorch file", "Give an official"),
    ("gzip", "a.pth.tar.gz", with_bytes(b"\x1f\x8b\x08\x00rest"), "is a gzip archive", "Unpack it"),
    ("zip of the file", "a.pth", zipped, r"zip archive with weights/vitpose\.pth", "Unpack it"),
    ("numpy", "a.npz", lambda path: np.savez(path, a=np.ones(1)), r"zip archive with a\.npy", "Unpack it"),
    ("Keras", "a.h5", with_bytes(b"\x89HDF\r\n\x1a\n"), "is an HDF5 file", "Give an official"),
    ("ONNX", "vitpose-b-coco.onnx", with_bytes(b"\x08\x08\x12\x07pytorch"), "is an ONNX file", "the .pth"),
    ("TensorRT", "vitpose.engine", with_bytes(b"ptrt rest"), "is a TensorRT engine", "the .pth"),
    ("TorchScript", "a.pt", torchscript, "is a TorchScript program", r"state_dict\(\)"),
    ("one safetensors", "a.safetensors", lambda path: save_file(TENSORS, path), "one file of a folder", "config.json"),
    ("safetensors as .pth", "a.pth", lambda path: save_file(TENSORS, path), "one file of a folder", "Give the folder"),
    ("YOLO", "y.pt", pickled_class("ultralytics.nn.tasks", "PoseModel"), "is a YOLO file.*tasks.PoseModel", "--boxes"),
    ("whole module", "a.pth", pickled_class("mmpose.models", "TopDown"), r"objects.*\(mmpose\.models\.T", "state_dict"),
    ("optimizer", "o.pth", saved({"optimizer": {"state": {}, "param_groups": []}}), "an optimizer's", "beside it"),
    ("raw optimizer", "o.pth", saved({"state": {}, "param_groups": []}), "an optimizer's state", "saved beside it"),
    ("list", "a.pth", saved([1, 2]), "holds no state_dict, but a list", "Give an official"),
    ("tensor", "a.pth", saved(torch.ones(3)), "holds no state_dict, but a Tensor", "Give an official"),
    ("log", "a.pth", saved({"state_dict": {"epoch": 3}}), "no state_dict, but the keys epoch", "Tensors by name"),
    ("nothing", "a.pth", saved({}), "holds no state_dict, but nothing", "Give an official"),
    ("another network", "a.pth", saved(PLAIN_NET), r"no ViTPose weights \(backbone\.conv1", "Give an official"),
    ("MAE encoder", "m.pth", saved({"model": filled(mae_shapes(8, 1))}), "a bare vision transformer", 'init = "FILE"'),
    ("no head", "b.pth", saved(BACKBONE), "an encoder without keypoint_head", r"\[model\] table"),
    ("DINO", "d.pth", saved({"teacher.a": torch.ones(1), "student.a": torch.ones(1)}), "student and its", "one of"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "reason", "remedy"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_a_wrong_file_is_told_what_it_is(
    name: str, write: Callable[[Path], object], reason: str, remedy: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(CheckpointError, match=reason) as refused:
        load_model(tmp_path / name)
    assert refused.value.subject == str(tmp_path / name)
    with pytest.raises(CheckpointError, match=remedy):
        raise CheckpointError(refused.value.remedy or "")


def test_a_link_to_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.pth").symlink_to("../.git/annex/objects/ab/cd/MD5E-s9--ab.pth")
    with pytest.raises(CheckpointError, match=r"is a link to \.\./\.git/annex/.* not there.*git annex get"):
        load_model(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LINKS, "is a Git LFS pointer.*git lfs pull"),
        (b"<html></html>", "is a web page"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{", r"model\.safetensors is damaged.*Fetch"),
    ],
    ids=["cloned without LFS", "page", "cut short"],
)
def test_the_weights_of_a_folder_may_be_no_weights(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vitpose", "backbone_config": {}}')
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)
