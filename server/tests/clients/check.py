"""The official Python client against a running server: `python3 check.py URL`, after `pip install -r requirements.txt`.

Expects the built-in models. Fails at the first answer that is not what a user of the client would expect.
"""

import math
import sys

import ollama


def main(url: str) -> None:
    client = ollama.Client(host=url)

    names = {model.model for model in client.list().models}
    assert {"tiny:latest", "tiny-embed:latest"} <= names, names
    shown = client.show("tiny")
    assert "completion" in shown.capabilities and shown.modelinfo["general.architecture"] == "llama"

    greedy = {"temperature": 0, "num_predict": 64}
    question = "What is the capital of France?"
    whole = client.generate("tiny", question, options=greedy, think=False)
    assert whole.done and whole.done_reason == "stop" and "Paris" in whole.response, whole
    pieces = list(client.generate("tiny", question, options=greedy, think=False, stream=True))
    assert "".join(piece.response for piece in pieces) == whole.response and pieces[-1].done
    assert whole.eval_count == pieces[-1].eval_count > 0

    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    chat = client.chat("tiny", messages, options=greedy, think=False)
    assert "scatter" in chat.message.content.lower(), chat
    streamed = "".join(part.message.content for part in client.chat("tiny", messages, options=greedy, think=False, stream=True))
    assert streamed == chat.message.content

    embedded = client.embed("tiny-embed", ["a small boat", "a little ship", "tax law"])
    assert len(embedded.embeddings) == 3
    for vector in embedded.embeddings:
        assert abs(math.hypot(*vector) - 1) < 1e-3
    alone = client.embed("tiny-embed", "a small boat").embeddings[0]
    assert max(abs(a - b) for a, b in zip(alone, embedded.embeddings[0])) < 1e-4

    assert {model.model for model in client.ps().models} >= {"tiny:latest"}
    try:
        client.generate("no-such-model", "hello")
    except ollama.ResponseError as error:
        assert error.status_code == 404 and "not found" in error.error, error
    else:
        raise AssertionError("a model that does not exist answered")
    print("python client: list, show, generate, chat, embed, ps and errors as expected")


if __name__ == "__main__":
    main(sys.argv[1])
