import os
from pathlib import Path

import pytest

from autolabel.errors import FormatError
from autolabel.formats.yolo_data import read_data_file
from autolabel.formats.yolo_listing import labels_file, list_data_set
from tests.autolabel.formats.yolo_sets import LINE, data_set

REST = "names: [fox]\nkpt_shape: [2, 3]\n"


def listed(folder: Path, images: Path | None = None, split: str | None = None):
    return list_data_set(read_data_file(folder / "data.yaml"), images or folder, split)


def paths(folder: Path, images: Path | None = None, split: str | None = None) -> list[str]:
    return [image.path for image in listed(folder, images, split)[0]]


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/d/train/images/a.jpg", "/d/train/labels/a.txt"),
        ("/images/d/images/a.b.jpg", "/images/d/labels/a.b.txt"),  # the last one
        ("/images/d/a.jpg", "/labels/d/a.txt"),
        ("/d/train/a.jpg", "/d/train/a.txt"),  # beside it
        ("/d/my.images/a", "/d/my.images/a.txt"),
        ("/d/Images/a.jpg", "/d/Images/a.txt"),
    ],
)
def test_labels_lie_where_trainers_look(image: str, labels: str) -> None:
    assert labels_file(image) == labels


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("train: images/train\n", id="below the file's folder"),
        pytest.param("path: .\ntrain: images/train\n", id="path is here"),
        pytest.param("path: ../set\ntrain: images/train\n", id="path by its own name"),
        pytest.param("path: ../datasets/coco8-pose\ntrain: images/train\n", id="path of another machine"),
        pytest.param("path: /home/anna/foxes\ntrain: images/train\n", id="absolute path of another machine"),
        pytest.param("path: /home/anna/foxes\ntrain: /home/anna/foxes/images/train\n", id="all absolute"),
        pytest.param("path: C:\\foxes\ntrain: images\\train\n", id="Windows"),
        pytest.param("train: ../images/train\n", id="a step too far up, as Roboflow writes it"),
        pytest.param("train: [images/train]\n", id="a list of folders"),
        pytest.param("train: images/train/\n", id="a slash at the end"),
        pytest.param("train: {here}/images/train\n", id="absolute"),
        pytest.param("train: list.txt\n", id="a list of images"),
    ],
)
def test_where_the_images_are(tmp_path: Path, head: str) -> None:
    folder = data_set(
        tmp_path / "set",
        {"images/train/b.png": LINE, "images/train/sub/a.png": LINE},
        yaml=head.replace("{here}", str(tmp_path / "set")) + REST,
    )
    (folder / "list.txt").write_text("./images/train/b.png\r\n\nimages/train/sub/a.png\n")
    images, notes = listed(folder)
    assert [image.path for image in images] == ["images/train/b.png", "images/train/sub/a.png"]
    assert [image.labels for image in images] == [folder / "labels/train/b.txt", folder / "labels/train/sub/a.txt"]
    assert {image.split for image in images} == {"train"} and notes == []


def test_the_yaml_may_lie_elsewhere(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set", {"images/train/a.png": LINE})
    (tmp_path / "configs").mkdir()
    (folder / "data.yaml").rename(tmp_path / "configs/data.yaml")
    assert paths(tmp_path / "configs", folder) == ["images/train/a.png"]


def test_the_images_folder_may_be_below_or_above_the_data_sets(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set", {"images/train/a.png": LINE})
    assert paths(folder, tmp_path) == ["set/images/train/a.png"]
    (image,) = listed(folder, folder / "images")[0]
    assert image.path == "train/a.png" and image.labels == folder / "labels/train/a.txt"


def test_a_link_to_the_images_folder_is_followed(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set", {"images/train/a.png": LINE})
    (tmp_path / "link").symlink_to(folder)
    assert paths(folder, tmp_path / "link") == ["images/train/a.png"]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        pytest.param("train: ../other\n", "is .*/other, outside of the images folder", id="above"),
        pytest.param("train: {here}/../other\n", "is .*/other, outside of the images folder", id="absolute"),
        pytest.param("path: ../other\ntrain: .\nval: up.txt\n", "line 1: '../../other/o.png' does not lie", id="list"),
        pytest.param("train: images/none\n", "train: is 'images/none', which is not there. Looked below", id="missing"),
        pytest.param("train: images/train/a.png\n", "train: is .* neither a folder nor a .txt file", id="an image"),
        pytest.param("train: [images, none]\n", None, id="one of two missing is told"),
    ],
)
def test_nothing_outside_the_images_folder_is_read(tmp_path: Path, head: str, message: str | None) -> None:
    folder = data_set(
        tmp_path / "set",
        {"images/train/a.png": LINE, "../other/o.png": LINE},
        yaml=head.replace("{here}", str(tmp_path / "set")) + REST,
    )
    (folder / "up.txt").write_text("../../other/o.png\n")
    if message is None:
        assert "Left out: " in listed(folder)[1][0] and "train[1]: is 'none'" in listed(folder)[1][0]
        return
    with pytest.raises(FormatError, match=message):
        listed(folder)


@pytest.mark.parametrize("line", ["/etc/passwd", "../../../etc/passwd", "a\0b", ".", "./"])
def test_a_list_cannot_lead_out(tmp_path: Path, line: str) -> None:
    folder = data_set(tmp_path / "set", {}, yaml="train: list.txt\n" + REST)
    (folder / "list.txt").write_text(f"images/a.png\n{line}\n")
    with pytest.raises(FormatError, match=r"list.txt: line 2: .* does not lie below the images folder"):
        listed(folder)


def test_a_listed_image_need_not_be_there(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set", {}, yaml="train: list.txt\n" + REST)
    (folder / "list.txt").write_text("images/gone.png\n")
    assert paths(folder) == ["images/gone.png"]


def test_splits_are_told_apart(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set")
    assert [(image.path, image.split) for image in listed(folder)[0]] == [
        ("images/train/a.png", "train"),
        ("images/val/b.png", "val"),
    ]
    assert paths(folder, split="val") == ["images/val/b.png"]
    with pytest.raises(FormatError, match=r"test: is not stated\. Stated: train, val"):
        listed(folder, split="test")


def test_a_missing_split_is_told_and_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set", {"images/train/a.png": LINE})
    images, notes = listed(folder)
    assert len(images) == 1 and len(notes) == 1 and "val: is 'images/val', which is not there" in notes[0]
    with pytest.raises(FormatError, match="val: is 'images/val', which is not there"):
        listed(folder, split="val")


def test_an_image_of_two_splits_is_read_once(tmp_path: Path) -> None:
    yaml = "train: images\nval: images/val\n" + REST
    images, notes = listed(data_set(tmp_path / "set", yaml=yaml))
    assert [image.split for image in images] == ["train", "train"]
    assert notes == ["1 images stand in train and again in val; each is read once, as train."]


def test_two_images_may_not_share_their_labels(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set", {"images/train/a.png": LINE, "images/train/a.jpg": None})
    with pytest.raises(FormatError, match=r"labels/train/a.txt: are the labels of both .*a.jpg and .*a.png"):
        listed(folder)
    (folder / "labels/train/a.txt").unlink()
    assert len(paths(folder)) == 2  # two backgrounds


def test_labels_without_an_image_are_told(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set")
    for name in ("train/x.txt", "val/y.txt", "train/classes.csv"):
        (folder / "labels" / name).write_text(LINE)
    _, notes = listed(folder)
    assert notes == ["2 files of labels have no image and are left out, such as labels/train/x.txt."]
    assert "1 files" in listed(folder, split="val")[1][0]


def test_a_name_that_is_no_text_is_told(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set")
    with open(os.fsencode(folder / "images/train") + b"/\xff.png", "wb") as file:  # noqa: PTH123 - bytes
        file.write(b"x")
    images, notes = listed(folder)
    assert len(images) == 2
    assert notes == ["1 images left out, because their names are not valid UTF-8, such as 'images/train/\\udcff.png'."]


def test_links_that_go_round_end(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "set")
    (folder / "images/train/again").symlink_to(folder / "images/train")
    assert paths(folder) == ["images/train/a.png", "images/val/b.png"]
