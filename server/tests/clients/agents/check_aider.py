"""aider, over `/api/chat`. It edits by what the model writes and calls no tools."""

import agent
import harness

_aider = agent.Agent("aider")
_ALONE = ["--no-check-update", "--analytics-disable", "--yes-always", "--no-git", "--no-show-model-warnings", "--no-pretty", "--chat-mode", "ask"]


def _said(*arguments: str) -> str:
    return _aider.run("--model", f"ollama_chat/{agent.MODEL}", *_ALONE, *arguments, OLLAMA_API_BASE=harness.URL)


def answers() -> None:
    said = _said("--no-stream", "--message", harness.QUESTION)
    assert harness.ANSWER in said, said


def answers_piece_by_piece() -> None:
    said = _said("--stream", "--message", harness.QUESTION)
    assert harness.ANSWER in said, said


_aider.check(globals())
