"""The look at an Office file's archive before a library opens it: no bomb, no entities, no password."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

MAX_PARTS = 5_000
MAX_XML_BYTES = 64 * 1024 * 1024  # of one part; a document is parsed at once, into about ten times that
MAX_UNPACKED_BYTES = 512 * 1024 * 1024  # of all parts together
MAX_RATIO = 200  # text packs ten to twenty times
_RATIO_FROM = 1024 * 1024  # a small part may pack as well as it likes
_XML = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*<")
_DOCTYPE = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)


class OfficeFault(Exception):  # noqa: N818 - a reason for one file
    """Why an Office file can't be read; `kind` is what the card counts by."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to more than an Office file does, or whose XML declares a document type.

    Sizes are those that the archive declares; unpacking stops there, so a lie in them is a damaged file.

    Raises:
        OfficeFault: with kind `zip-bomb`, `entities` or `damaged`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if len(parts) > MAX_PARTS:
                raise OfficeFault("zip-bomb", f"{len(parts)} parts in the archive, more than {MAX_PARTS}")
            unpacked = sum(part.file_size for part in parts)
            if unpacked > MAX_UNPACKED_BYTES:
                raise OfficeFault(
                    "zip-bomb",
                    f"it would unpack to {unpacked >> 20} MiB, more than {MAX_UNPACKED_BYTES >> 20} MiB",
                )
            for part in parts:
                _check_part(archive, part)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
        raise OfficeFault("damaged", f"a damaged file: {error}") from error
    except Exception as error:
        if isinstance(error, (OfficeFault, OSError)):
            raise
        raise OfficeFault("damaged", f"a damaged file: {error}") from error  # zlib.error and its like


def _check_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    if part.flag_bits & 1:
        raise OfficeFault("locked", "it is locked with a password")
    ratio = part.file_size / max(1, part.compress_size)
    if part.file_size > _RATIO_FROM and ratio > MAX_RATIO:
        raise OfficeFault("zip-bomb", f"{part.filename!r} would unpack to {ratio:.0f} times its size")
    with archive.open(part) as stream:
        # A document type stands before the first element; in UTF-16 every second byte is zero.
        head = stream.read(64 * 1024).replace(b"\0", b"")
    # What the archive declares as XML is parsed as such, whatever its name.
    if not (part.filename.lower().endswith((".xml", ".rels")) or _XML.match(head)):
        return
    if part.file_size > MAX_XML_BYTES:
        raise OfficeFault(
            "zip-bomb",
            f"{part.filename!r} holds {part.file_size >> 20} MiB of XML, more than {MAX_XML_BYTES >> 20}",
        )
    if _DOCTYPE.search(head):
        raise OfficeFault(
            "entities",
            f"{part.filename!r} declares a document type, which no Office file needs; it may be an attack by entities",
        )
