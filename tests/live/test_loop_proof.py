"""A simulated reviewer at a real Label Studio: what comes back is what the same reviewer leaves in files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ConfigError
from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.merge import CORRECTIONS, Correction, read_corrections
from autolabel.project import read_project
from benchmarks.labelstudio_person import ServerReviewer
from pipelines import loop
from pipelines.loop_state import Reviewer, last_pulled
from pipelines.simulated_reviewer import SimulatedReviewer
from tests.live.labelstudio_client import Server
from tests.pipelines.conftest import drawn_case, tiny_weights

__all__ = ["drawn_case", "tiny_weights"]

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def at_server(server: Server, drawn_case: Any, tiny_weights: Path) -> Iterator[Path]:
    """A project that has a server."""
    project = drawn_case.project("at-server", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    write_settings(project, url=server.url)
    save_token(project, server.token)
    yield project
    Client(Access(server.url, server.token)).delete_project(read_project(project).labelstudio.project)


def answers(project: Path, reviewer: Reviewer) -> dict[str, Correction]:
    """All answers of a whole loop, by pose: each is asked about once."""
    assert loop.run(project, reviewer=reviewer).state == "done"
    pulled = last_pulled(project)
    assert pulled is not None
    found = read_corrections(pulled / CORRECTIONS, 17)
    made = {one.pose: one for one in found}
    assert len(made) == len(found)
    return made


def test_answers_through_the_server_are_those_through_files(
    at_server: Path, drawn_case: Any, tiny_weights: Path
) -> None:
    reviewer = SimulatedReviewer(drawn_case.truth, seed=4, noise=1.0)
    beside = ServerReviewer(reviewer)
    with pytest.raises(ConfigError, match="has no project on a server"):
        beside.review(at_server)
    ours = answers(at_server, beside)
    assert beside.review(at_server) == 0  # nobody is asked twice

    files = drawn_case.project("in-files", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    theirs = answers(files, reviewer)
    assert ours.keys() == theirs.keys() and len(ours) >= 4
    for pose, one in ours.items():
        other = theirs[pose]
        assert (one.state, one.keypoints, one.clicks) == (other.state, other.keypoints, other.clicks)
        assert one.seconds == other.seconds
        assert np.array_equal(one.after.xy, other.after.xy, equal_nan=True)
        assert np.array_equal(one.after.visibility, other.after.visibility)
    assert any(one.clicks > 1 for one in ours.values())
