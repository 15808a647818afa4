"""A new decision takes the place of others wherever they stand, and says so beforehand."""

from typing import Any

import pytest

from autolabel.curate.deciding import (
    MEANS,
    ImageTags,
    Plan,
    Standing,
    code,
    intention,
    outcome,
    plan_decision,
    with_decision,
    without_others,
)
from autolabel.curate.marks import ACCEPT, DECISIONS, REJECT, REVIEW, WRONG_BOX


def standing(pose: str = "p", **given: Any) -> Standing:
    values: dict[str, Any] = {"image": "i", "label": f"L{pose}", "tags": (), "box": f"B{pose}", "box_tags": ()}
    return Standing(**{"pose": pose, **values, "crop_tags": None, "signed": False, **given})


def plan(decision: str, *poses: Standing, **images: ImageTags) -> Plan:
    return plan_decision(decision, poses, images)


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ({}, True),
        ({"tags": (ACCEPT,), "signed": True}, False),  # that is it already
        ({"tags": ("mine", ACCEPT), "signed": True}, False),  # the curator's own tags do not matter
        ({"tags": (ACCEPT,)}, True),  # tagged by hand: nobody wrote down who
        ({"tags": (ACCEPT, REVIEW), "signed": True}, True),
        ({"tags": (REJECT,), "signed": True}, True),
        ({"tags": (ACCEPT,), "box_tags": (WRONG_BOX,), "signed": True}, True),
        ({"tags": (ACCEPT,), "crop_tags": (REJECT,), "signed": True}, True),
        ({"crop_tags": (ACCEPT,), "signed": True}, False),  # on the contact sheet, and signed by an earlier pull
    ],
)
def test_only_what_is_not_decided_so_already_changes(given: dict[str, Any], changes: bool) -> None:
    made = plan(ACCEPT, standing(**given))
    assert (len(made.changed), made.already) == (int(changes), int(not changes))
    assert made.total == 1


def test_what_is_replaced_is_counted_by_pose_wherever_it_stands() -> None:
    poses = (
        standing("a", tags=(ACCEPT,), box_tags=(WRONG_BOX,)),
        standing("b", tags=(ACCEPT, "mine"), crop_tags=(ACCEPT,)),
        standing("c", tags=(REVIEW,), signed=True),
    )
    made = plan(REVIEW, *poses)
    assert made.replaced == {ACCEPT: 2, WRONG_BOX: 1}
    assert [pose.pose for pose in made.changed] == ["a", "b"]


def test_a_tag_on_the_image_goes_when_all_its_poses_are_decided_anew() -> None:
    poses = standing("a"), standing("b"), standing("c", image="j")
    made = plan(ACCEPT, *poses, i=ImageTags(("mine", REJECT), 2), j=ImageTags((REJECT, WRONG_BOX), 2))
    assert made.freed == {"i": ["mine"]}
    assert made.against == {REJECT: 1, WRONG_BOX: 1}


def test_a_tag_on_the_image_that_says_the_same_is_left_alone() -> None:
    made = plan(ACCEPT, standing("a"), i=ImageTags((ACCEPT,), 3))
    assert (made.freed, made.against) == ({}, {})


@pytest.mark.parametrize("decision", DECISIONS)
def test_tags_hold_one_decision_and_all_others(decision: str) -> None:
    tags = ["mine", *DECISIONS, "yours"]
    assert with_decision(tags, decision) == ["mine", "yours", decision]
    assert without_others(tags, decision) == ["mine", decision, "yours"]
    assert with_decision(with_decision(tags, decision), decision) == ["mine", "yours", decision]


def test_the_form_says_what_will_happen() -> None:
    poses = standing("a", tags=(ACCEPT,)), standing("b", tags=(REJECT,), signed=True), standing("c", image="j")
    said = intention(plan(REJECT, *poses, j=ImageTags((ACCEPT,), 2)), "2 selected images", "ada")
    assert said.startswith("**3 poses** of 2 selected images → `reject`, signed `ada`.")
    assert "left as they are: 1." in said
    assert "place of `accept` on 1 pose." in said
    assert "say otherwise (`accept` on 1 image)" in said
    assert said.endswith(MEANS[REJECT])


def test_the_form_tells_of_images_whose_tag_goes() -> None:
    said = intention(plan(ACCEPT, standing(), i=ImageTags((REJECT,), 1)), "1 selected image", "ada")
    assert "The other decision on 1 whole image goes." in said


@pytest.mark.parametrize(
    ("poses", "images", "said"),
    [
        ([standing()], {}, "1 pose tagged reject."),
        (
            [standing("a", tags=(REJECT,), signed=True)],
            {},
            "Nothing to do: 1 pose tagged reject already.",
        ),
        (
            [standing("a", tags=(ACCEPT,)), standing("b", tags=(REJECT,), signed=True)],
            {},
            "1 pose tagged reject. 1 tagged so already. Replaced: 1 accept.",
        ),
        (
            [standing()],
            {"i": ImageTags((ACCEPT,), 2)},
            "1 pose tagged reject. Tags on whole images say otherwise (accept on 1 image) and stay, since they are "
            "about other poses too. While they stand, people are asked.",
        ),
    ],
)
def test_the_result_says_what_happened(poses: list[Standing], images: dict[str, ImageTags], said: str) -> None:
    assert outcome(plan_decision(REJECT, poses, images)) == said


def test_a_name_cannot_leave_its_code() -> None:
    assert code("a`b") == "`a'b`"
