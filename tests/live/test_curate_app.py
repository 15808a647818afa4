"""A curator in front of FiftyOne's App: what the first screen shows, and what a few clicks decide."""

import io
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.curate.install import install_plugin
from autolabel.curate.schema import COLOURS
from autolabel.manifest import Manifest
from autolabel.poses import Poses, Sample
from pipelines.curate import curate
from tests.curation import SIZES, some_manifest, some_poses
from tests.live.browser import browser

pytestmark = pytest.mark.live

NAME = "app-people"
PEOPLE = 12
SETTLED = 1500
TICKS = "[title^='Click to select sample']"
PLACES = """ticks => ticks.map(tick => {
  let tile = tick;
  while (tile.getBoundingClientRect().width < 60) tile = tile.parentElement;
  const {x, y} = tile.getBoundingClientRect();
  return [x, y];
})"""
"""Where the tiles begin; their boxes have no extent before the mouse is there."""

REVIEW = "rate_review"
"""The icon of the button that sends to review."""


@dataclass
class Hand:
    """A mouse that counts its clicks."""

    page: Any
    clicks: int = 0

    def tick(self, tile: int) -> None:
        """Select a tile of the grid, counted as one reads, by the box that the mouse brings up in its corner."""
        places = self.page.locator(TICKS).evaluate_all(PLACES)
        x, y = sorted(places, key=lambda place: (round(place[1]), place[0]))[tile]
        self.page.mouse.move(x + 60, y + 60)
        self.page.wait_for_timeout(400)
        self.page.mouse.click(x + 20, y + 20)
        self.page.wait_for_timeout(400)
        self.clicks += 1

    def press(self, button: Any) -> None:
        button.click()
        self.page.wait_for_timeout(SETTLED)
        self.clicks += 1

    def shows(self, colour: str) -> int:
        """Pixels of a colour on the screen."""
        picture = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")).astype(int)
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        return int((np.abs(picture - wanted).max(axis=-1) < 24).sum())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A dozen people, one an image, each less doubtful than the one before; of all a keypoint is missing."""
    doubts = np.linspace(0.9, 0.1, PEOPLE)
    poses: list[Poses] = [some_poses(1, i, p_bad=[doubt]) for i, doubt in enumerate(doubts)]
    samples = [Sample(f"{i:064x}", "images", f"a/{i % 3}.png", SIZES[i % 3], its) for i, its in enumerate(poses)]
    return some_manifest(tmp_path_factory.mktemp("app"), samples)


@pytest.fixture(scope="module")
def app(fiftyone_module: Any, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The App's address; its process has our plugin."""
    plugins = tmp_path_factory.mktemp("plugins")
    before, os.environ["FIFTYONE_PLUGINS_DIR"] = fiftyone_module.config.plugins_dir, str(plugins)
    fiftyone_module.config.plugins_dir = str(plugins)
    install_plugin(fiftyone_module)
    curate(manifest, name=NAME, sheet=manifest.path.parent / "sheet")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    session = fiftyone_module.launch_app(
        fiftyone_module.load_dataset(NAME), remote=True, address="127.0.0.1", port=port
    )
    try:
        yield f"http://127.0.0.1:{port}/datasets"
    finally:
        session.close()
        os.environ.pop("FIFTYONE_PLUGINS_DIR")
        fiftyone_module.config.plugins_dir = before
        for name in (NAME, f"{NAME}-people"):
            fiftyone_module.delete_dataset(name)


@pytest.fixture(scope="module")
def page(app: str) -> Iterator[Any]:
    with browser() as chromium:
        page = chromium.new_context(viewport={"width": 1500, "height": 900}).new_page()
        page.goto(f"{app}/{NAME}")
        page.wait_for_selector(TICKS, state="attached", timeout=60_000)
        if page.get_by_text("Dismiss").count():
            page.get_by_text("Dismiss").first.click()
        page.wait_for_timeout(SETTLED)
        yield page


def test_the_first_screen_draws_skeletons_though_keypoints_are_missing(page: Any) -> None:
    assert Hand(page).shows(COLOURS["poses"]) > 5_000
    text = page.inner_text("body")
    assert all(name in text for name in ("p_bad", "num_poses", "truncated", "poses", "boxes"))
    assert f"{PEOPLE} samples" in text


def test_saved_views_are_in_the_list_and_open(page: Any, app: str) -> None:
    page.goto(f"{app}/{NAME}?view=truncated-bodies")
    page.wait_for_selector(TICKS, state="attached", timeout=60_000)
    page.wait_for_timeout(SETTLED)
    page.get_by_text("truncated bodies").first.click()
    page.wait_for_timeout(SETTLED)
    text = page.inner_text("body")
    assert all(view in text for view in ("most doubtful", "suspected swaps", "by net"))
    page.keyboard.press("Escape")


def test_bad_people_on_a_sheet_go_to_review_in_as_many_clicks_and_two(page: Any, app: str, manifest: Manifest) -> None:
    page.goto(f"{app}/{NAME}-people?view=most-doubtful")
    page.wait_for_selector(TICKS, state="attached", timeout=60_000)
    page.wait_for_timeout(SETTLED)
    hand, bad = Hand(page), (0, 2, 5)
    assert hand.shows(COLOURS["poses"]) > 5_000, "crops are drawn, too, though keypoints are missing"
    for tile in bad:
        hand.tick(tile)
    hand.press(page.get_by_text(REVIEW, exact=True).first)
    hand.press(page.get_by_role("button", name="Send to review").last)
    assert hand.clicks == len(bad) + 2
    out = manifest.path.parent / "curated"
    pulled = curate(manifest, name=NAME, pull=True, out=out).pulled
    assert pulled is not None and pulled.review == len(bad)
    sent = [pose for sample in Manifest.open(out / "review") for pose in sample.poses.id.tolist()]
    assert sent == [f"{tile:032x}" for tile in bad], "the sheet is in the order of doubt"
    assert Path(out / "review" / "manifest.json").is_file()
