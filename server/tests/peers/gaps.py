"""How long streams wait for their next token, alone and while long prompts come.

    python3 server/tests/peers/gaps.py URL MODEL [--openai] [--rounds 4]

Four streams of 150 tokens at once, in turns without and with one caller beside them who sends a prompt of 2,000 words and wants one token. Prints the percentiles
of the time between two pieces of a stream, beside a prompt only of those that came while it was read. `--openai` is for servers without Ollama's API.
"""

import argparse
import json
import random
import sys
import threading
import time
import urllib.request

STREAMS, TOKENS, SHORT, LONG = 4, 150, 20, 1000
WORDS = "river stone house light paper dog tree sand wind music table green".split()

Gaps = list[tuple[float, float]]


def words(count: int) -> str:
    """Pairs of a word and a digit, so that no prompt begins like another for long."""
    return " ".join(f"{random.choice(WORDS)} {random.randint(0, 9)}" for _ in range(count))


def stream(url: str, model: str, openai: bool, prompt: str, tokens: int) -> Gaps:
    """When each piece but the first came, and how long after the one before it."""
    if openai:
        path, body = "/v1/completions", {"model": model, "prompt": prompt, "stream": True, "max_tokens": tokens, "temperature": 1}
    else:
        options = {"num_predict": tokens, "temperature": 1, "num_ctx": 4096}
        path, body = "/api/generate", {"model": model, "prompt": prompt, "raw": True, "options": options, "keep_alive": "1h"}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    times = []
    with urllib.request.urlopen(request, timeout=600) as reply:
        times = [time.monotonic() for line in reply if line.strip()]
    return [(now, now - before) for before, now in zip(times, times[1:], strict=False)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("--openai", action="store_true")
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    server = (given.url, given.model, given.openai)
    stream(*server, "warm", 4)
    found: dict[str, list[float]] = {"alone": [], "beside a prompt": []}
    for _ in range(given.rounds):
        for kind, gaps in found.items():
            all_gaps: list[Gaps] = []
            threads = [threading.Thread(target=lambda: all_gaps.append(stream(*server, words(SHORT), TOKENS))) for _ in range(STREAMS)]
            for thread in threads:
                thread.start()
            # Until all of them write.
            time.sleep(1)
            begin, end = 0.0, float("inf")
            if kind != "alone":
                begin = time.monotonic()
                stream(*server, words(LONG), 1)
                end = time.monotonic()
            for thread in threads:
                thread.join()
            gaps += [gap for one in all_gaps for now, gap in one[2:] if begin <= now <= end + gap]
    for kind, gaps in found.items():
        gaps.sort()
        at = {percent: gaps[min(len(gaps) - 1, len(gaps) * percent // 100)] * 1e3 for percent in (50, 95, 99)}
        print(f"{kind}: {len(gaps)} gaps; " + ", ".join(f"P{percent} {gap:.1f} ms" for percent, gap in at.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
