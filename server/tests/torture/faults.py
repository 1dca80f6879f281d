"""A server whose changes of its store can be counted, made to fail, or be its last (see faults.c)."""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

from service import Failed, Server, expect

SOURCE = Path(__file__).with_name("faults.c")


def compile_faults(folder: Path) -> Path:
    program = folder / "faults"
    done = subprocess.run(["cc", "-O2", "-Wall", "-o", program, SOURCE], capture_output=True, text=True)
    expect(done.returncode == 0, f"faults.c does not compile: {done.stderr}")
    return program


class FaultyServer(Server):
    """A server under `faults`."""

    def __init__(self, faults: Path, program: str, home: Path, **environment: str):
        super().__init__(program, home, **environment)
        self.faults = faults
        self.server_pid = 0
        self.first_order: str | None = None
        self.changes: list[list[str]] = []
        """What was traced up to the last order: the call and its paths."""

    def launch(self, log) -> subprocess.Popen:
        self.store.mkdir(parents=True, exist_ok=True)
        command = [self.faults, self.store, self.program, "serve"]
        environment = self.variables() | ({"FAULTS_ORDER": self.first_order} if self.first_order else {})
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log, "text": True, "bufsize": 1}
        process = subprocess.Popen(command, env=environment, **pipes)
        while not (line := process.stdout.readline()).startswith("started"):
            expect(line, "`faults` does not start")
        self.server_pid = int(line.split()[1])
        return process

    def stop(self, how: int = signal.SIGKILL) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            if process.poll() is None:
                os.kill(self.server_pid, how)
        status = process.wait()
        # The end of the orders would be a kill: these pipes are closed afterwards.
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        return status

    @property
    def pid(self) -> int:
        return self.server_pid

    def order(self, line: str) -> tuple[int, int]:
        """Gives an order, and how many changes there were since the last one and how many of them failed."""
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise Failed("the server is gone") from error
        while answer := self.process.stdout.readline():
            if answer.startswith("change "):
                self.changes.append(answer.split()[1:])
            if numbers := re.fullmatch(r"(\d+) (\d+)\n", answer):
                return int(numbers[1]), int(numbers[2])
        raise Failed("the server is gone")

    def was_killed(self, timeout: float) -> bool:
        """Whether the order to kill has been carried out, or will be within this time."""
        try:
            self.process.wait(timeout)
            return True
        except subprocess.TimeoutExpired:
            return False
