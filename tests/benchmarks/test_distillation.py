"""The benchmark of distillation: its plan, its comparisons, and all of it with tiny networks on a few real people."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ExistsError
from benchmarks.distillation import (
    DATA,
    PAGE,
    SMOKE_IMAGES,
    chosen,
    done,
    finished,
    measure_speed,
    opened,
    perform,
    smoke,
)
from benchmarks.distillation_data import People
from benchmarks.distillation_measures import Errors, bars, best_before, difference, pairs
from benchmarks.distillation_plan import (
    ABLATION_SEEDS,
    AUGMENTATION,
    BUDGETS,
    CPU,
    FINAL,
    FIRST,
    PAPER,
    REAL,
    SMALL,
    STAGES,
    STUDENT,
    TABLES,
    TEACHER,
    TRAINING,
    VALIDATION,
    Arm,
    plan,
)
from benchmarks.distillation_report import MISSING, Done, pareto, sections
from benchmarks.distillation_runs import Bench, speed
from benchmarks.distillation_speed import Speed, ratio
from benchmarks.pages import fill
from benchmarks.scores_networks import Networks
from benchmarks.training_data import Corpora
from model.config import ViTPoseConfig
from model.cost import cost
from model.distil import Distillation
from model.recipe import Training
from pipelines.distill import DistillFile

ARMS = {arm.name: arm for arm in plan(TABLES, seeds=1)}


@pytest.mark.parametrize("tables", [TABLES, TABLES[::-1], ("sizes",), ("start", "views")])
def test_an_arm_comes_after_those_that_it_needs(tables: tuple[str, ...]) -> None:
    folders = [arm.folder for arm in plan(tables)]
    assert len(set(folders)) == len(folders)
    for arm in plan(tables):
        assert all(folders.index(needed) < folders.index(arm.folder) for needed in arm.needs), arm.name


def test_only_the_main_table_has_all_seeds() -> None:
    seeds = {name: {arm.seed for arm in plan(TABLES) if arm.name == name} for name in ARMS}
    assert seeds["output"] == seeds[FINAL] == {0, 1, 2}
    assert seeds["token"] == set(range(ABLATION_SEEDS))


@pytest.mark.parametrize(
    ("budget", "folder"), [(name, arm.folder) for name in BUDGETS for arm in plan(TABLES, 1, BUDGETS[name])]
)
def test_settings_are_possible(budget: str, folder: str) -> None:
    """Without training: networks and recipes can be made of them."""
    arm = next(arm for arm in plan(TABLES, 1, BUDGETS[budget]) if arm.folder == folder)
    name = arm.name
    network = {**(BUDGETS[budget].teacher if name in STAGES else {}), **arm.network}
    size = network.pop("size", None)
    ViTPoseConfig.of_size(size, **network) if size else ViTPoseConfig.parse(network, subject=name)
    fields = {**TRAINING, **arm.training, "steps": arm.steps, "seed": arm.seed, "augmentation": AUGMENTATION}
    assert Training.parse(fields, subject=name).warmup_steps < arm.steps
    if arm.kind == "distil":
        Distillation.parse(arm.distillation, subject=name)


def test_a_student_costs_a_sixth_of_its_teacher() -> None:
    networks = (STUDENT, TEACHER)
    student, teacher = (cost(ViTPoseConfig.parse(network, subject=""), 17).macs for network in networks)
    assert 6 * student < teacher


def test_compared_arms_differ_in_what_is_compared() -> None:
    output, alone = ARMS["output short"], ARMS["labels short"]
    same = {"name": output.name, "tables": output.tables, "distillation": output.distillation}
    assert replace(ARMS["labelled people"], **same, further=True) == output
    assert replace(ARMS["token"], **same, knowledge=0) == output
    assert replace(alone, **same, kind="distil", further=True) == output
    views = [ARMS[f"views {n}"] for n in (0, 1, CPU.views)]
    assert [arm.distillation for arm in views] == [{"views": n} for n in (0, 1, CPU.views)]
    assert len({replace(arm, **same).digest() for arm in views}) == 1
    assert set(PAPER) <= {name for name, arm in ARMS.items() if "recipes" in arm.tables}
    main = (ARMS[name] for name in ("labels", "labels sliced", "output", "unlabelled"))
    assert len({(arm.steps, json.dumps(arm.network), json.dumps(arm.training)) for arm in main}) == 1


def test_a_result_is_known_by_its_settings_and_by_what_it_needs() -> None:
    arm = ARMS["output"]
    assert arm.digest() == replace(arm, tables=("other",)).digest()
    others = [replace(arm, steps=1), replace(arm, seed=1), replace(arm, labels=False), replace(arm, further=False)]
    assert len({arm.digest(), arm.digest(["teacher"]), *(other.digest() for other in others)}) == 6


def test_chosen_arms_come_with_what_they_need() -> None:
    arms = plan(("main",), seeds=1)
    assert [arm.name for arm in chosen(arms, ["output-0"])] == [FIRST, SMALL, FINAL, "output"]
    assert chosen(arms, ["labels-0"]) == [ARMS["labels"]]


def errors_of(rates: Mapping[str, float], *, seed: int = 0, people: int = 300) -> Errors:
    """Networks of whose keypoints such a share is right, on the same people."""
    rng = np.random.default_rng(seed)
    error = {kind: np.where(rng.random((people, 17)) < rate, 0.05, 0.5) for kind, rate in rates.items()}
    for values in error.values():
        values[:, 0] = np.nan
    return Errors(error, {kind: np.arange(people) // 2 for kind in rates})


def even(rate: float, *, seed: int = 0) -> Errors:
    return errors_of(dict.fromkeys(VALIDATION, rate), seed=seed)


def test_a_difference_is_the_mean_over_kinds() -> None:
    better, worse = errors_of(dict(zip(VALIDATION, (0.9, 0.5, 0.5), strict=True))), even(0.5, seed=1)
    found = difference([better], [worse])
    assert found.value == pytest.approx(0.4 / 3, abs=0.02)
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.05
    assert difference([better], [worse], VALIDATION[1:]).low < 0 < difference([better], [worse], VALIDATION[1:]).high
    assert difference([better], [better]).low == difference([better], [better]).high == 0
    both = difference([better, better], [worse, even(0.5, seed=2)])
    assert both.value == pytest.approx(found.value, abs=0.02), "hits are their mean over the seeds"


def test_students_of_any_seed_are_compared_with_the_teacher_that_they_had() -> None:
    taught, other, *students = (even(0.5 + i / 10, seed=i) for i in range(5))
    errors = {FINAL: [taught, other], "output": students, "labels": students[:2]}
    assert pairs(errors, FINAL, "output") == ([taught] * 3, students)
    assert pairs(errors, "output", FINAL) == (students, [taught] * 3)
    assert pairs(errors, "output", "labels") == (students[:2], students[:2])
    assert pairs(errors, "output", "unlabelled") is pairs({FINAL: [taught]}, FINAL, "output") is None


def test_people_of_one_image_are_drawn_together() -> None:
    """Everybody twice is no more evidence, where both are on one image."""
    one, other = even(0.6), even(0.5, seed=1)

    def twice(errors: Errors) -> Errors:
        error = {kind: np.repeat(values, 2, axis=0) for kind, values in errors.error.items()}
        return Errors(error, {kind: np.repeat(image, 2) for kind, image in errors.image.items()})

    assert difference([twice(one)], [twice(other)]) == difference([one], [other])


@pytest.mark.parametrize(
    ("labels", "output", "times", "unmet"),
    [
        (0.85, 0.90, 3.1, []),
        (0.90, 0.91, 3.1, ["lead over labels"]),
        (0.80, 0.82, 3.1, ["all three kinds", "real people alone"]),
        (0.85, 0.90, 2.9, ["people/s"]),
        (0.80, 0.80, 3.1, ["all three kinds", "real people alone", "against `labels`"]),
    ],
)
def test_bars(labels: float, output: float, times: float, unmet: list[str]) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.random((1500, 17))
    image = np.arange(1500)

    def network(rate: float) -> Errors:
        """The better of two networks is right wherever the other one is."""
        error = np.where(drawn < rate, 0.05, 0.5)
        return Errors(dict.fromkeys(VALIDATION, error), dict.fromkeys(VALIDATION, image))

    errors = {"teacher": [network(0.91)], "labels": [network(labels)], "output": [network(output)]}
    rows = [{"arm": "teacher", **{f"{kind} PCK@0.1": 0.91 for kind in REAL}}]
    found = bars(errors, rows, times)
    assert [bar.met for bar in found if "labels sliced" in bar.bar] == [None]
    missed = [bar.bar for bar in found if bar.met is False]
    assert len(missed) == len(unmet)
    assert all(any(words in bar for bar in missed) for words in unmet)
    assert all(bar.met is None and bar.verdict() == "not measured yet" for bar in bars({}, [], None))


def test_a_teacher_is_held_to_what_was_measured_before() -> None:
    best = best_before()
    assert set(best) == set(REAL)
    assert best[REAL[0]][1] >= 0.322, "a figure that docs/training.md tells in words"
    worse = [{"arm": "teacher", **{f"{kind} PCK@0.1": value - 0.001 for kind, (_, value) in best.items()}}]
    assert [bar.met for bar in bars({}, worse, None) if "the teacher on" in bar.bar] == [False, False]


def test_speed_is_over_all_people() -> None:
    found = Speed({"a": 10, "b": 30}, {"slow": {"a": 1.0, "b": 3.0}, "fast": {"a": 0.5, "b": 0.5}}, 3)
    assert ratio(found.rows(), "fast", "slow") == 4.0
    assert ratio(found.rows(), "fast", "other") is None


def test_minutes_are_those_of_the_steps(tmp_path: Path) -> None:
    """Also where a training went on in a process that is faster."""
    lines = [{"step": 10, "crops_per_second": 10.0}, {"step": 20, "crops_per_second": 20.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = speed(tmp_path / "metrics.jsonl", batch=60)
    assert found == {"minutes": 1.5, "crops/s": pytest.approx(1200 / 90), "crops/s at the end": 20.0}


def test_the_page_has_a_place_for_everything(tmp_path: Path) -> None:
    nothing = Done(Bench(People(Networks(Corpora(tmp_path, tmp_path), tmp_path)), tmp_path), [])
    made = sections(nothing)
    assert {text for name, text in made.items() if name != "bars"} == {MISSING}
    assert pareto(nothing) is None
    page = fill(PAGE.read_text(encoding="utf-8"), made)
    assert page.count("not measured yet") >= 8


def test_the_pages_files_are_what_distill_reads() -> None:
    page = PAGE.read_text(encoding="utf-8")
    files = [tomllib.loads(text) for text in re.findall(r"^```toml\n(.*?)^```$", page, re.M | re.S)]
    distilled = [DistillFile.parse(file, subject="page") for file in files if "teacher" in file]
    assert len(distilled) == 2
    for file in distilled:
        Training.parse(file.training, subject="page")
        Distillation.parse(file.distillation, subject="page")
        ViTPoseConfig.of_size(**{"size": "b", **file.model})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return opened(tmp_path_factory.mktemp("bench"), DATA, few=True)


def some(*names: str) -> list[Arm]:
    wanted = [f"{name.replace(' ', '-')}-0" for name in names]
    return [smoke(arm) for arm in chosen(plan(TABLES, seeds=1), wanted)]


needs_photographs = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the photographs of {DATA}")


@needs_photographs
def test_without_labels_nothing_but_boxes_is_told(bench: Bench) -> None:
    learnt = {name: bench.people.learnt(ARMS[name]) for name in ("labels", "output", "unlabelled")}
    assert not learnt["labels"].unlabelled
    assert not learnt["unlabelled"].data
    people = {name: sum(p.manifest.counts["poses"] for part in both for p in part) for name, both in learnt.items()}
    assert people["labels"] < people["output"] == people["unlabelled"]
    for name, both in learnt.items():
        assert sum(portion.share for part in both for portion in part) == pytest.approx(1), name
        assert all(sample.poses.labelled.any() for p in both.data for sample in p.manifest), name
        assert not any(sample.poses.labelled.any() for p in both.unlabelled for sample in p.manifest), name
    assert len(bench.people.validation(REAL[1]).people) == SMOKE_IMAGES


@pytest.mark.slow
@needs_photographs
def test_one_arm_of_each_kind(bench: Bench) -> None:
    arms = some(
        "output", "unlabelled", "labels sliced", "labels short", "both", "free token", "output from an encoder", "head"
    )
    rows = perform(bench, arms, keep=True)
    assert [row["arm"] for row in rows] == [arm.name for arm in arms]
    assert all(0 <= row["macro PCK@0.1"] <= 1 for row in rows if row["arm"] != "encoder")
    times = {file: file.stat().st_mtime_ns for file in bench.out.rglob("*.safetensors")}
    assert perform(bench, arms, keep=True) == rows
    assert {file: file.stat().st_mtime_ns for file in bench.out.rglob("*.safetensors")} == times, (
        "nothing is done again"
    )
    measure_speed(bench, arms, turns=1)
    found = done(bench, arms)
    assert {row["network"] for row in found.speeds} == {SMALL, FINAL, "output"}
    assert found.rates["unlabelled"] == found.rates["output"]
    made = sections(found)
    assert "| `output` | 1 | 2 |" in made["main"]
    assert "A student that saw no label" in made["main"]
    assert made["views"] == MISSING
    data = pareto(found)
    assert data is not None and data.startswith(b"\x89PNG")


@pytest.mark.slow
@needs_photographs
def test_other_settings_are_another_result(bench: Bench) -> None:
    arms = some("labels")
    perform(bench, arms, keep=True)
    longer = [replace(arm, steps=arm.steps + 1) for arm in arms]
    assert finished(bench, arms)
    assert not finished(bench, longer)
    with pytest.raises(ExistsError, match="holds the result of another run"):
        perform(bench, longer)


@pytest.mark.slow
@needs_photographs
def test_students_of_one_teacher_share_its_outputs(bench: Bench) -> None:
    def kept() -> dict[str, Any]:
        return {path.name: path.stat().st_mtime_ns for path in (bench.out / "teacher-outputs").glob("*/identity.json")}

    arms = some("output short", "both", "decayed", "one side")
    perform(bench, arms[:-1], keep=True)
    folders = set((bench.out / "teacher-outputs").iterdir())
    perform(bench, some("teacher alone"), keep=True)
    assert set((bench.out / "teacher-outputs").iterdir()) == folders
    perform(bench, arms)
    assert not kept(), "what a seed's teacher said is removed when the seed is done"
