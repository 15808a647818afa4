"""The loop on real photographs: `docs/tutorial-openfield.md`, run block by block, with a tenth of its training steps.

It shows that the loop works on real input and lowers the error, not that the corrections are the cause: the page
measures that too, and training on without them does as well.
"""

import io
import json
import re
import shlex
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.manifest import Manifest
from pipelines.cli import main

pytestmark = [pytest.mark.live, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "openfield"
PAGE = ROOT / "docs" / "tutorial-openfield.md"
LABELLED, REVIEWED, ALL = 30, 2 * 20, 116
SHORTER = {"steps = 600\n": "steps = 60\n", "steps = 300\n": "steps = 30\n"}  # the page's figures need them all


def shortened(page: str) -> str:
    """The page with fewer training steps: the same commands, and errors that fall as they do after all steps."""
    for full, short in SHORTER.items():
        assert page.count(full) == 1
        page = page.replace(full, short)
    return page


def run_page(page: str) -> dict[str, Any]:
    """Do what the page says, in the current folder; gives the names that its Python blocks made."""
    names: dict[str, Any] = {}
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.M | re.S):
        if language == "console":
            run_console(text)
        elif language == "toml":
            Path("mouse").mkdir()
            Path("mouse/autolabel.toml").write_text(text, encoding="utf-8")
        elif language == "python":
            exec(text, names)
    return names


def run_console(text: str) -> None:
    for line in text.splitlines():
        prompt, program, *arguments = shlex.split(line)
        assert (prompt, program) == ("$", "autolabel")
        erred = io.StringIO()
        with redirect_stderr(erred), pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 0, f"{line}\n{erred.getvalue()}"


def errors_by_file(predicted: Path) -> dict[str, float]:
    """Mean distance of an image's predicted keypoints from the data's own labels, in pixels."""
    document = json.loads((DATA / "annotations.json").read_text(encoding="utf-8"))
    files = {image["id"]: image["file_name"] for image in document["images"]}
    true = {files[a["image_id"]]: np.reshape(a["keypoints"], (-1, 3))[:, :2] for a in document["annotations"]}
    return {
        sample.path: float(np.linalg.norm(sample.poses.xy[0] - true[sample.path], axis=1).mean())
        for sample in Manifest.open(predicted)
    }


def files_of(*manifests: str) -> set[str]:
    return {sample.path for manifest in manifests for sample in Manifest.open(Path(manifest))}


def test_rounds_of_review_lower_the_error_of_untouched_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DATA.is_dir():
        pytest.skip(f"needs the openfield data in {DATA}")
    (tmp_path / "openfield").symlink_to(DATA, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    names = run_page(shortened(PAGE.read_text(encoding="utf-8")))

    before, after = (errors_by_file(Path(f"mouse/rounds/{n:02d}/predicted")) for n in (0, 2))
    untouched = sorted(files_of("rest.m") - files_of("mouse/rounds/02/pulled"))
    assert len(untouched) == ALL - LABELLED - REVIEWED
    assert not files_of("labelled.m", "mouse/rounds/01/training", "mouse/rounds/02/training") & set(untouched)
    mean_before, mean_after = (float(np.mean([errors[file] for file in untouched])) for errors in (before, after))
    assert mean_after < mean_before
    assert [names["errors"][0], names["errors"][-1]] == pytest.approx([mean_before, mean_after], rel=1e-4)
