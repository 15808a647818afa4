"""The commands of docs/weights.md that reproduce COCO val AP, against the official protocol written out here.

25 photographs with made-up labels and detections: several jittered boxes a person, boxes of nobody, boxes of another
category, two images that hold nobody. The network is crafted: it sees an upright person of mean proportions in every
box, a little blurred by what it is shown; the labels are such people too, more or less. So some poses are right, many
coincide, and AP is far from 0 and 1. From the network
to AP nothing but crops and decoding is shared with the product: rescoring, suppression and the results file are this
file's own, from the published description, and pycocotools reads the annotation file itself.
"""

import io
import json
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from autolabel.images import read_image
from autolabel.manifest import Manifest
from autolabel.skeleton import Skeleton
from model.checkpoint import save_model
from model.config import ViTPoseConfig
from model.predict import Predictor
from model.vitpose import ViTPose, build_vitpose
from pipelines.cli import main

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "coco25"
ANNOTATIONS, DETECTIONS = "person_keypoints_val2017.json", "COCO_val2017_detections_AP_H_56_person.json"

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="shared/data/coco25 is not here"),
]


def documented_commands() -> list[list[str]]:
    """The words of the three commands below "Reproduce COCO val AP", without the program's name."""
    page = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    section = page.partition("## Reproduce COCO val AP")[2]
    [block] = re.findall(r"^```console\n(.*?)^```$", section, re.M | re.S)
    lines = re.findall(r"^\$ autolabel (.*)$", block.replace("\\\n", " "), re.M)
    return [shlex.split(line) for line in lines]


def annotations() -> dict[str, Any]:
    """coco25's, with two images that hold nobody, a person without keypoints, a crowd, and some areas like masks'.

    Keypoints stand as the network believes, more or less: at their mean places, up to a tenth of the size away.
    """
    content = json.loads((DATA / "annotations.json").read_text())
    rng, mean = np.random.default_rng(3), mean_person(content)
    empty = {image["id"] for image in content["images"][:2]}
    kept = [a for a in content["annotations"] if a["image_id"] not in empty]
    for a in kept:
        corner, size = np.array(a["bbox"][:2]), np.array(a["bbox"][2:])
        v = np.array(a["keypoints"][2::3])[:, None]
        xy = corner + mean * size + rng.normal(0, rng.uniform(0, 0.1), (17, 2)) * size.mean()
        a["keypoints"] = np.concatenate([xy.round(2) * (v > 0), v], axis=1).reshape(-1).tolist()
    for a in kept[::3]:
        a["area"] *= 1.2
    kept[4] |= {"keypoints": [0.0] * 51, "num_keypoints": 0}
    kept[9]["iscrowd"] = 1
    return {**content, "annotations": kept}


def detections(content: dict[str, Any]) -> list[dict[str, Any]]:
    """In the order of a detector's file, which is none: shuffled."""
    rng = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []

    def add(image: int, box: np.ndarray, score: float, category: int = 1) -> None:
        row = {"image_id": image, "category_id": category, "bbox": np.round(box, 2).tolist(), "score": score}
        rows.append({**row, "score": round(score, 4)})

    for a in content["annotations"]:
        box = np.array(a["bbox"])
        size = np.tile(box[2:], 2)
        for jitter, score in ((0.0, 0.95), (0.004, 0.9), (0.05, 0.6), (0.2, 0.3)):
            add(a["image_id"], box + rng.normal(0, jitter, 4) * size, score * rng.uniform(0.5, 1))
        add(a["image_id"], box, 0.99, category=2)
    for image in content["images"]:
        w, h = image["width"], image["height"]
        add(image["id"], np.array([0.1 * w, 0.1 * h, 0.4 * w, 0.7 * h]), rng.uniform(0.05, 0.9))
    rng.shuffle(rows)  # type: ignore[arg-type]
    return rows


def mean_person(content: dict[str, Any]) -> np.ndarray:
    """(17, 2) mean place of each keypoint in its box, in parts of it, the same for left and right."""
    skeleton = Skeleton.load("coco17")
    people = [a for a in content["annotations"] if a["num_keypoints"] > 12]
    points = np.array([a["keypoints"] for a in people]).reshape(-1, 17, 3)
    boxes = np.array([a["bbox"] for a in people])
    places = (points[..., :2] - boxes[:, None, :2]) / boxes[:, None, 2:]
    seen = points[..., 2] > 0
    mean = (places * seen[..., None]).sum(axis=0) / seen.sum(axis=0)[:, None]
    mirrored = mean[list(skeleton.flip)] * [-1, 1] + [1, 0]
    return (mean + mirrored) / 2


def crafted_network(content: dict[str, Any]) -> ViTPose:
    """64x48 pixels in 16x12 patches, one channel a patch: channel d is large at token d only.

    Blocks that add nothing; positions that are the unit vectors; a 1x1 rule in the decoder's kernel that draws each
    keypoint's Gaussian from the channels. Patches add some noise, so that peaks depend on what is shown.
    """
    config = ViTPoseConfig(
        input_size=(64, 48), patch_size=4, width=192, depth=1, heads=4, decoder="simple", datasets=("coco",)
    )
    torch.manual_seed(0)
    model = build_vitpose(config, Skeleton.load("coco17")).eval()
    place = (mean_person(content) - 0.5) / 1.25 + 0.5  # of the padded crop
    rows, columns = np.mgrid[:16, :12]
    squared = (rows[None] + 0.5 - 16 * place[:, 1, None, None]) ** 2 + (
        columns[None] + 0.5 - 12 * place[:, 0, None, None]
    ) ** 2
    # Peaks between 0.1 and 0.9: some do not exceed 0.2 and count for nothing in the pose's score.
    heights = np.linspace(0.1, 0.9, 17)[[0, 1, 1, 2, 2, *range(5, 17)]]
    drawn = heights[:, None, None] * np.exp(-squared / (2 * 0.9**2))
    with torch.no_grad():
        model.pos_embed.zero_()
        model.pos_embed[0, 1:] = torch.eye(192) * 4
        model.patch_embed.proj.weight.normal_(0, 0.012)
        model.patch_embed.proj.bias.zero_()
        for layer in (model.blocks[0].attn.proj, model.blocks[0].mlp.fc2):
            layer.weight.zero_()
            layer.bias.zero_()
        kernel = model.keypoint_heads[0].final_layer
        kernel.weight.zero_()
        kernel.bias.zero_()
        kernel.weight[:, :, 1, 1] = torch.from_numpy(drawn.reshape(17, 192)).float() / 13.0
    return model


def official_results(model: ViTPose, content: dict[str, Any], boxes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A COCO results file, by the published protocol."""
    sigmas = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
    predictor = Predictor(model, device="cpu", precision="fp32", flip_test=True)
    shown: list[Any] = []
    for image in content["images"]:
        own = [row for row in boxes if row["image_id"] == image["id"] and row["category_id"] == 1]
        xywh = np.array([row["bbox"] for row in own])
        pixels = torch.from_numpy(read_image(DATA / "images" / image["file_name"])).permute(2, 0, 1)
        shown.append((own, pixels, np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)))
    answers = list(predictor.predict([(pixels, xyxy) for _, pixels, xyxy in shown]))
    all_xy, all_score = (np.concatenate([getattr(answer, name) for answer in answers]) for name in ("xy", "score"))
    results: list[dict[str, Any]] = []
    for image, (own, _, _) in zip(content["images"], shown, strict=True):
        xy, all_xy = np.split(all_xy, [len(own)])
        score, all_score = np.split(all_score, [len(own)])
        poses = []
        for row, points, peaks in zip(own, xy.astype(np.float64), score, strict=True):
            sure = peaks[peaks > np.float32(0.2)]
            tall = max(row["bbox"][3], row["bbox"][2] * 4 / 3) * 1.25
            total = row["score"] * (float(np.mean(sure, dtype=np.float64)) if len(sure) else 0.0)
            poses.append({"xy": points, "total": total, "area": tall * tall * 0.75})
        poses.sort(key=lambda pose: -pose["total"])
        kept: list[dict[str, Any]] = []
        for pose in poses:
            similar = []
            for better in kept:
                squared = ((pose["xy"] - better["xy"]) ** 2).sum(axis=1)
                variance = (2 * sigmas) ** 2 * (pose["area"] + better["area"]) / 2
                similar.append(np.exp(-squared / (2 * variance)).mean())
            if max(similar, default=0.0) <= 0.9:
                kept.append(pose)
        for pose in kept:
            keypoints = np.concatenate([pose["xy"], np.ones((17, 1))], axis=1).reshape(-1).tolist()
            row = {"image_id": image["id"], "category_id": 1, "keypoints": keypoints, "score": pose["total"]}
            results.append(row)
    return results


def test_the_documented_commands_follow_the_official_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = annotations()
    boxes = detections(content)
    Path("val2017").symlink_to(DATA / "images")
    Path(ANNOTATIONS).write_text(json.dumps(content))
    Path(DETECTIONS).write_text(json.dumps(boxes))
    model = crafted_network(content)
    save_model(model, "W")
    commands = documented_commands()
    assert [words[0] for words in commands] == ["import", "predict", "evaluate"]
    answers: list[dict[str, Any]] = []
    for words in commands:
        with pytest.raises(SystemExit) as left:
            main([*words, "--json"])
        assert left.value.code == 0, capsys.readouterr().err
        answers.append(json.loads(capsys.readouterr().out.splitlines()[-1]))

    results = official_results(model, content, boxes)
    detected = sum(row["category_id"] == 1 for row in boxes)
    assert 0.5 * detected < len(results) < 0.9 * detected, "suppression is to matter"
    assert answers[1]["poses"] == sum(len(sample.poses) for sample in Manifest.open("poses.m")) == len(results)
    assert answers[1]["suppressed"] == detected - len(results)
    Path("results.json").write_text(json.dumps(results))
    with redirect_stdout(io.StringIO()):
        truth = COCO(ANNOTATIONS)
        official = COCOeval(truth, truth.loadRes("results.json"), "keypoints")
        official.evaluate()
        official.accumulate()
        official.summarize()
    assert 0.05 < official.stats[0] < 0.95, "an AP of nothing would prove nothing"
    names = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
    found = [answers[2]["coco"][name] for name in names]
    assert found == pytest.approx(official.stats.tolist(), abs=1e-9)
