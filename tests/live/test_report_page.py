"""A report in a browser: nothing runs over the edge of a screen, and nothing is asked from outside the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autolabel.audit import AuditCounts
from autolabel.certify import certificate
from autolabel.report.answers import Answered, Work
from autolabel.report.evidence import Evidence
from autolabel.report.page import render
from autolabel.report.project_page import project_page
from autolabel.reviewer_quality import Share
from autolabel.similarity import BadRule
from tests.autolabel.report.yardsticks import yardstick
from tests.live.browser import browser

pytestmark = [pytest.mark.live, pytest.mark.slow]

LONG = "a-project-whose-name-nobody-shortened-for-the-sake-of-a-small-screen"
OVER = """() => [...document.querySelectorAll("main *")]
  .filter(e => getComputedStyle(e).position != "absolute" && e.getBoundingClientRect().right > innerWidth)
  .map(e => e.outerHTML.slice(0, 80))"""
SHORTEST = (
    """() => Math.min(...[...document.querySelectorAll(".panels img")].map(e => e.getBoundingClientRect().width))"""
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of block on it."""
    project = tmp_path_factory.mktemp("page") / LONG
    quality = {"n": 1200, "bad": 0.1, "gross": 0.05, "epe": 12.5, "oks": 0.9}
    two = {"poses": 300, "oks": 0.912, "old_oks": 0.901, "fixed": 40, "broken": 12}
    for n in range(3):
        (project / "rounds" / f"{n:02d}").mkdir(parents=True)
        record = {
            "round": n,
            "model": "0123456789abcdef",
            "trained_on": 123_456,
            "counts": {"review": 40_000 * n, "untouched": 120_000 - 40_000 * n},
            "effort": {"poses_opened": 40_000 * n, "clicks": 90_000 * n},
            "routed": {"untouched": quality, "test": quality},
            "random": {"untouched": quality, "test": quality},
            "score": {"auroc_bad": 0.8, "risk_coverage": [[0.5, 0.02], [1, 0.3]], "reliability": [[0.2, 0.25, 80]]},
            "seconds": {"train": 36_000.0, "predict": 7_200.0, "review": 90_000.0, "score": 60.0},
            "gate": {"decision": "refused", "reason": "it is not shown to be better on poses that it never saw: " * 2,
                     "gate": two, "base": two},
            "learning": {"sources": [{"from": "corrected", "poses": 40_000, "share": 0.5, "filled": 123_456},
                                     {"from": "base", "poses": 123_456, "share": 0.5, "filled": 0}]},
            "lint": {"poses": 120_000, "faulty": 1_234, "answered": 40_000, "answered_faulty": 567},
            "stop": {"cause": "count", "reason": "2 rounds of review were asked for"},
            "cold": {"chosen": 400, "candidates": 120_000, "boxes": True, "looks": "facebook/dino-vits16"},
        }  # fmt: skip
        (project / "rounds" / f"{n:02d}" / "round.json").write_text(json.dumps(record))
    counts = AuditCounts(audited=100, bad=1, rejected=0, keypoints=1400, gross=3)
    proven = certificate(
        counts, max_bad=0.05, confidence=0.95, population=120, digest_before="0" * 64, digest_after="1" * 64,
        audit=["a"], rule=BadRule(), routing="r", answers="a",
    )  # fmt: skip
    (project / "certificate.json").write_text(json.dumps(proven.to_dict()))
    work = Work("round 1", opened=40_000, clicks=90_000, ordinary=40_000, kept=5_000, bad=20_000, fixed=60_000,
                seconds=90_000.0, timed=40_000, fixed_timed=60_000, fixing_seconds=80_000.0)  # fmt: skip
    test = yardstick({0, 1}, {1})
    evidence = Evidence(
        yardsticks=(test,), base=test, speed=(120_000, 7_200.0), states={"accepted": 60_000, "review": 60_000},
        answered=Answered((work,), None, 0, Share(9, 10), {"nose": 7}, 40_000, (), ()),
    )  # fmt: skip
    file = project / "report.html"
    file.write_text(render(project_page(project, evidence=evidence)), encoding="utf-8")
    return file


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_nothing_runs_over_the_edge(chromium: Any, page: Path, width: int) -> None:
    window = chromium.new_page(viewport={"width": width, "height": 800})
    asked: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    window.goto(page.as_uri())
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    assert window.evaluate(OVER) == []
    assert window.evaluate(SHORTEST) >= min(260, width), "figures are as wide as the screen lets them be"
    assert [url for url in asked if not url.startswith(("data:", page.as_uri()))] == []
    window.close()


def test_chapters_are_reached_from_the_top(chromium: Any, page: Path) -> None:
    window = chromium.new_page(viewport={"width": 390, "height": 800})
    window.goto(page.as_uri())
    window.get_by_role("link", name="Effort").click()
    assert 0 <= window.locator("h2", has_text="Effort").bounding_box()["y"] < 200
    window.close()
