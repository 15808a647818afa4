"""Submitted results that hypothesis makes up: items that look like ours, any JSON, alone or beside what was sent."""

from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.answer_results import KEY, SENT, SKELETON

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
RESULTS = st.builds(
    lambda items, beside_ours: [*SENT, *items] if beside_ours else items,
    st.lists(ITEM | JSON, max_size=6),
    st.booleans(),
)


def made_up(count: int, number: int) -> list[list[Any]]:
    """As many results as hypothesis makes of a seed, at most ``count``."""
    found: list[list[Any]] = []

    @seed(number)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(RESULTS)
    def keep(result: list[Any]) -> None:
        found.append(result)

    if count:
        keep()
    return found[:count]
