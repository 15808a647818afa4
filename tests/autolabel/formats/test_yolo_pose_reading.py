from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import FormatError
from autolabel.formats.labels import UNKNOWN_SIZE
from autolabel.formats.yolo_pose import WhichSplit, read_yolo_pose
from autolabel.poses import Origin, Visibility
from autolabel.skeleton import Skeleton
from tests.autolabel.formats.yolo_sets import LINE, SIZE, YAML, data_set, image

ONE = YAML.replace("val: images/val\n", "")


def one(folder: Path, line: str | bytes | None, yaml: str = ONE, **options: object):
    data_set(folder, {"images/train/a.png": line}, yaml=yaml)
    return read_yolo_pose(folder, folder, **options)  # type: ignore[arg-type]


def test_a_line_is_a_pose(tmp_path: Path) -> None:
    labels = read_yolo_pose(data_set(tmp_path) / "data.yaml", tmp_path)
    sample = labels.samples[0]
    assert (sample.path, sample.size, sample.attributes) == ("images/train/a.png", SIZE, {"split": "train"})
    assert (sample.id, sample.root) == ("", "")
    poses = sample.poses
    assert poses.xy.tolist() == [[[25, 25], [75, 25]]]
    assert poses.visibility.tolist() == [[Visibility.VISIBLE, Visibility.HIDDEN]]
    assert poses.origin.tolist() == [[Origin.IMPORTED] * 2]
    assert poses.box.tolist() == [[40, 15, 60, 35]]
    assert np.isnan(poses.score).all() and np.isnan(poses.box_score).all() and not poses.crowd.any()
    assert poses.attributes == ({"coco": {"category": {"id": 0, "name": "fox"}}},)
    assert labels.skeleton.keypoints == ("nose", "tail") and labels.skeleton.name == "fox"
    assert labels.header == {"categories": [{"id": 0, "name": "fox"}]}
    assert labels.samples[1].attributes == {"split": "val"}


@pytest.mark.parametrize(
    ("keypoints", "xy", "visibility"),
    [
        pytest.param("0 0 0 0.5 0.5 0", [[np.nan] * 2, [50, 25]], [0, 0], id="a place beside v=0 is kept"),
        pytest.param("0 0 2 0.5 0.5 1", [[0, 0], [50, 25]], [2, 1], id="the corner is a place like any other"),
        pytest.param("-0.1 0.5 2 1.25 0.5 2", [[-10, 25], [125, 25]], [2, 2], id="outside the image"),
    ],
)
def test_visibility(tmp_path: Path, keypoints: str, xy: object, visibility: object) -> None:
    labels = one(tmp_path, f"0 0.5 0.5 0.2 0.4 {keypoints}")
    poses = labels.samples[0].poses
    np.testing.assert_array_equal(poses.xy[0], np.array(xy, np.float32))
    assert poses.visibility.tolist() == [visibility]
    assert poses.origin.tolist() == [[Origin.IMPORTED if v else Origin.NONE for v in visibility]]  # type: ignore[attr-defined]
    assert any("2 keypoints lie outside their image" in note for note in labels.notes) == ("1.25" in keypoints)


def test_without_visibility_zero_is_unlabelled(tmp_path: Path) -> None:
    labels = one(tmp_path, "0 0.5 0.5 0.2 0.4 0 0 0.5 0.5", ONE.replace("[2, 3]", "[2, 2]"))
    assert labels.samples[0].poses.visibility.tolist() == [[Visibility.UNLABELLED, Visibility.VISIBLE]]
    assert np.isnan(labels.samples[0].poses.xy[0, 0]).all()
    assert any("keypoints at 0 0 are unlabelled" in note for note in labels.notes)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_is_measured_upright(tmp_path: Path, orientation: int) -> None:
    data_set(tmp_path, {}, yaml=ONE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image(tmp_path / "images/train/a.jpg", exif=exif.tobytes())
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text(LINE)
    sample = read_yolo_pose(tmp_path, tmp_path).samples[0]
    width, height = sample.size
    assert sample.size == (SIZE if orientation < 5 else SIZE[::-1])
    assert sample.poses.xy[0].tolist() == [[width / 4, height / 2], [3 * width / 4, height / 2]]


def test_classes_stay_with_their_poses(tmp_path: Path) -> None:
    yaml = ONE.replace("[fox]", "{0: fox, 1: owl}").replace("{0: [nose, tail]}", "[nose, tail]")
    labels = one(tmp_path, f"{LINE}\n{LINE.replace('0 ', '1 ', 1)}\n", yaml)
    names = [attributes["coco"]["category"]["name"] for attributes in labels.samples[0].poses.attributes]
    assert names == ["fox", "owl"] and labels.skeleton.name == "yolo"
    assert "Poses of all classes are read: fox, owl." in labels.notes


@pytest.mark.parametrize("empty", ["", "\n \n", None])
def test_an_image_without_labels_is_one_without_people(tmp_path: Path, empty: str | None) -> None:
    labels = read_yolo_pose(data_set(tmp_path, {"images/train/a.png": empty, "images/train/b.png": LINE}), tmp_path)
    assert [len(sample.poses) for sample in labels.samples] == [0, 1]
    assert labels.samples[0].size == SIZE
    told = [note for note in labels.notes if "have no file of labels" in note]
    assert len(told) == (empty is None)


def test_no_labels_at_all_are_a_mistake(tmp_path: Path) -> None:
    folder = data_set(tmp_path, {"images/train/a.png": None, "images/train/b.png": None})
    with pytest.raises(FormatError, match=r"labels/train/a.txt: is not there, and neither are .* other 1 images"):
        read_yolo_pose(folder, folder)


def test_wrong_lines_are_told_together_and_nothing_is_given_out(tmp_path: Path) -> None:
    bad = {f"images/train/{i}.png": f"{LINE}\n0 1\n{LINE} 0.5\n" for i in range(5)}
    folder = data_set(tmp_path, bad)
    with pytest.raises(FormatError) as raised:
        read_yolo_pose(folder, folder)
    assert f"{folder}/labels/train/0.txt: line 2: has 2 fields, expected 11." in str(raised.value)
    assert f"9 more lines are wrong: {folder}/labels/train/0.txt: line 3; " in str(raised.value)


def test_what_is_odd_but_plain_is_told(tmp_path: Path) -> None:
    labels = one(tmp_path, f"{LINE}\n{LINE}\n0 1.2 0.5 0.2 0.4 0.1 0.1 2 0.2 0.2 2\n")
    assert len(labels.samples[0].poses) == 2
    told = " ".join(labels.notes)
    assert "1 lines say the same as another line of their file" in told
    assert "1 boxes have a number outside 0..1" in told and "labels/train/a.txt" in told


@pytest.mark.parametrize("broken", ["missing", "damaged", "dangling"])
def test_an_image_that_cannot_be_measured_keeps_its_count_of_poses(tmp_path: Path, broken: str) -> None:
    folder = data_set(tmp_path, yaml="train: list.txt\nval: images/val\n" + YAML.split("\n", 2)[2])
    (folder / "list.txt").write_text("images/train/a.png\n")
    picture = folder / "images/train/a.png"
    picture.unlink()
    if broken == "damaged":
        picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    elif broken == "dangling":
        picture.symlink_to("nowhere.png")
    sample = read_yolo_pose(folder, folder).samples[0]
    assert sample.size == UNKNOWN_SIZE and len(sample.poses) == 1
    assert np.isnan(sample.poses.xy).all() and np.isnan(sample.poses.box).all()
    assert not sample.poses.visibility.any()


def test_the_users_skeleton_names_the_keypoints(tmp_path: Path) -> None:
    yaml = ONE.replace("kpt_names: {0: [nose, tail]}\n", "")
    given = Skeleton("pair", ("a", "b"), (), (0, 1), (0.1, 0.1), "test")
    assert one(tmp_path, LINE, yaml, skeleton=given).skeleton == given
    with pytest.raises(FormatError, match=r"line 1.field 8 \(a v\): is 5"):
        one(tmp_path, LINE.replace(" 2 ", " 5 "), yaml, skeleton=given)


def test_one_split_alone(tmp_path: Path) -> None:
    labels = read_yolo_pose(data_set(tmp_path), tmp_path, split=WhichSplit.VAL)
    assert [sample.path for sample in labels.samples] == ["images/val/b.png"]


def test_the_digest_is_of_all_that_was_read(tmp_path: Path) -> None:
    folder = data_set(tmp_path)
    digests = [read_yolo_pose(folder, folder).digest for _ in range(2)]
    (folder / "labels/val/b.txt").write_text(LINE.replace("0.25", "0.26"))
    digests.append(read_yolo_pose(folder, folder).digest)
    (folder / "data.yaml").write_text(YAML + "# more\n")
    digests.append(read_yolo_pose(folder, folder).digest)
    image(folder / "images/val/c.png")
    digests.append(read_yolo_pose(folder, folder).digest)
    assert digests[0] == digests[1] and len(set(digests)) == 4


def test_labels_that_are_no_file_are_refused(tmp_path: Path) -> None:
    folder = data_set(tmp_path, {"images/train/a.png": None, "images/train/b.png": LINE})
    (folder / "labels/train/a.txt").mkdir()
    with pytest.raises(FormatError, match=r"a\.txt: is not a file"):
        read_yolo_pose(folder, folder)
