"""One request and its reply, as they cross the wire: nothing is decoded, followed, retried or added."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

# A reply that takes longer is a hang: the model is tiny, and no case asks for more than some tokens.
TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Request:
    """What is sent. A `body` of bytes goes as it is, `None` is no body, and anything else becomes JSON."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def payload(self) -> bytes | None:
        """The bytes of the body."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Reply:
    """What came back, header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def send(server: str, request: Request) -> Reply:
    """Sends one request over a connection of its own."""
    address = urlsplit(server)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.putrequest(request.method, request.path, skip_host="Host" in request.headers, skip_accept_encoding=True)
        payload = request.payload()
        if payload is not None:
            connection.putheader("Content-Length", str(len(payload)))
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders(payload)
        reply = connection.getresponse()
        return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()
