from pathlib import Path

import pytest

from autolabel.formats.labels import Aspect
from pipelines import export, import_
from tests.autolabel.formats.kept import BEGIN, EXAMPLES, FORMATS, main, round_trip, table


def test_every_format_and_every_aspect_is_tried() -> None:
    assert set(FORMATS) == set(import_.FORMATS) == set(export.FORMATS)
    assert set(EXAMPLES) == set(Aspect)


@pytest.mark.parametrize("aspect", Aspect)
@pytest.mark.parametrize("format", FORMATS)
def test_an_aspect_comes_back_or_its_loss_is_said(format: str, aspect: Aspect, tmp_path: Path) -> None:
    outcome = round_trip(FORMATS[format], aspect, tmp_path)
    assert outcome.kept == (aspect not in FORMATS[format].cannot)
    assert outcome.said or outcome.kept


def test_the_page_is_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before\n{BEGIN}old\n<!-- kept: end -->\nAfter\n")
    assert main(["--check", str(page)]) == 1 and "make docs" in capsys.readouterr().err
    assert main([str(page)]) == 0 and main(["--check", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("Before\n") and text.endswith("After\n") and table() in text
