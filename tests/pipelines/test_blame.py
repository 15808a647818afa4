"""From pushed poses over answers and a merge to who placed what; and on a manifest that nobody answered."""

import json
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import InputError
from autolabel.ledger import LEDGER, read_ledger
from autolabel.manifest import Manifest
from pipelines.blame import blame
from pipelines.cli import main
from pipelines.lint import lint
from pipelines.merge import merge
from pipelines.pull import pull
from pipelines.push import push
from pipelines.score import score
from pipelines.subset import with_states
from tests.pipelines.two_people import answer

ANN, BOB = "person-1@example.org", "person-2@example.org"


@pytest.fixture
def answered(review_case: Any) -> Path:
    """The routed manifest, two people's answers merged into it; pose 1 has two gross keypoints, 3 and 4."""
    truth = review_case.write("truth", review_case.truth)
    push(review_case.route(), project=review_case.project)
    answer(review_case.project, truth, 1, seed=1)
    answer(review_case.project, truth, 2, seed=2)
    pulled = pull(project=review_case.project, out=review_case.folder / "answers").manifest.path
    merge(review_case.folder / "routing-scored", pulled, out=review_case.folder / "merged")
    return review_case.folder / "merged"


def test_the_ledger_holds_every_answer_and_is_carried_on(answered: Path) -> None:
    pulled, merged = answered.parent / "answers" / LEDGER, answered / LEDGER
    entries = read_ledger(merged, 17)
    assert merged.read_bytes() == pulled.read_bytes()
    assert sorted((e.pose, e.correction.by) for e in entries) == sorted(
        (f"pose-{i}", who) for i in range(6) for who in (ANN, BOB)
    )
    again = answered.parent / "again"
    merge(answered, answered.parent / "answers", out=again)
    assert (again / LEDGER).read_bytes() == merged.read_bytes(), "no line twice"
    merge(answered.parent / "routing-scored", answered.parent / "answers", out=answered)
    assert merged.read_bytes() == pulled.read_bytes()


def test_scoring_linting_and_stating_carry_the_ledger_on(answered: Path, tmp_path: Path) -> None:
    source = Manifest.open(answered)
    lint(answered, out=tmp_path / "linted")
    made = [
        score(answered, out=tmp_path / "scored").manifest.path,
        tmp_path / "linted",
        with_states(source, lambda poses: [""] * len(poses), out=tmp_path / "stated", stage="dataset", config={}).path,
    ]
    for path in made:
        assert (path / LEDGER).read_bytes() == (answered / LEDGER).read_bytes()
        assert blame(path, "pose-1").keypoints[3].by == BOB


def test_every_keypoint_knows_who_placed_it_and_how_far(answered: Path, review_case: Any) -> None:
    result = blame(answered, "pose-1")
    (now,) = [s.poses[1] for s in Manifest.open(answered) if "pose-1" in s.poses.id]
    moved = result.keypoints[3]
    assert (moved.by, moved.origin) == (BOB, "human"), "the later of two answers stands"
    assert moved.place == tuple(now.xy[3].tolist())
    assert moved.distance == pytest.approx(30 * 2**0.5, abs=6)
    assert [step.by for step in moved.steps] == [ANN, BOB]
    kept = result.keypoints[10]
    assert (kept.by, kept.origin, kept.distance, kept.confirmed) == ("net", "model", 0.0, (ANN, BOB))
    assert result.summary()["state"] == "reviewed"
    table = result.table()
    assert BOB in table
    assert "model net" in table
    assert "left_ear moved" in table


def test_a_manifest_without_a_ledger_tells_what_the_poses_do(review_case: Any) -> None:
    manifest = review_case.write("model", review_case.model)
    result = blame(manifest.path, "pose-3")
    assert {(k.origin, k.by, k.since, k.distance) for k in result.keypoints} == {("model", "net", "", None)}
    assert not result.ledger
    assert "no ledger" in result.table()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("nobody", "no pose has an id that begins with 'nobody'"),
        ("pose-", "6 poses"),
        ("pose-", "pose-4 and 1 more"),
        ("", "id is empty.*ledger.jsonl"),
        ("nobody", "ledger.jsonl"),
    ],
)
def test_an_id_that_fits_none_or_several(wanted: str, said: str, review_case: Any) -> None:
    manifest = review_case.write("model", review_case.model)
    with pytest.raises(InputError, match=said):
        blame(manifest.path, wanted)


def test_a_prefix_is_enough_and_a_whole_id_is_never_ambiguous(review_case: Any) -> None:
    ids = ["ab", "abc", "xyz-1", "pose-3", "pose-4", "pose-5"]
    manifest = review_case.write("model", review_case.model.replace(id=ids))
    assert blame(manifest.path, "xy").pose == "xyz-1"
    assert blame(manifest.path, "ab").pose == "ab"


def test_the_command_speaks_json(answered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["blame", str(answered), "pose-1", "--json"])
    assert left.value.code == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["pose"] == "pose-1"
    assert said["keypoints"][3]["by"] == BOB
    assert said["keypoints"][3]["steps"][0]["distance"] > 30
