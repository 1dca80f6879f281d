"""SIGTERM under load loses no accepted stream; a second signal ends it at once; so do both at any time of a load or pull."""

import json
import random
import signal
import threading
import time
from pathlib import Path

from fsck import examine
from report import Report, Share
from service import Server, expect, orphans
from wire import Broken, Wire, request

GOAL = 32

GRACE_SECONDS = 30
"""`CHASKI_DRAIN_TIMEOUT`."""


def follow(server: Server, number: int, endings: list, begun: threading.Barrier) -> None:
    body = {
        "model": "tiny",
        "prompt": f"Tell me story {number}.",
        "options": {"num_predict": 400, "num_ctx": 2048},
        "grammar": {"regex": "([a-z]{50} ){40,}"},
    }
    with Wire(server.port, timeout=GRACE_SECONDS + 30) as wire:
        wire.send(request("POST", "/api/generate", json.dumps(body).encode()))
        begun.wait()
        try:
            lines = [json.loads(line) for line in wire.answer().body.splitlines()]
            endings[number] = "done" if lines and lines[-1].get("done") else f"ends with {lines[-1:]}"
        except (Broken, OSError, ValueError) as error:
            endings[number] = repr(error)


def drain(report: Report, server: Server, streams: int) -> None:
    server.start()
    server.must("POST", "/api/generate", {"model": "tiny", "stream": False})
    endings: list[str | None] = [None] * streams
    begun = threading.Barrier(streams + 1)
    threads = [threading.Thread(target=follow, args=(server, number, endings, begun)) for number in range(streams)]
    for thread in threads:
        thread.start()
    begun.wait()
    # All have been accepted once they hold or wait for a slot.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        models = server.must("GET", "/api/ps").json()["models"]
        if sum(it["running"] + it["queued"] for it in models) + sum(ending is not None for ending in endings) >= streams:
            break
        time.sleep(0.005)
    server.process.send_signal(signal.SIGTERM)
    at = time.monotonic()
    unready = None
    refused = None
    while time.monotonic() - at < 5 and (unready is None or refused is None):
        try:
            if unready is None and server.ask("GET", "/readyz", timeout=5).status == 503:
                unready = time.monotonic() - at
            if unready is not None:
                reply = server.ask("POST", "/api/generate", {"model": "tiny", "prompt": "x"}, timeout=5)
                expect(reply.status == 503 and "retry-after" in reply.headers, f"a late request: {reply.status} {reply.headers}")
                refused = reply.status
        except OSError:
            break
    for thread in threads:
        thread.join()
    status = server.process.wait(GRACE_SECONDS + 10)
    seconds = time.monotonic() - at
    server.process = None
    lost = [ending for ending in endings if ending != "done"]
    expect(not lost, f"{len(lost)} of {streams} streams are lost: {lost[:3]}")
    expect(status == 0, f"the server ends with {status}")
    told = f"unready after {unready * 1e3:.0f} ms, late requests 503" if unready is not None else "it had ended before it could be asked"
    report.add(
        "SIGTERM under load",
        streams,
        GOAL,
        "every accepted stream is complete, unready at once, 503 with Retry-After for others, exit 0",
        f"{streams} of {streams} complete; {told}; ended after {seconds:.1f} s",
        True,
    )


def second_signal(report: Report, server: Server, share: Share, dice: random.Random) -> None:
    """A second signal, or SIGHUP and SIGPIPE, at a random time of loads and answers."""
    goal, tried, longest = 40, 0, 0.0
    while tried < goal and share.lasts():
        server.start()
        threads = [threading.Thread(target=ask_quietly, args=(server, model), daemon=True) for model in ("tiny", "tiny-embed")]
        for thread in threads:
            thread.start()
        time.sleep(dice.random() * 0.15)
        workers = list(server.workers())
        server.process.send_signal(signal.SIGPIPE)
        server.process.send_signal(dice.choice([signal.SIGTERM, signal.SIGINT]))
        time.sleep(0.01 + dice.random() * 0.05)
        at = time.monotonic()
        server.process.send_signal(dice.choice([signal.SIGTERM, signal.SIGINT]))
        server.process.wait(5)
        seconds = time.monotonic() - at
        longest = max(longest, seconds)
        server.process = None
        expect(seconds < 2, f"a second signal takes {seconds:.1f} s")
        time.sleep(0.05)
        left = [pid for pid in workers if pid in orphans(server.program, server.store)]
        expect(not left, f"workers {left} are left")
        found = examine(server.store)
        expect(not found.wrong, f"the store: {found.wrong[:3]}")
        tried += 1
    report.add(
        "a second signal during loads and answers",
        tried,
        goal,
        "the end within 2 s, the store whole, no worker left",
        f"at most {longest * 1e3:.0f} ms",
        True,
    )


def ask_quietly(server: Server, model: str) -> None:
    route, body = (
        ("/api/generate", {"prompt": "x", "options": {"num_predict": 2_000}}) if model == "tiny" else ("/api/embed", {"input": ["x"] * 5_000})
    )
    try:
        server.ask("POST", route, {"model": model} | body)
    except Exception:  # the server ends meanwhile
        pass


def attack(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    server = Server(program, folder / "stopping", CHASKI_DRAIN_TIMEOUT=f"{GRACE_SECONDS}s")
    try:
        drain(report, server, GOAL if share.seconds is None or share.seconds > 30 else 16)
        second_signal(report, server, share, random.Random(seed))
        expect(not server.accidents(), f"the log tells of {server.accidents()[:3]}")
    finally:
        server.stop()
