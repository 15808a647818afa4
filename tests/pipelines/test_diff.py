"""``autolabel diff`` over a manifest and its merged answers: the numbers, the list, the table, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ConfigError, ExistsError, SkeletonError
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin
from autolabel.skeleton import Skeleton
from pipelines.cli import main
from pipelines.diff import diff


@pytest.fixture
def versions(review_case: Any) -> tuple[Path, Path]:
    """What the network said, and the same where a person moved two keypoints of pose 1 and accepted pose 2."""
    xy, origin = review_case.model.xy.copy(), review_case.model.origin.copy()
    xy[1, 3] += (30, 40)
    xy[1, 4] += (0, 10)
    origin[1, 3:5] = Origin.HUMAN
    states = [{}, {"state": "reviewed"}, {"state": "reviewed"}, {}, {}, {}]
    now = review_case.model.replace(xy=xy, origin=origin, attributes=states)
    return review_case.write("before", review_case.model).path, review_case.write("now", now).path


def test_the_numbers(versions: tuple[Path, Path]) -> None:
    result = diff(*versions)
    assert result.poses == {"added": 0, "removed": 0, "changed": 2}
    assert not any(result.images.values())
    assert (result.moved, result.keypoints) == (1, 2)
    assert (result.median, result.largest) == (pytest.approx(30, abs=1e-3), pytest.approx(50, abs=1e-3))
    assert result.origins == {"model -> human": 2}
    assert result.states == {"no state -> reviewed": 2}
    assert not result.visibility
    assert result.boxes == 0


def test_the_list_has_a_line_a_change(versions: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "changes.jsonl"
    diff(*versions, out=out)
    moved, accepted = map(json.loads, out.read_text().splitlines())
    names = Manifest.open(versions[0]).skeleton.keypoints
    assert moved["pose"] == "pose-1"
    assert moved["moved"] == {names[3]: pytest.approx(50, abs=1e-3), names[4]: pytest.approx(10, abs=1e-3)}
    assert moved["origin"][names[3]] == ["model", "human"]
    assert {name: accepted[name] for name in ("pose", "change", "state")} == {
        "pose": "pose-2",
        "change": "changed",
        "state": ["", "reviewed"],
    }
    assert "moved" not in accepted
    with pytest.raises(ExistsError):
        diff(*versions, out=out)
    diff(*reversed(versions), out=out, overwrite=True)
    assert json.loads(out.read_text().splitlines()[1])["state"] == ["reviewed", ""]


def test_the_command_shows_a_table_and_speaks_json(
    versions: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = map(str, versions)
    with pytest.raises(SystemExit) as left:
        main(["diff", first, second])
    assert left.value.code == 0
    table = capsys.readouterr().out
    assert "median 30.0 px, largest 50.0 px" in table
    assert "2 keypoints of 1 pose" in table
    assert "model -> human" in table
    with pytest.raises(SystemExit):
        main(["diff", first, second, "--json"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["moved"]["keypoints"] == 2
    assert said["out"] is None


def test_nothing_changed(versions: tuple[Path, Path], review_case: Any) -> None:
    assert diff(versions[0], versions[0]).table() == "Nothing changed: every value is the same."
    scored = review_case.write("scored", review_case.model.replace(p_bad=np.full(6, 0.1)))
    result = diff(versions[0], scored.path)
    assert result.first != result.second
    assert "they differ in what is not compared" in result.table()
    assert result.summary()["moved"] == {"poses": 0, "keypoints": 0, "median": None, "largest": None}


def test_bad_input(versions: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is in the manifest"):
        diff(*versions, out=versions[0] / "changes.jsonl")
    other = write_manifest(tmp_path / "other", [], Skeleton.load("mpii16"), {}, stage="test")
    out = tmp_path / "changes.jsonl"
    with pytest.raises(SkeletonError, match="autolabel map"):
        diff(versions[0], other.path, out=out)
    assert not out.exists()
