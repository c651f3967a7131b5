"""llama.cpp's own quantizer, reached through ctypes in the library that llama-cpp-python carries.

The package is found, not imported: importing it loads all of llama.cpp. `libggml-base.so.0` is the name that
libllama itself is linked to; the other names in that folder are copies, and opening one would load a second
library. ctypes releases the GIL during a call, so threads quantize side by side.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import ConvertError
from convert.tensor_types import TYPES as TYPES
from convert.tensor_types import WRITABLE as WRITABLE
from convert.tensor_types import TensorType as TensorType

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Memory = Callable[[tuple[int, ...]], Floats]
"""A shape -> uninitialized memory of that shape."""


_NARROW = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""What llama.cpp's own quantizer takes where a row doesn't fill the 256 wide blocks of a K type."""


def tensor_type(name: str) -> TensorType:
    """The writable type called `name` (any case).

    Raises:
        ConvertError: no such type, or one that we only read.
    """
    found = TYPES.get(name.upper())
    if found is None or found.file_type is None:
        raise ConvertError(f"unknown quantization type {name!r}", f"choose one of {', '.join(WRITABLE)}")
    return found


def fitting(wanted: TensorType, columns: int) -> TensorType:
    """The type that rows of `columns` weights take: `wanted`, or what llama.cpp puts in its place, or F16."""
    if columns % wanted.block:
        wanted = TYPES[_NARROW.get(wanted.name, "F16")]
    return wanted if columns % wanted.block == 0 else TYPES["F16"]


@functools.cache
def library() -> ctypes.CDLL:
    """The opened library.

    Raises:
        ConvertError: llama-cpp-python isn't installed, or built otherwise than we know.
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise ConvertError("llama-cpp-python is not installed", "`make setup` installs it")
    path = Path(spec.origin).parent / "lib" / "libggml-base.so.0"
    if not path.is_file():
        raise ConvertError(f"{path}: not there", "use the llama-cpp-python wheel that `make setup` builds")
    loaded = ctypes.CDLL(str(path))
    loaded.ggml_quantize_chunk.restype = ctypes.c_size_t
    loaded.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    loaded.ggml_fp32_to_bf16_row.restype = None
    loaded.ggml_fp32_to_bf16_row.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    loaded.ggml_fp16_to_fp32_row.restype = None
    loaded.ggml_fp16_to_fp32_row.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    return loaded


@functools.cache
def _dequantizer(function: str) -> Any:
    found = getattr(library(), function)
    found.restype = None
    found.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    return found


def quantize(rows: Floats, type_name: str) -> Bytes:
    """Rows of weights in a type's bytes, exactly as llama.cpp writes them without an importance matrix.

    Args:
        rows: float32, shape (rows, columns), finite.
        type_name: one of `WRITABLE`.

    Returns:
        uint8, shape (rows, bytes of a row).

    Raises:
        ConvertError: unknown type, columns that don't fill whole blocks, or a value too large for F16.
    """
    kind = tensor_type(type_name)
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    count, columns = rows.shape
    width = kind.row_bytes(columns)
    if kind.name == "F32":
        return rows.view(np.uint8)
    if kind.name == "F16":
        with np.errstate(over="ignore", under="ignore"):
            half = rows.astype(np.float16)
        if not np.isfinite(half).all():
            raise ConvertError("a weight is too large for F16", "choose BF16 or F32")
        return half.view(np.uint8)
    out = np.empty((count, width), dtype=np.uint8)
    if out.size:
        written = library().ggml_quantize_chunk(
            kind.number, rows.ctypes.data, out.ctypes.data, 0, count, columns, None
        )
        if written != out.size:
            raise ConvertError(f"libggml wrote {written} bytes of {kind.name} where {out.size} were due")
    return out


def dequantize(rows: Bytes, type_name: str, into: Memory | None = None) -> Floats:
    """The float32 values that llama.cpp reads from rows of a type.

    Args:
        rows: uint8, shape (rows, bytes of a row).
        type_name: one of `TYPES`.
        into: gives the memory of the result, where it isn't of plain floats; fresh memory otherwise.

    Returns:
        float32, shape (rows, columns).
    """
    kind = TYPES[type_name]
    rows = np.ascontiguousarray(rows)
    count, width = rows.shape
    if width % kind.size:
        raise ConvertError(f"{width} bytes are no whole row of {kind.name}")
    if kind.name == "F32":
        return rows.view(np.float32)
    if kind.name == "F16":
        return rows.view(np.float16).astype(np.float32)
    if kind.name == "BF16":
        return bfloat16_to_float32(rows.view(np.uint16))
    shape = count, width // kind.size * kind.block
    out = into(shape) if into is not None else np.empty(shape, dtype=np.float32)
    if out.size:
        _dequantizer(kind.dequantizer)(rows.ctypes.data, out.ctypes.data, out.size)
    return out


def bfloat16_to_float32(bits: npt.NDArray[np.uint16], out: Floats | None = None) -> Floats:
    """Exact widening: bfloat16 is the upper half of float32. `out` has the shape of `bits` and is filled."""
    if out is None:
        out = np.empty(bits.shape, dtype=np.float32)
    wide = out.view(np.uint32)
    np.left_shift(bits, 16, out=wide, dtype=np.uint32)
    return out


def float32_to_bfloat16(values: Floats, out: npt.NDArray[np.uint16]) -> None:
    """Fill `out` with the nearest bfloat16 bits, ties to even, by libggml. Both contiguous, of one shape."""
    library().ggml_fp32_to_bf16_row(values.ctypes.data, out.ctypes.data, values.size)


def float16_to_float32(values: npt.NDArray[np.float16], out: Floats | None = None) -> Floats:
    """Exact widening, by libggml, in half of numpy's time. `out`: contiguous, the shape of `values`; filled."""
    if out is None:
        out = np.empty(values.shape, dtype=np.float32)
    values = np.ascontiguousarray(values)
    library().ggml_fp16_to_fp32_row(values.ctypes.data, out.ctypes.data, values.size)
    return out
