"""A release on its way to a stick that only some devices can read: its files sealed, signed as they then lie there.

What was sealed is kept beside the release: signatures of several people are of those very bytes, and another stick for
the same devices takes them again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuf.api.metadata import TargetFile

from appliance import storage
from appliance.errors import UsageError
from appliance.events import Emit, Event
from appliance.registry import signature
from appliance.regular_file import open_regular
from appliance.trust.encryption_keys import Receiver
from appliance.update import parts, sealed_format
from appliance.update import stick as sticks
from appliance.update.sealed_format import Sealed
from appliance.update.target_files import PART_ROLE, SEALED, custom_of

FOLDER = "sealed"  # beside the release's folder
_READABLE = {"manifest", signature.ROLE}  # what a device decides by before it opens anything
_OURS = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{32}\.[0-9a-f]{64}")


def in_the_clear(files: Iterable[Mapping[str, TargetFile]]) -> dict[str, str]:
    """Releases of which anybody who has the stick can read more than release.json and model.sig.

    Args:
        files: signed entries of the stick, for all and for each site.

    Returns:
        "NAME VERSION" of each, by the digest of its release.json; those whose model is sealed, but a delta of it
        isn't, are among them.
    """
    found: dict[str, str] = {}
    for entries in files:
        for offer in sticks.find_offers(entries):
            head = sticks.target_path(offer.name, offer.version, "")
            own = {path: custom_of(entry) for path, entry in entries.items() if path.startswith(head)}
            sealed = {_whole(path, custom) for path, custom in own.items() if SEALED in custom}
            for path, custom in own.items():
                if custom.get("role") not in _READABLE and _whole(path, custom) not in sealed:
                    found[offer.manifest.sha256] = f"{offer.name} {offer.version}"
    return found


def _whole(path: str, custom: Mapping[str, Any]) -> str:
    """The file that an entry is of: of one that lies there in parts only the first part says that it is sealed."""
    return str(custom.get("of", path)) if custom.get("role") == PART_ROLE else path


def warn_of_clear(before: Mapping[str, str], after: Mapping[str, str], emit: Emit) -> tuple[str, ...]:
    """Tell of what can be read on a stick that is about to be encrypted.

    Args:
        before: releases in the clear on the stick as it was, as `in_the_clear` gives them.
        after: the same of the stick as it will be.

    Returns:
        Those that stay, as people name them.
    """
    stay = tuple(after.values())
    if stay:
        text = (
            f"not encrypted, and readable by whoever has this stick: {', '.join(stay)}; "
            "--prune takes them off it, an empty stick never had them"
        )
        emit(Event("stick", "warning", text))
    gone = [name for digest, name in before.items() if digest not in after]
    if gone:
        text = (
            f"this stick held {', '.join(gone)} in the clear: the files go, but a flash stick may keep their blocks; "
            "take a new one if nobody may read them"
        )
        emit(Event("stick", "warning", text))
    return stay


def _sealed_file(
    folder: Path, source: Path, plain: Sealed, receivers: Sequence[Receiver], emit: Emit
) -> Path:
    """`source` sealed for `receivers`; made once."""
    whom = hashlib.sha256(b"".join(receiver.public for receiver in receivers)).hexdigest()
    head = f"{plain.sha256}.{whom[:32]}"
    for path in folder.glob(f"{head}.*"):
        if (
            storage.sha256_file(path) == path.suffix[1:]
        ):  # nobody here could tell otherwise that it still opens
            return path
    emit(Event("stick", "message", f"encrypting {source.name}"))
    made = folder / f".{head}.part"
    with open_regular(source) as stream, storage.atomic_writer(made, 0o600) as out:
        sealed_format.seal(plain, stream, receivers, out)
    return made.replace(folder / f"{head}.{storage.sha256_file(made)}")


def _groups(entries: parts.Entries) -> dict[str, list[tuple[parts.Piece, TargetFile]]]:
    """Each file's entries in order, under the target path of the file."""
    found: dict[str, list[tuple[parts.Piece, TargetFile]]] = {}
    for path, (piece, entry) in entries.items():
        custom = custom_of(entry)
        found.setdefault(custom["of"] if custom["role"] == PART_ROLE else path, []).append((piece, entry))
    return {path: sorted(group, key=lambda each: each[0].offset) for path, group in found.items()}


def seal_all(
    entries: parts.Entries, release: Path, receivers: Sequence[Receiver], emit: Emit
) -> parts.Entries:
    """The entries of a release with all its files sealed but for release.json and model.sig.

    Args:
        entries: of the release by target path, in the clear.
        release: its folder; what is sealed lies beside it.

    Raises:
        UsageError: too many devices.
        UpdateError: a file changed meanwhile.
    """
    if len(receivers) > sealed_format.MAX_RECEIVERS:
        reason = f"{len(receivers)} devices; a stick is encrypted to at most {sealed_format.MAX_RECEIVERS}"
        raise UsageError(reason, "write several sticks")
    folder, result, used = release.parent / FOLDER, {}, set()
    for path, group in _groups(entries).items():
        custom = custom_of(group[0][1])
        if custom["role"] in _READABLE:
            result[path] = group[0]
            continue
        source = group[0][0].source
        size = sum(piece.bytes for piece, _ in group)
        digest = group[0][1].hashes["sha256"] if len(group) == 1 else storage.sha256_file(source)
        file = _sealed_file(folder, source, Sealed(digest, size), receivers, emit)
        used.add(file)
        chunks = [chunk for _, entry in group for chunk in custom_of(entry)["chunks"]]
        to = [receiver.id for receiver in receivers]
        told: dict[str, Any] = {"sha256": digest, "bytes": size, "chunks": chunks, "to": to}
        told["stored_sha256"] = file.suffix[1:]
        plain = {key: value for key, value in custom.items() if key not in {"chunks", "offset", "of"}}
        if custom["role"] != PART_ROLE and "of" in custom:
            plain["of"] = custom["of"]
        result.update(parts.describe(file, path, plain, {SEALED: told}).pieces)
    for old in folder.iterdir():
        if old not in used and _OURS.fullmatch(old.name):
            old.unlink()  # of another release, or for other devices
    return result
