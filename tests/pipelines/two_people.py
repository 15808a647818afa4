"""Two simulated people who answer the same tasks of a project, as its exports tell it."""

import json
from pathlib import Path

from autolabel.formats.records import read_json
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.manifest import Manifest
from pipelines.simulated_reviewer import SimulatedReviewer


def answer(project: Path, truth: Manifest | list[Manifest], who: int, *, seed: int, **ways: float) -> None:
    """Another person answers every task; whoever answered before is not looked at.

    Args:
        project: The project folder.
        truth: What the person goes by.
        who: The person's number.
        seed: Of the person's noise.
        **ways: How the person works, see :class:`SimulatedReviewer`.
    """
    exports = ReviewFolder.of(project).exports
    before = {file: file.read_bytes() for file in exports.glob("*.json")}
    for file in before:
        file.unlink()
    SimulatedReviewer(truth, seed=seed, **ways).review(project)
    for file in sorted(exports.glob("*.json")):
        tasks = read_json(file)
        for annotation in (annotation for task in tasks for annotation in task["annotations"]):
            minute = annotation["updated_at"]
            annotation |= {
                "id": 1000 * who + annotation["id"],
                "unique_id": f"{who}-{annotation['unique_id']}",
                "completed_by": {"id": who, "email": f"person-{who}@example.org"},
                "updated_at": minute.replace(":00.", f":{who:02}."),
                "created_at": minute.replace(":00.", f":{who:02}."),
            }
        file.unlink()
        (exports / f"person-{who}-{file.name}").write_text(json.dumps(tasks))
    for file, content in before.items():
        file.write_bytes(content)
