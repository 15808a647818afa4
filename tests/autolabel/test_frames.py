"""Frames are written once, whoever is killed meanwhile, and never mixed with those of another video."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ExistsError
from autolabel.frames import FRAMES, RECORD, FrameFolder
from autolabel.images import Reason, image_size, read_image
from autolabel.listing import Frame, ImageFile, Quarantined, VideoFile, list_files
from autolabel.video import read_video
from tests.films import film, number_of


def folder(tmp_path: Path, every: int = 4) -> FrameFolder:
    """Of the only video in ``films``."""
    (video,) = list_files(tmp_path / "films")
    assert isinstance(video, VideoFile)
    return FrameFolder(tmp_path / "frames", f"cam/{video.path}", video, every)


def test_frames_are_images_that_know_where_they_come_from(tmp_path: Path) -> None:
    path = film(tmp_path / "films" / "a.mp4")
    frames = folder(tmp_path)
    assert frames.extract(path) == 5
    files = list(frames.files())
    assert files == [
        ImageFile(f"cam/a.mp4/{i:08}.jpg", 0, 0, FRAMES, Frame("images", "a.mp4", i, i / 25)) for i in range(0, 20, 4)
    ]
    for file, frame in zip(files, read_video(path, 4), strict=True):
        written = read_image(tmp_path / "frames" / file.path)
        assert number_of(written) == frame.index
        assert np.abs(written.astype(int) - frame.pixels).mean() < 2


def test_frames_are_written_once(tmp_path: Path) -> None:
    path = film(tmp_path / "films" / "a.mp4")
    frames = folder(tmp_path)
    frames.extract(path)
    path.unlink()  # what is done needs no video
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "frames").rglob("*")}
    assert frames.extract(path) == 5
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "frames").rglob("*")} == before


def test_a_killed_job_goes_on(tmp_path: Path) -> None:
    path = film(tmp_path / "films" / "a.mp4")
    frames = folder(tmp_path)
    frames.extract(path)
    record = tmp_path / "frames" / frames.place / RECORD
    done = record.read_text()
    whole = sorted(file.name for file in record.parent.iterdir())
    # As after a kill: not done, two frames there (marked, to see that they stay), a half-written third.
    started = {name: value for name, value in json.loads(done).items() if name not in ("frames", "fault")}
    record.write_text(json.dumps(started | {"done": False}))
    for index in (8, 12, 16):
        (record.parent / f"{index:08}.jpg").unlink()
    for index in (0, 4):
        Image.new("RGB", (9, 9)).save(record.parent / f"{index:08}.jpg")
    (record.parent / ".00000008.jpg.1.tmp").write_bytes(b"half")
    with pytest.raises(ExistsError, match="not there yet"):
        list(frames.files())
    assert frames.extract(path) == 5
    assert record.read_text() == done
    assert sorted(file.name for file in record.parent.iterdir()) == whole
    sizes = [image_size(record.parent / f"{index:08}.jpg") for index in range(0, 20, 4)]
    assert sizes == [(9, 9), (9, 9), (128, 64), (128, 64), (128, 64)]


def test_frames_of_another_state_are_not_mixed(tmp_path: Path) -> None:
    path = film(tmp_path / "films" / "a.mp4")
    folder(tmp_path).extract(path)
    with pytest.raises(ExistsError, match=r"every 4 of \d+ bytes there, every 5 of \d+ bytes asked for.*--frames"):
        folder(tmp_path, every=5).extract(path)
    film(tmp_path / "films" / "a.mp4", range(30))
    with pytest.raises(ExistsError, match="holds other frames"):
        folder(tmp_path).extract(path)
    assert folder(tmp_path).extract(path, overwrite=True) == 8
    assert len(list((tmp_path / "frames" / "cam" / "a.mp4").glob("*.jpg"))) == 8


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    path = film(tmp_path / "films" / "a.mp4")
    theirs = tmp_path / "frames" / "cam" / "a.mp4" / "00000000.jpg"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    with pytest.raises(ExistsError, match="did not make"):
        folder(tmp_path).extract(path, overwrite=True)
    assert theirs.read_bytes() == b"theirs"


def test_a_broken_video_is_set_aside_and_its_good_frames_are_used(tmp_path: Path) -> None:
    path = film(tmp_path / "films" / "a.mkv", range(100))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    frames = folder(tmp_path, every=10)
    count = frames.extract(path)
    *good, broken = frames.files()
    assert [file.frame.index for file in good if isinstance(file, ImageFile) and file.frame] == [
        i * 10 for i in range(count)
    ]
    assert isinstance(broken, Quarantined)
    assert (broken.path, broken.reason, broken.root) == ("a.mkv", Reason.TRUNCATED, "images")
    assert broken.detail.endswith(f"of 4.00 seconds; the {count} frames before are used")


def test_a_video_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").write_bytes(b"")
    frames = folder(tmp_path)
    assert frames.extract(tmp_path / "films" / "a.mp4") == 0
    assert list(frames.files()) == [Quarantined("a.mp4", Reason.EMPTY, "is empty")]


def test_a_name_of_255_bytes(tmp_path: Path) -> None:
    path = film(tmp_path / "films" / "a.mp4").rename(tmp_path / "films" / ("é" * 125 + "x.mp4"))
    frames = folder(tmp_path)
    assert frames.extract(path) == 5
    assert sum(1 for file in islice(frames.files(), 9) if (tmp_path / "frames" / file.path).is_file()) == 5
