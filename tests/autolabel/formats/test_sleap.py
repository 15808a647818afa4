"""The round trips of SLEAP's label files, which sleap-io writes and reads."""

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import sleap_io
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.errors import ExistsError, FormatError, InputError
from autolabel.formats.coco import read_coco
from autolabel.formats.labels import Aspect
from autolabel.formats.policy import ImagePolicy
from autolabel.formats.sleap import CANNOT, read_sleap, write_sleap
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from tests.autolabel.formats.poses_strategies import TRIANGLE, K, samples

DATA = Path(__file__).parents[4] / "shared/data"
NAN = [np.nan, np.nan]


def sample(path: str, *xy: Any, size: tuple[int, int] = (64, 48), group: str = "", **fields: Any) -> Sample:
    places = np.array(xy, np.float32).reshape(-1, K, 2)
    labelled = np.where(np.isnan(places[..., 0]), Visibility.UNLABELLED, Visibility.VISIBLE)
    given = {"visibility": labelled, "origin": np.where(labelled, Origin.IMPORTED, Origin.NONE), **fields}
    return Sample("", "", path, size, Poses.create(K, xy=places, **given), group=group)


# Round trips.


def same(a: Any, b: Any) -> bool:
    known = ~np.isnan(a)
    return (known == ~np.isnan(b)).all() and a[known].tobytes() == b[known].tobytes()


@settings(max_examples=5, deadline=None)  # each reads a file by another process, so each has several lists in one
@given(st.lists(samples(), min_size=4, max_size=4))
def test_what_a_file_can_hold_comes_back(lists: list[list[Sample]]) -> None:
    wanted = [replace(one, path=f"{i}/{one.path}") for i, drawn in enumerate(lists) for one in drawn]
    with tempfile.TemporaryDirectory() as folder:
        written = write_sleap(Path(folder) / "a.slp", wanted, TRIANGLE, policy=ImagePolicy.ALL)
        data = read_sleap(Path(folder) / "a.slp")
    assert data.skeleton == TRIANGLE
    assert set(written.lost) <= CANNOT
    assert [(one.path, one.size, one.group) for one in data.samples] == [
        (one.path, one.size, "" if one.group == one.id else one.group) for one in wanted
    ]
    for mine, theirs in zip(wanted, data.samples, strict=True):
        poses = mine.poses.take(mine.poses.labelled.any(axis=1))
        assert (theirs.poses.labelled == poses.labelled).all()
        assert same(poses.xy, theirs.poses.xy)
        assert same(poses.score, theirs.poses.score)
        assert same(poses.box_score, theirs.poses.box_score)


def test_tracks_groups_and_sizes_come_back(tmp_path: Path) -> None:
    a, b = [[1, 2], [3, 4], NAN], [[5, 6], NAN, [7, 8]]
    wanted = [
        sample("v/1.png", a, b, group="film", attributes=[{"track": "mimi"}, {"track": "lulu", "sex": "f"}]),
        sample("w/1.png", b, group="other film"),
        sample("v/2.png", b, group="film", attributes=[{"track": "lulu"}]),
        sample("v/3.png", group="film", size=(32, 32)),
        sample("x.png", a),
    ]
    written = write_sleap(tmp_path / "a.slp", wanted, TRIANGLE)
    assert written.lost == {Aspect.ATTRIBUTES: 1}
    data = read_sleap(tmp_path / "a.slp")
    assert [(one.path, one.group, one.size) for one in data.samples] == [
        (one.path, one.group, one.size) for one in wanted
    ]
    tracks = [[dict(one) for one in found.poses.attributes] for found in data.samples]
    assert tracks == [[{"track": "mimi"}, {"track": "lulu"}], [{}], [{"track": "lulu"}], [], [{}]]
    assert data.notes == ()


def test_what_is_a_label_and_what_a_prediction(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], Origin, str, Origin]] = [
        ({}, Origin.IMPORTED, "Instance", Origin.IMPORTED),  # a label
        ({}, Origin.MODEL, "PredictedInstance", Origin.MODEL),  # a model's, which nobody has accepted
        ({"state": "accepted"}, Origin.MODEL, "Instance", Origin.IMPORTED),  # a model's, accepted
        ({"state": "review"}, Origin.HUMAN, "PredictedInstance", Origin.MODEL),  # waiting for review
    ]
    given = [
        sample(f"{i}.png", [[1, 2], [3, 4], NAN], origin=[[origin, origin, Origin.NONE]], attributes=[attributes])
        for i, (attributes, origin, _, _) in enumerate(cases)
    ]
    write_sleap(tmp_path / "a.slp", given, TRIANGLE, policy=ImagePolicy.ALL)
    frames = sleap_io.load_slp(str(tmp_path / "a.slp"), open_videos=False).labeled_frames
    kinds = [[type(instance).__name__ for instance in frame.instances] for frame in frames]
    assert kinds == [[kind] for _, _, kind, _ in cases]
    origins = [one.poses.origin[0, 0] for one in read_sleap(tmp_path / "a.slp").samples]
    assert origins == [origin for _, _, _, origin in cases]


def test_scores_of_a_label_stand_in_the_prediction_it_was_made_of(tmp_path: Path) -> None:
    one = sample("1.png", [[1, 2], [3, 4], NAN], score=[[0.5, 0.25, 0.125]], box_score=[0.75])
    write_sleap(tmp_path / "a.slp", [one], TRIANGLE)
    frame = sleap_io.load_slp(str(tmp_path / "a.slp"), open_videos=False).labeled_frames[0]
    user, prediction = frame.instances
    assert user.from_predicted is prediction and prediction.score == 0.75
    assert prediction.points["score"].tolist() == [0.5, 0.25, 0.125]
    assert frame.unused_predictions == []
    (pose,) = [read_sleap(tmp_path / "a.slp").samples[0].poses[0]]
    assert pose.score.tolist() == [0.5, 0.25, 0.125] and pose.box_score == 0.75


def test_hidden_keypoints_are_visible_points_and_places_alone_are_not(tmp_path: Path) -> None:
    one = sample("1.png", [[1, 2], [3, 4], [5, 6]], visibility=[[1, 0, 3]])
    written = write_sleap(tmp_path / "a.slp", [one], TRIANGLE)
    assert {Aspect.HIDDEN, Aspect.ABSENT} <= set(written.lost) and Aspect.PLACE not in written.lost
    (instance,) = sleap_io.load_slp(str(tmp_path / "a.slp"), open_videos=False).labeled_frames[0].instances
    assert instance.points["visible"].tolist() == [True, False, False]
    assert instance.numpy()[0].tolist() == [1, 2]
    got = read_sleap(tmp_path / "a.slp").samples[0].poses
    assert got.xy.tolist() == [[[1, 2], [3, 4], [5, 6]]] and got.visibility.tolist() == [[2, 0, 0]]


def test_images_without_animals_are_negative_frames(tmp_path: Path) -> None:
    empty = [sample("1.png")]
    for policy, negative in ((ImagePolicy.COMPLETE, True), (ImagePolicy.ALL, False)):
        path = tmp_path / f"{policy.value}.slp"
        write_sleap(path, empty, TRIANGLE, policy=policy)
        assert sleap_io.load_slp(str(path), open_videos=False).labeled_frames[0].is_negative is negative
        notes = read_sleap(path).notes
        assert bool(notes) is not negative and all("nobody marked as negative" in note for note in notes)


def test_the_skeleton_in_sleap_s_own_words(tmp_path: Path) -> None:
    coco = Skeleton.load("coco17")
    one = Sample("", "", "1.png", (9, 9), Poses.create(17, xy=np.ones((1, 17, 2)), visibility=np.full((1, 17), 2)))
    write_sleap(tmp_path / "a.slp", [one], coco)
    (theirs,) = sleap_io.load_slp(str(tmp_path / "a.slp"), open_videos=False).skeletons
    assert theirs.node_names == list(coco.keypoints) and theirs.edge_inds == list(coco.edges)
    assert {frozenset(pair) for pair in theirs.symmetry_inds} == {frozenset(pair) for pair in coco.flip_pairs}
    # Without our block the built-in skeleton is known again by its names.
    with h5py.File(tmp_path / "a.slp", "a") as file:
        del file["provenance_json"]
        said = json.loads(file["metadata"].attrs["json"])
        file["metadata"].attrs["json"] = np.bytes_(json.dumps({**said, "provenance": {}}))
    assert read_sleap(tmp_path / "a.slp").skeleton == coco


@pytest.mark.parametrize("corpus", ["coco25", "openfield"])
def test_real_poses_come_back(corpus: str, tmp_path: Path) -> None:
    source = DATA / corpus / "annotations.json"
    if not source.is_file():
        pytest.skip(f"shared/data/{corpus} is not here")
    coco = read_coco(source)
    folder = DATA / corpus / "images"
    write_sleap(tmp_path / "a.slp", coco.samples, coco.skeleton, image_file=lambda one: folder / one.path)
    theirs = sleap_io.load_slp(str(tmp_path / "a.slp"))
    assert all(video.exists() and video.backend is not None for video in theirs.videos)
    assert all(video.backend.shape[1:3] == tuple(video.backend_metadata["shape"][1:3]) for video in theirs.videos)
    got = read_sleap(tmp_path / "a.slp", images=folder)
    assert got.skeleton == coco.skeleton
    for mine, other in zip(coco.samples, got.samples, strict=True):
        poses = mine.poses.take(mine.poses.labelled.any(axis=1))
        assert other.path == mine.path and other.size == mine.size
        assert np.array_equal(poses.xy, other.poses.xy, equal_nan=True)


def test_a_file_stands_already(tmp_path: Path) -> None:
    write_sleap(tmp_path / "a.slp", [], TRIANGLE)
    with pytest.raises(ExistsError):
        write_sleap(tmp_path / "a.slp", [], TRIANGLE)
    write_sleap(tmp_path / "a.slp", [sample("1.png")], TRIANGLE, overwrite=True)
    assert len(read_sleap(tmp_path / "a.slp").samples) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.slp"]


def test_a_name_that_sleap_would_bend(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="has a backslash in its path"):
        write_sleap(tmp_path / "a.slp", [sample("a\\b.png", [[1, 2], NAN, NAN])], TRIANGLE)
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(InputError, match=r"gone/1.png: is not there. Scan again."):
        write_sleap(tmp_path / "a.slp", [sample("1.png")], TRIANGLE, image_file=lambda one: gone / one.path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("attributes", "lost"),
    [
        ({"track": "mimi"}, {}),
        ({"track": 0}, {Aspect.ATTRIBUTES: 1}),  # names nobody in SLEAP
        ({"difficult": 0, "seen": False}, {Aspect.ATTRIBUTES: 1}),  # answers, though not many
        ({"note": "", "more": None, "track": ""}, {}),  # nothing was said
    ],
)
def test_attributes_that_are_lost(tmp_path: Path, attributes: dict[str, Any], lost: dict[Aspect, int]) -> None:
    one = sample("1.png", [[1, 2], NAN, NAN], attributes=[attributes])
    assert write_sleap(tmp_path / "a.slp", [one], TRIANGLE).lost == lost


def test_a_skeleton_larger_than_hdf5_takes(tmp_path: Path) -> None:
    names = tuple(f"keypoint number {i} with a long name" for i in range(2000))
    huge = Skeleton("huge", names, (), tuple(range(2000)), (0.05,) * 2000, "test")
    with pytest.raises(FormatError, match="cannot be written: ValueError: Unable to fit"):
        write_sleap(tmp_path / "a.slp", [], huge)


def test_without_sleap_io_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    program = """if True:
        import sys
        sys.modules["sleap_io"] = None  # as if it were not installed
        from autolabel.errors import ConfigError
        from autolabel.formats.sleap import read_sleap
        try:
            read_sleap("a.slp")
        except ConfigError as error:
            sys.exit(str(error))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "a.slp: needs sleap-io, which is missing" in done.stderr
    assert done.stderr.strip().endswith("pip install 'skeleton-autolabel[formats]'")
