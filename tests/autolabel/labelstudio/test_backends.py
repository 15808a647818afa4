"""Telling a server of the backend: once, whatever address it has, and what a server says that refuses it."""

from collections.abc import Iterator
from typing import Any

import pytest

from autolabel.errors import InputError
from autolabel.labelstudio.access import Access
from autolabel.labelstudio.backends import EVENTS, Backends
from tests.labelstudio_double import LEGACY, Asked, Double, Said, serving

Record = dict[str, Any]


class Registry:
    """What a server knows of backends and webhooks; ``refuses`` is what it says to an address on its own machine."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Record]] = {"ml": [], "webhooks": []}
        self.refuses = ""

    def __call__(self, asked: Asked) -> Said:
        kind, *number = asked.path.strip("/").split("/")[1:]
        if asked.method == "GET":
            return Said(200, self.kept[kind])
        if self.refuses:
            return Said(403, {"detail": self.refuses})
        if asked.method == "PATCH":
            (record,) = [one for one in self.kept[kind] if one["id"] == int(number[0])]
            record |= asked.json
        else:
            record = {"id": len(self.kept[kind]) + 5, "state": "CO", **asked.json}
            self.kept[kind].append(record)
        return Said(200, record)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def double(registry: Registry) -> Iterator[Double]:
    with serving(registry) as running:
        yield running


def test_a_backend_is_there_once_and_moves_with_its_address(registry: Registry, double: Double) -> None:
    registry.kept["ml"].append({"id": 1, "title": "segments", "url": "http://there", "is_interactive": False})
    backends = Backends(Access(double.url, LEGACY))
    numbers = [backends.connect(7, f"http://here:{port}", "autolabel", "secret") for port in (9090, 9091)]
    assert numbers[0] == numbers[1]
    other, ours = backends.of(7)
    assert (other.title, other.answers, other.interactive) == ("segments", False, False)
    assert (ours.id, ours.url, ours.answers, ours.interactive) == (numbers[0], "http://here:9091", True, True)
    told = registry.kept["ml"][1]
    assert (told["auth_method"], told["basic_auth_user"], told["basic_auth_pass"]) == (
        "BASIC_AUTH", "autolabel", "secret",
    )  # fmt: skip


def test_a_webhook_is_there_once_and_keeps_its_events(registry: Registry, double: Double) -> None:
    registry.kept["webhooks"].append({"id": 1, "url": "http://there", "headers": {}})
    backends = Backends(Access(double.url, LEGACY))
    numbers = [backends.notify(7, f"http://here:{port}/webhook", "Basic abc") for port in (9090, 9091)]
    assert numbers[0] == numbers[1]
    assert len(registry.kept["webhooks"]) == 2
    hook = registry.kept["webhooks"][1]
    assert (hook["url"], hook["actions"], hook["send_payload"]) == ("http://here:9091/webhook", list(EVENTS), False)


def test_a_server_that_refuses_says_why(registry: Registry, double: Double) -> None:
    registry.refuses = "URL resolves to a reserved network address (block: 127.0.0.0/8)"
    backends = Backends(Access(double.url, LEGACY))
    with pytest.raises(InputError, match="reserved network address"):
        backends.connect(7, "http://127.0.0.1:9090", "autolabel", "secret")
    with pytest.raises(InputError, match="reserved network address"):
        backends.notify(7, "http://127.0.0.1:9090/webhook", "Basic abc")
