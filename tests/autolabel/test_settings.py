"""Settings: what is refused, and in which words."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from autolabel.errors import ConfigError
from autolabel.settings import Settings


class Engine(Settings):
    fuel: Literal["petrol", "diesel"] = "petrol"
    power: float = Field(70.0, gt=0)


class Car(Settings):
    name: str
    engine: Engine = Engine()
    wheels: tuple[Engine, ...] = ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a", "engin": {}}, "car.toml: unknown key 'engin'; did you mean 'engine'?"),
        ({"name": "a", "colour": 1}, "car.toml: unknown key 'colour'; known keys: name, engine, wheels"),
        ({"name": "a", "engine": {"powr": 1}}, "car.toml: engine: unknown key 'powr'; did you mean 'power'?"),
        ({"name": "a", "wheels": [{}, {"fule": 1}]}, "car.toml: wheels.1: unknown key 'fule'; did you mean 'fuel'?"),
        ({"name": "a", 3: 1}, "car.toml: unknown key 3; known keys: name, engine, wheels"),
        ({}, "car.toml: name: Field required"),
        ({"name": "a", "engine": {"power": 0}}, "car.toml: engine.power: Input should be greater than 0, not 0"),
        (
            {"name": "a", "engine": {"fuel": "steam"}},
            "car.toml: engine.fuel: Input should be 'petrol' or 'diesel', not 'steam'",
        ),
        (
            {"name": "a", "engine": 5},
            "car.toml: engine: Input should be a valid dictionary or instance of Engine, not 5",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(values: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Car.parse(values, subject="car.toml")
    assert str(caught.value) == message


def test_a_misspelt_argument_is_refused_without_a_file_too() -> None:
    with pytest.raises(ValidationError, match="did you mean 'power'"):
        Engine(powr=1)  # type: ignore[call-arg]


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Engine().power = 3  # type: ignore[misc]


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "car.toml").write_text('name = "a"\n[engine]\npower = 3\n')
    assert Car.load(tmp_path / "car.toml") == Car(name="a", engine=Engine(power=3))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name = ", "is not TOML"), (b"name = '\xff'", "is not TOML"), (None, "cannot be read: No such file")],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "car.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"car\.toml: {message}"):
        Car.load(file)
