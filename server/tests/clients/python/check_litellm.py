"""LiteLLM, by both of its ways to Ollama and by its OpenAI way."""

import json

import harness
import litellm
from harness import ANSWER, CHAT, EMBED, QUESTION

litellm.telemetry = False
_asked = {"messages": [{"role": "user", "content": QUESTION}], "api_base": harness.URL, "temperature": 0, "max_tokens": 200}
_tool = {"type": "function", "function": {"name": "get_weather", "description": "Get the current weather in a city", "parameters": harness.WEATHER_SCHEMA}}


def chat() -> None:
    reply = litellm.completion(model=f"ollama_chat/{CHAT}", **_asked)
    assert ANSWER in reply.choices[0].message.content and reply.usage.completion_tokens > 0, reply


def stream() -> None:
    chunks = litellm.completion(model=f"ollama_chat/{CHAT}", **_asked, stream=True)
    assert ANSWER in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def generate() -> None:
    assert ANSWER in litellm.completion(model=f"ollama/{CHAT}", **_asked).choices[0].message.content


def tools() -> None:
    reply = litellm.completion(model=f"ollama_chat/{CHAT}", **_asked | {"messages": [{"role": "user", "content": harness.WEATHER_QUESTION}]}, tools=[_tool])
    (call,) = reply.choices[0].message.tool_calls
    assert call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "Paris"}, reply


def openai() -> None:
    reply = litellm.completion(model=f"openai/{CHAT}", **_asked | {"api_base": f"{harness.URL}/v1"}, api_key="unused")
    assert ANSWER in reply.choices[0].message.content, reply


def embed() -> None:
    reply = litellm.embedding(model=f"ollama/{EMBED}", input=["a small boat", "tax law"], api_base=harness.URL)
    assert len(reply.data) == 2, reply


def errors() -> None:
    try:
        litellm.completion(model="ollama_chat/no-such-model", **_asked)
    except litellm.exceptions.APIConnectionError as error:
        # Its own word for every failure that is not OpenAI's.
        assert "not found" in str(error), error
    else:
        raise AssertionError("a model that does not exist answered")


harness.run(globals())
