"""Progress on both kinds of stream, strict JSON, and the edge where errors become messages and exit codes."""

import errno
import io
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from autolabel.errors import AutolabelError, InputError, WorkError
from autolabel.manifest import write_manifest
from autolabel.progress import Progress
from autolabel.skeleton import Skeleton
from pipelines.console import (
    BarProgress,
    LineProgress,
    duration,
    open_progress,
    readable,
    run_job,
    to_json,
    visible,
)


@dataclass(frozen=True)
class Result:
    values: dict[str, object]

    def summary(self) -> dict[str, object]:
        return self.values


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (np.float32("nan"), None),
        ([0.5, math.nan], [0.5, None]),  # also below the top
        ({"ap": {"0.5": math.nan}}, {"ap": {"0.5": None}}),
        (np.int64(7), 7),
        (np.float64(0.25), 0.25),
        (True, True),
        (Path("a") / "b", "a/b"),
        (Colour.RED, "red"),
        (("é", None), ["é", None]),
    ],
)
def test_json_is_strict(value: object, expected: object) -> None:
    line = to_json({"value": value})
    assert "\n" not in line

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(line, parse_constant=refuse) == {"value": expected}


def test_json_refuses_what_it_cannot_say() -> None:
    with pytest.raises(TypeError, match="complex"):
        to_json({"value": 1j})


def test_readable_lists_names_aligned_and_flattened() -> None:
    summary: dict[str, object] = {
        "images": 12345,
        "ap": {"all": 0.123456, "small": math.nan},
        "bad": ["a", "b"],
    }
    assert readable(summary).splitlines() == [
        "images    12,345",
        "ap.all    0.1235",
        "ap.small  -",
        "bad       a, b",
    ]
    assert readable({}) == ""


def test_lines_come_at_most_every_interval_and_once_at_the_end() -> None:
    out, clock = io.StringIO(), Clock()
    with LineProgress(out, clock=clock, interval=5.0).task("scan", 4000, "images") as task:
        for _ in range(20):
            clock.now += 1
            task.advance(100)
    lines = out.getvalue().splitlines()
    assert lines == [
        "scan: 500/4,000 images, 100/s",
        "scan: 1,000/4,000 images, 100/s, 30 s left",
        "scan: 1,500/4,000 images, 100/s, 25 s left",
        "scan: 2,000/4,000 images, 100/s, 20 s left",
        "scan: 2,000/4,000 images, 20.0 s",
    ]


def test_what_an_earlier_run_had_done_is_not_this_ones_pace() -> None:
    out, clock = io.StringIO(), Clock()
    with LineProgress(out, clock=clock, interval=5.0).task("train", 10_000, "step") as task:
        task.advance(9_000)
        for _ in range(10):
            clock.now += 1
            task.advance(2)
    assert out.getvalue().splitlines()[1] == "train: 9,020/10,000 step, 2/s, 8:10 left"


@pytest.mark.parametrize(("seconds", "text"), [(7.6, "8 s"), (205, "3:25"), (3600, "1:00:00"), (7405, "2:03:25")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_show_the_last_numbers_and_need_no_total() -> None:
    out, clock = io.StringIO(), Clock()
    with LineProgress(out, clock=clock).task("train", unit="steps") as task:
        task.advance(loss=0.5)
        task.advance(loss=0.012345, lr=1e-4)
    assert out.getvalue() == "train: 2 steps, 0.0 s, loss=0.01235, lr=0.0001\n"


def test_lines_say_how_far_failed_work_came() -> None:
    out = io.StringIO()
    with pytest.raises(WorkError), LineProgress(out, clock=Clock()).task("scan", 3) as task:
        task.advance()
        raise WorkError("disk on fire")
    assert out.getvalue() == "scan: 1/3 it, 0.0 s\n"


def test_bars_count_and_show_numbers_and_notes() -> None:
    out = Terminal()
    progress = BarProgress(out)
    with progress.task("train", 2, "steps") as task:
        task.advance(loss=0.25)
        progress.note("half way")
        task.advance(loss=0.125)
    last = out.getvalue().split("\r")[-1]
    assert "train: 100%" in last
    assert "2/2" in last
    assert "loss=0.125" in last
    assert "half way\n" in out.getvalue()


HOSTILE = (
    "a\x1b]0;title\x07\x9b31m\r\u202egpj.\udcff"  # sets a title, a colour, overwrites, turns round, is no character
)
SEEN = r"a\u001b]0;title\u0007\u009b31m\u000d\u202egpj.\udcff"


def test_what_a_terminal_would_obey_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    for progress in (LineProgress(lines := io.StringIO()), BarProgress(bars := Terminal())):
        progress.note(HOSTILE)
    assert lines.getvalue() == bars.getvalue().lstrip("\r") == f"{SEEN}\n"
    for as_json in (True, False):
        run_job(lambda progress: Result({"name": HOSTILE}), as_json=as_json)
        out = capsys.readouterr().out
        assert visible(out) == out
        assert SEEN in out or json.loads(out) == {"name": HOSTILE}
    with pytest.raises(SystemExit):
        run_job(lambda progress: fail(InputError("is bad", subject=f"{HOSTILE}\nerror: forged")), as_json=False)
    assert capsys.readouterr().err == f"error: {SEEN}\\nerror: forged: is bad\n"


def fail(error: Exception) -> Result:
    raise error


@pytest.mark.parametrize("text", ["plain", "é 漢 😀", "two\nlines\tand a tab", ""])
def test_all_other_text_is_printed_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_the_stream_decides() -> None:
    assert isinstance(open_progress(Terminal()), BarProgress)
    assert isinstance(open_progress(io.StringIO()), LineProgress)


def test_json_is_the_last_line_on_stdout_and_progress_is_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work(progress: Progress) -> Result:
        progress.note("hello")
        with progress.task("scan", 1, "images") as task:
            task.advance()
        return Result({"images": 1, "ap": math.nan})

    run_job(work, as_json=True)
    out, err = capsys.readouterr()
    assert out == '{"images": 1, "ap": null}\n'
    assert err.splitlines()[0] == "hello"
    assert err.splitlines()[1].startswith("scan: 1/1 images")


def test_without_json_the_summary_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    run_job(lambda progress: Result({"images": 1200, "out": Path("m")}), as_json=False)
    assert capsys.readouterr().out == "images  1,200\nout     m\n"


def test_a_command_may_show_its_result_its_own_way(capsys: pytest.CaptureFixture[str]) -> None:
    def table(result: Result) -> str:
        return f"a table of {len(result.values)}\n"

    run_job(lambda progress: Result({"ap": 0.5}), as_json=False, show=table)
    assert capsys.readouterr().out == "a table of 1\n"
    run_job(lambda progress: Result({"ap": 0.5}), as_json=True, show=table)
    assert capsys.readouterr().out == '{"ap": 0.5}\n'


def test_a_manifest_is_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = write_manifest(tmp_path / "m", [], Skeleton.load("coco17"), {}, stage="test")
    run_job(lambda progress: made, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said == {"manifest": str(made.path), "samples": 0, "poses": 0, "digest": made.digest}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            InputError("no such folder", subject="photos", remedy="Check it."),
            2,
            "photos: no such folder. Check it.",
        ),
        (WorkError("nothing could be read"), 1, "nothing could be read"),
        (AutolabelError("x"), 1, "x"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            OSError(errno.ENOSPC, "No space left on device", "m/poses"),
            1,
            "m/poses: No space left on device. Free space there, then run the command again.",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device. Free space"),
        (OSError(errno.EFBIG, "File too large", "m"), 1, "m: File too large. Raise the limit"),
        (PermissionError(errno.EACCES, "Permission denied", "m"), 1, "m: Permission denied. See who owns it"),
        (OSError(errno.EROFS, "Read-only file system", "m"), 1, "m: Read-only file system. Make the disk writable"),
    ],
)
def test_errors_made_on_purpose_leave_one_line_and_their_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(progress: Progress) -> Result:
        raise error

    with pytest.raises(SystemExit) as left:
        run_job(work, as_json=True)
    out, err = capsys.readouterr()
    assert left.value.code == code
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "x", "y"), ValueError("x"), KeyError("x")])
def test_our_own_mistakes_keep_their_traceback(error: Exception) -> None:
    def work(progress: Progress) -> Result:
        raise error

    with pytest.raises(type(error)):
        run_job(work, as_json=False)


def test_a_command_interrupted_from_the_keyboard_exits_130(tmp_path: Path) -> None:
    program = tmp_path / "job.py"
    program.write_text(
        "import os, signal, time\n"
        "from pipelines.console import run_job\n"
        # A process started in the background inherits an ignored SIGINT; at a keyboard it is not ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def work(progress):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(10)\n"
        "run_job(work, as_json=False)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, env={"PYTHONPATH": str(root)}, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "interrupted: the same command goes on where this one stopped\n"
