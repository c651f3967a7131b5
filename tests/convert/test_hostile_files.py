"""Files that are cut short or lie: an error of ours, never another one, and never a wrong answer."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert import ConvertError, gguf_file, safetensors_file, to_checkpoint, to_gguf
from convert.gguf_file import PlannedTensor, header, i32s, read, string, strings, u32
from convert.libggml import TYPES


def safetensors_bytes(description: Any, data: bytes = bytes(16), length: int | None = None) -> bytes:
    """A file with this header, true or not."""
    text = description if isinstance(description, bytes) else json.dumps(description).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: Any = "F32", shape: Any = (2, 2), offsets: Any = (0, 16)) -> dict[str, Any]:
    """A tensor's description."""
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        safetensors_bytes(entry(), length=2**63),
        safetensors_bytes(entry(), length=10_000),
        safetensors_bytes(b"not json"),
        safetensors_bytes(b"\xff\xfe"),
        safetensors_bytes(b"[" * 100_000),
        safetensors_bytes([1, 2]),
        safetensors_bytes({"w": 3}),
        safetensors_bytes(entry(shape=[2, 3])),
        safetensors_bytes(entry(shape=[-2, -2])),
        safetensors_bytes(entry(shape=[2**40, 2**40])),
        safetensors_bytes(entry(shape="ab")),
        safetensors_bytes(entry(shape=[True, 4])),
        safetensors_bytes(entry(dtype=7)),
        safetensors_bytes(entry(offsets=[0, 32])),
        safetensors_bytes(entry(offsets=[16, 0])),
        safetensors_bytes(entry(offsets=[-16, 0])),
        safetensors_bytes(entry(offsets=[0])),
        safetensors_bytes(entry(offsets=None)),
        safetensors_bytes(entry(), data=bytes(15)),
        safetensors_bytes(entry(), data=bytes(17)),
        safetensors_bytes({**entry(), "v": entry()["w"]}),
        safetensors_bytes({"w": entry(shape=[2], offsets=[8, 16])["w"]}),
    ],
    ids=range(24),
)
def test_safetensors_that_lie(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConvertError):
        safetensors_file.read_file(path)


def test_safetensors_that_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(entry(), np.arange(4, dtype="<f4").tobytes()))
    assert safetensors_file.read_file(path)["w"].rows(slice(None)).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("name", ["../weights.safetensors", "/etc/passwd", "..", ""])
def test_an_index_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / safetensors_file.INDEX).write_text(json.dumps({"weight_map": {"w": name}}))
    with pytest.raises(ConvertError, match="outside its folder"):
        safetensors_file.weight_files(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_checkpoint_is_refused(small: Path, tmp_path: Path, share: float) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(small, folder)
    weights = folder / "model.safetensors"
    with weights.open("r+b") as stream:
        stream.truncate(int(weights.stat().st_size * share))
    with pytest.raises(ConvertError, match=r"model\.safetensors"):
        to_gguf.convert(folder, tmp_path / "m.gguf")
    assert not (tmp_path / "m.gguf").exists()


def test_pickled_weights_are_not_read(small: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(small, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConvertError) as caught:
        to_gguf.convert(folder, tmp_path / "m.gguf")
    assert "safetensors" in caught.value.hint


@pytest.fixture
def little_gguf(tmp_path: Path) -> Path:
    """A well-formed file with all kinds of values and two tensors."""
    metadata = {
        "general.architecture": string("llama"),
        "some.number": u32(7),
        "some.texts": strings(["a", "bc", "é"]),
        "some.numbers": i32s([1, -2, 3]),
    }
    tensors = [PlannedTensor("a", (2, 32), TYPES["Q4_0"]), PlannedTensor("b", (3,), TYPES["F32"])]
    path = tmp_path / "little.gguf"
    content = header(metadata, tensors)
    for tensor in tensors:
        content += bytes(tensor.bytes) + gguf_file.padding(tensor.bytes)
    path.write_bytes(content)
    return path


def test_well_formed_gguf_is_read(little_gguf: Path) -> None:
    found = read(little_gguf)
    assert found.get("some.texts") == ["a", "bc", "é"] and found.get("some.numbers") == [1, -2, 3]
    assert found.tensors["a"].shape == (2, 32) and found.tensors["b"].data.shape == (1, 12)


def test_gguf_cut_short_anywhere_is_refused(little_gguf: Path, tmp_path: Path) -> None:
    content = little_gguf.read_bytes()
    end = len(content) - len(gguf_file.padding(12))  # the last padding carries nothing
    cut = tmp_path / "cut.gguf"
    for size in range(end):
        cut.write_bytes(content[:size])
        with pytest.raises(ConvertError):
            read(cut)
    cut.write_bytes(content[:end])
    assert set(read(cut).tensors) == {"a", "b"}


def test_gguf_with_any_changed_byte_gives_a_file_or_our_error(little_gguf: Path, tmp_path: Path) -> None:
    content = little_gguf.read_bytes()
    changed = tmp_path / "changed.gguf"
    refused = 0
    for position in range(len(content)):
        for value in (0, 0x7F, 0xFF):
            changed.write_bytes(content[:position] + bytes([value]) + content[position + 1 :])
            try:
                for tensor in read(changed).tensors.values():
                    assert tensor.data.nbytes <= len(content)
            except ConvertError:
                refused += 1
    assert refused > 100


def test_a_model_with_a_damaged_head_gives_a_checkpoint_or_our_error(small: Path, tmp_path: Path) -> None:
    content = bytearray(to_gguf.convert(small, tmp_path / "m.gguf").path.read_bytes())
    chance = random.Random(3)
    refused = 0
    for number in range(40):
        # Hyperparameters are among the first two kilobytes.
        position, value = chance.randrange(24, 1500), chance.randrange(256)
        before, content[position] = content[position], value
        changed = tmp_path / "changed.gguf"
        changed.write_bytes(content)
        content[position] = before
        folder = tmp_path / f"out{number}"
        try:
            to_checkpoint.convert(changed, folder)
        except ConvertError:
            refused += 1
            assert not folder.exists()
    assert refused > 10


def test_gguf_of_another_architecture_names_it(little_gguf: Path, tmp_path: Path) -> None:
    little_gguf.write_bytes(header({"general.architecture": string("mamba")}, []))
    with pytest.raises(ConvertError, match="mamba") as caught:
        to_checkpoint.convert(little_gguf, tmp_path / "out")
    assert "llama" in caught.value.hint
    assert not (tmp_path / "out").exists()
