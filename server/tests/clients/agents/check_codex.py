"""OpenAI's Codex CLI, over `/v1/responses`: with Chaski as its provider, and as it speaks to Ollama (`--oss`)."""

import agent
import harness

_codex = agent.Agent("codex")
_codex.write(
    ".codex/config.toml",
    f"""
model = "{agent.MODEL}"
model_provider = "chaski"

[model_providers.chaski]
name = "Chaski"
base_url = "{harness.URL}/v1"
wire_api = "responses"
""",
)
_ALONE = ["--skip-git-repo-check", "--json"]


def _said(*arguments: str, **variables: str) -> str:
    events = _codex.events("exec", "--sandbox", "read-only", *arguments, **variables)
    assert any(event["type"] == "turn.completed" and event["usage"]["output_tokens"] > 0 for event in events), events
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    return " ".join(item["text"] for item in items if item["type"] == "agent_message")


def answers() -> None:
    assert harness.ANSWER in _said(*_ALONE, harness.QUESTION)


def goes_on() -> None:
    assert agent.SECOND_ANSWER in _said("resume", "--last", *_ALONE, agent.SECOND_QUESTION)


def answers_as_from_ollama() -> None:
    oss = ["--oss", "--local-provider", "ollama", "--model", f"{agent.MODEL}:latest"]
    assert harness.ANSWER in _said(*oss, *_ALONE, harness.QUESTION, CODEX_OSS_BASE_URL=f"{harness.URL}/v1")


_codex.check(globals())
