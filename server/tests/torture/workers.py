"""Workers are killed and stopped while they load, read prompts, write, embed, and have nothing to do.

Each request on a worker that dies ends with exactly one error, the next one is answered within the time of a load, other
models lose nothing, and no process stays.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import gguf
from beside import Guest, Pulse
from report import Report, Share
from service import TINY, Failed, Server, expect, orphans, percentile
from wire import Broken, Wire, request

GOAL = 900

STREAMS = 4
"""Requests on the worker that is hit."""

TOLD_SECONDS = 10
"""Until the caller has its error; the catalogue's 1 s holds on a machine with nothing else to do."""

BACK_SECONDS = 60
"""Until the next request is answered: a load of the small model, on a busy machine."""

HANG_TIMEOUT_SECONDS = 30
"""Longer than a busy machine keeps a worker waiting for its turn."""

LOAD_TIMEOUT_SECONDS = 30

STOPS = 16
"""Most workers that are stopped: each is waited for as long as a hang lasts."""

MODEL = "victim"


class Stream:
    """A request, and how it ended."""

    def __init__(self, server: Server, route: str, body: dict):
        self.server, self.route, self.body = server, route, body | {"model": MODEL}
        self.begun = threading.Event()
        self.ending: str | None = None
        self.ended_at = 0.0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        try:
            self.ending = self.follow()
        except (OSError, Broken, ValueError) as error:
            self.ending = f"broken: {error!r}"
        self.ended_at = time.monotonic()
        self.begun.set()

    def follow(self) -> str:
        """`done`, `error` (once, as the status or the last line), or what is wrong."""
        with Wire(self.server.port, timeout=2 * HANG_TIMEOUT_SECONDS + 30) as wire:
            wire.send(request("POST", self.route, json.dumps(self.body).encode()))
            head = wire.until(b"\r\n\r\n")
            status = int(head.split()[1])
            if b"chunked" not in head.lower():
                length = int(next(it for it in head.lower().split(b"\r\n") if it.startswith(b"content-length")).split(b":")[1])
                reply = json.loads(wire.exactly(length))
                if status == 200:
                    return "done"
                return "error" if status in (500, 503) and reply.get("error") else f"{status}: {reply}"
            data = b""
            while size := int(wire.until(b"\r\n"), 16):
                data += wire.exactly(size)
                wire.until(b"\r\n")
                self.begun.set()
            lines = [json.loads(line) for line in data.splitlines()]
            errors = [line for line in lines if "error" in line]
            finals = [line for line in lines if line.get("done")]
            if len(errors) + len(finals) != 1 or lines[-1] not in errors + finals:
                return f"{len(errors)} errors and {len(finals)} ends in {len(lines)} lines, the last {lines[-1]}"
            return "error" if errors else "done"


GENERATE = {"prompt": "Tell me a long story.", "options": {"num_predict": 150, "num_ctx": 2048}, "grammar": {"regex": "([a-z]{50} ){40,}"}}
PROMPT = {"prompt": "What is it? " * 400, "options": {"num_predict": 20, "num_ctx": 2048}}
EMBED = {"input": ["What is it that you want from me today? " * 8] * 400, "truncate": True}


class Phase:
    """When the worker is hit: the requests that are on it then."""

    def __init__(self, name: str, route: str, body: dict, is_loaded: bool, waits: float | None):
        self.name, self.route, self.body, self.is_loaded, self.waits = name, route, body, is_loaded, waits


PHASES = [
    Phase("load", "/api/generate", GENERATE, False, None),
    Phase("admission", "/api/generate", GENERATE, True, 0.0),
    Phase("prompt", "/api/generate", PROMPT, True, 0.01),
    Phase("answer", "/api/generate", GENERATE, True, None),
    Phase("whole answer", "/api/generate", GENERATE | {"stream": False}, True, 0.1),
    Phase("embedding", "/api/embed", EMBED, True, 0.03),
    Phase("idle", "", {}, True, None),
    Phase("unload", "/api/generate", {"keep_alive": 0}, True, 0.0),
]


def never_sent_before(body: dict, dice: random.Random) -> dict:
    """A request that is under way at two deaths is refused; these are to be under way at one only."""
    number = dice.randrange(10**12)
    if "prompt" in body:
        return body | {"prompt": f"{body['prompt']} {number}"}
    if "input" in body:
        return body | {"input": [f"{number}", *body["input"]]}
    return body


def victims(server: Server, guests: set[int]) -> list[int]:
    """Worker processes that are not the guest's."""
    return [pid for pid, state in server.workers().items() if pid not in guests and state != "Z"]


class Hitter:
    def __init__(self, server: Server, dice: random.Random, guests: set[int]):
        self.server, self.dice, self.guests = server, dice, guests
        self.told: list[float] = []
        self.stopped: list[float] = []
        self.stops = 0
        self.back: list[float] = []
        self.endings: Counter = Counter()
        self.hits: Counter = Counter()

    def warm(self, route: str) -> None:
        reply = self.server.ask(
            "POST",
            route or "/api/generate",
            {"model": MODEL, "input": "x", "prompt": "x", "stream": False, "options": {"num_predict": 1, "num_ctx": 2048}},
        )
        expect(reply.status == 200, f"{MODEL} is not back: {reply.status} {reply.body[:300]!r}; {self.server.last_line('worker lost')}")

    def hit(self, phase: Phase, how: int) -> None:
        if phase.is_loaded:
            self.warm(phase.route)
        else:
            self.server.must("POST", "/api/generate", {"model": MODEL, "keep_alive": 0, "stream": False})
        streams = [Stream(self.server, phase.route, never_sent_before(phase.body, self.dice)) for _ in range(STREAMS if phase.route else 0)]
        pids = self.wait_for_worker(phase)
        if phase.waits is not None:
            time.sleep(self.dice.random() * phase.waits)
        elif phase.name == "answer":
            for stream in streams:
                stream.begun.wait(20)
        else:
            time.sleep(self.dice.random() * 0.03)
        for pid in pids:
            try:
                os.kill(pid, how)
                self.hits[phase.name] += 1
            except ProcessLookupError:
                continue
        self.stops += how == signal.SIGSTOP
        at = time.monotonic()
        for stream in streams:
            # One that came a moment after the kill is answered by the next worker, in its own time.
            stream.thread.join(2 * HANG_TIMEOUT_SECONDS + 60)
            expect(stream.ending is not None, f"{phase.name}: a request never ends after {how.name}")
            expect(stream.ending in ("done", "error"), f"{phase.name}: a request ends with {stream.ending}")
            self.endings[stream.ending] += 1
            if stream.ending == "error":
                seconds = stream.ended_at - at
                expect(how == signal.SIGSTOP or seconds < TOLD_SECONDS, f"{phase.name}: told {seconds:.1f} s after the kill")
                (self.told if how == signal.SIGKILL else self.stopped).append(seconds)
        begin = time.monotonic()
        self.warm_again(phase)
        if how == signal.SIGKILL:
            self.back.append(time.monotonic() - begin)

    def warm_again(self, phase: Phase) -> None:
        """The next request is answered; only one that met the dying worker itself may be told so."""
        deadline = time.monotonic() + BACK_SECONDS
        while True:
            try:
                return self.warm(phase.route)
            except Failed:
                if time.monotonic() > deadline:
                    raise
                # A kill between two requests is not known before the next one is sent to it.
                self.endings["told late"] += 1

    def wait_for_worker(self, phase: Phase) -> list[int]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if found := victims(self.server, self.guests):
                return found
            if phase.name == "unload":
                return []
            time.sleep(0.001)
        raise Failed(f"{phase.name}: no worker appears")


def attack(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    main = share.part(0.8)
    server = Server(
        program,
        folder / "workers",
        CHASKI_HANG_TIMEOUT=f"{HANG_TIMEOUT_SECONDS}s",
        OLLAMA_LOAD_TIMEOUT=f"{LOAD_TIMEOUT_SECONDS}s",
        OLLAMA_KEEP_ALIVE="30m",
    ).start()
    try:
        # Weights of its own: a model that differs from another in its settings alone would take turns with it.
        weights = server.upload(gguf.small(TINY).data())
        expect(server.create(MODEL, files={"model.gguf": weights}, parameters={"num_ctx": 2048}).status == 200, "the model is made")
        guest = Guest(server)
        guests = set(server.workers())
        before = server.resources()
        hitter = Hitter(server, dice, guests)
        with guest, Pulse(server) as pulse:
            while sum(hitter.hits.values()) < GOAL and main.lasts():
                how = signal.SIGSTOP if dice.random() < 0.03 and hitter.stops < STOPS else signal.SIGKILL
                phase = dice.choice(PHASES)
                hitter.hit(phase, how)
        expect(not guest.wrong, f"the guest on another model: {guest.wrong[:3]}")
        expect(not pulse.failures, f"polite questions: {pulse.failures[:3]}")
        expect(not server.accidents(), f"the log tells of {server.accidents()[:3]}")
        server.must("POST", "/api/generate", {"model": MODEL, "keep_alive": 0, "stream": False})
        deadline = time.monotonic() + 5
        while len(server.workers()) > len(guests) and time.monotonic() < deadline:
            time.sleep(0.05)
        expect(set(server.workers()) == guests, f"processes are left: {server.workers()}")
        after = server.resources()
        expect(after.resident_bytes - before.resident_bytes < 16 << 20, f"memory: {before} became {after}")
        expect(after.descriptors <= before.descriptors + 4 and after.threads <= before.threads + 8, f"{before} became {after}")
        hits = ", ".join(f"{phase} {count}" for phase, count in hitter.hits.most_common())
        measured = (
            f"{hits}; {hitter.endings['error']} requests told once, {hitter.endings['done']} had ended, {hitter.endings['told late']} met a worker just killed; told after "
            f"{percentile(hitter.told, 0.5) * 1e3:.0f} ms (P50), {percentile(hitter.told, 0.99) * 1e3:.0f} ms (P99) of kills, {max(hitter.stopped, default=0):.1f} s of stops at most; next answer after a kill "
            f"{percentile(hitter.back, 0.5) * 1e3:.0f} ms (P50), {percentile(hitter.back, 0.99) * 1e3:.0f} ms (P99); guest {guest.answers} unchanged; "
            f"RSS {before.resident_bytes >> 20} -> {after.resident_bytes >> 20} MiB"
        )
        report.add(
            "kill -9 and -STOP of workers",
            sum(hitter.hits.values()),
            GOAL,
            "each request on it ends with one error, the next is answered, others lose nothing, no process left",
            measured,
            True,
        )
    finally:
        server.stop()
    attack_servers(report, Share(share.seconds and share.seconds * 0.2), program, folder, seed)


def attack_servers(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    """The server itself is killed with workers idle, busy and loading: none outlives it."""
    goal, tried, longest = 200, 0, 0.0
    dice = random.Random(seed)
    server = Server(program, folder / "killed")
    while tried < goal and share.lasts():
        server.start()
        threads = [threading.Thread(target=ask_and_lose, args=(server, model), daemon=True) for model in ("tiny", "tiny-embed", "tiny-classify")]
        for thread in threads[: dice.randrange(4)]:
            thread.start()
        time.sleep(dice.random() * 0.2)
        workers = list(server.workers())
        server.stop(signal.SIGKILL)
        begin = time.monotonic()
        while any(is_running(pid) for pid in workers):
            if time.monotonic() - begin > 1:
                raise Failed(f"workers {workers} outlive their server")
            time.sleep(0.002)
        longest = max(longest, time.monotonic() - begin)
        tried += 1
    left = orphans(server.program, server.store)
    expect(not left, f"workers {left} are left")
    report.add(
        "kill -9 of the server with workers idle, busy and loading",
        tried,
        goal,
        "no worker alive after 1 s",
        f"the last one ended {longest * 1e3:.0f} ms later at most",
        True,
    )


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ask_and_lose(server: Server, model: str) -> None:
    route, body = {
        "tiny": ("/api/generate", {"prompt": "x", "options": {"num_predict": 500}}),
        "tiny-embed": ("/api/embed", {"input": ["x"] * 2_000}),
    }.get(model, ("/classify", {"input": ["x"] * 2_000}))
    try:
        server.ask("POST", route, {"model": model} | body)
    except Exception:  # the server is killed meanwhile
        pass
