"""A project's settings, and the TOML that is written for them."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolabel.errors import ConfigError
from autolabel.project import read_project, to_toml

NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
PLAIN = st.one_of(
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text('aä"\\ \n', min_size=1, max_size=6),
    st.booleans(),
    st.lists(st.integers(-9, 9), min_size=1, max_size=3),
)
TABLES = st.recursive(
    st.dictionaries(NAMES, PLAIN, min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, st.one_of(PLAIN, inner), min_size=1, max_size=3),
    max_leaves=8,
)


@given(TABLES)
def test_toml_says_what_was_meant(values: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(values)) == values


def test_a_folder_without_settings_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="autolabel init"):
        read_project(tmp_path)


def test_an_impossible_promise_is_refused(tmp_path: Path) -> None:
    (tmp_path / "autolabel.toml").write_text('name = "p"\n[corpus]\nimages = "i"\n[promise]\nmax_bad = 2.0\n')
    with pytest.raises(ConfigError, match=r"promise\.max_bad"):
        read_project(tmp_path)
