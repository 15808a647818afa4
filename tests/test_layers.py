"""Who may import what: `pipelines -> model -> autolabel`, never back (docs/decisions/0001-three-packages.md).

The imports are read from the source, those inside functions too, so nothing needs to be installed or run.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("autolabel", "model", "pipelines")

# What a GPU host without our extras has: torch, torchvision, timm and what they bring, pydantic and pyarrow.
BARE = {"numpy", "PIL", "pyarrow", "pydantic"}
BARE_TORCH = {"torch", "torchvision", "timm", "safetensors", "huggingface_hub"}

# The files of `autolabel` that `model` may use. They, like `model`, import only what a bare GPU host has.
VOCABULARY = {
    "errors",
    "image_faults",
    "images",
    "manifest",
    "mapping",
    "poses",
    "presence",
    "progress",
    "run",
    "settings",
    "similarity",
}
VOCABULARY |= {"skeleton", "stages", "stores", "suppress", "synthetic_errors", "tables"}

AT_THE_TOP = {
    "autolabel": BARE | {"scipy"},
    "model": BARE | BARE_TORCH | {"accelerate"},
    "pipelines": BARE | {"torch", "typer", "starlette", "uvicorn"},
}
IN_FUNCTIONS = {
    "autolabel": {
        "av", "bson", "fiftyone", "fsspec", "h5py", "httpx", "imagehash", "jinja2", "label_studio_sdk", "lightgbm",
        "matplotlib", "pycocotools", "pymongo", "safetensors", "sklearn", "sleap_io", "umap", "yaml",
    },
    "model": {"cv2", "onnx", "onnxruntime", "onnxscript", "openvino", "peft", "transformers"},
    "pipelines": {"ray", "tqdm", "torchvision"},
}  # fmt: skip

# Libraries that one place wraps for everybody else: a file, or a folder ending in a slash.
ONE_PLACE = {
    "accelerate": "model/train",  # a bare GPU host lacks it, and predicts all the same
    "bson": "autolabel/curate/",
    "cv2": "model/warp.py",
    "fiftyone": "autolabel/curate/",
    "httpx": "autolabel/labelstudio/connection.py",  # what the SDK is made of
    "label_studio_sdk": "autolabel/labelstudio/connection.py",
    "peft": "model/partial.py",
    "pymongo": "autolabel/curate/",
    "ray": "pipelines/shards.py",
    "tqdm": "pipelines/console.py",
    "transformers": ("model/detect.py", "model/references.py"),
    "typer": "pipelines/cli",
}

PLUGIN = "autolabel/curate/plugin/"
"""FiftyOne loads a copy of it, and nothing of ours imports it: like a program, it may use all three packages."""


@dataclass(frozen=True)
class Import:
    file: str
    line: int
    module: str
    plain: bool
    lazy: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(source: str, file: str) -> Iterator[Import]:
    """Every import of a module; `lazy` are those in functions and under TYPE_CHECKING."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(file, child.lineno, alias.name, True, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield Import(file, child.lineno, "." * child.level + (child.module or ""), False, lazy)
                if not child.level and child.module in PACKAGES:  # from autolabel import poses
                    yield from (
                        Import(file, child.lineno, f"{child.module}.{alias.name}", False, lazy) for alias in child.names
                    )
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(child, ast.If) and ast.unparse(child.test) in (
                "TYPE_CHECKING",
                "typing.TYPE_CHECKING",
            )
            yield from walk(child, lazy or inside or typing)

    return walk(ast.parse(source, file), False)


def package_imports() -> list[Import]:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    assert len(files) > 10, "the three packages were not found"
    return [
        found
        for file in files
        for found in imports_of(file.read_text(encoding="utf-8"), file.relative_to(ROOT).as_posix())
    ]


IMPORTS = package_imports()


def violations(package: str, found: Import) -> str | None:
    """Why an import is not allowed in a file of `package`, or None."""
    stem = Path(found.file).stem
    if found.module.startswith("."):
        return "relative import"
    if found.plain and found.module == "model":
        return "`import model`: name what is used, `from model.vitpose import ViTPose`"
    if found.top in sys.stdlib_module_names or found.top == package:
        return "a program of its own" if found.module.startswith(PLUGIN.replace("/", ".")[:-1]) else None
    if found.file.startswith(PLUGIN) and found.top in ("fiftyone", *PACKAGES):
        return None
    if found.top in PACKAGES:
        if PACKAGES.index(found.top) > PACKAGES.index(package):
            return "goes against the direction"
        name = found.module.split(".")
        if package == "model" and (len(name) < 2 or name[1] not in VOCABULARY):
            return "model uses only the vocabulary files of autolabel"
        return None
    if found.top in AT_THE_TOP[package]:
        if package == "autolabel" and stem in VOCABULARY and found.top not in BARE and not found.lazy:
            return "vocabulary files import at their top only what a bare GPU host has"
        return None
    if found.top in IN_FUNCTIONS[package]:
        return None if found.lazy else "only inside the functions that need it"
    return "not in the table"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_the_table_allows(package: str) -> None:
    broken = [
        f"{found}: {reason}"
        for found in IMPORTS
        if found.file.startswith(f"{package}/") and (reason := violations(package, found))
    ]
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize("library", sorted(ONE_PLACE))
def test_a_wrapped_library_is_imported_in_one_place(library: str) -> None:
    place = ONE_PLACE[library]
    elsewhere = [str(i) for i in IMPORTS if i.top == library and not i.file.startswith(place)]
    assert not elsewhere, f"{library} belongs in {place}:\n" + "\n".join(elsewhere)


def test_a_heavy_library_of_autolabel_is_imported_by_one_file() -> None:
    users: dict[str, set[str]] = defaultdict(set)
    for found in IMPORTS:
        if found.file.startswith("autolabel/") and found.top in IN_FUNCTIONS["autolabel"]:
            users[found.top].add(found.file)
    shared = {
        library: sorted(files)
        for library, files in users.items()
        if len(files) > 1 and not str(ONE_PLACE.get(library, "")).endswith("/")
    }
    assert not shared


@pytest.mark.parametrize(
    ("package", "line", "allowed"),
    [
        ("autolabel", "import numpy as np", True),
        ("autolabel", "import torch", False),
        ("autolabel", "def f():\n    import torch", False),  # not even inside a function
        ("autolabel", "from model.vitpose import ViTPose", False),
        ("autolabel", "import pycocotools", False),  # heavy: only inside a function
        ("autolabel", "def f():\n    from pycocotools.coco import COCO", True),
        ("autolabel", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import lightgbm", True),
        ("autolabel", "from .poses import Poses", False),
        ("model", "from autolabel.poses import Poses", True),
        ("model", "from autolabel import poses", False),  # the package itself says nothing of what is used
        ("model", "from autolabel.route import route", False),  # not vocabulary
        ("model", "from pipelines.predict import predict", False),
        ("model", "import transformers", False),  # an extra
        ("model", "def f():\n    import transformers", True),
        ("pipelines", "import model", False),
        ("pipelines", "from model.vitpose import ViTPose", True),
        ("pipelines", "import pycocotools", False),  # autolabel's business
        ("pipelines", "class C:\n    import ray", False),  # a class body runs at import
    ],
)
def test_the_table_itself(package: str, line: str, allowed: bool) -> None:
    found = list(imports_of(line, f"{package}/new.py"))
    assert found
    assert all(violations(package, i) is None for i in found) == allowed


def test_vocabulary_files_may_not_import_scipy_at_their_top() -> None:
    [found] = imports_of("import scipy", "autolabel/poses.py")
    assert violations("autolabel", found)
    [found] = imports_of("import scipy", "autolabel/certify.py")
    assert violations("autolabel", found) is None


def test_no_file_is_named_like_a_package() -> None:
    assert [p for package in PACKAGES for p in (ROOT / package).rglob("*.py") if p.stem in PACKAGES] == []


def test_tests_and_benchmarks_never_import_a_whole_package_named_model() -> None:
    files = [file for folder in ("tests", "benchmarks", "notebooks") for file in (ROOT / folder).rglob("*.py")]
    plain = [
        str(found)
        for file in files
        for found in imports_of(file.read_text(encoding="utf-8"), file.relative_to(ROOT).as_posix())
        if found.plain and found.module in ("model", "pipelines")
    ]
    assert not plain
