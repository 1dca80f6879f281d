"""Does the server tell who asks whether a file of the machine exists? Every field that could be taken for a path is given paths
that exist and paths that do not, by turns: status, words and time must be the same.
"""

import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from report import Report, Share
from service import Server, expect
from wire import Wire, request

GOAL = 4_000

TURNS = 200
"""Times that each kind of request is sent with a path that exists, and as often with one that does not."""

SAME_SHARE, SAME_SECONDS = 0.1, 100e-6
"""How far the two middle times may be apart: so much of the longer one, or so long."""

ABSENT_BLOB = "sha256:" + "0" * 64

Kind = Callable[[str], tuple[str, str, dict]]

KINDS: dict[str, Kind] = {
    "from": lambda path: ("POST", "/api/create", {"model": "oracle", "from": path, "stream": False}),
    "files, as a digest": lambda path: ("POST", "/api/create", {"model": "oracle", "files": {"model.gguf": path}, "stream": False}),
    "files, as a name": lambda path: ("POST", "/api/create", {"model": "oracle", "files": {path: ABSENT_BLOB}, "stream": False}),
    "adapters": lambda path: ("POST", "/api/create", {"model": "oracle", "from": "tiny", "adapters": {"a": path}, "stream": False}),
    "Modelfile": lambda path: ("POST", "/api/create", {"model": "oracle", "modelfile": f"FROM {path}", "stream": False}),
    "show": lambda path: ("POST", "/api/show", {"model": path}),
    "generate": lambda path: ("POST", "/api/generate", {"model": path, "prompt": "x"}),
    "copy": lambda path: ("POST", "/api/copy", {"source": path, "destination": "oracle"}),
    "push": lambda path: ("POST", "/api/push", {"model": path, "insecure": True, "stream": False}),
    "blob": lambda path: ("GET", f"/api/blobs/{path}", {}),
}


def pairs(server: Server) -> list[tuple[str, str]]:
    """Files and folders that exist, each with a path of the same length that does not."""
    there = ["/etc/passwd", "/etc/hostname", "/bin/sh", "/usr/lib", "/proc/self/status", str(server.log), str(server.store), str(server.home)]
    there += [str(path) for path in sorted((server.store / "blobs").iterdir())[:2]]
    found = [(path, path[:-1] + "~") for path in there]
    for existing, absent in found:
        expect(Path(existing).exists() and not Path(absent).exists(), f"{existing} is there and {absent} is not")
    return found


class Asker:
    """Asks over one connection, and times the answers."""

    def __init__(self, server: Server):
        self.server = server
        self.wire = Wire(server.port)

    def ask(self, kind: Kind, path: str) -> tuple[float, tuple[int, str]]:
        method, route, body = kind(path)
        data = request(method, route, json.dumps(body).encode() if body else b"")
        begin = time.perf_counter()
        self.wire.send(data)
        answer = self.wire.answer()
        seconds = time.perf_counter() - begin
        if answer.headers.get(b"connection") == b"close":
            self.wire.socket.close()
            self.wire = Wire(self.server.port)
        said = answer.body.decode(errors="replace")
        # Whatever repeats the question repeats its path.
        for spelled in (json.dumps(path)[1:-1], path, path.lower(), path.lstrip("/")):
            said = said.replace(spelled, "PATH")
        return seconds, (answer.status, said)


def attack(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    server = Server(program, folder / "oracle").start()
    tried, wrong, furthest = 0, [], 0.0
    try:
        asker, chosen = Asker(server), pairs(server)
        for name, kind in KINDS.items():
            part = share.part(1 / len(KINDS))
            part.begun = time.monotonic()
            seconds: tuple[list[float], list[float]] = ([], [])
            told: tuple[set, set] = (set(), set())
            while len(seconds[0]) < TURNS and part.lasts():
                pair = dice.choice(chosen)
                for which in dice.sample((0, 1), 2):
                    took, said = asker.ask(kind, pair[which])
                    seconds[which].append(took)
                    told[which].add(said)
                tried += 2
            if told[0] != told[1]:
                wrong.append(f"{name}: of paths that exist {sorted(told[0] - told[1])[:2]}, of others {sorted(told[1] - told[0])[:2]}")
            if any(status == 200 for status, _ in told[0] | told[1]):
                wrong.append(f"{name}: a path is taken: {sorted(told[0] | told[1])[:2]}")
            medians = [statistics.median(it) for it in seconds]
            apart = abs(medians[0] - medians[1])
            furthest = max(furthest, apart)
            # How far the same question is from itself, asked earlier and later.
            halves = [abs(statistics.median(it[: len(it) // 2]) - statistics.median(it[len(it) // 2 :])) for it in seconds if len(it) > 1]
            if apart > max(SAME_SECONDS, SAME_SHARE * max(medians), 2 * max(halves, default=0.0)):
                wrong.append(f"{name}: {medians[0] * 1e6:.0f} us for paths that exist, {medians[1] * 1e6:.0f} us for others")
    finally:
        server.stop()
    for line in wrong:
        print(f"    {line[:500]}", flush=True)
    report.add(
        "paths in the place of names and digests: does the file exist?",
        tried,
        GOAL,
        "status and words are the same, middle times within 10 % or 100 us, or what the same question differs by itself",
        f"{len(KINDS)} fields; middle times at most {furthest * 1e6:.0f} us apart"
        + (f"; {len(wrong)} wrong, such as {wrong[0][:200]}" if wrong else ""),
        not wrong,
    )
