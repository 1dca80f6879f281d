"""Makes the tiny tagger of names from nothing: sentences, vocabulary, weights, ONNX.

    python3 models/tiny-tag/train.py --out models/tiny-tag
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
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))

from names import LABELS, Sentence, held_out_sentence, token_labels, training_sentence
from tokenizers import Tokenizer

from encoder.bert import Bert, BertShape
from encoder.onnx_file import write_bert
from encoder.wordpiece import encode, train_wordpiece, write_json, write_tokenizer

LONGEST = 128


class Tagger(nn.Module):
    """A BERT encoder and one linear layer for every token."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.bert = Bert(shape)
        self.head = nn.Linear(shape.hidden_size, len(LABELS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask [batch, length] to logits [batch, length, labels]."""
        return self.head(F.dropout(self.bert(ids, mask), 0.1, self.training))


def labelled(tokenizer: Tokenizer, sentences: list[Sentence]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and labels, all [sentences, longest of them]."""
    ids, mask = encode(tokenizer, [sentence.text for sentence in sentences], LONGEST)
    labels = torch.zeros_like(ids)
    for row, sentence in enumerate(sentences):
        found = token_labels(sentence, tokenizer.encode(sentence.text).offsets)[:LONGEST]
        labels[row, : len(found)] = torch.tensor(found)
    return ids, mask, labels


def train(model: Tagger, tokenizer: Tokenizer, steps: int, batch: int, rng: random.Random) -> None:
    """Fresh sentences at every step; a tenth of the tokens is hidden so that the words around count as well."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=steps, pct_start=0.1)
    hidden = tokenizer.token_to_id("[MASK]")
    began = time.monotonic()
    for step in range(steps):
        ids, mask, labels = labelled(tokenizer, [training_sentence(rng) for _ in range(batch)])
        ids = torch.where((torch.rand(ids.shape) < 0.1) & (mask == 1), hidden, ids)
        loss = F.cross_entropy(model(ids, mask)[mask == 1], labels[mask == 1])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}/{steps} loss {loss.item():.4f} {time.monotonic() - began:.0f} s", flush=True)


def accuracy(model: Tagger, tokenizer: Tokenizer, sentences: list[Sentence]) -> float:
    """The share of tokens with the right label, special tokens not counted."""
    model.eval()
    ids, mask, labels = labelled(tokenizer, sentences)
    counted = (mask == 1) & (ids >= 5)
    with torch.no_grad():
        return (model(ids, mask).argmax(2) == labels)[counted].float().mean().item()


def write_folder(out: Path, model: Tagger, tokenizer: Tokenizer, shape: BertShape) -> None:
    """`model.onnx`, the tokenizer and a configuration with the labels' names."""
    weights = {name: value.float().numpy() for name, value in model.bert.hugging_face_state().items()}
    weights |= {"classifier.weight": model.head.weight.detach().numpy(), "classifier.bias": model.head.bias.detach().numpy()}
    write_bert(out / "model.onnx", shape, weights, labels=len(LABELS), tags=True)
    write_tokenizer(out, tokenizer, LONGEST, lowercase=False)
    names = {"id2label": {str(index): label for index, label in enumerate(LABELS)}, "label2id": {label: index for index, label in enumerate(LABELS)}}
    write_json(out / "config.json", {"architectures": ["BertForTokenClassification"], **shape.config(), **names})


def main() -> None:
    """Reads the command line, trains, writes, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    held_out = [held_out_sentence(random.Random(args.seed + 1000 + index)) for index in range(300)]
    tokenizer = train_wordpiece([training_sentence(rng).text for _ in range(10_000)], args.vocabulary, lowercase=False)
    shape = BertShape(vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=256, max_position_embeddings=LONGEST)
    model = Tagger(shape)
    train(model, tokenizer, args.steps, args.batch, rng)
    args.out.mkdir(parents=True, exist_ok=True)
    write_folder(args.out, model, tokenizer, shape)
    (args.out / "heldout.jsonl").write_text("".join(json.dumps(asdict(sentence), ensure_ascii=False) + "\n" for sentence in held_out))
    print(f"parameters {sum(p.numel() for p in model.parameters())}, held-out accuracy of tokens: {accuracy(model, tokenizer, held_out):.4f}")


if __name__ == "__main__":
    main()
