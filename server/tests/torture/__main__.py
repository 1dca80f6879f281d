"""Attacks a server with everything that the reliability catalogue names, and says what it had to show.

    python3 server/tests/torture target/release/chaski --budget 60        a bit of everything, for every change
    python3 server/tests/torture target/release/chaski                    until every goal is reached: about an hour
    python3 server/tests/torture target/release/chaski --only kills --seed 7

docs/RELIABILITY.md says which case of the catalogue is tried where.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import canaries
import contained
import departures
import faults
import hostile
import kills
import oracle
import overload
import power
import serviced
import soak
import stopping
import workers
import writes
from report import Report, Share

import models

WEIGHTS = {
    "hostile": 0.25,
    "gguf": 0.15,
    "onnx": 0.1,
    "kills": 0.15,
    "writes": 0.1,
    "power": 0.02,
    "workers": 0.1,
    "departures": 0.05,
    "stopping": 0.05,
    "overload": 0.05,
    "canaries": 0.06,
    "soak": 0.05,
    "oracle": 0.02,
    "contained": 0.02,
    "serviced": 0.02,
}
"""Which part of the time each subject gets."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chaski", help="the program to attack")
    parser.add_argument("--loadgen", default="target/release/loadgen", help="the load tester, for the overload")
    parser.add_argument("--budget", type=float, default=0, help="seconds in all; 0 goes on until every goal is reached")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument("--only", choices=WEIGHTS, action="append", help="these subjects alone")
    parser.add_argument("--minutes", type=float, default=60, help="of the soak, where there is no budget")
    parser.add_argument("--folder", help="where to keep stores, for looking at them afterwards [default: memory, then gone]")
    args = parser.parse_args()
    program = str(Path(args.chaski).resolve())
    subjects = args.only or list(WEIGHTS)
    whole = sum(WEIGHTS[subject] for subject in subjects)
    report = Report()
    folder = Path(args.folder) if args.folder else Path(tempfile.mkdtemp(prefix="torture-", dir=memory()))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        shim = faults.compile_faults(folder)
        attacks = {
            "hostile": lambda share: hostile.attack(report, share, program, folder, args.seed),
            "gguf": lambda share: models.attack_gguf(report, share, program, folder, args.seed),
            "onnx": lambda share: models.attack_onnx(report, share, program, folder, args.seed),
            "kills": lambda share: kills.attack(report, share, shim, program, folder, args.seed),
            "writes": lambda share: writes.attack(report, share, shim, program, folder, args.seed),
            "power": lambda share: power.attack(report, share, shim, program, folder, args.seed),
            "workers": lambda share: workers.attack(report, share, program, folder, args.seed),
            "departures": lambda share: departures.attack(report, share, program, folder, args.seed),
            "stopping": lambda share: stopping.attack(report, share, program, folder, args.seed),
            "overload": lambda share: overload.attack(report, share, program, args.loadgen, folder, args.seed),
            "canaries": lambda share: canaries.attack(report, share, program, folder, args.seed),
            "soak": lambda share: soak.attack(report, share, program, folder, args.seed, args.minutes),
            "oracle": lambda share: oracle.attack(report, share, program, folder, args.seed),
            "contained": lambda share: contained.attack(report, share, program, folder, args.seed),
            "serviced": lambda share: serviced.attack(report, share, program, folder, args.seed),
        }
        for subject in subjects:
            share = Share(args.budget * WEIGHTS[subject] / whole if args.budget else None)
            report.guard(subject, attacks[subject], share)
    finally:
        if not args.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\nseed {args.seed}\n\n{report.table()}")
    return 0 if report.passed() else 1


def memory() -> str | None:
    """A file system in memory, where the fsyncs of thousands of stores cost nothing."""
    return "/dev/shm" if Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > 1 << 30 else None


if __name__ == "__main__":
    sys.exit(main())
