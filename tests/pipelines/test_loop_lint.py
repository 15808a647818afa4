"""The lint step of a round: it counts what routing acts on, looks at people's answers too, and looks once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Sample
from autolabel.progress import SILENT
from autolabel.project import Corpus, Project
from pipelines import loop
from pipelines.lint import lint
from pipelines.loop_lint import FINDINGS, FOUND, Found, lint_round
from pipelines.loop_state import Loop
from pipelines.route import route
from pipelines.simulated_reviewer import SimulatedReviewer
from tests.standing import COCO, people


def scored(folder: Path, states: list[str], faulty: list[bool]) -> Loop:
    """A project whose round 1 has scored a pose an image; both ankles of a faulty one lie in one place."""
    n = len(states)
    poses = people(max(n, 1), shake=0.5).take(list(range(n)))
    xy = poses.xy.copy()
    xy[faulty, 16] = xy[faulty, 15]
    poses = poses.replace(xy=xy, attributes=[{"state": state} if state else {} for state in states])
    here = Loop(folder, Project(name="p", corpus=Corpus(images="i")), None, None, SILENT)
    samples = [Sample(f"s{i}", "r", f"{i}.png", (900, 300), poses.take([i])) for i in range(n)]
    write_manifest(folder / "poses", samples, COCO, {"r": folder}, stage="score", part_size=2)
    lint(folder / "poses", out=here.round(1) / "scored")  # as `score` leaves its findings
    return here


@pytest.mark.parametrize(
    ("states", "faulty", "expected", "words"),
    [
        (["", "", ""], [False, False, False], (3, 0, 0, 0), "lint finds faults in 0 of 3 poses that nobody has seen"),
        (["", "", ""], [False, True, True], (3, 2, 0, 0), "lint finds faults in 2 of 3 poses that nobody has seen"),
        (
            ["", "reviewed", "reviewed"],
            [False, True, False],
            (1, 0, 2, 1),
            "lint finds faults in 0 of 1 pose that nobody has seen and 1 of 2 that people answered",
        ),
        ([], [], (0, 0, 0, 0), "lint finds faults in 0 of 0 poses that nobody has seen"),
    ],
)
def test_poses_are_counted_by_who_saw_them(
    tmp_path: Path, states: list[str], faulty: list[bool], expected: tuple[int, ...], words: str
) -> None:
    here = scored(tmp_path, states, faulty)
    found = Found(**lint_round(here, 1))
    assert (found.poses, found.faulty, found.answered, found.answered_faulty) == expected
    assert found.words() == words
    assert found.kinds == ({"coincident": expected[1]} if expected[1] else {})
    lines = [json.loads(line) for line in (here.round(1) / FINDINGS).read_text().splitlines()]
    assert [line["pose"] for line in lines] == [f"pose{i}" for i, fault in enumerate(faulty) if fault]
    assert all("ankle" in line["findings"][0]["text"] for line in lines)
    assert [line["answered"] for line in lines] == [
        bool(states[int(line["pose"].removeprefix("pose"))]) for line in lines
    ]


def test_a_round_is_looked_at_once(tmp_path: Path) -> None:
    here = scored(tmp_path, ["", ""], [True, False])
    first = lint_round(here, 1)
    (here.round(1) / FINDINGS).write_text("")
    assert lint_round(here, 1) == first
    assert (here.round(1) / FINDINGS).read_text() == "", "what is finished is not done again"
    (here.round(1) / FOUND).unlink()  # as a kill leaves it
    assert lint_round(here, 1) == first
    assert len((here.round(1) / FINDINGS).read_text().splitlines()) == 1


def test_what_is_counted_is_what_routing_acts_on(tmp_path: Path) -> None:
    here = scored(tmp_path, ["", "", "", "reviewed"], [False, True, True, True])
    routed = route(here.round(1) / "scored", out=tmp_path / "routing", max_bad=0.1, budget=4, audit=False).record
    assert routed["counts"]["lint"] == lint_round(here, 1)["faulty"] == 2


def test_what_score_found_is_not_looked_for_again(tmp_path: Path) -> None:
    here = scored(tmp_path, ["", "", "reviewed", ""], [False, True, True, True])
    bare = Manifest.open(tmp_path / "poses")
    shutil.rmtree(here.round(1) / "scored")
    write_manifest(here.round(1) / "scored", bare, COCO, {"r": tmp_path}, stage="score", part_size=2)
    found = Found(**lint_round(here, 1))
    assert (found.faulty, found.answered_faulty) == (1, 1), "the first two were looked at, and not again"


def test_every_round_is_looked_at(drawn_case: Any, tiny_weights: Path) -> None:
    project = drawn_case.project("linted", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False)
    rounds = project / "rounds"
    first, second = (json.loads((rounds / f"0{n}" / "round.json").read_text())["lint"] for n in (0, 1))
    assert first == json.loads((rounds / "00" / FOUND).read_text())
    assert first["faulty"] == json.loads((rounds / "01/routing/routing.json").read_text())["counts"]["lint"]
    assert first["kinds"]["nobody"] > 0, "a network this small sees nobody"
    assert (first["answered"], second["answered"]) == (0, 4)
    assert second["poses"] == first["poses"] - 4
    board = loop.status(project).board
    assert board is not None and board.lint == Found(**second).words()
    assert "lint" in board.total.machine
