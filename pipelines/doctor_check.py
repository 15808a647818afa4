"""A line of ``autolabel doctor``'s table: what was looked at, and how it came out."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check came out."""

    OK = "ok"
    NOTE = "note"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """A line of the table.

    Attributes:
        name: What was looked at.
        outcome: How it came out.
        detail: What was found.
    """

    name: str
    outcome: Outcome
    detail: str
