"""What the scripts of agents share: a model that keeps to the question, a folder to work in, and a run of the program.

An agent sends some thousand tokens of instructions and tools with every question. The tiny model has learnt nothing of that kind
and would get lost in them, so each script makes a model whose template shows it no more than the last question and what
came after it, and, of the tools, the one that reads files. What goes over the wire is all that the agent sends, and what comes back is what
the model says to that.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import harness

MODEL = "client-agent"
SECOND_QUESTION, SECOND_ANSWER = "What is the capital of Italy?", "Rome"
# A model of this size may repeat itself without end, and agents set no bound.
_MAX_TOKENS = 200
_TIMEOUT_SECONDS = 120
_PROGRAMS = Path(sys.prefix).parent / "agents"

_TEMPLATE = """{{- $last := -1 }}{{- range $i, $_ := .Messages }}{{- if eq .Role "user" }}{{ $last = $i }}{{ end }}{{ end }}
{{- if .Tools }}<|im_start|>system
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{{- range .Tools }}{{ if or (eq .Function.Name "read") (eq .Function.Name "Read") (eq .Function.Name "read_files") }}
{"type": "function", "function": {"name": "{{ .Function.Name }}", "description": "Read a file", "parameters": {{ .Function.Parameters }}}}
{{- end }}{{ end }}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- if eq $i $last }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ end }}
{{- if and (gt $i $last) (eq .Role "assistant") }}<|im_start|>assistant
{{ if .Thinking }}<think>{{ .Thinking }}</think>
{{ end }}{{ .Content }}
{{- range .ToolCalls }}<tool_call>
{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
</tool_call>{{ end }}<|im_end|>
{{ end }}
{{- if and (gt $i $last) (eq .Role "tool") }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
<think>

</think>

"""


class Agent:
    """A program with a home and a folder of its own to work in."""

    def __init__(self, program: str) -> None:
        self.program = next((str(path) for path in (_PROGRAMS / "node_modules/.bin" / program, _PROGRAMS / "aider/bin" / program) if path.exists()), None)
        self.home = Path(tempfile.mkdtemp(prefix="chaski-agent-"))
        self.work = self.home / "work"
        self.work.mkdir()
        (self.work / "notes").write_text("The word is banana.\n")

    def write(self, name: str, text: str) -> None:
        """Writes a file below its home."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *arguments: str, **variables: str) -> str:
        """What the program prints for people, or for programs. It must succeed."""
        # Nothing of whoever runs this, such as keys for services of others.
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "TERM": "dumb"} | variables
        done = subprocess.run(
            [self.program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=self.work, env=environment, timeout=_TIMEOUT_SECONDS, check=False
        )
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}"
        return done.stdout

    def events(self, *arguments: str, **variables: str) -> list[dict[str, Any]]:
        """The JSON objects among the lines that it prints."""
        return [json.loads(line) for line in self.run(*arguments, **variables).splitlines() if line.startswith("{")]

    def check(self, script: dict[str, Any]) -> None:
        """Runs a script's behaviours, if the program is there."""
        if self.program is None:
            harness.skip("not installed; see `make agents`")
            return
        _ask("/api/create", {"model": MODEL, "from": harness.CHAT, "template": _TEMPLATE, "parameters": {"temperature": 0, "num_predict": _MAX_TOKENS}, "stream": False})
        try:
            harness.run(script)
        finally:
            _ask("/api/delete", {"model": MODEL}, method="DELETE")
            shutil.rmtree(self.home, ignore_errors=True)


def _ask(path: str, body: dict[str, Any], method: str = "POST") -> None:
    request = urllib.request.Request(harness.URL + path, json.dumps(body).encode(), method=method)
    urllib.request.urlopen(request, timeout=60).close()
