"""``autolabel serve``: what it needs before it serves, its password, its address, and how it tells the server."""

import json
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch

from autolabel.errors import AutolabelError, CheckpointError, ConfigError, InputError
from autolabel.labelstudio.access import save_token, write_settings
from autolabel.skeleton import Skeleton
from model.checkpoint import save_model
from model.config import ViTPoseConfig
from model.vitpose import build_vitpose
from pipelines.init import init
from pipelines.serve import ServeResult, listening, password_file, password_of, serve
from pipelines.serve_app import serve_app
from pipelines.serve_login import basic
from tests.doubles import Recorder
from tests.labelstudio_double import LEGACY, Asked, Said, serving
from tests.pipelines.served import backend


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = ViTPoseConfig(input_size=(64, 48), patch_size=8, width=32, depth=1, heads=2, deconv_channels=16)
    model = build_vitpose(config, Skeleton.load("coco17"))
    return save_model(model, tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    folder = init(tmp_path / "project", images=tmp_path / "images", skeleton="coco17").folder
    write_settings(folder, smart=True)
    return folder


def health(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
        return json.load(answer)["status"]


def test_it_serves_on_this_machine_until_it_is_told_to_stop(project: Path, weights: Path) -> None:
    seen = list[tuple[str, str]]()
    told = Recorder()
    result = serve(
        project=project,
        weights=weights,
        port=0,
        device="cpu",
        until=lambda url: seen.append((url, health(url))),
        progress=told,
    )
    ((url, said),) = seen
    assert (url.rpartition(":")[0], said) == ("http://127.0.0.1", "UP")
    assert result == ServeResult(url, str(weights), 0)
    assert password_of(project) not in " ".join(told.notes)
    with pytest.raises(OSError, match="refused"):
        health(url)


def test_the_password_is_made_once_and_kept_from_others(project: Path) -> None:
    password = password_of(project)
    assert len(password) >= 32
    assert password_of(project) == password
    assert stat.S_IMODE(password_file(project).stat().st_mode) == 0o600
    password_file(project).chmod(0o644)
    with pytest.raises(InputError, match="others can read this password"):
        password_of(project)


def never(url: str) -> None:
    raise AssertionError(f"it serves on {url}")


@pytest.mark.parametrize(
    ("settings", "options", "error", "says"),
    [
        ({"smart": False}, {}, ConfigError, "smart is not set"),
        ({}, {"weights": None}, ConfigError, "gives no network.weights, and no round has trained a network yet"),
        ({}, {"weights": "no-such-folder"}, CheckpointError, "no-such-folder"),
        ({}, {"register": True}, InputError, "has no project on a server to register with"),
        ({}, {"host": "203.0.113.7"}, InputError, "cannot listen there"),
        ({}, {"host": "no.such.host.invalid"}, InputError, "cannot listen there"),
        ({}, {"device": "abacus"}, ConfigError, "abacus"),
    ],
)
def test_what_it_needs_is_told_before_it_serves(
    project: Path,
    weights: Path,
    settings: dict[str, Any],
    options: dict[str, Any],
    error: type[AutolabelError],
    says: str,
) -> None:
    write_settings(project, **settings)
    with pytest.raises(error, match=says):
        serve(project=project, until=never, **{"weights": weights, "port": 0, "device": "cpu", **options})


def test_a_taken_port_is_told(project: Path, weights: Path) -> None:
    with listening(serve_app(backend(project), "secret"), "127.0.0.1", 0) as url:
        with pytest.raises(InputError, match="cannot listen there: Address already in use"):
            serve(project=project, weights=weights, port=int(url.rpartition(":")[2]), device="cpu", until=never)
        assert health(url) == "UP"


@pytest.mark.parametrize("refuses", [False, True])
def test_it_tells_the_server_and_goes_on_without_a_webhook(
    project: Path, weights: Path, refuses: bool, tmp_path: Path
) -> None:
    def answer(asked: Asked) -> Said:
        kind = asked.path.strip("/").split("/")[1]
        if asked.method == "GET":
            return Said(200, [])
        if refuses and kind == "webhooks":
            return Said(403, {"detail": "URL resolves to a reserved network address"})
        return Said(201, {"id": 3, **asked.json})

    told = Recorder()
    with serving(answer) as double:
        write_settings(project, url=double.url, project=7)
        save_token(project, LEGACY)
        result = serve(
            project=project,
            weights=weights,
            port=0,
            register=True,
            address="http://labels.example:9090/",
            device="cpu",
            until=lambda url: None,
            progress=told,
        )
        posted = {asked.path.strip("/"): asked.json for asked in double.asked if asked.method == "POST"}
    assert result.registered == 3
    assert posted["api/ml"]["url"] == "http://labels.example:9090"
    assert posted["api/webhooks"]["url"] == "http://labels.example:9090/webhook"
    assert posted["api/webhooks"]["headers"] == {"Authorization": basic(password_of(project))}
    assert any("`loop run --wait` will notice answers at its next look" in note for note in told.notes) == refuses
    assert not any(LEGACY in note for note in told.notes)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_all_addresses_at_once_are_none_to_register(project: Path, weights: Path, host: str) -> None:
    with pytest.raises(InputError, match=r"no address that a server could reach this machine by.*Give --address"):
        serve(project=project, weights=weights, host=host, port=0, register=True, device="cpu", until=health)


def test_without_its_libraries_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from pipelines.serve import serve; serve(project='p')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'skeleton-autolabel[serve]'" in done.stderr
