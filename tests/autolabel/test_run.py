"""A run knows what made it, goes on after a kill, and never mixes or removes what is not its own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import ExistsError, WorkError
from autolabel.manifest import COMMIT, Existing
from autolabel.run import DONE, RECORD, Run, RunState, file_digest, read_done


def opened(path: Path, **changes: Any) -> Run:
    given: dict[str, Any] = {"config": {"threshold": 0.5}, "inputs": {"manifest": "abc"}, "commit": DONE}
    return Run.open(path, changes.pop("stage", "score"), **(given | changes))


def test_new_then_resumed_then_done(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        assert run.state is RunState.NEW
    with opened(tmp_path / "run") as run:
        assert run.state is RunState.RESUMED
        assert read_done(run.path) is None
        run.finish({"rows": 3})
    with opened(tmp_path / "run") as run:
        assert run.state is RunState.DONE
    assert read_done(tmp_path / "run") == {"key": run.key, "rows": 3}


def test_a_manifest_can_be_the_commit(tmp_path: Path) -> None:
    opened(tmp_path, commit=COMMIT).close()
    (tmp_path / DONE).write_text("{}")
    with opened(tmp_path, commit=COMMIT) as run:
        assert run.state is RunState.RESUMED
    (tmp_path / COMMIT).write_text("{}")
    with opened(tmp_path, commit=COMMIT) as run:
        assert run.state is RunState.DONE


def test_the_record_tells_what_made_it(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        record = json.loads((tmp_path / RECORD).read_text())
    assert record["key"] == run.key
    assert record["stage"] == "score"
    assert record["config"] == {"threshold": 0.5}
    assert record["inputs"] == {"manifest": "abc"}
    assert record["made"]["argv"] == sys.argv
    assert record["made"]["versions"]["numpy"]


@pytest.mark.parametrize(
    "change", [{"stage": "route"}, {"config": {"threshold": 0.6}}, {"inputs": {"manifest": "abd"}}, {"config": {}}]
)
def test_another_stage_config_or_input_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with opened(tmp_path) as run:
        run.finish({})
    before = (tmp_path / RECORD).read_text()
    with pytest.raises(ExistsError, match=r"result of another run.*--overwrite"):
        opened(tmp_path, **change)
    assert (tmp_path / RECORD).read_text() == before
    with opened(tmp_path, **change, existing=Existing.OVERWRITE) as run:
        assert run.state is RunState.NEW
        assert not (tmp_path / DONE).exists()


def test_the_order_of_keys_is_no_difference(tmp_path: Path) -> None:
    with opened(tmp_path, config={"a": 1, "b": 2}) as first:
        pass
    with opened(tmp_path, config={"b": 2, "a": 1}) as second:
        assert second.state is RunState.RESUMED
    assert first.key == second.key


def test_the_error_policy_refuses_even_the_same_run(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(ExistsError):
        opened(tmp_path, existing=Existing.ERROR)


@pytest.mark.parametrize("existing", list(Existing))
def test_a_folder_of_others_is_refused_and_left_as_it_was(tmp_path: Path, existing: Existing) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(ExistsError, match="autolabel did not make"):
        opened(tmp_path, existing=existing)
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == [("photo.jpg", b"mine")]


def test_overwrite_removes_only_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "beside.txt").write_text("mine")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_text("mine")
    with opened(tmp_path / "run") as run:
        (run.path / "part").mkdir()
        (run.path / "part" / "0.json").write_text("old")
        (run.path / "link").symlink_to(tmp_path / "images")
        run.finish({})
    with opened(tmp_path / "run", existing=Existing.OVERWRITE) as run:
        assert {entry.name for entry in run.path.iterdir()} == {RECORD, "run.log", ".lock"}
    assert (tmp_path / "images" / "a.jpg").read_text() == "mine"
    assert (tmp_path / "beside.txt").read_text() == "mine"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(ExistsError, match="a file stands"):
        opened(tmp_path / "run")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff"])
def test_a_damaged_record_counts_as_another_run(tmp_path: Path, content: bytes) -> None:
    opened(tmp_path).close()
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(ExistsError, match="--overwrite"):
        opened(tmp_path)
    with opened(tmp_path, existing=Existing.OVERWRITE) as run:
        assert run.state is RunState.NEW


def test_two_processes_never_work_on_one_folder(tmp_path: Path) -> None:
    with opened(tmp_path):
        with pytest.raises(WorkError, match="another process"):
            opened(tmp_path)
        with pytest.raises(WorkError):
            opened(tmp_path, existing=Existing.OVERWRITE)
        assert (tmp_path / RECORD).exists()
    with opened(tmp_path) as run:
        assert run.state is RunState.RESUMED


CHILD = """
import sys
from autolabel.run import DONE, Run
run = Run.open(sys.argv[1], "score", config={"threshold": 0.5}, inputs={"manifest": "abc"}, commit=DONE)
print("ready", flush=True)
sys.stdin.read()
"""


def test_kill_9_lets_go_of_the_lock_and_the_run_goes_on(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(WorkError):
            opened(tmp_path)
        child.send_signal(signal.SIGKILL)
    with opened(tmp_path) as run:
        assert run.state is RunState.RESUMED


def test_kill_9_before_the_record_was_written_is_a_new_run(tmp_path: Path) -> None:
    """All that such a process leaves is the lock and a half-written temporary file."""
    (tmp_path / ".lock").touch()
    (tmp_path / f".{RECORD}.4242.tmp").write_text('{"key"')
    with opened(tmp_path) as run:
        assert run.state is RunState.NEW
    assert not list(tmp_path.glob("*.tmp"))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may remove anything; for a while we are nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_overwrite_that_stops_half_way_leaves_no_result_and_a_folder_still_known_as_ours() -> None:
    with tempfile.TemporaryDirectory() as base, unprivileged_folder(Path(base)) as folder:
        with opened(folder) as run:
            run.finish({})
        stuck = folder / "stuck"
        stuck.mkdir()
        (stuck / "file").touch()
        stuck.chmod(0o500)
        with pytest.raises(PermissionError):
            opened(folder, existing=Existing.OVERWRITE)
        assert not (folder / DONE).exists()
        assert (folder / RECORD).exists()
        stuck.chmod(0o700)
        with opened(folder, existing=Existing.OVERWRITE) as run:
            assert run.state is RunState.NEW
            assert not stuck.exists()


@contextmanager
def unprivileged_folder(base: Path) -> Iterator[Path]:
    base.chmod(0o777)
    with unprivileged():
        yield base / "run"


def test_the_log_keeps_errors_and_odd_names(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), opened(tmp_path) as run:
        run.log("image \udcff.jpg set aside")
        raise ZeroDivisionError("while scoring")
    lines = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "score: new",
        "image \\udcff.jpg set aside",
        "stopped: ZeroDivisionError: while scoring",
    ]


def test_the_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bytes" * 100_000)
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"bytes" * 100_000).hexdigest()
