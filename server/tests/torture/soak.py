"""An hour of mixed traffic: answers, vectors, labels, lists, models made and deleted, wrong requests; some callers leave, and one
model's worker is killed again and again. Nothing may grow: not the server, and not the workers that live through all of it.

A SIGINT ends it before its time, and what there is by then is judged.
"""

import json
import os
import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import gguf
from beside import Guest, Pulse, Sample, Watch
from fsck import expect_whole
from hostile import in_threads
from report import Report, Share
from service import ANSWER_SECONDS, TINY, Server, expect, orphans, percentile
from wire import Wire, request

CLIENTS = 6

PAUSE_SECONDS = 0.05
"""The longest that a client thinks before its next request; the server is to be used, not overwhelmed."""

LEAVES = 0.01

REQUESTS_PER_KILL = 1_000

VICTIM = "victim"
"""The model whose workers are killed; the other models' workers have to last."""

SETTLED_SECONDS = 600
"""From what length on it is judged whether anything grows: before, pools and caches still fill."""

GROWN_BYTES = 2 << 20
"""What a process may hold more of in the last quarter than in the second: 4 MiB an hour in a soak of an hour."""

LENGTHS_GROWN_BYTES = 1 << 20
"""The catalogue's bound for an encoder after texts of all lengths: for every 10,000 requests."""

WORDS = "what is it that you want from me today and why would a small boat on the lake need such a long name".split()


@dataclass
class Tally:
    """What was asked, and what went wrong."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: Counter = field(default_factory=Counter)
    statuses: Counter = field(default_factory=Counter)
    kills: int = 0
    left: int = 0
    wrong: list[str] = field(default_factory=list)

    def requests(self) -> int:
        return sum(self.asked.values())


Kind = Callable[[random.Random], tuple[str, str, dict | bytes, set[int]]]
"""Method, path, body, and the statuses that are right."""


def text(dice: random.Random, longest: int) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(dice.randrange(1, longest)))


def limits(dice: random.Random) -> dict:
    return {"num_predict": dice.choice([1, 8, 40]), "temperature": dice.choice([0, 0.8])}


def generate(model: str, alright: set[int]) -> Kind:
    return lambda dice: (
        "POST",
        "/api/generate",
        {"model": model, "prompt": text(dice, dice.choice([8, 300])), "options": limits(dice)},
        alright,
    )


def chat(dice: random.Random) -> tuple[str, str, dict, set[int]]:
    said = [{"role": dice.choice(["user", "assistant"]), "content": text(dice, 20)} for _ in range(dice.randrange(1, 6))]
    route, rest = dice.choice([("/api/chat", {"options": limits(dice)}), ("/v1/chat/completions", {"max_tokens": 20, "stream": dice.random() < 0.5})])
    return "POST", route, {"model": "tiny", "messages": [*said, {"role": "user", "content": "Hello"}]} | rest, {200}


def schema(dice: random.Random) -> tuple[str, str, dict, set[int]]:
    """A schema that nobody has sent before: what is compiled of it must go with its answer."""
    names = [f"k{dice.randrange(10**9)}" for _ in range(dice.randrange(1, 4))]
    form = {"type": "object", "properties": {name: {"type": "integer"} for name in names}, "required": names}
    return "POST", "/api/generate", {"model": "tiny", "prompt": "Answer in JSON.", "format": form, "stream": False, "options": limits(dice)}, {200}


def embed(dice: random.Random) -> tuple[str, str, dict, set[int]]:
    count = dice.choice([1, 1, 1, 2, 8, 64])
    return "POST", "/api/embed", {"model": "tiny-embed", "input": [text(dice, dice.choice([4, 40, 200])) for _ in range(count)]}, {200}


def classify(dice: random.Random) -> tuple[str, str, dict, set[int]]:
    return "POST", "/classify", {"model": "tiny-classify", "input": text(dice, 60)}, {200}


def look(dice: random.Random) -> tuple[str, str, dict | bytes, set[int]]:
    path = dice.choice(["/api/tags", "/api/ps", "/api/version", "/metrics", "/v1/models", "/readyz", "/api/show"])
    return ("POST", path, {"model": "tiny", "verbose": True}, {200}) if path == "/api/show" else ("GET", path, b"", {200})


def make(dice: random.Random) -> tuple[str, str, dict, set[int]]:
    """Of the victim: deleting a model ends the worker of its weights, whoever else has them."""
    name = f"made{dice.randrange(8)}"
    return dice.choice(
        [
            ("POST", "/api/create", {"model": name, "from": VICTIM, "system": text(dice, 30), "stream": False}, {200}),
            ("POST", "/api/copy", {"source": VICTIM, "destination": name}, {200}),
            ("DELETE", "/api/delete", {"model": name}, {200, 404}),
        ]
    )


def wrong(dice: random.Random) -> tuple[str, str, dict | bytes, set[int]]:
    return dice.choice(
        [
            ("POST", "/api/generate", b"{", {400}),
            ("POST", "/api/generate", {"model": f"none{dice.randrange(10**9)}", "prompt": "x"}, {404}),
            ("POST", "/api/chat", {"model": "tiny", "messages": "x"}, {400}),
            ("POST", "/api/generate", {"model": "tiny", "prompt": "x", "format": {"type": "nothing"}, "stream": False}, {400}),
            ("GET", f"/nowhere/{dice.randrange(10**9)}", b"", {404}),
        ]
    )


KINDS: dict[str, tuple[float, Kind]] = {
    "answers": (0.2, generate("tiny", {200})),
    "answers of the victim": (0.15, generate(VICTIM, {200, 500, 503})),
    "chats": (0.12, chat),
    "schemas": (0.05, schema),
    "vectors": (0.2, embed),
    "labels": (0.08, classify),
    "lists": (0.1, look),
    "models made and deleted": (0.04, make),
    "wrong requests": (0.06, wrong),
}


class Client:
    """Sends requests of every kind over a connection that lasts until the caller leaves."""

    def __init__(self, server: Server, tally: Tally, dice: random.Random):
        self.server, self.tally, self.dice = server, tally, dice
        self.wire: Wire | None = None

    def turn(self) -> None:
        (kind,) = self.dice.choices(list(KINDS), [weight for weight, _ in KINDS.values()])
        method, path, body, alright = KINDS[kind][1](self.dice)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.wire = self.wire or Wire(self.server.port, timeout=ANSWER_SECONDS)
        self.wire.send(request(method, path, data))
        status, problem = None, None
        if self.dice.random() < LEAVES:
            time.sleep(self.dice.random() * 0.05)
            self.leave()
        else:
            answer = self.wire.answer()
            status = answer.status
            if status not in alright:
                problem = f"{method} {path} {data[:200]!r}: {status} {answer.body[:200]!r}"
            elif status == 200 and b'"error"' in answer.body[-300:] and 500 not in alright:
                problem = f"{method} {path}: a stream ends with {answer.body[-300:]!r}"
            if answer.headers.get(b"connection") == b"close":
                self.leave()
        with self.tally.lock:
            self.tally.asked[kind] += 1
            self.tally.statuses[status] += 1
            self.tally.left += status is None
            if problem:
                self.tally.wrong.append(problem)

    def leave(self) -> None:
        wire, self.wire = self.wire, None
        if wire and self.dice.random() < 0.5:
            wire.reset()
        elif wire:
            wire.socket.close()


@dataclass
class Growth:
    """What became of a figure from the second quarter of a soak to its last, and how fast it grows by a line through all of it."""

    before: float
    after: float
    per_hour: float


def growth(samples: list[Sample], figure: Callable[[Sample], float]) -> Growth:
    """Of a figure, without the first quarter, in which caches fill and pools reach their size."""
    end = samples[-1].seconds
    settled = [sample for sample in samples if sample.seconds >= end / 4]
    second = [figure(sample) for sample in settled if sample.seconds < end / 2]
    last = [figure(sample) for sample in settled if sample.seconds >= end * 3 / 4]
    line = statistics.linear_regression([sample.seconds for sample in settled], [figure(sample) for sample in settled])
    return Growth(statistics.median(second), statistics.median(last), line.slope * 3600)


def attack(report: Report, share: Share, program: str, folder: Path, seed: int, minutes: float) -> None:
    seconds = minutes * 60 if share.seconds is None else share.seconds
    enough = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: enough.set())
    server = Server(program, folder / "soak", OLLAMA_KEEP_ALIVE="-1", OLLAMA_CONTEXT_LENGTH="2048").start()
    try:
        for path, body in (
            ("/api/generate", {"model": "tiny", "prompt": "x", "stream": False, "options": {"num_predict": 1}}),
            ("/api/embed", {"model": "tiny-embed", "input": "x"}),
            ("/classify", {"model": "tiny-classify", "input": "x"}),
        ):
            server.must("POST", path, body)
        lasting = tuple(server.workers())
        names = {pid: f"worker {number + 1}" for number, pid in enumerate(lasting)}
        digest = server.upload(gguf.small(TINY).data())
        expect(server.create(VICTIM, files={"model.gguf": digest}).status == 200, "the victim is made")
        tally = Tally()
        begun = time.monotonic()

        def work(number: int) -> None:
            dice = random.Random(f"{seed}:{number}")
            client = Client(server, tally, dice)
            while time.monotonic() - begun < seconds and not enough.is_set():
                try:
                    client.turn()
                except Exception as error:  # whatever happens to a caller is a finding
                    client.leave()
                    with tally.lock:
                        tally.wrong.append(f"client {number}: {error!r}")
                if number == 0:
                    kill_now_and_then(server, lasting, tally)
                time.sleep(dice.random() * PAUSE_SECONDS)
            client.leave()

        with Guest(server, every=2.0) as guest, Pulse(server, every=0.5) as pulse:
            with Watch(server, every=max(0.05, min(5.0, seconds / 200)), workers=lasting) as watch:
                in_threads(CLIENTS, work)
        judge(report, server, tally, guest, pulse, watch, names, time.monotonic() - begun)
    finally:
        signal.signal(signal.SIGINT, before)
        server.stop()


def kill_now_and_then(server: Server, lasting: tuple[int, ...], tally: Tally) -> None:
    if tally.requests() < (tally.kills + 1) * REQUESTS_PER_KILL:
        return
    for pid, state in server.workers().items():
        if pid not in lasting and state != "Z":
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    tally.kills += 1


def judge(report: Report, server: Server, tally: Tally, guest: Guest, pulse: Pulse, watch: Watch, names: dict[int, str], seconds: float) -> None:
    problems = tally.wrong + guest.wrong[:3] + pulse.failures[:3] + server.accidents()[:3]
    if not server.is_alive():
        problems.append("the server died")
    expect(len(watch.samples) >= 8, f"only {len(watch.samples)} looks at the server")
    gone = [name for pid, name in names.items() if pid not in watch.samples[-1].workers]
    problems += [f"workers that were to last are gone: {gone}; {server.last_line('worker lost')}"] if gone else []
    told = []
    server_memory = growth(watch.samples, lambda sample: sample.server.resident_bytes)
    figures = {"server": server_memory} | {
        name: growth(watch.samples, lambda sample, pid=pid: sample.workers[pid]) for pid, name in names.items() if name not in gone
    }
    for name, figure in figures.items():
        told.append(f"{name} {figure.before / 1e6:.1f} -> {figure.after / 1e6:.1f} MB ({figure.per_hour / 1e6:+.2f} MB/h)")
        vectors = tally.asked["vectors"] / 10_000 / 2
        allowed = max(GROWN_BYTES, LENGTHS_GROWN_BYTES * vectors)
        if seconds >= SETTLED_SECONDS and figure.after - figure.before > allowed:
            problems.append(f"{name} grows: {told[-1]}")
    descriptors = growth(watch.samples, lambda sample: sample.server.descriptors)
    threads = growth(watch.samples, lambda sample: sample.server.threads)
    if descriptors.after > descriptors.before + 4 or threads.after > threads.before + 2:
        problems.append(f"descriptors {descriptors}, threads {threads}")
    store = expect_whole(server)
    problems += [f"left behind: {store.half_made[:3]}"] if store.half_made else []
    zombies = [pid for pid, state in server.workers().items() if state == "Z"]
    problems += [f"zombies {zombies}"] if zombies else []
    left = orphans(server.program, server.store)
    problems += [f"orphans {left}"] if left else []
    half = len(pulse.seconds) // 2
    kinds = ", ".join(f"{kind} {count}" for kind, count in tally.asked.most_common())
    measured = (
        f"{seconds / 60:.0f} minutes; {kinds}; {tally.left} callers left, {tally.kills} workers killed; {guest.answers} answers of a guest unchanged; memory: {', '.join(told)}; "
        f"descriptors {descriptors.before:.0f} -> {descriptors.after:.0f}, threads {threads.before:.0f} -> {threads.after:.0f}; "
        f"P99 of polite questions {percentile(pulse.seconds[:half], 0.99) * 1e3:.0f} -> {percentile(pulse.seconds[half:], 0.99) * 1e3:.0f} ms"
    )
    for line in problems[:20]:
        print(f"    {line[:500]}", flush=True)
    report.add(
        "a soak: mixed traffic, callers who leave, workers killed",
        tally.requests(),
        10_000,
        "nothing fails but what was killed; in ten minutes and more no process holds 2 MiB more in the last quarter than in the second, nor descriptors or threads",
        measured + (f"; {len(problems)} wrong, such as {problems[0][:200]}" if problems else ""),
        not problems,
    )
