"""A new project: its file loads, says what the defaults are, and is never overwritten."""

import re
from pathlib import Path

import pytest

from autolabel.errors import ConfigError, ExistsError, InputError, SkeletonError
from autolabel.project import Dataset, Network, Project, Promise, Rounds, read_project
from pipelines.init import init


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / 'a "b" \\c'
    folder.mkdir()
    return folder


def test_a_new_project_can_be_read(tmp_path: Path, images: Path) -> None:
    result = init(tmp_path / "mice", images=images, skeleton="coco17")
    assert result.project == read_project(tmp_path / "mice")
    assert Path(result.project.corpus.images) == images
    assert result.project.name == "mice"
    assert result.project.promise == Promise()
    assert (tmp_path / "mice" / "rounds").is_dir()
    assert result.summary()["skeleton"] == "coco17"


def test_every_setting_that_is_commented_out_is_known_and_shows_its_default(tmp_path: Path, images: Path) -> None:
    from model.pretrain import recipe
    from model.recipe import Training

    init(tmp_path / "mice", images=images, skeleton="coco17")
    file = tmp_path / "mice" / "autolabel.toml"
    text, shown = re.subn(r"(?m)^# (?=\w+ = )", "", file.read_text())
    assert shown > 15
    file.write_text(text)
    project = read_project(tmp_path / "mice")
    bare = Project.model_validate({"name": "mice", "corpus": {"images": str(images), "skeleton": "coco17"}})
    assert (project.corpus, project.promise, project.rounds, project.network) == (
        *(bare.corpus, Promise()),
        *(Rounds(), Network()),
    )
    assert project.dataset == Dataset()
    assert Training.parse(project.training, subject="training") == Training()
    assert recipe(project.pretraining, "pretraining") == recipe({}, "pretraining")
    assert Training.parse({**project.training, **project.finetuning}, subject="finetuning").learning_rate == 5e-5


def test_a_skeleton_file_is_kept_by_its_full_path(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mouse.json").write_text('{"name": "mouse", "keypoints": ["nose", "tail"]}')
    monkeypatch.chdir(tmp_path)
    result = init("mice", images=images, skeleton="mouse.json")
    assert Path(result.project.corpus.skeleton) == tmp_path / "mouse.json"
    assert result.summary()["sigmas"] == "0.05 for every keypoint: none were given"


def test_a_project_is_never_overwritten(tmp_path: Path, images: Path) -> None:
    init(tmp_path / "mice", images=images, skeleton="coco17")
    before = (tmp_path / "mice" / "autolabel.toml").read_bytes()
    with pytest.raises(ExistsError, match="holds a project already"):
        init(tmp_path / "mice", images=tmp_path, skeleton="mpii16")
    assert (tmp_path / "mice" / "autolabel.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("images", "skeleton", "error"),
    [("nowhere", "coco17", InputError), (".", "coco18", SkeletonError), ("bad-\udcff", "coco17", ConfigError)],
)
def test_wrong_input_leaves_nothing_behind(tmp_path: Path, images: str, skeleton: str, error: type[Exception]) -> None:
    if error is ConfigError:
        (tmp_path / images).mkdir()
    with pytest.raises(error):
        init(tmp_path / "mice", images=tmp_path / images, skeleton=skeleton)
    assert not (tmp_path / "mice").exists()


def test_a_file_in_the_way_is_refused(tmp_path: Path, images: Path) -> None:
    (tmp_path / "mice").write_text("")
    with pytest.raises(ExistsError, match="a file stands"):
        init(tmp_path / "mice", images=images, skeleton="coco17")
