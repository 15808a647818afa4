"""The crash benchmark: it finds what differs, is lost or doubled; and a slice of it without a Label Studio."""

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.labelstudio.folder import ReviewFolder
from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.merge import CORRECTIONS
from benchmarks.crash import Site, crash
from benchmarks.crash_compare import counted, differences
from benchmarks.crash_launcher import Launcher
from benchmarks.crash_person import Answer, ExportDesk, Person
from benchmarks.crash_projects import Subject, demo
from benchmarks.crash_report import WHOLE, bars, by_kind, section
from benchmarks.crash_steps import Moment, Step, Watch, moments, with_server
from benchmarks.crash_storm import run
from pipelines import loop
from pipelines.demo_size import DemoSize

SIZE = DemoSize(
    images=40, labelled=12, calibration=8, test=6, budget=6, audit=8, plants=0, blind=0, keypoints=1, whole_images=1,
    steps=16, finetuning_steps=8,
)  # fmt: skip

STEPS = [
    Step("rounds/00/model", "", 40.0),
    Step("rounds/00/scored", "rounds/00/model", 1.0),
    Step("rounds/01/model", "rounds/00/scored", 20.0),
    Step("rounds/01/scored", "rounds/01/model", 1.0),
    Step("audit/merged", "rounds/01/scored", 2.0),
]


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return demo(tmp_path_factory.mktemp("crash"), size=SIZE, steps=0)


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as running:
        yield running


@pytest.fixture(scope="module")
def finished(subject: Subject) -> tuple[Path, ExportDesk]:
    """A project that was run to its end, and the desk of the person who answered."""
    project = subject.project("finished")
    desk = ExportDesk(project, subject.reviewer(), project.with_name("finished-person"))
    with Person(desk) as person:
        loop.run(project, wait=True, poll=0.2)
    person.require_well()
    return project, desk


@pytest.mark.slow
def test_kills_change_nothing(subject: Subject, launcher: Launcher) -> None:
    rows = crash(subject, Site(launcher), kills=1, seed=1)
    assert all(bar["met"] for bar in bars(rows, kills=1, server_kills=0)), rows
    runs, kills = ([row for row in rows if row["what"] == what] for what in ("run", "kill"))
    assert [row["kills"] for row in runs] == [0, 1]
    assert len(kills) == 1 and runs[1]["where aimed"] == sum(row["hit"] == row["aimed"] for row in kills), kills


@pytest.mark.slow
def test_a_loop_that_stops_with_an_error_is_told(subject: Subject, launcher: Launcher) -> None:
    project = subject.project("broken")
    settings = project / "autolabel.toml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("budget", "bugdet"), encoding="utf-8")
    desk = ExportDesk(project, subject.reviewer(), project.with_name("broken-person"))
    with pytest.raises(RuntimeError, match=r"ended with 2.*bugdet"):
        run(project, desk, launcher)


def copied(project: Path, folder: Path) -> Path:
    return Path(shutil.copytree(project, folder / "copy", symlinks=True))


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    def harm(project: Path) -> None:
        text = (project / file).read_text(encoding="utf-8")
        assert old in text
        (project / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return harm


def move_a_point(project: Path) -> None:
    there = Manifest.open(project / "dataset")
    first, *rest = list(there)
    xy = first.poses.xy.copy()
    xy[0, 0] = np.nan_to_num(xy[0, 0]) + np.float32(0.5)
    moved = first.with_poses(first.poses.replace(xy=xy))
    write_manifest(there.path, [moved, *rest], there.skeleton, there.roots, stage="x", existing=Existing.OVERWRITE)


def lose_the_scores(project: Path) -> None:
    shutil.rmtree(project / "rounds" / "01" / "scored")


def change_a_weight(project: Path) -> None:
    file = project / "rounds" / "01" / "model" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def another_time(project: Path) -> None:
    file = project / "rounds" / "01" / "pulled" / CORRECTIONS
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**line, "when": "2030-01-01T00:00:00Z"}) + "\n" for line in reversed(lines)))


def reverse(file: str) -> Callable[[Path], None]:
    def harm(project: Path) -> None:
        lines = (project / file).read_text(encoding="utf-8").splitlines(keepends=True)
        assert len(set(lines)) > 1
        (project / file).write_text("".join(reversed(lines)), encoding="utf-8")

    return harm


def empty(file: str) -> Callable[[Path], None]:
    def harm(project: Path) -> None:
        assert (project / file).read_text(encoding="utf-8")
        (project / file).write_text("", encoding="utf-8")

    return harm


def note_other_times(project: Path) -> None:
    """What round 0 noted of the images, as if their files were of another time."""
    file = project / "rounds" / "00" / "images.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps([*line[:-1], 0]) + "\n" for line in lines))


def swap_two_tasks(project: Path) -> Path:
    file = ReviewFolder.of(project).task_files()[0]
    first, second, *rest = json.loads(file.read_text())
    file.write_text(json.dumps([second, first, *rest]))
    return file


def paint_over_a_crop(project: Path) -> Path:
    crop = min(ReviewFolder.of(project).crops.glob("*.jpg"))
    Image.new("RGB", (4, 4)).save(crop)
    return crop


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda project: None, []),
        (note_other_times, []),
        (reverse("labelstudio/taskmap.jsonl"), []),
        (reverse("rounds/01/routing/queue.jsonl"), ["rounds/01/routing/queue.jsonl: differs"]),
        (empty("audit/routing/images.jsonl"), ["audit/routing/images.jsonl: differs"]),
        (empty("audit/pulled/images.jsonl"), ["audit/pulled/images.jsonl: differs"]),
        (edit("labelstudio/taskmap.jsonl", '"origin": [', '"origin": [1'), ["labelstudio/taskmap.jsonl: differs"]),
        (edit("labelstudio/taskmap.jsonl", '"marks": ', '"marks": 1'), ["labelstudio/taskmap.jsonl: differs"]),
        (edit("labelstudio/form.xml", "<Style>", "<Style> "), ["labelstudio/form.xml: differs"]),
        (another_time, []),  # and in another order
        (move_a_point, ["dataset/manifest.json: has another digest", "dataset/manifest.json: xy differs in 1 images"]),
        (change_a_weight, ["rounds/01/model/model.safetensors: differs"]),
        (edit("rounds/01/routing/queue.jsonl", '"kind": "', '"kind": "x'), ["rounds/01/routing/queue.jsonl: differs"]),
        (edit("certificate.json", "issued", "isued"), ["certificate.json: differs"]),
    ],
)
def test_differences_are_found(
    finished: tuple[Path, ExportDesk], harm: Callable[[Path], None], found: list[str], tmp_path: Path
) -> None:
    project, _ = finished
    other = copied(project, tmp_path)
    harm(other)
    assert differences(project, other) == found


@pytest.mark.slow
@pytest.mark.parametrize("harm", [swap_two_tasks, paint_over_a_crop])
def test_what_people_are_shown_is_compared(
    finished: tuple[Path, ExportDesk], harm: Callable[[Path], Path], tmp_path: Path
) -> None:
    project, _ = finished
    other = copied(project, tmp_path)
    changed = harm(other).relative_to(other)
    assert differences(project, other) == [f"{changed}: differs"]


@pytest.mark.slow
def test_what_is_missing_or_new_is_told(finished: tuple[Path, ExportDesk], tmp_path: Path) -> None:
    project, _ = finished
    other = copied(project, tmp_path)
    lose_the_scores(other)
    assert "rounds/01/scored/manifest.json: is missing" in differences(project, other)
    assert "rounds/01/scored/manifest.json: is new" in differences(other, project)


def again(lines: list[str]) -> list[str]:
    """The first answer once more, under another name."""
    return [*lines, json.dumps({**json.loads(lines[0]), "annotation": "another", "created": ""})]


def moved(lines: list[str]) -> list[str]:
    first = json.loads(lines[0])
    first["result"][0]["value"]["x"] += 1e-9
    return [json.dumps(first), *lines[1:]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda lines: lines, (0, 0, 0)),
        (lambda lines: lines[1:], (2, 0, 0)),  # and its correction has no answer any more
        (again, (0, 1, 0)),
        (moved, (0, 0, 1)),
    ],
)
def test_answers_are_counted(
    finished: tuple[Path, ExportDesk], harm: Callable[[list[str]], list[str]], found: tuple[int, int, int],
    tmp_path: Path,
) -> None:  # fmt: skip
    project, desk = finished
    other = copied(project, tmp_path)
    journal = ReviewFolder.of(other).journal
    journal.write_text("".join(f"{line}\n" for line in harm(journal.read_text().splitlines())))
    assert tuple(vars(counted(other, desk)["answers"]).values()) == found


class Hall:
    """A desk that shows what it is told to."""

    def __init__(self, given: dict[str, Answer], there: Counter[str]) -> None:
        self.given, self._there = given, there

    def answer(self) -> None:
        raise OSError("the light went out")

    def there(self) -> Counter[str]:
        return self._there

    def answers(self) -> Counter[str]:
        return Counter(self.given.keys())


@pytest.mark.slow
def test_tasks_are_counted(finished: tuple[Path, ExportDesk]) -> None:
    project, desk = finished
    whole = desk.there()
    first = next(iter(whole))
    for there, found in (
        (whole, (0, 0, 0)),
        (whole - Counter([first]), (1, 0, 0)),
        (whole + Counter([first]), (0, 1, 0)),
        (whole + Counter(["stranger"]), (0, 0, 1)),
    ):
        assert tuple(vars(counted(project, Hall(desk.given, there))["tasks"]).values()) == found


def test_a_person_who_cannot_go_on_is_told() -> None:
    with Person(Hall({}, Counter())) as person, pytest.raises(RuntimeError, match="could not go on"):
        for _ in range(200):
            person.require_well()
            time.sleep(0.05)


def test_kinds_leave_the_round_out() -> None:
    assert [step.kind for step in STEPS] == ["model", "scored", "model", "scored", "audit/merged"]


@pytest.mark.parametrize("kills", [1, 2, 3, 10, 40])
def test_moments_lie_in_every_kind_of_step_and_then_where_time_goes(kills: int) -> None:
    drawn = moments(STEPS, kills, random.Random(0))
    assert len(drawn) == kills
    assert len({moment.step.kind for moment in drawn}) == min(kills, 3)
    assert [moment.place for moment in drawn] == sorted(moment.place for moment in drawn)
    assert all(0 <= moment.share <= 1 for moment in drawn)
    assert all(moment.share <= 0.9 for moment in drawn if moment.place == len(STEPS) - 1), "after it there is nothing"
    assert drawn == moments(STEPS, kills, random.Random(0))
    if kills == 40:
        counts = Counter(moment.step.leaves for moment in drawn)
        assert counts["rounds/00/model"] > counts["rounds/01/model"] > counts["audit/merged"]
        assert any(moment.share > 0.9 for moment in drawn), "where a step commits"


@pytest.mark.parametrize(("kills", "expected"), [(0, 0), (2, 2), (5, 5), (9, 5)])
def test_the_server_dies_over_the_whole(kills: int, expected: int) -> None:
    drawn = [Moment(i, step, 0.5) for i, step in enumerate(STEPS)]
    deadly = with_server(drawn, kills, random.Random(0))
    assert len(deadly) == expected
    if kills == 2:
        assert {moment.place < 2 for moment in deadly} == {True, False}


def test_a_watch_tells_the_steps_of_a_run(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    for when, file in enumerate(
        ["rounds/00/model/done.json", "rounds/00/round.json", "rounds/00/images.jsonl", "labelstudio/tasks/a-0.json",
         "rounds/00/model/run.json", "coco.json"], start=1,
    ):  # fmt: skip
        here = tmp_path / file
        here.parent.mkdir(parents=True, exist_ok=True)
        here.touch()
        watch.look(float(when))
    assert watch.steps(0.0) == [
        Step("rounds/00/model", "", 1.0),
        Step("rounds/00/round.json", "rounds/00/model", 1.0),
        Step("labelstudio/tasks 1", "rounds/00/round.json", 2.0),
        Step("coco.json", "labelstudio/tasks 1", 2.0),
    ]
    assert watch.has("") and watch.has("coco.json") and not watch.has("report.html")
    assert watch.at([*watch.steps(0.0), Step("report.html", "coco.json", 1.0)]).leaves == "report.html"


def rows() -> list[dict[str, Any]]:
    clean = {"what": "run", "project": "demo", "answers": 1200, "differences": 0, **dict.fromkeys(WHOLE, 0)}
    runs = [
        {**clean, "run": "undisturbed", "kills": 0, "where aimed": 0, "server killed": 0},
        {**clean, "run": "killed-1", "kills": 4, "where aimed": 3, "server killed": 2},
    ]
    kills = [
        {"what": "kill", "project": "demo", "kind": kind, "server": server}
        for kind, server in (("model", True), ("model", False), ("scored", True), ("audit/merged", False))
    ]
    return [*runs, *kills]


@pytest.mark.parametrize(
    "change", [{"differences": 1}, {"tasks lost": 1}, {"answers doubled": 2}, {"kills": 3}, {"server killed": 1}]
)
def test_bars(change: dict[str, int]) -> None:
    assert all(bar["met"] for bar in bars(rows(), kills=4, server_kills=2))
    worse = rows()
    worse[1] |= change
    assert [bar["met"] for bar in bars(worse, kills=4, server_kills=2)].count(False) == 1


def test_kinds_are_told_by_project() -> None:
    name = "killed in the step that leaves"
    assert by_kind(rows()) == [
        {name: "audit/merged", "demo": "1"},
        {name: "model", "demo": "2 (1)"},
        {name: "scored", "demo": "1 (1)"},
    ]


def test_the_page_has_a_line_a_run_and_a_line_a_kind() -> None:
    page = section(rows())
    assert "| demo | killed-1 | 4 | 3 | 2 | 1,200 | 0 | 0 | 0 | 0 |" in page
    assert "| model | 2 (1) |" in page
    for table in page.split("\n\n"):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
