"""Thousands of model files that are almost right go through create, show, load, generate and embed.

What preflight lets through may refuse to load or end its worker, which llama.cpp and ONNX Runtime do on a failed assertion;
it may not end the server, hold up the guest, hang, or leave anything behind.
"""

import hashlib
import random
import resource
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import gguf
import gguf_mutants
from beside import Control, Guest, Pulse
from fsck import expect_whole
from hostile import in_threads
from onnx_mutants import Original
from report import Report, Share
from service import ANSWER_SECONDS, MODELS, TINY, Server, expect, orphans, percentile

GGUF_GOAL, ONNX_GOAL = 10_000, 5_000

MAKERS = 2

HANG_SECONDS = 90
"""A reply later than this is a hang, on a machine with nothing else to do; the server gives up loads and steps after 60."""

SLOW_SECONDS = 5
"""A mutant that takes longer is told of, without being wrong."""

PATIENCE = 50
"""How many answers of a process that does nothing a reply may take on top: a mutant is several requests, processes and loads."""

ADDRESS_SPACE_BYTES = 16 << 30
"""What a process of the server may ask the machine for: a guard for whoever else uses it."""


class Guarded(Server):
    """A server whose processes cannot take all of the machine."""

    def launch(self, log) -> subprocess.Popen:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))

        return subprocess.Popen([self.program, "serve"], env=self.variables(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=limit)


class Findings:
    """What became of the mutants."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.fates: Counter = Counter()
        self.deadly: list[str] = []
        self.wrong: list[str] = []
        self.tried = 0
        self.seconds: list[float] = []
        self.slow: list[tuple[float, str]] = []

    def tell(self, fate: str, what: str, wrong: str | None, seconds: float) -> None:
        with self.lock:
            self.tried += 1
            self.seconds.append(seconds)
            if seconds > SLOW_SECONDS:
                self.slow.append((seconds, f"{what}: {fate}"))
            self.fates[fate] += 1
            if fate == "ended its worker":
                self.deadly.append(what)
            if wrong:
                self.wrong.append(f"{what}: {wrong}")


class Maker:
    """Makes models of mutants under a name of its own, and uses them."""

    def __init__(self, server: Server, name: str, found: Findings):
        self.server, self.name, self.found = server, name, found

    def try_out(self, what: str, files: dict[str, bytes], uses: list[tuple[str, dict]]) -> None:
        begin = time.monotonic()
        try:
            fate, wrong = self.fate_of(files, uses)
        except OSError as error:
            fate, wrong = "no answer", repr(error)
        seconds = time.monotonic() - begin
        self.found.tell(fate, what, wrong, seconds)

    def fate_of(self, files: dict[str, bytes], uses: list[tuple[str, dict]]) -> tuple[str, str | None]:
        server = self.server
        digests = {}
        for name, data in files.items():
            digests[name] = "sha256:" + hashlib.sha256(data).hexdigest()
            if server.ask("HEAD", f"/api/blobs/{digests[name]}").status != 200:
                reply = server.ask("POST", f"/api/blobs/{digests[name]}", data)
                if reply.status not in (200, 201):
                    return "upload refused", f"{reply.status} {reply.body[:200]!r}"
        made = server.create(self.name, files=digests)
        if made.status != 200:
            return "refused by preflight", None if made.status in (400, 501) else f"create: {made.status} {made.body[:300]!r}"
        fate, wrong = "works", None
        shown = server.ask("POST", "/api/show", {"model": self.name, "verbose": True})
        if shown.status not in (200, 400):
            wrong = f"show: {shown.status} {shown.body[:300]!r}"
        for route, body in uses:
            reply = server.ask("POST", route, {"model": self.name, "stream": False, "keep_alive": 0} | body, timeout=ANSWER_SECONDS)
            if reply.status == 200:
                continue
            text = reply.json().get("error", "")
            fate = "ended its worker" if is_lost(text) else "refused at load or use"
            if reply.status not in (400, 500, 501, 503) or not text or str(server.home) in text:
                wrong = wrong or f"{route}: {reply.status} {reply.body[:300]!r}"
        deleted = server.ask("DELETE", "/api/delete", {"model": self.name})
        if deleted.status != 200:
            wrong = wrong or f"delete: {deleted.status} {deleted.body[:200]!r}"
        return fate, wrong


def is_lost(text: str) -> bool:
    return "worker" in text or "ended" in text or "signal" in text


GENERATE = ("/api/generate", {"prompt": "Say x.", "options": {"num_predict": 4, "num_ctx": 64, "seed": 1}})
CHAT = ("/api/chat", {"messages": [{"role": "user", "content": "Say x."}], "options": {"num_predict": 4, "num_ctx": 256, "seed": 1}})
EMBED = ("/api/embed", {"input": ["one text", "and another one, which is longer"]})
TOKENIZE = ("/api/tokenize", {"content": "What is it? " * 20})


def serve(program: str, home: Path) -> Server:
    limits = {"OLLAMA_LOAD_TIMEOUT": "60s", "CHASKI_HANG_TIMEOUT": "60s", "CHASKI_MEMORY_LIMIT": "4GiB", "OLLAMA_KEEP_ALIVE": "30m"}
    return Guarded(program, home, **limits).start()


def attack_gguf(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    original = gguf.small(TINY)

    def one(dice: random.Random) -> tuple[str, dict[str, bytes], list]:
        what, data = gguf_mutants.mutant(dice, original)
        return what, {"model.gguf": data}, [dice.choice([GENERATE, GENERATE, CHAT, EMBED, TOKENIZE])]

    server = serve(program, folder / "gguf")
    try:
        run(report, server, "GGUF mutants", share, GGUF_GOAL, seed, one)
    finally:
        server.stop()


def attack_onnx(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    embedder, classifier = Original(MODELS / "tiny-embed"), Original(MODELS / "tiny-classify")

    def one(dice: random.Random) -> tuple[str, dict[str, bytes], list]:
        if dice.random() < 0.5:
            return *embedder.mutant(dice), [EMBED]
        return *classifier.mutant(dice), [("/classify", {"input": ["one text", ["and", "a pair"]]})]

    server = serve(program, folder / "onnx")
    try:
        run(report, server, "ONNX, tokenizer and configuration mutants", share, ONNX_GOAL, seed, one)
    finally:
        server.stop()


def run(report: Report, server: Server, what: str, share: Share, goal: int, seed: int, make_one) -> None:
    # Seldom enough to leave the processors to the mutants.
    found, guest = Findings(), Guest(server, every=1.0)
    before, lost = server.resources(), server.metric("llm_workers_lost_total")

    def work(number: int) -> None:
        maker = Maker(server, f"mutant{number}", found)
        for index in range(-(-goal // MAKERS)):
            if not share.lasts():
                return
            place = f"{seed}:{number}:{index}"
            name, files, uses = make_one(random.Random(place))
            maker.try_out(f"{name} ({place})", files, uses)

    with guest, Pulse(server, every=0.25) as pulse, Control() as control:
        in_threads(MAKERS, work)
    late = HANG_SECONDS + PATIENCE * control.slow
    found.wrong += [f"{what}: took {seconds:.0f} s" for seconds, what in found.slow if seconds > late]
    wrong = found.wrong + guest.wrong[:3] + pulse.failures[:3] + server.accidents()[:3]
    if not server.is_alive():
        wrong.append("the server died")
    after = server.resources()
    if after.resident_bytes - before.resident_bytes > 64 << 20 or after.descriptors > before.descriptors + 8:
        wrong.append(f"{before} became {after}")
    for name in server.models():
        if name.startswith("mutant"):
            server.ask("DELETE", "/api/delete", {"model": name})
    store = expect_whole(server)
    expect(not store.half_made, f"left behind: {store.half_made[:5]}")
    wrong += [f"worker {pid} is left" for pid in orphans(server.program, server.store)]
    deadline = time.monotonic() + 5
    while (zombies := [pid for pid, state in server.workers().items() if state == "Z"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    wrong += [f"zombies: {zombies}"] if zombies else []
    ended = server.metric("llm_workers_lost_total") - lost
    fates = ", ".join(f"{fate} {count}" for fate, count in found.fates.most_common())
    for line in wrong[:20]:
        print(f"    {line[:500]}", flush=True)
    for seconds, line in sorted(found.slow, reverse=True)[:20]:
        print(f"    {seconds:.1f} s: {line[:200]}", flush=True)
    for line in sorted(found.deadly)[:400]:
        print(f"    ended its worker: {line[:200]}", flush=True)
    times = f"a mutant takes {percentile(found.seconds, 0.5):.2f} s (P50), {percentile(found.seconds, 0.99):.2f} s (P99), {max(found.seconds):.1f} s at most"
    measured = f"{fates}; {times}; workers lost {ended:.0f}; {guest.answers} answers of a guest unchanged; P99 beside it {percentile(pulse.seconds, 0.99) * 1e3:.0f} ms (of a process that does nothing {control.slow * 1e3:.0f} ms)"
    mark = "no death of the server, no hang, no orphan, nothing left behind, a guest's streams unchanged"
    report.add(what, found.tried, goal, mark, measured + (f"; {len(wrong)} wrong, such as {wrong[0][:200]}" if wrong else ""), not wrong)
