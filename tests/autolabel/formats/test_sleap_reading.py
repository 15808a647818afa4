"""Label files as SLEAP's users have them, made by sleap-io, and what can be wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import sleap_io
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autolabel.errors import FormatError
from autolabel.formats.sleap import read_sleap
from autolabel.formats.sleap_paths import FRAME
from autolabel.poses import Origin, Visibility
from autolabel.skeleton import Skeleton

NODES = ["nose", "left_ear", "right_ear"]
NAN = [np.nan, np.nan]
PLACES = np.array([[1.5, 2], NAN, [3, 4]])


def skeleton(**changes: Any) -> Any:
    return sleap_io.Skeleton(
        **{"nodes": list(NODES), "edges": [("nose", "left_ear")], "symmetries": [("left_ear", "right_ear")], **changes}
    )


MOUSE = skeleton(name="mouse")


def images_of(*names: str) -> Any:
    return sleap_io.Video(
        filename=list(names),
        open_backend=False,
        backend_metadata={"type": "ImageVideo", "filename": names[0], "filenames": list(names), "shape": None},
    )


def film(name: str) -> Any:
    metadata = {"type": "MediaVideo", "filename": name, "shape": [100, 48, 64, 3]}
    return sleap_io.Video(filename=name, open_backend=False, backend_metadata=metadata)


def user(places: Any = PLACES, **fields: Any) -> Any:
    return sleap_io.Instance.from_numpy(np.array(places), **{"skeleton": MOUSE, **fields})


def prediction(places: Any = PLACES, score: float = 0.75, **fields: Any) -> Any:
    given = {"skeleton": MOUSE, "point_scores": np.array([0.5, 0.25, 0.125]), **fields}
    return sleap_io.PredictedInstance.from_numpy(np.array(places), score=score, **given)


def save(path: Path, *frames: Any, **fields: Any) -> Path:
    labels = sleap_io.Labels(labeled_frames=list(frames), **fields)
    sleap_io.save_slp(labels, str(path), embed=False, verbose=False)
    return path


def frame(video: Any, number: int, *instances: Any, **fields: Any) -> Any:
    return sleap_io.LabeledFrame(video=video, frame_idx=number, instances=list(instances), **fields)


# Values.


def test_a_user_s_labels(tmp_path: Path) -> None:
    video = images_of("a/1.png", "a/2.png", "a/3.png")
    instance = user(track=sleap_io.Track("mimi"))
    instance.points["visible"] = [True, True, False]  # a point without a place counts as visible in some files
    data = read_sleap(save(tmp_path / "a.slp", frame(video, 2, instance), frame(video, 0, is_negative=True)))
    assert data.skeleton.keypoints == tuple(NODES) and data.skeleton.name == "mouse"
    assert data.skeleton.edges == ((0, 1),) and data.skeleton.flip == (0, 2, 1) and data.skeleton.sigmas_guessed
    second, first = data.samples
    assert (second.path, second.group, second.size, first.path) == ("a/3.png", "a", (0, 0), "a/1.png")
    pose = second.poses[0]
    assert pose.xy[0].tolist() == [1.5, 2] and np.isnan(pose.xy[1]).all()
    assert pose.xy[2].tolist() == [3, 4]  # not visible: a place that nobody vouches for
    assert pose.visibility.tolist() == [Visibility.VISIBLE, Visibility.UNLABELLED, Visibility.UNLABELLED]
    assert pose.origin.tolist() == [Origin.IMPORTED, Origin.NONE, Origin.NONE]
    assert np.isnan(pose.score).all() and np.isnan(pose.box_score) and dict(pose.attributes) == {"track": "mimi"}
    assert len(first.poses) == 0 and data.notes == ("1 images that are in no labelled frame left out.",)


def test_predictions_of_a_frame_that_nobody_labelled(tmp_path: Path) -> None:
    pose = read_sleap(save(tmp_path / "a.slp", frame(images_of("1.png"), 0, prediction()))).samples[0].poses[0]
    assert pose.origin.tolist() == [Origin.MODEL, Origin.NONE, Origin.MODEL]
    assert pose.score.tolist() == [0.5, 0.25, 0.125] and pose.box_score == 0.75


@pytest.mark.parametrize("tracked", [False, True])
def test_a_prediction_goes_where_a_user_s_instance_was_made_of_it(tmp_path: Path, tracked: bool) -> None:
    mine, other = prediction(), prediction(PLACES + 10)
    corrected = user([[1.5, 2], [5, 6], [30, 4]])
    corrected.from_predicted = mine
    if tracked:  # sleap-io's own notion of an unused prediction forgets the link once there are tracks
        other.track = sleap_io.Track("lulu")
    (found,) = read_sleap(save(tmp_path / "a.slp", frame(images_of("1.png"), 0, mine, other, corrected))).samples
    assert found.poses.xy[:, 0].tolist() == [[11.5, 12], [1.5, 2]]
    assert found.poses.origin[:, 0].tolist() == [Origin.MODEL, Origin.IMPORTED]
    # The network's score is of its own place: not of a keypoint that was moved or added.
    assert found.poses.score[1, 0] == 0.5 and np.isnan(found.poses.score[1, 1:]).all()
    assert np.isnan(found.poses.box_score[1])


def test_a_prediction_goes_where_a_user_s_instance_has_its_track(tmp_path: Path) -> None:
    track = sleap_io.Track("mimi")
    path = save(tmp_path / "a.slp", frame(images_of("1.png"), 0, prediction(track=track), user(track=track)))
    data = read_sleap(path)
    assert data.samples[0].poses.origin[:, 0].tolist() == [Origin.IMPORTED]
    assert data.notes == ("1 predicted instances whose track a user's instance has left out.",)


def test_what_does_not_come_in_is_told(tmp_path: Path) -> None:
    video = images_of("1.png", "2.png", "3.png")
    nothing = user([NAN, NAN, NAN])
    suggestions = [sleap_io.SuggestionFrame(video=video, frame_idx=2)]
    path = save(tmp_path / "a.slp", frame(video, 0, nothing), frame(video, 1), suggestions=suggestions)
    assert read_sleap(path).notes == (
        "1 instances without a visible point left out.",
        "1 frames without instances that nobody marked as negative: they come in as images without animals.",
        "1 images that are in no labelled frame left out.",
        "1 suggestions left out.",
    )


def test_nothing_is_shifted_but_files_of_the_first_format(tmp_path: Path) -> None:
    path = save(tmp_path / "a.slp", frame(images_of("1.png"), 0, user()))
    assert read_sleap(path).samples[0].poses.xy[0, 0].tolist() == [1.5, 2]
    with h5py.File(path, "a") as file:
        file["metadata"].attrs["format_id"] = 1.0  # the first pixel's corner was 0
        without = file["instances"][:][[name for name in file["instances"].dtype.names if name != "tracking_score"]]
        del file["instances"]
        file["instances"] = np.array(without.tolist(), [(n, without.dtype[n]) for n in without.dtype.names])
    assert read_sleap(path).samples[0].poses.xy[0, 0].tolist() == [1, 1.5]


# Skeletons.


def test_several_skeletons(tmp_path: Path) -> None:
    bird = sleap_io.Skeleton(nodes=["beak", "tail"], name="bird")
    flying = sleap_io.Instance.from_numpy(np.ones((2, 2)), skeleton=bird)
    path = save(tmp_path / "a.slp", frame(images_of("1.png"), 0, user(), flying))
    with pytest.raises(FormatError, match=r"several skeletons: 'mouse' \(3 nodes\), 'bird' \(2 nodes\). Choose one"):
        read_sleap(path)
    chosen = Skeleton("given", ("tail", "beak"), ((0, 1),), (0, 1), (0.1, 0.1), "test")
    data = read_sleap(path, skeleton=chosen)
    assert data.skeleton == chosen and len(data.samples[0].poses) == 1
    assert data.notes == ("1 instances of other skeletons left out.",)


def test_a_skeleton_that_no_pose_has_does_not_matter(tmp_path: Path) -> None:
    bird = sleap_io.Skeleton(nodes=["beak", "tail"], name="bird")
    path = save(tmp_path / "a.slp", frame(images_of("1.png"), 0, user()), skeletons=[bird, MOUSE])
    assert read_sleap(path).skeleton.name == "mouse"


def test_copies_of_a_skeleton_are_one(tmp_path: Path) -> None:
    path = save(tmp_path / "a.slp", frame(images_of("1.png"), 0, user(), user(skeleton=skeleton(name="again"))))
    assert len(read_sleap(path).samples[0].poses) == 2


def test_without_symmetries_the_names_tell(tmp_path: Path) -> None:
    bare = skeleton(symmetries=[], name="bare")
    path = save(tmp_path / "a.slp", frame(images_of("1.png"), 0, user(skeleton=bare)))
    assert read_sleap(path).skeleton.flip == (0, 2, 1)


# Images.


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_images_are_found_below_a_folder_and_grouped_by_theirs(tmp_path: Path) -> None:
    one, two = images_of("/p/v/1.png"), images_of("/p/v/3.png", "/p/w/2.png")
    slp = save(tmp_path / "a.slp", frame(one, 0, user()), frame(two, 0, user()), frame(two, 1, user()))
    found = read_sleap(slp, images=touch(tmp_path / "images", "v/1.png", "v/3.png", "w/2.png")).samples
    assert [(one.path, one.group) for one in found] == [
        ("v/1.png", "v"),
        ("v/3.png", "video 1"),
        ("w/2.png", "video 1"),
    ]


def test_without_a_folder_names_are_as_the_file_has_them(tmp_path: Path) -> None:
    video = images_of("/home/me/1.png", "v/2.png")
    found = read_sleap(save(tmp_path / "a.slp", frame(video, 0, user()), frame(video, 1, user()))).samples
    assert [one.path for one in found] == ["home/me/1.png", "v/2.png"]


def test_frames_of_a_video_are_those_that_scan_writes(tmp_path: Path) -> None:
    from autolabel.frames import _NAME

    assert _NAME == FRAME
    video = film("/home/me/films/a.mp4")
    slp = save(tmp_path / "a.slp", frame(video, 0, user()), frame(video, 12, user()))
    folder = touch(tmp_path / "frames", "films/a.mp4/00000000.jpg", "films/a.mp4/00000012.jpg")
    found = read_sleap(slp, images=folder).samples
    assert [one.path for one in found] == ["films/a.mp4/00000000.jpg", "films/a.mp4/00000012.jpg"]
    assert {one.group for one in found} == {"films/a.mp4"}
    with pytest.raises(FormatError, match=r"videos\[0\]: is the video .*a.mp4, .*no frames.* `autolabel scan VIDEOS"):
        read_sleap(slp, images=touch(tmp_path / "empty", "x"))


def test_embedded_frames_are_those_of_their_source(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (8, 8), (80 * i, 0, 0)).save(folder / f"{i}.png")
    video = sleap_io.Video.from_filename([str(folder / f"{i}.png") for i in range(3)])
    labels = sleap_io.Labels(labeled_frames=[frame(video, 2, user()), frame(video, 0, user(PLACES + 1))])
    sleap_io.save_slp(labels, str(tmp_path / "a.pkg.slp"), embed="user", verbose=False)
    found = read_sleap(tmp_path / "a.pkg.slp", images=folder).samples
    assert sorted((one.path, one.poses.xy[0, 0, 0]) for one in found) == [("0.png", 2.5), ("2.png", 1.5)]
    with h5py.File(tmp_path / "a.pkg.slp", "a") as file:
        del file["video0/source_video"]
    with pytest.raises(FormatError, match=r"videos\[0\]: holds its frames itself"):
        read_sleap(tmp_path / "a.pkg.slp", images=folder)


# What is wrong.


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    video = images_of("1.png", "2.png")
    path = tmp_path_factory.mktemp("good") / "a.slp"
    return save(path, frame(video, 0, user()), frame(video, 1, prediction())).read_bytes()


def put(name: str, change: Callable[[Any], Any]) -> Callable[[h5py.File], None]:
    def changed(file: h5py.File) -> None:
        data = change(file[name][:])
        del file[name]
        file.create_dataset(name, data=data)

    return changed


def field(name: str, column: str, value: Any) -> Callable[[h5py.File], None]:
    def changed(rows: Any) -> Any:
        rows[column][0] = value
        return rows

    return put(name, changed)


def metadata(**changes: Any) -> Callable[[h5py.File], None]:
    def changed(file: h5py.File) -> None:
        said = json.loads(file["metadata"].attrs["json"])
        file["metadata"].attrs["json"] = np.bytes_(json.dumps({**said, **changes}))

    return changed


def ours(**block: Any) -> Callable[[h5py.File], None]:
    return metadata(provenance={"autolabel": block})


def claimed(file: h5py.File) -> None:
    del file["points"]
    file.create_dataset("points", shape=(10**10,), dtype="f8", chunks=(1000,))


def filled(file: h5py.File) -> None:
    """Holds a two hundredth of what it claims, and claims more than is read of any file."""
    del file["points"]
    points = file.create_dataset("points", shape=(3 * 10**9,), dtype="u1", chunks=(15 * 10**6,))
    points[: 15 * 10**6] = 1


def linked(file: h5py.File) -> None:
    del file["points"]
    file["points"] = h5py.ExternalLink("/etc/passwd", "points")


def outside(file: h5py.File) -> None:
    del file["points"]
    file.create_dataset("points", shape=(10,), dtype="u1", external=[("/etc/passwd", 0, 10)])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (field("points", "x", np.inf), "frame 0 of videos[0].nose: is not a finite number"),
        (field("points", "x", 1e300), "frame 0 of videos[0].nose: is not a finite number"),
        (field("points", "x", np.nan), "frame 0 of videos[0].nose: has one coordinate and no other"),
        (field("pred_points", "score", np.inf), "frame 1 of videos[0].nose: is not a finite number"),
        (field("pred_points", "y", np.nan), "frame 1 of videos[0].nose: has one coordinate and no other"),
        (ours(skeleton={}), "provenance.autolabel.skeleton: key 'name' is missing"),
        (ours(skeleton=[]), "provenance.autolabel.skeleton: is a list, expected an object"),
        (field("instances", "score", np.inf), None),
        (field("instances", "point_id_end", 2), "cannot be read: ValueError: "),
        (field("instances", "skeleton", 7), "cannot be read: IndexError: "),
        (field("frames", "frame_idx", 9), "videos[0]: has 2 images and no frame 9"),
        (field("frames", "frame_idx", 1), "frames[1]: is '2.png', the image of frames[0] already. Merge them"),
        (lambda file: file.pop("points"), "cannot be read: KeyError: "),
        (lambda file: file["metadata"].attrs.pop("json"), "cannot be read: ValueError: The SLEAP labels file"),
        (metadata(skeletons=[]), "cannot be read: IndexError"),
        (metadata(nodes=[{"name": 1}, {"name": "b"}, {"name": "c"}]), "skeletons[0].nodes: has a name that is no text"),
        (metadata(nodes=[{"name": "b"}, {"name": "b"}, {"name": "c"}]), "keypoint 'b' stands twice"),
        (lambda file: file["metadata"].attrs.modify("format_id", 99.0), "cannot be read: ValueError: "),
        (claimed, "points: claims 80,000,000,000 bytes and holds 0"),
        (filled, "/: claims 3,000,00"),
        (linked, "/: leads to another file"),
        (outside, "points: lies in another file"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, good: bytes, damage: Callable[[h5py.File], None], message: str | None
) -> None:
    path = tmp_path / "a.slp"
    path.write_bytes(good)
    with h5py.File(path, "a") as file:
        damage(file)
    if message is None:  # a user's instance has no score: the column means nothing
        assert len(read_sleap(path).samples) == 2
        return
    with pytest.raises(FormatError) as caught:
        read_sleap(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_symmetries_that_are_no_pairs(tmp_path: Path) -> None:
    odd = skeleton(symmetries=[("nose", "left_ear"), ("left_ear", "right_ear")], name="odd")
    path = save(tmp_path / "a.slp", frame(images_of("1.png"), 0, user(skeleton=odd)))
    with pytest.raises(FormatError, match=r"skeletons.symmetries: left_ear and right_ear are not one of the pairs"):
        read_sleap(path)


def test_no_skeleton(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no skeleton"):
        read_sleap(save(tmp_path / "a.slp"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not HDF5, as SLEAP's .slp files are"),
        (b"scorer,S", "is not HDF5"),
        (b"\x89HDF\r\n\x1a\n", "cannot be read: OSError: "),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_label_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.slp").write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_sleap(tmp_path / "a.slp")


@settings(max_examples=6, deadline=None)  # each starts a process; tests/fuzz goes on from here
@given(st.data())
def test_damage_is_refused_or_read(good: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.slp"
    path.write_bytes(damaged[: data.draw(st.sampled_from([len(good), len(good) // 2, 100]))])
    try:
        read_sleap(path)
    except FormatError as error:
        assert error.subject == str(path)
