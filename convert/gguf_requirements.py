"""What a header must say for llama.cpp to load the model without refusing, aborting or reading past an array.

Faults are what it would fail at, and where it would be unsafe, what it doesn't check in every version (the lengths of
vocabulary lists). Remarks are what may be meant.

Source: src/llama-model.cpp, src/llama-vocab.cpp and src/llama-model-loader.cpp of llama.cpp.
"""

from __future__ import annotations

import re
from typing import Any

from convert.gguf_header import Header, Kind, Value, shown

MAX_LAYERS = 512  # llama-hparams.h, LLAMA_MAX_LAYERS
_SIZES = ("block_count", "context_length", "embedding_length")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TOKENS = "tokenizer.ggml.tokens"
_TEMPLATE = "tokenizer.chat_template"
_PER_TOKEN = {"tokenizer.ggml.token_type": (Kind.I32, Kind.U32), "tokenizer.ggml.scores": (Kind.F32,)}
_EMBEDDINGS, _OUTPUT = "token_embd.weight", "output.weight"


def _text(header: Header, key: str) -> str | None:
    found = header.metadata.get(key)
    return found.value if found is not None and found.kind is Kind.STRING else None


def _told(value: Value | None) -> str:
    """A value of the wrong kind, for a message."""
    if value is None:
        return "missing"
    if value.kind is Kind.ARRAY:
        assert value.item is not None
        return f"an array of {len(value.value)} {value.item.name}"
    return shown(value.value, 40) if value.kind is Kind.STRING else f"{value.value} ({value.kind.name})"


def _is_strings(value: Value | None) -> bool:
    return value is not None and value.kind is Kind.ARRAY and value.item is Kind.STRING


def _purpose(header: Header) -> list[str]:
    """What kind of file it is."""
    found = []
    kind = header.get("general.type", "model")
    if kind != "model":
        found.append(
            f"general.type is {_told(header.metadata['general.type'])}: no model that runs by itself"
        )
    split = header.metadata.get("split.count")
    if split is not None and split.value not in {0, 1}:
        # llama.cpp would open the other files by names that it makes from this one's.
        found.append(f"split.count is {_told(split)}: one part of several; merge them with llama-gguf-split")
    if not header.tensors:
        found.append("it holds no tensors")
    return found


def _sizes(header: Header, architecture: str) -> list[str]:
    found = []
    for name in _SIZES:
        key = f"{architecture}.{name}"
        value = header.metadata.get(key)
        if value is None or value.kind is not Kind.U32 or value.value < 1:
            found.append(f"{key} is {_told(value)}; it must be a positive u32")
    layers = header.get(f"{architecture}.block_count")
    if isinstance(layers, int):
        if layers > MAX_LAYERS:
            found.append(f"{architecture}.block_count is {layers}; llama.cpp takes at most {MAX_LAYERS}")
        numbers = [int(match[1]) for name in header.tensors if (match := re.match(r"blk\.(\d{1,9})\.", name))]
        if numbers and max(numbers) >= layers:
            found.append(f"{architecture}.block_count is {layers}, but there is a layer {max(numbers)}")
    heads = header.metadata.get(f"{architecture}.attention.head_count")
    if heads is not None and 0 in (heads.value if isinstance(heads.value, list) else [heads.value])[:1]:
        found.append(f"{architecture}.attention.head_count is 0")
    return found


def _vocabulary(header: Header) -> list[str]:
    model = _text(header, "tokenizer.ggml.model")
    if model is None:
        return [f"tokenizer.ggml.model is {_told(header.metadata.get('tokenizer.ggml.model'))}"]
    tokens = header.metadata.get(_TOKENS)
    if tokens is None and model in {"none", "no_vocab"}:
        return []
    if tokens is None or not _is_strings(tokens) or not tokens.value:
        return [f"{_TOKENS} is {_told(tokens)}; it must be an array of texts"]
    found, count = [], len(tokens.value)
    for key, kinds in _PER_TOKEN.items():
        value = header.metadata.get(key)
        if value is None:
            continue
        if value.kind is not Kind.ARRAY or value.item not in kinds or len(value.value) != count:
            due = " or ".join(kind.name for kind in kinds)
            found.append(f"{key} is {_told(value)}; it must be an array of {count} {due}, one a token")
    merges = header.metadata.get("tokenizer.ggml.merges")
    if (model == "gpt2" or merges is not None) and not _is_strings(merges):
        found.append(f"tokenizer.ggml.merges is {_told(merges)}; it must be an array of texts")
    # llama.cpp reads them as C's texts, and aborts where two are equal.
    heard = {token.partition("\0")[0] for token in tokens.value if token} - {""}
    silent = sum(1 for token in tokens.value if not token.partition("\0")[0])
    if len(heard) + silent != count:
        found.append(f"{_TOKENS}: {count - silent - len(heard)} of {count} texts stand there twice")
    return found


def _vocabulary_rows(header: Header, architecture: str) -> list[str]:
    """The embeddings must have a row a token, or tokens would be looked up behind their end."""
    found = []
    embeddings = header.tensors.get(_EMBEDDINGS)
    tokens = header.get(_TOKENS)
    width = header.get(f"{architecture}.embedding_length")
    for tensor in filter(None, (embeddings, header.tensors.get(_OUTPUT))):
        if isinstance(tokens, list) and tensor.shape[0] != len(tokens):
            found.append(f"{tensor.name} has {tensor.shape[0]} rows for {len(tokens)} tokens")
    if embeddings is not None and embeddings.shape[1:] != (width,):
        found.append(f"{_EMBEDDINGS} has the shape {list(embeddings.shape)}, where rows are {width} wide")
    return found


def faults(header: Header) -> list[str]:
    """Why llama.cpp could not serve this file, a line each; empty where nothing speaks against it."""
    architecture = _text(header, "general.architecture")
    if architecture is None or not _ARCHITECTURE.fullmatch(architecture):
        told = _told(header.metadata.get("general.architecture"))
        return [f"general.architecture is {told}: nobody can say what model this is"]
    purpose = _purpose(header)
    if purpose:
        return purpose
    found = [*_sizes(header, architecture), *_vocabulary(header), *_vocabulary_rows(header, architecture)]
    template = header.metadata.get(_TEMPLATE)
    if template is not None and template.kind is not Kind.STRING:
        found.append(f"{_TEMPLATE} is {_told(template)}; it must be a text")
    return found


def _vocabulary_size(header: Header) -> list[str]:
    key = f"{header.get('general.architecture')}.vocab_size"
    size, tokens = header.get(key), header.get(_TOKENS)
    if size is None or not isinstance(tokens, list) or size == len(tokens):
        return []
    return [f"{key} is {_told(header.metadata[key])}, but there are {len(tokens)} tokens"]


def _special_tokens(header: Header) -> list[str]:
    tokens = header.get(_TOKENS)
    if not isinstance(tokens, list):
        return []
    return [
        f"{key} is {_told(value)}, which is no token"
        for key, value in header.metadata.items()
        if re.fullmatch(r"tokenizer\.ggml\.\w+_token_id", key)
        and not (isinstance(value.value, int) and 0 <= value.value < len(tokens))
    ]


def remarks(header: Header) -> list[str]:
    """What is odd and may be meant, a line each."""
    found = [*header.remarks, *_vocabulary_size(header), *_special_tokens(header)]
    if header.get(_TOKENS) is None:
        found.append("it has no vocabulary: texts can't be given to it")
    elif not header.get(_TEMPLATE):
        found.append(f"it has no {_TEMPLATE}: conversations can't be put to it")
    for key, value in header.metadata.items():
        if _has_zero(value.value):
            found.append(f"{shown(key)} holds a zero byte: llama.cpp reads only what stands before it")
    return found


def _has_zero(value: Any) -> bool:
    return isinstance(value, str) and "\0" in value
