"""Suspects in words, in order, and in files."""

import csv
import io
import json
from itertools import pairwise

import numpy as np

from autolabel.label_quality import label_quality
from autolabel.label_suspects import counts, suspects, suspects_csv, suspects_json, suspects_table
from autolabel.poses import Visibility
from tests.autolabel.label_cases import LSP, people, seen

KNEE, ANKLE = LSP.index("left_knee"), LSP.index("left_ankle")


def found():
    """Of 200 labels the first is mirrored, the second has a leg misplaced, the third a missing knee, a shift."""
    right = people(200)
    xy, visibility = right.xy.copy(), right.visibility.copy()
    xy[0] = xy[0][list(LSP.flip)]
    xy[1, [KNEE, ANKLE]] += 70
    visibility[2, KNEE] = Visibility.ABSENT
    xy[3] += (45, -20)
    label = right.replace(xy=xy, visibility=visibility)
    evidence = seen(label, right.xy)
    paths = [f"people/{i}.jpg" for i in range(200)]
    return suspects(label, paths, label_quality(label, evidence, LSP), evidence, LSP)


def test_each_is_told_in_words() -> None:
    by_row = {suspect.row: suspect for suspect in found()}
    assert by_row.keys() >= {0, 1, 2, 3}
    assert {row: (by_row[row].kind, by_row[row].what) for row in range(4)} == {
        0: ("swapped", "left and right swapped"),
        1: ("misplaced", "left knee, left ankle misplaced"),
        2: ("missing", "left knee missing"),
        3: ("shifted", "whole pose shifted"),
    }
    assert by_row[1].keypoints == ("left_knee", "left_ankle")
    assert "label at KS 0.00" in by_row[1].why
    assert by_row[0].path == "people/0.jpg"
    assert by_row[0].pose == "p0"


def test_order_and_ranks() -> None:
    list_ = found()
    assert [s.rank for s in list_] == list(range(1, len(list_) + 1))
    assert all(a.score >= b.score for a, b in pairwise(list_))
    assert {s.row for s in list_[:4]} == {0, 1, 2, 3}


def test_files_hold_all_of_them() -> None:
    list_ = found()
    rows = list(csv.DictReader(io.StringIO(suspects_csv(list_))))
    assert [row["pose"] for row in rows] == [s.pose for s in list_]
    assert float(rows[0]["score"]) == np.round(list_[0].score, 4)
    content = json.loads(suspects_json(list_, manifest="abc"))
    assert content["manifest"] == "abc"
    assert [record["what"] for record in content["suspects"]] == [s.what for s in list_]
    assert "row" not in content["suspects"][0]


def test_table_and_counts() -> None:
    list_ = found()
    lines = suspects_table(list_, most=2).splitlines()
    assert len(lines) == 4
    assert lines[-1] == f"and {len(list_) - 2} more"
    assert suspects_table([]) == "no label is suspected"
    assert counts(list_, least=0.05) == {
        "swapped": 1,
        "shifted": 1,
        "misplaced": 1,
        "missing": 1,
        "implausible": 0,
    }


def test_nothing_is_held_against_labels_that_are_right() -> None:
    right = people(20)
    evidence = seen(right, right.xy)
    assert suspects(right, [""] * 20, label_quality(right, evidence, LSP), evidence, LSP) == []


def test_a_label_that_no_body_has_is_told_where_a_weak_network_says_little() -> None:
    """The network disagrees with most labels, so its word alone is worth little; but not with the posture of others."""
    right, rng = people(300), np.random.default_rng(5)
    truth = right.xy + rng.normal(0, 25, right.xy.shape)
    xy = right.xy.copy()
    xy[0, [KNEE, ANKLE]] = xy[0, LSP.index("left_shoulder")] + (0, -60)
    label = right.replace(xy=xy)
    evidence = seen(label, truth, doubt=0.3)
    told = suspects(label, [f"{i}.jpg" for i in range(300)], label_quality(label, evidence, LSP), evidence, LSP)
    assert (told[0].row, told[0].kind) == (0, "implausible")
    assert "where no body has it" in told[0].what
    assert told[0].score > 0.95 > told[1].score
