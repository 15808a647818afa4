"""What several tests of the folder share."""

from pathlib import Path

import pytest

import autolabel.labelstudio.sync as syncing
from tests.sync_case import Case, make_case


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(syncing, "CHUNK_TASKS", 3)
    return make_case(tmp_path)
