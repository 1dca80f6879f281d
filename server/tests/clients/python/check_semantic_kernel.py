"""Microsoft's Semantic Kernel by its Ollama connector."""

import harness
from harness import ANSWER, CHAT, EMBED, QUESTION
from semantic_kernel import Kernel
from semantic_kernel.connectors.ai.function_choice_behavior import FunctionChoiceBehavior
from semantic_kernel.connectors.ai.ollama import OllamaChatCompletion, OllamaChatPromptExecutionSettings, OllamaTextEmbedding
from semantic_kernel.contents import ChatHistory
from semantic_kernel.functions import kernel_function

_greedy = {"temperature": 0, "num_predict": 200}


class Weather:
    """A plugin of one function."""

    @kernel_function(name="get_weather", description="Get the current weather in a city")
    def get_weather(self, city: str) -> str:
        """What the model may call."""
        return harness.get_weather(city)


def _asked(question: str) -> ChatHistory:
    history = ChatHistory()
    history.add_user_message(question)
    return history


async def chat() -> None:
    service = OllamaChatCompletion(ai_model_id=CHAT, host=harness.URL)
    (reply,) = await service.get_chat_message_contents(_asked(QUESTION), OllamaChatPromptExecutionSettings(options=_greedy))
    assert ANSWER in str(reply), reply


async def stream() -> None:
    service = OllamaChatCompletion(ai_model_id=CHAT, host=harness.URL)
    pieces = service.get_streaming_chat_message_contents(_asked(QUESTION), OllamaChatPromptExecutionSettings(options=_greedy))
    assert ANSWER in "".join([str(piece[0]) async for piece in pieces])


async def tools() -> None:
    kernel = Kernel()
    kernel.add_plugin(Weather(), "weather")
    service = OllamaChatCompletion(ai_model_id=CHAT, host=harness.URL)
    settings = OllamaChatPromptExecutionSettings(options=_greedy, function_choice_behavior=FunctionChoiceBehavior.Auto(auto_invoke=False))
    (reply,) = await service.get_chat_message_contents(_asked(harness.WEATHER_QUESTION), settings, kernel=kernel)
    assert any(getattr(item, "function_name", None) == "get_weather" for item in reply.items), reply


async def embed() -> None:
    vectors = await OllamaTextEmbedding(ai_model_id=EMBED, host=harness.URL).generate_embeddings(["a small boat", "tax law"])
    assert len(vectors) == 2


harness.run(globals())
