"""Which answers of a file count, and which files are no exports."""

import json
from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import FormatError
from autolabel.formats.labels import Labels
from autolabel.formats.labelstudio import AnnotationChoice, read_labelstudio
from autolabel.poses import Origin
from tests.autolabel.formats.labelstudio_exports import FACE, WIDTH, annotation, export, kp, read, task

ANNA = {"id": 1, "email": "anna@example.com", "username": "anna"}


def answer(x: float, **more: Any) -> dict[str, Any]:
    return annotation(kp("nose", x), **more)


def place(labels: Labels) -> list[float]:
    """x of every nose in percent: which answer was taken."""
    return [round(100 * float(pose[0, 0]) / WIDTH, 3) for s in labels.samples for pose in s.poses.xy]


EARLY, LATE, SKIPPED = answer(10, minute=1, by=1), answer(20, minute=2, by=2), answer(30, minute=3, was_cancelled=True)
TRUE = answer(40, minute=0, ground_truth=True)
EDITED = answer(50, minute=0) | {"updated_at": "2026-01-01T14:00:00+03:00"}  # 11:00 UTC
LATEST, FIRST = AnnotationChoice.LATEST, AnnotationChoice.FIRST


@pytest.mark.parametrize(
    ("annotations", "choice", "expected"),
    [
        ([EARLY, LATE, SKIPPED], LATEST, [20]),
        ([LATE, EARLY], LATEST, [20]),  # by time, not by place
        ([EARLY, LATE, TRUE], LATEST, [40]),  # ground truth goes before
        ([EARLY, EDITED], LATEST, [50]),  # times of several zones
        ([EARLY, LATE], FIRST, [10]),
        ([EARLY, EDITED], FIRST, [50]),  # created, not updated
        ([EARLY, LATE], AnnotationChoice.GROUND_TRUTH, []),
        ([EARLY, TRUE], AnnotationChoice.GROUND_TRUTH, [40]),
        ([SKIPPED], LATEST, []),
        ([], LATEST, []),
        ([answer(10) | {"updated_at": None}, answer(20) | {"updated_at": None}], LATEST, [20]),  # no times: the last
    ],
)
def test_one_annotation_of_a_task_counts(
    annotations: list[Any], choice: AnnotationChoice, expected: list[int], tmp_path: Path
) -> None:
    assert place(read(tmp_path, task(*annotations), annotations=choice)) == expected


def test_what_was_not_taken_is_said_and_who_stated_what_was(tmp_path: Path) -> None:
    labels = read(
        tmp_path, task(EARLY, LATE, SKIPPED), task(SKIPPED, id=2), task(id=3, drafts=[{"result": []}]), task(LATE, id=4)
    )
    assert labels.notes == (
        "2 tasks without a finished annotation left out.",
        "2 skipped annotations left out.",
        "1 drafts left out.",
        "1 tasks have several annotations; taken: latest; 1 others left out.",
    )
    first, second = labels.samples
    assert first.poses.by.tolist() == ["annotator-2"]
    assert first.attributes["labelstudio"] == {"task": 1, "annotation": 1, "annotations": 2, "lead_time": 3.5}
    assert second.attributes["labelstudio"] == {"task": 4, "annotation": 1, "lead_time": 3.5}
    assert first.poses.origin.tolist() == [[Origin.IMPORTED, Origin.NONE, Origin.NONE]]


@pytest.mark.parametrize(("annotator", "expected"), [("1", [10]), ("2", [20]), ("anna", [60]), (ANNA["email"], [60])])
def test_one_annotator(annotator: str, expected: list[int], tmp_path: Path) -> None:
    tasks = [task(EARLY, LATE), task(answer(60, by=ANNA), id=2)]
    if annotator == "1":  # Anna's number
        expected = [10, 60]
    labels = read(tmp_path, *tasks, annotator=annotator)
    assert place(labels) == expected
    if annotator == "2":
        assert labels.notes == ("1 tasks without a finished annotation by 2 left out.",)
    with pytest.raises(FormatError, match=r"'bert' annotated nothing\. There is: 1, 2, anna@example.com, anna\."):
        read(tmp_path, *tasks, annotator="bert")


def test_an_annotator_is_called_by_the_address_where_the_file_tells_it(tmp_path: Path) -> None:
    labels = read(
        tmp_path, task(answer(1, by=ANNA)), task(answer(1, by={"id": 5}), id=2), task(answer(1, by=None), id=3)
    )
    assert [sample.poses.by[0] for sample in labels.samples] == ["anna@example.com", "annotator-5", ""]


def test_predictions_stand_in_where_asked_for(tmp_path: Path) -> None:
    old = {"model_version": "old", "created_at": "2026-01-01T00:00:00Z", "result": [kp("nose", 30, score=0.5)]}
    new = {"model_version": "new", "created_at": "2026-02-01T00:00:00Z", "result": [kp("nose", 40, score=0.25)]}
    tasks = [task(EARLY, predictions=[new, old]), task(SKIPPED, id=2, predictions=[new, old]), task(id=3)]
    assert place(read(tmp_path, *tasks)) == [10]
    labels = read(tmp_path, *tasks, annotations=AnnotationChoice.PREDICTIONS)
    assert place(labels) == [10, 40]
    predicted = labels.samples[1].poses
    assert (predicted.by[0], predicted.score[0, 0], predicted.origin[0, 0]) == ("new", 0.25, Origin.MODEL)


CROP = {"data": {"image": "a.jpg", "crop": "a.jpg", "task_key": "0"}, "meta": {"autolabel": {"schema": 1}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"image": "a.jpg", "kp": [{"x": 1}], "annotator": 1, "annotation_id": 2}], "JSON-MIN.*Export the project"),
        ({"images": [], "annotations": [], "categories": []}, "not a list of tasks.*Import it as coco"),
        ({"a": 1}, "not a list of tasks.*Export"),
        (7, "not a list of tasks"),
        ([7], r"tasks\[0\]: is 7, expected an object"),
        ([{"id": 3}], r"task 3: tasks\[0\].data: is missing"),
        ([{"data": 5}], r"tasks\[0\].data: is 5, expected an object"),
        ([CROP], "one cropped person.*autolabel pull"),
        ([task() | {"annotations": 5}], r"tasks\[0\].annotations: is 5, expected a list"),
        ([task(annotation() | {"result": None})], r"annotations\[0\].result: is null, expected a list"),
        ([task(annotation(), annotation() | {"updated_at": "noon"})], r"annotations\[1\].updated_at: is 'noon'"),
        ([task(annotation(by=[1]))], "completed_by: is a list"),
        ([task(annotation(), meta={"autolabel": {"schema": 2}})], "schema: is 2, expected 1"),
        ([task(annotation(), meta={"autolabel": "x"})], "meta.autolabel: is a text"),
    ],
)
def test_other_files_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    with pytest.raises(FormatError, match=message):
        read_labelstudio(path, skeleton=FACE)


def test_every_wrong_task_is_named_at_once(tmp_path: Path) -> None:
    bad = annotation(kp("nose"), kp("nose", 50))
    with pytest.raises(FormatError, match=r"task 2: .*Something is wrong with task 3, tasks.3. too"):
        read(
            tmp_path,
            task(LATE),
            task(bad, id=2),
            task(bad, id=3),
            {**task(bad), "id": None, "data": {"image": "b.jpg"}},
        )


def test_a_folder_as_a_target_storage_writes_it(tmp_path: Path) -> None:
    """A file an annotation, with its task inside."""
    one, two = ({**task(), "id": i, "data": {"image": f"{i}.jpg"}} for i in (1, 2))
    for number, (shown, given) in enumerate([(one, EARLY), (two, EARLY), (one, LATE)]):
        (tmp_path / f"{number}.json").write_text(json.dumps({**given, "id": number, "task": shown}))
    labels = read_labelstudio(tmp_path, skeleton=FACE)
    assert [(sample.path, x) for sample, x in zip(labels.samples, place(labels), strict=True)] == [
        ("1.jpg", 20),
        ("2.jpg", 10),
    ]
    assert labels.samples[0].attributes["labelstudio"]["annotations"] == 2


def test_a_folder_of_nothing_is_refused(tmp_path: Path) -> None:
    export(tmp_path, name="skeleton.json")
    with pytest.raises(FormatError, match=r"holds no \.json files"):
        read_labelstudio(tmp_path)
