"""LlamaIndex by its Ollama integrations."""

import harness
from harness import ANSWER, CHAT, EMBED, QUESTION
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama
from pydantic import BaseModel

_model = Ollama(model=CHAT, base_url=harness.URL, temperature=0, request_timeout=120, thinking=False, context_window=4096)


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def complete() -> None:
    assert ANSWER in _model.complete(QUESTION).text


def chat() -> None:
    assert ANSWER in _model.chat([ChatMessage(role="user", content=QUESTION)]).message.content


def stream() -> None:
    assert ANSWER in list(_model.stream_chat([ChatMessage(role="user", content=QUESTION)]))[-1].message.content


def tools() -> None:
    tool = FunctionTool.from_defaults(harness.get_weather, description="Get the current weather in a city")
    reply = _model.chat_with_tools([tool], user_msg=harness.WEATHER_QUESTION)
    (call,) = _model.get_tool_calls_from_response(reply)
    assert call.tool_name == "get_weather" and call.tool_kwargs == {"city": "Paris"}, call


def structured() -> None:
    reply = _model.as_structured_llm(Person).chat([ChatMessage(role="user", content=harness.EXTRACTION)])
    assert reply.raw.name == "Ada", reply


def embed() -> None:
    model = OllamaEmbedding(model_name=EMBED, base_url=harness.URL)
    assert len(model.get_text_embedding_batch(["a small boat", "tax law"])) == 2


harness.run(globals())
