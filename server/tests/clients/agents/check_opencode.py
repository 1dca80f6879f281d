"""opencode, over `/v1/chat/completions`."""

import json

import agent
import harness

_opencode = agent.Agent("opencode")
_model = {"name": agent.MODEL, "limit": {"context": 4096, "output": 256}}
_provider = {"npm": "@ai-sdk/openai-compatible", "name": "Chaski", "options": {"baseURL": f"{harness.URL}/v1"}, "models": {agent.MODEL: _model}}
_opencode.write("work/opencode.json", json.dumps({"$schema": "https://opencode.ai/config.json", "provider": {"chaski": _provider}}))


def _parts(*arguments: str) -> list[dict]:
    events = _opencode.events("run", "--model", f"chaski/{agent.MODEL}", "--format", "json", *arguments)
    assert any(event["type"] == "step_finish" and event["part"]["tokens"]["output"] > 0 for event in events), events
    return [event["part"] for event in events]


def _said(*arguments: str) -> str:
    return " ".join(part["text"] for part in _parts(*arguments) if part["type"] == "text")


def answers() -> None:
    said = _said(harness.QUESTION)
    assert harness.ANSWER in said, said


def goes_on() -> None:
    assert agent.SECOND_ANSWER in _said("--continue", agent.SECOND_QUESTION)


_opencode.check(globals())
