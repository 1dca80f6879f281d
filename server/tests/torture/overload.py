"""Ten times as much work as the server can do: it goes on doing what it can, and refuses the rest at once.

loadgen makes the load; what is done is read from the server's own counters, and refusals are timed here.
"""

import contextlib
import os
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from beside import Control, Watch
from report import Report, Share
from service import ANSWER_SECONDS, Failed, Server, expect, percentile

SHORTEST_SECONDS, LONGEST_SECONDS = 8.0, 600.0
"""How long the overload lasts; the catalogue asks for ten minutes."""

ROUND_SECONDS = 120.0

GOODPUT_SHARE = 0.9

REFUSAL_SECONDS = 0.05

GROWN_BYTES = 128 << 20
"""What the server may take while 2,000 requests are in flight: 32 KiB for each, and 64 MiB."""

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
    before, deadline = done(server), time.monotonic() + 120
    while done(server) < before + 20:
        expect(time.monotonic() < deadline, f"loadgen does not get anything done: {(folder / 'loadgen.log').read_text()[-600:]}")
        time.sleep(0.1)


@dataclass
class Work:
    """Completed answers a second, and processor time a second that the server and its workers got for them."""

    answers: float
    processors: float


def rate(server: Server, seconds: float) -> Work:
    before, used, begin = done(server), processor_seconds(server), time.monotonic()
    time.sleep(seconds)
    answers, used = done(server) - before, processor_seconds(server) - used
    took = time.monotonic() - begin
    return Work(answers / took, used / took)


def processor_seconds(server: Server) -> float:
    """Processor time that the server and its workers have used so far."""
    ticks = 0
    for pid in (server.pid, *server.workers()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_rate(server: Server, loadgen: str, folder: Path, slots: int, seconds: float) -> Work:
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
                reply = self.server.ask("POST", "/api/generate", body, timeout=ANSWER_SECONDS)
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
                reply = self.server.ask("GET", paths[at % len(paths)], timeout=ANSWER_SECONDS)
                if reply.status != 200:
                    self.wrong.append(f"{paths[at % len(paths)]}: {reply.status}")
            self.controls.append(time.monotonic() - begin)
            at += 1


@dataclass
class Round:
    """What was done in a while of overload, and in the whiles of full work before and after it."""

    overload: Work
    full: Work

    @property
    def share(self) -> float:
        """Goodput as a share of what it would have been with the same processors: those who make the load take some of them."""
        return self.overload.answers / self.full.answers / min(1.0, self.overload.processors / self.full.processors)


class Overload:
    """Rounds of overload between whiles of as much work as the server can do: what else the machine does changes within minutes, so
    that each round is compared with its neighbours."""

    def __init__(self, server: Server, loadgen: str, folder: Path, slots: int):
        self.server, self.loadgen, self.folder, self.slots = server, loadgen, folder, slots
        self.rounds: list[Round] = []
        self.refusals: list[float] = []
        self.controls: list[float] = []
        self.wrong: list[str] = []
        self.peak_bytes = 0

    def run(self, seconds: float, control: Control) -> None:
        count = max(1, round(seconds / ROUND_SECONDS))
        before = self.full(seconds / count)
        for _ in range(count):
            overload = self.overload(seconds / count, before.answers, control)
            after = self.full(seconds / count)
            middle = Work((before.answers + after.answers) / 2, (before.processors + after.processors) / 2)
            self.rounds.append(Round(overload, middle))
            before = after

    def full(self, seconds: float) -> Work:
        return peak_rate(self.server, self.loadgen, self.folder, self.slots, seconds / 2)

    def overload(self, seconds: float, peak: float, control: Control) -> Work:
        load = f'model = "open"\narrival = "poisson"\nrate = {10 * peak:.0f}\nmax_in_flight = 2000'
        with Load(self.loadgen, self.server, self.folder, load, int(10 * peak * (seconds + 60))) as crowd:
            wait_for_work(self.server, self.folder)
            time.sleep(2)
            with Prober(self.server) as prober, Watch(self.server, every=0.5) as watch, control.at_work():
                work = rate(self.server, seconds)
            expect(crowd.process.poll() is None, f"loadgen ended early: {(self.folder / 'loadgen.log').read_text()[-600:]}")
        self.refusals += prober.seconds
        self.controls += prober.controls
        self.wrong += prober.wrong[:3]
        self.peak_bytes = max(self.peak_bytes, watch.peak)
        return work


def attack(report: Report, share: Share, program: str, loadgen: str, folder: Path, seed: int) -> None:
    loadgen = str(Path(loadgen).resolve())
    expect(Path(loadgen).is_file(), f"{loadgen} is not built")
    seconds = LONGEST_SECONDS if share.seconds is None else max(SHORTEST_SECONDS, share.seconds * 0.6)
    server = Server(program, folder / "overload", OLLAMA_MAX_QUEUE=str(QUEUE)).start()
    try:
        server.must("POST", "/api/generate", {"model": "tiny", "prompt": "x", "stream": False, "options": {"num_predict": 1}})
        slots = server.must("GET", "/api/ps").json()["models"][0]["slots"]
        calm = latency(server)
        before = server.resources()
        overload, control = Overload(server, loadgen, folder, slots), Control()
        overload.run(seconds, control)
        begin = time.monotonic()
        while (after := latency(server)) > calm * 2 + 0.05 and time.monotonic() - begin < RETURN_SECONDS:
            pass
        back = time.monotonic() - begin
        rested = server.resources()
        goodput = statistics.mean(it.overload.answers for it in overload.rounds)
        peak = statistics.mean(it.full.answers for it in overload.rounds)
        got = statistics.mean(it.share for it in overload.rounds)
        slow = percentile(overload.refusals, 0.99)
        problems = overload.wrong[:3] + server.accidents()[:3]
        if got < GOODPUT_SHARE:
            problems.append(f"goodput {goodput:.1f} of {peak:.1f}/s")
        if not control.allows(slow, REFUSAL_SECONDS):
            problems.append(f"refusals take {slow * 1e3:.0f} ms (P99)")
        if len(overload.refusals) < 20:
            problems.append(f"only {len(overload.refusals)} refusals were seen")
        if overload.peak_bytes - before.resident_bytes > GROWN_BYTES:
            problems.append(f"memory grows to {overload.peak_bytes >> 20} MiB")
        if after > calm * 2 + 0.05:
            problems.append(f"an answer takes {after * 1e3:.0f} ms afterwards and {calm * 1e3:.0f} ms before")
        if rested.resident_bytes - before.resident_bytes > 64 << 20:
            problems.append(f"memory {before} became {rested}")
        rounds = ", ".join(f"{it.share:.0%}" for it in overload.rounds)
        measured = (
            f"{seconds:.0f} s; goodput {goodput:.1f} of {peak:.1f}/s ({goodput / peak:.0%}; with the same processors {got:.0%}, by rounds {rounds}); "
            f"refusals P50 {percentile(overload.refusals, 0.5) * 1e3:.1f} ms, P99 {slow * 1e3:.1f} ms (answers of a process that does nothing: P99 {control.slow * 1e3:.1f} ms); "
            f"control routes P99 {percentile(overload.controls, 0.99) * 1e3:.0f} ms; "
            f"RSS {before.resident_bytes >> 20}, at most {overload.peak_bytes >> 20}, then {rested.resident_bytes >> 20} MiB; calm again after {back:.1f} s"
        )
        report.add(
            "10 times the work it can do",
            len(overload.refusals),
            PROBES_GOAL,
            "goodput at least 90 % of the peak with the processors that the crowd leaves it, refusals 503 with Retry-After within 50 ms (P99) above a process that does nothing, memory bounded, it and latency back within 10 s",
            measured + (f"; {problems}" if problems else ""),
            not problems,
        )
    finally:
        server.stop()


def latency(server: Server) -> float:
    """The middle one of three short answers."""
    times = []
    for _ in range(3):
        begin = time.monotonic()
        reply = server.ask(
            "POST", "/api/generate", {"model": "tiny", "prompt": "Hello", "stream": False, "options": {"num_predict": 8}}, timeout=ANSWER_SECONDS
        )
        if reply.status == 503:
            return RETURN_SECONDS
        if reply.status != 200:
            raise Failed(f"{reply.status} {reply.body[:200]!r}")
        times.append(time.monotonic() - begin)
    return sorted(times)[1]
