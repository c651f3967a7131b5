"""GGUF to a Hugging Face folder that can be trained: weights in F16, tokenizer and configuration as files."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from convert import architectures, durable, libggml, safetensors_file, vocabulary
from convert.architectures import Architecture
from convert.errors import ConvertError
from convert.gguf_file import Gguf, GgufTensor, read

Progress = Callable[[str, int, int], None]

_PIECE = 1 << 20  # weights held at a time, as float32


def _bytes(gguf: Gguf, tensor: GgufTensor, heads: int, dtype: str) -> Iterator[memoryview]:
    rows = tensor.data
    if heads:
        if len(tensor.shape) == 1:  # a bias: one number a row
            rows = rows.reshape(tensor.shape[0], -1)
        rows = rows[np.argsort(architectures.permutation(tensor.shape[0], heads))]
    step = max(1, _PIECE // tensor.shape[-1])
    for begin in range(0, len(rows), step):
        values = libggml.dequantize(rows[begin : begin + step], tensor.type.name)
        if not np.isfinite(values).all():
            raise ConvertError(
                f"{gguf.path}: tensor {tensor.name} holds NaN or infinity", "the file is damaged"
            )
        if dtype == "F16":
            yield libggml.quantize(values, "F16").data
        else:
            yield np.ascontiguousarray(values).view(np.uint8).data


def _configuration(gguf: Gguf, architecture: Architecture, tokens: vocabulary.Vocabulary) -> dict[str, Any]:
    config = architecture.config(gguf)
    config["vocab_size"] = len(tokens.tokens)
    config["dtype"] = config["torch_dtype"] = "float16"  # the second spelling is for older tools
    return {**config, **vocabulary.generation_config(tokens)}


def _provenance(gguf: Gguf) -> dict[str, Any]:
    with gguf.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    general = {
        key: value.value
        for key, value in gguf.metadata.items()
        if key.startswith("general.") and isinstance(value.value, str)
    }
    types = Counter(tensor.type.name for tensor in gguf.tensors.values())
    return {
        "format": 1,
        "source_sha256": digest,
        "general": general,
        "tensor_types": dict(sorted(types.items())),
    }


def convert(gguf: Path, folder: Path, progress: Progress | None = None) -> Path:
    """Write the model in a GGUF file as a checkpoint.

    Matrices become F16, vectors stay F32. A quantized file's values are taken as they are: what the file lost
    against its original stays lost.

    Args:
        gguf: the file.
        folder: the folder to appear, whole or not at all; must not exist, or be empty.
        progress: called with a tensor's name, the weights done and all weights.

    Returns:
        `folder`: config.json, generation_config.json, model.safetensors, tokenizer.json,
        tokenizer_config.json (with the chat template), special_tokens_map.json and provenance.json (the
        source's digest, name and license).

    Raises:
        ConvertError: something of the file isn't as it must be; nothing was written.
        OSError: the disk said no, or there is something at `folder`; nothing was written.
    """
    source = read(gguf)
    architecture = architectures.of_gguf(source)
    tokens = vocabulary.from_gguf(source)
    config = _configuration(source, architecture, tokens)
    shapes = architecture.shapes(config)
    found = {name: tensor.shape for name, tensor in source.tensors.items()}
    architectures.check_tensors(str(gguf), shapes, found)
    layout: dict[str, tuple[str, tuple[int, ...]]] = {}
    order: list[tuple[GgufTensor, int, str]] = []
    for name, shape in shapes.items():
        theirs = architecture.to_checkpoint(name)
        assert theirs is not None
        dtype = "F32" if len(shape) == 1 else "F16"
        layout[theirs] = (dtype, shape)
        heads = architecture.heads_of(name)
        order.append((source.tensors[name], config[heads] if heads else 0, dtype))
    total = sum(math.prod(shape) for shape in shapes.values())

    def parts() -> Iterator[memoryview]:
        done = 0
        for tensor, heads, dtype in order:
            yield from _bytes(source, tensor, heads, dtype)
            done += math.prod(tensor.shape)
            if progress is not None:
                progress(tensor.name, done, total)

    files = {
        "config.json": config,
        "generation_config.json": vocabulary.generation_config(tokens),
        "provenance.json": _provenance(source),
        **vocabulary.to_files(tokens, config["max_position_embeddings"]),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    durable.check_space(folder.parent, 2 * total + 16 * 1024 * 1024)
    with durable.new_folder(folder) as inside:
        for name, content in files.items():
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (inside / name).write_text(text, encoding="utf-8")
        with (inside / safetensors_file.SINGLE).open("wb", buffering=1 << 20) as stream:
            safetensors_file.write(stream, layout, parts())
    return folder
