"""What guessing from what was said before gains and costs, on a model of full size whose text is known.

    pip install gguf==0.19.0
    python3 server/tests/peers/guesses.py make MODEL.gguf CHAIN.gguf
    python3 server/tests/peers/guesses.py measure --model NAME URL_WITH URL_WITHOUT [--rounds 6]

`make` turns the weights of a model into those of one that says a fixed chain of words: what its blocks add is nothing, and the row of a token
in its output is the row of the token before it in the chain. It computes as much as the model it is made of, with the same forms of weights but that
the two tables are of one form. So a text of it can be put into a prompt, changed or not, and what it says is a rewritten prompt: what a trained model does
with one, at a size of which no trained one comes along.

`measure` asks two servers of this model in turns, one of which has CHASKI_SPECULATION=false: temperature 0, one stream. The ratio is that of tokens a second
(`eval_count / eval_duration`), the median over rounds with the lowest and the highest. Both must say the same. The tasks:

- copy: 250 words of the prompt word for word;
- edit: the same, where the prompt has another word in the place of every sixteenth;
- extract: 60 words out of the middle of 600;
- new: 250 words of which the prompt has none.
"""

import argparse
import json
import random
import re
import statistics
import sys
import urllib.request
from pathlib import Path

SEED = 7


def make(source: Path, target: Path) -> None:
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    texts = reader.fields["tokenizer.ggml.tokens"].contents()
    # Words of one token, so that a text of them becomes the same tokens again.
    words = [token for token, text in enumerate(texts) if re.fullmatch("[Ġ▁][a-z]{3,}", text)]
    random.Random(SEED).shuffle(words)
    following = {word: words[(place + 1) % len(words)] for place, word in enumerate(words)}
    rows = np.array([following.get(token, words[token % len(words)]) for token in range(len(texts))])
    output = tensors.get("output.weight", tensors["token_embd.weight"])

    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], inner)
    for name, tensor in tensors.items():
        data = tensor.data
        if name == "token_embd.weight":
            writer.add_tensor(name, output.data[rows], raw_dtype=output.tensor_type)
            writer.add_tensor("output.weight", output.data, raw_dtype=output.tensor_type)
        elif name != "output.weight":
            if name.endswith(("attn_output.weight", "ffn_down.weight")):
                data = np.zeros_like(data)
            writer.add_tensor(name, data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def say(url: str, model: str, prompt: str, count: int) -> tuple[str, float]:
    """What it says, and tokens a second."""
    options = {"temperature": 0, "num_predict": count, "num_ctx": 4096, "repeat_penalty": 1.0}
    body = {"model": model, "prompt": prompt, "raw": True, "stream": False, "options": options, "keep_alive": "1h"}
    request = urllib.request.Request(f"{url}/api/generate", json.dumps(body).encode())
    answer = json.load(urllib.request.urlopen(request, timeout=900))
    return answer["response"], answer["eval_count"] / answer["eval_duration"] * 1e9


def tasks(url: str, model: str, dice: random.Random) -> dict[str, tuple[str, int]]:
    """A prompt for each task, of a stretch of the chain that no other has, and how many tokens to say."""
    # Words that begin stretches: what follows one at random is as good as any other.
    start = " " + dice.choice("river water stone house morning people market country history music garden window paper summer winter".split())
    hops, _ = say(url, model, start, 1 + dice.randrange(40))
    stretch = hops.split()[-1]
    text, _ = say(url, model, " " + stretch, 600)
    words = [stretch, *text.split()]
    other = say(url, model, " " + words[-1], 300)[0].split()
    edited = [other[place] if place % 16 == 15 else word for place, word in enumerate(words[:256])]
    return {
        "copy": (" " + " ".join(words[:256]) + " " + stretch, 250),
        "edit": (" " + " ".join(edited) + " " + stretch, 250),
        "extract": (" " + " ".join(words) + " " + words[300], 60),
        "new": (" " + words[-1], 250),
    }


def measure(guessing: str, plain: str, model: str, rounds: int) -> int:
    dice = random.Random(SEED)
    ratios: dict[str, list[float]] = {}
    speeds: dict[str, list[float]] = {}
    differ = 0
    for url in (guessing, plain):
        say(url, model, " river", 8)
    for number in range(rounds):
        for name, (prompt, count) in tasks(plain, model, dice).items():
            order = [guessing, plain] if number % 2 else [plain, guessing]
            answers = {url: say(url, model, prompt, count) for url in order}
            differ += answers[guessing][0] != answers[plain][0]
            ratios.setdefault(name, []).append(answers[guessing][1] / answers[plain][1])
            speeds.setdefault(name, []).append(answers[guessing][1])
    for name, found in ratios.items():
        print(f"{name:8} {statistics.median(found):5.2f} ({min(found):.2f} to {max(found):.2f}); {statistics.median(speeds[name]):.1f} tokens/s")
    print(f"{differ} answers differ")
    return 1 if differ else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("source", type=Path)
    making.add_argument("target", type=Path)
    measuring = commands.add_parser("measure")
    measuring.add_argument("guessing", help="address of the server that guesses")
    measuring.add_argument("plain", help="address of the one that does not")
    measuring.add_argument("--model", required=True)
    measuring.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    if given.command == "make":
        make(given.source, given.target)
        return 0
    return measure(given.guessing, given.plain, given.model, given.rounds)


if __name__ == "__main__":
    sys.exit(main())
