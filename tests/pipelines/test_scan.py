"""`scan` makes a manifest of whatever it is given, goes on after a kill, and does nothing twice."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ConfigError, ExistsError, InputError
from autolabel.manifest import Manifest
from autolabel.run import Run, RunState
from autolabel.skeleton import Skeleton
from pipelines.console import to_json
from pipelines.scan import QUARANTINE, ScanResult, scan
from tests.doubles import Recorder


def jpeg(seed: int, size: tuple[int, int] = (96, 64)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve files: nine images, one an exact and one a near copy, and three that are none."""
    folder = tmp_path / "photos"
    files = {
        **{f"a/{i}.jpg": jpeg(i, (192, 128)) for i in range(6)},
        "b/a small 1.jpg": jpeg(1),
        "b/bad\nname.jpg": b"text",
        "b/copy of 2.jpg": jpeg(2, (192, 128)),
        "b/cut.jpg": jpeg(9)[:400],
        "b/empty.png": b"",
        "b/last.jpg": jpeg(7),
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def repeats(manifest: Manifest) -> dict[str, str]:
    return {s.path: s.duplicate_of for s in manifest if s.duplicate_of}


def spoil(file: Path) -> None:
    """Other bytes that the listing cannot tell from the old ones: whoever decodes them will."""
    status = file.stat()
    file.write_bytes(bytes(status.st_size))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_folder_becomes_a_manifest(photos: Path, tmp_path: Path) -> None:
    result = scan(photos, out=tmp_path / "m", group_by="folder", part_size=5)
    manifest = Manifest.open(tmp_path / "m")
    assert manifest.counts == {"samples": 9, "poses": 0}
    assert (manifest.num_parts, manifest.stage, manifest.skeleton.name) == (3, "scan", "coco17")
    assert repeats(manifest) == {"b/a small 1.jpg": "a/1.jpg", "b/copy of 2.jpg": "a/2.jpg"}
    assert {s.path: s.group for s in manifest} == {
        **{f"a/{i}.jpg": "a" for i in range(6)},
        "b/a small 1.jpg": "b",
        "b/copy of 2.jpg": "b",
        "b/last.jpg": "b",
    }
    for sample in manifest:
        with Image.open(manifest.image_path(sample)) as image:
            assert image.size == sample.size
    assert (result.exact_duplicates, result.near_duplicates) == (1, 1)
    assert result.quarantined == {"not an image": 1, "truncated": 1, "empty": 1}


def test_what_is_set_aside_is_listed_with_its_reason(photos: Path, tmp_path: Path) -> None:
    scan(photos, out=tmp_path / "m", part_size=4)
    lines = (tmp_path / "m" / QUARANTINE).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(record["path"], record["reason"]) for record in records] == [
        ("b/bad\nname.jpg", "not an image"),
        ("b/cut.jpg", "truncated"),
        ("b/empty.png", "empty"),
    ]
    assert all(record["detail"] for record in records)


def test_the_summary_is_json(photos: Path, tmp_path: Path) -> None:
    result = scan(photos, out=tmp_path / "m")
    assert json.loads(to_json(result.summary())) == {
        "manifest": str(tmp_path / "m"),
        "samples": 9,
        "poses": 0,
        "digest": result.manifest.digest,
        "exact_duplicates": 1,
        "near_duplicates": 1,
        "quarantined": 3,
        "reasons": {"not an image": 1, "truncated": 1, "empty": 1},
    }


def test_parts_change_nothing(photos: Path, tmp_path: Path) -> None:
    results = [scan(photos, out=tmp_path / f"m{size}", part_size=size) for size in (1, 5, 100)]
    assert len({result.manifest.digest for result in results}) == 1
    assert len({to_json(result.summary() | {"manifest": ""}) for result in results}) == 1
    assert not list(tmp_path.glob("m*/learned-*")), "what was kept for a resume is not needed any more"


def test_options_reach_the_work(photos: Path, tmp_path: Path) -> None:
    exact = scan(photos, out=tmp_path / "exact", near_duplicates=False)
    assert repeats(exact.manifest) == {"b/copy of 2.jpg": "a/2.jpg"}
    assert (exact.exact_duplicates, exact.near_duplicates) == (1, 0)
    small = scan(photos, out=tmp_path / "small", max_pixels=96 * 64, skeleton="mpii16")
    assert {s.path for s in small.manifest} == {"b/last.jpg", "b/a small 1.jpg"}
    assert small.quarantined["too large"] == 7
    assert small.manifest.skeleton == Skeleton.load("mpii16")


def test_the_same_folder_again_is_nothing_to_do(photos: Path, tmp_path: Path) -> None:
    first = scan(photos, out=tmp_path / "m")
    for file in photos.rglob("*.jpg"):
        spoil(file)
    again = scan(photos, out=tmp_path / "m")
    assert to_json(again.summary()) == to_json(first.summary())


def test_a_changed_folder_is_another_scan(photos: Path, tmp_path: Path) -> None:
    scan(photos, out=tmp_path / "m")
    (photos / "new.jpg").write_bytes(jpeg(20))
    with pytest.raises(ExistsError, match="--overwrite"):
        scan(photos, out=tmp_path / "m")
    assert len(scan(photos, out=tmp_path / "m", overwrite=True).manifest) == 10


def test_other_options_are_another_scan(photos: Path, tmp_path: Path) -> None:
    scan(photos, out=tmp_path / "m")
    with pytest.raises(ExistsError):
        scan(photos, out=tmp_path / "m", group_by="folder")


def test_the_result_may_lie_inside_the_images(photos: Path) -> None:
    first = scan(photos, out=photos / "m")
    assert scan(photos, out=photos / "m").manifest.digest == first.manifest.digest


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"group_by": "("}, ConfigError, "regular expression"),
        ({"part_size": 0}, ConfigError, "at least 1"),
        ({"skeleton": "coco71"}, InputError, "coco17"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_made(
    photos: Path, tmp_path: Path, options: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        scan(photos, out=tmp_path / "m", **options)  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "m").exists()


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"photos: holds no images\. Give the folder"):
        scan(tmp_path / "photos", out=tmp_path / "m")
    with pytest.raises(InputError, match="is not a folder"):
        scan(tmp_path / "nowhere", out=tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_folder_of_bad_images_makes_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"text")
    with pytest.raises(InputError, match=r"none of 1 images can be read.*is not an image.*quarantine\.jsonl"):
        scan(tmp_path / "photos", out=tmp_path / "m")
    assert "not an image" in (tmp_path / "m" / QUARANTINE).read_text()


# Kill and resume

CHILD = """
import sys
from pipelines.scan import scan
from tests.doubles import Recorder, kill

scan(sys.argv[1], out=sys.argv[2], part_size=4, progress=Recorder(int(sys.argv[3]), kill))
"""


@pytest.mark.parametrize("files", [2, 6, 12])
def test_kill_9_anywhere_and_the_next_call_goes_on(photos: Path, tmp_path: Path, files: int) -> None:
    whole = scan(photos, out=tmp_path / "whole", part_size=4)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(photos), str(tmp_path / "m"), str(files)],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    finished = (files - 1) // 4
    if finished:  # what was read once is not read again: in the first part only the original of a later copy is
        for name in ("0", "3"):
            spoil(photos / "a" / f"{name}.jpg")
    progress = Recorder()
    resumed = scan(photos, out=tmp_path / "m", part_size=4, progress=progress)
    assert progress.steps["scan"] == [4] * finished + [1] * (12 - 4 * finished)
    assert resumed.manifest.digest == whole.manifest.digest
    assert to_json(resumed.summary() | {"manifest": ""}) == to_json(whole.summary() | {"manifest": ""})
    assert {file.name for file in (tmp_path / "m").iterdir()} == {file.name for file in (tmp_path / "whole").iterdir()}


def test_progress_counts_every_file_and_tells_of_the_quarantine(photos: Path, tmp_path: Path) -> None:
    progress = Recorder()
    result = scan(photos, out=tmp_path / "m", progress=progress)
    assert isinstance(result, ScanResult)
    assert (progress.totals["scan"], progress.done) == (12, 12)
    assert progress.notes[-1].startswith("3 files were set aside")


def test_a_finished_scan_is_a_finished_run(photos: Path, tmp_path: Path) -> None:
    scan(photos, out=tmp_path / "m")
    record = json.loads((tmp_path / "m" / "run.json").read_text())
    with Run.open(tmp_path / "m", "scan", config=record["config"], inputs=record["inputs"]) as run:
        assert run.state is RunState.DONE
