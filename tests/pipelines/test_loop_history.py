"""Forecasts of the loop's rounds: foretold at routing, checked after the review, learnt from by the next round."""

import json
from pathlib import Path

import numpy as np
import pytest

from autolabel.manifest import Existing, Manifest, Parent, write_manifest
from autolabel.merge import CORRECTIONS, write_corrections
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.progress import SILENT
from autolabel.project import Corpus, Project
from autolabel.skeleton import Skeleton
from pipelines.loop_history import FORECAST, check_forecast, forecasts, history
from pipelines.loop_state import Loop
from pipelines.route import route

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
N, REVIEWED = 200, 60


class Rounds:
    """A project whose poses lie on a line; a share of those that are reviewed proves bad."""

    def __init__(self, folder: Path, p_bad: np.ndarray) -> None:
        self.loop = Loop(folder, Project(name="test", corpus=Corpus(images="images")), None, None, SILENT)
        rng = np.random.default_rng(0)
        self.poses = Poses.create(
            K, id=[f"p{i:03}" for i in range(N)], xy=rng.uniform(0, 90, (N, K, 2)),
            visibility=np.full((N, K), Visibility.VISIBLE), origin=np.full((N, K), Origin.MODEL),
            box=np.tile([0.0, 0.0, 99.0, 99.0], (N, 1)), p_bad=p_bad, p_gross=np.repeat(p_bad[:, None] / 3, K, axis=1),
        )  # fmt: skip
        for n in range(3):
            self.write(self.loop.round(n) / "scored", self.poses)
            (self.loop.round(n) / "calibrator.json").write_text("{}")

    def write(self, path: Path, poses: Poses) -> Manifest:
        samples = [Sample(f"{p}", "r", f"{p}.png", (100, 100), poses.take([i])) for i, p in enumerate(poses.id)]
        parents = [Parent("calibrator", "c")]
        return write_manifest(
            path, samples, SKELETON, {"r": path.parent}, stage="score", parents=parents, existing=Existing.OVERWRITE
        )

    def route(self, n: int) -> dict[str, object]:
        here = self.loop.round(n)
        past = history(self.loop, n)
        return route(
            self.loop.round(n - 1) / "scored", out=here / "routing", max_bad=0.1, budget=REVIEWED, audit=False,
            history=past, seed=n,
        ).record  # fmt: skip

    def answer(self, n: int, bad: np.ndarray) -> Manifest:
        """Everything of round n's review is answered; the bad ones were far off in three keypoints."""
        ids = (self.loop.round(n) / "routing" / "review.txt").read_text().split()
        poses = self.poses.take(np.flatnonzero(np.isin(self.poses.id, ids)))
        xy = poses.xy.copy()
        xy[:, :3] += np.where(bad[: len(poses), None, None], 60.0, 0.0).astype(np.float32)
        answered = poses.replace(xy=xy, attributes=[{"state": "reviewed"}] * len(poses))
        path = self.loop.round(n) / "pulled"
        manifest = self.write(path, answered)
        write_corrections(path / CORRECTIONS, [])
        return manifest


def found(rounds: Rounds, n: int) -> dict[str, object]:
    return json.loads((rounds.loop.round(n) / FORECAST).read_text())


def test_a_round_is_foretold_checked_and_learnt_from(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, np.full(N, 0.3))
    first = rounds.route(1)["forecast"]
    assert isinstance(first, dict) and first["rounds"] == 0
    assert first["bad"]["expected"] == pytest.approx(0.3 * REVIEWED, rel=0.2)
    bad = np.arange(REVIEWED) % 10 < 3
    check_forecast(rounds.loop, 1, rounds.answer(1, bad))
    told = found(rounds, 1)
    assert told["held"] == {"bad": True, "gross": True, "seconds": None}
    assert isinstance(told["past"], dict) and (told["past"]["bad"], told["past"]["gross"]) == (18, 54)

    second = rounds.route(2)["forecast"]
    assert isinstance(second, dict) and second["rounds"] == 1
    assert second["bad"]["high"] - second["bad"]["low"] < first["bad"]["high"] - first["bad"]["low"]
    assert len(forecasts(rounds.loop, 2)) == 1


def test_a_forecast_that_was_wrong_is_called_so_and_corrects_the_next(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, np.full(N, 0.9))
    first = rounds.route(1)["forecast"]
    check_forecast(rounds.loop, 1, rounds.answer(1, np.arange(REVIEWED) < 3))
    held = found(rounds, 1)["held"]
    assert isinstance(held, dict) and not held["bad"] and not held["gross"]
    second = rounds.route(2)["forecast"]
    assert isinstance(first, dict) and isinstance(second, dict)
    assert second["bad"]["expected"] < first["bad"]["expected"] / 2


def test_what_was_not_answered_proves_no_forecast_wrong(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, np.full(N, 0.3))
    rounds.route(1)
    answered = rounds.answer(1, np.zeros(REVIEWED, bool))
    few = rounds.write(answered.path, answered.poses(0).take(np.arange(10)))
    write_corrections(answered.path / CORRECTIONS, [])
    check_forecast(rounds.loop, 1, few)
    assert "held" not in found(rounds, 1)
    assert forecasts(rounds.loop, 2) == []


def test_without_a_calibrator_nothing_is_foretold(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, np.full(N, 0.3))
    (rounds.loop.round(0) / "calibrator.json").unlink()
    assert history(rounds.loop, 1) is None
    assert "forecast" not in rounds.route(1)
    check_forecast(rounds.loop, 1, rounds.answer(1, np.zeros(REVIEWED, bool)))
    assert not (rounds.loop.round(1) / FORECAST).exists()


def test_what_was_drawn_uniformly_speaks_for_the_corpus(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, np.full(N, 0.3))
    here = rounds.loop.round(1)
    route(rounds.loop.round(0) / "scored", out=here / "routing", max_bad=0.1, budget=REVIEWED, audit=False,
          random_share=0.5, history=history(rounds.loop, 1))  # fmt: skip
    queue = [json.loads(line) for line in (here / "routing" / "queue.jsonl").read_text().splitlines()]
    ids = [task["pose"] for task in queue]
    poses = rounds.poses.take(np.flatnonzero(np.isin(rounds.poses.id, ids)))
    drawn = np.isin(poses.id, [task["pose"] for task in queue if task["kind"] != "review"])
    xy = poses.xy.copy()
    xy[drawn, :3] += 60
    manifest = rounds.write(here / "pulled", poses.replace(xy=xy, attributes=[{"state": "reviewed"}] * len(poses)))
    write_corrections(manifest.path / CORRECTIONS, [])
    check_forecast(rounds.loop, 1, manifest)
    uniform = found(rounds, 1)["uniform"]
    assert isinstance(uniform, dict) and uniform["bad"] == drawn.sum() == 30
    lines = [json.loads(line) for line in (history(rounds.loop, 2) or here).read_text().splitlines()]
    assert [line.get("uniform", False) for line in lines] == [False, True]
    corpus = rounds.route(2)["forecast"]
    assert isinstance(corpus, dict) and corpus["corpus_bad"]["expected"] > 0.4, "30 of 30 were bad, 9 were foretold"
