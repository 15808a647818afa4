"""`scan` of several roots and of videos: one manifest, nothing twice, nothing lost, whoever is killed meanwhile."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ConfigError, ExistsError, InputError
from autolabel.images import read_image
from autolabel.manifest import Manifest
from autolabel.split import assign_splits
from pipelines.console import to_json
from pipelines.scan import QUARANTINE, scan
from tests.doubles import Recorder
from tests.films import film, number_of, sound

REPOSITORY = Path(__file__).parents[2]


def jpeg(seed: int, size: tuple[int, int] = (96, 64)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def put(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def quarantined(manifest: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (manifest / QUARANTINE).read_text().splitlines()]


# Several roots


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    """Two cameras; the second has a copy in other bytes and a copy in the same bytes of images of the first."""
    put(
        tmp_path / "left",
        {"day1/0.jpg": jpeg(0, (192, 128)), "day1/1.jpg": jpeg(1, (192, 128)), "bad.jpg": b"text", "x/2.jpg": jpeg(2)},
    )
    put(
        tmp_path / "right",
        {"day1/0.jpg": jpeg(3), "day2/small 1.jpg": jpeg(1), "day2/0.jpg": jpeg(0, (192, 128)), "bad.jpg": b""},
    )
    return tmp_path


def test_several_roots_are_one_manifest(cameras: Path) -> None:
    out = cameras / "m"
    result = scan([f"cam1={cameras / 'left'}", f"cam2={cameras / 'right'}"], out=out, group_by="folder", part_size=2)
    manifest = Manifest.open(out)
    assert manifest.roots == {"cam1": out / "../left", "cam2": out / "../right"}
    found = {(s.root, s.path): (s.group, s.duplicate_of, s.original) for s in manifest}
    assert found == {
        ("cam1", "day1/0.jpg"): ("cam1/day1", "", None),
        ("cam1", "day1/1.jpg"): ("cam1/day1", "", None),
        ("cam1", "x/2.jpg"): ("cam1/x", "", None),
        ("cam2", "day1/0.jpg"): ("cam2/day1", "", None),
        ("cam2", "day2/0.jpg"): ("cam2/day2", "/cam1/day1/0.jpg", ("cam1", "day1/0.jpg")),
        ("cam2", "day2/small 1.jpg"): ("cam2/day2", "/cam1/day1/1.jpg", ("cam1", "day1/1.jpg")),
    }
    assert all(manifest.image_path(sample).is_file() for sample in manifest)
    assert (result.exact_duplicates, result.near_duplicates) == (1, 1)
    assert [(line["root"], line["path"], line["reason"]) for line in quarantined(out)] == [
        ("cam1", "bad.jpg", "not an image"),
        ("cam2", "bad.jpg", "empty"),
    ]
    split = assign_splits(manifest, {"a": 0.5, "b": 0.5})
    sides = {s.group: split(s) for s in manifest}
    assert sides["cam1/day1"] == sides["cam2/day2"], "a copy takes its folder along"


def test_a_pattern_sees_the_name_of_the_root(cameras: Path) -> None:
    roots = {"cam1": cameras / "left", "cam2": cameras / "right"}
    both = scan(roots, out=cameras / "m1", group_by=r"(day\d)").manifest
    assert {s.group for s in both} >= {"day1", "day2"}, "one day of two cameras is one group"
    each = scan(roots, out=cameras / "m2", group_by=r"^(\w+)/(day\d)").manifest
    assert {s.group for s in each} >= {"cam1/day1", "cam2/day1", "cam2/day2"}


def test_several_roots_resume_and_are_done(cameras: Path) -> None:
    roots = {"cam1": cameras / "left", "cam2": cameras / "right"}
    whole = scan(roots, out=cameras / "whole", part_size=2)
    code = "import sys; from pipelines.scan import scan; from tests.doubles import Recorder, kill\n"
    code += "scan([f'cam1={sys.argv[1]}/left', f'cam2={sys.argv[1]}/right'], out=sys.argv[1] + '/m', part_size=2, "
    code += "progress=Recorder(7, kill))"
    child = subprocess.run([sys.executable, "-c", code, str(cameras)], cwd=REPOSITORY, check=False)
    assert child.returncode == -signal.SIGKILL
    resumed = scan(dict(reversed(roots.items())), out=cameras / "m", part_size=2)
    assert resumed.manifest.digest == whole.manifest.digest
    assert to_json(resumed.summary() | {"manifest": ""}) == to_json(whole.summary() | {"manifest": ""})
    again = Recorder()
    assert scan(roots, out=cameras / "m", part_size=2, progress=again).manifest.digest == whole.manifest.digest
    assert not again.steps


def test_one_root_may_have_a_name(cameras: Path) -> None:
    manifest = scan(f"cam={cameras / 'left'}", out=cameras / "m", group_by="folder").manifest
    assert list(manifest.roots) == ["cam"]
    assert {s.group for s in manifest} == {"day1", "x"}, "among one root, nothing is told apart by it"


# Videos


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two photographs, two videos whose frames differ, and a broken one."""
    folder = tmp_path / "films"
    put(folder, {"photo.jpg": jpeg(1), "a/photo too.jpg": jpeg(2)})
    film(folder / "a" / "walk.mp4", range(20))
    film(folder / "run\n.mkv", range(100, 130))
    film(folder / "cut.mkv", range(30, 100))
    data = (folder / "cut.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(data[: len(data) // 2])
    return folder


def test_frames_are_samples_of_their_video(films: Path, tmp_path: Path) -> None:
    result = scan(films, out=tmp_path / "m", every=10)
    manifest = Manifest.open(tmp_path / "m")
    assert manifest.roots == {"images": tmp_path / "m/../films", "frames": tmp_path / "m/frames"}
    frames = [s for s in manifest if s.root == "frames"]
    assert [s.path for s in manifest if s.root == "images"] == ["photo.jpg", "a/photo too.jpg"]
    assert result.frames == result.summary()["frames"] == len(frames)
    first = {"cut.mkv": 30, "run\n.mkv": 100, "a/walk.mp4": 0}
    assert list(dict.fromkeys(s.attributes["video"] for s in frames)) == list(first)
    for sample in frames:
        video, index = sample.attributes["video"], sample.attributes["index"]
        assert sample.path == f"{video}/{index:08}.jpg"
        assert number_of(read_image(manifest.image_path(sample))) == first[video] + index
        assert sample.attributes == {"video": video, "video_root": "images", "index": index, "time": index / 25}
        assert (sample.group, sample.size) == (video, (128, 64))
    assert [s.attributes["index"] for s in frames if s.group == "run\n.mkv"] == [0, 10, 20]
    (broken,) = quarantined(tmp_path / "m")
    assert (broken["root"], broken["path"], broken["reason"]) == ("images", "cut.mkv", "truncated")
    assert "frames before are used" in broken["detail"]


def test_a_manifest_moves_with_its_frames(films: Path, tmp_path: Path) -> None:
    scan(films, out=tmp_path / "m", every=10)
    (tmp_path / "m").rename(tmp_path / "elsewhere")
    manifest = Manifest.open(tmp_path / "elsewhere")
    assert all(manifest.image_path(s).is_file() for s in manifest)


def test_frames_may_lie_elsewhere_and_be_shared(films: Path, tmp_path: Path) -> None:
    one = scan(films, out=tmp_path / "m1", every=10, frames=films / "frames")
    stamps = {file: file.stat().st_mtime_ns for file in (films / "frames").rglob("*.jpg")}
    two = scan(films, out=tmp_path / "m2", every=10, frames=films / "frames", near_duplicates=False)
    assert {file: file.stat().st_mtime_ns for file in (films / "frames").rglob("*.jpg")} == stamps
    assert one.frames == two.frames == len(stamps), "and are not taken for photographs"
    assert {s.path for s in one.manifest} == {s.path for s in two.manifest}


def test_groups_of_frames(films: Path, tmp_path: Path) -> None:
    def groups(group_by: str, name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for s in scan(films, out=tmp_path / name, every=10, group_by=group_by).manifest:
            found.setdefault(str(s.attributes.get("video", s.path)), set()).add(s.group)
        return found

    assert groups("folder", "m1")["a/walk.mp4"] == {"a"} == groups("folder", "m1")["a/photo too.jpg"]
    assert groups("video", "m2")["a/walk.mp4"] == {"a/walk.mp4"}
    assert groups("video", "m2")["a/photo too.jpg"] == {"a/photo too"}
    assert groups("^(a)/", "m3") == {
        "photo.jpg": groups("^(a)/", "m3")["photo.jpg"],
        "a/photo too.jpg": {"a"},
        "a/walk.mp4": {"a"},
        "cut.mkv": {"cut.mkv"},  # what the pattern does not know is a group all the same
        "run\n.mkv": {"run\n.mkv"},
    }


def test_a_video_alone(films: Path, tmp_path: Path) -> None:
    manifest = scan(str(films / "a" / "walk.mp4"), out=tmp_path / "m", every=5).manifest
    assert [(s.root, s.path) for s in manifest] == [("frames", f"walk.mp4/{i:08}.jpg") for i in (0, 5, 10, 15)]


def test_videos_of_several_roots(films: Path, tmp_path: Path) -> None:
    film(tmp_path / "more" / "cut.mkv", range(5))
    manifest = scan({"a": films, "b": tmp_path / "more"}, out=tmp_path / "m", every=100).manifest
    found = {s.group: (s.path, s.attributes["video_root"]) for s in manifest if s.root == "frames"}
    assert found["a/cut.mkv"] == ("a/cut.mkv/00000000.jpg", "a")
    assert found["b/cut.mkv"] == ("b/cut.mkv/00000000.jpg", "b")


def test_videos_are_left_aside_loudly(films: Path, tmp_path: Path) -> None:
    progress = Recorder()
    result = scan(films, out=tmp_path / "m", progress=progress)
    assert len(result.manifest) == 2
    assert "frames" not in result.summary()
    assert progress.notes == ["WARNING: 3 videos ('cut.mkv', …) left aside: --every N takes every N-th frame of them"]


def test_only_videos_and_no_every(films: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds no images, but 1 video \('walk.mp4'\)\. Take their frames with --every"
    ):
        scan(films / "a" / "walk.mp4", out=tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_without_the_library_the_error_says_what_to_install(films: Path, tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise ImportError(\"No module named 'av'\")")
    code = "import sys; sys.path.insert(0, sys.argv[2]); from pipelines.cli import main; "
    code += "sys.argv = ['autolabel', 'scan', sys.argv[1], '--every', '2', '--out', sys.argv[2] + '/m']; main()"
    child = subprocess.run(
        [sys.executable, "-c", code, str(films), str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 2
    assert child.stderr.strip() == (
        "error: --every: videos cannot be decoded: No module named 'av'. pip install 'skeleton-autolabel[video]'"
    )
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"every": 0}, "every 0: must be at least 1"), ({"every": -3}, "every -3: must be at least 1")],
)
def test_impossible_steps(films: Path, tmp_path: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scan(films, out=tmp_path / "m", **options)  # pyright: ignore[reportArgumentType]


def test_a_root_called_frames(films: Path, tmp_path: Path) -> None:
    assert list(scan({"frames": films}, out=tmp_path / "m1").manifest.roots) == ["frames"]
    with pytest.raises(ConfigError, match="NAME=DIR"):
        scan({"frames": films}, out=tmp_path / "m2", every=1)


def test_hopeless_videos_are_told_of(films: Path, tmp_path: Path) -> None:
    (films / "empty.mp4").write_bytes(b"")
    (films / "text.mov").write_bytes(b"text")
    sound(films / "sound.m4v")
    os.mkfifo(films / "pipe.avi")
    result = scan(films, out=tmp_path / "m", every=50)
    reasons = {line["path"]: line["reason"] for line in quarantined(tmp_path / "m")}
    assert reasons == {
        "cut.mkv": "truncated",
        "empty.mp4": "empty",
        "text.mov": "damaged",
        "sound.m4v": "unsupported",
        "pipe.avi": "not a file",
    }
    assert len(result.manifest) == 2 + result.frames


CHILD = """
import sys
from pipelines.scan import scan
from tests.doubles import Recorder, kill

scan(sys.argv[1], out=sys.argv[2], every=2, part_size=20, progress=Recorder(int(sys.argv[3]), kill))
"""


@pytest.mark.parametrize("steps", [1, 17, 40, 70])  # in the first video, later, in the first part, in the second
def test_kill_9_anywhere_and_no_frame_is_written_twice(films: Path, tmp_path: Path, steps: int) -> None:
    whole = scan(films, out=tmp_path / "whole", every=2, part_size=20)
    assert 30 < whole.frames < 40
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(films), str(tmp_path / "m"), str(steps)], cwd=REPOSITORY, check=False
    )
    assert child.returncode == -signal.SIGKILL
    stamps = {file: file.stat().st_mtime_ns for file in (tmp_path / "m" / "frames").rglob("*.jpg")}
    assert len(stamps) >= min(steps, whole.frames)
    resumed = scan(films, out=tmp_path / "m", every=2, part_size=20)
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    assert resumed.manifest.digest == whole.manifest.digest
    assert to_json(resumed.summary() | {"manifest": ""}) == to_json(whole.summary() | {"manifest": ""})
    assert not list((tmp_path / "m").rglob("*.tmp"))


def test_a_scan_stopped_from_the_keyboard_waits_for_no_video(films: Path, tmp_path: Path) -> None:
    """The first frame of a long video interrupts; of the others no more than those in work are written."""
    film(films / "a" / "long.mp4", (i % 256 for i in range(4000)), preset="ultrafast")
    for other in films.glob("*.mkv"):
        other.unlink()

    sent = Event()

    def interrupt() -> None:
        if not sent.is_set():  # a second one would hit whatever runs after the scan
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)

    # A process started in the background inherits an ignored SIGINT; at a keyboard it is not ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            scan(films, out=tmp_path / "m", every=1, progress=Recorder(5, interrupt))
    finally:
        signal.signal(signal.SIGINT, before)
    written = len(list((tmp_path / "m").rglob("*.jpg")))
    assert written < 2000


def test_a_moved_manifest_is_still_done(films: Path, tmp_path: Path) -> None:
    first = scan(films, out=tmp_path / "m", every=10)
    (tmp_path / "m").rename(tmp_path / "elsewhere")
    again = Recorder()
    assert scan(films, out=tmp_path / "elsewhere", every=10, progress=again).manifest.digest == first.manifest.digest
    assert not again.steps


def test_overwriting_takes_other_frames(films: Path, tmp_path: Path) -> None:
    few = scan(films, out=tmp_path / "m", every=20)
    with pytest.raises(InputError):
        scan(films, out=tmp_path / "m", every=10)
    more = scan(films, out=tmp_path / "m", every=10, overwrite=True)
    assert more.frames > few.frames
    assert len(list((tmp_path / "m" / "frames").rglob("*.jpg"))) == more.frames


def test_frames_that_others_may_show_are_never_replaced(films: Path, tmp_path: Path) -> None:
    first = scan(films, out=tmp_path / "a", every=10, frames=tmp_path / "shared").manifest
    with pytest.raises(ExistsError, match="Give another --frames"):
        scan(films, out=tmp_path / "b", every=20, frames=tmp_path / "shared", overwrite=True)
    assert all(first.image_path(sample).is_file() for sample in first)


# Names


def test_odd_names_survive_all_that_follows(tmp_path: Path) -> None:
    names = ["a\nb.jpg", "-rf.jpg", "\x1b[31m.jpg", "tab\t '\".jpg", "x" * 251 + ".jpg", "I.jpg", "i.jpg", "\u202e.jpg"]
    put(tmp_path / "photos", {name: jpeg(i) for i, name in enumerate(names)})
    put(tmp_path / "photos", {"bad\n\x1b[2J.jpg": b"text"})
    bad = Path(os.fsdecode(os.fsencode(tmp_path / "photos") + b"/\xff\n.jpg"))
    bad.write_bytes(jpeg(0))
    program = [sys.executable, "-m", "pipelines.cli"]
    done = subprocess.run(
        [*program, "scan", str(tmp_path / "photos"), "--out", str(tmp_path / "m"), "--group-by", "(.)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not [c for c in done.stdout + done.stderr if ord(c) < 32 and c != "\n"]
    manifest = Manifest.open(tmp_path / "m")
    assert sorted(s.path for s in manifest) == sorted(names)
    assert all(manifest.image_path(s).is_file() for s in manifest)
    assert {line["path"]: line["reason"] for line in quarantined(tmp_path / "m")} == {
        "bad\n\x1b[2J.jpg": "not an image",
        "\udcff\n.jpg": "bad name",
    }
    subprocess.run(
        [*program, "export", "coco", str(tmp_path / "m"), "--images", "all", "--out", str(tmp_path / "coco.json")],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    written = json.loads((tmp_path / "coco.json").read_text())
    assert sorted(image["file_name"] for image in written["images"]) == sorted(names)


def test_a_file_that_vanishes_while_it_is_scanned_is_told_of(tmp_path: Path) -> None:
    put(tmp_path / "photos", {f"{i:03}.jpg": jpeg(i) for i in range(60)})

    class Thief(Recorder):
        def advance(self, n: int = 1, **numbers: float) -> None:
            (tmp_path / "photos" / "059.jpg").unlink(missing_ok=True)
            super().advance(n, **numbers)

    result = scan(tmp_path / "photos", out=tmp_path / "m", progress=Thief(), part_size=100)
    assert len(result.manifest) == 59
    assert result.quarantined == {"vanished": 1}


def test_a_folder_that_vanishes_is_no_folder(tmp_path: Path) -> None:
    put(tmp_path / "photos", {"a.jpg": jpeg(0)})
    scan(tmp_path / "photos", out=tmp_path / "m")
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(InputError, match="is not a folder"):
        scan(tmp_path / "photos", out=tmp_path / "m")
