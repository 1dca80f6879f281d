"""Haystack by its Ollama integration."""

import harness
from harness import ANSWER, CHAT, EMBED, QUESTION
from haystack.dataclasses import ChatMessage, Document
from haystack.tools import Tool
from haystack_integrations.components.embedders.ollama import OllamaDocumentEmbedder, OllamaTextEmbedder
from haystack_integrations.components.generators.ollama import OllamaChatGenerator

_greedy = {"temperature": 0, "num_predict": 64}


def chat() -> None:
    model = OllamaChatGenerator(model=CHAT, url=harness.URL, generation_kwargs=_greedy, think=False)
    (reply,) = model.run([ChatMessage.from_user(QUESTION)])["replies"]
    assert ANSWER in reply.text, reply


def stream() -> None:
    pieces = []
    model = OllamaChatGenerator(model=CHAT, url=harness.URL, generation_kwargs=_greedy, think=False, streaming_callback=lambda chunk: pieces.append(chunk.content))
    model.run([ChatMessage.from_user(QUESTION)])
    assert ANSWER in "".join(pieces)


def tools() -> None:
    tool = Tool(name="get_weather", description="Get the current weather in a city", parameters=harness.WEATHER_SCHEMA, function=harness.get_weather)
    model = OllamaChatGenerator(model=CHAT, url=harness.URL, generation_kwargs=_greedy, think=False, tools=[tool])
    (reply,) = model.run([ChatMessage.from_user(harness.WEATHER_QUESTION)])["replies"]
    (call,) = reply.tool_calls
    assert call.tool_name == "get_weather" and call.arguments == {"city": "Paris"}, reply


def structured() -> None:
    model = OllamaChatGenerator(model=CHAT, url=harness.URL, generation_kwargs=_greedy, think=False, response_format=harness.PERSON_SCHEMA)
    (reply,) = model.run([ChatMessage.from_user(harness.EXTRACTION)])["replies"]
    assert "Ada" in reply.text, reply


def embed() -> None:
    assert len(OllamaTextEmbedder(model=EMBED, url=harness.URL).run(text="a small boat")["embedding"]) > 8
    documents = OllamaDocumentEmbedder(model=EMBED, url=harness.URL, progress_bar=False).run([Document(content="a small boat"), Document(content="tax law")])["documents"]
    assert all(document.embedding for document in documents)


harness.run(globals())
