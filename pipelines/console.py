"""Where a command meets its user: progress and errors on stderr, the result on stdout, exit codes.

A command's body hands its work to :func:`run_job`, which gives it a way to report progress, prints what came
out (``--json``: as one line, the last on stdout) and turns the errors made on purpose into one clear message.

    0 done    1 the work failed    2 wrong usage or bad input    130 interrupted
"""

import errno
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from numbers import Integral, Real
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TextIO, TypeVar, cast

from autolabel.errors import AutolabelError
from autolabel.progress import SILENT, Progress, Task
from pipelines.launch import tell_launcher

if TYPE_CHECKING:
    from tqdm import tqdm

    from autolabel.manifest import Manifest

INTERRUPTED = 130
"""The shell's code for a command that was stopped from the keyboard."""

SECONDS_BETWEEN_LINES = 5.0

# The world said no: the message and what to do are what a user can act on, and a traceback would only hide it. Any
# other OSError is a mistake of ours and keeps its traceback.
_FULL = "Free space there, then run the command again."
_FORBIDDEN = "See who owns it and who may read and write it, or name another place."
_WORLD = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "Raise the limit of a file's size (`ulimit -f`), then run the command again.",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "Make the disk writable, or name another place.",
}


# What a file's name may hold and a terminal would obey: control characters other than tab and newline, marks that
# turn the direction of writing, and halves of characters, which no stream can encode.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Result(Protocol):
    """What a command's function returns."""

    def summary(self) -> Mapping[str, object]:
        """What to tell the user: names and JSON values."""
        ...


R = TypeVar("R", bound="Result | Manifest")


def run_job(work: Callable[[Progress], R], *, as_json: bool, show: Callable[[R], str] | None = None) -> None:
    """Do a command's work and print its result, or leave with its message and exit code.

    Args:
        work: Takes the progress to report to and returns the result.
        as_json: Print the summary as one JSON line instead of a readable list.
        show: How people read the result, where a list of the summary's names and values is not it.

    Raises:
        SystemExit: The work failed, its input was wrong, or it was interrupted.
    """
    try:
        result = work(open_progress(sys.stderr))
    except AutolabelError as error:
        _leave(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        _leave("interrupted: the same command goes on where this one stopped", INTERRUPTED)
    except OSError as error:
        if error.errno not in _WORLD:
            raise
        told = AutolabelError(
            error.strerror or "the system refuses it",
            subject=str(error.filename) if error.filename else None,
            remedy=_WORLD[error.errno],
        )
        _leave(f"error: {told}", AutolabelError.exit_code)
    describe = to_json if as_json else readable
    text = show(result) if show and not as_json else describe(_summary(result))
    if _speaks():
        sys.stdout.write(f"{visible(text.rstrip())}\n")


def _speaks() -> bool:
    """Whether this process is the one of its job, started by torchrun, that tells the user what all of them did."""
    return os.environ.get("RANK", "0") == "0"


def visible(text: str) -> str:
    r"""The text with what a terminal would obey written as ``\u001b``, which means the same inside JSON."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def open_progress(stream: TextIO) -> Progress:
    """Bars where ``stream`` is a terminal, plain lines elsewhere; silence in all but the first process of a job."""
    if not _speaks():
        return SILENT
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)


class BarProgress:
    """Progress as tqdm's bars.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "it") -> Generator[Task]:
        """A bar that stays when its task is over."""
        from tqdm import tqdm

        with tqdm(
            desc=label, total=total, unit=f" {unit}", file=self._stream, dynamic_ncols=True, smoothing=0.1
        ) as bar:
            yield _BarTask(bar)

    def note(self, message: str) -> None:
        """A line above the bars."""
        from tqdm import tqdm

        tqdm.write(visible(message), file=self._stream)


class _BarTask:
    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar

    def advance(self, n: int = 1, **numbers: float) -> None:
        if numbers:
            self._bar.set_postfix_str(_numbers(numbers), refresh=False)
        self._bar.update(n)


class LineProgress:
    """Progress for logs: a line every few seconds and one when a task is over.

    Args:
        stream: Where the lines go.
        clock: Seconds that only grow.
        interval: The least time between two lines of a task, in seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        interval: float = SECONDS_BETWEEN_LINES,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._interval = interval

    @contextmanager
    def task(self, label: str, total: int | None = None, unit: str = "it") -> Generator[Task]:
        """Lines such as ``scan: 1,200/25,000 images, 340/s, 1:10 left``; the last one also when the work fails."""
        task = _LineTask(self._say, self._clock, self._interval, label, total, unit)
        try:
            yield task
        finally:
            task.close()

    def note(self, message: str) -> None:
        """A line of its own."""
        self._say(message)

    def _say(self, line: str) -> None:
        self._stream.write(f"{visible(line)}\n")
        self._stream.flush()


class _LineTask:
    def __init__(
        self,
        say: Callable[[str], None],
        clock: Callable[[], float],
        interval: float,
        label: str,
        total: int | None,
        unit: str,
    ) -> None:
        self._say, self._clock, self._interval = say, clock, interval
        self._label, self._total, self._unit = label, total, unit
        self._done = self._told = 0
        self._numbers: dict[str, float] = {}
        self._start = self._last = clock()

    def advance(self, n: int = 1, **numbers: float) -> None:
        self._done += n
        self._numbers.update(numbers)
        now = self._clock()
        if now - self._last >= self._interval:
            self._say(self._line(self._pace(now)))
            self._last = now

    def close(self) -> None:
        self._say(self._line(f"{self._clock() - self._start:,.1f} s"))

    def _pace(self, now: float) -> str:
        """How fast it goes, and how long the rest takes.

        By what was done since the last line: before the first one lies what an earlier, stopped run had done, so the
        rest is foretold from the second line on.
        """
        rate = (self._done - self._told) / (now - self._last)
        first, self._told = self._told == 0, self._done
        left = ""
        if self._total is not None and rate > 0 and not first:
            left = f", {duration((self._total - self._done) / rate)} left"
        return f"{rate:,.3g}/s{left}"

    def _line(self, pace: str) -> str:
        count = f"{self._done:,}" if self._total is None else f"{self._done:,}/{self._total:,}"
        numbers = f", {_numbers(self._numbers)}" if self._numbers else ""
        return f"{self._label}: {count} {self._unit}, {pace}{numbers}"


def duration(seconds: float) -> str:
    """``8 s``, ``3:25`` (minutes and seconds) or ``2:03:25``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def to_json(summary: Mapping[str, object]) -> str:
    """One line of strict JSON: NaN and infinities, which JSON lacks, become null.

    Raises:
        TypeError: A value is none of text, number, path, enum, mapping or sequence.
    """
    return json.dumps(_json_value(summary), ensure_ascii=False, allow_nan=False)


def readable(summary: Mapping[str, object]) -> str:
    """The summary as aligned ``name  value`` lines; what is nested gets dotted names."""
    flat = dict(_flat(summary, ""))
    width = max(map(len, flat), default=0)
    return "\n".join(f"{name:<{width}}  {_readable_value(value)}" for name, value in flat.items())


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows of cells as a table: a line each, every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _summary(result: "Result | Manifest") -> Mapping[str, object]:
    from autolabel.manifest import Manifest

    if isinstance(result, Manifest):
        return {"manifest": result.path, **result.counts, "digest": result.digest}
    return result.summary()


def _leave(message: str, exit_code: int) -> NoReturn:
    """End with a message; in one of a job's processes it is told by the one that launched the job."""
    if not tell_launcher(message, exit_code):
        sys.stderr.write(f"{visible(message)}\n")
    sys.exit(exit_code)


def _numbers(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in numbers.items())


def _json_value(value: object) -> object:
    match value:
        case None | bool() | str():
            return value
        case Enum():
            return _json_value(value.value)
        case Integral():
            return int(value)
        case Real():
            return float(value) if math.isfinite(value) else None
        case PurePath():
            return str(value)
        case Mapping():
            return {str(name): _json_value(item) for name, item in cast("Mapping[object, object]", value).items()}
        case list() | tuple():
            return [_json_value(item) for item in cast("Iterable[object]", value)]
        case _:
            raise TypeError(f"a summary holds a {type(value).__name__}, which is no JSON value")


def _flat(summary: Mapping[str, object], prefix: str) -> Generator[tuple[str, object]]:
    for name, value in summary.items():
        if isinstance(value, Mapping):
            yield from _flat(cast("Mapping[str, object]", value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _readable_value(value: object) -> str:
    match _json_value(value):
        case None:
            return "-"
        case bool(yes):
            return "yes" if yes else "no"
        case int(number):
            return f"{number:,}"
        case float(number):
            return f"{number:.4g}"
        case list():
            return ", ".join(map(_readable_value, cast("Iterable[object]", value))) or "-"
        case other:
            return str(other)
