"""Every command is its function's twin, shows an example, speaks JSON, and leaves with the right code."""

import builtins
import importlib
import inspect
import json
import keyword
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.core import TyperGroup

from autolabel import __version__
from autolabel.manifest import Manifest
from pipelines.cli import app, main


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The commands that do something, with the words that name them."""
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*path, name))


COMMANDS = [pytest.param(path, command, id=" ".join(path)) for path, command in leaves(typer.main.get_command(app))]


def python_name(word: str) -> str:
    """`audit-labels` is `audit_labels`, `import` is `import_` and `map` is `map_`."""
    name = word.replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) or name in vars(builtins) else name


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_a_command_has_help_with_an_example_and_json(path: tuple[str, ...], command: Any) -> None:
    assert command.help
    assert command.help.strip().endswith(".")
    assert f"autolabel {' '.join(path)} " in command.epilog
    assert "--json" in {option for parameter in command.params for option in parameter.opts}
    assert all(parameter.help for parameter in command.params), "an option without help"


@pytest.mark.parametrize(("path", "command"), COMMANDS)
def test_a_command_is_the_twin_of_its_function(path: tuple[str, ...], command: Any) -> None:
    """`autolabel a` is `pipelines.a.a`, `autolabel a b` is `pipelines.a.b`: same names and defaults."""
    function = getattr(importlib.import_module(f"pipelines.{python_name(path[0])}"), python_name(path[-1]))
    taken = inspect.signature(function).parameters
    for parameter in command.params:
        if parameter.name == "as_json":
            continue
        assert parameter.name in taken, f"{path}: the function takes no {parameter.name}"
        twin = taken[parameter.name]
        positional = twin.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert positional == (parameter.param_type_name == "argument"), parameter.name
        assert parameter.required == (twin.default is inspect.Parameter.empty), parameter.name
        if not parameter.required:
            assert parameter.default == twin.default, parameter.name
    flags = {parameter.name for parameter in command.params}
    hidden = [name for name, twin in taken.items() if name not in flags and twin.default is twin.empty]
    assert not hidden, "the command cannot give what the function needs"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--version"], 0, f"autolabel {__version__}"),
        (["--help"], 0, "Commands:"),
        (["scan"], 2, "Missing"),
        (["scann"], 2, "scan"),  # the nearest command is named
        (["scan", "photos", "--out", "m", "--nonsense"], 2, "--nonsense"),
    ],
)
def test_usage(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave(*arguments) == code
    out, err = capsys.readouterr()
    assert message in (err if code else out)
    assert (out if code else err) == ""


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with two pictures in `images` and a figure of three keypoints on each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (2, 48, 64, 3), np.uint8)
    annotations = []
    for i, picture in enumerate(pixels, start=1):
        Image.fromarray(picture).save(tmp_path / "images" / f"{i}.png")
        annotations.append(
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "iscrowd": 0,
                "area": 900.0,
                "bbox": [10, 10, 30, 30],
                "keypoints": [12.5, 20, 2, 30, 30.25, 1, 0, 0, 0],
                "num_keypoints": 2,
            }
        )
    labels = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in (1, 2)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "stick", "keypoints": ["top", "middle", "end"], "skeleton": [[1, 2]]}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_scan_again_is_done_and_another_scan_needs_overwrite(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("scan", "images", "--out", "m", "--json") == 0
    first = said(capsys)
    assert (first["samples"], first["poses"], first["quarantined"]) == (2, 0, 0)
    assert leave("scan", "images", "--out", "m", "--json") == 0
    assert said(capsys) == first

    (corpus / "images" / "2.png").unlink()
    assert leave("scan", "images", "--out", "m", "--json") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--overwrite" in err
    assert leave("scan", "images", "--out", "m", "--json", "--overwrite") == 0
    assert said(capsys)["samples"] == 1


def test_labels_come_in_are_measured_and_go_out(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("import", "coco", "labels.json", "--images", "images", "--out", "m", "--json") == 0
    assert said(capsys)["poses"] == 2
    assert leave("evaluate", "m", "--truth", "labels.json", "--json") == 0
    assert said(capsys)
    assert leave("evaluate", "m", "--truth", "labels.json") == 0
    assert "AP" in capsys.readouterr().out
    assert leave("export", "coco", "m", "--out", "out.json", "--json") == 0
    assert said(capsys)["poses"] == 2
    written = json.loads((corpus / "out.json").read_text())
    assert [a["keypoints"] for a in written["annotations"]] == [[12.5, 20, 2, 30, 30.25, 1, 0, 0, 0]] * 2


def test_map_writes_another_skeleton(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (corpus / "short.json").write_text(json.dumps({"name": "short", "keypoints": ["middle", "top"]}))
    assert leave("import", "coco", "labels.json", "--images", "images", "--out", "m") == 0
    assert leave("map", "m", "--to", "short.json", "--out", "short.m") == 0
    [pose, _] = [sample.poses[0] for sample in Manifest.open("short.m")]
    assert pose.xy.tolist() == [[30, 30.25], [12.5, 20]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scan", "nowhere", "--out", "m"], "nowhere"),
        (["import", "coco", "nowhere.json", "--images", "images", "--out", "m"], "nowhere.json"),
        (["import", "cocoo", "labels.json", "--images", "images", "--out", "m"], "cocoo"),
        (["export", "coco", "nowhere", "--out", "x.json"], "nowhere"),
        (["evaluate", "nowhere", "--truth", "labels.json"], "nowhere"),
        (["map", "nowhere", "--to", "coco17", "--out", "m"], "nowhere"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_2(
    arguments: list[str], message: str, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (corpus / "m").exists()


def test_init_starts_a_project_once(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = ["init", "project", "--images", "images", "--skeleton", "coco17", "--json"]
    assert leave(*start) == 0
    assert said(capsys)
    assert (corpus / "project" / "autolabel.toml").is_file()
    assert leave(*start) == 2
    assert "project" in capsys.readouterr().err
