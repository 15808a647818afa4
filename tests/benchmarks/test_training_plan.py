"""The plan of the training benchmarks: what is run, and when a finished run still counts."""

from dataclasses import replace

import pytest

from benchmarks.training import without
from benchmarks.training_claims import CLAIMS
from benchmarks.training_plan import (
    ABLATION,
    BATCH,
    CUT,
    ENCODERS,
    LABELS,
    METHODS,
    NETWORK,
    PAIRS,
    PAPER,
    SHARES,
    SIZES,
    TABLES,
    TRAINING,
    plan,
)
from model.config import ViTPoseConfig
from model.recipe import Training

RUNS = {run.name: run for run in plan(TABLES)}


def test_a_run_comes_after_the_one_that_it_starts_from() -> None:
    for tables in (TABLES, TABLES[::-1], ("4",)):
        names = [run.name for run in plan(tables)]
        assert len(set(names)) == len(names)
        for run in plan(tables):
            assert not run.init or names.index(run.init) < names.index(run.name)


def test_a_run_knows_the_folder_of_the_one_that_it_starts_from() -> None:
    folders = {run.name: run.folder for run in plan(TABLES)}
    assert {run.parent for run in plan(TABLES)} == {"", *(folders[run.init] for run in plan(TABLES) if run.init)}


def test_what_starts_from_a_run_is_left_out_with_it() -> None:
    assert [run.name for run in without(plan(("1",)), ["mae-0"])] == ["base", "twice"]
    assert {run.seed for run in without(plan(("4",), seeds=2), ["base-0"])} == {1}


def test_encoders_are_what_is_pretrained() -> None:
    assert set(ENCODERS) == {run.name for run in RUNS.values() if run.kind == "pretrain"}
    assert not RUNS["from mae"].tuned
    assert RUNS["LoRA 50"].tuned


def test_seeds_are_whole_rounds() -> None:
    one, two = plan(("6",)), plan(("6",), seeds=2)
    assert two[: len(one)] == one
    assert two[len(one) :] == [replace(run, seed=1) for run in one]
    assert len({run.folder for run in two}) == len(two)


def test_a_table_holds_its_own_runs_first() -> None:
    named = [name for corpus, (plain, ours) in PAIRS.items() for name in (plain, CUT[corpus], ours)]
    assert [run.name for run in plan(("6",))] == named
    assert [run.name for run in plan(("1",))] == ["base", "mae", "from mae", "twice"]


def test_every_table_has_its_rows() -> None:
    rows = {table: [run.name for run in RUNS.values() if table in run.tables] for table in TABLES}
    assert len(rows["3"]) == 1 + sum(len(names) for names in SIZES.values())
    assert len(rows["4"]) == 1 + len(LABELS) * len(METHODS)
    assert set(rows["5"]) == {"together", "plus", *(f"{corpus} alone" for corpus in SHARES)}
    assert len(rows["2"]) == 5


@pytest.mark.parametrize("corpus", PAIRS)
def test_everything_in_table_6_but_truncation_and_presence_is_the_same(corpus: str) -> None:
    plain, ours = (RUNS[name] for name in (PAIRS[corpus][0], CUT[corpus]))
    same = replace(ours, name=plain.name, tables=plain.tables, network={}, training={}, augmentation={})
    assert replace(same, test=plain.test) == plain
    assert ours.test[0] == plain.test[0] == f"{corpus}-val"  # whose people are cut
    assert set(ours.network) == {"presence", "whole_box"}
    assert set(ours.training) == {"presence_weight"}
    assert set(ours.augmentation) == {"truncation", "half_body", "first_look"}, "cut people in place of half bodies"
    assert ours.augmentation["first_look"] == 0, "which teach nothing that keypoints come from"
    last = RUNS[PAIRS[corpus][1]]
    assert (last.init, last.data, last.test) == (ours.name, ours.data, ours.test)
    assert last.training["partial"] == {"freeze": ("keypoints",)}, "what tells keypoints had as many steps as plain's"


def test_the_ablation_of_table_6_is_of_one_of_its_pairs() -> None:
    corpus, name = ABLATION
    plain, ours, only = RUNS[PAIRS[corpus][0]], RUNS[CUT[corpus]], RUNS[name]
    assert replace(only, name=plain.name, tables=plain.tables, augmentation={}) == plain
    assert only.augmentation == ours.augmentation


def test_the_plain_recipe_is_the_papers() -> None:
    from model.augment import Augmentation

    official = Augmentation()
    assert {name: getattr(official, name) for name in PAPER if name != "detail"} == {
        name: value for name, value in PAPER.items() if name != "detail"
    }
    assert official.truncation == 0


@pytest.mark.parametrize("name", RUNS)
def test_settings_are_possible(name: str) -> None:
    """Without training: networks and recipes can be made of them."""
    run = RUNS[name]
    # What starts from a checkpoint changes it; what starts from nothing, or an encoder, describes all.
    network = {**NETWORK, **run.network}
    if run.tuned and "ratio" in run.network:
        del network["patch_padding"]
    if run.several:
        network |= {"datasets": tuple(run.data), **({"experts": len(run.data)} if "expert_width" in network else {})}
    config = ViTPoseConfig.parse(network, subject=name)
    if "/8" in name or name.startswith("attention"):
        assert config.stride == 8
    if "3" in run.tables:
        assert config.grid_size == (16, 12)
        assert config.heatmap_size == (32, 24)
    if run.kind == "train":
        fields = {**TRAINING, **run.training, "steps": run.steps, "augmentation": {**PAPER, **run.augmentation}}
        Training.parse(fields, subject=name)


def test_claims_are_about_runs_that_are_measured_on_their_test() -> None:
    for claim in CLAIMS:
        for name in (claim.one, claim.other):
            assert claim.test in RUNS[name].test, (claim, name)
            assert claim.table in RUNS[name].tables, (claim, name)


def test_a_result_is_known_by_its_settings_and_by_what_it_starts_from() -> None:
    run = RUNS["ours"]
    assert run.digest() == replace(run, tables=("9",)).digest()
    others = (
        replace(run, steps=run.steps + 1),
        replace(run, seed=1),
        replace(run, augmentation={"truncation": 0.9}),
        replace(run, network={}),
    )
    assert len({run.digest(), run.digest("parent"), *(other.digest() for other in others)}) == 6


def test_several_datasets_get_as_many_crops_as_alone() -> None:
    together = RUNS["together"]
    for corpus, share in together.data.items():
        alone = RUNS[f"{corpus} alone"]
        assert alone.steps * BATCH == pytest.approx(together.steps * BATCH * share, rel=0.01)
