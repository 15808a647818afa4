"""The round trips of DeepLabCut projects, held against other readers: sleap-io, and pandas as DeepLabCut uses it."""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sleap_io
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autolabel.errors import ConfigError, ExistsError, FormatError, InputError
from autolabel.formats.coco import read_coco
from autolabel.formats.deeplabcut import CANNOT, read_dlc, write_dlc
from autolabel.formats.labels import Aspect
from autolabel.formats.output import MARKER
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from tests.autolabel.formats.poses_strategies import TRIANGLE, K, samples

DATA = Path(__file__).parents[4] / "shared/data"


def as_deeplabcut_reads(csv: Path) -> pd.DataFrame:
    """The table as DeepLabCut's own conversion to HDF5 reads it."""
    head = csv.read_text(encoding="utf-8").splitlines()[:5]
    header = list(range(4 if "individuals" in head[1] else 3))
    index = [0, 1, 2] if head[-1].split(",")[0] == "labeled-data" else 0
    return pd.read_csv(csv, index_col=index, header=header)


def sample(path: str, *xy: Any, root: str = "", **fields: Any) -> Sample:
    places = np.array(xy, np.float32).reshape(-1, K, 2)
    labelled = np.where(np.isnan(places[..., 0]), Visibility.UNLABELLED, Visibility.VISIBLE)
    given = {"visibility": labelled, "origin": np.where(labelled, Origin.IMPORTED, Origin.NONE), **fields}
    return Sample("", root, path, (64, 48), Poses.create(K, xy=places, **given))


NAN = [np.nan, np.nan]

# Round trips.


@settings(max_examples=50, deadline=None)
@given(samples())
def test_what_a_project_can_hold_comes_back(wanted: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = write_dlc(Path(folder) / "out", wanted, TRIANGLE, policy=ImagePolicy.ALL)
        data = read_dlc(Path(folder) / "out")
    assert data.skeleton == TRIANGLE
    assert set(written.lost) <= CANNOT
    assert [sample.path for sample in data.samples] == [sample.path for sample in wanted]
    for mine, theirs in zip(wanted, data.samples, strict=True):
        poses = mine.poses.take(mine.poses.labelled.any(axis=1))
        assert len(poses) == len(theirs.poses)
        kept = poses.labelled
        assert (theirs.poses.labelled == kept).all()
        assert theirs.poses.xy[kept].tobytes() == poses.xy[kept].tobytes()
        assert np.isnan(theirs.poses.xy[~kept]).all()
        assert (theirs.poses.origin == np.where(kept, Origin.IMPORTED, Origin.NONE)).all()


paths = st.lists(
    st.lists(st.sampled_from(["a", "_", "%", "%5F", "a%2Fb", "b c", "é", "a.b"]), min_size=1, max_size=4).map("/".join),
    unique=True,
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(paths)
def test_every_path_comes_back(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        top, photographs = Path(folder) / "out", Path(folder) / "photographs"
        wanted = [sample(f"{name}/1.png", [[1, 2], NAN, NAN]) for name in names]
        for one in wanted:
            (photographs / one.path).parent.mkdir(parents=True, exist_ok=True)
            (photographs / one.path).touch()
        write_dlc(top, wanted, TRIANGLE, image_file=lambda one: photographs / one.path)
        got = read_dlc(top)
        assert sorted(one.path for one in got.samples) == sorted(one.path for one in wanted)
        linked = read_dlc(top, images=top)
        assert all((top / one.path).is_file() and one.path.startswith("labeled-data/") for one in linked.samples)
        source = read_dlc(top, images=photographs)
        assert sorted(one.path for one in source.samples) == sorted(one.path for one in wanted)


def test_a_project_without_images_comes_back(tmp_path: Path) -> None:
    write_dlc(tmp_path / "out", [], TRIANGLE, scorer="me")
    data = read_dlc(tmp_path / "out", images=tmp_path)
    assert (data.skeleton, data.samples, data.notes) == (TRIANGLE, [], ())
    assert data.header == {"deeplabcut": {"scorer": "me", "task": "triangle"}}
    with pytest.raises(FormatError, match="is only in one of the file and skeleton 'coco17'"):
        read_dlc(tmp_path / "out", skeleton=Skeleton.load("coco17"))
    (tmp_path / "out/autolabel.json").unlink()  # of another's project nobody knows the body parts
    with pytest.raises(FormatError, match="no folder in it holds"):
        read_dlc(tmp_path / "out")


def test_images_below_no_folder(tmp_path: Path) -> None:
    write_dlc(tmp_path / "out", [sample("1.png", [[1, 2], NAN, NAN])], TRIANGLE)
    assert (tmp_path / "out/labeled-data/_/CollectedData_autolabel.csv").is_file()
    assert read_dlc(tmp_path / "out").samples[0].path == "1.png"


def test_tracks_become_individuals_and_come_back(tmp_path: Path) -> None:
    a, b = [[1, 2], [3, 4], NAN], [[5, 6], NAN, [7, 8]]
    first = sample("v/1.png", a, b, attributes=[{"track": "mimi"}, {"track": "lulu"}])
    second = sample("v/2.png", b, attributes=[{"track": "lulu", "sex": "f"}])
    written = write_dlc(tmp_path / "out", [first, second], TRIANGLE)
    assert written.lost == {Aspect.ATTRIBUTES: 1}
    data = read_dlc(tmp_path / "out")
    assert [[dict(one) for one in found.poses.attributes] for found in data.samples] == [
        [{"track": "mimi"}, {"track": "lulu"}],
        [{"track": "lulu"}],
    ]
    assert data.samples[1].poses.xy[0, 2].tolist() == [7, 8]


@pytest.mark.parametrize(
    "tracks",
    [
        pytest.param(["mimi", "mimi"], id="one track twice in an image"),
        pytest.param(["mimi", None], id="a pose without a track"),
        pytest.param(["mimi", "single"], id="DeepLabCut's word for the scene"),
        pytest.param(["mimi", 7], id="not a text"),
    ],
)
def test_tracks_that_name_nobody_are_numbered(tmp_path: Path, tracks: list[Any]) -> None:
    poses = [[1, 2], NAN, NAN], [[5, 6], NAN, NAN]
    write_dlc(tmp_path / "out", [sample("v/1.png", *poses, attributes=[{"track": name} for name in tracks])], TRIANGLE)
    got = read_dlc(tmp_path / "out").samples[0].poses
    assert [one["track"] for one in got.attributes] == ["individual1", "individual2"]


# Other readers.


def project(folder: Path) -> Path:
    rows = [
        sample("v/img1.png", [[1.25, 2], [3, 4], NAN], [[5, 6], NAN, [0, 0]]),
        sample("v/img2.png"),
        sample("w/img10.png", [NAN, [1e-3, 123456.789], NAN]),
    ]
    for one in rows:
        (folder / "photographs" / one.path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48)).save(folder / "photographs" / one.path)
    write_dlc(folder / "out", rows, TRIANGLE, image_file=lambda one: folder / "photographs" / one.path, scorer="me")
    return folder / "out"


def test_sleap_io_reads_it(tmp_path: Path) -> None:
    labels = sleap_io.load_dlc_project(project(tmp_path) / "config.yaml")
    names = labels.skeletons[0].node_names
    assert names == sorted(TRIANGLE.keypoints)
    edges = {(edge.source.name, edge.destination.name) for edge in labels.skeletons[0].edges}
    assert edges == {("left_a", "b"), ("b", "right_a")}
    order = [names.index(name) for name in TRIANGLE.keypoints]
    got = {
        Path(frame.video.filename[frame.frame_idx]).name: [one.numpy()[order].tolist() for one in frame.instances]
        for frame in labels.labeled_frames
    }
    assert list(got) == ["img1.png", "img2.png", "img10.png"] and got["img2.png"] == []
    np.testing.assert_equal(got["img1.png"], [[[1.25, 2], [3, 4], NAN], [[5, 6], NAN, [0, 0]]])
    np.testing.assert_allclose(got["img10.png"][0][1], [1e-3, 123456.789], rtol=1e-7)
    assert [track.name for track in labels.tracks] == ["individual1", "individual2"]


def test_pandas_reads_it_as_deeplabcut_does(tmp_path: Path) -> None:
    frame = as_deeplabcut_reads(project(tmp_path) / "labeled-data/v/CollectedData_me.csv")
    assert frame.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
    assert frame.index.tolist() == ["labeled-data/v/img1.png", "labeled-data/v/img2.png"]
    assert frame[("me", "individual2", "left_a", "x")].tolist()[0] == 5
    assert frame.iloc[1].isna().all()


def test_the_configuration_names_what_deeplabcut_asks_for(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    config = yaml.safe_load((project(tmp_path) / "config.yaml").read_text(encoding="utf-8"))
    assert config["multianimalproject"] is True and config["individuals"] == ["individual1", "individual2"]
    assert config["multianimalbodyparts"] == list(TRIANGLE.keypoints) and config["scorer"] == "me"
    assert config["project_path"] == str(tmp_path / "out")
    # DeepLabCut finds the folders of labels by the names of the videos.
    assert [Path(video).stem for video in config["video_sets"]] == ["v", "w"]


def test_links_lead_to_the_images_and_repeats_are_refused(tmp_path: Path) -> None:
    link = project(tmp_path) / "labeled-data/v/img1.png"
    assert link.is_symlink() and link.resolve() == (tmp_path / "photographs/v/img1.png").resolve()
    twice = [sample("v/1.png", [[1, 2], NAN, NAN])] * 2
    with pytest.raises(FormatError, match=r"v/1\.png: is the path of two images"):
        write_dlc(tmp_path / "b", twice, TRIANGLE, image_file=lambda _: link)
    assert not (tmp_path / "b").exists()


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(InputError, match=r"gone/v/1.png: is not there. Scan again."):
        write_dlc(tmp_path / "out", [sample("v/1.png")], TRIANGLE, image_file=lambda one: gone / one.path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a\\b.png", "a\\b/c.png"])
def test_a_name_that_deeplabcut_would_bend(tmp_path: Path, path: str) -> None:
    with pytest.raises(FormatError, match="has a backslash in its path, which DeepLabCut takes for a slash"):
        write_dlc(tmp_path / "out", [sample(path, [[1, 2], NAN, NAN])], TRIANGLE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("attributes", "lost"),
    [
        ([{"track": "a"}, {"track": "b"}], {}),
        ([{"track": 0}, {"track": "b"}], {Aspect.ATTRIBUTES: 2}),  # no names of two, so they are numbered
        ([{"difficult": 0}, {"seen": False}], {Aspect.ATTRIBUTES: 2}),  # answers, though not many
        ([{"note": ""}, {"more": None}], {}),  # nothing was said
    ],
)
def test_attributes_that_are_lost(tmp_path: Path, attributes: list[Any], lost: dict[Aspect, int]) -> None:
    poses = [[1, 2], NAN, NAN], [[5, 6], NAN, NAN]
    written = write_dlc(tmp_path / "out", [sample("v/1.png", *poses, attributes=attributes)], TRIANGLE)
    assert written.lost == lost


def test_only_a_folder_of_ours_is_replaced(tmp_path: Path) -> None:
    out = project(tmp_path)
    with pytest.raises(ExistsError):
        write_dlc(out, [], TRIANGLE)
    write_dlc(out, [], TRIANGLE, overwrite=True)
    (out / MARKER).unlink()
    with pytest.raises(ExistsError):
        write_dlc(out, [], TRIANGLE, overwrite=True)


@pytest.mark.parametrize("scorer", ["", "a/b", "..\\x", "a\nb", 'a"b', "é" * 119])
def test_a_scorer_that_is_no_file_name(tmp_path: Path, scorer: str) -> None:
    with pytest.raises(ConfigError, match=r"scorer: .* cannot be part of a file's name"):
        write_dlc(tmp_path / "out", [], TRIANGLE, scorer=scorer)


def test_folders_too_deep_for_one_name(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="make too long a name"):
        write_dlc(tmp_path / "out", [sample("a/" * 130 + "1.png", [[1, 2], NAN, NAN])], TRIANGLE)


# DeepLabCut's own example projects.


@pytest.mark.parametrize("corpus", ["openfield", "reaching"])
@pytest.mark.parametrize("columns", [1, 3])
def test_example_projects(corpus: str, columns: int, tmp_path: Path) -> None:
    """A table made here by other means, of the COCO file that was made of DeepLabCut's own."""
    source = DATA / corpus / "annotations.json"
    if not source.is_file():
        pytest.skip(f"shared/data/{corpus} is not here")
    coco = json.loads(source.read_text())
    names = coco["categories"][0]["keypoints"]
    frame = pd.DataFrame(
        index=[f"labeled-data/{corpus}/{image['file_name']}" for image in coco["images"]],
        columns=pd.MultiIndex.from_product([["Mackenzie"], names, ["x", "y"]], names=["scorer", "bodyparts", "coords"]),
        dtype=float,
    )
    for annotation in coco["annotations"]:
        triples = np.array(annotation["keypoints"]).reshape(-1, 3)
        xy = np.where(triples[:, 2:] > 0, triples[:, :2], np.nan)
        frame.iloc[annotation["image_id"] - 1] = xy.reshape(-1)
    if columns == 3:
        frame.index = pd.MultiIndex.from_tuples([tuple(path.split("/")) for path in frame.index])
    table = tmp_path / "CollectedData_Mackenzie.csv"
    frame.to_csv(table)
    got, wanted = read_dlc(table), read_coco(source)
    assert got.skeleton.keypoints == tuple(names)
    assert {one.group for one in got.samples} == {corpus}
    for mine, theirs in zip(got.samples, wanted.samples, strict=True):
        assert mine.path == f"labeled-data/{corpus}/{theirs.path}"
        assert np.array_equal(mine.poses.xy, theirs.poses.xy, equal_nan=True)
        assert (mine.poses.visibility == theirs.poses.visibility).all()
    images = read_dlc(table, images=DATA / corpus / "images")
    assert [one.path for one in images.samples] == [one.path for one in wanted.samples]


def test_nothing_is_shifted_against_sleap_io(tmp_path: Path) -> None:
    """sleap-io, whose pixels have their centres at integers, reads the same numbers."""
    folder = tmp_path / "labeled-data/v"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    table = folder / "CollectedData_S.csv"
    table.write_text("scorer,S,S\nbodyparts,nose,nose\ncoords,x,y\nlabeled-data/v/a.png,3,4.5\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sleap_io.load_dlc(table).labeled_frames[0].instances[0].numpy()
    assert read_dlc(table).samples[0].poses.xy[0].tolist() == theirs.tolist() == [[3, 4.5]]


def test_a_skeleton_that_the_user_gives(tmp_path: Path) -> None:
    coco = Skeleton.load("coco17")
    parts = list(reversed(coco.keypoints))
    table = tmp_path / "CollectedData_S.csv"
    columns = [(part, coord) for part in parts for coord in "xy"]
    header = [["scorer", *["S"] * 34], ["bodyparts", *(p for p, _ in columns)], ["coords", *(c for _, c in columns)]]
    rows = [*header, ["a.png", *(str(i // 2) for i in range(34))]]
    table.write_text("\n".join(",".join(row) for row in rows))
    data = read_dlc(table, skeleton=coco)
    assert data.skeleton == coco and data.samples[0].poses.xy[0, :, 0].tolist() == list(reversed(range(17)))
    with pytest.raises(FormatError, match="is only in one of the file and skeleton 'triangle'"):
        read_dlc(table, skeleton=TRIANGLE)
