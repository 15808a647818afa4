"""The schedule of the learning rate, and settings that cannot be."""

import math

import pytest

from autolabel.errors import ConfigError
from model.recipe import Training


def test_learning_rates() -> None:
    how = Training(steps=110, warmup_steps=10, learning_rate=1.0)
    assert how.rate(0) == 0.1
    assert how.rate(9) == how.rate(10) == 1.0
    assert how.rate(35) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))
    assert how.rate(60) == pytest.approx(0.5)
    assert 0 < how.rate(109) < 1e-3
    assert Training(steps=10, warmup_steps=0, learning_rate=1.0).rate(0) == 1.0
    assert Training(steps=5, warmup_steps=10, learning_rate=1.0).rate(4) == 0.5, "all of it warm-up"


def test_the_official_drops() -> None:
    """x0.1 after 170 and 200 of 210 epochs (``vitpose.md`` 4.2)."""
    how = Training(steps=2100, warmup_steps=10, learning_rate=1.0, schedule="steps")
    rates = [how.rate(step) for step in (10, 1699, 1700, 1999, 2000, 2099)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert how.rate(4) == 0.5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("layer_decay", 1.5),
        ("ema", 1.0),
        ("accumulate", 9),
        ("schedule", "linear"),
        ("drops", (0.9, 0.8)),
        ("betas", (0.9, 1.0)),
        ("patience", 2),
        ("device", "tpu"),
        ("precision", "fp8"),
        ("learning_rte", 1.0),
    ],
)
def test_impossible_settings_are_refused(field, value) -> None:
    with pytest.raises(ConfigError, match=field):
        Training.parse({"batch_size": 8, field: value}, subject="training")
