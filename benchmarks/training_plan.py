"""What the training benchmarks train: every run, with its settings and its budget, in one place.

A run is data: its digest tells whether a finished one still counts. Runs are shared between tables; ``base`` is the
plain recipe that most of them compare with. Change a budget here and only the runs that it concerns are done again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

BATCH = 64

STEPS: Mapping[str, int] = {
    "base": 800,  # base, ours, and what is compared with them in tables 1 and 6 on lspet
    "partial": 3000,  # table 6 on fashion17, which is learnt well enough for a drop to mean something
    "whole box": 1600,  # table 6: of presence and whole-box heads, with all that keypoints come from frozen
    "mae": 500,  # table 1: pre-training on the same images
    "tune": 60,  # tables 2 and 3: on from fashion17's plain network, at another resolution or with another attention
    "transfer": 60,  # table 4
    "several": 500,  # table 5: of the mixture; each corpus alone has its share of them
    "hidden": 200,  # presence and visibility on drawn people
}
"""Steps of ``BATCH`` crops."""

NETWORK: Mapping[str, Any] = {
    "width": 96,
    "depth": 8,
    "heads": 3,
    "input_size": (128, 96),
    "patch_padding": 0,  # patches that a mirror maps to patches
    "decoder": "simple",  # as good here, and half the time of a step
    "drop_path": 0.0,
}

TRAINING: Mapping[str, Any] = {
    "batch_size": BATCH,
    "learning_rate": 1e-3,
    "layer_decay": 1.0,
    "warmup_steps": 60,
    "ema": 0.99,
    "log_every": 20,
}

PAPER: Mapping[str, Any] = {
    "flip": 0.5,
    "half_body": 0.3,
    "scale": 0.5,
    "rotation": 40.0,
    "rotation_probability": 0.6,
    "shift": 0.2,
    "shift_probability": 0.3,
    "detail": 1.0,  # these people are hardly larger than the input; all canvases then fit in memory
}
"""The official augmentation (``vitpose.md`` 4.3), which every run of the tables has."""

MASKING: Mapping[str, Any] = {"decoder_width": 64, "decoder_depth": 2, "decoder_heads": 2, "area": (0.4, 1.0)}
"""Of the masked autoencoder: a decoder in proportion to the encoder, and crops that show most of a person."""

TRUNCATION = 0.25
"""Share of the crops of table 6 that are cut, in place of the official half bodies."""

PRESENCE = 0.001
"""Weight of the presence head's loss in table 6."""

WHOLE_BOX: Mapping[str, Any] = {"learning_rate": 2e-3, "warmup_steps": 40, "partial": {"freeze": ("keypoints",)}}
FIRST_LOOKS: Mapping[str, Any] = {
    "half_body": 0.0,
    "scale": 0.2,
    "rotation": 10.0,
    "shift": 0.05,
    "truncation": 0.7,
    "first_look": 0.5,
}
"""How presence and whole-box heads are taught by themselves: most people cut, many seen as a first look sees them."""

PAIRS: Mapping[str, tuple[str, str]] = {
    "fashion17": ("fashion17 plain", "fashion17 ours"),
    "lspet": ("base", "ours"),
}
"""Table 6: plain recipe and ours, by the corpus that both are trained and measured on."""

CUT: Mapping[str, str] = {"fashion17": "fashion17 cut", "lspet": "cut"}
"""The networks of ours before presence and whole-box heads have their own steps, which move no keypoint."""

ABLATION = ("fashion17", "fashion17 truncation")
"""Corpus and run of table 6+: truncation crops without a presence head."""

LABELS = (50, 200, 1000)
METHODS: Mapping[str, Mapping[str, Any]] = {
    "full": {},
    "MHSA frozen": {"freeze": ("attention",)},
    "FFN frozen": {"freeze": ("mlp",)},
    "LoRA": {"lora_rank": 8},
}

WINDOWS: Mapping[str, Mapping[str, Any]] = {
    "window": {"attention": "window"},
    "window+shift": {"attention": "window", "shift": True},
    "window+pool": {"attention": "window", "pool": True},
    "window+shift+pool": {"attention": "window", "shift": True, "pool": True},
    "full every L/4": {"attention": "window", "full_every": 2},
}
SIZES: Mapping[tuple[int, int], tuple[str, ...]] = {
    (4, 4): tuple(WINDOWS),
    (8, 6): ("window", "window+shift", "window+shift+pool"),
}
"""Which variants are measured with which windows."""

RESOLUTIONS: Mapping[str, Mapping[str, Any]] = {
    "64x48 /16": {"input_size": (64, 48)},
    "128x96 /16": {},
    "192x144 /16": {"input_size": (192, 144)},
    "64x48 /8": {"input_size": (64, 48), "ratio": 2},
    "128x96 /8": {"ratio": 2},
}
"""Input and feature stride. At stride 8 the decoder doubles instead of quadrupling: the heatmaps stay as large."""

FULL = "128x96 /8"
"""The resolution of table 3, where it is the row with full attention."""

SHARES: Mapping[str, float] = {"lspet": 0.6, "fashion17": 0.25, "openfield": 0.15}
"""Of a batch of several datasets (table 5)."""

Kind = Literal["train", "pretrain"]

ENCODERS = ("mae",)
"""Runs that give an encoder and no pose network."""


@dataclass(frozen=True)
class Run:
    """One network to train.

    Attributes:
        name: Unique; also its folder's name, with the seed.
        tables: Which tables it stands in.
        data: Share of each corpus in a batch.
        steps: Optimiser steps.
        test: Corpora that it is measured on.
        network: What differs from ``NETWORK``; of a run that starts from another one, what is changed.
        training: What differs from ``TRAINING``.
        augmentation: What differs from ``PAPER``; of a masked autoencoder, masking and crops.
        init: The run that it starts from.
        several: Whether each corpus has its own decoder.
        kind: ``train``, or ``pretrain`` for a masked autoencoder.
        seed: Of everything.
    """

    name: str
    tables: tuple[str, ...]
    data: Mapping[str, float]
    steps: int
    test: tuple[str, ...] = ()
    network: Mapping[str, Any] = field(default_factory=dict[str, Any])
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])
    augmentation: Mapping[str, Any] = field(default_factory=dict[str, Any])
    init: str = ""
    several: bool = False
    kind: Kind = "train"
    seed: int = 0

    @property
    def folder(self) -> str:
        """Below the output folder."""
        return _folder(self.name, self.seed)

    @property
    def parent(self) -> str:
        """The folder of the run that it starts from, "" for none."""
        return _folder(self.init, self.seed) if self.init else ""

    @property
    def tuned(self) -> bool:
        """Whether it goes on from a pose network, in which ``network`` is what is changed."""
        return bool(self.init) and self.init not in ENCODERS

    def settings(self) -> dict[str, Any]:
        """Everything that the result depends on, as JSON values."""
        plain = {name: value for name, value in asdict(self).items() if name != "tables"}
        common = {"NETWORK": dict(NETWORK), "TRAINING": dict(TRAINING), "PAPER": dict(PAPER)}
        return json.loads(json.dumps({**plain, **common}))

    def digest(self, parent: str = "") -> str:
        """Names the run's result: its settings and the digest of the run that it starts from."""
        said = json.dumps([self.settings(), parent], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def _folder(name: str, seed: int) -> str:
    return f"{name.replace(' ', '-').replace('/', '-')}-{seed}"


def plan(tables: Sequence[str], seeds: int = 1) -> list[Run]:
    """The runs of some tables, in an order in which each comes after the one that it starts from.

    Args:
        tables: Names of ``TABLES``; the order given is the order of importance.
        seeds: Seeds 0 to seeds - 1 each; all of seed 0 come first.
    """
    known = {run.name: run for run in _all()}
    chosen: dict[str, Run] = {}
    for table in tables:
        for run in known.values():
            if table in run.tables:
                _with_parents(run, known, chosen)
    return [replace(run, seed=seed) for seed in range(seeds) for run in chosen.values()]


def _with_parents(run: Run, known: Mapping[str, Run], chosen: dict[str, Run]) -> None:
    if run.init:
        _with_parents(known[run.init], known, chosen)
    chosen.setdefault(run.name, run)


LSPET: Mapping[str, float] = {"lspet": 1.0}
VAL = ("lspet-val",)
FASHION: Mapping[str, float] = {"fashion17": 1.0}
FASHION_VAL = ("fashion17-val",)


def _all() -> list[Run]:
    runs = [*_partial(), *_pretraining(), *_resolutions(), *_attention(), *_transfer(), *_several(), *_visibility()]
    assert len({run.name for run in runs}) == len(runs)
    return runs


def _partial() -> list[Run]:
    """Table 6; tables 2 and 3 go on from its plain network on fashion17, table 4 from that on lspet."""
    plain, ours = PAIRS["fashion17"]
    head: Any = {"network": {"whole_box": True}, "training": WHOLE_BOX, "augmentation": FIRST_LOOKS}
    fashion: Any = {"data": FASHION, "steps": STEPS["partial"], "test": FASHION_VAL}
    how: Any = {
        "network": {"presence": True, "whole_box": True},
        "training": {"presence_weight": PRESENCE},
        # No first looks, which teach keypoints nothing: the heads that need them have steps of their own.
        "augmentation": {"half_body": 0.0, "truncation": TRUNCATION, "first_look": 0.0},
    }
    return [
        Run(plain, ("6",), **fashion),
        Run(CUT["fashion17"], ("6",), **fashion, **how),
        Run(ours, ("6",), FASHION, STEPS["whole box"], FASHION_VAL, **head, init=CUT["fashion17"]),
        Run(ABLATION[1], ("6+",), **fashion, augmentation=how["augmentation"]),
        Run("base", ("1", "4", "6"), LSPET, STEPS["base"], (*VAL, "fashion17-lsp14-val")),
        Run(CUT["lspet"], ("6",), LSPET, STEPS["base"], VAL, **how),
        Run("ours", ("6",), LSPET, STEPS["whole box"], VAL, **head, init=CUT["lspet"]),
    ]


def _pretraining() -> list[Run]:
    return [
        Run("mae", ("1",), LSPET, STEPS["mae"], augmentation=MASKING, kind="pretrain"),
        Run("from mae", ("1",), LSPET, STEPS["base"], VAL, init="mae"),
        Run("twice", ("1",), LSPET, 2 * STEPS["base"], VAL),
    ]


def _tuned(name: str, table: str, network: Mapping[str, Any]) -> Run:
    training = {"learning_rate": 5e-4, "warmup_steps": 20}
    return Run(name, (table,), FASHION, STEPS["tune"], FASHION_VAL, network, training, init=PAIRS["fashion17"][0])


def _resolutions() -> list[Run]:
    runs = [_tuned(name, "2", {**change, **_stride(change)}) for name, change in RESOLUTIONS.items()]
    return [replace(run, tables=("2", "3")) if run.name == FULL else run for run in runs]


def _stride(change: Mapping[str, Any]) -> dict[str, Any]:
    """Stride 8 as the paper has it: patches that overlap by half, with the padding that belongs to them."""
    return {"ratio": 2, "upsampling": 2} if "ratio" in change else {}


def _attention() -> list[Run]:
    stride = _stride({"ratio": 2})
    return [
        _tuned(f"attention {name} {rows}x{columns}", "3", {**stride, **WINDOWS[name], "window": (rows, columns)})
        for (rows, columns), names in SIZES.items()
        for name in names
    ]


def _transfer() -> list[Run]:
    return [
        Run(
            f"{method} {labels}",
            ("4",),
            {f"fashion17-lsp14-{labels}": 1.0},
            STEPS["transfer"],
            ("fashion17-lsp14-val",),
            training={"learning_rate": 1e-3 if method == "LoRA" else 3e-4, "warmup_steps": 20, "partial": how},
            init="base",
        )
        for labels in LABELS
        for method, how in METHODS.items()
    ]


def _several() -> list[Run]:
    """Every dataset sees as many crops alone as in the mixture."""
    together = STEPS["several"]
    alone = {name: max(round(together * share), 1) for name, share in SHARES.items()}
    tests = tuple(f"{name}-val" for name in SHARES)
    return [
        *(Run(f"{name} alone", ("5",), {name: 1.0}, steps, (f"{name}-val",)) for name, steps in alone.items()),
        Run("together", ("5",), SHARES, together, tests, several=True),
        Run("plus", ("5",), SHARES, together, tests, {"expert_width": NETWORK["width"] // 4}, several=True),
    ]


def _visibility() -> list[Run]:
    """Hidden joints are labelled in the drawn corpus only."""
    return [
        Run(
            "hidden",
            ("visibility",),
            {"drawn": 1.0},
            STEPS["hidden"],
            ("drawn-val",),
            network={"presence": True},
            augmentation={"truncation": 0.4},
        )
    ]


TABLES = ("6", "1", "2", "3", "4", "5", "visibility", "6+")
"""In the order of importance; ``6+`` is table 6 with truncation crops but without the presence head."""
