"""A thread works ahead: the same items, errors in their turn, and nothing left running."""

import threading
import time
from collections.abc import Generator

import pytest

from model.ahead import ahead


def numbers(count: int, made: list[int], closed: list[str]) -> Generator[int | None]:
    try:
        for i in range(count):
            made.append(i)
            yield i or None
    finally:
        closed.append(threading.current_thread().name)


@pytest.mark.parametrize("most", [1, 3, 50])
def test_items_come_as_they_are(most: int) -> None:
    closed = list[str]()
    assert list(ahead(numbers(20, [], closed), most)) == [None, *range(1, 20)]
    assert len(closed) == 1


def test_no_more_are_made_than_were_asked_for() -> None:
    made, closed = list[int](), list[str]()
    items = ahead(numbers(20, made, closed), 2)
    assert not made, "nothing begins before the first is asked for"
    next(items)
    for _ in range(100):
        if len(made) == 3:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2], "two wait"
    items.close()
    assert len(closed) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_they_are_made_elsewhere_while_the_caller_works() -> None:
    here, went = threading.Event(), list[bool]()

    def items() -> Generator[int]:
        yield 0
        went.append(here.wait(5.0))
        yield 1

    taken = ahead(items(), 1)
    assert next(taken) == 0
    here.set()
    assert list(taken) == [1]
    assert went == [True]


def test_errors_are_raised_in_their_turn() -> None:
    def items() -> Generator[int]:
        yield 0
        raise ValueError("broken")

    taken = ahead(items(), 5)
    assert next(taken) == 0
    with pytest.raises(ValueError, match="broken"):
        next(taken)
