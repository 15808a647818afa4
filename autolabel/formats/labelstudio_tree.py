"""Which regions of an annotation hang on which, by what its list of regions tells.

Every question is answered once for each region, so that a long chain of regions takes no longer than as many short
ones. Regions that hang on each other in a circle are taken as one, called like the first of them by the alphabet.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple


class Above(NamedTuple):
    """What stands above a region, itself included.

    Attributes:
        inner: The nearest box, or "".
        outer: The farthest box, or "".
        last: What hangs on nothing more.
    """

    inner: str
    outer: str
    last: str


class Tree:
    """The regions of an annotation.

    Args:
        parents: The region that each region hangs on, deleted ones included.
        boxes: Ids of those that are boxes.
    """

    def __init__(self, parents: Mapping[str, str], boxes: Collection[str]) -> None:
        self._parents, self._boxes = parents, boxes
        self._above: dict[str, Above] = {"": Above("", "", "")}

    def above(self, region: str) -> Above:
        """What stands above a region; nothing above none."""
        way, circle = self._way(region, self._above)
        if circle:
            boxes = [member for member in circle if member in self._boxes]
            outer = min(boxes, default="")
            for member in circle:
                self._above[member] = Above(member if member in self._boxes else outer, outer, min(circle))
        for step in reversed(way):
            there = self._above[self._parents.get(step, "")]
            box = step if step in self._boxes else ""
            self._above[step] = Above(box or there.inner, there.outer or box, there.last or step)
        return self._above[region]

    def over(self, regions: Iterable[str]) -> set[str]:
        """All that some regions hang on, themselves included."""
        found = {""}
        for region in regions:
            way, circle = self._way(region, found)
            found.update(way, circle)
        return found

    def under(self, regions: Collection[str], among: Iterable[str]) -> set[str]:
        """Those of ``among`` that are or hang on one of some regions."""
        known = {"": False, **dict.fromkeys(regions, True)}
        wanted = list(among)
        for region in wanted:
            way, circle = self._way(region, known)
            reached = not circle and known[self._parents.get(way[-1], "") if way else region]
            known.update(dict.fromkeys((*way, *circle), reached))
        return {region for region in wanted if known[region]}

    def _way(self, region: str, known: Collection[str]) -> tuple[list[str], list[str]]:
        """From a region up to the first known one, or to a circle of unknown ones, which follows apart."""
        way: dict[str, None] = {}
        while region not in known and region not in way:
            way[region] = None
            region = self._parents.get(region, "")
        steps = list(way)
        start = steps.index(region) if region in way else len(steps)
        return steps[:start], steps[start:]
