"""GGUF headers: hostile ones are refused before anything is allocated for them, real ones are read."""

from __future__ import annotations

import ctypes
import io
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest

from convert import ConvertError, gguf_header, libggml, to_gguf
from convert.gguf_header import Header, Kind, read_header
from convert.tensor_types import BY_NUMBER, TYPES, WRITABLE
from tests.fuzz.gguf_headers import Ggml
from tests.fuzz.gguf_seeds import SEEDS, a_model, aligned, every_kind

REPOSITORY = Path(__file__).resolve().parents[2]
F32, F16, Q4_0 = 0, 1, 2


def read(data: bytes) -> Header:
    """The header of a file with this content."""
    return read_header(io.BytesIO(data), len(data), "it.gguf")


def refused(data: bytes) -> str:
    """The message of a refusal, which tells where."""
    with pytest.raises(ConvertError, match=r"it\.gguf: at byte \d+: ") as caught:
        read(data)
    assert caught.value.hint and len(caught.value.message) < 400 and caught.value.message.isprintable()
    return caught.value.message


def text(value: bytes | str) -> bytes:
    """A text as the file has it."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def key(name: bytes | str, kind: int, value: bytes) -> bytes:
    """A key with its value."""
    return text(name) + struct.pack("<I", kind) + value


def array(item: int, count: int, items: bytes = b"") -> bytes:
    """An array's value, its count true or not."""
    return struct.pack("<IQ", item, count) + items


def tensor(
    name: bytes | str = "t",
    shape: Sequence[int] = (8,),
    kind: int = F32,
    offset: int = 0,
    dimensions: int | None = None,
) -> bytes:
    """A tensor's description, fastest dimension first."""
    count = len(shape) if dimensions is None else dimensions
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", count, *shape, kind, offset)


def file(
    keys: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    key_count: int | None = None,
    tensor_count: int | None = None,
    alignment: int = 32,
) -> bytes:
    """A file of these parts, its counts true or not."""
    counts = (
        len(tensors) if tensor_count is None else tensor_count,
        len(keys) if key_count is None else key_count,
    )
    head = magic + struct.pack("<IQQ", version, *counts) + b"".join([*keys, *tensors])
    return head + (bytes(-len(head) % alignment) + data if tensors else b"")


NUMBER = key("n", Kind.U32, struct.pack("<I", 7))
HUGE = 2**60
DATA = bytes(32)

HOSTILE = {
    "nothing": (b"", "cut short: the magic number takes 4 bytes, the file ends at 0"),
    "another format": (b"PK\x03\x04" + bytes(60), "begins with"),
    "version 0": (file(version=0), "GGUF version 0"),
    "version 1": (file(version=1), "GGUF version 1"),
    "version 4": (file(version=4), "GGUF version 4"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    # This one keeps the gguf package's reader busy for hours.
    "49 bytes that claim 2^40 texts": (
        file([key("k" * 1, Kind.ARRAY, array(Kind.STRING, 2**40))]),
        f"at byte 41: {2**40} texts in key 'k'; at most",
    ),
    "2^60 texts": (file([key("k", Kind.ARRAY, array(Kind.STRING, HUGE))]), f"{HUGE} texts"),
    "2^63 numbers": (file([key("k", Kind.ARRAY, array(Kind.U8, 2**63))]), f"{2**63} items"),
    "2^64-1 numbers": (file([key("k", Kind.ARRAY, array(Kind.F64, 2**64 - 1))]), f"{2**64 - 1} items"),
    "more texts than bytes": (
        file([key("k", Kind.ARRAY, array(Kind.STRING, 100))]),
        "100 texts in key 'k' take at least 800 bytes, 0 are left",
    ),
    "2^63 keys": (file(key_count=2**63), f"{2**63} keys; at most {gguf_header.MAX_KEYS}"),
    "2^64-1 tensors": (
        file(tensor_count=2**64 - 1),
        f"{2**64 - 1} tensors; at most {gguf_header.MAX_TENSORS}",
    ),
    "more keys than bytes": (file([NUMBER], key_count=99), "99 keys take at least 1386 bytes"),
    "more tensors than bytes": (file([], [tensor()], DATA, tensor_count=99), "99 tensors take at least"),
    "a text of 2^63 bytes": (
        file([key("k", Kind.STRING, struct.pack("<Q", 2**63))]),
        f"key 'k' is {2**63} bytes long; at most {gguf_header.MAX_STRING_BYTES}",
    ),
    "a text longer than the file": (
        file([key("k", Kind.STRING, struct.pack("<Q", 5000))]),
        "cut short: key 'k' takes 5000 bytes",
    ),
    "a key of 2^32 bytes": (
        file([struct.pack("<Q", 2**32) + bytes(16)]),
        f"the name of key 1 of 1 is {2**32} bytes long; at most 65535",
    ),
    "a key of 65536 bytes": (file([key("k" * 65536, Kind.U8, b"\0")]), "at most 65535"),
    "an empty key": (file([key("", Kind.U8, b"\0"), NUMBER]), "empty"),
    "a key with a zero byte": (file([key("a\0b", Kind.U8, b"\0")]), "zero byte"),
    "a key that is not UTF-8": (file([key(b"a\xff\xfe", Kind.U8, b"\0")]), "at byte 33: .* is not UTF-8"),
    "a surrogate": (file([key(b"\xed\xa0\x80", Kind.U8, b"\0")]), "is not UTF-8"),
    "a text that is not UTF-8": (
        file([key("k", Kind.STRING, text(b"ab\xc3"))]),
        "at byte 47: key 'k' is not",
    ),
    "a list's text that is not UTF-8": (
        file([key("k", Kind.ARRAY, array(Kind.STRING, 2, text("a") + text(b"\xff")))]),
        "at byte 66: a text in key 'k' is not UTF-8",
    ),
    "a key twice": (file([NUMBER, NUMBER]), "key 'n' stands there twice"),
    "an unknown type": (file([key("k", 13, b"\0" * 8)]), "unknown type 13"),
    "an unknown type in a list": (
        file([key("k", Kind.ARRAY, array(2**32 - 1, 1, b"\0" * 8))]),
        "unknown type",
    ),
    "true that is 2": (file([key("k", Kind.BOOL, b"\x02"), NUMBER]), "neither 1 nor 0"),
    "a list of true that is 2": (
        file([key("k", Kind.ARRAY, array(Kind.BOOL, 2, b"\1\2"))]),
        "neither 1 nor 0",
    ),
    "a list in a list": (
        file([key("k", Kind.ARRAY, array(Kind.ARRAY, 1, array(Kind.U8, 1, b"\0")))]),
        "arrays within an array",
    ),
    "lists a million deep": (
        file([key("k", Kind.ARRAY, array(Kind.ARRAY, 1) * 1_000_000)]),
        "arrays within an array",
    ),
    "alignment 0": (file([key("general.alignment", Kind.U32, bytes(4))]), "power of two from 8 to 65536"),
    "alignment 4": (file([key("general.alignment", Kind.U32, struct.pack("<I", 4))]), "power of two"),
    "alignment 24": (file([key("general.alignment", Kind.U32, struct.pack("<I", 24))]), "power of two"),
    "alignment 2^31": (file([key("general.alignment", Kind.U32, struct.pack("<I", 2**31))]), "power of two"),
    "alignment as u64": (file([key("general.alignment", Kind.U64, struct.pack("<Q", 32))]), "a u32"),
    "alignment as text": (file([key("general.alignment", Kind.STRING, text("\x1b[2J" * 99))]), "a u32"),
    "alignment as a list": (file([key("general.alignment", Kind.ARRAY, array(Kind.U32, 0))]), "a u32"),
    "a tensor without dimensions": (file([], [tensor(shape=()), tensor("u")], DATA), "0 dimensions; 1 to 4"),
    "five dimensions": (file([], [tensor(shape=(1,) * 5)], DATA), "5 dimensions; 1 to 4"),
    "2^32-1 dimensions": (file([], [tensor(dimensions=2**32 - 1)], DATA), "4294967295 dimensions"),
    "no weights": (file([], [tensor(shape=(8, 0))], DATA), "would take 0 bytes"),
    "a product that overflows to 0": (file([], [tensor(shape=(2**32, 2**32))], DATA), f"take {2**66} bytes"),
    "a product that overflows to 32": (file([], [tensor(shape=(2**61 + 1, 8))], DATA), "would take"),
    "2^63 weights": (file([], [tensor(shape=(2**63,))], DATA), "would take"),
    "the largest product": (file([], [tensor(shape=(2**64 - 1,) * 4)], DATA), "would take"),
    "rows without whole blocks": (file([], [tensor(shape=(33,), kind=Q4_0)], DATA), "whose blocks are 32"),
    "an unknown tensor type": (file([], [tensor(kind=999)], DATA), "unknown type number 999"),
    "a removed tensor type": (file([], [tensor(kind=4)], DATA), "unknown type number 4"),
    "a long tensor name": (file([], [tensor("x" * 64)], DATA), "is 64 bytes long; at most 63"),
    "an empty tensor name": (file([], [tensor("")], DATA), "empty"),
    "a tensor's name with a zero byte": (file([], [tensor("a\0b")], DATA), "zero byte"),
    "a tensor twice": (file([], [tensor(), tensor(offset=32)], DATA * 2), "tensor 't' stands there twice"),
    "overlapping tensors": (
        file([], [tensor(), tensor("u")], DATA * 2),
        "'u' lies at offset 0, 32 is due: it over",
    ),
    "half overlapping tensors": (file([], [tensor(), tensor("u", offset=16)], DATA * 2), "overlaps"),
    "a gap": (file([], [tensor(), tensor("u", offset=64)], DATA * 3), "leaves a gap"),
    "descending offsets": (file([], [tensor(offset=32), tensor("u")], DATA * 2), "leaves a gap"),
    "an offset beyond the end": (file([], [tensor(offset=2**63)], DATA), "leaves a gap"),
    "an offset that wraps around": (
        file([], [tensor(), tensor("u", offset=2**64 - 32)], DATA * 2),
        "leaves a gap",
    ),
    "weights cut short": (file([], [tensor()], DATA[:-1]), "cut short: tensor 't' ends at"),
    "bytes behind the end": (
        file([], [tensor()], DATA + b"\0"),
        "1 bytes behind the last tensor, where 0 pad it",
    ),
    "a block behind the end": (file([], [tensor(shape=(7,))], DATA * 2), "36 bytes behind the last tensor"),
    "bytes behind a header alone": (file([NUMBER]) + bytes(100), "100 bytes behind the last tensor"),
    "controls in names": (
        file([], [tensor("\x1b]0;x\x07\u202e")] * 2, DATA * 2),
        r"'\\x1b\]0;x\\x07\\u202e'",
    ),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile(name: str) -> None:
    import re

    data, reason = HOSTILE[name]
    assert re.search(reason if "\\" in reason or ".*" in reason else re.escape(reason), refused(data))


def test_the_file_that_hangs_others_has_49_bytes() -> None:
    assert len(HOSTILE["49 bytes that claim 2^40 texts"][0]) == 49


def test_totals_are_bounded_over_all_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_header, "MAX_STRINGS", 5)
    monkeypatch.setattr(gguf_header, "MAX_NUMBERS", 5)
    texts = [key(f"t{n}", Kind.ARRAY, array(Kind.STRING, 3, text("") * 3)) for n in range(2)]
    numbers = [key(f"n{n}", Kind.ARRAY, array(Kind.U8, 3, bytes(3))) for n in range(2)]
    read(file([texts[0], numbers[0]]))
    assert "3 texts in key 't1'; at most 2 are read" in refused(file(texts))
    assert "3 items in key 'n1'; at most 2 are read" in refused(file(numbers))


def test_a_header_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_header, "MAX_HEADER_BYTES", 1000)
    assert "beyond the 1000 bytes" in refused(file([key("k", Kind.STRING, text("x" * 2000))]))


def test_a_file_that_becomes_shorter_while_it_is_read() -> None:
    data = every_kind()
    with pytest.raises(ConvertError, match="became shorter meanwhile"):
        read_header(io.BytesIO(data[:300]), len(data), "it.gguf")


@pytest.mark.parametrize("data", SEEDS, ids=range(len(SEEDS)))
def test_cut_short_anywhere(data: bytes) -> None:
    header = read(data)
    last = list(header.tensors.values())[-1]
    end = last.begin + last.bytes  # behind it there is only padding
    for size in range(end):
        refused(data[:size])
    assert read(data[:end]).tensors == header.tensors
    for size in range(end + 1, len(data)):
        refused(data[:size])


FLIPS = """
import io, resource, sys
from convert import ConvertError, gguf_header, gguf_requirements
from tests.fuzz.gguf_seeds import a_model, every_kind
resource.setrlimit(resource.RLIMIT_AS, (gguf_header.MOST_MEMORY, gguf_header.MOST_MEMORY))
read = refused = 0
for whole in (a_model(), every_kind()):
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        try:
            header = gguf_header.read_header(io.BytesIO(data), len(data), "x")
            gguf_requirements.faults(header), gguf_requirements.remarks(header)
            read += 1
        except ConvertError:
            refused += 1
print(read, refused)
"""


def child(program: str) -> list[int]:
    """The numbers that a program printed, run in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


def test_every_single_bit_flipped_within_bounded_memory() -> None:
    read_count, refused_count = child(FLIPS)
    assert read_count + refused_count == 8 * (len(a_model()) + len(every_kind()))
    assert read_count > 1000 and refused_count > 3000  # weights and texts may change, lengths may not


LARGEST = """
import io, resource, struct
from convert import ConvertError, gguf_header as g
limit = g.MOST_MEMORY
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
def texts(count, one):
    return b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, count) + one * count
wide = ("x" * 3 + chr(0x1F600)).encode()
data = texts(g.MAX_STRINGS, struct.pack("<Q", 23) + b"x" * 19 + chr(0x1F600).encode())
header = g.read_header(io.BytesIO(data), len(data), "x")
print(len(header.get("k")))
del data, header
count = 14
data = texts(count, struct.pack("<Q", 4 << 20) + b"x" * ((4 << 20) - 4) + chr(0x1F600).encode())
header = g.read_header(io.BytesIO(data), len(data), "x")
print(len(header.get("k")))
"""


def test_the_largest_headers_stay_within_the_memory_that_is_promised() -> None:
    assert child(LARGEST) == [gguf_header.MAX_STRINGS, 14]


def test_limits_leave_room_for_the_vocabularies_of_today() -> None:
    """262,144 tokens with scores and types, and half a million merges."""
    tokens, merges = 262_144, 514_906
    keys = [
        key("tokens", Kind.ARRAY, array(Kind.STRING, tokens, text("tokens!") * tokens)),
        key("scores", Kind.ARRAY, array(Kind.F32, tokens, bytes(4 * tokens))),
        key("types", Kind.ARRAY, array(Kind.I32, tokens, bytes(4 * tokens))),
        key("merges", Kind.ARRAY, array(Kind.STRING, merges, text("some merge") * merges)),
    ]
    assert len(read(file(keys)).get("merges")) == merges


def test_what_is_well_formed_is_read() -> None:
    header = read(every_kind())
    for kind in gguf_header.CODES:
        if kind is not Kind.BOOL:
            assert header.get(f"one.{kind.name}") == 1 and header.get(f"many.{kind.name}") == [0, 1, 2]
    assert header.get("text") == "é😀" and header.get("texts") == ["a", "", "bc"]
    assert header.get("flag") is True and header.get("flags") == [True, False]
    assert [(each.shape, each.type.name, each.bytes) for each in header.tensors.values()] == [
        ((2, 32), "Q4_0", 36),
        ((3,), "F32", 12),
    ]
    assert header.bits_per_weight == 8 * 48 / 67 and header.remarks == ()


def test_version_2_is_read() -> None:
    data = every_kind()
    assert read(data[:4] + struct.pack("<I", 2) + data[8:]).version == 2


def test_padding_that_holds_something_is_told() -> None:
    described = [tensor(shape=(7,)), tensor("u", shape=(7,), offset=32)]
    data = bytearray(file([], described, DATA * 2))
    assert read(bytes(data)).remarks == ()
    gaps = (
        (24 + sum(map(len, described)), len(data) - 64),
        (len(data) - 36, len(data) - 32),
        (len(data) - 4, len(data)),
    )
    for begin, end in gaps:
        for at in (begin, end - 1):
            data[at] = 1
            assert read(bytes(data)).remarks == (f"padding at byte {begin} is not zero: it may hide data",)
            data[at] = 0


def test_the_table_of_types_is_ggml_s() -> None:
    library = libggml.library()
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_name.restype = ctypes.c_char_p
    for number, kind in BY_NUMBER.items():
        assert library.ggml_type_name(number).decode().upper() == kind.name.upper()
        assert (library.ggml_blck_size(number), library.ggml_type_size(number)) == (kind.block, kind.size)
    known = {kind.value for kind in gguf.GGMLQuantizationType}
    assert known <= set(BY_NUMBER)


def test_the_embedded_base(embedded_gguf: Path) -> None:
    header = gguf_header.open_header(embedded_gguf)
    assert len(header.get("tokenizer.ggml.tokens")) == 49152
    assert header.weights == 134_515_008 and header.remarks == ()


@pytest.mark.parametrize("kind", WRITABLE)
def test_our_converter_s_files(small: Path, tmp_path: Path, kind: str) -> None:
    done = to_gguf.convert(small, tmp_path / "m.gguf", quantization=kind)
    header = gguf_header.open_header(done.path)
    assert header.weights == done.parameters
    assert header.bits_per_weight == pytest.approx(done.bits_per_weight)
    ours = len(header.metadata), [(each.begin, each.bytes) for each in header.tensors.values()]
    assert Ggml().layout(done.path.read_bytes()) == ours


@pytest.mark.parametrize("alignment", [8, 16, 32, 64, 256, 4096, 65536])
def test_gguf_py_s_writer_at_any_alignment(tmp_path: Path, alignment: int) -> None:
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(alignment)
    writer.add_block_count(1)
    writer.add_array("numbers", [1, 2, 3])
    writer.add_array("texts", ["a", "bc"])
    writer.add_tensor("x", np.ones((3, 5), dtype=np.float32))
    writer.add_tensor("y", np.ones(7, dtype=np.float16))
    writer.add_tensor("z", np.zeros((2, 18), dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = gguf_header.open_header(path)
    assert header.alignment == alignment and header.get("texts") == ["a", "bc"]
    theirs = {each.name: (int(each.data_offset), int(each.n_bytes)) for each in gguf.GGUFReader(path).tensors}
    assert {each.name: (each.begin, each.bytes) for each in header.tensors.values()} == theirs
    assert header.tensors["z"].shape == (2, 32) and header.tensors["x"].type is TYPES["F32"]


def test_data_at_another_alignment() -> None:
    for alignment in (8, 64, 1024):
        header = read(aligned(alignment))
        assert [each.begin % alignment for each in header.tensors.values()] == [0, 0]


@pytest.mark.parametrize("kind", ["folder", "fifo", "missing"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    import os

    path = tmp_path / "m.gguf"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(ConvertError, match="no such file"):
        gguf_header.open_header(path)
