"""What a file is by its first bytes, where those are no text."""

from __future__ import annotations

import zipfile
from pathlib import Path

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "parquet", "Parquet"),
    (b"ARROW1", "arrow", "an Arrow file"),
    (b"\xff\xff\xff\xff", "arrow", "an Arrow stream"),
    (b"%PDF-", "pdf", "a PDF"),
    (b"\x1f\x8b", "", "a gzip archive: unpack it first"),
    (b"BZh", "", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ\0", "", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "", "a zstd archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "", "a 7z archive: unpack it first"),
    (b"Rar!", "", "a RAR archive: unpack it first"),
    (b"\xd0\xcf\x11\xe0", "", "an old Office file (DOC, XLS): save it as DOCX, XLSX or CSV"),
    (b"{\\rtf", "", "an RTF document: save it as DOCX"),
    (b"SQLite format 3\0", "", "an SQLite database: export its table as CSV"),
    (b"GGUF", "", "a GGUF model"),
    (b"\x7fELF", "", "a program"),
    (b"MZ", "", "a program"),
    (b"\x89PNG", "", "an image"),
    (b"\xff\xd8\xff", "", "an image"),
    (b"GIF8", "", "an image"),
    (b"RIFF", "", "sound or film"),
    (b"ID3", "", "sound"),
    (b"OggS", "", "sound or film"),
    (b"\x80\x04\x95", "", "a Python pickle, which is never opened"),
    (b"\x93NUMPY", "", "a NumPy array"),
    (b"\x89HDF", "", "an HDF5 file"),
)
_ZIPS = (
    ("word/document.xml", "docx", "a DOCX document"),
    ("xl/workbook.xml", "xlsx", "an XLSX spreadsheet"),
    ("ppt/presentation.xml", "", "a PPTX presentation: save it as PDF"),
    ("META-INF/container.xml", "", "an EPUB book: convert it to HTML or text"),
    ("content.xml", "", "an OpenDocument file: save it as DOCX or XLSX"),
)


def by_signature(path: Path, head: bytes) -> tuple[str, str] | None:
    """What the first bytes say: (the format's name, in words); an empty name: known, but not read. None: nothing.

    Args:
        path: the file; a ZIP's list of contents is looked at.
        head: its first bytes, at least 8 where the file has them.
    """
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        try:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return "", "a damaged ZIP archive"
        return next(
            ((kind, told) for name, kind, told in _ZIPS if name in names),
            ("", "a ZIP archive: unpack it first"),
        )
    for magic, kind, told in _MAGIC:
        if head.startswith(magic) and (magic != b"MZ" or b"\0" in head):
            return kind, told
    return None
