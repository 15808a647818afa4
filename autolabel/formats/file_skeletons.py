"""The skeleton of a file that names its keypoints and says little else of them."""

from collections.abc import Sequence

from autolabel.errors import FormatError, SkeletonError
from autolabel.formats.records import Record
from autolabel.skeleton import DEFAULT_SIGMA, Skeleton, builtin_skeletons, flip_from_names


def file_skeleton(
    names: Sequence[str],
    *,
    name: str,
    subject: str,
    tool: str,
    record: str | None = None,
    given: Skeleton | None = None,
    edges: Sequence[tuple[int, int]] = (),
    flip: Sequence[int] | None = None,
    any_order: bool = False,
) -> Skeleton:
    """What is known of a file's keypoints.

    Args:
        names: The keypoints in the file's order.
        name: What the file calls the skeleton.
        subject: The file.
        tool: Whose file it is, for the reason why there are no sigmas.
        record: Where in the file the names stand, for errors.
        given: What the user says they are; its names must be the file's, in any order.
        edges: The file's own edges, as pairs of indices.
        flip: (K,) the file's own mirror partners; left out, they are those that the names tell.
        any_order: Whether the order of the names tells nothing, so that a built-in skeleton has its own.

    Returns:
        ``given``, or the built-in skeleton of these names in this order where nothing in the file contradicts it
        (with the file's edges if it has any), else one made of what the file says.

    Raises:
        FormatError: The names, edges or partners contradict themselves or ``given``.
    """
    if given is not None:
        if set(given.keypoints) != set(names):
            odd = next(word for word in (*names, *given.keypoints) if (word in names) != (word in given.keypoints))
            raise FormatError(
                f"keypoint {odd!r} is only in one of the file and skeleton {given.name!r}",
                record=record,
                subject=subject,
            )
        return given
    builtin = (Skeleton.load(word) for word in builtin_skeletons())
    same = next((skeleton for skeleton in builtin if _same(skeleton.keypoints, names, any_order)), None)
    if same is not None and (flip is None or same.flip == tuple(flip)) and (not edges or _joins(same.edges, edges)):
        return same
    try:
        return Skeleton(
            name=name,
            keypoints=tuple(names),
            edges=tuple(edges),
            flip=tuple(flip) if flip is not None else flip_from_names(names),
            sigmas=(DEFAULT_SIGMA,) * len(names),
            sigma_source=f"{DEFAULT_SIGMA} for every keypoint: {tool} holds no sigmas",
        )
    except SkeletonError as error:
        raise FormatError(error.message, record=record, subject=subject) from error


def our_skeleton(block: Record) -> Skeleton | None:
    """The skeleton under ``skeleton`` in what an export of ours says of itself; None where there is none.

    Raises:
        FormatError: It contradicts itself.
    """
    if "skeleton" not in block.data:
        return None
    try:
        return Skeleton.from_dict(block.record("skeleton").data)
    except SkeletonError as error:
        block.fail("skeleton", error.message, error.remedy)


def _same(known: Sequence[str], names: Sequence[str], any_order: bool) -> bool:
    return sorted(known) == sorted(names) if any_order else tuple(known) == tuple(names)


def _joins(a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]) -> bool:
    return {frozenset(edge) for edge in a} == {frozenset(edge) for edge in b}
