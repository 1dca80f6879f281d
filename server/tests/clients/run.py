"""Runs every client's script against a running server and prints a table: `python3 run.py URL [NAME...]`.

Expects the built-in models. Needs the packages of requirements.txt beside the interpreter that runs it, those of
javascript/package-lock.json, and the programs of rust/ in the folder rust/ beside them; `make clients` sets all of it up. The
agents are asked if `make agents` has installed them. The exit code is 1 if any behaviour of any client failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
# A client that hangs is a failed one.
TIMEOUT_SECONDS = 300


@dataclass
class Outcome:
    """What one script said."""

    client: str
    passed: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    # Why it was not asked, if it was not.
    skipped: str = ""


def scripts(wanted: list[str]) -> list[tuple[str, list[str]]]:
    """Name and command of each script, all of them unless some are named."""
    found = [(f"{path.stem.removeprefix('check_')} (Python)", [sys.executable, str(path)]) for path in sorted((HERE / "python").glob("check_*.py"))]
    found += [(f"{path.stem.removeprefix('check_')} (JavaScript)", ["node", str(path)]) for path in sorted((HERE / "javascript").glob("check_*.mjs"))]
    found += [(f"{path.stem.removeprefix('check_')} (agent)", [sys.executable, str(path)]) for path in sorted((HERE / "agents").glob("check_*.py"))]
    programs = Path(sys.prefix, "rust", "debug")
    found += [(f"{path.stem.removeprefix('check_')} (Rust)", [str(programs / path.stem)]) for path in sorted((HERE / "rust" / "src").glob("check_*.rs"))]
    return [(name, command) for name, command in found if not wanted or any(part in name for part in wanted)]


def run(name: str, command: list[str], url: str) -> Outcome:
    """One client's verdict."""
    outcome = Outcome(name)
    try:
        environment = os.environ | {"PYTHONPATH": str(HERE / "python")}
        done = subprocess.run([*command, url], capture_output=True, text=True, env=environment, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        outcome.failures["script"] = f"did not end within {TIMEOUT_SECONDS} s"
        return outcome
    except FileNotFoundError as missing:
        outcome.failures["script"] = f"{missing.filename} is not there; see `make clients`"
        return outcome
    for line in done.stdout.splitlines():
        if not line.startswith('{"behaviour"'):
            continue
        entry = json.loads(line)
        if entry.get("skipped"):
            outcome.skipped = entry["behaviour"]
        elif entry["failure"] is None:
            outcome.passed.append(entry["behaviour"])
        else:
            outcome.failures[entry["behaviour"]] = entry["failure"]
    if not outcome.passed and not outcome.failures and not outcome.skipped:
        outcome.failures["script"] = (done.stderr.strip().splitlines() or ["said nothing"])[-1]
    return outcome


def main() -> int:
    url, *wanted = sys.argv[1:]
    outcomes = []
    for name, command in scripts(wanted):
        outcome = run(name, command, url)
        outcomes.append(outcome)
        told = f"skipped: {outcome.skipped}" if outcome.skipped else f"{len(outcome.passed):2} passed  {len(outcome.failures):2} failed  {', '.join(outcome.passed)}"
        print(f"{name:32} {told}", flush=True)
        for behaviour, failure in outcome.failures.items():
            print(f"    {behaviour}: {' '.join(failure.split())[:300]}", flush=True)
    passed, failed = sum(len(outcome.passed) for outcome in outcomes), sum(len(outcome.failures) for outcome in outcomes)
    skipped = sum(bool(outcome.skipped) for outcome in outcomes)
    print(f"{len(outcomes) - skipped} clients asked, {skipped} skipped; {passed} behaviours passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
