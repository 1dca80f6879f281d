"""Where two observations differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# Numbers that were computed in floating point by different kernels. The relative bound is for log probabilities of what is
# next to impossible, which all the rounding of a model goes into.
TOLERANCE = 0.02
RELATIVE_TOLERANCE = 0.01
ABSENT = "<absent>"


@dataclass(frozen=True)
class Difference:
    """One place where a reply is not what the other server gave. `at` is a path such as `body.json.error`."""

    case: str
    at: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.case}: {self.at}\n    theirs: {brief(self.theirs)}\n    ours:   {brief(self.ours)}"


def brief(value: Any) -> str:
    """A value, cut to what is read at a glance."""
    text = value if value is ABSENT else repr(value)
    return text if len(text) <= 300 else text[:300] + "..."


def compare(case: str, theirs: Any, ours: Any, at: str = "") -> list[Difference]:
    """All differences of two values, deepest first cause only: a missing field is one difference, whatever it holds."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = []
        for name in theirs | ours:
            inner = f"{at}.{name}" if at else name
            if name not in ours:
                found.append(Difference(case, inner, theirs[name], ABSENT))
            elif name not in theirs:
                found.append(Difference(case, inner, ABSENT, ours[name]))
            else:
                found += compare(case, theirs[name], ours[name], inner)
        return found
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            return [Difference(case, at, theirs, ours)]
        return [
            difference
            for index, (one, other) in enumerate(zip(theirs, ours, strict=True))
            for difference in compare(case, one, other, f"{at}[{index}]")
        ]
    if is_close(theirs, ours):
        return []
    return [Difference(case, at, theirs, ours)]


def is_close(theirs: Any, ours: Any) -> bool:
    """Equal, or fractions that are nearly so. 1 and 1.0 are the same JSON number, `true` and 1 are not."""
    if isinstance(theirs, bool) or isinstance(ours, bool):
        return theirs is ours
    if isinstance(theirs, float) or isinstance(ours, float):
        numbers = isinstance(theirs, int | float) and isinstance(ours, int | float)
        return numbers and math.isclose(theirs, ours, rel_tol=RELATIVE_TOLERANCE, abs_tol=TOLERANCE)
    return theirs == ours
