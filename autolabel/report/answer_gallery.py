"""Pictures of what people found and overlooked: exchanged sides put right, and planted errors passed as good."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.images import read_image
from autolabel.limbs import sideless
from autolabel.merge import Stated
from autolabel.poses import Poses
from autolabel.report.answers import Answer, Answered
from autolabel.report.gallery import PER_SHELF, SIDE, Shelf, Shot, as_jpeg
from autolabel.report.overlay import draw_poses, pose_view
from autolabel.similarity import gross_keypoints, mean_similarity, pair_similarity
from autolabel.skeleton import Skeleton


def answer_shelves(answered: Answered, skeleton: Skeleton) -> tuple[Shelf, ...]:
    """The swaps found, and the planted errors missed; a shelf without a picture is left out."""
    swaps = (_swap(answer, joints, skeleton) for answer, joints in answered.swapped)
    plants = (_plant(answer, skeleton) for answer in answered.missed)
    shelves = (
        Shelf(
            "Swaps found",
            f"Poses in which people exchanged joints of the left and the right side: {len(answered.swapped):,}, those "
            "with most joints first. Shown is what they left; lines lead from where the joint was, rings mark the "
            "exchanged ones.",
            _first(swaps),
        ),
        Shelf(
            "Planted errors missed",
            f"Known errors that were shown like any other task and passed as good: {len(answered.missed):,} of "
            f"{answered.caught.of:,}. Shown is the pose as it was planted; lines lead to its "
            "joints from where they belong, rings mark the gross ones.",
            _first(plants),
        ),
    )
    return tuple(shelf for shelf in shelves if shelf.shots)


def _first(shots: Iterable[Shot | None]) -> tuple[Shot, ...]:
    found: list[Shot] = []
    for shot in shots:
        if shot is not None:
            found.append(shot)
        if len(found) == PER_SHELF:
            break
    return tuple(found)


def _swap(answer: Answer, joints: NDArray[np.bool_], skeleton: Skeleton) -> Shot | None:
    c = answer.look.correction
    names = _names(joints, skeleton)
    what = f"{names} exchanged" if names else "the whole pose mirrored"
    return _shot(answer, c.after, joints, c.before.xy, f"{what} by {c.by} · {answer.step}", skeleton)


def _plant(answer: Answer, skeleton: Skeleton) -> Shot | None:
    c, sent = answer.look.correction, answer.look.pose
    told, wrong, places = [f"passed by {c.by}"], np.zeros(skeleton.num_keypoints, bool), None
    if answer.truth is not None:
        shown = _alone(sent.id, Stated.of(sent), skeleton)
        ks = pair_similarity(shown, answer.truth, skeleton)
        wrong = gross_keypoints(shown, answer.truth, ks)[0]
        places = np.where(answer.truth.labelled[0][:, None], answer.truth.xy[0], np.nan)
        told.append(f"OKS {mean_similarity(ks)[0]:.2f}")
    if not np.isnan(sent.p_bad):
        told.append(f"p_bad {sent.p_bad:.2f}")
    if wrong.any():
        told.append(f"wrong: {_names(wrong, skeleton)}")
    return _shot(answer, Stated.of(sent), wrong, places, " · ".join(told), skeleton)


def _alone(pose: str, stated: Stated, skeleton: Skeleton) -> Poses:
    """What is stated about a pose, as poses of one."""
    return Poses.create(
        skeleton.num_keypoints, id=[pose], xy=[stated.xy], visibility=[stated.visibility], box=[stated.box]
    )


def _shot(
    answer: Answer,
    stated: Stated,
    marked: NDArray[np.bool_],
    before: NDArray[np.floating] | None,
    caption: str,
    skeleton: Skeleton,
) -> Shot | None:
    """The picture; None where the image cannot be read any more, or there is nothing to draw."""
    poses = _alone(answer.look.pose.id, stated, skeleton)
    try:
        image = read_image(answer.image)
    except ImageError:
        return None
    if np.isnan(stated.box).any() and np.isnan(stated.xy).all():
        return None
    view = pose_view(poses, (image.shape[1], image.shape[0]), SIDE)
    lines = None if before is None else before[None].astype(np.float32)
    drawn = draw_poses(image, poses, skeleton, view=view, marked=marked[None], before=lines)
    return Shot(as_jpeg(drawn), caption, answer.source)


def _names(joints: NDArray[np.bool_], skeleton: Skeleton) -> str:
    """Names of marked joints, three at most; a pair is named once, without its side."""
    pairs = {frozenset(pair): pair for pair in skeleton.flip_pairs}
    told: list[str] = []
    for k in map(int, np.flatnonzero(joints)):
        pair = pairs.get(frozenset((k, skeleton.flip[k])))
        both = pair is not None and joints[list(pair)].all()
        name = skeleton.keypoints[k]
        name = f"{sideless(name)}s" if both else name.replace("_", " ")
        if name not in told:
            told.append(name)
    return ", ".join(told[:3]) + (f" and {len(told) - 3} more" if told[3:] else "")
