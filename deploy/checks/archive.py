"""Tries the release archive on processors that this machine is not.

    python3 deploy/checks/archive.py target/dist/chaski-0.1.0-x86_64-linux.tar.gz

Compares it with its SHA-256, unpacks it, and starts the server it holds as it is, and under qemu's user mode as older processors. On each it must
start, generate (with the kernels it chooses, with Chaski's own, and with llama.cpp's), embed and classify with the models that come along, and say the same as
on the others; which kernels compute is printed. Fails where a processor is not used for what it can do.

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
PROCESSORS = {"Conroe": ("LLAMAFILE", "portable"), "Nehalem": ("SSSE3", "portable"), "SandyBridge": ("AVX", "portable"), "Haswell": ("AVX2", "AVX2")}
"""From 2006, 2008, 2011 and 2013: what the best library of llama.cpp's says of itself there, and the best of Chaski's kernels."""
ABILITIES = {"avx2": ("AVX2", "AVX2"), "avx512_vnni": ("AVX512_VNNI", "AVX-512 VNNI"), "amx_int8": ("AMX_INT8", "AMX")}
"""The same for what the kernel says that this machine can do; the last counts."""
PATIENCE_SECONDS = 1200
"""Loading an encoder compares it with ONNX Runtime, which under qemu and beside other work takes minutes."""
KERNELS = ["auto", "own", "llama.cpp"]

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
    connection = http.client.HTTPConnection(address, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
        reply = connection.getresponse()
        data = reply.read()
    finally:
        connection.close()
    if reply.status != 200:
        raise Failed(f"{path}: {reply.status} {data[:300]!r}")
    return json.loads(data)


def expected(processor: str) -> tuple[str, str]:
    """What of llama.cpp's and of Chaski's has to be in use."""
    if processor != HERE:
        return PROCESSORS[processor]
    flags = Path("/proc/cpuinfo").read_text().split()
    return [best for flag, best in {"sse4_2": PROCESSORS["Nehalem"], **ABILITIES}.items() if flag in flags][-1]


def serve(stack: ExitStack, folder: Path, chaski: Path, processor: str, kernels: str) -> str:
    """Starts the server as this processor and returns its address."""
    address, log = f"127.0.0.1:{free_port()}", folder / f"{processor}.log"
    command = [str(chaski), "serve", "--host", address, "--models", str(folder / "models"), "--sandbox", "best-effort" if processor == HERE else "off"]
    # Emulated, everything takes fifty times as long.
    settings = {"OLLAMA_LOAD_TIMEOUT": "10m", "CHASKI_HANG_TIMEOUT": "10m", "OLLAMA_KEEP_ALIVE": "-1", "OLLAMA_NO_CLOUD": "1", "CHASKI_KERNELS": kernels}
    if processor != HERE:
        shim = {"LD_PRELOAD": str(folder / "shim.so"), "SHIM_QEMU": f"/usr/bin/{QEMU}", "SHIM_CPU": processor, "SHIM_PROGRAM": str(chaski)}
        inside = [word for name, value in shim.items() for word in ("-E", f"{name}={value}")]
        command = [QEMU, "-cpu", processor, *inside, *command]
    process = start(stack, log, command, **settings)
    until_ready(f"http://{address}/readyz", process, log)
    return address


def generated(address: str) -> str:
    """The answer to the question."""
    options = {"num_predict": 16, "temperature": 0}
    body = {"model": "tiny", "prompt": QUESTION, "think": False, "stream": False, "options": options}
    return ask(address, "/api/generate", body)["response"]


def in_use(address: str) -> dict[str, str]:
    """What computes, by model."""
    return {model["model"].removesuffix(":latest"): model["computed_by"] for model in ask(address, "/api/ps")["models"]}


def attempt(folder: Path, chaski: Path, processor: str) -> tuple[set[str], list[float]]:
    """What a server says as this processor: texts, and a vector."""
    library, best = expected(processor)
    texts = set()
    for kernels in KERNELS:
        with ExitStack() as stack:
            begun = time.monotonic()
            address = serve(stack, folder, chaski, processor, kernels)
            ready = time.monotonic() - begun
            text = generated(address)
            texts.add(text)
            answered = time.monotonic() - begun
            if kernels == "auto":
                vector = ask(address, "/api/embed", {"model": "tiny-embed", "input": "a small boat on the lake"})["embeddings"][0]
                labels = ask(address, "/classify", {"model": "tiny-classify", "input": "This product exceeded my expectations!"})["results"][0]
            used = in_use(address)
        print(f"{processor}, kernels {kernels}: ready after {ready:.1f} s, first answer complete {answered:.1f} s after the start: {text!r}")
        for model, by in sorted(used.items()):
            print(f"  {model}: {by}")
        sys.stdout.flush()
        products = {"auto": "", "own": f"our products on {best} (", "llama.cpp": "llama.cpp's products"}[kernels]
        if f"{library} = 1" not in used["tiny"] or products not in used["tiny"]:
            raise Failed(f"as {processor} with kernels {kernels} it ought to be {library} and {products!r}")
    if labels[0]["label"] != "positive":
        raise Failed(f"as {processor}: {labels}")
    return texts, vector


def apart(one: list[float], other: list[float]) -> float:
    """How far two vectors of length 1 are from having the same direction."""
    return 1 - sum(a * b for a, b in zip(one, other, strict=True))


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--processors", nargs="*", default=[HERE, *PROCESSORS], choices=[HERE, *PROCESSORS], help="[default: all]")
    options = parser.parse_args()
    subprocess.run(["sha256sum", "--check", f"{options.archive.name}.sha256"], cwd=options.archive.parent, check=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        with tarfile.open(options.archive) as archive:
            archive.extractall(folder, filter="data")
        chaski = next(folder.glob("*/chaski"))
        (folder / "shim.c").write_text(SHIM)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
        texts, vectors = set(), {}
        try:
            for processor in options.processors:
                said, vectors[processor] = attempt(folder, chaski, processor)
                texts |= said
        except Failed as error:
            print(f"archive: {error}", file=sys.stderr)
            return 1
    first = options.processors[0]
    furthest = max(apart(vectors[first], vector) for vector in vectors.values())
    print(f"{len(vectors)} processors; vectors at most {furthest:.1e} apart; texts: {len(texts)} different")
    return 0 if furthest < 1e-3 and len(texts) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
