"""What a curator's decision about poses changes, worked out and put into words before anything is written.

A pose can be tagged in four places: on its label, on its box, on its crop in the contact sheet, and with all others on
its image. ``curate --pull`` reads all four, and decisions that contradict each other become a task for people. So a
new decision takes the place of the others wherever they stand for this pose alone. A tag on the image stands for all
its poses: it goes when all of them are decided anew, and otherwise stays and is told.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autolabel.curate.marks import ACCEPT, DECISIONS, REJECT, REVIEW, WRONG_BOX
from autolabel.phrases import counted

MEANS = {
    ACCEPT: "`autolabel curate --pull` takes them home as reviewed, as they stand.",
    REJECT: "`autolabel curate --pull` takes them home as rejected: nobody is to be labelled there.",
    WRONG_BOX: "`autolabel curate --pull` makes tasks of them, before all others, in which the box is redrawn.",
    REVIEW: "`autolabel curate --pull` makes tasks of them for the annotators.",
}
"""What comes of each decision."""


@dataclass(frozen=True)
class Standing:
    """What is tagged on one pose now.

    Attributes:
        pose: Its id.
        image: Key of its image.
        label: FiftyOne's id of its label.
        tags: On the label.
        box: FiftyOne's id of its box; "" where it has none.
        box_tags: On the box.
        crop_tags: On its crop; None where no contact sheet shows it.
        signed: Whether who decided and when is written down.
    """

    pose: str
    image: str
    label: str
    tags: tuple[str, ...]
    box: str
    box_tags: tuple[str, ...]
    crop_tags: tuple[str, ...] | None
    signed: bool

    @property
    def decisions(self) -> set[str]:
        """All that stand for this pose alone."""
        return {*self.tags, *self.box_tags, *(self.crop_tags or ())} & set(DECISIONS)


@dataclass(frozen=True)
class ImageTags:
    """What is tagged on a whole image, and how many poses that is about."""

    tags: tuple[str, ...]
    poses: int


@dataclass(frozen=True)
class Plan:
    """What a decision changes.

    Attributes:
        decision: The tag.
        changed: Poses that get it.
        already: How many have it, and nothing else.
        replaced: Other decisions that it takes the place of, and on how many poses.
        freed: By key, the tags that stay on images whose decision goes.
        against: Decisions on images that stay and say otherwise, and of how many images.
    """

    decision: str
    changed: tuple[Standing, ...]
    already: int
    replaced: Mapping[str, int]
    freed: Mapping[str, list[str]]
    against: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many poses it is about."""
        return len(self.changed) + self.already


def plan_decision(decision: str, poses: Sequence[Standing], images: Mapping[str, ImageTags]) -> Plan:
    """Work out what a decision changes.

    Args:
        decision: One of :data:`autolabel.curate.marks.DECISIONS`.
        poses: What it is about.
        images: What is tagged on their images, by key.
    """
    changed = [pose for pose in poses if pose.decisions != {decision} or not pose.signed]
    decided = Counter(pose.image for pose in poses)
    freed, against = dict[str, list[str]](), Counter[str]()
    for key, count in decided.items():
        image = images.get(key, ImageTags((), count))
        others = _others(image.tags, decision)
        if others and count >= image.poses:
            freed[key] = [tag for tag in image.tags if tag not in others]
        else:
            against.update(others)
    replaced = Counter(tag for pose in changed for tag in _others(pose.decisions, decision))
    return Plan(decision, tuple(changed), len(poses) - len(changed), replaced, freed, against)


def with_decision(tags: Iterable[str], decision: str) -> list[str]:
    """Tags with this decision and no other; the curators' own stay in front."""
    return [*(tag for tag in tags if tag not in DECISIONS), decision]


def without_others(tags: Iterable[str], decision: str) -> list[str]:
    """Tags without other decisions than this."""
    others = _others(tags, decision)
    return [tag for tag in tags if tag not in others]


def intention(plan: Plan, selected: str, by: str) -> str:
    """What will happen, as Markdown for the form."""
    lines = [f"**{counted(plan.total, 'pose')}** of {selected} → `{plan.decision}`, signed {code(by)}."]
    if plan.already:
        lines.append(f"Already so, and left as they are: {plan.already:,}.")
    if plan.replaced:
        lines.append(f"Takes the place of {_tags(plan.replaced, 'pose')}.")
    if plan.freed:
        lines.append(f"The other decision on {counted(len(plan.freed), 'whole image')} goes.")
    lines += _contradictions(plan)
    return "\n\n".join([*lines, MEANS[plan.decision]])


def outcome(plan: Plan) -> str:
    """What happened, in a line or two of plain text."""
    if not plan.changed:
        said = f"Nothing to do: {counted(plan.already, 'pose')} tagged {plan.decision} already."
    else:
        said = f"{counted(len(plan.changed), 'pose')} tagged {plan.decision}."
        said += f" {plan.already:,} tagged so already." if plan.already else ""
        said += f" Replaced: {_tags(plan.replaced, '')}." if plan.replaced else ""
    return " ".join([said, *(line.replace("`", "") for line in _contradictions(plan))])


def code(text: str) -> str:
    """Text as Markdown's code, so that nothing in it is read as formatting."""
    return f"`{text.replace('`', chr(39))}`"


def _contradictions(plan: Plan) -> list[str]:
    if not plan.against:
        return []
    where = _tags(plan.against, "image")
    return [
        f"Tags on whole images say otherwise ({where}) and stay, since they are about other poses too. "
        "While they stand, people are asked."
    ]


def _others(tags: Iterable[str], decision: str) -> set[str]:
    return (set(tags) & set(DECISIONS)) - {decision}


def _tags(counts: Mapping[str, int], noun: str) -> str:
    ordered = [tag for tag in DECISIONS if tag in counts]
    return ", ".join(
        f"`{tag}` on {counted(counts[tag], noun)}" if noun else f"{counts[tag]:,} {tag}" for tag in ordered
    )
