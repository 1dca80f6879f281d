"""Real traffic of every kind that a metric counts: answers, prompts cut, callers who leave, refusals, and a worker that dies."""

import concurrent.futures
import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from programs import Failed, children, free_port, start, until_ready

# Few, so that a handful of callers fills them.
SLOTS, QUEUE, CALLERS = 2, 4, 24
LOADGEN_SECONDS = 120


class Traffic:
    """A server and those who ask it."""

    def __init__(self, address: str, process_id: int) -> None:
        self.address = address
        self.process_id = process_id
        self.sent = 0
        self.stopped = threading.Event()

    @classmethod
    def start(cls, stack: ExitStack, folder: Path, chaski: Path, loadgen: Path) -> "Traffic":
        """Starts a server with an empty store and measures it once."""
        address = f"127.0.0.1:{free_port()}"
        log = folder / "chaski.log"
        environment = {"OLLAMA_MODELS": str(folder / "models"), "OLLAMA_NUM_PARALLEL": str(SLOTS), "OLLAMA_MAX_QUEUE": str(QUEUE)}
        process = start(stack, log, [str(chaski), "serve", "--host", address], **environment)
        until_ready(f"http://{address}/readyz", process, log)
        reports = folder / "reports"
        reports.mkdir()
        measure(loadgen, f"http://{address}", reports / "run.json")
        return cls(address, process.pid)

    def flow(self, stack: ExitStack) -> None:
        """Sends requests until the stack ends."""
        thread = threading.Thread(target=self.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(self.stopped.set)

    def run(self) -> None:
        """One round of everything after the other."""
        with concurrent.futures.ThreadPoolExecutor(CALLERS) as callers:
            while not self.stopped.is_set():
                self.ordinary()
                # More than slots and queue hold: some are turned away.
                list(callers.map(self.long_answer, range(CALLERS)))
                self.leave()
                asked = [callers.submit(self.long_answer, number) for number in range(SLOTS)]
                self.kill_a_worker()
                concurrent.futures.wait(asked)

    def ordinary(self) -> None:
        """What people ask."""
        greeting = [{"role": "user", "content": "Hello! What is the capital of France?"}]
        self.ask("/api/chat", {"model": "tiny", "messages": greeting})
        self.ask("/api/embed", {"model": "tiny-embed", "input": ["a boat on the lake", "a ship on the sea"]})
        self.ask("/classify", {"model": "tiny-classify", "input": "I love it"})
        # Longer than the context: cut.
        self.ask("/api/embed", {"model": "tiny-embed", "input": "word " * 2000})
        # Refused for what it asks.
        self.ask("/api/embed", {"model": "tiny-classify", "input": "no vectors here"})
        self.ask("/api/generate", {"model": "nobody-has-this", "prompt": "?"})
        with urllib.request.urlopen(f"http://{self.address}/api/ps", timeout=30) as reply:
            reply.read()

    def long_answer(self, number: int) -> None:
        """An answer that takes a while."""
        options = {"num_predict": 400, "temperature": 2, "seed": number}
        self.ask("/api/generate", {"model": "tiny", "prompt": "Once upon a time", "raw": True, "options": options})

    def leave(self) -> None:
        """Asks, and hangs up after the first line."""
        body = {"model": "tiny", "prompt": "Tell me everything", "raw": True, "options": {"num_predict": 2000, "temperature": 2}}
        request = urllib.request.Request(f"http://{self.address}/api/generate", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                reply.readline()
        except OSError:
            return
        self.sent += 1

    def kill_a_worker(self) -> None:
        """The worker that has used the processor most is the one that writes."""
        workers = children(self.process_id)
        if workers:
            os.kill(max(workers, key=processor_time), signal.SIGKILL)

    def ask(self, path: str, body: dict[str, Any]) -> None:
        """Sends a request; how it ends is the metrics' business."""
        request = urllib.request.Request(f"http://{self.address}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
        self.sent += 1
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                reply.read()
        except (urllib.error.HTTPError, OSError):
            pass


def processor_time(process: int) -> int:
    """In ticks; none for a process that has gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return int(fields[11]) + int(fields[12])


def measure(loadgen: Path, url: str, report: Path) -> None:
    """A short comparison of the server with itself: as many rounds as an interval needs."""
    command = [str(loadgen), "--target", f"ours={url}", "--target", f"other={url}", "--rounds", "6", "--requests", "6", "--warmup", "1", "--json", str(report), "--quiet"]
    done = subprocess.run(command, capture_output=True, timeout=LOADGEN_SECONDS, check=False)
    if not report.exists():
        raise Failed(f"loadgen wrote no report:\n{(done.stdout + done.stderr).decode()[-2000:]}")
