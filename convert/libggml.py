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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import ConvertError

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Memory = Callable[[tuple[int, ...]], Floats]
"""A shape -> uninitialized memory of that shape."""


@dataclass(frozen=True)
class TensorType:
    """One of ggml's tensor types (ggml.h, `enum ggml_type`).

    Attributes:
        name: llama.cpp's name.
        number: its number in a GGUF file.
        block: weights in a block; a row must be a multiple of it.
        size: bytes of a block.
        file_type: `general.file_type` of a file whose matrices are mostly of this type (llama.h,
            `llama_ftype`); None where we only read it.
        dequantizer: the library's function; empty for plain floats.
    """

    name: str
    number: int
    block: int
    size: int
    file_type: int | None = None
    dequantizer: str = ""

    @property
    def bits_per_weight(self) -> float:
        """Bits a weight takes, scales included."""
        return 8 * self.size / self.block

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row of `columns` weights."""
        if columns % self.block:
            raise ConvertError(
                f"a row of {columns} weights can't be of type {self.name}: blocks are {self.block} wide"
            )
        return columns // self.block * self.size


TYPES: dict[str, TensorType] = {
    each.name: each
    for each in (
        TensorType("F32", 0, 1, 4, 0),
        TensorType("F16", 1, 1, 2, 1),
        TensorType("BF16", 30, 1, 2, 32),
        TensorType("Q8_0", 8, 32, 34, 7, "dequantize_row_q8_0"),
        TensorType("Q5_1", 7, 32, 24, 9, "dequantize_row_q5_1"),
        TensorType("Q5_0", 6, 32, 22, 8, "dequantize_row_q5_0"),
        TensorType("Q4_1", 3, 32, 20, 3, "dequantize_row_q4_1"),
        TensorType("Q4_0", 2, 32, 18, 2, "dequantize_row_q4_0"),
        TensorType("Q2_K", 10, 256, 84, None, "dequantize_row_q2_K"),
        TensorType("Q3_K", 11, 256, 110, None, "dequantize_row_q3_K"),
        TensorType("Q4_K", 12, 256, 144, 14, "dequantize_row_q4_K"),
        TensorType("Q5_K", 13, 256, 176, 16, "dequantize_row_q5_K"),
        TensorType("Q6_K", 14, 256, 210, 18, "dequantize_row_q6_K"),
        TensorType("IQ4_NL", 20, 32, 18, 25, "dequantize_row_iq4_nl"),
        TensorType("IQ4_XS", 23, 256, 136, None, "dequantize_row_iq4_xs"),
    )
}
"""Every type that we can read, by name."""

WRITABLE = tuple(name for name, each in TYPES.items() if each.file_type is not None)
"""The types that `quantize` offers."""

_NARROW = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""What llama.cpp's own quantizer takes where a row doesn't fill the 256 wide blocks of a K type."""

BY_NUMBER: dict[int, TensorType] = {each.number: each for each in TYPES.values()}


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
