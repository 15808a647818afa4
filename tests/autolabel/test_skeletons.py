"""The eight built-in skeleton files: counts, involution, and values taken from their publications."""

import pytest

from autolabel.skeleton import Skeleton, builtin_skeletons

COCO_SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
}


def mirrored(name: str) -> str:
    swap = {"left": "right", "right": "left"}
    return "_".join(swap.get(word, word) for word in name.split("_"))


@pytest.mark.parametrize(
    ("name", "keypoints", "pairs"),
    [
        ("coco17", 17, 8),
        ("wholebody133", 133, 8 + 3 + 29 + 21),  # body, feet, face, hands
        ("mpii16", 16, 6),
        ("aic14", 14, 6),
        ("ap10k17", 17, 7),
        ("crowdpose14", 14, 6),
        ("lsp14", 14, 6),
        ("bodyfeet25", 25, 11),
    ],
)
def test_counts(name: str, keypoints: int, pairs: int) -> None:
    skeleton = Skeleton.load(name)
    assert (skeleton.num_keypoints, len(skeleton.flip_pairs)) == (keypoints, pairs)
    assert len(skeleton.sigma_source) > 20
    assert not set(skeleton.upper) & set(skeleton.lower)


def test_the_eight_are_there() -> None:
    assert len(builtin_skeletons()) == 8


@pytest.mark.parametrize("name", builtin_skeletons())
def test_flip_is_an_involution_that_follows_the_names(name: str) -> None:
    skeleton = Skeleton.load(name)
    assert [skeleton.flip[j] for j in skeleton.flip] == list(range(skeleton.num_keypoints))
    for i, j in enumerate(skeleton.flip):
        if not skeleton.keypoints[i].startswith("face_"):  # numbered, not named, by side
            assert skeleton.keypoints[j] == mirrored(skeleton.keypoints[i])


@pytest.mark.parametrize("name", builtin_skeletons())
def test_edges_reach_every_keypoint_and_are_mirror_images(name: str) -> None:
    skeleton = Skeleton.load(name)
    edges = {frozenset(edge) for edge in skeleton.edges}
    assert {i for edge in edges for i in edge} == set(range(skeleton.num_keypoints))
    assert len(edges) == len(skeleton.edges)
    assert {frozenset(skeleton.flip[i] for i in edge) for edge in edges} == edges


@pytest.mark.parametrize("name", builtin_skeletons())
def test_sigmas_of_mirrored_keypoints_agree(name: str) -> None:
    skeleton = Skeleton.load(name)
    # AI Challenger measured each side; COCO-WholeBody measured each landmark of the feet and the face.
    alike = {"aic14": 0, "wholebody133": 17, "bodyfeet25": 19}.get(name, skeleton.num_keypoints)
    pairs = [pair for pair in skeleton.flip_pairs if pair[0] < alike]
    assert all(skeleton.sigmas[i] == skeleton.sigmas[j] for i, j in pairs)


@pytest.mark.parametrize("name", ["coco17", "wholebody133", "mpii16", "crowdpose14", "lsp14", "bodyfeet25"])
def test_limbs_have_the_sigmas_of_coco(name: str) -> None:
    skeleton = Skeleton.load(name)
    for keypoint, sigma in zip(skeleton.keypoints, skeleton.sigmas, strict=True):
        if keypoint.split("_")[-1] in COCO_SIGMAS:
            assert sigma == COCO_SIGMAS[keypoint.split("_")[-1]], keypoint


def test_coco_matches_pycocotools() -> None:
    from pycocotools.cocoeval import Params

    published = Params("keypoints").kpt_oks_sigmas  # 0.26 / 10 and so on: equal but for the last bit
    assert list(Skeleton.load("coco17").sigmas) == pytest.approx(published.tolist(), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "keypoint", "sigma"),
    [
        ("aic14", "right_shoulder", 0.01388152),
        ("aic14", "left_ankle", 0.02415081),
        ("aic14", "neck", 0.01236173),
        ("ap10k17", "nose", 0.026),
        ("ap10k17", "root_of_tail", 0.035),
        ("ap10k17", "right_front_paw", 0.062),
        ("ap10k17", "left_back_paw", 0.089),
        ("crowdpose14", "head_top", 0.079),
        ("wholebody133", "left_big_toe", 0.068),
        ("wholebody133", "right_heel", 0.094),
        ("wholebody133", "face_0", 0.042),
        ("wholebody133", "face_47", 0.034),
        ("wholebody133", "face_67", 0.008),
        ("wholebody133", "left_hand_root", 0.029),
        ("wholebody133", "right_pinky_finger4", 0.031),
        ("mpii16", "pelvis", 0.107),
        ("bodyfeet25", "neck", 0.079),
        ("bodyfeet25", "left_small_toe", 0.066),
        ("mpii16", "head_top", 0.079),
    ],
)
def test_published_sigmas(name: str, keypoint: str, sigma: float) -> None:
    skeleton = Skeleton.load(name)
    assert skeleton.sigmas[skeleton.index(keypoint)] == sigma


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("aic14", [(0, 3), (1, 4), (2, 5), (6, 9), (7, 10), (8, 11)]),
        ("mpii16", [(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)]),
        ("ap10k17", [(0, 1), (5, 8), (6, 9), (7, 10), (11, 14), (12, 15), (13, 16)]),
        ("crowdpose14", [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)]),
        (
            "wholebody133",
            [
                *[(i, i + 1) for i in range(1, 17, 2)],
                *[(17, 20), (18, 21), (19, 22)],
                *[(23 + i, 39 - i) for i in range(8)],
                *[(40, 49), (41, 48), (42, 47), (43, 46), (44, 45), (54, 58), (55, 57)],
                *[(59, 68), (60, 67), (61, 66), (62, 65), (63, 70), (64, 69)],
                *[(71, 77), (72, 76), (73, 75), (78, 82), (79, 81), (83, 87), (84, 86), (88, 90)],
                *[(91 + k, 112 + k) for k in range(21)],
            ],
        ),
    ],
)
def test_flip_pairs_are_those_of_the_released_networks(name: str, pairs: list[tuple[int, int]]) -> None:
    assert list(Skeleton.load(name).flip_pairs) == pairs
