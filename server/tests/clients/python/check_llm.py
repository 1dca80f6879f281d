"""Simon Willison's `llm` with its Ollama plugin."""

import os
import tempfile

import harness

# Read when the plugin is loaded; a user's own settings stay out of it.
os.environ["OLLAMA_HOST"] = harness.URL
os.environ["LLM_USER_PATH"] = tempfile.mkdtemp()

import llm
from harness import ANSWER, CHAT, EMBED, QUESTION


_MODEL = f"ollama/{CHAT}:latest"


def list_models() -> None:
    # Names of one and the same model are aliases of each other.
    assert llm.get_model(_MODEL).model_id in {model.model_id for model in llm.get_models()}


def chat() -> None:
    assert ANSWER in llm.get_model(_MODEL).prompt(QUESTION, stream=False, temperature=0).text()


def stream() -> None:
    assert ANSWER in "".join(llm.get_model(_MODEL).prompt(QUESTION, temperature=0))


def structured() -> None:
    reply = llm.get_model(_MODEL).prompt(harness.EXTRACTION, schema=harness.PERSON_SCHEMA, stream=False, temperature=0)
    assert "Ada" in reply.text()


def tools() -> None:
    reply = llm.get_model(_MODEL).prompt(harness.WEATHER_QUESTION, tools=[harness.get_weather], stream=False, temperature=0)
    (call,) = reply.tool_calls()
    assert call.name == "get_weather" and call.arguments == {"city": "Paris"}, call


def embed() -> None:
    assert len(llm.get_embedding_model(f"ollama/{EMBED}:latest").embed("a small boat")) > 8


harness.run(globals())
