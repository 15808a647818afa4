"""Whatever the links between images, none is ever cut; the shares are reached; a corpus that grows keeps its splits."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import ConfigError, InputError
from autolabel.poses import Poses, Sample
from autolabel.split import TOLERANCE, Splits, assign_splits, parse_shares

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
HALVES = {"a": 0.5, "b": 0.5}
NOBODY = Poses.empty(1)


def sample(path: str, group: str = "", *, root: str = "images", of: str = "", people: Sequence[str] = ()) -> Sample:
    poses = Poses.create(1, group=list(people)) if people else NOBODY
    return Sample(f"id of {root}/{path}", root, path, (64, 48), poses, group, of)


def videos(count: int, frames: int = 5, first: int = 0) -> list[Sample]:
    return [sample(f"{v}/{f}", f"video {v}") for v in range(first, first + count) for f in range(frames)]


def singles(count: int) -> list[Sample]:
    return [sample(f"{i}.jpg") for i in range(count)]


def sides(split: Splits, samples: Iterable[Sample]) -> list[str]:
    return [split(s) for s in samples]


# What belongs together


@pytest.mark.parametrize(
    ("duplicate_of", "original"),
    [
        ("", None),
        ("a.jpg", ("cam1", "a.jpg")),
        ("cam2/a.jpg", ("cam1", "cam2/a.jpg")),  # a folder, not a root
        ("/cam2/a.jpg", ("cam2", "a.jpg")),
        ("/my cam/b/a.jpg", ("my cam", "b/a.jpg")),
    ],
)
def test_what_a_copy_repeats_has_a_root_and_a_path(duplicate_of: str, original: tuple[str, str] | None) -> None:
    assert sample("x", root="cam1", of=duplicate_of).original == original


def test_a_group_is_never_parted() -> None:
    corpus = videos(40)
    split = assign_splits(corpus, SHARES)
    found = defaultdict[str, set[str]](set)
    for s in corpus:
        found[s.group].add(split(s))
    assert {len(names) for names in found.values()} == {1}
    assert {name for names in found.values() for name in names} == set(SHARES)


LINKED = {
    "a copy in another folder": [sample("1", "a"), sample("2", "b", of="1")],
    "a copy in another root": [sample("1", "a"), sample("1", "b", root="cam2", of="/images/1")],
    "a copy that comes before its original": [sample("2", "b", of="1"), sample("1", "a")],
    "two copies of an image that is not there": [sample("2", "a", of="1"), sample("3", "b", of="1")],
    "a copy of an image without a group": [sample("1"), sample("2", "b", of="1")],
    "a copy without a group": [sample("1", "a"), sample("2", of="1")],
    "equal bytes that nobody marked": [sample("1", "a"), replace(sample("2", "b"), id="id of images/1")],
    "equal bytes without a group": [sample("1", "a"), replace(sample("2"), id="id of images/1")],
    "poses of one person": [sample("1", "a", people=["ann"]), sample("2", "b", people=["bob", "ann"])],
}


@pytest.mark.parametrize("pair", LINKED.values(), ids=LINKED.keys())
@pytest.mark.parametrize("seed", range(12))
def test_whatever_links_two_images_keeps_them_together(pair: list[Sample], seed: int) -> None:
    split = assign_splits([*pair, *singles(100)], HALVES, seed)
    assert len(set(sides(split, pair))) == 1


def test_a_copy_takes_the_rest_of_its_video_along() -> None:
    """One frame of each video repeats a frame of the one before: a chain of eight videos is one group."""
    corpus = [
        replace(s, duplicate_of=f"{v - 1}/0") if (v := int(s.path[0])) and s.path[2:] == "3" else s for s in videos(8)
    ]
    for seed in range(12):
        split = assign_splits([*corpus, *singles(100)], HALVES, seed)
        assert len(set(sides(split, corpus))) == 1


UNLIKE = {
    "the same path in another root": [sample("1", "a"), sample("2", "b", of="1", root="cam2")],
    "a person is no folder": [sample("1", "x"), sample("2", "y", people=["x"])],
    "people without a group": [sample("1", "a", people=[""]), sample("2", "b", people=[""])],
}


@pytest.mark.parametrize("pair", UNLIKE.values(), ids=UNLIKE.keys())
def test_what_is_not_linked_may_part(pair: list[Sample]) -> None:
    splits = [assign_splits([*pair, *singles(100)], HALVES, seed) for seed in range(20)]
    assert any(len(set(sides(split, pair))) == 2 for split in splits)


@st.composite
def corpora(draw: st.DrawFn) -> list[Sample]:
    """Images in three folders' worth of groups, with any links between them."""
    n = draw(st.integers(4, 30))
    groups = draw(st.lists(st.sampled_from(["", "a", "b", "c", "d", "e"]), min_size=n, max_size=n))
    roots = draw(st.lists(st.sampled_from(["r", "s"]), min_size=n, max_size=n))
    corpus = [sample(str(i), g, root=r) for i, (g, r) in enumerate(zip(groups, roots, strict=True))]
    for i, j in draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=8)):
        of = corpus[j].path if corpus[i].root == corpus[j].root else f"/{corpus[j].root}/{corpus[j].path}"
        corpus[i] = replace(corpus[i], duplicate_of=of)
    for i in draw(st.lists(st.integers(0, n - 1), max_size=4)):
        corpus[i] = replace(corpus[i], poses=Poses.create(1, group=[draw(st.sampled_from(["p", "q"]))]))
    return [*corpus, *singles(10)]


def linked(a: Sample, b: Sample) -> bool:
    """The definition, without hashes."""
    same_group = bool(a.group) and a.group == b.group
    repeats = (b.root, b.path) == a.original or (a.root, a.path) == b.original
    both = a.original is not None and a.original == b.original
    people = set(a.poses.group.tolist()) & set(b.poses.group.tolist()) - {""}
    return same_group or repeats or both or a.id == b.id or bool(people)


@given(corpora(), st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_no_link_is_ever_cut(corpus: list[Sample], seed: int, rng: random.Random) -> None:
    split = assign_splits(iter(corpus), HALVES, seed)
    found = sides(split, corpus)
    for i, a in enumerate(corpus):
        assert all(found[i] == found[j] for j, b in enumerate(corpus) if linked(a, b))
    assert {name: found.count(name) for name in HALVES} == split.images
    shuffled = rng.sample(corpus, len(corpus))
    assert sides(assign_splits(shuffled, HALVES, seed), corpus) == found, "the order of the images does not matter"


# Shares


@given(st.lists(st.integers(1, 30), min_size=3, max_size=60), st.integers(0, 100))
def test_no_split_is_empty_and_the_shares_are_as_near_as_groups_allow(sizes: list[int], seed: int) -> None:
    corpus = [sample(f"{g}/{i}", f"group {g}") for g, size in enumerate(sizes) for i in range(size)]
    split = assign_splits(corpus, SHARES, seed)
    assert all(split.images.values())
    assert sum(split.images.values()) == len(corpus)
    assert sum(split.groups.values()) == len(sizes)
    # Each border is off by the tolerance or by half the largest group; a split has two, and gets one group at least.
    most = max(sizes) / len(corpus)
    slack = max(TOLERANCE * 0.1, most / 2) * 2 + 2 * most
    assert all(abs(split.reached[name] - share) <= slack + 1e-9 for name, share in SHARES.items())


@pytest.mark.parametrize(("corpus", "off"), [(singles(5000), 0.02), (videos(10, 20), 0.051), (videos(20, 3), 0.051)])
def test_the_shares_are_reached(corpus: list[Sample], off: float) -> None:
    for seed in range(5):
        reached = assign_splits(corpus, SHARES, seed).reached
        assert list(reached) == list(SHARES)
        assert max(abs(reached[name] - share) for name, share in SHARES.items()) <= off


def test_another_seed_is_another_split() -> None:
    corpus = singles(200)
    found = [sides(assign_splits(corpus, HALVES, seed), corpus) for seed in range(4)]
    for one, other in pairwise(found):
        assert 60 < sum(a != b for a, b in zip(one, other, strict=True)) < 140


def test_a_split_is_the_same_on_every_machine() -> None:
    """Written down: who changes this parts the training images of users from what they were."""
    corpus = videos(12, 1)
    assert "".join(name[1] for name in sides(assign_splits(corpus, SHARES, 7), corpus)) == "errrrrrarrrr"


# Growth


def test_a_corpus_that_grows_keeps_its_splits() -> None:
    small, more = videos(400), videos(400, first=400)
    before, after = (assign_splits(corpus, SHARES, 3) for corpus in (small, [*more, *small]))
    assert sides(before, small) == sides(after, small)
    assert sides(before, more) == sides(after, more), "and images that came later went where they would have gone"


def test_growing_together_moves_only_those_who_do() -> None:
    corpus = videos(400)
    joined = [*corpus, sample("new", "video 17", of="99/0")]
    before, after = assign_splits(corpus, HALVES), assign_splits(joined, HALVES)
    moved = {s.group for s in corpus if before(s) != after(s)}
    assert moved <= {"video 17", "video 99"}
    assert after(joined[-1]) == after(sample("17/0", "video 17")) == after(sample("99/0", "video 99"))


# Refusals


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({}, "found none"),
        ({"train": 0.8, "val": 0.0, "test": 0.2}, "'val': 0.0"),
        ({"train": 1.5, "val": -0.5}, "'train': 1.5"),
        ({"train": float("nan")}, "'train': nan"),
        ({"": 1.0}, "'': 1.0"),
        ({"train": 0.8, "val": 0.1}, "add up to 0.9, not to 1"),
    ],
)
def test_shares_that_cannot_be(shares: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        assign_splits(singles(10), shares)


@pytest.mark.parametrize("corpus", [[], videos(2, 50)], ids=["nothing", "two videos"])
def test_fewer_groups_than_splits(corpus: list[Sample]) -> None:
    with pytest.raises(InputError, match=f"{len(corpus)} images are {len(corpus) // 50} groups that may not be parted"):
        assign_splits(corpus, SHARES)


@pytest.mark.parametrize(
    ("text", "shares"),
    [("train=0.8,val=0.2", {"train": 0.8, "val": 0.2}), (" a = .5 , b=5e-1", HALVES), ("all=1", {"all": 1.0})],
)
def test_shares_as_text(text: str, shares: dict[str, float]) -> None:
    assert parse_shares(text) == shares


@pytest.mark.parametrize("text", ["", "0.8,0.2", "train=0.8", "train=a", "a=.5,a=.5", "=1"])
def test_text_that_is_no_shares(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_shares(text)
