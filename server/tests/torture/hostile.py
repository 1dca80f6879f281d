"""Tens of thousands of requests that are wrong in every way, while somebody else uses the server as it is meant to be."""

import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

import heads
from beside import Control, Guest, Pulse, Watch
from bodies import BASES, Bodies
from report import Report, Share
from service import ANSWER_SECONDS, Server, percentile
from wire import Broken, Wire, request

HEADS_GOAL, BODIES_GOAL, NAMES_GOAL = 20_000, 80_000, 1_600

SENDERS = 3

WAITERS = 16
"""Senders of what a server may wait for the rest of."""

PULSE_SECONDS = 0.1
"""A limit for the slowest percent of polite questions, on a machine with nothing else to do."""

RETURNED_BYTES = 64 << 20

RETURN_SECONDS = 10

OLLAMAS_500 = ("must be of type", "exceeds the context length", "template: ")
"""Where Ollama answers 500 to what is the client's fault, and so do we: options of a wrong type, texts that are too long for
`/api/embeddings`, templates in requests."""

PATIENCE_SECONDS = 0.15
"""How long to wait for a reply to something that may not be finished."""

PEAK_BYTES = 512 << 20
"""How far the server's memory may grow meanwhile."""


class Findings:
    """What came back, from all senders."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.statuses: Counter = Counter()
        self.wrong: list[str] = []
        self.errors: set[str] = set()
        self.slow: list[tuple[float, str]] = []
        """What took long, and how long."""

    def tell(self, status: int | None, wrong: str | None = None) -> None:
        with self.lock:
            self.statuses[status] += 1
            if wrong and len(self.wrong) < 50:
                self.wrong.append(wrong)

    def shown(self) -> str:
        return ", ".join(f"{status or 'hung up'} {count}" for status, count in sorted(self.statuses.items(), key=lambda it: it[0] or 0))


def send_heads(server: Server, share: Share, goal: int, seed: int, found: Findings) -> None:
    dice = random.Random(seed)
    for number, (kind, (data, allowed)) in enumerate(heads.attempts(dice)):
        if number >= goal or not share.lasts():
            return
        status, wrong = None, None
        try:
            # Only what may be hung up on may be unfinished.
            with Wire(server.port, timeout=PATIENCE_SECONDS if None in allowed else ANSWER_SECONDS) as wire:
                wire.send(data)
                answers = wire.answers(None if kind == "framing" else 1)
                if not answers or kind == "framing":
                    # Who closes one side has left; until then the server may be waiting for the rest.
                    wire.half_close()
                    answers += wire.answers()
                status = answers[0].status if answers else None
                if kind == "framing" and len(answers) > 1 and answers[-1].status == 404 and b"smuggled" in answers[-1].body:
                    wrong = "the second request of a smuggling pair is answered"
        except (OSError, TimeoutError) as error:
            wrong = repr(error)
        if not wrong and status not in allowed:
            wrong = f"{status} is not among {allowed}"
        found.tell(status, wrong and f"{kind} (seed {seed}, number {number}): {wrong}: {data[:150]!r}")


def send_bodies(server: Server, share: Share, goal: int, seed: int, bodies: Bodies, found: Findings) -> None:
    dice = random.Random(seed)
    wire = None
    for number in range(goal):
        if not share.lasts():
            break
        method, route, body = bodies.draw(dice)
        status, wrong = None, None
        begin = time.monotonic()
        try:
            wire = wire or Wire(server.port, timeout=ANSWER_SECONDS)
            wire.send(request(method, route, body, "Content-Type: application/json"))
            answer = wire.answer()
            status, wrong = answer.status, judge(answer.status, answer.body, server, found)
            if answer.headers.get(b"connection") == b"close":
                wire.socket.close()
                wire = None
        except (OSError, Broken) as error:
            wrong = repr(error)
            wire = None
        seconds = time.monotonic() - begin
        if not wrong and seconds > SLOWEST_SECONDS:
            found.slow.append((seconds, f"{method} {route} (seed {seed}, number {number}): {body[:300]!r}"))
        found.tell(status, wrong and f"{method} {route} (seed {seed}, number {number}): {wrong}: {body[:300]!r}")
    if wire:
        wire.socket.close()


SLOWEST_SECONDS = 15
"""Longest time for an answer of a few tokens, on a machine with nothing else to do."""

TURNS = 50
"""How many answers of a process that does nothing it may take on top: a model may have to be loaded for it."""


def judge(status: int, body: bytes, server: Server, found: Findings) -> str | None:
    """What is wrong with a reply to a wrong body."""
    if status in (200, 201, 204):
        return None
    try:
        error = json.loads(body)["error"]
        text = error if isinstance(error, str) else error["message"]
    except (ValueError, KeyError, TypeError):
        return f"{status} without an error in JSON: {body[:200]!r}"
    if len(body) > 2048:
        return f"{status} with an error of {len(body)} bytes: {text[:200]}"
    for secret in (str(server.home), "/root/", "src/", ".rs:", "chaski worker"):
        if secret in text:
            return f"{status} tells {secret}: {text[:300]}"
    if status == 500 and not any(part in text for part in OLLAMAS_500):
        return f"500: {text[:300]}"
    if status not in (400, 401, 403, 404, 405, 413, 415, 422, 424, 429, 500, 501, 503):
        return f"{status}: {text[:300]}"
    return None


def names(dice: random.Random) -> list[str]:
    """Names that lead out of the store, or are none."""
    fixed = [
        "..",
        "../x",
        "a/../../b",
        "a/../b",
        "/etc/passwd",
        "C:\\x",
        "a//b",
        "a/",
        "/a",
        "-x",
        ".x",
        "x" * 81,
        "a/" + "b" * 81,
        "h" * 351 + "/a/b",
        "a:b:c",
        "a:" + "t" * 81,
        "a:../b",
        "a\x00b",
        "a\nb",
        "a b",
        "a\u202eb",
        "ａ",
        "",
        ".",
        "a/./b",
        "~",
        "~/a",
        "$HOME",
        "`id`",
        "a;b",
        "a|b",
        "%2e%2e%2fa",
        "..%2f",
        "a\\..\\b",
        "file:///etc/passwd",
        "a@b",
        "sha256-" + "0" * 64,
        "a/b/c/d/e",
        "…",
        "a#b",
        "a?b",
        "a*b",
        "con",
        "nul:",
        "a:latest/../x",
        "//a/b",
        "a.b/../c/d",
        "localhost/../../x",
        "tiny:..",
        "tiny:.hidden/x",
    ]
    while len(fixed) < 200:
        fixed.append(
            "".join(dice.choice("ab./\\:-_@%\0\u202e~ ") for _ in range(dice.randrange(1, 30))) + dice.choice(["/..", "/../x", "\\..", ":/", ""])
        )
    return fixed


NAMED = [
    ("POST", "/api/show", "model"),
    ("POST", "/api/generate", "model"),
    ("POST", "/api/embed", "model"),
    ("POST", "/api/copy", "source"),
    ("POST", "/api/copy", "destination"),
    ("DELETE", "/api/delete", "model"),
    ("POST", "/api/create", "model"),
    ("POST", "/v1/chat/completions", "model"),
]


def send_names(server: Server, share: Share, seed: int, found: Findings) -> None:
    before = {path for path in server.home.rglob("*")}
    for name in names(random.Random(seed)):
        for method, route, field in NAMED:
            if not share.lasts():
                return
            body = {"model": "tiny", "source": "tiny", "destination": "copied", "from": "tiny", "input": "x", "stream": False}
            body["messages"] = [{"role": "user", "content": "x"}]
            body[field] = name
            reply = server.ask(method, route, body)
            valid = reply.status in (400, 404) or is_harmless(name)
            found.tell(reply.status, None if valid else f"{method} {route} with {field} {name!r}: {reply.status} {reply.body[:200]!r}")
    for path in {path for path in server.home.rglob("*")} - before:
        inside = path.is_relative_to(server.store / "manifests/registry.ollama.ai") or path.is_relative_to(server.store / "manifests")
        found.tell(None, None if inside or path.is_relative_to(server.store / "blobs") else f"{path} was made")


def is_harmless(name: str) -> bool:
    """Whether a name happens to be a good one."""
    parts = name.replace(":", "/").split("/")
    return len(parts) <= 4 and all(
        part and len(part) <= 80 and part[0] not in ".-" and all(it.isascii() and (it.isalnum() or it in "._-") for it in part) for part in parts
    )


def send_routes(server: Server, share: Share, seed: int, found: Findings) -> None:
    """Paths and methods that do not exist."""
    dice = random.Random(seed)
    real = [*BASES, "/api/tags", "/api/ps", "/api/version", "/metrics", "/healthz", "/v1/models", "/openapi.json"]
    debug = [
        "/debug/pprof/",
        "/debug/vars",
        "/slots",
        "/props",
        "/tokenizer",
        "/.git/config",
        "/api",
        "/v1",
        "/api/blobs/sha256:x",
        "/api/blobs/..%2f..%2fetc",
    ]
    for number in range(2_000):
        if not share.lasts():
            return
        path = dice.choice(
            [
                lambda: dice.choice(real) + dice.choice(["/", "//", "/x", "%2f", ";a=b", "/..", "\\", "%00"]),
                lambda: dice.choice(debug),
                lambda: "/" + "".join(dice.choice("ab/%.2e~") for _ in range(dice.randrange(40))),
                lambda: dice.choice(real).upper(),
            ]
        )()
        method = dice.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "FOO"])
        try:
            with Wire(server.port) as wire:
                wire.send(request(method, path))
                status = wire.answer(head=method == "HEAD").status
        except (Broken, OSError) as error:
            found.tell(None, f"{method} {path} (number {number}): {error!r}")
            continue
        wrong = None if status < 500 else f"{method} {path} (number {number}): {status}"
        found.tell(status, wrong)


def pipeline(server: Server, found: Findings) -> None:
    """Many requests in one piece are answered in order, and a broken one among them ends it."""
    good = request("GET", "/api/version")
    for count in (2, 100, 1_000):
        with Wire(server.port) as wire:
            threading.Thread(target=wire.send, args=(good * count,), daemon=True).start()
            statuses = [wire.answer().status for _ in range(count)]
            found.tell(200, None if statuses == [200] * count else f"{count} requests in a pipeline: {statuses}")
    with Wire(server.port) as wire:
        wire.send(good * 3 + b"\0\r\n\r\n" + good)
        statuses = [answer.status for answer in wire.answers()]
        found.tell(400, None if statuses == [200, 200, 200, 400] else f"a broken request in a pipeline: {statuses}")


def in_threads(count: int, work, *arguments: object) -> None:
    threads = [threading.Thread(target=work, args=(number, *arguments)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def attack(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    server = Server(program, folder / "hostile").start()
    try:
        subject = Subject(report, server)
        bodies = Bodies(server.must("GET", "/openapi.json").json())
        subject.run(
            "wrong request lines, heads, framing, protocols",
            HEADS_GOAL,
            lambda found: (
                in_threads(WAITERS, lambda number: send_heads(server, share.part(0.25), -(-HEADS_GOAL // WAITERS), seed * 100 + number, found)),
                pipeline(server, found),
            ),
        )
        subject.run(
            "wrong bodies for every field of every route",
            BODIES_GOAL,
            lambda found: in_threads(
                SENDERS, lambda number: send_bodies(server, share.part(0.5), -(-BODIES_GOAL // SENDERS), seed * 200 + number, bodies, found)
            ),
        )
        subject.run("names that lead elsewhere, on every route", NAMES_GOAL, lambda found: send_names(server, share.part(0.15), seed, found))
        subject.run("paths and methods that do not exist", 2_000, lambda found: send_routes(server, share.part(0.1), seed, found))
    finally:
        server.stop()


class Subject:
    """Runs an attack between two looks at the server, beside a guest who must not notice."""

    def __init__(self, report: Report, server: Server):
        self.report, self.server = report, server

    def run(self, what: str, goal: int, act) -> None:
        server, found = self.server, Findings()
        guest = Guest(server)
        pid, before = server.pid, server.resources()
        with guest, Pulse(server) as pulse, Watch(server) as watch, Control() as control:
            act(found)
        after = wait_for_return(server, before.resident_bytes)
        late = SLOWEST_SECONDS + TURNS * control.slow
        found.wrong += [f"{what}: takes {seconds:.1f} s" for seconds, what in found.slow if seconds > late]
        wrong = found.wrong + guest.wrong[:3] + pulse.failures[:3] + server.accidents()[:3]
        if not server.is_alive() or server.pid != pid:
            wrong.append("the server died")
        slow = percentile(pulse.seconds, 0.99)
        if not control.allows(slow, PULSE_SECONDS):
            wrong.append(f"polite questions take {slow:.2f} s (P99), and those to a process that does nothing {control.slow:.2f} s")
        if watch.peak - before.resident_bytes > PEAK_BYTES:
            wrong.append("memory grows without measure")
        if after.resident_bytes - before.resident_bytes > RETURNED_BYTES:
            wrong.append("memory does not come back")
        if after.descriptors > before.descriptors + 8 or after.threads > before.threads + 8:
            wrong.append(f"descriptors {before.descriptors} -> {after.descriptors}, threads {before.threads} -> {after.threads}")
        megabytes = [round(it / 1e6) for it in (before.resident_bytes, watch.peak, after.resident_bytes)]
        measured = f"{found.shown()}; {guest.answers} answers of a guest unchanged; P99 beside it {slow * 1e3:.0f} ms (of a process that does nothing {control.slow * 1e3:.0f} ms); RSS {megabytes[0]}, at most {megabytes[1]}, then {megabytes[2]} MB"
        for line in wrong[:20]:
            print(f"    {line}", flush=True)
        mark = "no death, no 5xx but Ollama's own, errors in JSON, a guest's streams unchanged, P99 beside it 100 ms above that of a process that does nothing, memory back"
        self.report.add(
            what, sum(found.statuses.values()), goal, mark, measured + (f"; {len(wrong)} wrong, such as {wrong[0][:200]}" if wrong else ""), not wrong
        )


def wait_for_return(server: Server, resident_bytes: int):
    deadline = time.monotonic() + RETURN_SECONDS
    while True:
        now = server.resources()
        if now.resident_bytes - resident_bytes < RETURNED_BYTES / 2 or time.monotonic() > deadline:
            return now
        time.sleep(0.2)
