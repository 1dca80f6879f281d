"""What a replica costs on this machine, and what a second one brings.

    python3 deploy/checks/sizing.py target/release/chaski --models ~/.ollama/models --generate smollm2 --embed all-minilm

Starts one replica, then two on the same models, and prints for each model: the time from a start to the first request that is taken, from
that to the first answer, memory (shared pages divided by those who share them), and answers a second, tokens a second and times of callers
who ask one request after the other. Where one replica keeps all processors busy, a second on the same machine brings nothing but memory.

With --speeds, then has eight callers send prompts of some hundred words, and writes how fast each was read and answered:
`routing.py --speeds` simulates many replicas with that.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from programs import Failed, free_port, start, until_ready

CALLERS = (1, 8, 16)
# As many as there are slots, without more being said.
SPEEDS_CALLERS = 8
SPEEDS_REPEATS = 15
TOKENS = 48
TEXTS = "The boat on the lake is small, and what it carries today is known to nobody but the one who rows it. ".split()


@dataclass
class Replica:
    """One server and the processes it has started."""

    address: str
    pid: int
    started_seconds: float

    def ask(self, path: str, body: dict) -> dict:
        """The answer to one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.address, timeout=300)
        try:
            connection.request("POST", path, json.dumps(body))
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        if reply.status != 200:
            raise Failed(f"{path}: {reply.status} {data[:300]!r}")
        return json.loads(data)

    def bytes(self) -> int:
        """Memory of the server and its workers."""
        tree, found = [self.pid], 0
        while tree:
            pid = tree.pop()
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    found += int(line.split()[1]) * 1024
            for task in Path(f"/proc/{pid}/task").iterdir():
                tree += [int(child) for child in (task / "children").read_text().split()]
        return found


Make = Callable[[str, int], tuple[str, dict]]
"""The path and body of a request, by the model's name and a number."""


@dataclass
class Load:
    """What callers met."""

    seconds: list[float] = field(default_factory=list)
    tokens: int = 0
    speeds: list[tuple[float, float]] = field(default_factory=list)
    """Tokens a second of a prompt, and of its answer."""
    wrong: list[str] = field(default_factory=list)


def begin(stack: ExitStack, chaski: Path, models: Path, folder: Path, name: str) -> Replica:
    """Starts a replica and waits until it takes requests."""
    address, log = f"127.0.0.1:{free_port()}", folder / f"{name}.log"
    at = time.monotonic()
    process = start(stack, log, [str(chaski), "serve", "--host", address, "--models", str(models)], OLLAMA_KEEP_ALIVE="-1")
    until_ready(f"http://{address}/readyz", process, log)
    return Replica(address, process.pid, time.monotonic() - at)


def generate(model: str, number: int) -> tuple[str, dict]:
    """A question that nobody has asked before, so that no cache knows it."""
    prompt = f"{number}. {' '.join(TEXTS[number % 7 :])} What does it carry?"
    return "/api/generate", {"model": model, "prompt": prompt, "raw": True, "stream": False, "options": {"num_predict": TOKENS, "temperature": 0}}


def converse(model: str, number: int) -> tuple[str, dict]:
    """The same at the end of a long text."""
    path, body = generate(model, number)
    return path, body | {"prompt": f"{number}. {' '.join(TEXTS * SPEEDS_REPEATS)} {body['prompt']}"}


def embed(model: str, number: int) -> tuple[str, dict]:
    """Eight texts."""
    return "/api/embed", {"model": model, "input": [f"{number} {place} {' '.join(TEXTS[place:])}" for place in range(8)]}


def speed(answer: dict, part: str) -> float:
    """Tokens a second, as the server tells it."""
    return answer[f"{part}_count"] / max(answer[f"{part}_duration"], 1) * 1e9


def load(replicas: list[Replica], make: Make, model: str, callers: int, seconds: float) -> Load:
    """So many callers for so long, in turns at the replicas."""
    met, lock, end = Load(), threading.Lock(), time.monotonic() + seconds

    def call(caller: int) -> None:
        replica, number = replicas[caller % len(replicas)], caller * 1_000_003
        while time.monotonic() < end:
            number += 1
            at = time.monotonic()
            try:
                answer = replica.ask(*make(model, number))
            except (OSError, http.client.HTTPException, Failed) as error:
                met.wrong.append(repr(error))
                return
            with lock:
                met.seconds.append(time.monotonic() - at)
                met.tokens += answer.get("eval_count", 0)
                if answer.get("eval_count", 0) > 1:
                    met.speeds.append((speed(answer, "prompt_eval"), speed(answer, "eval")))

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if met.wrong:
        raise Failed(f"{len(met.wrong)} callers failed: {met.wrong[0]}")
    return met


def measure(chaski: Path, models: Path, folder: Path, make: Make, model: str, seconds: float) -> list[str]:
    """Prints the table of one model, and gives what else there is to tell."""
    told = []
    print(f"\n{model}, {'eight texts' if make is embed else f'{TOKENS} tokens'} a request\n")
    print("| replicas | callers | requests/s | tokens/s | P50 | P95 |\n|---|---|---|---|---|---|")
    for count in (1, 2):
        with ExitStack() as stack:
            replicas = [begin(stack, chaski, models, folder, f"{make.__name__}-{count}-{number}") for number in range(count)]
            idle = sum(replica.bytes() for replica in replicas)
            at = time.monotonic()
            for replica in replicas:
                replica.ask(*make(model, 0))
            first = (time.monotonic() - at) / count
            for callers in CALLERS:
                if callers < count:
                    continue
                begun = time.monotonic()
                met = load(replicas, make, model, callers, seconds)
                took = time.monotonic() - begun
                p95 = statistics.quantiles(met.seconds, n=20)[-1] if len(met.seconds) > 1 else met.seconds[0]
                tokens = f"{met.tokens / took:.0f}" if met.tokens else ""
                rate = len(met.seconds) / took
                print(f"| {count} | {callers} | {rate:.1f} | {tokens} | {statistics.median(met.seconds) * 1e3:.0f} ms | {p95 * 1e3:.0f} ms |", flush=True)
            busy = sum(replica.bytes() for replica in replicas)
            started = max(replica.started_seconds for replica in replicas)
        memory = f"{idle / 1e6:.0f} MB before the model is loaded, {busy / 1e6:.0f} MB after these requests"
        told.append(f"{count} of {model}: ready after {started:.2f} s, first answer {first:.2f} s later; {memory}")
    return told


def measure_speeds(chaski: Path, models: Path, folder: Path, model: str, seconds: float) -> list[tuple[float, float]]:
    """How fast one replica reads and answers when all slots are busy."""
    with ExitStack() as stack:
        replica = begin(stack, chaski, models, folder, "speeds")
        replica.ask(*generate(model, 0))
        speeds = sorted(load([replica], converse, model, SPEEDS_CALLERS, seconds).speeds)
    if not speeds:
        raise Failed("no answer was complete: more --seconds, please")
    read, written = (statistics.median(part) for part in zip(*speeds, strict=True))
    print(f"\n{SPEEDS_CALLERS} callers with long prompts: {len(speeds)} answers, read at {read:.0f} and written at {written:.1f} tokens/s (medians)")
    return speeds


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chaski", type=Path)
    parser.add_argument("--models", type=Path, help="the folder of the models [default: one with the models that come along]")
    parser.add_argument("--generate", default="tiny", help="a model that generates")
    parser.add_argument("--embed", default="tiny-embed", help="a model that embeds")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each number of callers")
    parser.add_argument("--speeds", type=Path, help="where to write the speeds of each answer, as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = options.models or folder / "models"
        print(f"{os.cpu_count()} processors, {options.seconds:.0f} s for each number of callers")
        try:
            told = measure(options.chaski, models, folder, generate, options.generate, options.seconds)
            told += measure(options.chaski, models, folder, embed, options.embed, options.seconds)
            if options.speeds:
                speeds = measure_speeds(options.chaski, models, folder, options.generate, options.seconds * 4)
                options.speeds.write_text(json.dumps({"model": options.generate, "slots": SPEEDS_CALLERS, "speeds": speeds}))
        except Failed as error:
            print(f"sizing: {error}", file=sys.stderr)
            return 1
    print("\n" + "\n".join(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
