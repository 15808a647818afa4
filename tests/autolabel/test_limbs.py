import numpy as np
import pytest

from autolabel.limbs import Limb, limb_name, limbs, pair_array, sideless
from autolabel.skeleton import Skeleton, builtin_skeletons

ARMS, LEGS = "shoulder, elbow and wrist", "hip, knee and ankle"


@pytest.mark.parametrize(
    ("skeleton", "names"),
    [
        ("coco17", {"eye and ear", ARMS, LEGS}),  # ears hang between eyes and shoulders
        ("lsp14", {ARMS, LEGS}),
        ("mpii16", {ARMS, LEGS}),  # hips meet at the pelvis
        ("crowdpose14", {ARMS, LEGS}),
        ("ap10k17", {"eye", "shoulder, elbow and front paw", "hip, knee and back paw"}),
        ("bodyfeet25", {"eye and ear", ARMS, "hip, knee, ankle, big toe, small toe and heel"}),
    ],
)
def test_limbs_are_what_hangs_off_the_trunk(skeleton: str, names: set[str]) -> None:
    assert {limb.name for limb in limbs(Skeleton.load(skeleton))} == names


@pytest.mark.parametrize("skeleton", builtin_skeletons())
def test_every_pair_is_in_one_limb(skeleton: str) -> None:
    whole = Skeleton.load(skeleton)
    rows = [pair for limb in limbs(whole) for pair in limb.pairs]
    assert sorted(rows) == list(range(len(whole.flip_pairs)))


@pytest.mark.parametrize(
    ("keypoints", "edges", "expected"),
    [
        (["nose"], [], ()),
        (["left_a", "right_a", "left_b", "right_b"], [], (Limb("a", (0,)), Limb("b", (1,)))),  # nothing joins them
        (["left_a", "right_a", "left_b", "right_b"], [[0, 2], [1, 3]], (Limb("a and b", (0, 1)),)),  # no trunk
        (["left_a", "right_a", "left_b", "right_b"], [[0, 2], [2, 3]], (Limb("b and a", (1, 0)),)),  # from the trunk
    ],
)
def test_odd_skeletons(keypoints: list[str], edges: list[list[int]], expected: tuple[Limb, ...]) -> None:
    skeleton = Skeleton.from_dict({"name": "odd", "keypoints": keypoints, "edges": edges})
    assert limbs(skeleton) == expected


def test_names_lose_their_sides() -> None:
    coco = Skeleton.load("coco17")
    assert limb_name(coco, [2]) == "shoulder"
    assert sideless("left_big_toe") == "big toe"
    assert sideless("l_knee") == "knee"
    assert sideless("left") == "left"


def test_pairs_are_an_array_where_there_are_none() -> None:
    assert pair_array(Skeleton.from_dict({"name": "one", "keypoints": ["nose"]})).shape == (0, 2)
    assert np.array_equal(pair_array(Skeleton.load("coco17"))[0], [1, 2])
