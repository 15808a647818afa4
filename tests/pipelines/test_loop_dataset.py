"""What stands beside a finished dataset: YOLO-pose splits that part nothing that belongs together, and the card."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import SILENT
from autolabel.project import Project
from autolabel.skeleton import Skeleton
from pipelines.loop_dataset import CARD, beside_dataset
from pipelines.loop_state import Loop

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
ROUND: dict[str, Any] = {
    "round": 0,
    "model": "0123456789abcdef",
    "trained_on": 12,
    "counts": {"review": 0, "untouched": 24},
    "effort": {"poses_opened": 0, "clicks": 0},
    "routed": {"untouched": None, "test": None},
    "random": None,
    "score": None,
    "seconds": {},
}


def frames(folder: Path) -> list[Sample]:
    """Six frames of each of four videos, each with one reviewed pose; the last frame of one repeats another's."""
    samples: list[Sample] = []
    for i in range(24):
        video = f"film{i // 6}"
        path = f"{video}/{i}.png"
        (folder / "images" / video).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (i, 0, 0)).save(folder / "images" / path)
        poses = Poses.create(
            K,
            id=[f"pose-{i}"],
            xy=np.full((1, K, 2), 5.0),
            visibility=[[Visibility.VISIBLE] * K],
            origin=[[Origin.MODEL] * K],
            box=[[0, 0, 10, 10]],
            attributes=[{"state": "reviewed"}],
        )
        samples.append(Sample(f"{i:032x}", "corpus", path, (20, 20), poses, group=video))
    samples[23] = replace(samples[23], duplicate_of="film0/0.png")
    return samples


def project(folder: Path, samples: Sequence[Sample], **dataset: str) -> tuple[Loop, Manifest]:
    (folder / "rounds" / "00").mkdir(parents=True)
    (folder / "rounds" / "00" / "round.json").write_text(json.dumps(ROUND))
    settings = Project.model_validate(
        {"name": "films", "corpus": {"images": "images"}, "network": {"weights": "./nets/mine"}, "dataset": dataset}
    )
    (folder / "nets" / "mine").mkdir(parents=True)
    made = write_manifest(folder / "dataset", samples, SKELETON, {"corpus": folder / "images"}, stage="test")
    return Loop(folder, settings, None, None, SILENT), made


def test_no_video_and_no_copy_is_parted(tmp_path: Path) -> None:
    loop, dataset = project(tmp_path, frames(tmp_path), split="train=0.5,val=0.5")
    beside_dataset(loop, dataset, None)
    splits = {
        split: {file.parent.name for file in tmp_path.glob(f"yolo/images/{split}/*/*.png")}
        for split in ("train", "val")
    }
    assert splits["train"] | splits["val"] == {f"film{i}" for i in range(4)}
    assert splits["train"] and splits["val"] and not splits["train"] & splits["val"]
    assert any({"film0", "film3"} <= films for films in splits.values()), "a copy unites two videos"
    assert len(list(tmp_path.glob("yolo/labels/*/*/*.txt"))) == 24
    card = (tmp_path / CARD).read_text()
    assert "a YOLO-pose data set of 24 images and 24 poses, divided as train=0.5,val=0.5" in card


def test_the_card_names_the_version_and_no_folder_of_this_machine(tmp_path: Path) -> None:
    loop, dataset = project(tmp_path, frames(tmp_path), licence="CC0", source="drawn")
    text = beside_dataset(loop, dataset, None).read_text()
    assert f"Version: `{dataset.digest}`" in text
    assert "The first network: the given weights mine." in text
    assert "| 0 | `0123456789abcdef` | 12 poses | 0 |" in text
    assert "- Licence: CC0\n- Source: drawn\n" in text
    assert str(tmp_path) not in text
    assert "missing" not in text


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("one video", "split: 24 images are 1 groups that may not be parted, too few for 2 splits"),
        ("no image", "0.png: is not there"),
        ("one stem", "would share its labels with another image"),
    ],
)
def test_what_yolo_cannot_hold_does_not_stop_the_loop(spoil: str, said: str, tmp_path: Path) -> None:
    samples = frames(tmp_path)
    if spoil == "one video":
        samples = [replace(sample, group="film") for sample in samples]
    elif spoil == "no image":
        (tmp_path / "images" / "film0" / "0.png").unlink()
    else:
        Image.new("RGB", (20, 20)).save(tmp_path / "images" / "film0" / "0.jpg")
        samples.append(replace(samples[0], id="f" * 32, path="film0/0.jpg"))
    loop, dataset = project(tmp_path, samples)
    text = beside_dataset(loop, dataset, None).read_text()
    assert "`yolo`: not written for this version: " in text
    assert said in text
    assert str(tmp_path) not in text
    assert not (tmp_path / "yolo").exists()


def test_no_yolo_where_none_is_asked_for(tmp_path: Path) -> None:
    loop, dataset = project(tmp_path, frames(tmp_path), split="")
    text = beside_dataset(loop, dataset, None).read_text()
    assert "yolo" not in text
    assert not (tmp_path / "yolo").exists()


def test_a_second_call_writes_the_same_again(tmp_path: Path) -> None:
    loop, dataset = project(tmp_path, frames(tmp_path))
    first = beside_dataset(loop, dataset, None).read_text()
    assert beside_dataset(loop, dataset, None).read_text() == first
