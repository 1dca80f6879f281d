"""Ten times as much work as the server can do: it goes on doing what it can, and refuses the rest at once.

loadgen makes the load; what is done is read from the server's own counters, and refusals are timed here.
"""

import contextlib
import subprocess
import threading
import time
from pathlib import Path

from report import Report, Share
from service import Failed, Server, expect, percentile

SHORTEST_SECONDS, LONGEST_SECONDS = 8.0, 600.0
"""How long the overload lasts; the catalogue asks for ten minutes."""

GOODPUT_SHARE = 0.9

REFUSAL_SECONDS = 0.05

RETURN_SECONDS = 10

TOKENS = 48

QUEUE = 64

PROBES_GOAL = 1_000

WORKLOAD = """schema = 1
name = "overload"
kind = "generate"

[prompt]
source = "inline"
texts = ["Write a detailed essay about climate change:", "Count from 1 to 50:"]

[output]
tokens = {tokens}

[[load]]
{load}

[rounds]
count = 1
requests = {requests}
warmup = 1
"""


class Load:
    """loadgen at work."""

    def __init__(self, program: str, server: Server, folder: Path, load: str, requests: int):
        workload = folder / "overload.toml"
        workload.write_text(WORKLOAD.format(tokens=TOKENS, load=load, requests=requests))
        target = f"chaski=http://127.0.0.1:{server.port}"
        command = [program, "run", str(workload), "--target", target, "--seed", "1", "--quiet", "--timeout", "120s"]
        self.log = open(folder / "loadgen.log", "ab")
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def done(server: Server) -> float:
    """Answers that were completed so far."""
    text = server.must("GET", "/metrics").body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("llm_requests_total{") and 'status="ok"' in line)


def wait_for_work(server: Server, folder: Path) -> None:
    """Until loadgen has got through its own beginning."""
    before, deadline = done(server), time.monotonic() + 60
    while done(server) < before + 20:
        expect(time.monotonic() < deadline, f"loadgen does not get anything done: {(folder / 'loadgen.log').read_text()[-600:]}")
        time.sleep(0.1)


def rate(server: Server, seconds: float) -> float:
    """Completed answers a second."""
    before, begin = done(server), time.monotonic()
    time.sleep(seconds)
    return (done(server) - before) / (time.monotonic() - begin)


def peak_rate(server: Server, loadgen: str, folder: Path, slots: int, seconds: float) -> float:
    """What the server gets done when every slot is always taken and nobody waits long."""
    with Load(loadgen, server, folder, f'model = "closed"\nconcurrency = {slots}', 1_000_000):
        wait_for_work(server, folder)
        return rate(server, max(4.0, min(30.0, seconds / 2)))


class Prober:
    """Asks now and then as one of the crowd, and times the refusals."""

    def __init__(self, server: Server):
        self.server = server
        self.seconds: list[float] = []
        self.wrong: list[str] = []
        self.controls: list[float] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(4)] + [threading.Thread(target=self.control, daemon=True)]

    def __enter__(self) -> "Prober":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def run(self) -> None:
        body = {"model": "tiny", "prompt": "x", "stream": False, "options": {"num_predict": 1}}
        while not self.ended.wait(0.02):
            begin = time.monotonic()
            try:
                reply = self.server.ask("POST", "/api/generate", body, timeout=60)
            except OSError as error:
                self.wrong.append(repr(error))
                continue
            if reply.status == 503:
                self.seconds.append(time.monotonic() - begin)
                if not reply.headers.get("retry-after", "").isdigit() or not reply.json().get("error"):
                    self.wrong.append(f"a refusal without Retry-After or words: {reply}")
            elif reply.status != 200:
                self.wrong.append(f"{reply.status} {reply.body[:200]!r}")

    def control(self) -> None:
        paths = ["/api/version", "/api/tags", "/api/ps", "/healthz", "/readyz"]
        at = 0
        while not self.ended.wait(0.05):
            begin = time.monotonic()
            with contextlib.suppress(OSError):
                reply = self.server.ask("GET", paths[at % len(paths)], timeout=30)
                if reply.status != 200:
                    self.wrong.append(f"{paths[at % len(paths)]}: {reply.status}")
            self.controls.append(time.monotonic() - begin)
            at += 1


def attack(report: Report, share: Share, program: str, loadgen: str, folder: Path, seed: int) -> None:
    loadgen = str(Path(loadgen).resolve())
    expect(Path(loadgen).is_file(), f"{loadgen} is not built")
    seconds = LONGEST_SECONDS if share.seconds is None else max(SHORTEST_SECONDS, share.seconds * 0.6)
    server = Server(program, folder / "overload", OLLAMA_MAX_QUEUE=str(QUEUE)).start()
    try:
        server.must("POST", "/api/generate", {"model": "tiny", "prompt": "x", "stream": False, "options": {"num_predict": 1}})
        slots = server.must("GET", "/api/ps").json()["models"][0]["slots"]
        calm = latency(server)
        peak = peak_rate(server, loadgen, folder, slots, seconds)
        time.sleep(2)
        before = server.resources()
        load = f'model = "open"\narrival = "poisson"\nrate = {10 * peak:.0f}\nmax_in_flight = 2000'
        with Load(loadgen, server, folder, load, int(10 * peak * (seconds + 20))) as crowd, Prober(server) as prober:
            wait_for_work(server, folder)
            time.sleep(2)
            goodput = rate(server, seconds)
            during = server.resources()
            expect(crowd.process.poll() is None, f"loadgen ended early: {(folder / 'loadgen.log').read_text()[-600:]}")
        begin = time.monotonic()
        while (after := latency(server)) > calm * 2 + 0.05 and time.monotonic() - begin < RETURN_SECONDS:
            pass
        back = time.monotonic() - begin
        rested = server.resources()
        # What else the machine does changes within minutes: the peak is that before and after.
        peak = (peak + peak_rate(server, loadgen, folder, slots, seconds)) / 2
        slow = percentile(prober.seconds, 0.99)
        problems = prober.wrong[:3] + server.accidents()[:3]
        if goodput < GOODPUT_SHARE * peak:
            problems.append(f"goodput {goodput:.1f} of {peak:.1f}/s")
        if slow > REFUSAL_SECONDS:
            problems.append(f"refusals take {slow * 1e3:.0f} ms (P99)")
        if len(prober.seconds) < 20:
            problems.append(f"only {len(prober.seconds)} refusals were seen")
        if after > calm * 2 + 0.05:
            problems.append(f"an answer takes {after * 1e3:.0f} ms afterwards and {calm * 1e3:.0f} ms before")
        if rested.resident_bytes - before.resident_bytes > 64 << 20:
            problems.append(f"memory {before} became {rested}")
        measured = (
            f"{seconds:.0f} s; goodput {goodput:.1f} of {peak:.1f}/s ({goodput / peak:.0%}); refusals P50 {percentile(prober.seconds, 0.5) * 1e3:.1f} ms, P99 {slow * 1e3:.1f} ms; "
            f"control routes P99 {percentile(prober.controls, 0.99) * 1e3:.0f} ms; RSS {before.resident_bytes >> 20}, {during.resident_bytes >> 20}, then {rested.resident_bytes >> 20} MiB; "
            f"calm again after {back:.1f} s"
        )
        mark = "goodput at least 90 % of the peak, refusals 503 with Retry-After within 50 ms (P99), memory and latency back within 10 s"
        report.add(
            "10 times the work it can do", len(prober.seconds), PROBES_GOAL, mark, measured + (f"; {problems}" if problems else ""), not problems
        )
    finally:
        server.stop()


def latency(server: Server) -> float:
    """The middle one of three short answers."""
    times = []
    for _ in range(3):
        begin = time.monotonic()
        reply = server.ask("POST", "/api/generate", {"model": "tiny", "prompt": "Hello", "stream": False, "options": {"num_predict": 8}}, timeout=120)
        if reply.status == 503:
            return RETURN_SECONDS
        if reply.status != 200:
            raise Failed(f"{reply.status} {reply.body[:200]!r}")
        times.append(time.monotonic() - begin)
    return sorted(times)[1]
