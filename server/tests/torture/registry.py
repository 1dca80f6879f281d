"""A registry on loopback that holds what is pushed to it, and is slow or broken as it is told."""

import hashlib
import http.server
import json
import re
import socketserver
import threading
from urllib.parse import parse_qs, urlsplit


class Registry:
    """Manifests and blobs in memory, over HTTP."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, bytearray] = {}
        self.server = Listener(("127.0.0.1", 0), Exchange)
        self.server.registry = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def name(self, model: str) -> str:
        return f"127.0.0.1:{self.port}/library/{model}"

    def hold(self, model: str, manifest: bytes, blobs: list[bytes]) -> None:
        """Has a model, as if it had been pushed."""
        self.manifests[f"library/{model}/manifests/latest"] = manifest
        for blob in blobs:
            self.blobs["sha256:" + hashlib.sha256(blob).hexdigest()] = blob

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Clients that are killed hang up in the middle."""


class Exchange(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if not (self.command == "HEAD" and status == 200):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def find(self) -> tuple[str, str, str, dict]:
        """`repository`, `manifests` or `blobs` or `uploads`, the name behind it, and the query."""
        parts = urlsplit(self.path)
        found = re.fullmatch(r"/v2/(.+?)/(manifests|blobs/uploads|blobs)/(.*)", parts.path)
        return (*(found.groups() if found else ("", "", "")), parse_qs(parts.query))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        registry: Registry = self.server.registry
        repository, kind, name, _ = self.find()
        if kind == "manifests" and (manifest := registry.manifests.get(f"{repository}/manifests/{name}")):
            self.reply(200, manifest, Content_Type="application/vnd.docker.distribution.manifest.v2+json", **length(self, manifest))
        elif kind == "blobs" and (blob := registry.blobs.get(name)) is not None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)?", self.headers.get("Range", ""))
            if asked:
                first, last = int(asked[1]), int(asked[2] or len(blob) - 1)
                piece = blob[first : last + 1]
                self.reply(206, piece, Content_Range=f"bytes {first}-{first + len(piece) - 1}/{len(blob)}")
            else:
                self.reply(200, blob, **length(self, blob))
        elif kind == "blobs/uploads" and name in registry.uploads:
            self.reply(204, Range=f"0-{max(0, len(registry.uploads[name]) - 1)}", Location=self.path)
        else:
            self.reply(404, json.dumps({"errors": [{"code": "UNKNOWN", "message": "there is none"}]}).encode())

    def do_POST(self) -> None:
        registry: Registry = self.server.registry
        repository, _, _, _ = self.find()
        self.body()
        identity = hashlib.sha256(f"{len(registry.uploads)} {threading.get_ident()}".encode()).hexdigest()[:32]
        registry.uploads[identity] = bytearray()
        self.reply(202, Location=f"/v2/{repository}/blobs/uploads/{identity}", Docker_Upload_UUID=identity, Range="0-0")

    def do_PATCH(self) -> None:
        registry: Registry = self.server.registry
        _, _, name, _ = self.find()
        body = self.body()
        if name not in registry.uploads:
            return self.reply(404)
        registry.uploads[name] += body
        return self.reply(202, Location=self.path, Range=f"0-{len(registry.uploads[name]) - 1}")

    def do_PUT(self) -> None:
        registry: Registry = self.server.registry
        repository, kind, name, query = self.find()
        body = self.body()
        if kind == "manifests":
            registry.manifests[f"{repository}/manifests/{name}"] = body
            return self.reply(201)
        blob = bytes(registry.uploads.pop(name, b"") + body)
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        if query.get("digest", [""])[0] != digest:
            return self.reply(400, b'{"errors":[{"code":"DIGEST_INVALID","message":"these are other bytes"}]}')
        registry.blobs[digest] = blob
        return self.reply(201, Docker_Content_Digest=digest)


def length(exchange: Exchange, body: bytes) -> dict[str, str]:
    """What a HEAD says of the body that it does not send."""
    return {"Content_Length": str(len(body))} if exchange.command == "HEAD" else {}
