"""Every notebook runs from top to bottom, is kept without its outputs, and links to what exists."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[str]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def links(notebook: Path) -> list[str]:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    prose = "".join("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "markdown")
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def test_they_are_numbered_in_the_order_to_read_them() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["01_first_labels", "02_review_queue", "03_models_and_doubt"]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.name)
def test_a_notebook_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    names: dict[str, object] = {}
    for number, cell in enumerate(cells(notebook)):
        exec(compile(cell, f"{notebook.name}, cell {number}", "exec"), names)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.name)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in content["cells"])


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda file: file.name)
def test_a_notebook_links_to_what_exists(notebook: Path) -> None:
    found = links(notebook)
    assert found, "each leads on"
    assert [link for link in found if not (notebook.parent / link).is_file()] == []
