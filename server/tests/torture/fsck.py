"""Whether a store on disk is whole, read as a stranger would: Ollama's layout and nothing of our code."""

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from service import Server, expect

BLOB = re.compile(r"sha256-[0-9a-f]{64}")
PARTIAL = re.compile(r"sha256-[0-9a-f]{64}-partial(-\d+)?")
RECEIVED = re.compile(r"incoming-.*-partial|\.incoming-.*")
OWN = {"blobs", "manifests", ".chaski.lock", ".chaski.seeded.json"}


@dataclass
class Findings:
    """What is in a store."""

    identities: dict[str, str] = field(default_factory=dict)
    """Digests of the manifests by `host/namespace/model/tag`."""
    wrong: list[str] = field(default_factory=list)
    needed: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    half_made: list[str] = field(default_factory=list)
    """Temporary files of what was interrupted; the documented partial files of pulls are not among them."""
    partial: list[str] = field(default_factory=list)


def examine(store: Path) -> Findings:
    """Reads and hashes everything."""
    found = Findings()
    for path in sorted((store / "manifests").rglob("*")):
        if path.is_dir():
            continue
        if RECEIVED.fullmatch(path.name):
            found.half_made.append(str(path.relative_to(store)))
            continue
        name = str(path.relative_to(store / "manifests"))
        read_manifest(name, path.read_bytes(), store, found)
    for path in sorted((store / "blobs").glob("*")):
        if BLOB.fullmatch(path.name):
            found.blobs.add(path.name)
        elif PARTIAL.fullmatch(path.name):
            found.partial.append(path.name)
        elif RECEIVED.fullmatch(path.name):
            found.half_made.append(f"blobs/{path.name}")
        else:
            found.wrong.append(f"blobs/{path.name} is nothing that Ollama knows")
    for path in store.iterdir():
        if RECEIVED.fullmatch(path.name):
            found.half_made.append(path.name)
        elif path.name not in OWN:
            found.wrong.append(f"{path.name} is nothing that belongs into a store")
    return found


def read_manifest(name: str, data: bytes, store: Path, found: Findings) -> None:
    try:
        manifest = json.loads(data)
        layers = [manifest["config"], *(manifest["layers"] or [])]
        expect(len(name.split("/")) == 4, "its path has four parts")
    except Exception as error:  # whatever is wrong with it is a finding
        found.wrong.append(f"manifest {name}: {error!r}: {data[:80]!r}")
        return
    found.identities[name] = hashlib.sha256(data).hexdigest()
    for layer in layers:
        blob = layer["digest"].replace(":", "-")
        found.needed.add(blob)
        wrong = check_blob(store / "blobs" / blob, layer["size"])
        if wrong:
            found.wrong.append(f"manifest {name}: {wrong}")


def check_blob(path: Path, size: int) -> str | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return f"{path.name} is missing"
    if status.st_size != size:
        return f"{path.name} has {status.st_size} bytes instead of {size}"
    with open(path, "rb") as file:
        if "sha256-" + hashlib.file_digest(file, "sha256").hexdigest() != path.name:
            return f"{path.name} is not what its name says"
    return None


def grow_old(store: Path, days: int = 9) -> None:
    """Makes everything so old that garbage collection may have it."""
    then = time.time() - days * 86_400
    for folder in (store / "blobs", store / "manifests", store):
        for path in folder.iterdir():
            if path.is_file():
                os.utime(path, (then, then))


def expect_whole(server: Server) -> Findings:
    """Every manifest and its blobs are whole, and the server lists exactly what is there."""
    found = examine(server.store)
    expect(not found.wrong, f"the store is damaged: {found.wrong[:5]}")
    listed = set(server.models())
    there = {short(name) for name in found.identities}
    expect(listed == there, f"listed {sorted(listed)}, there {sorted(there)}")
    return found


def short(name: str) -> str:
    """The name that a server shows for `host/namespace/model/tag`."""
    host, namespace, model, tag = name.split("/")
    parts = [model]
    if namespace != "library" or host != "registry.ollama.ai":
        parts.insert(0, namespace)
    if host != "registry.ollama.ai":
        parts.insert(0, host)
    return f"{'/'.join(parts)}:{tag}"
