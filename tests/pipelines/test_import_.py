import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ConfigError, ExistsError, FormatError, InputError
from autolabel.manifest import Manifest
from pipelines.import_ import import_
from tests.doubles import Recorder, Stopped

K = 3
SIGMAS = "OKS sigmas of 'thing': 0.05 for every keypoint: a COCO file holds no sigmas."


def draw(path: Path, seed: int, size: tuple[int, int] = (64, 48), **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    Image.fromarray(noise).resize(size).save(path, **options)


def labels(names: list[str]) -> dict[str, Any]:
    return {
        "info": {"year": 2026},
        "categories": [{"id": 1, "name": "thing", "keypoints": ["a", "b", "c"]}],
        "images": [{"id": i, "file_name": n, "width": 64, "height": 48} for i, n in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "keypoints": [i, 2, 2] * K, "bbox": [0, 0, 9, 9]}
            for i in range(len(names))
        ],
    }


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Five good images and their labels."""
    names = [f"x/{i}.png" for i in range(5)]
    for i, name in enumerate(names):
        draw(tmp_path / "images" / name, i)
    (tmp_path / "labels.json").write_text(json.dumps(labels(names)))
    return tmp_path


def run(corpus: Path, **options: Any) -> Manifest:
    given = {"images": corpus / "images", "out": corpus / "m"} | options
    return import_("coco", corpus / "labels.json", **given).manifest


def quarantine(corpus: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (corpus / "m" / "quarantine.jsonl").read_text().splitlines()]


def test_a_manifest_of_labels_and_images(corpus: Path) -> None:
    progress = Recorder()
    manifest = run(corpus, progress=progress)
    assert manifest.counts == {"samples": 5, "poses": 5} and manifest.stage == "import"
    samples = list(manifest)
    assert [sample.path for sample in samples] == [f"x/{i}.png" for i in range(5)]
    assert len({sample.id for sample in samples}) == 5
    assert all(manifest.image_path(sample).is_file() for sample in samples)
    ids = [sample.poses.id[0] for sample in samples]
    assert len(set(ids)) == 5 and all(len(pose) == 32 for pose in ids)
    assert {sample.poses.by[0] for sample in samples} == {"labels.json"}
    assert progress.done == 5 and progress.notes == [SIGMAS]
    assert not (corpus / "m" / "quarantine.jsonl").exists()
    assert not list((corpus / "m").glob("report-*"))


def test_sample_ids_are_those_of_scan(corpus: Path) -> None:
    from autolabel.corpus import scan_images

    scanned = {s.path: s.id for s in scan_images(corpus / "images", num_keypoints=0) if hasattr(s, "poses")}
    assert {s.path: s.id for s in run(corpus)} == scanned


def test_unusable_images_are_set_aside_with_reason_and_count(corpus: Path) -> None:
    images = corpus / "images/x"
    (images / "0.png").unlink()
    whole = (images / "1.png").read_bytes()
    (images / "1.png").write_bytes(whole[: len(whole) // 2])
    draw(images / "2.png", 2, size=(32, 48))
    progress = Recorder()
    manifest = run(corpus, progress=progress, part_size=2)
    assert [sample.path for sample in manifest] == ["x/3.png", "x/4.png"]
    told = {line["path"]: line for line in quarantine(corpus)}
    assert [told[f"x/{i}.png"]["reason"] for i in range(3)] == ["vanished", "truncated", "other size"]
    assert told["x/2.png"]["detail"] == "labelled as 64x48, but upright it is 32x48"
    assert all(line["poses"] == 1 for line in told.values())
    assert "3 images with 3 poses set aside" in progress.notes[0]
    assert progress.notes[1:] == [SIGMAS]


def test_the_size_is_that_of_the_upright_image(corpus: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: stored as 48 x 64, shown as 64 x 48
    draw(corpus / "images/x/0.png", 0, size=(48, 64), exif=exif)
    draw(corpus / "images/x/1.png", 1, size=(64, 48), exif=exif)  # shown as 48 x 64: not what was labelled
    assert [sample.path for sample in run(corpus)] == [f"x/{i}.png" for i in (0, 2, 3, 4)]
    assert quarantine(corpus)[0]["reason"] == "other size"


def test_copies_are_marked(corpus: Path) -> None:
    images = corpus / "images/x"
    (images / "3.png").write_bytes((images / "1.png").read_bytes())
    samples = {sample.path: sample for sample in run(corpus, part_size=1)}
    assert samples["x/3.png"].duplicate_of == "x/1.png"
    assert samples["x/3.png"].group == samples["x/1.png"].group != samples["x/2.png"].group


def test_the_digest_depends_on_neither_part_size_nor_place(corpus: Path, tmp_path_factory: Any) -> None:
    one = run(corpus)
    two = run(corpus, out=tmp_path_factory.mktemp("elsewhere") / "m", part_size=2)
    assert (one.num_parts, two.num_parts) == (1, 3) and one.digest == two.digest


def test_a_stopped_import_goes_on_and_gives_the_same(corpus: Path) -> None:
    images = corpus / "images/x"
    (images / "0.png").unlink()
    (images / "4.png").write_bytes((images / "1.png").read_bytes())
    whole = run(corpus, out=corpus / "whole", part_size=2)
    assert whole.counts["samples"] == 4

    with pytest.raises(Stopped):
        run(corpus, part_size=2, progress=Recorder(after=4))  # in the second part
    first = corpus / "m" / "samples-00000.parquet"
    written = first.stat().st_mtime_ns
    again = run(corpus, part_size=2)
    assert first.stat().st_mtime_ns == written  # the finished part was not computed again
    assert again.digest == whole.digest  # the copy was still seen as one
    assert [line["path"] for line in quarantine(corpus)] == ["x/0.png"]


def test_done_is_done_and_other_results_stand(corpus: Path) -> None:
    first = run(corpus)
    progress = Recorder()
    assert run(corpus, progress=progress).digest == first.digest and progress.done == 0
    changed = json.loads((corpus / "labels.json").read_text())
    changed["annotations"].pop()
    (corpus / "labels.json").write_text(json.dumps(changed))
    with pytest.raises(ExistsError):
        run(corpus)
    assert run(corpus, overwrite=True).counts["poses"] == 4


def test_other_categories_are_counted(corpus: Path) -> None:
    content = json.loads((corpus / "labels.json").read_text())
    content["categories"].append({"id": 2, "name": "dog", "keypoints": ["nose"]})
    content["annotations"][0] |= {"category_id": 2, "keypoints": [1, 2, 2]}
    (corpus / "labels.json").write_text(json.dumps(content))
    with pytest.raises(FormatError, match="--category"):
        run(corpus)
    progress = Recorder()
    assert run(corpus, category="thing", progress=progress).counts["poses"] == 4
    assert progress.notes == [SIGMAS, "1 annotations of other categories left out."]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"images": "nowhere"}, InputError, "is not a folder"),
        ({"images": "wrong"}, InputError, "holds none of the images that labels.json names, such as x/0.png"),
    ],
)
def test_wrong_folders(corpus: Path, options: dict[str, str], error: type[Exception], message: str) -> None:
    (corpus / "wrong").mkdir()
    with pytest.raises(error, match=message):
        run(corpus, images=corpus / options["images"])
    assert not (corpus / "m").exists()


def test_an_unknown_format() -> None:
    with pytest.raises(ConfigError, match=r"unknown format 'yolo'.*Known: coco"):
        import_("yolo", "a", images="b", out="c")


def test_an_image_that_came_later_is_taken_in(corpus: Path) -> None:
    (corpus / "images/x/2.png").rename(corpus / "away.png")
    progress = Recorder()
    assert run(corpus, progress=progress).counts["samples"] == 4
    # Done before, and still told.
    again = Recorder()
    run(corpus, progress=again)
    assert [note for note in again.notes if "1 images with 1 poses set aside" in note] and again.notes == progress.notes
    (corpus / "away.png").rename(corpus / "images/x/2.png")
    with pytest.raises(ExistsError, match="another run"):
        run(corpus)
    assert run(corpus, overwrite=True).counts["samples"] == 5


def test_a_skeleton_file_is_an_input_by_what_it_says(tmp_path: Path) -> None:
    draw(tmp_path / "images/a.png", 0)
    (tmp_path / "t.csv").write_text("image,a.x,a.y,b.x,b.y\na.png,1,2,3,4\n")
    said: dict[str, Any] = {"name": "two", "keypoints": ["a", "b"], "sigmas": [0.1, 0.1]}

    def bring_in(**options: Any) -> Manifest:
        (tmp_path / "two.json").write_text(json.dumps(said))
        given = {"images": tmp_path / "images", "out": tmp_path / "m", "skeleton": tmp_path / "two.json"}
        return import_("csv", tmp_path / "t.csv", **given, **options).manifest

    bring_in()
    said["sigmas"] = [0.2, 0.2]
    with pytest.raises(ExistsError, match="another run"):
        bring_in()
    assert bring_in(overwrite=True).skeleton.sigmas == (0.2, 0.2)


def test_a_pose_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "images/a.png", 0)
    draw(tmp_path / "images/b.png", 1)
    (tmp_path / "t.csv").write_text("image,pose,a.x,a.y\na.png,P,1,2\nb.png,P,1,2\n")
    with pytest.raises(FormatError, match=r"t.csv: b.png: the pose id 'P' stands twice"):
        import_("csv", tmp_path / "t.csv", images=tmp_path / "images", out=tmp_path / "m")


def test_what_did_not_come_in_stands_in_the_summary(corpus: Path) -> None:
    (corpus / "images/x/2.png").unlink()
    (corpus / "images/x/3.png").write_text("no image")
    summary = import_("coco", corpus / "labels.json", images=corpus / "images", out=corpus / "m").summary()
    assert summary["quarantined"] == 2 and summary["poses_lost"] == 2
    assert summary["reasons"] == {"vanished": 1, "not an image": 1}


def test_a_mark_that_names_no_image_is_dropped(tmp_path: Path) -> None:
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        draw(tmp_path / "images" / name, i)
    rows = ["a.png,,1,2", "b.png,a.png,1,2", "c.png,gone.png,1,2"]
    (tmp_path / "t.csv").write_text("\n".join(["image,duplicate_of,a.x,a.y", *rows]) + "\n")
    samples = import_("csv", tmp_path / "t.csv", images=tmp_path / "images", out=tmp_path / "m").manifest
    # b is no copy that can be seen, but the file says so of an image that is there.
    assert [sample.duplicate_of for sample in samples] == ["", "a.png", ""]
