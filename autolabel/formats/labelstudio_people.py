"""Whose the keypoints of an annotation are.

In this order, each where the one before says nothing:

1. ``parentID``: the outermost box above the keypoint. Where that would give a person a keypoint twice (a box
   around several people), the innermost. A parent that was deleted still tells which keypoints belong together, and
   a skeleton of vectors is one person.
2. Relations: keypoints joined by arrows, with the box that they are joined to.
3. One person, where there is no other: the keypoints that hang on nothing and at most one box.
4. The only box around a keypoint whose person lacks it.

What is left over is refused: a keypoint of the wrong person is worse than none.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from autolabel.formats.labelstudio_regions import Box, Drawing, Point
from autolabel.formats.labelstudio_tree import Tree

_REMEDY = "Drag the keypoint onto its person's box in Label Studio's list of regions, and update the annotation."


@dataclass(eq=False)
class Person:
    """Keypoints of one person.

    Attributes:
        id: Of the region that holds them together, which may have been deleted; "" where there is none.
        box: Their box, or None.
        points: By label.
    """

    id: str
    box: Box | None
    points: dict[str, Point] = field(default_factory=dict[str, Point])

    def add(self, point: Point) -> None:
        """Take a keypoint.

        Raises:
            FormatError: There is one of that name.
        """
        if point.label in self.points:
            first = self.points[point.label].record.place
            message = f"keypoint {point.label!r} stands twice in one person, see also {first}"
            remedy = "Delete one of them in Label Studio, or give every person a box and their keypoints that parent."
            point.record.fail(None, message, remedy)
        self.points[point.label] = point


def people_of(drawing: Drawing) -> tuple[list[Person], int]:
    """The people of a drawing, and how many keypoints were given to the only box around them.

    Boxes without keypoints are people too, but for those around or within the box of a person.

    Raises:
        FormatError: A keypoint of nobody, of several, or twice in one person; names it.
    """
    tree = Tree(drawing.parents, drawing.boxes)
    owners = _by_parent(drawing, tree)
    people = {box.id: Person(box.id, box) for box in drawing.boxes.values()}
    for point, owner in zip(drawing.points, owners, strict=True):
        if owner:
            people.setdefault(owner, Person(owner, None)).add(point)
    _by_relations(drawing, owners, people)
    loose = [point for point, owner in zip(drawing.points, owners, strict=True) if not owner]
    guessed = _by_place(loose, people)
    return _without_frames(drawing, tree, people), guessed


def _by_parent(drawing: Drawing, tree: Tree) -> list[str]:
    """The region that each keypoint belongs to, "" for those that hang on nothing."""
    above = [tree.above(point.parent) for point in drawing.points]
    outer = [there.outer or there.last for there in above]
    # Keypoints may hang on a keypoint.
    roots = set(outer)
    outer = [
        owner or (point.id if point.id in roots else "") for point, owner in zip(drawing.points, outer, strict=True)
    ]
    seen = Counter((owner, point.label) for point, owner in zip(drawing.points, outer, strict=True))
    crowded = {owner for (owner, _), n in seen.items() if n > 1}
    return [
        there.inner if there.inner and owner in crowded else owner for there, owner in zip(above, outer, strict=True)
    ]


def _by_relations(drawing: Drawing, owners: list[str], people: dict[str, Person]) -> None:
    """Give keypoints that hang on nothing to the person that arrows lead to; fills ``owners`` in."""
    neighbours: dict[str, set[str]] = {}
    for a, b in drawing.relations:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    belongs = {point.id: owner for point, owner in zip(drawing.points, owners, strict=True) if owner}
    belongs |= {region: region for region in people}
    known: dict[str, set[str]] = {}
    for i, point in enumerate(drawing.points):
        if owners[i] or point.id not in neighbours:
            continue
        if (joined := known.get(point.id)) is None:
            joined = _joined(point.id, neighbours, belongs)
            known |= dict.fromkeys(joined - belongs.keys(), joined)  # the same for all of them
        found = {belongs[region] for region in joined if region in belongs}
        if len(found) <= 1:
            owners[i] = found.pop() if found else min(joined)
            people.setdefault(owners[i], Person(owners[i], None)).add(point)


def _joined(start: str, neighbours: Mapping[str, Iterable[str]], ends: Mapping[str, str]) -> set[str]:
    """The regions that arrows lead to; a region that is somebody's leads no further."""
    joined, rest = {start}, [start]
    while rest:
        region = rest.pop()
        fresh = set(neighbours.get(region, ())) - joined if region not in ends else set[str]()
        joined |= fresh
        rest += fresh
    return joined


def _by_place(loose: Iterable[Point], people: dict[str, Person]) -> int:
    """Give keypoints that nothing joins to the only person there is, or to the only box around that lacks them."""
    alone = len(people) <= 1
    guessed = 0
    for point in loose:
        if alone:
            owner = next(iter(people.values()), None) or people.setdefault("", Person("", None))
        else:
            around = [person for person in people.values() if _around(person, point)]
            if len(around) != 1:
                where = f"{len(around)} boxes around it lack it" if around else "no box around it lacks it"
                message = f"keypoint {point.label!r} has no parent, and {where}, so that it could be anybody's"
                point.record.fail("parentID", message, _REMEDY)
            owner = around[0]
            guessed += 1
        owner.add(point)
    return guessed


def _around(person: Person, point: Point) -> bool:
    if person.box is None or point.label in person.points:
        return False
    x, y, width, height = person.box.percent
    return 0 <= point.percent[0] - x <= width and 0 <= point.percent[1] - y <= height


def _without_frames(drawing: Drawing, tree: Tree, people: Mapping[str, Person]) -> list[Person]:
    """The people, without empty boxes around them or within theirs (a group, a head)."""
    posed = {person.id for person in people.values() if person.points}
    framing, within = tree.over(posed), tree.under(posed, people)
    kept: list[Person] = []
    for region, person in people.items():
        if region in posed or region not in framing | within:
            kept.append(person)
        else:
            drawing.leave_out("rectanglelabels around or within a person", "no person of their own")
    return kept
