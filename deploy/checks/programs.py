"""Programs that are started for a test and end with it."""

import os
import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

STARTUP_SECONDS = 60.0
ENDING_SECONDS = 10.0


class Failed(Exception):
    """What is wrong, for a person."""


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(stack: ExitStack, log: Path, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
    """Starts a program that ends with the stack."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | environment)

    def end() -> None:
        process.terminate()
        try:
            process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return process


def until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits for an answer of 200."""
    deadline = time.monotonic() + STARTUP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise Failed(f"{url} does not answer:\n{log.read_text()[-2000:]}")


def children(parent: int) -> list[int]:
    """Processes whose parent this is."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(folder.name))
    return found
