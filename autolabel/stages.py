"""Where a job's time goes: seconds by stage, whichever threads they were spent in.

A stage inside another one counts for itself alone, so that the stages of one thread add up. Stages of several threads
overlap, which is what threads are for: what bounds the job is the thread that waits for nobody.
"""

import resource
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Spent:
    """What a stage took.

    Attributes:
        times: How often it was gone through.
        seconds: By the clock, in all threads together.
        cpu_seconds: For which its threads themselves computed; threads that libraries start for them are not counted.
    """

    times: int
    seconds: float
    cpu_seconds: float


class Stages:
    """A clock for each stage of a job; threads may use it at the same time.

    Args:
        exact: A GPU is to be waited for where its work ends, not where its answers are needed; that takes time itself.

    Attributes:
        exact: As given.
    """

    def __init__(self, *, exact: bool = False) -> None:
        self.exact = exact
        self._lock = threading.Lock()
        self._inner = threading.local()
        self._spent = dict[str, Spent]()

    @contextmanager
    def __call__(self, name: str) -> Generator[None]:
        """Count what happens inside as a stage, and not as the stage around it."""
        around = getattr(self._inner, "spent", (0.0, 0.0))
        self._inner.spent = (0.0, 0.0)
        began, cpu_began = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            seconds, cpu = time.perf_counter() - began, time.thread_time() - cpu_began
            inner, cpu_inner = self._inner.spent
            self._inner.spent = (around[0] + seconds, around[1] + cpu)
            with self._lock:
                so_far = self._spent.get(name, Spent(0, 0.0, 0.0))
                self._spent[name] = Spent(
                    so_far.times + 1,
                    so_far.seconds + seconds - inner,
                    so_far.cpu_seconds + cpu - cpu_inner,
                )

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The same items; what it takes to get each of them is a stage."""
        iterator = iter(items)
        while True:
            with self(name):
                found = next(((item,) for item in iterator), None)  # any value may be an item
            if found is None:
                return
            yield found[0]

    def spent(self) -> dict[str, Spent]:
        """What every stage took so far, in the order in which they came up first."""
        with self._lock:
            return dict(self._spent)


def peak_memory() -> float:
    """The most memory that this process held, MiB.

    What ``getrusage`` tells of a process begins with what the one that started it held, so Linux is asked first.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
