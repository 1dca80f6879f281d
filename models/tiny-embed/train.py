"""Makes the tiny sentence encoder from nothing: paraphrases, vocabulary, weights, ONNX in the sentence-transformers layout.

    python3 models/tiny-embed/train.py --out models/tiny-embed
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))

from sentences import QUESTIONS, Triple, held_out_triple, training_pair, training_paragraphs
from tokenizers import Tokenizer

from encoder.bert import Bert, BertShape, mean_pooled
from encoder.onnx_file import write_bert
from encoder.wordpiece import encode, train_wordpiece, write_json, write_tokenizer

LONGEST = 256
TEMPERATURE = 0.05


def embed(model: Bert, tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """Unit vectors [texts, hidden]."""
    ids, mask = encode(tokenizer, texts, LONGEST)
    return F.normalize(mean_pooled(model(ids, mask), mask), dim=-1)


def train(model: Bert, tokenizer: Tokenizer, steps: int, batch: int, rng: random.Random) -> None:
    """Every pair's second half must be the nearest of all second halves in its batch, and the other way round (InfoNCE, arXiv 1807.03748)."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=steps, pct_start=0.1)
    began = time.monotonic()
    for step in range(steps):
        pairs = [training_paragraphs(rng) for _ in range(batch // 4)] if step % 10 == 9 else [training_pair(rng) for _ in range(batch)]
        vectors = embed(model, tokenizer, [text for pair in zip(*pairs, strict=True) for text in pair])
        scores = vectors[: len(pairs)] @ vectors[len(pairs) :].T / TEMPERATURE
        same = torch.tensor([[meanings_equal(a, b) and i != j for j, b in enumerate(pairs)] for i, a in enumerate(pairs)])
        scores = scores.masked_fill(same, float("-inf"))
        labels = torch.arange(len(pairs))
        loss = F.cross_entropy(scores, labels) + F.cross_entropy(scores.T, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}/{steps} loss {loss.item():.4f} {time.monotonic() - began:.0f} s", flush=True)


GROUP_OF = {text: index for index, group in enumerate(QUESTIONS) for text in group}


def meanings_equal(a: tuple[str, str], b: tuple[str, str]) -> bool:
    """True for two pairs of one group of questions, or that share a sentence: they must not be pushed apart."""
    group = GROUP_OF.get(a[0])
    return (group is not None and group == GROUP_OF.get(b[0])) or bool(set(a) & set(b))


def accuracy(model: Bert, tokenizer: Tokenizer, triples: list[Triple]) -> float:
    """Share of triples whose paraphrase is nearer to the anchor than the other sentence."""
    model.eval()
    with torch.no_grad():
        anchor, paraphrase, other = (embed(model, tokenizer, [getattr(t, part) for t in triples]) for part in ("anchor", "paraphrase", "other"))
    return float(((anchor * paraphrase).sum(1) > (anchor * other).sum(1)).float().mean())


def write_folder(out: Path, model: Bert, tokenizer: Tokenizer, shape: BertShape) -> None:
    """The files of a sentence-transformers model."""
    weights = {name: value.float().numpy() for name, value in model.hugging_face_state().items()}
    write_bert(out / "model.onnx", shape, weights)
    write_tokenizer(out, tokenizer, LONGEST)
    write_json(out / "config.json", {"architectures": ["BertModel"], **shape.config()})
    write_json(out / "modules.json", [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ])  # fmt: skip
    write_json(out / "1_Pooling" / "config.json", {"word_embedding_dimension": shape.hidden_size, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
                                                   "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})  # fmt: skip
    write_json(out / "sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})


def main() -> None:
    """Reads the command line, trains, writes, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    held_out = [held_out_triple(random.Random(args.seed + 1000 + index)) for index in range(400)]
    sample = [text for _ in range(10_000) for text in training_pair(rng)]
    tokenizer = train_wordpiece(sample, args.vocabulary)
    shape = BertShape(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=LONGEST)
    model = Bert(shape)
    train(model, tokenizer, args.steps, args.batch, rng)
    args.out.mkdir(parents=True, exist_ok=True)
    write_folder(args.out, model, tokenizer, shape)
    (args.out / "heldout.jsonl").write_text("".join(json.dumps(asdict(triple)) + "\n" for triple in held_out))
    print(f"parameters {sum(p.numel() for p in model.parameters())}, held-out triples in the right order: {accuracy(model, tokenizer, held_out):.4f}")


if __name__ == "__main__":
    main()
