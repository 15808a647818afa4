"""Loops that begin with bare images: what is asked, what is learnt, and what happens when the answers are of no use."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import CheckpointError, ConfigError, InputError
from autolabel.formats.records import read_json
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import TaskRecord, read_task_map
from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.project import to_toml
from pipelines import loop
from pipelines.cold_features import SKETCHED
from pipelines.pretrain import Corpus, pretrain_encoder
from pipelines.simulated_reviewer import SimulatedReviewer
from tests.doubles import Recorder
from tests.pipelines.conftest import NETWORK

COLD = {"labelled": "", "skeleton": "coco17"}
ROUNDS = {"count": 1, "first": 5, "random_share": 0.4}
PRETRAINING = {"steps": 2, "batch_size": 4, "precision": "fp32", "device": "cpu"}


def boxed(drawn_case: Any, name: str, **tables: Any) -> Path:
    """A project with boxes, without labelled poses and without a network."""
    changed = {"corpus": COLD | tables.pop("corpus", {}), "rounds": ROUNDS | tables.pop("rounds", {})}
    further = {name: tables.pop(name, {}) for name in ("pretraining", "labelstudio")}
    project: Path = drawn_case.project(name, **changed, **tables)
    with (project / "autolabel.toml").open("a") as settings:
        settings.write(to_toml(further))
    return project


def bare(drawn_case: Any, name: str, **tables: Any) -> Path:
    """A project of images alone: those of the pool."""
    images = drawn_case.folder / f"{name}-images"
    images.mkdir()
    for sample in drawn_case.truth:
        (images / Path(sample.path).name).symlink_to(drawn_case.truth.image_path(sample))
    nothing = {"images": f"../{images.name}", "boxes": "", "calibration": "", "test": ""}
    return boxed(drawn_case, name, corpus=nothing, **tables)


def poses_of(path: Path) -> Poses:
    manifest = Manifest.open(path)
    return Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])


def records(project: Path) -> list[TaskRecord]:
    return list(read_task_map(ReviewFolder.of(project).taskmap).values())


def shown(project: Path) -> dict[str, list[dict[str, Any]]]:
    """What each task shows, by its key."""
    tasks = [task for file in ReviewFolder.of(project).task_files() for task in read_json(file)]
    return {task["data"]["task_key"]: task["predictions"][0]["result"] for task in tasks}


def asked_in(project: Path, part: str) -> list[dict[str, Any]]:
    lines = (project / "rounds" / "00" / part / "routing" / "queue.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


class Blank(SimulatedReviewer):
    """Finds nobody in any picture."""

    def __init__(self, truth: Manifest, folder: Path) -> None:
        nobody: Sequence[Sample] = [sample.with_poses(Poses.empty(17)) for sample in truth]
        at = folder / "nobody"
        super().__init__(
            write_manifest(at, nobody, truth.skeleton, truth.roots, stage="test", existing=Existing.OVERWRITE), seed=0
        )


def forget_answers(project: Path) -> None:
    """Take everything back that was answered."""
    review = ReviewFolder.of(project)
    for file in (*review.exports.glob("*.json"), review.journal):
        file.unlink()


@pytest.fixture(scope="module")
def with_boxes(drawn_case: Any) -> Path:
    """A finished project that began with boxes alone."""
    project = boxed(drawn_case, "cold-boxes")
    result = loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), truth=drawn_case.truth)
    assert (result.state, result.rounds) == ("done", 1)
    return project


@pytest.fixture(scope="module")
def without_boxes(drawn_case: Any) -> tuple[Path, list[str]]:
    """A finished project that began with images alone, and what it told."""
    project, progress = bare(drawn_case, "cold-bare"), Recorder()
    reviewer = SimulatedReviewer(drawn_case.truth, seed=0, noise=0.0)
    assert loop.run(project, reviewer=reviewer, truth=drawn_case.truth, progress=progress).state == "done"
    return project, progress.notes


def test_people_in_boxes_are_asked_about_without_a_pre_label(with_boxes: Path) -> None:
    queue = asked_in(with_boxes, "")
    assert sorted(task["kind"] for task in queue) == ["calibration"] * 2 + ["review"] * 3
    first = [record for record in records(with_boxes) if record.pose in {task["pose"] for task in queue}]
    assert len(first) == 5
    assert all(record.blind for record in first)
    assert len({record.sample for record in first}) == 5, "of five images"
    seen = shown(with_boxes)
    assert [seen[record.task] for record in first] == [[]] * 5
    later = [record for record in records(with_boxes) if record not in first]
    assert later
    assert not any(record.blind for record in later)


def test_the_first_network_learns_from_what_was_not_drawn_by_lot(with_boxes: Path, drawn_case: Any) -> None:
    here = with_boxes / "rounds" / "00"
    kinds = {task["pose"]: task["kind"] for task in asked_in(with_boxes, "")}
    learnt, checked = poses_of(here / "training"), poses_of(here / "checked")
    assert set(learnt.id) == {pose for pose, kind in kinds.items() if kind == "review"}
    assert set(checked.id) == {pose for pose, kind in kinds.items() if kind == "calibration"}
    truth = poses_of(drawn_case.folder / "pool-truth")
    rows = [truth.id.tolist().index(pose) for pose in learnt.id.tolist()]
    assert np.nanmax(np.abs(learnt.xy - truth.xy[rows])) < 40, "as people placed them, within their noise"
    record = read_json(here / "round.json")
    assert record["trained_on"] == 3
    assert record["effort"]["poses_opened"] == 5
    assert record["counts"] == {"review": 5, "untouched": len(truth) - 5}
    assert record["cold"] == {"looks": SKETCHED, "boxes": True, "candidates": len(truth), "chosen": 5, "by_lot": 2}
    card = (with_boxes / "dataset-card.md").read_text()
    assert "trained from scratch (size s, with " in card, "what differs from the size is said"
    assert "width 32" in card and ") on 3 poses that people placed" in card


def test_nobody_is_asked_twice_and_later_rounds_learn_from_the_first_answers_too(with_boxes: Path) -> None:
    poses = [record.pose for record in records(with_boxes)]
    assert len(set(poses)) == len(poses)
    first = set(poses_of(with_boxes / "rounds" / "00" / "training").id)
    assert first < set(poses_of(with_boxes / "rounds" / "01" / "training").id)


def test_without_boxes_people_are_boxed_first_and_then_asked_about(
    without_boxes: tuple[Path, list[str]], drawn_case: Any
) -> None:
    project, notes = without_boxes
    here = project / "rounds" / "00"
    images, people = asked_in(project, "cold"), asked_in(project, "")
    assert [task["kind"] for task in images] == ["image"] * 5
    truth = {sample.id: sample.poses for sample in drawn_case.truth}
    assert len(people) == sum(len(truth[task["image"][0]]) for task in images)
    by_lot = {image for image, _, _ in read_json(here / "cold" / "cold.json")["by_lot"]}
    placed = {pose: s for s in Manifest.open(here / "pulled") for pose in s.poses.id.tolist()}
    assert {task["pose"] for task in people} == set(placed)
    for task in people:
        assert task["blind"]
        assert (task["kind"] == "calibration") == (placed[task["pose"]].id in by_lot)
    for sample in Manifest.open(here / "pulled"):  # the reviewer's hand does not tremble here
        known = truth[sample.id].xy[:, 0]
        assert all(np.linalg.norm(known - nose, axis=1).min() < 0.1 for nose in sample.poses.xy[:, 0])
    assert any(note.startswith(f"{len(people)} people in boxes: the loop asks about them itself") for note in notes)


def test_images_that_nobody_was_shown_are_labelled_whole_as_the_network_learnt_it(
    without_boxes: tuple[Path, list[str]],
) -> None:
    here = without_boxes[0] / "rounds" / "00"
    asked = {task["image"][0] for task in asked_in(without_boxes[0], "cold")}
    boxes = {s.id: s.poses.id.tolist() for s in Manifest.open(here / "cold" / "boxed")}
    for sample in Manifest.open(here / "predicted"):
        if sample.id in asked:
            assert sample.poses.id.tolist() == boxes.get(sample.id, [])
        else:
            assert sample.poses.box.tolist() == [[0, 0, *sample.size]]
    alone = list(Manifest.open(here / "cold" / "alone"))
    assert alone
    learnt = {pose: i for i, pose in enumerate(poses_of(here / "training").id.tolist())}
    for sample in alone:
        assert len(boxes[sample.id]) == 1
        assert sample.poses.box.tolist() == [[0, 0, *sample.size]]
        assert sample.poses.id[0] in learnt
    several = sum(len(people) > 1 for people in boxes.values())
    warned = [note for note in without_boxes[1] if "show several, but an image that nobody was shown" in note]
    assert len(warned) == min(several, 1)


def test_the_loop_waits_until_people_have_placed_the_first_poses(drawn_case: Any) -> None:
    project = boxed(drawn_case, "cold-waits", rounds={"count": 0})
    first = loop.run(project)
    assert (first.state, first.rounds) == ("waiting", 0)
    assert first.waits_for.startswith("reviewers: 5 of 5 tasks have no answer. Import ")
    chosen = (project / "rounds" / "00" / "cold" / "cold.json").read_text()
    (project / "autolabel.toml").write_text((project / "autolabel.toml").read_text().replace("first = 5", "first = 3"))
    assert loop.run(project) == first, "what was drawn once stays drawn"
    assert loop.status(project).waits_for == first.waits_for
    assert (project / "rounds" / "00" / "cold" / "cold.json").read_text() == chosen
    SimulatedReviewer(drawn_case.truth, seed=0).review(project)
    (export,) = (project / "labelstudio" / "exports").glob("*.json")
    export.write_text(json.dumps(json.loads(export.read_text())[:2]))
    assert loop.run(project).waits_for.startswith("reviewers: 3 of 5 tasks have no answer")
    assert not (project / "rounds" / "00" / "model").exists()
    SimulatedReviewer(drawn_case.truth, seed=0).review(project)
    assert loop.run(project, audit=False).state == "done"


def test_answers_that_place_nobody_are_waited_for_and_may_be_changed(drawn_case: Any, tmp_path: Path) -> None:
    project = boxed(drawn_case, "cold-rejected", rounds={"count": 0})
    blank = Blank(drawn_case.truth, tmp_path)
    for _ in range(2):
        result = loop.run(project, reviewer=blank, audit=False)
        assert result.waits_for.startswith("reviewers: none of the 5 answers places keypoints that a first network")
    assert not (project / "rounds" / "00" / "closed.json").exists()
    forget_answers(project)
    result = loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False)
    assert result.state == "done"


def test_empty_answers_place_nobody_either(drawn_case: Any) -> None:
    project = boxed(drawn_case, "cold-empty", rounds={"count": 0})
    result = loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0, miss=1.0), audit=False)
    assert result.waits_for.startswith("reviewers: no answer that can be used places keypoints that a first network")
    forget_answers(project)
    assert loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False).state == "done"


@pytest.mark.parametrize(
    ("kind", "total", "annotators", "asked"), [(boxed, 4, 1, 4), (boxed, 7, 2, 3), (bare, 4, 1, 2), (bare, 100, 1, 5)]
)
def test_a_cold_start_asks_no_more_than_the_budget_of_all_rounds_allows(
    drawn_case: Any, kind: Any, total: int, annotators: int, asked: int
) -> None:
    name = f"cold-total-{kind.__name__}-{total}"
    project = kind(drawn_case, name, rounds={"budget_total": total}, labelstudio={"annotators": annotators})
    assert loop.run(project).state == "waiting"
    assert len(records(project)) == asked
    assert loop.run(project).state == "waiting", "the choice stays"


@pytest.mark.parametrize(("first", "warned"), [(2, False), (40, True)])
def test_whoever_would_label_most_of_the_corpus_by_hand_is_warned(drawn_case: Any, first: int, warned: bool) -> None:
    progress = Recorder()
    loop.run(boxed(drawn_case, f"cold-most-{first}", rounds={"first": first}), progress=progress)
    assert any(note.startswith("WARNING: that is most of the corpus") for note in progress.notes) is warned


def test_a_budget_of_all_rounds_that_allows_no_cold_start_is_an_error(drawn_case: Any) -> None:
    project = boxed(drawn_case, "cold-poor", rounds={"budget_total": 1})
    with pytest.raises(ConfigError, match="budget_total = 1 allows no cold start"):
        loop.run(project)


def test_images_in_which_nobody_is_boxed_are_waited_for_and_may_be_changed(drawn_case: Any, tmp_path: Path) -> None:
    project = bare(drawn_case, "cold-nobody", rounds={"count": 0})
    blank = Blank(drawn_case.truth, tmp_path)
    for _ in range(2):
        result = loop.run(project, reviewer=blank, audit=False)
        assert result.waits_for.startswith("reviewers: nobody is boxed in any of the 5 images that were shown")
    forget_answers(project)
    assert len(records(project)) == 5
    result = loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False)
    assert result.state == "done"


@pytest.mark.parametrize("kind", [boxed, bare])
def test_a_first_round_that_was_deleted_is_done_again_and_nobody_is_asked_twice(drawn_case: Any, kind: Any) -> None:
    project = kind(drawn_case, f"cold-again-{kind.__name__}", rounds={"count": 0})
    loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False)
    before, model = len(records(project)), read_json(project / "rounds" / "00" / "round.json")["model"]
    (project / "rounds").rename(project / "moved away")
    assert loop.run(project, audit=False).state == "done", "not even a reviewer is needed"
    assert len(records(project)) == before
    assert read_json(project / "rounds" / "00" / "round.json")["model"] == model


@pytest.fixture(scope="module")
def encoder(drawn_case: Any) -> Path:
    """An encoder of the tiny network that saw no label."""
    pool = Manifest.open(drawn_case.folder / "pool")
    out = drawn_case.folder / "encoder"
    return pretrain_encoder([Corpus(pool)], out=out, network=NETWORK, training=PRETRAINING).checkpoint


def started_from(project: Path) -> str:
    return str(read_json(project / "rounds" / "00" / "model" / "run.json")["inputs"].get("init", ""))


def test_an_encoder_chooses_the_images_and_is_what_the_first_network_starts_from(
    drawn_case: Any, encoder: Path
) -> None:
    project = boxed(drawn_case, "cold-encoder", rounds={"count": 0}, network={"weights": str(encoder)})
    loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False)
    assert read_json(project / "rounds" / "00" / "cold" / "cold.json")["looks"] == "the encoder encoder"
    assert started_from(project)


def test_an_encoder_beside_labelled_poses_is_no_cold_start(drawn_case: Any, encoder: Path) -> None:
    project = drawn_case.project("warm-encoder", rounds={"count": 0}, network={"weights": str(encoder)})
    loop.run(project, audit=False)
    assert started_from(project)
    assert not (project / "rounds" / "00" / "cold").exists()
    assert not (project / "labelstudio").exists()


@pytest.mark.parametrize("kind", [boxed, bare])
def test_a_large_corpus_pre_trains_its_own_encoder(drawn_case: Any, kind: Any) -> None:
    project = kind(
        drawn_case,
        f"cold-pretrained-{kind.__name__}",
        rounds={"count": 0},
        network={"pretrain_from": 9},
        pretraining=PRETRAINING,
    )
    loop.run(project, reviewer=SimulatedReviewer(drawn_case.truth, seed=0), audit=False)
    what = f"{drawn_case.truth.counts['poses']} people" if kind is boxed else "9 images"
    looks = read_json(project / "rounds" / "00" / "cold" / "cold.json")["looks"]
    assert looks == f"a masked autoencoder, pre-trained here on {what}"
    assert started_from(project)


def test_an_image_that_cannot_be_read_is_told_and_left_out(drawn_case: Any, tmp_path: Path) -> None:
    images, whole = tmp_path / "images", list(drawn_case.truth)
    images.mkdir()
    for i, sample in enumerate(whole):
        target = images / Path(sample.path).name
        data = drawn_case.truth.image_path(sample).read_bytes()
        target.write_bytes(data if i else data[:200])
    boxes = [sample.with_poses(Poses.create(17, id=sample.poses.id, box=sample.poses.box)) for sample in whole]
    write_manifest(tmp_path / "pool", boxes, drawn_case.truth.skeleton, {"images": images}, stage="test")
    project = boxed(drawn_case, "cold-broken", corpus={"boxes": str(tmp_path / "pool")}, rounds={"first": 50})
    progress = Recorder()
    assert loop.run(project, progress=progress).state == "waiting"
    assert any(note.startswith(f"{whole[0].path} is left out") for note in progress.notes)
    assert len(records(project)) == len(poses_of(tmp_path / "pool")) - len(whole[0].poses)
    assert not {record.sample[0] for record in records(project)} & {whole[0].id}
    for file in images.iterdir():
        file.write_bytes(b"no picture")
    nothing = boxed(drawn_case, "cold-all-broken", corpus={"boxes": str(tmp_path / "pool")})
    with pytest.raises(InputError, match="holds nothing that people could label"):
        loop.run(nothing)


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        ({"corpus": {"skeleton": ""}}, ConfigError, r"corpus\.labelled, and no corpus\.skeleton to label anew"),
        ({"rounds": {"first": 1}}, ConfigError, r"rounds\.first"),
        ({"pretraining": {"stepps": 3}}, ConfigError, r"pretraining: unknown key 'stepps'; did you mean 'steps'"),
        ({"pretraining": {"patience": 3}}, ConfigError, r"patience has no effect in pre-training"),
        ({"network": {"custom": NETWORK | {"width": 64}}}, CheckpointError, "is 32 wide and 1 deep, the network 64"),
    ],
)
def test_wrong_settings_are_refused_before_anybody_is_asked(
    drawn_case: Any, encoder: Path, tables: dict[str, Any], error: type[Exception], message: str, request: Any
) -> None:
    if "network" in tables:
        tables = {"network": tables["network"] | {"weights": str(encoder)}}
    project = boxed(drawn_case, f"cold-wrong-{request.node.callspec.indices['message']}", **tables)
    with pytest.raises(error, match=message):
        loop.run(project)
    assert not (project / "labelstudio").exists()
