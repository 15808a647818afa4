"""Docs that cannot lie: pages are generated or run, links lead somewhere, examples are real commands.

A fenced block after the comment ``<!-- run -->`` is run; ``<!-- run: slow -->`` gives its page's test that
marker (several: commas). The blocks of a page run in order in one fresh folder that holds ``images/``
(three small pictures) and ``annotations.json`` (their COCO file, skeleton coco17):

* a ``console`` block holds ``$ autolabel ...`` lines; where lines follow one, they must be what it prints on
  stdout, ``...`` standing for anything;
* a ``python`` block must run; the page's blocks share their names.

A ``console`` block after ``<!-- fails: CODE -->`` must end with that exit code and print its lines on stderr (markers
follow the code). A block after ``<!-- save: PATH -->`` is written to that file of the folder when its turn comes.

In a table headed "the message says" every message in the first column must stand in the code, ``...`` for what varies.
"""

import ast
import doctest
import importlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.core import TyperGroup

from pipelines.cli import app, main
from pipelines.cli_docs import cli_markdown

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ELLIPSIS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    run: bool
    markers: tuple[str, ...] = ()
    save: str = ""
    code: int = 0


def blocks(page: str) -> Iterator[Block]:
    mark = r"<!-- (?P<do>run|fails|save)(?:: (?P<how>[^>\n]+))? -->\n+"
    for found in re.finditer(rf"(?:{mark})?^```(?P<language>\w+)\n(?P<text>.*?)^```$", page, re.M | re.S):
        block, do, how = Block(found["language"], found["text"], run=False), found["do"], found["how"] or ""
        if do == "save":
            block = replace(block, save=how)
        elif do:
            code, *markers = [*([] if do == "fails" else ["0"]), *re.findall(r"\w+", how)]
            block = replace(block, run=True, markers=tuple(markers), code=int(code))
        yield block


def commands(text: str) -> Iterator[tuple[str, str]]:
    """The ``$`` lines of a console block, each with what is said to follow; a backslash continues a line."""
    for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.M)[1:]:
        line, _, output = part.partition("\n")
        yield line, output


def wrong_use(line: str) -> str | None:
    """Why ``autolabel ...`` names no command of ours, or an option that it lacks."""
    program, *words = shlex.split(line)
    if Path(program).name != "autolabel":
        return None
    command: Any = typer.main.get_command(app)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            return f"{line}: there is no command {name!r}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
    return f"{line}: there is no option {unknown[0]}" if unknown else None


def run_console(text: str, folder: Path, code: int = 0) -> None:
    for line, expected in commands(text):
        program, *arguments = shlex.split(line)
        assert program == "autolabel", f"only autolabel is run, not {program}"
        said, erred = io.StringIO(), io.StringIO()
        with chdir(folder), redirect_stdout(said), redirect_stderr(erred), pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == code, f"{line}\nends with {left.value.code}\n{erred.getvalue()}"
        printed = (erred if code else said).getvalue()
        if expected.strip():
            same = doctest.OutputChecker().check_output(expected, printed, ELLIPSIS)
            assert same, f"{line}\nprints\n{printed}"


def run_page(page: str, folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.run and block.language == "console":
            run_console(block.text, folder, block.code)
        elif block.save:
            (folder / block.save).write_text(block.text, encoding="utf-8")
        elif block.run:
            assert block.language == "python", f"a {block.language} block cannot be run"
            exec(block.text, names)


def small_corpus(folder: Path) -> None:
    """Three pictures of noise, one figure in each."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    images, annotations = [], []
    for i in range(1, 4):
        name = f"{i:03d}.png"
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(folder / "images" / name)
        images.append({"id": i, "file_name": name, "width": 64, "height": 48})
        xy = rng.integers(10, 40, (17, 2)).tolist()
        annotations.append({
            "id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": 900.0, "bbox": [8, 8, 36, 36],
            "keypoints": [v for x, y in xy for v in (x, y, 2)], "num_keypoints": 17,
        })  # fmt: skip
    names = json.loads((ROOT / "autolabel" / "skeletons" / "coco17.json").read_text())["keypoints"]
    categories = [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))


def runnable() -> Iterator[Any]:
    for page in PAGES:
        run = [block for block in blocks(page.read_text(encoding="utf-8")) if block.run]
        if run:
            markers = [getattr(pytest.mark, name) for name in sorted({m for block in run for m in block.markers})]
            yield pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=markers)


def links(page: str) -> list[str]:
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page, flags=re.M | re.S)
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"", prose)
    return [a or b for a, b in targets if not re.match(r"[a-z]+:", a or b)]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as code forges make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(file: Path) -> list[str]:
    broken = []
    for link in links(file.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = file.parent / name if name else file
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


@cache
def said() -> tuple[str, ...]:
    """Every text in the code, what is put into it left out as a line break."""
    texts: list[str] = []
    for file in (file for package in ("autolabel", "model", "pipelines") for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "\n" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return tuple(text.replace("`", "") for text in texts)


def messages(page: str) -> list[str]:
    """What the tables headed "the message says" quote in their first column."""
    tables = re.findall(r"^\| the message says \|.*\n\|[-|: ]+\n((?:\|.*\n?)+)", page, re.M)
    cells = [row.split(" | ")[0] for table in tables for row in table.splitlines()]
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


def unsaid(message: str) -> bool:
    """Whether the code has no text that holds all of a message but its ``...`` and the numbers in it."""
    parts = [part for piece in re.split(r"\.\.\.|\d+", message) if (part := piece.strip(" :"))]
    pattern, longest = ".*".join(map(re.escape, parts)), max(parts, key=len)
    return not any(longest in text and re.search(pattern, text, re.S) for text in said())


def test_the_command_page_is_what_the_commands_say() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == cli_markdown(), "run `make docs`"


@pytest.mark.parametrize("page", list(runnable()))
def test_marked_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_corpus(tmp_path)
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    run_page(page.read_text(encoding="utf-8"), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_links_to_what_exists_and_shows_real_commands(page: Path) -> None:
    assert broken_links(page) == []
    shown = [line for block in blocks(page.read_text(encoding="utf-8")) for line, _ in commands(block.text)]
    assert [reason for line in shown if (reason := wrong_use(line))] == []


def test_a_message_that_is_explained_exists() -> None:
    quoted = messages((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))
    assert len(quoted) > 15
    assert [message for message in quoted if unsaid(message)] == []


def documented_modules() -> list[str]:
    files = [file for package in ("autolabel", "model", "pipelines") for file in (ROOT / package).rglob("*.py")]
    return sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in files
        if ">>> " in file.read_text(encoding="utf-8")
    )


@pytest.mark.parametrize("module", documented_modules())
def test_docstring_examples_run(module: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(module), optionflags=ELLIPSIS)
    assert attempted > 0
    assert failed == 0


def test_decisions_are_numbered_and_say_when_to_revisit() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(file.name[:4]) for file in decisions] == list(range(1, len(decisions) + 1))
    for file in decisions:
        text = file.read_text(encoding="utf-8")
        wanted = ["Context", "Decision", "Cost", "When to revisit"]
        assert re.findall(r"^## (.+)$", text, re.M) == wanted, file.name


# The machinery above, on pages that are wrong.

PAGE = """\
# A page

## Two `words`, one

<!-- run -->
```console
$ autolabel --version
autolabel ...
```

```console
$ autolabel nonsense
```

<!-- run: slow, live -->
```python
raise AssertionError("one is not two")
```
"""


def test_blocks_are_found_with_their_marks() -> None:
    first, second, third = blocks(PAGE)
    assert (first.language, first.run, first.markers) == ("console", True, ())
    assert not second.run
    assert (third.language, third.run, third.markers) == ("python", True, ("slow", "live"))
    (failing,) = blocks("<!-- fails: 2, slow -->\n```console\n$ autolabel x\n```\n")
    assert (failing.run, failing.markers, failing.code) == (True, ("slow",), 2)
    (saved,) = blocks("<!-- save: a/b.toml -->\n\n```toml\nx = 1\n```\n")
    assert (saved.run, saved.save, saved.text) == (False, "a/b.toml", "x = 1\n")
    assert list(commands("$ a \\\n  b\nx\ny\n$ c\n")) == [("a    b", "x\ny\n"), ("c", "")]


def test_a_block_that_lies_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="one is not two"):
        run_page(PAGE, tmp_path)
    with pytest.raises(AssertionError, match="prints"):
        run_console("$ autolabel --version\nautolabel 99\n", tmp_path)
    with pytest.raises(AssertionError, match="nonsense"):
        run_console("$ autolabel nonsense\n", tmp_path)
    with pytest.raises(AssertionError, match="ends with 2"):
        run_console("$ autolabel nonsense\n", tmp_path, code=1)
    with pytest.raises(AssertionError, match="prints"):
        run_console("$ autolabel nonsense\nerror: all is well\n", tmp_path, code=2)


def test_a_message_that_nobody_says_is_caught() -> None:
    page = (
        "| the message says | do |\n|---|---|\n| `is not a list of ...` or `x 7` | `none` |\n\n| a |\n|---|\n| `b` |\n"
    )
    assert messages(page) == ["is not a list of ...", "x 7"]
    assert not unsaid("is not a list of ...")
    assert unsaid("is not a list of hamsters")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("autolabel scan photos --out m --json", None),
        (".venv/bin/autolabel --help", None),
        ("make setup", None),
        ("autolabel nonsense", "no command 'nonsense'"),
        ("autolabel scan photos --outt m", "no option --outt"),
        ("autolabel scan photos --outt=m", "no option --outt"),
    ],
)
def test_shown_commands_are_checked(line: str, reason: str | None) -> None:
    found = wrong_use(line)
    assert found is None if reason is None else reason in (found or "")


def test_links_are_checked(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = "[a](page.md) [b](#two-words-one) [c](none.md) [d](page.md#none) [e](https://x.y) `[f](no.md)`"
    page.write_text(f"{PAGE}\n{text}\n")
    assert broken_links(page) == ["none.md", "page.md#none"]
