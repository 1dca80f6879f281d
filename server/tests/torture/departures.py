"""Clients that are slow, that never read, that leave in every phase: they cost a connection, and never a slot."""

import json
import random
import time
from pathlib import Path

from beside import Guest, Pulse
from report import Report, Share
from service import Server, expect, percentile
from wire import Wire, request

SILENT_GOAL, LEFT_GOAL, UNREAD_GOAL = 2_000, 500, 64

HEAD_SECONDS = 10
"""`FIRST_HEAD_LIMIT` of server/src/api/listen.rs."""

LONG = {
    "model": "tiny",
    "prompt": "Tell me a long story.",
    "options": {"num_predict": 20_000, "num_ctx": 2048},
    "grammar": {"regex": "([a-z]{50} ){40,}"},
}
"""An answer that does not end by itself."""


def slots(server: Server) -> tuple[int, int]:
    """Running and waiting jobs of all models."""
    models = server.must("GET", "/api/ps").json()["models"]
    return sum(it["running"] for it in models), sum(it["queued"] for it in models)


def wait_for_idle(server: Server, seconds: float) -> float:
    begin = time.monotonic()
    while slots(server) != (0, 0):
        expect(time.monotonic() - begin < seconds, f"slots are still held after {seconds} s: {slots(server)}")
        time.sleep(0.01)
    return time.monotonic() - begin


def slowloris(report: Report, server: Server, share: Share, dice: random.Random) -> None:
    """Silent connections, half a head, and a byte now and then: all closed in time, and others do not wait."""
    count = SILENT_GOAL if share.seconds is None or share.seconds > 60 else 400
    before = server.resources()
    with Guest(server) as guest, Pulse(server) as pulse:
        wires = []
        begins = []
        for number in range(count):
            wire = Wire(server.port)
            wire.send([b"", b"GET / HT", b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nX-A: "][number % 3])
            wires.append(wire)
            begins.append(time.monotonic())
        dripping = wires[2::3]
        lasted = [0.0] * count
        open_ones = dict(enumerate(wires))
        while open_ones and time.monotonic() - begins[-1] < HEAD_SECONDS + 5:
            for wire in dripping:
                if wire.socket.fileno() >= 0:
                    wire.send(b"x")
            for number, wire in list(open_ones.items()):
                wire.socket.settimeout(0.0)
                try:
                    if not wire.more():
                        lasted[number] = time.monotonic() - begins[number]
                        wire.socket.close()
                        del open_ones[number]
                except BlockingIOError:
                    pass
            time.sleep(0.2)
    for wire in open_ones.values():
        wire.socket.close()
    expect(not open_ones, f"{len(open_ones)} of {count} connections are still open after {HEAD_SECONDS + 5} s")
    expect(not guest.wrong and not pulse.failures, f"others: {guest.wrong[:2]} {pulse.failures[:2]}")
    time.sleep(0.5)
    after = server.resources()
    expect(after.descriptors <= before.descriptors + 8, f"descriptors: {before} became {after}")
    measured = f"closed after {min(lasted):.1f} to {max(lasted):.1f} s; P99 of polite questions {percentile(pulse.seconds, 0.99) * 1e3:.0f} ms; guest {guest.answers} unchanged"
    report.add(
        "connections that send nothing, half a head, or a byte now and then",
        count,
        SILENT_GOAL,
        "all closed within 10 s of their beginning (+5), others unharmed",
        measured,
        True,
    )


def leave_in_every_phase(report: Report, server: Server, share: Share, dice: random.Random) -> None:
    """FIN and RST while queued, loading, reading the prompt, writing, embedding; streamed and whole."""
    tried, waits = 0, []
    prompt = LONG | {"prompt": "What is it? " * 450}
    embed = {"model": "tiny-embed", "input": ["What is it that you want from me today?"] * 10_000}
    phases = [
        ("/api/generate", LONG, 0.1),
        ("/api/generate", prompt, 0.02),
        ("/api/generate", LONG | {"stream": False}, 0.1),
        ("/api/embed", embed, 0.1),
        ("/api/generate", LONG, 0.001),
        ("/v1/chat/completions", {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "stream": True}, 0.05),
    ]
    with Pulse(server) as pulse:
        while tried < LEFT_GOAL and share.lasts():
            if dice.random() < 0.1:
                server.must("POST", "/api/generate", {"model": "tiny", "keep_alive": 0, "stream": False})
            wires = []
            # Sixteen at once fill the slots, so that some leave while they wait for one.
            for _ in range(dice.choice([1, 4, 16])):
                route, body, wait = dice.choice(phases)
                wire = Wire(server.port)
                wire.send(request("POST", route, json.dumps(body).encode()))
                wires.append((wire, time.monotonic() + dice.random() * wait))
            for wire, until in wires:
                time.sleep(max(0.0, until - time.monotonic()))
                if dice.random() < 0.5:
                    wire.reset()
                else:
                    wire.socket.close()
            tried += len(wires)
            waits.append(wait_for_idle(server, 10))
    expect(not pulse.failures, f"polite questions: {pulse.failures[:3]}")
    measured = f"all slots free again after {percentile(waits, 0.5) * 1e3:.0f} ms (P50), {max(waits) * 1e3:.0f} ms (longest)"
    report.add("clients that leave while queued, loading, read, answered, embedded", tried, LEFT_GOAL, "every slot is free again", measured, True)


def never_read(report: Report, server: Server, share: Share) -> None:
    """Streams that nobody reads: memory is bounded, and others get their turn."""
    count = UNREAD_GOAL if share.seconds is None or share.seconds > 60 else 16
    before = server.resources()
    wires = []
    for _ in range(count):
        wire = Wire(server.port, receive_bytes=4096)
        wire.send(request("POST", "/api/generate", json.dumps(LONG | {"logprobs": True, "top_logprobs": 20}).encode()))
        wires.append(wire)
    time.sleep(1 if count < UNREAD_GOAL else 10)
    begin = time.monotonic()
    answer = server.ask("POST", "/api/generate", {"model": "tiny", "prompt": "x", "stream": False, "options": {"num_predict": 2}}, timeout=120)
    seconds = time.monotonic() - begin
    grown = server.resources().resident_bytes - before.resident_bytes
    for wire in wires:
        wire.socket.close()
    idle = wait_for_idle(server, 15)
    expect(answer.status in (200, 503), f"another request: {answer.status} {answer.body[:200]!r}")
    expect(grown < (1 << 20) * count + (64 << 20), f"memory grows by {grown >> 20} MiB")
    measured = f"memory +{grown >> 20} MiB; another request is answered ({answer.status}) after {seconds:.1f} s; slots free {idle * 1e3:.0f} ms after they leave"
    report.add(
        "clients that never read their streams",
        count,
        UNREAD_GOAL,
        "at most 1 MiB each and 64 MiB, others get a turn, slots come back",
        measured,
        True,
    )


def attack(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    server = Server(program, folder / "departures").start()
    try:
        slowloris(report, server, share, dice)
        leave_in_every_phase(report, server, share.part(0.5), dice)
        never_read(report, server, share)
        expect(server.is_alive(), "the server died")
        expect(not server.accidents(), f"the log tells of {server.accidents()[:3]}")
    finally:
        server.stop()
