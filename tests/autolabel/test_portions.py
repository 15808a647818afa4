"""Portions: what belongs together measures one thing only, whatever round draws it."""

import numpy as np
import pytest

from autolabel.errors import ConfigError
from autolabel.portions import KINDS, PORTIONS, deal, parse_portions
from autolabel.poses import Poses, Sample
from autolabel.split import assign_splits, split_groups, united_groups


def sample(i: int, group: str = "", duplicate_of: str = "") -> Sample:
    return Sample(f"s{i}", "r", f"{i}.png", (9, 9), Poses.empty(3), group=group, duplicate_of=duplicate_of)


def test_each_group_serves_one_portion_and_each_portion_gets_its_share() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 400, 4000).astype(np.uint64)
    dealt = deal(groups, parse_portions(PORTIONS))
    for group in np.unique(groups):
        assert len(set(dealt[groups == group])) == 1
    share = {name: float((dealt == name).mean()) for name in KINDS}
    assert share == pytest.approx({"development": 0.25, "calibration": 0.5, "gate": 0.25}, abs=0.06)


def test_a_corpus_that_grows_keeps_its_portions() -> None:
    shares = parse_portions(PORTIONS)
    groups = np.arange(5000, dtype=np.uint64)
    assert (deal(groups, shares)[:1000] == deal(groups[:1000], shares)).all()
    order = np.random.default_rng(1).permutation(5000)
    assert (deal(groups[order], shares) == deal(groups, shares)[order]).all(), "whatever their order"


def test_near_duplicates_and_frames_of_a_video_are_not_parted() -> None:
    samples = [sample(i, group=f"video{i // 5}" if i < 100 else "") for i in range(160)]
    samples += [sample(200 + i, duplicate_of=f"{i}.png") for i in range(120)]
    groups = united_groups(samples)
    assert len(np.unique(groups)) == 20 + 60
    assert (groups[160:260] == groups[:100]).all()
    assert (groups[260:] == groups[100:120]).all()
    dealt = deal(groups, parse_portions(PORTIONS))
    assert (dealt[160:280] == dealt[:120]).all()


def test_groups_are_divided_as_images_are() -> None:
    samples = [sample(i, group=f"g{i // 3}") for i in range(300)]
    shares = {"train": 0.6, "val": 0.25, "test": 0.15}
    splits = assign_splits(samples, shares, seed=3)
    index = split_groups(united_groups(samples), shares, seed=3)
    assert [list(shares)[i] for i in index] == [splits(s) for s in samples]


@pytest.mark.parametrize(
    ("groups", "shares", "portion"),
    [
        ([7, 7, 7], PORTIONS, "calibration"),
        ([7, 8], PORTIONS, "calibration"),
        ([7], "development=0.4,gate=0.6", "gate"),
        ([7, 8, 9], "calibration=1", "calibration"),
    ],
)
def test_too_few_groups_are_kept_together(groups: list[int], shares: str, portion: str) -> None:
    assert set(deal(np.array(groups, np.uint64), parse_portions(shares))) == {portion}


def test_no_images_have_no_portions() -> None:
    assert deal(np.empty(0, np.uint64), parse_portions(PORTIONS)).shape == (0,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("development=0.5,test=0.5", "'test' is not one of: development, calibration, gate"),
        ("development=0.5", "add up to 0.5"),
        ("development", "not NAME=SHARE"),
        ("", "not NAME=SHARE"),
        ("calibration=nan", "needs a name and a share"),
        ("calibration=0,gate=1", "needs a name and a share"),
    ],
)
def test_portions_that_cannot_be_used(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_portions(text)
