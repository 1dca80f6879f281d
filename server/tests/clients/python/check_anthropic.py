"""The official Anthropic client."""

import anthropic
import harness
from harness import ANSWER, CHAT, QUESTION

_client = anthropic.Anthropic(base_url=harness.URL, api_key="unused", max_retries=0)
_asked = {"model": CHAT, "max_tokens": 64, "extra_body": {"temperature": 0}, "messages": [{"role": "user", "content": QUESTION}], "thinking": {"type": "disabled"}}
_tool = {"name": "get_weather", "description": "Get the current weather in a city", "input_schema": harness.WEATHER_SCHEMA}


def chat() -> None:
    reply = _client.messages.create(**_asked)
    (block,) = reply.content
    assert block.type == "text" and ANSWER in block.text and reply.stop_reason == "end_turn", reply
    assert reply.usage.input_tokens > 0 and reply.usage.output_tokens > 0


def thinking() -> None:
    reply = _client.messages.create(**_asked | {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000})
    assert [block.type for block in reply.content] == ["thinking", "text"] and ANSWER in reply.content[1].text, reply


def stream() -> None:
    with _client.messages.stream(**_asked) as events:
        text = "".join(events.text_stream)
        final = events.get_final_message()
    assert ANSWER in text and final.content[0].text == text and final.stop_reason == "end_turn", final


def tools() -> None:
    messages = [{"role": "user", "content": harness.WEATHER_QUESTION}]
    reply = _client.messages.create(**_asked | {"messages": messages}, tools=[_tool])
    use = next(block for block in reply.content if block.type == "tool_use")
    assert reply.stop_reason == "tool_use" and use.name == "get_weather" and use.input == {"city": "Paris"}, reply
    result = {"type": "tool_result", "tool_use_id": use.id, "content": harness.get_weather("Paris")}
    messages += [{"role": "assistant", "content": reply.content}, {"role": "user", "content": [result]}]
    reply = _client.messages.create(**_asked | {"messages": messages}, tools=[_tool])
    assert "18" in reply.content[0].text, reply


def tools_stream() -> None:
    with _client.messages.stream(**_asked | {"messages": [{"role": "user", "content": harness.WEATHER_QUESTION}]}, tools=[_tool]) as events:
        final = events.get_final_message()
    assert next(block for block in final.content if block.type == "tool_use").input == {"city": "Paris"}, final


def errors() -> None:
    try:
        _client.messages.create(**_asked | {"model": "no-such-model"})
    except anthropic.NotFoundError as error:
        assert "not found" in str(error), error
    else:
        raise AssertionError("a model that does not exist answered")


harness.run(globals())
