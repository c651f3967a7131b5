"""A checkpoint's weights: safetensors files, checked before anything is believed, then memory-mapped.

Format: 8 bytes little-endian length N, N bytes of JSON (name -> dtype, shape, data_offsets), then the data.
https://huggingface.co/docs/safetensors#format
"""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from convert.errors import ConvertError
from convert.libggml import Floats, Memory, bfloat16_to_float32, float16_to_float32

_SIZES = {"F32": 4, "F16": 2, "BF16": 2}
_OTHER_SIZES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "I32": 4,
    "U32": 4,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_STORAGE: dict[str, Any] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
_MAX_HEADER = 100 * 1024 * 1024  # the format's own limit
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: read rows of it as float32 when they are needed.

    Attributes:
        name: as in the file.
        dtype: "F32", "F16" or "BF16" can be read; others only have a name.
        shape: as in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    _data: npt.NDArray[np.uint8]
    _mapping: mmap.mmap
    _begin: int

    def rows(self, index: slice | npt.NDArray[np.intp], into: Memory | None = None) -> Floats:
        """Some rows of a matrix, or of a vector as one row.

        Args:
            index: which rows, in which order.
            into: gives the memory that they are widened into; fresh memory otherwise.

        Returns:
            float32, shape (rows, columns); of an F32 file, a read-only view where that can be.
        """
        storage = _STORAGE.get(self.dtype)
        if storage is None:
            raise ConvertError(
                f"{self.file}: {self.name} is of type {self.dtype}",
                "weights must be F32, F16 or BF16; give the original of a quantized checkpoint",
            )
        matrix = self._data.view(storage).reshape((-1, self.shape[-1]) if len(self.shape) > 1 else (1, -1))
        part = matrix[index]
        if self.dtype == "F32":
            floats: Floats = part.astype(np.float32, copy=False)
            return floats
        out = into(part.shape) if into is not None else None
        return bfloat16_to_float32(part, out) if self.dtype == "BF16" else float16_to_float32(part, out)

    def release(self) -> None:
        """Take the tensor's pages out of this process's memory; reading it again fetches them anew."""
        first = -(-self._begin // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (self._begin + self._data.size) // mmap.PAGESIZE * mmap.PAGESIZE
        if last > first:
            self._mapping.madvise(mmap.MADV_DONTNEED, first, last - first)


def _fail(path: Path, reason: str) -> ConvertError:
    return ConvertError(
        f"{path}: {reason}", "the file is damaged or incomplete: copy it again from its source"
    )


def _header(path: Path, data: npt.NDArray[np.uint8]) -> tuple[dict[str, Any], int]:
    if data.size < 8:
        raise _fail(path, f"no safetensors file: {data.size} bytes")
    (length,) = struct.unpack("<Q", data[:8].tobytes())
    if length > _MAX_HEADER or 8 + length > data.size:
        raise _fail(path, f"the header claims {length} bytes, the file has {data.size}")
    try:
        header = json.loads(data[8 : 8 + length].tobytes().decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise _fail(path, "the header is no JSON") from error
    if not isinstance(header, dict):
        raise _fail(path, "the header is no JSON object")
    header.pop("__metadata__", None)
    return header, 8 + length


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _tensor(
    path: Path, name: str, entry: Any, mapping: mmap.mmap, begin: int
) -> tuple[StoredTensor, int, int]:
    data = np.frombuffer(mapping, dtype=np.uint8)[begin:]
    if not isinstance(entry, dict):
        raise _fail(path, f"{name!r} has no description")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or not isinstance(shape, list) or not all(_whole(size) for size in shape):
        raise _fail(path, f"{name!r} has no proper type and shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_whole(offset) for offset in offsets):
        raise _fail(path, f"{name!r} has no proper offsets")
    start, end = offsets
    if not start <= end <= data.size:
        raise _fail(
            path, f"{name!r} lies at {start} to {end} of {data.size} bytes of data: the file is cut short"
        )
    size = _SIZES.get(dtype) or _OTHER_SIZES.get(dtype)
    if size is not None and math.prod(shape) * size != end - start:
        raise _fail(path, f"{name!r} of type {dtype} and shape {shape} can't take {end - start} bytes")
    tensor = StoredTensor(name, dtype, tuple(shape), path, data[start:end], mapping, begin + start)
    return tensor, start, end


def read_file(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file, mapped, not read.

    Raises:
        ConvertError: the file isn't what it should be.
    """
    if not path.is_file():
        raise ConvertError(
            f"{path}: no such file", "a checkpoint is a folder with config.json and model.safetensors"
        )
    if path.stat().st_size == 0:
        raise _fail(path, "the file is empty")
    with path.open("rb") as stream:
        mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    header, begin = _header(path, np.frombuffer(mapping, dtype=np.uint8))
    placed = [_tensor(path, name, entry, mapping, begin) for name, entry in header.items()]
    expected = 0
    for tensor, start, end in sorted(placed, key=lambda each: (each[1], each[2])):
        if start != expected:
            raise _fail(
                path, f"{tensor.name!r} begins at {start}, not at {expected}: tensors overlap or leave a hole"
            )
        expected = end
    if expected != len(mapping) - begin:
        raise _fail(path, f"{len(mapping) - begin - expected} bytes after the last tensor")
    return {tensor.name: tensor for tensor, _, _ in placed}


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the checkpoint in `folder`: the single one, or those that its index names.

    Raises:
        ConvertError: there are none, or the index is wrong.
    """
    index = folder / INDEX
    if not index.is_file():
        if (folder / SINGLE).is_file():
            return [folder / SINGLE]
        hint = (
            "only safetensors are read; pytorch_model.bin can hold code: save the model again as safetensors"
        )
        raise ConvertError(f"{folder}: neither {SINGLE} nor {INDEX}", hint)
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        files = sorted({str(name) for name in names})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _fail(index, "no proper index") from error
    for name in files:
        if Path(name).name != name or name in {"", ".", ".."}:
            raise _fail(index, f"names a file outside its folder: {name!r}")
    return [folder / name for name in files]


def read_checkpoint(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of a checkpoint's files by name.

    Raises:
        ConvertError: a file is missing or wrong, or two files hold the same tensor.
    """
    tensors: dict[str, StoredTensor] = {}
    for file in weight_files(folder):
        for name, tensor in read_file(file).items():
            if name in tensors:
                raise ConvertError(f"{file}: {name} also stands in {tensors[name].file.name}")
            tensors[name] = tensor
    return tensors


def write(
    stream: BinaryIO, layout: dict[str, tuple[str, tuple[int, ...]]], parts: Iterable[bytes | memoryview]
) -> None:
    """Write a safetensors file in one pass.

    Args:
        stream: where to.
        layout: name -> (dtype, shape), in the order of the data.
        parts: the tensors' bytes in that order, in pieces of any size.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for this key
    position = 0
    for name, (dtype, shape) in layout.items():
        end = position + math.prod(shape) * _SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    stream.write(struct.pack("<Q", len(encoded)) + encoded)
    written = sum(_written(stream, parts))
    if written != position:
        raise ConvertError(f"{written} bytes of tensors written where {position} were due")


def _written(stream: BinaryIO, parts: Iterable[bytes | memoryview]) -> Iterator[int]:
    for part in parts:
        stream.write(part)
        yield memoryview(part).nbytes  # len() counts rows of a matrix
