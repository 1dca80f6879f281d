"""A proxy in front of a registry that counts what it sends of each blob, slowly enough to be interrupted.

It forwards everything to the registry at `upstream`. Replies to GETs of blobs are sent at `rate` bytes a second in total and
written down range by range. With `redirect`, such a GET is answered by a redirect to the registry under another host name
instead, as registries with a storage behind them do: Ollama can pull from no others.
"""

import http.client
import http.server
import socket
import threading
import time
from dataclasses import dataclass, field

PIECE_BYTES = 64 << 10


@dataclass
class Sent:
    """A range of a blob that was asked for, and how many of its bytes went out."""

    path: str
    first: int
    end: int
    count: int = 0


@dataclass
class Log:
    """Everything that was sent of blobs."""

    ranges: list[Sent] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, path: str, first: int, end: int) -> Sent:
        with self.lock:
            self.ranges.append(Sent(path, first, end))
            return self.ranges[-1]

    def total(self) -> int:
        with self.lock:
            return sum(sent.count for sent in self.ranges)

    def overlaps(self, path_end: str) -> list[int]:
        """For each request of a blob, how many of its bytes had been sent before."""
        with self.lock:
            ranges = [sent for sent in self.ranges if sent.path.endswith(path_end)]
        overlaps = []
        for index, sent in enumerate(ranges):
            former = [(old.first, old.first + old.count) for old in ranges[:index]]
            reached = [end for first, end in former if first <= sent.first < end]
            overlaps.append(min(max(reached, default=sent.first), sent.first + sent.count) - sent.first)
        return overlaps


class Budget:
    """How many bytes may go out, for all connections together."""

    def __init__(self, rate: float):
        self.rate = rate
        self.lock = threading.Lock()
        self.next = time.monotonic()

    def spend(self, count: int) -> None:
        with self.lock:
            self.next = max(self.next, time.monotonic()) + count / self.rate
            wait = self.next - time.monotonic()
        if wait > 0:
            time.sleep(wait)


def serve(port: int, upstream: int, rate: float = 1e12, redirect: bool = False) -> tuple[http.server.ThreadingHTTPServer, Log]:
    """Starts a proxy on loopback in front of the registry on the port `upstream`."""
    log, budget = Log(), Budget(rate)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            is_blob = self.command == "GET" and "/blobs/sha256:" in self.path
            if is_blob and redirect:
                self.send_response(307)
                self.send_header("Location", f"http://localhost:{upstream}{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            connection = http.client.HTTPConnection("127.0.0.1", upstream)
            connection.request(self.command, self.path, body, dict(self.headers))
            reply = connection.getresponse()
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if not is_blob:
                self.wfile.write(reply.read())
                return
            # A small buffer, so that what is counted as sent has nearly been received.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE_BYTES)
            content = reply.getheader("Content-Range")
            size = int(reply.getheader("Content-Length"))
            first = int(content.split()[1].split("-")[0]) if content else 0
            sent = log.begin(self.path, first, first + size)
            while piece := reply.read(PIECE_BYTES):
                budget.spend(len(piece))
                self.wfile.write(piece)
                sent.count += len(piece)

        do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = forward

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                # Whoever asked was killed, which is the point.
                self.close_connection = True

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, log
