"""LangChain by its OpenAI integration."""

import harness
from harness import ANSWER, CHAT, EMBED, QUESTION
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

_server = {"base_url": f"{harness.URL}/v1", "api_key": "unused", "max_retries": 0}
_model = ChatOpenAI(**_server, model=CHAT, temperature=0, max_tokens=64, reasoning_effort="none")
_get_weather = tool(harness.get_weather)


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def chat() -> None:
    reply = _model.invoke(QUESTION)
    assert ANSWER in reply.content and reply.usage_metadata["output_tokens"] > 0, reply


def stream() -> None:
    assert ANSWER in "".join(chunk.text for chunk in _model.stream(QUESTION))


def tools() -> None:
    bound = _model.bind_tools([_get_weather])
    asked = HumanMessage(harness.WEATHER_QUESTION)
    reply = bound.invoke([asked])
    (call,) = reply.tool_calls
    assert call["name"] == "get_weather" and call["args"] == {"city": "Paris"}, reply
    answer = bound.invoke([asked, reply, ToolMessage(harness.get_weather("Paris"), tool_call_id=call["id"])])
    assert "18" in answer.text, answer


def structured() -> None:
    person = _model.with_structured_output(Person, method="json_schema").invoke(harness.EXTRACTION)
    assert person.name == "Ada", person


def responses() -> None:
    model = ChatOpenAI(**_server, model=CHAT, temperature=0, max_tokens=64, use_responses_api=True, reasoning={"effort": "none"})
    assert ANSWER in model.invoke(QUESTION).text


def embed() -> None:
    # By default it sends token numbers, of OpenAI's own vocabulary.
    model = OpenAIEmbeddings(**_server, model=EMBED, check_embedding_ctx_length=False)
    assert len(model.embed_documents(["a small boat", "tax law"])) == 2


harness.run(globals())
