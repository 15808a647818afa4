"""One loop at a time on a project: the second is told who is at work, and a dead one is no obstacle."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autolabel.errors import WorkError
from pipelines.loop_hold import LOCK, held, holder

ROOT = Path(__file__).parents[2]
WORK = """
import os, sys, time
from pathlib import Path
from pipelines.loop_hold import held

with held(Path(sys.argv[1])):
    if len(sys.argv) > 2 and os.fork() == 0:
        print("forked", flush=True)
        time.sleep(10)
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


def other(project: Path, *more: str) -> subprocess.Popen[str]:
    """Another process that holds the project by the time this returns."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORK, str(project), *more], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(1 + len(more)):
        assert process.stdout.readline()
    return process


def test_the_second_is_told_who_is_at_work(tmp_path: Path) -> None:
    with other(tmp_path) as first:
        who = holder(tmp_path)
        assert who is not None
        assert (who.pid, who.host) == (first.pid, socket.gethostname())
        start = time.monotonic()
        with (
            pytest.raises(
                WorkError, match=rf"at work here: process {first.pid} on .* since 20\d\d-.*Wait until"
            ) as told,
            held(tmp_path),
        ):
            pytest.fail("two at a time")
        assert told.value.exit_code == 1
        assert time.monotonic() - start < 5, "it does not wait"
        first.kill()
    with held(tmp_path):
        assert holder(tmp_path) is not None


def test_what_a_killed_one_left_is_no_obstacle(tmp_path: Path) -> None:
    with other(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == first.pid
    assert holder(tmp_path) is None
    with held(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_a_child_that_outlives_its_parent_does_not_hold(tmp_path: Path) -> None:
    with other(tmp_path, "fork") as first:
        first.kill()
        first.wait()
        with held(tmp_path):
            pass


def test_the_lock_ends_with_the_work_whatever_became_of_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    assert not (tmp_path / LOCK).exists(), "asking leaves nothing behind"
    with pytest.raises(KeyboardInterrupt), held(tmp_path):
        raise KeyboardInterrupt
    assert holder(tmp_path) is None
    with held(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"pid": 1}'])
def test_who_holds_it_may_be_unknown(tmp_path: Path, text: str) -> None:
    with held(tmp_path):
        (tmp_path / LOCK).write_text(text)
        with pytest.raises(WorkError, match="a process that has just begun"), held(tmp_path):
            pytest.fail("two at a time")
