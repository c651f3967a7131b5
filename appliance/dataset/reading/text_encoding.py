"""Text as it comes: which encoding and which line ends, and the file as a stream of UTF-8 lines of bounded length."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from appliance.dataset.reading.material import MAX_LINE_BYTES

_CHUNK = 1 << 20
_SAMPLE = 256 * 1024
_BOMS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8", "UTF-8 with a byte-order mark"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
# Encodings that people's files come in; the first that decodes the sample is taken where nothing speaks against it.
_LEGACY = (
    "cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "shift_jis", "euc_jp", "gb18030",
    "big5", "euc_kr", "mac_roman", "latin_1",
)  # fmt: skip
NO_UTF8 = re.compile("[\udc80-\udcff]")
"""What `surrogateescape` makes of bytes that are no UTF-8."""
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True)
class TextEncoding:
    """How a file's bytes become text.

    Attributes:
        name: Python's name of the encoding.
        mark: bytes of a byte-order mark to leave out.
        line_end: `\\n`, `\\r\\n` or `\\r`.
        told: in words; with `assumed`, a guess.
        assumed: nothing in the file says so.
    """

    name: str = "utf-8"
    mark: int = 0
    line_end: str = "\n"
    told: str = "UTF-8"
    assumed: bool = False

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes can be read as they are."""
        return self.name == "utf-8" and self.line_end != "\r"


def _line_end(head: bytes) -> str:
    crlf, feeds, returns = head.count(b"\r\n"), head.count(b"\n"), head.count(b"\r")
    if crlf and crlf * 2 >= feeds:
        return "\r\n"
    return "\r" if returns and not feeds else "\n"


def _utf16_without_mark(head: bytes) -> str:
    """Text in Latin letters has a zero in every second byte; empty: it isn't that."""
    pairs = len(head) // 2
    if pairs < 8:
        return ""
    even, odd = head[0 : pairs * 2 : 2].count(0), head[1 : pairs * 2 : 2].count(0)
    if odd * 10 >= pairs * 7 and even * 20 <= pairs:
        return "utf-16-le"
    return "utf-16-be" if even * 10 >= pairs * 7 and odd * 20 <= pairs else ""


def _invalid_sample(path: Path, mark: int) -> bytes:
    """What surrounds the first bytes that are no UTF-8; empty if all are."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        stream.seek(mark)
        while chunk := stream.read(_CHUNK):
            begins = stream.tell() - len(chunk)
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                stream.seek(max(mark, begins + error.start - 4096))
                return stream.read(_SAMPLE)
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            stream.seek(max(mark, stream.tell() - 4096))
            return stream.read()
    return b""


def _is_legacy(sample: bytes) -> bool:
    """Whether bytes that are no UTF-8 are letters of an older encoding rather than damage.

    In such a text no run of high bytes is UTF-8 but by chance, and they stand beside letters.
    """
    plausible = damaged = 0
    for run in _HIGH_RUN.finditer(sample):
        try:
            run[0].decode("utf-8")
            damaged += 1  # real UTF-8, so the file is UTF-8 with a fault in it
            continue
        except UnicodeDecodeError:
            pass
        around = sample[max(0, run.start() - 1) : run.start()] + sample[run.end() : run.end() + 1]
        near_letter = any(65 <= byte & ~32 <= 90 or byte in b"'-., \n" for byte in around)
        if (
            near_letter
            and (any(65 <= byte & ~32 <= 90 for byte in around) or len(run[0]) > 1)
            and run[0] != b"\xff"
        ):
            plausible += 1
        else:
            damaged += 1
    return plausible > damaged * 4


def _legacy_encoding(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=list(_LEGACY), enable_fallback=False).best()
    if best is None:
        return "cp1252"
    # Western text decodes alike in many of them; Windows-1252 is by far the commonest where it decodes at all.
    text = str(best)
    letters = [character for character in text if ord(character) > 0x7F and character.isalpha()]
    western = sum(character < "\u0250" for character in letters)
    if western * 2 >= len(letters):
        try:
            sample.decode("cp1252")
        except UnicodeDecodeError:
            return "latin_1"
        return "cp1252"
    return str(best.encoding)


_NAMES = {"cp1252": "Windows-1252", "latin_1": "Latin-1", "cp1251": "Windows-1251", "cp1250": "Windows-1250"}


def sniff(path: Path) -> TextEncoding:
    """The encoding of a text file, by its byte-order mark, else by its bytes: UTF-8 wherever all of it is UTF-8.

    Reads the whole file once, a piece at a time.
    """
    with path.open("rb") as stream:
        head = stream.read(_SAMPLE)
    for bom, name, told in _BOMS:
        if head.startswith(bom):
            end = _line_end(head[len(bom) :].decode(name, errors="replace").encode())
            return TextEncoding(name, len(bom), end, told)
    if name := _utf16_without_mark(head):
        end = _line_end(head.decode(name, errors="replace").encode())
        return TextEncoding(name, 0, end, "UTF-16 without a byte-order mark", assumed=True)
    end = _line_end(head)
    sample = _invalid_sample(path, 0)
    if not sample or not _is_legacy(sample):
        return TextEncoding(line_end=end)
    name = _legacy_encoding(sample)
    return TextEncoding(name, 0, end, _NAMES.get(name, name), assumed=True)


class _Transcoder(io.RawIOBase):
    """A file's bytes as UTF-8 with line feeds; what can't be decoded becomes bytes that are no UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: TextEncoding) -> None:
        self._stream = stream
        self._decoder: codecs.IncrementalDecoder = codecs.getincrementaldecoder(encoding.name)(
            "surrogateescape" if not encoding.name.startswith("utf-") else "replace"
        )
        self._returns = encoding.line_end == "\r"
        self._waiting = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with the next bytes; 0 at the end."""
        while not self._waiting:
            chunk = self._stream.read(_CHUNK)
            text = self._decoder.decode(chunk, final=not chunk)
            if self._returns:
                text = text.replace("\r", "\n")
            self._waiting = text.encode("utf-8", errors="surrogateescape")
            if not chunk:
                break
        size = min(len(buffer), len(self._waiting))
        buffer[:size] = self._waiting[:size]
        self._waiting = self._waiting[size:]
        return size


class TextFile:
    """An open text file.

    Attributes:
        stream: its text as UTF-8 bytes, without a byte-order mark.
    """

    def __init__(self, path: Path, encoding: TextEncoding) -> None:
        self._file = path.open("rb")
        self._file.seek(encoding.mark)
        self.stream: IO[bytes] = (
            self._file if encoding.is_utf8 else io.BufferedReader(_Transcoder(self._file, encoding), _CHUNK)
        )

    def __enter__(self) -> TextFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def read(self) -> int:
        """Bytes of the file read so far."""
        return self._file.tell()

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """Lines with their numbers, from 1, their ends kept; None for one longer than `MAX_LINE_BYTES`."""
        number = 0
        while line := self.stream.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) <= MAX_LINE_BYTES:
                yield number, line
                continue
            while not line.endswith(b"\n") and (line := self.stream.readline(MAX_LINE_BYTES)):
                pass
            yield number, None

    def text_lines(self) -> Iterator[tuple[int, str | None]]:
        """The same as text without line ends; None also for a line that is no UTF-8."""
        for number, line in self.lines():
            if line is None:
                yield number, None
                continue
            try:
                yield number, line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield number, None
