"""Ollama's own command line, if `ollama` is installed (or `OLLAMA_PROGRAM` names it)."""

import os
import re
import shutil
import subprocess
import tempfile

import harness
from harness import ANSWER, CHAT, EMBED, QUESTION

_program = os.environ.get("OLLAMA_PROGRAM") or shutil.which("ollama")
_home = tempfile.mkdtemp()
_TIMEOUT_SECONDS = 60


def _ollama(*arguments: str, given: str = "", code: int = 0) -> str:
    """What a command prints, without its cursor movements."""
    environment = {"OLLAMA_HOST": harness.URL, "HOME": _home, "PATH": os.environ["PATH"]}
    done = subprocess.run([_program, *arguments], input=given, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_SECONDS, check=False)
    said = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", done.stdout + done.stderr)
    assert done.returncode == code, said
    return said


def list_models() -> None:
    assert f"{CHAT}:latest" in _ollama("list")


def show() -> None:
    shown = _ollama("show", CHAT)
    assert "llama" in shown and "thinking" in shown, shown
    assert "FROM" in _ollama("show", "--modelfile", CHAT)
    assert "<|im_start|>" in _ollama("show", "--template", CHAT)


def run() -> None:
    assert ANSWER in _ollama("run", CHAT, "--think=false", QUESTION)
    assert ANSWER in _ollama("run", CHAT, "--think=false", given=QUESTION)
    assert "eval rate" in _ollama("run", CHAT, "--think=false", "--verbose", QUESTION)
    assert "[" in _ollama("run", EMBED, "a small boat")


def create() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".modelfile") as file:
        file.write(f"FROM {CHAT}\nSYSTEM Be brief.\nPARAMETER temperature 0\n")
        file.flush()
        assert "success" in _ollama("create", "client-made", "-f", file.name)
    assert "Be brief." in _ollama("show", "--system", "client-made")


def copy() -> None:
    assert "copied" in _ollama("cp", "client-made", "client-copied")


def running() -> None:
    _ollama("run", CHAT, "--think=false", QUESTION)
    assert f"{CHAT}:latest" in _ollama("ps")


def stop() -> None:
    _ollama("stop", CHAT)
    assert f"{CHAT}:latest" not in _ollama("ps")


def remove() -> None:
    assert "deleted 'client-made'" in _ollama("rm", "client-made", "client-copied")


def errors() -> None:
    assert "not found" in _ollama("rm", "no-such-model", code=1)
    assert "not found" in _ollama("show", "no-such-model", code=1)


if _program:
    harness.run(globals())
else:
    harness.skip("there is no program called ollama")
