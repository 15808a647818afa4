"""The lock of a review folder: between processes, and gone with the one that held it."""

import subprocess
import sys
import time
from pathlib import Path

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.lock import alone_in
from tests.doubles import Recorder

HOLD = """
import sys, time
from pathlib import Path
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.lock import alone_in
with alone_in(ReviewFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_waits_and_says_so(tmp_path: Path) -> None:
    progress, begin = Recorder(), time.monotonic()
    with holder(tmp_path, 0.5), alone_in(ReviewFolder(tmp_path), progress):
        assert time.monotonic() - begin > 0.4
    assert progress.notes == [f"another command is at work in {tmp_path}: waiting until it has finished"]


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path, 60) as process:
        process.kill()
        process.wait()
        progress = Recorder()
        with alone_in(ReviewFolder(tmp_path), progress):
            assert not progress.notes


def test_it_is_free_again_afterwards_and_makes_the_folder(tmp_path: Path) -> None:
    folder, progress = ReviewFolder(tmp_path / "project" / "labelstudio"), Recorder()
    for _ in range(2):
        with alone_in(folder, progress):
            pass
    assert not progress.notes
