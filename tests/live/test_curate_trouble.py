"""What goes wrong between a manifest and FiftyOne: names, skeletons, images, and a database that dies."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from autolabel.errors import InputError, SkeletonError
from autolabel.manifest import write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.curate import curate
from tests.curation import SIZES, some_manifest, some_poses, some_samples
from tests.live.curator import again, load, tag
from tests.live.mongodb import mongod

pytestmark = pytest.mark.live


def test_a_name_that_is_taken_is_refused_and_left_alone(fiftyone_module, name, shown) -> None:
    other = fiftyone_module.Dataset(name)
    other.persistent = True
    other.add_sample(fiftyone_module.Sample(filepath="/somewhere.jpg"))
    with pytest.raises(InputError, match="did not make"):
        curate(shown, name=name)
    assert len(load(fiftyone_module, name)) == 1
    with pytest.raises(InputError, match="did not make"):
        curate(shown, name=name, pull=True, out=shown.path / "x")


def test_another_skeleton_is_refused(fiftyone_module, name, shown, tmp_path) -> None:
    curate(shown, name=name)
    small = Skeleton.load("lsp14")
    sample = Sample("0" * 64, "images", "a/0.png", SIZES[0], Poses.empty(small.num_keypoints))
    other = write_manifest(tmp_path / "other.m", [sample], small, shown.roots, stage="test")
    with pytest.raises(SkeletonError, match="another skeleton"):
        curate(other, name=name)


def test_nothing_to_pull_from(fiftyone_module, name, shown, tmp_path) -> None:
    with pytest.raises(InputError, match="no such FiftyOne data set"):
        curate(shown, name=name, pull=True, out=tmp_path / "curated")
    assert not (tmp_path / "curated").exists()


def test_missing_images_are_counted_and_none_at_all_is_refused(fiftyone_module, name, shown, tmp_path) -> None:
    (tmp_path / "images/a/0.png").unlink()
    assert curate(shown, name=name).shown.missing == 1
    for file in (tmp_path / "images/a").glob("*.png"):
        file.unlink()
    with pytest.raises(InputError, match="none of its images is where it says"):
        curate(shown, name=name)


def test_marks_on_what_left_the_manifest_are_notices(fiftyone_module, name, shown, tmp_path) -> None:
    curate(shown, name=name)
    tag(fiftyone_module, name, 2, "accept")
    smaller = again(shown, [some_samples()[0]])
    curate(smaller, name=name)
    pulled = curate(smaller, name=name, pull=True, out=tmp_path / "curated").pulled
    assert (pulled.accepted, pulled.notices) == (0, 1)


def test_a_database_that_dies_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    """In a process of its own, because its database dies; the same command then goes on."""
    import subprocess
    import sys

    from pipelines.mongodb_process import OwnMongodb, start, stop

    samples = [
        replace(some_samples()[0], id=f"{i:064x}", path=f"a/{i}.png", poses=some_poses(2, 2 * i)) for i in range(1200)
    ]
    manifest = some_manifest(tmp_path, samples)
    server = OwnMongodb.at(tmp_path / "database")
    start(server, mongod())
    program = f"""
import sys
from autolabel.errors import LostServerError
from autolabel.curate import sync
from pipelines.curate import curate
import os, signal
real, batches = sync._digests, []
def digests(dataset, keys):
    batches.append(len(keys))
    if len(batches) == 2 and sys.argv[1] == "dies":
        os.kill({server.process()}, signal.SIGKILL)
    return real(dataset, keys)
sync._digests = digests
try:
    done = curate({str(manifest.path)!r}, name="dies").shown.synced
    print("done", done.added, done.unchanged)
except LostServerError as error:
    print("lost", error.remedy)
"""
    try:
        environment = {**os.environ, "FIFTYONE_DATABASE_URI": f"{server.uri()}/?serverSelectionTimeoutMS=2000"}

        def run(how: str) -> str:
            command = [sys.executable, "-c", program, how]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
            return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-2000:]

        assert run("dies").startswith("lost See that it runs, then run the command again")
        start(server, mongod())
        environment["FIFTYONE_DATABASE_URI"] = f"{server.uri()}/?serverSelectionTimeoutMS=2000"
        assert run("lives") == "done 700 500"
    finally:
        stop(server)
