from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from autolabel.errors import ConfigError, ExistsError, FormatError, InputError
from autolabel.formats.labels import Aspect
from autolabel.formats.policy import ImagePolicy
from autolabel.formats.yolo_pose import ImageFiles, read_yolo_pose, write_yolo_pose
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from tests.autolabel.formats.yolo_sets import SIZE, image
from tests.doubles import Recorder

PAIR = Skeleton("pair", ("left_a", "right_a"), ((0, 1),), (1, 0), (0.05, 0.1), "test")
NAN = [np.nan, np.nan]


def sample(path: str = "a.png", *, image: dict[str, Any] | None = None, size: tuple[int, int] = SIZE, **given: Any):
    """An image with one pose and, where ``image`` gives any, attributes of its own."""
    base = {"xy": [[[25, 25], [75, 25]]], "visibility": [[2, 1]], "box": [[40, 15, 60, 35]]}
    base |= {"origin": [[Origin.IMPORTED] * 2]}
    return Sample("", "images", path, size, Poses.create(2, **(base | given)), attributes=image or {})


def write(folder: Path, *samples: Sample, **options: Any):
    options = {"image_files": ImageFiles.NONE, "policy": ImagePolicy.ALL} | options
    return write_yolo_pose(folder, samples, PAIR, **options)


def lines(folder: Path, name: str = "train/a.txt") -> list[str]:
    return (folder / "labels" / name).read_text().splitlines()


def test_the_data_set(tmp_path: Path) -> None:
    empty = replace(sample("deep/b.png"), poses=Poses.empty(2))
    written = write(tmp_path / "x", sample(), empty, header={"categories": [{"id": 1, "name": "fox"}]})
    assert (written.images, written.poses, written.lost) == (2, 1, {})
    assert lines(tmp_path / "x") == ["0 0.5 0.5 0.2 0.4 0.25 0.5 2 0.75 0.5 1"]
    assert lines(tmp_path / "x", "train/deep/b.txt") == []
    said = yaml.safe_load((tmp_path / "x/data.yaml").read_text())
    block = said.pop("autolabel")
    assert said == {
        "train": "images/train",
        "val": "images/train",
        "names": {0: "fox"},
        "kpt_shape": [2, 3],
        "flip_idx": [1, 0],
        "kpt_names": {0: ["left_a", "right_a"]},
    }
    assert Skeleton.from_dict(block["skeleton"]) == PAIR and block["splits"] == ["train"]


@pytest.mark.parametrize(
    ("pose", "line", "lost"),
    [
        pytest.param(
            {"visibility": [[3, 0]], "xy": [[NAN, NAN]]},
            "0 0.5 0.5 0.2 0.4 0 0 0 0 0 0",
            {Aspect.ABSENT: 1},
            id="absent and unlabelled",
        ),
        pytest.param(
            {"visibility": [[3, 0]]}, "0 0.5 0.5 0.2 0.4 0.25 0.5 0 0.75 0.5 0", {Aspect.ABSENT: 1}, id="with places"
        ),
        pytest.param(
            {"visibility": [[0, 0]], "xy": [[[0, 0], [-3, 2]]]},
            "0 0.5 0.5 0.2 0.4 0 0 0 0 0 0",
            {Aspect.PLACE: 1},
            id="places that cannot be said",
        ),
        pytest.param(
            {"xy": [[[0, 0], [100, 50]]]}, "0 0.5 0.5 0.2 0.4 0 0 2 1 1 1", {}, id="the corners are in the image"
        ),
        pytest.param(
            {"xy": [[[-0.5, 25], [100.5, 25]]]},
            "0 0.5 0.5 0.2 0.4 0 0 0 0 0 0",
            {Aspect.OUTSIDE: 2},
            id="outside the image",
        ),
        pytest.param(
            {"box": [[np.nan] * 4]},
            "0 0.505 0.51 0.51 0.02 0.25 0.5 2 0.75 0.5 1",
            {Aspect.BOXLESS: 1},
            id="without a box",
        ),
        pytest.param(
            {"box": [[np.nan] * 4], "xy": [[[25, 25], [200, 25]]]},
            "0 0.255 0.51 0.01 0.02 0.25 0.5 2 0 0 0",
            {Aspect.OUTSIDE: 1, Aspect.BOXLESS: 1},
            id="a made box holds no keypoint outside, and one keypoint has a box of a pixel",
        ),
        pytest.param(
            {"box": [[np.nan] * 4], "xy": [[[100, 50], NAN]], "visibility": [[2, 0]]},
            "0 0.995 0.99 0.01 0.02 1 1 2 0 0 0",
            {Aspect.BOXLESS: 1},
            id="a made box stays in the image",
        ),
        pytest.param(
            {"box": [[np.nan] * 4], "visibility": [[0, 0]], "xy": [[NAN, NAN]]},
            None,
            {Aspect.UNLABELLED: 1, Aspect.BOXLESS: 1},
            id="neither box nor keypoint",
        ),
        pytest.param(
            {"box": [[-80, 15, 20, 35]]}, "0 0.1 0.5 0.2 0.4 0.25 0.5 2 0.75 0.5 1", {Aspect.BOX: 1}, id="box outside"
        ),
        pytest.param({"crowd": [True]}, None, {Aspect.CROWD: 1}, id="a crowd"),
        pytest.param(
            {"attributes": [{"note": 1}]},
            "0 0.5 0.5 0.2 0.4 0.25 0.5 2 0.75 0.5 1",
            {Aspect.ATTRIBUTES: 1},
            id="a note",
        ),
        pytest.param(
            {"attributes": [{"difficult": 0, "seen": False}]},
            "0 0.5 0.5 0.2 0.4 0.25 0.5 2 0.75 0.5 1",
            {Aspect.ATTRIBUTES: 1},
            id="answers that are no",
        ),
    ],
)
def test_how_a_pose_is_written_and_what_is_lost(
    tmp_path: Path, pose: dict[str, Any], line: str | None, lost: dict[Aspect, int]
) -> None:
    written = write(tmp_path / "x", sample(**pose))
    assert lines(tmp_path / "x") == ([] if line is None else [line])
    assert written.lost == lost and written.poses == (line is not None)


def test_classes_keep_their_numbers(tmp_path: Path) -> None:
    def of(name: str) -> Any:
        return [{"coco": {"category": {"id": 9, "name": name}}}]

    header = {"categories": [{"id": 0, "name": "hen"}, {"id": 1, "name": "fox"}]}
    samples = sample("a.png", attributes=of("fox")), sample("b.png", attributes=of("owl"))
    write(tmp_path / "x", *samples, header=header)
    assert [lines(tmp_path / "x", f"train/{n}.txt")[0][0] for n in "ab"] == ["1", "2"]
    assert yaml.safe_load((tmp_path / "x/data.yaml").read_text())["names"] == {0: "hen", 1: "fox", 2: "owl"}


@pytest.mark.parametrize("files", [ImageFiles.LINK, ImageFiles.COPY])
def test_images_come_along(tmp_path: Path, files: ImageFiles) -> None:
    image(tmp_path / "photos/deep/a.png")
    options = {"image_files": files, "image_path": lambda s: tmp_path / "photos" / s.path}
    write(tmp_path / "x", sample("deep/a.png"), **options)
    made = tmp_path / "x/images/train/deep/a.png"
    assert made.read_bytes() == (tmp_path / "photos/deep/a.png").read_bytes()
    assert made.is_symlink() == (files is ImageFiles.LINK)
    assert read_yolo_pose(tmp_path / "x", tmp_path / "x").samples[0].size == SIZE
    with pytest.raises(InputError, match=r"b.png: is not there. Scan again, or give --image-files none"):
        write(tmp_path / "y", sample("b.png"), **options)
    assert not (tmp_path / "y").exists() and [p.name for p in tmp_path.iterdir()].count("x") == 1


def test_links_need_to_know_the_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="image_path: needs to know where the images lie"):
        write(tmp_path / "x", sample(), image_files=ImageFiles.LINK)


@pytest.mark.parametrize(
    ("path", "split", "name"),
    [
        ("a.jpg", "train", "a"),
        ("film/a.jpg", "val", "film/a"),
        ("images/val/a.jpg", "val", "a"),  # of a YOLO data set
        ("val/images/x/a.jpg", "val", "x/a"),  # of another layout
        ("images/train/a.jpg", "val", "images_/train/a"),  # it has changed sides
        ("x/images/labels/a.jpg", "train", "x/images_/labels_/a"),
        ("images", "train", "images"),
    ],
)
def test_labels_lie_where_every_tool_looks(tmp_path: Path, path: str, split: str, name: str) -> None:
    write(tmp_path / "x", sample(path, image={"split": split}))
    found = [file.relative_to(tmp_path / "x/labels").as_posix() for file in (tmp_path / "x/labels").rglob("*.txt")]
    assert found == [f"{split}/{name}.txt"]


def test_the_given_name_counts(tmp_path: Path) -> None:
    write(tmp_path / "x", sample(), file_name=lambda s: f"{s.root}/{s.path}")
    assert (tmp_path / "x/labels/train/images_/a.txt").is_file()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            [sample("f/a.png"), sample("f/a.jpg")],
            r"images/f/a.jpg: would share its labels with another image, .* a.txt",
        ),
        ([sample("a"), sample("a.txt/x/b.png")], r"images/a.txt/x/b.png: would share its labels with another image"),
        ([sample("../a.png")], r"\.\./a.png: leaves its folder"),
        ([sample("/a.png")], "/a.png: leaves its folder"),
        ([sample(size=(0, 0))], "a.png: has no size"),
        ([sample("x" * 255)], r"images/x{255}: has too long a name. YOLO's labels are called as the image, with .txt"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, samples: list[Sample], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        write(tmp_path / "x", *samples)
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_export_is_kept_or_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path / "x", sample("a.png"))
    with pytest.raises(ExistsError):
        write(tmp_path / "x", sample("b.png"))
    write(tmp_path / "x", sample("b.png"), overwrite=True)
    assert [file.name for file in (tmp_path / "x/labels/train").iterdir()] == ["b.txt"]


@pytest.mark.parametrize(
    ("splits", "stated", "note"),
    [
        (["train", "val"], {"train": "train", "val": "val"}, None),
        (["train"], {"train": "train", "val": "train"}, "No image is in val, which trainers require"),
        (["val"], {"train": "val", "val": "val"}, "No image is in train, which trainers require"),
        (["train", "val", "test"], {"train": "train", "val": "val", "test": "test"}, None),
        (["val", None], {"train": "train", "val": "val"}, "1 images state no split: they are in train"),
        (["val", "dev"], {"train": "train", "val": "val"}, None),
    ],
)
def test_splits_are_kept(tmp_path: Path, splits: list[str | None], stated: dict[str, str], note: str | None) -> None:
    samples = [sample(f"{i}.png", image={"split": s} if s else None) for i, s in enumerate(splits)]
    progress = Recorder()
    written = write(tmp_path / "x", *samples, progress=progress)
    said = yaml.safe_load((tmp_path / "x/data.yaml").read_text())
    assert {split: said[split] for split in ("train", "val", "test") if split in said} == {
        split: f"images/{folder}" for split, folder in stated.items()
    }
    assert note is None or any(note in told for told in progress.notes)
    assert (Aspect.IMAGE_ATTRIBUTES in written.lost) == ("dev" in splits)


def test_shares_divide_and_never_part_a_group(tmp_path: Path) -> None:
    samples = [replace(sample(f"{i}.png"), id=str(i), group=f"film {i // 5}") for i in range(100)]
    shares = {"train": 0.6, "val": 0.3, "test": 0.1}
    write(tmp_path / "x", *samples, shares=shares)
    where = {file.stem: file.parent.name for file in (tmp_path / "x/labels").rglob("*.txt")}
    assert len(where) == 100 and set(where.values()) == set(shares)
    assert all(len({where[str(5 * g + i)] for i in range(5)}) == 1 for g in range(20))
    with pytest.raises(ConfigError, match="'dev' is no split of a YOLO data set"):
        write(tmp_path / "y", *samples, shares={"train": 0.5, "dev": 0.5})


def test_ignore_regions_are_not_written_and_said_aloud(tmp_path: Path) -> None:
    poses = sample().poses
    both = Poses.concat([poses.replace(attributes=[{"state": "review"}]), poses])
    progress = Recorder()
    written = write(tmp_path / "x", replace(sample(), poses=both), policy=ImagePolicy.IGNORE_REGIONS, progress=progress)
    assert written.poses == 1 and written.lost[Aspect.CROWD] == 1
    assert any("1 crowd or ignore regions are not written" in note for note in progress.notes)
    written = write(tmp_path / "y", replace(sample(), poses=both), policy=ImagePolicy.COMPLETE)
    assert (written.images, written.left_out) == (0, 1)


def test_names_that_yaml_could_misread_come_back(tmp_path: Path) -> None:
    names = ("no", "1e3", "a: b", "ü #", "'\"", "\n", "~")
    skeleton = Skeleton("x", names, (), tuple(range(7)), (0.05,) * 7, "test")
    poses = Poses.create(
        7, xy=np.full((1, 7, 2), 5), visibility=np.full((1, 7), Visibility.VISIBLE), box=[[0, 0, 9, 9]]
    )
    image(tmp_path / "a.png")
    header = {"categories": [{"id": i, "name": name} for i, name in enumerate(("on", "2024-01-01", "null"))]}
    options = {"image_path": lambda s: tmp_path / s.path, "header": header}
    write_yolo_pose(tmp_path / "x", [Sample("", "images", "a.png", SIZE, poses)], skeleton, **options)
    back = read_yolo_pose(tmp_path / "x", tmp_path / "x")
    assert back.skeleton == skeleton and back.header == header
