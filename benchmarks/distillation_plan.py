"""What the distillation benchmark trains: every network, with its settings and its budget, in one place.

An arm is data: its digest tells whether a finished one still counts. All learn the same labelled people: ``lspet`` and
``fashion17`` in the joints of ``coco17``, and drawn people. What has no labels for a student is further drawn people,
of whom it knows boxes, and in the arm ``unlabelled`` everybody. Change a budget here and only the arms that it concerns
are another result; an arm's folder with the old one has to be removed by hand, because a teacher takes hours.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

LABELLED: Mapping[str, float] = {"lspet-coco17": 0.55, "fashion17": 0.15}
"""Share of a batch by corpus of photographs."""

DRAWN_SHARE = 0.3
DRAWN: Mapping[int, int] = {2: 3_000, 3: 2_000}
"""Images by seed of the drawn people that are labelled."""

FURTHER: Mapping[int, int] = {6: 3_000}
"""Images by seed of those of whom only the boxes are known."""

FURTHER_SHARE = 0.2
"""Of a batch that has them."""

REAL: tuple[str, ...] = ("lspet-coco17-val", "fashion17-val")
"""Validation people of photographs; of the first, twelve limb joints are labelled."""

DRAWN_VAL = "drawn-val"
VALIDATION: tuple[str, ...] = (*REAL, DRAWN_VAL)
DRAWN_VAL_SEED, DRAWN_VAL_IMAGES, DRAWN_VAL_PEOPLE = 102, 1_700, 2_000

SEEDS = 3
ABLATION_SEEDS = 1

TEACHER_SEED = 0
"""Of the teacher whose students are measured; the other teachers tell how much a teacher's own seed does."""

AUGMENTATION: Mapping[str, Any] = {
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

TRAINING: Mapping[str, Any] = {
    "batch_size": 64,
    "accumulate": 2,  # slices that fit a cache
    "learning_rate": 1e-3,
    "layer_decay": 1.0,
    "weight_decay": 0.05,
    "warmup_steps": 100,
    "ema": 0.995,
    "presence_weight": 0.001,
    "precision": "bf16",
    "compile": True,
    "log_every": 25,
    "save_every": 250,
}

_COMMON: Mapping[str, Any] = {"patch_padding": 0, "decoder": "simple", "presence": True}
TEACHER: Mapping[str, Any] = {
    **_COMMON, "width": 320, "depth": 12, "heads": 5, "input_size": (192, 144), "drop_path": 0.1,
}  # fmt: skip

STUDENT: Mapping[str, Any] = {**_COMMON, "width": 320, "depth": 4, "heads": 5, "input_size": (128, 96)}


@dataclass(frozen=True)
class Budget:
    """What a machine can do in an hour or two: networks, and steps of each.

    Attributes:
        teacher: The network.
        teacher_steps: By input size, one after the other: where bodies are is learnt at a fraction of the price.
        rates: Of the teacher's stages: learning rate and steps of warm-up.
        student: The network.
        sizes: Other students, by name.
        steps: Of every student of the main table and of other sizes.
        short_steps: Of every student of the other tables, but those that compare views.
        views_steps: Of those.
        token_steps: Of the teacher's token.
        head_steps: Of the last stage, a fresh head.
        encoder_steps: Of the masked autoencoder.
        views: Fixed crops of each person in which the teacher's outputs are kept, for all arms but those that compare
            views; 0 for a new crop every time.
        training: What differs from ``TRAINING``.
    """

    teacher: Mapping[str, Any]
    teacher_steps: Mapping[tuple[int, int], int]
    rates: tuple[tuple[float, int], ...]
    student: Mapping[str, Any]
    sizes: Mapping[str, Mapping[str, Any]]
    steps: int
    short_steps: int
    views_steps: int
    token_steps: int
    head_steps: int
    encoder_steps: int
    views: int
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])


CPU = Budget(
    teacher=TEACHER,
    teacher_steps={(64, 48): 2_000, (128, 96): 700, (192, 144): 120},
    rates=((1e-3, 100), (5e-4, 50), (3e-4, 20)),
    student=STUDENT,
    sizes={
        "192x8": {**STUDENT, "width": 192, "depth": 8, "heads": 3},
        "192x4": {**STUDENT, "width": 192, "depth": 4, "heads": 3},
    },
    steps=400,
    short_steps=200,
    views_steps=200,
    token_steps=50,
    head_steps=100,
    encoder_steps=400,
    views=2,
)
"""Two cores, in some two hours."""

LONG = replace(CPU, teacher_steps={(64, 48): 2_000, (128, 96): 4_000, (192, 144): 400}, steps=800)
"""Two cores, in some eight hours."""

_FAST: Mapping[str, Any] = {"batch_size": 256, "accumulate": 1, "compile": False, "workers": 4, "ema": 0.998}

GPU = replace(
    CPU,
    teacher_steps={(64, 48): 4_000, (128, 96): 2_000, (192, 144): 1_000},
    rates=((2e-3, 300), (1e-3, 100), (5e-4, 50)),
    steps=1_500,
    short_steps=400,
    views_steps=400,
    token_steps=100,
    head_steps=200,
    encoder_steps=800,
    views=0,
    training=_FAST,
)
"""The same networks on a data centre's GPU, in some ten minutes."""

_RELEASED: Mapping[str, Any] = {"decoder": "simple", "presence": True}

PUBLISHED = replace(
    GPU,
    teacher={"size": "b", **_RELEASED},
    teacher_steps={(64, 48): 2_000, (128, 96): 1_000, (256, 192): 500},
    rates=((1e-3, 300), (5e-4, 100), (3e-4, 50)),
    student={"size": "s", **_RELEASED},
    sizes={"ti": {"size": "ti", **_RELEASED}},
    steps=700,
)
"""ViTPose-B to S and Ti at 256x192."""

BUDGETS: Mapping[str, Budget] = {"cpu": CPU, "long": LONG, "gpu": GPU, "published": PUBLISHED}

MASKING: Mapping[str, Any] = {"decoder_width": 64, "decoder_depth": 2, "decoder_heads": 2, "area": (0.4, 1.0)}

USUAL = (TRAINING["learning_rate"], TRAINING["warmup_steps"])
"""Rate and warm-up that need not be told."""

Kind = Literal["train", "distil", "pretrain"]

FIRST, SMALL, FINAL = STAGES = ("teacher-first", "teacher-small", "teacher")
"""The teacher's stages, by ``teacher_steps``."""

ONLY_LABELS: Mapping[str, Any] = {"teacher_weight": (0.0, 0.0)}
ONLY_TEACHER: Mapping[str, Any] = {"label_weight": (0.0, 0.0)}

TABLES = ("main", "recipes", "start", "views", "sizes")


@dataclass(frozen=True)
class Arm:
    """One network to train.

    Attributes:
        name: Unique; with the seed also its folder's name.
        tables: Where it stands.
        kind: With labels alone, with a teacher, or a masked autoencoder.
        steps: Optimiser steps.
        init: What it starts from: ``teacher`` for a part of the teacher, the name of another arm, "" for nothing.
        blocks: Which of the teacher's blocks, with ``teacher``.
        network: The whole network; of one that goes on from another pose network, what is changed.
        training: What differs from ``TRAINING``.
        distillation: Fields of ``model.distil.Distillation``.
        knowledge: Steps of the teacher's token; 0 for none.
        head: Steps of the last stage, a fresh head; 0 for none.
        labels: Whether it is told the labels.
        further: Whether it sees the further people.
        seed: Of its own training; students have the teacher of ``TEACHER_SEED``.
    """

    name: str
    tables: tuple[str, ...]
    kind: Kind
    steps: int
    init: str = ""
    blocks: Literal["even", "first"] = "even"
    network: Mapping[str, Any] = field(default_factory=dict[str, Any])
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])
    distillation: Mapping[str, Any] = field(default_factory=dict[str, Any])
    knowledge: int = 0
    head: int = 0
    labels: bool = True
    further: bool = False
    seed: int = 0

    @property
    def folder(self) -> str:
        """Below the output folder."""
        return folder_of(self.name, self.seed)

    @property
    def needs(self) -> tuple[str, ...]:
        """The arms that it cannot do without, by folder."""
        taught = self.kind == "distil" or self.init == FINAL
        teachers = [folder_of(FINAL, TEACHER_SEED)] if taught else []
        return (*teachers, *([folder_of(self.init, self.seed)] if self.init not in ("", FINAL) else []))

    def settings(self) -> dict[str, Any]:
        """Everything that the result depends on, as JSON values."""
        plain = {name: value for name, value in asdict(self).items() if name != "tables"}
        common = {name: globals()[name] for name in ("LABELLED", "DRAWN_SHARE", "DRAWN", "TRAINING", "AUGMENTATION")}
        common |= {"FURTHER": FURTHER, "FURTHER_SHARE": FURTHER_SHARE} if self.further else {}
        return json.loads(json.dumps({**plain, **common}))

    def digest(self, needed: Sequence[str] = ()) -> str:
        """Names the arm's result: its settings and the digests of the arms that it needs."""
        said = json.dumps([self.settings(), list(needed)], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def folder_of(name: str, seed: int) -> str:
    """Of an arm."""
    return f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"


def plan(tables: Sequence[str], seeds: int = SEEDS, budget: Budget = CPU) -> list[Arm]:
    """The arms of some tables, in an order in which each comes after those that it needs.

    Args:
        tables: Of ``TABLES``; the order given is the order of importance.
        seeds: 0 to seeds - 1 each, of ablations at most ``ABLATION_SEEDS``; all of seed 0 come first.
        budget: Networks and steps.
    """
    every = {arm.folder: arm for seed in range(seeds) for arm in _every(seed, budget)}
    chosen: dict[str, Arm] = {}

    def take(arm: Arm) -> None:
        for needed in arm.needs:
            take(every[needed])
        chosen.setdefault(arm.folder, arm)

    for seed in range(seeds):
        for table in tables:
            if table == "main" or seed < ABLATION_SEEDS:
                for arm in every.values():
                    if arm.seed == seed and table in arm.tables:
                        take(arm)
    return list(chosen.values())


def _every(seed: int, budget: Budget) -> list[Arm]:
    makers = (_teachers, _main, _recipes, _starts, _views, _sizes)
    return [
        replace(arm, seed=seed, training={**budget.training, **arm.training}) for make in makers for arm in make(budget)
    ]


def _teachers(budget: Budget) -> list[Arm]:
    begins = ("", FIRST, SMALL)
    return [
        Arm(
            name,
            ("main",),
            "train",
            steps,
            init=init,
            network={"input_size": size} if init else {**budget.teacher, "input_size": size},
            training={"learning_rate": rate, "warmup_steps": warmup} if (rate, warmup) != USUAL else {},
        )
        for name, init, (rate, warmup), (size, steps) in zip(
            STAGES, begins, budget.rates, budget.teacher_steps.items(), strict=True
        )
    ]


def _main(budget: Budget) -> list[Arm]:
    kept = {"views": budget.views}
    labels = Arm("labels", ("main",), "train", budget.steps, network=budget.student)
    output = replace(labels, name="output", kind="distil", init=FINAL, distillation=kept, further=True)
    return [
        labels,
        replace(labels, name="labels sliced", init=FINAL),
        output,
        replace(output, name="unlabelled", distillation={**kept, **ONLY_TEACHER}, labels=False),
    ]


def _recipes(budget: Budget) -> list[Arm]:
    """What the student learns from; all begin with the teacher's layers and see the same people."""
    kept: dict[str, Any] = {"views": budget.views}
    both, token = ("recipes", "start"), budget.token_steps
    labels = Arm("labels short", both, "train", budget.short_steps, init=FINAL, network=budget.student)
    output = replace(labels, name="output short", kind="distil", distillation=kept, further=True)
    recipe = replace(output, tables=("recipes",))
    falling = {"teacher_weight": (1.0, 0.0), "label_weight": (0.0, 1.0)}
    return [
        labels,
        output,
        replace(recipe, name="token", knowledge=token, distillation={**kept, **ONLY_LABELS}),
        replace(recipe, name="token longer", knowledge=4 * token, distillation={**kept, **ONLY_LABELS}),
        replace(labels, name="free token", tables=("recipes",), network={**budget.student, "knowledge": True}),
        replace(recipe, name="both", knowledge=token),
        replace(recipe, name="features", distillation={**kept, "feature_weight": 5e-4}),
        replace(recipe, name="head", head=budget.head_steps),
        replace(recipe, name="decayed", distillation={**kept, **falling}),
        replace(recipe, name="teacher alone", distillation={**kept, **ONLY_TEACHER}),
        replace(recipe, name="labelled people", further=False),
        replace(recipe, name="one side", distillation={**kept, "flip_average": False}),
    ]


def _starts(budget: Budget) -> list[Arm]:
    """Where the student begins, with labels and teacher, and with labels alone."""
    alone = Arm("labels from nothing", ("start",), "train", budget.short_steps, network=budget.student)
    kept = {"views": budget.views}
    recipe = replace(alone, name="output from nothing", kind="distil", distillation=kept, further=True)
    own = {name: value for name, value in budget.student.items() if name != "presence"}
    own_rate = {"learning_rate": 1e-3}
    return [
        Arm("encoder", ("start",), "pretrain", budget.encoder_steps, network=own, training=own_rate),
        recipe,
        replace(recipe, name="output from the first blocks", init=FINAL, blocks="first"),
        replace(recipe, name="output from an encoder", init="encoder"),
        alone,
        replace(alone, name="labels from an encoder", init="encoder"),
    ]


def _views(budget: Budget) -> list[Arm]:
    """A new crop every time, and few fixed ones, from labelled people alone; each asks its teacher anew."""
    plain = Arm("views 0", ("views",), "distil", budget.views_steps, init=FINAL, network=budget.student)
    return [replace(plain, name=f"views {n}", distillation={"views": n}) for n in (0, 1, 2)]


def _sizes(budget: Budget) -> list[Arm]:
    """Other students, each also with labels alone."""
    made: list[Arm] = []
    for name, network in budget.sizes.items():
        labels = Arm(f"labels {name}", ("sizes",), "train", budget.steps, network=network)
        kept = {"views": budget.views}
        output = replace(labels, name=f"output {name}", kind="distil", init=FINAL, distillation=kept, further=True)
        made += [labels, output]
    return made


PAPER: Mapping[str, tuple[str, float]] = {
    "labels short": ("no distillation", 75.8),
    "token": ("token", 76.0),
    "output short": ("output", 76.3),
    "both": ("both", 76.6),
}
"""What the paper calls an arm of ours, and the AP on COCO val that it gives: ViTPose-L teaches B (``vitpose.md``
5.3)."""
