"""Instructor over the OpenAI client."""

import harness
import instructor
import openai
from harness import CHAT
from pydantic import BaseModel


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def _ask(mode: instructor.Mode) -> Person:
    client = instructor.from_openai(openai.OpenAI(base_url=f"{harness.URL}/v1", api_key="unused"), mode=mode)
    return client.create(
        model=CHAT,
        messages=[{"role": "user", "content": harness.EXTRACTION}],
        response_model=Person,
        temperature=0,
        max_tokens=200,
        reasoning_effort="none",
        max_retries=1,
    )


def json_schema() -> None:
    assert _ask(instructor.Mode.JSON_SCHEMA).name == "Ada"


def json() -> None:
    assert _ask(instructor.Mode.JSON).name


def tools() -> None:
    # The mode relies on `tool_choice`.
    assert _ask(instructor.Mode.TOOLS).name


harness.run(globals())
