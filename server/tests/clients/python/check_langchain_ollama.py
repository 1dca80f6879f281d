"""LangChain by its Ollama integration."""

import harness
from harness import ANSWER, CHAT, EMBED, QUESTION
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM
from pydantic import BaseModel

_model = ChatOllama(base_url=harness.URL, model=CHAT, temperature=0, num_predict=64, reasoning=False)
_get_weather = tool(harness.get_weather)


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def chat() -> None:
    reply = _model.invoke(QUESTION)
    assert ANSWER in reply.content and reply.usage_metadata["output_tokens"] > 0, reply


def stream() -> None:
    assert ANSWER in "".join(chunk.content for chunk in _model.stream(QUESTION))


async def stream_async() -> None:
    assert ANSWER in "".join([chunk.content async for chunk in _model.astream(QUESTION)])


def thinking() -> None:
    reply = ChatOllama(base_url=harness.URL, model=CHAT, temperature=0, reasoning=True).invoke(QUESTION)
    assert reply.additional_kwargs["reasoning_content"] and ANSWER in reply.content, reply


def tools() -> None:
    bound = _model.bind_tools([_get_weather])
    asked = HumanMessage(harness.WEATHER_QUESTION)
    reply = bound.invoke([asked])
    (call,) = reply.tool_calls
    assert call["name"] == "get_weather" and call["args"] == {"city": "Paris"}, reply
    answer = bound.invoke([asked, reply, ToolMessage(harness.get_weather("Paris"), tool_call_id=call["id"])])
    assert "18" in answer.content, answer


def structured() -> None:
    person = _model.with_structured_output(Person, method="json_schema").invoke(harness.EXTRACTION)
    assert person.name == "Ada", person


def completion() -> None:
    assert ANSWER in OllamaLLM(base_url=harness.URL, model=CHAT, temperature=0, reasoning=False).invoke(QUESTION)


def embed() -> None:
    model = OllamaEmbeddings(base_url=harness.URL, model=EMBED)
    assert len(model.embed_documents(["a small boat", "tax law"])) == 2 and len(model.embed_query("boat")) > 8


harness.run(globals())
