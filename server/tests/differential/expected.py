"""The differences that are meant, each with its reason: `differences.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from compare import Difference

FILE = Path(__file__).parent / "differences.toml"


@dataclass
class Expected:
    """One entry: in these cases, at these places, the two differ because of `reason`. Both lists are of shell patterns."""

    reason: str
    cases: list[str]
    at: list[str]
    # What Chaski says there, where it is worth holding it to that.
    ours: Any = None
    # A difference that is going away: not documented, and gone without notice.
    transient: bool = False
    used: int = field(default=0, compare=False)

    def explains(self, difference: Difference) -> bool:
        """Whether this is the reason."""
        # In a path, brackets are an index and no pattern.
        place = difference.at.replace("[", "<").replace("]", ">")
        places = (pattern.replace("[", "<").replace("]", ">") for pattern in self.at)
        return (
            any(fnmatchcase(difference.case, pattern) for pattern in self.cases)
            and any(fnmatchcase(place, pattern) for pattern in places)
            and (self.ours is None or self.ours == difference.ours)
        )


def read() -> list[Expected]:
    """All entries, in the order of the file."""
    with FILE.open("rb") as file:
        entries = tomllib.load(file).get("difference", [])
    return [Expected(**entry) for entry in entries]


def unexplained(differences: list[Difference], expected: list[Expected]) -> list[Difference]:
    """The differences without a reason; counts what each entry has explained."""
    left = []
    for difference in differences:
        entry = next((entry for entry in expected if entry.explains(difference)), None)
        if entry is None:
            left.append(difference)
        else:
            entry.used += 1
    return left


def document(expected: list[Expected]) -> str:
    """The reasons as the list that docs/API.md holds."""
    return "".join(f"- {entry.reason.strip()}\n" for entry in expected if not entry.transient)
