from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.formats.labelstudio_tree import Above, Tree


def chain(region: str, parents: Mapping[str, str]) -> list[str]:
    """A region and those above it, each once."""
    found: dict[str, None] = {}
    while region and region not in found:
        found[region] = None
        region = parents.get(region, "")
    return list(found)


@pytest.mark.parametrize(
    ("parents", "boxes", "region", "expected"),
    [
        ({}, "", "", Above("", "", "")),
        ({}, "", "a", Above("", "", "a")),
        ({"a": "b", "b": "c", "c": "d"}, "bc", "a", Above("b", "c", "d")),
        ({"a": "b", "b": "c"}, "a", "a", Above("a", "a", "c")),
        ({"c": "b", "b": "c"}, "", "c", Above("", "", "b")),  # a circle
        ({"a": "c", "c": "b", "b": "c"}, "c", "a", Above("c", "c", "b")),  # and a way to it
        ({"a": "a"}, "a", "a", Above("a", "a", "a")),
    ],
)
def test_what_stands_above(parents: Mapping[str, str], boxes: str, region: str, expected: Above) -> None:
    assert Tree(parents, set(boxes)).above(region) == expected


letters = st.sampled_from("abcdefgh")


@given(st.dictionaries(letters, letters, max_size=8), st.sets(letters), st.sets(letters), st.permutations("abcdefgh"))
def test_it_agrees_with_walking(parents: Mapping[str, str], boxes: set[str], some: set[str], order: list[str]) -> None:
    tree = Tree(parents, boxes)
    for region in order:
        above = chain(region, parents)
        found = [step for step in above if step in boxes]
        if parents.get(above[-1], "") not in above:
            assert tree.above(region) == Above(*((found[0], found[-1]) if found else ("", "")), above[-1])
        else:  # all of a circle have one name
            circle = above[above.index(parents[above[-1]]) :]
            assert tree.above(region).last == min(circle)
            assert bool(tree.above(region).outer) == bool(found)
    assert tree.over(some) - {""} == {step for region in some for step in chain(region, parents)}
    assert tree.under(some, order) == {region for region in order if some & set(chain(region, parents))}


def test_a_chain_of_thousands() -> None:
    n = 30_000  # walking each one's way to the end would take 450 million steps
    parents = {str(i): str(i + 1) for i in range(n)}
    tree = Tree(parents, {str(n)})
    assert {tree.above(str(i)) for i in range(n)} == {Above(str(n), str(n), str(n))}
    assert len(tree.under({str(n)}, parents)) == n and len(tree.over(parents)) == n + 2
