"""Address, token and the settings that are written back."""

import os
import stat
import tomllib
from pathlib import Path

import pytest

from autolabel.errors import ConfigError, InputError
from autolabel.labelstudio.access import VARIABLE, Access, read_access, save_token, token_file, write_settings
from autolabel.project import FILE, read_project
from pipelines.init import init

TOKEN = "0123456789abcdef0123456789abcdef01234567"
URL = "http://127.0.0.1:8080"


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return init(tmp_path / "p", images=tmp_path / "images", skeleton="coco17").folder


def test_a_project_of_files_needs_no_token(project: Path) -> None:
    assert read_access(project) is None


def test_a_saved_token_is_read_back_by_its_owner_alone(project: Path) -> None:
    write_settings(project, url=URL)
    umask = os.umask(0)
    try:
        path = save_token(project, f" {TOKEN}\n")
    finally:
        os.umask(umask)
    assert path == token_file(project)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_access(project) == Access(URL, TOKEN)
    assert TOKEN not in repr(read_access(project))
    assert [entry.name for entry in path.parent.iterdir()] == ["token"]


def test_an_open_token_file_is_closed_by_saving(project: Path) -> None:
    path = token_file(project)
    path.write_text("old-token")
    path.chmod(0o644)
    save_token(project, TOKEN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o610])
def test_a_token_that_others_reach_is_refused(project: Path, mode: int) -> None:
    write_settings(project, url=URL)
    path = save_token(project, TOKEN)
    path.chmod(mode)
    with pytest.raises(InputError, match=f"others can read this token. Run `chmod 600 {path}`"):
        read_access(project)


def test_the_variable_comes_before_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(project, url=URL)
    save_token(project, TOKEN)
    monkeypatch.setenv(VARIABLE, "eyJh.eyJi.c2ln ")
    assert read_access(project) == Access(URL, "eyJh.eyJi.c2ln")
    monkeypatch.setenv(VARIABLE, " ")
    assert read_access(project) == Access(URL, TOKEN)


def test_a_missing_token_is_asked_for(project: Path) -> None:
    write_settings(project, url=URL)
    with pytest.raises(InputError, match=f"there is no token for Label Studio. .*{VARIABLE}, or into this file"):
        read_access(project)


@pytest.mark.parametrize(
    "content", ["", "short", "Token 0123456789abcdef", "ключ-ключ", "0123456789\n0123456789", "a" * 7]
)
def test_what_is_no_token_is_refused_and_not_shown(
    project: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(project, url=URL)
    with pytest.raises(InputError, match="is no token"):
        save_token(project, content)
    path = save_token(project, TOKEN)
    path.write_text(content)
    with pytest.raises(InputError, match="is no token") as caught:
        read_access(project)
    assert not content or content not in str(caught.value)


def test_a_folder_in_the_token_s_place_is_said(project: Path) -> None:
    write_settings(project, url=URL)
    token_file(project).mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_access(project)
    with pytest.raises(InputError, match="cannot be written"):
        save_token(project, TOKEN)


HEAD = 'name = "p"\n[corpus]\nimages = "i"\n'
EDITS = [
    # A commented default gives its place; what follows it on the line stays.
    ("[labelstudio]\n# project = 0  # its number\n", "[labelstudio]\nproject = 5  # its number\n"),
    ("[labelstudio]\nproject = 1 # mine\n", "[labelstudio]\nproject = 5 # mine\n"),
    ("[labelstudio]\n# project = 9\nproject = 1\n", "[labelstudio]\n# project = 9\nproject = 5\n"),
    ("[labelstudio]\n  project=1\n", "[labelstudio]\n  project = 5\n"),
    ("[labelstudio]\nproject = 1", "[labelstudio]\nproject = 5"),
    ("[labelstudio]\r\nproject = 1\r\n", "[labelstudio]\r\nproject = 5\r\n"),
    # A sentence about the key is no setting.
    ("[labelstudio]\n# project = 0 makes one\n", "[labelstudio]\nproject = 5\n# project = 0 makes one\n"),
    ("[labelstudio]\n", "[labelstudio]\nproject = 5\n"),
    ("[labelstudio]", "[labelstudio]\nproject = 5\n"),
    ("[ labelstudio ] # here\n[rounds]\ncount = 1\n", "[ labelstudio ] # here\nproject = 5\n[rounds]\ncount = 1\n"),
    ("", "\n[labelstudio]\nproject = 5\n"),
    ("# the end", "# the end\n\n[labelstudio]\nproject = 5\n"),
    # The same key of another section is another's.
    ("[labelstudio]\n[training]\n# project = 0\n", "[labelstudio]\nproject = 5\n[training]\n# project = 0\n"),
]


@pytest.mark.parametrize(("before", "after"), EDITS)
def test_a_setting_is_written_and_all_else_stays(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / FILE
    file.write_bytes((HEAD + before).encode())
    file.chmod(0o640)
    write_settings(tmp_path, project=5)
    assert file.read_bytes().decode() == HEAD + after
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    write_settings(tmp_path, project=5)
    assert file.read_bytes().decode() == HEAD + after
    assert read_project(tmp_path).labelstudio.project == 5


def test_settings_of_a_new_project_take_the_place_of_their_comments(project: Path) -> None:
    before = (project / FILE).read_text().splitlines()
    write_settings(project, url=URL, project=12, rule="consensus")
    after = (project / FILE).read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new.split(" = ")[0] for _, new in changed] == ["url", "project", "rule"]
    assert all(new.partition(" # ")[2] == old.rpartition(" # ")[2] for old, new in changed)
    settings = read_project(project).labelstudio
    assert (settings.url, settings.project, settings.rule) == (URL, 12, "consensus")


@pytest.mark.parametrize(
    ("content", "values", "text"),
    [
        (HEAD, {"project": -1}, "greater than or equal to 0"),
        (HEAD, {"projekt": 1}, "did you mean 'project'"),
        (HEAD, {"url": "nonsense"}, "give the server's address"),
        ("labelstudio = {project = 1}\n" + HEAD, {"project": 5}, r"cannot be edited\. Set it by hand: project = 5"),
        ("labelstudio.project = 1\n" + HEAD, {"project": 5}, "cannot be edited"),
        (HEAD + '[labelstudio]\nprefix = """\n"""\n', {"prefix": "x", "delivery": "upload"}, "prefix is used"),
        (HEAD + '[labelstudio]\nurl = """http://h"""\n', {"url": "http://k"}, "cannot be edited"),
        (HEAD + "[", {"project": 5}, "is not TOML"),
    ],
)
def test_a_setting_that_cannot_be_written_leaves_the_file(
    tmp_path: Path, content: str, values: dict[str, object], text: str
) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ConfigError, match=text):
        write_settings(tmp_path, **values)
    assert (tmp_path / FILE).read_text() == content
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]


def test_a_linked_settings_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text(HEAD)
    (tmp_path / FILE).symlink_to("real.toml")
    write_settings(tmp_path, project=5)
    assert (tmp_path / FILE).is_symlink()
    assert tomllib.loads((tmp_path / "real.toml").read_text())["labelstudio"] == {"project": 5}


def test_no_project_is_said(tmp_path: Path) -> None:
    for work in (lambda: read_access(tmp_path), lambda: write_settings(tmp_path, project=1)):
        with pytest.raises(ConfigError, match=r"has no autolabel\.toml"):
            work()


def test_a_token_says_where_it_is_from_and_not_what_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(project, url=URL)
    save_token(project, TOKEN)
    from_file = read_access(project)
    monkeypatch.setenv(VARIABLE, TOKEN)
    from_variable = read_access(project)
    assert from_file is not None
    assert from_variable is not None
    assert from_file.origin == str(token_file(project))
    assert from_variable.origin == f"the environment variable {VARIABLE}"
    assert TOKEN not in repr(from_file) + repr(from_variable)
