"""ggml's tensor types: what a block of each holds and takes. A test compares the table with the library's own."""

from __future__ import annotations

from dataclasses import dataclass

from convert.errors import ConvertError


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
"""Every type whose values we can read, by name."""

_LAYOUT_ONLY = (
    TensorType("Q8_1", 9, 32, 36),
    TensorType("Q8_K", 15, 256, 292),
    TensorType("IQ2_XXS", 16, 256, 66),
    TensorType("IQ2_XS", 17, 256, 74),
    TensorType("IQ3_XXS", 18, 256, 98),
    TensorType("IQ1_S", 19, 256, 50),
    TensorType("IQ3_S", 21, 256, 110),
    TensorType("IQ2_S", 22, 256, 82),
    TensorType("I8", 24, 1, 1),
    TensorType("I16", 25, 1, 2),
    TensorType("I32", 26, 1, 4),
    TensorType("I64", 27, 1, 8),
    TensorType("F64", 28, 1, 8),
    TensorType("IQ1_M", 29, 256, 56),
    TensorType("TQ1_0", 34, 256, 54),
    TensorType("TQ2_0", 35, 256, 66),
    TensorType("MXFP4", 39, 32, 17),
    TensorType("NVFP4", 40, 64, 36),
    TensorType("Q1_0", 41, 128, 18),
    TensorType("Q2_0", 42, 64, 18),
)
"""Types that llama.cpp reads and we only know the size of."""

BY_NUMBER: dict[int, TensorType] = {each.number: each for each in (*TYPES.values(), *_LAYOUT_ONLY)}
"""Every type that a GGUF file may have, by its number there."""

WRITABLE = tuple(name for name, each in TYPES.items() if each.file_type is not None)
"""The types that `libggml.quantize` offers."""
