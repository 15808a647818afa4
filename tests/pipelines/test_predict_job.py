"""A question to `predict` travels: what it names is found from any working directory."""

from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from pipelines.predict_job import Question


def test_paths_hold_anywhere_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = [each.name for each in fields(Question) if Path in get_args(each.type)]
    assert set(named) == {"weights", "boxes", "boxes_images", "detector", "quality"}
    for name in named:
        (tmp_path / name).touch()
    asked = Question(**{name: name for name in named}, precision="bf16").absolute()
    assert [getattr(asked, name) for name in named] == [tmp_path / name for name in named]
    assert asked.precision == "bf16"
    far = Question(weights="owner/network", detector="owner/detector")
    assert far.absolute() == far
