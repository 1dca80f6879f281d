"""Tries a build for graphics processors: are layers really computed there, by a worker that is locked in, and is the text the same?

    python3 deploy/checks/devices.py target/vulkan/release/chaski

Asks the built-in chat model the same with no layer on devices, one, and as many as there are, and compares the answers and what
/api/ps says of the memory. Mesa's lavapipe (`apt-get install mesa-vulkan-drivers`), which is a processor that looks like a graphics
processor, is enough; llama.cpp takes such a device only where GGML_VK_VISIBLE_DEVICES names it, which is done here unless it is set.
"""

import argparse
import json
import os
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from programs import Failed, free_port, start, until_ready

QUESTION = "What is the capital of France?"
ALL = -1
# Compiling the programs of a device takes a while.
PATIENCE_SECONDS = 300.0


class Tried(NamedTuple):
    """What came of a number of layers."""

    layers: int
    text: str
    bytes_there: int
    computed_by: str
    tokens_per_second: float


def asked(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON of an answer."""
    request = urllib.request.Request(f"{url}/{path}", data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as reply:
        return json.load(reply)


def tried(url: str, layers: int) -> Tried:
    """Loads the model with so many layers on devices and asks it."""
    options = {"num_gpu": layers, "temperature": 0}
    answer = asked(url, "api/generate", {"model": "tiny", "prompt": QUESTION, "think": False, "stream": False, "options": options})
    [loaded] = asked(url, "api/ps")["models"]
    rate = answer["eval_count"] / (answer["eval_duration"] / 1e9)
    return Tried(layers, answer["response"], loaded["size_vram"], loaded["computed_by"], rate)


def main() -> int:
    """Prints a line for each number of layers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chaski", type=Path, help="the server, built with --features chaski/vulkan or chaski/cuda")
    program = parser.parse_args().chaski.absolute()
    os.environ.setdefault("GGML_VK_VISIBLE_DEVICES", "0")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url, log = f"http://127.0.0.1:{free_port()}", folder / "log"
        command = [str(program), "serve", "--host", url.removeprefix("http://"), "--models", str(folder / "models")]
        server = start(stack, log, command)
        until_ready(f"{url}/readyz", server, log)
        sandbox = asked(url, "api/version")["sandbox"]
        print("sandbox:", json.dumps(sandbox))
        try:
            found = [tried(url, layers) for layers in (0, 1, ALL)]
        except OSError as error:
            raise Failed(f"{error}\n{log.read_text()[-4000:]}") from error
        for one in found:
            print(f"num_gpu {one.layers}: {one.bytes_there / 1e6:.2f} MB there, {one.tokens_per_second:.0f} tokens/s: {one.text!r}")
            print(f"    {one.computed_by}")
    none, first, every = (one.bytes_there for one in found)
    if not none == 0 < first < every:
        raise Failed(f"bytes on devices are {none}, {first}, {every}: layers are not where they were wanted")
    if len({one.text for one in found}) != 1 or "Paris" not in found[0].text:
        raise Failed("the answers differ")
    print("devices: passed")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(f"devices: {failed}")
