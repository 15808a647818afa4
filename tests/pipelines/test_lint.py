import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import ConfigError, ExistsError, InputError, SkeletonError
from autolabel.manifest import Manifest, ManifestWriter
from autolabel.mirror import repair_mirrored
from autolabel.poses import Poses, Sample, Visibility
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from pipelines.cli import main
from pipelines.lint import Mirrored, faulty, lint, mirrored_policy
from pipelines.second_opinion import SecondOpinion
from tests.doubles import Recorder, Stopped
from tests.standing import COCO, people

PEOPLE, IMAGES = 4, 6
N = PEOPLE * IMAGES
TRUTH = people(N, shake=0.5)
TURNED = np.array([0, 9])
LABELS = repair_mirrored(TRUTH, TURNED, COCO)
PEAK = np.linspace(0.5, 0.9, N * 17, dtype=np.float32).reshape(N, 17)


def write(
    path: Path,
    poses: Poses,
    *,
    features: bool = False,
    more: dict[str, np.ndarray] | None = None,
    images: range = range(IMAGES),
    skeleton: Skeleton = COCO,
) -> Path:
    """Two images a part."""
    values = {"peak": PEAK, **(more or {})}
    with ManifestWriter(path, skeleton, {"images": path.parent}, stage="test") as writer:
        for part, first in enumerate(images[::2]):
            rows = [range(PEOPLE * i, PEOPLE * (i + 1)) for i in (first, first + 1)]
            samples = [
                Sample(f"s{r[0] // PEOPLE}", "images", f"{r[0]}.png", (900, 300), poses.take(list(r))) for r in rows
            ]
            own = {name: array[rows[0][0] : rows[1][-1] + 1] for name, array in values.items()}
            writer.write_part(part, samples, own if features else None)
    return path


def everything(manifest: Manifest) -> Poses:
    return Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write(tmp_path / "labels", LABELS)


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    return write(tmp_path / "predicted", people(N, shake=0.8, seed=1), features=True)


def kinds(poses: Poses) -> dict[int, list[str]]:
    return {row: [f["kind"] for f in a["lint"]] for row, a in enumerate(poses.attributes) if "lint" in a}


def test_findings_stand_in_the_manifest(labels: Path, predicted: Path, tmp_path: Path) -> None:
    result = lint(labels, against=predicted, out=tmp_path / "out")
    assert result.out is not None
    poses = everything(result.out)
    assert kinds(poses) == {0: ["mirrored"], 9: ["mirrored"]}
    assert set(poses.attributes[0]["lint"][0]) == {"kind", "keypoints", "text", "evidence"}
    assert poses.replace(attributes=LABELS.attributes).equals(LABELS)
    assert (result.poses, result.doubted, result.compared, result.repaired) == (N, 2, N, 0)
    assert result.summary()["findings"] == {k: 2 * (k == "mirrored") for k in result.kinds}
    assert "2 of 24 poses seem to have a fault" in result.table()


def test_mirrored_poses_are_repaired_on_request(labels: Path, predicted: Path, tmp_path: Path) -> None:
    result = lint(labels, against=predicted, out=tmp_path / "out", mirrored=Mirrored.REPAIR)
    assert result.out is not None
    poses = everything(result.out)
    assert poses.replace(attributes=TRUTH.attributes).equals(TRUTH)
    assert poses.attributes[9]["lint_repaired"] is True
    assert result.repaired == 2


def test_what_a_person_has_seen_is_doubted_but_not_changed(predicted: Path, tmp_path: Path) -> None:
    seen = LABELS.replace(attributes=[{"state": "reviewed"}, *[{}] * (N - 1)])
    result = lint(write(tmp_path / "seen", seen), against=predicted, out=tmp_path / "out", mirrored=Mirrored.REPAIR)
    assert result.out is not None
    poses = everything(result.out)
    assert kinds(poses) == {0: ["mirrored"], 9: ["mirrored"]}
    assert np.array_equal(poses.xy[0], LABELS.xy[0])
    assert np.array_equal(poses.xy[9], TRUTH.xy[9])


def test_findings_of_an_earlier_run_are_forgotten(labels: Path, predicted: Path, tmp_path: Path) -> None:
    first = lint(labels, against=predicted, out=tmp_path / "out", mirrored=Mirrored.REPAIR)
    assert first.out is not None
    again = lint(first.out.path, against=predicted, out=tmp_path / "again")
    assert again.out is not None
    kept = [{"lint_repaired": True} if row in TURNED else {} for row in range(N)]
    assert everything(again.out).equals(TRUTH.replace(attributes=kept)), "that sides were changed stays known"


def test_without_out_nothing_is_written(labels: Path, predicted: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = lint(labels, against=predicted)
    assert result.out is None
    assert result.kinds["mirrored"] == 2
    assert "manifest" not in result.summary()
    assert sorted(tmp_path.rglob("*")) == before


def test_features_come_along(predicted: Path, tmp_path: Path) -> None:
    result = lint(predicted, out=tmp_path / "out")
    assert result.out is not None
    found = [result.out.features(i) for i in range(3)]
    assert np.array_equal(np.concatenate([f["peak"] for f in found if f]), PEAK)
    assert result.compared == 0


def test_how_they_were_predicted_comes_along_and_features_change_sides_with_their_pose(
    predicted: Path, tmp_path: Path
) -> None:
    straight, crossed = (np.random.default_rng(i).random((N, 17), np.float32) for i in (1, 2))
    wrong = write(tmp_path / "wrong", LABELS, features=True, more={"flip_ks": straight, "swap_ks": crossed})
    how = Predicted(model="net", flip_test=True, larger_crop=False, device="cpu")
    how.write(wrong)
    result = lint(wrong, against=predicted, out=tmp_path / "out", mirrored=Mirrored.REPAIR)
    assert result.out is not None
    assert Predicted.read(result.out.path) == how
    peak = np.concatenate([f["peak"] for i in range(3) if (f := result.out.features(i))])
    expected = PEAK.copy()
    expected[TURNED] = expected[TURNED][:, list(COCO.flip)]
    assert np.array_equal(peak, expected)
    flip = list(COCO.flip)
    for name, own, other in (("flip_ks", straight, crossed), ("swap_ks", crossed, straight)):
        found = np.concatenate([f[name] for i in range(3) if (f := result.out.features(i))])
        assert np.array_equal(found[TURNED], other[TURNED][:, flip]), (
            "the mirrored image agrees the other way round now"
        )
        assert np.array_equal(np.delete(found, TURNED, 0), np.delete(own, TURNED, 0))


def test_a_repaired_pose_is_not_turned_back(tmp_path: Path) -> None:
    """Without a second opinion the flip test decides, and after the repair it agrees."""
    visibility = LABELS.visibility.copy()
    visibility[:, :5] = Visibility.HIDDEN  # seen from behind
    agree = np.full((N, 17), 0.95, np.float32)
    agree[TURNED] = 0.05
    more = {"flip_ks": agree, "swap_ks": (1 - agree).astype(np.float32)}
    wrong = write(tmp_path / "wrong", LABELS.replace(visibility=visibility), features=True, more=more)
    once = lint(wrong, out=tmp_path / "once", mirrored=Mirrored.REPAIR)
    assert once.out is not None
    assert once.repaired == 2
    twice = lint(once.out.path, out=tmp_path / "twice", mirrored=Mirrored.REPAIR)
    assert twice.out is not None
    assert twice.kinds["mirrored"] == 0
    assert np.array_equal(everything(twice.out).xy, TRUTH.xy)


def test_the_features_of_what_was_predicted_before_say_nothing_of_corrected_poses(tmp_path: Path) -> None:
    agree = np.full((N, 17), 0.95, np.float32)
    agree[TURNED] = 0.05
    more = {"flip_ks": agree, "swap_ks": (1 - agree).astype(np.float32)}
    corrected = LABELS.replace(attributes=[{"state": "reviewed"} if row in TURNED else {} for row in range(N)])
    assert lint(write(tmp_path / "corrected", corrected, features=True, more=more)).kinds["mirrored"] == 0


def test_a_killed_lint_goes_on(labels: Path, predicted: Path, tmp_path: Path) -> None:
    whole = lint(labels, against=predicted, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        lint(labels, against=predicted, out=tmp_path / "out", progress=Recorder(after=3))
    kept = (tmp_path / "out" / "poses-00000.parquet").stat().st_mtime_ns
    result = lint(labels, against=predicted, out=tmp_path / "out")
    assert result.out is not None
    assert whole.out is not None
    assert result.out.digest == whole.out.digest
    assert (tmp_path / "out" / "poses-00000.parquet").stat().st_mtime_ns == kept
    assert lint(labels, against=predicted, out=tmp_path / "out").summary() == result.summary()


@pytest.mark.parametrize("known", [range(2), range(4, 6)])
def test_a_second_manifest_may_hold_some_images_only(labels: Path, tmp_path: Path, known: range) -> None:
    some = write(tmp_path / "some", TRUTH, features=True, images=known)
    assert lint(labels, against=some).compared == PEOPLE * len(known)


def test_people_are_paired_by_place_where_ids_differ(labels: Path, tmp_path: Path) -> None:
    apart = TRUTH.xy + np.tile(np.arange(PEOPLE), IMAGES)[:, None, None] * np.array([200, 0])
    placed = TRUTH.replace(xy=apart, box=np.full((N, 4), np.nan))
    order = np.arange(N).reshape(IMAGES, PEOPLE)[:, ::-1].ravel()
    other = placed.take(order).replace(id=[f"other{i}" for i in range(N)])
    opinion = SecondOpinion(
        Manifest.open(write(tmp_path / "placed", placed)),
        Manifest.open(write(tmp_path / "other", other, features=True)),
    )
    samples = Manifest.open(tmp_path / "placed").part(1)
    theirs, features = opinion.of(samples)
    assert np.array_equal(theirs.xy, placed.xy[2 * PEOPLE : 4 * PEOPLE])
    assert features is not None
    assert np.array_equal(features["peak"], PEAK[order][np.argsort(order)][order][2 * PEOPLE : 4 * PEOPLE])


def test_what_cannot_be_compared_is_refused(labels: Path, predicted: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="need a place"):
        lint(labels, against=predicted, mirrored=Mirrored.REPAIR)
    with pytest.raises(ConfigError, match=r"unknown policy 'turn'.*keep, repair"):
        mirrored_policy("turn")
    lsp = Skeleton.load("lsp14")
    other = write(tmp_path / "lsp", Poses.create(14, id=LABELS.id), skeleton=lsp)
    with pytest.raises(SkeletonError):
        lint(labels, against=other)
    first = write(tmp_path / "first", TRUTH, images=range(2))
    with pytest.raises(InputError, match="has no image of the manifest"):
        lint(first, against=write(tmp_path / "last", TRUTH, images=range(4, 6)))
    lint(labels, out=tmp_path / "out")
    with pytest.raises(ExistsError):
        lint(labels, against=predicted, out=tmp_path / "out")


def test_an_empty_manifest_has_no_faults(tmp_path: Path) -> None:
    with ManifestWriter(tmp_path / "none", COCO, {}, stage="test") as writer:
        writer.write_part(0, [])
    assert lint(tmp_path / "none", out=tmp_path / "out").poses == 0


def test_the_command_tells_what_the_function_found(
    labels: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: list[Any] = ["lint", labels, "--against", predicted, "--mirrored", "repair", "--out", tmp_path / "out"]
    with pytest.raises(SystemExit) as left:
        main([*map(str, options), "--json"])
    assert not left.value.code
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["repaired"] == 2
    with pytest.raises(SystemExit) as left:
        main([*map(str, options[:-4]), "turn"])
    assert left.value.code == 2


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], False),
        ([("bone", {"excess": 0.2})], True),
        ([("nobody", {"peak": 0.1})], False),  # its own network's peaks, which the score has weighed
        ([("nobody", {"peak": 0.1, "oks": 0.2})], True),  # a second opinion knows nothing of the pose either
        ([("nobody", {"peak": 0.1}), ("outside", {})], True),
    ],
)
def test_what_only_a_person_can_settle(found: list[tuple[str, dict[str, float]]], expected: bool) -> None:
    findings = [{"kind": kind, "evidence": evidence} for kind, evidence in found]
    poses = people(2).replace(attributes=[{"lint": findings} if findings else {}, {}])
    assert faulty(poses).tolist() == [expected, False]


@pytest.mark.parametrize("second", [False, True])
def test_low_peaks_alone_leave_it_to_the_score(tmp_path: Path, second: bool) -> None:
    low = write(tmp_path / "low", TRUTH, features=True, more={"peak": PEAK * 0 + 0.1})
    other = write(tmp_path / "other", TRUTH.replace(xy=TRUTH.xy + 60), features=True, more={"peak": PEAK * 0 + 0.1})
    found = everything(lint(low, against=other if second else None, out=tmp_path / "out").out)  # type: ignore[arg-type]
    assert all("nobody" in {f["kind"] for f in a["lint"]} for a in found.attributes)
    assert faulty(found).any() == second
