"""ollama-python, Ollama's own client."""

import math

import harness
import ollama
from harness import ANSWER, CHAT, EMBED, QUESTION

_client = ollama.Client(host=harness.URL)
_greedy = {"temperature": 0, "num_predict": 64}


def list_models() -> None:
    names = {model.model for model in _client.list().models}
    assert {"tiny:latest", "tiny-embed:latest"} <= names, names
    shown = _client.show(CHAT)
    assert "completion" in shown.capabilities and shown.modelinfo["general.architecture"] == "llama"


def chat() -> None:
    reply = _client.chat(CHAT, [{"role": "user", "content": "Why is the sky blue?"}], options=_greedy, think=False)
    assert "scatter" in reply.message.content.lower(), reply
    assert reply.done_reason == "stop" and reply.eval_count > 0 and reply.total_duration > 0


def thinking() -> None:
    reply = _client.chat(CHAT, [{"role": "user", "content": QUESTION}], options={"temperature": 0}, think=True)
    assert reply.message.thinking and ANSWER in reply.message.content, reply


def stream() -> None:
    whole = _client.generate(CHAT, QUESTION, options=_greedy, think=False)
    assert whole.done and ANSWER in whole.response, whole
    pieces = list(_client.generate(CHAT, QUESTION, options=_greedy, think=False, stream=True))
    assert "".join(piece.response for piece in pieces) == whole.response and pieces[-1].done
    assert whole.eval_count == pieces[-1].eval_count > 0


async def stream_async() -> None:
    client = ollama.AsyncClient(host=harness.URL)
    parts = await client.chat(CHAT, [{"role": "user", "content": QUESTION}], options=_greedy, think=False, stream=True)
    assert ANSWER in "".join([part.message.content async for part in parts])


def tools() -> None:
    messages = [{"role": "user", "content": harness.WEATHER_QUESTION}]
    reply = _client.chat(CHAT, messages, tools=[harness.get_weather], options=_greedy, think=False)
    (call,) = reply.message.tool_calls
    assert call.function.name == "get_weather" and call.function.arguments["city"] == "Paris", call
    messages += [reply.message, {"role": "tool", "tool_name": "get_weather", "content": harness.get_weather("Paris")}]
    assert "18" in _client.chat(CHAT, messages, tools=[harness.get_weather], options=_greedy, think=False).message.content


def structured() -> None:
    import json

    reply = _client.chat(CHAT, [{"role": "user", "content": harness.EXTRACTION}], format=harness.PERSON_SCHEMA, options=_greedy, think=False)
    person = json.loads(reply.message.content)
    assert person["name"] == "Ada" and isinstance(person["age"], int), person


def logprobs() -> None:
    reply = _client.generate(CHAT, QUESTION, options=_greedy | {"num_predict": 3}, think=False, logprobs=True, top_logprobs=2)
    assert len(reply.logprobs) == 3 and all(len(entry.top_logprobs) == 2 for entry in reply.logprobs)


def embed() -> None:
    embedded = _client.embed(EMBED, ["a small boat", "a little ship", "tax law"])
    assert len(embedded.embeddings) == 3
    for vector in embedded.embeddings:
        assert abs(math.hypot(*vector) - 1) < 1e-3
    alone = _client.embed(EMBED, "a small boat").embeddings[0]
    assert max(abs(a - b) for a, b in zip(alone, embedded.embeddings[0], strict=True)) < 1e-4
    assert len(_client.embeddings(EMBED, "a small boat").embedding) == len(alone)


def create_copy_delete() -> None:
    assert _client.create("client-made", from_=CHAT, system="Be brief.", stream=False).status == "success"
    assert [step.status for step in _client.create("client-made", from_=CHAT, stream=True)][-1] == "success"
    _client.copy("client-made", "client-copied")
    assert "client-copied:latest" in {model.model for model in _client.list().models}
    for name in ("client-made", "client-copied"):
        assert _client.delete(name).status == "success"


def running() -> None:
    _client.generate(CHAT, keep_alive="5m")
    assert CHAT + ":latest" in {model.model for model in _client.ps().models}


def errors() -> None:
    try:
        _client.generate("no-such-model", "hello")
    except ollama.ResponseError as error:
        assert error.status_code == 404 and "not found" in error.error, error
    else:
        raise AssertionError("a model that does not exist answered")


harness.run(globals())
