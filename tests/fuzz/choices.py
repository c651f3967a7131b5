"""Choices out of bytes: what a fuzzer's input says, read alike under atheris and by the test of the kept ones."""

from __future__ import annotations

from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 512  # bytes of an input


class Given:
    """The bytes one after another; where they have ended, zeros."""

    def __init__(self, data: bytes) -> None:
        """Args: data: of one input."""
        self._data, self._at = data, 0

    def _take(self, count: int) -> bytes:
        begin, self._at = self._at, self._at + count
        return self._data[begin : self._at]

    def below(self, count: int) -> int:
        """A number from 0 to `count` - 1."""
        if count < 2:
            return 0
        return int.from_bytes(self._take(((count - 1).bit_length() + 7) // 8), "little") % count

    def blob(self) -> bytes:
        """Up to some dozens of bytes."""
        return self._take(self.below(24))


def kept(name: str) -> list[bytes]:
    """The inputs of a target that reach what others don't, as its fuzzing left them: corpus/NAME.txt, a line each."""
    path = CORPUS / f"{name}.txt"
    return [bytes.fromhex(line) for line in path.read_text(encoding="ascii").split()] if path.exists() else []


def keep(name: str, folder: Path, most: int = 200) -> int:
    """Write the shortest of the inputs in `folder` to corpus/NAME.txt; their number."""
    found = {path.read_bytes() for path in folder.iterdir() if path.is_file()}
    short = sorted((data for data in found if data), key=lambda data: (len(data), data))[:most]
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{name}.txt").write_text("".join(f"{data.hex()}\n" for data in short), encoding="ascii")
    return len(short)
