"""The whole loop on drawn people: two rounds, waiting, the end of the corpus, settings that change on the way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ConfigError, ExistsError, SkeletonError
from autolabel.labelstudio.access import write_settings
from autolabel.manifest import Manifest
from autolabel.merge import CORRECTIONS, read_corrections
from autolabel.poses import Poses
from pipelines import loop
from pipelines.loop import LoopResult
from pipelines.simulated_reviewer import SimulatedReviewer


def record(project: Path, n: int) -> dict[str, Any]:
    return json.loads((project / "rounds" / f"{n:02d}" / "round.json").read_text())


def queue(project: Path, n: int) -> dict[str, str]:
    lines = (project / "rounds" / f"{n:02d}" / "routing" / "queue.jsonl").read_text().splitlines()
    return {task["pose"]: task["kind"] for task in map(json.loads, lines)}


def poses_of(path: Path) -> Poses:
    manifest = Manifest.open(path)
    return Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])


def states(poses: Poses) -> dict[str, str]:
    return {pose: a.get("state", "") for pose, a in zip(poses.id.tolist(), poses.attributes, strict=True)}


def change(project: Path, old: str, new: str) -> None:
    file = project / "autolabel.toml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.fixture(scope="module")
def finished(drawn_case: Any) -> tuple[Path, LoopResult]:
    """A project of two rounds with everything answered."""
    project = drawn_case.project("finished")
    reviewer = SimulatedReviewer(drawn_case.truth, seed=0)
    return project, loop.run(project, reviewer=reviewer, truth=drawn_case.truth)


def test_two_rounds_end_in_a_dataset(finished: tuple[Path, LoopResult], drawn_case: Any) -> None:
    project, result = finished
    assert (result.state, result.rounds, result.planned, result.waits_for) == ("done", 2, 2, "")
    assert [record(project, n)["round"] for n in range(3)] == [0, 1, 2]
    dataset = states(poses_of(project / "dataset"))
    assert set(dataset) == set(poses_of(drawn_case.folder / "pool-truth").id.tolist())
    assert set(dataset.values()) <= {"reviewed", "review"}, "a network this small proves nothing"
    done = [s for s in Manifest.open(project / "dataset") if set(states(s.poses).values()) == {"reviewed"}]
    exported = json.loads((project / "coco.json").read_text())
    assert len(exported["images"]) == len(done) > 0
    card = (project / "dataset-card.md").read_text()
    assert Manifest.open(project / "dataset").digest in card
    assert record(project, 2)["model"] in card
    assert "**missing**" in card
    assert "Nothing" not in (project / "report.html").read_text().split("</h1>")[0]
    assert loop.status(project) == result
    assert json.dumps(result.summary(), default=str)


def test_what_a_person_left_stands_in_the_dataset_bit_by_bit(finished: tuple[Path, LoopResult]) -> None:
    project, _ = finished
    corrections = read_corrections(project / "audit" / "pulled" / CORRECTIONS, 17)
    dataset = poses_of(project / "dataset")
    rows = {pose: i for i, pose in enumerate(dataset.id.tolist())}
    assert len(corrections) >= 8
    for correction in corrections:
        assert np.array_equal(dataset.xy[rows[correction.pose]], correction.after.xy, equal_nan=True)
    assert (project / "audit" / "merged" / "conflicts.jsonl").read_text() == ""
    assert (project / "rounds" / "02" / "merged" / "conflicts.jsonl").read_text() == ""


def test_what_measures_is_never_learnt_from(finished: tuple[Path, LoopResult]) -> None:
    project, _ = finished
    kinds: dict[str, str] = {}
    for n in (1, 2):
        kinds |= queue(project, n)
        trained = set(poses_of(project / "rounds" / f"{n:02d}" / "training").id.tolist())
        assert trained == {pose for pose, kind in kinds.items() if kind == "review"}
        assert set(kinds.values()) == {"review", "calibration"}
        checked = set(poses_of(project / "rounds" / f"{n:02d}" / "checked").id.tolist())
        assert checked == {pose for pose, kind in kinds.items() if kind == "calibration"}
        assert record(project, n)["trained_on"] == record(project, 0)["trained_on"] + len(trained)
        assert set(queue(project, n)).isdisjoint(queue(project, 3 - n)), "nobody is asked twice"


def test_every_task_is_charged_those_of_the_audit_too(finished: tuple[Path, LoopResult]) -> None:
    project, result = finished
    assert [record(project, n)["effort"]["poses_opened"] for n in range(3)] == [0, 4, 8]
    audit = json.loads((project / "audit" / "audit.json").read_text())
    assert audit["effort"] == {"poses_opened": result.effort.poses_opened, "clicks": result.effort.clicks}
    assert result.effort.poses_opened == 8 + audit["tasks"]["audit"] + audit["tasks"]["review"]
    journal = (project / "labelstudio" / "journal.jsonl").read_text().splitlines()
    assert len(journal) == result.effort.poses_opened
    assert f">{result.effort.poses_opened}<" in (project / "report.html").read_text()


def test_a_round_says_which_network_and_how_good_its_untouched_poses_are(finished: tuple[Path, LoopResult]) -> None:
    project, _ = finished
    models = [record(project, n)["model"] for n in range(3)]
    assert len(set(models)) == 3
    for n in range(3):
        measured, counts = record(project, n)["routed"], record(project, n)["counts"]
        assert measured["untouched"]["n"] == counts["untouched"] == counts["untouched"] + counts["review"] - 4 * n
        assert measured["test"]["n"] >= 1
        assert {"predict", "score"} <= set(record(project, n)["seconds"])


def test_a_finished_loop_has_nothing_to_do(finished: tuple[Path, LoopResult]) -> None:
    project, result = finished
    kept = [
        *project.glob("rounds/*/*/*.parquet"),
        *project.glob("dataset/*.parquet"),
        *project.glob("rounds/*/model/*"),
    ]
    before = {file: file.stat().st_mtime_ns for file in kept}
    assert len(before) > 20
    assert loop.run(project) == result, "not even a reviewer is needed"
    assert {file: file.stat().st_mtime_ns for file in kept} == before


def test_the_report_can_be_written_again(finished: tuple[Path, LoopResult]) -> None:
    project, _ = finished
    before = (project / "report.html").read_text()
    (project / "report.html").write_text("")
    assert loop.report(project).path == project / "report.html"
    assert (project / "report.html").read_text() == before


def test_more_rounds_after_the_audit_are_refused(finished: tuple[Path, LoopResult]) -> None:
    project, result = finished
    before = (project / "autolabel.toml").read_text()
    change(project, "count = 2", "count = 3")
    try:
        with pytest.raises(
            ConfigError, match=r"asks for round 3, but the audit was drawn already.*share the confidence"
        ):
            loop.run(project)
        change(project, "count = 3", "count = 1")
        with pytest.raises(ConfigError, match=r"rounds\.count ends with .*01/scored, but the audit was drawn from"):
            loop.run(project)
    finally:
        (project / "autolabel.toml").write_text(before)
    assert loop.run(project) == result


def answer(project: Path, reviewer: SimulatedReviewer, only: int) -> None:
    """Answer all open tasks, then hold back all but some of the answers."""
    reviewer.review(project)
    (file,) = (project / "labelstudio" / "exports").glob("*.json")
    file.write_text(json.dumps(json.loads(file.read_text())[:only]))


def test_the_loop_waits_for_reviewers_and_goes_on(drawn_case: Any, tiny_weights: Path) -> None:
    project = drawn_case.project("waiting", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    assert loop.status(project).waits_for.startswith("`autolabel loop run ")
    first = loop.run(project)
    assert (first.state, first.rounds, first.certificate) == ("waiting", 0, None)
    assert first.waits_for.startswith("reviewers: 4 of 4 tasks have no answer. Import ")
    assert first.waits_for.endswith(str(project / "labelstudio" / "exports"))
    assert loop.run(project) == first
    assert loop.status(project).waits_for == first.waits_for
    write_settings(project, url="http://127.0.0.1:1", project=7)
    assert "They are at http://127.0.0.1:1/projects/7; `autolabel loop run " in loop.status(project).waits_for
    write_settings(project, url="")

    reviewer = SimulatedReviewer(drawn_case.truth, seed=0)
    answer(project, reviewer, only=3)
    assert loop.status(project).waits_for.startswith("reviewers: 1 of 4 tasks have no answer. ")
    assert loop.status(project).effort.poses_opened == 0, "status reads what runs have taken in, and writes nothing"
    partly = loop.run(project)
    assert partly.waits_for.startswith("reviewers: 1 of 4 tasks")
    assert partly.effort.poses_opened == 3
    assert not (project / "rounds" / "01" / "training").exists()

    reviewer.review(project)
    second = loop.run(project)
    assert (second.state, second.rounds) == ("waiting", 1)
    assert loop.status(project).waits_for.startswith("reviewers: 3 of 7 tasks have no answer. ")
    reviewer.review(project)
    assert loop.status(project).waits_for.startswith("`autolabel loop run ")
    assert loop.run(project).state == "done"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_rounds_end_when_nothing_is_left_to_review(drawn_case: Any, tiny_weights: Path, share: float) -> None:
    project = drawn_case.project(
        f"exhausted-{share}",
        rounds={"count": 3, "budget": 50, "random_share": share},
        network={"weights": str(tiny_weights)},
        corpus={"calibration": "", "test": ""},
    )
    result = loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0))
    assert (result.state, result.rounds) == ("done", 1)
    pool = drawn_case.truth.counts["poses"]
    assert result.effort.poses_opened == pool
    assert set(states(poses_of(project / "dataset")).values()) == {"reviewed"}
    tasks = json.loads((project / "rounds" / "01" / "routing" / "routing.json").read_text())["counts"]
    assert tasks["review"] == (pool if share == 0 else pool - drawn_case.truth.counts["samples"]), "one of each image"
    assert record(project, 1)["trained_on"] - record(project, 0)["trained_on"] == tasks["review"]
    assert result.certificate is not None
    assert not result.certificate.issued
    assert loop.run(project) == result


def test_a_change_in_the_middle_of_a_step_says_what_to_do(drawn_case: Any, tiny_weights: Path) -> None:
    project = drawn_case.project("changed", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    loop.run(project)
    SimulatedReviewer(drawn_case.truth, seed=0).review(project)
    model = project / "rounds" / "01" / "model"
    model.mkdir()
    (model / "run.json").write_text('{"key": "that of other settings"}')
    with pytest.raises(ExistsError, match=r"01/model: holds the result of another run\. A setting .* change it back"):
        loop.run(project)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (
            {"training": {"stepps": 3}},
            ConfigError,
            r"autolabel\.toml: training: unknown key 'stepps'; did you mean 'st",
        ),
        ({"finetuning": {"lr": 1}}, ConfigError, r"with \[finetuning\]: training: unknown key 'lr'"),
        ({"network": {"custom": {"widht": 3}}}, ConfigError, r"autolabel\.toml: model: .*did you mean 'width'"),
        ({"corpus": {"calibration": "../labelled"}}, ConfigError, r"is in corpus\.labelled and in corpus\.calibration"),
        ({"corpus": {"skeleton": "mpii16"}}, SkeletonError, "mpii16"),
        (
            {"corpus": {"labelled": ""}},
            ConfigError,
            r"neither network\.weights nor corpus\.labelled, and no corpus\.sk",
        ),
    ],
)
def test_wrong_settings_are_refused_before_any_work(
    drawn_case: Any, table: dict[str, Any], error: type[Exception], message: str, request: pytest.FixtureRequest
) -> None:
    project = drawn_case.project(f"wrong-{request.node.callspec.id[:20]}", **table)
    with pytest.raises(error, match=message):
        loop.run(project)
    assert not (project / "rounds").exists()
