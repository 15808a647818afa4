from pathlib import Path

import pytest

from autolabel.errors import FormatError
from autolabel.formats.yolo_data import find_data_file, read_data_file

GOOD = "train: images\nnames: [fox]\nkpt_shape: [2, 3]\n"


def read(tmp_path: Path, text: str | bytes):
    (tmp_path / "data.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_data_file(tmp_path / "data.yaml")


def test_everything_that_it_may_say(tmp_path: Path) -> None:
    data = read(
        tmp_path,
        "path: /elsewhere\ntrain: [a, b.txt]\nval: images/val\ntest:\nnc: 2\nnames: {1: cat, 0: 7}\nkpt_shape: [3, 2]\n"
        "flip_idx: [1, 0, 2]\nkpt_names: {0: [l, r, c], 1: [l, r, c]}\nroboflow: {version: 1}\n",
    )
    assert data.path == "/elsewhere"
    assert data.entries == {"train": ("a", "b.txt"), "val": ("images/val",)}
    assert data.classes == ("7", "cat")
    assert (data.num_keypoints, data.dims) == (3, 2)
    assert data.flip == (1, 0, 2)
    assert data.keypoints == ("l", "r", "c")


@pytest.mark.parametrize(
    ("text", "classes", "keypoints", "flip"),
    [
        pytest.param("nc: 2\ntrain: x\nkpt_shape: [1, 3]", ("class_0", "class_1"), None, None, id="only a count"),
        pytest.param(GOOD + "kpt_names: [a, b]", ("fox",), ("a", "b"), None, id="names as one list"),
        pytest.param(GOOD + "flip_idx: []", ("fox",), None, None, id="an empty flip_idx says nothing"),
        pytest.param("\ufeff" + GOOD.replace("\n", "\r\n"), ("fox",), None, None, id="a mark and Windows' line ends"),
    ],
)
def test_other_ways_to_say_it(tmp_path: Path, text: str, classes: object, keypoints: object, flip: object) -> None:
    data = read(tmp_path, text)
    assert (data.classes, data.keypoints, data.flip) == (classes, keypoints, flip)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # The file
        pytest.param("", r"is empty. It names the images \(train, val\), the classes", id="empty"),
        pytest.param("- a\n", "is not a mapping of names to values. It names", id="a list"),
        # Keypoints
        pytest.param("train: x\nnames: [a]\n", "kpt_shape: is missing: this is no pose data set", id="detection"),
        pytest.param(GOOD.replace("[2, 3]", "[2]"), "kpt_shape: has 1 entries", id="kpt_shape of one"),
        pytest.param(GOOD.replace("[2, 3]", "[2, 4]"), r"kpt_shape: is \[2, 4\], expected \[K, 2\] or", id="dims"),
        pytest.param(GOOD.replace("[2, 3]", "[true, 3]"), "expected two whole numbers", id="a truth value"),
        pytest.param(GOOD.replace("[2, 3]", "[999999999, 3]"), "with K from 1 to 10000", id="too many"),
        pytest.param(GOOD + "flip_idx: [0]", "flip_idx: has 1 entries, expected 2", id="flip too short"),
        pytest.param(GOOD + "flip_idx: [0, 2]", "flip_idx: holds 2, expected whole numbers from 0 to 1", id="flip out"),
        pytest.param(
            GOOD.replace("[2,", "[3,") + "flip_idx: [1, 2, 0]",
            r"flip_idx\[0\]: is 1, but flip_idx\[1\] is 2: mirroring twice",
            id="no involution",
        ),
        pytest.param(GOOD + "kpt_names: [a]", "kpt_names: is .* expected a list of 2 names", id="too few names"),
        pytest.param(GOOD + "kpt_names: [a, a]", "kpt_names: has 'a' twice", id="a name twice"),
        pytest.param(
            GOOD + "kpt_names: {1: [a, b]}", r"kpt_names\[1\]: is for a class that is not there", id="class 1"
        ),
        pytest.param(GOOD + "kpt_names: {0: a, 1: b}", r"kpt_names\[0\]: is 'a', expected a list", id="names by index"),
        pytest.param(GOOD + "kpt_names: nose", "kpt_names: is 'nose', expected a list", id="one text"),
        pytest.param(
            GOOD.replace("[fox]", "[fox, owl]") + "kpt_names: {0: [a, b], 1: [a, c]}",
            r"kpt_names\[1\]: differs from that of another class",
            id="classes with other keypoints",
        ),
        # Classes
        pytest.param("train: x\nkpt_shape: [1, 3]", "names: is missing", id="no names"),
        pytest.param(GOOD + "nc: 2", "nc: is 2, but there are 1 names", id="another count"),
        pytest.param(GOOD + "nc: many", "nc: is 'many', expected the number", id="a count in words"),
        pytest.param(GOOD.replace("[fox]", "[]"), "names: is empty", id="empty names"),
        pytest.param(
            GOOD.replace("[fox]", "[no]"), r"names\[0\]: is False, expected a text. Put it in quotes", id="no"
        ),
        pytest.param(GOOD.replace("[fox]", "[a, a]"), "names: has 'a' twice", id="a class twice"),
        pytest.param(GOOD.replace("[fox]", "{0: a, 2: b}"), "has the indices 0, 2, expected 0 to 1", id="a hole"),
        pytest.param(GOOD.replace("[fox]", "{true: a}"), "has the indices True", id="an index that is no number"),
        pytest.param(GOOD.replace("[fox]", "fox"), "names: is 'fox', expected a list", id="one name"),
        # Images
        pytest.param("names: [a]\nkpt_shape: [1, 3]", "train: is missing, and so are val and test", id="no images"),
        pytest.param(GOOD.replace("images", "[1]"), r"train\[0\]: is 1, expected a folder", id="a number"),
        pytest.param(GOOD.replace("images", "{a: b}"), r"train\[0\]: is \{'a': 'b'\}, expected", id="a mapping"),
        pytest.param(GOOD.replace("images", '"a\\0b"'), r"train\[0\]: is 'a\\x00b', expected", id="a zero byte"),
        pytest.param(GOOD + "valid: images/valid", "valid: is not read by trainers either. Call it val", id="valid"),
        pytest.param(GOOD + "path: 3", "path: is 3, expected a folder", id="path"),
        # Our own block
        pytest.param(GOOD + "autolabel: 1", "autolabel: is 1, expected an object", id="our block is no mapping"),
        pytest.param(GOOD + "autolabel: {splits: [val]}", r"splits: is \['val'\], expected some of train", id="splits"),
        pytest.param(GOOD + "autolabel: {skeleton: {name: x}}", "skeleton: key 'keypoints' is missing", id="ours"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as raised:
        read(tmp_path, text)
    assert "data.yaml" in str(raised.value)


def test_the_file_is_found_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"has no data.yaml. Give the YAML file itself"):
        find_data_file(tmp_path)
    (tmp_path / "foxes.yml").touch()
    assert find_data_file(tmp_path) == tmp_path / "foxes.yml"
    (tmp_path / "owls.yaml").touch()
    with pytest.raises(FormatError, match=r"has several YAML files: foxes.yml, owls.yaml"):
        find_data_file(tmp_path)
    (tmp_path / "data.yaml").touch()
    assert find_data_file(tmp_path) == tmp_path / "data.yaml"
    assert find_data_file(tmp_path / "owls.yaml") == tmp_path / "owls.yaml"
