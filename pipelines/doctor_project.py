"""What ``autolabel doctor`` says of the user's own project on the server, which it only looks at.

What is not as it should be is put right by the next push. In a project with tasks annotators meet it until then, so it
is a failure; before the first task it is a note.
"""

from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.form_check import differences
from autolabel.labelstudio.remote_project import TAB
from autolabel.labelstudio.server import Server
from autolabel.labelstudio.tasks import MODEL_VERSION
from autolabel.phrases import counted
from autolabel.skeleton import Skeleton
from pipelines.doctor_check import Check, Outcome


def project_checks(server: Server, number: int, skeleton: Skeleton, *, smart: bool = False) -> list[Check]:
    """Whether people see in the project what they should.

    Args:
        server: Where it is.
        number: The server's number of it; 0 where there is none yet.
        skeleton: What the form should ask for.
        smart: Whether its box should ask a backend.
    """
    if not number:
        return [Check("project", Outcome.NOTE, "none yet: the first push makes it")]
    project = server.project(number)
    bad = Outcome.FAILED if project.tasks else Outcome.NOTE
    until = "annotators see an empty canvas until the next push" if project.tasks else "the first push puts it right"
    wrong = differences(project.form, labelling_form(skeleton, smart=smart))
    told = "; ".join(wrong[:3]) + ("" if project.tasks else f": {until}")
    faults = [f"model_version is {project.model_version!r}"] * (project.model_version != MODEL_VERSION)
    faults += ["predictions are not shown"] * (not project.shows_predictions)
    queue = TAB in server.views(number)
    return [
        Check("project", Outcome.OK, f"{project.id}, {project.title!r}, {counted(project.tasks, 'task')}"),
        Check("form", bad if wrong else Outcome.OK, told if wrong else "ours"),
        Check("pre-labels", bad if faults else Outcome.OK, f"{'; '.join(faults)}: {until}" if faults else "shown"),
        Check(
            "queue",
            Outcome.OK if queue else Outcome.NOTE,
            f"tab {TAB!r}" if queue else f"no tab {TAB!r}: the next push makes it",
        ),
    ]
