"""Pull and push against a real OCI registry: Debian's `docker-registry` on loopback.

    python3 check.py target/release/chaski                     push, delete, pull back: the same model; and over TLS
    python3 check.py target/release/chaski --kills 20 --gigabytes 1
                                                               and a pull whose server is killed at 20 random points
    python3 check.py target/release/chaski --ollama OLLAMA     and the same registry and store shared with a real Ollama
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import proxy

CHUNK_BYTES = 4 << 20
"""What a part may lose when its server is killed: `chunk_bytes` in server/src/registry/limits.rs."""

BUFFER_BYTES = 4 << 20
"""What may be on its way between two sockets, sent and never read."""

TINY = Path(__file__).parents[3] / "models/tiny/tiny.gguf"


class Failed(Exception):
    """Something is not as it should be."""


def expect(condition: bool, text: str) -> None:
    if not condition:
        raise Failed(text)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise Failed(f"nobody listens on port {port}")


class Server:
    """A model server with a store of its own: ours, or Ollama's."""

    def __init__(self, program: str, home: Path, **environment: str):
        self.program, self.home, self.environment = program, home, environment
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        home.mkdir(parents=True, exist_ok=True)

    def start(self) -> "Server":
        environment = os.environ | {
            "HOME": str(self.home),
            "OLLAMA_HOST": f"127.0.0.1:{self.port}",
            "OLLAMA_NO_CLOUD": "1",
        }
        log = open(self.home / "server.log", "ab")
        command = [self.program, "serve"]
        self.process = subprocess.Popen(command, env=environment | self.environment, stdout=log, stderr=log)
        wait_for(self.port)
        return self

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def open(self, method: str, path: str, body: object = None) -> "urllib.request.http.client.HTTPResponse":
        data = body if isinstance(body, (bytes, type(None))) or hasattr(body, "read") else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        if hasattr(body, "read"):
            request.add_header("Content-Length", str(os.fstat(body.fileno()).st_size))
        return urllib.request.urlopen(request, timeout=600)

    def ask(self, method: str, path: str, body: object = None) -> dict:
        try:
            with self.open(method, path, body) as reply:
                return json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def transfer(self, path: str, model: str) -> None:
        told = self.ask("POST", path, {"model": model, "insecure": True, "stream": False})
        expect(told == {"status": "success"}, f"{path} {model}: {told}")

    def digests(self) -> dict[str, str]:
        return {model["name"]: model["digest"] for model in self.ask("GET", "/api/tags")["models"]}

    def blobs(self) -> Path:
        return self.home / ".ollama/models/blobs"

    def has_blob(self, digest: str) -> bool:
        try:
            self.open("HEAD", f"/api/blobs/{digest}").close()
            return True
        except urllib.error.HTTPError as error:
            return error.code != 404

    def create(self, model: str, gguf: Path) -> None:
        with open(gguf, "rb") as file:
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            if not self.has_blob(digest):
                self.open("POST", f"/api/blobs/{digest}", file).close()
        request = {"model": model, "files": {"model.gguf": digest}, "license": "MIT", "stream": False}
        expect(self.ask("POST", "/api/create", request)["status"] == "success", "the model is created")


class Registry:
    """Debian's docker-registry with a storage of its own."""

    def __init__(self, folder: Path, tls: dict[str, str] | None = None):
        self.port = free_port()
        folder.mkdir()
        config = folder / "config.yml"
        # JSON is YAML.
        config.write_text(json.dumps({
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": f"127.0.0.1:{self.port}"} | ({"tls": tls} if tls else {}),
        }))
        log = open(folder / "log", "wb")
        self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
        wait_for(self.port)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def check_round_trip(ours: Server, registry: Registry) -> None:
    name = f"127.0.0.1:{registry.port}/library/tiny"
    ours.create(name, TINY)
    before = ours.digests()[f"{name}:latest"]
    ours.transfer("/api/push", name)
    ours.ask("DELETE", "/api/delete", {"model": name})
    expect(f"{name}:latest" not in ours.digests(), "the model is deleted")
    ours.transfer("/api/pull", name)
    after = ours.digests()[f"{name}:latest"]
    expect(before == after, f"{before} came back as {after}")
    print(f"round trip: pushed, deleted and pulled as the same model {before[:12]}")


def check_tls(ours: Server, folder: Path) -> None:
    """A registry whose certificate nobody trusts is refused; once it is trusted, TLS is spoken."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ["-subj", "/CN=chaski registry check", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    made = ["openssl", "req", "-x509", *curve, *names, "-keyout", key, "-out", certificate]
    subprocess.run(made, check=True, capture_output=True)
    registry = Registry(folder / "tls", {"certificate": str(certificate), "key": str(key)})
    name = f"localhost:{registry.port}/library/tiny"
    ours.create(name, TINY)
    try:
        ours.ask("POST", "/api/push", {"model": name, "stream": False})
        raise AssertionError("a certificate that nobody trusts is accepted")
    except Failed as refused:
        expect("certificate" in str(refused), f"it is not about the certificate: {refused}")
        print("tls: a certificate that nobody trusts is refused")
    trusting = Server(ours.program, folder / "trusting", SSL_CERT_FILE=str(certificate)).start()
    trusting.create(name, TINY)
    for path in ("/api/push", "/api/pull"):
        told = trusting.ask("POST", path, {"model": name, "stream": False})
        expect(told == {"status": "success"}, f"{path} {told}")
        trusting.ask("DELETE", "/api/delete", {"model": name})
    trusting.stop()
    registry.stop()
    print("tls: pushed and pulled over TLS once the certificate is trusted")


def check_kills(ours: Server, registry: Registry, folder: Path, kills: int, gigabytes: float, seed: int) -> None:
    large = folder / "large.gguf"
    dice = random.Random(seed)
    with open(large, "wb") as file:
        file.write(TINY.read_bytes())
        for _ in range(int(gigabytes * 1000)):
            file.write(dice.randbytes(1_000_000))
    size = large.stat().st_size
    name = f"127.0.0.1:{registry.port}/library/large"
    ours.create(name, large)
    identity = ours.digests()[f"{name}:latest"]
    ours.transfer("/api/push", name)
    with open(large, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    large.unlink()

    port = free_port()
    _, log = proxy.serve(port, registry.port, rate=150e6)
    name = f"127.0.0.1:{port}/library/large"
    puller = Server(ours.program, folder / "puller").start()
    points = sorted(dice.randrange(size) for _ in range(kills))
    lost = 0
    for point in points:
        pulling = threading.Thread(target=pull_until_killed, args=(puller, name))
        pulling.start()
        while log.total() - lost < point and pulling.is_alive():
            time.sleep(0.002)
        puller.stop(signal.SIGKILL)
        pulling.join()
        # The proxy notices only when it writes again.
        time.sleep(0.3)
        blobs = puller.blobs()
        here = sum(json.loads(part.read_text())["Completed"] for part in blobs.glob(f"sha256-{digest}-partial-*"))
        lost = log.total() - here
        puller.start()
    puller.transfer("/api/pull", name)
    blob = puller.blobs() / f"sha256-{digest}"
    with open(blob, "rb") as file:
        expect(hashlib.file_digest(file, "sha256").hexdigest() == digest, "the blob is what its name says")
    left = sorted(path.name for path in puller.blobs().iterdir() if "partial" in path.name)
    expect(left == [], f"partial files are left: {left}")
    expect(puller.digests()[f"{name}:latest"] == identity, "the model is the one that was pushed")
    puller.stop()
    overlaps = log.overlaps(digest)
    surplus = sum(sent.count for sent in log.ranges if sent.path.endswith(digest)) - size
    print(f"kills: {kills} of {kills}, at {', '.join(f'{point / size:.0%}' for point in points)} of {size} bytes (seed {seed})")
    print(f"kills: {len(overlaps)} ranges asked for; sent twice: {surplus} bytes in all, at most {max(overlaps)} by one connection"
          f" (a chunk is {CHUNK_BYTES})")
    expect(max(overlaps) <= CHUNK_BYTES + BUFFER_BYTES, "a connection sent more than a chunk twice")


def pull_until_killed(server: Server, name: str) -> None:
    try:
        server.transfer("/api/pull", name)
    except (OSError, Failed, ValueError):
        # The server was killed, or it was so slow that it had not begun to listen.
        pass


def check_ollama(ours: Server, registry: Registry, folder: Path, program: str) -> None:
    port = free_port()
    proxy.serve(port, registry.port, redirect=True)
    host = f"127.0.0.1:{port}/library"
    theirs = Server(program, folder / "ollama").start()
    identity = {}
    for server, model in ((ours, f"{host}/ours"), (theirs, f"{host}/theirs")):
        server.create(model, TINY)
        identity[model] = server.digests()[f"{model}:latest"]
        server.transfer("/api/push", model)
    for server, model in ((theirs, f"{host}/ours"), (ours, f"{host}/theirs")):
        server.transfer("/api/pull", model)
        pulled = server.digests()[f"{model}:latest"]
        # Ollama writes a manifest anew, without its last newline, before it sends it.
        print(f"interop: {model.rsplit('/', 1)[1]} pushed as {identity[model][:12]}, pulled by the other as {pulled[:12]}")
    theirs.stop()
    both = ours.digests()
    shared = Server(program, folder / "shared", OLLAMA_MODELS=str(ours.home / ".ollama/models"), OLLAMA_NOPRUNE="1").start()
    expect(shared.digests() | both == both and len(both) > 2, "Ollama lists what is in our store")
    shared.stop()
    shared = Server(ours.program, folder / "shared-ours", OLLAMA_MODELS=str(theirs.home / ".ollama/models")).start()
    names = shared.digests()
    expect(f"{host}/ours:latest" in names and f"{host}/theirs:latest" in names, f"we list what is in Ollama's store: {names}")
    shared.stop()
    print(f"interop: each lists what the other has in its store ({len(both)} and {len(names)} models)")
    check_resume(ours, registry, folder, program)


def check_resume(ours: Server, registry: Registry, folder: Path, program: str) -> None:
    """A pull begun by one is finished by the other, in both directions."""
    large = folder / "resume.gguf"
    dice = random.Random(7)
    large.write_bytes(TINY.read_bytes() + b"".join(dice.randbytes(1_000_000) for _ in range(350)))
    name = f"127.0.0.1:{registry.port}/library/resume"
    ours.create(name, large)
    ours.transfer("/api/push", name)
    with open(large, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = large.stat().st_size
    # Ollama fetches from where it is redirected to: that has to be the slow one.
    slow, entrance = free_port(), free_port()
    _, log = proxy.serve(slow, registry.port, rate=100e6)
    proxy.serve(entrance, slow, redirect=True)
    name = f"127.0.0.1:{entrance}/library/resume"
    for first, second in ((ours.program, program), (program, ours.program)):
        home = Path(tempfile.mkdtemp(dir=folder))
        log.ranges.clear()
        begun = Server(first, home, OLLAMA_NOPRUNE="1").start()
        pulling = threading.Thread(target=pull_by_client, args=(begun, name))
        pulling.start()
        while log.total() < size // 2:
            time.sleep(0.002)
        # Asked to stop, Ollama writes down how far it has come; killed, it has forgotten.
        begun.leaving = True
        pulling.join()
        parts = list(begun.blobs().glob(f"sha256-{digest}-partial-*"))
        time.sleep(1)
        here = sum(json.loads(part.read_text())["Completed"] for part in parts)
        begun.stop(signal.SIGKILL)
        expect(0 < here < size, f"the pull was interrupted at {here} of {size}")
        log.ranges.clear()
        gone_on = Server(second, home, OLLAMA_NOPRUNE="1").start()
        gone_on.transfer("/api/pull", name)
        fetched = sum(sent.count for sent in log.ranges if sent.path.endswith(digest))
        with open(gone_on.blobs() / f"sha256-{digest}", "rb") as file:
            expect(hashlib.file_digest(file, "sha256").hexdigest() == digest, "the blob is right")
        gone_on.stop()
        print(f"interop: {Path(first).name} fetched {here} of {size} bytes, {Path(second).name} the other {fetched}")
        expect(fetched <= size - here + PART_SLACK, "the second fetched what was there")


PART_SLACK = 1 << 20


def pull_by_client(server: Server, name: str) -> None:
    """Pulls until told to leave."""
    server.leaving = False
    with server.open("POST", "/api/pull", {"model": name, "insecure": True}) as reply:
        while not server.leaving and reply.readline():
            pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chaski", help="the program to check")
    parser.add_argument("--kills", type=int, default=0, help="how often to kill a server that pulls")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the model that is pulled then")
    parser.add_argument("--seed", type=int, default=1, help="of the points at which it is killed")
    parser.add_argument("--ollama", help="a real Ollama")
    args = parser.parse_args()
    if not shutil.which("docker-registry"):
        print("docker-registry is not installed; on Debian: apt-get install docker-registry", file=sys.stderr)
        return 2
    program = str(Path(args.chaski).resolve())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        registry = Registry(folder / "registry")
        ours = Server(program, folder / "ours").start()
        try:
            check_round_trip(ours, registry)
            check_tls(ours, folder)
            if args.kills:
                check_kills(ours, registry, folder, args.kills, args.gigabytes, args.seed)
            if args.ollama:
                check_ollama(ours, registry, folder, str(Path(args.ollama).resolve()))
        except Failed as failure:
            print(f"failed: {failure}", file=sys.stderr)
            return 1
        finally:
            ours.stop()
            registry.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
