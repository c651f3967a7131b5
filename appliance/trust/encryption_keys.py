"""A device's key for what is encrypted to it: made on the device, its public half enrolled at the workshop.

HPKE (RFC 9180) in base mode: X25519, HKDF-SHA256, ChaCha20-Poly1305, as the cryptography package has it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from appliance import storage
from appliance.errors import KeysError, UsageError
from appliance.paths import Device
from appliance.regular_file import open_regular
from appliance.trust import key_folder, limits

FORMATS = ("anchorhold-encryption-key/1", "anchorhold-device-key/1")  # as it is written, and as it was before
PUBLIC_FORMAT = "anchorhold-device-public-key/1"
FOLDER = "devices"  # of those that are enrolled, in the keys folder
ID_BYTES = 16
KEY_BYTES = 32  # of what is wrapped
WRAPPED_BYTES = 32 + KEY_BYTES + 16  # an ephemeral public key, the key, a tag
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Receiver:
    """Who something is encrypted to: `public` is the 32 bytes of an X25519 key."""

    name: str
    public: bytes

    @property
    def id(self) -> str:
        """The beginning of the key's SHA-256, in hex."""
        return hashlib.sha256(self.public).hexdigest()[: 2 * ID_BYTES]

    @property
    def fingerprint(self) -> str:
        """The whole SHA-256 in groups of four, to be compared by telephone."""
        digest = hashlib.sha256(self.public).hexdigest()
        return " ".join(digest[at : at + 4] for at in range(0, len(digest), 4))

    def wrap(self, key: bytes, info: bytes) -> bytes:
        """`key` for this receiver alone; it opens with the same `info` only. `WRAPPED_BYTES` of bytes."""
        return _SUITE.encrypt(key, X25519PublicKey.from_public_bytes(self.public), info=info)


@dataclass(frozen=True)
class DeviceKey:
    """A device's own key and what it is called."""

    receiver: Receiver
    private: X25519PrivateKey

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """The key in `wrapped`.

        Raises:
            KeysError: it was wrapped for another key, or for something else.
        """
        try:
            return _SUITE.decrypt(wrapped, self.private, info=info)
        except (InvalidTag, ValueError) as error:
            hint = "was the device's key replaced? enrol its new one (`anchorhold stick key`), and write the stick anew"
            raise KeysError("this device's key doesn't open what was encrypted to it", hint) from error


def _path(device: Device) -> Path:
    return device.root / "trust" / "device-key.json"


def _json(path: Path, *expected: str) -> dict[str, Any]:
    try:
        with open_regular(path) as stream:
            value = json.loads(stream.read(limits.KEY_FILE_BYTES))
        if not isinstance(value, dict) or value.get("format") not in expected:
            raise ValueError("another format")
        return value
    except (ValueError, RecursionError) as error:
        raise KeysError(
            f"{path}: not a device's key ({error})", "`anchorhold stick key` writes them"
        ) from error
    except OSError as error:
        raise UsageError(
            f"{path}: can't be read ({error.strerror})", "give the file of a device's key"
        ) from error


def check_name(name: str) -> str:
    """A device's name, which becomes a file's.

    Raises:
        UsageError: it can't.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r}: no name for a device", "letters, digits, - and _, at most 64")
    return name


def read(device: Device) -> DeviceKey | None:
    """The device's key; None before it was made.

    Raises:
        KeysError: damaged.
    """
    path = _path(device)
    return _read(path) if path.exists() else None


def _read(path: Path) -> DeviceKey:
    value = _json(path, *FORMATS)
    try:
        private = X25519PrivateKey.from_private_bytes(bytes.fromhex(value["private"]))
        return DeviceKey(
            Receiver(check_name(value["name"]), private.public_key().public_bytes_raw()), private
        )
    except (KeyError, ValueError, TypeError, UsageError) as error:
        hint = "restore it from a backup; or remove it, make another and have that enrolled"
        raise KeysError(f"{path}: damaged ({error})", hint) from error


def make(device: Device, name: str, tell: Callable[[Receiver], object] = lambda _: None) -> DeviceKey:
    """Make the device's key, if it has none; only its owner can read the file (mode 0600).

    However many programs do so at once, all get the same one.

    Args:
        name: what the device is called, in a new key.
        tell: called with a new key's public half before it is in its place. Killed between, or where it fails, the key
            lies aside, and is told of again the next time.
    """
    found = read(device)
    if found is not None:
        return found
    path = _path(device)
    waiting = path.with_suffix(".new")
    with key_folder.alone(path.parent):
        found = read(device)
        if found is None:
            for half in path.parent.glob(
                f".{waiting.name}.*.part"
            ):  # of a kill; others' files are written here too
                half.unlink(missing_ok=True)
            found = _made_before(waiting, check_name(name)) or _generate(waiting, name)
            tell(found.receiver)
            key_folder.put_in_place(waiting, path)
    return found


def _made_before(waiting: Path, name: str) -> DeviceKey | None:
    """A key that was made and may not have been told of."""
    with contextlib.suppress(KeysError, UsageError):
        found = _read(waiting)
        return found if found.receiver.name == name else None
    return None


def _generate(waiting: Path, name: str) -> DeviceKey:
    private = X25519PrivateKey.generate()
    value = {"format": FORMATS[0], "name": name, "private": private.private_bytes_raw().hex()}
    storage.write_json(waiting, value, mode=0o600)
    return DeviceKey(Receiver(name, private.public_key().public_bytes_raw()), private)


def write_public(receiver: Receiver, folder: Path) -> Path:
    """Write a device's public half into `folder`, to be carried to the workshop."""
    path = folder / f"{receiver.name}.device.json"
    value = {"format": PUBLIC_FORMAT, "name": receiver.name, "public": receiver.public.hex()}
    storage.write_json(path, value)
    return path


def read_public(path: Path) -> Receiver:
    """The public half in a file.

    Raises:
        UsageError: it can't be read.
        KeysError: it is none, or a key to which nothing can be encrypted.
    """
    value = _json(path, PUBLIC_FORMAT)
    try:
        receiver = Receiver(check_name(value["name"]), bytes.fromhex(value["public"]))
        receiver.wrap(bytes(KEY_BYTES), b"")  # a point of small order has no secret
        return receiver
    except (KeyError, ValueError, TypeError, UsageError) as error:
        raise KeysError(
            f"{path}: not a device's key ({error})", "`anchorhold stick key` writes them"
        ) from error


def enrol(keys_folder: Path, receiver: Receiver) -> Path:
    """Take a device's public half among those that can be encrypted to.

    Raises:
        KeysError: another key is enrolled under its name.
    """
    path = keys_folder / FOLDER / f"{receiver.name}.device.json"
    with key_folder.alone(path.parent):
        if path.exists() and read_public(path) != receiver:
            hint = f"compare the fingerprints; if the new one is right, remove {path} first"
            raise KeysError(f"{receiver.name}: another key is enrolled under this name", hint)
        return write_public(receiver, path.parent)


def enrolled(keys_folder: Path, names: Iterable[str]) -> list[Receiver]:
    """The enrolled devices of these names, by name, each once.

    Raises:
        KeysError: one isn't enrolled, or its file is damaged.
    """
    found = {}
    for name in names:
        path = keys_folder / FOLDER / f"{check_name(name)}.device.json"
        if not path.is_file():
            known = ", ".join(
                sorted(each.name.partition(".")[0] for each in path.parent.glob("*.device.json"))
            )
            raise KeysError(
                f"{name}: no such device is enrolled",
                f"`anchorhold stick enrol FILE`; enrolled: {known or 'none'}",
            )
        found[name] = read_public(path)
    return [found[name] for name in sorted(found)]
