"""A job of several processes speaks with one voice, and leaves none of them behind.

What processes say and how they end is real here; only the job that fails is made up, where it must fail in a way that
no training does on purpose.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import ConfigError, InputError, ManifestError, WorkError
from autolabel.project import to_toml
from pipelines.console import run_job
from pipelines.launch import is_launched, launch, tell_launcher
from pipelines.train import train

ROOT = Path(__file__).parents[2]
NETWORK = {"input_size": [32, 24], "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "decoder": "simple"}
TRAINING = {"steps": 4, "batch_size": 4, "warmup_steps": 1, "precision": "fp32", "device": "cpu", "log_every": 1}


def write(folder: Path, drawn_case: Any, **tables: Any) -> Path:
    data = [{"manifest": str(drawn_case.folder / "labelled")}]
    file = folder / "train.toml"
    file.write_text(to_toml({"data": data, "model": NETWORK, "training": TRAINING, **tables}))
    return file


def members(first: int) -> list[int]:
    """A process, those that it started, and those that they started, as far as they live."""
    rows = subprocess.run(["ps", "-eo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent, stat in map(str.split, rows.splitlines()) if stat[0] != "Z"}
    found = [first]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return [pid for pid in found if pid in parents]


def wait_for(what: Any, seconds: float = 200.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.05)


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@contextmanager
def started(*arguments: object, folder: Path = ROOT) -> Generator[subprocess.Popen[str]]:
    """A Python program that ends with the block at the latest."""
    command = [sys.executable, *map(str, arguments)]
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as job:
        try:
            yield job
        finally:
            job.terminate()


def stand_in(folder: Path, first: str, second: str) -> None:
    """In place of our command, for what is started in ``folder``: what each of two processes does, as Python."""
    package = folder / "pipelines"
    package.mkdir()
    (package / "__init__.py").write_text(f"__path__.append({str(ROOT / 'pipelines')!r})\n")
    (package / "cli.py").write_text(
        "import os, pathlib, signal, time\n"
        "from pipelines.console import _leave, run_job\n"
        f"if os.environ['RANK'] == '0':\n    {first}\nelse:\n    {second}\n"
    )


@pytest.mark.slow  # two trainings of two processes, each of which loads torch
def test_after_a_signal_none_is_left_and_the_same_command_goes_on(drawn_case: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = write(tmp_path, drawn_case, training={**TRAINING, "steps": 100_000, "save_every": 5})
    command = ("-m", "pipelines.cli", "train", "--config", config, "--out", out, "--processes", 2)
    with started(*command) as job:
        wait_for(lambda: (out / "state.pt").is_file() or job.poll() is not None)
        processes = members(job.pid)
        assert len(processes) >= 4, "this one, torchrun and two of the job"
        job.send_signal(signal.SIGTERM)
        said = job.communicate(timeout=60)[1]
    assert job.returncode == -signal.SIGTERM
    assert "Traceback" not in said
    assert not any(members(pid) for pid in processes)
    reached = len((out / "metrics.jsonl").read_text().splitlines())
    with started(*command) as job:
        wait_for(lambda: len((out / "metrics.jsonl").read_text().splitlines()) > reached or job.poll() is not None)
        assert job.poll() is None, "the lock is free and the state is gone on from"


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (signal.SIGINT, 130, "interrupted: the same command goes on where this one stopped\n"),
        (signal.SIGHUP, -signal.SIGHUP, ""),
    ],
)
def test_signals_end_as_in_one_process(tmp_path: Path, number: signal.Signals, code: int, told: str) -> None:
    works = "run_job(lambda _: (pathlib.Path(f\"started{os.environ['RANK']}\").touch(), time.sleep(60)), as_json=False)"
    stand_in(tmp_path, works, works)
    program = (
        "import signal\n"
        # A process started in the background inherits an ignored SIGINT; at a keyboard it is not ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "from pipelines.console import run_job\n"
        "from pipelines.launch import launch\n"
        "run_job(lambda progress: launch(['train'], 2), as_json=False)"
    )
    with started("-c", program, folder=tmp_path) as job:
        wait_for(lambda: len(list(tmp_path.glob("started*"))) == 2 or job.poll() is not None)
        processes = members(job.pid)
        job.send_signal(number)
        assert job.communicate(timeout=60)[1] == told
    assert job.returncode == code
    assert not any(members(pid) for pid in processes)


@pytest.mark.parametrize(
    ("tables", "error", "message"),
    [
        (
            {"training": {**TRAINING, "batch_size": 5}},
            ConfigError,
            "training: batch_size: a batch of 5 .* multiple of 2",
        ),
        ({"training": {"stpes": 3}}, ConfigError, r"train\.toml: training: unknown key 'stpes'"),
        ({"model": {"widht": 3}}, ConfigError, r"train\.toml: model: unknown key 'widht'"),
        ({"heads": "new"}, ConfigError, "there is none to start from"),
        ({"data": [{"manifest": "gone"}]}, ManifestError, "gone"),
    ],
)
def test_mistakes_are_told_before_any_process_starts(
    drawn_case: Any, tmp_path: Path, tables: Any, error: type[Exception], message: str
) -> None:
    """They are of their own kind: what comes from a process of the job is an InputError."""
    with pytest.raises(error, match=message):
        train(config=write(tmp_path, drawn_case, **tables), out=tmp_path / "out", processes=2)
    assert not (tmp_path / "out").exists()


def test_a_mistake_in_the_processes_is_told_once(tmp_path: Path) -> None:
    """Where it can only be found there, with nothing of torchrun's around it."""
    program = (
        "from pipelines.console import run_job\n"
        "from pipelines.launch import launch\n"
        "run_job(lambda progress: launch(['train', '--config', 'nowhere.toml', '--out', 'nowhere'], 2), as_json=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: nowhere.toml: cannot be read")


# What each of two processes does, as Python; what the launcher raises.
@pytest.mark.parametrize(
    ("first", "second", "error", "message"),
    [
        ("_leave('error: full', 1)", "time.sleep(60)", WorkError, "^full$"),
        ("time.sleep(60)", "_leave('error: no image', 2)", InputError, "^no image$"),
        # The other one fails because of it, and may be faster to end.
        ("_leave('error: mine', 2)", "time.sleep(1); _leave('error: because', 1)", InputError, "^mine$"),
        ("time.sleep(60)", "os.kill(os.getpid(), signal.SIGKILL)", WorkError, "one of the 2 .* by a signal, Killed"),
        ("time.sleep(60)", "1 / 0", WorkError, "train: one of the 2 processes failed.*last saved state"),
    ],
)
def test_who_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    first: str, second: str, error: type[Exception], message: str,
) -> None:  # fmt: skip
    stand_in(tmp_path, first, second)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        launch(["train"], 2)
    said = capfd.readouterr().err
    assert ("ZeroDivisionError" in said) == ("1 / 0" in second), "mistakes of ours keep their traceback"
    assert "1 / 0" in second or not said
    assert "ChildFailedError" not in said


def test_a_process_of_a_job_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert not is_launched()
    monkeypatch.setenv("RANK", "1")
    assert is_launched()


# The environment of a process; whether it writes on stderr; whether it leaves word.
@pytest.mark.parametrize(
    ("rank", "file", "ours", "speaks"),
    [
        (None, False, False, True),
        ("0", True, True, False),  # the launcher tells
        ("1", True, True, False),
        ("0", True, False, True),  # somebody's torchrun tells, after a table of its own
        ("1", True, False, False),
        ("1", False, False, True),  # a job that nobody tells of
    ],
)
def test_who_speaks_of_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    rank: str | None, file: bool, ours: bool, speaks: bool,
) -> None:  # fmt: skip
    path = tmp_path / "error.json"
    for name, value in (("RANK", rank), ("TORCHELASTIC_ERROR_FILE", file and str(path)), ("AUTOLABEL_LAUNCHED", ours)):
        monkeypatch.setenv(name, str(value)) if value else monkeypatch.delenv(name, raising=False)

    def fail(_: object) -> Any:
        raise InputError("is wrong", subject="it")

    with pytest.raises(SystemExit) as left:
        run_job(fail, as_json=False)
    assert left.value.code == 2
    assert capsys.readouterr().err == ("error: it: is wrong\n" if speaks else "")
    assert path.is_file() == file
    if file:
        word = json.loads(path.read_text())
        assert (word["message"], word["exit_code"]) == ("error: it: is wrong", 2)


def test_a_word_that_cannot_be_left_is_spoken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOLABEL_LAUNCHED", "1")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "gone" / "error.json"))
    assert not tell_launcher("error: full", 1)


@pytest.mark.parametrize(("cores", "told"), [(6, "3"), (1, "1"), (None, "1")])
def test_threads_where_the_system_tells_no_affinity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cores: int | None, told: str
) -> None:
    """As on macOS: the processes share all cores."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").write_text(f'#!/bin/sh\necho "$OMP_NUM_THREADS" > {tmp_path}/threads\n')
    (tmp_path / "python").chmod(0o755)
    launch(["train"], 2)
    assert (tmp_path / "threads").read_text() == f"{told}\n"
