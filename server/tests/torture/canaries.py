"""Sixty-four conversations at a time, each about a word that nobody else has said: none hears of another's, and each reads what
it would have read alone.

The words are drawn, so that none can come up by chance. Prompts are of every kind that keeps something between tokens or between
requests: a beginning that all share, a history, an answer that is held to a grammar of its own, a repetition without template.
Some callers leave in the middle; what they have read until then must be right too.

Nobody asks what the model is not sure of: sums of floating point depend on how many are computed together, and where two words
are as good as each other the company decides. A question counts if at every token the best was clearly better than the second.
"""

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from beside import Pulse, Watch
from hostile import in_threads
from report import Report, Share
from service import ANSWER_SECONDS, Failed, Server, expect, percentile
from wire import Wire, request

GOAL = 10_000

STREAMS = 64

EACH, FEW = 16, 2
"""Words of a caller, and where time is short. Nobody else ever asks about them, so that whoever reads one of them has read
somebody else's."""

SURE = 1.0
"""How much better the best token has to be than the second, as the logarithm of how many times as probable."""

LEAVES = 0.1
"""How many leave in the middle."""

PREAMBLE = "You are a careful assistant. You remember what you are told, and repeat it when you are asked. " * 12
"""A beginning that many share, so that its results are kept and reused."""

FIRST, SECOND = "bdfgklmnprstvz", "aeiou"


def word(dice: random.Random) -> str:
    """Eight letters that can be said: one of 24 million."""
    return "".join(dice.choice(FIRST) + dice.choice(SECOND) for _ in range(4))


@dataclass
class Question:
    """A request about a word, and what was answered to it alone."""

    word: str
    route: str
    body: dict
    form: str | None = None
    """A pattern that the answer is held to. What is best within it is not told, so that only the pattern is judged."""
    alone: str = ""

    def is_right(self, text: str, is_whole: bool) -> bool:
        if self.form:
            return re.fullmatch(self.form, text) is not None if is_whole else f"[{self.word}]".startswith(text[: len(self.word) + 2])
        return text == self.alone if is_whole else self.alone.startswith(text)

    def records(self, body: bytes) -> list[dict]:
        """The whole lines of a stream."""
        lines = body[: body.rfind(b"\n") + 1].splitlines()
        if self.route.startswith("/v1/"):
            lines = [line[6:] for line in lines if line.startswith(b"data: {")]
        records = [json.loads(line) for line in lines if line]
        for record in records:
            expect("error" not in record, f"an error in a stream: {record}")
        return [record["choices"][0] for record in records if record["choices"]] if self.route.startswith("/v1/") else records


def text(records: list[dict]) -> str:
    """What a stream says."""
    said = [record.get("response") or record.get("message", record.get("delta", {})).get("content") for record in records]
    return "".join(it or "" for it in said)


def is_sure(records: list[dict]) -> bool:
    """Whether the best token was always clearly better than the second."""
    tokens = []
    for record in records:
        told = record.get("logprobs") or []
        tokens += told["content"] if isinstance(told, dict) else told
    expect(tokens, "a stream has no probabilities")
    return all(len(it["top_logprobs"]) < 2 or it["top_logprobs"][0]["logprob"] - it["top_logprobs"][1]["logprob"] >= SURE for it in tokens)


def question(dice: random.Random, kind: int) -> Question:
    name = word(dice)
    options = {"temperature": 0, "num_predict": 48, "num_ctx": 1024}
    told = f"Remember the word {name}. Which word did I tell you?"
    if kind == 0:
        return Question(name, "/api/generate", {"model": "tiny", "prompt": told, "think": False, "options": options})
    if kind == 1:
        return Question(name, "/api/generate", {"model": "tiny", "system": PREAMBLE, "prompt": told, "think": False, "options": options})
    if kind == 2:
        form = rf"\[{name}\] [a-z ,.]{{30,60}}"
        body = {
            "model": "tiny",
            "prompt": f"Tell me about {name}.",
            "grammar": {"regex": form},
            "think": False,
            "options": options | {"num_predict": 100},
        }
        return Question(name, "/api/generate", body, form)
    if kind == 3:
        history = [
            {"role": "user", "content": f"My name is {name.capitalize()}."},
            {"role": "assistant", "content": f"Hello, {name.capitalize()}."},
            {"role": "user", "content": "What is my name?"},
        ]
        return Question(name, "/api/chat", {"model": "tiny", "messages": history, "think": False, "options": options})
    if kind == 4:
        return Question(name, "/api/generate", {"model": "tiny", "prompt": f"{name} " * 12, "raw": True, "options": options})
    said = [{"role": "user", "content": f"Repeat after me: {name}"}]
    sure = {"stream": True, "temperature": 0, "max_tokens": 48, "reasoning_effort": "none"}
    return Question(name, "/v1/chat/completions", {"model": "tiny", "messages": said} | sure)


KINDS = 6


def pieces(wire: Wire) -> Iterator[bytes]:
    """The body of a reply, as it comes."""
    head = wire.until(b"\r\n\r\n").lower()
    expect(head.split()[1] == b"200", f"a stream is refused: {head[:300]!r}")
    expect(b"chunked" in head, f"not a stream: {head[:300]!r}")
    while size := int(wire.until(b"\r\n"), 16):
        yield wire.exactly(size)
        wire.until(b"\r\n")
    wire.until(b"\r\n")


def ask(server: Server, asked: Question, most_pieces: int | None = None, **more: object) -> list[dict]:
    """The answer's records, or those of so many pieces of it, whereupon the caller leaves."""
    with Wire(server.port, timeout=ANSWER_SECONDS) as wire:
        wire.send(request("POST", asked.route, json.dumps(asked.body | more).encode()))
        body = b""
        for number, piece in enumerate(pieces(wire)):
            if number == most_pieces:
                break
            body += piece
    return asked.records(body)


def sure_question(server: Server, dice: random.Random) -> Question:
    """One that the model answers alone without hesitation, with its answer."""
    kind = dice.randrange(KINDS)
    for _ in range(200):
        asked = question(dice, kind)
        records = ask(server, asked, logprobs=True, top_logprobs=2)
        asked.alone = text(records)
        if asked.word in asked.alone.lower() and asked.is_right(asked.alone, True) and (asked.form or is_sure(records)):
            return asked
    raise Failed(f"the model is sure of no question of kind {kind}")


class Findings:
    """What callers have read."""

    def __init__(self, words: dict[str, int]):
        self.words = words
        """Whose each word is."""
        self.lock = threading.Lock()
        self.read: Counter = Counter()
        self.wrong: list[str] = []

    def judge(self, caller: int, asked: Question, read: str, left: bool) -> None:
        lowered = read.lower()
        foreign = [it for it, owner in self.words.items() if owner != caller and it in lowered]
        is_right = asked.is_right(read, not left)
        with self.lock:
            self.read["left" if left else "read"] += 1
            self.read["said"] += asked.word in lowered
            self.read["foreign"] += bool(foreign)
            self.read["other"] += not is_right
            if foreign or not is_right:
                self.wrong.append(f"{asked.route} about {asked.word}: {read!r} instead of {asked.alone!r}; foreign: {foreign}")

    def fail(self, caller: int, asked: Question, error: Exception) -> None:
        with self.lock:
            self.wrong.append(f"caller {caller}, {asked.route} about {asked.word}: {error!r}")


def attack(report: Report, share: Share, program: str, folder: Path, seed: int) -> None:
    dice = random.Random(seed)
    server = Server(program, folder / "canaries", OLLAMA_NUM_PARALLEL=str(STREAMS)).start()
    try:
        each = EACH if share.seconds is None or share.seconds > 120 else FEW
        questions = [[sure_question(server, dice) for _ in range(each)] for _ in range(STREAMS)]
        words = {asked.word: caller for caller, own in enumerate(questions) for asked in own}
        expect(len(words) == STREAMS * each, "two have drawn the same word")
        found = Findings(words)
        time_left = share.part(1)
        before = server.resources()

        def converse(caller: int) -> None:
            own_dice = random.Random(f"{seed}:{caller}")
            for _ in range(-(-GOAL // STREAMS)):
                if not time_left.lasts():
                    return
                asked = own_dice.choice(questions[caller])
                most = own_dice.randrange(1, 20) if own_dice.random() < LEAVES else None
                try:
                    found.judge(caller, asked, text(ask(server, asked, most)), most is not None)
                except Exception as error:  # whatever happens to a caller is a finding
                    found.fail(caller, asked, error)

        with Pulse(server) as pulse, Watch(server) as watch:
            in_threads(STREAMS, converse)
        wrong = found.wrong + pulse.failures[:3] + server.accidents()[:3]
        expect(found.read["said"] > found.read["read"] / 2, "the answers are not about the words they were asked about")
    finally:
        server.stop()
    for line in wrong[:20]:
        print(f"    {line[:600]}", flush=True)
    tried = found.read["read"] + found.read["left"]
    measured = (
        f"{found.read['read']} read to the end, {found.read['left']} left in the middle; {found.read['foreign']} foreign words, {found.read['other']} texts other than alone; "
        f"{found.read['said']} answers say the word they were asked about; P99 of polite questions {percentile(pulse.seconds, 0.99) * 1e3:.0f} ms; "
        f"RSS {before.resident_bytes >> 20}, at most {watch.peak >> 20} MiB"
    )
    report.add(
        f"{STREAMS} streams at a time, each about a word of its own",
        tried,
        GOAL,
        "no word of another's, every text as it is alone",
        measured + (f"; {len(wrong)} wrong, such as {wrong[0][:200]}" if wrong else ""),
        not wrong,
    )
