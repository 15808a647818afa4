"""What all tests share.

The suite runs in one process, or in several with pytest-xdist, as ``make test`` has it. Nothing here changes which
tests run; with several processes it says which stay together, and that the long ones come first.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Workers share the cores already, and the last bit of a float depends on how threads share a matrix. Set before
# anything imports torch; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How fast a machine is says nothing about whether a property holds.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

MOST_WORKERS = 8
"""A worker takes a good gigabyte of memory, so that more of them are not always faster."""

SERVER = "tests/live/test_"
FIFTYONE = f"{SERVER}curate"
"""Live tests of FiftyOne share one database and one import of it."""

SERVERLESS = tuple(
    f"{SERVER}{name}" for name in ("coco_val", "curate", "mongodb", "openfield", "ray", "truth_as_network")
)
"""Live tests share one Label Studio, which takes a minute to start, but for these, which need none."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker a core that this process may use, and one more: many tests wait for servers, browsers and the dead."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, MOST_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``--dist loadfile``, but the files of Label Studio count as one, and so do those of FiftyOne.

    Not ``--dist loadgroup``, whose groups pytest 9.2 ignores without a word (pytest-xdist issue 1386).
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class WholeFiles(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if needs_server(nodeid):
                return SERVER
            return FIFTYONE if nodeid.startswith(FIFTYONE) else super()._split_scope(nodeid)

    return WholeFiles(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers begin with the server, for which they wait, and with what is slow; the short files fill up at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


def needs_server(nodeid: str) -> bool:
    """Whether a test belongs to those that share one server."""
    return nodeid.startswith(SERVER) and not nodeid.startswith(SERVERLESS)


def _place(item: pytest.Item) -> int:
    if needs_server(item.nodeid):
        return 0
    return 1 if item.get_closest_marker("slow") else 2
