"""What comes of keypoints between autolabel and FiftyOne by way of COCO files, and two ways to measure OKS.

    python -m benchmarks.fiftyone_formats --data ../shared/data

The people of ``coco25``, most of whose coordinates are whole pixels, and the same people moved by fractions of a pixel,
as a network places them. Each set goes into FiftyOne in a COCO file that autolabel wrote, and is compared there, in the
labels that ``autolabel import fiftyone`` makes of it, and in the COCO file that FiftyOne itself writes of it. Then the
people are copied with noise, and FiftyOne's OKS of each pair stands beside pycocotools' and ours. Writes
``benchmarks/results/fiftyone_formats.json``.
"""

import argparse
import importlib
import io
import json
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from autolabel.curate.database import open_fiftyone
from autolabel.curate.incoming import read_dataset
from autolabel.formats.coco import read_coco, write_coco
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Poses, Sample
from autolabel.similarity import keypoint_similarity, mean_similarity, similarity_area
from autolabel.skeleton import Skeleton
from benchmarks.results import table, write_result
from pipelines.mongodb import find_mongodb

NAME = "inc-fiftyone-formats"
LEVELS = (0.25, 0.5, 1.0, 2.0)
"""Standard deviation of the noise, in the distance 2 σ √area at which COCO's similarity is exp(-1/2)."""

GOOD = 0.75
Triples = NDArray[np.float64]


def moved(samples: Sequence[Sample], seed: int = 0) -> list[Sample]:
    """The same people, every keypoint moved by up to half a pixel."""
    rng = np.random.default_rng(seed)
    shifted: list[Sample] = []
    for sample in samples:
        xy = sample.poses.xy + rng.uniform(-0.5, 0.5, sample.poses.xy.shape).astype(np.float32)
        shifted.append(sample.with_poses(sample.poses.replace(xy=np.where(np.isnan(sample.poses.xy), np.nan, xy))))
    return shifted


def triples(poses: Poses) -> Triples:
    """(N, K, 3) x, y, v as COCO says it: zeros where nothing is labelled."""
    v = np.where(poses.labelled, poses.visibility, 0)
    return np.where(poses.labelled[..., None], np.dstack([np.nan_to_num(poses.xy), v]), 0.0)


def opened(fiftyone: Any, file: Path, images: Path) -> Any:
    """A COCO file as FiftyOne opens it."""
    if fiftyone.dataset_exists(NAME):
        fiftyone.delete_dataset(NAME)
    return fiftyone.Dataset.from_dir(
        dataset_type=fiftyone.types.COCODetectionDataset,
        data_path=str(images),
        labels_path=str(file),
        label_types=["detections", "keypoints"],
        include_id=True,
        name=NAME,
        progress=False,
    )


def shown(dataset: Any, images: Path) -> dict[str, Triples]:
    """What the data set's labels say, in pixels, by image."""
    found: dict[str, Triples] = {}
    paths = ["filepath", "metadata.width", "metadata.height", "keypoints.keypoints"]
    for path, width, height, labels in zip(*dataset.values(paths), strict=True):
        said = [np.column_stack([np.array(label.points) * (width, height), label.visible]) for label in labels or ()]
        name = Path(path).relative_to(images).as_posix()
        found[name] = np.nan_to_num(np.array(said, np.float64).reshape(-1, 17, 3))
    return found


def exported(fiftyone: Any, dataset: Any, file: Path) -> dict[str, Triples]:
    """What FiftyOne's own COCO export of the data set says, by image."""
    dataset.export(
        dataset_type=fiftyone.types.COCODetectionDataset,
        labels_path=str(file),
        label_field="keypoints",
        export_media=False,
        abs_paths=True,
        progress=False,
    )
    content = json.loads(file.read_text())
    by_image: dict[Any, list[list[float]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation["keypoints"])
    return {
        Path(image["file_name"]).name: np.array(by_image[image["id"]], np.float64).reshape(-1, 17, 3)
        for image in content["images"]
    }


def compared(what: str, way: str, found: dict[str, Triples], samples: Sequence[Sample]) -> dict[str, Any]:
    """A line of the first table: what was found beside what went in."""
    wanted = {sample.path: triples(sample.poses) for sample in samples}
    assert {path: len(people) for path, people in found.items()} == {path: len(own) for path, own in wanted.items()}
    a, b = (np.concatenate([side[path] for path in wanted]) for side in (wanted, found))
    stated = a[..., 2] > 0
    off = np.hypot(*(b - a)[stated][:, :2].T)
    hidden = a[..., 2] == 1
    return {
        "people": what,
        "way": way,
        "keypoints": int(stated.sum()),
        "mean error px": float(off.mean()),
        "max error px": float(off.max()),
        "equal in float32": bool(np.array_equal(*(side[stated][:, :2].astype(np.float32) for side in (a, b)))),
        "hidden kept": f"{int((b[..., 2][hidden] == 1).sum())} of {int(hidden.sum())}",
        "visibility equal": bool((a[..., 2] == b[..., 2]).all()),
    }


def ways(fiftyone: Any, what: str, samples: Sequence[Sample], skeleton: Skeleton, images: Path) -> list[dict[str, Any]]:
    """The ways of one set of people."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "ours.json"
        write_coco(file, samples, skeleton, policy=ImagePolicy.ALL)
        dataset = opened(fiftyone, file, images)
        rows = [compared(what, "our COCO, in FiftyOne", shown(dataset, images), samples)]
        back = {one.path: triples(one.poses) for one in read_dataset(fiftyone, NAME, images).samples}
        rows.append(compared(what, "our COCO, in FiftyOne, imported", back, samples))
        own = exported(fiftyone, dataset, Path(place) / "theirs.json")
        rows.append(compared(what, "FiftyOne's own COCO export", own, samples))
        # What a data set says of visibility in an attribute of another name, as those of `autolabel curate` do.
        visible = dataset.values("keypoints.keypoints.visible")
        dataset.set_values("keypoints.keypoints.visibility", visible, dynamic=True)
        dataset.set_values("keypoints.keypoints.visible", [one and [None] * len(one) for one in visible], dynamic=True)
        own = exported(fiftyone, dataset, Path(place) / "renamed.json")
        rows.append(compared(what, "the same without the attribute `visible`", own, samples))
    fiftyone.delete_dataset(NAME)
    return rows


def by_pycocotools(poses: Poses, truth: Poses, skeleton: Skeleton) -> NDArray[np.float64]:
    """(N,) OKS of each pose with its true one; each pair is an image of its own."""
    n, area = len(truth), similarity_area(truth)
    say = [{"id": i + 1, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 1, 1]} for i in range(n)]
    true, found = COCO(), COCO()
    with redirect_stdout(io.StringIO()):
        for coco, points in ((true, triples(truth)), (found, np.dstack([poses.xy, np.ones(poses.xy.shape[:2])]))):
            coco.dataset = {"images": [{"id": i} for i in range(n)], "categories": [{"id": 1}], "annotations": [
                {**say[i], "keypoints": points[i].ravel().tolist(), "area": float(area[i]), "score": 1.0,
                 "num_keypoints": int((points[i, :, 2] > 0).sum())} for i in range(n)]}  # fmt: skip
            coco.createIndex()
        evaluation = COCOeval(true, found, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation._prepare()
        return np.array([evaluation.computeOks(i, 1)[0, 0] for i in range(n)])


def by_fiftyone(fiftyone: Any, poses: Poses, truth: Poses, size: NDArray[Any], skeleton: Skeleton) -> NDArray[Any]:
    """(N,) likewise, by FiftyOne with our sigmas."""
    overlap = importlib.import_module("fiftyone.utils.iou")

    def label(xy: NDArray[Any], labelled: NDArray[np.bool_], i: int) -> Any:
        return fiftyone.Keypoint(points=np.where(labelled[:, None], xy / size[i], np.nan).tolist())

    everything = np.ones(poses.xy.shape[1], bool)
    return np.array([
        overlap.compute_ious([label(poses.xy[i], everything, i)], [label(truth.xy[i], truth.labelled[i], i)],
                             keypoint_sigmas=list(skeleton.sigmas))[0, 0]
        for i in range(len(truth))
    ])  # fmt: skip


def similarities(fiftyone: Any, samples: Sequence[Sample], skeleton: Skeleton) -> list[dict[str, Any]]:
    """The second table: OKS of noisy copies, by three programs."""
    truth = Poses.concat([sample.poses for sample in samples])
    size = np.repeat([sample.size for sample in samples], [len(sample.poses) for sample in samples], axis=0)
    shown = truth.labelled.sum(axis=1) > 1  # FiftyOne measures a person by the extent of the keypoints
    truth, size = truth.take(shown), size[shown]
    area, sigmas = similarity_area(truth), np.array(skeleton.sigmas)
    rng, rows = np.random.default_rng(0), list[dict[str, Any]]()
    for level in LEVELS:
        reach = level * 2 * sigmas * np.sqrt(area)[:, None]
        noise = rng.normal(size=truth.xy.shape) * reach[..., None]
        poses = truth.replace(xy=np.nan_to_num(truth.xy) + noise.astype(np.float32))
        place = np.where(truth.labelled[..., None], truth.xy, np.nan)
        ours = mean_similarity(keypoint_similarity(poses.xy, place, area, sigmas))
        cocos, theirs = by_pycocotools(poses, truth, skeleton), by_fiftyone(fiftyone, poses, truth, size, skeleton)
        rows.append({
            "noise": level,
            "people": len(truth),
            "pycocotools": float(cocos.mean()),
            "ours": float(ours.mean()),
            "FiftyOne": float(theirs.mean()),
            "ours off by at most": float(np.abs(ours - cocos).max()),
            "FiftyOne off by at most": float(np.abs(theirs - cocos).max()),
            f"pycocotools >= {GOOD}": int((cocos >= GOOD).sum()),
            f"FiftyOne >= {GOOD}": int((theirs >= GOOD).sum()),
        })  # fmt: skip
    return rows


def main() -> None:
    """Compare, and write what came out."""
    parser = argparse.ArgumentParser(description="Keypoints between autolabel and FiftyOne.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder that holds coco25")
    parser.add_argument("--dry", action="store_true", help="write no result")
    options = parser.parse_args()
    images = (options.data / "coco25" / "images").resolve()
    labels = read_coco(options.data / "coco25" / "annotations.json")
    fiftyone = open_fiftyone(find_mongodb())
    sets = {"coco25": labels.samples, "coco25, moved by fractions": moved(labels.samples)}
    rows = [row for what, people in sets.items() for row in ways(fiftyone, what, people, labels.skeleton, images)]
    oks = similarities(fiftyone, labels.samples, labels.skeleton)
    print(f"{table(rows)}\n\n{table(oks)}")
    if not options.dry:
        command = f"python -m benchmarks.fiftyone_formats --data {options.data}"
        packages = ("fiftyone", "pycocotools", "numpy")
        write_result("fiftyone_formats", rows, command=command, packages=packages, similarity=oks)


if __name__ == "__main__":
    main()
