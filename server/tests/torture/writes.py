"""The n-th write, flush, rename or new file in the store fails, alone or with all that follow, for n from 0 until nothing is hit.

The caller is told in JSON, nothing half-made stays or is listed, models in memory go on answering, and the same operation
works when the disk does again, without a restart.
"""

import errno
import json
import random
from pathlib import Path

from faults import FaultyServer
from fsck import expect_whole
from kills import OPERATIONS, Client, make_bases
from registry import Registry
from report import Report, Share
from service import Failed, expect

GOAL = 200

FOREVER = 1_000_000


class Refused(Exception):
    """The operation failed and said so."""


class Observer(Client):
    """Takes an error for an answer, if it is a good one."""

    expected = errno.ENOSPC

    def send(self, method: str, path: str, body: object = None) -> None:
        reply = self.server.ask(method, path, body)
        if reply.status in (200, 201):
            # A push or pull is a 200 whose only record may be an error.
            if reply.body and "error" in (reply.lines() or [{}])[-1]:
                raise Refused(reply.body)
            return
        error = reply.json().get("error")
        expect(isinstance(error, str) and error and len(reply.body) < 2048, f"{path}: {reply.status} {reply.body[:300]!r}")
        expect(str(self.server.home) not in error, f"{path} tells a path: {error}")
        if self.expected == errno.ENOSPC and "space" in error:
            expect(reply.status in (500, 507), f"{path}: a full disk is {reply.status}")
        expect(500 <= reply.status < 600 or "iostream" in error or "does not begin" in error, f"{path}: {reply.status} for a failing disk: {error}")
        raise Refused(error)


def weights(server: FaultyServer, model: str) -> str:
    """The digest of a model's weights: what is quantised of the same numbers is the same."""
    manifest = json.loads((server.store / f"manifests/registry.ollama.ai/library/{model}/latest").read_bytes())
    return next(it["digest"] for it in manifest["layers"] if it["mediaType"].endswith("image.model"))


def sweep(server: FaultyServer, client: Observer, operation, error: int, count: int, share: Share) -> tuple[int, int]:
    """Fails change 0, 1, 2, … of an operation; gives how many were tried and how many of them were told to the caller."""
    tried = told = 0
    if operation is Client.quantise:
        operation(client, "victim")
        quantised = weights(server, "victim")
    while share.lasts():
        if operation is Client.delete:
            client.copy("victim")
        client.expected = error
        server.order(f"fail {tried} {error} {count}")
        refused = False
        try:
            operation(client, "victim")
        except Refused:
            refused = True
        if count == FOREVER and tried == 0:
            answer = server.ask("POST", "/api/generate", {"model": "base", "prompt": "hi", "stream": False, "options": {"num_predict": 2}})
            expect(answer.status == 200, f"a loaded model does not answer on a failing disk: {answer.body!r}")
        _, hit = server.order("report")
        server.order("count")
        found = expect_whole(server)
        expect(not found.half_made, f"{operation.__name__}, change {tried}: left behind: {found.half_made}")
        expect(refused or hit == 0 or operation_may_succeed(operation), f"{operation.__name__}, change {tried}: a failed write is a success")
        if operation is Client.quantise and not refused:
            expect(weights(server, "victim") == quantised, f"change {tried} failed and the model has other weights")
        client.check()
        if not hit:
            return tried, told
        tried += 1
        told += refused
    return tried, told


def operation_may_succeed(operation) -> bool:
    """A pull asks again, and what a replaced or deleted model leaves behind is collected another time."""
    return operation in (Client.pull, Client.delete, Client.derive, Client.quantise, Client.upload_and_create)


def attack(report: Report, share: Share, faults: Path, program: str, folder: Path, seed: int) -> None:
    registry = Registry()
    server = FaultyServer(faults, program, folder / "writes", OLLAMA_KEEP_ALIVE="-1").start()
    tried = told = 0
    try:
        make_bases(server, registry)
        server.must("POST", "/api/generate", {"model": "base", "prompt": "hi", "stream": False, "options": {"num_predict": 2}})
        client = Observer(server, registry, random.Random(seed), ["victim"])
        for operation in OPERATIONS:
            for error in (errno.ENOSPC, errno.EIO):
                for count in (1, FOREVER):
                    if not share.lasts():
                        break
                    points, refusals = sweep(server, client, operation, error, count, share)
                    tried, told = tried + points, told + refusals
                    try:
                        operation(client, "victim")
                    except Refused as refused:
                        raise Failed(f"{operation.__name__} does not work any more: {refused}") from refused
        expect(server.is_alive(), "the server died")
        accidents = server.accidents()
        expect(not accidents, f"the log tells of {accidents[:3]}")
    finally:
        server.stop()
        registry.stop()
    mark = "an error in JSON (507 for a full disk), nothing left behind, loaded models answer, works again without a restart"
    report.add(
        "the n-th change of the store fails (ENOSPC, EIO; once, and from then on)",
        tried,
        GOAL,
        mark,
        f"{told} told to the caller, {tried - told} mended unasked; 0 lost",
        True,
    )
