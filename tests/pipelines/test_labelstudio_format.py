"""Label Studio exports and tasks by command."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ConfigError
from autolabel.manifest import Manifest
from pipelines.export import export
from pipelines.import_ import QUARANTINE, import_
from tests.autolabel.formats import labelstudio_exports as ls
from tests.doubles import Recorder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("1.jpg", (ls.HEIGHT, ls.WIDTH, 3)), ("3.jpg", (50, 50, 3))):
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(folder / name)
    (folder.parent / "face.json").write_text(json.dumps(ls.FACE.to_dict()))
    return folder


def person(id: str, x: float = 0) -> list[ls.Item]:
    return [ls.kp("nose", x + 10, parent=id), ls.box(id, x, 0, 40, 90)]


def imported(folder: Path, *tasks: dict[str, object], out: str = "m", **options: object) -> Manifest:
    src = ls.export(folder, *tasks)
    given = {"images": folder / "images", "out": folder / out, "skeleton": folder / "face.json", **options}
    return import_("labelstudio", src, **given).manifest  # pyright: ignore[reportArgumentType]


def test_what_does_not_fit_its_image_is_set_aside(images: Path, tmp_path: Path) -> None:
    notes = Recorder()
    tasks = [ls.task(ls.annotation(*person("a")), id=i) for i in (1, 2, 3)]
    manifest = imported(tmp_path, *tasks, progress=notes)
    assert [sample.path for sample in manifest] == ["1.jpg"]
    aside = [json.loads(line) for line in (manifest.path / QUARANTINE).read_text().splitlines()]
    # The second has no file: it is known by the name in its address. The third is of another size.
    assert [(line["path"], line["poses"]) for line in aside] == [("upload/1/d4e4a592-2.jpg", 1), ("3.jpg", 1)]


def test_poses_keep_their_ids_in_whatever_order_a_project_tells_them(images: Path, tmp_path: Path) -> None:
    one = imported(tmp_path, ls.task(ls.annotation(*person("a"), *person("b", 50))))
    two = imported(tmp_path, ls.task(ls.annotation(*person("b", 50), *person("a"))), out="n")
    first, second = next(iter(one)).poses, next(iter(two)).poses
    assert len(set(first.id)) == 2
    assert first.id.tolist() == second.id.tolist()[::-1]
    assert set(first.by) == {"annotator-7"}


def test_out_and_back_is_the_same_manifest(images: Path, tmp_path: Path) -> None:
    sent = imported(tmp_path, ls.task(ls.annotation(*person("a"), *person("b", 50))))
    result = export("labelstudio", sent.path, out=tmp_path / "tasks", image_url="s3://bucket/photos/")
    assert (result.images, result.poses, result.lost) == (1, 2, {})
    (task,) = json.loads((tmp_path / "tasks" / "tasks-00000.json").read_text())
    assert task["data"]["image"] == "s3://bucket/photos/1.jpg"
    back = import_("labelstudio", tmp_path / "tasks", images=images, out=tmp_path / "back").manifest
    assert back.digest == sent.digest


def test_words_that_are_none_are_refused(images: Path, tmp_path: Path) -> None:
    task = ls.task(ls.annotation(*person("a")))
    with pytest.raises(ConfigError, match=r"--annotations: is 'best'\. Known: latest, first, ground-truth"):
        imported(tmp_path, task, annotations="best")
    manifest = imported(tmp_path, task)
    with pytest.raises(ConfigError, match=r"--as: is 'labels'\. Known: annotations, predictions"):
        export("labelstudio", manifest.path, out=tmp_path / "x", as_="labels")
    with pytest.raises(ConfigError, match="--image-url: means nothing to 'coco'"):
        export("coco", manifest.path, out=tmp_path / "x", image_url="s3://x/")


def test_attributes_may_be_anything(images: Path, tmp_path: Path) -> None:
    """Our own block may hold attributes of the names under which other tools' words travel."""
    task = ls.task(ls.annotation(*person("a")), meta={"autolabel": {"schema": 1}})
    block = {"region": "a", "attributes": {"coco": 5, "labelstudio": "x"}}
    task["annotations"][0]["result"][1]["meta"] = {"autolabel": block}
    (sample,) = imported(tmp_path, task)
    assert sample.poses.attributes[0] == {"coco": 5, "labelstudio": "x"}
    assert sample.poses.id[0]
