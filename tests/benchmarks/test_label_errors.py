"""Planted errors are errors, sheets are blind, and verdicts are counted for the right group."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.label_quality import label_quality
from autolabel.label_suspects import suspects
from autolabel.manifest import write_manifest
from autolabel.poses import Sample
from autolabel.similarity import keypoint_similarity, similarity_area
from benchmarks.label_errors import KEY, RANDOM, SHEETS, TOP, join_verdicts, precision_at, verdict_counts, write_sheets
from benchmarks.label_planting import plant
from pipelines.audit_labels import AuditLabelsResult
from tests.autolabel.label_cases import LSP, people, seen


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5])
def test_so_many_errors_are_planted_and_each_is_one(share: float) -> None:
    right = people(200)
    planted = plant(right, LSP, share, seed=1)
    wrong = planted.kind != ""
    assert wrong.sum() == round(200 * share)
    ks = keypoint_similarity(planted.poses.xy, right.xy, similarity_area(right), LSP.sigmas)
    assert ((ks < 0.5).any(axis=1) == wrong).all()
    assert np.array_equal(planted.poses.xy[~wrong], right.xy[~wrong])
    assert np.array_equal(planted.poses.box, right.box)
    if share:
        counts = [int((planted.kind == kind).sum()) for kind in ("joint", "sides", "limb", "shifted")]
        assert max(counts) - min(counts) <= 1
    assert np.array_equal(plant(right, LSP, share, seed=1).poses.xy, planted.poses.xy)


def test_sides_that_hide_each_other_are_not_exchanged() -> None:
    flat = people(40)
    xy = flat.xy.copy()
    xy[..., 0] = 100  # all on one line: no side is to be seen
    xy[:, :, 1] = xy[:, list(LSP.flip), 1]
    xy = (xy + xy[:, list(LSP.flip)]) / 2
    kinds = plant(flat.replace(xy=xy), LSP, 0.5, seed=0).kind
    assert "sides" not in kinds
    assert "limb" not in kinds


def test_precision_at_k() -> None:
    order, wrong = np.array([3, 1, 0, 2]), np.array([False, True, False, True])
    assert [precision_at(order, wrong, k) for k in (1, 2, 4)] == [1.0, 1.0, 0.5]


@pytest.fixture
def sheets(tmp_path: Path) -> Any:
    count = TOP + RANDOM + 20
    right = people(count)
    xy = right.xy.copy()
    xy[:, LSP.index("left_knee")] += np.linspace(10, 90, count)[:, None]
    label = right.replace(xy=xy)
    Image.fromarray(np.full((230, 200, 3), 90, np.uint8)).save(tmp_path / "0.png")
    samples = [Sample(f"s{i}", "r", "0.png", (200, 230), label.take([i])) for i in range(count)]
    manifest = write_manifest(tmp_path / "m", samples, LSP, {"r": tmp_path}, stage="test")
    evidence = seen(label, right.xy)
    quality = label_quality(label, evidence, LSP)
    found = tuple(suspects(label, ["0.png"] * count, quality, evidence, LSP))
    result = AuditLabelsResult(tmp_path, found, quality, evidence, label, ())
    return result, write_sheets(result, manifest, tmp_path), json.loads((tmp_path / KEY).read_text())


def test_sheets_are_blind_and_the_key_lies_apart(sheets: Any) -> None:
    result, paths, key = sheets
    assert len(paths) == -(-(TOP + RANDOM) // 15)
    assert all(path.parent.name == SHEETS for path in paths)
    assert len({known["pose"] for known in key.values()}) == TOP + RANDOM
    groups = [known["group"] for known in key.values()]
    assert groups.count("top") == TOP
    assert {known["pose"] for known in key.values() if known["group"] == "top"} == {
        s.pose for s in result.suspects[:TOP]
    }
    assert "random" in groups[:15], "shuffled"
    assert "top" in groups[-15:], "shuffled"


def test_verdicts_meet_their_key(sheets: Any) -> None:
    _, _, key = sheets
    verdicts: dict[str, Any] = {n: "error" if known["group"] == "top" else "ok" for n, known in key.items()}
    first = next(n for n, known in key.items() if known["rank"] == 1)
    verdicts[first] = {"verdict": "unsure", "note": "dark"}
    rows = join_verdicts(key, verdicts)
    assert rows[0] == {**key[first], "verdict": "unsure", "note": "dark"}
    top, random = verdict_counts(rows)
    assert (top["judged"], top["error"], top["unsure"]) == (TOP, TOP - 1, 1)
    assert (random["judged"], random["error"], random["at least, 95 %"]) == (RANDOM, 0, 0.0)
    assert 0.9 < top["at least, 95 %"] < 0.99
    for wrong in ({}, {**verdicts, first: "perhaps"}):
        with pytest.raises(ValueError, match="is none of"):
            join_verdicts(key, wrong)
