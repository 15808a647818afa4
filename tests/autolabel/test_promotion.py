"""Who passes the gate: by simulation one of twenty networks that are no better, and nearly all that are clearly so."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.promotion import LEAST_GROUPS, Change, Decision, Floats, Pair, changed, decide

RUNS = 200
Noise = Callable[[np.random.Generator, int], Floats]


def pair(difference: Floats, group: Any = None) -> Pair:
    """Poses whose OKS differs so much between the networks."""
    n = len(difference)
    old = np.full(n, 0.5)
    good = np.zeros(n, bool)
    return Pair(np.arange(n) if group is None else group, old + difference, old, good, good)


def change(low: float, high: float, groups: int = 50) -> Change:
    middle = (low + high) / 2
    enough = groups >= LEAST_GROUPS
    return Change(
        poses=groups,
        groups=groups,
        oks=0.8 + middle,
        old_oks=0.8,
        oks_low=low if enough else None,
        oks_high=high if enough else None,
        bad=0.1,
        old_bad=0.1,
        fixed=3,
        broken=2,
    )


def normal(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(0, 0.06, n)


def lopsided(rng: np.random.Generator, n: int) -> Floats:
    """Many small gains, paid for by few large losses: mean 0, skewness -2."""
    return 0.05 - rng.exponential(0.05, n)


def heavy(rng: np.random.Generator, n: int) -> Floats:
    """Most poses stay where they are; one of ten is fixed or broken."""
    return np.where(rng.random(n) < 0.1, rng.choice([-0.5, 0.5], n), 0) + rng.normal(0, 0.02, n)


def share_promoted(noise: Noise, gain: float, groups: int, each: int = 1) -> float:
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(RUNS):
        shared = np.repeat(noise(rng, groups), each) if each > 1 else noise(rng, groups)
        seen = changed(pair(shared + gain, np.repeat(np.arange(groups), each)), resamples=300)
        passed += decide(seen, None, base_drop=0.01, when_blind="keep").promoted
    return passed / RUNS


@pytest.mark.parametrize("noise", [normal, lopsided, heavy])
@pytest.mark.parametrize(("groups", "each"), [(40, 1), (60, 4)])
def test_one_of_twenty_networks_that_are_no_better_passes(noise: Noise, groups: int, each: int) -> None:
    """5 %, and what 200 runs may be off by: two standard deviations."""
    assert share_promoted(noise, 0.0, groups, each) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / RUNS)


@pytest.mark.parametrize("noise", [normal, lopsided])
def test_a_clearly_better_network_passes(noise: Noise) -> None:
    assert share_promoted(noise, 0.04, 40) >= 0.95


def test_frames_of_one_film_count_once() -> None:
    """Each film is better or worse as a whole: a thousand frames of 25 films say less than their number."""
    films = np.where(np.arange(25) < 16, 0.05, -0.05)
    frames = np.repeat(films, 40)
    assert changed(pair(frames)).oks_low > 0  # pyright: ignore[reportOptionalOperand]
    together = changed(pair(frames, np.repeat(np.arange(25), 40)))
    assert together.oks_low is not None
    assert together.oks_low < 0 < float(frames.mean())
    assert (together.poses, together.groups) == (1000, 25)


def test_limits_do_not_depend_on_the_order_of_the_poses_nor_on_names() -> None:
    rng = np.random.default_rng(0)
    difference, group = rng.normal(0, 0.1, 90), np.repeat(np.arange(30), 3)
    order = rng.permutation(90)
    one, two = changed(pair(difference, group)), changed(pair(difference[order], group[order]))
    assert (one.oks_low, one.oks_high) == pytest.approx((two.oks_low, two.oks_high))


def test_networks_that_say_the_same_differ_by_nothing() -> None:
    same = changed(pair(np.zeros(30)))
    assert (same.oks_low, same.oks_high) == (0, 0)
    verdict = decide(same, same, base_drop=0.01, when_blind="promote")
    assert verdict.decision is Decision.REFUSED, "a new network that changes nothing is no better"
    assert verdict.reason.startswith("not shown to be better on the gate poses: mean OKS 0.500 against 0.500 on 30 p")


def test_a_limit_is_never_further_than_OKS_can_go() -> None:
    """All but one pose the same: many resamples have no spread at all."""
    seen = changed(pair(np.array([0.4] + [0.0] * 24)))
    assert seen.oks_low is not None
    assert seen.oks_high is not None
    assert -1 <= seen.oks_low <= 0 < seen.oks_high <= 1
    json.dumps(decide(seen, seen, base_drop=0.01, when_blind="keep").to_dict(), allow_nan=False)


def test_counts() -> None:
    bad, old_bad = np.array([1, 0, 0, 0], bool), np.array([0, 1, 1, 0], bool)
    oks = np.array([0.6, 0.9, 0.9, 0.8])
    seen = changed(Pair(np.array(["a", "a", "b", "b"]), oks, oks - 0.1, bad, old_bad))
    assert (seen.poses, seen.groups, seen.fixed, seen.broken) == (4, 2, 2, 1)
    assert (seen.oks, seen.old_oks, seen.bad, seen.old_bad) == pytest.approx((0.8, 0.7, 0.25, 0.5))
    assert (seen.oks_low, seen.oks_high, seen.decides) == (None, None, False)
    assert changed(pair(np.empty(0))) == NONE
    assert seen.words == "mean OKS 0.800 against 0.700 on 4 poses of 2 groups"


BETTER, UNSURE, WORSE = change(0.01, 0.05), change(-0.01, 0.05), change(-0.05, -0.02)
FEW, NONE = change(-0.02, 0.06, groups=LEAST_GROUPS - 1), Change.unseen(0, 0)


@pytest.mark.parametrize(
    ("gate", "base", "when_blind", "promoted", "used", "reason"),
    [
        (BETTER, None, "keep", True, True, "better on the gate poses: .*there is no base set to see what it forgot"),
        (BETTER, change(-0.005, 0.01), "keep", True, True, r"on the base set mean OKS 0.802 .*limits -0.005 and \+0.0"),
        (BETTER, WORSE, "keep", False, True, r"mean OKS on the base set fell by more than 0\.01: "),
        (BETTER, change(-0.02, 0.02), "promote", False, True, r"is not shown to have fallen by less than 0\.01: "),
        (BETTER, FEW, "keep", True, True, "the base set's 19 groups are too few to see what it forgot"),
        (UNSURE, None, "promote", False, True, "not shown to be better on the gate poses: "),
        (WORSE, None, "promote", False, True, "not shown to be better"),
        (FEW, None, "promote", True, False, r'19 groups of unused gate poses are too few .* "promote" decides'),
        (FEW, None, "keep", False, False, r'when_blind = "keep" decides'),
        (NONE, change(-0.005, 0.01), "promote", True, False, "0 groups of unused gate poses"),
        (NONE, WORSE, "promote", False, False, "fell by more than"),
    ],
)
def test_decisions(gate: Change, base: Change | None, when_blind: str, promoted: bool, used: bool, reason: str) -> None:
    verdict = decide(gate, base, base_drop=0.01, when_blind=when_blind, used=["a", "b"])
    assert verdict.promoted is promoted
    assert verdict.used == (("a", "b") if used else ()), "poses that decided nothing are left for another gate"
    assert re.search(reason, verdict.reason), verdict.reason
    told = json.loads(json.dumps(verdict.to_dict()))
    assert told["decision"] == ("promoted" if promoted else "refused")


@pytest.mark.parametrize(
    ("base", "promoted", "reason"),
    [
        (None, True, r"gate_share = 0\), and there is no base set to see what it forgot: the new network is used$"),
        (FEW, True, "and the base set's 19 groups are too few to see what it forgot: the new network is used$"),
        (
            change(-0.05, -0.011),
            False,
            r"^mean OKS on the base set fell by more than 0\.01, shown with 95 % conf.*: mean",
        ),
        (change(-0.05, -0.01), True, r"it is not shown whether the base set fell by more than 0\.01: mean OKS"),
        (change(-0.05, 0.03), True, r"it is not shown whether the base set fell by more than 0\.01: mean OKS"),
        (change(-0.005, 0.01), True, r"the base set did not fall by more than 0\.01, shown with 95 % conf.*: mean OKS"),
        (BETTER, True, "the base set did not fall by more than"),
    ],
)
def test_without_gate_poses_only_a_shown_loss_refuses(base: Change | None, promoted: bool, reason: str) -> None:
    verdict = decide(None, base, base_drop=0.01, when_blind="promote", used=["a"])
    assert (verdict.promoted, verdict.gate, verdict.base, verdict.used) == (promoted, None, base, ())
    assert re.search(reason, verdict.reason), verdict.reason
    assert ("rounds.gate_share = 0" in verdict.reason) is promoted


@pytest.mark.parametrize("noise", [normal, lopsided, heavy])
def test_one_of_twenty_networks_that_lost_what_they_may_is_refused_without_gate_poses(noise: Noise) -> None:
    rng, refused = np.random.default_rng(2), 0
    for _ in range(RUNS):
        seen = changed(pair(noise(rng, 60) - 0.01), resamples=300)
        refused += not decide(None, seen, base_drop=0.01, when_blind="promote").promoted
    assert refused / RUNS <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / RUNS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decide(BETTER, None, base_drop=0.01, when_blind="ask"), "when_blind is 'ask'"),
        (lambda: decide(BETTER, None, base_drop=-0.1, when_blind="keep"), "base_drop is -0.1"),
        (lambda: decide(BETTER, None, base_drop=float("nan"), when_blind="keep"), "base_drop is nan"),
        (lambda: changed(pair(np.zeros(30)), resamples=1), "resamples is 1"),
        (lambda: pair(np.array([0.1, np.nan])), "some poses have no OKS"),
        (lambda: pair(np.zeros(3), np.arange(2)), "not measured on the same poses"),
    ],
)
def test_what_cannot_be_compared_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
