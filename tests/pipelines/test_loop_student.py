"""A student in the loop: who labels, what it learns from, when it is distilled anew, and that a kill changes nothing.

The truth is made to fit an untrained network, and the student has its size, so that both place the same people well and
others badly, and have calibrators after a few steps.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ConfigError
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import SILENT
from autolabel.project import read_project, to_toml
from autolabel.report.deeds_table import deeds_table
from autolabel.report.rounds import read_rounds
from model.checkpoint import model_digest
from pipelines import loop
from pipelines.loop_cascade import calibrators_of, labels_of, pair_of, student_of
from pipelines.loop_predict import digest_in_force, predicted_of
from pipelines.loop_state import Loop
from pipelines.loop_student import refresh_student
from pipelines.predict import predict
from pipelines.simulated_reviewer import SimulatedReviewer
from tests.pipelines.conftest import NETWORK, TRAINING
from tests.pipelines.test_loop_killed import killed

K = 17
PARTS = {"calibration": 60, "labelled": 8, "pool": 16}
SIZE = {"width": NETWORK["width"], "depth": NETWORK["depth"], "heads": NETWORK["heads"]}
GENTLE = {"learning_rate": 1e-5, "warmup_steps": 0}
STUDENT = {
    "steps": 2,
    "custom": SIZE,
    "refresh": 0.0,
    "doubt": 0.4,
    "training": {**{k: TRAINING[k] for k in ("batch_size", "precision", "device")}, **GENTLE},
}


@pytest.fixture(scope="module")
def corpus(drawn_case: Any, tiny_weights: Path) -> Path:
    """A folder with manifests of the parts, and ``pool-truth``."""
    rng = np.random.default_rng(0)
    folder, samples = drawn_case.crowd("student", sum(PARTS.values()), rng)

    def write(name: str, part: list[Sample]) -> Manifest:
        roots = {"crowd": folder / "images"}
        return write_manifest(folder / name, part, drawn_case.truth.skeleton, roots, stage="test", part_size=6)

    boxes = write("boxes", samples)
    predicted = predict(boxes.path, weights=tiny_weights, out=folder / "said", flip_test=True).manifest
    said = all_poses(predicted)
    peaks = said.score.mean(axis=1)
    right = peaks > np.quantile(peaks, 0.4)
    anywhere = said.box[:, None, :2] + rng.random((len(samples), K, 2)) * (said.box[:, 2:] - said.box[:, :2])[:, None]
    xy, visible = np.where(right[:, None, None], said.xy, anywhere), np.full((len(samples), K), Visibility.VISIBLE)
    true = said.replace(xy=xy, visibility=visible, origin=np.full(visible.shape, Origin.IMPORTED))
    ends = np.cumsum([0, *PARTS.values()])
    for name, low, high in zip(PARTS, ends, ends[1:], strict=False):
        given = [samples[i].with_poses(true.take([i])) for i in range(low, high)]
        write("pool-truth" if name == "pool" else name, given)
    write("pool", samples[ends[-2] :])
    return folder


def all_poses(manifest: Manifest) -> Poses:
    return Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])


def ids(path: Path) -> set[str]:
    return set(all_poses(Manifest.open(path)).id.tolist())


def make(folder: Path, weights: Path, name: str, **changes: dict[str, Any]) -> Path:
    tables: dict[str, Any] = {
        "corpus": {
            "images": "../images",
            "boxes": "../pool",
            "labelled": "../labelled",
            "calibration": "../calibration",
        },
        "promise": {"max_bad": 0.3, "confidence": 0.8, "audit": 3},
        "rounds": {"count": 2, "budget": 4, "random_share": 0.5},
        "network": {"weights": str(weights)},
        "training": TRAINING,
        "finetuning": {"steps": 2, **GENTLE},
        "student": STUDENT,
    }
    (folder / name).mkdir()
    file = folder / name / "autolabel.toml"
    file.write_text(to_toml({"name": name} | {table: tables[table] | changes.get(table, {}) for table in tables}))
    return folder / name


def run(project: Path, *, audit: bool = False) -> None:
    truth = Manifest.open(project.parent / "pool-truth")
    loop.run(project, reviewer=SimulatedReviewer(truth, seed=0), audit=audit)


def opened(project: Path) -> Loop:
    return Loop(project, read_project(project), None, None, SILENT)


def record(project: Path, n: int, name: str = "round.json") -> dict[str, Any]:
    return json.loads((project / "rounds" / f"{n:02d}" / name).read_text())


@pytest.fixture(scope="module")
def finished(corpus: Path, tiny_weights: Path) -> Path:
    """Two rounds, each of which distils, and an audit."""
    project = make(corpus, tiny_weights, "finished")
    run(project, audit=True)
    return project


def test_a_student_labels_and_its_teacher_whom_it_doubts(finished: Path) -> None:
    for n in (1, 2):
        here = finished / "rounds" / f"{n:02d}"
        assert not (here / "predicted").exists(), "the teacher labels nobody whom the student does not doubt"
        student, teacher = (model_digest(here / name)[:12] for name in ("student", "model"))
        placed = dict(zip(*np.unique(all_poses(Manifest.open(here / "cascade")).by, return_counts=True), strict=True))
        told = record(finished, n)["student"]
        assert (told["state"], told["student"]["round"], told["teacher"]) == ("distilled", n, n)
        assert placed == {student: told["cascade"]["student"], teacher: told["cascade"]["teacher"]}
        assert 0 < told["cascade"]["teacher"] < PARTS["pool"]
        scored = all_poses(Manifest.open(here / "scored"))
        unseen = np.array([not attributes.get("state") for attributes in scored.attributes])
        assert np.isfinite(scored.p_bad[unseen]).all(), "each has the doubt of who placed it"
        assert [file.name for file in calibrators_of(opened(finished), n)] == [
            "student-calibrator.json",
            "calibrator.json",
        ]


def test_a_student_learns_nothing_that_measures(finished: Path) -> None:
    measure = set[str]()
    for n in (1, 2):
        here = finished / "rounds" / f"{n:02d}"
        queue = map(json.loads, (here / "routing/queue.jsonl").read_text().splitlines())
        measure |= {task["pose"] for task in queue if task["kind"] != "review"}
        pool, labelled = (ids(here / name) for name in ("student-pool", "training"))
        assert len(measure) == len(labelled) == 2 * n
        assert ids(here / "checked") <= measure
        assert pool == ids(finished.parent / "pool") - measure - labelled


def test_the_first_student_is_a_part_of_its_teacher_and_the_next_goes_on(finished: Path) -> None:
    first, second = (json.loads((finished / f"rounds/0{n}/student/run.json").read_text()) for n in (1, 2))
    assert first["config"]["init"] == "teacher"
    assert second["config"]["init"] == "other"
    assert second["inputs"]["init"] == model_digest(finished / "rounds/01/student")
    assert second["inputs"]["teacher"] == model_digest(finished / "rounds/02/model")


def test_the_audit_is_drawn_from_what_both_labelled(finished: Path) -> None:
    routing = json.loads((finished / "audit/routing/routing.json").read_text())
    assert routing["manifest_digest"] == Manifest.open(finished / "rounds/02/scored").digest
    assert (finished / "dataset/manifest.json").is_file()


def test_status_and_report_tell_of_the_student(finished: Path) -> None:
    told = record(finished, 2)["student"]
    board = loop.status(finished).board
    assert board is not None
    assert board.student.startswith(told["reason"])
    assert f"placed {told['cascade']['student']} people" in board.student
    assert f"student: {board.student}" in board.table()
    assert board.to_dict()["student"] == board.student
    assert "student" in board.steps[1].cost.machine
    table = deeds_table(read_rounds(finished))
    assert table is not None
    cells = [row[table.columns.index("student")] for row in table.rows]
    assert cells[0] == "–"
    assert cells[2].startswith(f"distilled; placed {told['cascade']['student']}, its teacher")
    assert "its teacher" in (finished / "rounds/02/report.html").read_text()


def test_whoever_compares_networks_asks_the_teacher_alone(finished: Path, tmp_path: Path) -> None:
    project = opened(finished)
    assert digest_in_force(project, 2) == model_digest(finished / "rounds/02/model") == record(finished, 2)["model"]
    some = Manifest.open(finished / "rounds/01/checked")
    assert ids(predicted_of(project, 0, some, tmp_path / "old").path) == ids(finished.parent / "pool")
    said = all_poses(predicted_of(project, 2, some, tmp_path / "new"))
    assert set(said.id) == ids(some.path)
    assert set(said.by) == {digest_in_force(project, 2)[:12]}


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """The same, in which the second round has not decided about its student yet."""
    project = finished.parent / tmp_path.name
    shutil.copytree(finished, project)
    here = project / "rounds/02"
    of_student = ("student", "student-pool", "student-calibration", "student-drawn")
    for name in (*of_student, "teacher-drawn", "cascade"):
        shutil.rmtree(here / name)
    (here / "student.json").unlink()
    return project


def decided(project: Path) -> dict[str, Any]:
    found = refresh_student(opened(project), 2, Manifest.open(project / "rounds/02/pulled"))
    assert found is not None
    return dict(found)


def test_a_student_is_kept_while_its_teacher_says_the_same(again: Path) -> None:
    settings = again / "autolabel.toml"
    settings.write_text(settings.read_text().replace("refresh = 0.0\n", "refresh = 0.9\n"))
    found = decided(again)
    assert (found["state"], found["student"]["round"], found["teacher"]) == ("kept", 1, 2)
    assert 0 < found["changed"] < 0.9
    assert not (again / "rounds/02/student").exists()
    pair = pair_of(opened(again), 2)
    assert pair is not None
    assert pair.home == again / "rounds/02", "its teacher is another one"
    assert decided(again) == found
    for name in ("student-calibrator.json", "calibrator.json"):
        assert (again / "rounds/02" / name).is_file()


def test_a_student_of_a_teacher_that_stayed_labels_nothing_twice(again: Path) -> None:
    gate = again / "rounds/02/gate.json"
    gate.write_text(json.dumps({**json.loads(gate.read_text()), "decision": "refused"}))
    found = decided(again)
    assert (found["state"], found["changed"], found["teacher"]) == ("kept", 0.0, 1)
    assert found["reason"] == "kept: the network in force is the one it learnt from"
    project, pool = opened(again), again.parent / "pool"
    pair = pair_of(project, 2)
    assert pair is not None
    assert (pair.home, pair.here) == (again / "rounds/01", again / "rounds/02")
    assert pair.calibrators[0].parent == again / "rounds/02", "doubt is told anew all the same"
    assert labels_of(project, 2, pool, "more").path == again / "rounds/01/cascade-more"


def test_other_settings_make_another_student(again: Path) -> None:
    settings = again / "autolabel.toml"
    settings.write_text(
        settings.read_text().replace("refresh = 0.0\n", "refresh = 1.0\n").replace("heads = 2", "heads = 1")
    )
    settings.write_text(settings.read_text().replace("[student.custom]\nwidth = 32", "[student.custom]\nwidth = 16"))
    found = decided(again)
    assert found["reason"].startswith("distilled: the settings ask for another student")
    assert json.loads((again / "rounds/02/student/run.json").read_text())["config"]["init"] == "teacher"


def test_without_checked_poses_the_network_labels_alone(corpus: Path, tiny_weights: Path) -> None:
    rounds = {"count": 1, "random_share": 0.0}
    project = make(corpus, tiny_weights, "unchecked", rounds=rounds, corpus={"calibration": ""})
    run(project)
    told = record(project, 1)["student"]
    assert (told["state"], told["student"], told["cascade"]) == ("none", None, None)
    assert "too few checked poses" in told["reason"]
    assert not (project / "rounds/01/student").exists(), "nothing is distilled for nothing"
    assert set(all_poses(Manifest.open(project / "rounds/01/predicted")).by) == {record(project, 1)["model"][:12]}
    assert pair_of(opened(project), 1) is None


def test_without_steps_there_is_no_student(corpus: Path, tiny_weights: Path) -> None:
    project = make(corpus, tiny_weights, "nobody", rounds={"count": 1}, student={"steps": 0})
    run(project)
    assert "student" not in record(project, 1)
    assert student_of(project / "rounds/01") is None
    assert not list((project / "rounds").glob("*/*student*"))
    assert (project / "rounds/01/predicted/manifest.json").is_file()
    board = loop.status(project).board
    assert board is not None
    assert "student" not in board.table()


@pytest.mark.parametrize(
    ("name", "student", "message"),
    [
        ("twice", {"training": {"steps": 3}}, "steps"),
        ("misspelt", {"training": {"learning_rat": 3}}, "learning_rate"),
        ("unknown", {"distillation": {"view": 3}}, "views"),
        ("doubtful", {"doubt": 1.5}, "doubt"),
        ("sizeless", {"size": "xxl"}, "xxl"),
        ("wider", {"custom": {**SIZE, "width": 64}}, "width"),
    ],
)
def test_impossible_students_are_refused_before_anybody_is_asked(
    corpus: Path, tiny_weights: Path, name: str, student: dict[str, Any], message: str
) -> None:
    project = make(corpus, tiny_weights, name, student=student)
    with pytest.raises(ConfigError, match=message):
        run(project)
    assert not (project / "labelstudio" / "taskmap.jsonl").exists()


def test_a_killed_loop_goes_on_with_the_same_student(corpus: Path, tiny_weights: Path) -> None:
    files = (
        "rounds/01/teacher-drawn/manifest.json",
        "rounds/01/student-pool/manifest.json",
        "rounds/01/student/model.safetensors",
        "rounds/01/student-calibrator.json",
        "rounds/01/student.json",
        "rounds/01/cascade/steps/student/manifest.json",
        "rounds/01/cascade/manifest.json",
        "rounds/01/scored/manifest.json",
    )
    projects = [make(corpus, tiny_weights, name, rounds={"count": 1}) for name in ("whole", "killed")]
    killed(projects, files, 0)
    whole, other = ([record(project, 1, "student.json"), record(project, 1)["model"]] for project in projects)
    assert whole == other
    scored = [Manifest.open(project / "rounds/01/scored").digest for project in projects]
    assert scored[0] == scored[1]
