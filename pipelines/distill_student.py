"""The student of a distillation: what it is where its file does not say, and where it begins."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from autolabel.errors import ConfigError, SkeletonError
from autolabel.skeleton import Skeleton
from pipelines.train_begin import beginning, read_settings

if TYPE_CHECKING:
    from model.config import ViTPoseConfig
    from model.distil import Distillation
    from model.recipe import Training
    from model.vitpose import ViTPose

Blocks = Literal["even", "first"]

TEACHER = "teacher"
"""What ``init`` calls the layers of the teacher."""

AS_TEACHER = (
    *("input_size", "patch_size", "decoder", "deconv_channels", "upsampling", "presence", "whole_box", "codec"),
    *("heatmap_sigma", "box_padding", "absent_below", "presence_threshold", "visible_threshold", "norm_eps"),
)
"""Fields of a student that are its teacher's where its file does not give them: what it sees and says, and not how
large it is."""


class Begins(NamedTuple):
    """A student to be made.

    Attributes:
        make: Makes it.
        digest: Of what it starts from besides the teacher; empty for nothing.
        notes: What a person should know of it.
    """

    make: "Callable[[], ViTPose]"
    digest: str = ""
    notes: tuple[str, ...] = ()


def student(
    teacher: "ViTPose",
    skeleton: Skeleton,
    network: Mapping[str, Any],
    *,
    init: str,
    blocks: Blocks,
    knowledge: bool,
    seed: int,
    subject: str,
) -> Begins:
    """The student of a teacher.

    Args:
        teacher: Plain, of one head.
        skeleton: Of the data.
        network: As ``DistillFile.model``.
        init: As ``DistillFile.init``.
        blocks: As ``DistillFile.blocks``.
        knowledge: Whether it gets its teacher's token.
        seed: Of what starts fresh.
        subject: What errors call the settings.

    Raises:
        ConfigError: A field is unknown or impossible, the teacher has less of something than the student shall have
            of it, or ``network`` does not fit what it starts from.
        CheckpointError: What it starts from is not there, or damaged.
    """
    from model.encoders import find_encoder

    network = {**network, **({"knowledge": True} if knowledge else {})}
    if init and init != TEACHER and find_encoder(init) is None:
        begin = beginning(init, datasets={"": skeleton}, dataset="", network=network, seed=seed, subject=subject)
        return Begins(begin.make, begin.digest, begin.notes)
    described = _like_teacher(teacher.config, network)
    if init != TEACHER:
        begin = beginning(init, datasets={"": skeleton}, dataset="", network=described, seed=seed, subject=subject)
        return Begins(begin.make, begin.digest, begin.notes)
    return _part_of(teacher, skeleton, read_settings(described, {}, subject)[0], blocks, seed, subject)


def _like_teacher(teacher: "ViTPoseConfig", network: Mapping[str, Any]) -> dict[str, Any]:
    """A student's whole table: what it does not say is its teacher's."""
    fields = {name: getattr(teacher, name) for name in AS_TEACHER}
    # The padding goes with the patches and how they overlap.
    if network.get("patch_size", teacher.patch_size) == teacher.patch_size and network.get("ratio", 1) == teacher.ratio:
        fields["patch_padding"] = teacher.patch_padding
    return {**fields, **network}


def _part_of(
    teacher: "ViTPose", skeleton: Skeleton, config: "ViTPoseConfig", blocks: Blocks, seed: int, subject: str
) -> Begins:
    """A part of the teacher; refuses now what could not be made then."""
    from model.fresh_heads import with_fresh_heads
    from model.slicing import sliced

    part = sliced(teacher, config, blocks=blocks, seed=seed)
    made = part.model
    notes = [f"the student begins with the teacher's blocks {_listed(part.blocks)}"]
    if skeleton.fingerprint != teacher.skeleton.fingerprint:
        made = with_fresh_heads(made, {"": skeleton}, {}, seed=seed, subject=subject)
        notes.append("its heads start fresh, because its keypoints are others")
    elif fresh := [name for name in part.fresh if name != "knowledge"]:
        notes.append(f"fresh, because the teacher has nothing of that kind and size: {', '.join(fresh)}")
    return Begins(lambda: made, notes=tuple(notes))


def _listed(blocks: Sequence[int]) -> str:
    return ", ".join(str(block) for block in blocks)


def larger_than(teacher: "ViTPoseConfig", model: "ViTPose") -> str:
    """What to warn of: a student that costs no less than its teacher; empty where it does."""
    from model.cost import cost

    keypoints = model.skeleton.num_keypoints
    own, other = cost(model.config, keypoints).macs, cost(teacher, keypoints).macs
    if own < other:
        return ""
    return (
        f"WARNING: the student takes {own / 1e9:.2f} GMACs a crop and its teacher {other / 1e9:.2f}: it will be no "
        "faster; give [model] a smaller size, depth or input_size"
    )


def require_learnable(data: Sequence[object], unlabelled: Sequence[object], knowledge: bool, subject: str) -> None:
    """Refuse a distillation that has nothing to learn from.

    Raises:
        ConfigError: There is no data at all, or none with labels to tune a token on.
    """
    if not data and not unlabelled:
        raise ConfigError(
            "has neither [[data]] nor [[unlabelled]]", subject=subject, remedy="Give people to learn from."
        )
    if knowledge and not data:
        raise ConfigError(
            "a knowledge token is tuned on labels, and there are none",
            subject=f"{subject}: knowledge",
            remedy="Give [[data]], or leave [knowledge] out.",
        )


def require_taught(what: "Distillation", how: "Training", knowledge: bool, subject: str) -> None:
    """Refuse a teacher that nobody listens to, and a token that would be all that is trained.

    Raises:
        ConfigError: The teacher's weight is 0 throughout, or the student is frozen but for its teacher's token.
    """
    if not any(what.teacher_weight) and not knowledge:
        raise ConfigError(
            "teacher_weight is 0 from the first step to the last: nothing would be learnt from the teacher",
            subject=f"{subject}: distillation",
            remedy="Use `autolabel train`, or give the teacher a weight.",
        )
    if "network" in how.partial.freeze:
        raise ConfigError(
            "freezes the whole student but for a token, which is its teacher's"
            if knowledge
            else "freezes the whole student",
            subject=f"{subject}: training: partial",
            remedy="Take 'network' out of freeze.",
        )


def require_token(teacher: "ViTPose", student: "ViTPose") -> None:
    """Refuse a knowledge token that could not be tuned, or not be given, before any time is spent on it.

    Raises:
        ConfigError: The teacher has one already or attends within windows, or the student is wider.
        SkeletonError: The labels on which it would be tuned are of other keypoints than the teacher's.
    """
    from model.knowledge import give_token, with_token

    if teacher.skeleton.fingerprint != student.skeleton.fingerprint:
        raise SkeletonError(
            f"a knowledge token is tuned by the teacher's own keypoints, those of {teacher.skeleton.name!r}, and the "
            f"labels are of {student.skeleton.name!r}",
            subject="knowledge",
            remedy="Convert the data with `autolabel map`, or leave [knowledge] out.",
        )
    token = with_token(teacher, seed=0).knowledge
    assert token is not None
    give_token(student, token)
