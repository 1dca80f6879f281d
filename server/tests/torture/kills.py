"""The server is killed at every change that an operation makes to the store, and at random ones while several run.

After each kill the store on disk must be whole, as any program would read it; after the restart every acknowledged change is
there, the interrupted one has happened or has not, and what is left of it can be collected and done again.
"""

import hashlib
import json
import random
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import gguf
from faults import FaultyServer
from fsck import examine, expect_whole, grow_old
from registry import Registry
from report import Report, Share
from service import TINY, Failed, expect

GOAL = 1_000
KILL_SECONDS = 60
"""Longest time that an operation may take."""

BASE, FLOATS, PUSHED = "base", "floats", "pushed"


class Lost(Exception):
    """The server went away while it was asked: it was killed."""


@dataclass
class Client:
    """Changes models of its own, and knows what every one of them must be."""

    server: FaultyServer
    registry: Registry
    dice: random.Random
    names: list[str]
    facts: dict[str, str | None] = field(default_factory=dict)
    """System texts by name, of what was acknowledged; `None` if the model is not there."""
    doing: tuple[str, str | None] | None = None
    """The name that is being changed, and what it will be."""
    file: gguf.Gguf = field(default_factory=lambda: gguf.small(TINY))
    operations: tuple = ()

    def __post_init__(self) -> None:
        self.operations = OPERATIONS

    def send(self, method: str, path: str, body: object = None) -> None:
        try:
            reply = self.server.ask(method, path, body)
        except (OSError, ValueError) as error:
            raise Lost from error
        except Exception as error:  # http.client has exceptions of its own for a reply that breaks off
            raise Lost from error
        expect(reply.status in (200, 201), f"{method} {path}: {reply.status} {reply.body[:300]!r}")

    def change(self, name: str, fact: str | None, method: str, path: str, body: object) -> None:
        self.doing = (name, fact)
        self.send(method, path, body)
        self.facts[name] = fact
        self.doing = None

    def word(self) -> str:
        return f"system {self.dice.randrange(10**12)}"

    def upload_and_create(self, name: str) -> None:
        self.file.entry("general.name").value = self.word().encode()
        data = self.file.data()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.send("POST", f"/api/blobs/{digest}", data)
        self.create(name, files={"model.gguf": digest})

    def create(self, name: str, **fields: object) -> None:
        system = self.word()
        self.change(name, system, "POST", "/api/create", {"model": name, "system": system, "stream": False} | fields)

    def derive(self, name: str) -> None:
        self.create(name, **{"from": BASE})

    def quantise(self, name: str) -> None:
        self.create(name, **{"from": FLOATS}, quantize="q8_0")

    def copy(self, name: str) -> None:
        self.change(name, "base", "POST", "/api/copy", {"source": BASE, "destination": name})

    def delete(self, name: str) -> None:
        if self.facts.get(name) is None:
            self.copy(name)
        self.change(name, None, "DELETE", "/api/delete", {"model": name})

    def pull(self, name: str) -> None:
        pulled = self.registry.name(PUSHED)
        if self.facts.get(pulled) is not None:
            self.change(pulled, None, "DELETE", "/api/delete", {"model": pulled})
        self.change(pulled, PUSHED, "POST", "/api/pull", {"model": pulled, "insecure": True, "stream": False})

    def push(self, name: str) -> None:
        own = self.registry.name(f"own-{name}")
        if self.facts.get(own) is None:
            self.change(own, "base", "POST", "/api/copy", {"source": BASE, "destination": own})
        self.send("POST", "/api/push", {"model": own, "insecure": True, "stream": False})

    def check(self) -> None:
        """What was acknowledged is there; what was not is as before or as it should become."""
        for name, fact in list(self.facts.items()):
            allowed = {fact}
            if self.doing and self.doing[0] == name:
                allowed.add(self.doing[1])
            self.facts[name] = self.expect_fact(name, allowed)
        if self.doing and self.doing[0] not in self.facts:
            self.facts[self.doing[0]] = self.expect_fact(self.doing[0], {None, self.doing[1]})
        self.doing = None

    def expect_fact(self, name: str, allowed: set[str | None]) -> str | None:
        reply = self.server.ask("POST", "/api/show", {"model": name})
        expect(reply.status in (200, 404), f"{name}: {reply.status} {reply.body[:300]!r}")
        fact = reply.json().get("system", "") if reply.status == 200 else None
        expect(fact in allowed, f"{name} is {fact!r} and must be one of {allowed}")
        return fact


OPERATIONS = (Client.upload_and_create, Client.derive, Client.quantise, Client.copy, Client.delete, Client.pull, Client.push)


def make_bases(server: FaultyServer, registry: Registry) -> None:
    file = gguf.small(TINY)
    digest = server.upload(file.data())
    floats = server.upload(gguf.floats(file).data())
    for name, blob, system in ((BASE, digest, "base"), (FLOATS, floats, "floats"), (registry.name(PUSHED), digest, PUSHED)):
        reply = server.create(name, files={"model.gguf": blob}, system=system)
        expect(reply.status == 200, f"{name} is made: {reply.body!r}")
    server.must("POST", "/api/push", {"model": registry.name(PUSHED), "insecure": True, "stream": False})
    server.must("DELETE", "/api/delete", {"model": registry.name(PUSHED)})


class Killer:
    """Counts kills, and brings the server back after each."""

    def __init__(self, server: FaultyServer, registry: Registry, dice: random.Random):
        self.server, self.registry, self.dice = server, registry, dice
        self.kills = 0
        self.collected = 0
        self.resumed = 0

    def recover(self, clients: list[Client]) -> None:
        """After a kill: the store is whole on disk, and the server says and keeps what it acknowledged."""
        self.kills += 1
        self.server.stop()
        before = examine(self.server.store)
        expect(not before.wrong, f"kill {self.kills}: {before.wrong[:5]}")
        # Every other time everything left is old enough to be collected; else it is there to be gone on with.
        old = self.kills % 2 == 0
        if old:
            grow_old(self.server.store)
        self.server.start()
        found = expect_whole(self.server)
        if old:
            left = found.half_made + found.partial + sorted(found.blobs - found.needed)
            expect(not left, f"kill {self.kills}: not collected: {left[:5]}")
            self.collected += 1
        for client in clients:
            client.check()
        for name, manifest in self.registry.manifests.items():
            parts = json.loads(manifest)
            missing = [it["digest"] for it in [parts["config"], *parts["layers"]] if it["digest"] not in self.registry.blobs]
            expect(not missing, f"kill {self.kills}: {name} was pushed without {missing}")


def kill_everywhere(killer: Killer, client: Client, operation, share: Share) -> int:
    """Kills at change 0, 1, 2, … of one operation until it gets through; gives the number of kills."""
    number = 0
    while share.lasts():
        if operation is Client.delete:
            client.copy("victim")
        killer.server.order(f"kill {number}")
        try:
            operation(client, "victim")
        except Lost:
            expect(killer.server.was_killed(KILL_SECONDS), "the server hangs up without having been killed")
            killer.recover([client])
            number += 1
            continue
        except Failed:
            # Told to do so, the worker or the server was killed in the middle of a reply.
            if not killer.server.was_killed(KILL_SECONDS):
                raise
            killer.recover([client])
            number += 1
            continue
        killer.server.order("count")
        return number
    return number


def kill_anywhere(killer: Killer, clients: list[Client]) -> None:
    """Kills at a random change while all clients work."""
    killer.server.order(f"kill {killer.dice.randrange(150)}")
    failures: list[Exception] = []
    lost = threading.Event()

    def work(client: Client) -> None:
        try:
            for _ in range(12):
                name = client.dice.choice(client.names)
                client.dice.choice(client.operations)(client, name)
        except Lost:
            lost.set()
        except (Failed, OSError) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Who was hung up on knows that the server is about to be gone; what others saw then does not count.
    if killer.server.was_killed(KILL_SECONDS if lost.is_set() or failures else 0):
        killer.recover(clients)
        return
    expect(not lost.is_set(), "the server hangs up without having been killed")
    if failures:
        raise failures[0]
    killer.server.order("count")


def kill_at_start(faults: Path, program: str, folder: Path, share: Share) -> int:
    """Kills a server that puts its built-in models into an empty store, at each of its changes."""
    number = 0
    while share.lasts():
        server = FaultyServer(faults, program, folder / "begin")
        server.first_order = f"kill {number}"
        try:
            server.start()
            server.stop()
            return number
        except Failed:
            expect(server.was_killed(KILL_SECONDS), "the server was not killed and does not answer")
        server.stop()
        before = examine(server.store)
        expect(not before.wrong, f"kill {number} at the start: {before.wrong[:5]}")
        if number % 3 == 0:
            server.first_order = None
            server.start()
            found = expect_whole(server)
            expect(len(found.identities) == 3, f"kill {number} at the start: {sorted(found.identities)}")
            server.stop()
            shutil.rmtree(server.home)
        number += 1
    return number


def attack(report: Report, share: Share, faults: Path, program: str, folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    registry = Registry()
    server = FaultyServer(faults, program, folder / "kills")
    started = kill_at_start(faults, program, folder, share.part(0.15))
    server.start()
    make_bases(server, registry)
    killer = Killer(server, registry, dice)
    client = Client(server, registry, random.Random(dice.random()), ["victim"])
    each = []
    try:
        for operation in OPERATIONS:
            count = kill_everywhere(killer, client, operation, share.part(0.8))
            each.append(f"{operation.__name__} {count}")
        clients = [client] + [Client(server, registry, random.Random(dice.random()), [f"model{at}a", f"model{at}b"]) for at in range(2)]
        for other in clients[1:]:
            # One client pulls: two would change the same name.
            other.operations = tuple(it for it in OPERATIONS if it is not Client.pull)
        while killer.kills + started < GOAL and share.lasts():
            kill_anywhere(killer, clients)
        accidents = server.accidents()
        expect(not accidents, f"the log tells of {accidents[:3]}")
    finally:
        server.stop()
        registry.stop()
    mark = "every acknowledged change is there, nothing half-made is listed, all blobs verify, garbage is collected"
    measured = f"0 lost; at the start {started}; alone: {', '.join(each)}; the others among 3 clients; {killer.collected} collections"
    report.add("kill -9 at a change of the store", killer.kills + started, GOAL, mark, measured, True)
