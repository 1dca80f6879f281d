"""`POST /api/chat`."""

from __future__ import annotations

from .case import CHAT, EMBED, FULL, GREEDY, MISSING, PLAIN, Case, post, wrong_types
from .generate import SCHEMA

ROUTE = "/api/chat"
QUESTION = {"role": "user", "content": "What is the capital of France?"}
ASK = {"model": CHAT, "messages": [QUESTION], "options": GREEDY, "think": False, "stream": False}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "The city"}}, "required": ["city"]},
    },
}
TOOLS = ASK | {"messages": [{"role": "user", "content": "What is the weather in Paris?"}], "tools": [WEATHER], "options": GREEDY | {"num_predict": 60}}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]}
AGAIN = [TOOLS["messages"][0], CALL, {"role": "tool", "tool_name": "get_weather", "content": "18 degrees and sunny"}]


def messages(name: str, *said: object, **changed: object) -> Case:
    """A chat with other messages."""
    return post(ROUTE, f"chat/{name}", ASK | {"messages": list(said)} | changed)


def rendered(name: str, **changed: object) -> Case:
    """Only what the prompt becomes."""
    return post(ROUTE, f"chat/render-{name}", ASK | {"_debug_render_only": True} | changed)


SYSTEM = {"role": "system", "content": "Be brief."}
ANSWER = {"role": "assistant", "content": "Paris."}
FOLLOW = {"role": "user", "content": "And of Italy?"}

CASES = [
    post(ROUTE, "chat/whole", ASK),
    post(ROUTE, "chat/stream", ASK | {"stream": True}),
    post(ROUTE, "chat/think", ASK | {"think": True, "options": GREEDY | {"num_predict": 200}}),
    post(ROUTE, "chat/think-stream", ASK | {"think": True, "stream": True, "options": GREEDY | {"num_predict": 200}}),
    post(ROUTE, "chat/think-cut", ASK | {"think": True, "options": GREEDY | {"num_predict": 4}}),
    post(ROUTE, "chat/think-default", {name: ASK[name] for name in ASK if name != "think"}),
    *[post(ROUTE, f"chat/think-{index}", ASK | {"think": think}) for index, think in enumerate(("high", "medium", "low", "max", "none", "", 1, None, [], "true"))],
    post(ROUTE, "chat/think-unable", ASK | {"model": PLAIN, "think": True}),
    post(ROUTE, "chat/think-unable-level", ASK | {"model": PLAIN, "think": "low"}),
    post(ROUTE, "chat/think-unable-false", ASK | {"model": PLAIN, "think": False}),
    post(ROUTE, "chat/full", ASK | {"model": FULL}),
    post(ROUTE, "chat/plain", ASK | {"model": PLAIN}),
    post(ROUTE, "chat/plain-stream", ASK | {"model": PLAIN, "stream": True}),
    messages("system", SYSTEM, QUESTION),
    messages("system-last", QUESTION, SYSTEM),
    messages("two-systems", SYSTEM, SYSTEM, QUESTION),
    messages("several-turns", QUESTION, ANSWER, FOLLOW),
    messages("two-users", QUESTION, FOLLOW),
    messages("ends-with-assistant", QUESTION, {"role": "assistant", "content": "The capital"}),
    messages("only-system", SYSTEM),
    messages("only-assistant", ANSWER),
    messages("role-unknown", {"role": "owner", "content": "Hi"}),
    messages("role-upper", {"role": "USER", "content": "What is the capital of France?"}),
    messages("role-absent", {"content": "Hi"}),
    messages("role-number", {"role": 1, "content": "Hi"}),
    messages("role-developer", {"role": "developer", "content": "Be brief."}, QUESTION),
    messages("content-absent", {"role": "user"}),
    messages("content-empty", {"role": "user", "content": ""}),
    messages("content-null", {"role": "user", "content": None}),
    messages("content-number", {"role": "user", "content": 1}),
    messages("content-parts", {"role": "user", "content": [{"type": "text", "text": "Hi"}]}),
    messages("content-unicode", {"role": "user", "content": "Say <b>&amp;</b> \u2028 \u0000 \U0001f600"}),
    messages("thinking", QUESTION, ANSWER | {"thinking": "I know that."}, FOLLOW),
    messages("images", QUESTION | {"images": ["aGVsbG8="]}),
    messages("images-no-base64", QUESTION | {"images": ["???"]}),
    messages("images-number", QUESTION | {"images": [1]}),
    post(ROUTE, "chat/tools", TOOLS),
    post(ROUTE, "chat/tools-stream", TOOLS | {"stream": True}),
    post(ROUTE, "chat/tools-think", TOOLS | {"think": True, "options": GREEDY | {"num_predict": 200}}),
    post(ROUTE, "chat/tools-answered", TOOLS | {"messages": AGAIN}),
    post(ROUTE, "chat/tools-answered-by-id", TOOLS | {"messages": [AGAIN[0], CALL | {"tool_calls": [{"id": "call_1", **CALL["tool_calls"][0]}]}, {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees and sunny"}]}),
    post(ROUTE, "chat/tools-empty", ASK | {"tools": []}),
    post(ROUTE, "chat/tools-null", ASK | {"tools": None}),
    post(ROUTE, "chat/tools-unable", TOOLS | {"model": PLAIN}),
    post(ROUTE, "chat/tools-unused", TOOLS | {"messages": [QUESTION]}),
    post(ROUTE, "chat/tools-no-function", TOOLS | {"tools": [{"type": "function"}]}),
    post(ROUTE, "chat/tools-no-parameters", TOOLS | {"tools": [{"type": "function", "function": {"name": "now"}}]}),
    post(ROUTE, "chat/tools-string", TOOLS | {"tools": ["get_weather"]}),
    post(ROUTE, "chat/tools-type-list", TOOLS | {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}}}]}),
    post(ROUTE, "chat/tool-call-arguments-string", TOOLS | {"messages": [AGAIN[0], {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]}),
    post(ROUTE, "chat/tool-call-no-function", TOOLS | {"messages": [AGAIN[0], {"role": "assistant", "tool_calls": [{}]}]}),
    post(ROUTE, "chat/tool-choice-ignored", TOOLS | {"tool_choice": "auto"}),
    post(ROUTE, "chat/format-json", ASK | {"format": "json"}),
    post(ROUTE, "chat/format-schema", ASK | {"format": SCHEMA}),
    post(ROUTE, "chat/format-schema-stream", ASK | {"format": SCHEMA, "stream": True}),
    post(ROUTE, "chat/format-schema-think", ASK | {"format": SCHEMA, "think": True, "options": GREEDY | {"num_predict": 200}}),
    post(ROUTE, "chat/format-plain", ASK | {"model": PLAIN, "format": SCHEMA}),
    post(ROUTE, "chat/format-unknown", ASK | {"format": "xml"}),
    post(ROUTE, "chat/format-unknown-plain", ASK | {"model": PLAIN, "format": "xml"}),
    post(ROUTE, "chat/format-no-schema", ASK | {"format": {"type": "surprise"}}),
    post(ROUTE, "chat/format-empty", ASK | {"format": ""}),
    post(ROUTE, "chat/logprobs", ASK | {"logprobs": True, "options": GREEDY | {"num_predict": 3}}),
    post(ROUTE, "chat/logprobs-stream", ASK | {"logprobs": True, "stream": True, "options": GREEDY | {"num_predict": 3}}),
    post(ROUTE, "chat/logprobs-top", ASK | {"logprobs": True, "top_logprobs": 3, "options": GREEDY | {"num_predict": 2}}),
    post(ROUTE, "chat/logprobs-top-too-many", ASK | {"logprobs": True, "top_logprobs": 21}),
    post(ROUTE, "chat/logprobs-plain", ASK | {"model": PLAIN, "logprobs": True, "top_logprobs": 1, "options": GREEDY | {"num_predict": 2}}),
    rendered("question"),
    rendered("think", think=True),
    rendered("system", messages=[SYSTEM, QUESTION]),
    rendered("several-turns", messages=[QUESTION, ANSWER, FOLLOW]),
    rendered("thinking", messages=[QUESTION, ANSWER | {"thinking": "I know that."}, FOLLOW]),
    rendered("tools", messages=TOOLS["messages"], tools=[WEATHER]),
    rendered("tools-answered", messages=AGAIN, tools=[WEATHER]),
    rendered("full", model=FULL),
    rendered("full-system", model=FULL, messages=[SYSTEM, QUESTION]),
    rendered("plain", model=PLAIN, messages=[SYSTEM, QUESTION, ANSWER, FOLLOW]),
    rendered("truncated", messages=[SYSTEM, *[QUESTION, ANSWER] * 20, FOLLOW], options=GREEDY | {"num_ctx": 128}),
    rendered("truncated-plain", model=PLAIN, messages=[SYSTEM, *[QUESTION, ANSWER] * 20, FOLLOW], options=GREEDY | {"num_ctx": 128}),
    rendered("truncate-false", messages=[SYSTEM, *[QUESTION, ANSWER] * 20, FOLLOW], options=GREEDY | {"num_ctx": 128}, truncate=False),
    messages("too-long", {"role": "user", "content": "blue sky " * 400}, options=GREEDY | {"num_ctx": 256}),
    messages("too-long-stream", {"role": "user", "content": "blue sky " * 400}, options=GREEDY | {"num_ctx": 256}, stream=True),
    messages("too-long-plain", {"role": "user", "content": "blue sky " * 400}, options=GREEDY | {"num_ctx": 256}, model=PLAIN),
    messages("too-long-truncate-false", {"role": "user", "content": "blue sky " * 400}, options=GREEDY | {"num_ctx": 256}, truncate=False),
    messages("too-long-plain-truncate-false", {"role": "user", "content": "blue sky " * 400}, options=GREEDY | {"num_ctx": 256}, truncate=False, model=PLAIN),
    messages("history-cut", SYSTEM, *[QUESTION, ANSWER] * 20, FOLLOW, options=GREEDY | {"num_ctx": 128}),
    messages("history-truncate-false", SYSTEM, *[QUESTION, ANSWER] * 20, FOLLOW, options=GREEDY | {"num_ctx": 128}, truncate=False),
    post(ROUTE, "chat/context-full", ASK | {"messages": [{"role": "user", "content": "Tell me a story about a fox."}], "options": GREEDY | {"num_ctx": 64, "num_predict": 100}}),
    post(ROUTE, "chat/context-full-no-shift", ASK | {"messages": [{"role": "user", "content": "Tell me a story about a fox."}], "options": GREEDY | {"num_ctx": 64, "num_predict": 100}, "shift": False}),
    post(ROUTE, "chat/option-stop", ASK | {"options": GREEDY | {"stop": ["Paris"]}}),
    post(ROUTE, "chat/option-wrong", ASK | {"options": {"num_ctx": "many"}}),
    post(ROUTE, "chat/option-wrong-stream", ASK | {"options": {"num_ctx": "many"}, "stream": True}),
    post(ROUTE, "chat/embedding-model", ASK | {"model": EMBED}),
    post(ROUTE, "chat/missing", ASK | {"model": MISSING}),
    post(ROUTE, "chat/no-model", {"messages": [QUESTION]}),
    post(ROUTE, "chat/unknown-field", ASK | {"surprise": {}}),
    post(ROUTE, "chat/keep-alive-zero", ASK | {"keep_alive": 0}),
    post(ROUTE, "chat/keep-alive-string", ASK | {"keep_alive": "300"}),
    post(ROUTE, "load/chat", {"model": CHAT}),
    post(ROUTE, "load/chat-null", {"model": CHAT, "messages": None}),
    post(ROUTE, "load/chat-whole", {"model": CHAT, "messages": [], "stream": False}),
    post(ROUTE, "load/chat-missing", {"model": MISSING, "messages": []}),
    post(ROUTE, "load/chat-embedding-model", {"model": EMBED, "messages": []}),
    post(ROUTE, "unload/chat", {"model": CHAT, "messages": [], "keep_alive": 0}),
    post(ROUTE, "unload/chat-again", {"model": CHAT, "keep_alive": "0"}),
    *wrong_types(ROUTE, "chat/wrong", ASK, {
        "model": [1, None, [], True], "messages": ["Hi", {}, [1], ["Hi"], [[]]], "tools": [1, {}, "x"], "stream": ["yes", 1], "options": [1, []], "logprobs": ["yes"],
        "top_logprobs": ["two", -1], "truncate": ["no"], "shift": [1],
    }),
]  # fmt: skip
