"""Makes the tiny sentiment classifier from nothing: texts, vocabulary, weights, ONNX.

    python3 models/tiny-classify/train.py --out models/tiny-classify
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

from reviews import LABELS, Review, held_out_review, training_review
from tokenizers import Tokenizer

from encoder.bert import Bert, BertShape, mean_pooled
from encoder.onnx_file import write_bert
from encoder.wordpiece import encode, train_wordpiece, write_json, write_tokenizer

LONGEST = 256


class Classifier(nn.Module):
    """A BERT encoder, the mean of its states, and one linear layer."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        self.bert = Bert(shape)
        self.head = nn.Linear(shape.hidden_size, len(LABELS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask [batch, length] to logits [batch, labels]."""
        return self.head(F.dropout(mean_pooled(self.bert(ids, mask), mask), 0.2, self.training))


def train(model: Classifier, tokenizer: Tokenizer, steps: int, batch: int, rng: random.Random) -> None:
    """Fresh texts at every step; a tenth of the tokens is hidden so that no single word decides."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-3, total_steps=steps, pct_start=0.1)
    hidden = tokenizer.token_to_id("[MASK]")
    began = time.monotonic()
    for step in range(steps):
        reviews = [training_review(rng) for _ in range(batch)]
        ids, mask = encode(tokenizer, [review.text for review in reviews], LONGEST)
        ids = torch.where((torch.rand(ids.shape) < 0.1) & (mask == 1), hidden, ids)
        loss = F.cross_entropy(model(ids, mask), torch.tensor([LABELS.index(review.label) for review in reviews]), label_smoothing=0.02)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}/{steps} loss {loss.item():.4f} {time.monotonic() - began:.0f} s", flush=True)


def predictions(model: Classifier, tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    """The most likely label of each text."""
    model.eval()
    with torch.no_grad():
        return [LABELS[index] for index in model(*encode(tokenizer, texts, LONGEST)).argmax(1).tolist()]


def write_folder(out: Path, model: Classifier, tokenizer: Tokenizer, shape: BertShape) -> None:
    """`model.onnx`, the tokenizer and a configuration with the labels' names."""
    weights = {name: value.float().numpy() for name, value in model.bert.hugging_face_state().items()}
    weights |= {"classifier.weight": model.head.weight.detach().numpy(), "classifier.bias": model.head.bias.detach().numpy()}
    write_bert(out / "model.onnx", shape, weights, labels=len(LABELS))
    write_tokenizer(out, tokenizer, LONGEST)
    names = {"id2label": {str(index): label for index, label in enumerate(LABELS)}, "label2id": {label: index for index, label in enumerate(LABELS)}}
    write_json(out / "config.json", {"architectures": ["BertForSequenceClassification"], **shape.config(), **names, "problem_type": "single_label_classification"})


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
    held_out: list[Review] = [held_out_review(random.Random(args.seed + 1000 + index)) for index in range(400)]
    tokenizer = train_wordpiece([training_review(rng).text for _ in range(20_000)], args.vocabulary)
    shape = BertShape(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=LONGEST)
    model = Classifier(shape)
    train(model, tokenizer, args.steps, args.batch, rng)
    args.out.mkdir(parents=True, exist_ok=True)
    write_folder(args.out, model, tokenizer, shape)
    (args.out / "heldout.jsonl").write_text("".join(json.dumps(asdict(review)) + "\n" for review in held_out))
    right = sum(label == review.label for label, review in zip(predictions(model, tokenizer, [r.text for r in held_out]), held_out, strict=True))
    print(f"parameters {sum(p.numel() for p in model.parameters())}, held-out accuracy: {right / len(held_out):.4f}")


if __name__ == "__main__":
    main()
