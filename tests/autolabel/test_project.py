"""A project's settings: as TOML and back, and refused where they are wrong."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import ConfigError
from autolabel.project import LabelStudio, Project, read_project, to_toml, toml_value

texts = st.text(st.characters(exclude_categories=("Cs",)))
scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, max_size=5))
def test_settings_survive_toml(settings: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(settings)) == settings


def test_what_is_written_reads_well() -> None:
    text = to_toml({"name": "mice", "rounds": {"count": 2, "replay": 0.5}, "network": {"custom": {"depth": 3}}, "n": 1})
    assert text == (
        'name = "mice"\nn = 1\n\n[rounds]\ncount = 2\nreplay = 0.5\n\n[network]\n\n[network.custom]\ndepth = 3\n'
    )


@pytest.mark.parametrize("value", [None, {1, 2}, "\udcff"])
def test_what_toml_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written|cannot hold"):
        toml_value(value)


def write(folder: Path, text: str) -> Path:
    (folder / "autolabel.toml").write_text(text)
    return folder


def test_only_name_and_images_are_asked_for(tmp_path: Path) -> None:
    project = read_project(write(tmp_path, 'name = "mice"\n[corpus]\nimages = "frames"\n'))
    assert project == Project.model_validate({"name": "mice", "corpus": {"images": "frames"}})
    assert (project.promise.max_bad, project.promise.confidence) == (0.02, 0.95)


def test_a_project_survives_its_own_file(tmp_path: Path) -> None:
    given = {
        "name": 'a "quoted" \\ name',
        "corpus": {"images": "Bilder/Mäuse", "labelled": "m"},
        "rounds": {"order": "random", "seed": 3},
        "network": {"custom": {"input_size": [32, 24], "drop_path": 1e-5}},
        "training": {"augmentation": {"flip": 0.0}},
    }
    project = Project.parse(given, subject="x")
    assert read_project(write(tmp_path, to_toml(project.model_dump()))) == project


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[promise]\nmax_bad = 2", r"promise\.max_bad: .*less than 1, not 2"),
        ("[promise]\nplants = -1", r"promise\.plants: .*greater than or equal to 0"),
        (
            "[promise]\naudit = 60\nplants = 40\nblind = 20",
            r"promise: .* are 60 tasks, which leave nothing to audit of 60",
        ),
        ("[promise]\nconfidence = 1.0", r"promise\.confidence: .*less than 1"),
        ("[dataset]\nsplit = 'train'", r"dataset\.split: .*'train' is not NAME=SHARE"),
        ("[dataset]\nsplit = 'train=0.5,dev=0.5'", r"dataset\.split: .*'dev' is no split; known: train, val, test"),
        ("[dataset]\nlicense = 'MIT'", r"dataset: unknown key 'license'; did you mean 'licence'\?"),
        ("[rounds]\nbugdet = 3", r"rounds: unknown key 'bugdet'; did you mean 'budget'\?"),
        ("[rounds]\ngate_share = 1.0", r"rounds\.gate_share: .*less than 1"),
        ("[rounds]\nbase_drop = -0.1", r"rounds\.base_drop: .*greater than or equal to 0"),
        ("[rounds]\nwhen_blind = 'keep'", "rounds: .*needs a gate_share above 0: no new network would ever be used"),
        ("[rounds]\norder = 'doubtful'", r"rounds\.order: .*'clean' or 'learn', not 'doubtful'"),
        ("[rounds]\nreplay = 1.0", r"rounds\.replay: .*less than 1"),
        ("[rounds]\nbudget = 0", r"rounds\.budget: .*greater than or equal to 1"),
    ],
)
def test_impossible_settings_are_refused(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, f"name = 'mice'\ncorpus = {{images = 'frames'}}\n{line}\n")
    with pytest.raises(ConfigError, match=rf"autolabel\.toml: {message}"):
        read_project(tmp_path)


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no autolabel\.toml.*autolabel init"):
        read_project(tmp_path)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://label.example.org/", "https://label.example.org"),
        ("https://example.org/labels//", "https://example.org/labels"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_server_s_address(given: str, kept: str) -> None:
    assert LabelStudio.parse({"url": given}, subject="x").url == kept


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"url": "127.0.0.1:8080"}, "url: give the server's address, such as"),
        ({"url": "ftp://host"}, "give the server's address"),
        ({"url": "http://"}, "give the server's address"),
        ({"url": "http://[::1"}, "give the server's address"),
        ({"url": "http://host:99999"}, "give the server's address"),
        ({"url": "http://ho st"}, "give the server's address"),
        ({"url": "http://me:secret@host"}, "without a password"),
        ({"url": "http://host?token=secret"}, "without a password"),
        ({"url": "http://host/projects/3/data"}, "alone, without /projects/3/data"),
        ({"url": "http://host/api"}, "alone, without /api"),
        ({"url": "http://host/user/login/"}, "alone, without /user/login/"),
        ({"project": -1}, "project: .*greater than or equal to 0"),
        ({"annotators": 0}, "annotators: .*greater than or equal to 1"),
        ({"rule": "majority"}, "rule: "),
        ({"delivery": "s3"}, "delivery: "),
        ({"delivery": "url-prefix"}, "needs prefix = "),
        ({"delivery": "url-prefix", "prefix": "/crops"}, "needs prefix = "),
        ({"prefix": "https://host/crops"}, "prefix is used with delivery"),
        ({"token": "secret"}, "unknown key 'token'"),
    ],
)
def test_a_wrong_server_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        LabelStudio.parse(settings, subject="x")
    assert "secret" not in str(caught.value)
