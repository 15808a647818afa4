"""A manifest is there entirely or not at all, streams, and tells what is wrong with it."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ExistsError, ManifestError
from autolabel.manifest import (
    COMMIT,
    SCHEMA_VERSION,
    Existing,
    Manifest,
    ManifestWriter,
    Parent,
    part_file,
    write_manifest,
    write_text,
)
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton

K = 3
SKELETON = Skeleton.from_dict({"name": "arm", "keypoints": ["neck", "left_hand", "right_hand"]})
ROOTS = {"images": "/corpus"}
NAN = float("nan")


def sample(i: int, poses: int | None = None) -> Sample:
    """A sample that its number makes unique; every third one holds nobody."""
    n = i % 3 if poses is None else poses
    rng = np.random.default_rng(i)
    xy = rng.uniform(0, 100, (n, K, 2))
    xy[rng.random((n, K)) < 0.3] = NAN
    return Sample(
        id=f"{i:032x}",
        root="images",
        path=f"folder/{i}.jpg",
        size=(100 + i, 50),
        group=f"g{i // 4}",
        duplicate_of="folder/0.jpg" if i == 5 else "",
        attributes={"licence": i},
        poses=Poses.create(
            K, id=[f"{i}-{j}" for j in range(n)], xy=xy, area=rng.random(n), attributes=[{"track": i}] * n
        ),
    )


SAMPLES = [sample(i) for i in range(10)]


def write(path: Path, samples: list[Sample] = SAMPLES, **options: Any) -> Manifest:
    options = {"skeleton": SKELETON, "roots": ROOTS, "stage": "test", "part_size": 4} | options
    return write_manifest(path, samples, **options)


def writer(path: Path, existing: Existing = Existing.ERROR) -> ManifestWriter:
    return ManifestWriter(path, SKELETON, ROOTS, stage="test", existing=existing)


def same(one: Sample, other: Sample) -> bool:
    return vars(one) | {"poses": None} == vars(other) | {"poses": None} and one.poses.equals(other.poses)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = write(tmp_path / "m", parents=[Parent("boxes", "abc")])
    for manifest in (written, Manifest.open(tmp_path / "m"), Manifest.open(str(tmp_path / "m"))):
        assert len(manifest) == 10
        assert manifest.counts == {"samples": 10, "poses": sum(len(s.poses) for s in SAMPLES)}
        assert (manifest.num_parts, manifest.stage) == (3, "test")
        assert manifest.parents == (Parent("boxes", "abc"),)
        assert manifest.skeleton == SKELETON
        assert all(same(*pair) for pair in zip(manifest, SAMPLES, strict=True))
        assert [[s.path for s in batch] for batch in manifest.batches(7)] == [
            [s.path for s in SAMPLES[:7]],
            [s.path for s in SAMPLES[7:]],
        ]


def test_an_empty_manifest(tmp_path: Path) -> None:
    manifest = write(tmp_path / "m", [])
    assert (len(manifest), list(manifest), manifest.counts["poses"]) == (0, [], 0)


def test_reading_streams_part_by_part(tmp_path: Path) -> None:
    manifest = write(tmp_path / "m")
    part_file(manifest.path, "samples", 2).unlink()
    stream = iter(manifest)
    assert len([next(stream) for _ in range(8)]) == 8  # the third part is not touched before its turn
    with pytest.raises(ManifestError, match="samples-00002"):
        next(stream)


def test_a_generator_is_consumed_part_by_part(tmp_path: Path) -> None:
    def samples() -> Any:
        for i, item in enumerate(SAMPLES):
            if i == 9:
                assert part_file(tmp_path / "m", "samples", 1).exists()
            yield item

    write(tmp_path / "m", samples())  # pyright: ignore[reportArgumentType]


# The digest


def test_the_digest_depends_on_the_data_alone(tmp_path: Path) -> None:
    first = write(tmp_path / "a").digest
    assert write(tmp_path / "b", part_size=1).digest == first
    assert write(tmp_path / "c", SAMPLES[::-1], part_size=3).digest == first
    moved = write(tmp_path / "d", roots={"images": "/elsewhere"}, stage="other", parents=[Parent("x", "y")])
    assert moved.digest == first
    with writer(tmp_path / "e") as parts:
        poses = sum(len(s.poses) for s in SAMPLES)
        parts.write_part(0, SAMPLES, {"peak": np.zeros((poses, K), np.float32)})
    assert Manifest.open(tmp_path / "e").digest == first


def test_the_digest_sees_any_change(tmp_path: Path) -> None:
    first = write(tmp_path / "a").digest
    moved = SAMPLES[4].poses.xy.copy()
    index = tuple(np.argwhere(~np.isnan(moved[..., 0]))[0])
    moved[index] = np.nextafter(moved[index], np.float32(1e9))
    nudged = [*SAMPLES[:4], SAMPLES[4].with_poses(SAMPLES[4].poses.replace(xy=moved)), *SAMPLES[5:]]
    sharper = Skeleton.from_dict(SKELETON.to_dict() | {"sigmas": [0.05, 0.05, 0.06]})
    renamed = Skeleton.from_dict(SKELETON.to_dict() | {"keypoints": ["neck", "left_fist", "right_fist"]})
    digests = {
        write(tmp_path / "b", nudged).digest,
        write(tmp_path / "c", SAMPLES[:9]).digest,
        write(tmp_path / "d", [*SAMPLES, SAMPLES[0]]).digest,
        write(tmp_path / "e", skeleton=sharper).digest,
        write(tmp_path / "f", skeleton=renamed).digest,
    }
    assert len(digests | {first}) == 6


# Writing: all or nothing, resume, overwrite


def test_commit_comes_last(tmp_path: Path) -> None:
    parts = writer(tmp_path / "m")
    parts.write_part(0, SAMPLES[:4])
    assert not (tmp_path / "m" / COMMIT).exists()
    with pytest.raises(ManifestError, match=r"unfinished.*goes on where it stopped"):
        Manifest.open(tmp_path / "m")
    parts.write_part(2, SAMPLES[8:])
    with pytest.raises(ManifestError, match="part 1 is missing"):
        parts.commit()
    parts.write_part(1, SAMPLES[4:8])
    assert parts.commit().digest == write(tmp_path / "whole").digest


def test_an_error_inside_the_block_commits_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "m") as parts:
        parts.write_part(0, SAMPLES[:4])
        raise ZeroDivisionError
    assert not (tmp_path / "m" / COMMIT).exists()
    with writer(tmp_path / "m", Existing.RESUME) as parts:
        assert parts.finished_parts() == {0}
    assert len(Manifest.open(tmp_path / "m")) == 4


def test_resume_keeps_finished_parts(tmp_path: Path) -> None:
    writer(tmp_path / "m").write_part(1, SAMPLES[4:8])
    file = part_file(tmp_path / "m", "samples", 1)
    before = file.stat()
    assert write(tmp_path / "m", existing=Existing.RESUME).digest == write(tmp_path / "whole").digest
    assert file.stat().st_ino == before.st_ino


@pytest.mark.parametrize("existing", [Existing.ERROR, Existing.RESUME])
def test_a_finished_manifest_is_not_touched(tmp_path: Path, existing: Existing) -> None:
    digest = write(tmp_path / "m").digest
    with pytest.raises(ExistsError, match=r"holds a manifest already.*--overwrite"):
        write(tmp_path / "m", SAMPLES[:2], existing=existing)
    assert Manifest.open(tmp_path / "m").digest == digest


def test_unfinished_work_is_not_touched_either(tmp_path: Path) -> None:
    writer(tmp_path / "m").write_part(0, SAMPLES[:4])
    with pytest.raises(ExistsError):
        writer(tmp_path / "m")


def test_overwrite_removes_the_manifest_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "m")
    (tmp_path / "m" / "notes.txt").write_text("mine")
    (tmp_path / "m" / "results-2024.parquet").write_text("mine")
    (tmp_path / "neighbour").mkdir()
    (tmp_path / "neighbour" / "samples-00000.parquet").write_text("mine")
    manifest = write(tmp_path / "m", SAMPLES[:2], existing=Existing.OVERWRITE)
    assert (len(manifest), manifest.num_parts) == (2, 1)
    assert not part_file(tmp_path / "m", "poses", 2).exists()
    for kept in ("m/notes.txt", "m/results-2024.parquet", "neighbour/samples-00000.parquet"):
        assert (tmp_path / kept).read_text() == "mine"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("mine")
    for path in (tmp_path / "m", tmp_path / "m" / "below"):
        with pytest.raises(ExistsError, match="a file stands"):
            writer(path)
    assert (tmp_path / "m").read_text() == "mine"


@pytest.mark.parametrize(
    ("samples", "features", "message"),
    [
        ([Sample("s", "images", "a.jpg", (1, 1), Poses.create(K + 1, area=[1]))], None, "4 keypoints, skeleton has 3"),
        ([sample(1)], {"peak": np.zeros((2, K))}, "'peak' has another length"),
        ([sample(2), Sample("s", "images", "\udcff.jpg", (1, 1), Poses.empty(K))], None, "not valid UTF-8"),
    ],
)
def test_a_part_that_does_not_fit_leaves_nothing(
    tmp_path: Path, samples: list[Sample], features: Any, message: str
) -> None:
    parts = writer(tmp_path / "m")
    with pytest.raises(ManifestError, match=message):
        parts.write_part(0, samples, features)
    assert list((tmp_path / "m").iterdir()) == []


CHILD = """
import os, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
from test_manifest import K, SAMPLES, part_file, writer

out, kind = Path(sys.argv[1]), sys.argv[2]
parts = writer(out)
features = {{"peak": np.zeros((sum(len(s.poses) for s in SAMPLES[:4]), K))}}
parts.write_part(0, SAMPLES[:4], features)
# Writing into a pipe that nobody reads stops the process in the middle of the part.
stuck = part_file(out, kind, 1)
os.mkfifo(stuck.with_name(f".{{stuck.name}}.{{os.getpid()}}.tmp"))
print("ready", flush=True)
features = {{"peak": np.zeros((sum(len(s.poses) for s in SAMPLES[4:8]), K))}}
parts.write_part(1, SAMPLES[4:8], features)
"""
ORDER = ["features", "poses", "samples"]


@pytest.mark.parametrize("kind", ORDER)
def test_kill_9_in_the_middle_of_a_part_leaves_a_folder_to_go_on_with(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "m"
    code = CHILD.format(tests=str(Path(__file__).parent))
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(out), kind], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        before = ORDER[: ORDER.index(kind)]
        wait_until(lambda: all(part_file(out, done, 1).exists() for done in before))
        time.sleep(0.05)
        assert child.poll() is None, "it went past the pipe: the names of temporary files have changed"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL

    with pytest.raises(ManifestError, match="unfinished"):
        Manifest.open(out)
    parts = writer(out, Existing.RESUME)
    assert parts.finished_parts() == {0}
    parts.write_part(1, SAMPLES[4:8])
    parts.write_part(2, SAMPLES[8:])
    manifest = parts.commit()
    assert manifest.digest == write(tmp_path / "whole").digest
    assert all(same(*pair) for pair in zip(manifest, SAMPLES, strict=True))


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# Reading what is not in order


def edited(path: Path, **changes: Any) -> None:
    record = json.loads((path / COMMIT).read_text())
    (path / COMMIT).write_text(json.dumps(record | changes))


def broken_json(path: Path) -> None:
    (path / COMMIT).write_text((path / COMMIT).read_text()[:-20])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken_json, "is damaged"),
        (lambda path: (path / COMMIT).write_text("[]"), "is damaged"),
        (lambda path: (path / COMMIT).write_bytes(b"\xff\xfe\x00"), "is damaged"),
        (lambda path: (path / COMMIT).write_text(json.dumps({"schema": 1})), "is damaged.*skeleton"),
        (lambda path: edited(path, roots=[]), "is damaged"),
        (lambda path: edited(path, counts=[[1]]), "is damaged"),
        (lambda path: edited(path, schema="new"), "is damaged"),
        (lambda path: edited(path, schema=SCHEMA_VERSION + 1), "newer than this version.*Upgrade"),
        (lambda path: (path / COMMIT).unlink(), "unfinished"),
    ],
)
def test_a_manifest_that_cannot_be_opened(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    write(tmp_path / "m")
    damage(tmp_path / "m")
    with pytest.raises(ManifestError, match=message):
        Manifest.open(tmp_path / "m")


@pytest.mark.parametrize("name", ["nothing", "."])
def test_what_is_no_manifest(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match=r"not a manifest folder.*autolabel scan"):
        Manifest.open(tmp_path / name)


@pytest.mark.parametrize("kind", ["samples", "poses"])
@pytest.mark.parametrize("content", [None, b"", b"PAR1 but not really"])
def test_a_damaged_part_is_named(tmp_path: Path, kind: str, content: bytes | None) -> None:
    manifest = write(tmp_path / "m")
    file = part_file(tmp_path / "m", kind, 1)
    if content is None:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.write_bytes(content)
    assert len(manifest.part(0)) == 4
    with pytest.raises(ManifestError, match=r"cannot be read.*make the manifest again") as refused:
        manifest.part(1)
    assert refused.value.subject == str(file)


def test_features_are_aligned_with_the_poses_of_their_part(tmp_path: Path) -> None:
    with writer(tmp_path / "m") as parts:
        for i, part in enumerate((SAMPLES[:4], SAMPLES[4:8])):
            ids = [float(pose_id.replace("-", ".")) for s in part for pose_id in s.poses.id]
            parts.write_part(i, part, {"who": np.array(ids)})
        parts.write_part(2, SAMPLES[8:])
    manifest = Manifest.open(tmp_path / "m")
    for i in (0, 1):
        features = manifest.features(i)
        assert features is not None
        assert [str(who).replace(".", "-") for who in features["who"]] == manifest.poses(i).id.tolist()
    assert manifest.features(2) is None


# Where the images are


@pytest.mark.parametrize("path", ["../a.jpg", "x/../../a.jpg", "/etc/passwd", "", "x/.."])
def test_a_path_may_not_leave_its_root(tmp_path: Path, path: str) -> None:
    manifest = write(tmp_path / "m", [Sample("s", "images", path, (1, 1), Poses.empty(K))])
    with pytest.raises(ManifestError, match="leaves its corpus root"):
        manifest.image_path(next(iter(manifest)))


def test_images_are_found_below_their_root(tmp_path: Path) -> None:
    manifest = write(tmp_path / "m", [sample(1)])
    assert manifest.image_path(sample(1)) == Path("/corpus/folder/1.jpg")
    stranger = Sample("s", "elsewhere", "a.jpg", (1, 1), Poses.empty(K))
    with pytest.raises(ManifestError, match="root 'elsewhere' is unknown"):
        manifest.image_path(stranger)


def test_a_manifest_moves_together_with_images_beside_it(tmp_path: Path) -> None:
    (tmp_path / "project" / "images" / "folder").mkdir(parents=True)
    image = tmp_path / "project" / "images" / "folder" / "1.jpg"
    image.write_bytes(b"image")
    write(tmp_path / "project" / "m", [sample(1)], roots={"images": tmp_path / "project" / "images"})
    (tmp_path / "project").rename(tmp_path / "moved")
    manifest = Manifest.open(tmp_path / "moved" / "m")
    assert manifest.image_path(sample(1)).read_bytes() == b"image"


def test_readers_of_a_file_that_is_replaced_see_the_old_one_whole(tmp_path: Path) -> None:
    parts = writer(tmp_path / "m")
    parts.write_part(0, SAMPLES[:4])
    file = part_file(tmp_path / "m", "samples", 0)
    old = file.read_bytes()
    with file.open("rb") as reader:
        parts.write_part(0, SAMPLES[4:8])
        assert reader.read() == old
    assert file.read_bytes() != old


def test_text_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text(file, "old")
    with file.open() as reader:
        write_text(file, "new")
        assert reader.read() == "old"
    write_text(file, json.dumps({"é": "\udcff"}, ensure_ascii=False))
    assert json.loads(file.read_text(encoding="utf-8")) == {"é": "\udcff"}
    assert list(tmp_path.iterdir()) == [file]
