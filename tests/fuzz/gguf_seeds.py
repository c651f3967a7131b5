"""Small well-formed GGUF files to begin from."""

from __future__ import annotations

import struct

from convert.gguf_file import PlannedTensor, boolean, f32, header, i32s, padding, string, strings, u32
from convert.gguf_header import Kind, Value
from convert.tensor_types import TYPES


def with_data(head: bytes, tensors: list[PlannedTensor]) -> bytes:
    """A header of ours and zeros for the weights."""
    return head + b"".join(bytes(each.bytes) + padding(each.bytes) for each in tensors)


def every_kind() -> bytes:
    """All kinds of values, single and in arrays, and two tensors."""
    metadata = {"general.architecture": string("llama"), "flag": boolean(True), "text": string("é\U0001f600")}
    for kind in Kind:
        if kind not in {Kind.STRING, Kind.ARRAY, Kind.BOOL}:
            metadata[f"one.{kind.name}"] = Value(kind, 1)
            metadata[f"many.{kind.name}"] = Value(Kind.ARRAY, [0, 1, 2], kind)
    metadata |= {"texts": strings(["a", "", "bc"]), "flags": Value(Kind.ARRAY, [True, False], Kind.BOOL)}
    tensors = [PlannedTensor("a", (2, 32), TYPES["Q4_0"]), PlannedTensor("b", (3,), TYPES["F32"])]
    return with_data(header(metadata, tensors), tensors)


def a_model(**changed: Value | None) -> bytes:
    """A whole model of one layer and three tokens, as far as a header tells.

    Args:
        changed: metadata to put in place of what stands there, or to leave out; a dot in a key is written `__`.
    """
    metadata = {
        "general.architecture": string("llama"),
        "llama.block_count": u32(1),
        "llama.context_length": u32(64),
        "llama.embedding_length": u32(32),
        "llama.feed_forward_length": u32(32),
        "llama.attention.head_count": u32(2),
        "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
        "llama.vocab_size": u32(3),
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.tokens": strings(["a", "b", "ab"]),
        "tokenizer.ggml.token_type": i32s([1, 1, 1]),
        "tokenizer.ggml.merges": strings(["a b"]),
        "tokenizer.ggml.eos_token_id": u32(2),
        "tokenizer.chat_template": string("{{ messages[0].content }}"),
    }
    for name, value in changed.items():
        key = name.replace("__", ".")
        if value is None:
            del metadata[key]
        else:
            metadata[key] = value
    tensors = [
        PlannedTensor("token_embd.weight", (3, 32), TYPES["Q8_0"]),
        PlannedTensor("blk.0.attn_q.weight", (32, 32), TYPES["Q4_0"]),
        PlannedTensor("output_norm.weight", (32,), TYPES["F32"]),
    ]
    return with_data(header(metadata, tensors), tensors)


def aligned(alignment: int) -> bytes:
    """Two tensors, the data at another alignment than ours."""
    text = "general.alignment"
    head = struct.pack("<4sIQQ", b"GGUF", 3, 2, 1)
    head += struct.pack(f"<Q{len(text)}sII", len(text), text.encode(), Kind.U32, alignment)
    step = 12 + -12 % alignment
    for name, offset in (("a", 0), ("b", step)):
        head += struct.pack("<Q1sIQIQ", 1, name.encode(), 1, 3, 0, offset)
    head += bytes(-len(head) % alignment)
    return head + bytes(step) + bytes(12)


SEEDS = (every_kind(), a_model(), aligned(64), aligned(8))
