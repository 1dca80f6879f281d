"""The official OpenAI client."""

import json

import harness
import openai
from harness import ANSWER, CHAT, EMBED, QUESTION

_client = openai.OpenAI(base_url=f"{harness.URL}/v1", api_key="unused", max_retries=0)
_asked = {"model": CHAT, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 64, "reasoning_effort": "none"}
_tool = {"type": "function", "function": {"name": "get_weather", "description": "Get the current weather in a city", "parameters": harness.WEATHER_SCHEMA}}


def list_models() -> None:
    assert {"tiny:latest", "tiny-embed:latest"} <= {model.id for model in _client.models.list()}
    assert _client.models.retrieve(CHAT).id == CHAT


def chat() -> None:
    reply = _client.chat.completions.create(**_asked)
    (choice,) = reply.choices
    assert ANSWER in choice.message.content and choice.finish_reason == "stop", reply
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0


def stream() -> None:
    chunks = list(_client.chat.completions.create(**_asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert ANSWER in text and chunks[-1].usage.completion_tokens > 0, chunks
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


async def stream_async() -> None:
    client = openai.AsyncOpenAI(base_url=f"{harness.URL}/v1", api_key="unused", max_retries=0)
    chunks = await client.chat.completions.create(**_asked, stream=True)
    assert ANSWER in "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])


def tools() -> None:
    messages = [{"role": "user", "content": harness.WEATHER_QUESTION}]
    reply = _client.chat.completions.create(**_asked | {"messages": messages}, tools=[_tool])
    (choice,) = reply.choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and call.function.name == "get_weather", reply
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": harness.get_weather("Paris")}]
    reply = _client.chat.completions.create(**_asked | {"messages": messages}, tools=[_tool])
    assert "18" in reply.choices[0].message.content, reply


def tools_stream() -> None:
    messages = [{"role": "user", "content": harness.WEATHER_QUESTION}]
    with _client.chat.completions.stream(**_asked | {"messages": messages}, tools=[_tool]) as events:
        final = events.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Paris"}, final


def structured() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": harness.PERSON_SCHEMA}}
    reply = _client.chat.completions.create(**_asked | {"messages": [{"role": "user", "content": harness.EXTRACTION}]}, response_format=schema)
    person = json.loads(reply.choices[0].message.content)
    assert person["name"] == "Ada" and isinstance(person["age"], int), person


def completions() -> None:
    reply = _client.completions.create(model=CHAT, prompt=QUESTION, temperature=0, max_tokens=200)
    assert reply.choices[0].finish_reason in ("stop", "length") and reply.usage.completion_tokens > 0, reply
    chunks = list(_client.completions.create(model=CHAT, prompt=QUESTION, temperature=0, max_tokens=200, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == reply.choices[0].text


def responses() -> None:
    asked = {"model": CHAT, "input": QUESTION, "temperature": 0, "max_output_tokens": 64, "reasoning": {"effort": "none"}}
    reply = _client.responses.create(**asked)
    assert ANSWER in reply.output_text and reply.status == "completed", reply
    events = list(_client.responses.create(**asked, stream=True))
    assert events[0].type == "response.created" and events[-1].type == "response.completed", events
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == reply.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))


def embed() -> None:
    # The client asks for base64 unless it is told otherwise.
    reply = _client.embeddings.create(model=EMBED, input=["a small boat", "tax law"])
    floats = _client.embeddings.create(model=EMBED, input="a small boat", encoding_format="float")
    assert [item.index for item in reply.data] == [0, 1]
    assert max(abs(a - b) for a, b in zip(reply.data[0].embedding, floats.data[0].embedding, strict=True)) < 1e-4


def errors() -> None:
    try:
        _client.chat.completions.create(**_asked | {"model": "no-such-model"})
    except openai.NotFoundError as error:
        assert "not found" in error.message and error.type == "not_found_error", error
    else:
        raise AssertionError("a model that does not exist answered")
    try:
        _client.chat.completions.create(**_asked | {"messages": []})
    except openai.BadRequestError:
        pass
    else:
        raise AssertionError("no messages were answered")


harness.run(globals())
