"""Anthropic's messages."""

from __future__ import annotations

from .case import CHAT, EMBED, MISSING, PLAIN, Case, post, wrong_types

ROUTE = "/v1/messages"
QUESTION = {"role": "user", "content": "What is the capital of France?"}
ASK = {"model": CHAT, "max_tokens": 12, "messages": [QUESTION], "temperature": 0, "thinking": {"type": "disabled"}}
WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string", "description": "The city"}}, "required": ["city"]},
}
TOOLS = ASK | {"messages": [{"role": "user", "content": "What is the weather in Paris?"}], "tools": [WEATHER], "max_tokens": 60}
USE = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "18 degrees and sunny"}


def messages(name: str, *said: object) -> Case:
    """Other messages."""
    return post(ROUTE, f"anthropic/{name}", ASK | {"messages": list(said)})


def block(kind: str, **fields: object) -> dict[str, object]:
    """A user's message of one block."""
    return {"role": "user", "content": [{"type": kind, **fields}]}


CASES = [
    post(ROUTE, "anthropic/whole", ASK),
    post(ROUTE, "anthropic/stream", ASK | {"stream": True}),
    post(ROUTE, "anthropic/think", ASK | {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 100}),
    post(ROUTE, "anthropic/think-stream", ASK | {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 100, "stream": True}),
    post(ROUTE, "anthropic/think-adaptive", ASK | {"thinking": {"type": "adaptive"}, "max_tokens": 100}),
    post(ROUTE, "anthropic/think-unable", ASK | {"model": PLAIN, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
    post(ROUTE, "anthropic/effort", ASK | {"output_config": {"effort": "low"}, "thinking": None, "max_tokens": 100}),
    post(ROUTE, "anthropic/effort-unknown", ASK | {"output_config": {"effort": "extreme"}, "thinking": None}),
    post(ROUTE, "anthropic/length", ASK | {"max_tokens": 2}),
    post(ROUTE, "anthropic/stop-sequences", ASK | {"stop_sequences": ["Paris"]}),
    post(ROUTE, "anthropic/sampling", ASK | {"top_k": 5, "top_p": 0.5}),
    post(ROUTE, "anthropic/system", ASK | {"system": "Be brief."}),
    post(ROUTE, "anthropic/system-blocks", ASK | {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]}),
    post(ROUTE, "anthropic/system-number", ASK | {"system": 1}),
    post(ROUTE, "anthropic/tools", TOOLS),
    post(ROUTE, "anthropic/tools-stream", TOOLS | {"stream": True}),
    post(ROUTE, "anthropic/tools-answered", TOOLS | {"messages": [*TOOLS["messages"], {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT]}]}),
    post(ROUTE, "anthropic/tools-answered-blocks", TOOLS | {"messages": [*TOOLS["messages"], {"role": "assistant", "content": [USE]}, {"role": "user", "content": [RESULT | {"content": [{"type": "text", "text": "18 degrees and sunny"}]}]}]}),
    post(ROUTE, "anthropic/tools-unable", TOOLS | {"model": PLAIN}),
    post(ROUTE, "anthropic/tool-choice", TOOLS | {"tool_choice": {"type": "auto"}}),
    post(ROUTE, "anthropic/tool-schema-number", TOOLS | {"tools": [WEATHER | {"input_schema": 1}]}),
    post(ROUTE, "anthropic/tool-no-schema", TOOLS | {"tools": [{"name": "now"}]}),
    post(ROUTE, "anthropic/tool-use-no-id", TOOLS | {"messages": [QUESTION, {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}}]}]}),
    post(ROUTE, "anthropic/tool-use-no-name", TOOLS | {"messages": [QUESTION, {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "input": {}}]}]}),
    messages("blocks", block("text", text="What is the capital of France?")),
    messages("blocks-empty", {"role": "user", "content": []}),
    messages("block-unknown", block("surprise")),
    messages("block-thinking", QUESTION, {"role": "assistant", "content": [{"type": "thinking", "thinking": "I know.", "signature": "s"}, {"type": "text", "text": "Paris."}]}, {"role": "user", "content": "And of Italy?"}),
    messages("image-url", block("image", source={"type": "url", "url": "http://example.com/a.png"})),
    messages("image-broken", block("image", source={"type": "base64", "media_type": "image/png", "data": "???"})),
    messages("image-nothing", block("image")),
    messages("system-inside", {"role": "system", "content": "Be brief."}, QUESTION),
    messages("several-turns", QUESTION, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "And of Italy?"}),
    messages("prefilled", QUESTION, {"role": "assistant", "content": "The capital"}),
    messages("content-number", {"role": "user", "content": 1}),
    messages("content-null", {"role": "user", "content": None}),
    messages("content-absent", {"role": "user"}),
    messages("role-unknown", {"role": "owner", "content": "Hi"}),
    messages("none"),
    post(ROUTE, "anthropic/messages-absent", {"model": CHAT, "max_tokens": 5}),
    post(ROUTE, "anthropic/no-max-tokens", {"model": CHAT, "messages": [QUESTION]}),
    post(ROUTE, "anthropic/max-tokens-0", ASK | {"max_tokens": 0}),
    post(ROUTE, "anthropic/max-tokens-negative", ASK | {"max_tokens": -1}),
    post(ROUTE, "anthropic/no-model", {"max_tokens": 5, "messages": [QUESTION]}),
    post(ROUTE, "anthropic/nothing", {}),
    post(ROUTE, "anthropic/missing", ASK | {"model": MISSING}),
    post(ROUTE, "anthropic/missing-stream", ASK | {"model": MISSING, "stream": True}),
    post(ROUTE, "anthropic/embedding-model", ASK | {"model": EMBED}),
    post(ROUTE, "anthropic/beta-query", ASK, anthropic_version="2023-06-01", anthropic_beta="tools-2024-04-04", x_api_key="key"),
    post(f"{ROUTE}?beta=true", "anthropic/query", ASK),
    post(f"{ROUTE}/count_tokens", "anthropic/count-tokens", ASK),
    *wrong_types(ROUTE, "anthropic/wrong", ASK, {"model": [1], "messages": ["Hi", {}, [1]], "max_tokens": ["many", 1.5], "stream": ["yes"], "temperature": ["hot"], "tools": [1], "stop_sequences": ["x"], "thinking": [1]}),
]
