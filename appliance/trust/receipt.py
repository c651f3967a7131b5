"""A receipt: what a device says of itself, signed, and the entries of its log that the workshop hasn't. Pure.

Lines, so that nothing deep is read before the signature holds:

    {"device", "format", "key", "signature"}     the signature is of `FORMAT`, a line feed and the second line
    the statement                                the version manifest, and what follows it: how many bytes, which digest
    an entry a line                              as they stand in the log
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from appliance import storage
from appliance.errors import ReceiptError, TrustError
from appliance.trust import chain, clock, device_identity, limits
from appliance.trust.chain import Link

FORMAT = "anchorhold-receipt/1"
STATEMENT = "anchorhold-statement/1"
_HINT = (
    "the receipt was changed or cut on its way: nothing of it was taken; bring the stick to the device again"
)


class Refusal(StrEnum):
    """Why a receipt isn't taken: who may have brought it about counts, so each kind is kept by itself."""

    UNKNOWN = "unknown"  # of a device that isn't enrolled: nothing of it is kept
    UNSIGNED = "unsigned"  # not by the device's key, or not all of it: anybody may have made it
    MALFORMED = "malformed"  # signed, and nothing that this version can read
    GAP = "gap"  # signed, and further on than what is known
    REPLAY = "replay"  # signed, and older than what is known: anybody may bring it again
    EDITED = "edited"  # signed, and no chain in itself
    FORK = "fork"  # signed, and another history than is known
    CUT = "cut"  # signed later than what is known, of a shorter log

    @property
    def contradicts(self) -> bool:
        """Whether the device's key has signed two things that can't both be true: it proves something."""
        return self in {Refusal.EDITED, Refusal.FORK, Refusal.CUT}


@dataclass(frozen=True)
class Receipt:
    """A receipt whose signature holds, and whose entries are those that were signed.

    Attributes:
        device: its id.
        key: the public key that signed it, in hex; whether it is the device's own is for the reader to know.
        statement: the version manifest (docs/formats/receipts.md).
        after: the place that the entries follow: the last one that the workshop had acknowledged.
        last: of the last entry here; `after` where there is none.
        head: of the last entry of the device's log; further than `last` where not all of them fitted.
        entries: their lines, not walked yet.
        signed: the first two lines: they prove all of it to anybody who has the entries.
    """

    device: str
    key: str
    statement: Mapping[str, Any] = field(repr=False)
    after: Link
    last: Link
    head: Link
    entries: tuple[bytes, ...] = field(repr=False)
    signed: bytes = field(repr=False)

    @property
    def time(self) -> datetime:
        """When it was written, as far as the device knows the time."""
        return clock.from_text(self.statement["time"]["known"])


def statement_of(manifest: Mapping[str, Any], after: Link, last: Link, head: Link, body: bytes) -> bytes:
    """The second line, without its line feed.

    Args:
        manifest: what the device says of itself: `device`, `time` and whatever else.
        after, last, head: as in `Receipt`.
        body: the entries' lines as they will follow.
    """
    log = {
        "after": after.to_json(),
        "last": last.to_json(),
        "head": head.to_json(),
        "bytes": len(body),
        "sha256": storage.sha256_bytes(body),
    }
    return storage.canonical_json({**manifest, "format": STATEMENT, "log": log})


def signed_bytes(statement: bytes) -> bytes:
    """What the device's key signs."""
    return FORMAT.encode() + b"\n" + statement


def encode(device: str, key: str, signature: str, statement: bytes, body: bytes) -> bytes:
    """The whole file."""
    head = {"device": device, "format": FORMAT, "key": key, "signature": signature}
    return storage.canonical_json(head) + b"\n" + statement + b"\n" + body


def _line(data: bytes, start: int, most: int) -> tuple[bytes, int]:
    end = data.find(b"\n", start, start + most + 1)
    if end < 0:
        raise ValueError("cut off, or a line that is too long")
    return data[start:end], end + 1


def _statement(line: bytes, device: str) -> tuple[dict[str, Any], Sequence[Link]]:
    value = chain.canonical_object(line, limits.STATEMENT_BYTES)
    log, time = value.get("log"), value.get("time")
    if value.get("format") != STATEMENT or value.get("device") != device:
        raise ValueError("the statement is of another format or device")
    if not isinstance(log, dict) or sorted(log) != ["after", "bytes", "head", "last", "sha256"]:
        raise ValueError("the statement says nothing of the log")
    if not isinstance(time, dict):
        raise ValueError("the statement says no time")
    if clock.to_text(clock.from_text(time.get("known"))) != time["known"]:
        raise ValueError(
            "a time that isn't spelt as times are"
        )  # kept, it couldn't be read again: the year 1, say
    after, last, head = (chain.link(log[name]) for name in ("after", "last", "head"))
    if not after.number <= last.number <= head.number or (last.number == head.number and last != head):
        raise ValueError("the statement's places in the log don't follow each other")
    if after.number == last.number and after != last:
        raise ValueError("the statement's places in the log don't follow each other")
    if not chain.is_count(log["bytes"]) or not chain.is_digest(log["sha256"]):
        raise ValueError("the statement says nothing of the entries")
    return value, (after, last, head)


def signer(data: bytes) -> tuple[str, str, str]:
    """Device, key and signature that a receipt's first line claims; nothing is checked but its form.

    Raises:
        ReceiptError: no receipt.
    """
    try:
        line, _ = _line(data, 0, limits.RECEIPT_HEAD_BYTES)
        value = chain.canonical_object(line, limits.RECEIPT_HEAD_BYTES)
        device, key, signature = (value.get(name) for name in ("device", "key", "signature"))
        if sorted(value) != ["device", "format", "key", "signature"] or value["format"] != FORMAT:
            raise ValueError("another format")
        if not chain.is_device(device) or not chain.is_digest(key) or not isinstance(signature, str):
            raise ValueError("no device, key or signature")
    except ValueError as error:
        raise _unsigned(f"not a receipt: {error}") from error
    return str(device), str(key), signature


def _unsigned(message: str) -> ReceiptError:
    return ReceiptError(message, _HINT, kind=Refusal.UNSIGNED)


def read(data: bytes) -> Receipt:
    """Check a receipt by itself: its form, its signature by the key that it names, its entries' digest.

    Args:
        data: of the file; at most RECEIPT_BYTES.

    Raises:
        ReceiptError: no receipt, changed or cut (`Refusal.UNSIGNED`); or all of it is signed, but makes no sense.
    """
    if len(data) > limits.RECEIPT_BYTES:
        raise _unsigned(f"not a receipt: longer than {limits.RECEIPT_BYTES} bytes")
    device, key, signature = signer(data)
    try:
        _, start = _line(data, 0, limits.RECEIPT_HEAD_BYTES)
        line, begin = _line(data, start, limits.STATEMENT_BYTES)
    except ValueError as error:
        raise _unsigned(f"the receipt of {device} is cut off") from error
    if not device_identity.holds(key, signature, signed_bytes(line)):
        raise _unsigned(f"the receipt of {device} isn't signed by the key that it names")
    try:
        statement, (after, last, head) = _statement(line, device)
    except (ValueError, TrustError) as error:
        what = error.message if isinstance(error, TrustError) else error
        raise ReceiptError(
            f"the receipt of {device}: {what}",
            "it was signed so: a newer version may have written it; update this program, or look at the device",
            kind=Refusal.MALFORMED,
        ) from error
    body, log = data[begin:], statement["log"]
    lines, rest = chain.split(body)
    if len(body) < log["bytes"]:
        raise _unsigned(f"the receipt of {device} was cut after entry {after.number + len(lines)}")
    if rest or storage.sha256_bytes(body) != log["sha256"] or len(body) != log["bytes"]:
        raise _unsigned(f"the receipt of {device}: its entries aren't those that were signed")
    if len(lines) != last.number - after.number:
        what = f"{len(lines)} entries, where {last.number - after.number} are named"
        raise ReceiptError(f"the receipt of {device}: {what}", _HINT, kind=Refusal.MALFORMED)
    return Receipt(device, key, statement, after, last, head, tuple(lines), data[:begin])
