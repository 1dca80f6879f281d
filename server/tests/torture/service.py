"""The server under attack: its process, its resources, and polite questions to it."""

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parents[3] / "models"
TINY = MODELS / "tiny/tiny.gguf"

START_SECONDS = 120
"""Longest time from a start to the first reply, on a machine that is busy with other things."""

ANSWER_SECONDS = 180
"""Longest time for any answer, likewise: what is to be quick is measured where it is."""

LOGGED_ACCIDENTS = re.compile(r"panicked at|stack backtrace|RUST_BACKTRACE")
"""What a log must never hold."""


class Failed(Exception):
    """Something is not as it should be."""


def expect(condition: object, text: str) -> None:
    if not condition:
        raise Failed(text)


@dataclass
class Reply:
    """An HTTP reply."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict:
        return json.loads(self.body)

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]


@dataclass
class Resources:
    """What a process holds at one time."""

    resident_bytes: int
    descriptors: int
    threads: int


class Server:
    """`chaski serve` with a home of its own."""

    def __init__(self, program: str, home: Path, **environment: str):
        self.program, self.home, self.environment = program, home, environment
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / "server.log"

    @property
    def store(self) -> Path:
        return self.home / ".ollama/models"

    @property
    def pid(self) -> int:
        """The server's own process, whatever was started around it."""
        return self.process.pid

    def start(self) -> "Server":
        with open(self.log, "ab") as log:
            self.process = self.launch(log)
        self.wait_until_it_answers()
        return self

    def launch(self, log) -> subprocess.Popen:
        return subprocess.Popen([self.program, "serve"], env=self.variables(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "ORT_DYLIB_PATH", "LD_LIBRARY_PATH")}
        own = {"HOME": str(self.home), "OLLAMA_HOST": f"127.0.0.1:{self.port}", "OLLAMA_NO_CLOUD": "1"}
        return kept | own | self.environment

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.ask("GET", "/healthz", timeout=10).status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                raise Failed(f"the server ended with {self.process.returncode}: {self.log_end()}")
            time.sleep(0.002)
        raise Failed(f"the server does not answer: {self.log_end()}")

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, how: int = signal.SIGKILL) -> int:
        """Ends the process and gives its exit status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(how)
        return process.wait()

    def ask(self, method: str, path: str, body: object = None, timeout: float = ANSWER_SECONDS, headers: dict | None = None) -> Reply:
        """One request on a connection of its own; any status is an answer."""
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, data, headers or {})
            reply = connection.getresponse()
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def must(self, method: str, path: str, body: object = None, timeout: float = ANSWER_SECONDS) -> Reply:
        """As `ask`, for what has to work."""
        reply = self.ask(method, path, body, timeout)
        expect(reply.status == 200, f"{method} {path}: {reply.status} {reply.body[:300]!r}")
        return reply

    def upload(self, data: bytes) -> str:
        """Sends a blob, and gives its digest."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        reply = self.ask("POST", f"/api/blobs/{digest}", data)
        expect(reply.status in (200, 201), f"a blob is refused: {reply.status} {reply.body[:300]!r}")
        return digest

    def create(self, model: str, **fields: object) -> Reply:
        return self.ask("POST", "/api/create", {"model": model, "stream": False} | fields)

    def models(self) -> dict[str, str]:
        """Identities by name."""
        return {model["name"]: model["digest"] for model in self.must("GET", "/api/tags").json()["models"]}

    def resources(self) -> Resources:
        status = Path(f"/proc/{self.pid}/status").read_text()
        figures = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
        return Resources(int(figures["VmRSS"]) * 1024, len(os.listdir(f"/proc/{self.pid}/fd")), int(figures["Threads"]))

    def workers(self) -> dict[int, str]:
        """States of the child processes by their id: `R`, `S`, `Z` for a zombie."""
        return children(self.pid)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        text = self.must("GET", "/metrics").body.decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{|\s)", line))

    def log_end(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def last_line(self, about: str) -> str:
        """The last line of the log that tells of this."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if about in line]
        return lines[-1] if lines else f"the log does not tell of {about}"

    def accidents(self) -> list[str]:
        """Lines of the log that tell of a panic."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if LOGGED_ACCIDENTS.search(line)]


def children(pid: int) -> dict[int, str]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == pid:
                found[int(entry)] = state
    return found


def orphans(program: str, store: Path) -> list[int]:
    """Workers of `program` without a server that have a file of this store open or mapped."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            command = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
            if command[:2] == [program.encode(), b"worker"] and not is_server(parent, program):
                if str(store) in Path(f"/proc/{entry}/maps").read_text() or parent == 1:
                    found.append(int(entry))
        except OSError:
            continue
    return found


def is_server(pid: int, program: str) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == [program.encode(), b"serve"]
    except OSError:
        return False


def free_port() -> int:
    """A port below those that connections get, so that none of them takes it between now and the start."""
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                if port not in TAKEN:
                    listener.bind(("127.0.0.1", port))
                    TAKEN.add(port)
                    return port
            except OSError:
                continue
    raise Failed("no port is free")


FIRST_PORT = int(os.environ.get("TORTURE_PORT", "23500"))
TAKEN: set[int] = set()


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
