"""Puts HAProxy with deploy/haproxy.cfg before three real replicas and counts what callers lose.

    python3 deploy/checks/replicas.py target/release/chaski

Fails unless
- 95 of 100 requests that begin alike meet the replica that computed that beginning, while a few are under way, and 90 in a crowd,
- one beginning that everybody asks for spreads over several replicas,
- a replica that is killed under load costs no request whose answer had not begun,
- a rolling restart under load costs none at all.

HAProxy is Debian's (`apt-get install haproxy`).
"""

import argparse
import collections
import http.client
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from programs import Failed, free_port, start, until_ready

CONFIGURATION = Path(__file__).parents[1] / "haproxy.cfg"
REPLICAS = 3
CALLERS = 12
# By callers at a time: as many as one replica has slots, and as many as all have.
LEAST_AFFINITY = {8: 0.95, 24: 0.90}
BEGINNINGS, REQUESTS_EACH = 24, 20
# A stop is noticed by two checks half a second apart; a restarted replica is back after one.
NOTICED_SECONDS = 2.0
RESTART_SECONDS = 60.0
LOAD_SECONDS = 4.0


class Outcome(NamedTuple):
    """How a request went."""

    served_by: str | None
    begun: bool
    complete: bool
    what: str


class Replica:
    """One server, which can be stopped and started again at the same address."""

    def __init__(self, stack: ExitStack, chaski: Path, folder: Path, name: str) -> None:
        self.stack, self.chaski, self.folder, self.name = stack, chaski, folder, name
        self.address = f"127.0.0.1:{free_port()}"
        self.start()

    def start(self) -> None:
        """Starts it and waits until it takes requests. All use the same models."""
        log = self.folder / f"{self.name}.log"
        command = [str(self.chaski), "serve", "--host", self.address, "--models", str(self.folder / "models")]
        self.process = start(self.stack, log, command, OLLAMA_NUM_PARALLEL="8")
        until_ready(f"http://{self.address}/readyz", self.process, log)

    def end(self, how: signal.Signals) -> None:
        """Ends it."""
        self.process.send_signal(how)
        self.process.wait(RESTART_SECONDS)


def configuration(folder: Path, replicas: list[Replica], models: str, state: str) -> Path:
    """The shipped file, with the addresses of this test."""
    text = CONFIGURATION.read_text()
    servers = "\n".join(f"  server {replica.name} {replica.address}" for replica in replicas)
    template = next(line for line in text.splitlines() if "server-template" in line and not line.startswith("#"))
    for shipped, here in ((template, servers), ("bind :11434", f"bind {models}"), ("bind :8404", f"bind {state}")):
        if shipped not in text:
            raise Failed(f"haproxy.cfg has no {shipped!r} any more")
        text = text.replace(shipped, here)
    file = folder / "haproxy.cfg"
    file.write_text(text)
    return file


def ask(address: str, body: dict[str, Any]) -> Outcome:
    """Asks for a stream and reads it to its end, or to where it breaks."""
    served_by, begun, what = None, False, ""
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        connection.request("POST", "/api/chat", json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        # Its head is the beginning of an answer, and nobody can send another one after it.
        begun = True
        served_by = reply.getheader("x-served-by")
        last = b""
        for line in reply:
            last = line
        complete = reply.status == 200 and json.loads(last).get("done") is True
        what = "" if complete else f"{reply.status} {last[:200]!r}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        complete, what = False, repr(error)
    finally:
        connection.close()
    return Outcome(served_by, begun, complete, what)


def conversation(subject: str, turn: int, tokens: int) -> dict[str, Any]:
    """A later turn of a conversation begins as the earlier ones did."""
    messages = [{"role": "system", "content": "You are a helpful assistant. " * 8}, {"role": "user", "content": f"Tell me about {subject}."}]
    for number in range(turn):
        messages += [{"role": "assistant", "content": f"Answer {number}."}, {"role": "user", "content": f"And what else? ({number})"}]
    return {"model": "tiny", "messages": messages, "think": False, "options": {"temperature": 0, "num_predict": tokens}}


class Load:
    """Callers who ask one request after the other."""

    def __init__(self, address: str) -> None:
        self.outcomes: list[Outcome] = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(address, number)) for number in range(CALLERS)]

    def run(self, address: str, caller: int) -> None:
        """Asks until it is stopped."""
        turn = 0
        while not self.stopped.is_set():
            self.outcomes.append(ask(address, conversation(f"subject {caller}", turn % 4, tokens=64)))
            turn += 1

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def affinity(address: str, callers: int, least: float) -> list[str]:
    """Whether requests that begin alike meet."""
    places: dict[int, collections.Counter[str | None]] = collections.defaultdict(collections.Counter)
    problems: list[str] = []
    work = [(number, turn) for turn in range(REQUESTS_EACH) for number in range(BEGINNINGS)]
    lock = threading.Lock()

    def run() -> None:
        while True:
            with lock:
                if not work:
                    return
                number, turn = work.pop(0)
            outcome = ask(address, conversation(f"topic {number}", turn % 4, tokens=8))
            with lock:
                places[number][outcome.served_by] += 1
                if not outcome.complete:
                    problems.append(f"affinity: {outcome.what}")

    threads = [threading.Thread(target=run) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    met = sum(max(counter.values()) for counter in places.values())
    total = sum(sum(counter.values()) for counter in places.values())
    used = collections.Counter(max(counter, key=lambda place: counter[place]) for counter in places.values())
    print(f"affinity, {callers} callers: {met} of {total} requests ({met / total:.1%}) met the replica of their beginning; beginnings of each: {dict(used)}")
    if met / total < least:
        problems.append(f"affinity of {callers} callers is {met / total:.1%}")
    if len(used) < REPLICAS:
        problems.append(f"only {len(used)} replicas were used for {BEGINNINGS} beginnings")
    return problems


def spill(address: str) -> list[str]:
    """Whether a beginning that everybody asks for spreads."""
    body = conversation("the same for all", 0, tokens=200)
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=lambda: outcomes.append(ask(address, body))) for _ in range(2 * CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    places = collections.Counter(outcome.served_by for outcome in outcomes)
    print(f"spill: {len(outcomes)} callers with the same beginning were served by {dict(places)}")
    problems = [f"spill: {outcome.what}" for outcome in outcomes if not outcome.complete]
    return problems if len(places) > 1 else [*problems, "one beginning stayed on one replica, however many asked"]


def kill(address: str, replicas: list[Replica]) -> list[str]:
    """What a death costs."""
    with Load(address) as load:
        for replica in replicas:
            time.sleep(LOAD_SECONDS / 2)
            replica.end(signal.SIGKILL)
            time.sleep(LOAD_SECONDS / 2)
            replica.start()
            time.sleep(NOTICED_SECONDS)
    broken = [outcome for outcome in load.outcomes if not outcome.complete]
    lost = [outcome for outcome in broken if not outcome.begun]
    print(f"kill -9 of each replica: {len(load.outcomes)} requests, {len(broken) - len(lost)} broken off in mid-answer, {len(lost)} lost before their answer began")
    return [f"kill -9: {outcome.what}" for outcome in lost]


def rolling(address: str, replicas: list[Replica]) -> list[str]:
    """What a restart costs."""
    with Load(address) as load:
        for replica in replicas:
            time.sleep(LOAD_SECONDS / 2)
            replica.end(signal.SIGTERM)
            replica.start()
            time.sleep(NOTICED_SECONDS)
    broken = [outcome for outcome in load.outcomes if not outcome.complete]
    served = collections.Counter(outcome.served_by for outcome in load.outcomes)
    print(f"rolling restart: {len(load.outcomes)} requests, {len(broken)} failed; served by {dict(served)}")
    return [f"rolling restart: {outcome.what}" for outcome in broken]


def check(stack: ExitStack, chaski: Path) -> list[str]:
    """Starts everything and tries everything."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    replicas = [Replica(stack, chaski, folder, name) for name in ("one", "two", "three")[:REPLICAS]]
    models, state = (f"127.0.0.1:{free_port()}" for _ in range(2))
    file = configuration(folder, replicas, models, state)
    checked = subprocess.run(["haproxy", "-c", "-f", str(file)], capture_output=True, text=True, check=False)
    if checked.returncode != 0:
        raise Failed(f"haproxy -c: {checked.stdout}{checked.stderr}")
    log = folder / "haproxy.log"
    balancer = start(stack, log, ["haproxy", "-db", "-f", str(file)])
    until_ready(f"http://{models}/readyz", balancer, log)
    # The model is loaded everywhere before anything is counted.
    for replica in replicas:
        ask(replica.address, conversation("warmth", 0, tokens=1))
    problems = [problem for callers, least in LEAST_AFFINITY.items() for problem in affinity(models, callers, least)]
    problems += spill(models) + kill(models, replicas) + rolling(models, replicas)
    with urllib.request.urlopen(f"http://{state}/metrics", timeout=10) as reply:
        if b"haproxy_server_http_responses_total" not in reply.read():
            problems.append("HAProxy has no metrics")
    return problems


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chaski", type=Path)
    chaski = parser.parse_args().chaski
    with ExitStack() as stack:
        try:
            problems = check(stack, chaski)
        except Failed as failed:
            problems = [str(failed)]
    for problem, times in collections.Counter(problems).items():
        print(f"{problem} ({times} times)" if times > 1 else problem, file=sys.stderr)
    print("replicas: failed" if problems else "replicas: passed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
