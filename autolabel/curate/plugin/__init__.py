"""autolabel in FiftyOne's App: decide about poses, see why they are doubted, export them, and the round's numbers.

FiftyOne runs a copy of this folder (``autolabel curate --install-plugin``). The forms are here; all work is done by
autolabel, which therefore must be installed in the Python that runs the App.
"""

# fiftyone ships no types: its classes and all that a context gives are unknown to pyright.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import fiftyone.operators as foo
from fiftyone.operators import types
from fiftyone.operators.categories import Categories

T = TypeVar("T")

INSTALL = "autolabel curate --install-plugin"


def register(p: Any) -> None:
    """Called by FiftyOne; buttons stand in this order, and in a narrow window the last ones in a menu."""
    for operator in (_SendToReview, _Accept, _Reject, _WrongBox, _ExplainPose, _ExportSelection, _Round):
        p.register(operator)


class _Decision(foo.Operator):
    """Tags poses with a decision, in place of any other, and writes down who and when."""

    name_: str
    decision: str
    label: str
    icon: str
    means: str

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(
            name=self.name_,
            label=f"autolabel: {self.label}",
            description=self.means,
            icon=self.icon,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_placement(self, ctx: Any) -> Any:
        return _button(ctx, self.label, self.icon)

    def resolve_input(self, ctx: Any) -> Any:
        def intention() -> str:
            from autolabel.curate.deciding import intention
            from autolabel.curate.tagging import who

            _, plan, told = self._plan(ctx)
            return intention(plan, told, who(ctx.user))

        return _form(self.label, *_attempt(intention))

    def execute(self, ctx: Any) -> Any:
        done, why = _attempt(lambda: self._decide(ctx))
        if done is None:
            return {"said": why, "read": True}
        said, contradicted = done
        # What is selected next is to be decided alone.
        ctx.ops.clear_selected_labels()
        ctx.ops.clear_selected_samples()
        ctx.ops.reload_samples()
        if not contradicted:
            ctx.ops.notify(said, variant="success")
        return {"said": said, "read": contradicted}

    def resolve_output(self, ctx: Any) -> Any:
        # A note that goes by itself saves a click; what somebody must read stays until it is closed.
        return _output(self.label) if ctx.results.get("read") else None

    def _plan(self, ctx: Any) -> tuple[Any, Any, str]:
        from autolabel.curate.deciding import plan_decision
        from autolabel.curate.tagging import read_standings

        shown, chosen = _chosen(ctx)
        return shown, plan_decision(self.decision, *read_standings(shown, chosen.poses)), chosen.told

    def _decide(self, ctx: Any) -> tuple[str, bool]:
        from datetime import UTC, datetime

        from autolabel.curate.deciding import outcome
        from autolabel.curate.tagging import who, write_decision

        shown, plan, _ = self._plan(ctx)
        write_decision(shown, plan, by=who(ctx.user), now=datetime.now(UTC).isoformat(timespec="seconds"))
        return outcome(plan), bool(plan.against)


class _Accept(_Decision):
    """The poses are right as they stand."""

    name_, decision, label, icon = "accept", "accept", "Accept", "check_circle"
    means = "The poses are right as they stand"


class _Reject(_Decision):
    """Nobody is to be labelled there."""

    name_, decision, label, icon = "reject", "reject", "Reject", "cancel"
    means = "Nobody is to be labelled there"


class _WrongBox(_Decision):
    """The boxes are wrong; a person draws them anew."""

    name_, decision, label, icon = "wrong_box", "wrong-box", "Wrong box", "crop_free"
    means = "The boxes are wrong, and a person draws them anew"


class _SendToReview(_Decision):
    """A person looks at the poses in Label Studio."""

    name_, decision, label, icon = "send_to_review", "send-to-review", "Send to review", "rate_review"
    means = "A person looks at the poses in Label Studio"


class _ExplainPose(foo.Operator):
    """Why a pose is doubted, what the network measured, and who said what about it."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(
            name="explain_pose",
            label="autolabel: Explain this pose",
            description="Reasons, measurements, and the history of a pose",
            icon="help",
            risk_level=types.RiskLevel.LOW,
        )

    def resolve_placement(self, ctx: Any) -> Any:
        return _button(ctx, "Explain this pose", "help", prompt=False)

    def execute(self, ctx: Any) -> Any:
        def stories() -> str:
            from autolabel.curate.pose_facts import read_stories
            from autolabel.curate.pose_story import tell_all

            shown, chosen = _chosen(ctx)
            return tell_all(read_stories(shown, chosen.poses), len(chosen.poses))

        said, why = _attempt(stories)
        return {"said": why or said}

    def resolve_output(self, ctx: Any) -> Any:
        return _output("Why this pose is doubted")


class _ExportSelection(foo.Operator):
    """The selected poses as a manifest."""

    @property
    def config(self) -> Any:
        return foo.OperatorConfig(
            name="export_selection",
            label="autolabel: Export selection",
            description="Write the selected poses, or those of the view, as a manifest and a list of ids",
            icon="save_alt",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx: Any) -> Any:
        def intention() -> str:
            from autolabel.curate.export_selection import intention

            shown, poses, told = _chosen_or_view(ctx)
            return intention(shown, len(poses), told, ctx.params.get("folder") or "")

        said, why = _attempt(intention)
        form = _form("Export selection", said, why)
        if not why:
            form.type.str(
                "folder", label="Folder", description="A new one, beside the manifest or anywhere", required=True
            )
        return form

    def execute(self, ctx: Any) -> Any:
        def export() -> str:
            from autolabel.curate.export_selection import export_poses, target_of, written
            from pipelines.subset import with_poses

            shown, poses, _ = _chosen_or_view(ctx)
            out = target_of(shown, ctx.params.get("folder") or "")
            return written(*export_poses(shown, poses, out, subset=with_poses), len(poses))

        said, why = _attempt(export)
        return {"said": why or said}

    def resolve_output(self, ctx: Any) -> Any:
        return _output("Export selection")


class _Round(foo.Panel):
    """The numbers of what is shown, and the risk of accepting a share of it."""

    @property
    def config(self) -> Any:
        return foo.PanelConfig(name="round", label="Round", icon="donut_large", category=Categories.CURATE)

    def on_load(self, ctx: Any) -> None:
        """Read everything; also when the view or the data set changes, and on demand."""
        told, why = _attempt(lambda: _numbers(ctx))
        text, drawn = told if told is not None else (why, [])
        ctx.panel.set_state("text", text)
        ctx.panel.set_state("drawn", bool(drawn))
        ctx.panel.set_data("curves", drawn)

    on_change_view = on_load
    on_change_dataset = on_load
    read_again = on_load

    def render(self, ctx: Any) -> Any:
        from autolabel.curate.round_numbers import LAYOUT

        panel = types.Object()
        panel.md(ctx.panel.get_state("text") or "", name="numbers")
        panel.btn("again", label="Read again", icon="refresh", variant="outlined", on_click=self.read_again)
        if ctx.panel.get_state("drawn"):
            panel.plot("curves", layout=dict(LAYOUT), height=480)
        around = {"container": {"sx": {"p": 2}}}
        return types.Property(panel, view=types.GridView(align_x="left", gap=1, componentsProps=around))


def _attempt(work: Callable[[], T]) -> tuple[T | None, str]:
    """What work gives, or in words why it gives nothing."""
    try:
        from autolabel.errors import AutolabelError
    except ImportError as error:
        return None, (
            f"autolabel is not installed in the Python that runs FiftyOne ({sys.executable}: {error}). "
            "Install it there, or start the App with `autolabel curate --launch`."
        )
    try:
        return work(), ""
    except AutolabelError as error:
        return None, str(error)
    except ImportError as error:
        return None, f"This plugin is of another version than autolabel ({error}). Run `{INSTALL}`, and reload the App."


def _chosen(ctx: Any) -> tuple[Any, Any]:
    """The data sets, and the poses that are meant."""
    from autolabel.curate.selection import chosen_poses, shown_sets

    shown = shown_sets(ctx.dataset)
    chosen = chosen_poses(
        shown, ctx.view, labels=ctx.selected_labels or (), samples=ctx.selected or (), current=ctx.current_sample
    )
    return shown, chosen


def _chosen_or_view(ctx: Any) -> tuple[Any, tuple[str, ...], str]:
    """The same, or all poses of the view where nothing is selected; and what was meant in words."""
    from autolabel.curate.selection import poses_in, shown_sets

    if ctx.selected_labels or ctx.selected or ctx.current_sample:
        shown, chosen = _chosen(ctx)
        return shown, chosen.poses, chosen.told
    shown = shown_sets(ctx.dataset)
    return shown, poses_in(shown, ctx.view), "the current view" if ctx.has_custom_view else "the whole data set"


def _numbers(ctx: Any) -> tuple[str, list[dict[str, Any]]]:
    from autolabel.curate.round_numbers import read_numbers, text, traces
    from autolabel.curate.selection import shown_sets

    numbers = read_numbers(shown_sets(ctx.dataset), ctx.view)
    return text(numbers, whole=not ctx.has_custom_view), traces(numbers)


def _button(ctx: Any, label: str, icon: str, *, prompt: bool = True) -> Any:
    """A button above the grid, on data sets of ours alone."""
    if ctx.dataset is None or "autolabel" not in ctx.dataset.info:
        return None
    return types.Placement(types.Places.SAMPLES_GRID_ACTIONS, types.Button(label=label, icon=icon, prompt=prompt))


def _form(label: str, said: str | None, why: str) -> Any:
    """A form that says what will happen, or why nothing can."""
    inputs = types.Object()
    if why:
        refusal = inputs.view("why", types.AlertView(severity="warning", label=why))
        refusal.invalid, refusal.error_message = True, why
    else:
        inputs.md(said, name="said")
    return types.Property(inputs, view=types.PromptView(label=label, submit_button_label=label))


def _output(label: str) -> Any:
    outputs = types.Object()
    outputs.str("said", view=types.MarkdownView())
    return types.Property(outputs, view=types.View(label=label))
