"""A file that only some devices can read (docs/formats/sealed.md): segments under a key that is wrapped for each.

The construction is STREAM, as age uses it: a counter and a mark of the last segment in each nonce, so that segments
cut off, doubled or in another order don't open.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from appliance.errors import UpdateError
from appliance.trust.encryption_keys import ID_BYTES, KEY_BYTES, WRAPPED_BYTES, DeviceKey, Receiver
from appliance.update.bounded_input import BoundedInput

MAGIC = b"AHSEAL01"
HEAD = struct.Struct("<8s32sQII")  # magic, digest and size of what is sealed, bytes of a segment, receivers
RECEIVER = ID_BYTES + WRAPPED_BYTES
SEGMENT = 1 << 20
TAG = 16
MAX_RECEIVERS = 256
_PURPOSE = b"anchorhold sealed file 1\0"
_HINT = "ask for the stick to be written again"


@dataclass(frozen=True)
class Sealed:
    """What a sealed file holds: digest in hex and size in bytes of the plain file."""

    sha256: str
    size: int


def sealed_bytes(size: int, receivers: int) -> int:
    """How long the sealed file of a plain one of `size` bytes is."""
    return HEAD.size + receivers * RECEIVER + size + TAG * _segments(size)


def _segments(size: int) -> int:
    return max(1, -(-size // SEGMENT))


def _head(plain: Sealed, receivers: int) -> bytes:
    return HEAD.pack(MAGIC, bytes.fromhex(plain.sha256), plain.size, SEGMENT, receivers)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def seal(plain: Sealed, source: IO[bytes], receivers: Sequence[Receiver], out: IO[bytes]) -> None:
    """Write what `source` holds to `out`, for `receivers` alone; another call gives other bytes.

    Raises:
        UpdateError: `source` isn't what `plain` says.
    """
    assert 1 <= len(receivers) <= MAX_RECEIVERS
    key, digest = secrets.token_bytes(KEY_BYTES), hashlib.sha256()
    head = _head(plain, len(receivers))
    for receiver in receivers:
        head += bytes.fromhex(receiver.id) + receiver.wrap(key, _PURPOSE + head[: HEAD.size])
    out.write(head)
    bound, cipher = hashlib.sha256(head).digest(), ChaCha20Poly1305(key)
    for number in range(_segments(plain.size)):
        last = number == _segments(plain.size) - 1
        data = source.read(plain.size - number * SEGMENT if last else SEGMENT)
        digest.update(data)
        out.write(cipher.encrypt(_nonce(number, last), data, bound))
    if source.read(1) or digest.hexdigest() != plain.sha256:
        raise UpdateError("a file changed while it was encrypted", "run the same command again")


def unseal(blocks: Iterator[bytes], plain: Sealed, key: DeviceKey, start: int = 0) -> Iterator[bytes]:
    """What a sealed file holds, from `start`; each block was found authentic before it is handed out.

    Args:
        blocks: the sealed file's bytes, whose signed digests were found right.
        plain: what was signed of what it holds.
        key: the device's own.
        start: segments before it are passed over.

    Raises:
        TrustError: malformed, cut short, longer, or a segment that doesn't open.
        UpdateError: sealed for other devices.
        KeysError: sealed for this device's name, and not for its key.
    """
    source = BoundedInput(blocks, "sealed file", _HINT)
    head = source.take(HEAD.size, "its head")
    magic, digest, size, segment, receivers = HEAD.unpack(head)
    if magic != MAGIC or segment != SEGMENT:
        source.fail("not of a format that is known here")
    if not 1 <= receivers <= MAX_RECEIVERS:
        source.fail(f"{receivers} receivers; 1 to {MAX_RECEIVERS} are allowed")
    if (digest.hex(), size) != (plain.sha256, plain.size):
        source.fail("it holds another file than was signed")
    listed = source.take(receivers * RECEIVER, "its receivers")
    entries = [listed[at : at + RECEIVER] for at in range(0, len(listed), RECEIVER)]
    mine = [entry[ID_BYTES:] for entry in entries if entry[:ID_BYTES].hex() == key.receiver.id]
    if not mine:
        raise not_for(key)
    cipher = ChaCha20Poly1305(key.unwrap(mine[0], _PURPOSE + head))
    bound = hashlib.sha256(head + listed).digest()
    for number in range(_segments(size)):
        begin = number * SEGMENT
        length = min(SEGMENT, size - begin)
        data = source.take(length + TAG, f"segment {number + 1}")
        if begin + length <= start and length:
            continue
        try:
            opened = cipher.decrypt(_nonce(number, number == _segments(size) - 1), data, bound)
        except InvalidTag:
            source.fail(f"segment {number + 1} doesn't open: changed, doubled or out of its place")
        yield opened[max(0, start - begin) :]
    if not source.is_empty:
        source.fail("something follows its last segment")


def not_for(key: DeviceKey | None) -> UpdateError:
    """The refusal of what is sealed for others."""
    if key is None:
        hint = (
            "`anchorhold stick key` makes one; have it enrolled, and ask for a stick that is encrypted to it"
        )
        return UpdateError("the stick is encrypted, and this device has no key", hint)
    hint = (
        "ask for a stick that is encrypted to this device; its key is enrolled with `anchorhold stick enrol`"
    )
    return UpdateError(f"the stick is encrypted to other devices, not to this one ({key.receiver.id})", hint)
