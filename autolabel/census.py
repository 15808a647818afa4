"""Whether a promise is worth its price: how many poses people open for it, beside opening every one of them.

A promise costs its audit, the errors planted in it, the blind answers and their decoys, and the poses on which it was
developed; and what it does not accept has to be reviewed all the same. On a small corpus that is more than there is to
open.
"""

from dataclasses import asdict, dataclass

WORTH = 0.9
"""A promise that saves less than a tenth of the openings is not worth the chance that its audit fails."""


@dataclass(frozen=True)
class Price:
    """What people open.

    Attributes:
        open: Poses that nobody settled: what a census opens.
        accepted: Those that would be accepted unseen.
        audit: Accepted poses that are audited.
        planted: Planted errors.
        blind: Audited poses that are placed once more without a pre-label.
        decoys: Poses to review that are, so that nobody can tell the audited ones by it.
        beside: Keypoints and whole images that are looked at beside the promise.
        development: Checked poses that helped to choose what to accept; they are spent already.
    """

    open: int
    accepted: int
    audit: int
    planted: int = 0
    blind: int = 0
    beside: int = 0
    development: int = 0
    decoys: int = 0

    @property
    def promise(self) -> int:
        """Poses to open from now on until every pose is accepted or seen."""
        return self.audit + self.planted + self.blind + self.decoys + self.open - self.accepted

    @property
    def pays(self) -> bool:
        """Whether that is clearly less than to open every pose."""
        return self.open > 0 and self.promise <= WORTH * self.open

    def words(self) -> str:
        """The comparison in a sentence or two."""
        if not self.open:
            return "No pose is open, so there is nothing to decide."
        census = f"opening every open pose takes {self.open:,} tasks"
        if not self.accepted:
            return f"Nothing is accepted unseen: {census}, and then nothing has to be proven."
        parts = [f"{self.audit:,} audited"]
        more = ((self.planted, "planted"), (self.blind, "blind"), (self.decoys, "decoys of these"))
        parts += [f"{count:,} {name}" for count, name in more if count]
        parts.append(f"{self.open - self.accepted:,} others")
        beside = f", and {self.beside:,} keypoints and whole images beside it" if self.beside else ""
        told = f"The promise takes {self.promise:,} tasks ({', '.join(parts)}){beside}; {census}."
        if not self.pays:
            return f"{told} Check them all: that is hardly dearer, and it leaves nothing to prove."
        if self.development and self.promise + self.development >= self.open:
            return f"{told} With the {self.development:,} poses that it was developed on, it has not paid off."
        return told

    def to_dict(self) -> dict[str, int | bool]:
        """The JSON form."""
        return {**asdict(self), "census": self.open, "promise": self.promise, "pays": self.pays}
