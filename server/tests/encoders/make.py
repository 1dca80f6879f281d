"""Makes the models of this folder, and what PyTorch computes with them: `python3 server/tests/encoders/make.py`, with models/requirements.txt and onnxscript.

Small models with random weights, as Hugging Face's classes of these families save and its exporters lay them out: what is tested is how their files are read, their inputs
filled and their outputs pooled, not what they know. A folder has the graph, the tokenizer, the configurations and, in `golden.json`, texts with the ids and the vectors
that transformers gives. Seeds fix the weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import DistilBertConfig, DistilBertModel, ModernBertConfig, ModernBertModel, NomicBertConfig, NomicBertModel, RobertaConfig, RobertaModel, XLMRobertaConfig, XLMRobertaModel
from transformers import PreTrainedModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
LONGEST = 40
SENTENCES = ["the river runs to the sea", "how do i open an account", "a letter from the school of music", "why does it not work", "bread and coffee in the morning"]
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})
LETTERS = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789.,?!éüñ日本"))
TEXTS = ["the river runs to the sea", "Why does it not work?", "bread", "", "coffee in the school, 42 letters!", "日本 é unknown ☃ words", "how do i open an account " * 12]


def word_piece() -> PreTrainedTokenizerFast:
    """As DistilBERT, ModernBERT and Nomic have it here: lower case, [CLS] text [SEP]."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *("##" + letter for letter in LETTERS), *(word for word in WORDS if len(word) > 1)]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]", model_max_length=LONGEST)


def framed(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """With the special tokens of RoBERTa and XLM-R: <s> text </s>, and no types of tokens."""
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", cls_token="<s>", sep_token="</s>", mask_token="<mask>", model_max_length=LONGEST)


def bytes_in_pairs() -> PreTrainedTokenizerFast:
    """RoBERTa's: pairs of bytes."""
    names = ["<s>", "<pad>", "</s>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "<mask>"]
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("o", "n"), ("Ġ", "a"), ("r", "i"), ("o", "r"), ("k", "Ġ")][:8]
    names[-1:-1] = [a + b for a, b in merges]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return framed(tokenizer)


def unigram() -> PreTrainedTokenizerFast:
    """XLM-R's: sentencepiece's most likely pieces."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(word, -3.0 - len(word) / 10) for word in ("▁" + word for word in WORDS)] + [(letter, -6.0) for letter in LETTERS] + [("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return framed(tokenizer)


class Graph(torch.nn.Module):
    """A model that is called with its inputs in order and gives its last hidden state alone."""

    def __init__(self, model: PreTrainedModel, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True))).last_hidden_state


def export(model: PreTrainedModel, names: list[str], path: Path) -> None:
    """The graph, with any number of texts and tokens."""
    example = tuple(torch.ones(2, 5, dtype=torch.long) * (name != "token_type_ids") for name in names)
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in [*names, "last_hidden_state"]}
    torch.onnx.export(Graph(model, names).eval(), example, path, input_names=names, output_names=["last_hidden_state"], dynamic_axes=axes, opset_version=17, dynamo=False)


def save(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, inputs: list[str], pooling: str, prompts: dict[str, str]) -> None:
    """One folder."""
    model.eval()
    with torch.no_grad():
        # As training leaves them: where they are all alike, exporters keep one for all.
        for numbers in model.parameters():
            if numbers.dim() == 1:
                numbers.add_(0.1 * torch.randn_like(numbers))
    folder = HERE / name
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    export(model, inputs, folder / "model.onnx")
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    config = model.config.to_dict() | {"architectures": [type(model).__name__]}
    write = lambda path, value: (folder / path).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")  # noqa: E731
    write("config.json", {key: value for key, value in config.items() if value is not None and not key.startswith("_")})
    write("tokenizer_config.json", {"model_max_length": LONGEST})
    write("1_Pooling/config.json", {"word_embedding_dimension": 32, f"pooling_mode_{pooling}": True})
    write("modules.json", [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}, {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}])
    if prompts:
        write("config_sentence_transformers.json", {"prompts": prompts})
    golden = []
    for prompt_name, text in [(None, text) for text in TEXTS] + [(name, TEXTS[0]) for name in prompts]:
        ids = tokenizer(prompts.get(prompt_name, "") + text, truncation=True, max_length=LONGEST)["input_ids"]
        given = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        with torch.no_grad():
            states = model(**given).last_hidden_state[0]
        vector = torch.nn.functional.normalize(states[0] if pooling == "cls_token" else states.mean(0), dim=0)
        golden.append({"text": text, "prompt_name": prompt_name, "ids": ids, "vector": [round(x, 6) for x in vector.tolist()]})
    write("golden.json", golden)


def main() -> None:
    torch.manual_seed(11)
    plain, typed = ["input_ids", "attention_mask"], ["input_ids", "attention_mask", "token_type_ids"]
    # Attention that can be traced, and larger weights than the families start with, or two texts' vectors are nearly the same.
    spread = {"initializer_range": 0.3, "attn_implementation": "eager"}
    tokenizer = bytes_in_pairs()
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": LONGEST + 2, "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    save("roberta", RobertaModel(RobertaConfig(**SIZE, **size, **spread), add_pooling_layer=False), tokenizer, plain, "mean_tokens", {})
    tokenizer = unigram()
    e5 = {"query": "query: ", "passage": "passage: "}
    save("xlm-roberta", XLMRobertaModel(XLMRobertaConfig(**SIZE, **size | {"vocab_size": len(tokenizer)}, **spread), add_pooling_layer=False), tokenizer, plain, "mean_tokens", e5)
    tokenizer = word_piece()
    distil = DistilBertConfig(vocab_size=len(tokenizer), max_position_embeddings=LONGEST, dim=32, n_layers=2, n_heads=2, hidden_dim=64, **spread)
    save("distilbert", DistilBertModel(distil), tokenizer, plain, "mean_tokens", {})
    special = {"pad_token_id": 0, "cls_token_id": 2, "bos_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
    modern = ModernBertConfig(**SIZE, **special, vocab_size=len(tokenizer), max_position_embeddings=LONGEST, local_attention=8, global_attn_every_n_layers=2, initializer_cutoff_factor=3.0, **spread)
    save("modernbert", ModernBertModel(modern), tokenizer, plain, "cls_token", {})
    nomic = NomicBertConfig(**SIZE, vocab_size=len(tokenizer), max_position_embeddings=LONGEST, pad_token_id=0, **spread)
    save("nomic-bert", NomicBertModel(nomic), tokenizer, typed, "mean_tokens", {"search_query": "search_query: ", "search_document": "search_document: "})


if __name__ == "__main__":
    main()
