"""What a round learns from: corrections by why they were opened, replay, accepted poses; and how much of each."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.labelstudio.form import PALETTE
from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.poses import FILLED, Origin, Poses, Sample, Visibility
from autolabel.progress import SILENT
from autolabel.project import Project
from autolabel.skeleton import Skeleton
from pipelines.loop_lessons import Lessons, lessons, said_by_people
from pipelines.loop_state import Loop
from pipelines.pull import pull
from pipelines.push import push
from pipelines.simulated_reviewer import SimulatedReviewer

COCO = Skeleton.load("coco17")
K = 17
POSES = 40


def people(ids: list[str], **fields: Any) -> Poses:
    n = len(ids)
    given: dict[str, Any] = {
        "xy": np.random.default_rng(0).uniform(10, 90, (n, K, 2)),
        "visibility": np.full((n, K), Visibility.VISIBLE),
        "origin": np.full((n, K), Origin.MODEL),
        "box": np.tile([0.0, 0.0, 100.0, 100.0], (n, 1)),
    }
    return Poses.create(K, id=ids, **{**given, **fields})


def write(path: Path, poses: Poses) -> Manifest:
    samples = [Sample(f"s-{n}", "r", f"{n}.png", (100, 100), poses.take([i])) for i, n in enumerate(poses.id.tolist())]
    return write_manifest(path, samples, COCO, {"r": path}, stage="test", existing=Existing.OVERWRITE)


class Case:
    """A project with one round under way: 40 poses, of which the first few are corrected and the last are accepted.

    Args:
        folder: The project.
        reviewed: How many poses each routing had reviewed, by its order.
        accepted: How many poses the round's routing accepts.
        labelled: How many labelled poses there are.
    """

    def __init__(self, folder: Path, reviewed: dict[str, int], *, accepted: int = 0, labelled: int = 0) -> None:
        self.folder, self.n = folder, len(reviewed)
        self.ids = [f"p{i}" for i in range(POSES)]
        self.before, here = (folder / "rounds" / f"{n:02d}" for n in (self.n - 1, self.n))
        p_gross = np.full((POSES, K), 0.01)
        p_gross[:, 0] = 0.5
        write(self.before / "scored", people(self.ids, p_gross=p_gross))
        (self.before / "calibrator.json").write_text("{}")
        self.corrected = list[str]()
        for n, (order, count) in enumerate(reviewed.items(), start=1):
            routing = folder / "rounds" / f"{n:02d}" / "routing"
            routing.mkdir(parents=True)
            (routing / "routing.json").write_text(json.dumps({"digest": f"{n:064x}", "order": order}))
            mine = self.ids[len(self.corrected) :][:count]
            self.tasks([task(pose, f"{n:064x}") for pose in mine])
            self.corrected += mine
        (here / "routing" / "accepted.txt").write_text("".join(f"{pose}\n" for pose in self.ids[POSES - accepted :]))
        self.labelled = labelled
        if labelled:
            write(folder / "labelled", people([f"l{i}" for i in range(labelled)]))

    def tasks(self, lines: list[dict[str, Any]]) -> None:
        taskmap = self.folder / "labelstudio" / "taskmap.jsonl"
        taskmap.parent.mkdir(parents=True, exist_ok=True)
        with taskmap.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def lessons(self, batch: int = 16, calibration: str = "", **rounds: Any) -> dict[str, Lessons]:
        corpus = {"images": "i", "labelled": "labelled" if self.labelled else "", "calibration": calibration}
        settings = Project.model_validate({"name": "p", "corpus": corpus, "rounds": {"fill_below": 0.02, **rounds}})
        loop = Loop(self.folder, settings, None, None, SILENT)
        corrected = write(self.folder / "corrected", people(self.corrected))
        found = lessons(loop, self.n, corrected, batch=batch, steps=10)
        assert sum(part.share for part in found) == pytest.approx(1)
        return {part.name: part for part in found}


def task(pose: str, routing: str, kind: str = "review") -> dict[str, Any]:
    frame = {"origin": [0, 0], "size": [100, 100], "shown": [100, 100]}
    fields = {"sample": [f"s-{pose}", "r", f"{pose}.png"], "frame": frame, "routing": routing, "kind": kind}
    return {"task": f"{kind}-{pose}", "pose": pose, "blind": False, "model": "net", **fields}


def ids(manifest: Manifest) -> list[str]:
    return sorted(pose for sample in manifest for pose in sample.poses.id.tolist())


def test_with_a_base_set_its_replay_keeps_the_cap(tmp_path: Path) -> None:
    found = Case(tmp_path, {"doubt": 8}, accepted=20, labelled=10).lessons()
    assert {name: part.share for name, part in found.items()} == {"corrected": 0.5, "base": 0.5}
    assert ids(found["corrected"].manifest) == sorted(f"p{i}" for i in range(8))
    assert not (tmp_path / "rounds" / "01" / "filled").exists(), "nothing is open, so nothing is filled in"


@pytest.mark.parametrize(("order", "share"), [("doubt", 0.3), ("clean", 0.3), ("random", 0.5)])
def test_only_poses_that_were_doubted_are_capped(tmp_path: Path, order: str, share: float) -> None:
    found = Case(tmp_path, {order: 8}, labelled=10).lessons(hard_share=0.3)
    assert found["corrected"].share == pytest.approx(share)


def test_rounds_drawn_at_random_fill_what_the_cap_leaves(tmp_path: Path) -> None:
    found = Case(tmp_path, {"doubt": 6, "random": 6}).lessons(hard_share=0.25)
    assert {name: part.share for name, part in found.items()} == {"hard": 0.25, "random": 0.75}
    assert ids(found["hard"].manifest) == sorted(f"p{i}" for i in range(6))
    assert ids(found["random"].manifest) == sorted(f"p{i}" for i in range(6, 12))


def test_too_few_for_a_place_in_every_batch_stay_with_the_others(tmp_path: Path) -> None:
    found = Case(tmp_path, {"doubt": 12, "random": 1}, labelled=400).lessons(hard_share=0.2)
    assert list(found) == ["corrected", "base"]
    assert 0.2 < found["corrected"].share < 0.25


def test_accepted_poses_stand_in_for_a_base_set(tmp_path: Path) -> None:
    case = Case(tmp_path, {"doubt": 8}, accepted=20)
    found = case.lessons()
    assert {name: part.share for name, part in found.items()} == {"corrected": 0.5, "accepted": 0.5}
    accepted = found["accepted"].manifest
    assert len(ids(accepted)) == 8 and set(ids(accepted)) <= set(case.ids[20:])
    poses = Poses.concat([sample.poses for sample in accepted])
    assert (poses.visibility[:, 0] == Visibility.UNLABELLED).all(), "its p_gross is 0.5"
    assert all(attributes[FILLED] == list(COCO.keypoints[1:]) for attributes in poses.attributes)
    assert found["accepted"].to_dict() == {"from": "accepted", "poses": 8, "share": 0.5, "filled": 8 * 16}
    assert ids(case.lessons()["accepted"].manifest) == ids(accepted), "the same poses, however often"


def test_the_cap_parts_hard_poses_from_the_others_whatever_its_last_digit(tmp_path: Path) -> None:
    found = Case(tmp_path, {"doubt": 9, "random": 1}).lessons(hard_share=0.3)
    assert {name: part.share for name, part in found.items()} == {"hard": 0.3, "random": pytest.approx(0.7)}


@pytest.mark.parametrize(
    "reason", ["measured", "asked", "calibration image", "no calibrator", "not filled in", "few", "not sure"]
)
def test_accepted_poses_that_are_not_to_be_learnt_from(tmp_path: Path, reason: str) -> None:
    """Without them there is nothing beside the hard poses, which are then everything."""
    case = Case(tmp_path, {"doubt": 8}, accepted=4)
    settings: dict[str, Any] = {}
    match reason:
        case "measured":
            case.tasks([task(pose, "e" * 64, "calibration") for pose in case.ids[-4:]])
        case "asked":
            case.tasks([task(pose, "e" * 64) for pose in case.ids[-4:]])
        case "calibration image":
            write(tmp_path / "held", people(case.ids[-4:]))
            settings = {"calibration": "held"}
        case "no calibrator":
            (case.before / "calibrator.json").unlink()
        case "not filled in":
            settings = {"fill_below": 0.0}
        case "not sure":
            settings = {"fill_below": 1e-9}
        case _:
            settings = {"hard_share": 0.95}
    assert [(name, part.share) for name, part in case.lessons(**settings).items()] == [("corrected", 1.0)]


def test_replay_that_is_not_wanted(tmp_path: Path) -> None:
    found = Case(tmp_path, {"doubt": 8}, labelled=10).lessons(replay=0.0)
    assert {name: part.share for name, part in found.items()} == {"corrected": 1.0}


def test_of_a_large_skeleton_only_what_was_asked_about_is_said(tmp_path: Path) -> None:
    names = tuple(f"k{i}" for i in range(PALETTE + 4))
    large = Skeleton("large", names, (), tuple(range(len(names))), (0.05,) * len(names), "test")
    k, rng = len(names), np.random.default_rng(0)
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (100, 100)).save(tmp_path / "images" / "0.png")
    p_gross = np.linspace(0.1, 0.9, k)[None]
    poses = Poses.create(
        k,
        id=["p0"],
        xy=rng.uniform(10, 90, (1, k, 2)),
        visibility=np.full((1, k), Visibility.VISIBLE),
        origin=np.full((1, k), Origin.MODEL),
        p_gross=p_gross,
        presence=np.ones((1, k)),
        box=[[0.0, 0.0, 99.0, 99.0]],
    )
    samples = [Sample("s0", "images", "0.png", (100, 100), poses)]
    source = write_manifest(tmp_path / "m", samples, large, {"images": tmp_path / "images"}, stage="test")
    project = tmp_path / "project"
    project.mkdir()
    push(source.path, project=project)
    known = np.where(np.arange(k) < k - 2, Visibility.UNLABELLED, Visibility.VISIBLE)[None]
    samples = [samples[0].with_poses(poses.replace(visibility=known))]  # the reviewer adds no other keypoints
    truth = write_manifest(tmp_path / "truth", samples, large, {"images": tmp_path / "images"}, stage="test")
    SimulatedReviewer(truth, seed=0).review(project)
    pulled = pull(project=project, out=tmp_path / "pulled").manifest
    (answered,) = [sample.poses for sample in pulled]
    assert answered.labelled.all(), "the others still state what the network said"
    assert np.flatnonzero(said_by_people(project, pulled)(answered)[0]).tolist() == [k - 2, k - 1]
    stranger = answered.replace(id=["another"], origin=np.full((1, k), Origin.IMPORTED))
    assert said_by_people(project, pulled)(stranger).all(), "a pose that no task was about"
    placed = answered.replace(origin=np.where(np.arange(k) == 3, Origin.HUMAN, answered.origin))
    assert said_by_people(project, pulled)(placed)[0, 3], "a person placed it, whenever that was"


def test_a_base_set_is_filled_in_no_further_than_it_is_shown(tmp_path: Path) -> None:
    case = Case(tmp_path, {"doubt": 8}, labelled=200)
    open_ = np.full((200, K), Visibility.VISIBLE)
    open_[:, 3] = Visibility.UNLABELLED
    xy = np.where((open_ == Visibility.UNLABELLED)[..., None], np.nan, np.full((200, K, 2), 50.0))
    write(tmp_path / "labelled", people([f"l{i}" for i in range(200)], xy=xy, visibility=open_))
    (case.before / "calibrator.json").unlink()
    assert len(ids(case.lessons()["base"].manifest)) == 200, "without a teacher all of it is replayed as it is"
