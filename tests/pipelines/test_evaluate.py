import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ConfigError, ExistsError, InputError, SkeletonError
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.report.evaluation_plots import PLOTS
from autolabel.skeleton import Skeleton
from pipelines.console import to_json
from pipelines.evaluate import evaluate
from pipelines.export import export
from pipelines.import_ import import_
from tests.doubles import Recorder

COCO = Skeleton.load("coco17")
REAL = Path(__file__).parents[3] / "shared/data/coco25"


def people(shift: float = 0.0) -> Poses:
    grid = np.stack(np.meshgrid([0.0, 50, 100, 150, 200], [0.0, 50, 100, 150]), axis=-1).reshape(-1, 2)[:17]
    return Poses.create(17, xy=(grid + shift)[None], visibility=np.full((1, 17), 2), box=[[0, 0, 200, 200]])


def manifest(folder: Path, shift: float, *roots: str, ids: str = "h") -> Manifest:
    samples = [Sample(f"{ids}-{root}", root, "a.jpg", (640, 480), people(shift)) for root in roots]
    return write_manifest(folder, samples, COCO, dict.fromkeys(roots, folder), stage="test")


@pytest.mark.parametrize("roots", [("images",), ("one", "two")])
def test_a_manifest_and_its_coco_file_are_the_same_truth(tmp_path: Path, roots: tuple[str, ...]) -> None:
    truth = manifest(tmp_path / "truth", 0, *roots)
    found = manifest(tmp_path / "found", 3, *roots)
    export("coco", truth.path, out=tmp_path / "truth.json")
    one = evaluate(found.path, truth=truth.path, bootstrap=20)
    two = evaluate(found.path, truth=tmp_path / "truth.json", bootstrap=20)
    assert one.summary() == two.summary()
    assert one.evaluation.mean_error_px == pytest.approx(3 * 2**0.5)
    assert one.evaluation.counts.people == len(roots)


def test_metrics_replace_those_of_an_earlier_comparison_only_where_told_to(tmp_path: Path) -> None:
    truth = manifest(tmp_path / "truth", 0, "images")
    (tmp_path / "out").mkdir()
    for name in ("metrics.json", *PLOTS):
        (tmp_path / "out" / name).write_text("of an earlier comparison")
    with pytest.raises(ExistsError, match="--overwrite"):
        evaluate(truth.path, truth=truth.path, out=tmp_path / "out")
    result = evaluate(truth.path, truth=truth.path, out=tmp_path / "out", overwrite=True)
    assert result.path == tmp_path / "out" / "metrics.json"
    written = json.loads(result.path.read_text())
    assert written == json.loads(to_json(result.evaluation.summary()))
    assert result.plots == {name: tmp_path / "out" / f"{name}.png" for name in ("pck", "oks", "taxonomy", "errors")}
    assert all(path.stat().st_size > 5000 for path in result.plots.values())
    assert written["pck"]["0.05"] == 1 and result.summary()["metrics"] == result.path
    assert result.comparison is None and "against" not in written
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "errors.png", "metrics.json", "oks.png", "pck.png", "taxonomy.png",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["metrics.json", *PLOTS])
def test_a_picture_of_somebodys_own_is_neither_replaced_nor_removed(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    # Refused before anything is read: there is no such manifest.
    with pytest.raises(ExistsError, match=rf"{name}: stands already.*--overwrite"):
        evaluate(tmp_path / "none", truth=tmp_path / "none", out=tmp_path)
    assert (tmp_path / name).read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_an_out_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    truth = manifest(tmp_path / "truth", 0, "images")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "out" / "oks.png").mkdir(parents=True)
    progress = Recorder()
    for out, message in (
        (tmp_path / "file", r"file: a file stands where a folder is to be made"),
        (tmp_path / "file" / "deep" / "er", r"er: a file stands where a folder is to be made"),
        (tmp_path / "out", r"oks.png: is a folder where a file is to be written"),
    ):
        with pytest.raises(ExistsError, match=message):
            evaluate(truth.path, truth=truth.path, out=out, overwrite=True, progress=progress)
    assert not progress.steps and (tmp_path / "file").read_text() == "mine"


def test_the_sigmas_are_the_truths(tmp_path: Path) -> None:
    truth = manifest(tmp_path / "truth", 0, "images")
    own = Skeleton("mine", COCO.keypoints, (), COCO.flip, (0.01,) * 17, "my own")
    found = write_manifest(tmp_path / "found", truth, own, truth.roots, stage="test")
    assert evaluate(found.path, truth=truth.path, bootstrap=0).evaluation.sigma_source == COCO.sigma_source


def test_errors(tmp_path: Path) -> None:
    truth = manifest(tmp_path / "truth", 0, "images")
    other = Skeleton.load("ap10k17")
    animals = write_manifest(tmp_path / "animals", truth, other, truth.roots, stage="test")
    with pytest.raises(SkeletonError, match=r"skeleton 'ap10k17'.*autolabel map"):
        evaluate(truth.path, truth=animals.path)
    strangers = manifest(tmp_path / "strangers", 0, "images", ids="other")
    with pytest.raises(InputError, match="no image of the predictions"):
        evaluate(strangers.path, truth=truth.path)
    with pytest.raises(SkeletonError, match=r"animals: skeleton 'ap10k17'.*autolabel map"):
        evaluate(truth.path, truth=truth.path, against=animals.path)
    with pytest.raises(InputError, match="no image of the predictions"):
        evaluate(truth.path, truth=truth.path, against=strangers.path)
    with pytest.raises(ConfigError, match=r"--bootstrap: is 0, but a comparison.*leave out --against"):
        evaluate(truth.path, truth=truth.path, against=truth.path, bootstrap=0)
    with pytest.raises(ConfigError, match=r"--bootstrap: is -1"):
        evaluate(truth.path, truth=truth.path, bootstrap=-1)
    with pytest.raises(ConfigError, match=r"--seed: is -1, expected 0 or more"):
        evaluate(truth.path, truth=truth.path, seed=-1)
    more = write_manifest(
        tmp_path / "more", [*truth, *strangers_of(truth)], COCO, {**truth.roots, "two": tmp_path}, stage="test"
    )
    with pytest.raises(InputError, match=r"against: .* 0 only in the first, 1 only in the second, such as b.jpg"):
        evaluate(truth.path, truth=more.path, against=more.path)


def strangers_of(truth: Manifest) -> list[Sample]:
    return [replace(sample, id="another", path="b.jpg") for sample in truth]


def test_a_comparison_is_written_and_shown(tmp_path: Path) -> None:
    roots = [f"r{i}" for i in range(8)]
    truth = manifest(tmp_path / "truth", 0, *roots)
    near, far = manifest(tmp_path / "near", 2, *roots), manifest(tmp_path / "far", 9, *roots)
    result = evaluate(near.path, truth=truth.path, against=far.path, out=tmp_path / "out", bootstrap=20)
    assert result.comparison is not None and result.path is not None and result.plots is not None
    assert {"comparison", "changes"} <= result.plots.keys()
    against = json.loads(result.path.read_text())["against"]
    error = against["differences"]["mean_error_px"]
    assert error["difference"] == pytest.approx(-7 * 2**0.5) and error["verdict"] == "better"
    assert against["people"] == {"fixed": 8, "broken": 0, "found": 0, "lost": 0}
    assert to_json(result.summary())
    assert "paired bootstrap, 20 resamples of 8 images" in result.table()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(["metrics.json", *PLOTS])


def test_the_same_truth_serves_both_manifests_from_a_coco_file(tmp_path: Path) -> None:
    truth = manifest(tmp_path / "truth", 0, "one", "two")
    near, far = manifest(tmp_path / "near", 2, "one", "two"), manifest(tmp_path / "far", 9, "one", "two")
    export("coco", truth.path, out=tmp_path / "truth.json")
    by_file = evaluate(near.path, truth=tmp_path / "truth.json", against=far.path, bootstrap=5).comparison
    by_manifest = evaluate(near.path, truth=truth.path, against=far.path, bootstrap=5).comparison
    assert by_file is not None and by_manifest is not None
    assert by_file.summary() == by_manifest.summary()


def test_real_people_against_themselves_moved(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip("shared/data/coco25 is not here")
    truth = import_("coco", REAL / "annotations.json", images=REAL / "images", out=tmp_path / "truth").manifest
    rng = np.random.default_rng(0)

    def shaken(sample: Sample) -> Sample:
        poses: Any = sample.poses
        return sample.with_poses(poses.replace(xy=poses.xy + rng.normal(0, 2, poses.xy.shape)))

    found = write_manifest(tmp_path / "found", map(shaken, truth), truth.skeleton, truth.roots, stage="test")
    perfect = evaluate(truth.path, truth=REAL / "annotations.json", bootstrap=0).evaluation
    assert perfect.coco["AP"] == 1 and perfect.bad_rate == 0 and perfect.counts.people == 70
    result = evaluate(found.path, truth=REAL / "annotations.json", bootstrap=0).evaluation
    # The mean length of a two-dimensional normal step of 2 px.
    assert result.mean_error_px == pytest.approx(2 * (np.pi / 2) ** 0.5, rel=0.1)
    ap = result.coco["AP"]
    assert ap is not None and 0.5 < ap < 1
