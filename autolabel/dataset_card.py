"""The dataset card: what a finished dataset holds, how far it can be trusted, and what nobody said about it.

One Markdown page beside the dataset, for whoever gets the files and was not there: which version it is, where the
images come from and what may be done with them, what is in it and who placed it, what was proven about it and in which
words, which networks labelled, and what it is known to lack. What only the user knows, such as the licence, is taken
from the project's settings; where they are silent the card says so. People are counted and never named.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from autolabel.certificate import Certificate
from autolabel.dataset_counts import DatasetCounts
from autolabel.merge import BOXED, State
from autolabel.phrases import counted
from autolabel.skeleton import Skeleton

_ORIGINS = ("model", "human", "imported", "none")
_STATES = {
    "accepted": "accepted: a network placed it, nobody has looked at it, the certificate is about it",
    State.REVIEWED.value: "reviewed: a person looked at it, and corrected or kept it",
    State.REJECTED.value: "rejected: a person said that it is on nobody; never exported",
    State.EXPERT.value: "expert: somebody asked for a second opinion",
    "review": "review: nobody has looked at it, and nothing is known about it",
    BOXED: "boxed: a person drew the box, there is no pose yet",
    "": "no state: as it was given",
}


@dataclass(frozen=True)
class RoundLine:
    """A round in the card's table of networks.

    Attributes:
        number: The round.
        network: Digest of the network that labelled from then on; poses are signed with its first digits.
        trained_on: Poses that it was trained on.
        opened: Poses that people had opened by then.
    """

    number: int
    network: str
    trained_on: int
    opened: int


@dataclass(frozen=True)
class Card:
    """What the card says, beside the numbers.

    Attributes:
        name: What the project is called.
        version: Digest of the dataset's manifest.
        skeleton: Of all its poses.
        counts: What it holds.
        certificate: What the audit proved or refused; None where no audit was judged.
        rounds: The networks, round by round.
        began: What the first network was, in words.
        opened: Poses and images that people opened.
        clicks: What they clicked in them.
        ended: Why no further round was done, in words; "" where nobody told.
        licence: Of images and labels, as the user gave it; "" where nobody did.
        source: Where the images come from, as the user gave it; "" where nobody did.
        files: (name, what it holds) of what stands beside the card.
    """

    name: str
    version: str
    skeleton: Skeleton
    counts: DatasetCounts
    certificate: Certificate | None
    rounds: Sequence[RoundLine]
    began: str
    opened: int
    clicks: int
    ended: str = ""
    licence: str = ""
    source: str = ""
    files: Sequence[tuple[str, str]] = ()

    def text(self) -> str:
        """The card as Markdown."""
        counts = self.counts
        skeleton = self.skeleton
        head = (
            f"{counted(counts.exported_poses, 'pose')} with {skeleton.num_keypoints} keypoints "
            f"(skeleton `{skeleton.name}`) in {counted(counts.exported, 'image')}."
        )
        sections = [
            f"# {_line(self.name)}\n\n{head}\n\nVersion: `{self.version}`, the digest of what `dataset` says. It "
            "changes when an image, a pose or any value is added, removed or changed.",
            f"## Licence and source\n\n{_licence(self)}",
            f"## What it holds\n\n{_holds(self)}",
            f"## How far it can be trusted\n\n{_trust(self)}",
            f"## Who labelled\n\n{_labelled(self)}",
            f"## Known gaps\n\n{_list(_gaps(self))}",
        ]
        if self.files:
            listed = _list([f"`{name}`: {holds}" for name, holds in self.files])
            sections.append(f"## Files\n\n{listed}")
        return "\n\n".join(sections) + "\n"


def _licence(card: Card) -> str:
    def told(what: str, value: str, key: str) -> str:
        return f"{what}: {_line(value) if value.strip() else _missing(key)}"

    return _list([told("Licence", card.licence, "licence"), told("Source", card.source, "source")])


def _missing(key: str) -> str:
    return f"**missing**, nobody gave it (`{key}` under `[dataset]` in `autolabel.toml`)"


def _holds(card: Card) -> str:
    counts = card.counts
    rows = [("state of the pose", "poses", "exported", *(f"keypoints: {origin}" for origin in _ORIGINS))]
    for state, found in sorted(counts.states.items(), key=lambda item: (-item[1].poses, item[0])):
        placed = (f"{found.keypoints[origin]:,}" for origin in _ORIGINS)
        rows.append((_STATES.get(state, _line(state)), f"{found.poses:,}", f"{found.exported:,}", *placed))
    seen = ", ".join(f"{count:,} {kind}" for kind, count in counts.visibility.items() if count) or "none"
    return "\n\n".join(
        [
            f"{counted(counts.exported, 'image')} of {counts.images:,} are exported: those in which nobody waits for "
            f"a person. Keypoints that have a place are counted by who placed them, in exported poses.",
            _table(rows),
            f"Visibility of their keypoints: {seen}. Sigmas of the keypoint similarity: "
            f"{_line(card.skeleton.sigma_source).rstrip('.')}.",
        ]
    )


def _trust(card: Card) -> str:
    if card.certificate is None:
        return "No audit was judged, so nothing is claimed about poses that no person looked at."
    said = [card.certificate.words()]
    accepted = card.counts.states.get("accepted")
    if card.certificate.issued and accepted is not None and accepted.exported < accepted.poses:
        left = counted(accepted.poses - accepted.exported, "accepted pose")
        said.append(
            f"The export leaves out {left}, whose images are not complete. The claim is about all accepted poses of "
            f"`dataset` together; the exported part can hold a larger share of bad ones."
        )
    return "\n\n".join(said)


def _labelled(card: Card) -> str:
    rows = [("round", "network", "trained on", "opened by people so far")]
    rows += [(str(r.number), f"`{r.network}`", counted(r.trained_on, "pose"), f"{r.opened:,}") for r in card.rounds]
    alone = [
        f"`{_line(name)}` {counted(count, 'pose')}"
        for name, count in sorted(card.counts.networks.items(), key=lambda item: (-item[1], item[0]))
    ]
    unseen = f"Exported poses that no person has seen, by network: {', '.join(alone)}." if alone else ""
    work = f"In all, people opened poses and images {card.opened:,} times and clicked {card.clicks:,} times."
    began = f"The first network: {_line(card.began)}."
    ended = f"The rounds of review ended {_line(card.ended)}." if card.ended else ""
    return "\n\n".join(part for part in (began, _table(rows) if card.rounds else "", ended, work, unseen) if part)


def _gaps(card: Card) -> list[str]:
    counts = card.counts
    waiting = sum(found.poses for state, found in counts.states.items() if state in ("review", State.EXPERT.value))
    gaps = [
        (counts.unsettled, f"{counted(counts.unsettled, 'image')} left out: somebody in them is not settled."),
        (counts.rejected, f"{counted(counts.rejected, 'image')} left out: a person rejected them."),
        (waiting, f"{counted(waiting, 'pose')} not settled: they wait for a person or an expert."),
        (counts.boxed, f"{counted(counts.boxed, 'boxed person')} without a pose."),
        (
            counts.empty,
            f"{counted(counts.empty, 'exported image')} without a pose, which trainers take for background.",
        ),
        (
            counts.visibility.get("unlabelled", 0),
            f"{counted(counts.visibility.get('unlabelled', 0), 'keypoint')} of exported poses without a label.",
        ),
    ]
    told = [text for count, text in gaps if count]
    if not counts.grouped:
        told.append("No image states a group (a video, a folder): splits part nothing but copies and what poses link.")
    if not counts.repeats:
        told.append("No image is marked as a near-duplicate of another: there is none, or nothing looked for them.")
    missing = [name for name, value in (("licence", card.licence), ("source", card.source)) if not value.strip()]
    told += [f"Nobody gave the {name} of the images." for name in missing]
    told.append("People whom neither a network nor a person boxed are in no count.")
    return told


def _list(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def _line(text: str) -> str:
    """Text that others wrote, as one line that ends no cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
