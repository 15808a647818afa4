"""Strict settings: what is misspelt is named, with the nearest thing that is known."""

from pathlib import Path

import pytest

from autolabel.errors import ConfigError
from autolabel.settings import Settings


class Inner(Settings):
    rate: float = 0.1


class Outer(Settings):
    steps: int = 5
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"step": 3}, "unknown key 'step'. Did you mean 'steps'?"),
        ({"inner": {"rat": 1}}, "unknown key 'inner.rat'. Did you mean 'rate'?"),
        ({"zzz": 1}, "Known keys: steps, inner."),
        ({"steps": "many"}, "steps: Input should be a valid integer"),
    ],
)
def test_what_is_wrong_is_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.parse(data, subject="recipe.toml")
    assert str(caught.value).startswith("recipe.toml: ")
    assert message in str(caught.value)


def test_a_file_is_read_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    with pytest.raises(ConfigError, match="no such file"):
        Outer.load(file)
    file.write_text("steps = [")
    with pytest.raises(ConfigError, match="is not TOML"):
        Outer.load(file)
    file.write_text("steps = 7\n[inner]\nrate = 0.5\n")
    assert Outer.load(file) == Outer(steps=7, inner=Inner(rate=0.5))
