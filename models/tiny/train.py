"""Makes the tiny chat model from nothing: text, vocabulary, weights, GGUF.

    python3 models/tiny/train.py --out models/tiny

One pass over seeded, generated documents; `--start` goes on from weights that are there, with documents of another seed. On a CPU one thread per worker is fastest at this size; workers share the gradient.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from corpus import TEMPLATE_FILE, Document, documents
from gguf_file import write_gguf
from gguf_reader import read_gguf
from model import Shape, Tiny
from start import initialise
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from vocabulary import train_vocabulary

#: Documents longer than this many tokens are cut.
LONGEST = 2048
#: Padded tokens in one forward pass: small enough for a CPU's cache.
MICROBATCH_TOKENS = 3072
IGNORED = -100


@dataclass
class Sample:
    """One tokenised document: ids, and the same ids where they are to be learnt, `IGNORED` elsewhere."""

    ids: list[int]
    targets: list[int]


def tokenise(docs: list[Document], tokenizer: Tokenizer) -> list[Sample]:
    """Token ids and targets; a token is learnt when it lies in a learnt span."""
    samples = []
    for doc, encoding in zip(docs, tokenizer.encode_batch([d.text for d in docs]), strict=True):
        targets, spans = [], iter([*doc.learnt, (len(doc.text) + 1, len(doc.text) + 1)])
        begin, end = next(spans)
        for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
            while start >= end:
                begin, end = next(spans)
            targets.append(token if start >= begin and stop <= end else IGNORED)
        samples.append(Sample(encoding.ids[:LONGEST], targets[:LONGEST]))
    return samples


def microbatches(samples: list[Sample], rng: random.Random) -> list[list[Sample]]:
    """Groups of documents of similar length, shuffled within windows of 512 documents."""
    groups: list[list[Sample]] = []
    for at in range(0, len(samples), 512):
        window: list[list[Sample]] = [[]]
        for sample in sorted(samples[at : at + 512], key=lambda s: len(s.ids)):
            if window[-1] and (len(window[-1]) + 1) * len(sample.ids) > MICROBATCH_TOKENS:
                window.append([])
            window[-1].append(sample)
        rng.shuffle(window)
        groups += window
    return groups


def padded(group: list[Sample]) -> tuple[Tensor, Tensor]:
    """Inputs and next-token targets, both [documents, longest - 1]."""
    longest = max(len(sample.ids) for sample in group)
    ids = torch.zeros(len(group), longest, dtype=torch.long)
    targets = torch.full((len(group), longest), IGNORED, dtype=torch.long)
    for row, sample in enumerate(group):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        targets[row, : len(sample.ids)] = torch.tensor(sample.targets)
    return ids[:, :-1], targets[:, 1:]


def rate(step: int, steps: int, warm_up: int = 40) -> float:
    """Share of the peak learning rate: up over `warm_up` steps, level, then linearly down over the second half."""
    return min(1.0, (step + 1) / warm_up, 0.01 + 2.0 * (steps - step) / steps)


class Trainer:
    """One worker: float32 weights and optimisers, and a working copy of the weights in the precision it computes in."""

    def __init__(self, tokenizer: Tokenizer, args: argparse.Namespace, rank: int) -> None:
        torch.manual_seed(args.seed)
        shape = Shape(vocabulary=tokenizer.get_vocab_size())
        self.rank, self.workers = rank, args.workers
        self.model = Tiny(shape)
        if args.start:
            self.model.load_state_dict(read_gguf(args.start / "tiny.gguf").model.state_dict())
        else:
            initialise(self.model, tokenizer)
        self.working = Tiny(shape).to(args.device, getattr(torch, args.precision))
        self.device = args.device
        matrices = [p for name, p in self.model.named_parameters() if p.dim() == 2 and name != "embedding.weight"]
        others = [p for name, p in self.model.named_parameters() if p.dim() != 2 or name == "embedding.weight"]
        #: Each worker updates its share of the matrices and the others take the result.
        self.owned = [(index % args.workers, p) for index, p in enumerate(matrices)]
        mine = [p for owner, p in self.owned if owner == rank]
        self.optimisers = [
            torch.optim.Muon(mine, lr=args.learning_rate, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=args.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.peak = args.learning_rate

    def step(self, groups: list[list[Sample]], share: float) -> float:
        """One update from this worker's groups; returns the mean loss over all workers' learnt tokens."""
        for source, copy in zip(self.model.parameters(), self.working.parameters(), strict=True):
            copy.data.copy_(source.data)
            copy.grad = None
        totals = torch.zeros(2)
        for group in groups:
            ids, targets = (t.to(self.device) for t in padded(group))
            learnt = targets != IGNORED
            logits = self.working.logits(self.working.hidden(ids)[learnt])
            loss = F.cross_entropy(logits.float(), targets[learnt], reduction="sum")
            (loss / 512).backward()
            totals += torch.tensor([loss.item(), float(learnt.sum())])
        gradient = torch.cat([p.grad.float().flatten().cpu() for p in self.working.parameters()])
        if self.workers > 1:
            dist.all_reduce(totals)
            dist.all_reduce(gradient)
        gradient *= 512 / totals[1]
        gradient *= min(1.0, 1.0 / (float(gradient.norm()) + 1e-6))
        pieces = gradient.split([p.numel() for p in self.model.parameters()])
        for parameter, piece in zip(self.model.parameters(), pieces, strict=True):
            parameter.grad = piece.view_as(parameter)
        for optimiser in self.optimisers:
            for options in optimiser.param_groups:
                options["lr"] = self.peak * share
            optimiser.step()
        if self.workers > 1:
            for owner, parameter in self.owned:
                dist.broadcast(parameter.data, src=owner)
        return float(totals[0] / totals[1])


def work(rank: int, args: argparse.Namespace, tokenizer_json: str) -> None:
    """Trains on every `workers`-th document; worker 0 reports and writes the result."""
    if args.device == "cpu":
        torch.set_num_threads(1 if args.workers > 1 else args.threads)
    if args.workers > 1:
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(args.port)}
        dist.init_process_group("gloo", rank=rank, world_size=args.workers)
    tokenizer = Tokenizer.from_str(tokenizer_json)
    samples = tokenise(documents(args.documents, args.seed)[rank :: args.workers], tokenizer)
    groups = microbatches(samples, random.Random(args.seed + rank))
    steps = torch.tensor(len(groups) // args.accumulate)
    if args.workers > 1:
        dist.all_reduce(steps, op=dist.ReduceOp.MIN)
    trainer = Trainer(tokenizer, args, rank)
    began, seen, smooth = time.monotonic(), 0, 0.0
    for step in range(int(steps)):
        chosen = groups[step * args.accumulate : (step + 1) * args.accumulate]
        loss = trainer.step(chosen, rate(step, int(steps)))
        seen += sum(len(sample.ids) for group in chosen for sample in group) * args.workers
        smooth = loss if step == 0 else 0.95 * smooth + 0.05 * loss
        if rank == 0 and (step % 25 == 0 or step == int(steps) - 1):
            seconds = time.monotonic() - began
            print(f"step {step}/{int(steps)} loss {smooth:.4f} {seen / seconds:.0f} tokens/s {seconds:.0f} s", flush=True)
        if rank == 0 and (step % 100 == 99 or step == int(steps) - 1):
            write_gguf(args.out / "tiny.gguf", trainer.model, tokenizer, TEMPLATE_FILE.read_text())
    if args.workers > 1:
        dist.destroy_process_group()


def main() -> None:
    """Reads the command line, learns the vocabulary, starts the workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for tiny.gguf and tokenizer.json")
    parser.add_argument("--start", type=Path, help="folder of the tiny.gguf and tokenizer.json to go on from, instead of new weights")
    parser.add_argument("--documents", type=int, default=75_000)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--accumulate", type=int, default=1, help="microbatches per worker and step")
    parser.add_argument("--workers", type=int, default=2, help="processes that share the gradient")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of a single worker")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--port", type=int, default=29_511, help="loopback port on which the workers meet")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.start:
        tokenizer = Tokenizer.from_file(str(args.start / "tokenizer.json"))
    else:
        sample = documents(20_000, args.seed + 1)
        tokenizer = train_vocabulary((doc.text for doc in sample), args.vocabulary)
    tokenizer.save(str(args.out / "tokenizer.json"))
    if args.workers > 1:
        mp.spawn(work, args=(args, tokenizer.to_str()), nprocs=args.workers)
    else:
        work(0, args, tokenizer.to_str())


if __name__ == "__main__":
    main()
