"""Files that cannot be written are named, whatever writes them."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from autolabel.writing import naming


def test_an_error_without_a_name_gets_one() -> None:
    with pytest.raises(OSError, match="No space left") as raised, naming("answers.m"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == "answers.m"


def test_an_error_with_a_name_keeps_it_and_others_are_left_alone() -> None:
    with pytest.raises(OSError, match="images/a") as raised, naming("answers.m"):
        raise OSError(errno.EACCES, "Permission denied", "images/a.png")
    assert raised.value.filename == "images/a.png"
    with pytest.raises(OSError, match="no number") as raised, naming("answers.m"):
        raise OSError("no number")
    assert raised.value.filename is None


WRITERS = {
    "write_text": "from autolabel.manifest import write_text; write_text(path, 'x' * 9000)",
    "append_lines": "from autolabel.labelstudio.folder import append_lines; append_lines(path, [{'x': 'x' * 9000}])",
    "new_file": (
        "from autolabel.formats.output import new_file\n"
        "with new_file(path, overwrite=True) as file: file.write('x' * 9000)"
    ),
    "write_picture": (
        "from autolabel.report.picture_file import write_picture\n"
        "write_picture(path, lambda file: file.write_bytes(bytes(9000)))"
    ),
    "manifest": (
        "from autolabel.manifest import write_manifest\n"
        "from autolabel.skeleton import Skeleton\n"
        "write_manifest(path, [], Skeleton.load('coco17'), {}, stage='x' * 9000)"
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_may_not_grow_is_named(writer: str, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: a write of an open file fails."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "path = Path(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        f"try:\n    exec({WRITERS[writer]!r})\n"
        "except OSError as error:\n    print(error.errno, error.filename)\n"
    )
    target = tmp_path / "there"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(target)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    number, name = done.stdout.strip().split(" ", 1)
    assert int(number) == errno.EFBIG
    assert Path(name).is_relative_to(target)
    assert not name.endswith(".tmp")
