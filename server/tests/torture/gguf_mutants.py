"""GGUF files that are almost right: what a flipped bit, a lying count or a hostile author makes of a small model."""

import contextlib
import random
import struct
from collections.abc import Callable

from gguf import ARRAY, BOOL, F32, F64, I32, I64, TEXT, U32, U64, Entry, Gguf, Raw, Tensor

COUNTS = [0, 1, 2, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
NUMBERS = [0, 1, 2, 3, 7, 63, 64, 65, 255, 513, 10**6, 2**31 - 1, 2**31, 2**32 - 1, -1]
FLOATS = [0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), -float("inf")]

ARCHITECTURES = (
    "llama llama4 falcon grok gpt2 gptj gptneox mpt baichuan starcoder refact bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 modern-bert bloom stablelm qwen qwen2 qwen2moe "
    "qwen2vl qwen3 qwen3moe qwen3next phi2 phi3 phimoe plamo plamo2 codeshell orion internlm2 minicpm minicpm3 gemma gemma2 gemma3 gemma3n gemma-embedding starcoder2 mamba mamba2 jamba "
    "xverse command-r cohere2 dbrx olmo olmo2 olmoe openelm arctic deepseek deepseek2 chatglm glm4 glm4moe bitnet t5 t5encoder jais nemotron nemotron_h exaone exaone4 rwkv6 rwkv6qwen2 "
    "rwkv7 arwkv7 granite granitemoe granitehybrid chameleon wavtokenizer-dec plm bailingmoe dots1 arcee ernie4_5 hunyuan-moe smollm3 gpt-oss lfm2 lfm2moe dream llada clip x"
).split()

KEYS = (
    "block_count embedding_length feed_forward_length attention.head_count attention.head_count_kv attention.key_length attention.value_length rope.dimension_count rope.dimension_sections "
    "context_length vocab_size expert_count expert_used_count expert_shared_count expert_feed_forward_length leading_dense_block_count attention.sliding_window rope.scaling.type "
    "rope.scaling.factor rope.scaling.original_context_length rope.freq_base attention.layer_norm_rms_epsilon attention.layer_norm_epsilon attention.group_norm_groups attention.causal "
    "pooling_type ssm.conv_kernel ssm.inner_size ssm.state_size ssm.time_step_rank ssm.group_count attention.q_lora_rank attention.kv_lora_rank attention.temperature_length "
    "attention.scale logit_scale residual_scale embedding_scale use_parallel_residual decoder_start_token_id classifier.output_labels nextn_predict_layers"
).split()

TOKENIZERS = ["llama", "gpt2", "bert", "t5", "rwkv", "plamo2", "none", "no_vocab", "x", ""]
PRETOKENIZERS = [
    "default",
    "llama3",
    "deepseek-llm",
    "falcon",
    "mpt",
    "starcoder",
    "gpt-2",
    "qwen2",
    "tekken",
    "chameleon",
    "gpt-4o",
    "superbpe",
    "kimi-k2",
    "hunyuan",
    "x",
    "",
]
TOKENIZER_NUMBERS = (
    "bos_token_id eos_token_id eot_token_id eom_token_id unknown_token_id separator_token_id padding_token_id mask_token_id fim_pre_token_id".split()
)


def numeric(dice: random.Random, key: str) -> Entry:
    """An entry with a number, or something else, at its limits."""
    kind = dice.choice([U32, U32, U32, I32, U64, I64, F32, F64, BOOL, TEXT, ARRAY])
    value: object = dice.choice(NUMBERS)
    if kind in (F32, F64):
        value = dice.choice(FLOATS)
    elif kind == TEXT:
        value = dice.choice([b"", b"x", b"none", b"linear", b"yarn", b"\0", b"\xff", b"%s%n" * 10])
    elif kind == ARRAY:
        length = dice.choice([0, 1, 2, 4, 5, 512, 513, 5_000])
        return Entry(key.encode(), ARRAY, [dice.choice(NUMBERS) for _ in range(length)], dice.choice([U32, I32, U64]))
    return Entry(key.encode(), kind, value)


def put(file: Gguf, entry: Entry) -> None:
    file.entries = [it for it in file.entries if it.key != entry.key] + [entry]


def architecture(file: Gguf) -> str:
    return next((it.value.decode() for it in file.entries if it.key == b"general.architecture" and isinstance(it.value, bytes)), "llama")


def change_number(dice: random.Random, file: Gguf) -> str:
    key = f"{architecture(file)}.{dice.choice(KEYS)}"
    entry = numeric(dice, key)
    put(file, entry)
    return f"{key} = {entry.value if not isinstance(entry.value, list) else f'{len(entry.value)} numbers'} (type {entry.kind})"


def change_architecture(dice: random.Random, file: Gguf) -> str:
    """The keys come along, so that the loader gets as far as it can."""
    new = dice.choice(ARCHITECTURES)
    for it in file.entries:
        if it.key.startswith(b"llama."):
            it.key = new.encode() + it.key[5:]
    put(file, Entry(b"general.architecture", TEXT, new.encode()))
    for _ in range(dice.randrange(5)):
        put(file, Entry(f"{new}.{dice.choice(KEYS)}".encode(), U32, dice.choice([1, 2, 4, 8, 64, 128])))
    return f"architecture {new}"


def change_tokenizer(dice: random.Random, file: Gguf) -> str:
    kind = dice.randrange(7)
    if kind == 0:
        model = dice.choice(TOKENIZERS)
        put(file, Entry(b"tokenizer.ggml.model", TEXT, model.encode()))
        return f"tokenizer {model!r}"
    if kind == 1:
        model = dice.choice(PRETOKENIZERS)
        put(file, Entry(b"tokenizer.ggml.pre", TEXT, model.encode()))
        return f"pretokenizer {model!r}"
    if kind == 2:
        key = f"tokenizer.ggml.{dice.choice(TOKENIZER_NUMBERS)}"
        put(file, entry := numeric(dice, key))
        return f"{key} = {str(entry.value)[:50]}"
    if kind == 3:
        tokens = file.entry("tokenizer.ggml.tokens")
        tokens.value = list(tokens.value)
        for _ in range(dice.choice([1, 10, 500])):
            tokens.value[dice.randrange(len(tokens.value))] = dice.choice([b"", b"\xff\xfe", b"a", b"\0", b"<0x0A>", b"x" * 5_000, dice.randbytes(8)])
        return "other tokens"
    if kind == 4:
        name = dice.choice(["tokens", "token_type", "merges"])
        array = file.entry(f"tokenizer.ggml.{name}")
        array.value = list(array.value)[: dice.choice([0, 1, 2, 100, 1_700])] * dice.choice([1, 1, 3])
        return f"{len(array.value)} {name}"
    if kind == 5:
        merges = file.entry("tokenizer.ggml.merges")
        merges.value = list(merges.value)
        for _ in range(dice.choice([1, 50])):
            merges.value[dice.randrange(len(merges.value))] = dice.choice(
                [b"", b" ", b"a", b"a b c", b"\xff \xff", b"  ", b"\xc4 a", dice.randbytes(6)]
            )
        return "other merges"
    types = file.entry("tokenizer.ggml.token_type")
    types.value = [dice.choice([-1, 0, 1, 2, 3, 4, 5, 6, 7, 2**31 - 1]) for _ in types.value]
    return "other types of tokens"


def change_entry(dice: random.Random, file: Gguf) -> str:
    at = dice.randrange(len(file.entries))
    entry = file.entries[at]
    kind = dice.randrange(6)
    if kind == 0:
        del file.entries[at]
        return f"without {entry.key.decode()}"
    if kind == 1:
        file.entries.insert(dice.randrange(len(file.entries)), Entry(entry.key, entry.kind, entry.value, entry.element))
        return f"{entry.key.decode()} twice"
    if kind == 2:
        entry.value, entry.kind = Raw(dice.randbytes(dice.randrange(20))), dice.choice([*range(14), 2**31, 2**32 - 1])
        return f"{entry.key.decode()} of type {entry.kind}"
    if kind == 3:
        element, length = dice.choice([*range(14), 2**32 - 1]), dice.choice(COUNTS)
        entry.kind, entry.value = ARRAY, Raw(struct.pack("<IQ", element, length) + dice.randbytes(dice.randrange(40)))
        return f"{entry.key.decode()} is an array of {length} of type {element}"
    if kind == 4:
        entry.kind, entry.value = TEXT, Raw(struct.pack("<Q", dice.choice(COUNTS)) + b"text")
        return f"{entry.key.decode()} is a text with a lying length"
    entry.key = dice.choice([b"", b"\xff", b"x" * 70_000, b"\0", b"general.alignment", b"split.count", b"general.type", entry.key + b"\0"])
    return f"a key {entry.key[:20]!r}"


def change_tensor(dice: random.Random, file: Gguf) -> str:
    at = dice.randrange(len(file.tensors))
    tensor = file.tensors[at]
    name = tensor.name.decode()
    kind = dice.randrange(9)
    if kind == 0:
        del file.tensors[at]
        return f"without tensor {name}"
    if kind == 1:
        tensor.shape = [
            dice.choice([0, 1, 31, 32, 33, 255, 256, 257, 512, 2048, 2**31, 2**32, 2**62, 2**63])
            for _ in range(dice.choice([0, 1, 2, 2, 3, 4, 5, 100]))
        ]
        return f"{name} has the shape {tensor.shape[:6]}"
    if kind == 2:
        tensor.shape.reverse()
        return f"{name} is turned"
    if kind == 3:
        tensor.kind = dice.choice([*range(45), 2**31, 2**32 - 1])
        return f"{name} has type {tensor.kind}"
    if kind == 4:
        tensor.offset = dice.choice([0, 32, 1, 31, 10**6, 2**31, 2**32, 2**63, 2**64 - 32, 2**64 - 1])
        return f"{name} at {tensor.offset}"
    if kind == 5:
        tensor.name = dice.choice(
            [b"", b"x", b"x" * 63, b"x" * 64, b"x" * 5_000, b"\xff", b"a\0b", file.tensors[0].name, b"blk.99999.attn_q.weight", b"output.weight"]
        )
        return f"{name} is called {tensor.name[:30]!r}"
    if kind == 6:
        other = dice.choice(file.tensors)
        tensor.shape, tensor.kind, tensor.data, other.shape, other.kind, other.data = (
            other.shape,
            other.kind,
            other.data,
            tensor.shape,
            tensor.kind,
            tensor.data,
        )
        return f"{name} and {other.name.decode()} change places"
    if kind == 7:
        names = [
            "output.weight",
            "token_types.weight",
            "position_embd.weight",
            "rope_freqs.weight",
            "blk.0.attn_qkv.weight",
            "blk.0.ffn_gate_inp.weight",
            "blk.0.attn_q.bias",
            "blk.0.ffn_up_exps.weight",
            "token_embd_norm.weight",
            "cls.weight",
            "blk.0.ssm_in.weight",
            "blk.0.attn_q_norm.weight",
        ]
        new = dice.choice(names)
        shape = dice.choice([[1], [32], [64], [256], [256, 256], [256, 2048], [2048, 256], [256, 2, 2]])
        size = 1
        for it in shape:
            size *= it
        file.tensors.append(Tensor(new.encode(), shape, 0, bytes(4 * size)))
        return f"another tensor {new} {shape}"
    tensor.data = bytes(dice.choice([0, 0xFF, 0x7F, 0x7C]) for _ in range(1)) * len(tensor.data)
    return f"{name} is filled with {tensor.data[:1]!r}"


def change_counts(dice: random.Random, file: Gguf) -> str:
    which = dice.choice(["version", "tensor_count", "entry_count"])
    value = (
        dice.choice([0, 1, 2, 4, 2**31, 2**32 - 1])
        if which == "version"
        else dice.choice([*COUNTS, len(file.entries) + 1, len(file.tensors) + 1, len(file.tensors) - 1])
    )
    setattr(file, which, value)
    return f"{which} {value}"


def change_template(dice: random.Random, file: Gguf) -> str:
    templates = [
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{{ 'x' * 999999999 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{" * 5_000,
        "{% if true %}" * 100_000,
        "(" * 100_000,
        "{% set x = messages %}" * 10_000,
        "{{ messages[0].content.__class__.__mro__ }}",
        "{% include '/etc/passwd' %}",
        "{% set ns = namespace(x='x') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{{ raise_exception('x' * 99999) }}",
        "\0",
        "{%",
        "{{ messages | tojson(indent=999999999) }}",
        "{{ '%99999999d' | format(1) }}",
        "{{ 'x' | center(999999999) }}",
        "{{ [[]] * 99999999 }}",
    ]
    template = dice.choice(templates)
    put(file, Entry(b"tokenizer.chat_template", TEXT, template.encode()))
    return f"template {template[:60]}"


CHANGES: list[Callable[[random.Random, Gguf], str]] = [
    change_number,
    change_number,
    change_architecture,
    change_tokenizer,
    change_tokenizer,
    change_entry,
    change_tensor,
    change_tensor,
    change_counts,
    change_template,
]


def flip(dice: random.Random, data: bytes, head: int) -> tuple[str, bytes]:
    """Bits change, or bytes are missing, or there are more of them."""
    changed = bytearray(data)
    kind = dice.randrange(5)
    if kind == 0:
        cut = dice.choice([dice.randrange(24), dice.randrange(head), dice.randrange(len(data))])
        return f"cut at {cut}", data[:cut]
    if kind == 1:
        places = [dice.randrange(len(data)) for _ in range(dice.choice([1, 64, 5_000]))]
    else:
        # What comes before the vocabulary decides more than what is in it.
        places = [dice.randrange(dice.choice([24, 600, head])) for _ in range(dice.choice([1, 2, 8]))]
    for at in places:
        changed[at] ^= 1 << dice.randrange(8)
    if kind == 2:
        at = dice.randrange(head)
        del changed[at : at + dice.choice([1, 4, 8, 100])]
    return f"{len(places)} bits flipped from {min(places)} on", bytes(changed)


def change(dice: random.Random, file: Gguf) -> str:
    """Changes something; another thing where an earlier change has taken away what was to be changed."""
    while True:
        with contextlib.suppress(StopIteration, ValueError, TypeError, IndexError, AttributeError):
            return dice.choice(CHANGES)(dice, file)


def mutant(dice: random.Random, original: Gguf) -> tuple[str, bytes]:
    """What was done, and the file."""
    if dice.random() < 0.25:
        data = original.data()
        return flip(dice, data, len(original.head()))
    file = original.copy()
    done = [change(dice, file) for _ in range(dice.choice([1, 1, 1, 2]))]
    return "; ".join(done), file.data()
