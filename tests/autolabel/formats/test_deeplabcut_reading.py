"""What DeepLabCut's users have on their disks, and what is wrong with it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.errors import FormatError, InputError
from autolabel.formats.deeplabcut import read_dlc
from autolabel.formats.labels import Labels
from autolabel.poses import Origin, Visibility

SINGLE = "scorer,S,S,S,S\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"
MULTI = (
    "scorer,,,S,S,S,S,S,S\nindividuals,,,a,a,b,b,single,single\n"
    "bodyparts,,,nose,nose,nose,nose,cup,cup\ncoords,,,x,y,x,y,x,y\n"
)


def read(folder: Path, text: str, **options: str | Path) -> Labels:
    path = folder / "CollectedData_S.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return read_dlc(path, **options)


def test_single_animal(tmp_path: Path) -> None:
    rows = "labeled-data/v/1.png,1.5,2,,\nlabeled-data/v/2.png,,,,\nlabeled-data/v/3.png,0,0,-3,700\n"
    data = read(tmp_path, SINGLE + rows)
    assert data.skeleton.keypoints == ("nose", "tail") and data.skeleton.sigmas_guessed
    assert data.header == {"deeplabcut": {"scorer": "S", "task": ""}}
    first, second, third = data.samples
    assert (first.path, first.group, first.size) == ("labeled-data/v/1.png", "v", (0, 0))
    assert first.poses.xy[0, 0].tolist() == [1.5, 2] and np.isnan(first.poses.xy[0, 1]).all()
    assert first.poses.visibility.tolist() == [[Visibility.VISIBLE, Visibility.UNLABELLED]]
    assert first.poses.origin.tolist() == [[Origin.IMPORTED, Origin.NONE]]
    assert np.isnan(first.poses.score).all() and dict(first.poses.attributes[0]) == {}
    assert len(second.poses) == 0
    assert third.poses.xy.tolist() == [[[0, 0], [-3, 700]]]  # places like any other
    assert data.notes == (
        "1 keypoints lie at (0, 0): a place here, but old projects wrote it for missing ones.",
        "1 images without a labelled keypoint: they come in as images without animals.",
    )


def test_several_animals_and_the_scene(tmp_path: Path) -> None:
    data = read(tmp_path, MULTI + "labeled-data,v,1.png,,,3,4,9,9\nlabeled-data,v,2.png,1,2,3,4,,\n")
    assert data.skeleton.keypoints == ("nose",)
    assert [one.poses.xy[:, 0].tolist() for one in data.samples] == [[[3, 4]], [[1, 2], [3, 4]]]
    assert [[one["track"] for one in found.poses.attributes] for found in data.samples] == [["b"], ["a", "b"]]
    assert data.notes == ("1 unique body parts left out: they are points of the scene, not of an animal.",)


def test_an_animal_that_is_called_single_stays(tmp_path: Path) -> None:
    header = "scorer,S,S,S,S\nindividuals,single,single,b,b\nbodyparts,nose,nose,nose,nose\ncoords,x,y,x,y\n"
    assert len(read(tmp_path, header + "1.png,1,2,3,4\n").samples[0].poses) == 2


def test_a_network_s_labels_keep_their_likelihood(tmp_path: Path) -> None:
    header = "scorer,D,D,D\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\n"
    poses = read(tmp_path, header + "labeled-data/v/1.png,1,2,0.75\n").samples[0].poses
    assert poses.score.tolist() == [[0.75]] and poses.origin.tolist() == [[Origin.MODEL]]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SINGLE + "labeled-data\\v\\1.png,1,2,3,4\n", id="paths of Windows"),
        pytest.param(SINGLE + "C:\\Users\\me\\p\\labeled-data\\v\\1.png,1,2,3,4\n", id="absolute paths of Windows"),
        pytest.param(SINGLE + "/home/me/p/labeled-data/v/1.png,1,2,3,4\n", id="absolute paths"),
        pytest.param("\ufeff" + SINGLE.replace("\n", "\r\n") + 'labeled-data/v/1.png," 1 ",+2.,3e0,4\r\n', id="Excel"),
        pytest.param(SINGLE + "\nlabeled-data/v/1.png,1,2,3,4\n,,,,\n", id="empty lines"),
        pytest.param(
            SINGLE.replace("scorer,", "scorer,,,").replace("parts,", "parts,,,").replace("coords,", "coords,,,")
            + "labeled-data,v,1.png,1,2,3,4\n",
            id="a path in three columns",
        ),
    ],
)
def test_dialects(tmp_path: Path, text: str) -> None:
    (found,) = read(tmp_path, text).samples
    assert (found.path, found.group, found.poses.xy.tolist()) == ("labeled-data/v/1.png", "v", [[[1, 2], [3, 4]]])


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "NA", "<NA>", "None"])
def test_missing_numbers(tmp_path: Path, cell: str) -> None:
    assert np.isnan(read(tmp_path, SINGLE + f"1.png,1,2,{cell},{cell}\n").samples[0].poses.xy[0, 1]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: begins with '', expected 'scorer'. DeepLabCut's tables begin"),
        ("image,x,y\n", "line 1: begins with 'image', expected 'scorer'"),
        ("scorer,S,S\ncoords,x,y\n", "line 2: begins with 'coords', expected 'individuals' or 'bodyparts'"),
        ("scorer,S,S\nbodyparts,a,a\n", "line 3: begins with '', expected 'coords'"),
        ("scorer,S,S\nbodyparts,a,a,b\ncoords,x,y\n", "line 2: has 4 cells, the first row has 3"),
        ("scorer\nbodyparts\ncoords\n", "coords: has no point"),
        ("scorer,,S,S\nbodyparts,,a,a\ncoords,,x,y\n", "coords: has 2 columns before the first point"),
        ("scorer,S,S\nbodyparts,a,a\ncoords,x,z\n", "coords.a: is 'z', expected x, y or likelihood"),
        ("scorer,S,S\nbodyparts,a,a\ncoords,x,x\n", "bodyparts.a: stands twice with x"),
        ("scorer,S,S,S\nbodyparts,a,a,b\ncoords,x,y,x\n", "coords.b: has no y"),
        ("scorer,S,S\nbodyparts,,\ncoords,x,y\n", "bodyparts: has an empty name"),
        (
            "scorer,S,S,S,S\nindividuals,a,a,b,b\nbodyparts,nose,nose,ear,ear\ncoords,x,y,x,y\n",
            "bodyparts.b ear: differs: 'a' and 'b' have different parts",
        ),
        (SINGLE + "1.png,1,2,3\n", "line 4: has 4 cells, the header has 5"),
        (SINGLE + "1.png,1,x,3,4\n", "line 4.nose y: is 'x', expected a number or nothing"),
        (SINGLE + "1.png,1,inf,3,4\n", "line 4.nose y: is 'inf', expected a number or nothing"),
        (SINGLE + "1.png,1,1_0,3,4\n", "line 4.nose y: is '1_0', expected a number or nothing"),
        (SINGLE + "1.png,1,1e39,3,4\n", "line 4.nose y: is not a finite number in single precision"),
        (SINGLE + "1.png,1,2,,4\n", "line 4.tail: has one coordinate and no other"),
        (SINGLE + f"1.png,{'1' * 100_000}x,2,3,4\n", "line 4.nose x: is '1111"),
        (SINGLE + "17,1,2,3,4\n", "line 4.image: is the number 17 of a video's frame, not an image"),
        (SINGLE + "../1.png,1,2,3,4\n", "line 4.image: is '../1.png', expected a path below the folder"),
        (SINGLE + "labeled-data/../../1.png,1,2,3,4\n", "line 4.image: is 'labeled-data/../../1.png', expected"),
        (SINGLE + "1.png,1,2,3,4\n./1.png,1,2,3,4\n", "line 5.image: is '1.png', the image of line 4"),
        (SINGLE + '"1.png,1,2,3,4\n', "line 4: is not CSV: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'CollectedData_S.csv'}: {message}")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "CollectedData_S.csv"
    path.write_bytes(SINGLE.encode() + b"\xff.png,1,2,3,4\n")
    with pytest.raises(FormatError, match="is not UTF-8 at byte"):
        read_dlc(path)


# Projects.


def project(folder: Path, *, config: str = "Task: mice\nscorer: S\nskeleton:\n- [nose, tail]\n") -> Path:
    for video, rows in (("v", "1.png,1,2,3,4\n"), ("w", "2.png,5,6,7,8\n")):
        place = folder / "labeled-data" / video
        place.mkdir(parents=True)
        (place / "CollectedData_S.csv").write_text(SINGLE + f"labeled-data/{video}/{rows}")
        (place / rows.split(",")[0]).touch()
    if config:
        (folder / "config.yaml").write_text(config)
    return folder


@pytest.mark.parametrize("src", ["", "config.yaml", "labeled-data"])
def test_a_project(tmp_path: Path, src: str) -> None:
    data = read_dlc(project(tmp_path) / src)
    assert (data.skeleton.name, data.skeleton.edges) == ("mice", ((0, 1),))
    assert [(one.path, one.group) for one in data.samples] == [
        ("labeled-data/v/1.png", "v"),
        ("labeled-data/w/2.png", "w"),
    ]


@pytest.mark.parametrize("src", ["labeled-data/w", "labeled-data/w/CollectedData_S.csv"])
def test_a_part_of_a_project_has_its_edges(tmp_path: Path, src: str) -> None:
    data = read_dlc(project(tmp_path) / src)
    assert [one.path for one in data.samples] == ["labeled-data/w/2.png"] and data.skeleton.edges == ((0, 1),)


@pytest.mark.parametrize(
    ("images", "paths"),
    [
        ("", ["labeled-data/v/1.png", "labeled-data/w/2.png"]),
        ("labeled-data", ["v/1.png", "w/2.png"]),
        ("elsewhere", ["labeled-data/v/1.png", "labeled-data/w/2.png"]),  # nothing is there: the import says so
    ],
)
def test_the_folder_of_the_images(tmp_path: Path, images: str, paths: list[str]) -> None:
    assert [one.path for one in read_dlc(project(tmp_path), images=tmp_path / images).samples] == paths


def test_a_name_that_no_file_has(tmp_path: Path) -> None:
    name = "x" * 300 + ".png"
    (found,) = read(tmp_path, SINGLE + f"labeled-data/v/{name},1,2,3,4\n", images=tmp_path).samples
    assert found.path == f"labeled-data/v/{name}"


def test_one_missing_image_moves_no_label(tmp_path: Path) -> None:
    """sleap-io 0.9.5 gives the labels of the next image to each image after a missing one."""
    folder = tmp_path / "labeled-data/v"
    folder.mkdir(parents=True)
    rows = "".join(f"labeled-data/v/{i}.png,{i},{i},{i},{i}\n" for i in (1, 2, 3))
    for i in (2, 3):
        (folder / f"{i}.png").touch()
    (folder / "CollectedData_S.csv").write_text(SINGLE + rows)
    got = read_dlc(tmp_path, images=tmp_path).samples
    assert [(one.path, one.poses.xy[0, 0, 0]) for one in got] == [(f"labeled-data/v/{i}.png", i) for i in (1, 2, 3)]


def test_body_parts_in_another_order_are_put_in_order(tmp_path: Path) -> None:
    project(tmp_path)
    other = SINGLE.replace("nose,nose,tail,tail", "tail,tail,nose,nose")
    (tmp_path / "labeled-data/w/CollectedData_S.csv").write_text(other + "labeled-data/w/2.png,7,8,5,6\n")
    assert read_dlc(tmp_path).samples[1].poses.xy.tolist() == [[[5, 6], [7, 8]]]


def test_the_project_s_scorer_is_chosen_and_folders_without_labels_are_told(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "labeled-data/v/CollectedData_other.csv").write_text("damaged")
    (tmp_path / "labeled-data/x").mkdir()
    (tmp_path / "labeled-data/v_labeled").mkdir()
    data = read_dlc(tmp_path)
    assert len(data.samples) == 2 and data.notes == ("1 folders without labels left out, such as x.",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labeled-data/w/CollectedData_S.csv": SINGLE.replace("tail", "ear")}, "bodyparts: has 'ear', unlike"),
        ({"labeled-data/w/CollectedData_T.csv": "", "config.yaml": "Task: t"}, "w: holds several tables: Coll"),
        ({"labeled-data/x/CollectedData_S.h5": ""}, "x: holds labels only as HDF5 with pickled objects. Give the CSV"),
        ({"config.yaml": "skeleton: [nose"}, "config.yaml: is not YAML: "),
        ({"config.yaml": "- 1"}, "config.yaml: is not a mapping"),
        ({"config.yaml": "skeleton: nose"}, "config.yaml: skeleton: is not a list of pairs"),
        ({"config.yaml": "skeleton: [nose]"}, "config.yaml: skeleton[0]: is not a pair of body parts"),
        ({"config.yaml": "skeleton: [[nose, [tail]]]"}, "config.yaml: skeleton[0]: does not name body parts"),
        ({"config.yaml": "Task: !!python/object/apply:os.getcwd []"}, "config.yaml: line 1: YAML tags are not read"),
        ({"config.yaml": "[" * 5000}, "config.yaml: line 1: is nested more than 20 deep"),
        ({"autolabel.json": "{}"}, "autolabel.json: skeleton: is missing"),
        ({"autolabel.json": '{"skeleton": {}}'}, "autolabel.json: skeleton: key 'name' is missing"),
    ],
)
def test_what_is_wrong_with_a_project_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    project(tmp_path)
    for name, text in change.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(FormatError) as caught:
        read_dlc(tmp_path)
    assert message in str(caught.value) and str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CollectedData_S.h5", "is HDF5 with pickled objects, which are not read. Give the CSV"),
        ("nothing.csv", "does not exist"),
        ("", "holds neither"),
    ],
)
def test_what_is_no_project(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_dlc(tmp_path / name)


GOOD = (MULTI + "labeled-data,v,1.png,,,3,4,9,9\nlabeled-data,v,2.png,1,2,3,4,,\n").encode()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.sampled_from(b',\n"\\\x00\xff.e-/1an ')), max_size=6))
def test_damage_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, byte in damage:
        data[place] = byte
    path = tmp_path_factory.getbasetemp() / "CollectedData_S.csv"
    path.write_bytes(data)
    try:
        read_dlc(path)
    except InputError as error:
        assert error.subject == str(path)
