"""The server as systemd runs it, by the unit that is shipped: a user made for it, nothing to write but its state, no capabilities, the
system calls of a service. Systemd is process 1 of a world of its own, and knows this one unit.

The shipped unit counts as it is, but for the address, where the log goes, and a watchdog that need not be waited for a minute.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import gguf
from beside import Guest
from contained import kill_workers
from report import Report, Share
from service import TINY, Server, children, expect, is_server

GOAL = 20

UNIT = Path(__file__).parents[3] / "deploy/systemd/chaski.service"

SYSTEMD = Path("/lib/systemd/systemd")

WATCHDOG_SECONDS = 4

STATE = "var/lib/private/chaski/models"

CHANGES = """
[Service]
Environment=OLLAMA_HOST=127.0.0.1:{port} OLLAMA_NO_CLOUD=1
WatchdogSec={watchdog}s
StandardOutput=append:{log}
StandardError=append:{log}
"""

TARGETS = "sysinit basic shutdown multi-user network-online final umount".split()
"""What a unit depends on without saying so; here nothing is behind it."""

WORLD = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /usr/local/bin
touch /usr/local/bin/chaski
mount --bind "$PROGRAM" /usr/local/bin/chaski
if [ -n "$ORT_DYLIB_PATH" ]; then
  mkdir /usr/local/bin/lib
  touch "/usr/local/bin/lib/$(basename "$ORT_DYLIB_PATH")"
  mount --bind "$ORT_DYLIB_PATH" "/usr/local/bin/lib/$(basename "$ORT_DYLIB_PATH")"
fi
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i container=torture PATH="$PATH" SYSTEMD_UNIT_PATH="$UNITS" {systemd} --system --unit=chaski.service --log-target=console
"""
"""A shell that builds the world and becomes systemd. A container's systemd leaves the machine's devices and settings alone."""


class Serviced(Server):
    """A server that systemd starts, watches, and starts again."""

    def launch(self, log) -> subprocess.Popen:
        units = self.home / "units"
        changes = units / "chaski.service.d"
        changes.mkdir(parents=True, exist_ok=True)
        shutil.copy2(UNIT, units)
        (changes / "torture.conf").write_text(CHANGES.format(port=self.port, watchdog=WATCHDOG_SECONDS, log=self.log))
        for target in TARGETS:
            (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        environment = self.variables() | {"UNITS": str(units), "PROGRAM": self.program}
        command = ["unshare", "--mount", "--mount-proc", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child", "sh", "-c"]
        return subprocess.Popen([*command, WORLD.format(systemd=SYSTEMD)], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """The server's own process: the one that systemd has as its main one."""
        for systemd in children(self.process.pid):
            for pid in children(systemd):
                if is_server(pid, "/usr/local/bin/chaski"):
                    return pid
        raise ProcessLookupError("systemd has no server now")

    @property
    def store(self) -> Path:
        return Path(f"/proc/{self.pid}/root/{STATE}")

    def comes_back(self, before: int, seconds: float) -> float:
        """Waits until another process answers in place of that one."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            with suppress(OSError):
                if self.pid != before and self.ask("GET", "/healthz", timeout=2).status == 200:
                    return time.monotonic() - begin
            time.sleep(0.05)
        raise ProcessLookupError(f"no other server within {seconds} s: {self.log_end()}")

    def stop(self, how: int = signal.SIGKILL) -> int:
        """Ends systemd, and everything with it."""
        return super().stop(signal.SIGKILL)


def attack(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    what = "as systemd's service, by the unit that is shipped"
    mark = "ready by its own word, every right of the unit taken away, sandbox whole, answers, makes models; comes back when killed and when it hangs; SIGTERM ends it with 0"
    if os.geteuid() != 0 or not SYSTEMD.exists():
        return report.add(what, 0, GOAL, mark, "not tried: it takes root and systemd", True)
    server = Serviced(program, folder / "serviced")
    try:
        begin = time.monotonic()
        server.start()
        started = time.monotonic() - begin
        status = dict(re.findall(r"^(\w+):\s*(.*)$", Path(f"/proc/{server.pid}/status").read_text(), re.MULTILINE))
        expect(status["Uid"].split()[0] != "0", f"it is nobody in particular: {status['Uid']}")
        expect(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", f"{status['NoNewPrivs']} {status['Seccomp']}")
        expect(int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, f"capabilities {status['CapEff']} {status['CapBnd']}")
        told = server.must("GET", "/api/version").json()["sandbox"]
        expect(told["files"] and told["system_calls"], f"the workers' sandbox is whole: {told}")
        guest = Guest(server)
        killed = kill_workers(server, share, guest.expected)
        file = gguf.floats(gguf.small(TINY)).data()
        made = server.create("made", files={"model.gguf": server.upload(file)}, quantize="q8_0")
        expect(made.status == 200, f"a model is made and quantised: {made.status} {made.body[:300]!r}")
        server.must("POST", "/api/generate", {"model": "made", "prompt": "x", "stream": False, "options": {"num_predict": 2}})
        server.must("POST", "/api/embed", {"model": "tiny-embed", "input": ["what is it?"] * 50})
        server.must("POST", "/classify", {"model": "tiny-classify", "input": "what is it?"})
        names = server.models()
        returns = []
        for how in (signal.SIGKILL, signal.SIGSTOP):
            before = server.pid
            os.kill(before, how)
            returns.append(server.comes_back(before, WATCHDOG_SECONDS + 60))
            expect(server.models() == names, "with the same models")
            expect(guest.once() == guest.expected, "the same answer as before")
        expect(not server.accidents(), f"the log tells of {server.accidents()[:3]}")
        os.kill(server.pid, signal.SIGTERM)
        # Systemd, whose one unit has ended as it should, has no other to start.
        deadline = time.monotonic() + 60
        with suppress(ProcessLookupError):
            while server.pid:
                expect(time.monotonic() < deadline, "SIGTERM ends it")
                time.sleep(0.1)
        time.sleep(2)
        with suppress(ProcessLookupError):
            expect(not server.pid, "what has ended with 0 is not started again")
    finally:
        server.stop()
    return report.add(
        what,
        killed,
        GOAL,
        mark,
        f"ready after {started:.1f} s; user {status['Uid'].split()[0]}, no capabilities; sandbox {told['mode']}: files {told['files']}, system calls {told['system_calls']}; "
        f"{killed} workers killed and waited for; back {returns[0]:.1f} s after SIGKILL, {returns[1]:.1f} s after SIGSTOP (watchdog {WATCHDOG_SECONDS} s)",
        True,
    )
