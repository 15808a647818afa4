"""The distribution: three generic names that are ours alone, complete wheels, a command that answers fast."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import autolabel

ROOT = Path(__file__).parents[1]
PACKAGES = ("autolabel", "model", "pipelines")

# Any of these takes a good part of the second that `autolabel --help` has, or is brought by one that does.
HEAVY = {
    "accelerate",
    "fiftyone",
    "lightgbm",
    "matplotlib",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "timm",
    "torch",
}
HEAVY |= {"label_studio_sdk", "numpy", "PIL", "pydantic_settings", "pycocotools", "transformers"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in a wheel built from this tree."""
    [built] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_brings_our_names(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"skeleton-autolabel"}


@pytest.mark.parametrize("package", PACKAGES)
def test_an_import_from_anywhere_finds_our_tree(package: str, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-I", "-c", f"import importlib.util as u; print(u.find_spec({package!r}).origin)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert Path(found.stdout.strip()) == ROOT / package / "__init__.py"


def test_the_command_is_installed() -> None:
    [command] = entry_points(group="console_scripts", name="autolabel")
    assert command.value == "pipelines.cli:main"


def test_the_wheel_holds_every_source_and_data_file_and_nothing_else(wheel: list[str]) -> None:
    ours = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    packed = {name for name in wheel if ".dist-info/" not in name}
    assert packed == ours
    assert {"autolabel/skeletons/coco17.json", "autolabel/skeletons/wholebody133.json"} <= packed


def test_the_wheel_says_who_it_is(wheel: list[str]) -> None:
    info = f"skeleton_autolabel-{autolabel.__version__}.dist-info"
    assert {f"{info}/METADATA", f"{info}/entry_points.txt", f"{info}/licenses/LICENSE"} <= set(wheel)


def test_help_imports_nothing_heavy() -> None:
    program = "import sys; import pipelines.cli_docs as d; d.cli_markdown(); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert "typer" in imported
    assert imported & HEAVY == set()


def test_help_answers_in_under_a_second() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pipelines.cli", "--help"], capture_output=True, cwd=ROOT, check=True)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 1.0


def test_requirements_are_lower_bounds_and_the_tested_set_meets_them() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    )
    tested = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    for text in [*project["dependencies"], *(line for lines in extras.values() for line in lines)]:
        required = Requirement(text)
        assert {clause.operator for clause in required.specifier} == {">="}, text
        if text in project["dependencies"] or text in extras["dev"]:
            assert required.specifier.contains(tested[required.name]), f"constraints.txt does not meet {text}"


def test_constraints_hold_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    assert "skeleton-autolabel" not in "\n".join(lines)


@pytest.mark.skipif(os.name != "posix", reason="the script is run by a POSIX shell")
def test_ci_sets_up_runs_the_two_targets_and_fails_when_any_does(tmp_path: Path) -> None:
    outer_make = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # of the make that runs this suite
    clean = {name: value for name, value in os.environ.items() if name not in outer_make}
    for failing, expected in [("", 0), ("check", 1), ("test", 1), ("setup", 1)]:
        repository = tmp_path / (failing or "none")
        (repository / ".ci").mkdir(parents=True)
        (repository / ".ci" / "run").write_bytes((ROOT / ".ci" / "run").read_bytes())
        rules = (f"{t}:\n\t@echo ran {t}{'; false' if t == failing else ''}\n" for t in ("setup", "check", "test"))
        (repository / "Makefile").write_text("".join(rules))
        script = repository / ".ci" / "run"
        done = subprocess.run(["bash", script], env=clean, capture_output=True, text=True, check=False)
        assert bool(done.returncode) == bool(expected)
        ran = [line for line in done.stdout.splitlines() if line.startswith("ran")]
        both = ["ran test", "ran check"]  # beside each other; what the checks say comes last
        assert ran == ["ran setup", *(both if failing != "setup" else [])]


@pytest.mark.skipif(os.name != "posix", reason="the script is run by a POSIX shell")
@pytest.mark.parametrize(
    ("programs", "asked", "said"),
    [
        ({"chromium": "exit 0", "apt-get": "exit 1"}, [], ""),
        ({"id": "echo 1000", "apt-get": "exit 0"}, [], "skipped"),
        ({"id": "echo 0"}, [], "skipped"),
        ({"id": "echo 0", "apt-get": "exit 0"}, ["update", "chromium"], ""),
        ({"id": "echo 0", "apt-get": "exit 100"}, ["update"], "skipped"),  # no network
    ],
)
def test_ci_goes_on_whether_or_not_there_is_a_browser(
    programs: dict[str, str], asked: list[str], said: str, tmp_path: Path
) -> None:
    log = tmp_path / "asked"
    log.touch()
    for name, does in {"timeout": 'shift; exec "$@"', **programs}.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        note = f'echo "$@" >>{log}\n' if name == "apt-get" else ""
        program.write_text(f"#!{shutil.which('bash')}\n{note}{does}\n")
        program.chmod(0o755)
    done = subprocess.run(
        [str(shutil.which("bash")), ROOT / ".ci" / "install-chromium"],
        env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert [line.split()[-1] for line in log.read_text().splitlines()] == asked
    assert said in done.stderr if said else not done.stderr
