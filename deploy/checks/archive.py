"""Tries the release archive on processors that this machine is not.

    python3 deploy/checks/archive.py target/dist/chaski-0.1.0-x86_64-linux.tar.gz

Unpacks it, and starts the server it holds as it is, and under qemu's user mode as older processors. On each it must start, generate, embed and
classify with the models that come along, and say the same as on the others; which kernels compute is printed. Fails where the machine's own
processor is not used for what it can do.

Qemu is Debian's (`apt-get install qemu-user`); without AVX-512, which it does not know. Workers are processes that the server starts, so a shim
has them started under qemu, too. Its system calls are not those of the machine, and workers are not locked in there.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from programs import Failed, free_port, start, until_ready

QEMU = "qemu-x86_64"
HERE = "this machine"
PROCESSORS = [HERE, "Conroe", "Nehalem", "SandyBridge", "Haswell"]
"""From 2006 (SSSE3), 2008 (SSE4.2), 2011 (AVX) and 2013 (AVX2, FMA)."""

QUESTION = "What is the capital of France?"

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>

// The server starts workers from its own file; under qemu the kernel would start them without qemu.
typedef int spawn(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[]);

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                 char *const arguments[], char *const environment[]) {
    spawn *original = (spawn *)dlsym(RTLD_NEXT, "posix_spawnp");
    if (strcmp(file, "/proc/self/exe") != 0) {
        return original(pid, file, actions, attributes, arguments, environment);
    }
    char *under[16] = {getenv("SHIM_QEMU"), "-cpu", getenv("SHIM_CPU"), getenv("SHIM_PROGRAM")};
    for (int i = 1; arguments[i] && i < 10; i++) {
        under[3 + i] = arguments[i];
    }
    return original(pid, under[0], actions, attributes, under, environment);
}
"""


def ask(address: str, path: str, body: dict | None = None) -> dict:
    """The answer to one request."""
    connection = http.client.HTTPConnection(address, timeout=300)
    try:
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
        reply = connection.getresponse()
        data = reply.read()
    finally:
        connection.close()
    if reply.status != 200:
        raise Failed(f"{path}: {reply.status} {data[:300]!r}")
    return json.loads(data)


def serve(stack: ExitStack, folder: Path, chaski: Path, processor: str) -> str:
    """Starts the server as this processor and returns its address."""
    address, log = f"127.0.0.1:{free_port()}", folder / f"{processor}.log"
    command = [str(chaski), "serve", "--host", address, "--models", str(folder / "models"), "--sandbox", "best-effort" if processor == HERE else "off"]
    # Emulated, everything takes fifty times as long.
    patience = {"OLLAMA_LOAD_TIMEOUT": "10m", "CHASKI_HANG_TIMEOUT": "10m", "OLLAMA_NO_CLOUD": "1"}
    if processor != HERE:
        shim = {"LD_PRELOAD": str(folder / "shim.so"), "SHIM_QEMU": f"/usr/bin/{QEMU}", "SHIM_CPU": processor, "SHIM_PROGRAM": str(chaski)}
        inside = [word for name, value in shim.items() for word in ("-E", f"{name}={value}")]
        command = [QEMU, "-cpu", processor, *inside, *command]
    process = start(stack, log, command, **patience)
    until_ready(f"http://{address}/readyz", process, log)
    return address


def attempt(folder: Path, chaski: Path, processor: str) -> tuple[str, list[float], dict]:
    """What a server says as this processor: a text, a vector, and what computes."""
    with ExitStack() as stack:
        begun = time.monotonic()
        address = serve(stack, folder, chaski, processor)
        ready = time.monotonic() - begun
        options = {"num_predict": 16, "temperature": 0}
        answer = ask(address, "/api/generate", {"model": "tiny", "prompt": QUESTION, "think": False, "stream": False, "options": options})
        answered = time.monotonic() - begun
        vector = ask(address, "/api/embed", {"model": "tiny-embed", "input": "a small boat on the lake"})["embeddings"][0]
        labels = ask(address, "/classify", {"model": "tiny-classify", "input": "This product exceeded my expectations!"})["results"][0]
        if labels[0]["label"] != "positive":
            raise Failed(f"as {processor}: {labels}")
        computed = {model["model"]: model["computed_by"] for model in ask(address, "/api/ps")["models"]}
    print(f"{processor}: ready after {ready:.1f} s, first answer complete {answered:.1f} s after the start: {answer['response']!r}")
    for model, by in sorted(computed.items()):
        print(f"  {model}: {by}")
    sys.stdout.flush()
    return answer["response"], vector, computed


def apart(one: list[float], other: list[float]) -> float:
    """How far two vectors of length 1 are from having the same direction."""
    return 1 - sum(a * b for a, b in zip(one, other, strict=True))


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--processors", nargs="*", default=PROCESSORS, help=f"as {QEMU} -cpu help names them [default: {', '.join(PROCESSORS)}]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        with tarfile.open(options.archive) as archive:
            archive.extractall(folder, filter="data")
        chaski = next(folder.glob("*/chaski"))
        (folder / "shim.c").write_text(SHIM)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
        texts, vectors = {}, {}
        try:
            for processor in options.processors:
                texts[processor], vectors[processor], _ = attempt(folder, chaski, processor)
        except Failed as error:
            print(f"archive: {error}", file=sys.stderr)
            return 1
    first = options.processors[0]
    furthest = max(apart(vectors[first], vector) for vector in vectors.values())
    print(f"{len(texts)} processors; vectors at most {furthest:.1e} apart; texts: {len(set(texts.values()))} different")
    return 0 if furthest < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
