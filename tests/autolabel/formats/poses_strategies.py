"""Poses as hypothesis draws them: everything that a format may meet, in a skeleton of three keypoints."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from autolabel.poses import Poses, Sample, Visibility
from autolabel.skeleton import Skeleton

K = 3
TRIANGLE = Skeleton("triangle", ("left_a", "right_a", "b"), ((0, 2), (2, 1)), (1, 0, 2), (0.04, 0.04, 0.1), "test")

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = words.filter(lambda name: name not in ("coco", "autolabel"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
attributes = st.dictionaries(names, json_values, max_size=3)
single = st.floats(width=32, allow_nan=False, allow_infinity=False)
score = single | st.just(float("nan"))
probability = st.floats(0, 1, width=32) | st.just(float("nan"))
double = st.floats(-1e30, 1e30).map(lambda x: x + 0.0)  # a box has no use for negative zero


@st.composite
def pose_rows(draw: st.DrawFn) -> dict[str, Any]:
    visibility = draw(st.lists(st.integers(0, 3), min_size=K, max_size=K))
    stated = [v in (Visibility.HIDDEN, Visibility.VISIBLE) for v in visibility]
    placed = [must or draw(st.booleans()) for must in stated]
    x1, x2 = sorted((draw(double), draw(double)))
    y1, y2 = sorted((draw(double), draw(double)))
    return {
        "xy": [[draw(single), draw(single)] if there else [np.nan, np.nan] for there in placed],
        "visibility": visibility,
        "score": [draw(score) for _ in range(K)],
        "presence": [draw(probability) for _ in range(K)],
        "p_gross": [draw(probability) for _ in range(K)],
        "p_bad": draw(probability),
        "origin": draw(st.lists(st.integers(0, 3), min_size=K, max_size=K)),
        "box": draw(st.just([np.nan] * 4) | st.just([x1, y1, x2, y2])),
        "box_score": draw(score),
        "area": draw(st.floats(0, 1e30) | st.just(float("nan"))),
        "crowd": draw(st.booleans()),
        "by": draw(words),
        "group": draw(words),
        "attributes": draw(attributes),
    }


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    made: list[Sample] = []
    for i in range(draw(st.integers(0, 3))):
        rows = draw(st.lists(pose_rows(), max_size=3))
        given = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        if rows:
            given["id"] = [f"pose-{i}-{n}" for n in range(len(rows))]
        size = (draw(st.integers(1, 10_000)), draw(st.integers(1, 10_000)))
        made.append(
            Sample(
                id=f"{i:032x}",
                root="",
                path=f"folder/{i}.jpg",
                size=size,
                poses=Poses.create(K, **given),
                group=draw(words),
                duplicate_of=draw(words),
                attributes=draw(attributes),
            )
        )
    return made


def without_coco(value: Any) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != "coco"}


def assert_same_bits(a: Poses, b: Poses) -> None:
    """Equal, the sign of zero included; attributes but for the ids that the file gave."""
    for name in ("xy", "score", "presence", "p_gross", "p_bad", "box", "box_score", "area"):
        one, two = getattr(a, name), getattr(b, name)
        known = ~np.isnan(one)
        assert (known == ~np.isnan(two)).all(), name
        assert one[known].tobytes() == two[known].tobytes(), (name, one, two)
    for name in ("visibility", "origin", "crowd", "id", "by", "group"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist(), name
    assert [without_coco(x) for x in a.attributes] == [without_coco(x) for x in b.attributes]
