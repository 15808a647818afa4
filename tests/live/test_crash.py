"""A slice of ``benchmarks/crash.py`` beside the real Label Studio: the loop is killed, and once the server too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autolabel.labelstudio.access import Access
from autolabel.project import FILE, read_project
from benchmarks.crash import Site, crash
from benchmarks.crash_launcher import Launcher
from benchmarks.crash_projects import demo
from benchmarks.crash_report import bars
from benchmarks.crash_storm import Server as Mortal
from pipelines.demo_size import DemoSize
from pipelines.labelstudio_environment import install
from pipelines.labelstudio_process import OwnServer
from tests.live.labelstudio_client import Server
from tests.live.labelstudio_server import environment

pytestmark = [pytest.mark.live, pytest.mark.slow]

SIZE = DemoSize(
    images=40, labelled=12, calibration=8, test=6, budget=6, audit=8, plants=0, blind=0, keypoints=1, whole_images=1,
    steps=16, finetuning_steps=8,
)  # fmt: skip


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Iterator[Path]:
    """A folder; the projects that its project folders have on the server are deleted in the end."""
    yield tmp_path
    for settings in tmp_path.glob(f"demo/*/{FILE}"):
        if number := read_project(settings.parent).labelstudio.project:
            server.call("DELETE", f"/api/projects/{number}/")


def test_a_killed_loop_and_a_killed_server_change_nothing(server: Server, place: Path) -> None:
    own = OwnServer.at(server.data)
    with Launcher() as launcher:
        site = Site(launcher, Access(server.url, server.token), Mortal(own, install(environment())))
        rows = crash(demo(place / "demo", size=SIZE, steps=0), site, kills=2, server_kills=1, seed=2)
    assert all(bar["met"] for bar in bars(rows, kills=2, server_kills=1)), rows
    runs = [row for row in rows if row["what"] == "run"]
    assert runs[0]["answers"] == runs[1]["answers"] > 0
