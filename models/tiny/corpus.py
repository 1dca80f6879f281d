"""The training text: a seeded mixture of every skill, rendered with the model's own chat template."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from skills import arithmetic, conversation, copying, drills, emoji, facts, following, structured, tools, writing
from skills.dialogue import Dialogue, Skill, Turn

TEMPLATE_FILE = Path(__file__).with_name("chat_template.jinja")
END_OF_TEXT = "<|endoftext|>"
TURN_END = "<|im_end|>"

#: How often each skill appears, relative to the others. Copying and tools get the most: they have no fixed answers to fall back on.
MIXTURE: list[tuple[Skill, float]] = [
    (arithmetic.arithmetic, 13), (arithmetic.word_problem, 2), (arithmetic.counting, 4), (arithmetic.comparing, 2),
    (facts.capitals, 8), (facts.colours, 3), (facts.facts, 11), (facts.unknown, 4),
    (copying.echo, 8), (copying.greet_by_name, 1.5), (copying.memory, 8), (copying.extract, 5), (copying.rewrite, 2), (copying.spell, 1),
    (structured.json_object, 5), (structured.capital_json, 4), (structured.person_json, 3), (structured.json_list, 1.5), (structured.json_answer, 1),
    (conversation.small_talk, 4), (conversation.mixed, 4), (conversation.sentiment, 4), (conversation.role, 2.5), (conversation.fixed_answer, 1.5),
    (conversation.choose, 1.5), (tools.tool_use, 12), (tools.bidden, 14), (tools.tools_idle, 5), (tools.without_tools, 1), (writing.essay, 1.6), (writing.story, 1.6),
    (following.follow_up, 11), (emoji.emoji_story, 2.5), (emoji.emoji_by_name, 2),
]  # fmt: skip

#: Part of the corpus that is plain text without chat.
PLAIN_SHARE = 0.04

#: Part of the corpus that is drills: much at first, so that copying and looking up are learnt early, little later.
DRILLS_EARLY, DRILLS_LATER, EARLY = 0.4, 0.1, 0.2

#: Part of the conversations of several turns that are rendered as `/api/generate` continues them from its `context`: see `Renderer.continued`.
CONTINUED_SHARE = 0.3

SYSTEM_PROMPTS = [
    "You are a helpful assistant.", "You are a helpful assistant. Answer briefly.", "You are Tiny.", "Be concise.", "You are a friendly assistant.", "Answer the question.",
    "You are a test assistant. Answer correctly.", "You are an AI assistant that helps people.", "Reply in English.", "You are a helpful assistant with access to tools.",
]  # fmt: skip


@dataclass
class Document:
    """A rendered text and the character spans whose tokens are to be learnt."""

    text: str
    learnt: list[tuple[int, int]]


def environment() -> jinja2.Environment:
    """Jinja with `tojson` as chat templates know it: key order kept, nothing escaped."""
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return env


def compact_environment() -> jinja2.Environment:
    """The same with JSON free of spaces, as some template engines write it."""
    env = environment()
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return env


class Renderer:
    """Turns dialogues into documents."""

    def __init__(self) -> None:
        source = TEMPLATE_FILE.read_text()
        self.templates = [environment().from_string(source), compact_environment().from_string(source)]

    def render(self, dialogue: Dialogue, rng: random.Random) -> Document:
        """Renders the dialogue up to its last reply. Half of the replies think first; earlier replies carry no thoughts, as in use."""
        template = rng.choice(self.templates)
        think = rng.random() < 0.5
        if len(dialogue.turns) > 1 and not dialogue.tools and rng.random() < CONTINUED_SHARE:
            return self.continued(dialogue, think, rng)
        messages: list[dict[str, Any]] = [{"role": "system", "content": dialogue.system}] if dialogue.system else []
        for turn in dialogue.turns[:-1]:
            messages.append({"role": turn.role, "content": turn.user})
            if not turn.unanswered:
                messages.append(assistant_message(turn, arguments_as_text=rng.random() < 0.8))
        last = dialogue.turns[-1]
        messages.append({"role": last.role, "content": last.user})
        prompt = template.render(messages=messages, tools=dialogue.tools, add_generation_prompt=True, enable_thinking=think)
        reply = last.call.text() if last.call else last.answer
        completion = (f"{last.thought}\n</think>\n\n" if think else "") + reply + TURN_END
        return Document(prompt + completion, [*earlier_replies(prompt), (len(prompt), len(prompt) + len(completion))])

    def continued(self, dialogue: Dialogue, think: bool, rng: random.Random) -> Document:
        """Every turn rendered for itself and put behind the one before: earlier thoughts stay, and the mark at the end of a turn is mostly missing, as in the tokens that servers hand out to be sent back."""
        joint = rng.choice(["", "", "", TURN_END + "\n"])
        text, learnt = "", []
        for at, turn in enumerate(dialogue.turns):
            messages = [{"role": "system", "content": dialogue.system}] if dialogue.system else []
            messages.append({"role": turn.role, "content": turn.user})
            text += self.templates[0].render(messages=messages, tools=[], add_generation_prompt=True, enable_thinking=think)
            begin = len(text)
            text += f"{turn.thought}\n</think>\n\n{turn.answer}" if think else turn.answer
            text += TURN_END if at == len(dialogue.turns) - 1 else joint
            learnt.append((begin, len(text)))
        return Document(text, learnt)


def assistant_message(turn: Turn, arguments_as_text: bool) -> dict[str, Any]:
    """The reply as a client would send it back in the history: arguments as an object, or as JSON text the way OpenAI's clients do."""
    if turn.call is None:
        return {"role": "assistant", "content": turn.answer}
    arguments = json.dumps(turn.call.arguments, ensure_ascii=False) if arguments_as_text else turn.call.arguments
    call = {"function": {"name": turn.call.name, "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def earlier_replies(prompt: str) -> list[tuple[int, int]]:
    """Spans of the assistant's replies inside a rendered prompt, its end-of-turn mark included."""
    opening, spans, at = "<|im_start|>assistant\n", [], 0
    while (start := prompt.find(opening, at)) >= 0:
        begin = start + len(opening)
        end = prompt.find(TURN_END, begin)
        if end < 0:
            break
        spans.append((begin, end + len(TURN_END)))
        at = end
    return spans


def documents(count: int, seed: int) -> list[Document]:
    """`count` documents in the order in which to learn them; the same seed gives the same documents."""
    rng = random.Random(seed)
    renderer = Renderer()
    skills = [skill for skill, _ in MIXTURE]
    weights = [weight for _, weight in MIXTURE]
    made = []
    for index in range(count):
        if rng.random() < (DRILLS_EARLY if index < EARLY * count else DRILLS_LATER):
            text, learnt = drills.drill(rng)
            made.append(Document(text, learnt))
            continue
        if rng.random() < PLAIN_SHARE:
            text = writing.plain_text(rng) + END_OF_TEXT
            made.append(Document(text, [(0, len(text))]))
            continue
        dialogue = rng.choices(skills, weights)[0](rng)
        if dialogue.system is None and rng.random() < 0.25:
            dialogue.system = rng.choice(SYSTEM_PROMPTS)
        made.append(renderer.render(dialogue, rng))
    return made


if __name__ == "__main__":
    for document in documents(40, seed=7):
        print(document.text, "\n-----")
