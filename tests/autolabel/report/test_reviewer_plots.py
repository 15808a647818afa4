"""The picture of the reviewers is drawn whatever was measured."""

from pathlib import Path

import pytest
from PIL import Image

from autolabel.report.reviewer_plots import draw_reviewers
from autolabel.reviewer_quality import Look, looks_of
from autolabel.reviewer_report import measure_reviewers
from tests.looks import STICK, K, look, sent_pose

LONG = "somebody.with.a.very.long.name@a-very-long-domain.example.org"


@pytest.mark.parametrize(
    "answers",
    [
        [look("ann")],
        [look(LONG, planted=True), look("bob", {0: (51, 22)}, blind=True), look("ann", {0: (53, 24)}, blind=True)],
        [look(f"person-{i}", {0: (50 + i, 20)}, pose=sent_pose("p"), blind=True) for i in range(40)],
    ],
)
def test_a_picture(answers: list[Look], tmp_path: Path) -> None:
    draw_reviewers(measure_reviewers(looks_of(answers, K), STICK), STICK, tmp_path / "reviewers.png")
    with Image.open(tmp_path / "reviewers.png") as picture:
        assert picture.size[0] > 1000
        grey = picture.convert("L").histogram()
    assert sum(count > 0 for count in grey) > 10, "something is drawn"
