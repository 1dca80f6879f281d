"""Continue's `cn`, as it speaks to Ollama and as it speaks to OpenAI."""

import agent
import harness

_cn = agent.Agent("cn")
for _provider, _path in (("ollama", ""), ("openai", "/v1")):
    _cn.write(
        f"work/{_provider}.yaml",
        f"""
name: local
version: 1.0.0
schema: v1
models:
  - name: {agent.MODEL}
    provider: {_provider}
    model: {agent.MODEL}
    apiBase: {harness.URL}{_path}
    apiKey: none
    roles: [chat]
""",
    )


def answers() -> None:
    assert harness.ANSWER in _cn.run("--print", "--config", "ollama.yaml", harness.QUESTION)


def goes_on() -> None:
    assert agent.SECOND_ANSWER in _cn.run("--print", "--resume", "--config", "ollama.yaml", agent.SECOND_QUESTION)


def answers_as_from_openai() -> None:
    assert harness.ANSWER in _cn.run("--print", "--config", "openai.yaml", harness.QUESTION)


_cn.check(globals())
