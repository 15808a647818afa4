"""The plugin in a real FiftyOne: what its operators change, refuse and say, and what its panel shows."""

import getpass
import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autolabel.curate.install import install_plugin
from autolabel.ledger import LEDGER, Entry, write_ledger
from autolabel.manifest import Manifest
from autolabel.merge import KeypointChange, Stated, read_corrections
from pipelines.curate import curate
from tests.curation import some_manifest
from tests.looks import look

pytestmark = pytest.mark.live

OURS = "@autolabel/curate"
POSES = [f"{i:032x}" for i in range(3)]
"""The first two stand in one image, the third in another; the last image has none."""

BOTH = "a/0.png"


class Desk:
    """A curator in front of a data set."""

    def __init__(self, fiftyone: Any, dataset: Any, people: Any, manifest: Manifest) -> None:
        self.operators = importlib.import_module("fiftyone.operators")
        self.fiftyone, self.dataset, self.people, self.manifest = fiftyone, dataset, people, manifest

    def sample(self, path: str) -> str:
        """The id of an image."""
        return self.dataset.match({"path": path}).first().id

    def crop(self, pose: str) -> str:
        """The id of a crop."""
        return self.people.match({"pose_id": pose}).first().id

    def label(self, pose: str, field: str = "poses") -> dict[str, str]:
        """A selected label, as the App tells it."""
        place = "keypoints" if field == "poses" else "detections"
        sample = self.dataset.match({f"{field}.{place}.pose_id": pose}).first()
        label = next(label for label in sample[field][place] if label.pose_id == pose)
        return {"sample_id": sample.id, "label_id": label.id, "field": field}

    def run(self, name: str, *, params: dict[str, Any] | None = None, **context: Any) -> str:
        """What an operator says."""
        context = {"dataset": self.dataset, **context}
        return self.operators.execute_operator(f"{OURS}/{name}", ctx=context, params=params or {}).result["said"]

    def context(self, name: str, **request: Any) -> tuple[Any, Any]:
        """An operator, and a context as the App sends it."""
        operator = self.operators.get_operator(f"{OURS}/{name}")
        executor = importlib.import_module("fiftyone.operators.executor")
        request = {"dataset_name": self.dataset.name, "view": [], "params": {}, **request}
        return operator, executor.ExecutionContext(request, executor=executor.Executor(), operator_uri=operator.uri)

    def form(self, name: str, **request: Any) -> str:
        """The form of an operator, as JSON."""
        operator, context = self.context(name, **request)
        return json.dumps(operator.resolve_input(context).to_json(), ensure_ascii=False)

    def tags(self) -> dict[str, tuple[list[str], str | None]]:
        """By pose: tags, and who signed them."""
        self.dataset.reload()
        names = [f"poses.keypoints.{name}" for name in ("pose_id", "tags", "decided_by")]
        poses, tags, by = ([value for image in column for value in image] for column in self.dataset.values(names))
        return {pose: (its, who) for pose, its, who in zip(poses, tags, by, strict=True)}

    def crop_tags(self) -> dict[str, list[str]]:
        self.people.reload()
        return dict(zip(*self.people.values(["pose_id", "tags"]), strict=True))


@pytest.fixture(scope="module")
def installed(fiftyone_module: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before = fiftyone_module.config.plugins_dir
    fiftyone_module.config.plugins_dir = str(tmp_path_factory.mktemp("plugins"))
    yield install_plugin(fiftyone_module)
    fiftyone_module.config.plugins_dir = before


@pytest.fixture
def desk(fiftyone_module: Any, installed: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    name = f"plug-{request.node.name.replace('[', '-').replace(']', '')[:50]}"
    manifest = some_manifest(tmp_path)
    curate(manifest, name=name, sheet=tmp_path / "crops")
    people = f"{name}-people"
    yield Desk(fiftyone_module, *map(fiftyone_module.load_dataset, (name, people)), manifest)
    for made in (name, people):
        if fiftyone_module.dataset_exists(made):
            fiftyone_module.delete_dataset(made)


ME = getpass.getuser()


def test_fiftyone_finds_everything_without_an_error(desk: Desk) -> None:
    contexts = importlib.import_module("fiftyone.plugins.context").build_plugin_contexts()
    (ours,) = (context for context in contexts if context.name == OURS)
    assert not ours.errors
    decisions = ["send_to_review", "accept", "reject", "wrong_box"]
    assert [operator.name for operator in ours.instances] == [*decisions, "explain_pose", "export_selection", "round"]


@pytest.mark.parametrize(
    ("name", "tag"),
    [("accept", "accept"), ("reject", "reject"), ("wrong_box", "wrong-box"), ("send_to_review", "send-to-review")],
)
def test_a_selected_pose_is_tagged_signed_and_mirrored_on_its_crop(desk: Desk, name: str, tag: str) -> None:
    assert desk.run(name, selected_labels=[desk.label(POSES[1])]) == f"1 pose tagged {tag}."
    assert desk.tags() == {POSES[0]: ([], None), POSES[1]: ([tag], ME), POSES[2]: ([], None)}
    assert desk.crop_tags() == {POSES[0]: [], POSES[1]: [tag], POSES[2]: []}
    assert desk.dataset.values("tags") == [[], [], []]
    (at,) = filter(None, desk.dataset.values("poses.keypoints.decided_at", unwind=True))
    assert at.endswith("+00:00")


def test_a_box_stands_for_its_pose_and_an_image_for_all_of_its(desk: Desk) -> None:
    assert desk.run("wrong_box", selected_labels=[desk.label(POSES[2], "boxes")]) == "1 pose tagged wrong-box."
    assert desk.run("accept", selected=[desk.sample(BOTH)]) == "2 poses tagged accept."
    assert [its for its, _ in desk.tags().values()] == [["accept"], ["accept"], ["wrong-box"]]


def test_where_the_view_shows_some_poses_the_others_are_not_meant(desk: Desk) -> None:
    view = desk.dataset.filter_labels("poses", desk.fiftyone.ViewField("pose_id") == POSES[1])
    assert desk.run("reject", view=view, selected=[desk.sample(BOTH)]) == "1 pose tagged reject."
    assert [its for its, _ in desk.tags().values()] == [[], ["reject"], []]


@pytest.mark.parametrize("patches", ["poses", "boxes"])
def test_patches_stand_for_their_poses(desk: Desk, patches: str) -> None:
    view = desk.dataset.to_patches(patches)
    chosen = next(patch.id for patch in view if patch[patches].pose_id == POSES[1])
    assert desk.run("accept", view=view, selected=[chosen]) == "1 pose tagged accept."
    assert [its for its, _ in desk.tags().values()] == [[], ["accept"], []]


def test_the_open_image_is_meant_where_nothing_is_selected(desk: Desk) -> None:
    assert "of the open image" in desk.form("accept", current_sample=desk.sample(BOTH))
    assert desk.run("accept", current_sample=desk.sample(BOTH)) == "2 poses tagged accept."


def test_labels_of_another_image_than_the_open_one_are_told(desk: Desk) -> None:
    """The App keeps labels selected when somebody goes on to the next image."""
    label, here, there = desk.label(POSES[0]), desk.sample(BOTH), desk.sample("a/1.png")
    assert "of 1 selected label →" in desk.form("accept", selected_labels=[label], current_sample=here)
    assert "(1 not in the open image) →" in desk.form("accept", selected_labels=[label], current_sample=there)


def test_a_new_decision_takes_the_place_of_others_and_again_changes_nothing(desk: Desk) -> None:
    chosen = [desk.label(POSES[1])]
    desk.dataset.select_labels(labels=chosen).tag_labels(["mine", "accept"])
    desk.dataset.select_labels(labels=[desk.label(POSES[1], "boxes")]).tag_labels("wrong-box")
    assert desk.run("reject", selected_labels=chosen) == "1 pose tagged reject. Replaced: 1 accept, 1 wrong-box."
    assert sorted(desk.tags()[POSES[1]][0]) == ["mine", "reject"]
    assert desk.dataset.count_label_tags("boxes") == {}
    desk.dataset.set_label_values("poses.keypoints.decided_by", {chosen[0]["label_id"]: "ada"})
    modified = desk.dataset.values("last_modified_at")
    assert desk.run("reject", selected_labels=chosen) == "Nothing to do: 1 pose tagged reject already."
    assert desk.tags()[POSES[1]][1] == "ada"
    assert desk.dataset.values("last_modified_at") == modified


def test_the_tag_of_an_image_goes_with_all_its_poses_and_is_told_otherwise(desk: Desk) -> None:
    desk.dataset.match({"path": BOTH}).tag_samples(["mine", "reject"])
    said = desk.run("accept", selected_labels=[desk.label(POSES[0])])
    assert "Tags on whole images say otherwise (reject on 1 image)" in said
    assert set(desk.dataset.match({"path": BOTH}).first().tags) == {"mine", "reject"}
    assert desk.run("accept", selected=[desk.sample(BOTH)]).startswith("1 pose tagged accept. 1 tagged so already.")
    desk.dataset.reload()
    assert desk.dataset.match({"path": BOTH}).first().tags == ["mine"]


def test_on_the_contact_sheet_crops_stand_for_the_poses_in_the_images(desk: Desk) -> None:
    crops = [desk.crop(POSES[0]), desk.crop(POSES[2])]
    said = desk.run("send_to_review", dataset=desk.people, selected=crops)
    assert said == "2 poses tagged send-to-review."
    assert desk.crop_tags() == {POSES[0]: ["send-to-review"], POSES[1]: [], POSES[2]: ["send-to-review"]}
    sent = (["send-to-review"], ME)
    assert desk.tags() == {POSES[0]: sent, POSES[1]: ([], None), POSES[2]: sent}
    desk.people.match({"pose_id": POSES[1]}).tag_samples("reject")
    assert desk.run("accept", selected_labels=[desk.label(POSES[1])]) == "1 pose tagged accept. Replaced: 1 reject."
    assert desk.crop_tags()[POSES[1]] == ["accept"]


def test_a_contact_sheet_alone_is_tagged_alone(desk: Desk) -> None:
    desk.dataset.delete()
    crop = [desk.crop(POSES[1])]
    assert desk.run("reject", dataset=desk.people, selected=crop) == "1 pose tagged reject."
    assert desk.run("reject", dataset=desk.people, selected=crop).startswith("Nothing to do")
    assert desk.crop_tags()[POSES[1]] == ["reject"]
    assert "in `a/0.png`" in desk.run("explain_pose", dataset=desk.people, selected=crop)


def test_what_was_decided_comes_home_signed(desk: Desk, tmp_path: Path) -> None:
    desk.run("accept", selected_labels=[desk.label(POSES[1])])
    desk.run("reject", dataset=desk.people, selected=[desk.crop(POSES[0])])
    desk.run("send_to_review", selected_labels=[desk.label(POSES[2])])
    result = curate(desk.manifest, name=desk.dataset.name, pull=True, out=tmp_path / "out", by="asker").pulled
    assert result is not None
    assert (result.accepted, result.rejected, result.review, result.notices) == (1, 1, 1, 0)
    made = read_corrections(tmp_path / "out" / "corrections.jsonl", 17)
    assert {correction.by for correction in made} == {ME}


def test_nothing_is_selected(desk: Desk) -> None:
    assert "Nothing is selected. Select tiles" in desk.form("accept")
    with pytest.raises(Exception, match="Nothing is selected"):
        desk.run("accept")
    assert desk.tags() == dict.fromkeys(POSES, ([], None))
    assert desk.run("explain_pose").startswith("Nothing is selected. Select tiles")


def test_nobody_is_in_what_is_selected(desk: Desk) -> None:
    for chosen in ({"selected": [desk.sample("a/2.png")]}, {"selected_labels": [{"label_id": "0" * 24}]}):
        assert "No pose of the manifest is in 1 selected" in desk.form("reject", **chosen)


def test_a_data_set_of_others_has_no_buttons_and_refuses(desk: Desk) -> None:
    other = desk.fiftyone.Dataset()
    other.add_sample(desk.fiftyone.Sample(filepath="x.png"))
    request = {"dataset_name": other.name, "selected": [other.first().id]}
    for name in ("accept", "export_selection"):
        assert "did not make this data set" in desk.form(name, **request)
    assert "did not make this data set" in desk.run("explain_pose", dataset=other)
    operator, context = desk.context("accept", **request)
    assert operator.resolve_placement(context) is None
    operator, context = desk.context("accept")
    assert operator.resolve_placement(context).to_json()["view"]["label"] == "Accept"
    other.delete()


def test_what_must_be_read_stays_on_the_screen(desk: Desk) -> None:
    operator, context = desk.context("accept", results={"read": False})
    assert operator.resolve_output(context) is None
    operator, context = desk.context("accept", results={"read": True})
    assert operator.resolve_output(context) is not None


def test_the_app_is_told_to_show_it_and_to_forget_the_selection(desk: Desk) -> None:
    operator, context = desk.context("accept", selected=[desk.sample(BOTH)])
    operator.execute(context)
    asked = [request["operator_uri"] for request in context.executor.to_json()["requests"]]
    assert asked == ["clear_selected_labels", "clear_selected_samples", "reload_samples", "notify"]


def test_a_pose_is_explained_with_its_history(desk: Desk) -> None:
    pose = desk.manifest.part(0)[0].poses[1]
    correction = replace(
        look("ann").correction,
        pose=pose.id,
        keypoints=(KeypointChange.KEPT,) * 17,
        before=Stated.of(pose),
        after=Stated.of(pose),
    )
    write_ledger(desk.manifest.path / LEDGER, [Entry(correction, "1", "review", "r", pose.by, pose.origin)])
    said = desk.run("explain_pose", selected_labels=[desk.label(POSES[1])])
    assert said.startswith(f"Pose `{POSES[1]}` in `a/0.png`\n\n**p_bad 0.100**")
    assert "| 2026-01-02 10:00 | ann | review | 5 | left as it was |" in said
    assert "| right ankle | 0.500 | " in said


def test_the_most_doubtful_of_an_image_comes_first(desk: Desk) -> None:
    said = desk.run("explain_pose", selected=[desk.sample(BOTH)])
    assert said.index(POSES[0]) < said.index(POSES[1])
    assert "- left knee: two peaks\n- lint: mirrored limb" in said
    assert said.count("Nobody has answered about it yet.") == 2


def test_without_its_manifest_a_pose_is_explained_as_far_as_it_goes(desk: Desk) -> None:
    shutil.rmtree(desk.manifest.path)
    said = desk.run("explain_pose", selected_labels=[desk.label(POSES[0])])
    assert "Without features and history." in said
    assert "not a manifest folder" in said
    assert "- left knee: two peaks" in said


def test_a_broken_ledger_is_told_beside_the_rest(desk: Desk) -> None:
    (desk.manifest.path / LEDGER).write_text(f'{{"pose": "{POSES[0]}"}}\n', encoding="utf-8")
    said = desk.run("explain_pose", selected_labels=[desk.label(POSES[0])])
    assert f"{LEDGER}: line 1" in said
    assert "- left knee: two peaks" in said


def test_a_selection_becomes_a_manifest(desk: Desk) -> None:
    out = desk.manifest.path.with_name("chosen.m")
    said = desk.run("export_selection", selected_labels=[desk.label(POSES[1])], params={"folder": "chosen.m"})
    assert said.startswith(f"1 pose in 1 image → `{out}`")
    assert [sample.poses.id.tolist() for sample in Manifest.open(out)] == [[POSES[1]]]
    assert (out / "poses.txt").read_text(encoding="utf-8") == f"{POSES[1]}\n"
    said = desk.run("export_selection", selected_labels=[desk.label(POSES[0])], params={"folder": "chosen.m"})
    assert str(out) in said
    assert "→" not in said
    assert Manifest.open(out).counts["poses"] == 1


def test_without_a_selection_it_is_the_view(desk: Desk) -> None:
    view = desk.dataset.match({"path": {"$ne": BOTH}})
    said = desk.run("export_selection", view=view, params={"folder": "view.m"})
    assert said.startswith("1 pose in 1 image")
    assert "**3 poses** of the whole data set" in desk.form("export_selection")
    assert "2 poses** of 2 selected people" in desk.form(
        "export_selection", dataset_name=desk.people.name, selected=[desk.crop(pose) for pose in POSES[:2]]
    )


def test_an_export_that_cannot_be_is_told_in_words(desk: Desk) -> None:
    shutil.rmtree(desk.manifest.path)
    assert "not a manifest folder" in desk.run("export_selection", params={"folder": "chosen.m"})
    assert "Which folder?" in desk.run("export_selection", params={"folder": "  "})


def panel(desk: Desk, **request: Any) -> tuple[dict[str, Any], str]:
    """What the panel is sent when it is opened, and how it is drawn."""
    params = {"panel_id": "p", "panel_state": {}, "__method__": "on_load"}
    operator, context = desk.context("round", params=params, **request)
    operator.execute(context)
    sent: dict[str, Any] = {}
    drawn = ""
    for asked in context.executor.to_json()["requests"]:
        sent |= {**(asked["params"].get("state") or {}), **(asked["params"].get("data") or {})}
        drawn = json.dumps(asked["params"].get("output") or drawn)
    return sent, drawn


def test_the_panel_shows_the_numbers_and_the_curve(desk: Desk) -> None:
    desk.run("reject", selected_labels=[desk.label(POSES[0])])
    desk.dataset.match({"path": BOTH}).tag_samples("accept")
    sent, drawn = panel(desk)
    assert sent["text"].split("\n\n") == [
        "**3 images, 3 poses** in the whole data set",
        "mean p_bad **25.00 %** of 2",
        "State: open 3",
        "Decided here: reject 1",
        "Decided on whole images: accept 1",
        "`autolabel curate --pull` brings decisions home.",
    ]
    (curve,) = sent["curves"]
    assert (curve["x"], curve["y"]) == ([0.5, 1.0], [0.1, 0.25])
    assert "PlotlyView" in drawn


def test_the_panel_follows_the_view_and_the_truth(desk: Desk) -> None:
    curate(desk.manifest, name=desk.dataset.name, truth=desk.manifest.path)
    desk.dataset.reload()
    view = desk.dataset.match({"path": BOTH})
    sent, _ = panel(desk, view=view._serialize())
    assert sent["text"].startswith("**1 image, 2 poses** in the current view")
    assert "bad by the truth **0.00 %** of 2" in sent["text"]
    assert [curve["y"][-1] for curve in sent["curves"]] == [0.25, 0.0]


def test_the_panel_on_the_contact_sheet_and_on_a_data_set_of_others(desk: Desk) -> None:
    desk.run("accept", dataset=desk.people, selected=[desk.crop(POSES[0])])
    sent, _ = panel(desk, dataset_name=desk.people.name)
    assert sent["text"].startswith("**3 crops, 3 poses** in the whole data set\n\nmean p_bad **25.00 %** of 2")
    assert "Decided here: accept 1" in sent["text"]
    other = desk.fiftyone.Dataset()
    sent, drawn = panel(desk, dataset_name=other.name)
    assert "did not make this data set" in sent["text"]
    assert "PlotlyView" not in drawn
    other.delete()


def test_without_autolabel_it_says_what_to_do(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "autolabel.errors", None)
    form = desk.form("accept", selected=[desk.sample(BOTH)])
    assert "autolabel is not installed in the Python that runs FiftyOne" in form
    assert "not installed" in desk.run("explain_pose")
    assert panel(desk)[0]["text"].startswith("autolabel is not installed")


def test_another_version_of_autolabel_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "autolabel.curate.selection", None)
    assert "of another version than autolabel" in desk.run("explain_pose")


def test_the_copy_is_what_runs(desk: Desk, installed: Path) -> None:
    operator = desk.operators.get_operator(f"{OURS}/accept")
    module = sys.modules[type(operator).__module__]
    assert Path(str(module.__file__)) == installed / "__init__.py"
