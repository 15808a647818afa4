"""Work done by a thread while its caller is busy with what came before."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T], most: int) -> Generator[T]:
    """The same items in the same order, made by one thread; what it raises is raised here, in its turn.

    Args:
        items: Closed by this one, and by nobody else.
        most: How many are made before they are asked for, at least 1: that many are held in memory.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        waiting = deque(pool.submit(_next, items) for _ in range(most))
        try:
            while found := waiting.popleft().result():
                waiting.append(pool.submit(_next, items))
                yield found[0]
        finally:
            pool.shutdown(cancel_futures=True)  # a generator cannot be closed while it runs
            items.close()


def _next(items: Generator[T]) -> tuple[T] | None:
    """The next one, in a tuple, because any value may be an item."""
    return next(((item,) for item in items), None)
