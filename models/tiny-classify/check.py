"""Compares a server's labels of the held-out texts with those of a PyTorch reference computed here, and measures the time of a request.

    python3 models/tiny-classify/check.py --server http://127.0.0.1:11434
    python3 models/tiny-classify/check.py --server http://127.0.0.1:11434 --time another-classifier --requests 500
    python3 models/tiny-classify/check.py --server http://127.0.0.1:11434 --time an-embedding-model --head one-of-its-heads

Exits with status 1 when the accuracies are more than 0.5 points apart, or 95 of 100 requests of 32 tokens take longer than 3 ms.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

POINTS, MILLISECONDS, TOKENS = 0.5, 3.0, 32


class Server:
    """One connection that is kept."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def post(self, path: str, body: object) -> dict[str, object]:
        """A JSON reply to a JSON body."""
        self.connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = self.connection.getresponse()
        reply = json.load(response)
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status} {reply}")
        return reply


def reference(texts: list[str]) -> list[str]:
    """The likeliest label of each text by PyTorch, one text at a time."""
    import torch

    from encoder.reference import load_classifier, load_tokenizer

    (trunk, head), tokenizer = load_classifier(FOLDER), load_tokenizer(FOLDER)
    labels = trunk.config.id2label
    with torch.no_grad():
        states = (trunk(**tokenizer(text, truncation=True, return_tensors="pt")).last_hidden_state for text in texts)
        return [labels[int(head(state.mean(1)).argmax(1))] for state in states]


def accuracies(server: Server, model: str) -> tuple[float, float, int]:
    """Points of 100 for the server and for PyTorch on the held-out texts, and how many labels differ."""
    examples = [json.loads(line) for line in (FOLDER / "heldout.jsonl").read_text().splitlines()]
    texts, labels = [example["text"] for example in examples], [example["label"] for example in examples]
    served = [labels[0]["label"] for labels in server.post("/classify", {"model": model, "input": texts, "top_k": 1})["results"]]
    expected = reference(texts)
    points = lambda found: 100 * sum(a == b for a, b in zip(found, labels, strict=True)) / len(labels)  # noqa: E731
    return points(served), points(expected), sum(a != b for a, b in zip(served, expected, strict=True))


def times(server: Server, asked: dict[str, str], requests: int) -> list[float]:
    """Milliseconds of requests with one text of 32 tokens, one after another, in ascending order."""
    words = ["it"]
    while server.post("/classify", asked | {"input": " ".join(words)})["prompt_eval_count"] < TOKENS:
        words.append("is" if len(words) % 2 else "it")
    body = asked | {"input": " ".join(words)}
    for _ in range(50):
        server.post("/classify", body)
    found = []
    for _ in range(requests):
        began = time.perf_counter()
        server.post("/classify", body)
        found.append(1000 * (time.perf_counter() - began))
    return sorted(found)


def main() -> None:
    """Reads the command line, compares, measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--model", default="tiny-classify")
    parser.add_argument("--time", help="only measure the time of this classifier")
    parser.add_argument("--head", help="with one of its heads")
    parser.add_argument("--requests", type=int, default=1000)
    args = parser.parse_args()
    server = Server(args.server)
    apart = 0.0
    if not args.time:
        served, expected, different = accuracies(server, args.model)
        apart = abs(served - expected)
        print(f"accuracy {served:.2f}, PyTorch {expected:.2f}; {different} labels differ")
    # Another connection: the reference may have taken longer than a server keeps one that is idle.
    asked = {"model": args.time or args.model} | ({"head": args.head} if args.head else {})
    found = times(Server(args.server), asked, args.requests)
    middle, late = found[len(found) // 2], found[len(found) * 95 // 100]
    print(f"{TOKENS} tokens over HTTP: P50 {middle:.2f} ms, P95 {late:.2f} ms of {len(found)} requests")
    raise SystemExit(apart > POINTS or late > MILLISECONDS)


if __name__ == "__main__":
    main()
