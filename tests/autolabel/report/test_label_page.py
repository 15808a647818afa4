"""The page about suspected labels."""

from pathlib import Path

import numpy as np
from PIL import Image

from autolabel.label_quality import label_quality
from autolabel.label_suspects import suspects
from autolabel.report.label_page import Audited, label_page
from autolabel.report.page import render
from tests.autolabel.label_cases import LSP, people, seen


def made(folder: Path, *, spoilt: int = 3):
    right = people(60)
    xy = right.xy.copy()
    xy[:spoilt, LSP.index("left_knee")] += 70
    label = right.replace(xy=xy)
    evidence = seen(label, right.xy)
    images = [folder / f"{i}.png" for i in range(60)]
    for path in images[1:]:
        Image.fromarray(np.full((230, 200, 3), 90, np.uint8)).save(path)
    quality = label_quality(label, evidence, LSP)
    found = suspects(label, [path.name for path in images], quality, evidence, LSP)
    audited = Audited("people.m", label, images, evidence.xy, 60, 1, 2, dict(quality.floors), LSP)
    return audited, found


def test_the_page_shows_what_is_suspected(tmp_path: Path) -> None:
    page = label_page(*made(tmp_path))
    assert [shelf.title for shelf in page.shelves] == ["Misplaced"]
    assert len(page.shelves[0].shots) == 2, "the image that cannot be read any more is left out"
    assert page.tables[0].rows[0][2] == "left knee misplaced"
    html = render(page)
    assert "left knee misplaced" in html
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")


def test_nothing_suspected_is_a_page_too(tmp_path: Path) -> None:
    page = label_page(*made(tmp_path, spoilt=0))
    assert page.shelves == ()
    assert page.tables == ()
    assert "none with a score" in render(page)
