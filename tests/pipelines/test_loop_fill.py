"""The whole loop fills in what a base set leaves open, with the network of before and its calibrator.

The truth is made to fit an untrained network: where its peaks are high, the truth is what it says, elsewhere any place.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import FILLED, Origin, Poses, Sample, Visibility
from pipelines import loop
from pipelines.predict import predict
from pipelines.simulated_reviewer import SimulatedReviewer

K = 17
PARTS = {"calibration": 60, "labelled": 20, "pool": 8}
OPEN = [3, 4]


@pytest.fixture(scope="module")
def project(drawn_case: Any, tiny_weights: Path) -> tuple[Path, Poses]:
    """A project after one round, and what the first network says of everybody."""
    folder, samples = drawn_case.crowd("fits", sum(PARTS.values()), np.random.default_rng(0))

    def write(name: str, part: list[Sample]) -> Manifest:
        return write_manifest(
            folder / name, part, drawn_case.truth.skeleton, {"crowd": folder / "images"}, stage="test"
        )

    predicted = predict(
        write("boxes", samples).path, weights=tiny_weights, out=folder / "said", flip_test=True
    ).manifest
    features, said = predicted.features(0), predicted.poses(0)
    assert features is not None
    peaks = features["peak"].mean(axis=1)
    right = peaks > np.quantile(peaks, 0.4)
    share = np.random.default_rng(1).random((len(samples), K, 2))
    anywhere = said.box[:, None, :2] + share * (said.box[:, 2:] - said.box[:, :2])[:, None]
    xy, visible = np.where(right[:, None, None], said.xy, anywhere), np.full((len(samples), K), Visibility.VISIBLE)
    true = said.replace(xy=xy, visibility=visible, origin=np.full(visible.shape, Origin.IMPORTED))
    open_xy, open_visible = xy.copy(), visible.copy()
    open_xy[:, OPEN], open_visible[:, OPEN] = np.nan, Visibility.UNLABELLED
    partly = true.replace(xy=open_xy, visibility=open_visible)
    ends = np.cumsum([0, *PARTS.values()])
    for name, given, low, high in zip(PARTS, (true, partly, said), ends, ends[1:], strict=False):
        write(name, [samples[i].with_poses(given.take([i])) for i in range(low, high)])
    truth = write("truth", [samples[i].with_poses(true.take([i])) for i in range(ends[-2], ends[-1])])
    here = drawn_case.project(
        "fill",
        corpus={"images": "i", "boxes": "../fits/pool", "labelled": "../fits/labelled", "test": ""}
        | {"calibration": "../fits/calibration"},
        rounds={"count": 1, "random_share": 0.0, "fill_below": 0.5},
        network={"weights": str(tiny_weights), "custom": {}},
    )
    loop.run(here, reviewer=SimulatedReviewer(truth, seed=0), audit=False)
    return here, said.take(np.arange(ends[1], ends[2]))


def test_sure_places_are_the_networks_and_others_stay_open(project: tuple[Path, Poses]) -> None:
    folder, said = project
    base = folder / "rounds" / "01" / "filled" / "base"
    made = Poses.concat([sample.poses for sample in Manifest.open(base / "manifest")])
    doubts = Poses.concat([sample.poses for sample in Manifest.open(base / "scored")])
    assert made.id.tolist() == doubts.id.tolist() == said.id.tolist()
    sure = doubts.p_gross[:, OPEN] < 0.5
    assert 0 < sure.sum() < sure.size
    assert np.array_equal(made.labelled[:, OPEN], sure & (doubts.labelled[:, OPEN]))
    filled = made.labelled[:, OPEN]
    assert np.abs(made.xy[:, OPEN][filled] - said.xy[:, OPEN][filled]).max() < 0.05
    assert (made.origin[:, OPEN][filled] == Origin.MODEL).all()
    assert np.delete(made.origin, OPEN, axis=1).min() == Origin.IMPORTED, "what was labelled stays as it was"
    learning = json.loads((folder / "rounds" / "01" / "round.json").read_text())["learning"]
    told = {part["from"]: part["filled"] for part in learning["sources"]}
    assert told == {"corrected": 0, "base": int(filled.sum())}
    assert sum(len(known.get(FILLED, ())) for known in made.attributes) == told["base"]


def test_nothing_that_was_filled_in_comes_out(project: tuple[Path, Poses]) -> None:
    folder, _ = project
    for name in ("pulled", "merged", "scored"):
        for sample in Manifest.open(folder / "rounds" / "01" / name):
            assert not any(FILLED in known for known in sample.poses.attributes), name
