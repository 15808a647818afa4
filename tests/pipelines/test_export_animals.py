"""DeepLabCut and SLEAP by command: a project comes in, goes out as the other's, and comes in again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ConfigError, InputError
from autolabel.formats.deeplabcut import write_dlc
from autolabel.manifest import Manifest
from autolabel.poses import Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.export import export
from pipelines.import_ import import_

MOUSE = Skeleton("mouse", ("nose", "tail"), ((0, 1),), (0, 1), (0.03, 0.05), "test")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DeepLabCut project of two videos, two mice in the first."""
    samples: list[Sample] = []
    for i, n in enumerate((2, 1, 0)):
        path = f"{'ab'[i // 2]}/{i}.png"
        file = tmp_path / "photographs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(noise).save(file)
        xy = np.arange(4 * n, dtype=np.float32).reshape(n, 2, 2) + i
        given = {"xy": xy, "visibility": np.full((n, 2), Visibility.VISIBLE)} if n else {}
        samples.append(Sample("", "images", path, (64, 48), Poses.create(2, **given)))
    write_dlc(
        tmp_path / "mice", samples, MOUSE, scorer="me", image_file=lambda one: tmp_path / "photographs" / one.path
    )
    return tmp_path / "mice"


def places(manifest: Manifest) -> dict[str, list[list[list[float]]]]:
    return {Path(sample.path).name: sample.poses.xy.tolist() for sample in manifest}


def test_from_deeplabcut_to_sleap_and_back(project: Path, tmp_path: Path) -> None:
    mice = import_("dlc", project, images=project, out=tmp_path / "mice.m").manifest
    assert mice.skeleton == MOUSE and {sample.group for sample in mice} == {"a", "b"}
    written = export("sleap", mice.path, out=tmp_path / "mice.slp")
    assert (written.images, written.poses) == (3, 3) and "attributes of poses" not in written.lost
    again = import_("sleap", tmp_path / "mice.slp", images=project, out=tmp_path / "again.m").manifest
    assert again.skeleton == MOUSE and places(again) == places(mice)
    assert [sample.group for sample in again] == [sample.group for sample in mice]
    tracks = [[pose["track"] for pose in sample.poses.attributes] for sample in again]
    assert tracks == [["individual1", "individual2"], ["individual1"], []]
    export("dlc", mice.path, out=tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("CollectedData_me.csv"))) == 2  # the scorer is the project's
    assert all(path.is_file() for path in (tmp_path / "out").rglob("*.png"))
    assert places(
        import_("dlc", tmp_path / "out", images=tmp_path / "out", out=tmp_path / "last.m").manifest
    ) == places(mice)


def test_options(project: Path, tmp_path: Path) -> None:
    mice = import_("dlc", project, images=project, out=tmp_path / "mice.m").manifest
    export("dlc", mice.path, out=tmp_path / "out", scorer="anna")
    assert len(list((tmp_path / "out").rglob("CollectedData_anna.csv"))) == 2
    with pytest.raises(ConfigError, match="--scorer: means nothing to 'sleap'"):
        export("sleap", mice.path, out=tmp_path / "mice.slp", scorer="anna")


def test_the_wrong_folder_of_images(project: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds none of the images that mice names"):
        import_("dlc", project, images=tmp_path / "empty", out=tmp_path / "mice.m")


@pytest.mark.parametrize("format", ["dlc", "sleap", "yolo-pose"])
def test_images_that_were_moved_away(format: str, project: Path, tmp_path: Path) -> None:
    mice = import_("dlc", project, images=project, out=tmp_path / "mice.m").manifest
    (tmp_path / "photographs").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"labeled-data/a/0.png: is not there. Scan again"):
        export(format, mice.path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_goes_out_and_comes_back(project: Path, tmp_path: Path) -> None:
    write_dlc(tmp_path / "none", [], MOUSE)
    none = import_("dlc", tmp_path / "none", images=project, out=tmp_path / "none.m").manifest
    assert (len(none), none.skeleton) == (0, MOUSE)
    export("dlc", none.path, out=tmp_path / "out")
    again = import_("dlc", tmp_path / "out", images=project, out=tmp_path / "again.m").manifest
    assert (len(again), again.skeleton) == (0, MOUSE)
