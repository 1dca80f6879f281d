"""OpenAI's responses."""

from __future__ import annotations

from .case import CHAT, MISSING, PLAIN, Case, post, wrong_types
from .generate import SCHEMA
from .openai import PICTURE

ROUTE = "/v1/responses"
ASK = {"model": CHAT, "input": "What is the capital of France?", "temperature": 0, "max_output_tokens": 12, "reasoning": {"effort": "none"}}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "The city"}}, "required": ["city"]},
}
TOOLS = ASK | {"input": "What is the weather in Paris?", "tools": [WEATHER], "max_output_tokens": 60}
USER = {"type": "message", "role": "user", "content": "What is the weather in Paris?"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Paris"}'}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "18 degrees and sunny"}


def items(name: str, *given: object) -> Case:
    """A list of input items."""
    return post(ROUTE, f"responses/{name}", ASK | {"input": list(given)})


def part(kind: str, **fields: object) -> dict[str, object]:
    """A user's message of one part."""
    return {"role": "user", "content": [{"type": kind, **fields}]}


CASES = [
    post(ROUTE, "responses/whole", ASK),
    post(ROUTE, "responses/stream", ASK | {"stream": True}),
    post(ROUTE, "responses/think", ASK | {"reasoning": {"effort": "low", "summary": "auto"}, "max_output_tokens": 100}),
    post(ROUTE, "responses/think-stream", ASK | {"reasoning": {"effort": "low"}, "max_output_tokens": 100, "stream": True}),
    post(ROUTE, "responses/effort-unknown", ASK | {"reasoning": {"effort": "extreme"}}),
    post(ROUTE, "responses/instructions", ASK | {"instructions": "Be brief."}),
    post(ROUTE, "responses/plain", ASK | {"model": PLAIN, "reasoning": None}),
    post(ROUTE, "responses/tools", TOOLS),
    post(ROUTE, "responses/tools-stream", TOOLS | {"stream": True}),
    post(ROUTE, "responses/tools-answered", TOOLS | {"input": [USER, CALL, RESULT]}),
    post(ROUTE, "responses/tools-answered-parts", TOOLS | {"input": [USER, CALL, RESULT | {"output": [{"type": "input_text", "text": "18 degrees and sunny"}]}]}),
    post(ROUTE, "responses/tools-unable", TOOLS | {"model": PLAIN, "reasoning": None}),
    post(ROUTE, "responses/tool-unknown-type", ASK | {"tools": [{"type": "code_interpreter"}]}),
    post(ROUTE, "responses/schema", ASK | {"text": {"format": {"type": "json_schema", "name": "person", "schema": SCHEMA}}}),
    post(ROUTE, "responses/format-text", ASK | {"text": {"format": {"type": "text"}}}),
    post(ROUTE, "responses/length", ASK | {"max_output_tokens": 2}),
    post(ROUTE, "responses/echoed", ASK | {"truncation": "auto", "background": False, "metadata": {"a": "b"}, "user": "me", "store": True, "previous_response_id": "resp_1", "top_p": 0.5}),
    items("parts", part("input_text", text="What is the capital of France?")),
    items("parts-output", part("input_text", text="Hi"), {"role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}, part("input_text", text="What is the capital of France?")),
    items("part-unknown", part("video")),
    items("part-no-type", {"role": "user", "content": [{"text": "Hi"}]}),
    items("part-file", part("input_file", file_id="f")),
    items("image", part("input_image", image_url=PICTURE)),
    items("image-url", part("input_image", image_url="http://example.com/a.png")),
    items("image-file", part("input_image", file_id="f")),
    items("item-unknown", {"type": "surprise"}),
    items("item-no-type", {"text": "Hi"}),
    items("item-string", "Hi"),
    items("reasoning", USER, {"type": "reasoning", "summary": [{"type": "summary_text", "text": "I know."}], "encrypted_content": "I know."}, {"role": "user", "content": "And in Rome?"}),
    items("developer", {"role": "developer", "content": "Be brief."}, USER),
    items("system", {"role": "system", "content": "Be brief."}, USER),
    items("none"),
    post(ROUTE, "responses/input-empty", ASK | {"input": ""}),
    post(ROUTE, "responses/input-absent", {"model": CHAT}),
    post(ROUTE, "responses/input-null", ASK | {"input": None}),
    post(ROUTE, "responses/missing", ASK | {"model": MISSING}),
    post(ROUTE, "responses/missing-stream", ASK | {"model": MISSING, "stream": True}),
    post(ROUTE, "responses/no-model", {"input": "Hi"}),
    *wrong_types(ROUTE, "responses/wrong", ASK, {"model": [1], "input": [1, {}], "stream": ["yes"], "max_output_tokens": ["many"], "temperature": ["hot"], "tools": [1], "instructions": [1]}),
]
