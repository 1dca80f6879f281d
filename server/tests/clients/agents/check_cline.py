"""Cline's command line, as it speaks to Ollama and as it speaks to OpenAI."""

import json

import agent
import harness

_cline = agent.Agent("cline")
_providers = {
    name: {"settings": {"provider": name, "model": agent.MODEL, "baseUrl": url, "apiKey": "none"}, "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}
    for name, url in (("ollama", harness.URL), ("openai-compatible", f"{harness.URL}/v1"))
}
# `cline auth` takes a URL only for providers that it calls OpenAI-compatible, and so none for Ollama.
_cline.write(".cline/data/settings/providers.json", json.dumps({"version": 1, "lastUsedProvider": "ollama", "modes": {}, "providers": _providers}))


def _said(provider: str, *arguments: str) -> str:
    events = _cline.events("--json", "--provider", provider, "--model", agent.MODEL, *arguments)
    (result,) = [event for event in events if event["type"] == "run_result"]
    assert result["finishReason"] == "completed" and result["usage"]["outputTokens"] > 0, result
    return result["text"]


def answers() -> None:
    assert harness.ANSWER in _said("ollama", harness.QUESTION)


def answers_as_from_openai() -> None:
    assert harness.ANSWER in _said("openai-compatible", harness.QUESTION)


_cline.check(globals())
