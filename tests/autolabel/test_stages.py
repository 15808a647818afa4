"""Clocks of stages: what is counted, and for whom."""

import threading
from collections.abc import Iterator

import pytest

from autolabel import stages as module
from autolabel.stages import Spent, Stages


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    def perf_counter(self) -> float:
        return self.seconds

    def thread_time(self) -> float:
        return self.cpu

    def compute(self, seconds: float) -> None:
        self.seconds += seconds
        self.cpu += seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_stage_inside_another_counts_for_itself(clock: Clock) -> None:
    stages = Stages()
    with stages("outer"):
        clock.compute(2)
        for _ in range(2):
            with stages("middle"):
                clock.compute(5)
                with stages("inner"):
                    clock.wait(1)
        clock.compute(1)
    with stages("outer"):
        clock.wait(8)
    assert stages.spent() == {"inner": Spent(2, 2, 0), "middle": Spent(2, 10, 10), "outer": Spent(2, 11, 3)}


def test_what_getting_items_takes_is_a_stage_and_using_them_is_not(clock: Clock) -> None:
    stages = Stages()

    def items() -> Iterator[int | None]:
        for i in (0, None, 2):
            clock.compute(2)
            yield i

    got = []
    for item in stages.each("get", items()):
        clock.compute(30)
        got.append(item)
    assert got == [0, None, 2]
    assert stages.spent() == {"get": Spent(4, 6, 6)}  # the last one finds that there are no more


def test_threads_do_not_count_for_each_other(clock: Clock) -> None:
    stages, inside, done = Stages(), threading.Event(), threading.Event()

    def other() -> None:
        with stages("other"):
            inside.set()
            done.wait()

    thread = threading.Thread(target=other)
    with stages("main"):
        thread.start()
        inside.wait()
        clock.wait(3)
        done.set()
        thread.join()
    assert stages.spent()["main"].seconds == 3  # though another stage began and ended meanwhile


def test_an_error_passes_and_is_counted(clock: Clock) -> None:
    stages = Stages()
    with pytest.raises(ZeroDivisionError), stages("broken"):
        clock.compute(1)
        raise ZeroDivisionError
    assert stages.spent() == {"broken": Spent(1, 1, 1)}
    assert list(stages.each("empty", ())) == []
