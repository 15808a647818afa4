"""Processes that fail are told by the one that started them; a process of a job starts no further ones."""

import pytest

from autolabel.errors import WorkError
from pipelines.launch import is_launched, launch


def test_a_failure_in_a_process_is_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkError, match=r"train: one of the 2 processes failed.*last saved state"):
        launch(["train", "--config", "nowhere.toml", "--out", "nowhere"], 2)
    assert "nowhere.toml: cannot be read" in capfd.readouterr().err, "why"


def test_a_process_of_a_job_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert not is_launched()
    monkeypatch.setenv("RANK", "1")
    assert is_launched()
