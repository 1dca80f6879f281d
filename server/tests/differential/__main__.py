"""Compares a server with Ollama, reply by reply. See README.md.

    python3 server/tests/differential record OLLAMA --embedder FILE     writes recorded.json
    python3 server/tests/differential replay CHASKI                     compares with recorded.json
    python3 server/tests/differential compare OLLAMA CHASKI --embedder FILE
    python3 server/tests/differential document                          writes the list of differences into docs/API.md
    python3 server/tests/differential documented                        fails unless docs/API.md holds that list
"""

from __future__ import annotations

import argparse
import json
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import document
import expected
from cases import ALL
from cases.case import Case
from compare import ABSENT, Difference, compare
from exchange import send
from models import prepare
from observe import observe

RECORDED = Path(__file__).parent / "recorded.json"


def main() -> int:
    parser = argparse.ArgumentParser(description="Compares a server with Ollama, reply by reply.")
    parser.add_argument("command", choices=["record", "replay", "compare", "document", "documented"])
    parser.add_argument("servers", nargs="*", help="addresses: Ollama's first")
    parser.add_argument("--embedder", type=Path, help="a GGUF file of tiny-embed for Ollama, as embedder.py writes it")
    parser.add_argument("--only", default="*", help="a pattern of names of cases")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    arguments = parser.parse_args()

    if arguments.command == "document":
        document.write(expected.read())
        return 0
    if arguments.command == "documented":
        return 0 if document.is_current(expected.read()) else 1
    cases = [case for case in ALL if fnmatchcase(case.name, arguments.only)]
    if arguments.command == "record":
        (theirs,) = arguments.servers
        arguments.recorded.write_text(dump(ask(theirs, arguments.embedder, cases)))
        return 0
    if arguments.command == "compare":
        theirs, ours = arguments.servers
        known = ask(theirs, arguments.embedder, cases)
    else:
        (ours,) = arguments.servers
        known = json.loads(arguments.recorded.read_text())
    return report(cases, known, ask(ours, None, cases), whole=arguments.only == "*")


def ask(server: str, embedder: Path | None, cases: list[Case]) -> dict[str, Any]:
    """Every case's observation, in order."""
    prepare(server, embedder)
    return {case.name: observe(send(server, case.request)) for case in cases}


def dump(observations: dict[str, Any]) -> str:
    """One line for each case, so that a change of one reply is a change of one line."""
    lines = (f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False, separators=(',', ':'))}" for name, value in observations.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def report(cases: list[Case], theirs: dict[str, Any], ours: dict[str, Any], *, whole: bool) -> int:
    """Prints what differs without a reason, and which reasons are out of date. 1 if anything is without a reason."""
    reasons = expected.read()
    differences: list[Difference] = []
    for case in cases:
        if case.name in theirs:
            differences += compare(case.name, theirs[case.name], ours[case.name])
        else:
            differences.append(Difference(case.name, "recorded", ABSENT, "this case is not in the recording"))
    left = expected.unexplained(differences, reasons)
    for difference in left:
        print(difference)
    unused = [entry for entry in reasons if not entry.used and not entry.transient] if whole else []
    for entry in unused:
        print(f"no longer a difference: {entry.cases} at {entry.at}: {entry.reason}")
    equal = len(cases) - len({difference.case for difference in differences})
    print(f"{len(cases)} requests: {equal} answered alike, {len(differences)} differences, of which {len(left)} without a reason; {len(unused)} reasons out of date")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
