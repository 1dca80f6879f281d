"""What goes on beside an attack: threads that do the same again and again until it is over."""

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from service import Resources, Server, expect, percentile


class Beside:
    """Takes its turn every so many seconds, as long as the `with` lasts."""

    def __init__(self, every: float):
        self.every = every
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def run(self) -> None:
        while not self.ended.wait(self.every):
            self.turn()

    def turn(self) -> None:
        raise NotImplementedError


class Pulse(Beside):
    """Asks a server for its version, and remembers how long it took and what failed."""

    def __init__(self, server: Server, every: float = 0.05):
        super().__init__(every)
        self.server = server
        self.seconds: list[float] = []
        self.failures: list[str] = []

    def turn(self) -> None:
        begin = time.monotonic()
        try:
            status = self.server.ask("GET", "/api/version", timeout=60).status
            if status != 200:
                self.failures.append(f"status {status}")
        except OSError as error:
            self.failures.append(repr(error))
        self.seconds.append(time.monotonic() - begin)


class Control(Beside):
    """Asks a process that does nothing but answer, and remembers how long that took: so late is the machine itself, and the
    asking one, and nobody is to blame for it."""

    ANSWERER = """
import socket
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
"""

    def __init__(self, every: float = 0.05):
        super().__init__(every)
        self.seconds: list[float] = []

    def at_work(self) -> "Control":
        """The same again, for another `with`."""
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        return self

    def __enter__(self) -> "Control":
        self.process = subprocess.Popen([sys.executable, "-c", self.ANSWERER], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def turn(self) -> None:
        begin = time.monotonic()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            connection.recv(4096)
        self.seconds.append(time.monotonic() - begin)

    @property
    def slow(self) -> float:
        """How long its slowest percent took at least."""
        return percentile(self.seconds, 0.99)

    def allows(self, seconds: float, mark: float) -> bool:
        """Whether a slowest percent keeps a mark that is meant for a machine with nothing else to do. A server's answer waits for
        its turn a few times as often: a thread accepts, another reads, a third computes."""
        return seconds <= mark + 4 * self.slow


class Guest(Beside):
    """Generates the same text again and again, which must never change."""

    REQUEST = {"model": "tiny", "prompt": "Count from one to ten.", "options": {"temperature": 0, "seed": 1, "num_predict": 40}}

    def __init__(self, server: Server, every: float = 0.05):
        super().__init__(every)
        self.server = server
        self.expected = self.once()
        self.answers = 0
        self.wrong: list[str] = []

    def once(self) -> str:
        lines = self.server.must("POST", "/api/generate", self.REQUEST).lines()
        expect(lines[-1].get("done") is True, f"a stream ends with {lines[-1]}")
        return "".join(line["response"] for line in lines)

    def turn(self) -> None:
        try:
            text = self.once()
            self.answers += 1
            if text != self.expected:
                self.wrong.append(f"{text!r} instead of {self.expected!r}")
        except Exception as error:  # whatever happens to a guest is a finding
            self.wrong.append(repr(error))


@dataclass
class Sample:
    """What the server and some of its workers held at a time."""

    seconds: float
    server: Resources
    workers: dict[int, int]
    """Resident bytes by process."""


class Watch(Beside):
    """Looks at what the server holds, and at the workers it is told to follow."""

    def __init__(self, server: Server, every: float = 0.1, workers: tuple[int, ...] = ()):
        super().__init__(every)
        self.server, self.workers = server, workers
        self.samples: list[Sample] = []
        self.begin = time.monotonic()

    def turn(self) -> None:
        with contextlib.suppress(OSError, KeyError):
            held = {}
            for pid in self.workers:
                with contextlib.suppress(FileNotFoundError):
                    held[pid] = resident_bytes(pid)
            self.samples.append(Sample(time.monotonic() - self.begin, self.server.resources(), held))

    @property
    def peak(self) -> int:
        """The most resident bytes of the server."""
        return max((sample.server.resident_bytes for sample in self.samples), default=0)


def resident_bytes(pid: int) -> int:
    """Memory that is the process's own: pages of files, such as a mapped model, come and go as the machine likes."""
    figures = dict(re.findall(r"^(RssAnon|RssShmem):\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    return sum(int(kibibytes) for kibibytes in figures.values()) * 1024
