"""What was tried, what it had to show, and whether it did."""

import sys
import time
from dataclasses import dataclass, field

from service import Failed


@dataclass
class Row:
    """One line of the table."""

    what: str
    tried: int
    goal: int
    mark: str
    measured: str
    passed: bool


def shortened(text: str) -> str:
    """The beginning, which says what it is, and the end, which says how it came."""
    return text if len(text) <= 1200 else f"{text[:300]} ... {text[-800:]}"


@dataclass
class Share:
    """A subject's part of the time: as long as it lasts, or until its goal is reached where there is no budget."""

    seconds: float | None
    begun: float = field(default_factory=time.monotonic)

    def lasts(self) -> bool:
        return self.seconds is None or time.monotonic() - self.begun < self.seconds

    def part(self, share: float) -> "Share":
        return Share(None if self.seconds is None else self.seconds * share)


class Report:
    """Rows, printed as they come and all together at the end."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, what: str, tried: int, goal: int, mark: str, measured: str, passed: bool) -> None:
        self.rows.append(Row(what, tried, goal, mark, measured, passed))
        print(f"  {'ok' if passed else 'FAILED'}: {what}: {tried} tried; {measured}", flush=True)

    def fail(self, what: str, error: Exception) -> None:
        self.rows.append(Row(what, 0, 0, "it comes to an end", shortened(f"{type(error).__name__}: {error}"), False))
        print(f"  FAILED: {what}: {error}", file=sys.stderr, flush=True)

    def guard(self, what: str, attack, *arguments) -> None:
        """Runs an attack; what it stumbles over is a failure of its own and keeps no other from being tried."""
        print(what, flush=True)
        try:
            attack(*arguments)
        except (Failed, OSError, ValueError, KeyError) as error:
            self.fail(what, error)

    def table(self) -> str:
        lines = ["| attack | tried | goal | pass mark | measured | |", "|---|---:|---:|---|---|---|"]
        for row in self.rows:
            cells = (row.what, f"{row.tried:,}", f"{row.goal:,}", row.mark, row.measured.replace("|", "\\|").replace("\n", " "))
            lines.append(f"| {' | '.join(cells)} | {'pass' if row.passed else '**FAIL**'} |")
        return "\n".join(lines)

    def passed(self) -> bool:
        return all(row.passed for row in self.rows)
