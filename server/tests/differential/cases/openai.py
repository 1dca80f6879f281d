"""OpenAI's chat completions, completions and embeddings."""

from __future__ import annotations

from .case import CHAT, EMBED, MISSING, PLAIN, Case, post, wrong_types
from .chat import QUESTION, TOOLS, WEATHER
from .generate import SCHEMA

CHAT_ROUTE, TEXT_ROUTE, VECTOR_ROUTE = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
# Without effort `none` the model thinks first, as it does natively.
ASK = {"model": CHAT, "messages": [QUESTION], "temperature": 0, "max_tokens": 12, "reasoning_effort": "none"}
TEXT = {"model": CHAT, "prompt": "What is the capital of France?", "temperature": 0, "max_tokens": 12}
VECTOR = {"model": EMBED, "input": "a small boat on the lake", "encoding_format": "float"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees and sunny"}
TOOL_ASK = ASK | {"messages": TOOLS["messages"], "tools": [WEATHER], "max_tokens": 60}
# One red pixel.
PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="


def messages(name: str, *said: object) -> Case:
    """A chat with other messages."""
    return post(CHAT_ROUTE, f"openai-chat/{name}", ASK | {"messages": list(said)})


def part(kind: str, **fields: object) -> dict[str, object]:
    """A user's message of one part."""
    return {"role": "user", "content": [{"type": kind, **fields}]}


CASES = [
    post(CHAT_ROUTE, "openai-chat/whole", ASK),
    post(CHAT_ROUTE, "openai-chat/stream", ASK | {"stream": True}),
    post(CHAT_ROUTE, "openai-chat/stream-usage", ASK | {"stream": True, "stream_options": {"include_usage": True}}),
    post(CHAT_ROUTE, "openai-chat/stream-no-usage", ASK | {"stream": True, "stream_options": {"include_usage": False}}),
    post(CHAT_ROUTE, "openai-chat/length", ASK | {"max_tokens": 2}),
    post(CHAT_ROUTE, "openai-chat/max-tokens-0", ASK | {"max_tokens": 0}),
    post(CHAT_ROUTE, "openai-chat/stop", ASK | {"stop": "Paris"}),
    post(CHAT_ROUTE, "openai-chat/stop-list", ASK | {"stop": ["xyz", "capital"]}),
    post(CHAT_ROUTE, "openai-chat/stop-null", ASK | {"stop": None}),
    post(CHAT_ROUTE, "openai-chat/stop-number", ASK | {"stop": 1}),
    post(CHAT_ROUTE, "openai-chat/stop-list-of-numbers", ASK | {"stop": [1]}),
    post(CHAT_ROUTE, "openai-chat/seed", ASK | {"seed": 7}),
    post(CHAT_ROUTE, "openai-chat/penalties", ASK | {"frequency_penalty": 0.5, "presence_penalty": 0.5}),
    post(CHAT_ROUTE, "openai-chat/top-p", ASK | {"top_p": 0.5}),
    *[
        post(CHAT_ROUTE, f"openai-chat/effort-{effort}", ASK | {"reasoning_effort": effort, "max_tokens": 100})
        for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "ultra", "max", "extreme", "")
    ],
    post(CHAT_ROUTE, "openai-chat/reasoning-effort", ASK | {"reasoning": {"effort": "low"}, "reasoning_effort": None, "max_tokens": 100}),
    post(CHAT_ROUTE, "openai-chat/reasoning-effort-wrong", ASK | {"reasoning": {"effort": "extreme"}, "reasoning_effort": None}),
    post(CHAT_ROUTE, "openai-chat/think-stream", ASK | {"reasoning_effort": "high", "stream": True, "max_tokens": 100}),
    post(CHAT_ROUTE, "openai-chat/effort-unable", ASK | {"model": PLAIN, "reasoning_effort": "high"}),
    post(CHAT_ROUTE, "openai-chat/json-object", ASK | {"response_format": {"type": "json_object"}}),
    post(CHAT_ROUTE, "openai-chat/json-schema", ASK | {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}}),
    post(CHAT_ROUTE, "openai-chat/format-text", ASK | {"response_format": {"type": "text"}}),
    post(CHAT_ROUTE, "openai-chat/format-unknown", ASK | {"response_format": {"type": "xml"}}),
    post(CHAT_ROUTE, "openai-chat/json-schema-absent", ASK | {"response_format": {"type": "json_schema"}}),
    post(CHAT_ROUTE, "openai-chat/logprobs", ASK | {"logprobs": True, "max_tokens": 2}),
    post(CHAT_ROUTE, "openai-chat/logprobs-top", ASK | {"logprobs": True, "top_logprobs": 2, "max_tokens": 2}),
    post(CHAT_ROUTE, "openai-chat/logprobs-too-many", ASK | {"logprobs": True, "top_logprobs": 21}),
    post(CHAT_ROUTE, "openai-chat/logprobs-stream", ASK | {"logprobs": True, "stream": True, "max_tokens": 2}),
    post(CHAT_ROUTE, "openai-chat/tools", TOOL_ASK),
    post(CHAT_ROUTE, "openai-chat/tools-stream", TOOL_ASK | {"stream": True}),
    post(CHAT_ROUTE, "openai-chat/tools-stream-usage", TOOL_ASK | {"stream": True, "stream_options": {"include_usage": True}}),
    post(CHAT_ROUTE, "openai-chat/tools-answered", TOOL_ASK | {"messages": [*TOOLS["messages"], CALL, RESULT]}),
    post(CHAT_ROUTE, "openai-chat/tools-answered-parts", TOOL_ASK | {"messages": [*TOOLS["messages"], CALL, RESULT | {"content": [{"type": "text", "text": "18 degrees and sunny"}]}]}),
    post(CHAT_ROUTE, "openai-chat/tools-arguments-broken", TOOL_ASK | {"messages": [*TOOLS["messages"], {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{"}}]}]}),
    post(CHAT_ROUTE, "openai-chat/tools-unable", TOOL_ASK | {"model": PLAIN, "reasoning_effort": None}),
    post(CHAT_ROUTE, "openai-chat/tools-empty", ASK | {"tools": []}),
    messages("system", {"role": "system", "content": "Be brief."}, QUESTION),
    messages("developer", {"role": "developer", "content": "Be brief."}, QUESTION),
    messages("parts", part("text", text="What is the capital of France?")),
    messages("parts-two", {"role": "user", "content": [{"type": "text", "text": "Hi."}, {"type": "text", "text": "What is the capital of France?"}]}),
    messages("parts-empty", {"role": "user", "content": []}),
    messages("part-unknown", part("video", video="x")),
    messages("part-no-text", part("text")),
    messages("image", part("image_url", image_url={"url": PICTURE})),
    messages("image-string", part("image_url", image_url=PICTURE)),
    messages("image-url", part("image_url", image_url={"url": "http://example.com/a.png"})),
    messages("image-broken", part("image_url", image_url={"url": "data:image/png;base64,???"})),
    messages("image-other-type", part("image_url", image_url={"url": "data:image/tiff;base64,aGVsbG8="})),
    messages("image-nothing", part("image_url")),
    messages("audio-broken", part("input_audio", input_audio={"data": "???", "format": "wav"})),
    messages("audio-nothing", part("input_audio")),
    messages("content-null", {"role": "user", "content": None}),
    messages("content-absent", {"role": "user"}),
    messages("content-number", {"role": "user", "content": 1}),
    messages("content-object", {"role": "user", "content": {"text": "Hi"}}),
    messages("role-absent", {"content": "Hi"}),
    messages("several-turns", QUESTION, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "And of Italy?"}),
    messages("reasoning", QUESTION, {"role": "assistant", "content": "Paris.", "reasoning": "I know that."}, {"role": "user", "content": "And of Italy?"}),
    post(CHAT_ROUTE, "openai-chat/messages-empty", ASK | {"messages": []}),
    post(CHAT_ROUTE, "openai-chat/messages-absent", {"model": CHAT}),
    post(CHAT_ROUTE, "openai-chat/no-model", {"messages": [QUESTION]}),
    post(CHAT_ROUTE, "openai-chat/missing", ASK | {"model": MISSING}),
    post(CHAT_ROUTE, "openai-chat/missing-stream", ASK | {"model": MISSING, "stream": True}),
    post(CHAT_ROUTE, "openai-chat/invalid-name", ASK | {"model": "a b"}),
    post(CHAT_ROUTE, "openai-chat/embedding-model", ASK | {"model": EMBED}),
    post(CHAT_ROUTE, "openai-chat/full-name", ASK | {"model": f"{CHAT}:latest"}),
    post(CHAT_ROUTE, "openai-chat/unknown-fields", ASK | {"user": "me", "metadata": {}, "store": True, "parallel_tool_calls": True, "service_tier": "auto"}),
    post(CHAT_ROUTE, "openai-chat/render-only", ASK | {"_debug_render_only": True}),
    post(CHAT_ROUTE, "openai-chat/too-long", ASK | {"messages": [{"role": "user", "content": "blue sky " * 6000}]}),
    *wrong_types(CHAT_ROUTE, "openai-chat/wrong", ASK, {
        "model": [1, []], "messages": ["Hi", {}, [1]], "stream": ["yes"], "max_tokens": ["many", 1.5], "temperature": ["hot"], "tools": [1, [1]], "logprobs": [1], "seed": ["x"],
        "response_format": ["json", 1], "stream_options": [1], "top_p": ["x"], "reasoning_effort": [1], "reasoning": [1],
    }),
    post(TEXT_ROUTE, "openai-text/whole", TEXT),
    post(TEXT_ROUTE, "openai-text/stream", TEXT | {"stream": True}),
    post(TEXT_ROUTE, "openai-text/stream-usage", TEXT | {"stream": True, "stream_options": {"include_usage": True}}),
    post(TEXT_ROUTE, "openai-text/plain", TEXT | {"model": PLAIN}),
    post(TEXT_ROUTE, "openai-text/stop", TEXT | {"stop": "Paris"}),
    post(TEXT_ROUTE, "openai-text/stop-list", TEXT | {"stop": ["Paris"]}),
    post(TEXT_ROUTE, "openai-text/stop-number", TEXT | {"stop": [1]}),
    post(TEXT_ROUTE, "openai-text/stop-object", TEXT | {"stop": {}}),
    post(TEXT_ROUTE, "openai-text/suffix", TEXT | {"suffix": "end"}),
    post(TEXT_ROUTE, "openai-text/prompt-empty", TEXT | {"prompt": ""}),
    post(TEXT_ROUTE, "openai-text/prompt-absent", {"model": CHAT}),
    post(TEXT_ROUTE, "openai-text/missing", TEXT | {"model": MISSING}),
    post(TEXT_ROUTE, "openai-text/no-model", {"prompt": "Hi"}),
    post(TEXT_ROUTE, "openai-text/embedding-model", TEXT | {"model": EMBED}),
    post(TEXT_ROUTE, "openai-text/length", TEXT | {"max_tokens": 1}),
    *wrong_types(TEXT_ROUTE, "openai-text/wrong", TEXT, {"model": [1], "prompt": [1, {}], "max_tokens": ["many"], "temperature": ["hot"], "stream": ["yes"]}),
    post(VECTOR_ROUTE, "openai-vector/float", VECTOR),
    post(VECTOR_ROUTE, "openai-vector/default", {"model": EMBED, "input": VECTOR["input"]}),
    post(VECTOR_ROUTE, "openai-vector/list", VECTOR | {"input": ["a small boat", "tax law"]}),
    post(VECTOR_ROUTE, "openai-vector/encoding-unknown", VECTOR | {"encoding_format": "hex"}),
    post(VECTOR_ROUTE, "openai-vector/encoding-upper", VECTOR | {"encoding_format": "FLOAT"}),
    post(VECTOR_ROUTE, "openai-vector/encoding-empty", VECTOR | {"encoding_format": ""}),
    post(VECTOR_ROUTE, "openai-vector/dimensions", VECTOR | {"dimensions": 16}),
    post(VECTOR_ROUTE, "openai-vector/input-empty", VECTOR | {"input": ""}),
    post(VECTOR_ROUTE, "openai-vector/input-empty-list", VECTOR | {"input": []}),
    post(VECTOR_ROUTE, "openai-vector/input-null", VECTOR | {"input": None}),
    post(VECTOR_ROUTE, "openai-vector/input-absent", {"model": EMBED}),
    post(VECTOR_ROUTE, "openai-vector/missing", VECTOR | {"model": MISSING}),
    post(VECTOR_ROUTE, "openai-vector/no-model", {"input": "x"}),
    post(VECTOR_ROUTE, "openai-vector/long", VECTOR | {"input": "a small boat on the lake " * 200}),
    *wrong_types(VECTOR_ROUTE, "openai-vector/wrong", VECTOR, {"model": [1], "input": [1, {}, [1, "a"]], "dimensions": ["many"], "encoding_format": [1]}),
    post("/v1/audio/transcriptions", "audio/no-form", {"model": CHAT}),
]  # fmt: skip
