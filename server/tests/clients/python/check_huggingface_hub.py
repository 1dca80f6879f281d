"""Hugging Face's own client, told the address of a route as it is for text-embeddings-inference, and of the OpenAI routes."""

import harness
import numpy
from harness import ANSWER, CHAT, QUESTION, URL
from huggingface_hub import InferenceClient


def _of(route: str) -> InferenceClient:
    return InferenceClient(model=URL + route, token="unused")  # noqa: S106: nobody asks for it


def feature_extraction() -> None:
    vector = _of("/embed").feature_extraction("a small boat")
    assert vector.shape == (1, 128) and abs(numpy.linalg.norm(vector) - 1) < 1e-3, vector


def feature_extraction_of_many() -> None:
    vectors = _of("/embed").feature_extraction(["a small boat", "tax law"], normalize=True, truncate=True, truncation_direction="right")
    assert vectors.shape == (2, 128) and vectors[0] @ vectors[1] < 0.99, vectors


def feature_extraction_with_a_prompt_it_does_not_have() -> None:
    try:
        _of("/embed").feature_extraction("a small boat", prompt_name="query")
    except Exception as error:
        assert "no prompt" in str(error), error
    else:
        raise AssertionError("a prompt that is not there was taken")


def sentence_similarity() -> None:
    same, other = _of("/similarity").sentence_similarity("How do I reset my password?", other_sentences=["How do I reset my password?", "Name the capital of China."])
    assert abs(same - 1) < 1e-3 and other < 0.99, (same, other)


def text_classification() -> None:
    # Of a reply in the shape of text-embeddings-inference, it takes the best label.
    best = _of("/predict").text_classification("It is terrific.")
    best = best[0] if isinstance(best, list) else best
    assert 0 < best.score <= 1 and best.label in ("negative", "neutral", "positive"), best


def chat() -> None:
    reply = InferenceClient(base_url=f"{URL}/v1", api_key="unused").chat_completion([{"role": "user", "content": QUESTION}], model=CHAT, max_tokens=200, temperature=0)
    assert ANSWER in reply.choices[0].message.content, reply


harness.run(globals())
