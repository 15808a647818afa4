from pathlib import Path

import pytest

from autolabel.errors import FormatError
from autolabel.formats.yaml_files import read_yaml, yaml_text

GOOD = "train: images\nnames: [fox]\nkpt_shape: [2, 3]\n"


def read(tmp_path: Path, text: str | bytes):
    (tmp_path / "data.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_yaml(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("train: [a\nnames", r"is not YAML: .* at line \d", id="broken"),
        pytest.param(b"names: \xff\n", "is not UTF-8 at byte 7", id="not UTF-8"),
        pytest.param("a: \x07", "is not YAML: ", id="a control character"),
        pytest.param("a: &x [1]\nb: *x\n", "line 2: YAML aliases are not read", id="an alias"),
        pytest.param("a: 1\nb: !!python/object:os.system {}\n", "line 2: YAML tags are not read", id="an object"),
        pytest.param("a: !!timestamp x\n", "line 1: YAML tags are not read", id="a tag that PyYAML stumbles over"),
        pytest.param("a: 2021-99-99\n", "a value that cannot be", id="no date"),
        pytest.param("a: " + "9" * 5000, "a value that cannot be", id="an endless number"),
        pytest.param("[" * 5000 + "]" * 5000, "line 1: is nested more than 20 deep", id="deep"),
        pytest.param("a: " + "x" * 2**20, "is larger than 1 MiB", id="large"),
        pytest.param(GOOD + "names: [dog]\n", "line 4: the key 'names' stands twice", id="a key twice"),
        pytest.param(GOOD + "---\na: 1\n", "is not YAML: ", id="two documents"),
    ],
)
def test_what_is_not_read_is_refused_by_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as raised:
        read(tmp_path, text)
    assert "data.yaml" in str(raised.value)


def test_a_bomb_costs_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    with pytest.raises(FormatError, match="line 2: YAML aliases"):
        read(tmp_path, "\n".join(lines))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "data.yaml")
    (tmp_path / "data.yaml").mkdir()
    with pytest.raises(FormatError, match="is not a file"):
        read_yaml(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "no", "1e3", "ü # : ' \n"], 0: {"b": []}},
        [[1, 0], [2, 3]],
        {"names": {0: "on", 1: "2024-01-01", 2: "~"}},
    ],
)
def test_what_is_written_is_read(tmp_path: Path, value: object) -> None:
    assert read(tmp_path, yaml_text(value)) == value


def test_the_same_list_twice_is_written_twice(tmp_path: Path) -> None:
    names = ["nose", "tail"]
    assert read(tmp_path, yaml_text({0: names, 1: names})) == {0: names, 1: names}
