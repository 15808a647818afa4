"""Label Studio is installed once, whole or not at all, and never over something else."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from autolabel.errors import InputError, WorkError
from pipelines.labelstudio_environment import (
    CONSTRAINTS,
    PLACE,
    READY,
    environment_folder,
    install,
    pinned_version,
    pip_install,
)
from tests.pipelines.labelstudio_standin import fill


class Installs:
    """Counts them; lets the first one fail where it is told how."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure, self.count = failure, 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        fill(folder)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure


def test_it_is_installed_once(tmp_path: Path) -> None:
    installs = Installs()
    for _ in range(2):
        program = install(tmp_path / "deep" / "env", fill=installs)
        assert program == tmp_path / "deep" / "env" / "bin" / "label-studio"
        assert program.is_file()
    assert installs.count == 1


def test_another_version_is_installed_anew(tmp_path: Path) -> None:
    installs = Installs()
    program = install(tmp_path / "env", fill=installs)
    (tmp_path / "env" / READY).write_text("label-studio==1.0\n")
    (tmp_path / "env" / "left over").touch()
    assert install(tmp_path / "env", fill=installs) == program
    assert installs.count == 2
    assert not (tmp_path / "env" / "left over").exists()


@pytest.mark.parametrize(
    "failure", [WorkError("no network"), OSError(28, "No space left on device"), KeyboardInterrupt()]
)
def test_what_failed_leaves_nothing_and_is_tried_again(tmp_path: Path, failure: BaseException) -> None:
    installs = Installs(failure)
    with pytest.raises(type(failure)):
        install(tmp_path / "env", fill=installs)
    assert not (tmp_path / "env").exists()
    assert install(tmp_path / "env", fill=installs).is_file()


def test_a_killed_install_is_made_again(tmp_path: Path) -> None:
    """Killed, it had no chance to clear anything away."""
    installs = Installs()
    install(tmp_path / "env", fill=installs)
    (tmp_path / "env" / READY).unlink()
    (tmp_path / "env" / "bin" / "label-studio").unlink()
    assert install(tmp_path / "env", fill=installs).is_file()
    assert installs.count == 2


def test_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    for place in ("env", "file"):
        with pytest.raises(InputError, match=PLACE):
            install(tmp_path / place, fill=fill)
    assert (tmp_path / "env" / "thesis.tex").exists()


def test_an_environment_that_the_user_made_is_used(tmp_path: Path) -> None:
    fill(tmp_path / "env")
    installs = Installs()
    assert install(tmp_path / "env", fill=installs).is_file()
    assert installs.count == 0


def test_two_at_once_install_once(tmp_path: Path) -> None:
    started, installs = threading.Event(), Installs()
    notes: list[str] = []

    def slowly(folder: Path) -> None:
        installs(folder)
        assert started.wait(10)

    class Told:
        def note(self, message: str) -> None:
            notes.append(message)
            if "waiting" in message:
                started.set()

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(install, tmp_path / "env", fill=slowly, progress=Told()) for _ in range(2)]
        assert len({one.result(20) for one in both}) == 1
    assert installs.count == 1
    assert any("installing" in note for note in notes)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "home/.local/share/autolabel/labelstudio-{}"),
        ({"XDG_DATA_HOME": "/data"}, "/data/autolabel/labelstudio-{}"),
        ({"XDG_DATA_HOME": "relative"}, "home/.local/share/autolabel/labelstudio-{}"),  # the standard: ignore it
        ({"XDG_DATA_HOME": "/data", PLACE: "/opt/ls"}, "/opt/ls"),
    ],
)
def test_where_it_goes(
    variables: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_DATA_HOME", PLACE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment_folder() == tmp_path / expected.format(pinned_version())


def test_the_pins_are_names_and_versions() -> None:
    lines = CONSTRAINTS.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    assert f"label-studio=={pinned_version()}" in lines


@pytest.mark.slow
def test_without_a_network_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    for name, value in nobody.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WorkError, match=r"cannot be installed: there is no connection to the package index") as raised:
        install(tmp_path / "env", fill=pip_install)
    assert PLACE in str(raised.value), "what to do about it"
    assert not (tmp_path / "env").exists()
