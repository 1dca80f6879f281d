"""Requests that are wrong before their body is: request lines, heads, framing, other protocols.

Each maker gives the bytes to send and the statuses that may come back; `None` among them allows hanging up without a word,
which is right towards who does not speak HTTP.
"""

import random
from collections.abc import Callable, Iterator

from wire import request

Attempt = tuple[bytes, set[int | None]]

CREATED = b'{"model": "tiny", "prompt": "x", "options": {"num_predict": 1}, "stream": false}'
REFUSED = {400, None}


def printable(dice: random.Random, length: int) -> bytes:
    return bytes(dice.randrange(33, 127) for _ in range(length))


def request_line(dice: random.Random) -> Attempt:
    path = dice.choice(
        [
            "/api/version",
            "/",
            "/api/generate",
            "*",
            "",
            "//api//version",
            "/%2e%2e/%00",
            "http://evil.example/api/tags",
            "/" + "a" * 70_000,
            b"/\x00".decode(),
        ]
    )
    line = dice.choice(
        [
            f"GET {path} HTTP/1.1",
            f"get {path} HTTP/1.1",
            f"GET {path}",
            f"GET  {path}  HTTP/1.1",
            f"GET\t{path}\tHTTP/1.1",
            f"GET {path} HTTP/1.2",
            f"GET {path} HTTP/2.0",
            f"GET {path} HTTP/9",
            f"GET {path} http/1.1",
            f"{path} GET HTTP/1.1",
            f"GET {path} HTTP/1.1 x",
            f"{'X' * 5000} {path} HTTP/1.1",
            "",
            "\0",
            "GET",
            f"G\xffT {path} HTTP/1.1",
            f"GET {path}\x00 HTTP/1.1",
            f"BREW {path} HTTP/1.1",
            f"CONNECT {path} HTTP/1.1",
            f"TRACE {path} HTTP/1.1",
        ]
    )
    end = dice.choice([b"\r\n", b"\n", b"\r", b"\r\n"])
    data = line.encode("latin-1") + end + b"Host: localhost" + end + end
    # Whatever can be read as a request is answered as one: strange paths and methods are 4xx, and a path may exist.
    return data, {200, 204, 400, 403, 404, 405, 414, 431, None}


def raw_bytes(dice: random.Random) -> Attempt:
    return dice.randbytes(dice.choice([1, 3, 24, 200, 5_000])) + b"\r\n\r\n", {200, 400, 404, 405, 403, 431, None}


def mutated(dice: random.Random) -> Attempt:
    """A good request with a few bytes that are not."""
    data = bytearray(request("POST", "/api/show", b'{"model": "tiny"}', "Content-Type: application/json", "Accept: */*"))
    for _ in range(dice.choice([1, 1, 2, 5])):
        at, end = dice.randrange(len(data)), dice.choice([0, 1, 10])
        # A byte is changed or something is put in, or something is repeated, or a byte is missing.
        data[at : at + dice.choice([0, 1])] = dice.choice([bytes([dice.randrange(256)]), bytes(data[at : at + end])])
    return bytes(data), {200, 400, 403, 404, 405, 413, 414, 415, 431, 501, None}


def headers(dice: random.Random) -> Attempt:
    kind = dice.randrange(9)
    if kind == 0:
        extra = [f"X-{number}: y" for number in range(dice.choice([101, 300, 10_000]))]
        return request("GET", "/api/version", b"", *extra), {200, 400, 431, None} if len(extra) < 101 else {400, 431, None}
    if kind == 1:
        return request("GET", "/api/version", b"", "X-Long: " + "y" * dice.choice([200_000, 1_000_000])), {400, 431, None}
    if kind == 2:
        return request("GET", "/api/version", b"", dice.choice(["no colon", ": no name", " folded: x", "a b: c", "na\x00me: x", "x\x7f: y"])), {
            400,
            None,
        }
    if kind == 3:
        return request("GET", "/api/version", b"", "X: \x00\x01"), {400, None}
    if kind == 4:
        return request("GET", "/api/version", host="evil.example"), {403}
    if kind == 5:
        return request("GET", "/api/version", b"", "Host: evil.example"), {200, 400, 403}
    if kind == 6:
        return request("GET", "/api/version", b"", f"Origin: {dice.choice(['http://evil.example', 'null', chr(233), 'file://'])}"), {200, 400, 403}
    if kind == 7:
        return request(
            "GET",
            "/api/version",
            b"",
            f"Expect: {dice.choice(['100-continue', 'x', ''])}",
            f"Upgrade: {dice.choice(['websocket', 'h2c'])}",
            "Connection: Upgrade",
        ), {200, 400, 417}
    return request(
        "POST", "/v1/chat/completions", b"{}", f"Content-Encoding: {dice.choice(['gzip', 'br', 'deflate', 'zstd', 'zstd, zstd', 'x', 'gzip, gzip'])}"
    ), {400, 413, 415}


def chunks(dice: random.Random) -> Attempt:
    begin = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    kind = dice.randrange(7)
    if kind == 0:
        size = dice.choice(
            [b"-1", b"g", b"", b"0x10", b" 5", b"5 5", b"ffffffffffffffff", b"10000000000000000", b"fffffffffffffffffff", b"\x00", b"1e3"]
        )
        return begin + size + b"\r\nhello\r\n0\r\n\r\n", REFUSED
    if kind == 1:
        return begin + b"5;" + b"x" * dice.choice([20_000, 1_000_000]) + b"\r\nhello\r\n0\r\n\r\n", REFUSED
    if kind == 2:
        return begin + b"5\r\nhelloXX0\r\n\r\n", REFUSED
    if kind == 3:
        return begin + b"1\r\n{\r\n" * dice.choice([1_000, 50_000]) + b"0\r\n\r\n", REFUSED
    if kind == 4:
        trailers = b"".join(b"X-%d: y\r\n" % number for number in range(dice.choice([200, 5_000])))
        return begin + b"%x\r\n%s\r\n0\r\n" % (len(CREATED), CREATED) + trailers + b"\r\n", {200, 400, None}
    if kind == 5:
        return begin + b"1;a=b\r\n{\r\n" * 20_000 + b"0\r\n\r\n", REFUSED
    return begin + b"%x\r\n" % (dice.choice([2**31, 2**40, 2**63 - 1])) + b"x" * 100, REFUSED


def framing(dice: random.Random) -> Attempt:
    """Two opinions on where a request ends; behind the shorter one stands another request, which must not be answered as the next."""
    poison = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    lines = dice.choice(
        [
            [b"Content-Length: 4", b"Transfer-Encoding: chunked"],
            [b"Transfer-Encoding: chunked", b"Content-Length: 4"],
            [b"Content-Length: 0", b"Content-Length: 44"],
            [b"Content-Length: 5, 6"],
            [b"Content-Length: +5"],
            [b"Content-Length: -5"],
            [b"Content-Length: 0x5"],
            [b"Content-Length: 99999999999999999999999"],
            [b"Transfer-Encoding: xchunked"],
            [b"Transfer-Encoding : chunked"],
            [b"Transfer-Encoding: chunked, identity"],
            [b"Transfer-Encoding: identity, chunked, chunked"],
            [b"Transfer-Encoding:\x0bchunked"],
            [b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x"],
        ]
    )
    head = b"POST /api/show HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"
    return head + b"0\r\n\r\n" + poison, {400, 404, None}


def other_protocols(dice: random.Random) -> Attempt:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    reset = b"\0\0\4\3\0\0\0\0\1\0\0\0\10"
    return dice.choice(
        [
            preface + b"\0\0\0\4\0\0\0\0\0",
            preface + b"\0\0\0\4\0\0\0\0\0" + (b"\0\0\1\1\5\0\0\0\1\x82" + reset) * 500,
            preface + b"\0\x40\0\x09\0\0\0\0\1" * 200,
            preface + dice.randbytes(500),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(508),
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"EHLO localhost\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\0" * 64,
        ]
    ), {400, 404, 405, None}


def lengths(dice: random.Random) -> Attempt:
    """A body that is shorter than announced; who sends it closes its side."""
    body = CREATED[: dice.randrange(len(CREATED))]
    return request("POST", "/api/generate", CREATED)[: -len(CREATED)] + body, {400, None}


MAKERS: list[Callable[[random.Random], Attempt]] = [request_line, raw_bytes, mutated, headers, chunks, framing, other_protocols, lengths]


def attempts(dice: random.Random) -> Iterator[tuple[str, Attempt]]:
    while True:
        maker = dice.choice(MAKERS)
        yield maker.__name__, maker(dice)
