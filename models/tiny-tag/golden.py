"""Writes what Hugging Face's token classification pipeline makes of texts with this model, for tests to compare with.

    python3 models/tiny-tag/golden.py                                      # writes models/tiny-tag/golden.json
    python3 models/tiny-tag/golden.py --server http://127.0.0.1:11434      # compares a server that has the model with it
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

STRATEGIES = ["none", "simple", "first", "average", "max"]
#: Names of many scripts, characters that the vocabulary lacks, combining ones, characters of four bytes, and nothing at all.
TEXTS = [
    "José Müller works for Häagen & Sons Bank in Zürich.", "山田太郎 lives in 東京.", "🙂 Zoë O'Brien likes São Paulo!", "“Łukasz is late,” said Ngọc Nguyễn.", "Société Royale S.A., of Île de Ré, sold a crème brûlée today 🙂.",
    "أحمد علي met Мария Иванова in Москва.", "In Reykjavík, Siân Björnsson runs Göteborg Steel GmbH.", "Jose\u0301 and Zoe\u0308 came to Malmo\u0308.", "👩‍👩‍👧‍👦 Anna 👍🏽 Brown\u200b left Åre\u00a0for Lima.", "No name is here.", "",
    "Unseenname Qwertyuiopasdf lives in Xyzzyville.", "三菱 Labs and Ñandú Museum signed the contract.", "ANNA SMITH WORKS FOR ACME CORP", "Peter\nJones\tmet  Ada   Rossi", "𝔄𝔫𝔫𝔞 lives in 서울.", "Is Québec colder than Tromsø? Ask Çelik, Novák and Šimić.",
]  # fmt: skip


def reference() -> list[dict[str, object]]:
    """The pipeline's answers to every text with every strategy."""
    from transformers import pipeline

    from encoder.reference import load_tagger, load_tokenizer

    tagger = pipeline("token-classification", model=load_tagger(FOLDER), tokenizer=load_tokenizer(FOLDER), device="cpu")
    answers = []
    for strategy in STRATEGIES:
        for text in TEXTS:
            spans = tagger(text, aggregation_strategy=strategy) if text else []
            answers.append({"text": text, "aggregation_strategy": strategy, "spans": [{key: round(float(value), 6) if key == "score" else value for key, value in span.items()} for span in spans]})
    return answers


def differences(url: str, model: str, answers: list[dict[str, object]]) -> int:
    """How many answers of a server differ; each is printed."""
    wrong = 0
    for answer in answers:
        body = json.dumps({"model": model, "input": answer["text"], "aggregation_strategy": answer["aggregation_strategy"]}).encode()
        with urllib.request.urlopen(f"{url}/token_classify", body) as response:
            spans = json.load(response)["results"][0]
        for span in spans:
            raw = str(answer["text"]).encode()[span.pop("start_byte") : span.pop("end_byte")].decode()
            if raw != str(answer["text"])[span["start"] : span["end"]]:
                wrong += 1
                print(f"bytes and characters differ: {answer['text']!r} {raw!r} {span}")
        expected = answer["spans"]
        same = len(spans) == len(expected) and all(abs(a.pop("score") - b["score"]) < 1e-3 and a == {key: value for key, value in b.items() if key != "score"} for a, b in zip(spans, expected, strict=True))
        if not same:
            wrong += 1
            print(f"{answer['aggregation_strategy']} {answer['text']!r}\n  expected {expected}\n  found    {spans}")
    return wrong


def main() -> None:
    """Reads the command line, writes or compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server")
    parser.add_argument("--model", default="tiny-tag")
    args = parser.parse_args()
    path = FOLDER / "golden.json"
    if args.server:
        wrong = differences(args.server.rstrip("/"), args.model, json.loads(path.read_text()))
        print(f"{wrong} differences in {len(STRATEGIES) * len(TEXTS)} answers")
        raise SystemExit(wrong > 0)
    lines = [json.dumps(answer, ensure_ascii=False) for answer in reference()]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
