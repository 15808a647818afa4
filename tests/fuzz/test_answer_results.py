"""A slice of the fuzzed annotation results; ``attack_many(10_000, seed)`` is the whole of it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.answer_results import KEY, SENT, SKELETON, Tally, attack, attack_many

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NUMBER = st.floats(-150, 250) | st.floats(0, 100) | st.integers(-10, 110)
REGION = st.sampled_from([*(item["id"] for item in SENT), "fo_1", "fo_2", f"{KEY[:12]}-k40", "0123456789ab-k1"])
ITEM = st.fixed_dictionaries(
    {
        "id": REGION | JSON,
        "type": st.sampled_from(["keypointlabels", "rectanglelabels", "choices", "keypoint"]),
        "from_name": st.sampled_from(["doubt", "sure", "gone", "visibility", "verdict", "box"]) | JSON,
        "value": st.fixed_dictionaries(
            {"x": NUMBER | JSON, "y": NUMBER, "width": NUMBER, "height": NUMBER},
            optional={
                "keypointlabels": st.lists(st.sampled_from([*SKELETON.keypoints, "tail"]), max_size=2) | JSON,
                "rectanglelabels": st.just(["box"]),
                "choices": st.lists(st.sampled_from(["visible", "hidden", "absent", "reject image", "no"]), max_size=2),
                "rotation": NUMBER,
            },
        ),
    }
)


def test_broken_results_are_used_rightly_or_set_aside() -> None:
    tally = attack_many(400, "slice")
    assert tally.used > 100 and tally.aside > 100, "else the mutations are too tame or too wild"
    assert tally.changed > 20


@settings(max_examples=100, deadline=None)
@given(st.lists(ITEM | JSON, max_size=6), st.booleans())
def test_made_up_results_are_used_rightly_or_set_aside(items: list[Any], beside_ours: bool) -> None:
    attack([*SENT, *items] if beside_ours else items, Tally())


@pytest.mark.parametrize("result", [[], SENT, [None], [[]], [{}], [{"id": 1}], [{"type": "keypointlabels"}]])
def test_plain_ones(result: list[Any]) -> None:
    attack(result, Tally())
