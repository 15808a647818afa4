"""Headless Chromium in front of Label Studio: what an annotator's hands and eyes do, for tests and pictures.

The system's own Chromium is driven; where it or playwright is missing the tests skip and say so. Everybody
signs up with the organisation's invitation, so that no test needs the password of another user.
"""

import secrets
import shutil
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.live.labelstudio_client import Server

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if path), None)
VIEW = {"width": 1440, "height": 900}
SETTLED = 400
FILLED_IN = """() => {
  const {selected, predictions} = Htx.annotationStore;
  return selected && predictions.length && selected.results.length >= predictions[0].results.length;
}"""


@dataclass(frozen=True)
class Desk:
    """One annotator's browser window, signed in."""

    page: Any
    server: Server
    email: str

    def label(self, project: int) -> None:
        """Open a project and press the button that hands out its tasks."""
        self.page.goto(f"{self.server.url}/projects/{project}/data")
        self.page.get_by_role("button", name="Label All Tasks").first.click()
        self.wait()

    def open_task(self, project: int, task: int) -> None:
        """Open one task from the Data Manager."""
        self.page.goto(f"{self.server.url}/projects/{project}/data?task={task}")
        self.wait()

    def wait(self) -> None:
        """Until the picture is drawn and what is filled in stands there."""
        self.page.wait_for_selector(".konvajs-content canvas", timeout=60_000)
        self.page.wait_for_function(FILLED_IN, timeout=60_000)
        self.page.wait_for_timeout(SETTLED)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where percent of the picture lie in the window."""
        box = self.page.locator("img[alt=image]").bounding_box()  # the canvas above it may be larger
        return box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]

    def drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        """Press at one place of the window, let go at another."""
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        for step in (0.25, 0.5, 0.75, 1.0):
            mouse.move(*(a + step * (b - a) for a, b in zip(start, end, strict=True)))
        mouse.up()
        self.page.wait_for_timeout(SETTLED)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, as playwright names them."""
        for key in keys:
            self.page.keyboard.press(key)
            self.page.wait_for_timeout(100)

    def submit(self) -> None:
        """Ctrl+Enter, until the server has it."""
        with self.page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as answer:
            self.press("Control+Enter")
        assert answer.value.ok, answer.value.text()

    def regions(self) -> list[dict[str, Any]]:
        """The result as the editor would submit it now."""
        return self.page.evaluate("() => Htx.annotationStore.selected.serializeAnnotation()")


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def sit_down(chromium: Any, server: Server, name: str = "annotator") -> Desk:
    """A new annotator with a window of their own.

    Args:
        chromium: From :func:`browser`.
        server: Where to sign up.
        name: The e-mail's beginning.
    """
    email, password = f"{name}-{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(12)
    page = chromium.new_context(viewport=VIEW).new_page()
    invitation = server.json("GET", "/api/invite")["invite_url"]
    page.goto(urllib.parse.urljoin(server.url, invitation))
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "signup" not in url, timeout=60_000)
    return Desk(page, server, email)
