"""Widening to float32 is exact for every 16-bit pattern, and memory that is used again never shows in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convert import to_gguf
from convert.gguf_file import read
from convert.libggml import (
    Bytes,
    Floats,
    bfloat16_to_float32,
    float16_to_float32,
    float32_to_bfloat16,
    quantize,
)

PATTERNS = np.arange(1 << 16, dtype=np.uint16)


@pytest.mark.parametrize("given", [False, True])
def test_every_float16(given: bool) -> None:
    values = PATTERNS.view(np.float16)
    out = np.full(values.shape, 7.0, dtype=np.float32) if given else None
    found = float16_to_float32(values, out)
    expected = values.astype(np.float32)
    number = ~np.isnan(expected)
    assert np.array_equal(found[number].view(np.uint32), expected[number].view(np.uint32))
    assert np.isnan(found[~number]).all()
    assert out is None or found is out


def test_every_other_column_of_float16() -> None:
    values = PATTERNS.view(np.float16).reshape(64, -1)[:, ::2]
    assert np.array_equal(float16_to_float32(values), values.astype(np.float32), equal_nan=True)


@pytest.mark.parametrize("given", [False, True])
def test_every_bfloat16(given: bool) -> None:
    out = np.full(PATTERNS.shape, 7.0, dtype=np.float32) if given else None
    found = bfloat16_to_float32(PATTERNS, out)
    assert np.array_equal(found.view(np.uint32), PATTERNS.astype(np.uint32) << 16)
    assert out is None or found is out


@pytest.mark.parametrize("kind", ["F32", "F16"])
def test_one_thread_and_several_write_the_same_bytes(small: Path, tmp_path: Path, kind: str) -> None:
    digests = {
        to_gguf.convert(small, tmp_path / f"{threads}.gguf", quantization=kind, threads=threads).sha256
        for threads in (1, 2, 5)
    }
    assert len(digests) == 1


def test_another_rounding_sees_every_matrix_and_decides_its_bytes(small: Path, tmp_path: Path) -> None:
    seen = set()

    def downwards(name: str, rows: Floats, kind: str) -> Bytes:
        seen.add((name, kind))
        return quantize(rows * 0.5 if kind == "Q4_0" else rows, kind)

    plain = read(to_gguf.convert(small, tmp_path / "plain.gguf").path).tensors
    halved = read(to_gguf.convert(small, tmp_path / "halved.gguf", quantize=downwards).path).tensors
    assert {name for name, _ in seen} == set(plain)
    for name, tensor in plain.items():
        same = np.array_equal(tensor.data, halved[name].data)
        assert same == (tensor.type.name != "Q4_0"), name


def test_every_bfloat16_from_its_float32_and_ties_to_even() -> None:
    exact = bfloat16_to_float32(PATTERNS)
    number = ~np.isnan(exact)
    out = np.empty_like(PATTERNS)
    float32_to_bfloat16(exact, out)
    assert np.array_equal(out[number], PATTERNS[number])
    half_way = (PATTERNS.astype(np.uint32) << 16 | 0x8000).view(np.float32)
    finite = number & np.isfinite(exact)
    float32_to_bfloat16(half_way, out)
    assert np.array_equal(out[finite], (PATTERNS + (PATTERNS & 1))[finite])
