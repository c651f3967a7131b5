"""What llama.cpp would fail at, told from the header: each case beside llama.cpp's own answer where that is safe."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convert import gguf_header, gguf_requirements, to_gguf
from convert.gguf_file import Value, f32, i32s, string, strings, u32
from convert.gguf_header import Kind
from tests.fuzz.gguf_seeds import a_model, every_kind


def told(data: bytes) -> tuple[list[str], list[str]]:
    """Faults and remarks of a file with this content."""
    header = gguf_header.read_header(io.BytesIO(data), len(data), "x")
    return gguf_requirements.faults(header), gguf_requirements.remarks(header)


def test_a_whole_model_has_no_faults() -> None:
    assert told(a_model()) == ([], [])


def test_real_files_have_no_faults(embedded_gguf: Path, small: Path, tmp_path: Path) -> None:
    for path in (embedded_gguf, to_gguf.convert(small, tmp_path / "m.gguf").path):
        header = gguf_header.open_header(path)
        assert gguf_requirements.faults(header) == []
    assert gguf_requirements.remarks(header) == []


FAULTS: dict[str, tuple[dict[str, Value | None], str]] = {
    "no architecture": ({"general__architecture": None}, "general.architecture is missing"),
    "an architecture that is a number": (
        {"general__architecture": u32(1)},
        "general.architecture is 1 (U32)",
    ),
    "an architecture with controls": ({"general__architecture": string("\x1b[2J")}, r"is '\x1b[2J'"),
    "an adapter": ({"general__type": string("adapter")}, "general.type is 'adapter'"),
    "a type that is a list": ({"general__type": i32s([1])}, "general.type is an array of 1 I32"),
    "one part of three": (
        {"split__count": Value(Kind.U16, 3)},
        "split.count is 3 (U16): one part of several",
    ),
    "no layers": ({"llama__block_count": None}, "llama.block_count is missing"),
    "no context": ({"llama__context_length": u32(0)}, "llama.context_length is 0 (U32)"),
    "a width of another type": ({"llama__embedding_length": f32(32)}, "llama.embedding_length is 32.0 (F32)"),
    "too many layers": ({"llama__block_count": u32(513)}, "at most 512"),
    "heads by which one can't divide": ({"llama__attention__head_count": u32(0)}, "head_count is 0"),
    "no tokenizer": ({"tokenizer__ggml__model": None}, "tokenizer.ggml.model is missing"),
    "no tokens": ({"tokenizer__ggml__tokens": None}, "tokenizer.ggml.tokens is missing"),
    "tokens that are numbers": ({"tokenizer__ggml__tokens": i32s([1])}, "is an array of 1 I32"),
    "fewer types than tokens": (
        {"tokenizer__ggml__token_type": i32s([1, 1])},
        "token_type is an array of 2 I32; it must be an array of 3 I32 or U32, one a token",
    ),
    # Read as if it had four bytes an item.
    "types of one byte": (
        {"tokenizer__ggml__token_type": Value(Kind.ARRAY, [1, 1, 1], Kind.U8)},
        "token_type is an array of 3 U8",
    ),
    "types that are one number": ({"tokenizer__ggml__token_type": u32(1)}, "token_type is 1 (U32)"),
    "fewer scores than tokens": (
        {"tokenizer__ggml__scores": Value(Kind.ARRAY, [0.5], Kind.F32)},
        "scores is an array of 1 F32; it must be an array of 3 F32",
    ),
    "no merges": ({"tokenizer__ggml__merges": None}, "tokenizer.ggml.merges is missing"),
    "merges that are numbers": ({"tokenizer__ggml__merges": i32s([1])}, "merges is an array of 1 I32"),
    "a token twice": (
        {"tokenizer__ggml__tokens": strings(["a", "b", "a"])},
        "1 of 3 texts stand there twice",
    ),
    "a token twice for C": ({"tokenizer__ggml__tokens": strings(["a", "a\0b", "c"])}, "1 of 3 texts stand"),
    "more tokens than rows": (
        {
            "tokenizer__ggml__tokens": strings(["a", "b", "ab", "ba"]),
            "tokenizer__ggml__token_type": i32s([1] * 4),
        },
        "token_embd.weight has 3 rows for 4 tokens",
    ),
    "wider than its embeddings": ({"llama__embedding_length": u32(64)}, "where rows are 64 wide"),
    "a template that is a number": ({"tokenizer__chat_template": u32(1)}, "chat_template is 1 (U32)"),
}


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_fault_is_told(name: str) -> None:
    changed, reason = FAULTS[name]
    faults, _ = told(a_model(**changed))
    assert any(reason in each for each in faults), faults
    assert all(each.isprintable() and len(each) < 300 for each in faults)


def test_a_layer_beyond_their_number() -> None:
    data = a_model().replace(b"blk.0.attn_q.weight", b"blk.7.attn_q.weight")
    assert told(data)[0] == ["llama.block_count is 1, but there is a layer 7"]


def test_empty_tokens_are_not_equal() -> None:
    assert told(a_model(tokenizer__ggml__tokens=strings(["", "", "a"])))[0] == []


def test_without_tensors() -> None:
    data = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + every_kind()[24 : 24 + 8 + 20 + 4 + 8 + 5]
    assert told(data)[0] == ["it holds no tensors"]


@pytest.mark.parametrize(
    ("changed", "remark"),
    [
        ({"llama__vocab_size": u32(4)}, "llama.vocab_size is 4 (U32), but there are 3 tokens"),
        ({"tokenizer__ggml__eos_token_id": u32(3)}, "eos_token_id is 3 (U32), which is no token"),
        ({"tokenizer__chat_template": None}, "it has no tokenizer.chat_template"),
        ({"tokenizer__chat_template": string("a\0b")}, "'tokenizer.chat_template' holds a zero byte"),
        (
            {"tokenizer__ggml__model": string("none"), "tokenizer__ggml__tokens": None},
            "it has no vocabulary",
        ),
    ],
)
def test_a_remark_is_told(changed: dict[str, Value | None], remark: str) -> None:
    faults, remarks = told(a_model(**changed))
    assert faults == [] and any(remark in each for each in remarks), remarks


def test_llama_cpp_loads_what_has_no_fault_and_refuses_what_has(
    small: Path, tmp_path: Path, open_llama: Callable[..., Any]
) -> None:
    good = to_gguf.convert(small, tmp_path / "m.gguf").path
    open_llama(good).close()
    content = good.read_bytes()
    for key in (
        b"general.architecture",
        b"llama.context_length",
        b"tokenizer.ggml.model",
        b"tokenizer.ggml.merges",
    ):
        assert content.count(key) == 1
        broken = tmp_path / "broken.gguf"
        broken.write_bytes(content.replace(key, key[:-1] + b"_"))
        assert gguf_requirements.faults(gguf_header.open_header(broken)), key
        with pytest.raises(ValueError, match="Failed to load model"):
            open_llama(broken)
