"""Corpora in an object store: a real S3 client against a server that speaks S3, started on a free port."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel import stores
from autolabel.corpus import scan_images
from autolabel.errors import ConfigError, ImageError, InputError, LostServerError
from autolabel.image_faults import Reason
from autolabel.images import read_bytes, read_image
from autolabel.listing import Quarantined
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.roots import corpus_roots
from autolabel.skeleton import Skeleton
from autolabel.stores import is_stored, kept_place, list_stored, place_of, url_of
from pipelines.scan import scan
from tests.doubles import Recorder
from tests.object_store import BUCKET, point_to, server, store, upload

__all__ = ["server", "store"]

NAMES = ("b.jpg", "a.png", "deep/2.jpg", "deep/1.jpg", "deep/er/ü #1.jpg", "other/x.webp")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures on this machine."""
    folder = tmp_path / "photos"
    for i, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (4, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((60, 40)).save(folder / name)
    return folder


# ---- names


def test_a_place_in_a_store_is_a_path_that_knows_its_store() -> None:
    place = Path("s3://bucket/photos")
    assert is_stored(place) and is_stored("s3://bucket") and is_stored(place / "a.jpg")
    assert url_of(place / "deep" / "a.jpg") == "s3://bucket/photos/deep/a.jpg"
    assert not any(is_stored(path) for path in ("/s3:/bucket", "photos", "a:", "C:/x", "", "./s3:/bucket"))
    assert not is_stored(Path("s3:/bucket").resolve())


def test_what_a_manifest_keeps_of_a_place(tmp_path: Path) -> None:
    for place in (Path("s3://bucket/photos"), tmp_path / "beside", Path("/elsewhere/photos")):
        kept = kept_place(place, tmp_path / "m")
        assert Path(os.path.normpath(place_of(tmp_path / "m", kept))) == place
    assert kept_place(Path("s3://bucket/photos"), tmp_path) == "s3://bucket/photos"
    assert kept_place(tmp_path / "beside", tmp_path / "m") == "../beside"


def test_roots_in_stores_have_names_like_others(tmp_path: Path) -> None:
    (one,) = corpus_roots("s3://bucket/photos")
    assert (one.name, one.folder) == ("images", Path("s3://bucket/photos"))
    (tmp_path / "local").mkdir()
    roots = corpus_roots(["far=s3://bucket/photos", str(tmp_path / "local"), "gs://bucket/more"])
    assert [(root.name, str(root.folder)) for root in roots] == [
        ("far", "s3:/bucket/photos"), ("local", str(tmp_path / "local")), ("more", "gs:/bucket/more"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="lies inside"):
        corpus_roots(["a=s3://bucket", "b=s3://bucket/deep"])


# ---- listing and reading


def test_a_store_is_listed_as_a_folder_is(store: Any, photos: Path) -> None:
    for name in (".hidden.jpg", ".git/a.jpg", "notes.txt", "film.mp4"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"x")
    place = upload(photos, store)
    store.pipe(f"{BUCKET}/corpus/deep/", b"")  # what a console makes when somebody makes a folder
    found = list(list_stored(place))
    assert [path for path, _, _ in found] == [
        "a.png", "b.jpg", "film.mp4", "notes.txt", "deep/1.jpg", "deep/2.jpg", "deep/er/ü #1.jpg", "other/x.webp",
    ]  # fmt: skip
    assert all(size == (photos / path).stat().st_size and written > 1e18 for path, size, written in found)


def test_the_same_samples_as_on_this_machine(store: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "deep" / "copy.jpg").write_bytes((photos / "b.jpg").read_bytes())
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "empty.png").write_bytes(b"")
    place = upload(photos, store)
    near, far = scan(photos, out=tmp_path / "near"), scan(place, out=tmp_path / "far")
    assert far.manifest.digest == near.manifest.digest
    assert far.quarantined == near.quarantined and sum(near.quarantined.values()) == 2
    assert far.exact_duplicates == near.exact_duplicates == 1
    again = Manifest.open(tmp_path / "far")
    assert again.roots == {"images": Path(place)}
    for sample in again:
        assert np.array_equal(read_image(again.image_path(sample)), read_image(photos / sample.path))
    assert scan(place, out=tmp_path / "far").manifest.digest == near.manifest.digest, "the same command again"


def test_paths_stay_inside_their_place(tmp_path: Path) -> None:
    sample = Sample("s", "images", "../secret.jpg", (6, 4), Poses.empty(17))
    root = Path("s3://bucket/photos")
    manifest = write_manifest(tmp_path / "m", [sample], Skeleton.load("coco17"), {"images": root}, stage="test")
    with pytest.raises(InputError, match="leaves its corpus root"):
        manifest.image_path(sample)


def test_objects_that_cannot_be_read_have_a_reason(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pipe(f"{BUCKET}/empty.jpg", b"")
    store.pipe(f"{BUCKET}/large.jpg", b"12345")
    for name, reason in (("gone.jpg", Reason.VANISHED), ("empty.jpg", Reason.EMPTY)):
        with pytest.raises(ImageError) as refused:
            read_bytes(f"s3://{BUCKET}/{name}")
        assert refused.value.reason == reason
    monkeypatch.setattr("autolabel.images.MAX_BYTES", 4)
    with pytest.raises(ImageError, match="5 bytes") as refused:
        read_bytes(f"s3://{BUCKET}/large.jpg")
    assert refused.value.reason == Reason.TOO_LARGE


def test_what_is_not_there_is_told(store: Any, tmp_path: Path) -> None:
    store.pipe(f"{BUCKET}/text/notes.txt", b"x")
    for place in (f"s3://{BUCKET}/nothing", "s3://no-such-bucket/photos", f"s3://{BUCKET}/text"):
        with pytest.raises(InputError, match="holds no"):
            scan(place, out=tmp_path / "m")
    with pytest.raises(InputError, match="kind of store"):
        scan("nosuch://bucket/photos", out=tmp_path / "m")
    with pytest.raises(ConfigError, match="takes no frames"):
        scan(f"s3://{BUCKET}/text", out=tmp_path / "m", every=10)


def test_a_store_that_does_not_answer_stops_the_job_and_loses_nothing(
    store: Any, server: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = upload(photos, store)
    whole = scan(place, out=tmp_path / "whole").manifest
    reads, read = list[str](), stores.read_stored

    def dies(path: str | Path, most: int) -> bytes:
        reads.append(str(path))
        if len(reads) > 3:
            point_to("http://127.0.0.1:9", monkeypatch)
        return read(path, most)

    monkeypatch.setattr("autolabel.images.read_stored", dies)
    with pytest.raises(LostServerError, match="goes on where it stopped"):
        scan(place, out=tmp_path / "m", part_size=2)
    assert not (tmp_path / "m" / "manifest.json").exists()
    monkeypatch.setattr("autolabel.images.read_stored", read)
    point_to(server, monkeypatch)
    progress = Recorder()
    first = (tmp_path / "m" / "samples-00000.parquet").stat().st_mtime_ns
    assert scan(place, out=tmp_path / "m", part_size=2, progress=progress).manifest.digest == whole.digest
    assert (tmp_path / "m" / "samples-00000.parquet").stat().st_mtime_ns == first
    assert progress.steps["scan"][0] == 2, "a finished part is counted at once"


def test_a_bucket_that_is_gone_or_closed_is_no_reason_to_set_images_aside(
    store: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(photos, store)
    with pytest.raises(LostServerError):
        read_bytes("s3://gone-altogether/a.jpg")

    monkeypatch.setattr(store, "info", forbidden)
    with pytest.raises(LostServerError, match="Forbidden"):
        read_bytes(f"s3://{BUCKET}/corpus/a.png")


def forbidden(path: str) -> Any:
    raise PermissionError(f"Forbidden: {path}")


def test_one_object_that_may_not_be_read_is_set_aside(
    store: Any, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(photos, store)

    monkeypatch.setattr(store, "cat_file", forbidden)
    with pytest.raises(ImageError) as refused:
        read_bytes(f"s3://{BUCKET}/corpus/a.png")
    assert refused.value.reason == Reason.NO_PERMISSION


def test_single_objects_can_be_scanned(store: Any, photos: Path, tmp_path: Path) -> None:
    place = upload(photos, store)
    manifest = scan([f"{place}/b.jpg", f"{place}/a.png"], out=tmp_path / "m").manifest
    assert [sample.path for sample in manifest] == ["a.png", "b.jpg"]
    with pytest.raises(InputError, match="holds nothing"):
        scan(f"{place}/gone.jpg", out=tmp_path / "other")


def test_no_password_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    point_to("http://me:secret@127.0.0.1:9", monkeypatch)
    with pytest.raises(LostServerError) as lost:
        read_bytes("s3://bucket/a.jpg")
    assert "secret" not in str(lost.value)


def test_an_object_that_vanishes_is_set_aside(store: Any, photos: Path) -> None:
    place = Path(upload(photos, store))
    from autolabel.listing import list_images

    listing = list(list_images(place))
    store.rm(f"{BUCKET}/corpus/a.png")
    found = list(scan_images(place, listing, num_keypoints=17))
    aside = [item for item in found if isinstance(item, Quarantined)]
    assert [(item.path, item.reason) for item in aside] == [("a.png", Reason.VANISHED)]
    assert len(found) == len(NAMES)
