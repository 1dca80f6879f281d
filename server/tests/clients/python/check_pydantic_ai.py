"""Pydantic AI by its Ollama provider."""

import harness
from harness import ANSWER, CHAT, QUESTION
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.ollama import OllamaProvider

_model = OpenAIChatModel(CHAT, provider=OllamaProvider(base_url=f"{harness.URL}/v1"))
_greedy = {"temperature": 0, "max_tokens": 200, "extra_body": {"reasoning_effort": "none"}}


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def chat() -> None:
    assert ANSWER in Agent(_model, model_settings=_greedy).run_sync(QUESTION).output


async def stream() -> None:
    async with Agent(_model, model_settings=_greedy).run_stream(QUESTION) as reply:
        assert ANSWER in await reply.get_output()


def tools() -> None:
    agent = Agent(_model, model_settings=_greedy, tools=[harness.get_weather])
    assert "18" in agent.run_sync(harness.WEATHER_QUESTION).output


def structured() -> None:
    agent = Agent(_model, model_settings=_greedy, output_type=NativeOutput(Person), retries=1)
    assert agent.run_sync(harness.EXTRACTION).output.name


harness.run(globals())
