"""What a user reads when something is wrong, and the exit codes of the two families."""

import pickle

import pytest

from autolabel import errors
from autolabel.errors import AutolabelError, FormatError, ImageError, InputError, ManifestError, WorkError

TREE = [value for value in vars(errors).values() if isinstance(value, type)]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("is empty"), "is empty"),
        (InputError("is empty", subject="photos"), "photos: is empty"),
        (InputError("is empty", remedy="Add images."), "is empty. Add images."),
        (WorkError("it said: No such table.", remedy="See its log."), "it said: No such table. See its log."),
        (WorkError("it said: and so on...", remedy="See its log."), "it said: and so on... See its log."),
        (ManifestError("is damaged", subject="m", remedy="Make it again."), "m: is damaged. Make it again."),
        (
            FormatError("is not a number", record="annotations[12]", field="bbox", subject="a.json"),
            "a.json: annotations[12].bbox: is not a number",
        ),
        (FormatError("is missing", field="images"), "images: is missing"),
        (FormatError("is not JSON", subject="a.json"), "a.json: is not JSON"),
    ],
)
def test_a_message_says_where_what_and_what_to_do(error: AutolabelError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize("kind", TREE)
def test_every_error_is_of_one_family(kind: type[AutolabelError]) -> None:
    assert issubclass(kind, AutolabelError)
    wrong_input = issubclass(kind, InputError)
    assert kind.exit_code == (2 if wrong_input else 1)
    assert wrong_input or kind is AutolabelError or issubclass(kind, WorkError)
    assert kind.__name__ in (errors.__doc__ or ""), "the tree in the docstring leaves it out"


def test_errors_cross_processes_whole() -> None:
    sent = [
        InputError("a", subject="b", remedy="c"),
        FormatError("a", record="r", field="f", subject="b", remedy="c"),
        ImageError("a", reason="truncated", subject="b", remedy="c"),
    ]
    for error in sent:
        received = pickle.loads(pickle.dumps(error))
        assert type(received) is type(error)
        assert str(received) == str(error)
        assert vars(received) == vars(error)
