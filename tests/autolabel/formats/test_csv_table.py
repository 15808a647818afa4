import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings

from autolabel.errors import FormatError
from autolabel.formats.csv_table import read_csv, write_csv
from autolabel.formats.labels import UNKNOWN_SIZE, Aspect, Labels
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from tests.autolabel.formats.poses_strategies import TRIANGLE, K, assert_same_bits, samples


def odd(name: str) -> Sample:
    return Sample("0" * 32, "", name, (3, 4), Poses.create(K, id=["p"], by=['a "b", c\r\nd']), group="\r")


@settings(max_examples=100)
@given(samples())
@example([odd("new\nline, \"quoted\" 'it'.jpg"), odd("=formula.jpg"), odd(" leading and trailing .jpg")])
def test_poses_come_back_bit_by_bit(wanted: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        written = write_csv(path, wanted, TRIANGLE, policy=ImagePolicy.ALL)
        data = read_csv(path, skeleton=TRIANGLE)
    assert written.images == len(data.samples) == len(wanted)
    assert set(written.lost) == {Aspect.EDGES, Aspect.FLIP, Aspect.SIGMAS}
    for mine, theirs in zip(wanted, data.samples, strict=True):
        for name in ("id", "path", "size", "group", "duplicate_of", "attributes"):
            assert getattr(mine, name) == getattr(theirs, name)
        assert mine.poses.attributes == theirs.poses.attributes
        assert_same_bits(mine.poses, theirs.poses)


def read(folder: Path, text: str, skeleton: Skeleton | None = None) -> Labels:
    path = folder / "t.csv"
    path.write_bytes(text.encode())
    return read_csv(path, skeleton=skeleton)


def test_the_least_table(tmp_path: Path) -> None:
    data = read(tmp_path, "image,nose.x,nose.y\na.jpg,1.5,2\nb.jpg,,\na.jpg,3,4\n")
    a, b = data.samples
    assert (a.path, a.size, len(a.poses), b.path, len(b.poses)) == ("a.jpg", UNKNOWN_SIZE, 2, "b.jpg", 0)
    assert a.poses.xy.tolist() == [[[1.5, 2.0]], [[3.0, 4.0]]]
    assert a.poses.visibility.tolist() == [[Visibility.VISIBLE]] * 2
    assert a.poses.origin.tolist() == [[Origin.IMPORTED]] * 2
    assert np.isnan(a.poses.box).all() and np.isnan(a.poses.score).all()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("image,nose_x,nose_y\na.jpg,1,2\n", id="underscores"),
        pytest.param("\ufeffimage,nose.x,nose.y\r\na.jpg,1,2\r\n", id="byte order mark and Windows lines"),
        pytest.param('image,nose.x,nose.y\n"a.jpg"," 1 ",+2.\n\n', id="quotes, blanks, an empty line at the end"),
        pytest.param("nose.y,image,nose.x\n2,a.jpg,1\n", id="columns in any order"),
        pytest.param("image,nose.x,nose.y,nose.score\na.jpg,1,2,NA\n", id="R's unknown"),
        pytest.param("image,nose.x,nose.y,nose.visibility\na.jpg,1,2,Visible\n", id="words in any case"),
    ],
)
def test_dialects(tmp_path: Path, text: str) -> None:
    poses = read(tmp_path, text).samples[0].poses
    assert poses.xy.tolist() == [[[1.0, 2.0]]] and poses.visibility.tolist() == [[2]] and np.isnan(poses.score).all()


HEAD = "image,width,height,nose.x,nose.y,nose.visibility\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: has no column 'image'. Needed"),
        ("image,a,b\n", "line 1: has no keypoint"),
        ("image,image,a.x,a.y\n", "line 1: column 'image' stands twice"),
        ("image,a.x,a.y,b.y\n", "line 1: column 'b.y' is unknown"),
        ("image,a.x\n", "line 1: keypoint 'a' has an x and no y"),
        (HEAD + "a.jpg,9,9,1,2\n", "line 2: has 5 cells, the header has 6"),
        (HEAD + "a.jpg,9,9,1,x,visible\n", "line 2.nose.y: is 'x', expected a number"),
        (HEAD + "a.jpg,9,9,1,inf,visible\n", "line 2.nose.y: is 'inf', expected a number"),
        (HEAD + "a.jpg,9,9,1,1e39,visible\n", "line 2.nose.y: is not a finite number in single precision"),
        (HEAD + "a.jpg,9,9,1,,visible\n", "line 2: a keypoint with one coordinate and no other"),
        (HEAD + "a.jpg,9,9,,,visible\n", "line 2: a keypoint is called visible or hidden but has no coordinate"),
        (HEAD + "a.jpg,9,9,1,2,seen\n", "line 2.nose.visibility: is 'seen', expected one of: unlabelled, hidden"),
        (HEAD + "../a.jpg,9,9,1,2,\n", "line 2.image: is '../a.jpg', expected a path below"),
        (HEAD + "a.jpg,9.5,9,1,2,\n", "line 2.width: 9.5 x 9 is no size in pixels"),
        (HEAD + "a.jpg,9,9,1,2,\na.jpg,9,8,1,2,\n", "line 3.width: tells another size of 'a.jpg' than line 2 does"),
        ("image,duplicate_of,a.x,a.y\nq.jpg,b,1,2\nq.jpg,c,1,2\n", "line 3.duplicate_of: tells another duplicate_of"),
        (
            'image,image_attributes,a.x,a.y\nq.jpg,"{""lens"": 35}",1,2\nq.jpg,,1,2\n',
            "line 3.image_attributes: tells another attributes of 'q.jpg' than line 2",
        ),
        ("image;a.x;a.y\nq.jpg;1,5;2\n", "line 1: has ';' between its cells, expected ','. Save it with commas"),
        ('"image"\t"a.x"\t"a.y"\n', "line 1: has '\\t' between its cells, expected ','"),
        (HEAD + f"a.jpg,9,9,1,{'1' * 100},visible\n", "line 2.nose.y: is '1111"),
        (HEAD + 'a.jpg,9,9,1,2,"vis\n', "line 2: is not CSV: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 't.csv'}: {message}")


def test_what_utf8_cannot_hold_is_refused(tmp_path: Path) -> None:
    odd = Sample("", "", "caf\udce9.jpg", (9, 9), Poses.empty(K))
    with pytest.raises(FormatError, match=r"caf\\udce9.jpg'?: cannot be written as CSV"):
        write_csv(tmp_path / "a.csv", [odd], TRIANGLE)
    assert not list(tmp_path.iterdir())


def test_rows_of_one_image_need_not_stand_together(tmp_path: Path) -> None:
    data = read(tmp_path, "image,pose,nose.x,nose.y\na.jpg,1,1,1\nb.jpg,2,2,2\n,,,\na.jpg,3,3,3\n")
    assert [(s.path, s.poses.id.tolist()) for s in data.samples] == [("a.jpg", ["1", "3"]), ("b.jpg", ["2"])]


def test_a_skeleton_is_found_given_or_refused(tmp_path: Path) -> None:
    coco = Skeleton.load("coco17")
    columns = ",".join(f"{name}.x,{name}.y" for name in coco.keypoints)
    assert read(tmp_path, f"image,{columns}\n").skeleton == coco
    backwards = ",".join(f"{name}.x,{name}.y" for name in reversed(coco.keypoints))
    row = ",".join(f"{k},0" for k in reversed(range(17)))
    data = read(tmp_path, f"image,{backwards}\na.jpg,{row}\n", coco)
    assert data.skeleton == coco and data.samples[0].poses.xy[0, :, 0].tolist() == list(range(17))
    with pytest.raises(FormatError, match="keypoint 'tail' is only in one of the file and skeleton 'coco17'"):
        read(tmp_path, "image,tail.x,tail.y\n", coco)


def test_pandas_reads_it(tmp_path: Path) -> None:
    poses = Poses.create(K, xy=[[[1, 2], [3.25, 4], [np.nan, np.nan]]], visibility=[[2, 1, 0]], score=[[0.5, 1, 0]])
    write_csv(tmp_path / "a.csv", [Sample("", "", "a.jpg", (8, 9), poses)], TRIANGLE)
    frame = pd.read_csv(tmp_path / "a.csv")
    assert frame[["left_a.x", "right_a.x"]].to_numpy().tolist() == [[1.0, 3.25]]
    assert frame["b.x"].isna().all() and frame["right_a.visibility"].tolist() == ["hidden"]
