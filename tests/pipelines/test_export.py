import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ConfigError, ExistsError, ManifestError
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.export import export
from pipelines.import_ import import_
from tests.doubles import Recorder

PAIR = Skeleton("pair", ("left_a", "right_a"), ((0, 1),), (1, 0), (0.03, 0.03), "test")
REAL = Path(__file__).parents[3] / "shared/data/coco25"


def sample(name: str, *states: str, root: str = "images") -> Sample:
    n = len(states)
    poses = Poses.create(
        2,
        id=[f"{root}-{name}-{i}" for i in range(n)],
        xy=np.full((n, 2, 2), 1.5),
        visibility=np.full((n, 2), 2),
        box=[[0, 0, 9, 9]] * n,
        attributes=[{"state": state} for state in states],
    )
    return Sample("0" * 32, root, name, (10, 10), poses)


def manifest(folder: Path, *samples: Sample) -> Manifest:
    roots = {sample.root: folder / sample.root for sample in samples} or {"images": folder}
    return write_manifest(folder / "m", samples, PAIR, roots, stage="test")


@pytest.mark.parametrize(
    ("images", "written", "poses", "crowds"),
    [("complete", ["a.jpg"], 1, 0), ("ignore-regions", ["a.jpg", "b.jpg"], 3, 1), ("all", ["a.jpg", "b.jpg"], 3, 0)],
)
def test_image_policies(tmp_path: Path, images: str, written: list[str], poses: int, crowds: int) -> None:
    made = manifest(tmp_path, sample("a.jpg", "accepted"), sample("b.jpg", "accepted", "review"))
    result = export("coco", made.path, out=tmp_path / "out.json", images=images)
    content = json.loads((tmp_path / "out.json").read_text())
    assert [image["file_name"] for image in content["images"]] == written
    assert len(content["annotations"]) == poses
    assert sum(annotation["iscrowd"] for annotation in content["annotations"]) == crowds
    assert (result.images, result.poses, result.left_out) == (len(written), poses, 2 - len(written))
    assert result.summary()["left_out"] == 2 - len(written)


def test_paths_of_several_roots_do_not_collide(tmp_path: Path) -> None:
    made = manifest(tmp_path, sample("a.jpg", root="one"), sample("a.jpg", root="two"))
    export("coco", made.path, out=tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["one/a.jpg", "two/a.jpg"]


def test_errors(tmp_path: Path) -> None:
    made = manifest(tmp_path, sample("a.jpg", "accepted"))
    out = tmp_path / "out.json"
    with pytest.raises(ConfigError, match="unknown format 'pdf'"):
        export("pdf", made.path, out=out)
    with pytest.raises(ConfigError, match=r"--images: is 'some'. Known: complete, ignore-regions, all"):
        export("coco", made.path, out=out, images="some")
    with pytest.raises(ManifestError, match="not a manifest folder"):
        export("coco", tmp_path, out=out)
    export("coco", made.path, out=out)
    with pytest.raises(ExistsError, match="--overwrite"):
        export("coco", made.path, out=out)
    export("coco", made.path, out=out, overwrite=True)


def round_trip(labels: Path, images: Path, folder: Path) -> tuple[Manifest, Manifest, dict[str, Any]]:
    first = import_("coco", labels, images=images, out=folder / "m1").manifest
    export("coco", first.path, out=folder / "again.json")
    second = import_("coco", folder / "again.json", images=images, out=folder / "m2").manifest
    return first, second, json.loads((folder / "again.json").read_text())


def test_import_of_an_export_is_the_same_manifest(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "images/a.png")
    labels = {
        "info": {"year": 2026},
        "licenses": [{"id": 1}],
        "categories": [{"id": 3, "name": "thing", "keypoints": ["left_a", "right_a"], "skeleton": [[2, 1]]}],
        "images": [{"id": 9, "file_name": "a.png", "width": 64, "height": 48, "license": 1}],
        "annotations": [
            {"id": 4, "image_id": 9, "category_id": 3, "keypoints": [412.8, 0.1, 2, 0, 0, 0], "bbox": [0.1, 0.2, 3, 4]}
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    first, second, again = round_trip(tmp_path / "labels.json", tmp_path / "images", tmp_path)
    assert first.digest == second.digest and first.skeleton == second.skeleton
    assert again["info"] == labels["info"] and again["licenses"] == labels["licenses"]
    text = (tmp_path / "again.json").read_text()
    assert "[412.8, 0.1, 2, 0, 0, 0]" in text and "[0.1, 0.2, 3, 4]" in text


def test_real_people_come_back(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip("shared/data/coco25 is not here")
    first, second, again = round_trip(REAL / "annotations.json", REAL / "images", tmp_path)
    assert first.counts == {"samples": 25, "poses": 70}
    assert first.digest == second.digest
    wanted = json.loads((REAL / "annotations.json").read_text())
    for kind in ("images", "annotations"):
        stripped = [{k: v for k, v in record.items() if k != "autolabel"} for record in again[kind]]
        assert sorted(stripped, key=lambda r: r["id"]) == sorted(wanted[kind], key=lambda r: r["id"])


@pytest.mark.parametrize("format", ["coco", "csv", "labelstudio"])
def test_copies_in_several_roots_stay_with_what_they_repeat(tmp_path: Path, format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    poses = Poses.create(2, xy=[[[1, 2], [3, 4]]], visibility=[[2, 2]], box=[[0, 0, 9, 9]])
    places = [
        ("one", "a.png", ""),
        ("two", "a.png", "/one/a.png"),
        ("two", "b.png", "a.png"),
        ("one", "c.png", "a.png"),
    ]
    samples = [
        Sample(f"{i:032x}", root, path, (64, 64), poses, duplicate_of=of) for i, (root, path, of) in enumerate(places)
    ]
    for i, (root, path, _) in enumerate(places):
        (tmp_path / root).mkdir(exist_ok=True)
        noise.rotate(90 * i).save(tmp_path / root / path)  # alike to nobody: only the marks tell
    made = write_manifest(
        tmp_path / "m", samples, PAIR, {"one": tmp_path / "one", "two": tmp_path / "two"}, stage="test"
    )
    out = tmp_path / {"coco": "out.json", "csv": "out.csv", "labelstudio": "out"}[format]
    export(format, made.path, out=out, images="all")
    given = {} if format == "coco" else {"skeleton": tmp_path / "pair.json"}
    (tmp_path / "pair.json").write_text(json.dumps(PAIR.to_dict()))
    back = import_(format, out, images=tmp_path, out=tmp_path / "again", **given).manifest
    assert {s.path: s.duplicate_of for s in back} == {
        "one/a.png": "", "two/a.png": "one/a.png", "two/b.png": "two/a.png", "one/c.png": "one/a.png"
    }  # fmt: skip


def test_nothing_that_is_to_be_written_is_taken_away(tmp_path: Path) -> None:
    made = manifest(tmp_path, sample("a.jpg", "accepted"))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (10, 10)).save(tmp_path / "images" / "a.jpg")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    wrong = [
        ("coco", made.path / "samples-00000.parquet", "is in the manifest"),
        ("coco", made.path / "new.json", "is in the manifest"),
        ("coco", tmp_path / "images" / "a.jpg", "is an image"),
        ("yolo-pose", tmp_path / "images", "holds the manifest or its images"),
        ("yolo-pose", tmp_path, "holds the manifest or its images"),
    ]
    for format, out, message in wrong:
        with pytest.raises(ConfigError, match=message):
            export(format, made.path, out=out, overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_export_of_nothing_says_so(tmp_path: Path) -> None:
    made = manifest(tmp_path, sample("a.jpg", "review"))
    progress = Recorder()
    assert export("coco", made.path, out=tmp_path / "out.json", progress=progress).images == 0
    assert "WARNING: no image was written" in progress.notes
