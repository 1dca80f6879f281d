"""Asks the tiny model what it should know and reports the share of right answers per skill, with and without thinking.

    python3 models/tiny/evaluate.py                                   # the GGUF, run by PyTorch
    python3 models/tiny/evaluate.py --server http://127.0.0.1:11434   # any server that speaks /api/chat
"""

from __future__ import annotations

import argparse
import json
import re
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from questions import QUESTIONS, SUMS, Question

Reply = tuple[str, list[tuple[str, dict[str, Any]]]]
Answer = Callable[[Question, bool], Reply]
TOOL_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


def server_answers(address: str, model: str, temperature: float) -> Answer:
    """Answers from a server's /api/chat; the server splits thoughts and calls from the text."""

    def answer(question: Question, think: bool) -> Reply:
        body = {"model": model, "messages": question.messages, "tools": question.tools, "think": think, "stream": False, "options": {"temperature": temperature, "seed": 1, "num_predict": 600}}
        request = urllib.request.Request(f"{address}/api/chat", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            message = json.load(response)["message"]
        calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or []]
        return message.get("content", ""), calls

    return answer


def local_answers(path: Path, temperature: float) -> Answer:
    """Answers from the file itself: its own template, vocabulary and dequantised weights, in PyTorch."""
    from gguf_reader import read_gguf

    runner = read_gguf(path)

    def answer(question: Question, think: bool) -> Reply:
        text = runner.generate(runner.prompt(question.messages, question.tools, think), temperature, 600)
        if think:
            text = text.partition("</think>")[2]
        calls = []
        for found in TOOL_CALL.findall(text):
            try:
                call = json.loads(found)
                calls.append((call["name"], call["arguments"]))
            except (ValueError, KeyError):
                calls.append(("malformed", {}))
        return TOOL_CALL.sub("", text).strip(), calls

    return answer


def report(answer: Answer, questions: list[Question], think: bool, verbose: bool) -> tuple[int, int]:
    """Prints one line per skill; returns how many of how many answers were right."""
    right: dict[str, list[bool]] = defaultdict(list)
    for question in questions:
        content, calls = answer(question, think)
        good = question.passes(content, calls)
        right[question.skill].append(good)
        if verbose and not good:
            print(f"    wrong: {question.messages[-1]['content']!r} -> {content!r} {calls or ''}")
    for skill, results in right.items():
        print(f"  {skill:<14} {sum(results)}/{len(results)}")
    return sum(map(sum, right.values())), sum(map(len, right.values()))


def main() -> None:
    """Reads the command line and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, default=Path(__file__).with_name("tiny.gguf"))
    parser.add_argument("--server", help="address of a server that speaks /api/chat")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--verbose", action="store_true", help="print every wrong answer")
    args = parser.parse_args()
    answer = server_answers(args.server, args.model, args.temperature) if args.server else local_answers(args.gguf, args.temperature)
    for think in (False, True):
        print("with thinking" if think else "without thinking")
        good, total = report(answer, QUESTIONS, think, args.verbose)
        print(f"  {'all':<14} {good}/{total} ({good / total:.1%})")
        if not think:
            report(answer, SUMS, think, args.verbose)


if __name__ == "__main__":
    main()
