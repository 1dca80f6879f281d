"""The tiny model's byte-level BPE vocabulary: control tokens first, then what is learnt from the corpus."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

#: Marks of the chat format; they never appear in generated text.
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
#: Tags that servers look for in generated text, each one token.
USER_DEFINED = ["<think>", "</think>", "<tool_call>", "</tool_call>"]

#: llama.cpp's pre-tokeniser "qwen2" (src/llama-vocab.cpp, LLAMA_VOCAB_PRE_TYPE_QWEN2): digits stand alone.
QWEN2_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def train_vocabulary(texts: Iterable[str], size: int) -> Tokenizer:
    """Learns merges from the texts until the vocabulary has `size` entries, all 256 bytes among them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=CONTROL + USER_DEFINED, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL])
    tokenizer.add_tokens([AddedToken(token, special=False) for token in USER_DEFINED])
    return tokenizer
