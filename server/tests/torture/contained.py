"""The server as containers run it: process 1 of its own world, a user that nobody has heard of, no home, a file system that it
cannot write but for its models, and half a processor and 512 MiB where control groups can be made.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import gguf
from beside import Guest
from report import Report, Share
from service import TINY, Server, children, expect

GOAL = 20

USER = "23456"

MEMORY_BYTES, PERIOD_MICROSECONDS, QUOTA_MICROSECONDS = 512 << 20, 100_000, 50_000

WORLD = """
set -e
mount --make-rprivate /
mkdir -p "$VOLUME"
mount --bind "$VOLUME" /mnt
mount -o remount,bind,ro /
umount -l /dev/shm 2>/dev/null || true
mount -t proc proc /proc
cd /
exec setpriv --reuid {user} --regid {user} --clear-groups env -i PATH="$PATH" OLLAMA_HOST="$OLLAMA_HOST" OLLAMA_MODELS=/mnt/models \\
  OLLAMA_NO_CLOUD=1 OLLAMA_NUM_PARALLEL="$OLLAMA_NUM_PARALLEL" ${{ORT_DYLIB_PATH:+ORT_DYLIB_PATH="$ORT_DYLIB_PATH"}} "$PROGRAM" serve
"""
"""A shell that builds the world and becomes the server, which keeps its number: 1."""


class Group:
    """A control group with limits, of whichever version the system has; nothing if it lets us make none."""

    def __init__(self) -> None:
        self.folders: list[Path] = []
        name = f"chaski-torture-{os.getpid()}"
        first, second = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
        with suppress(OSError):
            if first.is_dir():
                self.make(first / name, {"memory.limit_in_bytes": MEMORY_BYTES})
                cpu = {"cpu.cfs_period_us": PERIOD_MICROSECONDS, "cpu.cfs_quota_us": QUOTA_MICROSECONDS}
                self.make(second / "cpu" / name, cpu)
            elif (second / "cgroup.controllers").is_file():
                self.make(second / name, {"memory.max": MEMORY_BYTES, "cpu.max": f"{QUOTA_MICROSECONDS} {PERIOD_MICROSECONDS}"})

    def make(self, folder: Path, limits: dict) -> None:
        folder.mkdir()
        self.folders.append(folder)
        for name, limit in limits.items():
            (folder / name).write_text(str(limit))

    def join(self) -> None:
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        for folder in self.folders:
            deadline = time.monotonic() + 10
            while folder.is_dir() and time.monotonic() < deadline:
                with suppress(OSError):
                    folder.rmdir()
                time.sleep(0.05)


class Contained(Server):
    """A server in a world of its own."""

    def __init__(self, program: str, home: Path, group: Group, slots: int = 8):
        super().__init__(program, home, OLLAMA_NUM_PARALLEL=str(slots))
        self.group = group

    def launch(self, log) -> subprocess.Popen:
        volume = self.home / "volume"
        volume.mkdir(exist_ok=True)
        os.chown(volume, int(USER), int(USER))
        environment = self.variables() | {"VOLUME": str(volume), "PROGRAM": self.program}
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", WORLD.format(user=USER)]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=self.group.join)

    @property
    def store(self) -> Path:
        return self.home / "volume/models"

    @property
    def pid(self) -> int:
        """The server's own process: the one that `unshare` waits for."""
        inner = list(children(self.process.pid))
        expect(len(inner) == 1, f"one process in its world, not {inner}")
        return inner[0]

    def stop(self, how: int = signal.SIGKILL) -> int:
        with suppress(Exception):
            os.kill(self.pid, how)
        process, self.process = self.process, None
        return process.wait() if process else 0


def attack(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    what = "as process 1, as nobody, without home, on a file system that cannot be written"
    mark = "starts, answers, makes models, leaves no zombie, tells what its sandbox does, ends with 0"
    if os.geteuid() != 0:
        return report.add(what, 0, GOAL, mark, "not tried: a world of its own takes root to make", True)
    group = Group()
    server = Contained(program, folder / "contained", group)
    try:
        begin = time.monotonic()
        server.start()
        started = time.monotonic() - begin
        status = Path(f"/proc/{server.pid}/status").read_text()
        expect("NSpid" in status and status.split("NSpid:")[1].splitlines()[0].split()[-1] == "1", "it is process 1")
        expect(status.split("Uid:")[1].split()[0] == USER, "it is nobody in particular")
        told = server.must("GET", "/api/version").json()["sandbox"]
        guest = Guest(server)
        killed = kill_workers(server, share, guest.expected)
        made = server.create("made", files={"model.gguf": server.upload(gguf.small(TINY).data())})
        expect(made.status == 200, f"a model is made in the volume: {made.status} {made.body[:300]!r}")
        server.must("POST", "/api/embed", {"model": "tiny-embed", "input": ["what is it?"] * 50})
        expect(guest.once() == guest.expected, "the same answer as before")
        expect(not server.accidents(), f"the log tells of {server.accidents()[:3]}")
        os.kill(server.pid, signal.SIGTERM)
        expect(server.process.wait(60) == 0, "SIGTERM ends process 1 with 0")
        server.process = None
        if group.folders:
            refuse_what_is_too_large(program, folder, group)
    finally:
        server.stop()
        group.remove()
    limits = "half a processor, 512 MiB (a model beyond is refused)" if group.folders else "no control group could be made"
    return report.add(
        what,
        killed,
        GOAL,
        mark,
        f"{limits}; ready after {started:.1f} s; {killed} workers killed and waited for; sandbox {told['mode']}: files {told['files']}, system calls {told['system_calls']}",
        True,
    )


def refuse_what_is_too_large(program: str, folder: Path, group: Group) -> None:
    """A model whose cache alone is larger than the group's memory is refused, and nothing is killed for want of it."""
    server = Contained(program, folder / "contained", group, slots=256).start()
    try:
        reply = server.ask("POST", "/api/generate", {"model": "tiny", "prompt": "x", "stream": False})
        expect(reply.status == 500 and "memory" in reply.json()["error"], f"more than the group has: {reply.status} {reply.body[:300]!r}")
        expect(server.must("GET", "/api/tags").json()["models"], "it goes on")
    finally:
        server.stop()


def kill_workers(server: Server, share: Share, expected: str) -> int:
    """Process 1 waits for all its children, or their remains pile up."""
    killed = 0
    question = Guest.REQUEST | {"stream": False}
    while killed < GOAL and share.lasts():
        for worker, state in server.workers().items():
            if state != "Z":
                os.kill(worker, signal.SIGKILL)
                killed += 1
        deadline = time.monotonic() + 60
        while (reply := server.ask("POST", "/api/generate", question)).status != 200:
            expect(time.monotonic() < deadline, f"no answer after a kill: {reply.status} {reply.body[:200]!r}")
        expect(reply.json()["response"] == expected, "the same answer as before")
    deadline = time.monotonic() + 10
    while zombies := [worker for worker, state in server.workers().items() if state == "Z"]:
        expect(time.monotonic() < deadline, f"zombies: {zombies}")
        time.sleep(0.05)
    return killed
