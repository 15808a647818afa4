"""The gate in the loop: who passes, who is refused, what a refusal changes, and that no pose is asked twice."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ConfigError, FormatError, InputError
from autolabel.labelstudio.access import Access
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Poses
from autolabel.progress import SILENT
from autolabel.project import read_project, to_toml
from autolabel.report.gate_gallery import gate_shelf
from autolabel.similarity import similarity_area
from model.checkpoint import model_digest
from pipelines import loop
from pipelines.check import check
from pipelines.drawn_corpus import draw_corpus, hide_truth
from pipelines.loop_state import GATE, Loop, promoted, to_gate_by
from pipelines.pull import pull
from pipelines.push import push
from pipelines.push_queue import read_routing
from pipelines.push_server import send
from pipelines.report_evidence import evidence
from pipelines.route import route
from pipelines.simulated_reviewer import SimulatedReviewer
from pipelines.subset import with_poses
from pipelines.train import train_network
from tests.memory_server import MemoryServer
from tests.pipelines.conftest import NETWORK, TRAINING

POOL = 44
WORSE = {"steps": 4, "learning_rate": 1.0}
BETTER = {"steps": 60, "learning_rate": 5e-3}

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes projects over forty-four pictures, whose first network has hardly learnt anything."""
    folder = tmp_path_factory.mktemp("gate")
    drawn, _ = draw_corpus(folder / "drawn", images=POOL + 28, seed=5)
    samples = list(drawn)
    parts = {"truth": samples[:POOL], "labelled": samples[POOL : POOL + 6], "base": samples[POOL + 6 :]}
    parts["pool"] = [sample.with_poses(hide_truth(sample.poses)) for sample in parts["truth"]]
    for name, part in parts.items():
        write_manifest(folder / name, part, drawn.skeleton, drawn.roots, stage="test", part_size=20)
    labelled = Manifest.open(folder / "labelled")
    first = train_network([(labelled, 1.0)], out=folder / "weights", network=NETWORK, training={**TRAINING, "steps": 3})

    def project(name: str, finetuning: dict[str, Any], corpus: dict[str, str], **rounds: Any) -> Path:
        tables = {
            "name": name,
            "corpus": {"images": "../drawn/images", "boxes": "../pool", "labelled": "../labelled", **corpus},
            "promise": {"max_bad": 0.3, "confidence": 0.8, "audit": 3},
            "rounds": {"count": 1, "budget": 44, "random_share": 0.9, "gate_share": 0.8, **rounds},
            "network": {"weights": str(first.checkpoint)},
            "training": TRAINING,
            "finetuning": finetuning,
        }
        (folder / name).mkdir()
        (folder / name / "autolabel.toml").write_text(to_toml(tables))
        return folder / name

    return project


def run(project: Path) -> None:
    reviewer = SimulatedReviewer(Manifest.open(project.parent / "truth"), seed=0)
    loop.run(project, reviewer=reviewer, audit=False)


def opened(project: Path) -> Loop:
    return Loop(project, read_project(project), None, None, SILENT)


def record(project: Path, n: int, name: str) -> dict[str, Any]:
    return json.loads((project / "rounds" / f"{n:02d}" / name).read_text())


def kinds(project: Path, n: int) -> dict[str, str]:
    lines = (project / "rounds" / f"{n:02d}" / "routing" / "queue.jsonl").read_text().splitlines()
    return {task["pose"]: task["kind"] for task in map(json.loads, lines)}


@pytest.fixture(scope="module")
def better(make: Make) -> Path:
    """One round whose network learnt much more than the first one."""
    project = make("better", BETTER, {"base": "../base"})
    run(project)
    return project


@pytest.fixture(scope="module")
def worse(make: Make) -> Path:
    """Two rounds that train at a rate at which nothing is learnt and everything forgotten."""
    project = make("worse", WORSE, {"base": "../base"}, count=2)
    run(project)
    return project


def test_a_better_network_replaces_the_old_one(better: Path) -> None:
    gate, (owner, weights) = record(better, 1, GATE), opened(better).network(1)
    assert (gate["decision"], owner, weights) == ("promoted", 1, str(better / "rounds" / "01" / "model"))
    assert gate["reason"].startswith("better on the gate poses: mean OKS 0.")
    assert gate["gate"]["oks_low"] > 0
    assert gate["base"]["oks_low"] > -gate["base_drop"] == -0.01
    assert record(better, 1, "round.json")["model"] != record(better, 0, "round.json")["model"]
    assert record(better, 1, "round.json")["gate"] == {k: gate[k] for k in ("decision", "reason", "gate", "base")}
    assert record(better, 0, "round.json")["gate"] is None, "the first network replaces none"


def test_a_gate_names_the_networks_that_it_compared(better: Path, worse: Path) -> None:
    for project, n in ((better, 1), (worse, 1), (worse, 2)):
        assert record(project, n, GATE)["networks"] == {
            "new": model_digest(project / "rounds" / f"{n:02d}" / "model"),
            "old": record(project, 0, "round.json")["model"],
        }
    assert record(better, 1, GATE)["networks"]["new"] == record(better, 1, "round.json")["model"]


@pytest.mark.parametrize("name", ["new", "old"])
def test_a_gate_about_another_network_is_refused(better: Path, name: str) -> None:
    project = better.parent / f"swapped-{name}"
    shutil.copytree(better, project)
    here = project / "rounds" / "01"
    (here / "round.json").unlink()  # the round is not finished: its gate is read again
    networks = {**record(project, 1, GATE)["networks"], name: "f" * 64}
    (here / GATE).write_text(json.dumps({**record(project, 1, GATE), "networks": networks}))
    place = "01/model" if name == "new" else "00/predicted"
    with pytest.raises(
        InputError, match=rf"gate\.json: was decided about another .* of .*{place}\. Put .* back, or rem"
    ):
        run(project)
    shutil.rmtree(here)  # what the error advises
    run(project)
    assert record(project, 1, GATE)["networks"] == record(better, 1, GATE)["networks"]
    assert record(project, 1, "round.json")["effort"] == record(better, 1, "round.json")["effort"]


def test_networks_are_compared_on_what_neither_learnt_from(better: Path) -> None:
    gate, asked = record(better, 1, GATE), kinds(better, 1)
    drawn = {pose for pose, kind in asked.items() if kind == "gate"}
    assert set(gate["used"]) < drawn, "some lie in pictures that the network learnt from"
    assert gate["left_out"] == len(drawn) - len(gate["used"])
    training = Manifest.open(better / "rounds" / "01" / "training")
    assert training.counts["poses"] == sum(kind == "review" for kind in asked.values()) > 0
    compared = Manifest.open(better / "rounds" / "01" / "gate" / "predicted")
    assert {sample.id for sample in compared}.isdisjoint(sample.id for sample in training)
    assert gate["gate"]["groups"] == len(compared) >= 20
    assert {change["pose"] for change in gate["changed"]} <= set(gate["used"])
    assert sum(k["fixed"] for k in gate["keypoints"].values()) > sum(k["broken"] for k in gate["keypoints"].values())


def test_a_refused_network_is_never_used(worse: Path) -> None:
    first = record(worse, 0, "round.json")["model"]
    for n in (1, 2):
        gate = record(worse, n, GATE)
        assert gate["decision"] == "refused"
        assert gate["reason"].startswith("mean OKS on the base set fell by more than 0.01: ")
        assert (worse / "rounds" / f"{n:02d}" / "model" / "model.safetensors").is_file(), "it stays where it is"
        assert not (worse / "rounds" / f"{n:02d}" / "predicted").exists(), "the old network has said it all"
        assert opened(worse).network(n)[0] == 0
        assert record(worse, n, "round.json")["model"] == first
        (by,) = {p.digest for p in Manifest.open(worse / "rounds" / "00" / "predicted").parents if p.role == "weights"}
        assert by == first
    merged = Manifest.open(worse / "rounds" / "02" / "merged")
    assert Manifest.open(worse / "rounds" / "00" / "predicted").digest in {p.digest for p in merged.parents}


def test_a_pose_serves_one_gate(worse: Path) -> None:
    used = [set(record(worse, n, GATE)["used"]) for n in (1, 2)]
    assert len(used[0]) >= 20
    assert used[0].isdisjoint(used[1])
    first = {pose for pose, kind in kinds(worse, 1).items() if kind == "gate"}
    left = record(worse, 2, GATE)["left_out"] + record(worse, 2, GATE)["gate"]["poses"]
    drawn = {pose for pose, kind in kinds(worse, 2).items() if kind == "gate"}
    assert left == len((first | drawn) - used[0]), "what the first gate left is there for the second"


@pytest.mark.parametrize("case", ["better", "worse"])
@pytest.mark.parametrize("lost", [("round.json", "scored", "merged", "predicted"), (GATE, "gate", "round.json")])
def test_a_loop_killed_around_its_gate_decides_once(
    case: str, lost: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    before: Path = request.getfixturevalue(case)
    project = before.parent / f"{case}-killed-{len(lost)}"
    shutil.copytree(before, project)
    last = read_project(project).rounds.count
    here = project / "rounds" / f"{last:02d}"
    for name in lost:
        shutil.rmtree(here / name) if (here / name).is_dir() else (here / name).unlink(missing_ok=True)
    kept = {file: file.stat().st_mtime_ns for file in here.glob("*/done.json")}
    run(project)
    assert record(project, last, GATE) == record(before, last, GATE)
    again, once = (record(folder, last, "round.json") for folder in (project, before))
    assert {**again, "seconds": 0} == {**once, "seconds": 0}
    assert (here / "predicted").exists() is (case == "better")
    assert {file: file.stat().st_mtime_ns for file in kept} == kept, "nothing that was finished is done again"


@pytest.mark.parametrize(
    ("rounds", "decision", "reason"),
    [
        ({"gate_share": 0.0}, "promoted", r"nothing is held out for a gate \(rounds.gate_share = 0\)"),
        (
            {"when_blind": "promote"},
            "promoted",
            r'\d groups of unused gate poses are too few .* "promote" decides; there',
        ),
        ({"when_blind": "keep"}, "refused", 'when_blind = "keep" decides; there is no base set'),
    ],
)
def test_without_poses_to_compare_by(make: Make, rounds: dict[str, Any], decision: str, reason: str) -> None:
    settings = {"budget": 8, "random_share": 0.5, **rounds}
    project = make(
        f"blind-{decision}-{len(rounds['when_blind']) if 'when_blind' in rounds else 0}", WORSE, {}, **settings
    )
    run(project)
    gate = record(project, 1, GATE)
    assert (gate["decision"], gate["used"]) == (decision, []), "poses that decided nothing stay for a later gate"
    assert not (project / "rounds" / "01" / "gate").exists(), "they are not even looked at"
    assert re.search(reason, gate["reason"])
    assert opened(project).network(1)[0] == (1 if decision == "promoted" else 0)


def near(truth: Manifest, out: Path, off: float, seed: int) -> Manifest:
    """What a network says that is off by a share of what people are; every joint lies where a reviewer leaves it."""
    rng, sigmas = np.random.default_rng(seed), np.array(truth.skeleton.sigmas)

    def said(poses: Poses) -> Poses:
        spread = off * np.sqrt(similarity_area(poses))[:, None, None] * sigmas[:, None]
        placed, k = poses.xy + spread * rng.normal(size=poses.xy.shape), poses.num_keypoints
        here = np.isfinite(poses.xy[..., 0])
        return Poses.create(
            k, id=poses.id, box=poses.box, area=poses.area, xy=placed, presence=np.where(here, 0.9, 0.1),
            origin=np.where(here, Origin.MODEL, 0), by=["net"] * len(poses),
        )  # fmt: skip

    samples = (sample.with_poses(said(sample.poses)) for sample in truth)
    return write_manifest(out, samples, truth.skeleton, truth.roots, stage="score")


def test_joints_that_a_reviewer_leaves_alone_do_not_speak_for_the_old_network(make: Make, tmp_path: Path) -> None:
    """Both networks are so near that nothing would be moved; the new one is nearer, and the truth and answers agree."""
    project = make("near", BETTER, {})
    truth = Manifest.open(project.parent / "truth")
    old, new = near(truth, tmp_path / "old", 0.6, 1), near(truth, tmp_path / "new", 0.3, 2)
    route(old.path, out=tmp_path / "routing", max_bad=0.3, budget=60, audit=False, random_share=1.0,
          portions="gate=0.5,calibration=0.5")  # fmt: skip
    push(tmp_path / "routing", project=project)
    server = MemoryServer()
    settings = (project / "autolabel.toml").read_text()
    (project / "autolabel.toml").write_text(settings + '[labelstudio]\nurl = "http://memory"\n')
    send(
        Access("http://memory", "0" * 40), project, read_routing(tmp_path / "routing").digest, truth.skeleton,
        connect=lambda access: server,
    )  # fmt: skip
    records = read_task_map(ReviewFolder.of(project).taskmap)
    shown: dict[str, list[int]] = {}
    for task in server.tasks.values():
        (prediction,) = task["predictions"].values()
        shown.setdefault(records[task["data"]["task_key"]].kind, []).append(len(prediction["result"]))
        assert "gate" not in json.dumps(task)
    assert set(shown["gate"]) == {0} and min(shown["calibration"]) > 0
    (project / "autolabel.toml").write_text(settings)
    SimulatedReviewer(truth, seed=0).review(project)
    pulled = pull(project=project, out=tmp_path / "pulled").manifest
    asked = to_gate_by(opened(project), pulled)
    assert len(asked) == len(shown["gate"]) >= 20
    answers = with_poses(pulled, asked, out=tmp_path / "asked", stage="select")
    assert {a["state"] for sample in answers for a in sample.poses.attributes} == {"reviewed"}
    gained: dict[str, float] = {}
    for name, known in (("answers", answers), ("truth", with_poses(truth, asked, out=tmp_path / "t", stage="select"))):
        gained[name] = float(np.nanmean(check(new, known).oks) - np.nanmean(check(old, known).oks))
    assert gained["truth"] > 0.02
    assert gained["answers"] == pytest.approx(gained["truth"], rel=0.4), "human noise blurs both alike"


def test_a_gate_that_was_asked_beside_pre_labels_says_so(better: Path) -> None:
    project = better.parent / "prelabelled"
    shutil.copytree(better, project)
    file = ReviewFolder.of(project).taskmap
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["blind"] for line in lines if line["kind"] == "gate"} == {True}
    file.write_text("".join(json.dumps({**line, "blind": False}) + "\n" for line in lines))
    for name in (GATE, "round.json"):
        (project / "rounds" / "01" / name).unlink()
    run(project)
    told, before = record(project, 1, GATE), record(better, 1, GATE)
    n = len(told["used"])
    assert (told["prelabelled"], before["prelabelled"]) == (n, 0)
    assert told["reason"].startswith(before["reason"])
    assert f"; {n} of the {n} gate poses were answered beside a pre-label of the old network" in told["reason"]
    assert told["reason"] in loop.report(project).path.read_text()


@pytest.mark.parametrize(
    ("name", "finetuning", "decision", "reason"),
    [
        ("forgot", WORSE, "refused", "mean OKS on the base set fell by more than 0.005, shown with 95 % confidence: "),
        ("learnt", BETTER, "promoted", "nothing is held out for a gate (rounds.gate_share = 0); the base set did not "),
    ],
)
def test_the_base_set_is_asked_where_nothing_is_held_out(
    make: Make, name: str, finetuning: dict[str, Any], decision: str, reason: str
) -> None:
    project = make(name, finetuning, {"test": "../base"}, gate_share=0.0, budget=16, base_drop=0.005)
    run(project)
    gate = record(project, 1, GATE)
    assert (gate["decision"], gate["gate"], gate["used"]) == (decision, None, [])
    assert gate["reason"].startswith(reason)
    assert gate["base"]["groups"] >= 20
    owner = 1 if decision == "promoted" else 0
    assert opened(project).network(1)[0] == owner
    assert record(project, 1, "round.json")["model"] == record(project, owner, "round.json")["model"]
    assert decision in loop.report(project).path.read_text()


def test_the_report_tells_who_passed(better: Path, worse: Path) -> None:
    (kept,) = (y for y in evidence(better, None, 1).yardsticks if y.name == "answers kept from training")
    drawn = [pose for pose, kind in kinds(better, 1).items() if kind == "gate"]
    assert (kept.people, [r.round for r in kept.readings]) == (len(drawn), [0, 1])
    assert min(k.median_error_px or 1.0 for k in kept.first.evaluation.keypoints.values()) > 0, "nobody saw its poses"
    for project, decision in ((better, "promoted"), (worse, "refused")):
        page = loop.report(project).path.read_text()
        assert "New networks, round by round" in page
        assert f">{decision}<" in page
        assert record(project, 1, GATE)["reason"].split(":")[0] in page


def test_the_report_shows_what_changed_most(better: Path) -> None:
    (most, *_) = changes = record(better, 1, GATE)["changed"]
    assert [abs(c["oks"] - c["old_oks"]) for c in changes] == sorted(
        (abs(c["oks"] - c["old_oks"]) for c in changes), reverse=True
    )
    shelf = gate_shelf(better / "rounds" / "01")
    assert shelf is not None
    assert len(shelf.shots) == 8
    assert all(shot.jpeg.startswith(b"\xff\xd8") for shot in shelf.shots)
    assert shelf.shots[0].caption.startswith(f"OKS {most['old_oks']:.2f} to {most['oks']:.2f}")
    assert "the network was promoted" in shelf.caption
    assert gate_shelf(better / "rounds" / "00") is None, "the first network was compared with none"


def test_a_project_of_before_there_were_gates_goes_on(better: Path) -> None:
    project = better.parent / "older"
    shutil.copytree(better, project)
    here = project / "rounds" / "01"
    (here / GATE).unlink()
    shutil.rmtree(here / "gate")
    older = {k: v for k, v in record(project, 1, "round.json").items() if k != "gate"}
    (here / "round.json").write_text(json.dumps(older))
    assert opened(project).network(1)[0] == 1
    run(project)
    assert not (here / GATE).exists(), "a finished round is not judged afterwards"
    assert "New networks, round by round" not in loop.report(project).path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"gate\.json: .*decision"),
        ('{"decision": "maybe"}', r"gate\.json: decision: is 'maybe', expected one of: promoted, refused"),
        ('{"decision": true}', "decision: is .*expected a text"),
        ("{", r"gate\.json"),
    ],
)
def test_a_gate_that_cannot_be_read_lets_nothing_pass(tmp_path: Path, text: str, message: str) -> None:
    assert promoted(tmp_path), "a round without one let every network pass"
    (tmp_path / GATE).write_text(text)
    with pytest.raises(FormatError, match=message):
        promoted(tmp_path)


def test_a_base_set_shares_no_image_with_what_is_learnt_from(make: Make) -> None:
    project = make("shared", WORSE, {"base": "../labelled"})
    with pytest.raises(ConfigError, match=r"is in corpus\.labelled and in corpus\.base"):
        run(project)
