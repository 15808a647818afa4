"""Which edits of a form are taste, and which change what an answer means."""

import re

import pytest

from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.form_check import differences, form_digest, is_empty
from autolabel.skeleton import Skeleton

FORM = labelling_form(Skeleton.load("coco17"))


def edited(old: str, new: str, count: int = -1) -> str:
    assert re.search(old, FORM, re.S), old
    return re.sub(old, new, FORM, count=max(count, 0), flags=re.S)


@pytest.mark.parametrize(
    "form",
    [
        FORM,
        edited(r'background="[^"]*"', 'background="#123456"'),
        edited(r' hotkey="[^"]*"', ""),
        edited(r'strokeWidth="\d"', 'strokeWidth="9"'),
        edited(r' style="[^"]*"', ""),
        edited(r"</View>\s*$", '<TextArea name="remark" toName="image"/><Header value="Be kind"/></View>'),
        edited(r"</View>\s*$", '<Choices name="mood" toName="image"><Choice value="good"/></Choices></View>'),
    ],
)
def test_looks_make_no_difference(form: str) -> None:
    assert differences(form, FORM) == []


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (edited('value="nose"', 'value="snout"'), "control 'doubt' lacks label 'nose'"),
        (edited('value="nose"', 'value="snout"'), "control 'doubt' also offers label 'snout'"),
        (edited('name="doubt"', 'name="points"'), "lacks <KeyPointLabels name='doubt'>"),
        (edited('name="doubt"', 'name="points"'), "also has <KeyPointLabels name='points'>"),
        (edited(r"<RectangleLabels.*?</RectangleLabels>", ""), "lacks <RectangleLabels name='box'>"),
        (edited("RectangleLabels", "EllipseLabels"), "'box' is <EllipseLabels toName='image'>"),
        (edited('perRegion="true"', 'perRegion="false"'), "'visibility' is about the whole task"),
        (edited(r'<Choice value="absent"[^>]*>', ""), "'visibility' lacks choice 'absent'"),
        (edited('value="\\$header"', 'value="Look"'), r"lacks <Header value='\$header'>"),
        (edited('value="\\$image"', 'value="$picture"'), r"lacks <Image value='\$image'>"),
        (edited('value="\\$image"', 'value="$picture"'), r"shows '\$picture', which no task has"),
        (edited(r'<Label value="[lr][^>]*>', ""), "'doubt' lacks .* and 11 more"),
        ("<View><unclosed></View>", "is no XML"),
        ("", "is no XML"),
    ],
)
def test_what_changes_answers_is_named(form: str, message: str) -> None:
    assert any(re.search(message, found) for found in differences(form, FORM)), differences(form, FORM)


def test_the_digest_is_that_of_what_the_server_gives_back() -> None:
    assert form_digest(FORM) == form_digest(FORM.strip()) == form_digest(re.sub(r">\s+<", "><", FORM))
    assert form_digest(FORM) != form_digest(edited('background="#[^"]*"', 'background="#123456"'))
    assert form_digest("no form") != form_digest("none")


@pytest.mark.parametrize(
    ("form", "empty"),
    [("<View></View>", True), ("<View/>", True), ("", True), (" ", True), (FORM, False), ("x", False)],
)
def test_the_form_of_a_new_project_is_empty(form: str, empty: bool) -> None:
    assert is_empty(form) is empty
