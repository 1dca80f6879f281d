"""Texts per second of an embedding model, side by side: Chaski, ONNX Runtime, OpenVINO, the settings of text-embeddings-inference, Ollama.

    pip install onnxruntime tokenizers numpy openvino nncf
    python3 server/tests/peers/encoders.py --folder MODEL_FOLDER --chaski URL MODEL [--ollama URL MODEL] [--threads 2]

MODEL_FOLDER has `model.onnx` (32-bit floats) and `tokenizer.json`; both servers serve the same weights. Every request is the same list of 50 texts of
mixed lengths, and 1, 4, 16 and 64 clients ask without a pause. Rounds are interleaved: each contestant has its turn in each. Contestants in this process are
called directly, without HTTP or JSON: that is in their favour. What is compared:

- `onnxruntime`: one session with all threads; each list in batches of 8 texts of similar length, which was the fastest way.
- `openvino int8`: the graph quantised by NNCF (transformer preset, calibrated on other texts), one infer request for each batch as above.
- `tei settings`: what text-embeddings-inference 1.9 does around ONNX Runtime: one session behind a lock, all threads, batches of 8 texts in the
  order they came, padded to the longest.

With `--alone`, only Chaski is measured, and the others only judge its vectors. With `--latency`, single texts of about 8, 32 and 128 tokens come first, one client, all contestants in turn: milliseconds until the whole reply is there.
Of a server that says in `server-timing` what its encoder took, also what HTTP, JSON and the way to the encoder cost beside that, in microseconds: as the server counts it
(from the head of the request to that of the reply) and as the client does (the whole round trip).

Prints texts per second and the ratio of Chaski's to each, by clients: the median over rounds. Exits with 1 if vectors of the same text differ.
"""

import argparse
import http.client
import json
import random
import statistics
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

TEXTS = 50
BATCH = 8
WORDS = (
    "the river water stone house morning evening people market country history science music garden window letter number paper "
    "animal ocean mountain summer winter travel engine bread coffee school teacher doctor family friend why does it not work when "
    "I open an account and how long would a refund take if the order was paid twice"
).split()


def mixed_texts(seed: int) -> list[str]:
    """Mostly short texts, some paragraphs: 3 to 95 words, 13 on average."""
    dice = random.Random(seed)
    lengths = [min(95, 3 + int(dice.expovariate(1 / 10))) for _ in range(TEXTS - 1)] + [95]
    dice.shuffle(lengths)
    return [" ".join(dice.choice(WORDS) for _ in range(length)) for length in lengths]


class InProcess:
    """Tokenises, computes batches with `run`, and pools."""

    def __init__(self, folder: Path, run, names: set[str], by_length: bool):
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)
        self.run, self.names, self.by_length = run, names, by_length
        self.lock = threading.Lock()

    def vectors(self, texts: list[str]) -> np.ndarray:
        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(tokens)), key=lambda n: len(tokens[n])) if self.by_length else range(len(tokens))
        order, vectors = list(order), [None] * len(tokens)
        for first in range(0, len(order), BATCH):
            batch = order[first : first + BATCH]
            width = max(len(tokens[n]) for n in batch)
            ids = np.zeros((len(batch), width), np.int64)
            mask = np.zeros_like(ids)
            for row, n in enumerate(batch):
                ids[row, : len(tokens[n])] = tokens[n]
                mask[row, : len(tokens[n])] = 1
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            with self.lock:
                states = self.run({name: inputs[name] for name in self.names})
            summed = (states * mask[:, :, None]).sum(1)
            for row, n in enumerate(batch):
                vectors[n] = summed[row] / np.linalg.norm(summed[row])
        return np.array(vectors)

    def client(self, texts: list[str]):
        return lambda: self.vectors(texts)


def onnxruntime_session(folder: Path, threads: int):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    return (lambda inputs: session.run(None, inputs)[0]), {entry.name for entry in session.get_inputs()}


def quantised(folder: Path, model):
    """The graph in 8 bits, by NNCF, calibrated on texts of its own."""
    import nncf

    names = {entry.get_any_name() for entry in model.inputs}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    samples = []
    for text in mixed_texts(7) + mixed_texts(8):
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        sample = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        samples.append({name: sample[name] for name in names})
    return nncf.quantize(model, nncf.Dataset(samples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(samples))


def openvino_int8(folder: Path, threads: int, kept: Path | None):
    import openvino

    core = openvino.Core()
    if kept and kept.exists():
        model = core.read_model(kept)
    else:
        model = quantised(folder, core.read_model(folder / "model.onnx"))
        if kept:
            openvino.save_model(model, kept)
    names = {entry.get_any_name() for entry in model.inputs}
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    return (lambda inputs: request.infer(inputs)[compiled.output(0)].copy()), names


class Server:
    """`POST /api/embed`; replies are read whole, and not parsed while time is taken."""

    def __init__(self, url: str, model: str):
        self.address, self.model = urllib.parse.urlsplit(url).netloc, model
        self.timing = None

    def ask(self, connection: http.client.HTTPConnection, body: bytes) -> bytes:
        connection.request("POST", "/api/embed", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        self.timing = reply.headers.get("server-timing")
        if reply.status != 200:
            raise RuntimeError(f"{self.address}: {reply.status} {text[:200]}")
        return text

    def body(self, texts: list[str]) -> bytes:
        return json.dumps({"model": self.model, "input": texts}).encode()

    def vectors(self, texts: list[str]) -> np.ndarray:
        reply = json.loads(self.ask(http.client.HTTPConnection(self.address), self.body(texts)))
        return np.array(reply["embeddings"])

    def client(self, texts: list[str]):
        connection, body = http.client.HTTPConnection(self.address), self.body(texts)
        return lambda: self.ask(connection, body)


def rate(contestant, texts: list[str], clients: int, seconds: float) -> float:
    """Texts per second of so many clients that ask without a pause."""
    calls = [contestant.client(texts) for _ in range(clients)]
    counts, failures = [0] * clients, []
    start = threading.Barrier(clients + 1)
    until = [0.0]

    def work(n: int):
        start.wait()
        try:
            while time.perf_counter() < until[0]:
                calls[n]()
                counts[n] += 1
        except Exception as failure:  # noqa: BLE001: reported below, in the thread that can
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    until[0] = began + seconds
    start.wait()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) * len(texts) / (time.perf_counter() - began)


def overheads(timing: str, round_trip: float) -> dict[str, float]:
    """Microseconds of a reply that its encoder had no part in. `round_trip` is in milliseconds."""
    stages = {name: float(value) for name, value in (entry.split(";dur=") for entry in timing.split(", "))}
    encoder = stages["queue"] + stages["compute"]
    return {"the server": 1e3 * (stages["total"] - encoder), "the client": 1e3 * (round_trip - encoder)}


def percentiles(measured: list[float], unit: str, digits: int) -> str:
    parts = statistics.quantiles(measured, n=100)
    return ", ".join(f"P{n} {parts[n - 1]:.{digits}f}" for n in (50, 95, 99)) + f" {unit}"


def latency(contestants: dict, rounds: int) -> None:
    """Prints the time of single texts, by their length."""
    for words in (6, 30, 126):
        dice = random.Random(words)
        times = {name: [] for name in contestants}
        beside = {}
        for _ in range(rounds):
            for name, contestant in contestants.items():
                for _ in range(60):
                    call = contestant.client([" ".join(dice.choice(WORDS) for _ in range(words))])
                    # The first request of a server's client opens its connection.
                    call()
                    began = time.perf_counter()
                    call()
                    times[name].append(1e3 * (time.perf_counter() - began))
                    if getattr(contestant, "timing", None):
                        for side, took in overheads(contestant.timing, times[name][-1]).items():
                            beside.setdefault((name, side), []).append(took)
        for name, measured in times.items():
            print(f"{words} words, {name}: {percentiles(measured, 'ms', 2)}")
        for (name, side), measured in beside.items():
            print(f"{words} words, {name}: beside the encoder, as {side} counts, {percentiles(measured, 'us', 0)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--chaski", nargs=2, metavar=("URL", "MODEL"), required=True)
    parser.add_argument("--ollama", nargs=2, metavar=("URL", "MODEL"))
    parser.add_argument("--without-openvino", action="store_true")
    parser.add_argument("--alone", action="store_true", help="measure only Chaski, when no other's threads still spin from their turn")
    parser.add_argument("--openvino-model", type=Path, metavar="FILE.xml", help="where the quantised graph is kept between runs")
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()

    session, names = onnxruntime_session(arguments.folder, arguments.threads)
    contestants = {
        "chaski": Server(*arguments.chaski),
        "onnxruntime": InProcess(arguments.folder, session, names, by_length=True),
        "tei settings": InProcess(arguments.folder, session, names, by_length=False),
    }
    if not (arguments.without_openvino or arguments.alone):
        run, names = openvino_int8(arguments.folder, arguments.threads, arguments.openvino_model)
        contestants["openvino int8"] = InProcess(arguments.folder, run, names, by_length=True)
    if arguments.ollama:
        contestants["ollama"] = Server(*arguments.ollama)

    texts = mixed_texts(1)
    exact = contestants["onnxruntime"].vectors(texts)
    differs = False
    for name, contestant in contestants.items():
        cosines = (contestant.vectors(texts) * exact).sum(1)
        print(f"{name}: cosine to onnxruntime {cosines.mean():.5f} on average, {cosines.min():.5f} at least")
        differs |= name == "chaski" and not cosines.min() >= 0.995
    if arguments.alone:
        contestants = {"chaski": contestants["chaski"]}
    if arguments.latency:
        latency(contestants, arguments.rounds)
    rates = {(name, clients): [] for name in contestants for clients in arguments.clients}
    for _ in range(arguments.rounds):
        for clients in arguments.clients:
            for name, contestant in contestants.items():
                rates[name, clients].append(rate(contestant, texts, clients, arguments.seconds))
    print(f"texts/s ({arguments.rounds} interleaved rounds of {arguments.seconds} s, median; in brackets Chaski's over it, lowest to highest of a round)")
    for clients in arguments.clients:
        ours = rates["chaski", clients]
        cells = [f"chaski {statistics.median(ours):.0f}"]
        for name in list(contestants)[1:]:
            theirs = rates[name, clients]
            ratios = [a / b for a, b in zip(ours, theirs)]
            cells.append(
                f"{name} {statistics.median(theirs):.0f} ({statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f})"
            )
        print(f"{clients} clients: " + "; ".join(cells))
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
