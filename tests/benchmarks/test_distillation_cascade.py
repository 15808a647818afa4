"""What a cascade saves and keeps, on a few people whom two tiny networks place alike."""

from dataclasses import dataclass
from pathlib import Path

import torch

from autolabel.manifest import Manifest, write_manifest
from benchmarks.distillation_cascade import DOUBTS, cascade_lines, measure_cascades
from benchmarks.distillation_plan import FINAL, VALIDATION
from model.checkpoint import load_model, save_model
from pipelines.drawn_corpus import hide_truth
from pipelines.predict import predict
from tests.pipelines.cascaded import checked, corpus, network


@dataclass(frozen=True)
class OneKind:
    """The same people as every kind: a stand-in for the benchmark's."""

    known: Manifest
    boxed: Manifest

    def truth(self, name: str) -> Manifest:
        return self.known

    def boxes(self, name: str) -> Manifest:
        return self.boxed


def test_every_doubt_lies_between_student_and_teacher(tmp_path: Path) -> None:
    source = corpus(tmp_path)
    teacher = network(tmp_path / "teacher", 1, width=32)
    model = load_model(teacher)
    with torch.no_grad():
        for values in model.parameters():
            values.mul_(1 + 1e-4)
    student = save_model(model, tmp_path / "student")
    truth = checked(predict(source.path, weights=teacher, out=tmp_path / "said", precision="fp32").manifest)
    hidden = (sample.with_poses(hide_truth(sample.poses)) for sample in truth)
    boxes = write_manifest(tmp_path / "hidden", hidden, truth.skeleton, truth.roots, stage="test")
    rows = measure_cascades(OneKind(truth, boxes), student, teacher, tmp_path / "measured")
    assert [row["who labels"] for row in rows] == [
        "`student` alone",
        *(f"cascade, doubt {doubt:g}" for doubt in DOUBTS),
        f"`{FINAL}` alone",
    ]
    asked = [row["asked of the teacher"] for row in rows]
    assert asked == sorted(asked), "the lower the doubt, the more are asked about"
    assert (asked[0], asked[-1]) == (0, 1)
    assert rows[-1]["time saved"] == 0
    assert all(row[f"{kind} PCK@0.1"] == row["macro PCK@0.1"] > 0.3 for row in rows for kind in VALIDATION)
    assert not (tmp_path / "measured").exists()
    lines = cascade_lines(rows)
    assert len(lines) == len(rows) + 1
    assert lines[-1][:2] == (f"`{FINAL}` alone", "100.0 %")
    assert lines[-1][3] == "0.0 %"
