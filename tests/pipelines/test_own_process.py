"""Processes that outlive a command: ports, numbers in files, and who is stopped."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autolabel.errors import WorkError
from pipelines.own_process import HOST, choose_port, command_line, end, is_free, launch, read_number, read_port


def test_a_process_outlives_its_shell_and_is_known_by_its_words(tmp_path: Path) -> None:
    log, pid_file = tmp_path / "log", tmp_path / "pid"
    program = "import time; print('up', flush=True); time.sleep(60)"
    launch([sys.executable, "-c", program, "--mark", "here"], name="It", folder=tmp_path, log=log, pid_file=pid_file)
    pid = read_number(pid_file)
    assert command_line(pid).endswith("--mark here")
    last = time.monotonic() + 30
    while "up" not in log.read_text() and time.monotonic() < last:
        time.sleep(0.02)
    assert log.read_text() == "up\n"
    assert end(lambda: pid if command_line(pid) else 0, 10)
    assert command_line(pid) == ""
    assert not end(lambda: 0, 10)


def test_one_that_does_not_listen_is_killed() -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        assert end(lambda: process.pid if process.poll() is None else 0, 0.2)
        assert process.wait(10) == -9


def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="It cannot be started"):
        launch(["true"], name="It", folder=tmp_path, log=tmp_path / "no/log", pid_file=tmp_path / "no/pid")


def test_a_port_of_the_last_time_is_taken_again_unless_somebody_has_it() -> None:
    told = list[str]()
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        assert not is_free(taken)
        chosen = choose_port(taken, told.append)
    assert chosen != taken and is_free(chosen)
    assert f"port {taken} of the last time" in told[0]
    assert choose_port(chosen, told.append) == chosen
    assert choose_port(0, told.append) > 0
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "number", "port"), [("5151\n", 5151, 5151), ("70000", 70000, 0), ("-3", 0, 0), ("x", 0, 0), (None, 0, 0)]
)
def test_numbers_in_files(tmp_path: Path, text: str | None, number: int, port: int) -> None:
    file = tmp_path / "file"
    if text is not None:
        file.write_text(text)
    assert (read_number(file), read_port(file)) == (number, port)
