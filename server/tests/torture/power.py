"""Would every state that a power failure can leave be whole? Follows the changes that each operation makes to the store.

A file system may lose everything that was not flushed, and may keep any part of it: a name before its data, a renaming
before another. So a file has to be flushed before it gets its name; everything a manifest needs has to be flushed, names
included, before the manifest gets its own; a manifest's disappearance before the blobs that it needed go; and all of it
before the caller is told.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from faults import FaultyServer
from fsck import BLOB, RECEIVED
from kills import OPERATIONS, Client, make_bases
from registry import Registry
from report import Report, Share
from service import expect

GOAL = 60


@dataclass
class Disk:
    """What is flushed of a store, as far as its changes tell. What was there before is."""

    store: Path
    dirty: set[str] = field(default_factory=set)
    """Files with data that is not flushed."""
    pending: dict[str, set[str]] = field(default_factory=dict)
    """By folder, the names that came or went since it was flushed."""
    wrong: list[str] = field(default_factory=list)

    def follow(self, call: str, path: str, new: str | None = None) -> None:
        if call.startswith("rename"):
            self.rename(path, new)
        elif call in ("unlink", "unlinkat"):
            self.remove(path)
        elif call == "rmdir":
            # An empty folder may come back.
            self.pending.pop(path, None)
        elif call in ("openat", "mkdir", "mkdirat"):
            # A file or folder that is there already is opened again.
            self.touch(path)
        elif call in ("fsync", "fdatasync"):
            self.dirty.discard(path)
            self.pending.pop(path, None)
        elif call != "utimensat":
            self.dirty.add(path)

    def touch(self, path: str) -> None:
        self.pending.setdefault(str(PurePath(path).parent), set()).add(path)

    def rename(self, old: str, new: str) -> None:
        if old in self.dirty and not is_passing(new):
            self.wrong.append(f"{new} gets its name before its data is flushed")
        self.dirty.discard(old)
        if self.is_manifest(new):
            blobs = [name for name in self.pending.get(str(self.store / "blobs"), ()) if BLOB.fullmatch(PurePath(name).name)]
            if blobs:
                self.wrong.append(f"{new} gets its name before those of {blobs} are flushed")
        self.pending.get(str(PurePath(old).parent), set()).discard(old)
        self.touch(new)

    def remove(self, path: str) -> None:
        self.dirty.discard(path)
        if BLOB.fullmatch(PurePath(path).name):
            manifests = [name for names in self.pending.values() for name in names if self.is_manifest(name) and not Path(name).exists()]
            if manifests:
                self.wrong.append(f"{path} goes before the disappearance of {manifests} is flushed")
        self.touch(path)

    def is_manifest(self, path: str) -> bool:
        return PurePath(path).is_relative_to(self.store / "manifests") and not RECEIVED.fullmatch(PurePath(path).name)

    def unflushed(self) -> list[str]:
        """What could get lost, or come back, and should not."""
        names = self.dirty.union(*self.pending.values())
        return [name for name in sorted(names) if not is_passing(name)]


def is_passing(path: str) -> bool:
    """Whether nobody misses the file: temporary ones, the lock, and the parts of a pull, which are checked when it goes on."""
    name = PurePath(path).name
    return bool(RECEIVED.fullmatch(name)) or name == ".chaski.lock" or "-partial" in name


def check_the_checker() -> None:
    """Every order that is wrong is noticed."""
    store = Path("/store")
    blob, manifest, new = f"{store}/blobs/sha256-{'0' * 64}", f"{store}/manifests/h/n/m/t", f"{store}/blobs/incoming-x-partial"
    whole = [
        ("openat", new),
        ("write", new),
        ("fsync", new),
        ("rename", new, blob),
        ("fsync", f"{store}/blobs"),
        ("rename", f"{store}/.incoming-y", manifest),
    ]
    end = ("fsync", str(PurePath(manifest).parent))
    for order, is_right in (
        ([*whole, end], True),
        (whole, False),
        ([*whole[:2], *whole[3:], end], False),
        ([*whole[:4], *whole[5:], end, ("fsync", f"{store}/blobs")], False),
        ([("unlink", manifest), end, ("unlink", blob), ("fsync", f"{store}/blobs")], True),
        ([("unlink", manifest), ("unlink", blob), ("fsync", f"{store}/blobs"), end], False),
    ):
        disk = Disk(store)
        for change in order:
            disk.follow(*change)
        expect((not disk.wrong and not disk.unflushed()) == is_right, f"the checker is wrong about {order}")


def attack(report: Report, share: Share, faults: Path, program: str, folder: Path, seed: int) -> None:
    check_the_checker()
    registry = Registry()
    server = FaultyServer(faults, program, folder / "power").start()
    tried = changes = 0
    try:
        make_bases(server, registry)
        client = Client(server, registry, random.Random(seed), ["victim"])
        disk = Disk(server.store)
        while tried < GOAL and share.lasts():
            operation = OPERATIONS[tried % len(OPERATIONS)]
            server.order("trace")
            operation(client, "victim")
            server.order("count")
            for change in server.changes:
                disk.follow(*change)
            changes += len(server.changes)
            server.changes.clear()
            expect(not disk.wrong, f"{operation.__name__}: {disk.wrong[:3]}")
            expect(not disk.unflushed(), f"{operation.__name__}: the caller is told before {disk.unflushed()[:3]} is flushed")
            tried += 1
    finally:
        server.stop()
        registry.stop()
    report.add(
        "the power fails, at any change",
        tried,
        GOAL,
        "data before names, blobs before manifests, manifests gone before blobs, all before the caller is told",
        f"{changes} changes of {tried} operations, none out of order",
        changes > 0,
    )
