"""The proof of the loop: its arithmetic on made-up arms, and all three arms on a few drawn people, without a server."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.manifest import Manifest
from autolabel.project import Project
from benchmarks.effort_loop_cases import PLANS, Case, Plan
from benchmarks.effort_loop_measures import Judged, measured
from benchmarks.effort_loop_report import sections, write_report
from benchmarks.effort_loop_rows import bars, compared, learnt, saved, summary
from benchmarks.effort_loop_runs import ARMS, EVERYTHING, LOOP, RANDOM, Run, first_project
from pipelines.train import read_settings
from tests.pipelines.conftest import DrawnCase, drawn_case, tiny_weights

__all__ = ["drawn_case", "tiny_weights"]

PEOPLE = 40


def quality(bad: float, gross: float = 0.0, pck: float = 0.5) -> dict[str, Any]:
    return {"people": PEOPLE, "pck": pck, "oks": 0.8, "bad": bad, "gross": gross}


def an_arm(arm: str, *, clicks: float, bad: float, gained: float = 0.0, **certificate: Any) -> dict[str, Any]:
    """An arm with one round: ``clicks`` for everybody in the end, and 40 % bad poses in the beginning."""
    alternating = np.where(np.arange(PEOPLE) % 2, 1.5, 0.5)
    rounds = [
        {"round": 0, "clicks": 0.0, "openings": 0.0, "opened poses": 0, "corpus": quality(0.4, 0.2), "proposed": None},
        {
            "round": 1,
            "clicks": clicks * PEOPLE / 4,
            "openings": PEOPLE / 4,
            "opened poses": PEOPLE // 4,
            "corpus": quality(0.3, 0.15),
            "proposed": {"share": 0.5, "bad": 0.1},
        },
    ]
    shared = {"untouched": quality(0.3), "untouched, first network": quality(0.4), "base": quality(0.2)}
    issued = {"issued": False, "reason": "", "accepted": 0, "share": 0.0, "true bad": None, "max_bad": 0.05}
    end = {"clicks": clicks * PEOPLE, "openings": PEOPLE, "seconds": 3600.0, "opened poses": PEOPLE}
    return {
        "arm": arm,
        "seed": 0,
        "rounds": [{**shared, **one} for one in (rounds[:1] if arm == EVERYTHING else rounds)],
        "held": [quality(0.4, pck=0.5), quality(0.3, pck=0.6)],
        "end": {
            **end,
            "corpus": quality(bad, bad / 2),
            "certificate": {**issued, **certificate} if arm == LOOP else None,
        },
        "people": {
            "group": list(range(PEOPLE)),
            "effort": ((clicks + 1) * alternating).tolist(),
            "seconds": [90.0] * PEOPLE,
            "left": [i >= PEOPLE // 4 for i in range(PEOPLE)],
            "joints": [10.0] * PEOPLE,
            "hits first": [5.0] * PEOPLE,
            "hits last": [5.0 + gained * (2 * (i % 2) if i >= PEOPLE // 4 else 100) for i in range(PEOPLE)],
        },
    }


def a_seed(ours: Mapping[str, Any], everything: Mapping[str, Any]) -> dict[str, Any]:
    return {
        LOOP: an_arm(LOOP, **ours),
        RANDOM: an_arm(RANDOM, clicks=5.0, bad=0.0),
        EVERYTHING: an_arm(EVERYTHING, **everything),
    }


def test_what_is_learnt_is_told_of_those_whom_nobody_opened() -> None:
    gain, low, high = learnt(an_arm(LOOP, clicks=1, bad=0, gained=1.0))
    assert gain == pytest.approx(0.1)  # one more of ten joints in the mean; 100 more of those who were opened
    assert 0 < low < gain < high
    assert learnt(an_arm(LOOP, clicks=1, bad=0, gained=0.0)) == [0, 0, 0]
    assert learnt(an_arm(LOOP, clicks=1, bad=0, gained=-1.0))[2] < 0


@pytest.mark.parametrize(
    ("ends", "opened"),
    [
        pytest.param((0.0, 0.0), 1.0, id="both label everything rightly"),
        pytest.param((0.1, 0.0), 0.75, id="the loop leaves a quarter of the 40 % that were bad"),
        pytest.param((0.0, 0.1), 1.0, id="checking everything never gets as good"),
        pytest.param((0.4, 0.0), 0.0, id="the loop did nothing, and so need not the others"),
    ],
)
def test_checking_everything_is_charged_until_it_is_as_good(ends: tuple[float, float], opened: float) -> None:
    loops, everything = ends
    found = compared(a_seed({"clicks": 3.0, "bad": loops}, {"clicks": 9.0, "bad": everything}))
    equal = found["at equal quality"]
    assert equal[EVERYTHING]["opened"] == pytest.approx(opened)
    assert equal[EVERYTHING]["effort a person"] == pytest.approx(10 * opened)
    assert found["saved"][0] == pytest.approx(10 * opened - 4)
    # The rounds are spent whatever comes after them: a quarter of the people.
    assert equal[RANDOM]["effort a person"] >= 6 / 4


def test_a_saving_has_limits_over_people() -> None:
    seed = a_seed({"clicks": 3.0, "bad": 0.0}, {"clicks": 4.0, "bad": 0.0})
    seed[LOOP]["people"]["effort"] = [4.0 + 30 * (i == 0) for i in range(PEOPLE)]  # one person cost as much as eight
    more, low, high = saved(seed[LOOP], seed[EVERYTHING], 1.0)
    assert more == pytest.approx(5 - 4.75) and low < 0 < high


@pytest.mark.parametrize(
    ("ours", "met"),
    [
        pytest.param({"clicks": 3.0, "bad": 0.01, "gained": 1.0}, [True, True, True], id="all is well"),
        pytest.param({"clicks": 3.0, "bad": 0.01, "gained": 0.0}, [False, True, True], id="nothing is learnt"),
        pytest.param({"clicks": 9.5, "bad": 0.01, "gained": 1.0}, [True, True, False], id="nothing is saved"),
        pytest.param(
            {"clicks": 3.0, "bad": 0.01, "gained": 1.0, "issued": True, "accepted": 9, "true bad": 0.06},
            [True, False, True],
            id="a certificate is false",
        ),
        pytest.param(
            {"clicks": 3.0, "bad": 0.01, "gained": 1.0, "issued": True, "accepted": 9, "true bad": 0.05},
            [True, True, True],
            id="a certificate is just true",
        ),
        pytest.param(
            {"clicks": 3.0, "bad": 0.01, "gained": 1.0, "issued": False, "true bad": 0.5},
            [True, True, True],
            id="what is not issued cannot be false",
        ),
    ],
)
def test_bars_hold_in_every_seed_or_not_at_all(ours: dict[str, Any], met: list[bool]) -> None:
    good = a_seed({"clicks": 3.0, "bad": 0.01, "gained": 1.0}, {"clicks": 9.0, "bad": 0.0})
    held = bars([summary("drawn", [good, a_seed(ours, {"clicks": 9.0, "bad": 0.0})])])
    assert [one["met"] for one in held] == met


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_a_project_that_can_learn_and_be_audited(name: str) -> None:
    tables = {**PLANS[name].settings, "corpus": {"images": "images", "labelled": "labelled"}}
    project = Project.parse({"name": name, **tables}, subject=name)
    steps = read_settings({}, {**project.training, **project.finetuning}, name)[1].steps
    assert 0 < steps <= 200
    assert project.promise.plants and project.promise.blind  # reviewers are tested, not trusted


def test_the_report_says_it_all(tmp_path: Path) -> None:
    seed = a_seed(
        {"clicks": 3.0, "bad": 0.01, "gained": 1.0, "issued": True, "accepted": 9, "true bad": 0.02},
        {"clicks": 9.0, "bad": 0.0},
    )
    cases = json.loads(json.dumps([summary("drawn", [seed, seed])]))  # all of it is JSON
    page, held = tmp_path / "page.md", bars(cases)
    page.write_text("<!-- table effort-loop -->\n<!-- end effort-loop -->\n")
    assert write_report(cases, held, page, tmp_path / "pictures") == ["effort-loop-ends", "effort-loop-bars"]
    rounds = [line for line in page.read_text().splitlines() if line.startswith("| drawn")]
    assert all(line.endswith(" | 0.800 |") for line in rounds)  # of the base set
    assert [line.split(" | ")[1:3] for line in rounds] == [[arm, n] for arm in (LOOP, RANDOM) for n in ("0", "1")]
    ends = sections(cases, held)["effort-loop-ends"].splitlines()
    assert ends[2] == "| drawn | 0 | 9 of 40 | 2.00% | 1.00% | 0.50% | 4.00 | 10.00 | 9.75 | 5.85 | 1.0 | 1.0 |"
    assert (tmp_path / "pictures" / "effort-loop-drawn.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def arms(drawn_case: DrawnCase, tiny_weights: Path) -> dict[str, tuple[Run, dict[str, Any]]]:
    """All three arms on the few people of the drawn case, reviewed without a flaw."""
    folder, settings = drawn_case.folder, {"steps": 6, "batch_size": 8, "warmup_steps": 2, "device": "cpu"}
    plan = Plan(
        noise=0.0,
        overlook=0.0,
        settings={
            "promise": {"max_bad": 0.3, "confidence": 0.8, "audit": 3},
            "rounds": {"count": 1, "budget": 4, "random_share": 0.5},
            "training": {**settings, "precision": "fp32"},
            "finetuning": {},
        },
    )
    corpus = {name: str(folder / name) for name in ("labelled", "calibration", "test")}
    corpus |= {"images": str(folder / "drawn" / "images"), "boxes": str(folder / "pool")}
    held = Manifest.open(folder / "test")
    case = Case("tiny", folder / "proof", drawn_case.truth, held, corpus, tiny_weights, plan)
    runs = [Run(case, arm, seed=1) for arm in ARMS]
    for run in runs:
        run.go()
    return {run.arm: (run, measured(run)) for run in runs}


def test_every_arm_ends_with_everybody_labelled_rightly(arms: dict[str, tuple[Run, dict[str, Any]]]) -> None:
    people = sum(len(sample.poses) for sample in arms[LOOP][0].case.truth)
    for run, found in arms.values():
        end = Judged.of(Manifest.open(run.end), run.case.truth)
        accepted = (found["end"]["certificate"] or {}).get("accepted", 0)
        assert end.seen.sum() == people - accepted
        assert found["end"]["corpus"]["bad"] == (0.0 if not accepted else pytest.approx(0.0, abs=0.3))
    assert arms[EVERYTHING][1]["end"]["openings"] == people


def test_costs_are_told_by_person_and_add_up(arms: dict[str, tuple[Run, dict[str, Any]]]) -> None:
    for _, found in arms.values():
        end = found["end"]
        assert sum(found["people"]["effort"]) == pytest.approx(end["clicks"] + end["openings"])
        assert sum(found["people"]["seconds"]) == pytest.approx(end["seconds"])
        spent = [one["openings"] for one in found["rounds"]]
        assert spent == [0.0, 4.0][: len(spent)]
        assert all(one["base"]["people"] > 0 for one in found["rounds"])
    assert summary("tiny", [{arm: found for arm, (_, found) in arms.items()}])["seeds"][0]["people"] > 0


def test_all_arms_begin_with_the_same_first_round(arms: dict[str, tuple[Run, dict[str, Any]]]) -> None:
    start = Manifest.open(first_project(arms[LOOP][0].case) / "rounds" / "00" / "scored").digest
    for run, found in arms.values():
        assert Manifest.open(run.folder / "rounds" / "00" / "scored").digest == start
        assert found["rounds"][0]["corpus"] == arms[LOOP][1]["rounds"][0]["corpus"]
    orders = {arm: (arms[arm][0].folder / "rounds/01/routing/queue.jsonl").read_text() for arm in (LOOP, RANDOM)}
    assert orders[LOOP] != orders[RANDOM]


def test_a_finished_arm_is_not_done_again(arms: dict[str, tuple[Run, dict[str, Any]]]) -> None:
    for run, found in arms.values():
        before = (run.end / "manifest.json").stat().st_mtime_ns
        run.go()
        assert (run.end / "manifest.json").stat().st_mtime_ns == before
        assert json.dumps(measured(run), sort_keys=True) == json.dumps(found, sort_keys=True)
