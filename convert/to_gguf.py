"""Checkpoint (and adapter) to GGUF in one pass: read rows, add the adapter, permute, quantize, write.

Rows are worked on by a pool of threads in pieces of fixed size and written in order, so that memory stays at
a few pieces whatever the model's size, and the bytes don't depend on the number of threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert import architectures, durable, libggml, lora, vocabulary
from convert.architectures import Architecture
from convert.errors import ConvertError
from convert.gguf_file import GgufTensor, PlannedTensor, Value, header, padding, string, u32
from convert.gguf_file import read as read_gguf
from convert.libggml import Bytes, Floats, TensorType
from convert.pieces import Scratch, ranges
from convert.safetensors_file import StoredTensor, read_checkpoint
from convert.type_mix import Mix

Progress = Callable[[str, int, int], None]
Quantize = Callable[[str, Floats, str], Bytes]
"""(a tensor's GGUF name, float32 [rows, columns], a type's name) -> uint8 [rows, bytes of a row]."""

# Of a matrix's size: rounding to four bits is off by a tenth of it, another matrix by more than all.
_ROUNDED = 0.35
_QUANTIZATION_VERSION = 2  # ggml.h, GGML_QNT_VERSION
_STRUCTURAL = {"architecture", "type", "alignment", "file_type", "quantization_version", "size_label"}


@dataclass(frozen=True)
class Conversion:
    """A GGUF file that was written.

    Attributes:
        path: where it is.
        sha256: of the whole file, lower-case hex.
        bytes: its size.
        bits_per_weight: of all tensors, scales included, metadata excluded.
        parameters: how many weights it holds.
        tensors: how many tensors of each type.
        seconds: how long it took.
    """

    path: Path
    sha256: str
    bytes: int
    bits_per_weight: float
    parameters: int
    tensors: Counter[str]
    seconds: float


@dataclass(frozen=True)
class _Source:
    """Where a planned tensor's rows come from."""

    planned: PlannedTensor
    stored: StoredTensor | None = None
    order: npt.NDArray[np.intp] | None = None
    update: lora.Update | None = None
    computed: Floats | None = None
    kept: Bytes | None = None

    def rows(self, begin: int, end: int, quantize: Quantize, scratch: Scratch) -> Bytes:
        index: slice | npt.NDArray[np.intp] = (
            slice(begin, end) if self.order is None else self.order[begin:end]
        )
        rows = self._floats(index, scratch)
        # A sum is not finite if one of its items isn't; it could also overflow, so look closer before
        # refusing.
        with np.errstate(over="ignore", invalid="ignore"):
            total = rows.sum()
        if not np.isfinite(total) and not np.isfinite(rows).all():
            hint = "the model or adapter was damaged in training: use an earlier one"
            raise ConvertError(f"tensor {self.planned.name} holds NaN or infinity", hint)
        if self.kept is not None:
            return self._as_kept(self.kept[begin:end], rows)
        data = quantize(self.planned.name, rows, self.planned.type.name)
        # Of F32 the bytes are the rows themselves, whose memory is used again.
        return data.copy() if np.may_share_memory(data, rows) else data

    def _as_kept(self, data: Bytes, rows: Floats) -> Bytes:
        """Rows of another file, if they are these, rounded."""
        off = libggml.dequantize(data, self.planned.type.name) - rows
        if not np.vdot(off, off) <= _ROUNDED**2 * np.vdot(rows, rows):  # NaN is none of them
            hint = "the file to be like has to be of the same base, with no adapter on what isn't learnt now"
            raise ConvertError(f"tensor {self.planned.name} of the file to be like isn't the base's", hint)
        return data

    def _floats(self, index: slice | npt.NDArray[np.intp], scratch: Scratch) -> Floats:
        if self.computed is not None:
            return self.computed.reshape(1, -1)
        assert self.stored is not None
        if len(self.planned.shape) == 1:
            vector = self.stored.rows(slice(None))
            return vector if self.order is None else vector[:, self.order]
        rows = self.stored.rows(index, partial(scratch.take, "base"))
        if self.update is None:
            return rows
        return lora.merge_rows(rows, self.update.b[index], self.update.a, scratch)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Ranges of rows; a vector is one piece."""
        shape = self.planned.shape
        if len(shape) == 1:
            yield 0, 1
            return
        yield from ranges(shape[0], shape[1])


def _plan(
    folder: Path,
    config: Mapping[str, Any],
    architecture: Architecture,
    adapter: lora.Adapter | None,
    mix: Mix,
    like: Mapping[str, GgufTensor],
) -> list[_Source]:
    stored = {
        name: each for name, each in read_checkpoint(folder).items() if not architecture.is_ignored(name)
    }
    if config.get("tie_word_embeddings") and "lm_head.weight" in stored:
        del stored["lm_head.weight"]  # transformers takes the embeddings for it, whatever the file holds
    named: dict[str, StoredTensor] = {}
    for name, each in stored.items():
        gguf_name = architecture.to_gguf(name)
        if gguf_name is None:
            raise ConvertError(f"{each.file}: tensor {name} has no place in {architecture.checkpoint_class}")
        named[gguf_name] = each
    shapes = architecture.shapes(config)
    architectures.check_tensors(str(folder), shapes, {name: each.shape for name, each in named.items()})
    if adapter is not None:
        adapter.check({name: each.shape for name, each in stored.items()})
    sources = [
        _Source(PlannedTensor(name, values.shape, libggml.TYPES["F32"]), computed=values)
        for name, values in architecture.computed(config).items()
    ]
    for name, shape in shapes.items():
        heads = architecture.heads_of(name)
        order = None
        if heads is not None:
            count = architectures.whole(config, heads, architectures.whole(config, "num_attention_heads"))
            order = architectures.permutation(shape[0], count)
        each = named[name]
        update = adapter.update(each.name) if adapter is not None else None
        # Norms and biases are F32, as llama.cpp wants them.
        kind = libggml.TYPES["F32"] if len(shape) == 1 else mix.of(name, shape[-1])
        planned = PlannedTensor(name, shape, kind)
        same = like.get(name) if update is None and len(shape) == 2 else None
        kept = same.data if same is not None and (same.shape, same.type) == (shape, kind) else None
        sources.append(_Source(planned, each, order, update, kept=kept))
    return sources


def size_label(parameters: int) -> str:
    """A count of weights as people say it: 135M, 1.7B."""
    sizes = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
    size, letter = next((each for each in sizes if parameters >= each[0]), sizes[-1])
    amount = parameters / size
    return (f"{amount:.0f}" if amount >= 10 else f"{amount:.1f}".removesuffix(".0")) + letter


def _general(
    folder: Path, architecture: Architecture, name: str, quantization: TensorType, parameters: int
) -> dict[str, Value]:
    origin = vocabulary.read_json(folder / "provenance.json", required=False).get("general")
    origin = origin if isinstance(origin, dict) else {}
    label = size_label(parameters)
    base = str(origin.get("general.name", ""))
    keys = {
        "general.architecture": string(architecture.gguf_name),
        "general.type": string("model"),
        "general.name": string(name or base or f"{architecture.gguf_name}-{label}"),
        "general.size_label": string(label),
    }
    if origin.get("general.license"):
        keys["general.license"] = string(str(origin["general.license"]))
    if base:
        keys |= {"general.base_model.count": u32(1), "general.base_model.0.name": string(base)}
        if origin.get("general.organization"):
            keys["general.base_model.0.organization"] = string(str(origin["general.organization"]))
    assert quantization.file_type is not None
    keys["general.file_type"] = u32(quantization.file_type)
    keys["general.quantization_version"] = u32(_QUANTIZATION_VERSION)
    return keys


def _add(keys: dict[str, Value], metadata: Mapping[str, str]) -> None:
    for key, value in sorted(metadata.items()):
        owner, _, rest = key.partition(".")
        if not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", key) or len(key) > 256:
            raise ConvertError(
                f"metadata key {key!r} is not allowed", "a-z, 0-9 and _ in parts joined by dots"
            )
        if (key in keys and owner != "general") or (owner == "general" and rest in _STRUCTURAL):
            raise ConvertError(f"metadata key {key!r} is ours to write", "choose another key")
        keys[key] = string(value)


def as_libggml(_name: str, rows: Floats, type_name: str) -> Bytes:
    """Every weight to the nearest on its block's grid, as llama.cpp does it."""
    return libggml.quantize(rows, type_name)


def _produce(
    sources: list[_Source], threads: int, quantize: Quantize
) -> Generator[tuple[_Source, Bytes, bool]]:
    """Each source's bytes in order, piece by piece; a flag marks the last. Several threads work ahead of the writer."""
    scratch = Scratch()
    work = ((source, piece) for source in sources for piece in source.pieces())

    def last(source: _Source, end: int) -> bool:
        return len(source.planned.shape) == 1 or end == source.planned.shape[0]

    if threads == 1:
        for source, (begin, end) in work:
            yield source, source.rows(begin, end, quantize, scratch), last(source, end)
        return
    ahead: deque[tuple[_Source, int, Future[Bytes]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="convert")
    try:
        for source, (begin, end) in work:
            ahead.append((source, end, pool.submit(source.rows, begin, end, quantize, scratch)))
            if len(ahead) > 2 * threads + 2:
                done, reached, future = ahead.popleft()
                yield done, future.result(), last(done, reached)
        while ahead:
            done, reached, future = ahead.popleft()
            yield done, future.result(), last(done, reached)
    finally:
        pool.shutdown(cancel_futures=True)


def _write(
    output: Path,
    head: bytes,
    size: int,
    pieces: Iterator[tuple[_Source, Bytes, bool]],
    parameters: int,
    progress: Progress | None,
) -> str:
    """Write head and pieces to a file that appears whole or not at all; its SHA-256."""
    output.parent.mkdir(parents=True, exist_ok=True)
    durable.check_space(output.parent, size)
    digest, done = hashlib.sha256(head), 0
    with durable.new_file(output) as stream, durable.WriteBehind(stream) as behind:
        stream.write(head)
        for source, data, is_last in pieces:
            pad = padding(source.planned.bytes) if is_last else b""
            for part in (data.data, pad):
                stream.write(part)
                digest.update(part)
            behind.wrote(data.nbytes + len(pad))
            if is_last:
                if source.stored is not None:
                    source.stored.release()  # memory stays flat, however large the model
                done += math.prod(source.planned.shape)
                if progress is not None:
                    progress(source.planned.name, done, parameters)
        if stream.tell() != size:
            raise ConvertError(f"{output}: {stream.tell()} bytes were written where {size} were due")
    return digest.hexdigest()


def convert(
    checkpoint: Path,
    output: Path,
    *,
    adapter: Path | None = None,
    quantization: str = "Q4_0",
    embeddings: str = "Q8_0",
    overrides: Mapping[str, str] | None = None,
    name: str = "",
    metadata: Mapping[str, str] | None = None,
    pre: str = "",
    threads: int = 0,
    progress: Progress | None = None,
    quantize: Quantize = as_libggml,
    like: Path | None = None,
) -> Conversion:
    """Write a checkpoint, with an adapter merged into it, as a GGUF file.

    Args:
        checkpoint: a Hugging Face folder: config.json, tokenizer.json, safetensors (F32, F16 or BF16).
        output: the file to appear, whole or not at all; one that is there is replaced.
        adapter: a folder of peft's (adapter_config.json, adapter_model.safetensors).
        quantization: the type of all matrices but the embeddings: one of `libggml.WRITABLE`.
        embeddings: the type of the embeddings (and of the output matrix if it isn't tied to them). Where
            `quantization` is F32, F16 or BF16, they take that type too.
        overrides: other types for some tensors: a regular expression over GGUF names -> a type's name.
        name: `general.name`; taken from the checkpoint if empty.
        metadata: more keys with text values; `general.*` of ours can be replaced.
        pre: the pre-tokenizer's name for a tokenizer that isn't recognized.
        threads: 0: all cores that this process may use.
        progress: called with a tensor's name, the weights done and all weights.
        quantize: makes bytes of rows, in several threads; another one may choose each weight's rounding.
        like: a GGUF file of the same base; what the adapter leaves alone is taken from it as it was rounded there, so
            that the two files differ in little else than what was learnt.

    Returns:
        What was written. Equal inputs give equal bytes.

    Raises:
        ConvertError: something of the input isn't as it must be; nothing was written.
        OSError: the disk said no; nothing was written.
    """
    started = time.monotonic()
    mix = Mix.named(quantization, embeddings, overrides)
    if not checkpoint.is_dir():
        raise ConvertError(f"{checkpoint}: no such folder", "a checkpoint is a folder with config.json")
    if output.is_dir():
        raise ConvertError(f"{output}: is a folder", "give the name of the file to write")
    config = vocabulary.read_json(checkpoint / "config.json")
    architecture = architectures.of_config(config)
    if config.get("quantization_config"):
        raise ConvertError(f"{checkpoint}: is quantized already", "give the original checkpoint")
    hyperparameters = architecture.hyperparameters(config)
    tokenizer = vocabulary.from_checkpoint(checkpoint, config, pre=pre)
    merged = lora.read_adapter(adapter) if adapter is not None else None
    sources = _plan(checkpoint, config, architecture, merged, mix, read_gguf(like).tensors if like else {})
    parameters = sum(math.prod(source.planned.shape) for source in sources)
    keys = (
        _general(checkpoint, architecture, name, mix.matrices, parameters)
        | hyperparameters
        | tokenizer.metadata()
    )
    _add(keys, metadata or {})
    planned = [source.planned for source in sources]
    head = header(keys, planned)
    size = len(head) + sum(tensor.bytes + len(padding(tensor.bytes)) for tensor in planned)
    pieces = _produce(sources, threads or len(os.sched_getaffinity(0)), quantize)
    with contextlib.closing(pieces):  # so that its threads end with it, whatever happens
        digest = _write(output, head, size, pieces, parameters, progress)
    tensor_bytes = sum(tensor.bytes for tensor in planned)
    return Conversion(
        path=output,
        sha256=digest,
        bytes=size,
        bits_per_weight=8 * tensor_bytes / parameters,
        parameters=parameters,
        tensors=Counter(tensor.type.name for tensor in planned),
        seconds=time.monotonic() - started,
    )
