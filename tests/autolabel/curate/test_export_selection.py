"""A selection as a manifest of its own, and all that can be wrong with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from autolabel.curate.export_selection import IDS, export_poses, intention, target_of, written
from autolabel.curate.selection import Shown
from autolabel.errors import ExistsError, InputError, ManifestError
from autolabel.manifest import Manifest
from pipelines.subset import with_poses
from tests.curation import some_manifest

FIRST, LAST, STRANGER = f"{0:032x}", f"{2:032x}", f"{9:032x}"


def shown(source: Manifest) -> Shown:
    return Shown(None, None, False, source.skeleton.keypoints, str(source.path), source.digest)


def test_the_poses_and_their_ids_are_written(tmp_path: Path) -> None:
    asked = (LAST, FIRST, STRANGER)
    made, ids = export_poses(shown(some_manifest(tmp_path)), asked, tmp_path / "out", subset=with_poses)
    assert [sample.poses.id.tolist() for sample in Manifest.open(tmp_path / "out")] == [[FIRST], [LAST]]
    assert (ids, ids.read_text(encoding="utf-8")) == (tmp_path / "out" / IDS, f"{LAST}\n{FIRST}\n")
    said = written(made, ids, len(asked))
    assert said.startswith(f"2 poses in 2 images → `{tmp_path / 'out'}`")
    assert "1 pose of the selection left the manifest" in said
    assert "left the manifest" not in written(made, ids, 2)


def test_the_same_again_is_the_same_and_another_is_refused(tmp_path: Path) -> None:
    source = shown(some_manifest(tmp_path))
    first, _ = export_poses(source, [FIRST], tmp_path / "out", subset=with_poses)
    again, _ = export_poses(source, [FIRST], tmp_path / "out", subset=with_poses)
    assert first.digest == again.digest
    with pytest.raises(ExistsError):
        export_poses(source, [LAST], tmp_path / "out", subset=with_poses)
    assert (tmp_path / "out" / IDS).read_text(encoding="utf-8") == f"{FIRST}\n"


def test_a_manifest_that_is_gone_or_changed_is_refused(tmp_path: Path) -> None:
    source = shown(some_manifest(tmp_path))
    with pytest.raises(InputError, match="changed since it was shown"):
        export_poses(replace(source, digest="other"), [FIRST], tmp_path / "out", subset=with_poses)
    with pytest.raises(ManifestError):
        export_poses(replace(source, manifest=str(tmp_path / "gone")), [FIRST], tmp_path / "out", subset=with_poses)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_told_in_words(tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> Manifest:
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="cannot be written: No space left"):
        export_poses(shown(some_manifest(tmp_path)), [FIRST], tmp_path / "out", subset=full)


def test_a_folder_is_meant_beside_the_manifest(tmp_path: Path) -> None:
    source = shown(some_manifest(tmp_path))
    assert target_of(source, " chosen ") == tmp_path / "chosen"
    assert target_of(source, "/elsewhere/chosen") == Path("/elsewhere/chosen")
    assert target_of(source, "~/chosen") == Path("~/chosen").expanduser()
    with pytest.raises(InputError, match="folder"):
        target_of(source, " ")
    with pytest.raises(InputError, match="not written down"):
        target_of(replace(source, manifest=""), "chosen")


def test_the_form_says_what_will_happen(tmp_path: Path) -> None:
    source = shown(some_manifest(tmp_path))
    assert intention(source, 2, "the current view", "").startswith("**2 poses** of the current view\n")
    assert f"→ `{tmp_path / 'chosen'}`" in intention(source, 2, "the current view", "chosen")
    with pytest.raises(InputError, match="No pose"):
        intention(source, 0, "the current view", "")
