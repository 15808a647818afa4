"""The starter weights: the best small ViTPose that this machine can train in the given time, shipped if it is good.

    python -m benchmarks.starter --out runs

A masked autoencoder on all photographs of people, then supervised training in two rounds on ``lspet`` (mapped to
``coco17``: its twelve limb joints) and ``fashion17``, with truncation crops and a presence head; at last presence and
whole-box heads, with all else frozen. Measured on ``lspet``'s validation people, on the twelve joints that both have.
``model/weights/starter-people.safetensors`` and its card are written only where PCK@0.1 reaches 0.40. Every stage is
kept in ``--out``; one that was stopped goes on, and one whose settings below were changed is done again.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.partial_bodies import THRESHOLDS, measure, presence_row, rows_by_kind, share_within
from benchmarks.results import table, write_result
from benchmarks.training import DATA, ROOT
from benchmarks.training_data import Corpora
from benchmarks.training_people import people_of, person_errors
from benchmarks.training_plan import FIRST_LOOKS, WHOLE_BOX
from benchmarks.training_runs import LIMBS, cost_row
from pipelines.console import LineProgress

REQUIRED = 0.40
WEIGHTS = ROOT / "model" / "weights" / "starter-people.safetensors"

NETWORK: Mapping[str, Any] = {
    "width": 192,
    "depth": 8,
    "heads": 3,
    "input_size": (128, 96),
    "patch_padding": 0,  # flip-symmetric
    "decoder": "simple",  # the classic one would take half of the file and half of the time
    "drop_path": 0.0,
    "presence": True,
}

PRETRAINING: Mapping[str, Any] = {"decoder_width": 96, "decoder_depth": 2, "decoder_heads": 3, "area": (0.4, 1.0)}
PRETRAIN: Mapping[str, Any] = {"steps": 300, "batch_size": 128, "learning_rate": 1e-3, "seed": 0}

TRAINING: Mapping[str, Any] = {
    "steps": 3700,
    "batch_size": 64,
    "accumulate": 4,  # slices that fit a cache
    "learning_rate": 1e-3,
    "layer_decay": 1.0,
    "weight_decay": 0.05,
    "warmup_steps": 150,
    "ema": 0.998,
    "seed": 0,
    "log_every": 25,
    "save_every": 250,
}

AGAIN: Mapping[str, Any] = {**TRAINING, "steps": 5000, "learning_rate": 7e-4, "seed": 1}
"""A second round, from where the first one ended (a warm restart: Loshchilov & Hutter, ICLR 2017)."""

HEADS: Mapping[str, Any] = {  # of the last stage
    "steps": 500,
    "batch_size": 64,
    "accumulate": 4,
    **WHOLE_BOX,
    "layer_decay": 1.0,
    "ema": 0.99,
    "seed": 1,
    "log_every": 25,
}

AUGMENTATION: Mapping[str, Any] = {  # weaker than the paper's, which is for twenty times as many crops
    "flip": 0.5,
    "half_body": 0.1,
    "scale": 0.25,
    "rotation": 20.0,
    "rotation_probability": 0.6,
    "shift": 0.1,
    "shift_probability": 0.3,
    "truncation": 0.25,
    "colour": 0.2,
    "detail": 1.0,
}

SHARES: Mapping[str, float] = {"lspet-coco17": 0.85, "fashion17": 0.15}


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the smoke test's are tiny.

    Attributes:
        network: As ``NETWORK``.
        pretrain: As ``PRETRAIN``.
        training: As ``TRAINING``.
        again: As ``AGAIN``.
        heads: As ``HEADS``.
        shares: As ``SHARES``.
        images: Of each corpus; 0 for all.
    """

    network: Mapping[str, Any]
    pretrain: Mapping[str, Any]
    training: Mapping[str, Any]
    again: Mapping[str, Any]
    heads: Mapping[str, Any]
    shares: Mapping[str, float]
    images: int = 0


FULL = Sizes(NETWORK, PRETRAIN, TRAINING, AGAIN, HEADS, SHARES)
_FEW = {"steps": 2, "batch_size": 4, "log_every": 1}
SMOKE = Sizes(
    {**NETWORK, "width": 16, "depth": 1, "heads": 2, "input_size": (32, 32)},
    {**PRETRAIN, **_FEW},
    {**TRAINING, **_FEW, "warmup_steps": 1},
    {**AGAIN, **_FEW, "warmup_steps": 1},
    {**HEADS, **_FEW, "warmup_steps": 1},
    SHARES,
    images=16,
)


def train_starter(corpora: Corpora, out: Path, sizes: Sizes, *, mae: bool, overwrite: bool, progress: Any) -> Path:
    """All stages; returns the checkpoint folder."""
    from pipelines.pretrain import Corpus, pretrain_encoder
    from pipelines.train import Portion, train_network

    manifests = [(corpora.manifest(name), share) for name, share in sizes.shares.items()]
    encoder = out / "starter-encoder"
    common = {"overwrite": overwrite, "progress": progress}
    if mae:
        # The presence head belongs to the second stage.
        network = {name: value for name, value in sizes.network.items() if name != "presence"}
        training = dict(sizes.pretrain)
        pretrain_encoder(
            [Corpus(manifest, share=share) for manifest, share in manifests],
            out=encoder,
            network=network,
            training=training,
            pretraining=PRETRAINING,
            **common,
        )
    portions = [Portion(manifest, share) for manifest, share in manifests]
    train_network(
        portions,
        out=out / "starter",
        init=str(encoder) if mae else "",
        network=sizes.network,
        training={**sizes.training, "augmentation": AUGMENTATION},
        **common,
    )
    train_network(
        portions,
        out=out / "starter-again",
        init=str(out / "starter"),
        training={**sizes.again, "augmentation": AUGMENTATION},
        **common,
    )
    train_network(
        portions,
        out=out / "starter-heads",
        init=str(out / "starter-again"),
        network={"whole_box": True},
        training={**sizes.heads, "augmentation": {**AUGMENTATION, **FIRST_LOOKS}},
        **common,
    )
    return out / "starter-heads"


def measure_starter(corpora: Corpora, checkpoint: Path, sizes: Sizes) -> dict[str, Any]:
    """What the card says."""
    from model.checkpoint import load_model

    model = load_model(checkpoint)
    row: dict[str, Any] = {}
    for test in ("lspet-coco17-val", "fashion17-val"):
        people = people_of(corpora.manifest(test))
        error = person_errors(model, people)
        limbs = [model.skeleton.index(name) for name in LIMBS]
        row |= {f"{test} PCK@{t:g}, 12 joints": share_within(error[:, limbs], t) for t in THRESHOLDS}
        flipped = person_errors(model, people, flip_test=True)
        row[f"{test} PCK@0.1, 12 joints, flip test"] = share_within(flipped[:, limbs], THRESHOLDS[0])
        if test == "fashion17-val":
            row |= {f"{test} PCK@{t:g}, 17 joints": share_within(error, t) for t in THRESHOLDS}
        cases = measure(model, people)
        row[f"{test} parts PCK@0.1"] = rows_by_kind(cases, "starter")[-1]["part@0.1"]
        row[f"{test} presence AUROC"] = presence_row(cases, "starter")["AUROC"]
    lines = (checkpoint.parent / "starter" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    row["crops/s"] = statistics.median(json.loads(line)["crops_per_second"] for line in lines)
    return row | cost_row(model) | {"steps": _steps(sizes), "crops": _crops(sizes)}


def _steps(sizes: Sizes) -> int:
    return int(sizes.training["steps"]) + int(sizes.again["steps"])


def _crops(sizes: Sizes) -> int:
    return _steps(sizes) * int(sizes.training["batch_size"])


CARD = """# starter-people

A ViTPose of {parameters:,} parameters ({width} wide, {depth} blocks, patches of 16, input {height}x{across}), simple
decoder, presence and whole-box heads; COCO's 17 keypoints; 16-bit floats. It is what `autolabel predict` takes where
no weights are given: enough to begin with, far from the released ViTPoses.

**Data and licence.** Trained from scratch on 5,000 people of Leeds Sports Pose Extended (Johnson & Everingham, CVPR
2011; its twelve limb joints; labels of a crowd, about one in ten with a gross error) and 1,109 full-body fashion
photographs with all 17 joints (HuuTranDuc/LiteHrnet). Both are for research: **use these weights for research only**,
and cite Johnson & Everingham.

**Training.** {mae}{crops:,} crops in {steps:,} steps of two rounds, AdamW, moving average of the weights, truncation
crops; then presence and whole-box heads alone for {heads:,} steps (`python -m benchmarks.starter`; all settings
stand in that file).

**Accuracy**, each person cropped by the box of their annotation, without a flip test unless it says so:

{table}

PCK counts keypoints within that share of the longer side of the person's box. *Parts* are people that the image cuts
(`benchmarks/partial_bodies.py`), with the same tolerance in pixels as the whole person.

**Limits.** One person a box; adults in sports and fashion photographs; faces from frontal fashion photographs only, so
that nose, eyes and ears of people in action are guesses. Whether a joint is hidden was never taught: no label says it.
Left and right are mixed up more often than by large networks. Do not accept its poses unchecked.
"""


def card(row: Mapping[str, Any], sizes: Sizes, *, mae: bool) -> str:
    """The model card."""
    numbers = {name: value for name, value in row.items() if "PCK" in name or "AUROC" in name}
    lines = ["| measured | value |", "|---|--:|", *(f"| {name} | {value:.3f} |" for name, value in numbers.items())]
    height, across = sizes.network["input_size"]
    before = f"A masked autoencoder on the same images ({sizes.pretrain['steps']:,} steps), then " if mae else ""
    return CARD.format(
        parameters=row["parameters"],
        width=sizes.network["width"],
        depth=sizes.network["depth"],
        height=height,
        across=across,
        mae=before,
        crops=row["crops"],
        steps=row["steps"],
        heads=sizes.heads["steps"],
        table="\n".join(lines),
    )


def ship(checkpoint: Path, row: Mapping[str, Any], sizes: Sizes, path: Path, *, mae: bool) -> bool:
    """Write weights and card where they are good enough; says whether."""
    from model.checkpoint import load_model
    from model.starter import save_starter

    reached = row["lspet-coco17-val PCK@0.1, 12 joints"]
    if not reached >= REQUIRED:
        print(f"PCK@0.1 is {reached:.3f}, less than {REQUIRED}: nothing is shipped")
        return False
    save_starter(load_model(checkpoint), path)
    size = path.stat().st_size / 2**20
    path.with_suffix(".md").write_text(card(row, sizes, mae=mae), encoding="utf-8")
    print(f"{path.name}: {size:.1f} MiB, PCK@0.1 {reached:.3f}")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for corpora and checkpoints")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--no-mae", action="store_true", help="train from scratch")
    parser.add_argument("--overwrite", action="store_true", help="train anew where settings have changed")
    parser.add_argument("--smoke", action="store_true", help="a few steps of a tiny network, nothing is shipped")
    options = parser.parse_args()
    sizes, progress = SMOKE if options.smoke else FULL, LineProgress(sys.stderr)
    out, mae = options.out / "smoke" if options.smoke else options.out, not options.no_mae
    corpora = Corpora(options.data, out / "data", most=sizes.images, progress=progress)
    checkpoint = train_starter(corpora, out, sizes, mae=mae, overwrite=options.overwrite, progress=progress)
    row = measure_starter(corpora, checkpoint, sizes)
    print(table([row]))
    if options.smoke:
        return 0
    shipped = ship(checkpoint, row, sizes, WEIGHTS, mae=mae)
    write_result("starter", [{**row, "shipped": shipped}], command="python -m benchmarks.starter --out DIR")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
