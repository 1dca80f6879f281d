"""HTTP by hand: bytes out, whatever comes back in."""

import contextlib
import socket
import time
from dataclasses import dataclass


@dataclass
class Answer:
    """A reply as far as it came."""

    status: int
    body: bytes
    headers: dict[bytes, bytes]


class Broken(Exception):
    """The connection ended before a whole reply."""


class Wire:
    """One connection."""

    def __init__(self, port: int, timeout: float = 20, receive_bytes: int | None = None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self.buffer = b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Whether the other side took it all."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def half_close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leaves without a farewell."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def more(self) -> bool:
        try:
            piece = self.socket.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        self.buffer += piece
        return bool(piece)

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self.more():
                raise Broken
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            if not self.more():
                raise Broken
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def answer(self, head: bool = False) -> Answer:
        """The next reply; `Broken` if the other side hung up instead."""
        line, *lines = self.until(b"\r\n\r\n").split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (it.partition(b":") for it in lines)}
        status = int(line.split()[1])
        if 100 <= status < 200:
            return self.answer(head)
        if head or status in (204, 304):
            body = b""
        elif headers.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self.exactly(size)
                self.until(b"\r\n")
            self.until(b"\r\n")
        elif b"content-length" in headers:
            body = self.exactly(int(headers[b"content-length"]))
        else:
            while self.more():
                pass
            body, self.buffer = self.buffer, b""
        return Answer(status, body, headers)

    def answers(self, most: int | None = None) -> list[Answer]:
        """The replies, at most so many, until the other side closes or falls silent."""
        found: list[Answer] = []
        with contextlib.suppress(Broken, TimeoutError, ValueError):
            while most is None or len(found) < most:
                found.append(self.answer())
        return found

    def closes_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                if not self.more():
                    return True
            except TimeoutError:
                return False
        return False


def request(method: str, path: str, body: bytes = b"", *headers: str, host: str = "127.0.0.1") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if body or method in ("POST", "PUT", "DELETE"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
