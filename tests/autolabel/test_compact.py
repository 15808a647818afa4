"""The compact list and dictionary say what Python's own say, in a fraction of the memory."""

import tracemalloc
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from autolabel.compact import NumberByText, TextList

TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)  # file names and JSON hold halves of characters, too


@given(st.lists(TEXTS, max_size=50))
def test_a_list_of_texts(texts: list[str]) -> None:
    compact = TextList()
    for text in texts:
        compact.append(text)
    assert [compact[i] for i in range(len(compact))] == texts


@given(st.dictionaries(TEXTS, st.integers(0, 2**32 - 1), max_size=50), st.lists(TEXTS, max_size=20))
def test_numbers_by_text(numbers: dict[str, int], others: list[str]) -> None:
    compact = NumberByText()
    for text, number in numbers.items():
        assert compact.get(text) is None
        compact.add(text, number)
    assert len(compact) == len(numbers)
    assert all(compact.get(text) == numbers.get(text) for text in [*numbers, *others])


def test_a_table_that_has_grown_forgets_nothing() -> None:
    compact = NumberByText()
    for i in range(20_000):
        compact.add(f"{i:032x}", i)
    assert [compact.get(f"{i:032x}") for i in range(0, 20_000, 7)] == list(range(0, 20_000, 7))
    assert compact.get("x") is None


def bytes_an_entry(fill: Callable[[int], object], count: int = 20_000) -> float:
    tracemalloc.start()
    try:
        kept = fill(count)
        assert kept
        return tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()


def test_an_entry_costs_little() -> None:
    """Ids of 32 characters: as list and dictionary they cost about 250 bytes."""

    def fill(count: int) -> object:
        texts, numbers = TextList(), NumberByText()
        for i in range(count):
            texts.append(f"{i:032x}")
            numbers.add(f"{i:032x}", i)
        return texts, numbers

    assert bytes_an_entry(fill) < 90
