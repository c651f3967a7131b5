"""Fuzzes the reader of GGUF headers; a program for long runs.

Usage: python -m tests.fuzz.gguf_headers --minutes 10 [--seed 1] [--keep FOLDER]

Each input is a well-formed small file that was changed. The reader must refuse it with a ConvertError or read it,
within a second of CPU time and its memory limit; what it reads is shown, judged, and given to ggml's own reader,
which must read it too, with the same tensors at the same offsets. An input with an answer that was not seen before
is changed further.
Prints one JSON line: executions, answers by kind, the slowest input's seconds; findings end it with exit status 1.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import json
import random
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path

from appliance.commands import gguf_header as command
from appliance.visible import visible
from convert import ConvertError, gguf_header, gguf_requirements, libggml
from tests.fuzz.gguf_seeds import SEEDS

MOST_SECONDS = 1.0
MOST_CORPUS = 2000
NUMBERS = (
    *range(5),
    8,
    9,
    12,
    13,
    31,
    64,
    255,
    *(2**n - less for n in (16, 31, 32, 40, 60, 63, 64) for less in (1, 0)),
)


class _Parameters(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]


LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_SILENT = LOG(lambda *_: None)


class Ggml:
    """ggml's own reader."""

    def __init__(self) -> None:
        self.library = library = libggml.library()
        library.ggml_log_set(_SILENT, None)
        library.gguf_init_from_file.restype = ctypes.c_void_p
        library.gguf_init_from_file.argtypes = [ctypes.c_char_p, _Parameters]
        for name in ("gguf_get_n_tensors", "gguf_get_n_kv"):
            getattr(library, name).restype = ctypes.c_int64
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("gguf_get_tensor_offset", "gguf_get_tensor_size"):
            getattr(library, name).restype = ctypes.c_size_t
            getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_int64]
        library.gguf_get_data_offset.restype = ctypes.c_size_t
        library.gguf_get_data_offset.argtypes = [ctypes.c_void_p]
        library.gguf_free.argtypes = [ctypes.c_void_p]
        self.file = Path(tempfile.mkstemp(suffix=".gguf")[1])

    def layout(self, data: bytes) -> tuple[int, list[tuple[int, int]]] | None:
        """Number of keys, and begin and size of each tensor; None where it refuses."""
        self.file.write_bytes(data)
        found = self.library.gguf_init_from_file(str(self.file).encode(), _Parameters(True, None))
        if not found:
            return None
        begin = self.library.gguf_get_data_offset(found)
        tensors = [
            (
                begin + self.library.gguf_get_tensor_offset(found, n),
                self.library.gguf_get_tensor_size(found, n),
            )
            for n in range(self.library.gguf_get_n_tensors(found))
        ]
        keys: int = self.library.gguf_get_n_kv(found)
        self.library.gguf_free(found)
        return keys, tensors


def mutated(chance: random.Random, corpus: list[bytes]) -> bytes:
    """One of the corpus, changed in one to four places."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(data):
                data[at] = chance.choice((0, 1, 9, 0x7F, 0x80, 0xFF))
            case 2:
                number = chance.choice((*NUMBERS, len(data), len(data) - at, chance.randrange(64)))
                data[at : at + 8] = struct.pack("<Q", number % 2**64)
            case 3:
                data[at : at + 4] = struct.pack("<I", chance.choice(NUMBERS) % 2**32)
            case 4:
                del data[at : at + chance.choice((1, 4, 8, 32))]
            case 5:
                begin = chance.randrange(len(data) + 1)
                data[at:at] = data[begin : begin + chance.choice((1, 4, 8, 32, 64))]
            case 6:
                other = chance.choice(corpus)
                data[at:] = other[chance.randrange(len(other) + 1) :]
            case _:
                del data[at:]
        if not data:
            data = bytearray(b"GGUF")
    return bytes(data[: 1 << 16])


def answer(data: bytes, ggml: Ggml | None) -> str:
    """What the reader makes of `data`: `read`, or its refusal without names and numbers."""
    try:
        header = gguf_header.read_header(io.BytesIO(data), len(data), "x")
    except ConvertError as error:
        return re.sub(r"'[^']*'|\"[^\"]*\"|b'.*?'|\d+", "#", error.message)
    told = [*gguf_requirements.faults(header), *gguf_requirements.remarks(header)]
    for line in [*command._readable(header), *command._tensor_lines(header)]:
        assert visible(line, 0) == line, repr(line)
    json.dumps([command._facts(header), command._keys(header), told], allow_nan=False)
    if ggml is not None:
        ours = len(header.metadata), [(each.begin, each.bytes) for each in header.tensors.values()]
        theirs = ggml.layout(data)
        assert theirs == ours, f"ggml reads {theirs}, we read {ours}"
    return "read, " + re.sub(r"'[^']*'|\d+", "#", "; ".join(told))[:200]


def main() -> None:
    """Run for the time that is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="where inputs that show a fault are kept")
    given = parser.parse_args()
    ggml = Ggml()
    resource.setrlimit(resource.RLIMIT_AS, (gguf_header.MOST_MEMORY * 2, gguf_header.MOST_MEMORY * 2))
    chance, corpus, seen = random.Random(given.seed), list(SEEDS), {""}
    end, done, slowest, findings = time.monotonic() + 60 * given.minutes, 0, 0.0, 0
    read = 0
    while time.monotonic() < end and findings < 20:
        data = mutated(chance, corpus)
        before = time.process_time()
        try:
            said = answer(data, ggml)
            assert time.process_time() - before < MOST_SECONDS, "too slow"
        except Exception:
            findings += 1
            traceback.print_exc()
            if given.keep is not None:
                given.keep.mkdir(parents=True, exist_ok=True)
                (given.keep / f"{given.seed}-{done}.gguf").write_bytes(data)
            continue
        slowest = max(slowest, time.process_time() - before)
        done, read = done + 1, read + said.startswith("read")
        if said not in seen and len(corpus) < MOST_CORPUS:
            seen.add(said)
            corpus.append(data)
    ggml.file.unlink()
    figures = {"executions": done, "read": read, "answers": len(seen) - 1, "slowest_s": round(slowest, 4)}
    sys.stdout.write(json.dumps({"fuzz": "gguf_headers", **figures, "findings": findings}) + "\n")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
