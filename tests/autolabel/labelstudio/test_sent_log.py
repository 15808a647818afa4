"""What was sent to which project, the last line of each task."""

from pathlib import Path

import pytest

from autolabel.errors import FormatError
from autolabel.labelstudio.sent_log import FORM, log_sent, read_sent

URL = "http://127.0.0.1:8080"


def test_the_last_line_of_a_project_counts(tmp_path: Path) -> None:
    path = tmp_path / "server.jsonl"
    assert read_sent(path, URL, 3) == {}
    log_sent(path, URL, 3, [("a", 0, "d1"), ("b", 0, "d2"), (FORM, 3, "f")])
    log_sent(path, URL, 4, [("a", 17, "d9")])
    log_sent(path, "http://other", 3, [("a", 19, "d8")])
    log_sent(path, URL, 3, [("a", 11, "d1")])
    found = {task: (sent.number, sent.digest) for task, sent in read_sent(path, URL, 3).items()}
    assert found == {"a": (11, "d1"), "b": (0, "d2"), FORM: (3, "f")}


@pytest.mark.parametrize("line", ['{"project": 3}', '{"project": 3, "task": "a", "number": 1, "digest": "d", "at": 5}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "server.jsonl"
    log_sent(path, URL, 3, [("a", 11, "d1")])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(FormatError, match="line 2"):
        read_sent(path, URL, 3)
