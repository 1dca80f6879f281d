"""Runs the behaviours of one client, each a function that raises if the client's user would not get what the client promises.

A script ends with `harness.run(globals())`: every public function of it is a behaviour, asked in the order of the file.
One line of JSON for each goes to standard output, for `run.py` to make a table of.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import traceback
from typing import Any

URL = sys.argv[1].rstrip("/")
CHAT, EMBED = "tiny", "tiny-embed"
# What the model has learnt, so that an answer can be told from noise.
QUESTION, ANSWER = "What is the capital of France?", "Paris"
WEATHER_QUESTION = "What is the weather in Paris?"
EXTRACTION = "Extract the name and the age as JSON: Ada is 36 years old."
WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": "The city"}}, "required": ["city"]}
PERSON_SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"]}


def get_weather(city: str) -> str:
    """Get the current weather in a city.

    Args:
        city: The city
    """
    return "18 degrees and sunny"


def skip(why: str) -> None:
    """Says that the client is not there to be asked."""
    print(json.dumps({"behaviour": why, "failure": None, "skipped": True}))


def run(script: dict[str, Any]) -> None:
    """Calls every public function of a script."""
    failed = False
    for name, function in list(script.items()):
        own = inspect.isfunction(function) and function.__module__ == "__main__" and not name.startswith("_")
        if not own:
            continue
        try:
            result = function()
            if inspect.iscoroutine(result):
                asyncio.run(result)
            outcome = None
        except Exception as error:  # whatever a client raises is its verdict
            outcome = f"{type(error).__name__}: {error}"
            traceback.print_exc(file=sys.stderr)
        failed = failed or outcome is not None
        print(json.dumps({"behaviour": name, "failure": outcome}), flush=True)
    sys.exit(failed)
