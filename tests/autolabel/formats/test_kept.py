from pathlib import Path

import pytest

from autolabel.formats.labels import Aspect
from pipelines import export, import_
from tests.autolabel.formats.kept import BEGIN, EXAMPLES, FORMATS, main, outcome, table

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def test_every_format_and_every_aspect_is_tried() -> None:
    assert set(FORMATS) == set(import_.FORMATS) - {"fiftyone"} == set(export.FORMATS)
    assert set(EXAMPLES) == set(Aspect)


@pytest.mark.parametrize("aspect", Aspect)
@pytest.mark.parametrize("format", FORMATS)
def test_an_aspect_comes_back_or_its_loss_is_said(format: str, aspect: Aspect) -> None:
    found = outcome(format, aspect)
    assert found.kept == (aspect not in FORMATS[format].cannot)
    assert found.said or found.kept


def test_the_page_is_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before\n{BEGIN}old\n<!-- kept: end -->\nAfter\n")
    assert main(["--check", str(page)]) == 1 and "make docs" in capsys.readouterr().err
    assert main([str(page)]) == 0 and main(["--check", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("Before\n") and text.endswith("After\n") and table() in text


def test_the_page_of_formats_shows_the_table() -> None:
    assert main(["--check", str(PAGE)]) == 0
